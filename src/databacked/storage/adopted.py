"""Files that tasks write themselves and return the paths of: which of them may be moved away.

What a task was given, and what was there before it ran, is never moved.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

from databacked.errors import SerializerError
from databacked.storage.looks import to_open

_BTIME = 0x800


_AT_FDCWD, _AT_SYMLINK_NOFOLLOW = -100, 0x100


_call = getattr(ctypes.CDLL(None), "statx", None) if sys.platform.startswith("linux") else None


def paths_in(value: Any) -> Iterator[str]:
    """Yield the absolute path of everything in a value that may name a file."""
    if isinstance(value, str):
        # A word that happens to be the name of a folder here is a word.
        if os.sep in value or (value and not os.path.isdir(value)):
            yield os.path.abspath(value)
    elif isinstance(value, os.PathLike):
        yield os.path.abspath(os.fsdecode(value))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from paths_in(key)
            yield from paths_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from paths_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from paths_in([getattr(value, field.name) for field in fields(value)])
    elif hasattr(value, "to_numpy"):  # of pandas
        yield from paths_in(value.to_numpy(dtype=object).ravel().tolist())
    elif str(getattr(value, "dtype", "")) == "object":
        yield from paths_in(value.ravel().tolist())


def check_written(value: Any, since: float, arguments: Iterable[str] = ()) -> None:
    """Raise unless a task returned the path of something that it wrote just now.

    What is adopted is moved away: an input, or somebody else's file, must not be.

    Parameters
    ----------
    since
        When the task started, in seconds since the epoch.
    arguments
        Files and folders that it was given.

    Raises
    ------
    SerializerError
        What came, and what was expected.
    """
    given = path_of(value)
    try:
        to_open(given)
        found = {path: os.lstat(path) for path in _all_in(given)}
    except OSError as error:
        raise SerializerError(
            f"{given} cannot be adopted: {error.strerror}. With from_path=True a task returns the "
            "path of a file or folder that it wrote."
        ) from None
    why = _is_input(given, found.values(), arguments)
    for path, info in found.items():
        if not why and began(path, info) < since - 0.05 and not stat.S_ISLNK(info.st_mode):
            why = "was there before the task ran"
            why = why if path == given else f"holds {path}, which {why}"
    if why:
        raise SerializerError(
            f"{given} {why}, so it is not adopted (that would move it away). Write a file of its "
            "own, in a temporary folder for instance, and return its path."
        )


def _is_input(given: str, found: Iterable[os.stat_result], arguments: Iterable[str]) -> str:
    """Say which argument would go with what a task returned; empty if none would."""
    real = os.path.realpath(given)
    mine = {(info.st_dev, info.st_ino) for info in found}
    for argument in arguments:
        try:
            info = os.stat(argument)
        except (OSError, ValueError):
            continue  # no file, or gone: what is not there cannot be moved
        place = os.path.realpath(argument)
        if (info.st_dev, info.st_ino) in mine or place == real:
            return f"is, or holds, the argument {argument}"
        if place.startswith(real + os.sep):
            return f"holds the argument {argument}"
        if real.startswith(place + os.sep):
            return f"lies in the argument {argument}"
    return ""


def _all_in(given: str) -> Iterator[str]:
    """Yield what a move takes along; not what links in it lead to."""
    yield given
    for where, folders, names in os.walk(given):
        for name in (*folders, *names):
            yield os.path.join(where, name)


def path_of(value: Any) -> str:
    """Return the absolute path that a task returned."""
    if isinstance(value, str | PurePath):
        return os.path.abspath(os.fspath(value))
    raise SerializerError(
        f"{type(value).__name__}: with from_path=True a task returns the path of a file or folder "
        "that it wrote."
    )


def began(path: str, info: os.stat_result) -> float:
    """Return since when there is a file or folder, in seconds since the epoch.

    Where the disk does not say, the earlier of its times: it may be older, but never looks younger.

    Parameters
    ----------
    info
        What `os.lstat` says of it.
    """
    born = getattr(info, "st_birthtime", None) or _statx(path)
    return float(born or min(info.st_mtime, info.st_ctime))


def _statx(path: str) -> float | None:
    if _call is None:
        return None
    told = ctypes.create_string_buffer(256)
    flags = _AT_SYMLINK_NOFOLLOW
    if _call(_AT_FDCWD, os.fsencode(path), flags, ctypes.c_uint(_BTIME), told):
        return None
    (mask,) = struct.unpack_from("=I", told.raw)
    seconds, nanoseconds = struct.unpack_from("=qI", told.raw, 80)
    return seconds + nanoseconds / 1e9 if mask & _BTIME and seconds else None
