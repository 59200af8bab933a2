"""Planes, tiles and bytes of an OME-TIFF; what files of one layout share is made once."""

from __future__ import annotations

import io
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import tifffile

from databacked.errors import SerializerError
from databacked.serializers.images import TILE

OME_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


Span: TypeAlias = tuple[Any, Any]

T = TypeVar("T")


class Remembered(Generic[T]):
    """What is the same for all files of a layout, for the layouts used last."""

    def __init__(self, limit: int = 64) -> None:
        self._known: OrderedDict[Any, T] = OrderedDict()
        self._limit = limit
        self._lock = threading.Lock()

    def get(self, key: Any) -> T | None:
        """Return what is remembered of a layout."""
        return self._known.get(key)

    def put(self, key: Any, found: T) -> None:
        """Remember something of a layout."""
        with self._lock:
            self._known[key] = found
            while len(self._known) > self._limit:
                self._known.popitem(last=False)


templates: Remembered[tuple[bytes, bytes]] = Remembered()
"""What stands before and after the pixels."""


def cut(whole: bytes, nbytes: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the pixels of a file."""
    with tifffile.TiffFile(io.BytesIO(whole)) as tiff:
        first = tiff.pages[0].dataoffsets[0]
        last = tiff.pages[len(tiff.pages) - 1]
        if last.dataoffsets[-1] + last.databytecounts[-1] - first != nbytes:
            raise SerializerError("tifffile did not write the pixels in one piece.")
    return whole[:first], whole[first + nbytes :]


def ome_type(
    dtype: np.dtype[Any], span: Callable[[], Span], who: str
) -> tuple[np.dtype[Any], tuple[str, ...]]:
    """Return the type that OME has for pixels, without changing a value; and what is done.

    Parameters
    ----------
    span
        Returns the smallest and the largest of them.
    """
    if dtype.kind == "b":
        return np.dtype(np.uint8), ()
    if dtype == np.float16:
        return np.dtype(np.float32), ("float16 is stored as float32",)
    if dtype.kind in "iu" and dtype.itemsize == 8:
        low, high = map(int, span())
        for name in OME_INTEGERS:
            if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
                return np.dtype(name), (f"{dtype} is stored as {name}, which holds all values",)
        raise SerializerError(
            f"{who}: {dtype} values from {low} to {high} do not fit any integer type of OME (up "
            "to 32 bits). Convert them, or keep them as .npy."
        )
    return dtype.newbyteorder("="), ()


def as_type(data: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return pixels in the type that OME has for them."""
    if data.dtype.kind == "b":
        return data.astype(np.uint8) * np.uint8(255)
    return data.astype(dtype, copy=False)


class Typed:
    """Pixels that are read by their index, in the type that OME has for them."""

    def __init__(self, data: Any, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = data.shape, dtype
        self._data = data

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        return as_type(self._data[key], self.dtype)


def planes(data: Any, inner: int) -> Iterator[np.ndarray[Any, Any]]:
    """Read one plane after another.

    Parameters
    ----------
    inner
        Axes of a plane.
    """
    for index in np.ndindex(data.shape[:-inner]):
        yield np.ascontiguousarray(data[index])


def tiles(data: Any, inner: int) -> Iterator[np.ndarray[Any, Any]]:
    """Read tile after tile, filled up with zeros at the edges."""
    for index in np.ndindex(data.shape[:-inner]):
        for top in range(0, data.shape[-inner], TILE):
            row = data[(*index, slice(top, top + TILE))]
            for left in range(0, row.shape[1], TILE):
                tile = row[:, left : left + TILE]
                full = np.zeros((TILE, TILE, *tile.shape[2:]), data.dtype)
                full[: tile.shape[0], : tile.shape[1]] = tile
                yield full


def file_size(levels: Sequence[tuple[int, ...]], itemsize: int, inner: int, *, tiled: bool) -> int:
    """Return about how many bytes a file takes, with all of its levels and their directories.

    Parameters
    ----------
    levels
        Their shapes, that of the image first.
    """
    nbytes = 0
    for shape in levels:
        *across, samples = (*shape[-inner:], 1)[:3]
        parts = 1
        if tiled:
            counts = [-(-length // TILE) for length in across]
            across, parts = [count * TILE for count in counts], counts[0] * counts[1]
        nbytes += across[0] * across[1] * samples * itemsize + _DIRECTORY + 16 * parts
    return nbytes * math.prod(levels[0][:-inner])


_DIRECTORY = 400
"""Bytes of the directory of a plane, at most: about 16 entries of 20 bytes, and what they name."""
