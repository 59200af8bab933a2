"""Planes, tiles and bytes of an OME-TIFF; what files of one layout share is made once."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import numpy as np
import tifffile

from databacked.errors import SerializerError
from databacked.serializers.images import TILE

OME_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


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


def ome_type(data: Any, who: str) -> tuple[Any, tuple[str, ...]]:
    """Return the pixels in a type that OME has, without changing a value; say what was done."""
    dtype = data.dtype
    if dtype.kind == "b":
        return data.astype(np.uint8) * np.uint8(255), ("bool is stored as 0 and 255 (uint8)",)
    if dtype == np.float16:
        return data.astype(np.float32), ("float16 is stored as float32",)
    if dtype.kind in "iu" and dtype.itemsize == 8:
        low, high = int(data.min()), int(data.max())
        for name in OME_INTEGERS:
            if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
                return data.astype(name), (f"{dtype} is stored as {name}, which holds all values",)
        raise SerializerError(
            f"{who}: {dtype} values from {low} to {high} do not fit any integer type of OME (up "
            "to 32 bits). Convert them, or keep them as .npy."
        )
    return data if dtype.isnative else data.astype(dtype.newbyteorder("=")), ()


def planes(data: Any, samples: int) -> Iterator[np.ndarray[Any, Any]]:
    """Compute a dask array one plane after another."""
    for index in np.ndindex(data.shape[:-samples]):
        yield np.ascontiguousarray(np.asarray(data[index]))


def tiles(data: Any, samples: int) -> Iterator[np.ndarray[Any, Any]]:
    """Compute a dask array tile after tile, filled up with zeros at the edges."""
    height, width = data.shape[-samples:][:2]
    for index in np.ndindex(data.shape[:-samples]):
        for top in range(0, height, TILE):
            # One row of tiles at once: chunks are not computed again for each tile.
            row = np.asarray(data[(*index, slice(top, top + TILE))])
            for left in range(0, width, TILE):
                tile = row[:, left : left + TILE]
                full = np.zeros((TILE, TILE, *tile.shape[2:]), data.dtype)
                full[: tile.shape[0], : tile.shape[1]] = tile
                yield full
