"""Label images that lie in an image: numbers of objects over its pixels."""

from __future__ import annotations

import operator
import os
import unicodedata
from collections.abc import Mapping
from typing import Any

from databacked.errors import SerializerError
from databacked.serializers.images import (
    Facts,
    check_texts,
    checked_order,
    hex_of,
    said_by,
)

Colours = Mapping[Any, Any]
"""Eight hex digits by label; also such ones by the name of a label image."""


def checked_colours(colours: Any) -> dict[Any, Any]:
    """Return colours of labels as they are kept; raises unless labels and colours are ones."""
    wrong = SerializerError(
        f"label_colors={colours!r}: a colour by the number of each label was expected, for example "
        "{1: '#FF0000'}, or that by the name of a label image."
    )
    if not isinstance(colours or {}, Mapping):
        raise wrong
    found: dict[Any, Any] = {}
    for key, colour in (colours or {}).items():
        if isinstance(key, str) and isinstance(colour, Mapping):
            found[key] = checked_colours(colour)
            continue
        try:
            found[operator.index(key)] = hex_of(colour, with_alpha=True)
        except (TypeError, ValueError):
            raise wrong from None
    return found


def colours_for(colours: Colours, name: str | None) -> dict[int, str]:
    """Return the colours of a label image, by its own name or those of all.

    Parameters
    ----------
    name
        None: of one that lies in no other image.
    """
    own = colours.get(name)
    found = own if isinstance(own, Mapping) else colours
    return {number: one for number, one in found.items() if isinstance(number, int)}


def order_of(value: Any, image: Facts) -> str:
    """Return the axes of a label image: its own, or those of the image without channels."""
    said = said_by(value)
    if said.dim_order is not None:
        return checked_order(said.dim_order)
    ndim = len(getattr(said.data, "shape", ()))
    axes = image.dim_order if ndim >= len(image.dim_order) else image.dim_order.replace("C", "")
    return axes[-ndim:] if ndim else axes


_TAKEN = ("zarr.json",)
"""What the group of label images itself keeps in its folder."""

_LONGEST = 200
"""Bytes of a folder's name: disks allow 255, some of which copies of it may need."""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def require_fit(name: str, label: Facts, image: Facts) -> None:
    """Raise unless a label image has a name, and as many pixels as the image along its axes."""
    check_texts({"name": name}, "OME-Zarr")
    odd = set(name) & {"/", "\\", "\0"} or name.startswith(".") or name in _TAKEN
    if not name or odd or len(os.fsencode(name)) > _LONGEST:
        raise SerializerError(f"a name of a folder was expected, and {name!r} came.")
    if same := [one for one in image.labels if one != name and _folded(one) == _folded(name)]:
        raise SerializerError(f"on many disks it would be the same folder as {same[0]!r}.")
    if label.labels:
        raise SerializerError("it holds label images of its own.")
    lengths = dict(zip(image.dim_order, image.shape, strict=True))
    if any(lengths.get(axis) != n for axis, n in zip(label.dim_order, label.shape, strict=True)):
        raise SerializerError(
            f"shape {label.shape} ({label.dim_order}) does not fit the image of shape "
            f"{image.shape} ({image.dim_order})."
        )
