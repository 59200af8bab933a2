"""What a person sees and asks for, in ordinary use."""

from __future__ import annotations

import inspect
import io
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from databacked import FlowFailed, LocalResult, each, flow, last_run, sweep, task
from databacked.display.base import Show
from databacked.display.words import Progress
from databacked.errors import GraphError, TargetError

from .test_views import pictures


@pytest.fixture
def heard(monkeypatch, capfd):
    """Return what runs have said since."""
    monkeypatch.delenv("DATABACKED_QUIET", raising=False)
    return lambda: capfd.readouterr().err


@task
def load(n):
    return np.full((4, 4), n, np.uint8)


@task(result=LocalResult("masks"), target="{n}.npy")
def segment(n, image):
    return image > 1


@task(keep=True)
def count(n, mask):
    return int(np.sum(mask))


@flow(runner="calling")
def analysis(ns):
    masks = segment.map(ns, load.map(ns))
    return count.map(ns, masks), masks.table


# force=


@pytest.mark.parametrize("force", ["segment", ["segment"], ("segment", "load"), segment, [segment]])
def test_a_task_that_is_asked_for_is_made_again(project, force):
    """And nothing else, since it comes out the same."""
    analysis([1, 2, 3])
    found, _ = analysis.with_options(force=force)([1, 2, 3])
    assert found == [0, 16, 16]
    assert last_run().counts["load"] == {"made": 3}
    assert last_run().counts["segment"] == {"made": 3}
    assert last_run().counts["count"] == {"reused": 3}
    assert last_run().reasons["segment"] == {"force= asks for it": 3}
    analysis([1, 2, 3])
    assert last_run().counts["segment"] == {"reused": 3}


def test_what_is_kept_in_records_can_be_asked_for(project):
    """There is no file that one could remove."""
    analysis([1, 2])
    analysis.with_options(force=["count"])([1, 2])
    assert last_run().counts["count"] == {"made": 2}
    analysis([1, 2])
    assert last_run().counts["count"] == {"reused": 2}


def test_corrected_files_stay_and_are_named(project, heard):
    analysis([1, 2, 3])
    np.save(project / "masks/2.npy", np.eye(4, dtype=bool))
    found, table = analysis.with_options(force=["segment"])([1, 2, 3])
    assert found == [0, 4, 16]
    assert last_run().counts["segment"] == {"made": 2, "reused": 1}
    assert "masks/2.npy" in heard()
    assert np.load(project / "masks/2.npy").sum() == 4
    assert list(table["state"])[1] == "edited"


def test_a_plan_says_what_is_asked_for(project):
    analysis([1, 2])
    assert analysis.plan([1, 2]).due == 0
    plan = analysis.with_options(force=["segment"]).plan([1, 2])
    assert plan.tasks["segment"].due == 2
    assert plan.tasks["segment"].reasons == {"force= asks for it": 2}


@pytest.mark.parametrize("ask", [lambda f: f([1]), lambda f: f.plan([1])])
def test_an_unknown_name_is_an_error_with_the_known_ones(project, ask):
    with pytest.raises(GraphError, match=r"'segmant'.*did you mean 'segment'.*load, .*count"):
        ask(analysis.with_options(force=["segmant"]))


def test_names_that_can_be_read_once_count_for_every_run(project):
    names: Any = (name for name in ["count"])
    again = analysis.with_options(force=names)
    for _ in range(2):
        again([1, 2])
        assert last_run().counts["count"] == {"made": 2}


@pytest.mark.parametrize("wrong", [{"force": 5}, {"force": [5]}, {"force": None}])
def test_what_is_no_name_of_a_task_is_an_error(wrong):
    with pytest.raises(GraphError, match=r"analysis\.with_options: force="):
        analysis.with_options(**wrong)


