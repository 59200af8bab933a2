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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tifffile

from databacked.errors import SerializerError
from databacked.fingerprint.hashes import hash_file
from databacked.serializers.base import Serializer
from databacked.serializers.blocks import smaller, staged
from databacked.serializers.corrections import Conformed
from databacked.serializers.images import (
    LARGE_PLANE,
    TILE,
    Facts,
    check_texts,
    checked_levels,
    checked_order,
    colours_of,
    factors_of,
    facts_of,
    interval_of,
    is_averaged,
    levels_of,
    names_of,
    read_only,
    reduced,
    sizes_of,
    translation_of,
)
from databacked.serializers.ome_tiff.reading import NAMESPACE, Layout, Tiled, is_cut, opened
from databacked.serializers.ome_tiff.writing import (
    OME_INTEGERS,
    Remembered,
    Typed,
    as_type,
    cut,
    file_size,
    ome_type,
    planes,
    templates,
    tiles,
)
from databacked.storage.buffers import write_new
from databacked.types import Description, Parts, Written

CLASSIC = (1 << 32) - (1 << 25)
"""Bytes up to which a classic TIFF is written (as tifffile decides it), then BigTIFF."""

_OME_TYPES = {*OME_INTEGERS, "float32", "float64", "complex64", "complex128"}

_NAMELESS = "databacked:no name"
"""Stands for the name of an image that has none, where tifffile would make one up."""

layouts: Remembered[tuple[bytes, bytes, Description]] = Remembered()
"""What files of plain arrays share: what stands around their pixels, and what they hold."""


