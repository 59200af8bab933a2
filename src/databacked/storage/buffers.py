"""Bytes that are at hand, written and hashed at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from xxhash import xxh3_128

BLOCK = 1 << 20
"""Bytes that are hashed and written at once: they are still in the processor's cache then."""

NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def write_new(buffers: Sequence[bytes | memoryview], path: str | Path) -> tuple[str, int]:
    """Write buffers one after another to a new file; return its hash (xxh3-128), and its bytes."""
    file = os.open(path, NEW, 0o666)
    try:
        return write_hashed(file, buffers)
    finally:
        os.close(file)


def write_hashed(file: int, buffers: Sequence[bytes | memoryview]) -> tuple[str, int]:
    """Write buffers one after another to an open file; return hash and number of the bytes."""
    digest, size = xxh3_128(), sum(map(len, buffers))
    if size <= 2 * BLOCK:
        for one in buffers:
            digest.update(one)
        if os.writev(file, buffers) != size:
            os.lseek(file, 0, os.SEEK_SET)  # a full disk, or a signal: once more, and it says which
            for one in buffers:
                _write(file, memoryview(one))
        return digest.hexdigest(), size
    for one in buffers:
        whole = memoryview(one)
        for start in range(0, len(whole), BLOCK):
            block = whole[start : start + BLOCK]
            digest.update(block)
            _write(file, block)
    return digest.hexdigest(), size


def _write(file: int, block: memoryview) -> None:
    while block:
        block = block[os.write(file, block) :]
