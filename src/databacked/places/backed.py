"""Values that know their file, and an image with its own metadata."""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from databacked.errors import (
    EXHAUSTED,
    DatabackedError,
    ResultChangedError,
    StorageError,
    is_due_to,
)
from databacked.fingerprint.files import content_of
from databacked.fingerprint.hashes import hash_texts
from databacked.places.like_numpy import CHANGE_FIRST, IN_PLACE, LikeNumpy
from databacked.provenance.file import Provenance, provenance_of
from databacked.records.book import records_of
from databacked.serializers.base import Serializer
from databacked.serializers.corrections import type_of
from databacked.storage.looks import Stat, stat_of
from databacked.types import Description, PhysicalPixelSizes, Translation

if TYPE_CHECKING:
    import dask.array


class Backed:
    """A value that is a file, together with which file is meant: also for `os.fspath`."""

    _noun = "value"

    def __init__(self, path: Path | str, stat: Stat, content: str, place: Path | str) -> None:
        self._path = str(path)
        self._stat = stat
        self._content = content
        self._place = str(place)

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self._path)

    @property
    def target(self) -> str:
        """The file's path below its place, with ``/``."""
        return Path(self._path).relative_to(self._place).as_posix()

    @property
    def uri(self) -> str:
        """The file as a URI."""
        return self.path.as_uri()

    @property
    def content(self) -> str:
        """xxh3-128 of the file's bytes."""
        return self._content

    @property
    def record(self) -> Provenance:
        """What made the file: task, code, parameters, inputs, run; and whether it was edited.

        Raises
        ------
        RecordError
            If the file is gone, and so is its record.
        """
        return provenance_of(self.path, Path(self._place))

    def _check(self) -> None:
        """Raise `ResultChangedError` unless the file is still the one meant."""
        try:
            found = stat_of(self._path)
        except OSError as error:
            raise ResultChangedError(
                f"{self._path} cannot be read any more: {error.strerror}. It was there when this "
                f"{self._noun} was made; run the flow again to make it again."
            ) from None
        if found == self._stat:
            return
        if found.size == self._stat.size and content_of(self._path) == self._content:
            return
        raise ResultChangedError(
            f"{self._path} is no longer the file that this {self._noun} was made for: "
            f"{self._who(found)}. Run the flow again to use it."
        )

    def _who(self, stat: Stat) -> str:
        records = records_of(Path(self._place))
        for record in records.of(self.target):
            if record.stat == stat:
                context = records.contexts.get(record.context, {})
                return f"{records.task_of(record)} replaced it in run {context.get('run', '?')}"
        return "something other than databacked changed it"

    def __fspath__(self) -> str:
        return self._path

    def __databacked_token__(self) -> str:
        return f"content:{self._content}"


class BackedFile(Backed):
    """A file of a format that has no value in memory, such as a figure: read it, or open its path.

    Two are equal if their bytes are.
    """

    _noun = "file"

    def read_bytes(self) -> bytes:
        """Return the file's bytes.

        Returns
        -------
        All of them, as they lie on disk.

        Raises
        ------
        ResultChangedError
            If the file is no longer the one that was meant.
        """
        self._check()
        return self.path.read_bytes()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BackedFile):
            return NotImplemented
        return self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    def __repr__(self) -> str:
        return f"<BackedFile {self._path}>"

    def _repr_html_(self) -> str:
        from databacked.pictures.html import file_html

        return file_html(self)


class _Readers:
    """The backed arrays that hold their file open; those opened first give it back."""

    def __init__(self) -> None:
        self._opened: OrderedDict[int, weakref.ref[BackedArray]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, array: BackedArray) -> None:
        """Note that an array holds its file open."""
        with self._lock:
            self._opened[id(array)] = weakref.ref(array)
            self._give_back(_most())

    def give_back(self) -> None:
        """Have all of them give their files back."""
        with self._lock:
            self._give_back(0)

    def _give_back(self, most: int) -> None:
        while len(self._opened) > most:
            array = self._opened.popitem(last=False)[1]()
            if array is not None:
                array._opened = None


