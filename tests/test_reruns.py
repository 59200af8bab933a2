"""A map is a set of items: a rerun makes exactly the difference."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databacked import (
    ArrayToDefaultWriter,
    ArrayToOmeTiff,
    CallingThreadRunner,
    LocalResult,
    ProcessRunner,
    Serializer,
    ThreadRunner,
    flatten,
    flow,
    last_run,
    task,
    testing,
)
from databacked.errors import GraphError, TargetError
from databacked.records import book
from databacked.records.journal import close_journals

RUNNERS = {"calling": CallingThreadRunner, "threads": ThreadRunner, "processes": ProcessRunner}


def counts(name: str) -> dict[str, int]:
    """Return what became of a task's items in the last run."""
    return dict(last_run().counts[name])


@task(result=LocalResult("squares"), target="{x}.json")
def square(x):
    return x * x


@task(result=LocalResult("halves"), target="{x}.json")
def half(x, squared):
    return squared / 2


@flow
def chain(xs):
    return half.map(xs, square.map(xs))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 12), max_size=8), min_size=2, max_size=4))
def test_shuffled_extended_and_shortened_inputs_make_exactly_the_difference(monkeypatch, runs):
    """Whatever came before: what is known is reused, what is new is made, nothing else."""
    monkeypatch.setenv("DATABACKED_QUIET", "1")
    with tempfile.TemporaryDirectory() as folder, testing.project(Path(folder)):
        known: set[int] = set()
        for xs in runs:
            assert chain(xs) == [x * x / 2 for x in xs]
            new = set(xs) - known
            assert counts("square").get("made", 0) == len(new)
            assert counts("half").get("made", 0) == len(new)
            assert counts("half").get("reused", 0) == len(xs) - len(new)
            known |= set(xs)


@pytest.mark.parametrize("name", RUNNERS)
def test_every_runner_gives_the_same_files(project, name):
    """The bytes depend on value and serializer alone, never on who ran the item."""
    with_it = pipeline.with_options(runner=RUNNERS[name]())
    total, lates = with_it(6)
    assert total == 15 * 16
    assert lates == [value - total for value in (0, 1, 2, 3, 4, 5)]
    here = {p.name: p.read_bytes() for p in (project / "images").glob("*.tiff")}
    with tempfile.TemporaryDirectory() as other, testing.project(Path(other)):
        pipeline.with_options(runner="calling")(6)
        there = {p.name: p.read_bytes() for p in (Path(other) / "images").glob("*.tiff")}
    assert here == there
    assert len(here) == 6
    with_it(6)
    assert counts("image") == {"reused": 6}
    assert not list((project / ".databacked/tmp").glob("*"))


@task
def make(n):
    return np.full((4, 4), n, np.uint16)


@task(result=LocalResult("images", ArrayToOmeTiff), target="{n}.ome.tiff")
def image(n, made):
    return made


@task
def add_up(images):
    return int(sum(int(np.sum(one)) for one in images))


@task
def offset(made, total):
    return float(np.mean(made)) - total


@flow
def pipeline(count):
    made = make.map(range(count))
    total = add_up(image.map(range(count), made))
    return total, offset.map(made, total)


def test_an_item_of_the_second_map_starts_while_the_first_map_still_runs(project):
    """Dependencies are item by item, not map by map."""

    @task
    def first(n):
        if n == 1:
            deadline = time.monotonic() + 20
            while not (project / "second-0").exists() and time.monotonic() < deadline:
                time.sleep(0.005)
        return n

    @task
    def second(n):
        (project / f"second-{n}").touch()
        return n

    @flow(runner=ThreadRunner(2))
    def pipelined():
        return second.map(first.map([0, 1]))

    assert pipelined() == [0, 1]
    assert counts("second") == {"made": 2}


def test_mistake_12_a_hit_must_not_read_the_file(project):
    """What nobody asks for is not opened."""

    class Loud(Serializer):
        suffixes = (".npy",)
        backed = True

        def write(self, value, path):
            with open(path, "wb") as file:
                np.save(file, value)

        def read(self, path):
            if (project / "quiet").exists():
                raise AssertionError("read")
            return np.load(path)

    @task(result=LocalResult("loud", Loud), target="{n}.npy")
    def keep(n):
        return np.zeros(3)

    @flow
    def again():
        return keep.map([1, 2])

    again()
    (project / "quiet").touch()
    values = again()
    assert counts("keep") == {"reused": 2}
    assert values[0].path == project / "loud/1.npy"


