"""Items that go out as columns: what befalls one of them is what would befall it alone."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from databacked import (
    ArrayToDefaultWriter,
    ArrayToOmeTiff,
    CallingThreadRunner,
    LocalResult,
    ProcessRunner,
    ThreadRunner,
    flow,
    last_run,
    task,
)
from databacked.engine import batches
from databacked.errors import DatabackedError
from databacked.places.keeper import Keeper
from databacked.records.book import records_of
from databacked.storage.local import LocalStorage
from databacked.worker import rows, worker

RUNNERS = [CallingThreadRunner, lambda: ThreadRunner(2), lambda: ProcessRunner(2)]
MANY = 40


@pytest.fixture(params=["columns", "one by one"])
def way(request, monkeypatch):
    """Both ways: what a test says holds for each."""
    if request.param == "one by one":
        monkeypatch.setattr(batches, "goes_by_rows", lambda items: False)
    return request.param


@pytest.fixture
def went(monkeypatch):
    """How many batches went as columns in this process."""
    found: list[int] = []
    run_rows = rows.run_rows

    def noted(batch, spec, store):
        found.append(len(batch))
        return run_rows(batch, spec, store)

    monkeypatch.setattr(worker, "run_rows", noted)
    return found


@task
def half(n, name="x", scale=1.5):
    if n % 7 == 3:
        raise ValueError(f"{name}: no half of {n}")
    return n * scale


@task(result=LocalResult("cells", ArrayToOmeTiff()), target="{n}.ome.tiff")
def cell(n, factor=1):
    """An image; some are none, or of another layout, or are not to be had."""
    match n % 11:
        case 3:
            return None
        case 4:
            return np.arange(12, dtype=np.int64).reshape(3, 4)
        case 5:
            raise RuntimeError("no image")
        case 6:
            return np.zeros((8, 8), np.uint8)[::2, ::2]
    return np.full((4, 5), n * factor % 251, np.uint8)


@pytest.mark.parametrize("runner", RUNNERS)
def test_an_error_stays_with_its_item(project, runner, way):
    @flow(runner=runner(), on_error="collect")
    def run():
        return half.map(range(MANY), "a", scale=2)

    found = run()
    bad = [n for n in range(MANY) if n % 7 == 3]
    assert [n for n in range(MANY) if found[n] != 2 * n] == bad
    assert last_run().counts["half"] == {"made": MANY - len(bad), "failed": len(bad)}
    assert sorted(one.parameters["n"] for one in last_run().failures) == sorted(map(str, bad))
    assert {one.exception for one in last_run().failures} == {
        f"ValueError: a: no half of {n}" for n in bad
    }
    assert all("test_rows.py" in one.where for one in last_run().failures)


@pytest.mark.parametrize("runner", RUNNERS)
def test_files_and_records_are_those_that_each_item_would_leave_by_itself(project, runner, way):
    """Rerun one by one: all of it is used, whatever way it was made."""

    @flow(runner=runner(), on_error="collect")
    def run(factor):
        cell.map(range(MANY), factor=factor)

    run(1)
    bad = sum(n % 11 == 5 for n in range(MANY))
    assert last_run().counts["cell"] == {"made": MANY - bad, "failed": bad}
    for n in range(MANY):
        path = project / f"cells/{n}.ome.tiff"
        assert path.exists() == (n % 11 not in (3, 5))
        if path.exists():
            expected = cell.fn(n)
            np.testing.assert_array_equal(ArrayToOmeTiff().read(path), expected)
    records = records_of(project / "cells")
    for n in range(MANY):
        claims = records.of(f"{n}.ome.tiff")
        assert len(claims) == (n % 11 != 5)
        for one in claims:
            assert one.details["parameters"] == {"factor": 1, "n": n}
            assert one.details["inputs"] == {}
            assert one.details["start"] > 1e9
            assert one.details["seconds"] >= 0
            if n % 11 in (0, 1, 2, 7, 8, 9, 10):
                assert one.details["shape"] == [4, 5]
    run(1)
    assert last_run().counts["cell"] == {"reused": MANY - bad, "failed": bad}
    run(3)
    assert last_run().counts["cell"]["failed"] == bad
    assert last_run().counts["cell"]["made"] == MANY - bad


def test_large_maps_go_as_columns(project, went):
    """Else this file tests nothing."""

    images = [n for n in range(200) if n % 11 not in (3, 4, 5, 6)]
    numbers = [n for n in range(200) if n % 7 != 3]

    @flow(runner="calling", quiet=True)
    def run():
        cell.map(images)
        half.map(numbers)

    run()
    assert sum(went) == len(images) + len(numbers)
    assert max(went) > 10


@task
def says(n):
    if n == 3:
        print("out", n)
    if n == 5:
        logging.getLogger("lab").warning("log %s", n)
    if n % 4 == 0:
        warnings.warn("odd", UserWarning, stacklevel=1)
    return n


@pytest.mark.filterwarnings("always:odd")
@pytest.mark.parametrize("runner", RUNNERS)
def test_what_is_said_is_said_by_its_item(project, runner, way):
    @flow(runner=runner())
    def run():
        says.map(range(12))

    run()
    log = next((project / ".databacked/runs").rglob("log")).read_text()
    assert "says[3]\tout\tout 3\n" in log
    assert "says[5]\tlog\tWARNING lab: log 5\n" in log
    assert sorted(line.partition("\t")[0] for line in log.splitlines() if "odd" in line) == [
        "says[0]",
        "says[4]",
        "says[8]",
    ]
    (note,) = [count for text, count in last_run().notes["says"].items() if "odd" in text]
    assert note == 3


@task
def moves(n):
    os.chdir("/")
    return n


def test_a_folder_that_changes_is_said(project, way, monkeypatch):
    monkeypatch.chdir(project)

    @flow(runner="calling")
    def run():
        moves.map([1, 2])

    run()
    (said,) = last_run().notes["moves"]
    assert "working folder" in said


@task
def once(n):
    return (one for one in range(n)) if n == 2 else n


@task
def later(n):
    async def soon():
        return n

    return soon() if n == 2 else n


@pytest.mark.parametrize("one", [once, later])
def test_what_is_no_value_fails(project, one, way):
    @flow(runner="calling", on_error="collect")
    def run():
        return one.map([1, 2, 3])

    assert [found for found in run() if isinstance(found, int)] == [1, 3]
    assert last_run().counts[one.name] == {"made": 2, "failed": 1}


@task
def forks(n):
    if n == 1 and os.fork() == 0:
        return n  # the copy comes back, too
    return n


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_copy_of_the_process_does_not_go_on(project, way):
    @flow(runner="calling")
    def run():
        forks.map([0, 1, 2])

    here = os.getpid()
    run()
    assert os.getpid() == here, "the copy came out of the flow"
    assert last_run().counts["forks"] == {"made": 3}


@pytest.mark.parametrize("runner", RUNNERS)
def test_values_are_held_for_who_asks(project, runner, way):
    """All of them, some of them, and by readers that come later."""

    @task
    def add(a, b):
        return a + b

    @flow(runner=runner())
    def run():
        first = says.map([1, 2, 6, 7])
        taken = first[1].result()
        rest = add.map(first, [10] * 4)
        return first, taken, rest, first.result()

    first, taken, rest, asked = run()
    assert (list(first), taken, list(rest), asked) == (
        [1, 2, 6, 7],
        2,
        [11, 12, 16, 17],
        [1, 2, 6, 7],
    )


def test_a_file_that_comes_meanwhile_is_not_replaced(project, monkeypatch):
    """Saved by hand at the moment before: it is moved aside, not lost."""
    publish = LocalStorage.publish
    seen: list[str] = []

    def late(self, temporary, target, judged):
        if target == "7.ome.tiff" and not seen:
            seen.append(target)
            (self.folder / target).write_bytes(b"mine")
        return publish(self, temporary, target, judged)

    monkeypatch.setattr(LocalStorage, "publish", late)

    @flow(runner="calling")
    def run():
        cell.map([1, 2, 7, 8, 9])

    run()
    assert last_run().counts["cell"] == {"made": 5}
    (aside,) = (project / "cells/.databacked/replaced").rglob("7.ome.tiff")
    assert aside.read_bytes() == b"mine"
    assert ArrayToOmeTiff().read(project / "cells/7.ome.tiff").max() == 7
    assert not list((project / "cells/.databacked/tmp").rglob("*.*"))


def test_a_temporary_folder_that_goes_is_made_again(project, monkeypatch):
    """Somebody clears up while it runs."""
    keep, count = Keeper.keep, []

    def cleared(self, *given):
        count.append(1)
        if len(count) == 4:
            for one in (project / "cells/.databacked/tmp").iterdir():
                one.rmdir()
        return keep(self, *given)

    monkeypatch.setattr(Keeper, "keep", cleared)

    @flow(runner="calling")
    def run():
        cell.map([0, 1, 2, 7, 8, 9])

    run()
    assert last_run().counts["cell"] == {"made": 6}
    assert len(count) == 6


def test_odd_files_among_many_get_the_exact_look(project, went):
    """Edited, foreign, removed, stale: each for itself, the others as columns."""
    numbers = [n for n in range(60) if n % 11 not in (3, 4, 5, 6)]

    @flow(runner="calling", quiet=True)
    def run(factor):
        cell.map(numbers, factor=factor)

    run(1)
    edited = project / "cells/8.ome.tiff"
    edited.unlink()
    ArrayToOmeTiff().save(np.full((4, 5), 99, np.uint8), edited)
    (project / "cells/9.ome.tiff").write_bytes(b"no image")
    for n in (11, 12, 13, 18, 19):
        (project / f"cells/{n}.ome.tiff").unlink()
    went.clear()
    run(1)
    assert last_run().counts["cell"] == {"reused": len(numbers) - 6, "made": 6}
    (aside,) = (project / "cells/.databacked/replaced").rglob("9.ome.tiff")
    assert aside.read_bytes() == b"no image"
    assert sum(went) == 5
    went.clear()
    run(2)
    assert ArrayToOmeTiff().read(edited).max() == 99
    assert last_run().counts["cell"] == {"made": len(numbers) - 1, "reused": 1}
    assert sum(went) == len(numbers) - 1  # what is replaced goes as columns, too
    for n in set(numbers) - {8}:
        assert ArrayToOmeTiff().read(project / f"cells/{n}.ome.tiff").max() == n * 2 % 251
    run(2)
    assert last_run().counts["cell"] == {"reused": len(numbers)}


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8).filter(lambda text: "/" not in text),  # that may name a folder
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=2, max_size=6), VALUES)
def test_any_plain_value_is_recorded_as_it_is(project, tmp_path_factory, values, plain):
    """As `json` says it."""
    root = tmp_path_factory.mktemp("plain")

    @task(result=LocalResult("p", ArrayToOmeTiff()), target="{i}.tif")
    def one(i, value, same):
        return np.zeros((2, 2), np.uint8)

    @flow(root=root, runner="calling", quiet=True)
    def run():
        one.map(range(len(values)), values, same=plain)

    run()
    records = records_of(root / "p")
    for i, value in enumerate(values):
        (claim,) = records.of(f"{i}.tif")
        said = claim.details["parameters"]
        assert json.dumps(said) == json.dumps({"i": i, "same": plain, "value": value})
    run()
    assert last_run().counts["one"] == {"reused": len(values)}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills a process")
def test_a_worker_that_dies_takes_only_the_deadly_item(project):
    @task
    def deadly(n):
        if n == 13:
            os.kill(os.getpid(), 9)
        return n

    @flow(runner=ProcessRunner(2), on_error="collect")
    def run():
        return deadly.map(range(30))

    found = run()
    assert [n for n in range(30) if found[n] != n] == [13]
    assert last_run().counts["deadly"] == {"made": 29, "failed": 1}


def test_half_a_file_is_never_seen_when_a_disk_is_full(project, monkeypatch):
    """It is written under another name, which goes."""
    writev, count = os.writev, []

    def full(file: int, buffers: Any) -> int:
        count.append(1)
        if len(count) > 3:
            raise OSError(28, "No space left on device")
        return writev(file, buffers)

    @flow(runner="calling")
    def run():
        cell.map([0, 1, 2, 7, 8, 9])

    cells = project / "cells"
    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(DatabackedError, match="disk is full"):
        run()
    monkeypatch.setattr(os, "writev", writev)
    there = [one for one in cells.iterdir() if one.is_file()]
    assert {ArrayToOmeTiff().read(one).shape for one in there} <= {(4, 5)}
    assert not [one for one in (cells / ".databacked/tmp").rglob("*") if one.is_file()]
    run()
    assert last_run().counts["cell"] == {"made": 6 - len(there), "reused": len(there)}


# What came meanwhile


def saved(path: Path, value: int, shape: tuple[int, int] = (4, 5)) -> None:
    """Save an image as another program would."""
    tifffile.imwrite(path, np.full(shape, value, np.uint8))


@task(result=LocalResult("late", ArrayToOmeTiff()), target="{n}.ome.tiff")
def disturbed(n, factor, folder: str):
    """An image, during the first of which somebody saves over a later one."""
    if n == 1:
        for line in (Path(folder) / "do").read_text().split():
            which, value, size = map(int, line.split(","))
            saved(Path(folder) / f"late/{which}.ome.tiff", value, (size, 5))
    return np.full((4, 5), n * factor, np.uint8)


def test_a_file_of_unknown_origin_that_comes_meanwhile_is_no_correction(project, way):
    """Nobody ever made one there: it is moved aside."""

    @flow(runner="calling")
    def run():
        return disturbed.map(range(8), 1, str(project))

    (project / "do").write_text("5,99,4")
    (project / "late").mkdir()
    found = run()
    assert [int(np.max(one)) for one in found] == list(range(8))
    (aside,) = (project / "late/.databacked/replaced").rglob("5.ome.tiff")
    assert tifffile.imread(aside).max() == 99
    run()
    assert last_run().counts["disturbed"] == {"reused": 8}
    assert last_run().notes == {}


def test_a_correction_that_comes_while_all_are_replaced_is_used(project, way):
    """What a hand did is kept, whatever becomes stale."""

    @flow(runner="calling")
    def run(factor):
        return disturbed.map(range(8), factor, str(project))

    (project / "do").touch()
    run(1)
    (project / "do").write_text("5,99,4")
    found = run(2)
    assert [int(np.max(one)) for one in found] == [0, 2, 4, 6, 8, 99, 12, 14]
    assert not list((project / "late/.databacked/replaced").rglob("*.tiff"))


def test_a_correction_meanwhile_that_nobody_can_use_fails_its_item(project, way):
    """It stays where it is."""

    @flow(runner="calling", on_error="collect")
    def run(factor):
        return disturbed.map(range(8), factor, str(project))

    (project / "do").touch()
    run(1)
    (project / "do").write_text("5,99,3")
    run(2)
    assert last_run().counts["disturbed"] == {"made": 7, "failed": 1}
    assert "changed by hand while it was being made" in last_run().failures[0].exception
    assert tifffile.imread(project / "late/5.ome.tiff").shape == (3, 5)


class Inverted(ArrayToOmeTiff):
    def save(self, value, path):
        return super().save(255 - value, path)


class Halved(ArrayToOmeTiff):
    def write(self, value, path):
        return super().write(value // 2, path)


class Doubled(ArrayToDefaultWriter):
    def write(self, value, path):
        return super().write(value * 2, path)


@pytest.mark.parametrize(
    ("serializer", "ending", "expected"),
    [
        (Inverted(), "ome.tiff", [255, 254, 253, 252, 251]),
        (Halved(), "ome.tiff", [0, 0, 1, 1, 2]),
        (Doubled(), "npy", [0, 2, 4, 6, 8]),
    ],
)
def test_what_a_class_writes_in_its_own_way_is_written_so(
    project, way, serializer, ending, expected
):
    """Also where it derives from one that has a quicker way."""

    @task(result=LocalResult("own", serializer), target=f"{{n}}.{ending}")
    def one(n):
        return np.full((4, 5), n, np.uint8)

    @flow(runner="calling")
    def run():
        return one.map(range(5))

    assert [int(np.max(found)) for found in run()] == expected


@task
def closes(n):
    if n == 3:
        os.closerange(3, 200)
    return n


def test_closed_descriptors_end_no_run(project, way):
    """In a process of its own: pytest needs its own."""
    script = project / "closes.py"
    script.write_text(
        "import os\nfrom databacked import flow, task\n"
        "@task\ndef closes(n):\n    if n == 3: os.closerange(3, 200)\n    return n\n"
        "@flow(quiet=True, runner='calling')\ndef run(): return closes.map(range(10))\n"
        "print(run())\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, cwd=project
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{list(range(10))}\n"


@task
def fails_late(n):
    time.sleep(0.01 if n > 2 else 0)
    if n == 30:
        raise ValueError("no")
    return n


def test_a_failure_says_its_own_seconds(project, way):
    @flow(runner="calling", on_error="collect")
    def run():
        fails_late.map(range(35))

    run()
    assert last_run().failures[0].seconds < 0.1


@task
def wanders(n, folder: str):
    if n in (50, 60):
        os.chdir(folder if n == 50 else os.path.dirname(folder))
    return n


def test_a_folder_that_changes_and_changes_back_is_said(project, way, monkeypatch):
    monkeypatch.chdir(project)
    (project / "in").mkdir()

    @flow(runner="calling")
    def run():
        wanders.map(range(100), str(project / "in"))

    run()
    assert list(last_run().notes["wanders"].values()) == [2]
