"""What a run shows: a bar a task on a terminal, a line now and then elsewhere, nothing if quiet."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import IO, Any

from databacked.capture import tell

EVERY = 30.0
"""Seconds between two lines where no terminal is there to draw on."""


REDRAW = 0.2
"""Seconds between two looks at the bars."""


Progress = Mapping[str, tuple[int, Counter[str]]]
"""Number of items of each task, and what became of them."""


class Show:
    """Draws the progress of one run and prints what it says."""

    def __init__(self, *, quiet: bool = False, stream: IO[str] | None = None) -> None:
        self.stream: Any = sys.stderr if stream is None else stream
        self.quiet = quiet or self.stream is None
        self._bars: Any = None
        self._rows: dict[str, Any] = {}
        self._terminal = not self.quiet and _is_terminal(self.stream)
        self._next = time.monotonic() + (REDRAW if self._terminal else EVERY)
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line; where nobody can hear it any more, nothing more is said."""
        if self.quiet:
            return
        if self._bars is not None:
            self._drawing(
                lambda: self._bars.console.print(
                    text, markup=False, highlight=False, soft_wrap=True
                )
            )
        elif not tell(text, self.stream):
            self.quiet = True

    def update(self, progress: Progress) -> None:
        """Draw how far each task is, if it is time to."""
        if self.quiet or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + (REDRAW if self._terminal else EVERY)
        if self._terminal:
            self._drawing(lambda: self._draw(progress))
        else:
            self.say(
                f"{time.monotonic() - self._started:.0f} s · "
                + " · ".join(_line(name, *state) for name, state in progress.items())
            )

    def _draw(self, progress: Progress) -> None:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[says]}"),
                TimeRemainingColumn(),
                console=Console(file=self.stream),
                transient=True,
            )
            self._bars.start()
        for name, (total, counts) in progress.items():
            if name not in self._rows:
                self._rows[name] = self._bars.add_task(name, total=total, says="")
            self._bars.update(
                self._rows[name], total=total, completed=sum(counts.values()), says=_says(counts)
            )

    def close(self) -> None:
        """Take the bars away."""
        bars, self._bars = self._bars, None
        if bars is not None:
            self._drawing(bars.stop)

    def _drawing(self, draw: Callable[[], None]) -> None:
        """Draw; a terminal that is gone, or that somebody else draws on, gets no bars."""
        try:
            draw()
        except Exception:
            self._terminal, self._bars = False, None


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # closed, or no file at all
        return False


def _says(counts: Counter[str]) -> str:
    return ", ".join(
        f"{counts[word]:,} {word}"
        for word in ("made", "reused", "failed", "skipped")
        if counts[word]
    )


def _line(name: str, total: int, counts: Counter[str]) -> str:
    left = total - sum(counts.values())
    said = _says(counts)
    return f"{name}: {said}{', ' if said else ''}{left:,} left"


def summary(progress: Progress) -> list[str]:
    """Return a line a task: what was made, reused, failed and skipped."""
    width = max((len(name) for name in progress), default=0)
    return [
        f"  {name:<{width}}  {_says(counts) or 'nothing to do'}"
        for name, (_, counts) in progress.items()
    ]
