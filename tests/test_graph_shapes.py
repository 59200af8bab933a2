"""Shapes of graphs in which items wait for one another in several ways at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from databacked import (
    Failed,
    LocalResult,
    compact,
    each,
    flatten,
    flow,
    group,
    last_run,
    same,
    sweep,
    task,
)
from databacked.errors import DatabackedError, GraphError


@task
def load(file: Path):
    return int(file.read_text())


@task(result=LocalResult("parts"), target="{name}_{k}.json")
def part(name, x, k):
    return x + k


@task(result=LocalResult("sheets"), target="{name}.json")
def sheet(name, x, members):
    return [x, *members]


def write(*numbers: int) -> list[Path]:
    """Write one input file a number."""
    files = [Path(f"in{n}.txt") for n in range(len(numbers))]
    for file, number in zip(files, numbers, strict=True):
        file.write_text(str(number))
    return files


@pytest.mark.parametrize("loads", [load, load.with_options(keep=True)], ids=["unkept", "kept"])
def test_group_members_beside_what_they_were_made_from(project, monkeypatch, loads):
    """After an input was touched, changed, or a result removed: the run makes what it must."""
    monkeypatch.chdir(project)

    @flow(quiet=True)
    def run(files):
        names = [file.stem for file in files]
        images = loads.map(files)
        parts = part.map(names, images, sweep([1, 2]))
        keys, members = group(parts, by=parts.of(names))
        return sheet.map(keys, images, members)

    files = write(10, 20, 30)
    assert run(files) == [[10, 11, 12], [20, 21, 22], [30, 31, 32]]
    files[1].write_text("20")
    files[1].touch()
    assert run(files)[1] == [20, 21, 22]
    Path("sheets/in1.json").unlink()
    files[1].write_text("200")
    assert run(files) == [[10, 11, 12], [200, 201, 202], [30, 31, 32]]
    assert last_run().counts["sheet"] == {"made": 1, "reused": 2}
    assert run(files) == [[10, 11, 12], [200, 201, 202], [30, 31, 32]]
    assert "made" not in last_run().counts["sheet"]


@task(result=LocalResult("b"), target="{n}.json")
def double(n, x):
    return x * 2


def total(n, xs, y):
    found = xs["x"] if isinstance(xs, dict) else xs
    return sum(x if isinstance(x, int) else x[0] for x in found) + y


SHAPES = {
    "a list of one": lambda a: [a],
    "a tuple of one": lambda a: (a,),
    "a dict": lambda a: {"x": [a]},
    "twice": lambda a: [a, a],
    "beside a plain value": lambda a: [a, 0],
    "a list in a list": lambda a: [[a]],
}


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "unkept"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_list_of_one_value_beside_what_was_made_from_it(project, kept, shape):
    """With other code, too, and what the first run found counts in the second one."""
    third = task(total, result=LocalResult("c"), target="{n}.json")
    options: dict[str, Any] = {"result": LocalResult("a"), "target": "{n}.json"} if kept else {}

    def make(step):
        @task(name="first", **options)
        def first(n):
            return step

        @flow(quiet=True)
        def run():
            a = first("b")
            return third("b", SHAPES[shape](a), double("b", a))

        return run

    times = 2 if shape == "twice" else 1
    for step in (1, 2):
        assert make(step)() == step * times + step * 2
        assert make(step)() == step * times + step * 2
        assert last_run().counts["total"] == {"reused": 1}


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "unkept"])
@pytest.mark.parametrize("shape", ["answer", "same", "row", "list of the answer", "dict a row"])
def test_the_answer_of_a_map_of_one_beside_what_was_made_from_it(project, kept, shape):
    """All of it, the same for every item, or a list a row."""
    options: dict[str, Any] = {"result": LocalResult("a"), "target": "{n}.json"} if kept else {}

    def make(step):
        @task(name="first", **options)
        def first(n):
            return step

        third = task(total, result=LocalResult("c"), target="{n}.json")

        @flow(quiet=True)
        def run():
            a = first.map(["b"])
            y = double.map(["b"], a)
            if shape == "answer":
                return [third("b", a, y[0])]
            if shape == "list of the answer":
                return [third("b", list(a), y[0])]
            rows = {"same": same(a), "row": [[a[0]]], "dict a row": [{"x": a}]}
            return third.map(["b"], rows[shape], y)

        return run

    for step in (1, 2):
        assert make(step)() == [step * 3]
        assert make(step)() == [step * 3]
        assert last_run().counts["total"] == {"reused": 1}


def test_a_map_of_unknown_length_beside_a_changed_file(project, monkeypatch):
    """What decides the whole waits for the length; the length waits for nobody."""
    monkeypatch.chdir(project)

    @task
    def find(n):
        return [n] * n

    @task
    def read(n, file: Path):
        return n * int(file.read_text())

    @task
    def add(cells):
        return sum(cells)

    @task(result=LocalResult("squares"), target="{n}.json")
    def square(n, x):
        return x * x

    @flow(quiet=True)
    def run(file):
        return square(1, add(read.map(flatten(find.map([2, 3])), file)))

    for number in (1, 2, 1, 3):
        (file,) = write(number)
        assert run(file) == (13 * number) ** 2
        assert run(file) == (13 * number) ** 2


@pytest.mark.parametrize("wants", ["skip", "mark"])
@pytest.mark.parametrize("rows", [True, False], ids=["a list a row", "the same for all"])
def test_a_list_that_holds_what_has_failed_already(project, wants, rows):
    """Who reads it later is skipped, or gets a mark; nobody waits for it."""

    @task(result=LocalResult("a"), target="{n}.json")
    def first(n):
        return 1 // n

    @task(result=LocalResult("b"), target="{n}.json", failed=wants)
    def second(n, xs):
        return sum(x for x in xs if not isinstance(x, Failed))

    @flow(quiet=True, on_error="collect")
    def run():
        early = first.map([0, 1])
        assert early[1].result() == 1
        with pytest.raises(Exception, match="ZeroDivisionError"):
            early[0].result()
        late = first.map([5])
        xs = [early[0], early[1], late[0]]
        return second.map(["x"], [xs]) if rows else second.map(["x"], same(xs))

    for _ in range(2):
        (found,) = run()
        assert isinstance(found, Failed) if wants == "skip" else found == 1


@pytest.mark.parametrize(
    "options",
    [{"result": LocalResult("steps"), "target": "{k}.json"}, {}, {"keep": True}],
    ids=["kept", "unkept", "remembered"],
)
def test_five_hundred_steps_one_after_another(project, options):
    """Frame by frame; also where the first step came out the same, or a late one is missing."""

    @task
    def start(v):
        return 0 * v

    @task(**options)
    def step(k, x):
        return x + 1

    @task(**options)
    def step_of_list(k, xs):
        return xs[0] + 1

    @flow(quiet=True)
    def run(v):
        x = start.with_options(keep=True)(v)
        for k in range(500):
            x = step(k, x) if k % 2 else step_of_list(k, [x])
        return x

    assert run(1) == 500
    assert run(2) == 500
    for late in project.glob("steps/498.json"):
        late.unlink()
    assert run(3) == 500


# ---------------------------------------------------------------- asked for piece by piece


@task
def begin(n):
    return n


@task
def plus(n, x):
    return n + x


@task
def plus_all(n, xs):
    return n + sum(xs)


@task(keep=True)
def kept(n):
    return n


@pytest.mark.parametrize("runner", ["calling", "threads", "processes"])
def test_what_all_items_read_is_there_again_for_those_that_come_later(project, runner):
    """It was let go after the first of them."""

    @flow(runner=runner, quiet=True)
    def single():
        answer = plus.map([1, 2], begin(1))
        answer[0].result()
        return answer

    @flow(runner=runner, quiet=True)
    def whole():
        answer = plus_all.map([1, 2], same(begin.map([1, 2])))
        late = kept.map(answer)
        return [late[0].result(), late[1].result()], answer

    assert single() == [2, 3]
    assert whole() == ([4, 5], [4, 5])


@task
def outer(n):
    return [n] * n


@task
def inner(e):
    return [e, e + 1]


@task
def itself(e):
    return e


@task(keep=True)
def add_up(a, b):
    return a + b


def of_one_flatten():
    found = flatten(outer.map([1, 2]))
    return itself.map(found), itself.map(found)


def of_one_compact():
    ids, values = compact([1, 2], itself.map([1, 2]))
    return itself.map(ids), itself.map(values)


def of_one_each():
    found = each(outer(3))
    return itself.map(found), itself.map(found)


def of_one_group():
    keys, _ = group([1, 2, 3], by=itself.map([1, 1, 2]))
    return itself.map(keys), kept.map(itself.map(keys))


def of_two_levels():
    first = flatten(outer.map([1, 2]))
    second = flatten(inner.map(first))
    return second, second.of(itself.map(first))


def compacted_in_their_order():
    found = flatten(outer.map([1, 2]))
    first = itself.map(found)
    return compact(first, itself.map(found))


@pytest.mark.parametrize(
    ("maps", "right"),
    [
        (of_one_flatten, [2, 4, 4]),
        (of_one_compact, [2, 4]),
        (of_one_each, [6, 6, 6]),
        (of_one_group, [2, 4]),
        (of_two_levels, [2, 3, 4, 5, 4, 5]),
        (compacted_in_their_order, [2, 4, 4]),
    ],
)
def test_maps_of_one_origin_may_come_to_be_in_any_order(project, maps, right):
    """A block is made once all that decide it are known."""

    @flow(quiet=True)
    def run():
        first, second = maps()
        return add_up.map(first, second), add_up.map(second, first)

    assert run() == (right, right)


@task(result=LocalResult("out"), target="{n}.json")
def never(n):
    raise ValueError("no")


@task(keep=True)
def reads(e, x):
    return x


@pytest.mark.parametrize("late", [False, True])
def test_who_reads_the_twin_of_what_failed_is_skipped(project, late):
    """Also if it comes to be only then; nothing of a twin that failed is said to be reused."""

    @task(keep=True)
    def listed(n):
        return [n]

    @flow(quiet=True, on_error="collect")
    def run():
        never.map([1])
        twin = never.map([1])
        if late:
            with suppress(Exception):
                twin[0].result()
            return reads.map([1], twin)
        found = flatten(listed.map([1]))
        return reads.map(found, found.of(twin))

    run()
    counts = {
        name: {w: n for w, n in said.items() if n} for name, said in last_run().counts.items()
    }
    assert counts["never"] == {"failed": 1, "skipped": 1}
    assert counts["reads"] == {"skipped": 1}


def test_a_column_that_stands_for_no_values_yet_is_refused_at_the_call(project):
    """Not in the middle of the run."""

    @flow(quiet=True)
    def run():
        ids, values = compact([1, 2], itself.map([1, 2]))
        found = flatten(inner.map(values))
        return add_up.map(found, found.of(ids))

    with pytest.raises(GraphError, match="Map a task over it"):
        run()
    with suppress(DatabackedError):  # nothing has run yet
        assert last_run().counts.get("inner", {}) == {}
