"""The scheduler alone: events in any order, on graphs that nobody thought of; no disk."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databacked.engine.items import DUE, HERE, IDLE, LOST, OPEN, STEPS, TWIN, Items, Status
from databacked.engine.recount import recount
from databacked.engine.scheduler import Scheduler
from databacked.engine.verdict import Verdict
from databacked.graph.calls import Graph
from databacked.graph.futures import Future, Futures
from databacked.graph.nodes import Item, Node
from databacked.graph.step import Options, Step
from databacked.places.judge import Found
from databacked.records.owners import Owner
from databacked.worker.messages import Spec


class Nobody:
    """What the graph belongs to: nobody asks it for anything."""

    def result(self, asked: Any) -> Any:
        raise AssertionError

    table = result


def spec_of(number: int, *, kept: bool, marks: bool, pure: bool) -> Spec:
    """Return what the scheduler wants to know of a task."""
    return Spec(
        id=number,
        name=f"task{number}",
        owner=Owner("", "", "", ""),
        function=None,
        order=(),
        positional=(),
        plain={},
        columns=(),
        arrives={},
        inputs=frozenset(),
        base="",
        place=None,
        fields={},
        context="",
        run="",
        retries=0,
        retry_delay=0.0,
        shared=False,
        marks=marks,
        checks=(),
        root="",
        pure=pure,
        remembers=kept,
    )


class Trial:
    """A random graph, what an earlier run left of it, and a way through it in any order."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.graph = Graph(Nobody())
        self.scheduler = Scheduler(self.graph)
        self.specs: list[Spec] = []
        self.made: Counter[Item] = Counter()
        self.held: set[Item] = set()
        self.judged: dict[Item, tuple[Any, ...]] = {}
        self.flying: list[tuple[Item, bool]] = []
        answers: list[Futures | Future] = []
        for number in range(self.rng.randint(1, 6)):
            answers.append(self.call(number, answers))
        nodes = self.graph.nodes
        items = [(node, row) for node in nodes for row in range(node.n)]
        self.bad = {item for item in items if self.rng.random() < 0.05}
        self.before = {item: self.content(item, self.told_before(item)) for item in items}
        self.gone = {item for item in items if self.rng.random() < 0.3}
        self.late = list(nodes)
        self.rng.shuffle(self.late)

    def call(self, number: int, above: list[Futures | Future]) -> Futures | Future:
        """Call a task of what was called before: rows picked, groups, lists a row, whole maps."""
        rng = self.rng
        kept = rng.random() < 0.5
        marks = rng.random() < 0.15
        pure = kept or rng.random() < 0.9
        self.specs.append(spec_of(number, kept=kept, marks=marks, pure=pure))
        step = Step(lambda n=0, a=0, b=0: n, Options(name=f"task{number}"))
        if rng.random() < 0.2:
            return self.graph.call(step, (), dict(zip("ab", self.some(above), strict=False)))
        n = rng.randint(1, 5)
        given: dict[str, Any] = {"n": list(range(n))}
        for name, one in zip("ab", self.some(above), strict=False):
            many = list(one) if isinstance(one, Futures) else [one]
            kind = rng.random()
            if kind < 0.5:
                given[name] = [rng.choice(many) for _ in range(n)]
            elif kind < 0.7:  # a list a row
                given[name] = [rng.sample(many, rng.randint(0, len(many))) for _ in range(n)]
            else:
                given[name] = {"of": one}
        return self.graph.map(step, (), given)

    def some(self, above: list[Any]) -> list[Any]:
        return self.rng.sample(above, min(len(above), self.rng.randint(0, 2)))

    # What items count by

    def told_before(self, item: Item) -> tuple[Any, ...]:
        """Return what an item's inputs counted by in the run before, which nothing disturbed."""
        return tuple(self.before_token(above) for above in self.inputs(item))

    def before_token(self, item: Item) -> Any:
        told = self.told_before(item)
        return self.content(item, told) if self.is_kept(item) else (self.key(item), told)

    def inputs(self, item: Item) -> list[Item]:
        node, row = item
        args = node.args.values()
        return [one for arg in args for one in (*arg.items(row), *arg.shared())]

    def tokens(self, item: Item) -> tuple[Any, ...]:
        return tuple(
            "failed" if row in node.lost else self.told(node, row)
            for node, row in self.inputs(item)
        )

    def told(self, node: Node, row: int) -> Any:
        """Return what an item counts by; of which nobody asked before, that is made out now."""
        items = self.scheduler.of(node)
        if items.is_untold:
            items.is_untold = False
            for one in range(items.n):
                if items.status[one] != LOST and items.token[one] is None:
                    items.token[one] = (self.key((node, one)), self.tokens((node, one)))  # type: ignore[call-overload]
        return items.token[row]

    def is_kept(self, item: Item) -> bool:
        return self.specs[item[0].id].is_kept

    @staticmethod
    def key(item: Item) -> tuple[int, int]:
        return item[0].id, item[1]

    def content(self, item: Item, told: tuple[Any, ...]) -> Any:
        """Return a content; different inputs may give the same."""
        return "c", self.key(item)[0], hash((self.key(item), told)) % 7

    def is_hit(self, item: Item) -> bool:
        """Whether an item is there by what it read when it was judged."""
        told = self.judged.setdefault(item, self.tokens(item))
        return item not in self.gone and self.before[item] == self.content(item, told)

    # Events

    def run(self) -> None:
        """Let things happen in any order until nothing can."""
        scheduler, rng = self.scheduler, self.rng
        self.wishes = [
            (node, row)
            for node in self.graph.nodes
            for row in range(node.n)
            if self.specs[node.id].is_kept or not node.readers
        ]
        rng.shuffle(self.wishes)
        if rng.random() < 0.5:  # all at once; else one by one, while others are at work or done
            for node, row in self.wishes:
                scheduler.want(node, (row,))
            self.wishes = []
        for node in rng.sample(self.graph.nodes, 1):
            scheduler.pin(node, 0)
        while self.step():
            recount(scheduler)
            self.held -= set(scheduler.to_drop())
        assert scheduler.open == 0, "it hangs"

    def step(self) -> bool:
        choices = [self.judge, self.send, self.end, self.open_one, self.wish]
        self.rng.shuffle(choices)
        return any(choice() for choice in choices)

    def open_one(self) -> bool:
        if not self.late:
            return False
        items = self.scheduler.of(self.late.pop())
        items.open(self.specs[items.node.id], None)
        self.scheduler.add(items, late=True)
        return True

    def wish(self) -> bool:
        if not self.wishes or self.rng.random() < 0.5:
            return bool(self.wishes)
        node, row = self.wishes.pop()
        self.scheduler.want(node, (row,))
        return True

    def judge(self) -> bool:
        given = self.scheduler.to_judge()
        if given is None:
            return False
        items, rows = given
        self.scheduler.judged(items, self.verdict(items, rows))
        return True

    def verdict(self, items: Items, rows: Any) -> Verdict:
        node = items.node
        nobodys = not (items.spec.is_kept or items.spec.marks or items.shared_unknown)
        if rows is None and nobodys and not any(items.unknown) and self.rng.random() < 0.8:
            return Verdict(idle=items.rows(OPEN), untold=True, whole=True)
        tokens, fresh, due = {}, {}, {}
        for row in range(node.n) if rows is None else rows:
            if None in self.tokens((node, row)):
                continue
            if not items.spec.is_kept:
                tokens[row] = (self.key((node, row)), self.tokens((node, row)))
            elif self.is_hit((node, row)):
                fresh[row] = self.before[node, row]
            else:
                due[row] = Found("missing")
        return Verdict(tokens=tokens, fresh=fresh, due=due, whole=rows is None)  # type: ignore[arg-type]

    def send(self) -> bool:
        ready = self.scheduler.ready
        while ready:
            items = ready.head
            assert items is not None
            (row,) = ready.take()
            node = items.node
            if items.status[row] != DUE:
                continue  # lost meanwhile
            for item in self.inputs((node, row)):
                assert self.scheduler.is_here(*item) or self.scheduler.is_lost(*item)
            hold = items.spec.is_kept or row in items.pinned or not items.spec.pure
            hold = hold or self.scheduler.is_needed(items, row, ())
            self.scheduler.sent(items, row)
            self.flying.append(((node, row), hold))
            return True
        return False

    def end(self) -> bool:
        if not self.flying:
            return False
        (node, row), hold = self.flying.pop(self.rng.randrange(len(self.flying)))
        items = self.scheduler.of(node)
        if (node, row) in self.bad:
            self.scheduler.lose(items, row, f"{node.id}[{row}]")
        else:
            kept = items.spec.is_kept
            told = () if items.is_untold else self.tokens((node, row))
            token = self.content((node, row), told) if kept else (self.key((node, row)), told)
            token = None if items.is_untold else token
            self.made[node, row] += 1
            if hold and not kept:
                self.held.add((node, row))
            self.scheduler.made(items, row, token, hold)  # type: ignore[arg-type]
        self.scheduler.ended(items, row)
        self.scheduler.maybe_drop(node, row)
        return True