def test_a_misspelt_way_of_failing_is_an_error():
    """Else it would have meant the other one."""
    with pytest.raises(GraphError, match=r"did you mean 'collect'.*'raise' and 'collect'"):
        analysis.with_options(on_error="colect")  # type: ignore[arg-type]


# What is said


def test_what_a_stopped_run_did_not_come_to_is_left(project, heard):
    """Not "nothing to do", which would be untrue."""

    @flow
    def stopped(ns):
        load.map(ns)
        segment.map([*ns, "a\tb"], each([*ns, 4]))

    with pytest.raises(TargetError):
        stopped([1, 2])
    said = heard()
    assert "segment  3 left" in said
    assert "segment  nothing to do" not in said


def test_edited_files_are_named_up_to_three(project, heard):
    analysis(range(6))
    for n in (0, 1, 2, 3, 4):
        np.save(project / f"masks/{n}.npy", np.eye(4, dtype=bool))
    heard()
    analysis(range(6))
    (line,) = [one for one in heard().splitlines() if "edited by hand" in one]
    assert line.startswith("segment: 5 × edited by hand, used as it is (masks/")
    assert line.endswith(" and 2 more)")
    assert line.count(".npy") == 3


def test_the_table_says_which_were_edited(project):
    analysis([1, 2])
    np.save(project / "masks/2.npy", np.eye(4, dtype=bool))
    analysis([1, 2])

    @flow(runner="calling")
    def run():
        masks = segment.map([1, 2], load.map([1, 2]))
        masks[0].result()
        masks[1].result()
        return masks.table

    assert list(run()["state"]) == ["reused", "edited"]


def test_what_is_moved_aside_is_named_as_it_can_be_opened(project, heard):
    analysis([1])
    (project / "masks/1.npy").write_bytes(b"no array")
    analysis([1])
    said = heard()
    (line,) = [one for one in said.splitlines() if "moved aside to" in one]
    folder = line.partition("moved aside to ")[2].partition(":")[0]
    assert (project / folder / "1.npy").read_bytes() == b"no array"
    assert "masks/1.npy" in line


@task(result=LocalResult("figures"), target="{n}.png")
def draw(n):
    """Forgets to return what it made."""


def test_what_is_none_for_all_is_asked_about(project, heard):
    @flow(runner="calling")
    def run(ns):
        draw.map(ns)

    run([1, 2])
    assert "draw: 2 × None, so there is no file; did the function forget to return" in heard()
    run([1, 2])
    assert "None" not in heard()


@task(result=LocalResult("out"), target="{n}_{factor}.npy")
def scaled(n, factor):
    return np.float64(n * factor)


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ([0.8, 1.0], False),
        ([1.0, 2.0], False),
        (pd.Series([1.0, 2.5]), False),
        (pd.Series([1.0, None]), True),
    ],
)
def test_floats_in_names_are_asked_about_where_a_column_became_float(project, factors, said):
    @flow(runner="calling")
    def run():
        scaled.map([1, 2], factors)
        scaled.map([3], sweep([0.5, 1.0]))

    run()
    assert any("astype('Int64')" in note for note in last_run().notes.get("scaled", ())) == said


def test_a_future_says_that_it_is_none_of_its_value(project):
    @flow(runner="calling")
    def run():
        for image in load.map([1, 2]):
            image.sum()

    with pytest.raises(AttributeError, match=r"not known yet.*'sum'.*\.result\(\)"):
        run()


def test_failures_are_counted_in_words(project):
    @task
    def bad(n):
        raise ValueError("line one\nline two" if n else "short")

    @task
    def after(table, x):
        return x

    frame = pd.DataFrame({"a": [1, 2, 3]})

    @flow(runner="calling")
    def run(ns):
        after.map(frame, bad.map(ns)) if len(ns) > 1 else after(frame, bad(ns[0]))

    with pytest.raises(FlowFailed, match=r"1 item failed, 1 that needs them was skipped"):
        run([0])

    @task
    def reads(table):
        raise ValueError("no")

    @flow(runner="calling")
    def tables():
        reads(frame)

    with pytest.raises(FlowFailed) as caught:
        tables()
    assert len(str(caught.value).splitlines()) == 3
    assert "after" not in str(caught.value)


