"""Arrays as OME-TIFF: pixels, axes, channel names and pixel sizes in one file.

Items of one map mostly share shape, type and metadata. tifffile writes the first of them; what it
wrote around the pixels is kept, and for the following ones the pixels are put in between: byte for
byte what tifffile writes, without its cost. Where that does not hold (compression, pyramids, dask,
more than 4 GB) tifffile itself writes.

The OME-XML follows the schema 2016-06 (https://docs.openmicroscopy.org/ome-model/latest/). It holds
no UUID, date or version, so that the same value gives the same bytes; a map annotation keeps
``dim_order``, because OME itself cannot tell ``YX`` from ``ZYX`` with one plane.
"""

from __future__ import annotations

import io
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from xxhash import xxh3_128

from databacked.errors import SerializerError
from databacked.fingerprint.hashes import hash_file
from databacked.serializers.base import Serializer
from databacked.serializers.images import (
    LARGE_PLANE,
    TILE,
    Facts,
    check_texts,
    checked_order,
    facts_of,
    full_key,
    levels_of,
    names_of,
    read_only,
    sizes_of,
)
from databacked.types import Description, PhysicalPixelSizes, Written

CLASSIC = (1 << 32) - (1 << 25)
"""Bytes up to which a classic TIFF is written (as tifffile decides it), then BigTIFF."""

BLOCK = 1 << 20
"""Bytes that are hashed and written at once."""

_OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
_NAMESPACE = "databacked/dim_order"
_OME_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
_OME_TYPES = {*_OME_INTEGERS, "float32", "float64", "complex64", "complex128"}