@settings(max_examples=1500)
@given(st.integers(0, 2**32))
def test_every_graph_ends_and_makes_exactly_what_is_stale(seed):
    """All is counted again after each event."""
    trial = Trial(seed)
    trial.run()
    of = trial.scheduler.of
    for node in trial.graph.nodes:
        for row in range(node.n):
            items, item = of(node), (node, row)
            failed = row in node.lost
            if items.spec.is_kept:
                assert items.status[row] in (HERE, LOST)
                if not failed:
                    assert trial.made[item] == (0 if trial.is_hit(item) else 1)
            elif trial.made[item]:
                readers = {
                    (reader, one)
                    for reader, name in node.readers
                    for one in range(reader.n)
                    if item in trial.inputs((reader, one))
                }
                asked = not node.readers or row in items.pinned
                assert asked or any(trial.made[one] or one[1] in one[0].lost for one in readers), (
                    "made for nobody"
                )
            held = item in trial.held
            assert held == (not items.spec.is_kept and items.status[row] == HERE)
            if held:
                may = row in items.pinned or not items.spec.pure or not node.readers
                assert may, "held for nobody"
            if failed:
                marks = items.spec.marks
                why = item in trial.bad or any(
                    above[1] in above[0].lost for above in trial.inputs(item)
                )
                assert why or marks


def test_a_step_that_does_not_exist_is_a_mistake():
    """The table says all of them."""
    graph = Graph(Nobody())
    graph.call(Step(lambda: 1, Options()), (), {})
    items = Items(graph.nodes[0])
    with pytest.raises(AssertionError, match="OPEN → DUE"):
        items.move(0, DUE)
    items.move(0, Status.IDLE)
    items.move(0, DUE)
    assert set(STEPS) == set(Status)
    assert not STEPS[LOST]
    assert not STEPS[TWIN]
    assert IDLE in STEPS[HERE]


def test_a_count_that_is_wrong_is_seen():
    """The check itself can fail."""
    trial = Trial(3)
    while trial.late:
        trial.open_one()
    recount(trial.scheduler)
    trial.scheduler.open += 1
    with pytest.raises(AssertionError, match="open"):
        recount(trial.scheduler)
