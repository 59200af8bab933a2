"""Links of a readme to files beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databacked.datasets.links import check_links, local_links, move_links


def links(text: str) -> list[str]:
    """Return the paths that a text links to."""
    return [path for _, _, path in local_links(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](a.png) ![b](b.png)", ["a.png", "b.png"]),
        ("[a](a.png \"Title\") ![b](b.png 'Title')", ["a.png", "b.png"]),
        ("[![badge](inner.png)](outer.md)", ["inner.png", "outer.md"]),
        ("[a](my%20file.png) [b](<my file.png>)", ["my%20file.png", "my file.png"]),
        ("[a](plate(1).png)", ["plate(1).png"]),
        ("[a](a.md#part) [b](a.png?raw=true)", ["a.md", "a.png"]),
        ("See [it][a].\n\n[a]: refs/a.md 'Title'\n  [b]: <my b.md>", ["refs/a.md", "my b.md"]),
        ("<img width='3' src=\"a.png\"><a\nhref='b.md'>b</a>", ["a.png", "b.md"]),
        ("- item\n\n    [a](a.png)", ["a.png"]),
        ("a lonely ` and [a](a.png)", ["a.png"]),
        ("> - [a](a.png)\n>   ![b](b.png)", ["a.png", "b.png"]),
        ("# [a](a.png) #\n\n[b](b.png)\n===", ["a.png", "b.png"]),
    ],
)
def test_what_is_a_link_to_a_file(text, found):
    """Markdown and HTML, with titles, anchors, encoded and nested."""
    assert links(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "[a](https://x.org/a.png) [b](mailto:x@y.org) [c](//x.org/a) [d](#top) [e]()",
        "`[a](a.png)` and ``[a](`a.png)``",
        "```python\n[a](a.png)\n```",
        "~~~\n[a](a.png)\n\n~~~~",
        "```\n[a](a.png)  a fence that never ends",
        "Text.\n\n    [a](a.png)",
        "<!-- ![a](a.png)\n-->",
        "[^1]: a.png",
        "[note]: this is a sentence",
        r"\[a\](a.png)",
    ],
)
def test_what_is_none(text):
    """Other places, code, comments, footnotes, escapes."""
    assert links(text) == []


def test_mistake_08_a_link_that_is_part_of_another_url(tmp_path):
    """Only links to local files are looked for, relative to the readme."""
    text = (
        "[a](a.png) ![b](missing.png) [c](https://x.org/a.png) <img src='img/no.png'> "
        "[top](#top) [mail](mailto:x@y.org) [again](missing.png)"
    )
    (tmp_path / "a.png").touch()
    assert check_links(text, tmp_path) == [
        "links to 'img/no.png', which is not there",
        "links to 'missing.png', which is not there",
    ]


def test_a_link_may_be_encoded_or_as_it_is(tmp_path):
    """A file whose name holds a percent sign is found too."""
    for name in ("my file.png", "50%.png", "a_b.png", "100%25.png"):
        (tmp_path / name).touch()
    text = r"[a](my%20file.png) [b](50%.png) [c](50%25.png) [d](a\_b.png) [e](100%25.png)"
    assert check_links(text, tmp_path) == []


def test_a_link_that_leads_out_of_the_project_is_said(tmp_path):
    """Nobody else has that file."""
    (tmp_path / "out.md").touch()
    (tmp_path / "project").mkdir()
    (said,) = check_links("[a](../out.md)", tmp_path / "project", tmp_path / "project")
    assert "outside of the project" in said
    (said,) = check_links(f"[a]({tmp_path}/out.md)", tmp_path, tmp_path / "project")
    assert "outside of the project" in said


def test_a_text_that_moves_keeps_its_links(tmp_path):
    """Two moves and back give the first text again; what is no link to a file stays as it is."""
    old, new = tmp_path / "docs", tmp_path / "sets/a b"
    old.mkdir()
    new.mkdir(parents=True)
    for name in ("x.png", "my y.png"):
        (old / name).touch()
    text = "![x](x.png#top) `[x](x.png)` [y](my%20y.png) <img src='x.png'> [gone](gone.png)\n"
    moved = move_links(text, old, new)
    assert moved == (
        "![x](../../docs/x.png#top) `[x](x.png)` [y](../../docs/my%20y.png) "
        "<img src='../../docs/x.png'> [gone](gone.png)\n"
    )
    assert move_links(moved, new, old) == text
    assert move_links(text, old, Path(old)) == text


PIECES = [
    "[a](a.png)",
    "![b](<b c.png>)",
    "> ",
    "- ",
    "1. ",
    "    ",
    "\n",
    "\n\n",
    "`",
    "```\n",
    "# ",
]
PIECES += [
    "text ",
    "<img src='d.png'>",
    "<!-- ",
    " -->",
    "[r]: e.md",
    "[![f](f.png)](g.md)",
    "\\",
    "|",
]
PIECES += ["# ", "(", ")", "[", "]", "\t", "<div>\n", "**", "é\r\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_a_link_stands_where_it_is_said_to(text):
    """Whatever stands around it: lists, quotes, tags, code."""
    found = list(local_links(text))
    assert all(text[start:end] == path for start, end, path in found)
    assert len({start for start, _, _ in found}) == len(found)
