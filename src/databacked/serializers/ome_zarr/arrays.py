"""The arrays of an OME-Zarr: tensorstore makes, writes and reads ours; zarr reads those of others.

- A chunk is one block of blosc: the same value gives the same bytes, on however many threads.
- Every chunk is written, also one that holds nothing but the fill value: a missing one is damage.
- The fill value is the largest value of the type, or NaN (`damage.fill_of` says why).
"""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from databacked.errors import SerializerError
from databacked.serializers.images import full_key
from databacked.serializers.ome_zarr.damage import fill_of, is_ours, missing_in, require_whole
from databacked.types import Json

_LEVEL = 1
"""Of zstd and lz4: higher ones cost several times the time for a few percent."""

_READING = tensorstore.Context()
_OF_THREAD = threading.local()


def _writing() -> tensorstore.Context:
    """Return what all writes of this thread share."""
    if not hasattr(_OF_THREAD, "writing"):
        _OF_THREAD.writing = tensorstore.Context(
            {
                # The folder is renamed when it is whole: no file in it is locked, or waited for.
                "file_io_sync": False,
                "file_io_locking": {"mode": "none"},
                # Each of its threads keeps memory that it once had.
                "file_io_concurrency": {"limit": 1},
            }
        )
    found: tensorstore.Context = _OF_THREAD.writing
    return found


