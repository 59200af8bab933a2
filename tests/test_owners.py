"""Whose result it is, when scripts, functions, packages and projects get other names or places."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from databacked.records.owners import Owner, are_one, is_gone, project_id

SCRIPT = """
from databacked import LocalResult, flow, last_run, task
import json

@task(result=LocalResult(PLACE), target="{n}.json")
def work(n):
    return helper(n)

def helper(n):
    return [n, FACTOR]

@flow(quiet=True)
def run():
    return work.map([1, 2])

def main():
    values = list(run())
    print(json.dumps([values, last_run().counts["work"]]))

if __name__ == "__main__":
    main()
"""


def script(folder: Path, name: str = "one.py", factor: int = 1, place: str = "kept") -> Path:
    """Write a script with a project of its own around it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "databacked.toml").touch()
    path.write_text(f"PLACE = {place!r}\nFACTOR = {factor}\n{SCRIPT}")
    return path


def run(path: Path | str, cwd: Path | None = None, *arguments: str):
    """Run a script; return the values, and how many were made and reused."""
    done = subprocess.run(
        [sys.executable, *arguments, str(path)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    values, counts = json.loads(done.stdout.splitlines()[-1])
    return values, counts


def moved_aside(place: Path) -> list[str]:
    """Return what lies in a place's folder of replaced files."""
    found = [path for path in (place / ".databacked/replaced").rglob("*") if path.is_file()]
    return sorted(path.read_text() for path in found)


def test_a_renamed_script_finds_its_results_and_corrections(tmp_path):
    """The file's name is no part of the recipe, and who has the new name inherits."""
    old = script(tmp_path)
    run(old)
    (tmp_path / "kept/1.json").write_text('["by hand"]')
    new = old.rename(tmp_path / "two.py")
    assert run(new) == ([["by hand"], [2, 1]], {"reused": 2})
    (tmp_path / "scripts").mkdir()
    new = new.rename(tmp_path / "scripts/three.py")
    assert run(new) == ([["by hand"], [2, 1]], {"reused": 2})
    # Stale by now: the correction stays, the other is replaced without a copy.
    new.write_text(new.read_text().replace("FACTOR = 1", "FACTOR = 5"))
    assert run(new) == ([["by hand"], [2, 5]], {"reused": 1, "made": 1})
    assert moved_aside(tmp_path / "kept") == []


def test_a_reason_knows_what_was_renamed(tmp_path):
    """What changed is said, not that everything has another name."""
    old = script(tmp_path)
    run(old)
    new = script(tmp_path, "two.py", factor=5)
    old.unlink()
    text = new.read_text().replace("quiet=True", "")
    new.write_text(text)
    done = subprocess.run([sys.executable, new], capture_output=True, text=True, check=True)
    assert "work: 2 of 2 recomputed: two.FACTOR changed (1 → 5)" in done.stderr + done.stdout


def test_a_renamed_function_finds_its_results(tmp_path):
    """The task of the old name is gone from its file."""
    path = script(tmp_path)
    run(path)
    (tmp_path / "kept/1.json").write_text('["by hand"]')
    text = path.read_text().replace("def work(", "def measure(").replace("work.map", "measure.map")
    path.write_text(text.replace('counts["work"]', 'counts["measure"]'))
    assert run(path) == ([["by hand"], [2, 1]], {"reused": 2})


def test_a_copied_script_is_another_task_while_both_are_there(tmp_path):
    """The same recipe is a hit; where it differs, nothing of the other is lost."""
    one = script(tmp_path)
    run(one)
    two = script(tmp_path, "two.py")
    assert run(two) == ([[1, 1], [2, 1]], {"reused": 2})
    two = script(tmp_path, "two.py", factor=3)
    assert run(two) == ([[1, 3], [2, 3]], {"made": 2})
    assert [json.loads(text) for text in moved_aside(tmp_path / "kept")] == [[1, 1], [2, 1]]


def test_another_project_is_another_owner(tmp_path):
    """One shared folder, two living projects: what one made is moved aside, and named."""
    shared = str(tmp_path / "shared")
    one = script(tmp_path / "a", factor=1, place=shared)
    two = script(tmp_path / "b", factor=2, place=shared)
    run(one)
    assert run(two) == ([[1, 2], [2, 2]], {"made": 2})
    assert [json.loads(text) for text in moved_aside(tmp_path / "shared")] == [[1, 1], [2, 1]]
    shutil.rmtree(tmp_path / "b")
    assert run(one) == ([[1, 1], [2, 1]], {"made": 2})  # the other one is gone: inherited
    assert len(moved_aside(tmp_path / "shared")) == 2


def test_a_copied_project_does_not_reach_into_the_original(tmp_path):
    """Tried in a copy, with a place outside of both: the original's results stay."""
    shared = str(tmp_path / "shared")
    one = script(tmp_path / "a", place=shared)
    run(one)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    copy = script(tmp_path / "copy", factor=7, place=shared)
    assert run(copy) == ([[1, 7], [2, 7]], {"made": 2})
    assert [json.loads(text) for text in moved_aside(tmp_path / "shared")] == [[1, 1], [2, 1]]


def test_a_moved_project_is_the_same(tmp_path):
    """With its place inside or outside, corrected files included."""
    for place in ("kept", str(tmp_path / "outside")):
        old = script(tmp_path / "a", place=place)
        run(old)
        (tmp_path / "a" / place / "1.json").write_text('["by hand"]')
        run(old)
        (tmp_path / "a").rename(tmp_path / "b")
        new = script(tmp_path / "b", factor=2, place=place)
        assert run(new) == ([["by hand"], [2, 2]], {"reused": 1, "made": 1})
        assert moved_aside(tmp_path / "b" / place) == []
        shutil.rmtree(tmp_path / "b")


def test_a_clone_has_the_name_of_the_original(tmp_path):
    """By its first commit; two projects in one repository have two."""
    one = tmp_path / "one"
    (one / "sub").mkdir(parents=True)
    (one / "sub/a.txt").write_text("a")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], cwd=one, check=True)
    subprocess.run(["git", "clone", "-q", str(one), str(tmp_path / "two")], check=True)
    assert project_id(one) == project_id(tmp_path / "two") != ""
    assert project_id(one / "sub") == project_id(tmp_path / "two/sub") != project_id(one)


