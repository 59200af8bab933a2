"""What changes while an item reads it: its value is not kept under the old content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from databacked import LocalResult, each, flow, last_run, task

RUNNERS = ["calling", "threads", "processes"]


def notes(name="read"):
    return " ".join(last_run().notes.get(name, {}))


@pytest.fixture
def first(project):
    """An input that was there before, and a marker by which the first call alone changes it."""
    file = project / "a.txt"
    file.write_text("one")
    os.utime(file, ns=(10**18, 10**18))
    return file


def meddle(project, path, *texts):
    """Change a file in the first call."""
    if not (project / "meddled").exists():
        (project / "meddled").write_text("")
        for text in texts:
            path.write_text(text)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("how", ["path", "text", "list", "dict", "reads", "folder"])
def test_a_file_that_changed_while_it_was_read_is_read_again(project, first, runner, how):
    """The value of one content is never reused for another one."""
    given = {
        "path": first, "text": str(first), "list": [first], "dict": {"a": [first]}, "reads": 1,
        "folder": project / "in",
    }[how]  # fmt: skip
    (project / "in").mkdir()
    file = project / "in" / "b.txt" if how == "folder" else first
    file.write_text("one")
    options: Any = {"reads": [str(first)]} if how == "reads" else {}

    @task(result=LocalResult("out"), target="{n}.txt", **options)
    def read(n, given):
        meddle(project, file, "two")
        return file.read_text()

    @flow(quiet=True, runner=runner)
    def run():
        return read("a", given)

    assert str(run()) == "two"
    assert "changed while it was read: made again in the next run" in notes()
    file.write_text("one")
    assert str(run()) == "one"
    changed = str(first) if how == "reads" else "given"
    (reason,) = last_run().reasons["read"]
    assert reason.startswith("input ")
    assert changed in reason
    assert notes() == ""
    assert str(run()) == "one"
    assert last_run().counts["read"] == {"reused": 1}


def test_a_file_that_changed_and_came_back_is_read_again(project, first):
    """Size and time decide, not what lies there in the end."""

    @task(result=LocalResult("out"), target="{n}.txt")
    def read(n, file: Path):
        meddle(project, file, "two")
        text = file.read_text()
        file.write_text("one")
        return text

    @flow(quiet=True)
    def run():
        return read("a", first)

    assert str(run()) == "two"
    assert str(run()) == "one"


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_is_made_of_a_value_that_is_not_kept_is_made_again_too(project, first, runner):
    """Through tasks that keep nothing, in one chain or not."""

    @task
    def load(file: Path):
        meddle(project, file, "two")
        return [file.read_text()]

    @task
    def upper(texts):
        return [text.upper() for text in texts]

    @task(result=LocalResult("out"), target="{n}.txt")
    def read(n, texts):
        return "".join(texts)

    @flow(quiet=True, runner=runner)
    def run():
        texts = upper(load(first))
        return read.map(["a", "b"], [texts, texts])

    assert [str(one) for one in run()] == ["TWO", "TWO"]
    first.write_text("one")
    for _ in range(2):
        assert [str(one) for one in run()] == ["ONE", "ONE"]
    assert last_run().counts["read"] == {"reused": 2}


def test_what_a_record_keeps_fails_if_its_input_changed(project, first):
    """There is no file that could wait for the next run."""

    @task(keep=True)
    def read(file: Path):
        meddle(project, file, "two")
        return file.read_text()

    @flow(quiet=True, on_error="collect")
    def run():
        return read(first)

    assert "changed while it was read" in run().failure.exception
    first.write_text("one")
    assert [run(), run()] == ["one", "one"]


@pytest.mark.parametrize("by", ["path", "array"])
def test_a_result_that_another_run_replaced_meanwhile_is_not_used(project, by):
    """Neither by its path nor piece by piece."""

    @task(result=LocalResult("images"), target="{n}.npy")
    def image(n):
        return np.zeros(3)

    @task(result=LocalResult("sums"), target="{n}.json")
    def total(n, x):
        if not (project / "meddled").exists():
            (project / "meddled").write_text("")
            np.save(project / "other.npy", np.ones(3))
            os.replace(project / "other.npy", project / "images" / "a.npy")
        return float((np.load(x.path) if by == "path" else np.asarray(x)).sum())

    @flow(quiet=True, on_error="collect")
    def run(name="a"):
        return total(name, image(name))

    assert "no longer the file" in run().failure.exception
    (project / "images" / "a.npy").unlink()
    assert [run(), run()] == [0.0, 0.0]


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("kind", ["array", "text", "one of several"])
@pytest.mark.parametrize("fresh", [True, False], ids=["made", "reused"])
def test_a_file_that_a_function_opens_itself_is_not_used_if_it_was_replaced(
    project, runner, kind, fresh
):
    """Whatever a reader without the annotation would get."""
    ending = "npy" if kind == "array" else "txt"
    target: Any = f"{{n}}.{ending}"

    @task(
        result=LocalResult("kept"),
        target={"a": target, "b": "{n}.json"} if kind == "one of several" else target,
    )
    def kept(n):
        value = np.zeros(3) if kind == "array" else "one"
        return {"a": value, "b": n} if kind == "one of several" else value

    @task(result=LocalResult("sizes"), target="{n}.json")
    def size(n, file: Path):
        assert type(file) is type(project)
        if not (project / "meddled").exists():
            (project / "meddled").write_text("")
            (project / "other").write_text("another one")
            os.replace(project / "other", file)
        return len(file.read_bytes())

    @flow(quiet=True, on_error="collect", runner=runner)
    def run():
        made = kept("a")
        return size("a", made["a"] if kind == "one of several" else made)

    @flow(quiet=True)
    def before():
        return kept("a")

    if not fresh:
        before()
    assert "no longer the file" in run().failure.exception
    (project / f"kept/a.{ending}").unlink()
    assert run() == run() == (152 if kind == "array" else 3)


def test_a_task_may_make_a_file_that_it_was_given_the_path_of(project):
    """The file comes to be while it runs; the next run finds it, and settles."""

    @task(result=LocalResult("out"), target="{n}.txt")
    def convert(n, there: Path):
        if not there.exists():
            there.write_text("made")
        return there.read_text()

    @flow(quiet=True)
    def run():
        return convert("a", project / "made.txt")

    assert [str(run()) for _ in range(3)] == ["made"] * 3
    assert last_run().counts["convert"] == {"reused": 1}


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("asked", ["returned", "result", "decides"])
def test_a_value_made_while_its_input_changed_is_itself_for_the_flow(project, first, runner, asked):
    """Also where nothing is kept, and where it decides the items of a map."""

    @task
    def read(path: Path):
        meddle(project, path, "two")
        return [path.read_text(), "end"]

    @task(keep=True)
    def length(text):
        return len(text)

    @flow(quiet=True, runner=runner)
    def run():
        found = read(first)
        if asked == "decides":
            return length.map(each(found))
        return found if asked == "returned" else found.result()

    assert list(run()) == ([3, 3] if asked == "decides" else ["two", "end"])
