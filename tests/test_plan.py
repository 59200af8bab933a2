"""What a run would make, without making it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from databacked import ArrayToOmeTiff, LocalResult, flatten, flow, last_run, task
from databacked.errors import GraphError, TargetError

from .test_example import EXAMPLE, counts, edit, example
from .test_random_graphs import tree

__all__ = ["example"]  # a fixture


@task(result=LocalResult("images", ArrayToOmeTiff()), target="{n}.ome.tiff")
def image(n, factor):
    return np.full((4, 8), n * factor, np.uint8)


@task(result=LocalResult("sums"), target="{n}.json")
def total(n, pixels):
    return int(np.sum(pixels))


@task
def doubled(x):
    return 2 * x


@flow(quiet=True)
def study(ns, factor):
    images = image.map(ns, factor)
    return total.map(ns, images)


def said(plan: Any) -> dict[str, tuple[int, int, int]]:
    """Return fresh, due and open items of each task."""
    return {name: (task.fresh, task.due, task.open) for name, task in plan.tasks.items()}


def test_before_and_after(project):
    """All is due, then nothing; with another parameter what reads it may come out the same."""
    plan = study.plan([1, 2], 3)
    assert said(plan) == {"image": (0, 2, 0), "total": (0, 2, 0)}
    assert plan.tasks["image"].reasons == {"not there yet": 2}
    assert not any(project.rglob("*.tiff"))
    study([1, 2], 3)
    assert said(study.plan([1, 2], 3)) == {"image": (2, 0, 0), "total": (2, 0, 0)}
    plan = study.plan([1, 2, 5], 4)
    assert said(plan) == {"image": (0, 3, 0), "total": (0, 1, 2)}
    assert "parameter factor changed (3 → 4)" in str(plan)
    study([1, 2, 5], 4)
    assert last_run().counts["image"] == {"made": 3}
    assert last_run().counts["total"] == {"made": 3}


def test_nothing_is_written_where_files_were_edited_or_are_accepted(project):
    """Neither a record of an edit, nor a file that is moved aside."""
    study([1, 2], 3)
    tifffile.imwrite(project / "images/1.ome.tiff", np.zeros((4, 8), np.uint8))
    (project / "sums/2.json").unlink()
    before = tree(project)
    plan = study.plan([1, 2], 3)
    assert tree(project) == before
    assert said(plan) == {"image": (2, 0, 0), "total": (0, 2, 0)}
    study([1, 2], 3)
    assert last_run().counts == {"image": {"reused": 2}, "total": {"made": 2}}
    (project / "found").mkdir()
    (project / "found/7.json").write_text("7")
    known = total.with_options(
        result=LocalResult("found", when_unknown="accept"), name="known", target="{n}.json"
    )

    @flow(quiet=True)
    def found():
        return known.map([7, 8], [1, 2])

    before = tree(project)
    assert said(found.plan()) == {"known": (1, 1, 0)}
    assert tree(project) == before
    assert found() == [7, 2]


def test_a_place_that_cannot_be_written_to_can_be_planned(project):
    """Whoever only wants to know needs no permission."""
    (project / "images").mkdir()
    (project / "images").chmod(0o500)
    try:
        assert study.plan([1], 3).due == 2
    finally:
        (project / "images").chmod(0o700)


def test_what_is_found_while_a_flow_runs(project):
    """Known where records hold it; else it is said that there may be more."""

    @task
    def find(n):
        return list(range(n))

    @task(result=LocalResult("cells"), target="{n}_{cell}.json")
    def cell(n, cell):
        return cell

    @flow(quiet=True)
    def cells(ns):
        found = flatten(find.map(ns))
        return cell.map(found.of(ns), found)

    plan = cells.plan([2, 3])
    assert plan.tasks["find"].due == 2
    assert plan.tasks["cell"].grows
    assert "what becomes known while it runs" in str(plan)
    cells([2, 3])
    assert said(cells.plan([2, 3])) == {"find": (0, 0, 0), "cell": (5, 0, 0)}
    (project / "cells/3_1.json").unlink()
    assert said(cells.plan([2, 3])) == {"find": (0, 0, 0), "cell": (4, 1, 0)}


def test_values_that_the_flow_asks_for(project):
    """What is there can be had; where it is not, the rest is not known."""

    @flow(quiet=True)
    def asks():
        first = image(1, 3).result()
        return total(int(np.max(first)), first)

    plan = asks.plan()
    assert plan.asks == "image"
    assert said(plan) == {"image": (0, 1, 0)}
    assert ".result() of image" in str(plan)
    asks()
    assert said(asks.plan()) == {"image": (1, 0, 0), "total": (1, 0, 0)}


def test_items_that_cannot_be_looked_at_are_named(project):
    """As a run names them."""

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n, value):
        return n

    @flow(quiet=True, on_error="collect")
    def run():
        return work.map([1, 2], [0, iter([1])])

    plan = run.plan()
    assert said(plan) == {"work": (0, 1, 0)}
    assert plan.tasks["work"].failed == 1
    assert len(plan.failures) == 1
    assert "fails" in str(plan)


def test_mistakes_of_the_flow_are_errors_of_the_plan(project):
    """Before anything runs, as in a run."""

    @flow(quiet=True)
    def twice():
        return image.map([1, 1], [2, 3])

    with pytest.raises(TargetError, match="same target"):
        twice.plan()
    with pytest.raises(GraphError, match="study"):
        study.plan()


def test_what_may_come_out_the_same_is_no_more_than_a_maybe(project):
    """An input that is not kept changed: its content decides, and only a run knows that."""
    values = [1, 2]

    @task
    def start(value):
        return value // 10

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n, x):
        return x

    @flow(quiet=True)
    def run(values):
        return work.map([0, 1], start.map(values))

    run(values)
    plan = run.plan([3, 40])
    assert said(plan)["work"] == (0, 0, 2)
    run([3, 40])
    assert last_run().counts["work"] == {"reused": 1, "made": 1}


def plannable(file: Path, call: str) -> None:
    """Have a script only plan its flow if it is asked to."""
    begin, _, rest = file.read_text().partition(call)
    name = call.split()[-1].removesuffix("(")
    arguments, _, end = rest.partition("\n")
    file.write_text(
        f"{begin}\nimport os, sys\nif os.environ.get('PLAN'):\n"
        f"    print({name}.plan({arguments})\n    sys.exit()\n{call}{arguments}\n{end}"
    )


def check_example(folder: Path, script: str, call: str, source: str, old: str, new: str) -> None:
    """Plan and run, before and after a change of a constant: both say the same."""
    plannable(folder / script, call)

    def process(plan: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-B", script],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PLAN": plan},
        )

    def run() -> dict[str, dict[str, int]]:
        return counts(process("").stderr)

    for change in (False, True, False):
        if change:
            edit(folder / source, old, new)
        before = tree(folder)
        plan = process("yes").stdout
        assert tree(folder) == before
        assert not change or f"{old.split()[0].strip(',')} changed" in plan
        found = run()
        lines = {line.split()[0]: line for line in plan.splitlines()[1:]}
        assert found.keys() == lines.keys()
        for name, what in found.items():
            made = what.get("made", 0)
            line = lines[name]
            due = int(line.partition(" to make")[0].split()[-1]) if " to make" in line else 0
            more = int(line.partition("up to ")[2].split()[0]) if "up to " in line else 0
            assert due <= made <= due + more, (name, what, line)
            if not due and not more:
                assert "made" not in what
    assert all("made" not in what for what in run().values())


def test_the_large_example(example):
    """A constant of normalize.py: cells are due for that reason, what reads them may be."""
    check_example(
        example,
        "workflow.py",
        "made = scratch_assay(",
        "normalize.py",
        "DARKEST, BRIGHTEST = 2.0",
        "DARKEST, BRIGHTEST = 1.0",
    )


def test_the_small_example(tmp_path):
    """A constant of the script."""
    folder = tmp_path / "fields"
    source = EXAMPLE.parent / "fields"
    ignored = shutil.ignore_patterns("results", "datasets", ".databacked", "__*")
    shutil.copytree(source, folder, ignore=ignored)
    check_example(
        folder, "analysis.py", "\nanalysis(", "analysis.py", "SMALLEST = 40", "SMALLEST = 30"
    )