_Levels: TypeAlias = Sequence[tuple[int, ...]]
"""Shapes of an image and of all smaller ones."""


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
        Name of the image inside the file; None: it has none, and viewers show the file's name.
    compression
        None, or one that tifffile knows, for example ``"zlib"`` or ``"zstd"`` (needs imagecodecs).
    pyramid
        Whether smaller levels are written too; None: where a plane is larger than 4096 pixels. A
        pixel of a level is the mean of four; of labels, of bool, and of integers of 32 and 64 bits
        (as label images are stored) every second one, so that no label comes up that is not there.
    channel_colors
        One colour a channel: how much red, green and blue, each from 0 to 255, or ``"#FF0000"``.
    labels
        Whether pixels of up to 16 bits are labels, too.
    time_interval
        Seconds from one frame to the next.
    levels
        How many smaller ones; None: until Y and X are below 1024 pixels.
    factors
        How much smaller each is than the one before, along Y and X: ``{"Y": 2, "X": 2}`` (those of
        a TIFF lie under each plane: there are none along Z).
    translation
        Where the first pixel lies in what the image was cut out of: Z, Y, X in micrometres, in
        pixels along an axis whose pixel size nobody knows.

    Raises
    ------
    SerializerError
        If a setting cannot be used.

    Notes
    -----
    Metadata of the value itself (an `Image`, a backed array, an xarray DataArray) win over these
    settings. What OME cannot hold is stored as the next type that holds all values, and said:
    64-bit integers as the smallest integer type, float16 as float32. bool is stored as 0 and 255,
    and comes back as bool.
    """

    suffixes = (".ome.tiff", ".ome.tif", ".tiff", ".tif")
    format = 2
    backed = True

    def __init__(
        self,
        dim_order: str | None = None,
        channel_names: Sequence[str] | None = None,
        physical_pixel_sizes: Sequence[float | None] | None = None,
        image_name: str | None = None,
        compression: str | None = None,
        pyramid: bool | None = None,
        channel_colors: Sequence[Sequence[int] | str] | None = None,
        labels: bool = False,
        time_interval: float | None = None,
        levels: int | None = None,
        factors: Mapping[str, int] | None = None,
        translation: Sequence[float | None] | None = None,
    ) -> None:
        self.dim_order = None if dim_order is None else checked_order(dim_order)
        self.channel_names = names_of(channel_names)
        self.physical_pixel_sizes = sizes_of(physical_pixel_sizes)
        self.image_name = image_name
        self.compression = _checked_compression(compression)
        self.pyramid = pyramid
        self.channel_colors = colours_of(channel_colors)
        self.labels = labels
        self.time_interval = interval_of(time_interval)
        self.levels = levels
        self.factors = checked_levels(pyramid, levels, factors, "YX")
        self.translation = translation_of(translation)

    # Writing

    def write(self, value: Any, path: Path) -> Description:
        """Write an array."""
        return ArrayToOmeTiff.save(self, value, path).description

    def save(self, value: Any, path: Path) -> Written:
        """Write an array, and hash the bytes beside it where tifffile is not needed."""
        parts = self.parts(value)
        if parts is not None:
            content, size = write_new(parts.buffers, path)
            return Written(content, size, parts.description, (), read_only(value))
        facts = self._facts(value)
        levels = levels_of(facts.shape, facts.dim_order, self)
        tiled = len(levels) > 1 or max(facts.plane) > LARGE_PLANE
        if facts.lazy:
            with staged(facts.data, path.parent, facts.inner) as canvas:
                dtype, notes = ome_type(canvas.dtype, lambda: canvas.span or (0, 0), self._name)
                facts = replace(facts, data=Typed(canvas, dtype), notes=(*facts.notes, *notes))
                self._by_tifffile(facts, path, levels, tiled)
            content, size = hash_file(path), path.stat().st_size
        elif self.compression or tiled or _is_big(facts, levels, tiled):
            self._by_tifffile(facts, path, levels, tiled)
            content, size = hash_file(path), path.stat().st_size
        else:
            around = self._around(facts)
            content, size = write_new(_around(np.ascontiguousarray(facts.data), *around), path)
            key = self._layout(value)
            if key is not None and facts.data is value and not facts.notes:
                layouts.put(key, (*around, facts.description(None)))
        held = None if facts.lazy else read_only(facts.data != 0 if facts.is_bool else facts.data)
        return Written(
            content, size, facts.description((TILE, TILE) if tiled else None), facts.notes, held
        )

    def parts(self, value: Any) -> Parts | None:
        """Return header, pixels and tail of a plain array, once one of its layout was written."""
        key = self._layout(value)
        known = None if key is None else layouts.get(key)
        if known is None:
            return None
        header, tail, description = known
        return Parts(_around(value, header, tail), description)

    def _layout(self, value: Any) -> Any:
        """Return what files share that hold plain arrays like this one; None for all others."""
        if type(value) is not np.ndarray or not value.flags.c_contiguous or not value.ndim:
            return None
        if value.dtype.metadata:  # they are no part of its text, nor of an OME-TIFF
            return None
        settings = (
            self.dim_order,
            self.channel_names,
            self.physical_pixel_sizes,
            self.channel_colors,
            self.time_interval,
            self.translation,
        )
        return (
            type(self),
            value.shape,
            value.dtype.str,
            settings,
            self.image_name,
            self.compression,
            self.pyramid,
            self.levels,
        )

    def _around(self, facts: Facts) -> tuple[bytes, bytes]:
        """Return what tifffile writes before and after the pixels of such an array."""
        key = (
            facts.shape,
            facts.data.dtype.str,
            facts.dim_order,
            facts.channel_names,
            facts.sizes,
            facts.is_bool,
            self.image_name,
            self.channel_colors,
            self.time_interval,
            facts.translation,
        )
        found = templates.get(key)
        if found is None:
            # Zeros: what stands around the pixels does not depend on them.
            blank = np.zeros(facts.shape, facts.data.dtype)
            found = cut(self._in_memory(facts, blank), blank.nbytes)
            templates.put(key, found)
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

    def _by_tifffile(self, facts: Facts, path: Path, levels: _Levels, tiled: bool) -> None:
        options = self._options(facts)
        data, inner = facts.data, facts.inner
        mean = is_averaged(facts.dtype, labels=self.labels)
        factors = factors_of(facts.dim_order, self)
        if tiled:
            options["tile"] = (TILE, TILE)
        big = _is_big(facts, levels, tiled)
        with ExitStack() as stack:
            tiff = stack.enter_context(tifffile.TiffWriter(path, bigtiff=big))
            for level in range(len(levels)):
                if level == 0 and len(levels) > 1:
                    options["subifds"] = len(levels) - 1
                elif level:
                    options.pop("subifds", None)
                    options.pop("description", None)
                    options["subfiletype"] = 1
                    if isinstance(data, np.ndarray):
                        data = reduced(data, factors, mean=mean)
                    else:
                        less = smaller(data, path.parent, inner, factors, mean=mean)
                        data = stack.enter_context(less)
                parts = (tiles if tiled else planes)(data, inner)
                tiff.write(parts, shape=data.shape, dtype=data.dtype, **options)

    def _xml(self, facts: Facts) -> bytes:
        xml = tifffile.OmeXml(Creator="databacked", UUID="urn:uuid:" + "0" * 32)
        more: dict[str, Any] = {"Name": self.image_name or _NAMELESS}
        channel: dict[str, Any] = {}
        if facts.channel_names is not None:
            channel["Name"] = list(facts.channel_names)
        if self.channel_colors is not None:
            # Red, green, blue and how opaque, as one number with a sign.
            colours = [int(f"{one}FF", 16) for one in self.channel_colors]
            channel["Color"] = [one - (1 << 32) if one >> 31 else one for one in colours]
        if channel:
            more["Channel"] = channel
        for axis, size in zip("ZYX", facts.sizes or (), strict=False):
            if size is not None:
                more[f"PhysicalSize{axis}"] = size
                more[f"PhysicalSize{axis}Unit"] = "µm"
        if self.time_interval is not None:
            more |= {"TimeIncrement": self.time_interval, "TimeIncrementUnit": "s"}
        shape, order = facts.shape, facts.dim_order
        planes = int(np.prod(shape[: -facts.inner], dtype=np.int64))
        if facts.translation is not None:
            more["Plane"] = _positions(facts, planes)
        height, width, samples = (*shape[-facts.inner :], 1)[:3]
        xml.addimage(
            facts.data.dtype, shape, (planes, 1, 1, height, width, samples), axes=order, **more
        )
        text = xml.tostring(declaration=True)
        text = text.replace(f' UUID="urn:uuid:{"0" * 32}"', "")
        text = text.replace(f' Name="{_NAMELESS}"', "")
        dtype = '<M K="dtype">bool</M>' if facts.is_bool else ""
        note = (
            '<StructuredAnnotations><MapAnnotation ID="Annotation:0" '
            f'Namespace="{NAMESPACE}"><Value><M K="dim_order">{order}</M>{dtype}</Value>'
            "</MapAnnotation></StructuredAnnotations></OME>"
        )
        return text.replace("</OME>", note).encode("utf-8")

    # What came

    def _facts(self, value: Any) -> Facts:
        facts = facts_of(value, self, "OME-TIFF", kinds="biufc")
        check_texts(facts.texts(self.image_name), "OME-XML", xml=True)
        if facts.labels:
            raise SerializerError(
                f"{type(self).__name__}: an OME-TIFF has no place for the labels "
                f"{', '.join(facts.labels)} of this Image: keep it as .ome.zarr, return them "
                "beside it (a target= of several files), or np.asarray(x) without them."
            )
        if facts.dim_order.endswith("S") and facts.shape[-1] not in (3, 4):
            order = facts.dim_order.removesuffix("YXS").replace("C", "") + "CYX"
            raise SerializerError(
                f"{type(self).__name__}: an array of shape {facts.shape} has {facts.shape[-1]} "
                f"sample(s) for dim_order={facts.dim_order!r}; 3 or 4 were expected. Make them "
                f"channels: np.moveaxis(x, -1, -3) with dim_order={order!r}."
            )
        if facts.lazy:  # as it is computed
            return facts
        dtype, notes = ome_type(facts.data.dtype, lambda: _span(facts.data), self._name)
        return replace(facts, data=as_type(facts.data, dtype), notes=(*facts.notes, *notes))

    @property
    def _name(self) -> str:
        return type(self).__name__

    # Reading

    def read(self, path: Path) -> np.ndarray[Any, Any]:
        """Return all pixels, with the axes that they were written with."""
        with opened(path) as tiff:
            facts = Layout(tiff, self.dim_order)
            pixels = facts.series.asarray().reshape(facts.shape)
            return pixels != 0 if facts.is_bool else pixels

    def describe(self, path: Path) -> Description:
        """Say what a file holds; raises if pixels are missing at its end."""
        with opened(path) as tiff:
            if is_cut(tiff):
                raise SerializerError(f"{path} is cut: parts of it would lie behind its end.")
            return Layout(tiff, self.dim_order).description

    def open(self, path: Path) -> Any:
        """Return an array that reads what is asked for: a memory map, or zarr over tiles."""
        with opened(path) as tiff:
            facts = Layout(tiff, self.dim_order)
            offset = facts.series.dataoffset
            if offset is not None and facts.series.keyframe.is_memmappable:
                dtype = np.dtype(tiff.byteorder + facts.series.dtype.char)
                pixels: Any = np.memmap(path, dtype, "r", offset, facts.shape)
            else:
                pixels = Tiled(path, facts.description, str(facts.series.dtype), facts.axes)
            return Conformed(pixels, {"dtype": "bool"}) if facts.is_bool else pixels


def _is_big(facts: Facts, levels: _Levels, tiled: bool) -> bool:
    """Whether a file with all of its levels needs the offsets of a BigTIFF."""
    size = file_size(levels, facts.data.dtype.itemsize, facts.inner, tiled=tiled)
    return size >= CLASSIC


def _positions(facts: Facts, planes: int) -> dict[str, list[Any]]:
    """Return where each plane lies: as the first one, but for how deep it is in its stack."""
    assert facts.translation is not None
    deep = [0]
    if "Z" in facts.dim_order:
        outer = facts.shape[: -facts.inner]
        numbers = np.arange(outer[facts.dim_order.index("Z")])
        axes = [axis for axis in range(len(outer)) if facts.dim_order[axis] != "Z"]
        deep = np.broadcast_to(np.expand_dims(numbers, axes), outer).ravel().tolist()
    found: dict[str, list[Any]] = {}
    for axis, start, size in zip("ZYX", facts.translation, facts.sizes or (None,) * 3, strict=True):
        if start is None:
            continue
        steps = deep if axis == "Z" else [0] * planes
        found[f"Position{axis}"] = [start + step * (size or 1.0) for step in steps]
        found[f"Position{axis}Unit"] = ["pixel" if size is None else "µm"] * planes
    return found


def _span(data: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    return data.min(), data.max()


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


def _around(
    data: np.ndarray[Any, Any], header: bytes, tail: bytes
) -> tuple[bytes, memoryview, bytes]:
    """Return the bytes of a file in order."""
    return header, data.reshape(-1).view(np.uint8).data, tail
