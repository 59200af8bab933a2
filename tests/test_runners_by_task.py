"""A runner a task: each item runs where its task says, whatever it reads and whoever reads it."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from databacked import (
    CallingThreadRunner,
    LocalResult,
    ProcessRunner,
    ThreadRunner,
    flow,
    last_run,
    task,
)
from databacked.errors import FlowFailed, GraphError


def here() -> str:
    return f"{os.getpid()}-{threading.current_thread().name}"


@task
def load(n):
    return np.full((4, 4), n), here()


@task
def double(found):
    values, where = found
    return values * 2, where, here()


@task(result=LocalResult("sums"), target="{n}.json")
def total(n, found):
    values, first, second = found
    return [int(values.sum()), first, second, here()]


@task
def every(found):
    return sum(one[0] for one in found), here()


def test_values_go_from_runner_to_runner(project):
    """Threads, a process, this thread, and back."""
    runner = {"load": ThreadRunner(2), "double": ProcessRunner(1), "total": "calling"}

    @flow(runner={**runner, "*": ThreadRunner(1)})
    def run():
        sums = total.map(range(5), double.map(load.map(range(5))))
        return sums, every(sums)

    sums, (added, last) = run()
    assert [one[0] for one in sums] == [32 * n for n in range(5)]
    assert added == sum(32 * n for n in range(5))
    me = str(os.getpid())
    for _, first, second, third in sums:
        assert first.startswith(f"{me}-databacked_")
        assert not second.startswith(f"{me}-")
        assert third == here()
    assert last.startswith(f"{me}-databacked_")
    run()
    assert last_run().counts["total"] == {"reused": 5}
    assert not last_run().counts["load"]


def test_one_runner_of_two_tasks_is_one(project):
    """Its workers are shared, and what they hold."""
    shared = ProcessRunner(1)

    @flow(runner={"load": shared, "double": shared, "*": "calling"})
    def run():
        return double.map(load.map([1, 2]))

    assert len({where for _, *both in run() for where in both}) == 1


def test_resources_are_those_of_the_task_s_runner(project):
    @task(resources={"GPU": 2})
    def on_gpu(n):
        return n

    @flow(runner={"on_gpu": ThreadRunner(2, {"GPU": 2}), "*": "threads"})
    def run():
        return on_gpu.map([1, 2])

    assert run() == [1, 2]
    assert not run.plan().failures
    with pytest.raises(GraphError, match="GPU"):
        run.with_options(runner={"load": ThreadRunner(2, {"GPU": 2})})()
    with pytest.raises(GraphError, match="GPU"):
        run.with_options(runner={"load": ThreadRunner(2, {"GPU": 2})}).plan()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"load": 3}, "a Runner was expected"),
        ({3: "threads"}, "names of tasks were expected"),
        ({"load": "treads"}, "threads"),
        (3, "a Runner was expected"),
    ],
)
def test_what_is_no_runner_is_said_before_anything_runs(project, given, said):
    @flow(runner=given)
    def run():
        return load(1)

    with pytest.raises(Exception, match=said) as caught:
        run()
    assert caught.type.__module__ == "databacked.errors"


def test_a_name_that_is_no_task_of_the_run_is_said(project, capfd, monkeypatch):
    monkeypatch.delenv("DATABACKED_QUIET", raising=False)

    @flow(runner={"laod": "calling", "*": "calling"})
    def run():
        return load(1)

    run()
    assert "laod: no task of this run" in capfd.readouterr().err


def test_a_failure_in_one_runner_is_skipped_in_the_other(project):
    @task
    def bad(n):
        if n == 2:
            raise ValueError("two")
        return n

    @flow(runner={"bad": ProcessRunner(1), "*": ThreadRunner(2)}, on_error="collect")
    def run():
        return double.map([(one, "") for one in bad.map([1, 2, 3])])

    found = run()
    assert [one[0] for one in (found[0], found[2])] == [2, 6]
    assert last_run().counts == {
        "bad": {"made": 2, "failed": 1},
        "double": {"made": 2, "skipped": 1},
    }


def test_a_worker_that_dies_takes_nothing_of_the_other_runner(project):
    @task
    def deadly(n):
        if n == 2:
            os.kill(os.getpid(), 9)
        return n

    @task
    def slow(n):
        time.sleep(0.02)
        return n

    @flow(runner={"deadly": ProcessRunner(2), "*": ThreadRunner(2)}, on_error="collect")
    def run():
        return deadly.map(range(6)), slow.map(range(20))

    run()
    assert last_run().counts == {"deadly": {"made": 5, "failed": 1}, "slow": {"made": 20}}


CALLS: Counter[int] = Counter()
FAILS: dict[int, int] = {}


@task
def before(n):
    CALLS[n] += 1
    return n


@task(retries=2, retry_delay=0.05)
def flaky(n):
    if FAILS.get(n, 0):
        FAILS[n] -= 1
        raise OSError(f"{n} is busy")
    return n


@pytest.mark.parametrize("runner", [CallingThreadRunner, lambda: ThreadRunner(2)])
def test_a_retry_calls_nothing_else_again(project, runner):
    """What it reads is held; and others go on while it waits."""
    CALLS.clear()
    FAILS.update({1: 1, 2: 2, 3: 3})

    @flow(runner=runner(), on_error="collect")
    def run():
        return flaky.map(before.map(range(5)))

    found = run()
    assert [n for n in range(5) if found[n] != n] == [3]
    assert set(CALLS.values()) == {1}
    assert last_run().counts["flaky"] == {"made": 4, "failed": 1}
    assert [one.exception for one in last_run().failures] == ["OSError: 3 is busy"]


def test_a_retry_waits_for_nobody(project):
    """The delay of one item holds no worker."""
    FAILS.update({0: 1})

    @task(retries=1, retry_delay=1.0)
    def first(n):
        if FAILS.get(n, 0):
            FAILS[n] -= 1
            raise OSError("busy")
        return time.monotonic()

    @flow(runner=ThreadRunner(1))
    def run():
        return first.map(range(10))

    times = run()
    assert times[0] > max(times[1:]) + 0.5


def test_a_retry_in_processes_may_run_anywhere(project, tmp_path):
    @task(result=LocalResult("out"), target="{n}.json", retries=3)
    def sometimes(n, folder: str):
        mark = Path(folder) / f"{n}-{len(os.listdir(folder))}"
        if len(os.listdir(folder)) < 2:
            mark.touch()
            raise OSError("busy")
        return n

    @flow(runner=ProcessRunner(2))
    def run():
        return sometimes.map([7], str(tmp_path))

    assert run() == [7]
    assert last_run().counts["sometimes"] == {"made": 1}


def test_what_cannot_be_written_is_not_tried_again(project):
    """Only what the function raised."""
    calls = []

    @task(result=LocalResult("out"), target="{n}.json", retries=3)
    def odd(n):
        calls.append(n)
        return object()

    @flow(runner="calling")
    def run():
        return odd.map([1])

    with pytest.raises(FlowFailed):
        run()
    assert calls == [1]


def test_others_go_on_while_items_wait_for_their_next_try(project):
    """However many wait."""
    tries: Counter[int] = Counter()
    begun = time.monotonic()

    @task(retries=1, retry_delay=2.0)
    def busy(n):
        tries[n] += 1
        if tries[n] == 1:
            raise OSError("busy")
        return time.monotonic() - begun

    @task
    def other(n):
        return time.monotonic() - begun

    @flow(runner=ThreadRunner(2))
    def run():
        return busy.map(range(6)), other.map(range(20))

    late, soon = run()
    assert max(soon) < 1.5
    assert min(late) > 1.9


def test_small_items_go_on_beside_a_long_one(project):
    begun = time.monotonic()

    @task
    def long(n):
        time.sleep(2)
        return time.monotonic() - begun

    @task
    def small(n):
        return time.monotonic() - begun

    @flow(runner=ThreadRunner(2))
    def run():
        return long.map([1]), small.map(range(5000))

    slow, quick = run()
    assert max(quick) < slow[0]


@pytest.mark.parametrize("given", [{"load": ["threads"]}, {"load": {}}, {"load": 0}])
def test_odd_runners_are_said_by_name(project, given):
    @flow(runner=given)
    def run():
        return load(1)

    with pytest.raises(GraphError, match="a Runner was expected"):
        run()
