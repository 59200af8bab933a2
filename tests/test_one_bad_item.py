"""A run never ends because of one item, one odd file or one listener."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from databacked import (
    Failed,
    FlowFailed,
    LocalResult,
    ProcessRunner,
    ThreadRunner,
    flow,
    last_run,
    task,
)
from databacked.capture import LONGEST
from databacked.errors import GraphError
from databacked.records.journal import close_journals

RUNNERS = ["calling", "threads", "processes"]


class Odd(Exception):
    """Its text is none."""

    def __str__(self):
        return self.args


class Exits(Exception):
    """Its text ends the process, its notes are numbers, and it cannot be sent."""

    __notes__: Any = (1, 2)

    def __str__(self):
        raise SystemExit(3)

    def __reduce__(self):
        raise TypeError("no")


class Shy:
    """Nobody may see it."""

    def __repr__(self):
        raise RuntimeError("not connected")

    def __databacked_token__(self):
        return "shy"


RAISED: dict[str, Any] = {
    "SystemExit: 0": lambda: sys.exit(0),
    "SystemExit: no such channel": lambda: sys.exit("no such channel"),
    "CancelledError: ": lambda: throw(asyncio.CancelledError()),
    "GeneratorExit: ": lambda: throw(GeneratorExit()),
    "BaseExceptionGroup: two": lambda: throw(BaseExceptionGroup("two", [SystemExit(1)])),
    "StopIteration: ": lambda: next(iter([])),
    "Odd: (no text)": lambda: throw(Odd(5)),
    "Exits: (no text) 1 2": lambda: throw(Exits()),
    "OSError: [Errno 28] full": lambda: throw(OSError(28, "full")),
    "RecursionError": lambda: recurse(),
}


def throw(error):
    raise error


def recurse():
    return recurse()


@pytest.mark.parametrize("runner", RUNNERS)
def test_whatever_an_item_raises_it_fails_alone(project, runner):
    """Everything but Ctrl-C: exits, cancellations, groups, errors without a text."""
    raised = RAISED

    @task(result=LocalResult("out"), target="{n}.json", retries=1)
    def work(n, what):
        return raised[what]() if what in raised else n

    @flow(runner=runner, on_error="collect", quiet=True)
    def run():
        return work.map(range(len(raised) + 2), [*raised, "fine", "fine"])

    found = run()
    assert list(found[-2:]) == [len(raised), len(raised) + 1]
    assert last_run().counts["work"] == {"made": 2, "failed": len(raised)}
    told = [one.failure.exception for one in found[:-2]]
    assert [one.startswith(word) for one, word in zip(told, raised, strict=True)] == [True] * len(
        raised
    ), told


def test_arguments_that_cannot_be_shown_are_named_by_their_type(project):
    """In the failure of the item, and in the record of the run."""

    @task
    def work(n, shy):
        raise ValueError(n)

    @flow(on_error="collect", quiet=True)
    def run(shy):
        return work.map([1], [shy])

    run(Shy())
    assert last_run().failures[0].parameters["shy"] == "<Shy>"
    assert json.loads((last_run().folder / "run.json").read_text())["arguments"]["shy"] == "<Shy>"


async def coroutine(n):
    return n


async def generator(n):
    yield n


class Callable:
    async def __call__(self, n):
        return n


@pytest.mark.parametrize(
    "function",
    [coroutine, generator, functools.partial(coroutine), Callable(), Callable().__call__],
)
def test_asynchronous_functions_are_refused(function):
    """As tasks and as flows, before anything runs."""
    with pytest.raises(GraphError, match=r"async.*asyncio"):
        task(name="odd")(function)
    with pytest.raises(GraphError, match=r"async.*asyncio"):
        flow(function)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("hidden", [lambda n: coroutine(n), lambda n: generator(n)])
def test_a_value_that_is_still_to_be_awaited_fails_its_item(project, runner, hidden):
    """A plain function may return a coroutine."""

    @task
    def fetch(n):
        return hidden(n)

    @flow(runner=runner, on_error="collect", quiet=True)
    def run():
        return fetch.map([1, 2])

    assert all("asyncio.run" in one.failure.exception for one in run())


@pytest.mark.parametrize("runner", ["calling", "threads"])
def test_a_task_in_a_task_runs_at_once(project, runner):
    """With every runner, kept where it says; what it prints is heard by the item that calls it."""

    @task(result=LocalResult("inner"), target="{n}.json")
    def inner(n):
        print("inside", n)
        return n * 2

    @task(result=LocalResult("outer"), target="{n}.json")
    def outer(n):
        return inner(n) + sum(inner.map([n, n + 10]))

    @flow(quiet=True, runner=runner)
    def run():
        return outer.map(range(3))

    assert run() == [n * 2 + n * 2 + (n + 10) * 2 for n in range(3)]
    assert (project / "inner/12.json").exists()
    assert "outer[1.json]\tout\tinside 1" in last_run().log


def test_none_that_is_remembered_is_a_hit(project):
    """`keep=True` and a value of None, alone or among others."""

    @task(keep=True)
    def found(n):
        return None if n % 2 else n

    @flow(quiet=True)
    def run():
        return found.map(range(4))

    for counts in ({"made": 4}, {"reused": 4}):
        assert run() == [0, None, 2, None]
        assert last_run().counts["found"] == counts


def test_a_result_that_was_replaced_meanwhile_is_that_items_failure(project):
    """The others, the report and the record are as always; so is `.result()` in the flow."""

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n):
        return [n]

    @task
    def spoil(values):
        (project / "out/1.json").write_text("[7, 7]")

    @flow(quiet=True, on_error="collect")
    def run():
        found = work.map(range(3))
        spoil(found)
        return found

    found = run()
    assert (found[0], found[2]) == ([0], [2])
    assert "was changed by something else" in found[1].failure.exception
    assert last_run().counts["work"] == {"made": 2, "failed": 1}
    assert last_run().state == "partly failed"
    assert json.loads((last_run().folder / "run.json").read_text())["state"] == "partly failed"


def test_a_result_or_an_input_that_cannot_be_read_is_that_items_failure(project, monkeypatch):
    """In the planning too: the rest is made."""
    import databacked.places.one_file

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n, file: Path):
        return file.read_text()

    @flow(quiet=True, on_error="collect")
    def run(names):
        return work.map(names, [project / f"{n}.txt" for n in names])

    for n in range(4):
        (project / f"{n}.txt").write_text(str(n))
    assert run([0, 1, 2]) == ["0", "1", "2"]
    for n in (1, 2):
        os.utime(project / f"out/{n}.json", (1, 1))
    real: Any = vars(databacked.places.one_file)["content_of"]

    def denied(path):
        if Path(path).name == "1.json":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(databacked.places.one_file, "content_of", denied)
    found = run([0, 1, 2, 3])
    assert [type(one) is Failed for one in found] == [False, True, False, False]
    assert "Permission denied" in found[1].failure.exception
    assert "1.json" in found[1].failure.exception


def test_an_input_that_is_gone_is_that_items_failure(project):
    """Where its content decides about what is there already."""

    @task
    def load(file: Path):
        return file.read_text()

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n, text):
        return text

    @flow(quiet=True, on_error="collect")
    def run():
        return work.map(range(3), load.map([project / f"{n}.txt" for n in range(3)]))

    for n in range(3):
        (project / f"{n}.txt").write_text(str(n))
    assert run() == ["0", "1", "2"]
    (project / "1.txt").unlink()
    (project / "2.txt").write_text("new")
    found = run()
    assert (found[0], type(found[1]), found[2]) == ("0", Failed, "new")


def test_marks_count_as_failed(project):
    """Who got a mark is made again once the value is there, also where that is not kept."""
    (project / "bad").touch()

    @task
    def load(n):
        if n == 1 and (project / "bad").exists():
            raise OSError("network")
        return n

    @task(result=LocalResult("out"), target="all.json", failed="mark")
    def collect(values):
        return [None if isinstance(value, Failed) else value for value in values]

    @task(result=LocalResult("one"), target="one.json", failed="mark")
    def alone(value):
        return isinstance(value, Failed)

    @flow(quiet=True, on_error="collect")
    def run():
        values = load.map(range(3))
        return collect(values), alone(load(1))

    assert run() == ([0, None, 2], True)
    (project / "bad").unlink()
    assert run() == ([0, 1, 2], False)


def test_failures_that_are_collected_are_told(project, capsys, monkeypatch):
    """As `FlowFailed` tells them."""
    monkeypatch.delenv("DATABACKED_QUIET", raising=False)

    @task
    def work(n):
        return 1 / n

    @flow(on_error="collect")
    def run():
        return work.map([0, 1])

    run()
    assert "1 × work at" in capsys.readouterr().err


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_flow_may_ask_in_several_threads(project, runner):
    """One after another takes its turn."""

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n):
        return n * 10

    async def asked():
        made = await asyncio.gather(*[asyncio.to_thread(work, n) for n in range(30)])
        return await asyncio.gather(*[asyncio.to_thread(one.result) for one in made])

    @flow(quiet=True, runner=runner)
    def run():
        return asyncio.run(asked())

    assert run() == [n * 10 for n in range(30)]


@pytest.mark.parametrize(
    "runner", [ThreadRunner(2), ProcessRunner(2)], ids=["threads", "processes"]
)
def test_one_runner_serves_flows_of_several_threads(project, runner):
    """Each gets its own values."""

    @task
    def work(n, k):
        return n * 1000 + k

    @flow(runner=runner, quiet=True)
    def run(n):
        return work.map(n, range(50))

    found: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: run(n)}), daemon=True)
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == {n: [n * 1000 + k for k in range(50)] for n in range(3)}


@pytest.mark.filterwarnings("ignore")
def test_what_an_item_says_is_limited(project):
    """One line without an end, or many: the rest is counted."""

    @task
    def work(n):
        if n:
            print("y" * 1_000_000)
        for _ in range(2000):
            print("z" * 99)

    @flow(quiet=True, runner="threads")
    def run():
        return work.map([0, 1])

    run()
    lines = last_run().log.splitlines()
    for item, more in (("work[0]", 100_000), ("work[1]", 1_100_001)):
        mine = [line.split("\t")[2] for line in lines if line.startswith(item)]
        assert sum(map(len, mine)) <= LONGEST + 100
        assert mine[-1] == f"{more:,} more characters were not kept"


SCRIPT = """
import os, sys, threading, time
from databacked import flow, task, LocalResult
@task(result=LocalResult("out"), target="{n}.json")
def work(n):
    print("item", n, flush=True)
    time.sleep(float(os.environ.get("SECONDS", 0)))
    if os.environ.get("DEADLY") == str(n):
        import ctypes; ctypes.string_at(0)
    if os.environ.get("SPAWNS"):
        import multiprocessing
        with multiprocessing.get_context("spawn").Pool(1) as pool: return pool.map(abs, [-n])[0]
    if "FORKS" in os.environ:
        copy = os.fork()
        if not copy: return {"exit": sys.exit, "fail": float, "end": str}[os.environ["FORKS"]]("x")
        os.waitpid(copy, 0)
    return n
