"""One runner at work, that dies on command."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databacked.capture import Said
from databacked.engine.batches import Batch
from databacked.engine.limits import Limits
from databacked.engine.pool import KILLS, Pool
from databacked.engine.scheduler import Scheduler
from databacked.graph.calls import Graph
from databacked.graph.step import Options, Step
from databacked.runners.base import Chain, Died, Runner, lost
from databacked.types import Failure
from databacked.worker.messages import FAILED, MADE, SKIPPED, Outcome, Work

from .test_scheduler import Nobody, spec_of


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
        return [[self.outcome(work) for chain in batch for work in chain]]

    def outcome(self, work: Work) -> Outcome:
        """Return what becomes of an item."""
        return Outcome(work.spec, work.row, MADE, f"r:{work.row}", seconds=1.0)

    def fetch(self, key: tuple[int, int]) -> Any:
        raise KeyError(key)

    def drop(self, key: tuple[int, int]) -> None:
        raise KeyError(key)

    def close(self, *, cancel: bool = False) -> None:
        self.waiting.clear()


def pool_of(
    runner: Fragile, count: int, tmp_path: Path, **options: Any
) -> tuple[Pool, Any, Limits]:
    """Return a pool, the node of a map, and the limits that its batches take of."""
    graph = Graph(Nobody())
    graph.map(Step(lambda n: n, Options(name="work")), (list(range(count)),), {})
    (node,) = graph.nodes
    scheduler = Scheduler(graph)
    spec = replace(spec_of(0, kept=False, marks=False, pure=True), **options)
    scheduler.of(node).open(spec, None)
    runner.resources = {"GPU": 1}
    pool = Pool(runner, scheduler, tmp_path)
    return pool, node, pool.limits


def batch_of(node: Any, chains: Sequence[Sequence[int]]) -> Batch:
    """Return chains of items of a node."""
    works = [
        [Work(node.id, row, None, (), (), None, True, False) for row in chain] for chain in chains
    ]
    return Batch(works, [(node, row) for chain in chains for row in chain], {"GPU": 1}, node)


def finished(pool: Pool) -> tuple[dict[int, int], list[Batch]]:
    """Return what became of each item, and which batches ended."""
    states: dict[int, int] = {}
    whole: list[Batch] = []
    for _ in range(200):
        if pool.is_idle:
            return states, whole
        outcomes, ended = pool.ended(0.01)
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
    pool, node, limits = pool_of(runner, count, tmp_path_factory.getbasetemp())
    batches = [batch_of(node, one) for one in chains]
    for batch in batches:
        pool.send(batch)
    states, whole = finished(pool)
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
    assert pool.room == pool.most


def test_nothing_is_sent_beside_a_suspect(tmp_path):
    """Else it would be suspected again and again."""
    runner = Fragile({1})
    pool, node, _ = pool_of(runner, 4, tmp_path)
    pool.send(batch_of(node, [[0], [1], [2]]))
    assert pool.room == pool.most - 1
    pool.ended(0)
    assert pool.room == 0
    while not pool.is_idle:
        assert len(runner.waiting) <= 1
        pool.ended(0)
    assert runner.sent[0] == [0, 1, 2]
    assert all(len(sent) == 1 for sent in runner.sent[1:])


def test_an_error_of_the_runner_ends_the_run(tmp_path):
    """One that stands for no chain."""
    runner = Fragile(set())
    pool, node, _ = pool_of(runner, 1, tmp_path)
    pool.send(batch_of(node, [[0]]))
    runner.done = lambda timeout: [RuntimeError("no workers")]  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="no workers"):
        pool.ended(0)


class Flaky(Fragile):
    """Items raise a few times before they are made."""

    def __init__(self, raises: dict[int, int], deadly: set[int] | None = None) -> None:
        super().__init__(deadly or set())
        self.raises = raises

    def outcome(self, work: Work) -> Outcome:
        said = (Said("out", f"try {self.raises.get(work.row, 0)}"),)
        if self.raises.get(work.row, 0) <= 0:
            return super().outcome(work)._replace(said=said)
        self.raises[work.row] -= 1
        failure = Failure("work", str(work.row), {}, "ValueError", "?", 0.0)
        return Outcome(work.spec, work.row, FAILED, None, failure=failure, raised=True, said=said)


@settings(max_examples=200)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=8),
    st.integers(0, 3),
    st.sets(st.integers(0, 8)),
    st.sampled_from([0.0, 0.001]),
)
def test_what_raises_is_tried_again_as_often_as_its_task_says(
    tmp_path_factory, raises, retries, deadly, delay
):
    """Also beside items that kill their worker; an outcome counts once."""
    runner = Flaky(dict(enumerate(raises)), deadly)
    pool, node, limits = pool_of(
        runner,
        len(raises),
        tmp_path_factory.getbasetemp(),
        retries=retries,
        retry_delay=delay,
    )
    pool.send(batch_of(node, [[row] for row in range(len(raises))]))
    states, whole = finished(pool)
    assert sorted(states) == list(range(len(raises)))
    for row, count in enumerate(raises):
        good = row not in deadly and count <= retries
        assert states[row] == (MADE if good else FAILED)
    assert len(whole) == 1
    assert limits.fit({"GPU": 1})
    assert pool.room == pool.most


def test_what_was_said_in_earlier_tries_is_kept(tmp_path):
    """It says why they failed."""
    pool, node, _ = pool_of(Flaky({0: 2}), 1, tmp_path, retries=2)
    pool.send(batch_of(node, [[0]]))
    while not pool.is_idle:
        outcomes, _ = pool.ended(0)
    (outcome,) = outcomes
    assert isinstance(outcome, Outcome)
    assert [one.text for one in outcome.said] == ["try 2", "try 1", "try 0"]


def test_nobody_spins_while_an_item_waits_for_its_next_try(tmp_path):
    """Its delay is slept through."""
    runner = Flaky({0: 1})
    pool, node, _ = pool_of(runner, 1, tmp_path, retries=1, retry_delay=0.2)
    asked = 0
    done = runner.done

    def counted(timeout: float) -> list[list[Any] | BaseException]:
        nonlocal asked
        asked += 1
        return done(timeout)

    runner.done = counted  # type: ignore[method-assign]
    pool.send(batch_of(node, [[0]]))
    while not pool.is_idle:
        pool.ended(0.1)
    assert asked < 10
