"""How the levels of an image lie in files: chunks that are read at once, and shards of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from databacked.errors import SerializerError
from databacked.serializers.images import TILE, Facts
from databacked.serializers.ome_zarr.arrays import Layout

SHARDED_ABOVE = 4096
"""Chunks of an array beyond which they are put into shards, unless told otherwise."""

SHARD = 64 << 20
"""Bytes of pixels that a shard holds at most, where nobody says how large it is."""

LARGEST_CHUNK = 512 << 20
"""Bytes of pixels that one block of blosc may hold."""


class Settings(Protocol):
    """What a serializer is told of chunks."""

    version: str
    """Of the format."""

    chunks: tuple[int, ...] | None
    """Pixels along each axis that are read at once."""

    shards: tuple[int, ...] | bool | None
    """Pixels along each axis that share a file."""

    labels: bool
    """Whether pixels may be corrected by hand."""

    compression: str | None
    """Of chunks."""


def layouts(facts: Facts, shapes: Sequence[tuple[int, ...]], settings: Settings) -> list[Layout]:
    """Return how each level lies in files.

    Parameters
    ----------
    shapes
        Of the levels.

    Raises
    ------
    SerializerError
        If chunks are too large, or shards are not whole chunks.
    """
    dtype = facts.data.dtype.newbyteorder("=")
    if settings.labels and dtype.kind == "b":
        dtype = np.dtype(np.uint8)
    whole = settings.chunks or (1,) * (len(facts.shape) - 2) + (TILE, TILE)
    v3, axes = settings.version != "0.4", tuple(facts.dim_order.lower())
    found = []
    for shape in shapes:
        chunks = tuple(map(min, whole, shape))
        one = Layout(shape, dtype, chunks, None, settings.compression, v3, axes)
        if one.nbytes > LARGEST_CHUNK:
            raise SerializerError(
                f"{type(settings).__name__}: chunks={chunks} of {dtype} hold {one.nbytes} bytes; "
                f"at most {LARGEST_CHUNK} were expected."
            )
        found.append(replace(one, shards=_shards(one, settings)))
    return found


def rounded(lengths: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return lengths rounded up to whole sizes."""
    return tuple(-(-n // size) * size for n, size in zip(lengths, sizes, strict=True))


def _shards(layout: Layout, settings: Settings) -> tuple[int, ...] | None:
    many = settings.shards
    if many is None:
        many = layout.v3 and not settings.labels and layout.count > SHARDED_ABOVE
    if not isinstance(many, tuple):
        return _many_chunks(layout) if many else None
    shards = tuple(map(min, many, rounded(layout.shape, layout.chunks)))
    if any(shard % chunk for shard, chunk in zip(shards, layout.chunks, strict=True)):
        raise SerializerError(f"shards={many} are not whole chunks of {layout.chunks}.")
    return shards


def _many_chunks(layout: Layout) -> tuple[int, ...]:
    """Return a shard: as much of a plane, then of Z, C and T, as its bytes allow."""
    whole, shards, room = rounded(layout.shape, layout.chunks), list(layout.chunks), SHARD
    room //= max(layout.nbytes, 1)
    for axes in ((-2, -1), *((axis,) for axis in range(len(shards) - 3, -1, -1))):
        growing = True
        while growing:
            growing = False
            for axis in axes:
                more = min(2 * shards[axis], whole[axis])
                if more > shards[axis] and room >= 2:
                    room, shards[axis], growing = room // 2, more, True
    return tuple(shards)