def test_a_value_that_cannot_be_written_is_its_task_s(project):
    @task(result=LocalResult("out"), target="{n}.npy")
    def odd(n):
        return [[1, 2], [3]]

    @flow(runner="calling")
    def run():
        odd.map([1])

    with pytest.raises(FlowFailed) as caught:
        run()
    assert "site-packages" not in str(caught.value)
    assert "serializers" not in str(caught.value).replace("SerializerError", "")


# Files for programs


@task(result=LocalResult("texts"), target="{n}.txt")
def text_of(n):
    return f"number {n}"


@task(result=LocalResult("tables"), target="{n}.csv")
def table_of(n):
    return pd.DataFrame({"n": [n]})


@task(result=LocalResult("pairs"), target={"a": "{n}.json", "b": "{n}.npy"})
def pair_of(n):
    return {"a": [n], "b": np.arange(n)}


@task(keep=True)
def line_of(file: Path):
    return str(file), file.read_bytes()[:9].decode(errors="replace")


@pytest.mark.parametrize("runner", ["calling", "threads", "processes"])
def test_who_asks_for_a_file_gets_the_file_of_any_result(project, runner):
    """Texts and tables as well as arrays, in a chain and from the run before."""

    @flow(runner=runner)
    def run(ns):
        pairs = pair_of.map(ns)
        return [
            line_of.map(text_of.map(ns)),
            line_of.map(table_of.map(ns)),
            line_of.map(pairs["a"]),
            line_of.map(pairs["b"]),
        ]

    for ns in ([1, 2], [1, 2, 3]):
        for found, folder, ending in zip(
            run(ns),
            ("texts", "tables", "pairs", "pairs"),
            ("txt", "csv", "json", "npy"),
            strict=True,
        ):
            assert [one[0] for one in found] == [
                str(project / f"{folder}/{n}.{ending}") for n in ns
            ]
            assert all(one[1] for one in found)
    assert last_run().counts["line_of"]["reused"] == 8


def test_a_value_without_a_file_is_none_for_who_asks_for_one(project):
    @flow(runner="calling")
    def run():
        return look.map(draw.map([1]))

    @task
    def look(file: Path):
        return file

    assert run() == [None]


def test_a_tuple_with_a_figure_says_what_to_return(project):
    @task(result=LocalResult("figures"), target="{n}.svg")
    def plotted(n):
        import matplotlib.pyplot as plt

        return plt.subplots()

    @flow(runner="calling")
    def run():
        plotted.map([1])

    with pytest.raises(FlowFailed, match=r"a tuple with a figure came.*return fig"):
        run()


SCRIPT = """
from databacked import LocalResult, flow, task

@task(result=LocalResult("out"), target="{n}.json")
def one(n): return n

@flow
def run(): one.map([1])

run()
"""


def test_a_script_run_from_another_folder_says_what_makes_a_project(tmp_path):
    """Else everything is made again there, and nobody knows why."""
    script = tmp_path / "lab/one.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)

    def said(folder: Path) -> str:
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "DATABACKED_QUIET": ""},
        )
        return done.stderr

    assert "databacked.toml" in said(tmp_path)
    assert "databacked.toml" not in said(script.parent)
    (script.parent / "databacked.toml").touch()
    assert "databacked.toml" not in said(tmp_path)
    assert (script.parent / "out/1.json").exists()


# Reasons of tasks that keep nothing


