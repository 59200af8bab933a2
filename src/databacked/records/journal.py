"""The journal that this process appends to, one in each place."""

from __future__ import annotations

import atexit
import errno
import fcntl
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from databacked.project.folders import make_state_folder
from databacked.records.book import registry_lock
from databacked.records.record import FORMAT, HEADER, context_line
from databacked.storage.descriptors import Descriptor
from databacked.storage.live import JOURNAL
from databacked.storage.renames import clear_folder

is_temporary = re.compile(JOURNAL).fullmatch


class Journal:
    """This process's own journal in one place; append is one write."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._file: Descriptor | None = None
        self._folder: Descriptor | None = None
        self._temporary = ""
        self._made: list[str] = []
        self._defined: set[str] = set()
        self._torn = False
        self._count = 0

    def append(self, line: bytes, context: str, fields: Mapping[str, Any]) -> None:
        """Append the line of a record, and that of its context the first time.

        Raises
        ------
        OSError
            If the disk is full or not writable; the record then does not count.
        """
        with self._lock:
            file = self._open()
            data = line
            if context not in self._defined:
                data = context_line(context, fields) + line
            if self._torn:
                data = b"\n" + data
            try:
                written = os.write(file.number, data)
            except OSError:
                self._torn = True
                raise
            if written != len(data):
                self._torn = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._torn = False
            self._defined.add(context)

    def temporary(self, suffix: str) -> str:
        """Return a fresh name for a file that is not visible yet, on the same disk."""
        with self._lock:
            self._open()
            if self._folder is None or not self._folder.has_name:
                self._make_folder()  # somebody removed it
            self._count += 1
            return f"{self._temporary}{os.sep}{self._count}{suffix}"

    def _open(self) -> Descriptor:
        if self._file is not None and not self._file.has_name:
            self._file.close()  # somebody removed it, or closed its number: begin a new one
            self._file = None
            self._defined.clear()
        if self._file is None:
            folder = make_state_folder(self.place) / "journals"
            folder.mkdir(exist_ok=True)
            # Sorted by time of start, so that a reader meets old claims first.
            name = f"{time.time_ns():019d}-{secrets.token_hex(4)}"
            path = folder / f"{name}.tsv"
            self._file = _begin_journal(folder / f".{name}", path)
            _take_group(self.place, path)
            self._temporary = str(folder.parent / "tmp" / name)
            self._made.append(self._temporary)
            self._make_folder()
        return self._file

    def _make_folder(self) -> None:
        """Make the folder of files that are not visible yet."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None
        os.makedirs(self._temporary, exist_ok=True)
        _take_group(self.place, self._temporary)
        self._folder = Descriptor(os.open(self._temporary, os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        """Close the journal: from now on it is one of an ended run."""
        with self._lock:
            if self._file is not None:
                if self._folder is not None:  # before it goes: some disks then know it no more
                    self._folder.close()
                for folder in self._made:
                    clear_folder(folder)
                self._file.close()
                self._made.clear()
                self._folder = self._file = None
                self._defined.clear()


def _begin_journal(hidden: Path, path: Path) -> Descriptor:
    """Make a journal that is locked and has its first line before anybody can see it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    number = os.open(hidden, flags, 0o666)
    try:
        # Held while this process lives: an unlocked journal is one of an ended run.
        fcntl.flock(number, fcntl.LOCK_EX)
        header = HEADER % FORMAT
        if os.write(number, header) != len(header):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.rename(hidden, path)
    except BaseException:
        os.close(number)
        hidden.unlink(missing_ok=True)
        raise
    return Descriptor(number)


_journals: dict[tuple[int, str], Journal] = {}


@atexit.register
def close_journals() -> None:
    """Close all journals of this process; the next record opens new ones."""
    mine = [key for key in _journals if key[0] == os.getpid()]
    for journal in [_journals.pop(key) for key in mine]:
        journal.close()


def journal_of(place: Path) -> Journal:
    """Return this process's journal in a place, created with its first record."""
    key = (os.getpid(), str(place))
    found = _journals.get(key)
    if found is None:
        with registry_lock:
            found = _journals.setdefault(key, Journal(place))
    return found


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Let one process at a time write what several files of a place are; others wait.

    Where a disk has no locks, nobody waits: what was written has to be looked at then.
    """
    guard = None
    try:
        name = make_state_folder(place) / "writing.lock"
        guard = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(guard, fcntl.LOCK_EX)
    except OSError:
        pass
    try:
        yield
    finally:
        if guard is not None:
            os.close(guard)


def _take_group(place: Path, path: str | Path) -> None:
    """Hand the group of a place down, as its setgid bit asks for, where the system did not.

    That is so where ``.databacked`` is older than the bit: every result comes from a folder in it.
    """
    above = os.stat(place)
    if not above.st_mode & stat.S_ISGID:
        return
    mine = os.lstat(path)
    if mine.st_gid != above.st_gid and not stat.S_ISLNK(mine.st_mode):
        try:
            os.chown(path, -1, above.st_gid, follow_symlinks=False)
            if stat.S_ISDIR(mine.st_mode):
                os.chmod(path, stat.S_IMODE(mine.st_mode) | stat.S_ISGID)
        except OSError:
            pass  # not a member of the group: what others can do is theirs to say
