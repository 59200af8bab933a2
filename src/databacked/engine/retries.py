"""Items whose function raised, and that are tried again."""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import count

from databacked.capture import Said
from databacked.engine.scheduler import Scheduler
from databacked.runners.base import Chain, again
from databacked.worker.columns import Made, Rows
from databacked.worker.messages import Outcome, Work

Key = tuple[int, int]


class Retries:
    """Takes failures that do not count yet, and says what is to be sent once more."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._chains: dict[Key, Chain] = {}
        """Of items that may be tried again: each is a chain of its own."""
        self._tried: Counter[Key] = Counter()
        self._said: defaultdict[Key, tuple[Said, ...]] = defaultdict(tuple)
        """What items said before they failed."""
        self._waiting: list[tuple[float, int, Chain]] = []
        self._order = count()

    @property
    def waiting(self) -> int:
        """How many items wait for their next try."""
        return len(self._waiting)

    def expect(self, chains: Sequence[Sequence[Work]]) -> None:
        """Chains are sent, of which some may be tried again."""
        for chain in () if isinstance(chains, Rows) else chains:
            first = chain[0]
            if self._scheduler.tables[first.spec].spec.retries:
                self._chains[first.spec, first.row] = chain

    def take(self, outcome: Outcome | Made) -> Outcome | Made | None:
        """Return an outcome as it counts; None if its item is tried again."""
        if isinstance(outcome, Made):
            return outcome
        key = outcome.spec, outcome.row
        chain = self._chains.get(key)
        if chain is None:
            return outcome
        spec = self._scheduler.tables[outcome.spec].spec
        if outcome.raised and self._tried[key] < spec.retries:
            self._tried[key] += 1
            self._said[key] += outcome.said
            due = time.monotonic() + spec.retry_delay
            heapq.heappush(self._waiting, (due, next(self._order), again(chain)))
            return None
        del self._chains[key]
        said = self._said.pop(key, ())
        return outcome._replace(said=(*said, *outcome.said)) if said else outcome

    def at_most(self, timeout: float) -> float:
        """Return how long to wait for others, in seconds."""
        if not self._waiting:
            return timeout
        return min(timeout, max(0.0, self._waiting[0][0] - time.monotonic()))

    def due(self, alone: Chain | None) -> Iterator[Chain]:
        """Yield what is to be sent now.

        Parameters
        ----------
        alone
            What is tried with nothing beside it, if anything is: no other one comes in between.
        """
        later = []
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            one = heapq.heappop(self._waiting)
            if alone is None or one[2][0][:2] == alone[0][:2]:
                yield one[2]
            else:
                later.append(one)
        for one in later:
            heapq.heappush(self._waiting, one)
