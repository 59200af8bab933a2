"""Disks as they are mounted: full ones, several in one place, layers of a container."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from databacked import LocalResult, flow, last_run, task
from databacked.errors import RecordError, TargetError
from databacked.project.folders import make_state_folder
from databacked.records import book
from databacked.records.journal import close_journals

STATE = ".databacked"
Mount = Callable[..., Path]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount a file system on a folder until the test ends."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounting takes root on Linux")
    mounted: list[Path] = []

    def on(folder: Path, kind: str = "tmpfs", *options: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        arguments = ["--bind", kind] if kind.startswith("/") else ["-t", kind, kind]
        done = subprocess.run(
            ["mount", *arguments, *(("-o", ",".join(options)) if options else ()), str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"this machine does not mount: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield on
    close_journals()
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)


def images(place: str, target: str, **options: str) -> Any:
    """Return a flow that keeps two images whose pixels are `factor`; none where it is None."""

    @task(result=LocalResult(place, **options), target=target)  # type: ignore[arg-type]
    def image(n, factor):
        return None if factor is None else np.full((4, 8), n * factor, np.uint8)

    @flow
    def run(factor):
        return image.map([1, 2], factor)

    return run


def made(run: Callable[[int | None], Any], factor: int | None) -> dict[str, int]:
    """Run as a new process would; return what became of the items."""
    close_journals()
    book._registry.clear()
    found = [None if one is None else int(np.max(one)) for one in run(factor)]
    assert found == ([None, None] if factor is None else [factor, 2 * factor])
    return dict(last_run().counts["image"])


def hidden(place: Path) -> list[str]:
    """Return hidden names in a place, besides the state folder."""
    names = [one.name for one in place.rglob("*") if one.name.startswith(".")]
    return [name for name in names if name not in (STATE, ".gitignore", ".zattrs", ".zgroup")]


@pytest.mark.parametrize("ending", ["tif", "ome.zarr"])
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_a_folder_of_a_place_may_be_another_disk(project, mount, kind, ending):
    """Made, reused, replaced, corrected, removed; nothing hidden is left beside the results."""
    (project / "elsewhere").mkdir()
    big = mount(project / "out/big", kind if kind == "tmpfs" else str(project / "elsewhere"))
    run = images("out", f"big/{{n}}.{ending}")
    assert made(run, 1) == {"made": 2}
    assert made(run, 1) == {"reused": 2}
    assert made(run, 3) == {"made": 2}
    left = big / ".databacked-1795632877760370356-7cea090f-1.tif"
    left.touch()  # of a run that was killed
    (big / ".databacked-notes").touch()
    assert made(run, None) == {"made": 2}
    assert sorted(one.name for one in big.iterdir()) == [".databacked-notes"]


@pytest.mark.parametrize("link", ["tmp", "replaced", "journals", ""])
def test_the_state_folder_may_be_a_link_to_another_disk(project, mount, link):
    """What cannot be renamed there is copied."""
    fast = mount(project / "fast")
    state = project / "out" / STATE
    if link:
        make_state_folder(project / "out")
        (state / link).symlink_to(fast)
    else:
        (project / "out").mkdir()
        state.symlink_to(fast)
    (project / "out/1.ome.zarr").mkdir()
    (project / "out/1.ome.zarr/mine.txt").write_text("precious")
    run = images("out", "{n}.ome.zarr", when_unknown="replace")
    assert made(run, 1) == {"made": 2}
    (aside,) = (state / "replaced").glob("*/1.ome.zarr/mine.txt")
    assert aside.read_text() == "precious"
    assert made(run, 1) == {"reused": 2}
    assert made(run, 2) == {"made": 2}


def test_results_in_a_lower_layer_are_replaced_moved_aside_and_removed(project, mount):
    """As in a container whose image holds them: a folder there cannot be renamed."""
    lower = project / "lower"
    run = images("out", "{n}.ome.zarr", when_unknown="replace")

    def in_layer(name: str) -> Path:
        layer = mount(project / f"layer-{name}")
        for one in ("up", "work"):
            (layer / one).mkdir()
        options = f"lowerdir={lower},upperdir={layer}/up,workdir={layer}/work"
        mount(project / name, "overlay", options)
        return Path(project / name)

    lower.mkdir()
    first = images("lower", "{n}.ome.zarr")
    assert made(first, 1) == {"made": 2}
    close_journals()
    place = in_layer("out")
    assert made(run, 1) == {"reused": 2}
    assert made(run, 3) == {"made": 2}
    assert hidden(place) == []
    place = in_layer("removed")
    assert made(images("removed", "{n}.ome.zarr"), None) == {"made": 2}
    assert not list(place.glob("*.zarr"))
    place = in_layer("foreign")
    for journal in (place / STATE / "journals").iterdir():
        journal.unlink()
    assert made(images("foreign", "{n}.ome.zarr", when_unknown="replace"), 2) == {"made": 2}
    assert len(list((place / STATE / "replaced").glob("*/*.ome.zarr"))) == 2


FULL = """
import os, subprocess, sys
from databacked import LocalResult, ProcessRunner, flow, task