@flow(runner=os.environ.get("RUNNER", "threads"), on_error="collect")
def go(): return work.map(range(5))
def late():
    time.sleep(float(os.environ.get("LATE", 0))); go()
if __name__ == "__main__":
    threading.Thread(target=late).start() if "LATE" in os.environ else go()
"""


def run_script(folder: Path, shell: str, **how: str) -> list[str]:
    """Run the script as a shell says, and return the names of what was made."""
    (folder / "databacked.toml").touch()
    (folder / "s.py").write_text(SCRIPT)
    usual = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run(
        shell.replace("python", sys.executable),
        shell=True,
        cwd=folder,
        env={**usual, **how},
        timeout=120,
        check=False,
        capture_output="2>" not in shell,
    )
    return sorted(path.name for path in folder.glob("out/*.json"))


ALL = [f"{n}.json" for n in range(5)]


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    "shell",
    [
        "python s.py > /dev/full 2> /dev/full",
        "python s.py >&- 2>&-",
        "python s.py <&- >&- 2>&-",
        "python s.py 2>&1 | true",
    ],
    ids=["full", "none", "no input either", "ended"],
)
def test_nobody_listens_any_more(tmp_path, shell, runner, unbuffered):
    """A full disk under a log, a service without streams, a pipe that ended: all is made."""
    assert run_script(tmp_path, shell, RUNNER=runner, PYTHONUNBUFFERED=unbuffered) == ALL


@pytest.mark.parametrize("late", ["0", "0.5"])
@pytest.mark.parametrize("runner", RUNNERS)
def test_the_main_thread_may_end_before_the_flow(tmp_path, runner, late):
    """A plain thread goes on until it is done, also one that begins its flow only then."""
    shell = "python s.py 2> said"
    found = run_script(tmp_path, shell, RUNNER=runner, LATE=late, SECONDS="0.2")
    if (3, 12) <= sys.version_info < (3, 12, 3):  # no threads then, for nobody
        assert found == ALL or "use Python 3.12.3 or newer" in (tmp_path / "said").read_text()
    else:
        assert found == ALL


def test_a_crash_in_c_code_is_its_items_failure(tmp_path):
    """With processes."""
    found = run_script(tmp_path, "python s.py", RUNNER="processes", DEADLY="2")
    assert found == [name for name in ALL if name != "2.json"]


def test_a_task_may_start_processes_of_its_own(tmp_path):
    """By Python's own ways, in a process of the run."""
    assert run_script(tmp_path, "python s.py", RUNNER="processes", SPAWNS="1") == ALL


