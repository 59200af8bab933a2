"""A run in a notebook: one calm box below its cell, drawn anew while it runs."""

from __future__ import annotations

import re
import secrets
import sys
from html import escape
from importlib import import_module
from typing import Any

from databacked.display.base import Show
from databacked.display.words import Progresses, summary


class NotebookShow(Show):
    """Draws a box with a bar a task, and what is to be said below; falls back to lines.

    Only what a notebook keeps that nobody trusts: no scripts, no styles but inline ones.
    """

    first = every = 0.5

    def __init__(self) -> None:
        super().__init__(stream=sys.stdout)
        self._title = ""
        self._tasks: Progresses = {}
        self._lines: list[str] = []
        self._items_said: list[str] = []
        self._ended = False
        self._identity = ""
        """Which box it is, once it was shown."""
        self._draws = True

    def begin(self, title: str) -> None:
        self._title = title

    def say(self, text: str) -> None:
        if self.quiet:
            return
        self._lines.append(text)
        if not self._draws:
            super().say(text)
        elif self._identity or self._ended:
            self._show()

    def show_heard(self, item: str, text: str) -> None:
        self._items_said.append(f"{item}: {_COLOURS.sub('', text)}")
        if not self._draws:
            super().say(self._items_said[-1])

    def draw(self, tasks: Progresses) -> None:
        self._tasks = tasks
        self._show()

    def end(self, tasks: Progresses) -> None:
        self._tasks, self._ended = tasks, True
        if self._draws:
            self._show()
        else:
            super().end(tasks)

    def close(self) -> None:
        if not self.quiet and (self._lines or self._items_said or self._identity):
            self._show()

    def _show(self) -> None:
        if self.quiet or not self._draws:
            return
        bundle = {"text/plain": self._text(), "text/html": self._html()}
        try:
            show: Any = import_module("IPython.display")
            if self._identity:
                show.update_display(bundle, raw=True, display_id=self._identity)
            else:
                self._identity = f"databacked-{secrets.token_hex(6)}"
                show.display(bundle, raw=True, display_id=self._identity)
        except Exception:  # a kernel that is going down, an editor that knows no boxes
            self._draws = False
            super().say(bundle["text/plain"])

    def _text(self) -> str:
        title = [self._title] if self._title else []
        return "\n".join([*title, *self._items_said, *self._lines, *summary(self._tasks)])

    def _html(self) -> str:
        rows = "".join(_row(name, one, self._ended) for name, one in self._tasks.items())
        parts = [
            f'<div style="{_SMALL}">{escape(self._title)}</div>' if self._title else "",
            f"<table><tbody>{rows}</tbody></table>" if rows else "",
            _block(self._items_said, mono=True),
            _block(self._lines),
        ]
        return f'<div class="databacked">{"".join(parts)}</div>'


# No background and no colour of text: a notebook may be dark.
_SMALL = "font-size:85%;opacity:0.75;overflow-wrap:anywhere"
_PLAIN = "white-space:pre-wrap;overflow-wrap:anywhere;margin:2px 0"
_MONO = f"{_PLAIN};font-family:monospace;font-size:90%"
_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What a terminal takes for colours and moves, and a notebook would show as letters."""
_WIDTH = 160
"""Pixels of a whole bar."""


def _block(lines: list[str], *, mono: bool = False) -> str:
    style = _MONO if mono else _PLAIN
    return "".join(f'<div style="{style}">{escape(line)}</div>' for line in lines)


def _row(name: str, one: Any, ended: bool) -> str:
    said = " · ".join(
        filter(None, ((one.outcome or "nothing to do") if ended else one.said, one.cost))
    )
    cells = [f'<th style="text-align:left">{escape(name)}</th>']
    if not ended:
        part = round(_WIDTH * one.done / one.total) if one.total else 0
        colour = "#c44e52" if one.counts.get("failed") else "#4c9a6a"
        cells += [
            f'<td><div style="width:{_WIDTH}px;height:10px;border:1px solid #8886">'
            f'<div style="width:{part}px;height:10px;background:{colour}"></div></div></td>',
            f'<td style="text-align:right">{one.done:,} of {one.total:,}</td>',
        ]
    cells.append(f'<td style="text-align:left">{escape(said)}</td>')
    return f"<tr>{''.join(cells)}</tr>"