@task(result=LocalResult("out"), target="{n}.json")
def work(n): return n

@task(keep=True)
def kept(n): return n

@flow(quiet=True, runner=os.environ.get("RUNNER", "threads"))
def go(names): return list(kept.map(work.map(names)))
print(go([int(n) for n in sys.argv[1:]]))
"""


@pytest.mark.parametrize("runner", ["threads", pytest.param("processes", marks=pytest.mark.slow)])
def test_a_run_that_has_nothing_to_make_needs_no_space(project, mount, runner):
    """Making journals one can wait; what has to be made says that the disk is full."""
    disk = mount(project / "disk", "tmpfs", "size=2m")
    (disk / "databacked.toml").touch()
    (disk / "r.py").write_text(FULL)

    def run(*names: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "r.py", *map(str, names)],
            cwd=disk,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "RUNNER": runner, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    for n in range(9 if runner == "threads" else 2):
        assert run(n).returncode == 0
    left = disk / "ballast"
    with pytest.raises(OSError, match="No space"), open(left, "wb") as file:
        file.writelines([bytes(4096)] * 1000)
    whole = run(0, 1)
    assert (whole.returncode, whole.stdout) == (0, "[0, 1]\n")
    failed = run(1, 77)
    assert failed.returncode == 1
    assert "the disk is full" in failed.stderr.splitlines()[-1] + failed.stderr
    assert "leaked" not in failed.stderr
    assert "Nothing was computed for it" in failed.stderr  # it is known before the work
    journals = [*disk.rglob("journals/*"), *disk.rglob("journals/.*")]
    assert [one for one in journals if not one.stat().st_size or one.name[0] == "."] == []
    left.unlink()
    assert run(1, 77).stdout == "[1, 77]\n"


def test_a_full_disk_leaves_no_empty_gitignore(project, mount):
    """It would never be filled again, and git would take the records."""
    disk = mount(project / "disk", "tmpfs", "size=64k")
    with pytest.raises(OSError, match="No space"), open(disk / "ballast", "wb") as file:
        file.write(bytes(100_000))
    with pytest.raises(OSError, match="No space"):
        make_state_folder(disk)
    assert not (disk / STATE / ".gitignore").exists()
    (disk / "ballast").unlink()
    make_state_folder(disk)
    assert (disk / STATE / ".gitignore").read_text() == "*\n"


def test_two_mounts_of_one_folder_are_one_place(project, mount):
    """By device and inode, whatever they are called."""
    (project / "out").mkdir()
    mount(project / "bound", str(project / "out"))

    @task(result=LocalResult("out"), target="{n}.json")
    def one(n):
        return n

    @task(result=LocalResult("bound"), target="{n}.json")
    def two(n):
        return n

    @flow
    def run():
        return one(1), two(1)

    with pytest.raises(TargetError, match="one and the same folder"):
        run()
    assert list((project / "out").iterdir()) == []


def test_records_of_somebody_else_are_asked_for_by_name(project):
    """Whose they are and what to ask for, instead of a traceback."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("being somebody else takes root")
    run = images("out", "{n}.tif")
    made(run, 1)
    close_journals()
    (project / "out" / STATE).chmod(0o700)
    book._registry.clear()
    child = os.fork()
    if not child:  # as a user without any rights
        try:
            os.setgroups([])
            os.setgid(64102)
            os.setuid(64102)
            found = book.Records(project / "out")
            found.refresh()
        except RecordError as error:
            os._exit(0 if "root's" in str(error) and "chmod" in str(error) else 2)
        except BaseException:
            os._exit(3)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
