"""A mark in the time of what databacked writes: a file of ours is known without its record.

The time of a file is set anyway when it is written, to the hundredth of a second. The digits below
that hold a check of its content and its target: a file that carries it was written by us and not
touched since, even where its record is lost, and whatever the clocks say. Disks that keep times
less exactly than to 100 ns (FAT, HFS+, some archives) do not hold it, nor do copies without times.
"""

from __future__ import annotations

from databacked.fingerprint.hashes import hash_texts

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


def _mark(content: str, target: str) -> int:
    # Never 0, which is what times look like that are kept less exactly.
    return (int(hash_texts([content, target])[:12], 16) % (EXACT // DIGIT - 1) + 1) * DIGIT
