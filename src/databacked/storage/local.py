"""Files on a local or mounted disk.

A result becomes visible by one rename. Where nothing was, the rename does not replace (so that a
file saved by hand in that moment is not lost); where something was, both names are exchanged and
what came out is looked at again before it goes.
"""

from __future__ import annotations

import errno
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from stat import S_ISDIR

from databacked.errors import StorageError
from databacked.project.folders import STATE, obstacle, owner_of
from databacked.storage.base import Storage
from databacked.storage.live import JOURNAL, is_live
from databacked.storage.looks import (
    Stat,
    look_at,
    stat_of,
)
from databacked.storage.renames import copy, exchange, move_new, remove, rename_new

FEW = 16
"""Up to this many targets in a folder are looked up one by one instead of listing it."""

SHARE = 8
"""A folder is listed for at least one in so many of its entries: an entry of a listing takes an
eighth of the time of a single look."""

_BESIDE = re.compile(rf"\.databacked-({JOURNAL})-.*").fullmatch
"""A file that is not visible yet, where it cannot be in the place's own temporary folder."""


class LocalStorage(Storage):
    """A folder as a place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._base = str(folder) + os.sep
        self._made: set[str] = set()
        self._entries: dict[str, int] = {}
        """How many entries each folder had when it was listed last."""

    def __reduce__(self) -> tuple[type[Storage], tuple[Path]]:
        return type(self), (self.folder,)  # what is known of its folders may be otherwise elsewhere

    def find(self, targets: Iterable[str]) -> dict[str, Stat]:
        by_folder: defaultdict[str, list[str]] = defaultdict(list)
        for target in targets:
            by_folder[target.rpartition("/")[0]].append(target)
        found: dict[str, Stat] = {}
        single: list[str] = []
        for folder, inside in by_folder.items():
            if len(inside) <= max(FEW, self._entries.get(folder, 0) // SHARE):
                single += inside
            else:
                self._list(folder, set(inside), found)
        for target, one in zip(single, look_at(self.stat, single), strict=True):
            if one is not None:
                found[target] = one
        return found

    def _list(self, folder: str, wanted: set[str], found: dict[str, Stat]) -> None:
        prefix = folder + "/" if folder else ""
        base = self._base + folder
        try:
            # By its number: a look at an entry then follows no path.
            number = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with os.scandir(number) as entries:
                    every = list(entries)
                there = [one for one in every if prefix + one.name in wanted]
                looks = look_at(partial(_stat_if_there, base), there)
            finally:
                os.close(number)
        except OSError as error:
            if not _is_missing(error):
                raise self._error(error, folder, "listed") from error
            return
        self._entries[folder] = len(every)
        found.update(
            (prefix + entry.name, look)
            for entry, look in zip(there, looks, strict=True)
            if look is not None
        )

    def stat(self, target: str) -> Stat | None:
        try:
            return stat_of(self._base + target)
        except OSError as error:
            if _is_missing(error):
                return None
            raise self._error(error, target, "looked up") from error

    def read(self, target: str) -> bytes:
        return (self.folder / target).read_bytes()

    def publish(self, temporary: str, target: str, judged: Stat | None) -> bool:
        final = self._base + target
        parent = final.rpartition(os.sep)[0]
        try:
            if judged is None:
                if parent not in self._made:
                    _make_folder(parent)
                    self._made.add(parent)
                return rename_new(temporary, final)
            return self._replace(temporary, target, judged)
        except OSError as error:
            if error.errno == errno.EXDEV and os.path.dirname(temporary) != parent:
                return self._publish_beside(temporary, target, judged)
            if error.errno == errno.ENOENT and os.path.lexists(temporary):
                if judged is not None:
                    return False  # the file that was judged went this moment
                if why := obstacle(Path(parent)):
                    raise StorageError(f"{final} cannot be written: {why}.") from error
                if parent in self._made:  # the folder went since it was made
                    self._made.discard(parent)
                    return self.publish(temporary, target, judged)
            raise self._error(error, target, "written") from error

    def _replace(self, temporary: str, target: str, judged: Stat) -> bool:
        final = self._base + target
        if self.stat(target) != judged:
            return False
        try:
            exchanged = exchange(temporary, final)
        except OSError as error:
            if error.errno != errno.EXDEV or os.path.dirname(temporary) != os.path.dirname(final):
                raise
            # A folder in a lower layer of an overlay cannot be renamed: old one out, new one in.
            remove(final)
            return rename_new(temporary, final)
        if not exchanged:
            if os.path.isdir(temporary) or os.path.isdir(final):
                # Old one out, new one in: a kill between them means missing, never mixed.
                return self.withdraw(target, judged, f"{temporary}.out") and rename_new(
                    temporary, final
                )
            os.replace(temporary, final)
            return True
        # What came out lies at the temporary name now: if it is not what was judged, both
        # go back to where they were.
        if _stat_itself(temporary) != judged:
            exchange(temporary, final)
            return False
        remove(temporary)
        return True

    def _publish_beside(self, temporary: str, target: str, judged: Stat | None) -> bool:
        """Publish by a copy beside the target: its folder is on another disk, or in a layer."""
        beside = self._beside(temporary, target)
        try:
            copy(temporary, beside)
            done = self.publish(beside, target, judged)
        except OSError as error:
            raise self._error(error, target, "written") from error
        finally:
            remove(beside)
        if done:
            remove(temporary)
        return done

    def _beside(self, temporary: str, target: str) -> str:
        """Return a hidden name in a target's folder, and clear those that ended runs left there."""
        parent = (self._base + target).rpartition(os.sep)[0]
        journals = Path(self._base, STATE, "journals")
        with os.scandir(parent) as entries:
            hidden = [(one.path, found[1]) for one in entries if (found := _BESIDE(one.name))]
        for path, journal in hidden:
            if not is_live(journals / f"{journal}.tsv"):
                with suppress(OSError):  # another user's: it is theirs to clear
                    remove(path)
        folder, name = os.path.split(temporary)
        return f"{parent}{os.sep}.databacked-{os.path.basename(folder)}-{name}"

    def withdraw(self, target: str, judged: Stat, temporary: str) -> bool:
        final = self._base + target
        try:
            if self.stat(target) != judged:
                return False
            try:
                os.rename(final, temporary)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                if os.path.dirname(temporary) != os.path.dirname(final):
                    return self.withdraw(target, judged, self._beside(temporary, target))
                remove(final)  # a folder in a lower layer of an overlay
                return True
            if _stat_itself(temporary) != judged:
                if not rename_new(temporary, final):  # a third one took its place: keep both
                    self._keep_aside(temporary, "conflict", target)
                return False
            remove(temporary)
        except OSError as error:
            if error.errno == errno.ENOENT and not os.path.lexists(final):
                return True  # another run took it away: that is what was wanted
            raise self._error(error, target, "removed") from error
        return True

    def move_aside(self, target: str, run: str) -> str:
        return self._keep_aside(self._base + target, run, target)

    def _keep_aside(self, source: str, run: str, target: str) -> str:
        base = os.path.join(self._base, STATE, "replaced", run, target)
        aside, number = base, 1
        try:
            os.makedirs(os.path.dirname(base), exist_ok=True)
            while not move_new(source, aside):
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


