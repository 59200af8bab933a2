"""Arrays as OME-Zarr: a folder of small files, of which a reader opens those that it needs.

Version 0.5 (https://ngff.openmicroscopy.org/0.5/) is zarr format 3, version 0.4 is zarr format 2.
The root says that all chunks were written (``"databacked": {"chunks": "all"}``): one that is
missing is damage then. Other programs may leave chunks out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from databacked.errors import SerializerError
from databacked.fingerprint.files import tree_hash
from databacked.fingerprint.hashes import hash_file
from databacked.serializers.base import Serializer
from databacked.serializers.blocks import staged
from databacked.serializers.corrections import Conformed, Correction
from databacked.serializers.images import (
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
    sizes_of,
    translation_of,
)
from databacked.serializers.ome_zarr.arrays import Layout
from databacked.serializers.ome_zarr.labels import (
    checked_colours,
    colours_for,
    order_of,
    require_fit,
)
from databacked.serializers.ome_zarr.layout import layouts
from databacked.serializers.ome_zarr.metadata import Look, as_json, labels_of, named, root_of
from databacked.serializers.ome_zarr.reading import LABELS, Opened
from databacked.serializers.ome_zarr.windows import Spans
from databacked.serializers.ome_zarr.writing import fits, write_levels
from databacked.storage.looks import files_in
from databacked.types import Description, Written


class ArrayToOmeZarr(Serializer):
    """Write arrays as OME-Zarr: one plane a chunk, at most 512 pixels along Y and X.

    Parameters
    ----------
    dim_order
        Letters of ``TCZYX`` in this order, ending in ``YX``; the default is ``YX``, ``ZYX``,
        ``CZYX`` or ``TCZYX`` by the number of axes.
    channel_names
        One name a channel.
    physical_pixel_sizes
        Z, Y, X in micrometres; None where nobody knows.
    image_name
        Name of the image inside the folder; None: it has none, and viewers show the folder's name.
    version
        ``"0.5"`` or ``"0.4"`` (for programs that do not open zarr format 3).
    chunks
        Pixels along each axis that are read at once; None: one plane, 512 along Y and X.
    shards
        Pixels along each axis that share a file, whole chunks; True: as many chunks as 64 MiB
        hold; False: one chunk a file; None: shards where there are more than 4096 chunks, because
        disks and transfers choke on so many files. Shards need version 0.5.
    pyramid
        Whether smaller levels are written too; None: where a plane is larger than 4096 pixels. A
        pixel of a level is the mean of four; of labels, of bool, and of integers of 32 and 64 bits
        (as label images are stored) every second one, so that no label comes up that is not there.
    labels
        Whether the pixels are labels, which somebody may correct by hand: they are marked as such
        (``image-label``), have no display windows and never shards (painting one pixel would write
        a whole shard). They must be integers; bool is stored as 0 and 1, and comes back as bool.
    windows
        What a viewer shows from black to white: ``(low, high)`` a channel, as values of pixels;
        None: so that a thousandth of its pixels are darker, and a thousandth brighter (of large
        images, of a million pixels that lie evenly).
    compression
        ``"zstd"``, ``"lz4"`` (larger, faster) or None.
    channel_colors
        One colour a channel: how much red, green and blue, each from 0 to 255, or ``"#FF0000"``;
        None: colours that are told apart, white for a single one.
    time_interval
        Seconds from one frame to the next.
    levels
        How many smaller ones; None: until Y and X are below 1024 pixels.
    factors
        How much smaller each is than the one before by axis, also along Z; the default is
        ``{"Y": 2, "X": 2}``.
    translation
        Where the first pixel lies in what the image was cut out of: Z, Y, X in micrometres, in
        pixels along an axis whose pixel size nobody knows.
    label_colors
        Colours of labels by their number, ``{1: "#FF0000"}`` or ``{1: (255, 0, 0)}``; of the label
        images of an `Image` also by name, ``{"nuclei": {1: "#FF0000"}}``. None: a viewer's own.

    Raises
    ------
    SerializerError
        If a setting cannot be used, or two of them exclude each other.

    Notes
    -----
    Metadata of the value itself (an `Image`, a backed array, an xarray DataArray) win over these
    settings. Pixels keep their type: integers up to 64 bits, floats up to 64 bits, and bool, which
    zarr has and bioio reads; programs that expect numbers get 0 and 1 by ``labels=True``. OME-Zarr
    keeps pixel sizes of axes that are there: the Z of a ``YX`` image is forgotten.

    Label images of an `Image` (``Image(pixels, labels={"nuclei": mask})``) are written into it, at
    ``labels/NAME``, with as many levels: viewers show them over it. Each can be read, and corrected
    by hand, as an image of its own.
    """

    suffixes = (".ome.zarr", ".zarr")
    format = 2
    backed = True

    def __init__(
        self,
        dim_order: str | None = None,
        channel_names: Sequence[str] | None = None,
        physical_pixel_sizes: Sequence[float | None] | None = None,
        image_name: str | None = None,
        version: str = "0.5",
        chunks: Sequence[int] | None = None,
        shards: Sequence[int] | bool | None = None,
        pyramid: bool | None = None,
        labels: bool = False,
        windows: Sequence[tuple[float, float]] | None = None,
        compression: str | None = "zstd",
        channel_colors: Sequence[Sequence[int] | str] | None = None,
        time_interval: float | None = None,
        levels: int | None = None,
        factors: Mapping[str, int] | None = None,
        translation: Sequence[float | None] | None = None,
        label_colors: Mapping[Any, Any] | None = None,
    ) -> None:
        self.dim_order = None if dim_order is None else _checked_order(dim_order)
        self.channel_names = names_of(channel_names)
        self.physical_pixel_sizes = sizes_of(physical_pixel_sizes)
        self.image_name = image_name
        self.version = version
        self.chunks = _lengths("chunks", chunks)
        self.shards = shards if isinstance(shards, bool) else _lengths("shards", shards)
        self.pyramid = pyramid
        self.labels = labels
        self.windows = None if windows is None else _pairs(windows)
        self.compression = compression
        self.channel_colors = colours_of(channel_colors)
        self.time_interval = interval_of(time_interval)
        self.levels = levels
        self.factors = checked_levels(pyramid, levels, factors, "ZYX")
        self.translation = translation_of(translation)
        self.label_colors = checked_colours(label_colors)
        if version not in ("0.4", "0.5"):
            raise SerializerError(f"version={version!r}: '0.5' or '0.4' was expected.")
        if compression not in ("zstd", "lz4", None):
            raise SerializerError(
                f"compression={compression!r}: 'zstd', 'lz4' or None is possible."
            )
        if self.shards and (labels or version == "0.4"):
            why = "painting one pixel would write a whole shard" if labels else "0.4 has none"
            raise SerializerError(
                f"shards={shards!r} with {'labels=True' if labels else 'version=0.4'}: {why}."
            )
        if any(not low < high for low, high in self.windows or ()) or (windows and labels):
            raise SerializerError(
                f"windows={windows!r}: (low, high) a channel were expected, and none for labels."
            )

    # Writing

    def write(self, value: Any, path: Path) -> Description:
        """Write an array to the new folder `path`."""
        return ArrayToOmeZarr.save(self, value, path).description

    def save(self, value: Any, path: Path) -> Written:
        """Write an array to the new folder `path`, then hash its files."""
        facts = self._facts(value)
        inside = dict(self._label_images(facts))
        description, notes = self._write(facts, path, None)
        if inside:
            os.mkdir(path / LABELS)
            for name, (writer, label) in inside.items():
                notes += writer._write(label, path / LABELS / name, "../../")[1]
            _put(path / LABELS, labels_of(self.version, list(inside)))
            description = replace(description, labels=tuple(inside))
        files = list(files_in(path))
        content = tree_hash({name: hash_file(file) for name, file in files})
        size = sum(os.stat(file).st_size for _, file in files)
        held = None
        if not facts.lazy:
            held = read_only(facts.data.astype(description.dtype, copy=False))
        return Written(content, size, description, notes, held)

    def _write(
        self, facts: Facts, path: Path, source: str | None
    ) -> tuple[Description, tuple[str, ...]]:
        """Write one image; `source` is where the image lies that labels are of."""
        shapes, factors = self._levels(facts)
        files = layouts(facts, shapes, self)
        mean = is_averaged(facts.dtype, labels=self.labels)
        spans = None if self.labels or self.windows else Spans(facts)
        os.mkdir(path)
        with ExitStack() as stack:
            if facts.lazy and not fits(facts.data, files[0]):
                facts = replace(facts, data=stack.enter_context(staged(facts.data, path.parent)))
            write_levels(facts, files, path, factors, spans, mean=mean)
        look = Look(
            self.version,
            shapes,
            factors,
            mean,
            self.image_name,
            self.time_interval,
            self.channel_colors,
            self.windows,
            self.labels,
            colours_for(self.label_colors, None),
            source,
        )
        # Last: without the root's metadata it is no image.
        _put(path, root_of(facts, look, spans))
        return _described(facts, files[0]), facts.notes

    def _levels(self, facts: Facts) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
        return levels_of(facts.shape, facts.dim_order, self), factors_of(facts.dim_order, self)

    def _label_images(self, facts: Facts) -> Iterator[tuple[str, tuple[ArrayToOmeZarr, Facts]]]:
        """Yield name, writer and pixels of each label image of an image."""
        problems = []
        smaller = len(self._levels(facts)[0]) - 1
        for name, value in facts.labels.items():
            try:
                order = order_of(value, facts)
                along = zip(facts.dim_order, self.chunks or (), strict=False)
                writer = ArrayToOmeZarr(
                    order,
                    physical_pixel_sizes=facts.sizes,
                    version=self.version,
                    chunks=[length for axis, length in along if axis in order] or None,
                    labels=True,
                    compression=self.compression,
                    time_interval=self.time_interval if "T" in order else None,
                    levels=smaller,  # as many as the image has, says the format
                    factors=self.factors,
                    translation=facts.translation,
                    label_colors=colours_for(self.label_colors, name),
                )
                label = writer._facts(value)
                require_fit(name, label, facts)
            except SerializerError as error:
                problems.append(f"labels[{name!r}]: {error}")
            else:
                yield name, (writer, label)
        if problems:
            raise SerializerError(" ".join(problems))

    def _facts(self, value: Any) -> Facts:
        facts = facts_of(value, self, "OME-Zarr", kinds="biuf")
        _checked_order(facts.dim_order)
        check_texts(facts.texts(self.image_name), "OME-Zarr")
        problems = []
        dtype, ndim = facts.data.dtype, len(facts.shape)
        for name, given in (("chunks", self.chunks), ("shards", self.shards)):
            if isinstance(given, tuple) and len(given) != ndim:
                problems.append(f"{name}={given} for {ndim} axes ({facts.dim_order})")
        if self.windows is not None and len(self.windows) != facts.channels:
            problems.append(f"{len(self.windows)} windows for {facts.channels} channels")
        if self.labels and dtype.kind == "f":
            problems.append(f"labels of type {dtype}; integers were expected")
        if problems:
            raise SerializerError(f"{type(self).__name__}: {'; '.join(problems)}.")
        # Here, and not where they are read: what is described is what will come back.
        sizes = dict(zip("ZYX", facts.sizes or (None,) * 3, strict=True))
        kept = [size if axis in facts.dim_order else None for axis, size in sizes.items()]
        starts = zip("ZYX", facts.translation or (), strict=False)
        names = facts.channel_names
        return replace(
            facts,
            sizes=sizes_of(kept),
            channel_names=None if names is None else named(names),
            translation=translation_of(
                [start if axis in facts.dim_order else None for axis, start in starts] or None
            ),
        )

    # Reading

    def read(self, path: Path) -> np.ndarray[Any, Any]:
        """Return all pixels of the largest level, with the axes that they were written with."""
        return np.asarray(self.open(path)[...])

    def describe(self, path: Path) -> Description:
        """Say what a folder holds; raises if metadata or chunks are missing or cut."""
        image = Opened(path, self.dim_order)
        image.check()
        return image.description

    def open(self, path: Path) -> Any:
        """Return an array that reads the chunks which are asked for."""
        image = Opened(path, self.dim_order)
        return Conformed(image.pixels, {"dtype": "bool"}) if image.is_bool else image.pixels

    def correction(self, path: Path, recorded: Description) -> Correction:
        """Say how a folder that was edited by hand is read; its labels have to be labels."""
        found = super().correction(path, recorded)
        if not found.problem and (wrong := Opened(path, self.dim_order).wrong_labels()):
            return replace(found, problem=wrong)
        return found

    def inside(self, path: Path, name: str) -> tuple[Serializer, Path]:
        """Return what reads a label image of an image, and its folder."""
        return ArrayToOmeZarr(), path / LABELS / name


def _put(folder: Path, files: Mapping[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(as_json(content))


def _described(facts: Facts, layout: Layout) -> Description:
    return Description(
        layout.shape,
        "bool" if facts.is_bool else str(layout.dtype),
        facts.dim_order,
        facts.channel_names,
        facts.sizes,
        layout.chunks,
        translation=facts.translation,
    )


def _pairs(windows: Any) -> tuple[tuple[float, float], ...]:
    """Return windows in Python's numbers: those of numpy are none of JSON."""
    try:
        return tuple((np.asarray(a).item(), np.asarray(b).item()) for a, b in windows)
    except (TypeError, ValueError):
        raise SerializerError(
            f"windows={windows!r}: (low, high) a channel were expected."
        ) from None


def _lengths(name: str, given: Any) -> tuple[int, ...] | None:
    if given is None:
        return None
    found = tuple(map(int, given))
    if len(found) < 2 or min(found) < 1:
        raise SerializerError(f"{name}={given!r}: one length in pixels an axis was expected.")
    return found


def _checked_order(order: str) -> str:
    order = checked_order(order)
    if order.endswith("S"):
        raise SerializerError(
            f"dim_order={order!r}: OME-Zarr has no samples; make colours channels ('CYX', by "
            "np.moveaxis(x, -1, 0)), or keep them as .ome.tiff."
        )
    if order != "".join(axis for axis in "TCZYX" if axis in order):
        raise SerializerError(
            f"dim_order={order!r}: OME-Zarr orders axes as in TCZYX; transpose the array, or keep "
            "it as .ome.tiff."
        )
    return order
