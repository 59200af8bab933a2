"""For tests: a project of one's own, and checks that every plug has to pass."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from databacked.hashes import hash_file
from databacked.project import Project, use_project
from databacked.serializers.base import Serializer


@contextmanager
def project(folder: Path, **settings: Any) -> Iterator[Path]:
    """Have all flows and tasks in a ``with`` block keep their results below a folder."""
    with use_project(Project(Path(folder).absolute(), **settings)):
        yield Path(folder)


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

    The same value gives the same bytes, also after the serializer was sent to another process; it
    comes back; hash, size and description fit; a file that was cut does not open; settings are
    JSON.

    Parameters
    ----------
    lossy
        For formats that change pixels (JPEG): what comes back is not compared with what came.
    any_beginning_opens
        For formats in which the beginning of a file is a file too (text): cutting is not checked.
    """
    suffix = suffix or serializer.suffixes[0]
    kind = serializer.kind(suffix)
    for number, value in enumerate(values):
        first, second = folder / f"{number}-a{suffix}", folder / f"{number}-b{suffix}"
        written = serializer.save(value, first)
        again = pickle.loads(pickle.dumps(serializer)).save(value, second)
        assert first.read_bytes() == second.read_bytes(), "the same value gave other bytes"
        assert written.content == again.content == hash_file(first), "the hash is not the bytes'"
        assert written.size == first.stat().st_size, "the size is not the file's"
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
        if not any_beginning_opens:
            cut = folder / f"{number}-cut{suffix}"
            cut.write_bytes(first.read_bytes()[: written.size // 2])
            try:
                serializer.describe(cut)
            except Exception:
                continue
            raise AssertionError(f"a cut {suffix} file was taken for a whole one")
    json.dumps(serializer.settings())


def assert_same(one: Any, other: Any) -> None:
    """Raise AssertionError unless two values are equal: arrays with their types, tables as well."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    elif hasattr(one, "columns"):
        import pandas as pd

        pd.testing.assert_frame_equal(one, other)
    elif isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    else:
        assert one == other
