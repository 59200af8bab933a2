"""A cold map with checkpoint of 2,000 cells, against a plain loop with tifffile and two peers."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pipefunc
import tifffile

from benchmarks.timing import compare
from databacked import ArrayToOmeTiff, LocalResult, flow, task

CELLS = 2_000
OPTIONS = {"photometric": "minisblack", "metadata": {"axes": "CZYX"}}


def cell(number: int) -> np.ndarray[Any, Any]:
    """Return a cell, as an analysis would."""
    return np.full((3, 16, 64, 64), number % 251, np.uint8)


def main() -> None:
    """Print the table."""
    # In memory where that can be had: disks make new files slower for minutes after others went.
    memory_disk = Path("/dev/shm")
    top = Path(tempfile.mkdtemp(dir=memory_disk if memory_disk.is_dir() else None))
    fresh = iter(range(1_000))

    def folder() -> Path:
        made = top / str(next(fresh))
        made.mkdir()
        return made

    def plain() -> None:
        place = folder()
        for number in range(CELLS):
            tifffile.imwrite(place / f"{number}.ome.tiff", cell(number), **OPTIONS)

    def ours() -> None:
        place = folder()

        @task(result=LocalResult(place, ArrayToOmeTiff(dim_order="CZYX")), target="{n}.ome.tiff")
        def keep(n: int) -> Any:
            return cell(n)

        @flow(root=place.parent, quiet=True)
        def run() -> None:
            keep.map(range(CELLS))

        run()

    def memory() -> None:
        kept = joblib.Memory(folder(), verbose=0).cache(cell)
        joblib.Parallel(n_jobs=2, prefer="threads")(
            joblib.delayed(kept)(number) for number in range(CELLS)
        )

    def file_array() -> None:
        made = pipefunc.pipefunc("y", mapspec="n[i] -> y[i]")(cell_of_n)
        pipefunc.Pipeline([made]).map(
            {"n": list(range(CELLS))},
            run_folder=folder(),
            storage="file_array",
            parallel=False,
            show_progress=False,
        )

    def writes_itself() -> None:
        place = folder()

        def written(n: int) -> str:
            path = place / f"{n}.ome.tiff"
            tifffile.imwrite(path, cell(n), **OPTIONS)
            return str(path)

        made = pipefunc.pipefunc("y", mapspec="n[i] -> y[i]")(written)
        pipefunc.Pipeline([made]).map(
            {"n": list(range(CELLS))},
            run_folder=folder(),
            storage="file_array",
            parallel=False,
            show_progress=False,
        )

    compare(
        {
            "plain loop, tifffile": plain,
            "databacked, threads": ours,
            "joblib.Memory, threads": memory,
            "pipefunc file_array": file_array,
            "pipefunc, function writes OME-TIFF": writes_itself,
        },
        items=CELLS,
        rounds=3,
    )
    shutil.rmtree(top)


def cell_of_n(n: int) -> np.ndarray[Any, Any]:
    """Return a cell; pipefunc names its input by the parameter."""
    return cell(n)
