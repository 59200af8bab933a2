"""Who works: a runner, what it knows by now, and what it has and did not answer yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from databacked import capture
from databacked.engine.batches import Batch
from databacked.engine.items import Items
from databacked.engine.limits import Limits
from databacked.engine.scheduler import Scheduler
from databacked.graph.calls import current
from databacked.graph.nodes import Item, Node
from databacked.places.parts import get_keys
from databacked.runners.base import Runner
from databacked.types import Failure
from databacked.worker.failures import in_words
from databacked.worker.messages import FAILED, SKIPPED, Outcome, Work, shown
from databacked.worker.watch import Changed
from databacked.worker.worker import Worker


class Crew:
    """Sends batches to a runner, and tells which of them have ended."""

    def __init__(
        self, runner: Runner, scheduler: Scheduler, limits: Limits, scratch: Path, *, captures: bool
    ) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._limits = limits
        self._scratch = scratch
        self._captures = captures
        self._opened = False
        self._learned: set[int] = set()
        self._flying: dict[Item, _Flight] = {}
        """Items that were sent and of which nothing was heard yet."""
        self._flights = 0

    @property
    def is_capturing(self) -> bool:
        """Whether what items say is taken down."""
        return self._opened and self._captures

    @property
    def most(self) -> int:
        """How many batches fly at most: each worker has one in hand, and one to go on with."""
        return 2 * self._runner.workers

    @property
    def room(self) -> int:
        """How many further batches it takes."""
        return self.most - self._flights

    @property
    def is_idle(self) -> bool:
        """Whether nothing flies."""
        return not self._flying

    def learn(self, items: Items) -> None:
        """Have workers know what all items of a node share; raises if that cannot be sent."""
        if items.node.id not in self._learned:
            self._open()
            self._runner.learn(items.node.id, items.spec)
            self._learned.add(items.node.id)

    def send(self, batch: Batch) -> None:
        """Hand a batch over."""
        self._open()
        flight = _Flight(batch)
        self._flying.update(dict.fromkeys(batch.items, flight))
        self._flights += 1
        self._limits.take(batch.needs)
        inside = current.set(None)  # a task that is called in a task runs at once
        try:
            self._runner.submit(batch.chains)
        finally:
            current.reset(inside)

    def ended(self, timeout: float) -> tuple[list[Outcome], list[tuple[Batch, float]]]:
        """Return what became of items, and which batches ended with that, in how many seconds."""
        outcomes: list[Outcome] = []
        for result in self._runner.done(timeout):
            outcomes += self._lost(result) if isinstance(result, BaseException) else result
        whole: list[tuple[Batch, float]] = []
        nodes = self._scheduler.tables
        for outcome in outcomes:
            flight = self._flying.pop((nodes[outcome.spec].node, outcome.row), None)
            if flight is not None and flight.is_last(outcome):
                self._flights -= 1
                self._limits.give_back(flight.batch.needs)
                whole.append((flight.batch, flight.seconds))
        return outcomes, whole

    def _lost(self, error: BaseException) -> list[Outcome]:
        """Return the outcomes of a chain that could not be worked through, or that killed."""
        lost: list[Work] | None = getattr(error, "lost", None)
        if lost is None:
            raise error
        nodes = self._scheduler.tables
        names = dict.fromkeys(nodes[work.spec].node.name for work in lost)
        why = f"{in_words(error)}; it ran {' → '.join(names)}"
        return [
            _lost_item(work, nodes[work.spec].node, why, number) for number, work in enumerate(lost)
        ]

    def fetch(self, node: Node, row: int, keys: tuple[Any, ...] = ()) -> Any:
        """Return a value that is held."""
        held = self._runner.fetch((node.id, row))
        return get_keys(held.value if type(held) is Changed else held, keys)

    def drop(self, items: Iterable[Item]) -> None:
        """Let held values go."""
        for node, row in items:
            self._runner.drop((node.id, row))

    def _open(self) -> None:
        if not self._opened:
            if self._captures:
                capture.start(shown=self._runner.in_this_thread)
            self._runner.open(Worker, self._scratch)
            self._opened = True

    def close(self, *, cancel: bool = False) -> None:
        """End: wait for what runs, or with `cancel` drop what has not started."""
        if not self._opened:
            return
        self._opened = False
        try:
            self._runner.close(cancel=cancel)
        finally:
            if self._captures:
                capture.stop()


class _Flight:
    """A batch that was sent."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.seconds = 0.0
        self._left = len(batch.items)

    def is_last(self, outcome: Outcome) -> bool:
        """Take in an outcome; return whether it was the last one."""
        self.seconds += outcome.seconds
        self._left -= 1
        return not self._left


def _lost_item(work: Work, node: Node, why: str, number: int) -> Outcome:
    failure = Failure(node.name, shown(work.target or str(work.row)), {}, why, "?", 0.0)
    state = FAILED if number == 0 else SKIPPED
    return Outcome(work.spec, work.row, state, None, failure=failure)
