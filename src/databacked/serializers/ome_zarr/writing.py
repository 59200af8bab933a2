"""The walk over pixels: each part is computed once, and no more than one is held."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from databacked.serializers.blocks import Region, bounds_of, computed
from databacked.serializers.images import Facts, reduced
from databacked.serializers.ome_zarr.arrays import Layout, Writes
from databacked.serializers.ome_zarr.layout import rounded
from databacked.serializers.ome_zarr.windows import Spans


def write_levels(
    facts: Facts,
    layouts: Sequence[Layout],
    folder: Path,
    factors: Sequence[int],
    spans: Spans | None,
    *,
    mean: bool,
) -> None:
    """Write an image and its smaller levels, each an array in a folder that is its number.

    Parameters
    ----------
    facts
        Its pixels: an array, or a lazy one whose blocks lie in no two parts (see `fits`).
    factors
        How much smaller each level is than the one before, an axis each.
    spans
        What takes note of the pixels.
    mean
        Whether smaller levels are means.
    """
    source: Any = facts.data
    same = (1,) * len(factors)
    for level, layout in enumerate(layouts):
        array = layout.create(folder / str(level))
        if level and not facts.lazy:
            source = reduced(source, factors, mean=mean)
        steps = factors if level and facts.lazy else same
        with Writes() as writes:
            for part in _parts(layout, source, steps):
                wanted = tuple(
                    slice(one.start * step, min(one.stop * step, length))
                    for one, step, length in zip(part, steps, source.shape, strict=True)
                )
                block = computed(source, wanted)
                if steps != same:
                    block = reduced(block, steps, mean=mean)
                if spans is not None and not level:
                    spans.see(block, [one.start for one in part])
                for file in cut(part, layout.files):
                    here = tuple(
                        slice(one.start - whole.start, one.stop - whole.start)
                        for one, whole in zip(file, part, strict=True)
                    )
                    writes.put(array, file, block[here])
                writes.wait()
                del block  # before the next one is computed
        if facts.lazy:  # what was computed once is read back
            source = array


def fits(data: Any, layout: Layout) -> bool:
    """Whether no block of a lazy array lies in two of the parts that are computed at once."""
    if not hasattr(data, "dask"):
        return True  # what is read from files is no work
    first = next(_parts(layout, data, (1,) * len(layout.shape)))
    return all(
        set(range(0, length, one.stop)) <= set(bounds)
        for length, one, bounds in zip(layout.shape, first, bounds_of(data), strict=True)
    )


def cut(whole: Sequence[slice], sizes: Sequence[int]) -> Iterator[Region]:
    """Cut a region into pieces of a size, the last ones as long as they are."""
    along = [
        [slice(start, min(start + size, one.stop)) for start in range(one.start, one.stop, size)]
        for one, size in zip(whole, sizes, strict=True)
    ]
    yield from itertools.product(*along)


def _parts(layout: Layout, source: Any, steps: Sequence[int]) -> Iterator[Region]:
    """Yield what is computed at once: whole files.

    A lazy array is asked for its own chunks, or for files where these are larger; an array in
    memory is one part.
    """
    sizes: Sequence[int] = layout.shape
    if not isinstance(source, np.ndarray):
        theirs = getattr(source, "chunks", None) or layout.files
        longest = [max(one) if isinstance(one, tuple) else one for one in theirs]
        less = [-(-length // step) for length, step in zip(longest, steps, strict=True)]
        sizes = rounded(less, layout.files)
    yield from cut([slice(0, length) for length in layout.shape], sizes)