SCRIPT_OF = """
from databacked import LocalResult, flow, last_run, task
import helpers

@task
def select(n): return helpers.cut(n)

@task
def scale(n): return n * 2

@task(result=LocalResult("out"), target="{{n}}.json")
def keep(n, x): return x

@task(result=LocalResult("sums"), target="sum.json")
def total(xs): return sum(xs)

@flow(quiet=True, runner="calling")
def run():
    n = [1, 2]
    total(keep.map(n, scale.map(select.map(n))))

run()
print(sorted(last_run().reasons.get("keep", [])), sorted(last_run().reasons.get("total", [])))
"""


def test_what_changed_in_a_task_that_keeps_nothing_is_said_by_who_keeps(tmp_path):
    """With the symbol and its values, as of the task's own code."""
    (tmp_path / "databacked.toml").touch()
    (tmp_path / "run.py").write_text(SCRIPT_OF.replace("{{", "{").replace("}}", "}"))

    def said(box: int) -> str:
        (tmp_path / "helpers.py").write_text(f"BOX = {box}\ndef cut(n): return n + BOX\n")
        done = subprocess.run(
            # Of one size and second, Python takes the compiled file of the one before.
            [sys.executable, "-B", "run.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert said(64) == "[] []"
    assert said(64) == "[] []"
    assert said(48) == (
        "['input x changed (select: helpers.BOX changed (64 → 48))'] ['input xs changed']"
    )
    assert said(48) == "[] []"


# What is shown


@task(failed="mark", result=LocalResult("sheets"), target="all.json")
def lengths(masks):
    return [len(mask) for mask in masks]


@task(result=LocalResult("odd"), target="{n}.npy")
def refuse(n):
    if n == 2:
        raise ValueError("an unlucky number")
    return np.zeros(n)


def test_who_cannot_do_with_marks_is_no_second_failure(project, heard):
    """The failure that counts is the item's own; the reader was skipped, and why is said."""

    @flow(runner="calling")
    def run(ns):
        return lengths(refuse.map(ns))

    with pytest.raises(FlowFailed) as error:
        run([1, 2, 3])
    assert [one.task for one in error.value.failures] == ["refuse"]
    assert last_run().counts["lengths"] == {"skipped": 1}
    assert "could not do with them (TypeError: object of type 'Failed' has no len()" in heard()


def test_a_mistake_beside_marks_is_a_failure_once_they_are_gone(project):
    @task(failed="mark")
    def broken(values):
        raise KeyError("mine")

    @flow(runner="calling")
    def run(ns):
        return broken(refuse.map(ns))

    with pytest.raises(FlowFailed) as error:
        run([1, 3])
    assert [one.task for one in error.value.failures] == ["broken"]


def test_short_lists_are_shown_where_they_changed(project):
    @task(result=LocalResult("scaled"), target="all.json")
    def scale(factors, names=("a",)):
        return [factor * 2 for factor in factors]

    @flow(runner="calling")
    def run(*given):
        return scale(*given)

    run([1, 2.5], ("a", "b"))
    run([1, 3.5], ("a",))
    (reason,) = last_run().reasons["scale"]
    assert "parameter factors changed ([1, 2.5] → [1, 3.5])" in reason
    assert "parameter names changed (('a', 'b') → ('a',))" in reason


def test_masks_with_few_objects_are_coloured_like_the_others(project):
    """As a person sees them: one map, one kind of picture."""

    @task(result=LocalResult("labels"), target="{n}.npy")
    def label(n):
        mask = np.zeros((40, 40), np.uint16)
        for number in range(n):
            mask[4 * number : 4 * number + 3, 5:20] = 3 * number + 1
        return mask

    found: Any = label.map([1, 5])
    html = found._repr_html_()
    first, second = pictures(html)
    assert first.shape == second.shape == (40, 40, 3)
    assert first[0, 10].tolist() == second[0, 10].tolist()
    assert html.count('width="40"') == 2


def test_small_pictures_are_enlarged(project):
    @task(result=LocalResult("tiny"), target="{n}.png")
    def tiny(n):
        return np.full((16, 16), 9 * n, np.uint8)

    found: Any = tiny.map([1, 2])
    assert found._repr_html_().count('width="64" height="64"') == 2


def test_a_tuple_of_maps_shows_its_pictures(project):
    @flow(runner="calling")
    def run(ns):
        return segment.map(ns, load.map(ns)), 7, draw.map(ns)

    found: Any = run([1, 2])
    assert isinstance(found, tuple)
    assert found[1:] == (7, [None, None])
    html = found._repr_html_()  # type: ignore[attr-defined]
    assert len(pictures(html)) == 2
    assert "<pre>7</pre>" in html
    assert type(pickle.loads(pickle.dumps((found[1], found[2])))) is tuple


def test_the_last_run_is_told_shortly(project):
    analysis([1, 2])
    text = repr(last_run())
    assert "load     2 made" in text
    assert len(text.splitlines()) < 10
    assert "<table>" in last_run()._repr_html_()


def test_what_can_be_typed_next_is_what_users_call(project):
    """Completion: numpy's methods of a backed array, no internals of tasks and flows."""
    array = segment(3, load.fn(3))
    names = dir(array)
    assert {"path", "dask", "record", "mean", "astype", "sum", "T"} <= set(names)
    assert not [name for name in names if name.startswith("_")]
    assert all(hasattr(array, name) for name in names if name not in ("dask", "data", "ctypes"))
    assert dir(segment) == ["fn", "map", "name", "options", "with_options"]
    assert "arrives" not in dir(analysis)
    given = inspect.signature(task).parameters
    assert given["retries"].default == 0
    assert {"result", "target", "keep", "limit"} <= given.keys()
    assert "runner" in inspect.signature(analysis.with_options).parameters


def test_several_outputs_outside_of_a_flow_are_had_by_name(project):
    """As inside of one."""

    @task(result=LocalResult("both"), target={"mask": "{n}.npy", "area": "{n}.json"})
    def both(n):
        return {"mask": np.full(3, n), "area": n * 2}

    found = both.map([1, 2])
    assert found["area"] == [2, 4]
    assert found["mask"][1].path.name == "2.npy"
    assert found.result() is found


def test_seconds_and_bytes_of_each_task(project, heard):
    """Also of what was made long ago."""
    for made in ("2 made", "2 reused"):
        analysis.with_options(verbose=True)([1, 2])
        (line,) = [one for one in heard().splitlines() if one.startswith("  segment")]
        assert re.search(rf"{made} · [\d.]+ m?s · 288 bytes", line)
    _, table = analysis([1, 2])
    assert table["nbytes"].tolist() == [144, 144]
    assert (table["seconds"] > 0).all()


def test_a_run_tells_now_and_then_where_there_is_no_terminal():
    """After five seconds, then twice a minute."""
    stream = io.StringIO()
    show = Show(stream=stream)
    tasks = {"segment": Progress(10, {"made": 3, "failed": 1})}
    show.update(lambda: tasks)
    assert not stream.getvalue()
    show._next = 0
    show.update(lambda: tasks)
    show.update(lambda: tasks)
    assert stream.getvalue() == "0 s · segment: 3 made, 1 failed, 6 left\n"


def test_failures_are_told_where_they_are_collected(project, heard):
    @flow(runner="calling", on_error="collect")
    def run(ns):
        return refuse.map(ns)

    run([1, 2])
    said = heard()
    assert "run: 1 item failed; everything else is done" in said
    assert "ValueError: an unlucky number" in said


def test_a_text_that_makes_a_folder_is_asked_about_once(project, heard):
    @task(result=LocalResult("wells"), target="{well}.npy")
    def well_image(well):
        return np.zeros(3)

    @flow(runner="calling")
    def run(wells):
        return well_image.map(wells)

    run(["A1", "well B/2"])
    assert "well in the target holds a /, such as 'well B/2': what stands before it" in heard()
    run(["A1", "well B/2"])
    assert "holds a /" not in heard()