def test_mistake_13_what_is_upstream_of_hits_only_must_not_run(project):
    """An item that is not kept is computed only for a reader that must be made."""
    assert pipeline(3)[0] == 48

    @flow
    def kept_only():
        image.map(range(3), make.map(range(3)))

    kept_only()
    assert counts("make") == {}
    (project / "images/1.ome.tiff").unlink()
    kept_only()
    assert counts("make") == {"made": 1}


def test_mistake_09_a_constant_target_on_a_map(project):
    """Every item would get the first one's value; it is an error that names both."""

    @task(result=LocalResult("one"), target="constant.json")
    def constant(n):
        return n

    with pytest.raises(TargetError, match="items 0 and 1 of constant"):
        constant.map([1, 2])


def test_two_items_with_one_target_and_one_recipe_are_one(project):
    """The same call twice is made once."""
    assert square.map([3, 3, 4]) == [9, 9, 16]
    assert counts("square") == {"made": 2, "reused": 1}


def test_two_tasks_that_claim_one_target_are_an_error_that_names_both(project):
    """Whose file would it be?"""

    @task(result=LocalResult("squares"), target="{x}.json")
    def cube(x):
        return x**3

    @flow
    def both():
        return square.map([1, 2]), cube.map([2, 3])

    with pytest.raises(TargetError, match=r"square\[1\] and cube\[0\]"):
        both()


def test_mistake_11_a_changed_parameter_is_said_before_it_replaces(project, capsys, monkeypatch):
    """The same target with another parameter is made again, and the cure is named."""

    @task(result=LocalResult("scaled"), target="{x}.json")
    def scale(x, sigma):
        return x * sigma

    assert scale.map([1, 2], sigma=2) == [2, 4]
    monkeypatch.delenv("DATABACKED_QUIET")
    assert scale.map([1, 2], sigma=3) == [3, 6]
    said = capsys.readouterr().err
    assert "2 results are replaced (parameter sigma changed (2 → 3))" in said
    assert "add {sigma} to the target to keep both" in said
    scale.map([1], sigma=4)
    assert "1 result is replaced (parameter sigma changed (3 → 4))" in capsys.readouterr().err


def test_mistake_15_a_serializer_given_as_a_class(project):
    """`serializer=ArrayToDefaultWriter` is as good as an instance."""

    @task(result=LocalResult("classy", ArrayToDefaultWriter), target="{x}.json")
    def classy(x):
        return x

    assert classy(1) == 1


@pytest.mark.parametrize("how", ["one file", "several files", "a record alone"])
def test_code_that_goes_back_to_what_it_was_finds_what_it_made(project, how):
    """Two branches that lead to the same bytes: each makes them once."""
    every: dict[str, dict[str, Any]] = {
        "one file": {"result": LocalResult("out"), "target": "{n}.json"},
        "several files": {
            "result": LocalResult("out"), "target": {"a": "{n}_a.json", "b": "{n}_b.json"}
        },
        "a record alone": {"keep": True},
    }  # fmt: skip

    def run(factor: int) -> dict[str, int]:
        @task(**every[how])
        def work(n):
            return {"a": n, "b": 0 * factor}

        @flow(quiet=True)
        def run_all():
            work.map([1, 2])

        run_all()
        close_journals()
        book._registry.clear()
        return dict(last_run().counts["work"])

    assert [run(1), run(2)] == [{"made": 2}] * 2
    assert [run(1), run(2), run(1)] == [{"reused": 2}] * 3


def test_mistake_17_checkpointing_is_on_without_any_switch(project):
    """A result and a target are enough; a target alone means the default place."""

    @task(target="{x}.json")
    def plain(x):
        return [x]

    assert plain(5) == [5]
    assert json.loads((project / "results/5.json").read_text()) == [5]
    plain(5)
    assert counts("plain") == {"reused": 1}


def test_mistake_21_a_value_that_depends_on_all_items_changes_when_items_are_added(project):
    """Everything downstream of a bounding box is made again when the box grows."""

    @task
    def box(values):
        return max(values)

    @task(result=LocalResult("cropped"), target="{x}.json")
    def crop(x, to):
        return min(x, to)

    @flow
    def cropped(xs):
        return crop.map(xs, box(square.map(xs)))

    cropped([1, 2])
    cropped([1, 2])
    assert counts("crop") == {"reused": 2}
    assert counts("box") == {}
    cropped([1, 2, 5])
    assert counts("crop") == {"made": 3}


