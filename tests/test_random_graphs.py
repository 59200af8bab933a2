"""Graphs that nobody thought of: whatever is kept or not, the values are those of plain Python."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databacked import LocalResult, flatten, flow, group, last_run, sweep, task, testing
from databacked.engine.recount import recount
from databacked.engine.scheduler import Scheduler
from databacked.worker import calling, rows, worker

SETTINGS = settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
)


def named(name: str, function: Any, kept: bool, target: str = "{n}.json") -> Any:
    """Return a task of a step of its own, whose values are kept or not."""
    if kept:
        return task(function, name=name, result=LocalResult(name), target=target)
    return task(function, name=name)


def add(n, x, k):
    return x + k


def pair(n, x, y):
    return x * 3 + y


def window(n, several):
    return sum(several) % 1000


@pytest.fixture(autouse=True)
def recounted(monkeypatch):
    """After each event everything is counted again."""
    settle = Scheduler._settle

    def checked(self):
        settle(self)
        recount(self)

    monkeypatch.setattr(Scheduler, "_settle", checked)


@pytest.fixture(autouse=True)
def calls(monkeypatch):
    """How often the function of each task was called in this process."""
    called = calling.called

    def noted(spec, values):
        CALLS[spec.name] += 1
        return called(spec, values)

    monkeypatch.setattr(worker, "called", noted)
    monkeypatch.setattr(rows, "called", noted)


CALLS: Counter[str] = Counter()


def numbers(n, x):
    return [n * 10 + index for index in range(x % 4)]


def element(e, k):
    return e + k


def total(values):
    return sum(values) % 100_000


def total_with(n, values):
    return n + sum(values) % 1000


def beside(n, x, members):
    return x + sum(members) % 1000


def nested(n, several, x):
    (first, [second]), more = several["in"], several["more"]
    return (first * 5 + second * 3 + sum(more) + x) % 1000


def read(n, file: Path):
    return int(file.read_text())


@dataclass
class Map:
    """A map of the flow beside the values that it must have."""

    futures: Any
    values: list[int]
    origin: object = None
    """None for a map of known length."""


KINDS = ["add", "pair", "window", "flatten", "total", "scale", "same"]
KINDS += ["swept", "grouped", "nested", "one"]
STEP = st.tuples(
    st.sampled_from(KINDS),
    st.integers(0, 50),
    st.integers(0, 50),
    st.booleans(),
)
STEPS = st.lists(STEP, min_size=1, max_size=9)


def build(steps: list[tuple[str, int, int, bool]], size: int) -> Any:
    """Return a flow of these steps, and what it must return."""
    expected: list[Any] = []

    @flow
    def run():
        expected.clear()
        ids = list(range(size))
        files = [Path(f"in/{n}.txt") for n in ids]
        start = named("start", read, len(steps) % 2 == 0).map(ids, files)
        maps = [Map(start, [read(n, file) for n, file in zip(ids, files, strict=True)])]
        answers: list[Any] = []
        for number, (kind, first, second, kept) in enumerate(steps):
            name = f"{kind}{number}"
            one = maps[first % len(maps)]
            other = maps[second % len(maps)]
            if kind == "total" or (one.origin is not None and kind != "scale"):
                made = named(name, total, kept, "total.json")(one.futures)
                answers.append(made)
                expected.append(total(one.values))
            elif kind == "scale" and one.origin is not None:
                whole = task(total, name=f"{name}_whole")(other.futures)
                wanted = [pair(0, x, total(other.values)) for x in one.values]
                maps.append(
                    Map(task(pair, name=name).map(0, one.futures, whole), wanted, one.origin)
                )
            elif kind == "add":
                wanted = [add(n, x, second) for n, x in zip(ids, one.values, strict=True)]
                maps.append(Map(named(name, add, kept).map(ids, one.futures, second), wanted))
            elif kind in ("pair", "scale") or other.origin is not None:
                if other.origin is not None:
                    other = one
                wanted = [pair(0, x, y) for x, y in zip(one.values, other.values, strict=True)]
                maps.append(
                    Map(named(name, pair, kept).map(ids, one.futures, other.futures), wanted)
                )
            elif kind == "window":
                futures = list(one.futures)
                parts = [futures[max(0, n - 1) : n + 2] for n in ids]
                wanted = [window(n, one.values[max(0, n - 1) : n + 2]) for n in ids]
                maps.append(Map(named(name, window, kept).map(ids, parts), wanted))
            elif kind == "flatten":
                lists = named(f"{name}_lists", numbers, bool(second % 2)).map(ids, one.futures)
                wanted = [
                    e + 1 for n, x in zip(ids, one.values, strict=True) for e in numbers(n, x)
                ]
                made = named(name, element, kept, "{e}.json").map(flatten(lists), 1)
                maps.append(Map(made, wanted, origin=name))
            elif kind == "swept":  # the parts of each image, put together, beside the image
                parts = named(f"{name}_parts", add, bool(second % 2), "{n}_{k}.json")
                parts = parts.map(ids, one.futures, sweep([1, 2]))
                keys, members = group(parts, by=parts.of(ids))
                wanted = [
                    beside(n, x, [x + 1, x + 2]) for n, x in zip(ids, one.values, strict=True)
                ]
                maps.append(Map(named(name, beside, kept).map(keys, one.futures, members), wanted))
            elif kind == "grouped":  # by what becomes known while the flow runs
                keys, members = group(one.futures, by=other.futures)
                groups: dict[int, list[int]] = {}
                for key, x in zip(other.values, one.values, strict=True):
                    groups.setdefault(key, []).append(x)
                wanted = [total_with(key, several) for key, several in groups.items()]
                made = named(name, total_with, kept).map(keys, members)
                maps.append(Map(made, wanted, origin=name))
            elif kind == "nested":
                several = [
                    {"in": (x, [y]), "more": other.futures}
                    for x, y in zip(one.futures, other.futures, strict=True)
                ]
                wanted = [
                    nested(n, {"in": (x, [y]), "more": other.values}, x)
                    for n, x, y in zip(ids, one.values, other.values, strict=True)
                ]
                maps.append(Map(named(name, nested, kept).map(ids, several, one.futures), wanted))
            elif kind == "one":  # a list of one value beside what was made from it
                inner = named(f"{name}_inner", add, bool(second % 2)).map(ids, one.futures, 1)
                lists_of = [[x] for x in one.futures]
                wanted = [beside(n, x + 1, [x]) for n, x in zip(ids, one.values, strict=True)]
                maps.append(Map(named(name, beside, kept).map(ids, inner, lists_of), wanted))
                single = named(f"{name}_single", add, bool(second % 2), "single.json")
                single = single(0, one.futures[0], 2)
                answers.append(
                    named(f"{name}_list", beside, kept, "list.json")(0, single, [one.futures[0]])
                )
                expected.append(beside(0, one.values[0] + 2, [one.values[0]]))
            else:
                lists_of = [other.futures for _ in ids]
                wanted = [total_with(n, other.values) for n in ids]
                maps.append(Map(named(name, total_with, kept).map(ids, lists_of), wanted))
        expected.extend(one.values for one in maps)
        return [*answers, *(one.futures for one in maps)]

    return run, expected


def write_inputs(project: Path, numbers: list[int]) -> None:
    """Write what the first map of a flow reads."""
    (project / "in").mkdir(exist_ok=True)
    for n in range(5):
        (project / f"in/{n}.txt").write_text(
            str(numbers[n % len(numbers)] if numbers else n * 7 % 5)
        )


def made(project: Path) -> dict[str, int]:
    """Return how many items of kept tasks the last run made."""
    kept = {path.name for path in project.iterdir()}
    return {
        name: said["made"]
        for name, said in last_run().counts.items()
        if said.get("made") and name in kept
    }


def tree(project: Path) -> dict[str, tuple[float, bytes]]:
    """Return all that lies in a project: times and bytes."""
    files = (path for path in project.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def planned(run: Any, project: Path) -> Any:
    """Run as was planned; planning changed nothing, and what it said is what was made."""
    before = tree(project)
    plan = run.plan()
    assert tree(project) == before
    CALLS.clear()
    returned = run()
    counts = last_run().counts
    if not any(said.grows for said in plan.tasks.values()):  # else a reader may come late
        made = {name: said.get("made", 0) for name, said in counts.items()}
        assert {name: made.get(name, 0) for name in CALLS} == CALLS, "made more than once"
    for name, said in plan.tasks.items():
        found = counts.get(name, {}).get("made", 0)
        if not said.grows:
            assert said.due <= found <= said.due + said.open, (name, said, counts)
    for name in set(counts) - {"returned", "group"}:
        assert name in plan.tasks, (name, plan)
    return returned


@pytest.mark.parametrize("runner", ["calling", "threads"])
@given(
    steps=STEPS,
    size=st.integers(1, 5),
    gone=st.sets(st.integers(0, 200), max_size=5),
    inputs=st.lists(st.integers(0, 4), min_size=1, max_size=5),
)
@SETTINGS
def test_values_are_those_of_plain_python(tmp_path, monkeypatch, runner, steps, size, gone, inputs):
    """At first, again, with files removed (then exactly these are made), with other inputs."""
    monkeypatch.setenv("DATABACKED_QUIET", "1")
    project = tmp_path / "project"
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir()
    write_inputs(project, [])
    monkeypatch.chdir(project)
    with testing.project(project):
        run, expected = build(steps, size)
        run = run.with_options(runner=runner)
        assert planned(run, project) == expected
        assert planned(run, project) == expected
        assert made(project) == {}
        files = sorted(path for path in project.glob("*/*.json") if path.parent.name[0] != ".")
        removed: dict[str, int] = {}
        for path in {files[number % len(files)] for number in gone if files}:
            path.unlink()
            removed[path.parent.name] = removed.get(path.parent.name, 0) + 1
        assert planned(run, project) == expected
        assert made(project) == removed
        assert sorted(path for path in project.glob("*/*.json")) == files
        write_inputs(project, inputs)
        assert planned(run, project) == expected
        assert planned(run, project) == expected
        assert made(project) == {}


@given(steps=STEPS)
@settings(SETTINGS, max_examples=5)
def test_processes_give_the_same(tmp_path, monkeypatch, steps):
    """Values go from worker to worker, and nothing stays behind."""
    monkeypatch.setenv("DATABACKED_QUIET", "1")
    project = tmp_path / "project"
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir()
    write_inputs(project, [])
    monkeypatch.chdir(project)
    with testing.project(project):
        run, expected = build(steps, 4)
        run = run.with_options(runner="processes")
        assert run() == expected
        assert run() == expected
        assert made(project) == {}
    assert not list((project / ".databacked/tmp").glob("*"))
