"""The same flow on a Dask cluster: real schedulers, real workers that really die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest

from databacked import LocalResult, flow, last_run, task
from databacked.errors import DatabackedError, FlowFailed, GraphError
from databacked.runners import choose
from databacked.runners import dask as on_dask
from databacked.runners.dask import DaskRunner
from databacked.testing import check_runner


@pytest.fixture(scope="module")
def cluster():
    """Two workers of this machine, each a process with one thread."""
    with on_dask._of_this_machine(2) as found:
        yield found


@pytest.fixture(scope="module")
def client(cluster):
    with distributed.Client(cluster, set_as_default=False) as found:
        found.wait_for_workers(2)
        yield found


def test_a_runner_on_dask_keeps_the_contract(client, tmp_path):
    check_runner(lambda: DaskRunner(client), tmp_path)


def example(n: int = 6):
    """Return a flow with values that are not kept, files, and a task that takes a whole map."""

    @task
    def made(n):
        return np.full((64, 64), n, "uint16")

    @task(result=LocalResult("kept"), target="{n}.ome.tiff")
    def kept(n, image):
        return image + 1

    @task
    def doubled(image):
        return np.asarray(image) * 2

    @task(keep=True)
    def total(images):
        return int(sum(int(np.asarray(one).sum()) for one in images))

    @flow(quiet=True)
    def run():
        numbers = list(range(n))
        images = made.map(numbers)
        return total(doubled.map(kept.map(numbers, images))), total(images)

    return run


RIGHT = (2 * 4096 * (1 + 2 + 3 + 4 + 5 + 6), 4096 * (0 + 1 + 2 + 3 + 4 + 5))


def test_one_word_takes_a_flow_to_a_cluster(project, client, cluster):
    """A Client, a cluster, an address: the same files as in threads, byte for byte."""
    run = example()
    assert run() == RIGHT
    files = {one.name: one.read_bytes() for one in (project / "kept").glob("*.tiff")}
    for given in (client, cluster, cluster.scheduler_address):
        for one in (project / "kept").glob("*.tiff"):
            one.unlink()
        assert run.with_options(runner=given)() == RIGHT
        assert last_run().counts["kept"] == {"made": 6}
        assert {one.name: one.read_bytes() for one in (project / "kept").glob("*.tiff")} == files
    assert run.with_options(runner=cluster)() == RIGHT
    assert last_run().counts["kept"] == {"reused": 6}


def test_values_that_are_not_kept_stay_with_the_workers(project, client, monkeypatch):
    """Nothing of them comes to the driver, but for what somebody asks for."""

    def fetch(self, key):
        raise AssertionError(f"{key} came to the driver")

    monkeypatch.setattr(DaskRunner, "fetch", fetch)
    assert example().with_options(runner=client)() == RIGHT


def test_only_the_item_that_kills_its_worker_fails(project, client):
    """The others of its batch are made, and those of other batches."""

    @task(keep=True)
    def careful(n):
        if n == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    @flow(quiet=True)
    def run():
        return careful.map(range(20))

    with pytest.raises(FlowFailed) as failed:
        run.with_options(runner=client)()
    assert [one.item for one in failed.value.failures] == ["7"]
    assert last_run().counts["careful"] == {"made": 19, "failed": 1}


def test_a_worker_that_is_killed_loses_nothing(project, client):
    """What it held is made again elsewhere, what it worked on as well."""

    @task
    def slow(n):
        time.sleep(0.05)
        return np.full(1000, n)

    @task(keep=True)
    def total(image):
        return int(image.sum())

    @task(keep=True)
    def marked(n):
        if n == 3 and not os.path.exists("killed"):
            Path("killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    @flow(quiet=True)
    def run():
        images = slow.map(range(12))
        return marked.map(range(6)), total.map(images)

    assert run.with_options(runner=client)() == ([*range(6)], [1000 * n for n in range(12)])


SCRIPT = """
from databacked import flow, task

@task(keep=True)
def where(n):
    import os
    return os.getpid()

@flow(quiet=True)
def run():
    return where.map(range(4))

import os
found = run.with_options(runner="dask")()
print(os.getpid() in found, len(found))
"""


def test_a_script_without_a_guard_gets_workers_of_its_own(tmp_path):
    """They do not run the script again, and nothing is left of them."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.stdout == "False 4\n", done.stderr
    assert done.returncode == 0


def test_a_runner_whose_package_is_missing_says_how_to_get_it(project, monkeypatch):
    def missing(kind, name):
        raise ModuleNotFoundError("No module named 'distributed'", name="distributed")

    monkeypatch.setattr(choose, "find", missing)
    with pytest.raises(GraphError, match=r"pip install 'databacked\[dask\]'"):
        example().with_options(runner="dask")()


LONG = """
import sys, time
from pathlib import Path
from databacked import flow, last_run, task

@task(keep=True)
def slow(n):
    time.sleep(0.2)
    Path(f"done-{n}").touch()
    return n

@flow(quiet=True)
def run():
    return slow.map(range(40))

print(len(run.with_options(runner="dask")()), last_run().counts["slow"]["reused"] > 0)
"""


def is_gone(group: int) -> bool:
    """Whether of a group of processes nobody is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_after_ctrl_c_the_next_run_does_the_rest(tmp_path):
    """The terminal's Ctrl-C reaches the workers, too: nobody waits for them, none is left."""
    (tmp_path / "script.py").write_text(LONG)
    command = [sys.executable, "script.py"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **quiet)
    while len(list(tmp_path.glob("done-*"))) < 4:
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGINT)
    assert first.wait(timeout=60) != 0
    end = time.monotonic() + 20
    while not is_gone(first.pid):
        assert time.monotonic() < end
        time.sleep(0.1)
    then = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, timeout=100)
    assert then.stdout.split() == [b"40", b"True"]


def test_what_is_no_cluster_is_said():
    with pytest.raises(GraphError, match="or the address of a scheduler"):
        DaskRunner(3)


def test_a_scheduler_that_is_not_there_is_one_clear_message(project, monkeypatch):
    monkeypatch.setattr(on_dask, "START", 1.0)
    with pytest.raises(DatabackedError, match=r"no worker of 'tcp://127\.0\.0\.1:9' came in 1 s"):
        example().with_options(runner="tcp://127.0.0.1:9")()


def test_workers_with_other_versions_are_refused_before_anything_runs(project, client, monkeypatch):
    versions = on_dask._versions()
    monkeypatch.setattr(on_dask, "_versions", lambda: versions)
    wrong = versions | {"cloudpickle": "0.1"}
    monkeypatch.setattr(client, "run", lambda function, *_: {"tcp://worker:1": wrong})
    with pytest.raises(DatabackedError, match=r"cloudpickle: 0\.1 on tcp://worker:1"):
        example().with_options(runner=client)()
    assert not (project / "kept").exists()
