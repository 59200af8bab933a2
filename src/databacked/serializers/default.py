"""Values as the file that the target's ending names: png, jpg, svg, tiff, npy, npz, json, csv …"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np

from databacked.corrections import Correction, fit
from databacked.errors import SerializerError, did_you_mean
from databacked.figures import FORMATS, drawn, figure_of, forget
from databacked.hashes import hash_bytes
from databacked.sameness import is_unicode, plain_array
from databacked.serializers.base import Kind, Serializer
from databacked.serializers.images import checked_order, names_of, sizes_of
from databacked.serializers.tables import (
    describe_table,
    dialect_of,
    read_csv,
    read_parquet,
    to_csv,
    to_parquet,
)
from databacked.types import Description, Json, Written

_PICTURES = (".png", ".jpg", ".jpeg")
_TIFF = (".ome.tiff", ".ome.tif", ".tiff", ".tif")
_FILES = (".svg", ".pdf")
_ZARR = (".ome.zarr", ".zarr")
_EPOCH = (1980, 1, 1, 0, 0, 0)


class ArrayToDefaultWriter(Serializer):
    """Write a value in the format that its target's ending names.

    ========================  ==========================================  ====================
    ending                    takes                                       readers get
    ========================  ==========================================  ====================
    png                       pictures: (Y, X), (Y, X, 3 or 4); figures   a backed array
    jpg, jpeg                 pictures                                    a backed array
    svg, pdf                  matplotlib figures                          a backed file
    tiff, tif, ome.tiff       arrays, see `ArrayToOmeTiff`                a backed array
    ome.zarr, zarr            arrays, see `ArrayToOmeZarr`                a backed array
    npy                       any array                                   a backed array
    npz                       dict of arrays                              dict of arrays
    json                      numbers, texts, lists, dicts with text keys  the same
    csv, parquet              DataFrame                                   the same
    txt                       text                                        the same
    ========================  ==========================================  ====================

    Where it says "the same", what a format would change is refused: tuples and NaN in json; in csv
    and parquet an index, attrs, names, types, None or digits that would come back as others.

    A figure is a matplotlib ``Figure`` or ``Axes``. Once it is written, pyplot lets go of it.

    Parameters
    ----------
    scale
        How floats become pixels of a picture: ``(low, high)``, or ``"minmax"`` where all are
        finite. Without it floats in a picture are an error; nothing is clipped unless a scale says
        so.
    dim_order, channel_names, physical_pixel_sizes
        For tiff and zarr, as `ArrayToOmeTiff` has them.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *_PICTURES,
        *_TIFF,
        *_ZARR,
        *_FILES,
        ".npy",
        ".npz",
        ".json",
        ".csv",
        ".parquet",
        ".txt",
    )
    format = 1

    def __init__(
        self,
        scale: tuple[float, float] | str | None = None,
        dim_order: str | None = None,
        channel_names: Sequence[str] | None = None,
        physical_pixel_sizes: Sequence[float | None] | None = None,
    ) -> None:
        self.scale = _checked_scale(scale)
        self.dim_order = dim_order
        self.channel_names = names_of(channel_names)
        sizes_of(physical_pixel_sizes)  # raises before anything runs
        self.physical_pixel_sizes = physical_pixel_sizes
        self._images: dict[str, Any] = {}

    def save(self, value: Any, path: Path) -> Written:
        """Write a value in the format of the path's ending."""
        suffix = _ending(path)
        figure = figure_of(value)
        if figure is not None:
            return _save_figure(figure, path, suffix)
        if suffix in (*_TIFF, *_ZARR):
            return self._of_images(suffix).save(value, path)  # type: ignore[no-any-return]
        data, description, notes = _WRITERS[suffix](value, self)
        _put(data, path)
        return Written(hash_bytes(data), len(data), description, notes)

    def write(self, value: Any, path: Path) -> Description:
        """Write a value in the format of the path's ending."""
        return self.save(value, path).description

    def read(self, path: Path) -> Any:
        """Read a value back."""
        suffix = _ending(path)
        if suffix in (*_TIFF, *_ZARR):
            return self._of_images(suffix).read(path)
        try:
            return _READERS[suffix](path)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise SerializerError(f"{path} is not a whole {suffix} file: {error}.") from error

    def describe(self, path: Path) -> Description:
        """Say what a file holds."""
        suffix = _ending(path)
        if suffix in (*_TIFF, *_ZARR):
            return self._of_images(suffix).describe(path)  # type: ignore[no-any-return]
        if self.kind(suffix) != "array":
            value = self.read(path)
            return describe_table(value) if hasattr(value, "columns") else Description()
        array = np.asarray(self.open(path))  # a map of the file, where there may be one
        return _of_picture(array) if suffix in _PICTURES else _of_array(array)

    def open(self, path: Path) -> Any:
        """Open an array lazily: a memory map where the format allows it."""
        suffix = _ending(path)
        if suffix in (*_TIFF, *_ZARR):
            return self._of_images(suffix).open(path)
        if suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        return self.read(path)

    def correction(self, path: Path, recorded: Description) -> Correction:
        """Say how a file that was saved by hand is read; a table also as spreadsheets save it."""
        if _ending(path) == ".csv" and recorded.shape is not None:
            dialect = dialect_of(path.read_bytes(), recorded)
            if dialect:
                table = self.read_corrected(path, dialect)
                seen = fit(recorded, describe_table(table), lambda: table)
                return replace(seen, form=dialect)
        return super().correction(path, recorded)

    def read_corrected(self, path: Path, form: Mapping[str, Any]) -> Any:
        """Read a file that was saved by hand in the form that `correction` found."""
        suffix = _ending(path)
        if suffix in (*_TIFF, *_ZARR):
            return self._of_images(suffix).read_corrected(path, form)
        return read_csv(path, **form) if suffix == ".csv" else super().read_corrected(path, form)

    def kind(self, suffix: str) -> Kind:
        """Pictures and arrays come as backed arrays, drawings as files, the rest as it is."""
        suffix = suffix.lower()
        if suffix in _FILES:
            return "file"
        return "array" if suffix in (*_PICTURES, ".npy", *_TIFF, *_ZARR) else "value"

    def _of_images(self, suffix: str) -> Any:
        kind = "zarr" if suffix in _ZARR else "tiff"
        if kind not in self._images:
            writer: Any
            if kind == "zarr":
                from databacked.serializers.ome_zarr import ArrayToOmeZarr as writer
            else:
                from databacked.serializers.ome_tiff import ArrayToOmeTiff as writer
            said = (self.dim_order, self.channel_names, self.physical_pixel_sizes)
            self._images[kind] = writer(*said)
        return self._images[kind]


