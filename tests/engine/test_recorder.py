"""The recorder alone: outcomes in, counts and words out."""

from __future__ import annotations

from typing import Any

import pytest

from databacked.capture import Log, Said
from databacked.display.base import Show
from databacked.engine.recorder import Recorder
from databacked.engine.scheduler import Scheduler
from databacked.engine.verdict import Verdict
from databacked.graph.calls import Graph
from databacked.graph.step import Options, Step
from databacked.project.root import Project
from databacked.types import Failure
from databacked.worker.messages import FAILED, MADE, REUSED, SKIPPED, Outcome, Reason

from .test_scheduler import Nobody, spec_of


@pytest.fixture
def setup(tmp_path) -> Any:
    """A recorder, the items of a map of four, and what is printed."""
    graph = Graph(Nobody())
    graph.map(Step(lambda n: n, Options(name="work")), ([5, 6, 7, 8],), {})
    scheduler = Scheduler(graph)
    items = scheduler.of(graph.nodes[0])
    items.open(spec_of(0, kept=True, marks=False, pure=True), None)
    said: list[str] = []
    show = Show(quiet=True)
    show.say = said.append  # type: ignore[method-assign,assignment]
    recorder = Recorder(Project(tmp_path), scheduler, show, Log(tmp_path / "log"))
    return recorder, items, said, tmp_path


def test_what_became_of_each_item_is_counted_once(setup):
    """What is said later takes the place of what was said before."""
    recorder, items, _, _ = setup
    recorder.begin(items, Verdict(fresh={0: "c:a"}))
    recorder.note(items, Outcome(0, 1, MADE, "c:b"))
    failure = Failure("work", "7", {}, "ValueError: dark", "a.py:1", 0.0)
    recorder.note(items, Outcome(0, 2, FAILED, None, failure=failure))
    recorder.note(items, Outcome(0, 3, SKIPPED, None, failure=failure))
    assert dict(recorder.counts["work"]) == {"made": 1, "reused": 1, "failed": 1, "skipped": 1}
    words = [recorder.became(items.node, row) for row in range(4)]
    assert words == ["reused", "made", "failed", "skipped"]
    recorder.failed(items, 1, OSError("gone"))
    assert dict(recorder.counts["work"]) == {"made": 0, "reused": 1, "failed": 2, "skipped": 1}
    assert [one.task for one in recorder.failures] == ["work", "work"]
    assert recorder.failures[1].parameters == {"n": "6"}


def test_what_is_replaced_is_said_before_it_is(setup):
    """Once, and only where nothing but parameters changed."""
    recorder, items, said, _ = setup
    sigma, code = Reason("parameter sigma changed (1 → 2)", True), Reason("f changed")
    why = {0: sigma, 1: sigma, 2: sigma, 3: code}
    for _ in range(2):
        recorder.begin(items, Verdict(why=why, whole=True))
    assert len(said) == 1
    assert "3 results are replaced (parameter sigma changed (1 → 2))" in said[0]
    assert recorder.reasons()["work"] == {"parameter sigma changed (1 → 2)": 6, "f changed": 2}


def test_what_items_say_is_in_the_log_and_warnings_are_counted(setup):
    """With the name of the item."""
    recorder, items, _, folder = setup
    recorder.is_capturing = True
    lines = (Said("out", "hello"), Said("warning", "UserWarning: odd", f"{folder}/a.py:3"))
    for row in (0, 1):
        recorder.note(items, Outcome(0, row, MADE, "c:a", said=lines))
    assert "work[0]\tout\thello" in (folder / "log").read_text()
    assert recorder.notes()["work"] == {"UserWarning: odd (a.py:3)": 2}


def test_what_came_out_the_same_was_not_made_again(setup):
    """The reason for which it was to be made is not said of it."""
    recorder, items, _, _ = setup
    why = Reason("input image changed", only_inputs=True)
    recorder.begin(items, Verdict(why={0: why, 1: why, 2: why}))
    recorder.note(items, Outcome(0, 0, REUSED, "c:a"))
    recorder.note(items, Outcome(0, 1, MADE, "c:b"))
    assert recorder.reasons()["work"] == {"input image changed": 2}
    recorder.note(items, Outcome(0, 2, REUSED, "c:a"))
    recorder.note(items, Outcome(0, 0, REUSED, "c:a"))
    assert recorder.reasons()["work"] == {"input image changed": 1}
