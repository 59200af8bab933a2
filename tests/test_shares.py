"""How many items run at once: `limit=`, `resources=`, and the threads of libraries."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from databacked import LocalResult, ProcessRunner, ThreadRunner, flow, task
from databacked.errors import GraphError
from databacked.runners.cores import capped_threads, cores


def busy(folder: Path, n: int) -> int:
    """Return how many items are at work at this moment, this one included."""
    mine = folder / f"busy-{n}"
    mine.touch()
    time.sleep(0.05)
    there = len(list(folder.glob("busy-*")))
    mine.unlink()
    return there


@pytest.mark.parametrize(
    "runner", [ThreadRunner(6), ProcessRunner(4)], ids=["threads", "processes"]
)
@pytest.mark.parametrize(
    "options", [{"limit": 2}, {"resources": {"GPU": 1}}], ids=["limit", "resources"]
)
def test_at_most_so_many_items_of_a_task_at_once(project, runner, options):
    """However many workers there are; others run meanwhile; every item runs."""
    runner = type(runner)(runner.workers, {"GPU": 2})
    (project / "gpu").mkdir()
    (project / "cpu").mkdir()

    @task
    def load(n):
        return n

    @task(**options)
    def segment(n, folder: str):
        return busy(Path(folder), n)

    @task(result=LocalResult("sizes"), target="{n}.json")
    def measure(n, there, folder: str):
        return [there, busy(Path(folder), n)]

    @flow(runner=runner)
    def run():
        found = segment.map(load.map(range(12)), str(project / "gpu"))
        return measure.map(range(12), found, str(project / "cpu"))

    found = run()
    assert len(found) == 12
    assert max(there for there, _ in found) <= 2


def test_what_no_runner_can_give_is_said_before_the_first_item(project):
    """It could never run."""

    @task(resources={"GPU": 2})
    def segment(n):
        (project / "ran").touch()

    with pytest.raises(GraphError, match=r"'GPU': 2.*runner has 1"):
        segment.map([1, 2])
    assert not (project / "ran").exists()


def test_the_threads_of_libraries_share_the_cores(project):
    """n workers do not start n × n threads; afterwards everything is as before."""

    @task
    def threads(n):
        return max((one["num_threads"] for one in threadpool_info()), default=1)

    before = [one["num_threads"] for one in threadpool_info()]

    @flow
    def run():
        return threads.map(range(4))

    share = 1 if cores() < 4 else cores() // 4
    assert max(run.with_options(runner=ThreadRunner(4))()) <= share
    assert [one["num_threads"] for one in threadpool_info()] == before
    assert max(run.with_options(runner=ProcessRunner(2))()) <= max(1, cores() // 2)


def test_what_the_user_says_about_threads_stays(monkeypatch):
    """`OMP_NUM_THREADS` of one's own is not overruled."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in capped_threads(1)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert capped_threads(1)["OMP_NUM_THREADS"] == "1"
    assert not set(capped_threads(1)) & set(os.environ)
