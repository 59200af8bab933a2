"""Files of arrays that are missing or cut: to zarr a missing chunk is one of fill values."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from databacked.errors import SerializerError
from databacked.types import Json


def fill_of(dtype: np.dtype[Any]) -> Json:
    """Return the fill value of our arrays as JSON has it: the largest of the type, or NaN.

    Programs that edit through zarr delete a chunk that holds nothing else; were it zero, wiping a
    mask's plane clean would damage the image.
    """
    match dtype.kind:
        case "f":
            return "NaN"
        case "b":
            return True
        case _:
            return int(np.iinfo(dtype).max)


def is_ours(path: Path) -> bool:
    """Whether an array has the fill value of ours, so that a missing chunk of it is damage."""
    try:
        return _grid(path).is_ours
    except (OSError, ValueError, KeyError, TypeError):
        return True  # whoever opens it will say what is wrong


def require_whole(path: Path) -> None:
    """Raise unless every file of an array is there, and as long as it says itself."""
    grid = _grid(path)
    for index, file in grid.files(path):
        try:
            with open(file, "rb", buffering=0) as opened:
                size = os.fstat(opened.fileno()).st_size
                whole = grid.is_whole(opened, size, index)
        except FileNotFoundError:
            if not grid.is_ours:
                continue
            raise _missing(file) from None
        if not whole:
            raise SerializerError(f"{file} is cut, or no chunk of this image.")


def missing_in(path: Path) -> SerializerError | None:
    """Return what to raise if a file of an array is missing."""
    try:
        grid = _grid(path)
        files = grid.files(path) if grid.is_ours else ()
        return next((_missing(file) for _, file in files if not os.path.exists(file)), None)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # whoever opens it will say what is wrong


def _missing(file: str) -> SerializerError:
    return SerializerError(f"{file} is missing: this image was written with all its chunks.")


@dataclass(frozen=True)
class _Grid:
    """How the pixels of an array lie in files, as its metadata say."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    prefix: str
    separator: str
    itemsize: int
    is_ours: bool
    """Whether its fill value is ours: to others a chunk that is not there is one of theirs."""

    codec: str
    """``raw``, ``blosc``, or another one, of which only the file that holds it is known."""

    def files(self, path: Path) -> Iterator[tuple[tuple[int, ...], str]]:
        """Yield place and path of each file."""
        sizes = self.shards or self.chunks
        counts = [-(-n // size) for n, size in zip(self.shape, sizes, strict=True)]
        for index in np.ndindex(*counts):
            yield index, f"{path}/{self.prefix}{self.separator.join(map(str, index))}"

    def is_whole(self, file: Any, size: int, index: tuple[int, ...]) -> bool:
        """Whether an open file is as long as it has to be."""
        nbytes = math.prod(self.chunks) * self.itemsize
        if self.shards is not None:
            return self._shard_end(file, size, index) == size
        if self.codec == "blosc":  # its header: bytes of the pixels, and of itself
            header = np.frombuffer(file.read(16).ljust(16, b"\0"), "<u4")
            return (int(header[1]), int(header[3])) == (nbytes, size)
        return size == nbytes if self.codec == "raw" else size > 0

    def _shard_end(self, file: Any, size: int, index: tuple[int, ...]) -> int:
        """Return where a shard ends, as the index at its end says; -1 if a chunk is not in it."""
        assert self.shards is not None
        inner = [a // b for a, b in zip(self.shards, self.chunks, strict=True)]
        nbytes = 16 * math.prod(inner) + 4  # offset and length of each chunk, then a checksum
        file.seek(max(size - nbytes, 0))
        data = file.read(nbytes).ljust(nbytes, b"\0")
        entries = np.frombuffer(data, "<u8", 2 * math.prod(inner)).reshape(*inner, 2)
        # Chunks of a shard at the edge that lie beyond it need not be there.
        starts = [n * length for n, length in zip(index, self.shards, strict=True)]
        within = tuple(
            slice(0, -(-(length - start) // chunk))
            for length, start, chunk in zip(self.shape, starts, self.chunks, strict=True)
        )
        if self.is_ours and (entries[within] == _NOT_THERE).any():
            return -1
        there = entries[entries[..., 0] != _NOT_THERE]
        return int(there.sum(axis=-1).max(initial=0)) + nbytes


_NOT_THERE = np.uint64(0xFFFFFFFFFFFFFFFF)
"""What the index of a shard says of a chunk that is not there."""


def _grid(path: Path) -> _Grid:
    """Return how an array lies in files; zarr's own keys and defaults."""
    if (path / ".zarray").exists():
        said = json.loads((path / ".zarray").read_bytes())
        dtype, codec = np.dtype(said["dtype"]), said.get("compressor")
        kind = "raw" if codec is None else codec["id"]
        return _Grid(
            tuple(said["shape"]),
            tuple(said["chunks"]),
            None,
            "",
            said.get("dimension_separator", "."),
            dtype.itemsize,
            said.get("fill_value") == fill_of(dtype),
            "other" if said.get("filters") else kind,
        )
    said = json.loads((path / "zarr.json").read_bytes())
    dtype = np.dtype(said["data_type"])
    files = tuple(said["chunk_grid"]["configuration"]["chunk_shape"])
    names = [codec["name"] for codec in said["codecs"]]
    sharded = names[0] == "sharding_indexed"
    inner = said["codecs"][0].get("configuration", {}).get("chunk_shape") if sharded else files
    keys = said.get("chunk_key_encoding", {"name": "default"})
    old = keys["name"] == "v2"
    separator = keys.get("configuration", {}).get("separator", "." if old else "/")
    kind = {("bytes",): "raw", ("bytes", "blosc"): "blosc"}.get(tuple(names), "other")
    return _Grid(
        tuple(said["shape"]),
        tuple(inner),
        files if sharded else None,
        "" if old else f"c{separator}",
        separator,
        dtype.itemsize,
        said.get("fill_value") == fill_of(dtype),
        kind,
    )