@dataclass(frozen=True)
class Layout:
    """How the pixels of one array are to lie in files."""

    shape: tuple[int, ...]
    """Pixels along each axis."""

    dtype: np.dtype[Any]
    """Their type."""

    chunks: tuple[int, ...]
    """Pixels along each axis that are read at once."""

    shards: tuple[int, ...] | None
    """Pixels along each axis that share a file, where that is more than a chunk."""

    compression: str | None
    """``"zstd"``, ``"lz4"`` or None."""

    v3: bool
    """Whether it is an array of zarr format 3."""

    axes: tuple[str, ...]
    """Their names."""

    @property
    def files(self) -> tuple[int, ...]:
        """Pixels along each axis that share a file."""
        return self.shards or self.chunks

    @property
    def count(self) -> int:
        """Number of files."""
        return math.prod(-(-n // size) for n, size in zip(self.shape, self.files, strict=True))

    @property
    def nbytes(self) -> int:
        """Bytes of a chunk's pixels."""
        return math.prod(self.chunks) * self.dtype.itemsize

    def create(self, path: Path) -> Array:
        """Make an array without pixels in a new folder.

        Raises
        ------
        SerializerError
            In a process that was forked off another one in which tensorstore is at work.
        """
        if _is_forked():
            raise SerializerError(
                f"{path} cannot be written by a process that was forked off one that used "
                "OME-Zarr already: start it by multiprocessing.get_context('spawn')."
            )
        kind = "zarr3" if self.v3 else "zarr"
        link = _Link(path)
        spec = {
            **_spec(link.path, kind),
            "metadata": self._v3() if self.v3 else self._v2(),
            "store_data_equal_to_fill_value": True,
        }
        return Array(path, _done(tensorstore.open(spec, create=True, context=_writing())), link)

    def _v3(self) -> dict[str, Json]:
        size = self.dtype.itemsize
        codecs: list[Json] = [_with("bytes", endian="little") if size > 1 else _with("bytes")]
        if self.compression is not None:
            codecs.append(_with("blosc", **self._blosc, shuffle="shuffle", typesize=size))
        if self.shards is not None:
            inner: dict[str, Json] = {"chunk_shape": list(self.chunks), "codecs": codecs}
            codecs = [_with("sharding_indexed", **inner)]
        return {
            "shape": list(self.shape),
            "data_type": self.dtype.name,
            "chunk_grid": _with("regular", chunk_shape=list(self.files)),
            "fill_value": fill_of(self.dtype),
            "codecs": codecs,
            "dimension_names": list(self.axes),
        }

    def _v2(self) -> dict[str, Json]:
        codec: Json = None
        if self.compression is not None:
            codec = {"id": "blosc", **self._blosc, "shuffle": 1}
        return {
            "shape": list(self.shape),
            "dtype": self.dtype.newbyteorder("<").str,
            "chunks": list(self.chunks),
            "dimension_separator": "/",
            "compressor": codec,
            "fill_value": fill_of(self.dtype),
        }

    @property
    def _blosc(self) -> dict[str, Json]:
        return {"cname": self.compression, "clevel": _LEVEL, "blocksize": self.nbytes}


class Array:
    """An array in files, with numpy's indexing; each request reads the files that it needs.

    Parameters
    ----------
    path
        Its folder.
    source
        The array of tensorstore, or of zarr.
    link
        What `source` needs as long as it is used.
    """

    def __init__(self, path: Path, source: Any, link: Any = None) -> None:
        self.path, self._link = path, link
        self._source = source
        self._is_ours = isinstance(source, tensorstore.TensorStore)
        self.shape: tuple[int, ...] = tuple(map(int, source.shape))
        self.ndim = len(self.shape)
        chunks = source.chunk_layout.read_chunk.shape if self._is_ours else source.chunks
        self.chunks: tuple[int, ...] = tuple(map(int, chunks))
        dtype = np.dtype(source.dtype.numpy_dtype if self._is_ours else source.dtype)
        self.dtype = dtype.newbyteorder("=")

    def put(self, region: Sequence[slice], block: np.ndarray[Any, Any]) -> Any:
        """Begin to write pixels: whole files, or what there is of them at the edges."""
        return self._source[tuple(region)].write(np.ascontiguousarray(block, self.dtype))

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        keys = full_key(key, self.ndim)
        if keys is None:
            return np.asarray(self[...])[key]  # type: ignore[no-any-return]
        if len(keys) > self.ndim:
            raise IndexError(f"{len(keys)} indices for an array of {self.ndim} axes")
        # Negative and too large ones are numpy's, not tensorstore's.
        wanted = [range(length)[one] for one, length in zip(keys, self.shape, strict=True)]
        shape = tuple(len(one) for one in wanted if isinstance(one, range))
        if 0 in shape:
            return np.empty(shape, self.dtype)
        part = tuple(
            slice(one[0], one[-1] + 1, one.step) if isinstance(one, range) else one
            for one in wanted
        )
        if self._is_ours and _is_forked():
            self._source, self._is_ours = _by_zarr(self.path, complete=True), False
        try:
            read = _done(self._source[part].read()) if self._is_ours else self._source[part]
        except Exception as error:
            if isinstance(error, OSError) and error.errno != errno.ENOENT:
                raise  # the disk's word
            if self._is_ours:
                require_whole(self.path)  # it says which file is not
            raise SerializerError(f"{self.path} cannot be read: {_said(error)}.") from error
        return np.asarray(read).astype(self.dtype, copy=False)


class Writes:
    """Writes that are under way: a few at once, because their pixels lie in memory twice.

    However it is left, none of them is: a folder is removed only when nobody writes to it.
    """

    _MOST = (os.cpu_count() or 1) << 19
    """Bytes of pixels that are compressed at once, a usual chunk a core; at least one file."""

    def __init__(self) -> None:
        self._begun: deque[tuple[int, Any]] = deque()
        self._nbytes = 0

    def __enter__(self) -> Writes:
        return self

    def put(self, array: Array, region: Sequence[slice], block: np.ndarray[Any, Any]) -> None:
        """Begin to write pixels, once there is room for them."""
        while self._begun and self._nbytes + block.nbytes > self._MOST:
            self._end()
        self._begun.append((block.nbytes, array.put(region, block)))
        self._nbytes += block.nbytes

    def wait(self) -> None:
        """Wait for all writes; raises what one of them raised."""
        while self._begun:
            self._end()

    def _end(self) -> None:
        nbytes, future = self._begun.popleft()
        self._nbytes -= nbytes
        _done(future)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.wait()
        while self._begun:
            with suppress(Exception):
                self._end()


def open_array(path: Path, *, complete: bool) -> Array:
    """Open an array that lies in a folder.

    Parameters
    ----------
    complete
        Whether it was written with all its chunks, so that a missing one is damage.

    Raises
    ------
    SerializerError, ValueError
        If a chunk is missing, or the folder holds no array.
    """
    if complete and not _is_forked() and is_ours(path):
        kind = "zarr" if (path / ".zarray").exists() else "zarr3"
        try:
            link = _Link(path)
            spec = _spec(link.path, kind)
            found = tensorstore.open(spec, open=True, read=True, context=_READING)
            return Array(path, _done(found), link)
        except ValueError:
            pass  # somebody saved it with what tensorstore does not know
    return Array(path, _by_zarr(path, complete=complete))


def _by_zarr(path: Path, *, complete: bool) -> Any:
    import zarr  # half a second, for images of others alone

    if complete and (missing := missing_in(path)):
        raise missing
    return zarr.open_array(path, mode="r")


_used_by: int | None = None
"""The process in which tensorstore started its threads."""


def _is_forked() -> bool:
    """Whether this process was forked off one that uses tensorstore, whose threads are not here.

    It would wait for them for ever; from now on it is used here unless that is so.
    """
    global _used_by
    if _used_by is None:
        _used_by = os.getpid()
    return _used_by != os.getpid()


def _spec(path: str, driver: str) -> dict[str, Any]:
    kvstore = {"driver": "file", "path": f"{path}/"}
    return {"driver": driver, "kvstore": kvstore, "fill_missing_data_reads": False}


class _Link:
    """A path that tensorstore takes for what it is, for as long as this is held.

    To tensorstore a backslash divides folders on every system, and names have to be UTF-8: where
    they are not, the path leads through a link.
    """

    def __init__(self, path: Path) -> None:
        # By the disk, not by the text: what lies behind a link has another folder above it.
        self.path = os.path.realpath(path) if ".." in path.parts else os.path.abspath(path)
        if os.sep == "\\" or not _is_odd(self.path):
            return
        folder = tempfile.mkdtemp(prefix="databacked-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        head, name = (self.path, "") if _is_odd(path.name) else os.path.split(self.path)
        os.symlink(head, os.path.join(folder, "image"))
        self.path = os.path.join(folder, "image", name)


def _is_odd(text: str) -> bool:
    return "\\" in text or any("\ud800" <= one <= "\udfff" for one in text)


def _done(future: Any) -> Any:
    """Wait for tensorstore; what the disk says is raised as Python raises it."""
    try:
        return future.result()
    except (ValueError, RuntimeError, NotImplementedError) as error:
        number = re.search(r"(?:os_error_code='|OS error )(\d+)", str(error))
        if number is None:
            raise
        file = re.search(r'local file "(.*?)"', str(error))
        code = int(number[1])
        raise OSError(code, os.strerror(code), file and file[1]) from error


def _said(error: Exception) -> str:
    """Return what tensorstore says, without where in its own code."""
    return re.sub(r"\s*\[(source locations|tensorstore_spec|domain)=.*", "", str(error), flags=re.S)


def _with(name: str, **configuration: Json) -> dict[str, Json]:
    """Return an extension of zarr format 3 as its metadata have it."""
    return {"name": name, **({"configuration": configuration} if configuration else {})}