class ArrayToOmeTiff(Serializer):
    """Write arrays as OME-TIFF.

    Parameters
    ----------
    dim_order
        One letter of ``TCZYX`` an axis, ending in ``YX`` (or ``YXS`` for RGB samples); the default
        is ``YX``, ``ZYX``, ``CZYX`` or ``TCZYX`` by the number of axes.
    channel_names
        One name a channel.
    physical_pixel_sizes
        Z, Y, X in micrometres; None where nobody knows.
    image_name
        Name of the image inside the file.
    compression
        None, or one that tifffile knows, for example ``"zlib"`` or ``"zstd"`` (needs imagecodecs).
    pyramid
        Whether smaller levels are written too; None: where a plane is larger than 4096 pixels. A
        level takes every second pixel, which is right for label images as well.

    Notes
    -----
    Metadata of the value itself (an `Image`, a backed array, an xarray DataArray) win over these
    settings. What OME cannot hold is stored as the next type that holds all values, and said:
    64-bit integers as the smallest integer type, float16 as float32, bool as 0 and 255.
    """

    suffixes = (".ome.tiff", ".ome.tif", ".tiff", ".tif")
    format = 1
    backed = True

    def __init__(
        self,
        dim_order: str | None = None,
        channel_names: Sequence[str] | None = None,
        physical_pixel_sizes: Sequence[float | None] | None = None,
        image_name: str | None = None,
        compression: str | None = None,
        pyramid: bool | None = None,
    ) -> None:
        self.dim_order = None if dim_order is None else checked_order(dim_order)
        self.channel_names = names_of(channel_names)
        self.physical_pixel_sizes = sizes_of(physical_pixel_sizes)
        self.image_name = image_name
        self.compression = _checked_compression(compression)
        self.pyramid = pyramid

    # Writing

    def write(self, value: Any, path: Path) -> Description:
        """Write an array."""
        return self.save(value, path).description

    def save(self, value: Any, path: Path) -> Written:
        """Write an array, and hash the bytes beside it where tifffile is not needed."""
        facts = self._facts(value)
        levels = levels_of(facts.plane, self.pyramid)
        nbytes = int(np.prod(facts.shape, dtype=np.int64)) * facts.data.dtype.itemsize
        large = max(facts.plane) > LARGE_PLANE
        tiled = levels > 0 or (facts.lazy and large)
        if facts.lazy or self.compression or levels or nbytes >= CLASSIC:
            self._by_tifffile(facts, path, levels, tiled, nbytes >= CLASSIC)
            content, size = hash_file(path), path.stat().st_size
        else:
            content, size = self._spliced(facts, path)
        held = None if facts.lazy else read_only(facts.data)
        return Written(
            content, size, facts.description((TILE, TILE) if tiled else None), facts.notes, held
        )

    def _spliced(self, facts: Facts, path: Path) -> tuple[str, int]:
        """Write header, pixels and tail; hash each block while it is in the cache."""
        header, tail = self._around(facts)
        data = np.ascontiguousarray(facts.data)
        pixels = data.reshape(-1).view(np.uint8).data
        digest = xxh3_128(header)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            if len(pixels) <= BLOCK:
                digest.update(pixels)
                digest.update(tail)
                _write_all(file, [header, pixels, tail])
            else:
                _write_all(file, [header])
                for start in range(0, len(pixels), BLOCK):
                    block = pixels[start : start + BLOCK]
                    digest.update(block)
                    _write_all(file, [block])
                digest.update(tail)
                _write_all(file, [tail])
        finally:
            os.close(file)
        return digest.hexdigest(), len(header) + len(pixels) + len(tail)

    def _around(self, facts: Facts) -> tuple[bytes, bytes]:
        """Return what tifffile writes before and after the pixels of such an array."""
        key = (
            facts.shape,
            facts.data.dtype.str,
            facts.dim_order,
            facts.channel_names,
            facts.sizes,
            self.image_name,
        )
        found = _templates.get(key)
        if found is None:
            # Zeros: what stands around the pixels does not depend on them.
            blank = np.zeros(facts.shape, facts.data.dtype)
            found = _cut(self._in_memory(facts, blank), blank.nbytes)
            _templates.put(key, found)
        return found

    def _in_memory(self, facts: Facts, data: np.ndarray[Any, Any]) -> bytes:
        file = io.BytesIO()
        with tifffile.TiffWriter(file, bigtiff=False) as tiff:
            tiff.write(data, **self._options(facts))
        return file.getvalue()

    def _options(self, facts: Facts) -> dict[str, Any]:
        return {
            "photometric": "rgb" if facts.dim_order.endswith("S") else "minisblack",
            "metadata": None,
            "description": self._xml(facts),
            "software": "databacked",
            "compression": self.compression,
        }

    def _by_tifffile(self, facts: Facts, path: Path, levels: int, tiled: bool, big: bool) -> None:
        options = self._options(facts)
        dtype, samples = facts.data.dtype, facts.inner
        if tiled:
            options["tile"] = (TILE, TILE)
        with tifffile.TiffWriter(path, bigtiff=big) as tiff:
            for level in range(levels + 1):
                step = 2**level
                key: tuple[Any, ...] = (..., slice(None, None, step), slice(None, None, step))
                if samples == 3:
                    key = (*key, slice(None))
                data = facts.data[key]
                if level == 0 and levels:
                    options["subifds"] = levels
                elif level:
                    options.pop("subifds", None)
                    options.pop("description", None)
                    options["subfiletype"] = 1
                if facts.lazy:
                    parts = _tiles(data, samples) if tiled else _planes(data, samples)
                    tiff.write(parts, shape=data.shape, dtype=dtype, **options)
                else:
                    tiff.write(np.ascontiguousarray(data), **options)

    def _xml(self, facts: Facts) -> bytes:
        xml = tifffile.OmeXml(Creator="databacked", UUID="urn:uuid:" + "0" * 32)
        more: dict[str, Any] = {"Name": self.image_name or "Image0"}
        if facts.channel_names is not None:
            more["Channel"] = {"Name": list(facts.channel_names)}
        for axis, size in zip("ZYX", facts.sizes or (), strict=False):
            if size is not None:
                more[f"PhysicalSize{axis}"] = size
                more[f"PhysicalSize{axis}Unit"] = "µm"
        shape, order = facts.shape, facts.dim_order
        planes = int(np.prod(shape[: -facts.inner], dtype=np.int64))
        height, width, samples = (*shape[-facts.inner :], 1)[:3]
        xml.addimage(
            facts.data.dtype, shape, (planes, 1, 1, height, width, samples), axes=order, **more
        )
        text = xml.tostring(declaration=True)
        text = text.replace(f' UUID="urn:uuid:{"0" * 32}"', "")
        note = (
            '<StructuredAnnotations><MapAnnotation ID="Annotation:0" '
            f'Namespace="{_NAMESPACE}"><Value><M K="dim_order">{order}</M></Value>'
            "</MapAnnotation></StructuredAnnotations></OME>"
        )
        return text.replace("</OME>", note).encode("utf-8")

    # What came

    def _facts(self, value: Any) -> Facts:
        facts = facts_of(value, self, "OME-TIFF", kinds="biufc")
        check_texts(facts.texts(self.image_name), "OME-XML", xml=True)
        if facts.dim_order.endswith("S") and facts.shape[-1] not in (3, 4):
            order = facts.dim_order.removesuffix("YXS").replace("C", "") + "CYX"
            raise SerializerError(
                f"{type(self).__name__}: an array of shape {facts.shape} has {facts.shape[-1]} "
                f"sample(s) for dim_order={facts.dim_order!r}; 3 or 4 were expected. Make them "
                f"channels: np.moveaxis(x, -1, -3) with dim_order={order!r}."
            )
        data, notes = _ome_type(facts.data, type(self).__name__)
        return replace(facts, data=data, notes=(*facts.notes, *notes))

    # Reading

    def read(self, path: Path) -> np.ndarray[Any, Any]:
        """Return all pixels, with the axes that they were written with."""
        with _opened(path) as tiff:
            facts = _Layout(tiff, self.dim_order)
            return facts.series.asarray().reshape(facts.shape)

    def describe(self, path: Path) -> Description:
        """Say what a file holds; raises if pixels are missing at its end."""
        with _opened(path) as tiff:
            if _is_cut(tiff):
                raise SerializerError(f"{path} is cut: parts of it would lie behind its end.")
            return _Layout(tiff, self.dim_order).description

    def open(self, path: Path) -> Any:
        """Return an array that reads what is asked for: a memory map, or zarr over tiles."""
        with _opened(path) as tiff:
            facts = _Layout(tiff, self.dim_order)
            offset = facts.series.dataoffset
            if offset is not None and facts.series.keyframe.is_memmappable:
                dtype = np.dtype(tiff.byteorder + facts.series.dtype.char)
                return np.memmap(path, dtype, "r", offset, facts.shape)
        return _Tiled(path, facts.description, facts.axes)


