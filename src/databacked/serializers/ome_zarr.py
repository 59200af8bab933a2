"""Arrays as OME-Zarr: a folder of small files, of which a reader opens those that it needs.

Version 0.5 (https://ngff.openmicroscopy.org/0.5/) is zarr format 3, version 0.4 is zarr format 2.
Metadata are JSON and a chunk is a file: both are written here just as zarr writes them, without the
milliseconds that zarr takes for each. What is more than that (shards, codecs of other programs)
goes through zarr.

- A chunk is one block of blosc: threads of blosc put blocks down as they get done, and then the
  same value would not give the same bytes.
- Every chunk is written, and the root says so (``"databacked": {"chunks": "all"}``): to zarr a
  missing chunk is one of fill values, here it is damage. Other programs may leave chunks out.
- The fill value is the largest value of the type (NaN). Programs that edit through zarr delete a
  chunk that holds nothing else; were it zero, wiping a mask's plane clean would damage the image.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
import zarr.codecs

from databacked.errors import SerializerError
from databacked.fingerprint.files import tree_hash
from databacked.fingerprint.hashes import hash_bytes, hash_file
from databacked.serializers.base import Serializer
from databacked.serializers.blocks import bounds_of, staged
from databacked.serializers.corrections import Conformed
from databacked.serializers.images import (
    DIM_ORDERS,
    TILE,
    Facts,
    check_texts,
    checked_order,
    colours_of,
    facts_of,
    full_key,
    halved,
    interval_of,
    is_averaged,
    levels_of,
    names_of,
    read_only,
    sizes_of,
)
from databacked.types import Description, Json, PhysicalPixelSizes, Written

SHARDED_ABOVE = 4096
"""Chunks of an array beyond which they are put into shards, unless told otherwise."""

SHARD = 64 << 20
"""Bytes of pixels that a shard holds at most, where nobody says how large it is."""

LARGEST_CHUNK = 512 << 20
"""Bytes of pixels that one block of blosc may hold."""

_AXES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_MICROMETRES = {
    **{"angstrom": 1e-4, "picometer": 1e-6, "nanometer": 1e-3, "micrometer": 1.0},
    **{"millimeter": 1e3, "centimeter": 1e4, "meter": 1e6, "inch": 25400.0},
    **{"pm": 1e-6, "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "mm": 1e3},
}
_COLOURS = ("00FFFF", "FF00FF", "FFFF00", "00FF00", "FF0000", "0000FF")
SHOWN = (0.1, 99.9)
"""Percentiles of the values that a viewer shows as black and as white."""

SAMPLED = 1 << 20
"""Pixels of an image that percentiles are taken of, about; all of smaller ones."""

_LEVEL = 1
"""Of zstd and lz4: higher ones cost several times the time for a few percent."""


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
        self.windows = None if windows is None else tuple((low, high) for low, high in windows)
        self.compression = compression
        self.channel_colors = colours_of(channel_colors)
        self.time_interval = interval_of(time_interval)
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
        """Write an array to the new folder `path`, and hash each file beside it."""
        facts = self._facts(value)
        grids = self._grids(facts)
        with ExitStack() as stack:
            if facts.lazy and not _fits(facts.data, grids[0]):
                canvas = stack.enter_context(staged(facts.data, path.parent))
                facts = replace(facts, data=canvas)
            return self._save(facts, grids, path)

    def _save(self, facts: Facts, grids: list[_Grid], path: Path) -> Written:
        tree = _Tree(path)
        spans = None if self.labels or self.windows else _Spans(facts)
        source = facts.data
        mean = is_averaged(facts.dtype, labels=self.labels)
        for level, grid in enumerate(grids):
            halves = None
            if level and facts.lazy:  # what was computed once is read back
                source = _Pixels(path / str(level - 1), grids[level - 1], complete=True)
                halves = partial(halved, inner=2, mean=mean)
            elif level:
                source = halved(source, 2, mean=mean)
            _write_level(tree, str(level), grid, source, halves, None if level else spans)
            tree.put(f"{level}/{grid.metadata_name}", grid.metadata())
        # Last: without the root's metadata it is no image.
        for name, content in self._root(facts, len(grids), spans).items():
            tree.put(name, _json(content))
        description = _description(
            grids[0], facts.dim_order, facts.channel_names, facts.sizes, is_bool=facts.is_bool
        )
        held = None
        if not facts.lazy:
            dtype = np.dtype(bool) if facts.is_bool else grids[0].dtype
            held = read_only(facts.data.astype(dtype, copy=False))
        return Written(tree_hash(tree.hashes), tree.size, description, facts.notes, held)

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
        names = facts.channel_names
        return replace(
            facts,
            sizes=sizes_of(kept),
            channel_names=None if names is None else _named(names),
        )

    def _grids(self, facts: Facts) -> list[_Grid]:
        """Return how each level lies in files."""
        dtype = facts.data.dtype.newbyteorder("<")
        if self.labels and dtype.kind == "b":
            dtype = np.dtype(np.uint8)
        whole = self.chunks or (1,) * (len(facts.shape) - 2) + (TILE, TILE)
        grids, shape = [], facts.shape
        for _ in range(levels_of(facts.plane, self.pyramid) + 1):
            chunks = tuple(map(min, whole, shape))
            nbytes = int(np.prod(chunks, dtype=np.int64)) * dtype.itemsize
            if nbytes > LARGEST_CHUNK:
                raise SerializerError(
                    f"{type(self).__name__}: chunks={chunks} of {dtype} hold {nbytes} bytes; at "
                    f"most {LARGEST_CHUNK} were expected."
                )
            codec = None
            if self.compression is not None:
                codec = numcodecs.Blosc(self.compression, _LEVEL, shuffle=1, blocksize=nbytes)
            v3, axes = self.version != "0.4", tuple(facts.dim_order.lower())
            grid = _Grid(shape, dtype, chunks, None, "/", codec, _fill(dtype), v3, axes)
            shards = self._shards(grid)
            grids.append(replace(grid, shards=shards, plain=shards is None))
            shape = (*shape[:-2], *((length + 1) // 2 for length in shape[-2:]))
        return grids

    def _shards(self, grid: _Grid) -> tuple[int, ...] | None:
        many = self.shards
        if many is None:
            many = grid.v3 and not self.labels and grid.count > SHARDED_ABOVE
        if not isinstance(many, tuple):
            return _many_chunks(grid) if many else None
        whole = _rounded(grid.shape, grid.chunks)
        shards = tuple(map(min, many, whole))
        if any(shard % chunk for shard, chunk in zip(shards, grid.chunks, strict=True)):
            raise SerializerError(f"shards={many} are not whole chunks of {grid.chunks}.")
        return shards

    def _root(self, facts: Facts, levels: int, spans: _Spans | None) -> dict[str, Json]:
        """Return the metadata of the image by their file."""
        old, mean = self.version == "0.4", is_averaged(facts.dtype, labels=self.labels)
        said: dict[str, Json] = {"version": self.version} if old else {}
        sizes = dict(zip("TZYX", (self.time_interval, *(facts.sizes or ())), strict=False))
        axes: list[Json] = []
        for axis in facts.dim_order:
            unit = "second" if axis == "T" else "micrometer"
            known = {"unit": unit} if sizes.get(axis) else {}
            axes.append({"name": axis.lower(), "type": _AXES[axis], **known})
        datasets: list[Json] = []
        for level in range(levels):
            step = {"Y": 2.0**level, "X": 2.0**level}
            scale: list[Json] = [
                (sizes.get(axis) or 1.0) * step.get(axis, 1.0) for axis in facts.dim_order
            ]
            transforms: list[Json] = [{"type": "scale", "scale": scale}]
            if level and mean:  # the middle of the first four, sixteen, … pixels
                middle = {"Y": (2.0**level - 1) / 2, "X": (2.0**level - 1) / 2}
                there: list[Json] = [
                    (sizes.get(axis) or 1.0) * middle.get(axis, 0.0) for axis in facts.dim_order
                ]
                transforms.append({"type": "translation", "translation": there})
            datasets.append({"path": str(level), "coordinateTransformations": transforms})
        multiscale: dict[str, Json] = {**said, "axes": axes, "datasets": datasets}
        if self.image_name:
            multiscale["name"] = self.image_name
        if levels > 1:
            how = "the mean of two by two" if mean else "the first of two by two"
            multiscale["type"] = "mean" if mean else "decimation"
            multiscale["metadata"] = {"description": f"{how} pixels along y and x"}
        image: dict[str, Json] = {"multiscales": [multiscale]}
        if not self.labels or facts.channel_names is not None:
            image["omero"] = {**said, "channels": self._channels(facts, spans)}
        if self.labels:
            image["image-label"] = said
        mark: dict[str, Json] = {"chunks": "all"}
        if self.labels and facts.is_bool:
            mark["dtype"] = "bool"
        if old:
            return {".zattrs": {**image, "databacked": mark}, ".zgroup": {"zarr_format": 2}}
        attributes: Json = {"ome": {"version": self.version, **image}, "databacked": mark}
        return {"zarr.json": {"attributes": attributes, "zarr_format": 3, "node_type": "group"}}

    def _channels(self, facts: Facts, spans: _Spans | None) -> list[Json]:
        found: list[Json] = []
        dtype = np.dtype(facts.data.dtype)
        for number in range(facts.channels):
            least: float
            most: float
            least, most = _range(dtype)
            if self.windows is not None:
                low, high = self.windows[number]
            elif spans is not None:
                low, high = spans.of(number)
            else:  # of labels: nothing that painting would change
                low, high = least, most
            if dtype.kind == "f" or dtype.itemsize > 2:
                least, most = low, high
            window: Json = {"min": least, "max": most, "start": low, "end": high}
            colour = "FFFFFF" if facts.channels == 1 else _COLOURS[number % len(_COLOURS)]
            if self.channel_colors is not None:
                colour = self.channel_colors[number]
            label = facts.channel_names[number] if facts.channel_names else _nameless(number)
            found.append({"label": label, "color": colour, "active": True, "window": window})
        return found

    # Reading

    def read(self, path: Path) -> np.ndarray[Any, Any]:
        """Return all pixels of the largest level, with the axes that they were written with."""
        return np.asarray(self.open(path)[...])

    def describe(self, path: Path) -> Description:
        """Say what a folder holds; raises if metadata or chunks are missing or cut."""
        image = _Image(path, self.dim_order)
        for dataset, grid in zip(image.datasets, image.grids, strict=True):
            if image.complete:
                _require_whole(path / dataset, grid)
        return image.description

    def open(self, path: Path) -> Any:
        """Return an array that reads the chunks which are asked for."""
        image = _Image(path, self.dim_order)
        pixels = _Pixels(path / image.datasets[0], image.grids[0], image.complete)
        return Conformed(pixels, {"dtype": "bool"}) if image.is_bool else pixels


# ---------------------------------------------------------------- how pixels lie in files


@dataclass(frozen=True)
class _Grid:
    """How the pixels of one array lie in files."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    separator: str
    codec: Any
    """One of numcodecs, or None."""

    fill: Any
    v3: bool
    axes: tuple[str, ...] = ()
    """Their names, where it is written."""

    plain: bool = True
    """Whether a file is a chunk as `codec` gives it; else it needs zarr."""

    old_names: bool = False
    """Whether files are named as in zarr format 2."""

    @property
    def files(self) -> tuple[int, ...]:
        """Pixels along each axis that share a file."""
        return self.shards or self.chunks

    @property
    def counts(self) -> tuple[int, ...]:
        """Files along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.files, strict=True))

    @property
    def count(self) -> int:
        return int(np.prod(self.counts, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of a chunk's pixels."""
        return int(np.prod(self.chunks, dtype=np.int64)) * self.dtype.itemsize

    def name(self, index: Sequence[int]) -> str:
        """Return the file of the chunk or shard at a place."""
        first = ["c"] if self.v3 and not self.old_names else []
        return self.separator.join([*first, *map(str, index)])

    def encode(self, block: np.ndarray[Any, Any]) -> Any:
        """Return a chunk's bytes; at the edges it is filled up."""
        full = np.ascontiguousarray(block, self.dtype)
        if full.shape != self.chunks:
            full = np.full(self.chunks, self.fill, self.dtype)
            full[tuple(map(slice, block.shape))] = block
        if self.codec is None:
            return full.reshape(-1).view(np.uint8).data
        return self.codec.encode(full)

    def decode(self, data: bytes) -> np.ndarray[Any, Any]:
        """Return a chunk's pixels."""
        if self.codec is not None:
            data = self.codec.decode(data)
        return np.frombuffer(data, self.dtype).reshape(self.chunks)

    @property
    def metadata_name(self) -> str:
        """Name of the file that says all this."""
        return "zarr.json" if self.v3 else ".zarray"

    def metadata(self) -> bytes:
        """Return what zarr writes into that file."""
        fill: Json = "NaN" if self.dtype.kind == "f" else self.fill
        if not self.v3:
            return _json(
                {
                    "shape": list(self.shape),
                    "chunks": list(self.chunks),
                    "dtype": self.dtype.str,
                    "fill_value": fill,
                    "order": "C",
                    "filters": None,
                    "dimension_separator": self.separator,
                    "compressor": self._blosc and {"id": "blosc", **self._blosc, "shuffle": 1},
                    "zarr_format": 2,
                }
            )
        little: Json = _with("bytes", endian="little")
        codecs: list[Json] = [little if self.dtype.itemsize > 1 else {"name": "bytes"}]
        if self._blosc is not None:
            codecs.append(_with("blosc", typesize=self.dtype.itemsize, **self._blosc))
        if self.shards is not None:
            inner: dict[str, Json] = {
                "chunk_shape": list(self.chunks),
                "codecs": codecs,
                "index_codecs": [little, {"name": "crc32c"}],
                "index_location": "end",
            }
            codecs = [_with("sharding_indexed", **inner)]
        return _json(
            {
                "shape": list(self.shape),
                "data_type": self.dtype.name,
                "chunk_grid": _with("regular", chunk_shape=list(self.files)),
                "chunk_key_encoding": _with("default", separator=self.separator),
                "fill_value": fill,
                "codecs": codecs,
                "attributes": {},
                "zarr_format": 3,
                "node_type": "array",
                "storage_transformers": [],
                "dimension_names": list(self.axes),
            }
        )

    @property
    def _blosc(self) -> dict[str, Json] | None:
        if self.codec is None:
            return None
        name, level, size = self.codec.cname, self.codec.clevel, self.codec.blocksize
        return {"cname": name, "clevel": level, "shuffle": "shuffle", "blocksize": size}

    def create(self, path: Path) -> Any:
        """Return a new array of zarr that lies like this."""
        blosc: Any = self._blosc
        return zarr.create_array(
            path,
            shape=self.shape,
            dtype=self.dtype,
            chunks=self.chunks,
            shards=self.shards,
            compressors=blosc and zarr.codecs.BloscCodec(typesize=self.dtype.itemsize, **blosc),
            fill_value=self.fill,
            dimension_names=self.axes,
            config={"write_empty_chunks": True},
        )


