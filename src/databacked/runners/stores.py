"""Where values stay that are not kept: in memory, or in a folder that processes share."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import cloudpickle

from databacked.errors import DatabackedError, StorageError
from databacked.runners.base import Key
from databacked.runners.sending import sending

HELD_BYTES = 256 << 20
"""Bytes of held values that stay in memory; what is beyond goes to the scratch folder."""


class MemoryStore:
    """Values of this process; large ones beyond `limit` bytes in all wait on disk."""

    def __init__(self, scratch: Path, limit: int = HELD_BYTES) -> None:
        self._scratch = FolderStore(scratch)
        self._limit = limit
        self._held: dict[Key, Any] = {}
        self._sizes: dict[Key, int] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def put(self, key: Key, value: Any) -> None:
        """Hold a value."""
        size = nbytes(value)
        with self._lock:
            fits = self._bytes + size <= self._limit or size < 4096
            if fits:
                self._held[key] = value
                self._sizes[key] = size
                self._bytes += size
        if not fits:
            try:
                self._scratch.put(key, value)
            except DatabackedError:  # it cannot be pickled: it stays in memory, whatever it takes
                with self._lock:
                    self._held[key], self._sizes[key] = value, 0

    def get(self, key: Key) -> Any:
        """Return a held value."""
        with self._lock:
            if key in self._held:
                return self._held[key]
        return self._scratch.get(key)

    def drop(self, key: Key) -> None:
        """Let a value go."""
        with self._lock:
            if key in self._held:
                del self._held[key]
                self._bytes -= self._sizes.pop(key)
                return
        self._scratch.drop(key)


class FolderStore:
    """Values as files of a scratch folder: how they get from one process to another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, key: Key) -> Path:
        return self.folder / f"{key[0]}-{key[1]}.pickle"

    def put(self, key: Key, value: Any) -> None:
        """Hold a value; a reader never sees half of it."""
        path = self._path(key)
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file, sending("what this item returned"):
                cloudpickle.dump(value, file, protocol=5)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def get(self, key: Key) -> Any:
        """Return a held value; arrays are read-only if they were."""
        try:
            with open(self._path(key), "rb") as file:
                return pickle.load(file)
        except FileNotFoundError:
            if self._path(key).exists():
                raise  # the value's own code
            raise StorageError(
                f"{self.folder}, where values wait that are not kept, was cleared by something "
                "else during the run. Run again: what is done is kept."
            ) from None

    def drop(self, key: Key) -> None:
        """Let a value go."""
        self._path(key).unlink(missing_ok=True)


def nbytes(value: Any) -> int:
    """Return roughly how much memory a value takes, in bytes."""
    try:
        return _nbytes(value)
    except Exception:  # of an object's own code, such as a __getattr__
        return object.__sizeof__(value)


def _nbytes(value: Any) -> int:
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    if isinstance(value, list | tuple | set | frozenset):
        return sum(nbytes(item) for item in value)
    if isinstance(value, dict):
        return sum(nbytes(item) for item in value.values())
    if hasattr(value, "memory_usage"):
        used = value.memory_usage(deep=False)
        return int(used.sum() if hasattr(used, "sum") else used)
    return sys.getsizeof(value)
