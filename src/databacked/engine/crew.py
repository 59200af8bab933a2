"""Who works: a runner for all tasks, or for some of them one of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from databacked import capture
from databacked.engine.batches import Batch
from databacked.engine.items import Items
from databacked.engine.pool import Flight, Pool
from databacked.engine.scheduler import Scheduler
from databacked.graph.nodes import Item, Node
from databacked.graph.step import Step
from databacked.places.parts import get_keys
from databacked.runners.base import Runner
from databacked.runners.choose import OTHERS
from databacked.worker.columns import Made
from databacked.worker.messages import Outcome
from databacked.worker.watch import Changed

MOMENT = 0.005
"""Seconds that one runner is waited for while others are at work, too."""


class Crew:
    """The pools of a run; each task has one of them.

    Parameters
    ----------
    runners
        By the name of a task; ``*`` is that of all others.
    captures
        Whether what items say is taken down.
    """

    def __init__(
        self, runners: Mapping[str, Runner], scheduler: Scheduler, scratch: Path, *, captures: bool
    ) -> None:
        made: dict[int, Pool] = {}
        for number, runner in enumerate({id(one): one for one in runners.values()}.values()):
            folder = scratch / f"runner-{number}" if number else scratch
            made[id(runner)] = Pool(runner, scheduler, folder)
        self.pools = list(made.values())
        self._by_task = {name: made[id(runner)] for name, runner in runners.items()}
        self._captures = captures
        self.is_capturing = False
        """Whether what items say is taken down."""

    def pool_of(self, node: Node) -> Pool:
        """Return where the items of a node run."""
        return self._of(node.name)

    def _of(self, name: str) -> Pool:
        return self._by_task.get(name) or self._by_task[OTHERS]

    def allow(self, task: Step) -> None:
        """Take in what a task says of resources; raises `GraphError` if it could never run."""
        self._of(task.name).limits.allow(task)

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Return the tasks that have a runner of their own, and are none of these."""
        return sorted(set(self._by_task).difference(names, [OTHERS]))

    @property
    def is_idle(self) -> bool:
        """Whether nobody has anything to do."""
        return all(pool.is_idle for pool in self.pools)

    def learn(self, items: Items) -> None:
        """Have workers know what all items of a node share; raises if that cannot be sent."""
        self._begin()
        self.pool_of(items.node).learn(items)

    def send(self, batch: Batch) -> None:
        """Hand a batch over."""
        self._begin()
        self.pool_of(batch.head).send(batch)

    def _begin(self) -> None:
        if self._captures and not self.is_capturing:
            capture.start(shown=any(pool.runner.in_this_thread for pool in self.pools))
            self.is_capturing = True

    def ended(self, timeout: float) -> tuple[list[Outcome | Made], list[Flight]]:
        """Return what became of items, and which batches ended with that."""
        busy = [pool for pool in self.pools if not pool.is_idle]
        if len(busy) == 1:
            return busy[0].ended(timeout)
        outcomes: list[Outcome | Made] = []
        flights: list[Flight] = []
        for wait in (0.0, MOMENT):
            for pool in busy:
                some, whole = pool.ended(min(wait, timeout))
                outcomes += some
                flights += whole
            if outcomes:
                break
        return outcomes, flights

    def held(self, node: Node, row: int) -> Any:
        """Return a value that is held as it is there: with what changed while it was made."""
        return self.pool_of(node).runner.fetch((node.id, row))

    def fetch(self, node: Node, row: int, keys: tuple[Any, ...] = ()) -> Any:
        """Return a value that is held."""
        held = self.held(node, row)
        return get_keys(held.value if type(held) is Changed else held, keys)

    def drop(self, items: Iterable[Item]) -> None:
        """Let held values go."""
        for node, row in items:
            self.pool_of(node).runner.drop((node.id, row))

    def close(self, *, cancel: bool = False) -> None:
        """End: wait for what runs, or with `cancel` drop what has not started."""
        try:
            for pool in self.pools:
                pool.close(cancel=cancel)
        finally:
            if self.is_capturing:
                self.is_capturing = False
                capture.stop()
