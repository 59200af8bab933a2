"""One runner at work: what it knows by now, what it has and did not answer yet, deaths, retries."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from databacked.engine.batches import Batch
from databacked.engine.items import Items
from databacked.engine.limits import Limits
from databacked.engine.retries import Retries
from databacked.engine.scheduler import Scheduler
from databacked.errors import WorkerLost
from databacked.graph.calls import current
from databacked.graph.nodes import Item, Node
from databacked.runners.base import Chain, Died, Runner, again, lost
from databacked.types import Failure
from databacked.worker.columns import Made, Rows
from databacked.worker.failures import in_words
from databacked.worker.messages import FAILED, SKIPPED, Outcome, Work, shown
from databacked.worker.worker import Worker

LOST = "the worker process died while it ran this item (out of memory, or a crash in C code)"

KILLS = 2
"""Workers that an item may kill by itself before it has failed: one death may be an accident."""


class Pool:
    """Sends batches to a runner, and tells which of them have ended.

    A worker that dies takes the items of others with it. They are tried one by one, with nothing
    beside them, until the deadly one has shown itself. An item whose function raised is tried
    again as often as its task says, by whichever worker is free then.
    """

    def __init__(self, runner: Runner, scheduler: Scheduler, scratch: Path) -> None:
        self.runner = runner
        self.limits = Limits(runner.resources)
        self._scheduler = scheduler
        self._scratch = scratch
        self.is_open = False
        self._learned: set[int] = set()
        self._flights = _Flights()
        self._suspects: deque[tuple[Chain, int]] = deque()
        """Chains that were with a worker that died, and how many deaths each has seen."""
        self._alone: tuple[Chain, int] | None = None
        """The suspect that is tried by itself."""
        self._retries = Retries(scheduler)

    @property
    def most(self) -> int:
        """How many batches fly at most: each worker has one in hand, and one to go on with."""
        return 2 * self.runner.workers

    @property
    def room(self) -> int:
        """How many further batches it takes: none until it is known which item is deadly."""
        return 0 if self._suspects or self._alone else self.most - self._flights.flying

    def takes(self, are_small: bool) -> bool:
        """Whether it takes a batch: of small items no more than one at a time, where that pays."""
        return self.room > 0 and not (are_small and self.runner.one_lock and self._flights.small)

    @property
    def is_idle(self) -> bool:
        """Whether nothing flies, and nothing is to be tried again."""
        return not self._flights.items

    def learn(self, items: Items) -> None:
        """Have workers know what all items of a node share; raises if that cannot be sent."""
        if items.node.id not in self._learned:
            self.open()
            self.runner.learn(items.node.id, items.spec)
            self._learned.add(items.node.id)

    def send(self, batch: Batch) -> None:
        """Hand a batch over."""
        self.open()
        self._retries.expect(batch.chains)
        self._flights.start(batch)
        self.limits.take(batch.needs)
        self._submit(batch.chains)

    def _submit(self, chains: Sequence[Chain]) -> None:
        inside = current.set(None)  # a task that is called in a task runs at once
        try:
            self.runner.submit(chains)
        finally:
            current.reset(inside)

    def ended(self, timeout: float) -> tuple[list[Outcome | Made], list[Flight]]:
        """Return what became of items, and which batches ended with that."""
        if not self.is_open:
            return [], []
        outcomes: list[Outcome | Made] = []
        results = self.runner.done(self._retries.at_most(timeout))
        if not results and self._retries.waiting + self._suspected == self._flights.items:
            time.sleep(self._retries.at_most(timeout))  # nothing runs that would be waited for
        for result in results:
            if isinstance(result, Died):
                outcomes += self._died(result)
            elif isinstance(result, BaseException):
                outcomes += self._lost(result)
            else:
                for one in result:
                    outcomes += (one, *one.rest) if isinstance(one, Made) else (one,)
        outcomes = [kept for one in outcomes if (kept := self._counted(one)) is not None]
        for chain in self._retries.due(None if self._alone is None else self._alone[0]):
            self._flights.wait(*self._item_of(chain[0]), -1)
            self._submit([chain])
        whole: list[Flight] = []
        for one in outcomes:
            node = self._scheduler.tables[one.spec].node
            rows = one.rows if isinstance(one, Made) else (one.row,)
            flight = self._flights.land(node, rows, one) if rows else None
            if flight is not None:
                self.limits.give_back(flight.batch.needs)
                whole.append(flight)
        self._try_alone(outcomes)
        return outcomes, whole

    def _counted(self, outcome: Outcome | Made) -> Outcome | Made | None:
        """Return an outcome as it counts; None if its item waits to be tried again."""
        counted = self._retries.take(outcome)
        if counted is None and isinstance(outcome, Outcome):
            self._flights.wait(*self._item_of(outcome), 1)
        return counted

    def _item_of(self, one: Work | Outcome) -> Item:
        return self._scheduler.tables[one.spec].node, one.row

    def _died(self, death: Died) -> list[Outcome]:
        """Suspect all chains that were with a worker; one that killed twice by itself is lost."""
        alone, self._alone = self._alone, None
        if alone is not None and alone[1] >= KILLS:
            error = lost(alone[0], WorkerLost(LOST))
            return self._lost(error)
        deaths = 1 if alone is None else alone[1] + 1
        self._suspects.extend((again(chain), deaths) for chain in death.batch)
        return []

    @property
    def _suspected(self) -> int:
        """How many items wait for their turn to be tried alone."""
        return sum(len(chain) for chain, _ in self._suspects)

    def _try_alone(self, outcomes: Iterable[Outcome | Made]) -> None:
        """Send the next suspect once nothing else is with a worker."""
        if self._alone is not None:
            left = {(work.spec, work.row) for work in self._alone[0]}
            if left & {(one.spec, one.row) for one in outcomes if isinstance(one, Outcome)}:
                self._alone = None
        if self._suspects and self._alone is None and self._flights.items == self._suspected:
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

    def open(self) -> None:
        """Get ready, with the first batch."""
        if not self.is_open:
            self.runner.open(Worker, self._scratch)
            self.is_open = True

    def close(self, *, cancel: bool = False) -> None:
        """End: wait for what runs, or with `cancel` drop what has not started."""
        if self.is_open:
            self.is_open = False
            self.runner.close(cancel=cancel)


class Flight:
    """A batch that was sent."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.left = batch.size
        self.waiting = 0
        """Items that are to be tried again: no worker has them."""
        self.seconds = 0.0
        self.busy = 0.0
        self.alone = True
        """Whether nothing else flew meanwhile."""


