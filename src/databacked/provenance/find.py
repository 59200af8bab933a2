"""Which place a file lies in, and which places lie below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from databacked.project.folders import STATE


def is_place(folder: Path) -> bool:
    """Whether a folder is a place: records lie in it."""
    return os.path.isdir(folder / STATE / "journals")  # one that is closed to us is none


def place_above(path: Path) -> Path | None:
    """Return the place that a file or folder lies in; None if it lies in none."""
    return next((folder for folder in path.parents if is_place(folder)), None)


def places_below(folder: Path) -> Iterator[Path]:
    """Yield the places below a folder, itself included; none lies in another one."""
    if is_place(folder):
        yield folder
        return
    for below, folders, _ in os.walk(folder):
        places = [name for name in sorted(folders) if is_place(Path(below, name))]
        yield from (Path(below, name) for name in places)
        folders[:] = sorted(
            name
            for name in folders
            if name not in places and not name.startswith(".") and name != "__pycache__"
        )