def test_a_value_that_comes_out_the_same_stops_the_wave(project):
    """A box that did not grow makes nothing again."""

    @task
    def box(values):
        return max(values)

    @task(result=LocalResult("cropped"), target="{x}.json")
    def crop(x, to):
        return min(x, to)

    @flow
    def cropped(xs):
        return crop.map([1, 2], box(square.map(xs)))

    cropped([1, 2, 5])
    cropped([1, 5])
    assert counts("crop") == {"reused": 2}
    assert counts("box") == {"made": 1}
    cropped([1, 5])
    assert counts("box") == {}


def test_flattened_cells_are_known_again_without_looking_at_the_images(project):
    """How many cells an image has is recorded, also of a task that keeps nothing."""

    @task
    def find(image):
        (project / f"looked-{image}").touch()
        return [f"{image}-{cell}" for cell in range(image)]

    @task(result=LocalResult("cells"), target="{cell}.json")
    def measure(cell):
        return len(cell)

    @flow
    def cells(images):
        return measure.map(flatten(find.map(images)))

    assert len(cells([1, 2])) == 3
    for path in project.glob("looked-*"):
        path.unlink()
    assert len(cells([2, 1, 3])) == 6
    assert [path.name for path in project.glob("looked-*")] == ["looked-3"]
    assert counts("measure") == {"made": 3, "reused": 3}


def test_large_cells_of_a_flattened_map_are_hits_without_their_image(project):
    """An element that is too large to be known counts by the recipe of what holds it."""

    @task
    def find(image):
        return [np.full((50, 50), cell, np.uint16) for cell in range(image)]

    @task(result=LocalResult("stacked"), target="{image}-{number}.npy")
    def keep(image, number, cell):
        return cell

    @task
    def numbers(image):
        return list(range(image))

    @flow
    def cells(images):
        found = find.map(images)
        return keep.map(flatten(found).of(images), 0, flatten(found)) if images == [1] else None

    assert cells([1])[0].shape == (50, 50)
    cells([1])
    assert counts("keep") == {"reused": 1}
    assert counts("find") == {}


def test_a_target_may_depend_on_what_another_task_returns(project):
    """Its name becomes known while the flow runs; the second run knows it at once."""

    @task
    def well(n):
        return f"A{n:02d}"

    @task(result=LocalResult("wells"), target="{name}.json")
    def keep(name, n):
        return n

    @task(result=LocalResult("called"), target=lambda **kwargs: f"{kwargs['name']}.json")
    def called(name, n):
        return n

    @flow
    def wells(ns):
        names = well.map(ns)
        return keep.map(names, ns), called.map(names, ns)

    assert wells([1, 2]) == ([1, 2], [1, 2])
    assert sorted(p.name for p in (project / "wells").glob("*.json")) == ["A01.json", "A02.json"]
    assert sorted(p.name for p in (project / "called").glob("*.json")) == ["A01.json", "A02.json"]
    wells([2, 1])
    assert counts("keep") == {"reused": 2}
    assert counts("well") == {}


def test_location_always_writes(project):
    """`location=` instead of `target=` is never a hit."""

    @task(result=LocalResult("always"), location="{x}.json")
    def always(x):
        return x

    always(1)
    always(1)
    assert counts("always") == {"made": 1}


def test_results_made_outside_of_flows_are_hits_inside(project):
    """Cell by cell in a notebook, or all in a flow: the same files."""
    images = image.map(range(3), make.map(range(3)))
    assert add_up(images) == 48

    @flow
    def all_at_once():
        return add_up(image.map(range(3), make.map(range(3))))

    assert all_at_once() == 48
    assert counts("image") == {"reused": 3}
    all_at_once()
    assert counts("make") == {}


def test_unequal_lists_of_one_source_are_named(project):
    """Elements of two lists that belong together must be as many."""

    @task
    def find(n):
        return {"cells": list(range(n)), "ids": list(range(n + 1))}

    @task
    def pair(cell, name):
        return cell, name

    @flow
    def wrong():
        found = find.map([1])
        return pair.map(flatten(found["cells"]), flatten(found["ids"]))

    with pytest.raises(GraphError, match="cell has 1, name has 2"):
        wrong()
