"""Lazy arrays, block by block: each block is computed once, however often its pixels are needed.

A file's tiles, strips, chunks and smaller levels seldom lie as the blocks of a dask array do. To
ask the array for each of them would compute its blocks again and again, and a random task would
give other pixels each time. So blocks that do not fit go through a file of plain pixels that has no
name (nothing is left of it, whatever happens) and is no part of memory.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from databacked.errors import SerializerError
from databacked.serializers.images import full_key, reduced

Region = tuple[slice, ...]


def bounds_of(data: Any) -> list[list[int]]:
    """Return where blocks of a lazy array begin along each axis, and where the last one ends."""
    chunks = getattr(data, "chunks", None) or data.shape
    found = []
    for length, sizes in zip(data.shape, chunks, strict=True):
        if isinstance(sizes, tuple):  # dask's
            found.append([0, *itertools.accumulate(map(int, sizes))])
        else:
            found.append([*range(0, length, max(int(sizes), 1)), int(length)])
    return found


def regions(data: Any) -> Iterator[Region]:
    """Yield the blocks of a lazy array."""
    along = [[slice(*pair) for pair in itertools.pairwise(ends)] for ends in bounds_of(data)]
    yield from itertools.product(*along)


def computed(data: Any, region: Region) -> np.ndarray[Any, Any]:
    """Return a part of an array; raises unless it is what the array says of itself.

    What a dask array says is what somebody told it (``map_blocks(f, dtype=…)``): blocks of another
    shape or type would be cut, or lose fractions and large numbers, without a word.
    """
    block = np.asarray(data[region])
    shape = tuple(one.stop - one.start for one in region)
    if block.shape != shape:
        raise SerializerError(
            f"a block of this lazy array has shape {block.shape}, and the array says {shape}: tell "
            "dask the shape of its blocks (map_blocks(…, chunks=…))."
        )
    if block.dtype != data.dtype and not np.can_cast(block.dtype, data.dtype, "safe"):
        raise SerializerError(
            f"a block of this lazy array holds {block.dtype}, and the array says {data.dtype}: "
            f"tell dask their type (map_blocks(…, dtype={block.dtype.name!r})), or return "
            f"x.astype({str(data.dtype)!r}) from the function."
        )
    return block


class Canvas:
    """Pixels in a file without a name: blocks come in any order, rows are read back.

    Parameters
    ----------
    folder
        Where there is room: on the disk that the pixels will lie on.
    inner
        Axes of a plane: Y and X, and samples if there are any.
    """

    chunks = None
    """Any part of it is as near as any other."""

    def __init__(self, shape: Sequence[int], dtype: Any, folder: Path, inner: int = 2) -> None:
        self.shape, self.dtype, self.ndim = tuple(shape), np.dtype(dtype), len(shape)
        self.span: tuple[Any, Any] | None = None
        """Smallest and largest value that came, of integers of 64 bits."""
        self._inner = inner
        self._file: Any = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._steps = [
            int(np.prod(self.shape[axis + 1 :], dtype=np.int64)) * self.dtype.itemsize
            for axis in range(self.ndim)
        ]

    def __enter__(self) -> Canvas:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, region: Region, block: np.ndarray[Any, Any]) -> None:
        """Put down a block."""
        if self.dtype.kind in "iu" and self.dtype.itemsize == 8 and block.size:
            low, high = block.min(), block.max()
            known = self.span or (low, high)
            self.span = min(low, known[0]), max(high, known[1])
        starts = [one.start for one in region]
        # What follows the last axis that is cut lies in one piece.
        cut = [axis for axis in range(self.ndim) if block.shape[axis] != self.shape[axis]]
        outer = max(cut, default=0)
        first = sum(start * step for start, step in zip(starts, self._steps, strict=True))
        for index in np.ndindex(block.shape[:outer]):
            place = first + sum(n * step for n, step in zip(index, self._steps, strict=False))
            self._write(place, np.ascontiguousarray(block[index], self.dtype))

    def _write(self, place: int, piece: np.ndarray[Any, Any]) -> None:
        rest = piece.reshape(-1).view(np.uint8).data
        self._file.seek(place)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        """Read a part: integers, and slices that go forward."""
        keys = full_key(key, self.ndim)
        if keys is None:
            raise IndexError(f"{key!r}: integers and slices were expected")
        wanted = [range(length)[one] for one, length in zip(keys, self.shape, strict=True)]
        ranges = [one if isinstance(one, range) else range(one, one + 1) for one in wanted]
        out: Any = np.empty(tuple(map(len, ranges)), self.dtype)
        row = self.ndim - self._inner
        *outer, rows = ranges[: row + 1]
        rest = tuple(slice(one.start, one.stop, one.step) for one in ranges[row + 1 :])
        width, whole = self._steps[row], self.shape[row + 1 :]
        # Rows that follow one another are read at once.
        runs = [(0, rows)] if rows.step == 1 else [(n, rows[n : n + 1]) for n in range(len(rows))]
        for index in itertools.product(*map(range, map(len, outer))):
            start = sum(
                one[n] * step for one, n, step in zip(outer, index, self._steps, strict=False)
            )
            for first, run in runs if out.size else ():
                data = self._read(start + run[0] * width, len(run) * width)
                read = np.frombuffer(data, self.dtype).reshape(len(run), *whole)
                out[(*index, slice(first, first + len(run)))] = read[(slice(None), *rest)]
        stay = tuple(slice(None) if isinstance(one, range) else 0 for one in wanted)
        read_out: np.ndarray[Any, Any] = out[stay]
        return read_out

    def _read(self, place: int, nbytes: int) -> bytearray:
        data = bytearray(nbytes)
        rest = memoryview(data)
        self._file.seek(place)
        while rest and (count := self._file.readinto(rest)):  # nothing was put behind the end
            rest = rest[count:]
        return data


def staged(data: Any, folder: Path, inner: int = 2) -> Canvas:
    """Compute each block of a lazy array once; return all of its pixels, on the disk.

    Parameters
    ----------
    folder
        A folder on the disk that the pixels will lie on.
    inner
        Axes of a plane.
    """
    canvas = Canvas(data.shape, data.dtype, folder, inner)
    try:
        for region in regions(data):
            canvas.put(region, computed(data, region))
    except BaseException:
        canvas.__exit__()
        raise
    return canvas


_BAND = 128
"""Rows that are made at once."""


def smaller(data: Any, folder: Path, inner: int, factors: Sequence[int], *, mean: bool) -> Canvas:
    """Return fewer pixels, on the disk, of some that are read by their index.

    Parameters
    ----------
    factors
        One an axis, of Y and X alone: how many pixels become one.
    mean
        Whether they are means, as `reduced` makes them.
    """
    shape = tuple(-(-length // step) for length, step in zip(data.shape, factors, strict=True))
    canvas = Canvas(shape, data.dtype, folder, inner)
    step, outer = factors[-inner], len(shape) - inner
    for index in np.ndindex(shape[:outer]):
        for top in range(0, shape[outer], _BAND):
            rows = data[(*index, slice(step * top, step * (top + _BAND)))]
            block = reduced(rows, factors[-inner:], mean=mean)
            place = (*(slice(n, n + 1) for n in index), slice(top, top + len(block)))
            region = (*place, *(slice(0, length) for length in shape[len(place) :]))
            canvas.put(region, block[(np.newaxis,) * outer])
    return canvas
