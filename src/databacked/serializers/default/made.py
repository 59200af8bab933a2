"""What writers of files by ending give, and what they share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from databacked.types import Description

EPOCH = (1980, 1, 1, 0, 0, 0)


Made = tuple[bytes, Description, tuple[str, ...]]


def put(data: bytes, path: Path) -> None:
    """Write bytes to a new file, without a buffer."""
    with open(path, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) or 0 :]


def of_array(array: np.ndarray[Any, Any]) -> Description:
    """Return the description of an array of no known axes."""
    return Description(tuple(array.shape), str(array.dtype))


def of_picture(array: np.ndarray[Any, Any]) -> Description:
    """Return the description of a picture: (Y, X), or (Y, X, samples)."""
    return replace(of_array(array), dim_order="YXS" if array.ndim == 3 else "YX")


def said_by(value: Any) -> dict[str, Any] | None:
    """Return what an `Image` says of itself; None for everything else."""
    if type(value).__name__ != "Image" or not hasattr(value, "data"):
        return None
    names = ("dim_order", "channel_names", "physical_pixel_sizes", "translation", "labels")
    return {name: getattr(value, name, None) or None for name in names}