def test_an_owner_that_cannot_be_seen_from_here_is_not_gone(tmp_path):
    """What another host made of another project is not this one's to replace."""
    mine = Owner("one.py:work", "aaaa", str(tmp_path), "here")
    said = {"task": "one.py:work", "project": "bbbb", "root": "/not/here", "host": "there"}
    assert mine.relation(said, tmp_path) == "alike"
    assert mine.relation({**said, "project": "aaaa"}, tmp_path) == "mine"
    assert mine.relation({**said, "host": "here"}, tmp_path) == "mine"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("src/lab/masks.py:segment", "lab.masks:segment", True),
        ("src/lab/masks.py:segment", "env/lib/python3/site-packages/lab/masks.py:segment", True),
        ("lab/__init__.py:segment", "lab:segment", True),
        ("src/lab/masks.py:segment", "lab.masks:smooth", False),
        ("src/lab/masks.py:segment", "src/other/masks.py:segment", False),
        ("lab.masks:segment", "other.lab.masks:segment", False),
        ("src/lab/masks.py:segment", "old/lab/masks.py:segment", False),
    ],
)
def test_a_package_installed_in_another_way_has_the_same_tasks(one, other, same):
    """Editable or not; two different files of a project are two."""
    assert are_one(one, other) is are_one(other, one) is same


def test_a_task_is_gone_when_its_file_holds_it_no_more(tmp_path):
    """What cannot be read is not gone."""
    (tmp_path / "one.py").write_text("def a():\n    def b(): ...\nclass C:\n    def d(self): ...\n")
    (tmp_path / "odd.py").write_text("def a(:\n")
    there = [
        "one.py:a",
        "one.py:a.<locals>.b",
        "one.py:C.d",
        "odd.py:a",
        "notebook:a",
        "json:dumps",
    ]
    assert [task for task in there if is_gone(task, tmp_path)] == []
    gone = ["one.py:b", "two.py:a", "cells.ipynb:a", "json:nothing", "no_such_module:a"]
    assert [task for task in gone if not is_gone(task, tmp_path)] == []
