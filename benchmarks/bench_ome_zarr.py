"""Write OME-Zarr, hash included, against a loop of zarr, which hashes nothing; and its memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import zarr
import zarr.codecs

from benchmarks.bench_memory import PEAK
from benchmarks.timing import compare
from databacked import ArrayToOmeZarr

CELLS = 200

MEMORY = Path("/dev/shm")
"""Where files are no disk: what is compared is the work, not the file system."""

LAZY = """
import sys
import dask.array as da
import numpy as np
from pathlib import Path
from databacked import ArrayToOmeTiff, ArrayToOmeZarr

which, folder = sys.argv[1:3]
chunks = tuple(map(int, sys.argv[3].split(",")))
noise = np.frombuffer(np.random.default_rng(0).bytes(2 * np.prod(chunks)), "u2").reshape(chunks)
lazy = da.map_blocks(
    lambda block_info=None: noise + np.uint16(block_info[None]["chunk-location"][0]),
    dtype="uint16", chunks=da.core.normalize_chunks(chunks, (32, 4096, 4096)),
)
if which == "computed, not kept":
    for block in lazy.blocks.ravel():
        block.compute(scheduler="synchronous")
elif which == "OME-Zarr":
    ArrayToOmeZarr(levels=1).save(lazy, Path(folder) / "a.ome.zarr")
else:
    ArrayToOmeTiff(levels=1).save(lazy, Path(folder) / "a.ome.tiff")
print(peak() / 1024)
"""


def by_zarr(data: Any, path: Path, levels: int, *, labels: bool) -> None:
    """Write an image as one would with zarr alone."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    for level in range(levels + 1):
        array = group.create_array(
            str(level),
            shape=data.shape,
            dtype=data.dtype,
            chunks=(1,) * (data.ndim - 2) + tuple(min(512, n) for n in data.shape[-2:]),
            compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
            config={"write_empty_chunks": True},
        )
        array[...] = data
        if level < levels:
            data = half(data, labels)
    paths: list[Any] = [{"path": str(level)} for level in range(levels + 1)]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"datasets": paths}]}


def half(data: Any, labels: bool) -> Any:
    """Return a smaller level: means, or every second pixel."""
    if labels:
        return data[..., ::2, ::2]
    wide = data.astype(np.uint32)
    rows = wide[..., ::2, :] + wide[..., 1::2, :]
    return ((rows[..., ::2] + rows[..., 1::2] + 2) // 4).astype(data.dtype)


def main() -> None:
    """Print all tables."""
    rng = np.random.default_rng(0)
    shapes = [(1, 64, 64), (2, 96, 96), (3, 128, 128)]
    cells = [rng.integers(0, 4000, shapes[n % 3], dtype=np.uint16) for n in range(CELLS)]
    large = rng.poisson(300, (2, 4, 4096, 4096)).astype(np.uint16)
    ids = np.zeros((8, 2048, 2048), np.uint32)
    ids[:, 64:1984, 64:1984] = np.kron(
        np.arange(1, 901, dtype=np.uint32).reshape(30, 30), np.ones((64, 64), np.uint32)
    )
    labelled = ArrayToOmeZarr(labels=True, levels=1)
    for what, values, ours, levels, labels, rounds in (
        (f"{CELLS} cells", cells, ArrayToOmeZarr(), 0, False, 5),
        ("268 MB, a smaller level", [large], ArrayToOmeZarr(levels=1), 1, False, 3),
        (
            "labels, 134 MB, a smaller level",
            [ids],
            labelled,
            1,
            True,
            3,
        ),
    ):
        for clock in ("wall", "CPU"):
            print(f"\n{what}, {clock}:\n")
            compare(
                {
                    name: _timed(clock, name == "zarr", values, ours, levels, labels)
                    for name in ("zarr", "databacked")
                },
                items=len(values),
                rounds=rounds,
            )
    print("\n1 GiB from dask, a smaller level, peak of a process of its own (limit: 300 MB):\n")
    print("| blocks | computed, not kept | OME-Zarr | OME-TIFF |\n| --- | --- | --- | --- |")
    for chunks in ("1,2048,2048", "4,2048,2048", "8,2048,1024", "1,1024,1024"):
        peaks = [_peak(which, chunks) for which in ("computed, not kept", "OME-Zarr", "OME-TIFF")]
        print(f"| {chunks} | {' | '.join(peaks)} |", flush=True)


def _peak(which: str, chunks: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PEAK + LAZY, which, folder, chunks]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return f"{float(said):.0f} MB"


def _timed(clock: str, plain: bool, values: Any, ours: Any, levels: int, labels: bool) -> Any:
    def case() -> float | None:
        folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        started = process_time()
        for number, value in enumerate(values):
            if plain:
                by_zarr(value, folder / f"{number}.zarr", levels, labels=labels)
            else:
                ours.save(value, folder / f"{number}.ome.zarr")
        spent = process_time() - started
        shutil.rmtree(folder)
        return spent if clock == "CPU" else None

    return case
