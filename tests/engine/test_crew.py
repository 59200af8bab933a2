"""The crew alone, with a runner that dies on command."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databacked.engine.batches import Batch
from databacked.engine.crew import KILLS, Crew
from databacked.engine.limits import Limits
from databacked.engine.scheduler import Scheduler
from databacked.graph.calls import Graph
from databacked.graph.step import Options, Step
from databacked.runners.base import Chain, Died, Runner, lost
from databacked.worker.messages import FAILED, MADE, SKIPPED, Outcome, Work

from .test_scheduler import Nobody


class Fragile(Runner):
    """Keeps batches until it is asked, and dies of some items with all that is with it."""

    workers = 2

    def __init__(self, deadly: set[int], accidents: int = 0) -> None:
        self.deadly = deadly
        self.accidents = accidents
        """How often it dies of nothing that would kill it again."""
        self.sent: list[list[int]] = []
        self.waiting: deque[Sequence[Chain]] = deque()

    def open(self, make_worker: Any, scratch: Path) -> None:
        """Nothing is needed."""

    def learn(self, number: int, spec: Any) -> None:
        """Nothing is needed."""

    def submit(self, batch: Sequence[Chain]) -> None:
        self.sent.append([work.row for chain in batch for work in chain])
        self.waiting.append(batch)

    def done(self, timeout: float) -> list[list[Any] | BaseException]:
        if not self.waiting:
            return []
        batch = self.waiting.popleft()
        rows = [work.row for chain in batch for work in chain]
        if self.deadly & set(rows) or self.accidents:
            self.accidents -= bool(self.accidents) and not self.deadly & set(rows)
            others, self.waiting = self.waiting, deque()
            return [Died(one) for one in (batch, *others)]
        if -1 in rows:
            return [lost(batch[0], ValueError("cannot be sent"))]
        works = [work for chain in batch for work in chain]
        return [
            [Outcome(work.spec, work.row, MADE, f"r:{work.row}", seconds=1.0) for work in works]
        ]

    def fetch(self, key: tuple[int, int]) -> Any:
        raise KeyError(key)

    def drop(self, key: tuple[int, int]) -> None:
        raise KeyError(key)

    def close(self, *, cancel: bool = False) -> None:
        self.waiting.clear()


def crew_of(runner: Fragile, count: int, tmp_path: Path) -> tuple[Crew, Any, Limits]:
    """Return a crew, the node of a map, and the limits that its batches take of."""
    graph = Graph(Nobody())
    graph.map(Step(lambda n: n, Options(name="work")), (list(range(count)),), {})
    (node,) = graph.nodes
    scheduler = Scheduler(graph)
    scheduler.of(node)
    limits = Limits({"GPU": 1})
    return Crew(runner, scheduler, limits, tmp_path, captures=False), node, limits


def batch_of(node: Any, chains: Sequence[Sequence[int]]) -> Batch:
    """Return chains of items of a node."""
    works = [
        [Work(node.id, row, None, (), (), None, True, False) for row in chain] for chain in chains
    ]
    return Batch(works, [(node, row) for chain in chains for row in chain], {"GPU": 1}, node)


def finished(crew: Crew) -> tuple[dict[int, int], list[Batch]]:
    """Return what became of each item, and which batches ended."""
    states: dict[int, int] = {}
    whole: list[Batch] = []
    for _ in range(200):
        if crew.is_idle:
            return states, whole
        outcomes, ended = crew.ended(0)
        for outcome in outcomes:
            assert isinstance(outcome, Outcome)
            assert outcome.row not in states, "an item ended twice"
            states[outcome.row] = outcome.state
        whole += [flight.batch for flight in ended]
    raise AssertionError("it never ends")


CHAINS = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@settings(max_examples=300)
@given(st.lists(CHAINS, min_size=1, max_size=4), st.sets(st.integers(0, 20)), st.integers(0, 1))
def test_only_the_deadly_item_fails(tmp_path_factory, sizes, deadly, accidents):
    """Whatever was with the worker, and in however many batches."""
    chains: list[list[list[int]]] = []
    count = 0
    for batch in sizes:
        chains.append([])
        for size in batch:
            chains[-1].append(list(range(count, count + size)))
            count += size
    runner = Fragile(deadly, accidents)
    crew, node, limits = crew_of(runner, count, tmp_path_factory.getbasetemp())
    batches = [batch_of(node, one) for one in chains]
    for batch in batches:
        crew.send(batch)
    states, whole = finished(crew)
    assert sorted(states) == list(range(count))
    for chain in (chain for one in chains for chain in one):
        if deadly & set(chain):
            assert [states[row] for row in chain] == [FAILED] + [SKIPPED] * (len(chain) - 1)
            alone = [sent for sent in runner.sent if sent == chain]
            assert len(alone) >= KILLS
        else:
            assert {states[row] for row in chain} == {MADE}
    assert sorted(map(id, whole)) == sorted(map(id, batches))
    assert limits.fit({"GPU": 1}), "an ended batch still has its share"
    assert crew.room == crew.most


def test_nothing_is_sent_beside_a_suspect(tmp_path):
    """Else it would be suspected again and again."""
    runner = Fragile({1})
    crew, node, _ = crew_of(runner, 4, tmp_path)
    crew.send(batch_of(node, [[0], [1], [2]]))
    assert crew.room == crew.most - 1
    crew.ended(0)
    assert crew.room == 0
    while not crew.is_idle:
        assert len(runner.waiting) <= 1
        crew.ended(0)
    assert runner.sent[0] == [0, 1, 2]
    assert all(len(sent) == 1 for sent in runner.sent[1:])


def test_an_error_of_the_runner_ends_the_run(tmp_path):
    """One that stands for no chain."""
    runner = Fragile(set())
    crew, node, _ = crew_of(runner, 1, tmp_path)
    crew.send(batch_of(node, [[0]]))
    runner.done = lambda timeout: [RuntimeError("no workers")]  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="no workers"):
        crew.ended(0)