_readers = _Readers()


def _most() -> int:
    """Return how many files backed arrays may hold open: a fraction of what a process may."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 256 if soft == resource.RLIM_INFINITY else min(256, soft // 8)


def _with_descriptors(read: Callable[[Path], Any], path: Path) -> Any:
    """Read a file; where there are no descriptors left, after all arrays gave theirs back."""
    try:
        return read(path)
    except (OSError, DatabackedError) as error:
        if not is_due_to(error, EXHAUSTED):
            raise
        _readers.give_back()
        try:
            return read(path)
        except (OSError, DatabackedError) as again:
            if not is_due_to(again, EXHAUSTED):
                raise
            raise StorageError(
                f"{path} could not be opened: this process has as many files open as it may. Close "
                "what is not needed, or allow more (ulimit -n 4096), and run again."
            ) from again


class BackedArray(Backed, LikeNumpy):
    """An array that is a file: acts as numpy, and reads what is asked for.

    Indexing reads the part that is asked for; arithmetic, reductions and numpy functions read all
    of it and give numpy values. It cannot be written to: change a copy (``np.array(x)``). It is no
    ``np.ndarray``: where a library wants one, in C or by ``isinstance``, give it ``np.asarray(x)``,
    or annotate the task's parameter with ``np.ndarray``.
    """

    _noun = "array"

    def __init__(
        self,
        path: Path | str,
        description: Description,
        serializer: Serializer,
        stat: Stat,
        content: str,
        place: Path | str,
        value: np.ndarray[Any, Any] | None = None,
        image: BackedArray | None = None,
    ) -> None:
        super().__init__(path, stat, content, place)
        self._description = description
        self._serializer = serializer
        self._value = value
        self._image = image  # that it lies in, if it is a label image
        self._opened: Any = None

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis in pixels."""
        if self._description.shape is None:
            return tuple(self._open().shape)
        return self._description.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        if self._description.dtype is None:
            dtype: np.dtype[Any] = np.dtype(self._open().dtype)
            return dtype
        return type_of(self._description.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels in memory."""
        return self.size * self.dtype.itemsize

    @property
    def dim_order(self) -> str | None:
        """One letter an axis, for example ``CZYX``; None where nobody knows."""
        return self._description.dim_order

    @property
    def channel_names(self) -> tuple[str, ...] | None:
        """One name a channel."""
        return self._description.channel_names

    @property
    def is_labels(self) -> bool | None:
        """Whether the pixels are numbers of objects; None where only the pixels tell."""
        inside = self._image is not None
        return True if inside or getattr(self._serializer, "labels", False) else None

    @property
    def physical_pixel_sizes(self) -> PhysicalPixelSizes | None:
        """Z, Y, X in micrometres; None where nobody knows."""
        sizes = self._description.physical_pixel_sizes
        return None if sizes is None else PhysicalPixelSizes(*sizes)

    @property
    def translation(self) -> Translation | None:
        """Where the first pixel lies in what it was cut out of: Z, Y, X in micrometres.

        In pixels along an axis whose pixel size nobody knows; None at its beginning.
        """
        there = self._description.translation
        return None if there is None else Translation(*there)

    @property
    def labels(self) -> Mapping[str, BackedArray]:
        """The label images that lie in it, by name.

        Raises
        ------
        SerializerError
            If one is damaged.
        """
        return {name: self._inside(name) for name in self._description.labels or ()}

    def _inside(self, name: str) -> BackedArray:
        self._check()
        serializer, path = self._serializer.inside(Path(self._path), name)
        content = hash_texts([self._content, "labels", name])
        description = serializer.describe(path)
        return BackedArray(
            path, description, serializer, self._stat, content, self._place, image=self
        )

    @property
    def record(self) -> Provenance:
        """What made the file: task, code, parameters, inputs, run; and whether it was edited.

        Raises
        ------
        RecordError
            If the file is gone, and so is its record.
        """
        return super().record if self._image is None else self._image.record

    def _check(self) -> None:
        if self._image is None:
            super()._check()
        else:
            self._image._check()

    @property
    def dask(self) -> dask.array.Array:
        """The same as a dask array; nothing is read until it is computed."""
        from dask.array import from_array

        opened = self._open()
        chunks = self._description.chunks or getattr(opened, "chunks", None) or "auto"
        lazy: dask.array.Array = from_array(
            _Indexed(self), chunks=chunks, name=f"backed-{self._content}", asarray=True, lock=False
        )
        return lazy

    # Reading

    def _open(self) -> Any:
        """Return what indexes the pixels, after a look that the file is still the one meant."""
        if self._value is not None:
            return self._value
        found = self._opened  # another thread may give it back meanwhile
        inode = _inode(self._path)
        if found is None or found[0] != inode:  # what took its place has another number
            self._check()
            opened = _with_descriptors(self._serializer.open, Path(self._path))
            found = self._opened = inode, opened
            _readers.add(self)
        return found[1]

    def __getitem__(self, key: Any) -> Any:
        # A copy: a view of a mapped file would hold it open.
        return np.array(self._open()[key])[()]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("A backed array is read from its file: a copy cannot be avoided.")
        if self._value is not None:
            return np.array(self._value, dtype=dtype)
        self._check()
        read = np.asarray(_with_descriptors(self._serializer.read, Path(self._path)))
        return read if dtype is None else read.astype(dtype, copy=False)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise ValueError(self._unchangeable())

    def _unchangeable(self) -> str:
        return (
            f"{self._path} is a result and cannot be written to: change a copy (x = np.array(x))."
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __iter__(self) -> Any:
        return iter(np.asarray(self))

    # numpy's own protocol: functions, operators and reductions give numpy values

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        outs = options.get("out", ())
        for changed in (*outs, *inputs[: method == "at"]):
            if isinstance(changed, BackedArray):
                raise ValueError(changed._unchangeable())
        return getattr(ufunc, method)(*(_plain(value) for value in inputs), **options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        changed = args[0] if args and function in CHANGE_FIRST else options.get("out")
        if isinstance(changed, BackedArray):
            raise ValueError(changed._unchangeable())
        return function(*_plain(args), **_plain(options))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if not hasattr(np.ndarray, name):
            raise AttributeError(f"Neither a backed array nor a numpy array has {name!r}.")
        if name in IN_PLACE:
            raise ValueError(self._unchangeable())
        return getattr(np.asarray(self), name)

    def __dir__(self) -> list[str]:
        # What numpy's arrays have, as far as it works here.
        ours = [name for name in object.__dir__(self) if not name.startswith("_")]
        theirs = [name for name in dir(np.ndarray) if name[0] != "_" and name not in IN_PLACE]
        return sorted({*ours, *theirs})

    def __getstate__(self) -> dict[str, Any]:
        # The pixels stay behind: another process reads what it needs from the file.
        return {**self.__dict__, "_value": None, "_opened": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        order = f" {self.dim_order}" if self.dim_order else ""
        return f"<BackedArray {self.shape}{order} {self.dtype} at {self._path}>"

    def _repr_html_(self) -> str:
        from databacked.pictures.html import array_html

        return array_html(self)


class _Indexed:
    """A backed array as dask takes it: what has numpy's ``copy`` it copies, all of it, at once."""

    def __init__(self, array: BackedArray) -> None:
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self._array = array

    def __getitem__(self, key: Any) -> Any:
        return self._array[key]


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return -1


def _plain(value: Any) -> Any:
    if isinstance(value, BackedArray):
        return np.asarray(value)
    if isinstance(value, tuple | list):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
