"""The table of a dataset: checked as a whole, and turned into relative paths and plain values.

task → runner → result → serializer → storage → record → [dataset] → version → remote
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from databacked.datasets.columns import paths_of, plain_column, plain_columns
from databacked.datasets.files import check_files, check_keys
from databacked.datasets.layout import PART
from databacked.datasets.rows import column_names, is_nothing
from databacked.errors import DatasetError, did_you_mean
from databacked.serializers.sameness import is_unicode
from databacked.types import Failed


@dataclass(frozen=True)
class Manifest:
    """A checked table: relative paths, plain metadata, and what was left out."""

    table: pd.DataFrame
    """Metadata, and filepath columns as POSIX paths relative to the project root, as given."""

    filepath_columns: tuple[str, ...]
    metadata_columns: tuple[str, ...]
    keys: pd.DataFrame
    """For each filepath column the name of each file inside the dataset."""

    dropped: pd.DataFrame
    """Rows of failed items: label, position, column, reason."""

    directories: frozenset[str] = frozenset()
    """Paths that are folders: an OME-Zarr is one value."""


def check_name(name: Any) -> list[str]:
    """Return what is wrong with a dataset's name: ``owner/project/dataset`` or ``owner/name``."""
    parts = name.split("/") if isinstance(name, str) else []
    if len(parts) in (2, 3) and all(PART.fullmatch(part) and "--" not in part for part in parts):
        return []
    return [
        f"the name {name!r}: owner/project/dataset or owner/name was expected, of letters, digits, "
        "_ and single -"
    ]


def check_table(
    table: Any,
    *,
    root: Path,
    filepath_columns: Sequence[str] | None = None,
    metadata_columns: Sequence[str] | None = None,
    optional_columns: Sequence[str] = (),
) -> tuple[Manifest | None, list[str]]:
    """Return the manifest of a table, and every problem that it has.

    Parameters
    ----------
    root
        The project's root: relative paths start there, and no file may lie outside.

    Returns
    -------
    The manifest (None if there are problems), and the problems, each with row labels and positions.
    """
    if not isinstance(table, pd.DataFrame):
        return None, [f"a DataFrame was expected, not a {type(table).__name__}"]
    problems = _check_column_names(table.columns)
    if problems:
        return None, problems
    index_names = [str(name) for name in table.index.names if name is not None]
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    names = list(table.columns)
    table, dropped = _without_failed(table)
    if table.empty:
        left_out = f" ({len(dropped)} rows of failed items were left out)" if len(dropped) else ""
        problems.append(f"the table has no rows{left_out}" if names else "the table has no columns")
    paths, metadata = plain_columns(table, filepath_columns, metadata_columns, problems)
    problems += [
        f"the index {name!r} would be lost; table.reset_index() makes it a column"
        for name in index_names
        if metadata_columns is None and name not in names
    ]
    problems += [
        f"the filepath column {name!r}: its name becomes a folder's, and cannot be one"
        for name in paths
        if not _is_folder_name(name)
    ]
    optional = column_names(optional_columns)
    problems += [
        f"the optional column {name!r} is not a filepath column{did_you_mean(name, paths)}"
        for name in optional
        if name not in paths
    ]
    located = {
        name: paths_of(table[name], name, name in optional, root, problems) for name in paths
    }
    relative = {name: [path for path, _ in found] for name, found in located.items()}
    directories = check_files(relative, table.index, root, problems)
    check_keys(located, problems)
    plain = {name: plain_column(table[name], name, root, problems) for name in metadata}
    if problems:
        return None, problems
    columns = {
        **{name: pd.Series(cells, dtype=object) for name, cells in relative.items()},
        **plain,
    }
    keys = {name: [key for _, key in found] for name, found in located.items()}
    kept = [name for name in names if name in columns]  # as the user has them
    index = pd.RangeIndex(len(table))
    return (
        Manifest(
            pd.DataFrame(columns, index=index, columns=kept),
            tuple(paths),
            tuple(metadata),
            pd.DataFrame(keys, index=index, columns=list(paths)),
            dropped,
            directories,
        ),
        [],
    )


def raise_problems(name: Any, problems: Sequence[str]) -> None:
    """Raise one `DatasetError` with all problems, if there are any."""
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise DatasetError(f"Dataset {name!r} has {len(problems)} problem(s):\n{listed}")


def _check_column_names(columns: pd.Index[Any]) -> list[str]:
    """Return what is wrong with names of columns, before anything is asked of a column."""
    if columns.nlevels > 1:
        return [f"its columns have {columns.nlevels} levels; plain names were expected"]
    problems: list[str] = []
    names = [str(name) for name in columns]
    if twice := [repr(name) for name, count in Counter(names).items() if count > 1]:
        problems.append(f"columns that stand twice: {', '.join(twice)}")
    nameless = [n for n, name in enumerate(columns) if is_nothing(name) or not str(name).strip()]
    if nameless:
        problems.append(f"columns without a name: position {', '.join(map(str, nameless))}")
    odd = [repr(name) for name in names if not is_unicode(name)]
    if odd:
        problems.append(f"columns whose names are no Unicode text: {', '.join(odd)}")
    return problems


def _written(text: str) -> str:
    """Return a text for a file, also where it names a file whose name is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_folder_name(name: str) -> bool:
    return name not in (".", "..") and name.isprintable() and not set(name) & set("/\\")


def _without_failed(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave out rows that hold a `Failed` mark, by position: labels may be anything."""
    reasons: dict[int, tuple[str, str]] = {}
    for name in table.columns:
        if table[name].dtype != object:
            continue
        for position, cell in enumerate(table[name].tolist()):
            if isinstance(cell, Failed):
                reasons.setdefault(position, (name, str(cell.failure)))
    positions = sorted(reasons)
    dropped = pd.DataFrame(
        {
            "row": [_written(str(table.index[position])) for position in positions],
            "position": positions,
            "column": [reasons[position][0] for position in positions],
            "reason": [_written(reasons[position][1]) for position in positions],
        }
    )
    keep = np.ones(len(table), dtype=bool)
    keep[positions] = False
    return (table.iloc[np.flatnonzero(keep)] if positions else table), dropped
