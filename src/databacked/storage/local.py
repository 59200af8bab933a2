"""Files on a local or mounted disk.

A result becomes visible by one rename. Where nothing was, the rename does not replace (so that a
file saved by hand in that moment is not lost); where something was, both names are exchanged and
what came out is looked at again before it goes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from databacked.errors import StorageError
from databacked.project import STATE
from databacked.stats import (
    JOIN,
    Stat,
    fold,
    look_at,
    stat_of,
    stat_of_entry,
    stat_of_target,
)
from databacked.storage.base import Storage

FEW = 16
"""Up to this many targets in a folder are looked up one by one instead of listing it."""

_NOREPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100


class LocalStorage(Storage):
    """A folder as a place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._base = str(folder) + os.sep
        self._made: set[str] = set()

    def find(self, targets: Iterable[str]) -> dict[str, Stat]:
        by_folder: defaultdict[str, list[str]] = defaultdict(list)
        several: list[str] = []
        for target in targets:
            if JOIN in target:
                several.append(target)
            else:
                by_folder[target.rpartition("/")[0]].append(target)
        found = self._find_several(several) if several else {}
        single: list[str] = []
        for folder, inside in by_folder.items():
            if len(inside) <= FEW:
                single += inside
            else:
                self._list(folder, set(inside), found)
        for target, one in zip(single, look_at(self.stat, single), strict=True):
            if one is not None:
                found[target] = one
        return found

    def _find_several(self, targets: list[str]) -> dict[str, Stat]:
        """Look up items that have several files each: one look stands for all of its files."""
        stats = self.find(dict.fromkeys(part for one in targets for part in one.split(JOIN)))
        folded = ((one, fold([stats.get(part) for part in one.split(JOIN)])) for one in targets)
        return {one: stat for one, stat in folded if stat is not None}

    def _list(self, folder: str, wanted: set[str], found: dict[str, Stat]) -> None:
        prefix = folder + "/" if folder else ""
        try:
            with os.scandir(self._base + folder) as entries:
                there = [entry for entry in entries if prefix + entry.name in wanted]
        except OSError as error:
            if not _is_missing(error):
                raise self._error(error, folder, "listed") from error
            return
        for entry, one in zip(there, look_at(_stat_if_there, there), strict=True):
            if one is not None:
                found[prefix + entry.name] = one

    def stat(self, target: str) -> Stat | None:
        try:
            return stat_of_target(self._base, target)
        except OSError as error:
            if _is_missing(error):
                return None
            raise self._error(error, target, "looked up") from error

    def publish(self, temporary: str, target: str, judged: Stat | None) -> bool:
        final = self._base + target
        parent = final.rpartition(os.sep)[0]
        try:
            if judged is None:
                if parent not in self._made:
                    _make_folder(parent)
                    self._made.add(parent)
                return _rename_new(temporary, final)
            if self.stat(target) != judged:
                return False
            if not _exchange(temporary, final):
                if os.path.isdir(temporary) or os.path.isdir(final):
                    # Old one out, new one in: a kill between them means missing, never mixed.
                    return self.withdraw(target, judged, f"{temporary}.out") and _rename_new(
                        temporary, final
                    )
                os.replace(temporary, final)
                return True
            # What came out lies at the temporary name now: if it is not what was judged, both
            # go back to where they were.
            if stat_of(temporary) != judged:
                _exchange(temporary, final)
                return False
            remove(temporary)
            return True
        except OSError as error:
            if error.errno == errno.ENOENT and os.path.lexists(temporary):
                # The file that was judged went this moment, or the folder since it was made.
                self._made.discard(parent)
                if judged is not None:
                    return False
                if not os.path.isdir(parent):
                    return self.publish(temporary, target, judged)
            raise self._error(error, target, "written") from error

    def withdraw(self, target: str, judged: Stat, temporary: str) -> bool:
        final = self._base + target
        try:
            if self.stat(target) != judged:
                return False
            os.rename(final, temporary)
            if stat_of(temporary) != judged:
                if not _rename_new(temporary, final):  # a third one took its place: keep both
                    self._keep_aside(temporary, "conflict", target)
                return False
            remove(temporary)
        except OSError as error:
            raise self._error(error, target, "removed") from error
        return True

    def move_aside(self, target: str, run: str) -> str:
        return self._keep_aside(self._base + target, run, target)

    def _keep_aside(self, source: str, run: str, target: str) -> str:
        base = os.path.join(self._base, STATE, "replaced", run, target)
        aside, number = base, 1
        try:
            os.makedirs(os.path.dirname(base), exist_ok=True)
            while not _rename_new(source, aside):
                number += 1
                aside = f"{base}.{number}"
        except OSError as error:
            raise self._error(error, target, "moved aside") from error
        return aside

    def ignores_case(self) -> bool:
        """Whether two names that differ only by case are one file here."""
        state = os.path.join(self._base, STATE)
        return os.path.exists(state) and os.path.exists(os.path.join(self._base, STATE.upper()))

    def _error(self, error: OSError, target: str, what: str) -> StorageError:
        return storage_error(error, self._base + target, what)


def _stat_if_there(entry: os.DirEntry[str]) -> Stat | None:
    try:
        return stat_of_entry(entry)
    except OSError:
        return None  # gone since it was listed


def _is_missing(error: OSError) -> bool:
    """Whether a look failed because there is nothing, and for some names never can be."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path)  # nearly always that is all
    except FileExistsError:
        return
    except FileNotFoundError:
        os.makedirs(path, exist_ok=True)


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it."""
    try:
        os.unlink(path)  # nearly always it is a file: no look before
    except (IsADirectoryError, PermissionError):  # systems differ in what they say of a folder
        if not os.path.isdir(path) or os.path.islink(path):
            raise
        shutil.rmtree(path)


def storage_error(error: OSError, path: str, what: str) -> StorageError:
    """Return the error of the operating system in words that say what to do."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = "the disk is full; free some space and run again, what is done is kept"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            advice = "no permission; ask for write access or choose another place"
        case errno.ENAMETOOLONG:
            advice = "the name is too long for this disk; shorten the target"
        case errno.ENOTDIR | errno.EISDIR:
            advice = "a file and a folder share this name; move one of them"
        case _:
            advice = "look at the disk, then run again; what is done is kept"
    raised = StorageError(f"{path} could not be {what}: {error.strerror or error} ({advice}).")
    raised.errno = error.errno  # type: ignore[attr-defined]
    return raised


def _renameat2() -> ctypes._NamedFuncPointer | None:
    if not sys.platform.startswith("linux"):
        return None
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is not None:
        call.argtypes = [
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_uint,
        ]
    return call


_call = _renameat2()
_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


def _rename_new(source: str, target: str) -> bool:
    """Rename without replacing; False if `target` exists."""
    if _call is not None:
        if _call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _NOREPLACE) == 0:
            return True
        number = ctypes.get_errno()
        if number == errno.EEXIST:
            return False
        if number not in _UNSUPPORTED:
            raise OSError(number, os.strerror(number), target)
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    except OSError:
        # Neither call is there on this disk (FAT, some network mounts): look, then rename.
        if os.path.lexists(target):
            return False
        os.rename(source, target)
        return True
    os.unlink(source)
    return True


def _exchange(one: str, other: str) -> bool:
    """Exchange two names at once; False where the system cannot."""
    if _call is None:
        return False
    if _call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), other)
