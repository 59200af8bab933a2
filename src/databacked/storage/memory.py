"""Bytes in the memory of this process: a place for tests, and a second reading of the contract."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from databacked.errors import StorageError
from databacked.storage.base import Storage
from databacked.storage.looks import Stat, files_in
from databacked.storage.renames import remove


class MemoryStorage(Storage):
    """Names in a dictionary; those of one folder are one place, whoever made the storage.

    Parameters
    ----------
    folder
        What the place is called; nothing of it has to be on a disk.
    """

    _places: dict[str, _Names] = {}  # noqa: RUF012 (shared on purpose, as a disk is)
    _guard = threading.Lock()

    def __init__(self, folder: Path | str = "") -> None:
        self.folder = Path(folder)
        with self._guard:
            self._names = self._places.setdefault(os.fspath(folder), _Names())

    def find(self, names: Iterable[str]) -> dict[str, Stat]:
        with self._names.lock:
            looks = {name: self._names.look(name) for name in names}
        return {name: look for name, look in looks.items() if look is not None}

    def stat(self, name: str) -> Stat | None:
        with self._names.lock:
            return self._names.look(name)

    def read(self, name: str) -> bytes:
        with self._names.lock:
            held = self._names.held.get(name)
        if held is None:
            raise FileNotFoundError(f"{name}: there is nothing of this name")
        return held.files[""]

    def publish(self, temporary: str, name: str, judged: Stat | None) -> bool:
        files = (
            {below: Path(path).read_bytes() for below, path in files_in(temporary)}
            if os.path.isdir(temporary)
            else {"": Path(temporary).read_bytes()}
        )
        with self._names.lock:
            if self._names.look(name) != judged:
                return False
            self._names.hold(name, files)
        remove(temporary)
        return True

    def move_aside(self, name: str, run: str) -> str:
        with self._names.lock:
            held = self._names.held.pop(name, None)
            if held is None:
                raise StorageError(f"{name} cannot be moved aside: it is not there.")
            aside = f".databacked/replaced/{run}/{name}"
            free = (f"{aside}.{number}" if number else aside for number in count())
            found = next(one for one in free if one not in self._names.held)
            self._names.hold(found, held.files)
        return found

    def withdraw(self, name: str, judged: Stat, temporary: str) -> bool:
        with self._names.lock:
            if self._names.look(name) != judged:
                return False
            del self._names.held[name]
        return True


class _Names:
    """What one place holds."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.held: dict[str, _Held] = {}
        self._versions = count(1)

    def look(self, name: str) -> Stat | None:
        held = self.held.get(name)
        if held is None:
            return None
        return Stat(sum(map(len, held.files.values())), held.version)

    def hold(self, name: str, files: dict[str, bytes]) -> None:
        self.held[name] = _Held(files, next(self._versions))


class _Held:
    """A file, or a folder with what is below it."""

    def __init__(self, files: dict[str, bytes], version: int) -> None:
        self.files = files
        self.version = version
        """Another one each time it is written: its time, so to speak."""