@pytest.mark.parametrize("ends", ["exit", "fail", "end"])
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_copy_of_the_process_ends_where_its_function_does(tmp_path, runner, ends):
    """However it ends: it neither goes on with the run nor keeps who waits for it."""
    assert run_script(tmp_path, "python s.py", RUNNER=runner, FORKS=ends) == ALL
    found = [(tmp_path / "out" / name).read_text() for name in ALL]
    assert [int(text) for text in found] == list(range(5))


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_current_folder_may_be_gone(tmp_path, runner):
    """After a checkout, in a terminal that stood there."""
    shell = "P=$PWD; mkdir x; cd x; rmdir $P/x; python $P/s.py"
    assert run_script(tmp_path, shell, RUNNER=runner) == ALL


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give up what it may")
@pytest.mark.parametrize("runner", RUNNERS)
def test_a_current_folder_that_this_user_may_not_enter(tmp_path, runner):
    """As by sudo in root's own folder: it works, or is said in words."""
    drop = "setpriv --bounding-set=-dac_override,-dac_read_search"
    shell = f"P=$PWD; mkdir x; cd x; chmod 0 $P/x; {drop} python $P/s.py 2> $P/said"
    found = run_script(tmp_path, shell, RUNNER=runner)
    (tmp_path / "x").chmod(0o755)
    if runner == "processes":
        assert "x is one that this user may not enter. Change" in (tmp_path / "said").read_text()
    else:
        assert found == ALL