def _stat_if_there(folder: str, entry: os.DirEntry[str]) -> Stat | None:
    try:
        info = entry.stat()
        if S_ISDIR(info.st_mode):
            return stat_of(f"{folder}{os.sep}{entry.name}")
    except OSError as error:
        if _is_missing(error):
            return None  # gone since it was listed
        raise
    return tuple.__new__(Stat, (info.st_size, info.st_mtime_ns))  # as `Stat(…)`, in half the time


def _stat_itself(path: str) -> Stat:
    """Return what lies at a path; a link is itself, and not what it leads to."""
    info = os.lstat(path)
    return stat_of(path) if S_ISDIR(info.st_mode) else Stat(info.st_size, info.st_mtime_ns)


def _is_missing(error: OSError) -> bool:
    """Whether a look failed because there is nothing, and for some names never can be."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path)  # nearly always that is all
    except FileExistsError:
        return
    except FileNotFoundError:
        os.makedirs(path, exist_ok=True)


def storage_error(error: OSError, path: str, what: str) -> StorageError:
    """Return the error of the operating system in words that say what to do."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            advice = "the disk is full; free some space and run again, what is done is kept"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            owner = owner_of(path)
            advice = f"no permission; it is {owner}'s: ask for access or choose another place"
        case errno.ENAMETOOLONG:
            advice = "the name is too long for this disk; shorten the target"
        case errno.ENOTDIR | errno.EISDIR:
            advice = "a file and a folder share this name; move one of them"
        case _:
            advice = "look at the disk, then run again; what is done is kept"
    raised = StorageError(f"{path} could not be {what}: {error.strerror or error} ({advice}).")
    raised.errno = error.errno  # type: ignore[attr-defined]
    return raised
