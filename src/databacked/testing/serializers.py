"""What every serializer has to pass."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from databacked.fingerprint.files import content_of
from databacked.serializers.base import Serializer
from databacked.serializers.sameness import difference


def check_serializer(
    serializer: Serializer,
    values: Iterable[Any],
    folder: Path,
    suffix: str | None = None,
    *,
    lossy: bool = False,
    any_beginning_opens: bool = False,
) -> None:
    """Raise AssertionError unless a serializer keeps its contract.

    The same value gives the same bytes, also after the serializer was sent to another process. It
    comes back in type, digits, names and order; a mask, a subclass, an index or attrs that the
    values get here come back as well, or are refused. Hash, size and description fit; a file that
    was cut does not open, nor a folder with a file missing; settings are JSON.

    Parameters
    ----------
    serializer
        The one to be checked.
    values
        What it is made for; a few of each kind.
    folder
        Where the files go; an empty one.
    suffix
        The ending of the files, with the dot; the serializer's first one unless given.
    lossy
        For formats that change pixels (JPEG): what comes back is not compared with what came.
    any_beginning_opens
        For formats in which the beginning of a file is a file too (text): cutting is not checked.

    Raises
    ------
    AssertionError
        With a sentence that says what is not kept.
    """
    suffix = suffix or serializer.suffixes[0]
    kind = serializer.kind(suffix)
    for number, value in enumerate(values):
        first, second = folder / f"{number}-a{suffix}", folder / f"{number}-b{suffix}"
        written = serializer.save(value, first)
        again = pickle.loads(pickle.dumps(serializer)).save(value, second)
        files = _files(first)
        assert files == _files(second), "the same value gave other bytes"
        assert written.content == again.content == content_of(first), "the hash is not the bytes'"
        assert written.size == sum(map(len, files.values())), "the size is not the file's"
        parts = serializer.parts(value)
        if parts is not None:
            assert list(files.values()) == [b"".join(parts.buffers)], "its parts are not the file"
            assert parts.description == written.description, "its parts have another description"
            assert not written.notes, "of a value with parts there is nothing to be noted"
        back = serializer.read(first)
        if written.value is not None:
            assert_same(back, written.value)
        if kind == "file":
            assert back == first.read_bytes(), "a file that is handed over is read as its bytes"
        elif not lossy and not written.notes:
            assert_same(back, np.asarray(value) if kind == "array" else value)
        assert serializer.describe(first) == written.description, "the description does not fit"
        if kind == "array":
            opened = serializer.open(first)
            assert tuple(opened.shape) == written.description.shape, "it opens in another shape"
            assert_same(np.asarray(opened[...]), np.asarray(back))
        for what, more in _with_more(value):
            path = folder / f"{number}-{what}{suffix}"
            try:
                serializer.save(more, path)
            except Exception:
                continue
            lost = difference(more, serializer.read(path))
            assert lost is None, f"{what}: {lost}, and that was not refused with a SerializerError"
        if not any_beginning_opens:
            for name, data in files.items():
                # Of a folder, each of its files in turn is missing, then cut.
                (second / name).unlink()
                for what in ("missing", "cut") if second.is_dir() else ("cut",):
                    if what == "cut":
                        (second / name).write_bytes(data[: len(data) // 2])
                    try:
                        serializer.describe(second)
                    except Exception:
                        continue
                    raise AssertionError(f"{name or suffix} is {what}, and that was not seen")
                (second / name).write_bytes(data)
    json.dumps(serializer.settings())


class _Marked(np.ndarray):
    """A subclass, as libraries have them for units or metadata."""


def _with_more(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a value with parts that formats like to drop."""
    if type(value) is np.ndarray and value.size and not value.dtype.hasobject:
        yield "mask", np.ma.masked_array(value, np.arange(value.size).reshape(value.shape) == 0)
        yield "subclass", value.view(_Marked)
    elif type(value).__name__ == "DataFrame" and hasattr(value, "iloc"):
        yield "index", value.set_axis(range(5, 5 + len(value)))
        more = value.copy()
        more.attrs = {"unit": "µm"}
        yield "attrs", more


def _files(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of all files of a folder by their path in it."""
    if not path.is_dir():
        return {"": path.read_bytes()}
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


# ---------------------------------------------------------------- values


def assert_same(one: Any, other: Any) -> None:
    """Raise AssertionError unless two values are the same.

    Parameters
    ----------
    one, other
        Plain values, arrays of any shape, tables, or containers of them: types, digits, masks,
        names and order count.

    Raises
    ------
    AssertionError
        If they differ, with the first difference.
    """
    found = difference(other, one)
    assert found is None, found
