"""What the metadata of an OME-Zarr say, whoever wrote it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from databacked.errors import SerializerError
from databacked.serializers.images import DIM_ORDERS, sizes_of, translation_of
from databacked.serializers.ome_zarr.arrays import Array, open_array
from databacked.serializers.ome_zarr.damage import require_whole
from databacked.serializers.ome_zarr.metadata import named
from databacked.types import Description, PhysicalPixelSizes, Translation

LABELS = "labels"
"""The folder of an image that its label images lie in."""

_MICROMETRES = {
    **{"angstrom": 1e-4, "picometer": 1e-6, "nanometer": 1e-3, "micrometer": 1.0},
    **{"millimeter": 1e3, "centimeter": 1e4, "meter": 1e6, "inch": 25400.0},
    **{"pm": 1e-6, "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "mm": 1e3},
}


class Opened:
    """An image whose metadata were read, and the array of its largest level.

    Parameters
    ----------
    path
        Its folder.
    dim_order
        What its axes are where it does not say.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    SerializerError
        If it is no whole image: why.
    """

    def __init__(self, path: Path, dim_order: str | None) -> None:
        os.stat(path)  # what is not there is no damaged image
        self.path = path
        try:
            attributes = _attributes(path)
            ome = attributes.get("ome", attributes)
            if "multiscales" not in ome:
                several = "bioformats2raw.layout" in ome or "plate" in ome
                raise ValueError(
                    "it holds several images; name one of the folders in it"
                    if several
                    else "no multiscales in its metadata"
                )
            multiscale = ome["multiscales"][0]
            ours = attributes.get("databacked", {})
            self.datasets = [str(dataset["path"]) for dataset in multiscale["datasets"]]
            self.is_complete = ours.get("chunks") == "all"
            """Whether it was written with all its chunks."""
            self.is_bool = ours.get("dtype") == "bool"
            """Whether its pixels are True and False, whatever somebody saved them as."""
            self.pixels = self.level(0)
            axes = multiscale.get("axes") or [None] * self.pixels.ndim
            order = _order(axes) or dim_order or DIM_ORDERS.get(len(axes))
            if order is not None and len(order) != self.pixels.ndim:
                raise ValueError(f"axes {order} for an array of shape {self.pixels.shape}")
            channels = ome.get("omero", {}).get("channels", ())
            texts = [str(one.get("label") or "") for one in channels]
            sizes, there = (None, None) if order is None else _places(order, axes, multiscale)
            self.labels = _labels(path)
            """Names of the label images in it."""
        except SerializerError:
            raise
        except Exception as error:
            what = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else error
            raise SerializerError(f"{path} is not a whole OME-Zarr image: {what}.") from error
        self.description = Description(
            self.pixels.shape,
            "bool" if self.is_bool else str(self.pixels.dtype),
            order,
            named(texts) if texts and all(texts) else None,
            sizes,
            self.pixels.chunks,
            translation=there,
            labels=self.labels or None,
        )

    def level(self, number: int) -> Array:
        """Open the array of a level."""
        return open_array(self.path / self.datasets[number], complete=self.is_complete)

    def check(self) -> None:
        """Raise `SerializerError` if a chunk of a level, or of a label image, is missing or cut."""
        for number, dataset in enumerate(self.datasets):
            if self.is_complete:
                require_whole(self.path / dataset)
            elif number:
                self.level(number)
        for name in self.labels:
            self.label(name).check()

    def label(self, name: str) -> Opened:
        """Open a label image that lies in it."""
        return Opened(self.path / LABELS / name, None)

    def wrong_labels(self) -> str:
        """Say why its labels cannot be used as somebody saved them; nothing if they can."""
        if self.is_bool and len(np.unique(self.pixels[...])) > 2:
            return "it holds more values than two, and its pixels are True and False"
        for name in self.labels:
            label = self.label(name)
            held = label.description
            if wrong := label.wrong_labels():
                return f"its label image {name!r}: {wrong}"
            if np.dtype(held.dtype).kind not in "iub":
                return f"its label image {name!r} holds {held.dtype}: save it as integers"
            lengths = dict(zip(self.description.dim_order or "", self.pixels.shape, strict=False))
            pairs = zip(held.dim_order or "", held.shape or (), strict=False)
            if self.is_complete and any(lengths.get(axis) != n for axis, n in pairs):
                return (
                    f"its label image {name!r} has shape {held.shape}, and the image "
                    f"{self.description.shape}: save it with the same axes"
                )
        return ""


def _attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a group."""
    if (path / "zarr.json").exists():
        found = json.loads((path / "zarr.json").read_bytes())
        if found.get("node_type") != "group":
            raise ValueError("it is an array, not a group")
        attributes: dict[str, Any] = found.get("attributes", {})
        return attributes
    json.loads((path / ".zgroup").read_bytes())
    attributes = json.loads((path / ".zattrs").read_bytes())
    return attributes


def _labels(path: Path) -> tuple[str, ...]:
    """Return the names of the label images that lie in an image."""
    folder = path / LABELS
    if not folder.is_dir():
        return ()
    said = any((folder / name).exists() for name in ("zarr.json", ".zattrs"))
    if not said and not any(one.is_dir() for one in folder.iterdir()):
        return ()  # an empty group need not say anything
    attributes = _attributes(folder)
    names = attributes.get("ome", attributes).get("labels", ())
    return tuple(str(name) for name in names if (folder / str(name)).is_dir())


def _places(
    order: str, axes: Sequence[Any], multiscale: Any
) -> tuple[PhysicalPixelSizes | None, Translation | None]:
    """Return micrometres a pixel, of axes whose unit is a known one, and where the first lies."""
    scale, start = [1.0] * len(order), [0.0] * len(order)
    steps = [multiscale["datasets"][0], multiscale]
    for step in itertools.chain(*(one.get("coordinateTransformations") or () for one in steps)):
        if step["type"] == "scale" and "scale" in step:
            scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
            start = [a * b for a, b in zip(start, step["scale"], strict=True)]
        if step["type"] == "translation" and "translation" in step:
            start = [a + b for a, b in zip(start, step["translation"], strict=True)]
    sizes: dict[str, float] = {}
    starts: dict[str, float] = {}
    for letter, axis, length, place in zip(order, axes, scale, start, strict=True):
        unit = axis.get("unit") if isinstance(axis, dict) else None
        known = _MICROMETRES.get(str(unit)) if length > 0 else None
        if known is not None:
            sizes[letter] = length * known
        if unit is None or known is not None:
            starts[letter] = place * (known or 1.0)
    return (
        sizes_of([sizes.get(letter) for letter in "ZYX"]),
        translation_of([starts.get(letter) for letter in "ZYX"]),
    )


def _order(axes: Sequence[Any]) -> str | None:
    """Return one letter an axis, if all have one."""
    names = [axis.get("name") if isinstance(axis, dict) else axis for axis in axes]
    letters = [str(name).upper() for name in names]
    once = len(set(letters)) == len(letters) and all(len(letter) == 1 for letter in letters)
    return "".join(letters) if once else None
