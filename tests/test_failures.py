"""Failure is normal: one bad item, a dead worker, Ctrl-C, kill -9, a full disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from databacked import Failed, FlowFailed, LocalResult, flow, last_run, task
from databacked.errors import TargetError
from databacked.records.journal import close_journals

WORK = """
import os, sys, time
import numpy as np
from pathlib import Path
from databacked import ArrayToOmeTiff, LocalResult, flow, task

HOW = os.environ

@task
def make(n):
    return np.full((256, 256), n, np.uint8)

@task(result=LocalResult("images", ArrayToOmeTiff), target="{n}.ome.tiff")
def keep(n, image):
    if str(n) == os.environ.get("DEADLY"):
        os._exit(9)
    time.sleep(float(os.environ.get("SECONDS", 0)))
    return image

@flow(root=Path(__file__).parent, runner=os.environ.get("RUNNER", "threads"))
def run():
    return keep.map(range(30), make.map(range(30)))

print(len(run()))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script that keeps thirty images, and can be slow or deadly."""
    file = tmp_path / "work.py"
    file.write_text(WORK)
    return file


def start(script: Path, **how: str) -> subprocess.Popen[str]:
    """Start the script as a user would, with Ctrl-C as a terminal gives it."""
    return subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, **how},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def debian(package: str) -> None:
    """Install a Debian package that a test needs, where that is possible."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet: dict[str, Any] = {"check": False, "capture_output": True, "stdin": -3}
        if subprocess.run(["dpkg", "-s", package], **quiet).returncode:
            subprocess.run(["apt-get", "update"], **quiet)
            subprocess.run(["apt-get", "install", "-y", package], **quiet)


def images(script: Path) -> list[Path]:
    """Return the images that are visible."""
    return sorted((script.parent / "images").glob("*.ome.tiff"))


