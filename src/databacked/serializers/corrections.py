"""What somebody saved over a result by hand, as a reader of the result sees it.

Other programs write the same picture in another way: napari stores labels as uint32, ImageJ as
floats, most of them drop axes of length one, and spreadsheets know other separators. Such a file is
used; where a value would be another one, it is not, and what would make it usable is said.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from databacked.types import Description, PhysicalPixelSizes


@dataclass(frozen=True)
class Correction:
    """A file saved by hand, as a reader of the result sees it."""

    description: Description
    """What readers get."""

    form: Mapping[str, Any] | None = None
    """How it is read as what was recorded, as plain values; None: as it is."""

    problem: str = ""
    """Why it cannot be used, and what would make it usable; empty if it can."""


def fit(recorded: Description, held: Description, read: Callable[[], Any]) -> Correction:
    """Say how a file is read as what was recorded of the one that it took the place of.

    Parameters
    ----------
    recorded, held
        What the result was, and what the file holds now.
    read
        Reads the whole file; called only where another type or colours have to be looked at.
    """
    if recorded.shape is None:
        return Correction(held)
    if recorded.dtype is None:
        return _table(recorded, held)
    if held.shape is None or held.dtype is None:
        return Correction(held, problem=f"it holds no array; {_said(recorded)} was expected")
    if lost := [name for name in recorded.labels or () if name not in (held.labels or ())]:
        return Correction(held, problem=f"its label images {', '.join(lost)} are missing")
    form: dict[str, Any] = {}
    if held.shape != recorded.shape or _order(recorded, held):
        arranged = _arranged(recorded, held) or _coloured(recorded, held, read)
        if arranged is None:
            return Correction(
                held,
                problem=f"it holds {_said(held)}, and the result was {_said(recorded)}: save it "
                "with the same axes",
            )
        form |= arranged
    typed = _typed(type_of(recorded.dtype), type_of(held.dtype), read)
    if isinstance(typed, str):
        return Correction(held, problem=typed)
    if typed is not None:
        form["dtype"] = str(typed)
    dtype = form.get("dtype", held.dtype)
    seen = replace(
        recorded,
        dtype=dtype,
        chunks=None if form else held.chunks,
        channel_names=held.channel_names or recorded.channel_names,
        physical_pixel_sizes=_sizes(recorded, held),
        translation=held.translation or recorded.translation,
        labels=held.labels,
    )
    return Correction(seen, form or None)


def type_of(name: str) -> np.dtype[Any]:
    """Return the type that a description names; the name of a structured one lists its fields."""
    found: np.dtype[Any] = np.dtype(ast.literal_eval(name) if name[:1] in "[{(" else name)
    return found


def conform(array: Any, form: Mapping[str, Any]) -> Any:
    """Return what a file holds as its readers get it.

    Parameters
    ----------
    form
        What `fit` found: ``samples`` (``gray``: of equal colours one; ``opaque``: without an alpha
        channel; an integer: that many equal ones), ``axes`` (their order), ``shape``, ``dtype``.
    """
    array = np.asarray(array)
    match form.get("samples"):
        case "gray":
            array = array[..., 0]
        case "opaque":
            array = array[..., :-1]
        case int(count):
            array = np.repeat(array[..., np.newaxis], count, axis=-1)
        case _:
            pass
    if "axes" in form:
        array = array.transpose(form["axes"])
    if "shape" in form:
        array = array.reshape(form["shape"])
    dtype = form.get("dtype")
    if dtype is None:
        return array
    return array != 0 if dtype == "bool" else array.astype(dtype)


class Conformed:
    """A lazily opened array that is cast where it is read; other forms need the whole of it."""

    def __init__(self, opened: Any, form: Mapping[str, Any]) -> None:
        # Not np.asarray: what reads by tiles is no sequence, and numpy would make one object of it.
        self._opened = opened if form.keys() <= {"dtype"} else conform(opened[...], form)
        self._form = form if form.keys() <= {"dtype"} else {}
        self.shape: tuple[int, ...] = tuple(self._opened.shape)
        self.dtype = np.dtype(self._form.get("dtype", self._opened.dtype))

    def __getitem__(self, key: Any) -> Any:
        return conform(self._opened[key], self._form)


def _sizes(recorded: Description, held: Description) -> PhysicalPixelSizes | None:
    """Return the pixel sizes that a file says itself, and for other axes those recorded."""
    one, other = recorded.physical_pixel_sizes, held.physical_pixel_sizes
    if one is None or other is None:
        return other or one
    return PhysicalPixelSizes(*(b if a is None else a for a, b in zip(other, one, strict=True)))


def _said(description: Description) -> str:
    order = f" {description.dim_order}" if description.dim_order else ""
    return f"{description.shape}{order} {description.dtype or ''}".rstrip()


def _table(recorded: Description, held: Description) -> Correction:
    """Accept a table with other rows and more columns."""
    assert recorded.shape is not None
    if held.shape is None or len(held.shape) != 2:
        return Correction(held, problem="it holds no table; one was expected")
    if recorded.columns and held.columns:
        there, problems = dict(held.columns), []
        for name, kind in recorded.columns:
            if name not in there:
                problems.append(f"its column {name!r} is missing")
            elif held.shape[0] and there[name] == "text" != kind:
                problems.append(f"its column {name!r} holds texts, and the result's {kind}s")
        wrong = "; ".join(problems)
        advice = "rows may go and columns may come, but those that were there have to stay"
        return Correction(held, problem=f"{wrong}: {advice}" if problems else "")
    if len(recorded.shape) == 2 and held.shape[1] < recorded.shape[1]:
        return Correction(
            held,
            problem=f"it has {held.shape[1]} columns, and the result had {recorded.shape[1]}: "
            "rows may go and columns may come, but none of its columns may be missing",
        )
    return Correction(held)


def _order(recorded: Description, held: Description) -> bool:
    """Whether both say the order of their axes, and it differs."""
    one, other = recorded.dim_order, held.dim_order
    return bool(one and other) and one != other and sorted(one or "") == sorted(other or "")


def _arranged(recorded: Description, held: Description) -> dict[str, Any] | None:
    """Return how axes are put in their order, or those of length one brought back."""
    want, have = recorded.shape or (), held.shape or ()
    order = _axes(recorded, held)
    moved = tuple(have[axis] for axis in order)
    if [n for n in moved if n != 1] != [n for n in want if n != 1]:
        return None
    found: dict[str, Any] = {}
    if order != list(range(len(order))):
        found["axes"] = order
    if moved != want:
        found["shape"] = list(want)
    return found


def _axes(recorded: Description, held: Description) -> list[int]:
    """Return the order in which the axes of a file are those that were recorded.

    ImageJ stores TZCYX, whatever order an image had. Axes of length one may be anywhere.
    """
    one, other, have = recorded.dim_order, held.dim_order, held.shape or ()
    usual = list(range(len(have)))
    if not one or not other or len(other) != len(have) or len(set(other)) != len(other):
        return usual
    named = [axis for axis in usual if have[axis] != 1]
    if any(other[axis] not in one for axis in named):
        return usual
    named.sort(key=lambda axis: one.index(other[axis]))
    return named + [axis for axis in usual if have[axis] == 1]


def _coloured(
    recorded: Description, held: Description, read: Callable[[], Any]
) -> dict[str, Any] | None:
    """Return how a picture that was saved with other colours is the one that was recorded."""
    want, have = _long(recorded.shape), _long(held.shape)
    if have[:-1] == want and have[-1] in (3, 4):
        pixels = np.asarray(read())
        gray = (pixels[..., :3] == pixels[..., :1]).all()
        return {"samples": "gray", "shape": list(recorded.shape or ())} if gray else None
    if have[:-1] == want[:-1] and (want[-1:], have[-1:]) == ([3], [4]):
        pixels = np.asarray(read())
        opaque = (pixels[..., 3] == pixels[..., 3].max()).all()
        return {"samples": "opaque", "shape": list(recorded.shape or ())} if opaque else None
    if want[:-1] == have and want[-1] == 3:
        return {"samples": 3, "shape": list(recorded.shape or ())}
    return None


def _long(shape: Sequence[int] | None) -> list[int]:
    return [n for n in shape or () if n != 1]


def _typed(
    want: np.dtype[Any], have: np.dtype[Any], read: Callable[[], Any]
) -> np.dtype[Any] | str | None:
    """Return the type that pixels are read as; None for as they are, a text if they cannot be."""
    want, have = want.newbyteorder("="), have.newbyteorder("=")
    if want == have:
        return None
    wrong = f"it holds {have}, and the result was {want}: save it as {want}"
    if have.kind not in "biuf" or want.kind not in "biuf":
        return want if want.kind == "c" and have.kind in "fc" else wrong
    if want.kind == "f":
        if have.kind != "f":
            return f"{wrong}; whether its values were scaled cannot be told"
        return want if have.itemsize < want.itemsize else None
    if want.kind == "b":
        values = np.unique(read())
        flags = len(values) <= 1 + bool((values == 0).any())
        return want if flags else f"{wrong}; it holds more values than two"
    pixels = np.asarray(read())
    if have.kind == "f" and not (np.isfinite(pixels).all() and (pixels == pixels.round()).all()):
        return f"{wrong}; it holds values that are no whole numbers"
    low, high = (int(pixels.min()), int(pixels.max())) if pixels.size else (0, 0)
    limits = np.iinfo(want)
    if limits.min <= low and high <= limits.max:
        return want
    return None if have.kind in "iu" else np.dtype(np.int64)  # wider labels are fine as they are