class _Tiled:
    """Pixels that are read by strips or tiles; the file is opened for each request."""

    def __init__(self, path: Path, description: Description, axes: str) -> None:
        assert description.shape is not None
        self.path = path
        self.shape = description.shape
        self.dtype = np.dtype(description.dtype)
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


class _Layout:
    """How the pixels of an open file lie."""

    def __init__(self, tiff: tifffile.TiffFile, dim_order: str | None) -> None:
        self.series = tiff.series[0]
        self.axes, full = _with_all_axes(tiff)
        lengths = dict(zip(self.axes, full, strict=True))
        names: tuple[str, ...] | None = None
        sizes: PhysicalPixelSizes | None = None
        said: str | None = None
        if tiff.is_ome and tiff.ome_metadata:
            said, names, sizes = _of_xml(tiff.ome_metadata)
        order = said or dim_order or self.series.axes
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
        self.description = Description(
            self.shape, str(self.series.dtype), order, names, sizes, chunks
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
) -> tuple[str | None, tuple[str, ...] | None, PhysicalPixelSizes | None]:
    root = ElementTree.fromstring(text)
    pixels = root.find(f"{_OME}Image/{_OME}Pixels")
    if pixels is None:
        return None, None, None
    found = [channel.get("Name") for channel in pixels.findall(f"{_OME}Channel")]
    names = tuple(str(name) for name in found) if found and all(found) else None
    lengths = []
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        scale = {"µm": 1.0, "μm": 1.0, "nm": 1e-3, "mm": 1e3, "pm": 1e-6}.get(unit)
        lengths.append(float(size) * scale if size and scale else None)
    note = root.find(f".//{_OME}MapAnnotation[@Namespace='{_NAMESPACE}']/{_OME}Value/{_OME}M")
    order = note.text if note is not None else None
    return order, names, PhysicalPixelSizes(*lengths) if any(lengths) else None