def test_an_interruption_while_journals_are_made_one(project, monkeypatch):
    """The run is done: its value, its record; nothing is left over, and the next run goes on."""

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n):
        return n

    @flow(quiet=True)
    def run(n):
        return work(n)

    for n in range(9):
        run(n)
        close_journals()

    def interrupted(file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        assert run(9) == 9
    assert last_run().state == "done"
    assert (last_run().folder / "run.json").exists()
    assert not list(project.glob("out/.databacked/journals/.*"))
    assert run(9) == 9
    assert last_run().counts["work"] == {"reused": 1}


def test_a_slow_git_costs_a_second_and_leaves_nothing(project, monkeypatch, tmp_path):
    """The record says what is lacking; the process of git is ended."""
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{git.parent}{os.pathsep}{os.environ['PATH']}")

    @flow(quiet=True)
    def run():
        return 1

    assert run() == 1
    said = json.loads((last_run().folder / "run.json").read_text())
    assert any(line.startswith("git: no answer") for line in said["warnings"])
    if (tmp_path / "pid").exists():  # else it did not even start
        number = int((tmp_path / "pid").read_text())
        ended = threading.Event()
        assert any(not is_there(number) or ended.wait(0.05) for _ in range(200))


def is_there(process: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_folder_of_a_run_goes_by_its_lock(project):
    """Not by a number of a process, which two containers share; what is not ours stays."""
    from databacked.project.root import Project
    from databacked.storage.scratch import Scratch

    held = Scratch(Project(project), "one")
    held.folder.mkdir()
    mine = project / ".databacked/tmp/notes"
    mine.mkdir()
    dead = project / ".databacked/tmp/run-dead"
    dead.mkdir()
    dead.with_name("run-dead.lock").touch()
    other = Scratch(Project(project), "two")
    assert held.folder.exists()
    assert mine.exists()
    assert not dead.exists()
    other.close()
    held.close()
    assert [path.name for path in mine.parent.iterdir()] == ["notes"]


def test_what_cannot_be_sent_fails_alone(project):
    """An argument of one item, or the function of one task; the others are made."""
    lock = threading.Lock()

    class Stays:
        def __databacked_token__(self):
            return "stays"

        def __reduce__(self):
            raise TypeError("stays here")

    @task
    def plain(n, x):
        return n

    @task
    def guarded(n):
        with lock:
            return n

    @flow(runner="processes", quiet=True)
    def run():
        return plain.map(range(6), [0, 1, Stays(), 3, 4, 5]), guarded.map(range(2))

    with pytest.raises(FlowFailed) as error:
        run()
    found, lost = error.value.value
    assert [type(one) is Failed for one in found] == [False, False, True, False, False, False]
    assert all(isinstance(one, Failed) for one in lost)