def wait_for(script: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until some images are there."""
    while len(images(script)) < count:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def test_one_bad_item_does_not_sink_the_run_and_runs_alone_once_repaired(project):
    """What depends on it is skipped, the rest is done, and only it is left."""

    def flow_of(broken):
        @task(result=LocalResult("ones"), target="{n}.json")
        def one(n):
            if n == broken:
                raise ValueError(f"no {n}")
            return n

        @task(result=LocalResult("twos"), target="{n}.json")
        def two(n, x):
            return 2 * x

        @flow
        def run():
            return two.map(range(5), one.map(range(5)))

        return run

    with pytest.raises(FlowFailed, match="1 item failed, 1 that needs them") as raised:
        flow_of(3)()
    failure = raised.value.failures[0]
    assert (failure.task, failure.item) == ("one", "3.json")
    assert failure.parameters == {"n": "3"}
    assert failure.exception == "ValueError: no 3"
    assert "test_failures.py:" in failure.where
    assert isinstance(raised.value.value[3], Failed)
    assert last_run().counts["two"] == {"made": 4, "skipped": 1}
    assert not (project / "ones/3.json").exists()


def test_failures_are_grouped_by_kind(project):
    """Many failures of one kind are one line with a count."""

    @task
    def risky(n):
        return 1 / (n % 2)

    with pytest.raises(FlowFailed, match="5 × risky at") as raised:
        risky.map(range(10))
    assert len(raised.value.failures) == 5
    assert str(raised.value).count("ZeroDivisionError") == 1


def test_on_error_collect_returns_what_there_is(project):
    """Failed items are marks in the answer."""

    @task
    def risky(n):
        return 1 / n

    @flow(on_error="collect")
    def run():
        return risky.map([1, 0])

    value, failed = run()
    assert value == 1
    assert isinstance(failed, Failed)
    assert not failed


def test_a_failing_item_is_tried_again(project):
    """`retries` says how often."""

    @task(retries=2)
    def flaky(n):
        tries = len(list(project.glob("try-*")))
        (project / f"try-{tries}").touch()
        if tries < 2:
            raise OSError("busy")
        return tries

    assert flaky(1) == 2


def test_the_flow_that_asks_for_a_failed_value_is_told(project):
    """`.result()` of what failed is an error with the reason."""

    @task
    def risky(n):
        raise ValueError("never")

    @flow
    def run():
        return risky(1).result() + 1

    with pytest.raises(Exception, match="ValueError: never"):
        run()


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_control_c_keeps_what_is_done(script, runner):
    """It ends soon, says so, and the next run does the rest."""
    process = start(script, SECONDS="0.1", RUNNER=runner)
    wait_for(script, 4, process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[0]
    assert process.returncode != 0
    assert "was interrupted. What is done is kept" in said
    there = {path: path.stat().st_mtime_ns for path in images(script)}
    assert len(there) < 30
    again = start(script)
    assert again.communicate(timeout=60)[0].endswith("30\n")
    assert {path: path.stat().st_mtime_ns for path in there} == there


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_kill_9_in_the_middle_of_writing_leaves_nothing_half_written(script, runner):
    """What is visible is whole and used; the rest is made; no litter stays."""
    for count in (3, 9, 15):
        process = start(script, SECONDS="0.02", RUNNER=runner)
        wait_for(script, count, process)
        process.kill()
        process.communicate()
    there = {path: path.stat().st_mtime_ns for path in images(script)}
    time.sleep(0.5)  # workers of a killed driver end by themselves
    said = start(script).communicate(timeout=60)[0]
    assert said.endswith("30\n")
    assert "moved aside" not in said
    kept = {path: path.stat().st_mtime_ns for path in there}
    assert kept == there
    assert not list(script.parent.glob("images/.databacked/tmp/*/*"))


def test_a_worker_that_dies_fails_only_the_deadly_item(script):
    """Its chain fails; every other item is computed, and nothing else is lost."""
    process = start(script, DEADLY="7", RUNNER="processes")
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "1 item failed" in said
    assert "the worker process died" in said
    assert len(images(script)) == 29
    assert start(script).communicate(timeout=60)[0].endswith("30\n")


def test_a_full_disk_is_one_clear_message_and_the_rest_is_done_later(script, tmp_path):
    """Nothing half-written is visible; after some space was made, the next run does the rest."""
    place = tmp_path / "images"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode and os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    assert mounted.returncode == 0, mounted.stderr
    try:
        process = start(script)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 1
        assert "the disk is full; free some space and run again" in said
        assert said.count("the disk is full") == 1
        there = {path: path.stat().st_mtime_ns for path in images(script)}
        assert 0 < len(there) < 30
        assert len({path.stat().st_size for path in there}) == 1
        subprocess.run(["mount", "-o", "remount,size=20m", str(place)], check=True)
        assert start(script).communicate(timeout=60)[0].endswith("30\n")
        assert {path: path.stat().st_mtime_ns for path in there} == there
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_read_only_place_says_so(project):
    """Hits work; writing is one clear error."""

    @task(result=LocalResult("fixed"), target="{n}.json")
    def fixed(n):
        return n

    fixed(1)
    subprocess.run(["mount", "--bind", "fixed", "fixed"], check=True, cwd=project)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", "fixed"], check=True, cwd=project)
        assert fixed(1) == 1
        with pytest.raises(Exception, match="Ask for write access"):
            fixed(2)
    finally:
        close_journals()
        subprocess.run(["umount", "fixed"], check=True, cwd=project)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../out", "leaves its place"),
        ("/etc/out", "is absolute"),
        ("a\0b", "control character"),
        ("a\nb", "control character"),
        ("x" * 300, "at most 255"),
        (".databacked/x", "not for results"),
        ("a//b", "empty part"),
    ],
)
def test_a_target_that_cannot_be_used_is_said_before_anything_runs(project, name, said):
    """Every kind of illegal name, with its reason."""

    @task(result=LocalResult("place"), target="{name}.json")
    def keep(name):
        (project / "ran").touch()
        return 1

    with pytest.raises(TargetError, match=said):
        keep.map(["fine", name])
    assert not (project / "ran").exists()


def test_a_misspelt_parameter_in_a_target_is_said_at_the_call(project):
    """With the closest known name."""

    @task(result=LocalResult("place"), target="{cell_idd}.json")
    def keep(cell_id):
        return 1

    with pytest.raises(TargetError, match="did you mean 'cell_id'"):
        keep(1)


def test_a_missing_key_of_a_target_callable_is_an_error_also_through_get(project):
    """No file is called None."""

    @task(result=LocalResult("place"), target=lambda **kwargs: f"{kwargs.get('cell')}.json")
    def keep(cell_id):
        return 1

    with pytest.raises(TargetError, match="is not a parameter"):
        keep(1)


def test_parts_and_formats_in_a_target(project):
    """`.stem`, `.name`, `.parent` of paths, and Python's formats."""

    @task(result=LocalResult("place"), target="{image.parent.name}/{image.stem}_{n:03d}.json")
    def keep(image, n):
        return n

    keep("day1/a.tiff", 7)
    assert (project / "place/day1/a_007.json").exists()


def test_names_that_differ_only_by_case_on_a_disk_that_ignores_it(project):
    """They would be one file there; on other disks they are two."""
    (project / "fat").mkdir()
    debian("ntfs-3g")
    made = subprocess.run(
        "truncate -s 16M disk.img && mkntfs -F -q -Q disk.img && "
        "lowntfs-3g disk.img fat -o ignore_case",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        cwd=project,
    )
    if made.returncode and os.geteuid() != 0:
        pytest.skip(f"only root can mount a disk that ignores case: {made.stderr}")
    assert made.returncode == 0, made.stderr
    try:

        @task(result=LocalResult("fat/place"), target="{name}.json")
        def keep(name):
            return name

        assert keep.map(["a", "b"]) == ["a", "b"]
        with pytest.raises(TargetError, match=r"'c\.json' and 'C\.json' differ only by case"):
            keep.map(["c", "C"])
        keep.map(["a", "b"])
        assert last_run().counts["keep"] == {"reused": 2}
    finally:
        close_journals()
        subprocess.run(["umount", "fat"], check=True, cwd=project)


def test_arrays_are_written_whole_or_not_at_all(project):
    """A serializer that fails in the middle leaves nothing."""
    from databacked import Serializer

    class Half(Serializer):
        suffixes = (".bin",)

        def write(self, value, path):
            path.write_bytes(b"half")
            raise OSError("cable")

        def read(self, path):
            return path.read_bytes()

    @task(result=LocalResult("halves", Half), target="{n}.bin")
    def keep(n):
        return np.zeros(3)

    with pytest.raises(FlowFailed, match="cable"):
        keep(1)
    assert [p for p in (project / "halves").rglob("*.bin")] == []
