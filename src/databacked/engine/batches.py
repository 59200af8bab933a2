"""What is ready as batches: chains (an item and what follows from it alone), or columns."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from databacked.engine.columns import alike_among, goes_by_rows, is_own, rows_of
from databacked.engine.items import DUE, IDLE, OPEN, Items
from databacked.engine.ready import Ready
from databacked.engine.recipes import Recipes
from databacked.engine.scheduler import Scheduler
from databacked.engine.sources import Sources
from databacked.engine.team import Pool, Team
from databacked.graph.futures import Future
from databacked.graph.nodes import Input, Item, Node
from databacked.places.judge import MISSING
from databacked.worker.columns import Rows
from databacked.worker.messages import Work

BATCH_SECONDS = 0.03
"""Batches of small items are made about this long, so that handing over costs little."""

SMALL = 200e-6
"""Seconds up to which items are small: threads that take turns at such cost more than they give."""

WAITS = 4
"""A small item that takes so many times the work in it waits for something: it is not small."""

LONGEST_BATCH = 512
"""Chains in one batch, at most."""

MOST_ROWS = 4096
"""Items in one batch of columns, at most."""

LONGEST_CHAIN = 64
"""Items in one chain, at most: what follows from what asks by calls within calls."""


@dataclass(frozen=True)
class Batch:
    """Chains that are sent together; they run one after another."""

    chains: Sequence[Sequence[Work]]
    items: Sequence[Item]
    """All items of all chains; none of columns, which name them themselves."""

    needs: Mapping[str, float]
    """What it takes of what is shared while it runs."""

    head: Node
    """What its chains begin with."""

    is_small: bool = False
    """Whether its items are so small that no other batch of such flies beside it."""

    @property
    def size(self) -> int:
        """How many items it has."""
        return len(self.items) or len(self.chains)


class Batches:
    """Puts together what is ready, as much as takes a moment by the pace of its task."""

    def __init__(self, scheduler: Scheduler, recipes: Recipes, team: Team) -> None:
        self._scheduler = scheduler
        self._team = team
        self._sources = Sources(scheduler, recipes, team)
        self._ready: defaultdict[Pool, Ready] = defaultdict(Ready)
        """What is ready, by where it runs."""
        self._seconds: dict[int, float] = {}
        """How long a chain takes that begins with a node."""
        self._small: dict[int, bool] = {}
        """Whether items of a node are so small that threads would only wait for one another."""
        self._blocked: defaultdict[tuple[Pool, frozenset[tuple[str, float]]], deque[Item]]
        self._blocked = defaultdict(deque)
        """Items that are ready, but wait for a share of what runs at once, by what they take."""
        self.errors: list[tuple[Item, BaseException]] = []
        """Items that cannot be sent, since somebody took them from here."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is ready, nor waits for a share."""
        ready = any(map(len, (self._scheduler.ready, *self._ready.values())))
        return not ready and not any(self._blocked.values())

    def next(self, pool: Pool) -> Batch | None:
        """Return the next batch of a pool and mark its items as sent; None if nothing can go."""
        if self._scheduler.ready:
            team = self._team
            self._scheduler.ready.move_to(lambda items: self._ready[team.pool_of(items.node)])
        ready = self._ready[pool]
        while (items := ready.head) is not None:
            if not pool.takes(self._is_small(items)):
                # Small items wait for one another; what is larger goes on meanwhile.
                if pool.takes(False) and ready.bring(lambda one: not self._is_small(one)):
                    continue
                return None
            if not (goes_by_rows(items) and is_own(items.found.get(ready.first, MISSING))):
                return self._chains(pool, ready)
            batch = self._rows(pool, ready, items)
            if batch is not None:
                return batch
        return None

    def _is_small(self, items: Items) -> bool:
        return self._small.get(items.node.id, False)

    def _size(self, node: Node, pool: Pool, longest: int) -> int:
        """Return how many chains that begin with a node take a moment, so that all have work."""
        seconds = self._seconds.get(node.id)
        wanted = 1 if seconds is None else int(BATCH_SECONDS / seconds)
        return max(1, min(wanted, longest, (len(self._ready[pool]) + 1) // pool.most))

    def _rows(self, pool: Pool, ready: Ready, items: Items) -> Batch | None:
        """Return items of one node as columns; None if these are lost, or cannot be sent."""
        scheduler, node = self._scheduler, items.node
        taken = ready.take(self._size(node, pool, MOST_ROWS))
        rows = alike_among(items, taken)
        if len(rows) < len(taken):
            own = set(rows)
            rest = [row for row in taken if items.status[row] == DUE and row not in own]
            ready.add(items, rest, first=True)
        if not rows:
            return None
        odd = self._learned([(node, row) for row in rows[:1]])
        if odd is not None:
            self.errors += [((node, row), odd[1]) for row in rows]
            return None
        scheduler.sent_all(items, rows)
        return Batch(rows_of(items, rows), (), {}, node, self._is_small(items))

    def _chains(self, pool: Pool, ready: Ready) -> Batch | None:
        """Return chains that begin with items of one node; None if nothing can go."""
        scheduler = self._scheduler
        chains: list[list[Work]] = []
        items: list[Item] = []
        needs: dict[str, float] = {}
        head: Node | None = None
        size = 1
        while (table := ready.head) is not None and len(chains) < size:
            node = table.node
            if head is not None and node is not head:
                break
            (row,) = ready.take()
            if table.status[row] != DUE:
                continue
            chain = self._chain(node, row)
            own = _needs(chain)
            # Chains of a batch run one after another: the batch needs the most that one does.
            both = {name: max(needs.get(name, 0), own.get(name, 0)) for name in {**needs, **own}}
            if not pool.limits.fit(both):
                self._blocked[pool, frozenset(own.items())].append((node, row))
                continue
            odd = self._learned(chain)
            if odd is not None:
                self.errors.append(odd)
                if odd[0] != (node, row):
                    ready.add(table, [row])
                break
            try:
                works = self._sources.works(chain)
            except Exception as error:  # the record of what it reads is gone, for instance
                self.errors.append(((node, row), error))
                continue
            needs = both
            if head is None:
                head = node
                size = self._size(node, pool, LONGEST_BATCH)
            for member, index in chain:
                scheduler.sent(scheduler.of(member), index)
            chains.append(works)
            items += chain
        return None if head is None else Batch(chains, items, needs, head)

    def ended(self, batch: Batch, seconds: float, busy: float, alone: bool = True) -> None:
        """Learn how long a batch took, and let those go on that waited for its share.

        Parameters
        ----------
        busy
            Seconds in which its worker did not wait.
        alone
            Whether no other batch ran meanwhile.
        """
        each = max(seconds / len(batch.chains), 1e-7)
        if isinstance(batch.chains, Rows):
            self._learn_size(batch.head, busy / len(batch.chains), seconds < WAITS * busy, alone)
        before = self._seconds.get(batch.head.id)
        self._seconds[batch.head.id] = each if before is None else (before + each) / 2
        for (pool, needs), waiting in self._blocked.items():
            if waiting and pool.limits.fit(dict(needs)):
                for _ in range(min(len(waiting), LONGEST_BATCH)):
                    node, row = waiting.popleft()
                    self._scheduler.ready.add(self._scheduler.of(node), [row])

    def _learn_size(self, head: Node, busy: float, is_work: bool, alone: bool) -> None:
        """Learn whether items are small; beside others they look twice as large as they are.

        What only looked small beside others is not tried again: it goes in several threads.
        """
        before = self._small.get(head.id)
        if alone and before is not None:
            self._small[head.id] = is_work and busy < SMALL
        elif before is None and is_work and busy < 2 * SMALL:
            self._small[head.id] = True

    def _learned(self, chain: Iterable[Item]) -> tuple[Item, Exception] | None:
        for node, row in chain:
            try:
                self._team.learn(self._scheduler.of(node))
            except Exception as error:
                return (node, row), error
        return None

    # Chains

    def _chain(self, node: Node, row: int) -> list[Item]:
        """Return an item and what follows from it alone."""
        scheduler, pool = self._scheduler, self._team.pool_of(node)
        members: list[Item] = []
        places: dict[Item, int] = {}

        def add(one: Node, index: int) -> None:
            places[one, index] = len(members)
            members.append((one, index))
            for reader, name in one.readers:
                table = scheduler.of(reader)
                if not table.is_open or table.spec.marks:  # it waits for what becomes of all
                    continue
                if table.spec.retries or self._team.pool_of(reader) is not pool:
                    continue
                arg = reader.args[name]
                rows = arg.reading(one, index)
                if arg.length() is None and reader.n == one.n == len(one.readers) == 1:
                    rows = (0,) if _is_just(arg, one) else ()
                for follower in rows if len(rows) == 1 else ():
                    status = table.status[follower]
                    if (
                        len(members) < LONGEST_CHAIN
                        and (reader, follower) not in places
                        and status in (OPEN, IDLE, DUE)
                        and (table.targets is None or table.targets[follower] is not None)
                        and scheduler.is_relevant(table, follower)
                        and not (table.spec.remembers and status == OPEN)
                        and joins(table, follower)
                    ):
                        add(reader, follower)

        def joins(table: Items, index: int) -> bool:
            lacking: list[Item] = []
            for arg in table.node.args.values():
                for above in (*arg.items(index), *(arg.shared() if table.n == 1 else ())):
                    real = scheduler.real(*above)
                    if real in places or scheduler.is_here(*real):
                        continue
                    if self._team.pool_of(real[0]) is not pool or not self._absorbs(*real):
                        return False
                    lacking.append(real)
                if table.n > 1 and not all(scheduler.is_here(*one) for one in arg.shared()):
                    return False
            for above in lacking:
                if above not in places:
                    places[above] = len(members)
                    members.append(above)
            return True

        if scheduler.of(node).spec.retries:
            return [(node, row)]  # it may be sent once more, and nothing else with it
        add(node, row)
        return members

    def _absorbs(self, node: Node, row: int) -> bool:
        """Whether an item that is not kept can be made where it is read."""
        items = self._scheduler.of(node)
        return (
            items.is_open
            and not items.spec.is_kept
            and items.spec.pure
            and not items.spec.retries
            and node.n > 1
            and items.status[row] in (IDLE, DUE)
            and len(node.readers) == 1
            and all(self._scheduler.is_here(*item) for item in node.reads(row))
        )


def _is_just(arg: Input, node: Node) -> bool:
    """Whether an argument is one future of a node, and nothing around it."""
    given = arg.given(0)
    return type(given) is Future and given.node is node and given.index is not None


def _needs(chain: Iterable[Item]) -> dict[str, float]:
    """Return what a chain takes of what is shared while it runs."""
    needs: dict[str, float] = {}
    for node, _ in chain:
        options = node.task.options
        if options.limit is None and not options.resources:
            continue
        if options.limit is not None:
            needs[f"limit of {node.name}"] = 1
        for name, amount in options.resources.items():
            needs[name] = max(needs.get(name, 0), amount)
    return needs
