"""What an item reads is looked at before and after its function: what changed meanwhile counts.

A value that was made while an input changed is kept, but under no recipe that anybody will ask for:
the next run makes it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from databacked.fingerprint.files import SeenFiles
from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.parameters import content
from databacked.fingerprint.urls import is_url
from databacked.graph.copies import parts_of
from databacked.places.backed import Backed
from databacked.storage.looks import stat_of


class Changed(NamedTuple):
    """A value that is not kept, and which input changed while it was made."""

    value: Any
    what: str


class Given(NamedTuple):
    """An argument as it was given, with what it counts by."""

    name: str
    value: Any
    token: str


def watch(
    given: Sequence[Given],
    reads: Sequence[tuple[str, str, str]],
    values: Mapping[str, Any],
    files: SeenFiles,
    how: str,
    root: str,
) -> Callable[[], list[str]]:
    """Look at the inputs of an item; returns what looks again and names those that changed.

    Parameters
    ----------
    given
        Arguments: files by name, and what may hold paths.
    reads
        Further files that a task reads, with what they count by and how.
    values
        What the function gets: results that are read by their path or piece by piece.
    """
    looked_at = [part for value in values.values() for part in parts_of(value, (Path, Backed))]
    if not looked_at and not reads and not any(one.token.startswith("file:") for one in given):
        return list  # as for most items: nothing that could change
    paths: list[tuple[str, str, str, str]] = []
    holding: list[Given] = []
    for one in given:
        if one.token.startswith("file:") and isinstance(one.value, str | PurePath):
            if not is_url(os.fspath(one.value)):
                paths.append((one.name, os.fspath(one.value), one.token, how))
        elif one.token.startswith("h:") and any(True for _ in parts_of(one.value, Path)):
            holding.append(one)
    paths += [(path, path, token, which) for path, token, which in reads]
    before = [_look(path) for _, path, _, _ in paths]
    inside = [[_look(path) for path in parts_of(one.value, Path)] for one in holding]
    backed = [part for part in looked_at if isinstance(part, Backed)]

    def changed() -> list[str]:
        for one in backed:
            one._check()
        found = [
            name
            for (name, path, token, which), look in zip(paths, before, strict=True)
            if _look(path) != look or files.token(path, which) != token
        ]
        return found + [
            one.name
            for one, looks in zip(holding, inside, strict=True)
            if [_look(path) for path in parts_of(one.value, Path)] != looks
            or content(one.value, root) != one.token
        ]

    return changed


def nobody_asks_for(recipe: str, run: str) -> str:
    """Return the recipe of what was made while an input of it changed."""
    return hash_texts([recipe, "an input changed while it was made", run])


def _look(path: Any) -> Any:
    try:
        found = os.stat(path)
        return (found.st_ino, *stat_of(str(path)))
    except (OSError, ValueError):
        return None