def _ending(path: Path | str) -> str:
    name = os.path.basename(path).lower()
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr"):
        if name.endswith(suffix):
            return suffix
    suffix = os.path.splitext(name)[1]
    if suffix not in ArrayToDefaultWriter.suffixes:
        known = ArrayToDefaultWriter.suffixes
        raise SerializerError(
            f"{name!r} ends in {suffix!r}, which no default writer knows"
            f"{did_you_mean(suffix, known)}. Known are {', '.join(known)}; for anything else pass "
            "serializer=."
        )
    return suffix


def _checked_scale(scale: Any) -> tuple[float, float] | str | None:
    if scale is None or scale == "minmax":
        return scale  # type: ignore[no-any-return]
    try:
        low, high = map(float, scale)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise SerializerError(f"scale={scale!r}: (low, high) or 'minmax' was expected.")
    return low, high


def _put(data: bytes, path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) or 0 :]


Made = tuple[bytes, Description, tuple[str, ...]]


def _of_array(array: np.ndarray[Any, Any]) -> Description:
    return Description(tuple(array.shape), str(array.dtype))


def _of_picture(array: np.ndarray[Any, Any]) -> Description:
    return replace(_of_array(array), dim_order="YXS" if array.ndim == 3 else "YX")


# ---------------------------------------------------------------- pictures


