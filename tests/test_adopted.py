"""Files that tasks write themselves: what they were given is never moved, nor touched."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from databacked import FlowFailed, LocalResult, flow, last_run, task
from databacked.storage.adopted import paths_in

Way = Callable[[Path], object]


def moved_into(new: Path, take: Callable[[str, str], object]) -> Way:
    """Return a task's way to have an input in a new folder."""

    def way(scan: Path) -> Path:
        new.mkdir()
        take(str(scan), str(new / scan.name))
        return new

    return way


def done(_: object, result: Path) -> Path:
    """Return where a file is after something was done."""
    return result


WAYS: dict[str, Way] = {
    "itself": lambda scan: scan,
    "after a chmod": lambda scan: done(os.popen(f"chmod 644 {scan}").close(), scan),
    "after a touch": lambda scan: done(os.popen(f"touch {scan}").close(), scan),
    "changed in place": lambda scan: done(scan.write_text("data"), scan),
    "by another name": lambda scan: scan.parent / "." / ".." / scan.parent.name / scan.name,
    "a hard link": lambda scan: done(os.popen(f"ln {scan} new.txt").close(), Path("new.txt")),
    "its folder": lambda scan: scan.parent.rename("x.txt"),
    "copied over": lambda scan: done(shutil.copy("in/older.txt", scan), scan),
    "another old one": lambda scan: scan.with_name("older.txt"),
    "renamed": lambda scan: scan.with_name("older.txt").rename(scan.with_name("newer.txt")),
    "in a new folder by a hard link": moved_into(Path("n.txt"), os.link),
    "in a new folder by a move": moved_into(Path("n.txt"), shutil.move),
}


@pytest.mark.parametrize("given", ["path", "text", "list", "nothing"])
@pytest.mark.parametrize("way", WAYS)
def test_what_was_there_before_the_call_is_never_adopted(project, monkeypatch, way, given):
    """However it is named, linked or touched, and whether it is an argument or not."""
    monkeypatch.chdir(project)
    folder = project / "in"
    folder.mkdir()
    for name in ("scan.txt", "older.txt"):
        (folder / name).write_text("data")
        os.utime(folder / name, (1_577_836_800, 1_577_836_800))
    time.sleep(0.06)  # a system's time stamps are that coarse
    scan = folder / "scan.txt"
    value = {"path": scan, "text": str(scan), "list": [[scan]], "nothing": 1}[given]

    @task(result=LocalResult("out", from_path=True), target="out.txt")
    def adopt(value):
        return WAYS[way](scan)

    with pytest.raises(FlowFailed, match="so it is not adopted"):
        adopt(value)
    kept = [path for path in project.rglob("*.txt") if path.is_file()]
    assert {path.read_text() for path in kept} == {"data"}
    assert len({path.stat().st_ino for path in kept}) == 2
    assert not (project / "out/out.txt").exists()


def test_the_result_of_another_task_is_never_adopted(project):
    """Even where it was made a moment ago."""

    @task(result=LocalResult("first"), target="a.npy")
    def first():
        return np.ones(3)

    @task(result=LocalResult("second", from_path=True), target="b.npy")
    def second(path: Path):
        path.chmod(0o644)
        return path

    @flow
    def run():
        return second(first())

    with pytest.raises(FlowFailed, match="holds, the argument"):
        run()
    assert np.load(project / "first/a.npy").sum() == 3


def test_what_a_tool_unpacks_with_an_old_time_is_adopted(project):
    """It came to be during the call, whatever its times say."""

    @task(result=LocalResult("out", from_path=True), target="a.txt")
    def unpack():
        path = Path(tempfile.mkdtemp(dir=project)) / "a.txt"
        path.write_text("new")
        os.utime(path, (1_577_836_800, 1_577_836_800))
        return path

    if not sys.platform.startswith(("linux", "darwin")):
        pytest.skip("this system does not say when a file came to be")
    assert unpack() == "new"


@pytest.mark.parametrize("link", ["symlink", "link"])
def test_no_time_is_set_through_a_link(project, link):
    """A folder that a task wrote may hold links to what is not its own."""
    old = (1_577_836_800, 1_577_836_800)

    @task(result=LocalResult("out", from_path=True), target="{n}.d")
    def run(n):
        far = Path(tempfile.mkdtemp(dir=project, prefix="far"))
        folder = Path(tempfile.mkdtemp(dir=project)) / "x.d"
        (folder / "b").mkdir(parents=True)
        (far / "a.txt").write_text("far")
        os.utime(far / "a.txt", old)
        getattr(os, link)(far / "a.txt", folder / "a.txt")
        (folder / "b/linked").symlink_to(far)
        (folder / "b/result.txt").write_text("r")
        return folder

    for state in ("made", "reused"):
        run.map([1])
        (other,) = project.glob("far*/a.txt")
        assert other.stat().st_mtime == old[0]
        assert dict(last_run().counts["run"]) == {state: 1}


@pytest.mark.parametrize("kind", ["pipe", "in a folder"])
def test_a_pipe_is_not_waited_for(project, kind):
    """What cannot be read as a file is no result."""

    @task(result=LocalResult("out", from_path=True), target="a.d")
    def make():
        folder = Path(tempfile.mkdtemp(dir=project)) / "a.d"
        if kind == "pipe":
            os.mkfifo(folder)
        else:
            folder.mkdir()
            os.mkfifo(folder / "pipe")
            (folder / "a").write_text("a")
        return folder

    if kind == "pipe":
        with pytest.raises(FlowFailed, match="is a named pipe, and a file or folder"):
            make()
    else:
        assert make().path.name == "a.d"


def test_paths_are_found_wherever_they_stand_in_a_value(tmp_path, monkeypatch):
    """In lists, tables and mappings; a word that is the name of a folder here is a word."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    table = pd.DataFrame({"a": [Path("x"), "y/z"], "b": [1, 2]})
    found = set(paths_in({"k": [table, ("data", "", 3), {Path("s")}], "t": pd.Series(["u/v"])}))
    assert found == {str(tmp_path / name) for name in ("k", "t", "x", "y/z", "s", "u/v")}