class _Tree:
    """A new folder whose files are hashed as they are written."""

    def __init__(self, path: Path) -> None:
        os.mkdir(path)
        self.path = path
        self.hashes: dict[str, str] = {}
        self.size = 0
        self._root = os.fspath(path)
        self._folders = {""}

    def put(self, name: str, data: Any) -> None:
        """Write one file."""
        self._make(name.rpartition("/")[0])
        with open(f"{self._root}/{name}", "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) or 0 :]
        self.hashes[name] = hash_bytes(data)
        self.size += len(data)

    def _make(self, folder: str) -> None:
        # A plane a chunk is two folders a file: none is made, or looked for, twice.
        if folder not in self._folders:
            self._make(folder.rpartition("/")[0])
            with suppress(FileExistsError):  # zarr made it, for shards
                os.mkdir(f"{self._root}/{folder}")
            self._folders.add(folder)

    def add(self, name: str) -> None:
        """Count a file that zarr wrote."""
        self.hashes[name] = hash_file(self.path / name)
        self.size += os.stat(self.path / name).st_size


class _Spans:
    """Nearly the smallest and the largest value of each channel, of blocks that come one by one."""

    def __init__(self, facts: Facts) -> None:
        self._axis = facts.dim_order.find("C")
        self._found: dict[int, list[np.ndarray[Any, Any]]] = {}
        # Evenly, wherever blocks begin: the same pixels, however they come.
        pixels = int(np.prod(facts.shape, dtype=np.int64))
        self._step = math.ceil(math.sqrt(pixels / max(SAMPLED, facts.channels)))

    def see(self, block: np.ndarray[Any, Any], first: Sequence[int]) -> None:
        """Take note of a block that begins at `first`."""
        every = [slice(-start % self._step, None, self._step) for start in first[-2:]]
        key: Any = (..., *every)
        some = block[key]
        whole = self._axis < 0
        for number in range(1 if whole else some.shape[self._axis]):
            pixels = some if whole else some[(slice(None),) * self._axis + (number,)]
            channel = 0 if whole else first[self._axis] + number
            values = pixels[np.isfinite(pixels)]
            if values.size:
                self._found.setdefault(channel, []).append(values)

    def of(self, channel: int) -> tuple[Any, Any]:
        """Return numbers of which the second is larger, as viewers want it."""
        values = np.concatenate(self._found.get(channel, [np.array([0, 1], np.int8)]))
        if values.dtype.kind == "b":
            return 0, 1
        low, high = (one.item() for one in np.percentile(values, SHOWN, method="nearest"))
        if not high > low:  # a few bright spots
            low, high = values.min().item(), values.max().item()
        return low, high if high > low else low + 1


def _write_level(
    tree: _Tree,
    folder: str,
    grid: _Grid,
    source: Any,
    halves: Callable[[Any], Any] | None,
    spans: _Spans | None,
) -> None:
    """Write a source part by part, or what is half as large along Y and X."""
    step = 1 if halves is None else 2
    array = None if grid.shards is None else grid.create(tree.path / folder)
    for part in _parts(grid, source, step):
        steps = [1] * (len(part) - 2) + [step, step]
        key = tuple(slice(a * s, b * s) for (a, b), s in zip(part, steps, strict=True))
        block = np.asarray(source[key])
        if halves is not None:
            block = halves(block)
        if spans is not None:
            spans.see(block, [start for start, _ in part])
        if array is not None:
            array[tuple(slice(*ends) for ends in part)] = block
        ranges = [
            range(start // size, -(-stop // size))
            for (start, stop), size in zip(part, grid.files, strict=True)
        ]
        for index in itertools.product(*ranges):
            name = f"{folder}/{grid.name(index)}"
            if array is not None:
                tree.add(name)
                continue
            here = tuple(
                slice(n * size - start, (n + 1) * size - start)
                for n, size, (start, _) in zip(index, grid.files, part, strict=True)
            )
            tree.put(name, grid.encode(block[here]))
        del block  # before the next one is computed


def _parts(grid: _Grid, source: Any, step: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Yield start and stop along each axis of what is computed at once: whole files.

    A lazy array is asked for its own chunks, or for files where these are larger; an array in
    memory is one part.
    """
    sizes: Sequence[int] = grid.shape
    if not isinstance(source, np.ndarray):
        theirs = getattr(source, "chunks", None) or grid.files
        longest = [max(one) if isinstance(one, tuple) else one for one in theirs]
        longest[-2:] = [-(-length // step) for length in longest[-2:]]
        sizes = _rounded(longest, grid.files)
    yield from itertools.product(
        *(
            [(start, min(start + size, length)) for start in range(0, length, size)]
            for length, size in zip(grid.shape, sizes, strict=True)
        )
    )


def _fits(data: Any, grid: _Grid) -> bool:
    """Whether no block of a lazy array lies in two of the parts that are computed at once."""
    if not hasattr(data, "dask"):
        return True  # what is read from files is no work
    first = next(_parts(grid, data, 1))
    return all(
        set(range(0, length, stop)) <= set(bounds)
        for length, (_, stop), bounds in zip(grid.shape, first, bounds_of(data), strict=True)
    )


def _many_chunks(grid: _Grid) -> tuple[int, ...]:
    """Return a shard: as much of a plane, then of Z, C and T, as its bytes allow."""
    whole, shards, room = _rounded(grid.shape, grid.chunks), list(grid.chunks), SHARD
    room //= max(grid.nbytes, 1)
    for axes in ((-2, -1), *((axis,) for axis in range(len(shards) - 3, -1, -1))):
        growing = True
        while growing:
            growing = False
            for axis in axes:
                more = min(2 * shards[axis], whole[axis])
                if more > shards[axis] and room >= 2:
                    room, shards[axis], growing = room // 2, more, True
    return tuple(shards)


def _rounded(lengths: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return lengths rounded up to whole sizes."""
    return tuple(-(-n // size) * size for n, size in zip(lengths, sizes, strict=True))


# ---------------------------------------------------------------- reading


class _Pixels:
    """An array in files; each request opens the files that it needs, and no other."""

    def __init__(self, path: Path, grid: _Grid, complete: bool) -> None:
        self.path = path
        self.shape = grid.shape
        self.dtype = grid.dtype.newbyteorder("=")
        self.ndim = len(grid.shape)
        self.chunks = grid.chunks
        self._grid = grid
        self._complete = complete

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        keys = full_key(key, self.ndim)
        if keys is None:
            return np.asarray(self[...])[key]  # type: ignore[no-any-return]
        if len(keys) > self.ndim:
            raise IndexError(f"{len(keys)} indices for an array of {self.ndim} axes")
        wanted: list[range] = []
        for one, length in zip(keys, self.shape, strict=True):
            found = range(length)[one]
            wanted.append(found if isinstance(found, range) else range(found, found + 1))
        out = self._read(wanted)
        return out[tuple(slice(None) if isinstance(one, slice) else 0 for one in keys)]

    def _read(self, wanted: list[range]) -> np.ndarray[Any, Any]:
        grid, shape = self._grid, tuple(map(len, wanted))
        out = np.empty(shape, self.dtype)
        if not out.size:
            return out
        along = [list(_pieces(*one)) for one in zip(wanted, grid.files, strict=True)]
        for pieces in itertools.product(*along):
            file = f"{self.path}/{grid.name([number for number, _, _ in pieces])}"
            target = tuple(here for _, _, here in pieces)
            if not grid.plain:
                if self._complete and not os.path.exists(file):
                    raise _missing(file)
                continue
            try:
                with open(file, "rb", buffering=0) as opened:
                    data = opened.readall()
                out[target] = grid.decode(data)[tuple(inside for _, inside, _ in pieces)]
            except FileNotFoundError:
                if self._complete:
                    raise _missing(file) from None
                out[target] = grid.fill
            except (ValueError, RuntimeError) as error:
                raise SerializerError(f"{file} is not a whole chunk: {error}.") from error
        if grid.plain:
            return out
        try:
            array: Any = zarr.open_array(self.path, mode="r")
            key = tuple(slice(one.start, one.stop, one.step) for one in wanted)
            return np.asarray(array[key]).astype(self.dtype, copy=False)
        except Exception as error:
            raise SerializerError(f"{self.path} cannot be read: {error}.") from error


def _pieces(want: range, size: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield of each file along an axis: its number, what is wanted of it, and where that goes."""
    for number in range(want[0] // size, want[-1] // size + 1):
        first, last = (
            min(max(0, -(-(edge - want.start) // want.step)), len(want))
            for edge in (number * size, (number + 1) * size)
        )
        if first < last:
            start, stop = want[first] - number * size, want[last - 1] - number * size + 1
            yield number, slice(start, stop, want.step), slice(first, last)


class _Image:
    """What the metadata of a folder say."""

    def __init__(self, path: Path, dim_order: str | None) -> None:
        os.stat(path)  # what is not there is no damaged image
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
            self.datasets = [str(dataset["path"]) for dataset in multiscale["datasets"]]
            self.grids = [_grid(path / dataset) for dataset in self.datasets]
            ours = attributes.get("databacked", {})
            self.complete = ours.get("chunks") == "all"
            self.is_bool = ours.get("dtype") == "bool"
            """Whether its pixels are True and False, whatever somebody saved them as."""
            axes = multiscale.get("axes") or [None] * len(self.grids[0].shape)
            order = _order(axes) or dim_order or DIM_ORDERS.get(len(axes))
            if order is not None and len(order) != len(self.grids[0].shape):
                raise ValueError(f"axes {order} for an array of shape {self.grids[0].shape}")
            labels = [str(one.get("label", "")) for one in ome.get("omero", {}).get("channels", ())]
            names = _named(labels) if labels and all(labels) else None
            sizes = None if order is None else _sizes_said(order, axes, multiscale)
        except SerializerError:
            raise
        except Exception as error:
            what = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else error
            raise SerializerError(f"{path} is not a whole OME-Zarr image: {what}.") from error
        self.description = _description(self.grids[0], order, names, sizes, is_bool=self.is_bool)


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


def _grid(path: Path) -> _Grid:
    """Return how an array lies in files, whoever wrote it."""
    if (path / ".zarray").exists():
        said = json.loads((path / ".zarray").read_bytes())
        dtype = np.dtype(said["dtype"])
        config = said.get("compressor")
        return _Grid(
            tuple(said["shape"]),
            dtype,
            tuple(said["chunks"]),
            None,
            said.get("dimension_separator", "."),
            None if config is None else numcodecs.get_codec(config),
            _number(said.get("fill_value"), dtype),
            v3=False,
            plain=said.get("order", "C") == "C" and not said.get("filters"),
        )
    said = json.loads((path / "zarr.json").read_bytes())
    dtype = np.dtype(said["data_type"])
    files = tuple(said["chunk_grid"]["configuration"]["chunk_shape"])
    first, *rest = said["codecs"]
    sharded = first["name"] == "sharding_indexed"
    endian = (first.get("configuration") or {}).get("endian", "little")
    names = said.get("chunk_key_encoding", {"name": "default"})
    old = names["name"] == "v2"
    return _Grid(
        tuple(said["shape"]),
        dtype,
        tuple(first["configuration"]["chunk_shape"]) if sharded else files,
        files if sharded else None,
        names.get("configuration", {}).get("separator", "." if old else "/"),
        numcodecs.Blosc() if rest else None,  # what it needs to read stands in the chunk
        _number(said.get("fill_value"), dtype),
        v3=True,
        plain=first["name"] == "bytes"
        and endian == "little"
        and [codec["name"] for codec in rest] in ([], ["blosc"]),
        old_names=old,
    )


def _require_whole(path: Path, grid: _Grid) -> None:
    """Raise unless every file is there, and as long as it says itself."""
    for index in np.ndindex(grid.counts):
        file = path / grid.name(index)
        try:
            with open(file, "rb", buffering=0) as opened:
                size = os.fstat(opened.fileno()).st_size
                whole = size == grid.nbytes
                if grid.shards is not None:
                    whole = _shard_ends(opened, size, grid) == size
                elif isinstance(grid.codec, numcodecs.Blosc):
                    header = np.frombuffer(opened.read(16).ljust(16, b"\0"), "<u4")
                    whole = (int(header[1]), int(header[3])) == (grid.nbytes, size)
        except FileNotFoundError:
            raise _missing(file) from None
        if not whole:
            raise SerializerError(f"{file} is cut, or no chunk of this image.")


def _shard_ends(file: Any, size: int, grid: _Grid) -> int:
    """Return where a shard ends, as the index at its end says."""
    assert grid.shards is not None
    inner = np.prod([a // b for a, b in zip(grid.shards, grid.chunks, strict=True)], dtype=np.int64)
    index = 16 * int(inner) + 4  # offset and length of each chunk, then a checksum
    file.seek(max(size - index, 0))
    entries = np.frombuffer(file.read(index).ljust(index, b"\0"), "<u8", 2 * int(inner))
    return int((entries[::2] + entries[1::2]).max()) + index


def _missing(file: Path | str) -> SerializerError:
    return SerializerError(f"{file} is missing: this image was written with all its chunks.")


def _sizes_said(order: str, axes: Sequence[Any], multiscale: Any) -> PhysicalPixelSizes | None:
    """Return micrometres a pixel, of axes whose unit is a known one."""
    scale = [1.0] * len(order)
    steps = [multiscale, multiscale["datasets"][0]]
    for step in itertools.chain(*(one.get("coordinateTransformations") or () for one in steps)):
        if step["type"] == "scale" and "scale" in step:
            scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
    found: dict[str, float] = {}
    for letter, axis, length in zip(order, axes, scale, strict=True):
        unit = axis.get("unit") if isinstance(axis, dict) else None
        if unit in _MICROMETRES and length > 0:
            found[letter] = length * _MICROMETRES[unit]
    return sizes_of([found.get(letter) for letter in "ZYX"])


def _order(axes: Sequence[Any]) -> str | None:
    """Return one letter an axis, if all have one."""
    names = [axis.get("name") if isinstance(axis, dict) else axis for axis in axes]
    letters = [str(name).upper() for name in names]
    once = len(set(letters)) == len(letters) and all(len(letter) == 1 for letter in letters)
    return "".join(letters) if once else None


def _description(
    grid: _Grid,
    order: str | None,
    names: tuple[str, ...] | None,
    sizes: PhysicalPixelSizes | None,
    *,
    is_bool: bool,
) -> Description:
    dtype = "bool" if is_bool else str(grid.dtype.newbyteorder("="))
    return Description(grid.shape, dtype, order, names, sizes, grid.chunks)


# ---------------------------------------------------------------- small things


def _json(content: Json) -> bytes:
    try:
        text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    except ValueError:
        raise SerializerError(
            "pixel sizes or windows are too large for OME-Zarr: finite numbers were expected."
        ) from None
    return text.encode("utf-8", "surrogatepass")


def _with(name: str, **configuration: Json) -> dict[str, Json]:
    """Return an extension of zarr format 3 as its metadata have it."""
    return {"name": name, "configuration": configuration}


def _nameless(number: int) -> str:
    """Return OME's identifier of a channel, which readers take for its name if it has none."""
    return f"Channel:0:{number}"


def _named(labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return channel names, unless nobody named a channel."""
    if all(label == _nameless(number) for number, label in enumerate(labels)):
        return None
    return tuple(labels)


def _fill(dtype: np.dtype[Any]) -> Any:
    """Return the largest value of a type, or NaN."""
    return float("nan") if dtype.kind == "f" else bool(1) if dtype.kind == "b" else _range(dtype)[1]


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the least and the largest value of integers; 0 and 1 of everything else."""
    if dtype.kind not in "iu":
        return 0, 1
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _number(fill: Any, dtype: np.dtype[Any]) -> Any:
    """Return a fill value as JSON holds it: also ``"NaN"``, and None for zero."""
    return np.zeros((), dtype)[()] if fill is None else dtype.type(fill)


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
