"""What a file or folder given as input counts by: its content and its last name.

The hash is remembered as long as size and modification time stay, as git's index does; the memory
is a cache of this machine, never part of the records.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import stat as stat_module
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xxhash import xxh3_128

from databacked.fingerprint.hashes import BLOCK, hash_file, hash_texts
from databacked.fingerprint.urls import is_url, url_token
from databacked.storage.descriptors import Descriptor, opened_of
from databacked.storage.looks import EXPECTED, files_in, is_special, look_at, stat_of, to_open

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
        self._opened: list[Descriptor] = []
        self._finalizer: Any = None
        self._tried = False
        self._unwritten: list[tuple[str | bytes, str, str]] = []
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
                    "SELECT hash FROM hashes WHERE path = ? AND identity = ?",
                    (_key(path), identity),
                ).fetchone()
            except sqlite3.Error:
                return None
        return row[0] if row else None

    def remember(self, found: Iterable[tuple[str, str, str]]) -> None:
        """Store (path, identity, hash) of several files."""
        rows = list(found)
        self._known.update((path, (identity, digest)) for path, identity, digest in rows)
        with self._lock:
            self._unwritten += [(_key(path), identity, digest) for path, identity, digest in rows]
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
        if self._connection is not None and not all(one.is_ours for one in self._opened):
            self._abandon()
        if not self._tried:
            self._tried = True
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self._file, timeout=5, check_same_thread=False)
                self._finalizer = weakref.finalize(self, connection.close)
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS hashes"
                    " (path TEXT PRIMARY KEY, identity TEXT, hash TEXT)"
                )
                self._opened = opened_of(self._file)
                self._connection = connection
            except (sqlite3.Error, OSError):
                self._connection = None
        return self._connection

    def _abandon(self) -> None:
        """Let go of a connection whose file somebody closed: the number may be theirs by now."""
        self._finalizer.detach()
        # Never closed, not even when Python ends: that would close what has the number now.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self._connection, self._tried = None, False


def _key(path: str) -> str | bytes:
    """Return a path as SQLite takes it: one that is no text as its bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


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
    if kind := is_special(found.st_mode):
        return kind  # never opened
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


def tree_hash(hashes: Mapping[str, str]) -> str:
    """Return the content hash of a folder, from those of its files by their path in it.

    A path has ``/`` between its parts, whatever the system has. A folder without files does not
    count, as in git.
    """
    return "tree" + hash_texts(part for name in sorted(hashes) for part in (name, hashes[name]))


def file_token(path: str, how: str = "sampled") -> str:
    """Return the token of a file or folder: last name and content.

    A file that is missing or cannot be read gets a token that says so: its item, and no other one,
    will fail with the reason.

    Parameters
    ----------
    how
        ``sampled``: a file over 256 MiB counts by its size and sampled blocks; ``full``: by all of
        its bytes; ``stat``: any file counts by size and modification time.
    """
    if is_url(path):
        return url_token(path)
    name = _named(path)
    try:
        to_open(path)
        if how == "stat":
            return "file:{}:stat:{}:{}".format(name, *stat_of(path))
        return f"file:{name}:{content_of(path, sampled=how == 'sampled')}"
    except OSError as error:
        return f"file:{name}:{error.strerror}"


def _named(path: str) -> str:
    """Return the last name of a path as tokens hold it: without what stands between tokens."""
    return os.path.basename(path).replace("\x1f", r"\x1f")


def refusal(token: str | None) -> str:
    """Return why what a token stands for must not be opened; empty for everything else."""
    if token is None or not token.endswith(EXPECTED):
        return ""
    return token.split(":", 1)[1].replace(":", ": ", 1)


def file_tokens(paths: Sequence[str], how: str = "sampled") -> dict[str, str]:
    """Return the token of each distinct file or folder, several at once."""
    distinct = list(dict.fromkeys(paths))
    if len(distinct) < 4:
        return {path: file_token(path, how) for path in distinct}
    with memory().collecting(), ThreadPoolExecutor(min(16, len(distinct))) as pool:
        tokens = pool.map(lambda path: file_token(path, how), distinct)
        return dict(zip(distinct, tokens, strict=True))


def known_file_tokens(paths: Sequence[str], how: str = "sampled") -> dict[str, str | None]:
    """Return the token of each distinct file whose content need not be read to know it.

    None stands for the others: folders, and files that changed since they were hashed.
    """
    distinct = [path for path in dict.fromkeys(paths) if not is_url(path)]
    # Of a URL only asking tells, and that is for where the item runs.
    found: dict[str, str | None] = dict.fromkeys(path for path in paths if is_url(path))
    if how == "stat":
        tokens = look_at(lambda path: file_token(path, how), distinct)
        return {**found, **dict(zip(distinct, tokens, strict=True))}
    for path, info in zip(distinct, look_at(_stat_or_none, distinct), strict=True):
        if info is None:
            found[path] = file_token(path, how)
            continue
        large = how == "sampled" and info.st_size > SAMPLED_ABOVE
        key = os.path.abspath(path) + ("\0sampled" if large else "")
        known = None
        if not stat_module.S_ISDIR(info.st_mode):
            known = memory().find(key, _identity(info))
        found[path] = None if known is None else f"file:{_named(path)}:{known}"
    return found


class SeenFiles:
    """Tokens of files as one run saw them first: each is read once, whoever asks at once."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str, str], str] = {}
        self._locks: dict[str, threading.Lock] = {}

    def token(self, path: str, how: str) -> str:
        """Return the token of a file, read unless it is what it was."""
        if is_url(path):
            return self._of_url(path)
        with self._locks.setdefault(path, threading.Lock()):
            try:
                info = os.stat(path)
                inside = stat_of(path) if stat_module.S_ISDIR(info.st_mode) else ""
                key = (path, how, f"{_identity(info)} {inside}")
            except OSError:
                return file_token(path, how)
            found = self._tokens.get(key)
            if found is None:
                found = self._tokens[key] = file_token(path, how)
            return found

    def _of_url(self, url: str) -> str:
        with self._locks.setdefault(url, threading.Lock()):
            key = (url, "", "")
            if key not in self._tokens:  # asked once a run
                self._tokens[key] = url_token(url)
            return self._tokens[key]


def _stat_or_none(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _identity(found: os.stat_result) -> str:
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}"


def _tree(folder: str, sampled: bool) -> str:
    return tree_hash({name: _inside(path, sampled) for name, path in files_in(folder)})


def _inside(path: str, sampled: bool) -> str:
    """Return what one thing in a folder counts by: what cannot be read hides none of the others."""
    try:
        if not os.path.isdir(path):  # those here could not be listed
            return content_of(path, sampled=sampled)
        why = "not listed"
    except OSError as error:
        why = f"{error.strerror}"
    found = os.lstat(path)
    if stat_module.S_ISLNK(found.st_mode):
        return f"{why}: {os.readlink(path)}"
    return f"{why}: {found.st_size} {found.st_mtime_ns}"


def _sampled(path: str, size: int) -> str:
    digest = xxh3_128(b"%d" % size)
    with open(path, "rb", buffering=0) as file:
        for sample in range(SAMPLES):
            file.seek((size - BLOCK) * sample // (SAMPLES - 1))
            digest.update(file.read(BLOCK))
    return "sampled:" + digest.hexdigest()
