"""What items print, log and warn of: in the log of the run, by item."""

from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys
import warnings
from contextlib import suppress

import pytest

from databacked import FlowFailed, LocalResult, flow, last_run, task
from databacked.capture import is_capturing
from databacked.display.base import Show
from databacked.display.choose import show_for
from databacked.display.notebook import NotebookShow
from databacked.display.terminal import TerminalShow

RUNNERS = ["calling", "threads", "processes"]
pytestmark = pytest.mark.filterwarnings("default")


@task(result=LocalResult("kept"), target="{n}.json")
def speak(n):
    print("hello", n)
    print("twice")
    print("to stderr", file=sys.stderr)
    logging.getLogger("mine").warning("logged %s", n)
    warnings.warn(f"item {n} is odd", RuntimeWarning, stacklevel=1)
    return n


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_items_say_is_in_the_log_by_item(project, runner, capsys):
    """Every line with the item that said it; a warning once by kind, with its count."""

    @flow(runner=runner)
    def run():
        print("the flow itself speaks")
        return speak.map(range(5))

    run()
    lines = last_run().log.splitlines()
    for n in range(5):
        item = f"speak[{n}.json]"
        assert [line.split("\t")[1:] for line in lines if line.startswith(item)][:4] == [
            ["out", f"hello {n}"],
            ["out", "twice"],
            ["out", "to stderr"],
            ["log", f"WARNING mine: logged {n}"],
        ]
    notes = last_run().notes["speak"]
    assert [count for note, count in notes.items() if "RuntimeWarning" in note] == [5]
    out = capsys.readouterr().out
    assert "the flow itself speaks" in out
    assert ("hello" in out) == (runner == "calling")  # a debugger has to be heard
    assert not is_capturing()
    assert not isinstance(sys.stdout, type(None))
    assert type(sys.stdout).__name__ != "_Stream"


def test_of_a_bar_the_last_state_is_kept(project, capsys):
    """As a terminal shows it."""

    @task
    def draw(n):
        for done in range(5):
            print(f"\r{done} of 4", end="", file=sys.stderr)
        print("\r\nwhole\r")
        print("end")

    @flow
    def run():
        return draw.map([1])

    run()
    assert [line.split("\t")[2] for line in last_run().log.splitlines()] == [
        "4 of 4",
        "whole",
        "end",
    ]
    assert "0 of 4" not in capsys.readouterr().err


@pytest.mark.parametrize(("term", "kind"), [("xterm", TerminalShow), ("dumb", Show)])
def test_a_terminal_that_draws_nothing_anew_gets_lines(monkeypatch, term, kind):
    """Bars would stay away there, and nothing would say how far a run is."""
    driver, end = pty.openpty()
    monkeypatch.setenv("TERM", term)
    with os.fdopen(driver), os.fdopen(end, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert type(show_for()) is kind


def test_a_box_in_a_notebook_shows_no_codes_of_colours():
    show = NotebookShow()
    show.show_heard("f[1]", "\x1b[1;31mred\x1b[0m <b>")
    assert "f[1]: red &lt;b&gt;" in show._html()


def test_a_failing_item_was_heard_too(project):
    """What it printed before it failed."""

    @task
    def fail(n):
        print("before", n)
        raise ValueError(n)

    @flow
    def run():
        return fail.map([1])

    with pytest.raises(FlowFailed):
        run()
    assert "fail[0]\tout\tbefore 1" in last_run().log


def test_a_flow_without_a_word_has_no_log(project):
    """And the report says so."""

    @task
    def quiet(n):
        return n

    @flow
    def run():
        return quiet.map([1, 2])

    run()
    assert last_run().log == ""
    assert not (last_run().folder / "log").exists()


def test_calls_outside_of_a_flow_are_heard_at_once(project, capsys):
    """Cell by cell in a notebook, the output is the cell's."""
    speak(1)
    assert "hello 1" in capsys.readouterr().out


def test_warnings_that_are_errors_stay_errors(project):
    """Filters of the user's own come first."""

    @flow
    def run():
        return speak.map([1])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FlowFailed, match="RuntimeWarning: item 1 is odd"):
            run()


LOGS = """
import logging, sys
from databacked import LocalResult, flow, last_run, task
@task(result=LocalResult("out"), target="{n}.json")
def work(n):
    logging.warning("%d nuclei", "many")
    return n
@flow(runner=sys.argv[1])
def run(): return work.map([1])
print(list(run()), last_run().log.count("erro" "r ---"))
"""


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_message_that_cannot_be_told_fails_nothing(project, runner):
    """As without a flow: logging says so, and goes on."""
    (project / "s.py").write_text(LOGS)
    line = [sys.executable, "s.py", runner]
    done = subprocess.run(line, cwd=project, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[1] 1"


ON_A_TERMINAL = """
import time
from databacked import flow, last_run, task, ThreadRunner

@task
def talk(n):
    time.sleep(0.1)
    print("item", n)
    return n

@flow(runner=ThreadRunner(1))
def run():
    found = talk.map(range(15))
    found[4].result()
    print("the flow itself")
    return found

run()
print("log", last_run().log.count("item"))
"""


def test_bars_on_a_terminal_take_nothing_from_the_log(project):
    """They stand before the streams, too; what items say is taken down all the same."""
    script = project / "script.py"
    script.write_text(ON_A_TERMINAL)
    main, other = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "DATABACKED_QUIET": "", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, script], stdout=other, stderr=other, env=env)
    os.close(other)
    said = b""
    with suppress(OSError):  # what a terminal says whose other end is closed
        while data := os.read(main, 4096):
            said += data
    os.close(main)
    assert process.wait() == 0
    text = said.decode()
    assert "log 15" in text
    assert "the flow itself" in text
    assert text.count("]: item ") == 10
    assert "what items said: 5 more lines" in text
    assert "━" in text