def _picture(value: Any, writer: ArrayToDefaultWriter, deep: bool) -> tuple[Any, tuple[str, ...]]:
    """Return pixels that a picture can hold: uint8, or uint16 where it is `deep`."""
    said = _said_by(value)
    if said is not None and (said["channel_names"] or said["physical_pixel_sizes"]):
        raise SerializerError(
            "an Image with channel names or pixel sizes would come back from a picture without "
            "them: return its .data, or keep it as .ome.tiff."
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
    elif data.dtype.kind == "f" and writer.scale is not None:
        data = _scaled(data, writer.scale)
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


def _said_by(value: Any) -> dict[str, Any] | None:
    """Return what an `Image` says of itself; None for everything else."""
    if type(value).__name__ != "Image" or not hasattr(value, "data"):
        return None
    names = ("dim_order", "channel_names", "physical_pixel_sizes")
    return {name: getattr(value, name, None) for name in names}


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


def _write_png(value: Any, writer: ArrayToDefaultWriter) -> Made:
    from PIL import Image

    data, notes = _picture(value, writer, deep=True)
    file = io.BytesIO()
    Image.fromarray(data).save(file, "PNG")
    return file.getvalue(), _of_picture(data), notes


def _write_jpg(value: Any, writer: ArrayToDefaultWriter) -> Made:
    from PIL import Image

    data, notes = _picture(value, writer, deep=False)
    if data.ndim == 3 and data.shape[-1] == 4:
        raise SerializerError("a JPEG has no transparency: (Y, X) or (Y, X, 3) was expected.")
    file = io.BytesIO()
    Image.fromarray(data).save(file, "JPEG", quality=95)
    return file.getvalue(), _of_picture(data), notes


def _read_picture(path: Any) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        array = np.asarray(picture)
    return array.astype(np.uint16) if array.dtype == np.int32 else array


# ---------------------------------------------------------------- figures


def _save_figure(figure: Any, path: Path, suffix: str) -> Written:
    if suffix not in FORMATS:
        raise SerializerError(
            f"a figure has no place in {suffix}: {', '.join(FORMATS)} were expected."
        )
    data = drawn(figure, suffix)
    _put(data, path)
    forget(figure)
    described = _of_picture(_read_picture(io.BytesIO(data))) if suffix == ".png" else Description()
    return Written(hash_bytes(data), len(data), described)


def _write_file(value: Any, writer: ArrayToDefaultWriter) -> Made:
    raise SerializerError(
        f"{type(value).__name__}: a matplotlib figure or axes was expected for .svg and .pdf."
    )


def _read_svg(path: Path) -> bytes:
    data = path.read_bytes()
    tag = ElementTree.fromstring(data).tag
    if tag.rpartition("}")[2] != "svg":
        raise ValueError(f"it is XML of another kind ({tag})")
    return data


def _read_pdf(path: Path) -> bytes:
    data = path.read_bytes()
    if not data.startswith(b"%PDF-") or not data.rstrip().endswith(b"%%EOF"):
        raise ValueError("its beginning (%PDF-) or its end (%%EOF) is missing")
    return data


# ---------------------------------------------------------------- arrays


def _write_npy(value: Any, writer: ArrayToDefaultWriter) -> Made:
    array = _numbers(value, ".npy")
    return _npy(array), _of_array(array), ()


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _numbers(value: Any, place: str) -> np.ndarray[Any, Any]:
    """Return an array that comes back as it is; an Image is one if it says nothing of itself."""
    said = {name: one for name, one in (_said_by(value) or {}).items() if one is not None}
    if said:
        raise SerializerError(
            f"an Image would come back from {place} without its {', '.join(said)}: return its "
            ".data, or keep it as .ome.tiff."
        )
    if hasattr(value, "dims") and hasattr(value, "attrs"):  # of xarray
        raise SerializerError(
            f"a {type(value).__name__} would come back from {place} without its axes and "
            "coordinates: return x.to_numpy(), or keep it as .ome.tiff."
        )
    array = plain_array(value, place)
    if array.dtype.hasobject:
        raise SerializerError(
            f"{type(value).__name__} is no array of numbers; {place} holds these only."
        )
    return array if array.dtype.names is None else array.view(_as_npy_has_it(array.dtype, place))


def _as_npy_has_it(dtype: np.dtype[Any], place: str) -> np.dtype[Any]:
    """Return the type of a structured array as .npy gives it back; raises if that is another."""
    found: np.dtype[Any] | None = None
    with suppress(ValueError):  # fields that overlap
        found = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype))
    if found is None or found != dtype or dtype.type is not np.void:
        raise SerializerError(
            f"an array of type {dtype} would come back from {place} as another one: fields that "
            "follow each other were expected (numpy.lib.recfunctions.repack_fields)."
        )
    return found


def _write_npz(value: Any, writer: ArrayToDefaultWriter) -> Made:
    if type(value) is not dict or not all(type(name) is str for name in value):
        raise SerializerError(f"{type(value).__name__}: a dict of arrays was expected for .npz.")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, given in value.items():
            array = _numbers(given, f".npz[{name!r}]")
            if isinstance(given, np.generic) or not hasattr(given, "shape"):
                raise SerializerError(
                    f"{type(given).__name__} at [{name!r}] would come back from .npz as an array: "
                    "a dict of arrays was expected."
                )
            # A fixed date: the same arrays give the same bytes.
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            if entry.filename != f"{name}.npy" or not is_unicode(name):
                raise SerializerError(
                    f"the name {name!r} would come back from .npz as another one."
                )
            archive.writestr(entry, _npy(array))
    return file.getvalue(), Description(), ()


