"""Links of a Markdown text to files beside it: found, checked, and kept when the text moves.

markdown-it-py says what is a link (https://spec.commonmark.org); where it stands is noted then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

from markdown_it import MarkdownIt, helpers

_ATTRIBUTE = re.compile(
    r"""<(?:img|a|source|video)\b[^>]*?\s(?:src|href)\s*=\s*["']([^"']*)["']""", re.IGNORECASE
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_ELSEWHERE = re.compile(r"[a-zA-Z][\w+.-]*:|#|\?|//|$")


def local_links(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and path of each link to a file; not what stands in code or comments.

    Paths are as the text has them, without anchor, and possibly percent-encoded.
    """
    for start, link in sorted(_Finder(text).find()):
        if not _ELSEWHERE.match(link):
            path = re.split("[#?]", link, maxsplit=1)[0]
            yield start, start + len(path), path


class _Finder:
    """Parses a text, and notes where each destination of a link stands in it."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._seen: list[tuple[int, str]] = []
        """Start and text of destinations, in the piece of text that is parsed."""
        self._depth = 0
        self._contents: list[list[tuple[int, str]]] = []
        """What was seen in each paragraph, heading or cell, in their order."""
        self._found: list[tuple[int, str]] = []

    def find(self) -> list[tuple[int, str]]:
        """Return start and destination of each link."""
        parser: Any = MarkdownIt("commonmark")
        parser.normalizeLink = str  # as the text has it
        parser.validateLink = lambda link: True
        parser.helpers = SimpleNamespace(
            parseLinkLabel=helpers.parseLinkLabel,
            parseLinkTitle=helpers.parseLinkTitle,
            parseLinkDestination=self._destination,
        )
        rules = {one.name: one.fn for one in parser.inline.ruler.__rules__}
        for name in ("link", "image", "html_inline"):
            parser.inline.ruler.at(name, self._noting(rules[name]))
        rules = {one.name: one.fn for one in parser.block.ruler.__rules__}
        parser.block.ruler.at("reference", self._noting_reference(rules["reference"]), {"alt": []})
        parser.inline.parse = self._noting_content(parser.inline.parse)
        tokens = parser.parse("\n".join(self._lines))
        contents = iter(self._contents)
        for token in tokens:
            if token.type == "inline":
                self._place(token.content, token.map[0], next(contents))
            elif token.type == "html_block":
                self._in_html(*token.map)
        return self._found

    def _destination(self, string: str, pos: int, maximum: int) -> Any:
        found = helpers.parseLinkDestination(string, pos, maximum)
        if found.ok:
            pointed = string[pos : pos + 1] == "<"
            start, end = (pos + 1, found.pos - 1) if pointed else (pos, found.pos)
            self._seen.append((start, string[start:end]))
        return found

    def _noting(self, rule: Callable[[Any, bool], bool]) -> Callable[[Any, bool], bool]:
        """Return an inline rule that forgets what it saw of what turned out to be no link."""

        def noting(state: Any, silent: bool) -> bool:
            before, start = len(self._seen), state.pos
            done = rule(state, silent)
            if silent or not done:
                del self._seen[before:]
            elif state.src[start] == "<" and not state.src.startswith("<!--", start):
                tag = state.src[start : state.pos]
                self._seen += [(start + one.start(1), one[1]) for one in _ATTRIBUTE.finditer(tag)]
            return done

        return noting

    def _noting_reference(self, rule: Callable[..., bool]) -> Callable[..., bool]:
        def noting(state: Any, start: int, end: int, silent: bool) -> bool:
            self._seen.clear()
            done = rule(state, start, end, silent)
            if done and not silent:
                content = state.getLines(start, state.line, state.blkIndent, False)
                if not content.lstrip().startswith("[^"):  # a footnote
                    self._place(content.lstrip(), start, self._seen[-1:])
            self._seen.clear()
            return done

        return noting

    def _noting_content(self, parse: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*given: Any) -> Any:
            self._depth += 1
            outer, self._seen = self._seen, []
            try:
                return parse(*given)
            finally:
                self._depth -= 1
                if not self._depth:  # else the text of an image, which is no content of its own
                    self._contents.append(self._seen)
                self._seen = outer

        return noting

    def _place(self, content: str, first: int, seen: list[tuple[int, str]]) -> None:
        """Find where destinations stand, whose content had indentation and marks taken off."""
        for start, link in seen:
            number = content.count("\n", 0, start)
            begin = content.rfind("\n", 0, start) + 1
            line = content[begin:].partition("\n")[0].strip()
            skipped = len(content[begin:]) - len(content[begin:].lstrip(" \t"))
            at = self._lines[first + number].find(line)
            if at >= 0:
                self._found.append(
                    (self._starts[first + number] + at + start - begin - skipped, link)
                )

    def _in_html(self, first: int, last: int) -> None:
        source = "\n".join(self._lines[first:last])
        source = _COMMENT.sub(lambda match: " " * len(match[0]), source)
        start = self._starts[first]
        self._found += [(start + one.start(1), one[1]) for one in _ATTRIBUTE.finditer(source)]


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