class _opened:
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


def _is_cut(tiff: tifffile.TiffFile) -> bool:
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


class _Templates:
    """What stands around the pixels, for the layouts used last."""

    def __init__(self, limit: int = 64) -> None:
        self._known: OrderedDict[Any, tuple[bytes, bytes]] = OrderedDict()
        self._limit = limit
        self._lock = threading.Lock()

    def get(self, key: Any) -> tuple[bytes, bytes] | None:
        return self._known.get(key)

    def put(self, key: Any, found: tuple[bytes, bytes]) -> None:
        with self._lock:
            self._known[key] = found
            while len(self._known) > self._limit:
                self._known.popitem(last=False)


_templates = _Templates()


def _cut(whole: bytes, nbytes: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the pixels of a file."""
    with tifffile.TiffFile(io.BytesIO(whole)) as tiff:
        first = tiff.pages[0].dataoffsets[0]
        last = tiff.pages[len(tiff.pages) - 1]
        if last.dataoffsets[-1] + last.databytecounts[-1] - first != nbytes:
            raise SerializerError("tifffile did not write the pixels in one piece.")
    return whole[:first], whole[first + nbytes :]


def _write_all(file: int, parts: list[Any]) -> None:
    """Write buffers with as few calls as the system allows."""
    written = os.writev(file, parts)
    if written == sum(len(part) for part in parts):
        return
    for part in parts:
        if written >= len(part):
            written -= len(part)
            continue
        rest = memoryview(part)[written:]
        written = 0
        while rest:
            rest = rest[os.write(file, rest) :]


def _ome_type(data: Any, who: str) -> tuple[Any, tuple[str, ...]]:
    """Return the pixels in a type that OME has, without changing a value; say what was done."""
    dtype = data.dtype
    if dtype.kind == "b":
        return data.astype(np.uint8) * np.uint8(255), ("bool is stored as 0 and 255 (uint8)",)
    if dtype == np.float16:
        return data.astype(np.float32), ("float16 is stored as float32",)
    if dtype.kind in "iu" and dtype.itemsize == 8:
        low, high = int(data.min()), int(data.max())
        for name in _OME_INTEGERS:
            if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
                return data.astype(name), (f"{dtype} is stored as {name}, which holds all values",)
        raise SerializerError(
            f"{who}: {dtype} values from {low} to {high} do not fit any integer type of OME (up "
            "to 32 bits). Convert them, or keep them as .npy."
        )
    return data if dtype.isnative else data.astype(dtype.newbyteorder("=")), ()


def _planes(data: Any, samples: int) -> Iterator[np.ndarray[Any, Any]]:
    """Compute a dask array one plane after another."""
    for index in np.ndindex(data.shape[:-samples]):
        yield np.ascontiguousarray(np.asarray(data[index]))


def _tiles(data: Any, samples: int) -> Iterator[np.ndarray[Any, Any]]:
    """Compute a dask array tile after tile, filled up with zeros at the edges."""
    height, width = data.shape[-samples:][:2]
    for index in np.ndindex(data.shape[:-samples]):
        for top in range(0, height, TILE):
            # One row of tiles at once: chunks are not computed again for each tile.
            row = np.asarray(data[(*index, slice(top, top + TILE))])
            for left in range(0, width, TILE):
                tile = row[:, left : left + TILE]
                full = np.zeros((TILE, TILE, *tile.shape[2:]), data.dtype)
                full[: tile.shape[0], : tile.shape[1]] = tile
                yield full


def _checked_compression(compression: str | None) -> str | None:
    if compression is None:
        return None
    try:
        with tifffile.TiffWriter(io.BytesIO()) as tiff:
            tiff.write(np.zeros((16, 16), np.uint8), compression=compression)
    except Exception as error:
        raise SerializerError(
            f"compression={compression!r} cannot be used: {error}. 'zlib' always can; others need "
            "the package imagecodecs."
        ) from error
    return compression
