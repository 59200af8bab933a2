"""What a task receives: by annotation, inside containers, the same on every run and runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest

from databacked import ArrayToOmeTiff, FlowFailed, LocalResult, flow, last_run, task
from databacked.places.backed import BackedArray

RUNNERS = ["calling", "threads", "processes"]


@task(result=LocalResult("kept", ArrayToOmeTiff(dim_order="YX")), target="{n}.ome.tiff")
def kept(n):
    return np.full((4, 4), n, np.uint8)


@task
def loose(n):
    return np.full((4, 4), n, np.uint8)


def kind(value) -> str:
    """Return in a word what arrived."""
    if isinstance(value, BackedArray):
        return "backed"
    if isinstance(value, np.ndarray):
        return "numpy"
    return "dask" if isinstance(value, da.Array) else type(value).__name__


@task
def plain(x):
    return kind(x), int(np.max(x))


@task
def in_memory(x: np.ndarray):
    return kind(x), int(x.max())


@task
def lazy(x: da.Array):
    return kind(x), int(x.max().compute())


@task
def file(x: Path):
    return kind(x), x.exists()


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_annotation_decides_what_arrives(project, runner):
    """The same on the first run and the third, whether the input is kept or not."""

    @flow(runner=runner)
    def run():
        tasks: list[Any] = [plain, in_memory, lazy]
        return [one(kept(5)) for one in [*tasks, file]], [one(loose(5)) for one in tasks]

    for _ in range(3):
        from_kept, from_loose = run()
        assert [word for word, _ in from_kept] == ["backed", "numpy", "dask", "PosixPath"]
        assert [word for word, _ in from_loose] == ["numpy", "numpy", "dask"]
        assert {value for _, value in from_kept[:3] + from_loose} == {5}


def test_under_fn_a_task_is_its_plain_function(project):
    """What is passed arrives as it is."""
    assert plain.fn(kept(3))[0] == "backed"
    assert in_memory.fn(np.zeros((2, 2)))[0] == "numpy"
    assert in_memory(kept(3))[0] == "numpy"


def test_a_file_that_is_asked_for_and_is_none_is_said(project):
    """What came, and what to do."""
    with pytest.raises(FlowFailed, match=r"x asks for a file.*a ndarray came.*target="):
        file(np.zeros((2, 2)))


@task
def keep_places(found):
    values, table = found
    assert all(isinstance(value, BackedArray) for value in values["images"])
    assert all(isinstance(value, BackedArray) for value in table["image"])
    return values, table


@task
def look(found):
    values, table = found
    return [
        [int(image.max()) for image in values["images"]],
        [int(image.max()) for image in table["image"]],
        [image.path.name for image in table["image"]],
    ]


@task
def gather(images):
    return {"images": list(images)}, pd.DataFrame({"n": [1, 2], "image": list(images)})


@pytest.mark.parametrize("runner", RUNNERS)
def test_backed_arrays_inside_containers_keep_their_place(project, runner):
    """In lists, dicts and tables, through tasks that are not kept."""

    @flow(runner=runner)
    def run():
        return look(keep_places(gather(kept.map([1, 2]))))

    for _ in range(2):
        assert run() == [[1, 2], [1, 2], ["1.ome.tiff", "2.ome.tiff"]]


def test_an_id_that_became_float_is_one_warning_that_names_the_column(project):
    """`1.0.ome.tiff` is a missing value somewhere else."""
    ids = pd.DataFrame({"n": [1, None, 3]})["n"].dropna()

    @flow
    def run():
        kept.map(ids)

    run()
    (note,) = [note for note in last_run().notes["kept"] if "floats" in note]
    assert "n in the target holds floats, such as 1.0" in note
    assert "astype('Int64')" in note
    kept.map([1, 2])
    assert "kept" not in last_run().notes
