"""What the root of an OME-Zarr says of its arrays.

Version 0.5 is https://ngff.openmicroscopy.org/0.5/, version 0.4 the same at /0.4/.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from databacked.errors import SerializerError
from databacked.serializers.images import Facts
from databacked.serializers.ome_zarr.windows import Spans
from databacked.types import Json

_AXES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_COLOURS = ("00FFFF", "FF00FF", "FFFF00", "00FF00", "FF0000", "0000FF")


@dataclass(frozen=True)
class Look:
    """What is said of an image besides its pixels and their places."""

    version: str
    """Of the format."""

    levels: Sequence[tuple[int, ...]]
    """Shapes of its levels."""

    factors: Sequence[int]
    """How much smaller each is than the one before, an axis each."""

    mean: bool
    """Whether pixels of smaller levels are means."""

    name: str | None = None
    """Of the image."""

    seconds: float | None = None
    """From one frame to the next."""

    colours: Sequence[str] | None = None
    """Six hex digits a channel."""

    windows: Sequence[tuple[float, float]] | None = None
    """Black and white of each channel."""

    is_labels: bool = False
    """Whether pixels are numbers of objects."""

    label_colours: Mapping[int, str] = field(default_factory=dict)
    """Eight hex digits a label: red, green, blue, and how opaque."""

    source: str | None = None
    """Where the image lies that labels are of."""


def root_of(facts: Facts, look: Look, spans: Spans | None) -> dict[str, Json]:
    """Return the metadata of an image by their file."""
    said = _version(look)
    image: dict[str, Json] = {"multiscales": [_multiscale(facts, look)]}
    if not look.is_labels or facts.channel_names is not None:
        image["omero"] = {**said, "channels": _channels(facts, look, spans)}
    if look.is_labels:
        label: dict[str, Json] = dict(said)
        if look.label_colours:
            label["colors"] = [
                {"label-value": number, "rgba": [*bytes.fromhex(colour)]}
                for number, colour in sorted(look.label_colours.items())
            ]
        if look.source is not None:
            label["source"] = {"image": look.source}
        image["image-label"] = label
    mark: dict[str, Json] = {"chunks": "all"}
    if look.is_labels and facts.is_bool:
        mark["dtype"] = "bool"
    return _group(look.version, image, {"databacked": mark})


def labels_of(version: str, names: Sequence[str]) -> dict[str, Json]:
    """Return the metadata of the group of label images by their file."""
    return _group(version, {"labels": list(names)}, {})


def as_json(content: Json) -> bytes:
    """Return what stands in a file of metadata."""
    try:
        text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    except ValueError:
        raise SerializerError(
            "pixel sizes, windows or a translation are too large for OME-Zarr: finite numbers were "
            "expected."
        ) from None
    return text.encode("utf-8", "surrogatepass")


def nameless(number: int) -> str:
    """Return OME's identifier of a channel, which readers take for its name if it has none."""
    return f"Channel:0:{number}"


def named(labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return channel names, unless nobody named a channel."""
    if all(label == nameless(number) for number, label in enumerate(labels)):
        return None
    return tuple(labels)


def _group(version: str, ome: dict[str, Json], more: dict[str, Json]) -> dict[str, Json]:
    if version == "0.4":
        return {".zattrs": {**ome, **more}, ".zgroup": {"zarr_format": 2}}
    attributes: Json = {"ome": {"version": version, **ome}, **more}
    return {"zarr.json": {"attributes": attributes, "zarr_format": 3, "node_type": "group"}}


def _version(look: Look) -> dict[str, Json]:
    """Return the version as parts of an image of 0.4 have it, each for itself."""
    return {"version": look.version} if look.version == "0.4" else {}


def _multiscale(facts: Facts, look: Look) -> dict[str, Json]:
    order = facts.dim_order
    sizes = dict(zip("TZYX", (look.seconds, *(facts.sizes or ())), strict=False))
    starts = dict(zip("ZYX", facts.translation or (), strict=False))
    axes: list[Json] = []
    for axis in order:
        unit = "second" if axis == "T" else "micrometer"
        known = {"unit": unit} if sizes.get(axis) else {}
        axes.append({"name": axis.lower(), "type": _AXES[axis], **known})
    datasets: list[Json] = []
    for level in range(len(look.levels)):
        steps = [factor**level for factor in look.factors]
        units = [sizes.get(axis) or 1.0 for axis in order]
        scale: list[Json] = [unit * step for unit, step in zip(units, steps, strict=True)]
        transforms: list[Json] = [{"type": "scale", "scale": scale}]
        # A mean lies in the middle of the pixels that it is of.
        middles = [(step - 1) / 2 if look.mean else 0.0 for step in steps]
        there: list[Json] = [
            (starts.get(axis) or 0.0) + unit * middle
            for axis, unit, middle in zip(order, units, middles, strict=True)
        ]
        if any(there):
            transforms.append({"type": "translation", "translation": there})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    found: dict[str, Json] = {**_version(look), "axes": axes, "datasets": datasets}
    if look.name:
        found["name"] = look.name
    if len(look.levels) > 1:
        found |= _smaller(order, look)
    return found


def _smaller(order: str, look: Look) -> dict[str, Json]:
    """Return how smaller levels were made."""
    along = [(axis.lower(), step) for axis, step in zip(order, look.factors, strict=True)]
    less = [(axis, step) for axis, step in along if step > 1]
    how = "the mean of" if look.mean else "the first of"
    numbers = " by ".join(_NUMBERS.get(step, str(step)) for _, step in less)
    axes = " and ".join(axis for axis, _ in less)
    return {
        "type": "mean" if look.mean else "decimation",
        "metadata": {"description": f"{how} {numbers} pixels along {axes}"},
    }


_NUMBERS = {2: "two", 3: "three", 4: "four"}


def _channels(facts: Facts, look: Look, spans: Spans | None) -> list[Json]:
    found: list[Json] = []
    dtype = np.dtype(facts.data.dtype)
    for number in range(facts.channels):
        least: float
        most: float
        least, most = _range(dtype)
        if look.windows is not None:
            low, high = look.windows[number]
        elif spans is not None:
            low, high = spans.of(number)
        else:  # of labels: nothing that painting would change
            low, high = least, most
        if dtype.kind == "f" or dtype.itemsize > 2:
            least, most = low, high
        window: Json = {"min": least, "max": most, "start": low, "end": high}
        colour = "FFFFFF" if facts.channels == 1 else _COLOURS[number % len(_COLOURS)]
        if look.colours is not None:
            colour = look.colours[number]
        label = facts.channel_names[number] if facts.channel_names else nameless(number)
        found.append({"label": label, "color": colour, "active": True, "window": window})
    return found


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the least and the largest value of integers; 0 and 1 of everything else."""
    if dtype.kind not in "iu":
        return 0, 1
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
