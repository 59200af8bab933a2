"""Planes of arrays as pictures: which plane, which range of grey, which colours."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from databacked.errors import DatabackedError
from databacked.project.folders import from_here

Pixels: TypeAlias = np.ndarray[Any, np.dtype[Any]]

PICTURE = 512
"""Pixels along Y or X of a picture, at most: of a larger plane every n-th pixel is read."""


THUMBNAIL = 128
"""The same for a picture in a table."""

SMALLEST = 192
"""Screen pixels along the longer side that a small picture is enlarged to."""


CHANNELS = 4
"""How many channels are shown side by side."""


PERCENTILES = 0.5, 99.8
"""Darkest and brightest pixels of a plane, in percent, that become black and white."""


# Red, green, blue of the channels of one picture: any two of them are told apart by everybody.
_COLOURS = {1: ((1, 1, 1),), 2: ((1, 0, 1), (0, 1, 0)), 3: ((1, 0, 1), (0, 1, 0), (0, 0.6, 1))}


@dataclass(frozen=True)
class Plane:
    """One plane of an array, as much of it as is shown."""

    channels: tuple[Pixels, ...]
    """(Y, X) each, or one (Y, X, samples)."""

    names: tuple[str, ...]
    """What stands below each channel; empty texts where there is nothing to say."""

    where: tuple[str, ...]
    """Which plane it is, for example ``Z 6 of 12``."""

    step: int
    """Every n-th pixel was read."""

    left: int
    """Channels that were not read."""

    samples: bool
    """Whether the pixels are colours."""

    labels: bool | None = None
    """Whether they are numbers of objects; None where only the pixels tell."""


# ---------------------------------------------------------------- what is read


def middle_plane(array: Any, longest: int, channels: int) -> Plane:
    """Read the middle plane of an array.

    Parameters
    ----------
    array
        With ``shape``, ``dtype`` and numpy's indexing; perhaps ``dim_order`` and ``channel_names``.
    longest
        Pixels along Y or X, at most.
    channels
        How many channels are read, at most.

    Raises
    ------
    DatabackedError
        If it has no plane.
    """
    shape = tuple(int(n) for n in array.shape)
    order = axes_of(array)
    if not order or 0 in shape:
        raise DatabackedError(f"An array of shape {shape} has no plane to show.")
    height, width = (shape[order.index(axis)] for axis in "YX")
    step = max(1, -(-max(height, width) // longest))
    count = shape[order.index("C")] if "C" in order else 1
    keys: list[Any] = []
    where: list[str] = []
    for axis, length in zip(order, shape, strict=True):
        if axis in "YX":
            keys.append(slice(None, None, step))
        elif axis == "S":
            keys.append(slice(None))
        elif axis == "C":
            keys.append(None)
        else:
            keys.append(length // 2)
            if length > 1:
                name = axis if axis.isalpha() else f"axis {order.index(axis)}"
                where.append(f"{name} {length // 2 + 1} of {length}")
    read = []
    for channel in range(min(count, channels)):
        found = np.asarray(array[tuple(channel if key is None else key for key in keys)])
        left = [axis for axis in order if axis in "YXS"]
        read.append(found.transpose([left.index(axis) for axis in "YXS" if axis in left]))
    names = getattr(array, "channel_names", None) or ()
    said = tuple(str(names[n]) if n < len(names) else "" for n in range(len(read)))
    labels = getattr(array, "is_labels", None)
    return Plane(tuple(read), said, tuple(where), step, count - len(read), "S" in order, labels)


def axes_of(array: Any) -> str:
    """Return one letter an axis: as the array says it, else a guess; digits mean unknown axes.

    An empty text means that there is no plane.
    """
    shape = tuple(array.shape)
    said = str(getattr(array, "dim_order", None) or "")
    if len(said) == len(shape) and "Y" in said and "X" in said:
        return said
    if len(shape) < 2:
        return ""
    last = "YX"
    if len(shape) > 2 and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4:
        last = "YXS"
    return "".join(chr(ord("0") + n) for n in range(len(shape) - len(last))) + last


def facts_of(array: Any) -> dict[str, str]:
    """Return what is known of an array, in words; reads no pixels."""
    order = getattr(array, "dim_order", None)
    shape = " × ".join(map(str, array.shape)) or "one number"
    facts = {"shape": f"{shape} ({order})" if order else shape, "type": str(array.dtype)}
    names = getattr(array, "channel_names", None)
    if names:
        facts["channels"] = ", ".join(map(str, names))
    sizes = getattr(array, "physical_pixel_sizes", None)
    if sizes is not None and any(sizes):
        facts["pixel"] = ", ".join(
            f"{axis} {size:g} µm"
            for axis, size in zip("ZYX", sizes, strict=True)
            if size is not None
        )
    facts["file"] = from_here(Path(os.fspath(array)))
    return facts


# ---------------------------------------------------------------- what is drawn


def is_labels(plane: Pixels) -> bool:
    """Whether a plane holds numbers of objects, not brightness.

    Integers, none below zero, more than two of them; most neighbours are equal, and where they are
    not, they differ by more than one (else it is a smooth picture).
    """
    if plane.dtype.kind not in "iu" or plane.ndim != 2 or min(plane.shape) < 2 or plane.min() < 0:
        return False
    numbers = plane.astype(np.int64)
    steps = np.concatenate([np.diff(numbers, axis=axis).ravel() for axis in (0, 1)])
    here = np.concatenate([numbers[:-1].ravel(), numbers[:, :-1].ravel()])
    # Background is equal to itself in every picture with a mask: only objects decide.
    inside = (here != 0) & (here + steps != 0)
    changes = np.abs(steps[steps != 0])
    if len(np.unique(numbers)) <= 2 or not inside.any():
        return False
    return bool(np.mean(steps[inside] == 0) >= 0.6 and np.mean(changes == 1) < 0.7)


def as_grey(plane: Pixels) -> Pixels:
    """Return a plane, or colours, as uint8 between its low and high percentiles."""
    if plane.dtype.kind == "b":
        return plane.astype(np.uint8) * np.uint8(255)
    if plane.dtype.kind not in "iufc":
        raise DatabackedError(f"Pixels of type {plane.dtype} cannot be shown.")
    values = np.abs(plane) if plane.dtype.kind == "c" else plane
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(plane.shape, np.uint8)
    low, high = np.percentile(finite, PERCENTILES)
    if low == high:
        low, high = finite.min(), finite.max()
    if low == high:
        return np.full(plane.shape, 0 if low == 0 else 128, np.uint8)
    scaled = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1)
    return np.asarray(np.round(scaled * 255), dtype=np.uint8)


def as_labels(plane: Pixels) -> Pixels:
    """Return a colour for each number, the same in every picture, and black for zero."""
    numbers, places = np.unique(plane, return_inverse=True)
    hue = (numbers * 0.61803398875) % 1.0  # the golden section: neighbours are far apart
    light = 0.65 + 0.35 * ((numbers * 0.7548776662) % 1.0)
    turns = np.abs((hue[:, None] * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    colours = np.round(255 * light[:, None] * (0.25 + 0.75 * np.clip(turns, 0, 1)))
    colours[numbers == 0] = 0
    return np.asarray(colours.astype(np.uint8)[places.reshape(plane.shape)])


def as_colours(plane: Plane) -> Pixels:
    """Return all channels of a plane as one picture: grey, colours, or labels."""
    if plane.samples or len(plane.channels) == 1:
        return _drawn(plane.channels[0], plane)
    if any(_holds_labels(channel, plane) for channel in plane.channels):
        return np.concatenate([_with_colours(_drawn(c, plane)) for c in plane.channels], axis=1)
    channels = plane.channels[:3]
    mixed = sum(
        as_grey(channel)[..., None] * np.array(colour, np.float64)
        for channel, colour in zip(channels, _COLOURS[len(channels)], strict=True)
    )
    return np.asarray(np.clip(mixed, 0, 255), dtype=np.uint8)


def png_of(pixels: Pixels) -> bytes:
    """Return uint8 pixels, (Y, X) or (Y, X, 3 or 4), as a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def alike(planes: Iterable[Plane]) -> list[Plane]:
    """Return planes of one kind: where some hold numbers of objects, those with few do, too."""
    found = list(planes)
    if any(one.labels is None and any(map(is_labels, one.channels)) for one in found):
        return [replace(one, labels=True) if one.labels is None else one for one in found]
    return found


def pictures_of(plane: Plane) -> Iterable[tuple[Pixels, str]]:
    """Yield each channel of a plane as a picture, with its name."""
    for channel, name in zip(plane.channels, plane.names, strict=True):
        yield _drawn(channel, plane), name


def _drawn(channel: Pixels, plane: Plane) -> Pixels:
    if plane.samples:
        if channel.shape[-1] not in (3, 4):
            channel = channel[..., 0]
        return channel if channel.dtype == np.uint8 else as_grey(channel)
    return as_labels(channel) if _holds_labels(channel, plane) else as_grey(channel)


def _holds_labels(channel: Pixels, plane: Plane) -> bool:
    if plane.labels is None or channel.dtype.kind not in "iu" or channel.min(initial=0) < 0:
        return is_labels(channel)
    return plane.labels


def _with_colours(pixels: Pixels) -> Pixels:

    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
