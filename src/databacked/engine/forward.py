"""What is known, followed to where it leads: the graph grows, items are judged and wanted.

Nobody works here, so that a run and a plan of one share it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from databacked.engine.items import HERE, IDLE, OPEN, Items
from databacked.engine.planner import Planner
from databacked.engine.scheduler import Scheduler
from databacked.engine.verdict import Verdict
from databacked.graph.calls import Graph
from databacked.graph.futures import Future
from databacked.graph.nodes import Dynamic, Item, Node, nodes_in
from databacked.graph.sketch import sketch
from databacked.graph.step import Step
from databacked.types import Failure


class Teller(Protocol):
    """Who is told what is found out; a run records it, a plan counts it."""

    def opened(self, items: Items) -> None:
        """Hear of a node of which all is known that its items share."""

    def begin(self, items: Items, verdict: Verdict) -> Verdict:
        """Hear what was found out about items; return it as it counts."""

    def failed(self, items: Items, row: int, error: BaseException) -> Failure:
        """Hear of an error that belongs to an item; return it as a failure."""

    def count_all(self, items: Iterable[Item], word: str) -> None:
        """Hear what became of items."""


class Forward:
    """Goes on as far as it gets without anybody at work.

    Parameters
    ----------
    allow
        Takes in what a task says of resources; raises if it could never run.
    fetch
        Returns the value of an item that is here.
    """

    def __init__(
        self,
        graph: Graph,
        planner: Planner,
        scheduler: Scheduler,
        allow: Callable[[Step], None],
        teller: Teller,
        fetch: Callable[[Items, int], Any],
    ) -> None:
        self._graph = graph
        self._planner = planner
        self._scheduler = scheduler
        self._allow = allow
        self._teller = teller
        self._fetch = fetch
        self.everything = False
        """Whether the flow's function has returned: all that it keeps is wanted."""
        self._closed: list[Node] = []
        """Nodes that read maps whose items are not all known yet."""
        self._seen = 0
        """How many nodes of the graph were taken in."""
        self._pins: list[Future] = []
        """Items that the flow returns of maps whose items are not all known."""
        self._pinned: set[Dynamic] = set()
        """Maps that the flow returns as a whole."""
        self._late: dict[Item, list[Item]] = {}
        """Items whose targets depend on what others return."""

    @property
    def is_done(self) -> bool:
        """Whether all that is wanted is there or lost, and nothing is yet to become known."""
        return not (self._scheduler.open or self._closed or self._graph.growth.is_waiting)

    def finish(self, futures: Iterable[Future]) -> None:
        """Want all that a flow keeps, and hold what it returns."""
        self.everything = True
        for future in futures:
            self.pin(future)
        for node in self._graph.nodes[: self._seen]:
            self.want_all(node)

    def go_on(self) -> None:
        """Follow what is known by now, until somebody has to work, or nothing is left."""
        scheduler, teller = self._scheduler, self._teller
        while True:
            self.grow()
            busy = self.judge()
            if unread := scheduler.to_read():
                failed = self._planner.recipes.read(unread)
                for (node, row), error in failed.items():
                    self.fail(node, row, error)
                for node, row in unread:
                    scheduler.again(node, row)
            for node, row in (curious := scheduler.to_learn()):
                self._learn(node, row)
            for item in self._graph.growth.take_released():
                scheduler.maybe_drop(*item)
            teller.count_all(scheduler.take_lost(), "skipped")
            teller.count_all(scheduler.take_reused(), "reused")
            if not (busy or unread or curious or self._seen < len(self._graph.nodes)):
                return

    def grow(self) -> None:
        """Take in what the graph became meanwhile."""
        nodes = self._graph.nodes
        new = len(nodes) - self._seen
        if self._seen < len(nodes):
            for node in nodes[self._seen :]:
                if self._pinned and any(map in self._pinned for map in parents_of(node)):
                    self.pin(Future(node, None))
            self._closed += nodes[self._seen :]
            self._seen = len(nodes)
        for item in self._graph.growth.take_asked():
            self._scheduler.be_curious(*item)
        waiting = {node.id for node in self._closed[: len(self._closed) - new]}
        closed, self._closed = self._closed, []
        for node in closed:
            if any(arg.undecided() for arg in node.args.values()):
                self._closed.append(node)
                continue
            items = self._scheduler.of(node)
            self._allow(node.task)
            self._planner.open(items)
            self._teller.opened(items)
            self._scheduler.add(items, late=node.id in waiting)
            self.judge()
        pins, self._pins = self._pins, []
        for future in pins:
            self.pin(future)

    def judge(self) -> bool:
        """Judge what can be judged by now; return whether anything was."""
        scheduler, busy = self._scheduler, False
        while (given := scheduler.to_judge()) is not None:
            items, rows = given
            with _uninterrupted(items.n):
                self._judge(items, rows)
            busy = True
        return busy

    def _judge(self, items: Items, rows: list[int] | None) -> None:
        scheduler = self._scheduler
        verdict = self._teller.begin(items, self._planner.judge(items, rows))
        for row, error in verdict.errors.items():
            if items.status[row] in (OPEN, IDLE):
                self.fail(items.node, row, error)
        scheduler.judged(items, verdict)
        if verdict.whole and self.everything:
            self.want_all(items.node)
        for row, above in verdict.late.items():
            for item in above:
                self._late.setdefault(item, []).append((items.node, row))
                scheduler.be_curious(*item)
        for item in verdict.unread:
            scheduler.ask(*item)

    def want_all(self, node: Node) -> None:
        """Want what a flow keeps, and calls that nobody reads."""
        items = self._scheduler.of(node)
        if items.is_open and (
            items.spec.is_kept
            or items.spec.forced
            or not (node.readers or node.decides or node.promised)
        ):
            self._scheduler.want(node, items.rows(OPEN, IDLE))

    def pin(self, future: Future) -> None:
        """Hold what a future stands for, also where it is not known yet how many items it has."""
        node = future.node
        if isinstance(node, Dynamic) and not node.complete:
            if future.index is not None:
                self._pins.append(future)
                return
            self._pinned.add(node)
            items = [item for block in nodes_in(node) for item in block.items()]
        else:
            items = future.items()
        for item in items:
            self._scheduler.pin(*item)

    def fail(self, node: Node, row: int, error: BaseException) -> Failure:
        """Take an error that the driver met for the failure of the item that it belongs to."""
        items = self._scheduler.of(node)
        failure = self._teller.failed(items, row, error)
        self._scheduler.lose(items, row, failure)
        return failure

    def _learn(self, node: Node, row: int) -> None:
        """Have what an item returns made known, because other nodes depend on it."""
        if row not in node.known and row not in node.lost and not self._find_out(node, row):
            return
        self._scheduler.learned(node, row)
        self._graph.growth.learn(node, row)
        for item in self._late.pop((node, row), ()):
            self._scheduler.again(*item)

    def _find_out(self, node: Node, row: int) -> bool:
        """Find out what an item returns, if that can be done now; else have it made."""
        real, index = self._scheduler.real(node, row)
        items = self._scheduler.of(real)
        if not items.is_open:
            return False
        if items.status[index] == HERE:
            try:
                node.known[row] = sketch(self._fetch(items, index))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self.fail(real, index, error)
            return True
        token = self._planner.recipes.token(real, index)
        if not items.spec.is_kept and token is None and items.status[index] == IDLE:
            if self._planner.small.has_any(items.spec.owner.task):
                self._scheduler.ask(real, index)  # it comes back here once its token is known
                return False
        elif token is not None and (found := self._planner.small.of(token)):
            (node.known[row],) = found
            return True
        self._scheduler.want(real, (index,))
        return False


MANY = 1000
"""Items of a node from which on it pays to judge them without collections of garbage."""


@contextmanager
def _uninterrupted(count: int) -> Iterator[None]:
    """Judge many items: what that makes stays, and no part of it is a circle.

    Else the collector goes through all of it again and again.
    """
    pause = count >= MANY and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()


def parents_of(node: Node) -> Iterator[Dynamic]:
    """Yield the maps that a node is a block of."""
    map = node.parent
    while map is not None:
        yield map
        map = map.parent
