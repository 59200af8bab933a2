"""What type checkers know of tasks and flows: read by them, never run (see `test_types`)."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np
import numpy.typing as npt
import pandas as pd

from databacked import (
    ArrayToOmeTiff,
    Dataset,
    Future,
    Futures,
    LocalDatasetResult,
    LocalResult,
    Values,
    flow,
    task,
)

Pixels = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]


@task
def load(path: Path) -> Pixels:
    """Read an image."""
    return np.asarray(np.load(path), np.float32)


@task(result=LocalResult("masks", ArrayToOmeTiff(dim_order="YX")), target="{name}.ome.tiff")
def segment(name: str, image: Pixels, above: float = 2.0) -> Mask:
    """Find what is bright."""
    return (image > above).astype(np.uint8)


@task(keep=True, retries=1)
def count(mask: Mask) -> int:
    """Count the pixels."""
    return int(mask.sum())


@task(keep=True)
def total(counts: list[int]) -> int:
    """Add up."""
    return sum(counts)


@task(result=LocalDatasetResult("lab/masks", readme="README.md"))
def hand_over(names: list[str], masks: list[Mask]) -> pd.DataFrame:
    """Make a dataset."""
    return pd.DataFrame({"name": names, "mask": masks})


@flow
def as_answer(paths: list[Path]) -> Futures[int]:
    """Say what it returns inside."""
    masks = segment.map([path.stem for path in paths], load.map(paths))
    assert_type(masks, Futures[Mask])
    assert_type(masks[0], Future[Mask])
    assert_type(masks[0].result(), Mask)
    assert_type(masks[1:], Futures[Mask])
    assert_type(masks.result(), list[Mask])
    assert_type(masks.table, pd.DataFrame)
    return count.map(masks)


@flow(runner="threads", on_error="collect")
def as_values(paths: list[Path]) -> list[int]:
    """Say what comes out."""
    return count.map(segment.map([path.stem for path in paths], load.map(paths)))


@flow
def one(paths: list[Path]) -> int:
    """Return what one call gives."""
    counts = count.map(segment.map([path.stem for path in paths], load.map(paths)))
    assert_type(count(segment("a", load(paths[0]))), int)
    return total(counts)


@flow
def one_of_many(paths: list[Path]) -> Future[int]:
    """Return an item of a map."""
    return count.map(segment.map([path.stem for path in paths], load.map(paths)))[0]


@flow
def several(paths: list[Path]) -> tuple[list[Mask], pd.DataFrame]:
    """Return two things."""
    names = [path.stem for path in paths]
    masks = segment.map(names, load.map(paths))
    return masks, hand_over(names, masks)


def use(paths: list[Path], dataset: Dataset) -> None:
    """Call them."""
    assert_type(as_answer(paths), Values[int])
    assert_type(as_answer(paths)[0], int)
    assert_type(as_answer(paths).table, pd.DataFrame)
    values: list[int] = as_answer(paths)
    assert_type(sum(values), int)
    assert_type(as_values(paths), list[int])
    assert_type(one(paths), int)
    assert_type(one_of_many(paths), int)
    assert_type(several(paths), tuple[list[Mask], pd.DataFrame])
    assert_type(as_values.with_options(runner="processes")(paths), list[int])
    assert_type(load(paths[0]), Pixels)
    assert_type(load.fn(paths[0]), Pixels)
    assert_type(dataset.table, pd.DataFrame)
    as_values("a")  # type: ignore[arg-type]
    as_values.with_options(runer="threads")  # type: ignore[call-arg]
    count(mask=1, masks=2)
