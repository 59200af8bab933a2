"""Values in the form that a function asks for, and what it may return."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from databacked.callables import is_library
from databacked.errors import DatabackedError
from databacked.places.backed import BackedArray
from databacked.places.image import Image
from databacked.types import Failed
from databacked.worker.failures import in_short
from databacked.worker.messages import Handed, Held, InChain, Inside, Kept, shown


def say_what_is_backed(error: Exception, values: Mapping[str, Any]) -> None:
    """Add to an error in a library that arrays came which are none of numpy's."""
    names = [name for name, value in values.items() if isinstance(value, BackedArray)]
    frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    if names and (is_library(frames[-1]) or "BackedArray" in str(error)):
        error.add_note(
            f"({names[0]} is a backed array. Where a library wants one of numpy's own, annotate "
            f"the parameter: {names[0]}: np.ndarray.)"
        )


def arrived(name: str, value: Any, kind: str) -> Any:
    """Give a value the form that the parameter's annotation asks for.

    Raises
    ------
    DatabackedError
        If a file is asked for, and the value is none.
    """
    if isinstance(value, Failed) or value is None:
        return value
    is_array = isinstance(value, BackedArray | Image | np.ndarray) or hasattr(value, "dask")
    if kind == "array":
        return np.asarray(value) if is_array else value
    if kind == "dask":
        if isinstance(value, BackedArray):
            return value.dask
        inner = value.data if isinstance(value, Image) else value
        if isinstance(inner, np.ndarray):
            from dask.array import from_array

            return from_array(inner)
        return inner
    if isinstance(value, str | os.PathLike):
        return Path(value)
    raise DatabackedError(
        f"{name} asks for a file (its annotation is a path), and a {type(value).__name__} came. "
        "Give the task that makes it a target=, so that there is a file."
    )


def short(value: Any) -> str:
    """Return a value as a failure shows it."""
    if isinstance(value, Kept):
        return shown(value.record.target)
    if isinstance(value, InChain | Held | Handed | Inside):
        return "…"
    return in_short(value)
