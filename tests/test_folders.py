"""Results that are folders: OME-Zarr, and what a task wrote itself."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from databacked import ArrayToOmeZarr, FlowFailed, LocalResult, flow, last_run, task, testing
from databacked.errors import ResultChangedError
from databacked.records import book, compaction, journal

RUNNERS = ["calling", "threads", "processes"]


def counts(name: str) -> dict[str, int]:
    """Return what became of a task's items in the last run."""
    return dict(last_run().counts.get(name, {}))


def make_flow(factor: int = 1, runner: str = "threads", **options):
    """Return a flow of label images as OME-Zarr, and what depends on them."""

    @task(
        result=LocalResult("labels", ArrayToOmeZarr(dim_order="ZYX", labels=True), **options),
        target="{n}.ome.zarr",
    )
    def label(n):
        return np.full((4, 32, 32), n * factor, np.uint16)

    @task(result=LocalResult("sums"), target="{n}.json")
    def total(n, labels):
        return int(np.sum(labels))

    @flow(runner=runner)
    def run():
        return total.map([1, 2, 3], label.map([1, 2, 3]))

    return run


def paint(image: Path, plane: int, value: int) -> None:
    """Paint a corner of a plane in place, as an editor of labels does."""
    array: zarr.Array = zarr.open_array(image / "0", mode="r+")
    array[plane, :4, :4] = value


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_folder_is_a_result_like_a_file(project, runner):
    """Made once, found again; replaced when its code changed, and never half."""
    for expected in ("made", "reused"):
        assert make_flow(runner=runner)() == [n * 4096 for n in (1, 2, 3)]
        assert counts("label") == counts("total") == {expected: 3}
    assert make_flow(2, runner)() == [2 * n * 4096 for n in (1, 2, 3)]
    assert counts("label") == {"made": 3}
    assert not list((project / "labels/.databacked/tmp").glob("*/*"))
    assert not (project / "labels/.databacked/replaced").exists()


def test_a_label_painted_in_place_is_seen(project):
    """The image is used as it is, and what depends on it is made again; also once it is stale."""
    make_flow()()
    paint(project / "labels/2.ome.zarr", 1, 9)
    assert make_flow()() == [4096, 2 * 4096 + 7 * 16, 3 * 4096]
    assert counts("label") == {"reused": 3}
    assert counts("total") == {"made": 1, "reused": 2}
    assert "edited by hand, used as it is" in str(last_run().notes["label"])
    make_flow()()
    assert counts("total") == {"reused": 3}
    assert make_flow(5)()[1] == 2 * 4096 + 7 * 16
    assert counts("label") == {"made": 2, "reused": 1}


@pytest.mark.parametrize("left", [".DS_Store", "0/Thumbs.db", "0/._zarr.json", "desktop.ini"])
def test_looking_at_a_folder_with_a_file_manager_corrects_nothing(project, left):
    """What Finder and Explorer leave in it is no part of the result, which is made again."""
    make_flow()()
    (project / "labels/1.ome.zarr" / left).write_bytes(b"x")
    make_flow()()
    assert counts("label") == {"reused": 3}
    assert "label" not in last_run().notes
    make_flow(2)()
    assert counts("label") == {"made": 3}


@pytest.mark.parametrize("damage", ["a chunk is gone", "a chunk is cut", "metadata are gone"])
def test_a_damaged_folder_is_moved_aside_and_made_again(project, damage):
    """Nothing of it is lost, nothing of it is used."""
    make_flow()()
    image = project / "labels/2.ome.zarr"
    chunk = next(path for path in sorted((image / "0/c").rglob("*")) if path.is_file())
    match damage:
        case "a chunk is gone":
            chunk.unlink()
        case "a chunk is cut":
            os.truncate(chunk, 5)
        case _:
            (image / "zarr.json").unlink()
    assert make_flow()() == [n * 4096 for n in (1, 2, 3)]
    assert counts("label") == {"made": 1, "reused": 2}
    aside = list((project / "labels/.databacked/replaced").glob("*/2.ome.zarr"))
    assert len(aside) == 1