def _read_npz(path: Path) -> dict[str, Any]:
    # numpy leaves a file open that it cannot read.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        # By the whole names: "a" and "a.npy" are two arrays.
        names = archive.zip.namelist()
        return {name.removesuffix(".npy"): archive[name] for name in names}


# ---------------------------------------------------------------- plain values and tables


def _write_json(value: Any, writer: ArrayToDefaultWriter) -> Made:
    numpys: list[str] = []
    try:
        text = json.dumps(_jsonable(value, "", numpys), ensure_ascii=False, indent=1)
    except RecursionError:
        raise SerializerError(
            "lists and dicts lie too deep in each other for JSON, or one contains itself."
        ) from None
    except ValueError as error:  # Python writes no more than 4300 digits
        raise SerializerError(f"a whole number is too large for JSON: {error}.") from None
    notes = ("numbers and texts of numpy are stored as Python's",) if numpys else ()
    return (text + "\n").encode("utf-8", "surrogatepass"), Description(), notes


def _jsonable(value: Any, where: str, numpys: list[str]) -> Json:
    """Return a value as JSON gives it back: what would come back as something else is an error."""
    if value is None or type(value) in (bool, int, str):
        return value  # type: ignore[no-any-return]
    if isinstance(value, np.bool_ | np.integer | np.floating | np.str_):
        numpys.append(where)
        value = value.item()
    if type(value) is float:
        if not math.isfinite(value):
            raise SerializerError(
                f"{value} at {where or 'the top'}: JSON has no NaN or infinity. Use None, or "
                "another format (.npy, .parquet)."
            )
        return value
    if type(value) in (bool, int, str):
        return value  # type: ignore[no-any-return]
    if type(value) is list:
        return [_jsonable(item, f"{where}[{number}]", numpys) for number, item in enumerate(value)]
    if type(value) is dict:
        odd = [key for key in value if type(key) is not str]
        if odd:
            raise SerializerError(
                f"the key {odd[0]!r} at {where or 'the top'} would come back as text from JSON: "
                "use text keys."
            )
        return {key: _jsonable(item, f"{where}[{key!r}]", numpys) for key, item in value.items()}
    raise SerializerError(
        f"a {type(value).__name__} at {where or 'the top'} has no place in JSON: numbers, texts, "
        f"lists and dicts were expected (use {_plain(value)})."
    )


def _plain(value: Any) -> str:
    """Return what JSON would take in the place of a value."""
    hints = {"tuple": "a list", "ndarray": "x.tolist() or .npy", "DataFrame": ".csv or .parquet"}
    if isinstance(value, Enum):
        return "its .value"
    for kind in (dict, list, str, int, float):
        if isinstance(value, kind):
            return f"{kind.__name__}(x)"
    return hints.get(type(value).__name__, "plain values")


# ---------------------------------------------------------------- tables and texts


def _write_csv(value: Any, writer: ArrayToDefaultWriter) -> Made:
    return to_csv(value), describe_table(value), ()


def _write_parquet(value: Any, writer: ArrayToDefaultWriter) -> Made:
    return to_parquet(value), describe_table(value), ()


def _write_txt(value: Any, writer: ArrayToDefaultWriter) -> Made:
    if type(value) is not str:
        hint = "; use str(x)" if isinstance(value, str) else ""
        raise SerializerError(f"{type(value).__name__}: a text was expected for .txt{hint}.")
    try:
        return value.encode("utf-8"), Description(), ()
    except UnicodeEncodeError as error:
        raise SerializerError(f"this text cannot be written as UTF-8: {error}.") from None


_WRITERS: dict[str, Callable[[Any, ArrayToDefaultWriter], Made]] = {
    ".png": _write_png,
    ".jpg": _write_jpg,
    ".jpeg": _write_jpg,
    ".svg": _write_file,
    ".pdf": _write_file,
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".json": _write_json,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".txt": _write_txt,
}
_READERS: dict[str, Callable[[Path], Any]] = {
    ".png": _read_picture,
    ".jpg": _read_picture,
    ".jpeg": _read_picture,
    ".svg": _read_svg,
    ".pdf": _read_pdf,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".npz": _read_npz,
    ".json": lambda path: json.loads(path.read_bytes()),
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".txt": lambda path: path.read_bytes().decode("utf-8"),
}
