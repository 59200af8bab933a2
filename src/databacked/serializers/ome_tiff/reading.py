"""What lies in an OME-TIFF: axes, names and sizes, and planes that are read when asked for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from databacked.errors import SerializerError
from databacked.serializers.images import full_key, translation_of
from databacked.types import Description, PhysicalPixelSizes, Translation

_OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


NAMESPACE = "databacked/dim_order"


class Tiled:
    """Pixels that are read by strips or tiles; the file is opened for each request."""

    def __init__(self, path: Path, description: Description, dtype: str, axes: str) -> None:
        assert description.shape is not None
        self.path = path
        self.shape = description.shape
        self.dtype = np.dtype(dtype)
        self.ndim = len(self.shape)
        self.chunks = description.chunks
        self._order = description.dim_order or ""
        self._axes = axes

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        import zarr

        keys = full_key(key, self.ndim)
        with tifffile.TiffFile(self.path) as tiff:
            store = tiff.aszarr(series=0, level=0, squeeze=False)
            try:
                array: Any = zarr.open_array(store, mode="r")
                if keys is None:
                    whole = np.asarray(array[...]).reshape(self.shape)
                    return np.asarray(whole[key])
                by_axis = dict(zip(self._order, keys, strict=True))
                read = np.asarray(array[tuple(by_axis.get(axis, 0) for axis in self._axes)])
                # Axes of length one that another program's file does not name.
                lacking = set(self._order) - set(self._axes)
                if not lacking:
                    return read
                stay = {axis: key for axis, key in by_axis.items() if isinstance(key, slice)}
                for axis in lacking - set(stay):
                    _ = range(1)[by_axis[axis]]  # raises where numpy would
                read = read[tuple(np.newaxis if axis in lacking else slice(None) for axis in stay)]
                return read[
                    tuple(key if axis in lacking else slice(None) for axis, key in stay.items())
                ]
            finally:
                store.close()


class Layout:
    """How the pixels of an open file lie."""

    def __init__(self, tiff: tifffile.TiffFile, dim_order: str | None) -> None:
        self.series = tiff.series[0]
        self.axes, full = _with_all_axes(tiff)
        lengths = dict(zip(self.axes, full, strict=True))
        names: tuple[str, ...] | None = None
        sizes: PhysicalPixelSizes | None = None
        there: Translation | None = None
        said: dict[str, str] = {}
        if tiff.is_ome and tiff.ome_metadata:
            said, names, sizes, there = _of_xml(tiff.ome_metadata)
        order = said.get("dim_order") or dim_order or self.series.axes
        known = [axis for axis in order if axis in lengths]
        if set(order) - set(lengths) - set("TCZ") or known != sorted(known, key=self.axes.index):
            order = self.series.axes  # another program's: ImageJ has an order of its own
        self.shape = tuple(int(lengths.get(axis, 1)) for axis in order)
        if int(np.prod(self.shape)) != int(np.prod(self.series.shape)):
            order, self.shape = self.series.axes, tuple(map(int, self.series.shape))
        keyframe = self.series.keyframe
        inner = 3 if order.endswith("S") else 2
        plane = tuple(keyframe.tile or ()) if keyframe.is_tiled else self.shape[-inner:]
        plane = (*plane[:2], *self.shape[len(self.shape) - inner + 2 :])
        chunks = (1,) * (len(self.shape) - inner) + tuple(
            min(one, length) for one, length in zip(plane, self.shape[-inner:], strict=True)
        )
        self.is_bool = said.get("dtype") == "bool" and self.series.dtype == np.uint8
        """Whether its pixels are True and False, stored as 0 and 255."""
        dtype = "bool" if self.is_bool else str(self.series.dtype)
        self.description = Description(
            self.shape, dtype, order, names, sizes, chunks, translation=there
        )


def _with_all_axes(tiff: tifffile.TiffFile) -> tuple[str, tuple[int, ...]]:
    """Return axes and shape of the first series, those of length one included."""
    every: Any = tiff.series
    if callable(every):
        whole = every(squeeze=False)[0]
        return whole.axes, whole.shape
    first = every[0]  # before tifffile 2026.5.2
    return first.get_axes(squeeze=False), first.get_shape(squeeze=False)


def _of_xml(
    text: str,
) -> tuple[dict[str, str], tuple[str, ...] | None, PhysicalPixelSizes | None, Translation | None]:
    """Return what our own annotation says, names of channels, pixel sizes, and where it lies."""
    root = ElementTree.fromstring(text)
    pixels = root.find(f"{_OME}Image/{_OME}Pixels")
    if pixels is None:
        return {}, None, None, None
    found = [channel.get("Name") for channel in pixels.findall(f"{_OME}Channel")]
    names = tuple(str(name) for name in found) if found and all(found) else None
    lengths, places = [], []
    plane = pixels.find(f"{_OME}Plane")
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        scale = _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        lengths.append(float(size) * scale if size and scale else None)
        place = None if plane is None else plane.get(f"Position{axis}")
        unit = "" if plane is None else plane.get(f"Position{axis}Unit", "reference frame")
        known = 1.0 if unit == "pixel" and not size else _MICROMETRES.get(unit)
        places.append(float(place) * known if place and known else None)
    notes = root.findall(f".//{_OME}MapAnnotation[@Namespace='{NAMESPACE}']/{_OME}Value/{_OME}M")
    said = {str(note.get("K")): note.text or "" for note in notes}
    sizes = PhysicalPixelSizes(*lengths) if any(lengths) else None
    return said, names, sizes, translation_of(places)


_MICROMETRES = {"µm": 1.0, "μm": 1.0, "nm": 1e-3, "mm": 1e3, "pm": 1e-6}
"""Of OME's units."""