def test_a_copied_project_with_folders_is_fresh(project, tmp_path_factory):
    """Other times, the same content."""
    make_flow()()
    moved = tmp_path_factory.mktemp("moved") / "copy"
    shutil.copytree(project, moved, copy_function=shutil.copyfile)
    with testing.project(moved):
        make_flow()()
        assert counts("label") == {"reused": 3}


def test_a_folder_is_read_by_parts_and_says_who_replaced_it(project):
    """A backed array of many files."""

    @task(result=LocalResult("one"), target="a.ome.zarr")
    def one(value):
        return np.full((4, 8, 8), value, np.uint8)

    first = one(1)
    assert (first[2, 1:3, 0] == 1).all()
    assert first.dask.compute().sum() == 256
    one(2)
    first._opened = None
    with pytest.raises(ResultChangedError, match="one replaced it in run"):
        first[0]


def test_none_takes_the_place_of_a_folder_that_is_ours(project):
    """It goes with all its files."""

    def flow_of(value):
        @task(result=LocalResult("one"), target="a.ome.zarr")
        def one():
            return value

        return one

    flow_of(np.zeros((2, 8, 8), np.uint8))()
    assert flow_of(None)() is None
    assert not (project / "one/a.ome.zarr").exists()


def test_compaction_knows_folders(project):
    """Many runs, few journals, the same answers."""
    for _ in range(compaction.COMPACT_ABOVE + 3):
        journal.close_journals()
        shutil.rmtree(project / "labels/3.ome.zarr", ignore_errors=True)
        make_flow()()
    journal.close_journals()
    book._registry.clear()
    make_flow()()
    assert counts("label") == {"reused": 3}


# ---------------------------------------------------------------- what a task wrote itself


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_folder_that_a_task_wrote_is_adopted(project, runner):
    """Moved, recorded, found again; whatever is in it."""

    @task(result=LocalResult("models", from_path=True), target="{n}.model")
    def train(n):
        folder = Path(tempfile.mkdtemp(dir=project)) / f"out{n}.model"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub/weights.bin").write_bytes(b"w" * n)
        return folder

    @task(result=LocalResult("sizes"), target="{n}.json")
    def size(n, model: Path):
        return len((model / "sub/weights.bin").read_bytes())

    @flow(runner=runner)
    def run():
        return size.map([1, 2], train.map([1, 2]))

    for expected in ("made", "reused"):
        assert run() == [1, 2]
        assert counts("train") == counts("size") == {expected: 2}
    assert (project / "models/2.model/sub/weights.bin").exists()
    assert not list(project.glob("tmp*/out*"))
    (project / "models/2.model/sub/weights.bin").write_bytes(b"edited")
    assert run() == [1, 6]
    assert counts("train") == {"reused": 2}


def test_a_file_that_a_task_wrote_comes_back_as_its_ending_says(project):
    """A TIFF is a backed array, a table a table, anything else a file."""

    @task(result=LocalResult("files", from_path=True), target="{name}")
    def write(name):
        path = project / f"scratch-{name}"
        if name.endswith(".tif"):
            tifffile.imwrite(path, np.ones((4, 4), np.uint8))
        else:
            path.write_text("a,b\n1,2\n")
        return str(path)

    assert write("a.tif").sum() == 16
    assert write("b.csv")["b"].tolist() == [2]
    other = write("c.xyz")
    assert other.path == project / "files/c.xyz"
    assert other.path.read_text().startswith("a,b")


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (3, "int: with from_path=True"),
        ("gone.txt", r"gone\.txt cannot be adopted: No such file"),
        ("input.txt", r"input\.txt was there before the task ran"),
        ("fresh.tif", r"does not end in '\.txt'"),
    ],
)
def test_what_cannot_be_adopted_stays_where_it_is(project, returned, said):
    """An input is never moved away."""
    (project / "input.txt").write_text("raw data")
    time.sleep(0.1)

    @task(result=LocalResult("files", from_path=True), target="a.txt")
    def write():
        (project / "fresh.tif").write_text("new")
        return project / returned if isinstance(returned, str) else returned

    with pytest.raises(FlowFailed, match=said):
        write()
    assert (project / "input.txt").read_text() == "raw data"
    assert (project / "fresh.tif").exists()
