"""Who works: a runner, what it knows by now, and what it has and did not answer yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from databacked import capture
from databacked.engine.batches import Batch, Batches
from databacked.engine.items import Items
from databacked.engine.limits import Limits
from databacked.engine.scheduler import Scheduler
from databacked.errors import WorkerLost
from databacked.graph.calls import current
from databacked.graph.nodes import Item, Node
from databacked.places.parts import get_keys
from databacked.runners.base import Chain, Died, Runner, again, lost
from databacked.types import Failure
from databacked.worker.columns import Made, Rows
from databacked.worker.failures import in_words
from databacked.worker.messages import FAILED, SKIPPED, Outcome, Work, shown
from databacked.worker.watch import Changed
from databacked.worker.worker import Worker

LOST = "the worker process died while it ran this item (out of memory, or a crash in C code)"

KILLS = 2
"""Workers that an item may kill by itself before it has failed: one death may be an accident."""


class Crew:
    """Sends batches to a runner, and tells which of them have ended.

    A worker that dies takes the items of others with it. They are tried one by one, with nothing
    beside them, until the deadly one has shown itself.
    """

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
        self._flights = _Flights()
        self._suspects: deque[tuple[Chain, int]] = deque()
        """Chains that were with a worker that died, and how many deaths each has seen."""
        self._alone: tuple[Chain, int] | None = None
        """The suspect that is tried by itself."""

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
        """How many further batches it takes: none until it is known which item is deadly."""
        return 0 if self._suspects or self._alone else self.most - self._flights.count

    def takes(self, batches: Batches) -> bool:
        """Whether it takes what is next: of small items no more than one batch where that pays."""
        if self.room <= 0:
            return False
        return not (self._runner.one_lock and self._flights.count and batches.are_small)

    @property
    def is_idle(self) -> bool:
        """Whether nothing flies."""
        return not self._flights.items

    def learn(self, items: Items) -> None:
        """Have workers know what all items of a node share; raises if that cannot be sent."""
        if items.node.id not in self._learned:
            self._open()
            self._runner.learn(items.node.id, items.spec)
            self._learned.add(items.node.id)

    def send(self, batch: Batch) -> None:
        """Hand a batch over."""
        self._open()
        self._flights.start(batch)
        self._limits.take(batch.needs)
        self._submit(batch.chains)

    def _submit(self, chains: Sequence[Chain]) -> None:
        inside = current.set(None)  # a task that is called in a task runs at once
        try:
            self._runner.submit(chains)
        finally:
            current.reset(inside)

    def ended(self, timeout: float) -> tuple[list[Outcome | Made], list[Flight]]:
        """Return what became of items, and which batches ended with that."""
        outcomes: list[Outcome | Made] = []
        for result in self._runner.done(timeout):
            if isinstance(result, Died):
                outcomes += self._died(result)
            elif isinstance(result, BaseException):
                outcomes += self._lost(result)
            else:
                for one in result:
                    outcomes += (one, *one.rest) if isinstance(one, Made) else (one,)
        whole: list[Flight] = []
        for one in outcomes:
            node = self._scheduler.tables[one.spec].node
            rows = one.rows if isinstance(one, Made) else (one.row,)
            flight = self._flights.land(node, rows, one) if rows else None
            if flight is not None:
                self._limits.give_back(flight.batch.needs)
                whole.append(flight)
        self._try_alone(outcomes)
        return outcomes, whole

    def _died(self, death: Died) -> list[Outcome]:
        """Suspect all chains that were with a worker; one that killed twice by itself is lost."""
        alone, self._alone = self._alone, None
        if alone is not None and alone[1] >= KILLS:
            error = lost(alone[0], WorkerLost(LOST))
            return self._lost(error)
        deaths = 1 if alone is None else alone[1] + 1
        self._suspects.extend((again(chain), deaths) for chain in death.batch)
        return []

    def _try_alone(self, outcomes: Iterable[Outcome | Made]) -> None:
        """Send the next suspect once nothing else is with a worker."""
        if self._alone is not None:
            left = {(work.spec, work.row) for work in self._alone[0]}
            if left & {(one.spec, one.row) for one in outcomes if isinstance(one, Outcome)}:
                self._alone = None
        waiting = sum(len(chain) for chain, _ in self._suspects)
        if self._suspects and self._alone is None and self._flights.items == waiting:
            self._alone = self._suspects.popleft()
            self._submit([self._alone[0]])

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


class Flight:
    """A batch that was sent."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.left = batch.size
        self.seconds = 0.0
        self.busy = 0.0
        self.alone = True
        """Whether nothing else flew meanwhile."""


class _Flights:
    """What was sent, and of which not all was heard yet."""

    def __init__(self) -> None:
        self.count = 0
        self.items = 0
        self._first: Flight | None = None
        """What flies with nothing beside it, if that is so."""
        self._of: dict[Item, Flight] = {}
        self._by_rows: dict[Node, list[Flight]] = {}

    def start(self, batch: Batch) -> None:
        """A batch was sent."""
        flight = Flight(batch)
        self.count += 1
        flight.alone = self.count == 1
        if self._first is not None and not flight.alone:
            self._first.alone = False
        self._first = flight if flight.alone else None
        self.items += flight.left
        if isinstance(batch.chains, Rows):
            self._by_rows.setdefault(batch.head, []).append(flight)
        else:
            self._of.update(dict.fromkeys(batch.items, flight))

    def land(self, node: Node, rows: Sequence[int], one: Outcome | Made) -> Flight | None:
        """Items have ended; return the batch that ended with them."""
        flight = self._of.pop((node, rows[0]), None) or self._with(node, rows[0])
        if flight is None:
            return None
        self.items -= len(rows)
        flight.left -= len(rows)
        flight.seconds += one.seconds
        flight.busy += one.busy if isinstance(one, Made) else one.seconds
        if flight.left:
            return None
        self.count -= 1
        if node in self._by_rows and flight in self._by_rows[node]:
            self._by_rows[node].remove(flight)
        return flight

    def _with(self, node: Node, row: int) -> Flight | None:
        for flight in self._by_rows.get(node, ()):
            chains = flight.batch.chains
            if isinstance(chains, Rows) and row in chains.rows:
                return flight
        return None


def _lost_item(work: Work, node: Node, why: str, number: int) -> Outcome:
    failure = Failure(node.name, shown(work.target or str(work.row)), {}, why, "?", 0.0)
    state = FAILED if number == 0 else SKIPPED
    return Outcome(work.spec, work.row, state, None, failure=failure)
