"""Pictures and figures: png, jpg, svg, pdf."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from databacked.errors import SerializerError
from databacked.fingerprint.hashes import hash_bytes
from databacked.pictures.figures import FORMATS, drawn, forget
from databacked.serializers.default.made import Made, of_picture, put, said_by
from databacked.serializers.images import checked_order
from databacked.serializers.sameness import plain_array
from databacked.types import Description, Written

PICTURES = (".png", ".jpg", ".jpeg")


# ---------------------------------------------------------------- pictures


def _picture(value: Any, scale: Any, deep: bool) -> tuple[Any, tuple[str, ...]]:
    """Return pixels that a picture can hold: uint8, or uint16 where it is `deep`."""
    said = said_by(value)
    lost = [name for name, one in (said or {}).items() if one and name != "dim_order"]
    if lost:
        raise SerializerError(
            f"an Image would come back from a picture without its {', '.join(lost)}: return its "
            ".data, or keep it as .ome.tiff or .ome.zarr."
        )
    data = plain_array(value if said is None else value.data, "a picture")
    if data.dtype.kind not in "biuf":
        raise SerializerError(
            f"values of type {data.dtype} are no pixels of a picture; integers, bool, or floats "
            "with a scale= were expected."
        )
    notes: tuple[str, ...] = ()
    shape = data.shape
    if said is not None and said["dim_order"]:
        order = checked_order(said["dim_order"])
        kept = [axis for axis, n in zip(order, shape, strict=False) if n != 1 or axis in "YX"]
        if len(order) != len(shape) or "".join(kept) not in ("YX", "YXS", "CYX"):
            raise SerializerError(
                f"an Image of shape {shape} with dim_order={order!r} is no picture: 'YX', 'YXS' or "
                "'CYX' was expected. Project it first, or keep it as .ome.tiff."
            )
    if data.ndim > 2:
        data = data.reshape([n for n in shape[:-3] if n != 1] + list(shape[-3:]))
        if data.ndim == 3 and data.shape[-1] not in (3, 4):
            if data.shape[0] in (3, 4) and data.shape[1] > 4 and data.shape[2] > 4:
                data = np.moveaxis(data, 0, -1)
            elif data.shape[0] == 1:
                data = data[0]
            elif data.shape[-1] == 1:
                data = data[..., 0]
    if (
        data.ndim not in (2, 3)
        or (data.ndim == 3 and data.shape[-1] not in (3, 4))
        or not data.size
    ):
        raise SerializerError(
            f"an array of shape {shape} is no picture: (Y, X), (Y, X, 3) or (Y, X, 4) was "
            "expected. Project it first, or keep it as .ome.tiff."
        )
    if data.shape != shape:
        notes = ("axes of length one are left out of a picture, and colours are its last axis",)
    if data.dtype.kind == "b":
        data = data.astype(np.uint8) * np.uint8(255)
        notes = (*notes, "bool is stored as 0 and 255")
    elif data.dtype.kind == "f" and scale is not None:
        data = _scaled(data, scale)
    elif data.dtype.kind == "f":
        raise SerializerError(
            f"floats ({data.dtype}, from {data.min():.4g} to {data.max():.4g}) have no place in a "
            "picture: say ArrayToDefaultWriter(scale=(low, high)) or scale='minmax', or keep them "
            "as .ome.tiff."
        )
    elif data.dtype != np.uint8 and not (deep and data.dtype == np.uint16 and data.ndim == 2):
        low, high = int(data.min()), int(data.max())
        if (
            data.dtype.kind not in "iu"
            or low < 0
            or high > (65535 if deep and data.ndim == 2 else 255)
        ):
            raise SerializerError(
                f"{data.dtype} values from {low} to {high} do not fit this picture (uint8"
                f"{' or uint16 without colours' if deep else ''}). Scale them, or keep them as "
                ".ome.tiff."
            )
        # By type, not by value: one map gives pictures of one type.
        to = np.uint8 if not deep or data.ndim == 3 else np.uint16
        notes = (*notes, f"{data.dtype} is stored as {np.dtype(to)}, which holds all values")
        data = data.astype(to)
    return np.ascontiguousarray(data), notes


def _scaled(data: Any, scale: Any) -> np.ndarray[Any, Any]:
    if np.isnan(data).any():
        raise SerializerError("NaN has no place in a picture: replace it (np.nan_to_num) first.")
    low, high = (float(data.min()), float(data.max())) if scale == "minmax" else scale
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SerializerError(
            f"scale='minmax' from {low} to {high} leaves nothing to see: replace what is infinite "
            "(np.nan_to_num), or say scale=(low, high)."
        )
    span = (high - low) or 1.0
    least, most = float(np.finfo(data.dtype).smallest_subnormal), float(np.finfo(data.dtype).max)
    if not (least <= span <= most and max(-low, high) <= most):
        # Only where the pixels' own type is too small for it: the same value, the same bytes.
        part = 1.0 if math.isfinite(span) else 0.5
        data, low = data.astype(np.float64) * part, low * part
        span = high * part - low
    with np.errstate(over="ignore"):  # what overflows lies far outside, and is clipped
        return np.asarray(np.round(np.clip((data - low) / span, 0, 1) * 255), dtype=np.uint8)


def write_png(value: Any, scale: Any) -> Made:
    """Return a picture as PNG."""
    from PIL import Image

    data, notes = _picture(value, scale, deep=True)
    file = io.BytesIO()
    Image.fromarray(data).save(file, "PNG")
    return file.getvalue(), of_picture(data), notes


def write_jpg(value: Any, scale: Any) -> Made:
    """Return a picture as JPEG."""
    from PIL import Image

    data, notes = _picture(value, scale, deep=False)
    if data.ndim == 3 and data.shape[-1] == 4:
        raise SerializerError("a JPEG has no transparency: (Y, X) or (Y, X, 3) was expected.")
    file = io.BytesIO()
    Image.fromarray(data).save(file, "JPEG", quality=95)
    return file.getvalue(), of_picture(data), notes


_MEANT = {"1": "L", "P": "RGB", "LA": "RGBA", "PA": "RGBA", "CMYK": "RGB"}
"""What other programs make of a picture, and what it shows: numbers of a palette are no pixels."""


def read_picture(path: Any) -> Any:
    """Return the pixels of a picture."""
    from PIL import Image

    with Image.open(path) as picture:
        if problem := _cut_colours(picture):
            raise SerializerError(problem)
        meant = _MEANT.get(picture.mode)
        if meant == "RGB" and picture.has_transparency_data:
            meant = "RGBA"
        array = np.asarray(picture if meant is None else picture.convert(meant))
    return array.astype(np.uint16) if array.dtype == np.int32 else array


def cut_colours(path: Path) -> str:
    """Return why reading a picture would lose some of its colours; empty if it does not."""
    from PIL import Image

    with Image.open(path) as picture:
        return _cut_colours(picture)


def _cut_colours(picture: Any) -> str:
    is_deep = any(";16" in str(tile[3]) for tile in picture.tile)
    if not is_deep or picture.mode.startswith("I"):
        return ""
    return "it holds colours of 16 bits, of which 8 would be lost: save it as gray, or with 8 bits"


# ---------------------------------------------------------------- figures


def save_figure(figure: Any, path: Path, suffix: str) -> Written:
    """Write a figure of matplotlib: PNG, JPEG, SVG or PDF, the same bytes each time."""
    if suffix not in FORMATS:
        raise SerializerError(
            f"a figure has no place in {suffix}: {', '.join(FORMATS)} were expected."
        )
    data = drawn(figure, suffix)
    put(data, path)
    forget(figure)
    described = of_picture(read_picture(io.BytesIO(data))) if suffix == ".png" else Description()
    return Written(hash_bytes(data), len(data), described)


def write_file(value: Any, scale: Any) -> Made:
    """Refuse what is no figure, where only figures can be written."""
    raise SerializerError(
        f"{type(value).__name__}: a matplotlib figure or axes was expected for .svg and .pdf."
    )


def read_svg(path: Path) -> bytes:
    """Return the bytes of a whole SVG."""
    data = path.read_bytes()
    tag = ElementTree.fromstring(data).tag
    if tag.rpartition("}")[2] != "svg":
        raise ValueError(f"it is XML of another kind ({tag})")
    return data


def read_pdf(path: Path) -> bytes:
    """Return the bytes of a whole PDF."""
    data = path.read_bytes()
    if not data.startswith(b"%PDF-") or not data.rstrip().endswith(b"%%EOF"):
        raise ValueError("its beginning (%PDF-) or its end (%%EOF) is missing")
    return data
