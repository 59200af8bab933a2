"""A mark in the time of what databacked writes: a file of ours is known without its record.

The time of a file is set anyway when it is written, to the hundredth of a second. The digits below
that hold a check of its content and its target: a file that carries it was written by us and not
touched since, even where its record is lost, and whatever the clocks say. Disks that keep times
less exactly than to 100 ns (FAT, HFS+, some archives) do not hold it, nor do copies without times.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from stat import S_ISDIR

from databacked.fingerprint.hashes import hash_texts
from databacked.storage.looks import Stat, first_own_file, stat_of

EXACT = 10_000_000
"""Nanoseconds to which a marked time tells when a file was written."""


DIGIT = 100
"""Nanoseconds that count one in the mark: what Windows' disks and shares tell apart."""


def marked(time_ns: int, content: str, target: str) -> int:
    """Return a time, in nanoseconds, with the mark of a content at a target."""
    return time_ns - time_ns % EXACT + _mark(content, target)


def is_marked(time_ns: int, content: str, target: str) -> bool:
    """Whether a time, in nanoseconds, carries the mark of a content at a target."""
    return time_ns % EXACT == _mark(content, target)


def time_written(path: Path) -> int:
    """Return the time in which a mark would stand: a file's own, or that of a folder's first."""
    first = first_own_file(str(path)) if os.path.isdir(path) else None
    return os.stat(first or path).st_mtime_ns


def settled(path: str, content: str, target: str, own: bool = False) -> Stat:
    """Give what was written a time that carries its mark, and return how it looks.

    Parameters
    ----------
    own
        Whether the user's own code wrote it: it may be one file with something else of theirs.
    """
    written_at = marked(time.time_ns(), content, target)
    if not (own and os.path.isfile(path) and os.lstat(path).st_nlink > 1):
        os.utime(path, ns=(written_at, written_at), follow_symlinks=False)
    info = os.stat(path)
    if not S_ISDIR(info.st_mode):
        return Stat(info.st_size, info.st_mtime_ns)
    # A folder's own time does not count, that of its first file does.
    if first := first_own_file(path):
        os.utime(first, ns=(written_at, written_at), follow_symlinks=False)
    return stat_of(path)


def _mark(content: str, target: str) -> int:
    # Never 0, which is what times look like that are kept less exactly.
    return (int(hash_texts([content, target])[:12], 16) % (EXACT // DIGIT - 1) + 1) * DIGIT
