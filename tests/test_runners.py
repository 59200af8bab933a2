"""Runners: threads, processes, and what goes between them."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from loky.process_executor import TerminatedWorkerError

from databacked import FlowFailed, LocalResult, ProcessRunner, flow, task
from databacked.errors import DatabackedError, GraphError, StorageError
from databacked.runners.stores import FolderStore, MemoryStore

RUNNERS = ["calling", "threads", "processes"]


@pytest.mark.parametrize("name", RUNNERS)
def test_each_runner_computes_where_it_says(project, name):
    """In this thread, in others, in other processes."""

    @task
    def where(n):
        return os.getpid(), threading.current_thread().name

    @flow(runner=name)
    def ask():
        return where.map(range(4))

    pids, threads = map(set, zip(*ask(), strict=True))
    assert (os.getpid() in pids) == (name != "processes")
    assert (threading.current_thread().name in threads) == (name != "threads")


@pytest.mark.parametrize("name", RUNNERS)
def test_values_that_are_not_kept_reach_their_readers(project, name):
    """Through several readers, lists, and nested maps."""

    @task
    def image(n):
        return np.full((8, 8), n)

    @task
    def add(first, second):
        return first + second

    @task
    def total(images):
        return int(sum(image.sum() for image in images))

    @flow(runner=name)
    def run():
        images = image.map(range(5))
        return total(add.map(images, images)), total([images[1], images[2]])

    assert run() == (64 * 20, 64 * 3)


def test_a_function_that_cannot_be_sent_is_named(project):
    """A lock belongs to its process."""
    lock = threading.Lock()

    @task
    def guarded(n):
        with lock:
            return n

    @flow(runner="processes")
    def run():
        return guarded.map(range(3))

    with pytest.raises(DatabackedError, match=r"guarded: the function.*lock.*runner='threads'"):
        run()


def test_a_value_that_cannot_be_sent_fails_its_item(project):
    """What arrives in another process has to be pickled."""

    @task
    def lock(n):
        return threading.Lock() if n == 1 else n

    @task
    def first(values):
        return values[0]

    @flow(runner="processes")
    def run():
        return first(lock.map(range(3)))

    with pytest.raises(FlowFailed, match=r"what this item returned cannot be sent.*lock") as error:
        run()
    assert [failure.item for failure in error.value.failures] == ["1"]


def test_a_script_without_a_main_guard_runs_in_processes(project, tmp_path):
    """Workers do not run the script again."""
    import subprocess
    import sys

    script = tmp_path / "script.py"
    script.write_text(
        "from databacked import flow, task\n"
        "print('once')\n"
        "@task\ndef double(n):\n    return 2 * n\n"
        "@flow(runner='processes')\ndef run():\n    return double.map(range(3))\n"
        "print(sum(run()))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["once", "6"]


def test_values_beyond_the_limit_wait_on_disk(tmp_path):
    """Large ones only; each comes back, and goes when it is dropped."""
    store = MemoryStore(tmp_path / "scratch", limit=100_000)
    arrays = {(0, n): np.full(10_000, n) for n in range(3)}  # 80,000 bytes each
    for key, value in arrays.items():
        store.put(key, value)
    assert len(list((tmp_path / "scratch").iterdir())) == 2
    for key, value in arrays.items():
        np.testing.assert_array_equal(store.get(key), value)
        store.drop(key)
    assert not list((tmp_path / "scratch").iterdir())


def test_what_cannot_wait_on_disk_stays_in_memory(tmp_path):
    """Threads need no pickles: only memory is the price."""
    store = MemoryStore(tmp_path / "scratch", limit=0)
    value = [threading.Lock(), np.zeros(10_000)]
    store.put((0, 0), value)
    assert store.get((0, 0)) is value
    store.drop((0, 0))
    assert not list((tmp_path / "scratch").iterdir())


def test_a_folder_of_values_never_shows_half_of_one(tmp_path):
    """What cannot be pickled leaves nothing behind."""
    store = FolderStore(tmp_path / "scratch")
    with pytest.raises(DatabackedError, match="cannot be sent to another process"):
        store.put((0, 0), [np.zeros(1000), threading.Lock()])
    assert not list((tmp_path / "scratch").iterdir())


def test_values_that_somebody_cleared_away_are_said(tmp_path):
    """A cleaner of old temporary files, for instance."""
    store = FolderStore(tmp_path / "scratch")
    store.put((0, 0), 1)
    shutil.rmtree(tmp_path / "scratch")
    with pytest.raises(StorageError, match=r"scratch, where .* was cleared .* Run again"):
        store.get((0, 0))
    store.put((0, 0), 2)
    assert store.get((0, 0)) == 2


def test_read_only_arrays_stay_read_only_in_another_process(project):
    """The same error as with threads, not a change that only one reader sees."""

    @task
    def image(n):
        return np.zeros(4)

    @task
    def change(image):
        image[0] = 1
        return 1

    @task
    def look(image):
        return float(image[0])

    @flow(runner="processes")
    def run():
        images = image.map(range(2))
        return change.map(images), look.map(images)

    with pytest.raises(FlowFailed, match="cannot be changed in place"):
        run()


def test_a_runner_is_a_runner_a_name_or_an_error(project):
    """The message lists what there is."""

    @flow
    def run():
        return 1

    assert run.with_options(runner=ProcessRunner(workers=1))() == 1
    with pytest.raises(GraphError, match="ProcessRunner"):
        run.with_options(runner=4)()
    with pytest.raises(DatabackedError, match="threads"):
        run.with_options(runner="thread")()


def test_scratch_is_gone_after_a_run(project):
    """Values that are not kept leave nothing."""

    @task
    def image(n):
        return np.full((64, 64), n)

    @task(result=LocalResult("sums"), target="{n}.json")
    def total(n, images):
        return int(sum(image.sum() for image in images))

    @flow(runner="processes")
    def run():
        images = image.map(range(4))
        return total.map(range(2), [images, images])

    assert run() == [6 * 4096] * 2
    scratch: list[Path] = list((project / ".databacked/tmp").iterdir())
    assert not scratch


class BrokenNow:
    """A pool of processes that breaks as a batch is handed to it, as one does whose worker died."""

    def __init__(self, pool, times):
        self.pool, self.times = pool, times

    def submit(self, *args):
        if self.times.pop() if self.times else False:
            raise TerminatedWorkerError("a worker was terminated")
        return self.pool.submit(*args)

    def __getattr__(self, name):
        return getattr(self.pool, name)


@pytest.mark.parametrize(
    "broken", [[True], [True, False], [True, False, False], [True, True, True, False]], ids=str
)
def test_a_batch_that_a_broken_pool_did_not_take_is_sent_again(project, broken):
    """The worker died between two looks; nobody has said so yet."""
    times = list(broken)

    class Breaking(ProcessRunner):
        def _new_pool(self):
            return BrokenNow(super()._new_pool(), times)

    @task
    def square(n):
        return n * n

    @flow(runner=Breaking(2))
    def run():
        return square.map(range(12))

    assert run() == [n * n for n in range(12)]
    assert times == []


def test_processes_that_never_take_an_item_are_said(project):
    """A run ends with advice instead of trying for ever."""

    class Broken(ProcessRunner):
        def _new_pool(self):
            return BrokenNow(super()._new_pool(), [True] * 100)

    @task
    def square(n):
        return n * n

    @flow(runner=Broken(1))
    def run():
        return square.map([1])

    with pytest.raises(DatabackedError, match="before they took an item"):
        run()
