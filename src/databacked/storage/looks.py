"""What a look at a result tells without reading it: size and time, of files and of folders."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeAlias, TypeVar

from xxhash import xxh3_64

SLOW = 200e-6
"""Seconds a look from which on a disk is worth asking in many threads; a local one takes 2 µs."""

FIRST = 16
"""Looks after which it is decided, again and again, whether a disk is slow."""

THREADS = 32
"""Looks at once on a slow disk."""

LEFT_BY_VIEWING = (".DS_Store", "._", "Thumbs.db", "desktop.ini")
"""How names begin of what file managers put into folders that somebody only looked at."""


T = TypeVar("T")
R = TypeVar("R")
_Path = TypeVar("_Path", str, Path)


class Stat(NamedTuple):
    """What a listing tells of a file, enough to see that it is another one."""

    size: int
    """Bytes; of all files of a folder."""

    mtime_ns: int
    """Modification time in nanoseconds; a remote store's version number instead. For a folder, or
    several files, one number that stands for the names, sizes and times of all of them."""


NOTHING = Stat(-1, 0)
"""Stands in records for a value without a file."""


def stat_of(path: str | os.PathLike[str]) -> Stat:
    """Return what lies at a path: a file, or a folder with all that is in it.

    Raises
    ------
    OSError
        If it is missing or cannot be looked at.
    """
    info = os.stat(path)
    return _of_folder(path) if stat.S_ISDIR(info.st_mode) else _of_file(info)


def look_at(look: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Look at many things in their order; in threads once the disk turns out to be slow.

    A local disk answers sooner than a thread is told to ask. One long look is no slow disk: another
    process had the core. Where some looks together took long, the next ones are timed one by one.
    """
    found: list[R] = []
    suspected = False
    for start in range(0, len(items), FIRST):
        some = items[start : start + FIRST]
        begun = time.perf_counter()
        if not suspected:
            found += map(look, some)
        else:
            times = [begun]
            for one in some:
                found.append(look(one))
                times.append(time.perf_counter())
            if median(after - before for before, after in pairwise(times)) > SLOW:
                return found + _in_threads(look, items[len(found) :])
        suspected = time.perf_counter() - begun > FIRST * SLOW
    return found


def _in_threads(look: Callable[[T], R], items: Sequence[T]) -> list[R]:
    slices = [items[start : start + FIRST] for start in range(0, len(items), FIRST)]
    with ThreadPoolExecutor(THREADS) as pool:
        return [
            one for some in pool.map(lambda some: list(map(look, some)), slices) for one in some
        ]


def fold(stats: Iterable[Stat | None]) -> Stat | None:
    """Return one look for several files in their order; None if none of them is there."""
    found = list(stats)
    if all(one is None for one in found):
        return None
    said = ";".join("-" if one is None else f"{one.size},{one.mtime_ns}" for one in found)
    return Stat(sum(one.size for one in found if one is not None), _number(said))


def files_in(folder: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """Yield the name below the folder (with ``/``) and the path of each file, in a fixed order.

    Links are followed, also to folders; one that leads back to a folder that it lies in ends there.
    A folder inside that cannot be listed is yielded itself. What file
    managers leave is passed over.

    Raises
    ------
    OSError
        If the folder cannot be listed.
    """
    base = os.fspath(folder)
    yield from _below(_listed(base), "", (base,))


def first_own_file(folder: str) -> str | None:
    """Return the first file of a folder that is no link, in no linked folder, and in no other."""
    for _, path in files_in(folder):
        info = os.lstat(path)
        if stat.S_ISREG(info.st_mode) and info.st_nlink == 1 and _is_below(path, folder):
            return path
    return None


def _is_below(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


_Listed: TypeAlias = tuple[list[tuple[str, str]], list[tuple[str, str, bool]]]


def _listed(folder: str) -> _Listed:
    """Return name and path of each file and each folder in a folder; of these, which are links."""
    files: list[tuple[str, str]] = []
    folders: list[tuple[str, str, bool]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_folder(entry):
                folders.append((entry.name, entry.path, entry.is_symlink()))
            elif not entry.name.startswith(LEFT_BY_VIEWING):
                files.append((entry.name, entry.path))
    return sorted(files), sorted(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself, or to where nobody may look


def _below(listed: _Listed, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    files, folders = listed
    for name, path in files:
        yield prefix + name, path
    for name, path, linked in folders:
        try:
            if linked and any(os.path.samefile(path, one) for one in above):
                continue
            inside = _listed(path)
        except OSError:
            yield prefix + name, path
        else:
            yield from _below(inside, f"{prefix}{name}/", (*above, path))


EXPECTED = ", and a file or folder was expected"


def is_special(mode: int) -> str:
    """Say what a thing is that is neither file nor folder and must not be opened; else nothing."""
    if stat.S_ISFIFO(mode):
        return "named pipe"
    if stat.S_ISSOCK(mode):
        return "socket"
    return "device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else ""


def to_open(path: _Path) -> _Path:
    """Return a path, unless opening it could wait for ever or move a device.

    Raises
    ------
    OSError
        If it is no file and no folder, or missing.
    """
    kind = is_special(os.stat(path).st_mode)
    if kind and os.fspath(path) != os.devnull:
        raise OSError(errno.EINVAL, f"it is a {kind}{EXPECTED}", str(path))
    return path


def _of_file(info: os.stat_result) -> Stat:
    return Stat(info.st_size, info.st_mtime_ns)


def _of_folder(folder: str | os.PathLike[str]) -> Stat:
    size, said = 0, []
    for name, path in files_in(folder):
        info = _info(path)
        size += info.st_size
        said.append(f"{name},{info.st_size},{info.st_mtime_ns}")
    return Stat(size, _number(";".join(said)))


def _info(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)  # a link to nothing is in its folder, too


def _number(said: str) -> int:
    return xxh3_64(said.encode("utf-8", "surrogateescape")).intdigest() >> 1
