"""Whether the files are there that a manifest names, under names that work everywhere."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from databacked.datasets.layout import SHOWN
from databacked.datasets.rows import Rows


def check_files(
    columns: Mapping[str, Sequence[str | None]],
    index: pd.Index[Any],
    root: Path,
    problems: list[str],
) -> frozenset[str]:
    """Report files that are missing, and return which paths are folders.

    One listing for each folder with many of them.
    """
    by_folder: defaultdict[str, set[str]] = defaultdict(set)
    for path in {path for paths in columns.values() for path in paths if path is not None}:
        folder, _, name = path.rpartition("/")
        by_folder[folder].add(name)
    there: set[str] = set()
    directories: set[str] = set()
    for folder, names in by_folder.items():
        prefix = folder + "/" if folder else ""
        listed: dict[str, bool] = {}
        if len(names) > SHOWN:
            try:
                with os.scandir(root / folder) as entries:
                    # What a link leads to may be gone.
                    listed = {e.name: e.is_dir() for e in entries if not e.is_symlink()}
            except (OSError, ValueError):
                continue
        for name in names:
            is_folder = listed.get(name)
            if is_folder is None:  # a link, or a disk with names in another case or Unicode form
                full = os.path.join(root, prefix + name)
                if not os.path.exists(full):
                    continue
                is_folder = os.path.isdir(full)
            there.add(prefix + name)
            if is_folder:
                directories.add(prefix + name)
    for column, paths in columns.items():
        missing = [n for n, path in enumerate(paths) if path is not None and path not in there]
        if missing:
            rows = Rows(pd.Series(list(paths), index=index, dtype=object))
            hint = _other_form([str(paths[n]) for n in missing], root)
            problems.append(f"{column}: no such file in {rows.named(missing)}{hint}")
    return frozenset(directories)


def _other_form(paths: Iterable[str], root: Path) -> str:
    """Say if files are there under a name that only looks the same."""
    for path in paths:
        if not path.isascii():
            for form in ("NFC", "NFD"):
                if os.path.exists(os.path.join(root, unicodedata.normalize(form, path))):
                    return (
                        f"; a file is there whose name has other Unicode characters that look the "
                        f"same ({form}): unicodedata.normalize({form!r}, path) gives it"
                    )
    return ""


def check_keys(
    located: dict[str, list[tuple[str | None, str | None]]], problems: list[str]
) -> None:
    """Report different files that would get one name, also on a disk that ignores case."""
    first: dict[str, tuple[str, str]] = {}
    collisions: dict[str, list[str]] = {}
    for column, found in located.items():
        for path, key in dict.fromkeys(found):
            if path is None or key is None:
                continue
            other = first.setdefault(_folded(key), (path, key))
            if other[0] != path:
                collisions.setdefault(column, []).append(f"{other[0]} and {path} (both {key})")
    for column, found in located.items():
        for path, key in dict.fromkeys(found):
            folder = _folded(key or "").rpartition("/")[0]
            while "/" in folder:
                if folder in first:
                    said = (
                        f"{first[folder][0]} and {path} ({first[folder][1]} is in the way of {key})"
                    )
                    collisions.setdefault(column, []).append(said)
                folder = folder.rpartition("/")[0]
    for column, said_of in collisions.items():
        shown = "; ".join(said_of[:SHOWN])
        more = f"; and {len(said_of) - SHOWN:,} more" if len(said_of) > SHOWN else ""
        problems.append(
            f"{column}: {len(said_of):,} files would share a name: {shown}{more}. Rename "
            "them, or use targets that differ by more than their folder or case"
        )


def _folded(key: str) -> str:
    """Return a name as the most forgiving disk sees it."""
    if key.isascii():
        return key.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", key).casefold())
