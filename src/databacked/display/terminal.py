"""A run on a terminal: a bar a task, which is gone at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from databacked.capture import is_capturing, show_above
from databacked.display.base import Show
from databacked.display.words import Progresses


class TerminalShow(Show):
    """Draws bars below what it says."""

    first = every = 0.2

    def __init__(self, *, stream: Any = None) -> None:
        super().__init__(stream=stream)
        self._bars: Any = None
        self._rows: dict[str, Any] = {}
        self._draws = True

    def say(self, text: str) -> None:
        if self._bars is None:
            super().say(text)
        elif not self.quiet:
            self._drawing(
                lambda: self._bars.console.print(
                    text, markup=False, highlight=False, soft_wrap=True
                )
            )

    def draw(self, tasks: Progresses) -> None:
        if self._draws:
            self._drawing(lambda: self._draw(tasks))

    def _draw(self, tasks: Progresses) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.file_proxy import FileProxy
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[says]}"),
                TimeRemainingColumn(),
                console=Console(file=self.stream),
                transient=True,
                # Of items it is taken down; only where nobody does, rich may stand before streams.
                redirect_stdout=not is_capturing(),
                redirect_stderr=not is_capturing(),
            )
            console = self._bars.console
            show_above(lambda stream: FileProxy(console, stream))
            self._bars.start()
        for name, one in tasks.items():
            if name not in self._rows:
                self._rows[name] = self._bars.add_task(name, total=one.total, says="")
            self._bars.update(self._rows[name], total=one.total, completed=one.done, says=one.said)

    def close(self) -> None:
        bars, self._bars = self._bars, None
        if bars is not None:
            show_above(None)
            self._drawing(bars.stop)

    def _drawing(self, draw: Callable[[], None]) -> None:
        """Draw; a terminal that is gone, or that somebody else draws on, gets no bars."""
        try:
            draw()
        except Exception:
            self._draws, self._bars = False, None
