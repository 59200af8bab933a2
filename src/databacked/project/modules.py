"""Modules whose file was changed after they were imported: in a session the old code goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

_HEADER = 16
"""Bytes at the start of compiled code: mark, flags, and time and size of its source (PEP 552)."""

_seen: dict[str, tuple[Any, tuple[int, int] | None]] = {}
"""By file: which import of it was seen, and how the file looked then; None if it was newer."""


def is_session() -> bool:
    """Whether somebody types here, so that what was imported stays: a notebook, a prompt."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def older_than_files(symbols: Iterable[str], root: Path) -> list[str]:
    """Return the modules whose files were changed since they were imported.

    Parameters
    ----------
    symbols
        What code reaches, as records know it: file below the root (or module), and name.
    """
    files = {_file_of(symbol.rpartition(":")[0], root) for symbol in symbols} - {""}
    modules = {
        os.path.realpath(file): module
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None))
    }
    found = ((modules.get(file), file) for file in sorted(files))
    return [one.__name__ for one, file in found if one is not None and _is_older(one, file)]


def _file_of(place: str, root: Path) -> str:
    if place.endswith(".py"):
        return os.path.realpath(root / place)
    file = getattr(sys.modules.get(place), "__file__", None)
    return os.path.realpath(file) if file else ""


def _is_older(module: ModuleType, file: str) -> bool:
    spec = getattr(module, "__spec__", None)
    try:
        info = os.stat(file)
    except OSError:
        return False
    now = info.st_size, info.st_mtime_ns
    known = _seen.get(file)
    if known is None or known[0] is not spec:  # imported, or reloaded, since the last look
        known = _seen[file] = spec, None if _was_compiled_before(spec, file) else now
    return known[1] != now


def _was_compiled_before(spec: Any, file: str) -> bool:
    """Whether the compiled code that the import left is of an older state of the file."""
    cached = getattr(spec, "cached", None)
    if not cached or sys.dont_write_bytecode:
        return False
    try:
        with open(cached, "rb") as compiled:
            header = compiled.read(_HEADER)
        info = os.stat(file)
    except OSError:
        return False
    if len(header) < _HEADER or header[4:8] != bytes(4):  # by hash: nothing of time is told
        return False
    told = (int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:16], "little"))
    return told != (int(info.st_mtime) & 0xFFFFFFFF, info.st_size & 0xFFFFFFFF)
