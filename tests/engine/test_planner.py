"""The planner alone, over a storage in memory that refuses every write."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from databacked import LocalResult, result, task
from databacked.engine.items import Items
from databacked.engine.planner import Planner
from databacked.engine.scheduler import Scheduler
from databacked.engine.spec import Specs
from databacked.graph.calls import Graph
from databacked.project.root import Project
from databacked.records.journal import close_journals, journal_of
from databacked.records.record import Record, details
from databacked.storage.looks import Stat
from databacked.storage.memory import MemoryStorage
from tests.test_random_graphs import tree

from .test_scheduler import Nobody


class ReadOnly(MemoryStorage):
    """What is there can be looked at."""

    def publish(self, temporary: str, target: str, judged: Stat | None) -> bool:
        raise AssertionError("a planner has written")

    def move_aside(self, target: str, run: str) -> str:
        raise AssertionError("a planner has moved something aside")

    def withdraw(self, target: str, judged: Stat, temporary: str) -> bool:
        raise AssertionError("a planner has taken something away")


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Return what makes a planner and the items of one map, over a place in memory."""
    monkeypatch.setattr(result, "find", lambda kind, name: ReadOnly)

    def make(step: Any, *columns: Any) -> tuple[Planner, Items]:
        graph = Graph(Nobody())
        graph.map(step, columns, {})
        scheduler = Scheduler(graph)
        project = Project(tmp_path)
        specs = Specs(project, "run", LocalResult("results"), reads_only=True)
        planner = Planner(project, specs, scheduler, lambda progress: None)
        (node,) = graph.nodes
        items = scheduler.of(node)
        planner.open(items)
        scheduler.add(items)
        return planner, items

    return make


@task(result=LocalResult("numbers"), target="{n}.json")
def number(n, factor):
    return n * factor


@task
def passing(n):
    return n


def put(folder: Path, name: str, data: bytes) -> Stat:
    """Put bytes into the place, as an earlier run did."""
    source = folder / "source"
    source.write_bytes(data)
    storage = MemoryStorage(folder / "numbers")
    assert storage.publish(str(source), name, storage.stat(name))
    found = storage.stat(name)
    assert found is not None
    return found


def recorded(items: Items, row: int, stat: Stat, recipe: str, factor: int = 3) -> None:
    """Have a record say what made a file."""
    assert items.targets is not None
    assert items.place is not None
    spec = items.spec
    said = details(parameters={"n": row, "factor": factor}, inputs={})
    target = str(items.targets[row])
    record = Record("w", target, recipe, recipe, "c0ffee", *stat, spec.context, said)
    journal_of(items.place.folder).append(record.line(), record.context, spec.fields)


def test_missing_fresh_and_stale(plan, tmp_path):
    """Each for its reason; nothing is written."""
    planner, items = plan(number, [0, 1, 2], 3)
    verdict = planner.judge(items)
    assert {row: found.kind for row, found in verdict.due.items()} == dict.fromkeys(
        range(3), "missing"
    )
    assert not verdict.fresh
    recipes = planner.recipes.of_rows(items, range(3))
    recorded(items, 0, put(tmp_path, "0.json", b"0"), str(recipes[0]))
    recorded(items, 1, put(tmp_path, "1.json", b"30"), "0" * 32, factor=30)
    close_journals()
    before = tree(tmp_path)
    planner, items = plan(number, [0, 1, 2], 3)
    verdict = planner.judge(items)
    assert tree(tmp_path) == before
    assert verdict.whole
    assert verdict.fresh == {0: "c:c0ffee"}
    assert {row: found.kind for row, found in verdict.due.items()} == {1: "ours", 2: "missing"}
    ((reason, count),) = Counter(verdict.why.values()).items()
    assert (reason.text, count) == ("parameter factor changed (30 → 3)", 1)
    assert reason.only_parameters


def test_what_is_not_kept_counts_by_its_recipe(plan):
    """It is never there; and what it counts by, is made out once somebody wants to know."""
    planner, items = plan(passing, [1, 2])
    verdict = planner.judge(items)
    assert verdict.untold
    assert list(verdict.idle) == [0, 1]
    items.is_untold = True
    tokens = {planner.recipes.token(items.node, row) for row in (0, 1)}  # now somebody does
    assert len(tokens) == 2
    assert None not in tokens
    assert not verdict.fresh
    assert not verdict.due


def test_two_items_with_one_target(plan):
    """Of the same they are twins."""
    planner, items = plan(number, [1, 1, 2], 3)
    verdict = planner.judge(items)
    assert verdict.twins == {1: (items.node, 0)}
    assert set(verdict.due) == {0, 2}
