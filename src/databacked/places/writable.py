"""Whether a place takes what is about to be made: asked before the work, not after it."""

from __future__ import annotations

import os
from pathlib import Path

from databacked.errors import StorageError
from databacked.project.folders import STATE, can_write, obstacle, space_left

LEAST_SPACE = 16 << 10
"""Bytes below which a disk is full before the work: records alone need that much."""


def check_writable(place: Path, name: str) -> None:
    """Raise `StorageError` if what a task of this name is about to make cannot be kept there."""
    state = place / STATE
    inside = (state, state / "journals", state / "tmp") if os.path.lexists(state) else ()
    for folder in (place, *inside):
        if not can_write(folder):
            if why := obstacle(folder):
                raise StorageError(f"{name}: nothing can be kept in {place}: {why}.")
            raise StorageError(
                f"{name}: some of its results are missing or stale, and new ones cannot be "
                f"kept in {place}: no permission to write to {folder}. Ask for write "
                "access, or choose another place. Nothing was computed for it."
            )
    left = space_left(place)
    if left is not None and left < LEAST_SPACE:
        raise StorageError(
            f"{name}: some of its results are missing or stale, and new ones cannot be kept in "
            f"{place}: the disk is full; free some space and run again. Nothing was "
            "computed for it."
        )
