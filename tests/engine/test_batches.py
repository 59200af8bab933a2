"""Batches alone: columns in, chains out."""

from __future__ import annotations

from typing import Any

from databacked.engine.batches import BATCH_SECONDS, Batches
from databacked.engine.items import HERE, IDLE, SENT, Items
from databacked.engine.limits import Limits
from databacked.engine.scheduler import Scheduler
from databacked.engine.verdict import Verdict
from databacked.graph.calls import Graph
from databacked.graph.nodes import Node
from databacked.graph.step import Options, Step
from databacked.worker.messages import Held, InChain, Work

from .test_scheduler import Nobody, spec_of


class Told:
    """Tokens that are all known."""

    def tokens_to_send(self, items: Items, row: int) -> list[str | None]:
        return []

    def token_or_mark(self, node: Node, row: int) -> str | None:
        return "r:"


class Setup:
    """Maps that follow one another, of which the last is wanted."""

    def __init__(self, count: int, steps: int, **options: Any) -> None:
        self.graph = Graph(Nobody())
        values: Any = list(range(count))
        for number in range(steps):
            step = Step(lambda x: x, Options(name=f"task{number}", **options))
            values = self.graph.map(step, (values,), {})
        self.scheduler = Scheduler(self.graph)
        self.limits = Limits({})
        self.most = 1
        self.batches = Batches(self.scheduler, Told(), self)  # type: ignore[arg-type]
        for node in self.graph.nodes:
            self.limits.allow(node.task)
            items = self.scheduler.of(node)
            spec = spec_of(node.id, kept=False, marks=False, pure=True)
            object.__setattr__(spec, "columns", tuple(node.args))
            items.open(spec, None)
            self.scheduler.add(items)
            self.scheduler.to_judge()
            tokens = {row: f"r:{node.id}.{row}" for row in range(count)}
            self.scheduler.judged(items, Verdict(tokens=tokens, whole=True))

    def want(self) -> None:
        """Want the last map."""
        self.scheduler.want(self.graph.nodes[-1], range(self.graph.nodes[-1].n))

    def next(self, most: int = 1) -> Any:
        self.most = most
        return self.batches.next(self)

    # What takes batches, and knows the tasks: one runner, with room

    def takes(self, are_small: bool) -> bool:
        return True

    def pool_of(self, node: Node) -> Any:
        return self

    def learn(self, items: Items) -> None:
        """Nothing is needed."""

    def held(self, node: Node, row: int) -> Any:
        raise AssertionError


def places(chain: list[Work]) -> list[tuple[int, int]]:
    """Return node and row of each item of a chain."""
    return [(work.spec, work.row) for work in chain]


def test_what_follows_alone_goes_along():
    """A chain an item, each value from the one before it."""
    setup = Setup(3, 3)
    setup.want()
    batch = setup.next()
    assert [places(chain) for chain in batch.chains] == [[(0, 0), (1, 0), (2, 0)]]
    first, second, _ = batch.chains[0]
    assert first.args == (0,)
    assert second.args == (InChain(0, ()),)
    assert not any(work.hold for work in batch.chains[0])
    assert set(setup.scheduler.of(setup.graph.nodes[1]).status) == {IDLE + 1, SENT}


def test_a_way_is_cut_where_a_value_is_here():
    """What was made is read where it is held."""
    setup = Setup(1, 3)
    middle = setup.graph.nodes[1]
    setup.scheduler.pin(middle, 0)
    batch = setup.next()
    assert [places(chain) for chain in batch.chains] == [[(0, 0), (1, 0)]]
    assert batch.chains[0][-1].hold
    for node in setup.graph.nodes[:2]:
        setup.scheduler.made(setup.scheduler.of(node), 0, None, held=node is middle)
    assert setup.scheduler.of(middle).status[0] == HERE
    setup.want()
    batch = setup.next()
    assert [places(chain) for chain in batch.chains] == [[(2, 0)]]
    assert batch.chains[0][0].args == (Held((1, 0), ()),)


def test_a_batch_takes_a_moment_by_the_pace_of_its_own_task():
    """Slow items of one task do not size the batches of another one."""
    setup = Setup(200, 1)
    setup.want()
    batch = setup.next()
    assert len(batch.chains) == 1  # nobody knows yet how long one takes
    setup.batches.ended(batch, BATCH_SECONDS / 10, BATCH_SECONDS / 10)
    batch = setup.next()
    assert len(batch.chains) == 10
    setup.batches.ended(batch, 10 * BATCH_SECONDS, 10 * BATCH_SECONDS)
    assert len(setup.next().chains) < 10
    assert len(setup.next(most=500).chains) == 1  # so that all have work


def test_what_is_limited_waits_for_its_share():
    """And goes on once a batch has ended, not once a piece of it has."""
    setup = Setup(3, 1, limit=1)
    setup.want()
    batch = setup.next()
    setup.limits.take(batch.needs)
    assert setup.next() is None
    assert not setup.batches.is_empty
    setup.limits.give_back(batch.needs)
    setup.batches.ended(batch, 1.0, 1.0)
    assert setup.next() is not None


def test_what_cannot_be_sent_is_named_and_the_others_go():
    """A function that no process can take, for instance."""
    setup = Setup(2, 2)
    setup.want()

    def refuse(items: Items) -> None:
        if items.node.id == 1:
            raise TypeError("cannot be sent")

    setup.learn = refuse  # type: ignore[method-assign]
    assert setup.next() is None
    (((node, row), error),) = setup.batches.errors
    assert (node.id, row, str(error)) == (1, 0, "cannot be sent")
    setup.learn = Setup.learn.__get__(setup)  # type: ignore[method-assign]
    assert [chain[0].row for chain in setup.next().chains] == [1]
    assert [chain[0].row for chain in setup.next().chains] == [0]
