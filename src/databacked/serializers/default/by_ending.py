"""Values as the file that the target's ending names: png, jpg, svg, tiff, npy, npz, json, csv …"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from databacked.errors import SerializerError, did_you_mean
from databacked.fingerprint.hashes import hash_bytes
from databacked.pictures.figures import figure_of, is_with_figure
from databacked.plugins import find
from databacked.serializers.base import Kind, Serializer
from databacked.serializers.corrections import Correction, fit
from databacked.serializers.default.made import Made, of_array, of_picture, put
from databacked.serializers.default.pictures import (
    PICTURES,
    cut_colours,
    read_pdf,
    read_picture,
    read_svg,
    save_figure,
    write_file,
    write_jpg,
    write_png,
)
from databacked.serializers.default.plain import (
    read_npz,
    write_json,
    write_npy,
    write_npz,
    write_txt,
)
from databacked.serializers.images import names_of, sizes_of
from databacked.serializers.tables import (
    describe_table,
    dialect_of,
    marked_encoding,
    numbers_for_texts,
    read_csv,
    read_parquet,
    to_csv,
    to_parquet,
)
from databacked.types import Description, Written

_TIFF = (".ome.tiff", ".ome.tif", ".tiff", ".tif")


_FILES = (".svg", ".pdf")


_ZARR = (".ome.zarr", ".zarr")


class ArrayToDefaultWriter(Serializer):
    """Write a value in the format that its target's ending names.

    ===================  ===========================================  ==============
    ending               takes                                        readers get
    ===================  ===========================================  ==============
    png                  pictures: (Y, X), (Y, X, 3 or 4); figures    a backed array
    jpg, jpeg            pictures                                     a backed array
    svg, pdf             matplotlib figures                           a backed file
    tiff, tif, ome.tiff  arrays, see `ArrayToOmeTiff`                 a backed array
    ome.zarr, zarr       arrays, see `ArrayToOmeZarr`                 a backed array
    npy                  any array                                    a backed array
    npz                  dict of arrays                               dict of arrays
    json                 numbers, texts, lists, dicts with text keys  the same
    csv, parquet         DataFrame                                    the same
    txt                  text                                         the same
    ===================  ===========================================  ==============

    Where it says "the same", what a format would change is refused: tuples and NaN in json; in csv
    and parquet an index, attrs, names, types, None or digits that would come back as others.

    A figure is a matplotlib ``Figure`` or ``Axes``. Once it is written, pyplot lets go of it.

    Parameters
    ----------
    scale
        How floats become pixels of a picture: ``(low, high)``, or ``"minmax"`` where all are
        finite. Without it floats in a picture are an error; nothing is clipped unless a scale says
        so.
    dim_order, channel_names
        For tiff and zarr, as `ArrayToOmeTiff` has them.
    physical_pixel_sizes
        For tiff and zarr: Z, Y, X in micrometres.

    Raises
    ------
    SerializerError
        If a setting cannot be used.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *PICTURES,
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
            return save_figure(figure, path, suffix)
        if is_with_figure(value):
            raise SerializerError(
                f"a {type(value).__name__} with a figure came; the figure was expected: return fig."
            )
        if suffix in (*_TIFF, *_ZARR):
            return self._of_images(suffix).save(value, path)  # type: ignore[no-any-return]
        data, description, notes = _WRITERS[suffix](value, self.scale)
        put(data, path)
        return Written(hash_bytes(data), len(data), description, notes)

    def write(self, value: Any, path: Path) -> Description:
        """Write a value in the format of the path's ending."""
        return ArrayToDefaultWriter.save(self, value, path).description

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
        return of_picture(array) if suffix in PICTURES else of_array(array)

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
        if _ending(path) in _ZARR:
            return self._of_images(_ending(path)).correction(path, recorded)  # type: ignore[no-any-return]
        if _ending(path) == ".csv" and recorded.shape is not None:
            form: dict[str, Any] = {**dialect_of(path.read_bytes(), recorded)}
            if texts := numbers_for_texts(self.read_corrected(path, form), recorded):
                form["dtype"] = texts
            if form:
                table = self.read_corrected(path, form)
                seen = fit(recorded, describe_table(table), lambda: table)
                return replace(seen, form=form)
        if _ending(path) == ".txt" and (encoding := marked_encoding(path.read_bytes())):
            self.read_corrected(path, form := {"encoding": encoding})  # if it opens
            return Correction(Description(), form)
        if _ending(path) in PICTURES and (problem := cut_colours(path)):
            return Correction(recorded, problem=problem)
        return super().correction(path, recorded)

    def read_corrected(self, path: Path, form: Mapping[str, Any]) -> Any:
        """Read a file that was saved by hand in the form that `correction` found."""
        suffix = _ending(path)
        if suffix in (*_TIFF, *_ZARR):
            return self._of_images(suffix).read_corrected(path, form)
        if suffix == ".txt":
            return path.read_bytes().decode(form["encoding"])
        return read_csv(path, **form) if suffix == ".csv" else super().read_corrected(path, form)

    def inside(self, path: Path, name: str) -> tuple[Serializer, Path]:
        """What reads a label image of an image."""
        return self._of_images(_ending(path)).inside(path, name)  # type: ignore[no-any-return]

    def kind(self, suffix: str) -> Kind:
        """Pictures and arrays come as backed arrays, drawings as files, the rest as it is."""
        suffix = suffix.lower()
        if suffix in _FILES:
            return "file"
        return "array" if suffix in (*PICTURES, ".npy", *_TIFF, *_ZARR) else "value"

    def _of_images(self, suffix: str) -> Any:
        kind = "ome-zarr" if suffix in _ZARR else "ome-tiff"
        if kind not in self._images:
            said = (self.dim_order, self.channel_names, self.physical_pixel_sizes)
            self._images[kind] = find("serializers", kind)(*said)
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


# ---------------------------------------------------------------- tables and texts


def _write_csv(value: Any, scale: Any) -> Made:
    return to_csv(value), describe_table(value), ()


def _write_parquet(value: Any, scale: Any) -> Made:
    return to_parquet(value), describe_table(value), ()


_WRITERS: dict[str, Callable[[Any, Any], Made]] = {
    ".png": write_png,
    ".jpg": write_jpg,
    ".jpeg": write_jpg,
    ".svg": write_file,
    ".pdf": write_file,
    ".npy": write_npy,
    ".npz": write_npz,
    ".json": write_json,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".txt": write_txt,
}


_READERS: dict[str, Callable[[Path], Any]] = {
    ".png": read_picture,
    ".jpg": read_picture,
    ".jpeg": read_picture,
    ".svg": read_svg,
    ".pdf": read_pdf,
    ".npy": lambda path: np.load(path, allow_pickle=False),
    ".npz": read_npz,
    ".json": lambda path: json.loads(path.read_bytes()),
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".txt": lambda path: path.read_bytes().decode("utf-8"),
}
