"""What shows a run; this one writes lines, and does nothing else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from databacked.capture import Said, tell
from databacked.display.words import Progresses, line, summary

EVERY = 30.0
"""Seconds between two lines that say how far a run is."""

FIRST = 5.0
"""Seconds until the first of them: who waits wants to see that something goes on."""

HEARD = 10
"""Lines that are shown of what items say; the log has all."""


class Show:
    """Shows a run as lines on a stream (stderr unless given): what a log of a cluster takes."""

    first, every = FIRST, EVERY

    def __init__(self, *, quiet: bool = False, stream: Any = None) -> None:
        self.stream: Any = sys.stderr if stream is None else stream
        self.quiet = quiet or self.stream is None
        self.heard = 0
        """Lines that items said."""
        self._started = time.monotonic()
        self._next = self._started + self.first

    @property
    def seconds(self) -> float:
        """How long the run takes by now."""
        return time.monotonic() - self._started

    def begin(self, title: str) -> None:
        """Say what begins."""
        self.say(title)

    def say(self, text: str) -> None:
        """Say something; where nobody can hear it any more, nothing more is said."""
        if not self.quiet and not tell(text, self.stream):
            self.quiet = True

    def hear(self, item: str, said: Sequence[Said]) -> None:
        """Show what an item printed and logged, as long as it is little."""
        lines = [text for one in said if one.kind != "warning" for text in one.text.splitlines()]
        for text in lines[: max(HEARD - self.heard, 0)]:
            self.show_heard(item, text)
        self.heard += len(lines)

    @property
    def hidden(self) -> int:
        """How many lines that items said were not shown."""
        return max(self.heard - HEARD, 0)

    def show_heard(self, item: str, text: str) -> None:
        """Show one line that an item said."""
        self.say(f"{item}: {text}")

    def update(self, tasks: Callable[[], Progresses]) -> None:
        """Show how far each task is, if it is time to."""
        if not self.quiet and self.is_due():
            self.draw(tasks())

    def is_due(self) -> bool:
        """Whether it is time to show how far a run is."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self.every
        return True

    def draw(self, tasks: Progresses) -> None:
        """Show how far each task is."""
        self.say(f"{self.seconds:.0f} s · {line(tasks)}")

    def end(self, tasks: Progresses) -> None:
        """Show what became of each task."""
        for text in summary(tasks):
            self.say(text)

    def close(self) -> None:
        """Take away what is only there while something runs."""