class opened:
    """An open TIFF; whatever goes wrong is a `SerializerError` that names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> tifffile.TiffFile:
        try:
            self._tiff = tifffile.TiffFile(self.path)
            if not self._tiff.pages:
                raise ValueError("it holds no image")
        except FileNotFoundError:
            raise
        except Exception as error:
            raise self._error(error) from error
        return self._tiff

    def __exit__(self, _kind: object, error: BaseException | None, _where: object) -> None:
        self._tiff.close()
        if isinstance(error, Exception) and not isinstance(error, SerializerError):
            raise self._error(error) from error

    def _error(self, error: Exception) -> SerializerError:
        return SerializerError(f"{self.path} is not a whole TIFF file: {error}.")


def is_cut(tiff: tifffile.TiffFile) -> bool:
    """Whether a part that the file itself names lies behind its end."""
    pages: list[Any] = list(tiff.pages)
    for page in pages:  # it grows: smaller levels of a pyramid
        pages.extend(page.pages or ())
        ends = [*zip(page.dataoffsets, page.databytecounts, strict=True), *_entries(tiff, page)]
        if any(start + count > tiff.filehandle.size for start, count in ends):
            return True
    # Where the list of planes itself is cut, those behind it are not found.
    return any(page is None for page in tiff.series[0].pages)


def _entries(tiff: tifffile.TiffFile, page: Any) -> Iterator[tuple[int, int]]:
    """Yield where the values of a page's entries lie (tifffile drops those it cannot read)."""
    file, form = tiff.filehandle, tiff.tiff
    entry = struct.Struct(form.byteorder + ("HHQ8s" if form.is_bigtiff else "HHI4s"))
    file.seek(page.offset)
    (number,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    data = file.read(number * entry.size)
    yield page.offset + form.tagnosize, number * entry.size + form.offsetsize
    for _, kind, count, value in entry.iter_unpack(data[: len(data) // entry.size * entry.size]):
        nbytes = count * struct.calcsize(tifffile.TIFF.DATA_FORMATS.get(kind, "x"))
        if nbytes > form.offsetsize:
            yield struct.unpack(form.offsetformat, value)[0], nbytes