class _Flights:
    """What was sent, and of which not all was heard yet."""

    def __init__(self) -> None:
        self.count = 0
        self.small = 0
        """Batches of small items."""
        self.grounded = 0
        """Batches of which all that is left waits to be tried again."""
        self.items = 0
        self._first: Flight | None = None
        """What flies with nothing beside it, if that is so."""
        self._of: dict[Item, Flight] = {}
        self._by_rows: dict[Node, list[Flight]] = {}

    @property
    def flying(self) -> int:
        """How many batches workers have."""
        return self.count - self.grounded

    def wait(self, node: Node, row: int, change: int) -> None:
        """An item waits for its next try, or has waited."""
        flight = self._of.get((node, row))
        if flight is not None:
            self.grounded -= flight.waiting == flight.left
            flight.waiting += change
            self.grounded += flight.waiting == flight.left

    def start(self, batch: Batch) -> None:
        """A batch was sent."""
        flight = Flight(batch)
        self.count += 1
        self.small += batch.is_small
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
        self.grounded -= flight.waiting == flight.left
        flight.left -= len(rows)
        self.grounded += bool(flight.left) and flight.waiting == flight.left
        flight.seconds += one.seconds
        flight.busy += one.busy if isinstance(one, Made) else one.seconds
        if flight.left:
            return None
        self.count -= 1
        self.small -= flight.batch.is_small
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
