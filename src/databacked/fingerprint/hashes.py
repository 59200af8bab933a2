"""Content hashes inside a project: xxh3-128, fast, not cryptographic.

Versions of datasets, which leave the project, use SHA-256 instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xxhash import xxh3_128, xxh3_128_hexdigest

BLOCK = 1 << 20
"""Bytes read at once when a file is hashed."""


hash_one = xxh3_128_hexdigest
"""Returns the hash of one buffer, for those that are many."""


def hash_bytes(*parts: bytes | memoryview | Any) -> str:
    """Return the hash of the concatenated buffers as 32 hex digits."""
    if len(parts) == 1:
        return xxh3_128(parts[0]).hexdigest()
    digest = xxh3_128()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def hash_texts(parts: Iterable[str]) -> str:
    """Return the hash of a list of texts; no two different lists share their bytes."""
    digest = xxh3_128()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def hash_file(path: Path | str) -> str:
    """Return the hash of a file's bytes, read in blocks of 1 MiB."""
    digest = xxh3_128()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
