"""Items that are due and lack nothing, in runs of one node: a whole map is one entry."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from databacked.engine.items import Items


@dataclass(eq=False)
class _Run:
    items: Items
    rows: Sequence[int]
    first: bool = False
    taken: int = 0
    """How many of them are gone already."""


class Ready:
    """What can be sent next; some of it may be lost meanwhile."""

    def __init__(self) -> None:
        self._runs: deque[_Run] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def head(self) -> Items | None:
        """Whose items are next."""
        return self._runs[0].items if self._runs else None

    @property
    def first(self) -> int:
        """Which of them is next."""
        run = self._runs[0]
        return run.rows[run.taken]

    def add(self, items: Items, rows: Sequence[int], *, first: bool = False) -> None:
        """Take items in, behind all others or before them."""
        if not rows:
            return
        self._length += len(rows)
        if first:
            self._runs.appendleft(_Run(items, rows, first=True))
            return
        last = self._runs[-1] if self._runs else None
        if last is not None and last.items is items and isinstance(last.rows, list):
            last.rows += rows
        else:
            self._runs.append(_Run(items, rows if isinstance(rows, range) else list(rows)))

    def move_to(self, other: Callable[[Items], Ready]) -> None:
        """Hand all over, each node's to its own; what comes first comes first there, too."""
        runs, self._runs, self._length = self._runs, deque(), 0
        before = [run for run in runs if run.first]
        for run in (*reversed(before), *(run for run in runs if not run.first)):
            other(run.items).add(run.items, run.rows[run.taken :], first=run.first)

    def bring(self, wanted: Callable[[Items], bool]) -> bool:
        """Have the first items of such a node be next; return whether there are any."""
        for run in self._runs:
            if wanted(run.items):
                self._runs.remove(run)
                self._runs.appendleft(run)
                return True
        return False

    def take(self, most: int = 1) -> Sequence[int]:
        """Take rows of the node that is next, as many as stand together."""
        run = self._runs[0]
        rows = run.rows[run.taken : run.taken + most]
        run.taken += len(rows)
        self._length -= len(rows)
        if run.taken == len(run.rows):
            self._runs.popleft()
        return rows
