"""What a file or folder given as input counts by: its content and its last name.

The hash is remembered as long as size and modification time stay, as git's index does; the memory
is a cache of this machine, never part of the records.
"""

from __future__ import annotations

import os
import sqlite3
import stat as stat_module
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from xxhash import xxh3_128

from databacked.hashes import BLOCK, hash_file, hash_texts

SAMPLED_ABOVE = 256 << 20
"""Bytes above which a file counts by its size and sampled blocks."""

SAMPLES = 64
"""Blocks of 1 MiB that are read of a large file, evenly spaced, first and last among them."""

RACY_NS = 2_000_000_000
"""A file changed less than this before it was hashed may change again within one time stamp."""


CACHE = "DATABACKED_CACHE"
"""Environment variable that names this machine's cache folder."""


class HashMemory:
    """Hashes of files by path, size and times, in an SQLite file of this machine.

    A memory that cannot be opened or written is no error: files are hashed again.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or cache_folder() / "hashes.sqlite"
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, str]] = {}
        self._connection: sqlite3.Connection | None = None
        self._tried = False
        self._unwritten: list[tuple[str, str, str]] = []
        self._collecting = 0

    def find(self, path: str, identity: str) -> str | None:
        """Return the hash remembered for this path with this identity."""
        known = self._known.get(path)
        if known is not None and known[0] == identity:
            return known[1]
        with self._lock:
            connection = self._open()
            if connection is None:
                return None
            try:
                row = connection.execute(
                    "SELECT hash FROM hashes WHERE path = ? AND identity = ?", (path, identity)
                ).fetchone()
            except sqlite3.Error:
                return None
        return row[0] if row else None

    def remember(self, found: Iterable[tuple[str, str, str]]) -> None:
        """Store (path, identity, hash) of several files."""
        rows = list(found)
        self._known.update((path, (identity, digest)) for path, identity, digest in rows)
        with self._lock:
            self._unwritten += rows
            if not self._collecting:
                self._write()

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Write what is remembered in a ``with`` block at its end: one by one it takes longer."""
        with self._lock:
            self._collecting += 1
        try:
            yield
        finally:
            with self._lock:
                self._collecting -= 1
                if not self._collecting:
                    self._write()

    def _write(self) -> None:
        rows, self._unwritten = self._unwritten, []
        connection = self._open() if rows else None
        if connection is not None:
            try:
                with connection:
                    connection.executemany("REPLACE INTO hashes VALUES (?, ?, ?)", rows)
            except sqlite3.Error:
                pass  # a cache that is full or locked only costs time

    def _open(self) -> sqlite3.Connection | None:
        if not self._tried:
            self._tried = True
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self._file, timeout=5, check_same_thread=False)
                weakref.finalize(self, connection.close)
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS hashes"
                    " (path TEXT PRIMARY KEY, identity TEXT, hash TEXT)"
                )
                self._connection = connection
            except (sqlite3.Error, OSError):
                self._connection = None
        return self._connection


def cache_folder() -> Path:
    """Return this machine's cache folder: ``$DATABACKED_CACHE``, else below the user's cache."""
    if given := os.environ.get(CACHE):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "databacked"


_memory: HashMemory | None = None


def memory() -> HashMemory:
    """Return this process's memory of hashes."""
    global _memory
    if _memory is None:
        _memory = HashMemory()
    return _memory


def content_of(path: str | Path, *, sampled: bool = False) -> str:
    """Return the content hash of a file or folder, from memory where it did not change.

    Parameters
    ----------
    sampled
        Whether a file over 256 MiB counts by its size and 64 sampled blocks of 1 MiB; the hash
        then starts with ``sampled:``.

    Raises
    ------
    OSError
        If it is missing or cannot be read.
    """
    path = os.path.abspath(path)
    found = os.stat(path)
    if stat_module.S_ISDIR(found.st_mode):
        return _tree(path, sampled)
    large = sampled and found.st_size > SAMPLED_ABOVE
    key = f"{path}\0sampled" if large else path
    identity = _identity(found)
    known = memory().find(key, identity)
    if known is not None:
        return known
    started = time.time_ns()
    digest = _sampled(path, found.st_size) if large else hash_file(path)
    if started - max(found.st_mtime_ns, found.st_ctime_ns) > RACY_NS:
        memory().remember([(key, identity, digest)])
    return digest


def file_tokens(paths: Sequence[str]) -> dict[str, str]:
    """Return the token of each distinct file or folder: last name and content.

    Files that are missing or cannot be read get a token that says so: their item, and no other one,
    will fail with the reason.
    """
    distinct = list(dict.fromkeys(paths))

    def one(path: str) -> str:
        try:
            return f"file:{os.path.basename(path)}:{content_of(path, sampled=True)}"
        except OSError as error:
            return f"file:{os.path.basename(path)}:{error.strerror}"

    if len(distinct) < 4:
        return {path: one(path) for path in distinct}
    with memory().collecting(), ThreadPoolExecutor(min(16, len(distinct))) as pool:
        return dict(zip(distinct, pool.map(one, distinct), strict=True))


def _identity(found: os.stat_result) -> str:
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}"


def _tree(folder: str, sampled: bool) -> str:
    parts: list[str] = []
    for base, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            file = os.path.join(base, name)
            parts += [os.path.relpath(file, folder), content_of(file, sampled=sampled)]
    return "tree" + hash_texts(parts)


def _sampled(path: str, size: int) -> str:
    digest = xxh3_128(b"%d" % size)
    with open(path, "rb", buffering=0) as file:
        for sample in range(SAMPLES):
            file.seek((size - BLOCK) * sample // (SAMPLES - 1))
            digest.update(file.read(BLOCK))
    return "sampled:" + digest.hexdigest()
