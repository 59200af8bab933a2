"""Links of a Markdown text to files beside it: found, checked, and kept when the text moves."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

_CODE_OR_COMMENT = re.compile(
    r"^ {0,3}(?P<fence>`{3,}|~{3,}).*?(?:^ {0,3}(?P=fence)[`~]*[ \t]*$|\Z)"
    r"|<!--.*?(?:-->|\Z)"
    r"|(?<!`)(?P<ticks>`+)(?!`)(?:[^`]|(?!(?P=ticks)(?!`))`+)*?(?<!`)(?P=ticks)(?!`)",
    re.DOTALL | re.MULTILINE,
)


_TITLE = r"""(?:[ \t]+(?:"[^"]*"|'[^']*'|\([^()]*\)))?"""


_LINK = re.compile(
    r"(?<!\\)\]\(\s*(?:<(?P<pointed>[^<>\n]*)>|(?P<plain>(?:\\.|[^\s()\\]|\([^\s()]*\))+))"
    + _TITLE
    + r"\s*\)"
    + r"|^ {0,3}\[(?!\^)[^\]\n]+\]:[ \t]*\n?[ \t]*"
    + r"(?:<(?P<pointed2>[^<>\n]*)>|(?P<plain2>[^\s<]\S*))"
    + _TITLE
    + r"[ \t]*$"
    + r"""|<(?:img|a|source|video)\b[^>]*?\s(?:src|href)\s*=\s*["'](?P<html>[^"']*)["']""",
    re.MULTILINE | re.IGNORECASE,
)


_ELSEWHERE = re.compile(r"[a-zA-Z][\w+.-]*:|#|\?|//|$")


_ITEM = re.compile(r"\s*(?:[-+*]|\d+[.)])\s")


def local_links(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and path of each link to a file; not what stands in code or comments.

    Paths are as the text has them, without anchor, and possibly percent-encoded.
    """
    for match in _LINK.finditer(_without_code(text)):
        group = str(match.lastgroup)
        link = match[group]
        if _ELSEWHERE.match(link):
            continue
        path = re.split("[#?]", link, maxsplit=1)[0]
        yield match.start(group), match.start(group) + len(path), path


def check_links(text: str, folder: Path, root: Path | None = None) -> list[str]:
    """Return what is wrong with the links of a text that lies in a folder.

    Parameters
    ----------
    root
        The project's root, which no link may lead out of.
    """
    problems: dict[str, None] = {}
    for _, _, path in local_links(text):
        file = _file(path, folder)
        if file is None:
            problems[f"links to {path!r}, which is not there"] = None
        elif root is not None and not _is_below(file, root):
            problems[f"links to {path!r}, which is outside of the project {root}"] = None
    return sorted(problems)


def move_links(text: str, old: Path, new: Path) -> str:
    """Return a text of one folder so that its links lead to the same files from another folder."""
    parts: list[str] = []
    done = 0
    for start, end, path in local_links(text):
        file = _file(path, old)
        if file is not None and not os.path.isabs(path):
            moved = os.path.relpath(file, new).replace(os.sep, "/")
            parts += [text[done:start], quote(moved, safe="/~!$&'*+,;=@")]
            done = end
    return "".join([*parts, text[done:]])


def _file(path: str, folder: Path) -> str | None:
    """Return the file that a link means, if it is there: percent-encoded, escaped, or as it is."""
    for name in dict.fromkeys((unquote(path), re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", path), path)):
        file = os.path.join(folder, name)
        if os.path.exists(file):
            return file
    return None


def _is_below(file: str, root: Path) -> bool:
    below = os.path.relpath(os.path.abspath(file), os.path.abspath(root))
    return below.split(os.sep)[0] != ".."


def _without_code(text: str) -> str:
    """Return a text of the same length with blanks where code and comments stand."""
    text = _CODE_OR_COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    lines: list[str] = []
    code, in_list = True, False  # a text may begin with an indented block
    for line in text.split("\n"):
        if not line.strip():
            code = True
        elif line.startswith(("    ", "\t")) and code and not in_list:
            line = " " * len(line)
        else:
            code = False
            in_list = bool(_ITEM.match(line)) or (in_list and line[0] in " \t")
        lines.append(line)
    return "\n".join(lines)
