"""The table of a dataset: checked as a whole, and turned into relative paths and plain values.

task → runner → result → serializer → storage → record → [dataset] → version → remote
"""

from __future__ import annotations

import datetime
import math
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from databacked.errors import DatasetError, did_you_mean
from databacked.types import Failed

SHOWN = 5
"""How many rows of one kind of problem are named; the rest is counted."""

_PART = re.compile(r"\w[\w-]*")


@dataclass(frozen=True)
class Manifest:
    """A checked table: relative paths, plain metadata, and what was left out."""

    table: pd.DataFrame
    """Filepath columns as POSIX paths relative to the project root, then metadata columns."""

    filepath_columns: tuple[str, ...]
    metadata_columns: tuple[str, ...]
    keys: pd.DataFrame
    """For each filepath column the name of each file inside the dataset."""

    dropped: pd.DataFrame
    """Rows of failed items: label, position, column, reason."""


def check_name(name: Any) -> list[str]:
    """Return what is wrong with a dataset's name: ``owner/project/dataset`` or ``owner/name``."""
    parts = name.split("/") if isinstance(name, str) else []
    if len(parts) in (2, 3) and all(_PART.fullmatch(part) and "--" not in part for part in parts):
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
    problems: list[str] = []
    twice = table.columns[table.columns.duplicated()].unique().tolist()
    if twice:
        return None, [f"columns that stand twice: {', '.join(map(repr, twice))}"]
    names = [str(name) for name in table.columns]
    table = table.set_axis(names, axis=1)
    table, dropped = _without_failed(table)
    if table.empty:
        left_out = f" ({len(dropped)} rows of failed items were left out)" if len(dropped) else ""
        problems.append(f"the table has no rows{left_out}" if names else "the table has no columns")
    paths, metadata = _columns(table, filepath_columns, metadata_columns, problems)
    for name in optional_columns:
        if name not in paths:
            problems.append(
                f"the optional column {name!r} is not a filepath column{did_you_mean(name, paths)}"
            )
    located = {
        name: _paths(table[name], name, name in optional_columns, root, problems) for name in paths
    }
    keys = {name: [key for _, key in found] for name, found in located.items()}
    _check_files(
        {name: [path for path, _ in found] for name, found in located.items()},
        table.index,
        root,
        problems,
    )
    _check_keys(located, table.index, problems)
    plain = {name: _plain_column(table[name], name, problems) for name in metadata}
    if problems:
        return None, problems
    relative = {name: [path for path, _ in found] for name, found in located.items()}
    index = pd.RangeIndex(len(table))
    return (
        Manifest(
            pd.DataFrame({**relative, **plain}, index=index, columns=[*paths, *metadata]),
            tuple(paths),
            tuple(metadata),
            pd.DataFrame(keys, index=index, columns=list(paths)),
            dropped,
        ),
        [],
    )


def raise_problems(name: Any, problems: Sequence[str]) -> None:
    """Raise one `DatasetError` with all problems, if there are any."""
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise DatasetError(f"Dataset {name!r} has {len(problems)} problem(s):\n{listed}")


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
            "row": [str(table.index[position]) for position in positions],
            "position": positions,
            "column": [reasons[position][0] for position in positions],
            "reason": [reasons[position][1] for position in positions],
        }
    )
    keep = np.ones(len(table), dtype=bool)
    keep[positions] = False
    return (table.iloc[np.flatnonzero(keep)] if positions else table), dropped


def _columns(
    table: pd.DataFrame,
    filepath_columns: Sequence[str] | None,
    metadata_columns: Sequence[str] | None,
    problems: list[str],
) -> tuple[list[str], list[str]]:
    names = list(table.columns)
    given: list[list[str]] = []
    for role, columns in (("filepath", filepath_columns), ("metadata", metadata_columns)):
        if isinstance(columns, str):
            problems.append(f"{role}_columns={columns!r}: a list of column names was expected")
            columns = [columns]
        for name in columns or ():
            if name not in names:
                problems.append(
                    f"the {role} column {name!r} is not in the table{did_you_mean(name, names)} "
                    f"(it has {', '.join(map(repr, names))})"
                )
        given.append([name for name in columns or () if name in names])
    paths, metadata = given
    if filepath_columns is None:
        paths = [
            name
            for name in names
            if name not in metadata and any(_is_path(cell) for cell in table[name].tolist()[:100])
        ]
    for name in set(paths) & set(metadata):
        problems.append(f"the column {name!r} is named as a filepath and as a metadata column")
    if metadata_columns is None:
        metadata = [name for name in names if name not in paths]
    return list(dict.fromkeys(paths)), list(dict.fromkeys(metadata))


def _is_path(cell: Any) -> bool:
    return isinstance(cell, PurePath) or (hasattr(cell, "path") and hasattr(cell, "uri"))


def _paths(
    column: pd.Series[Any], name: str, optional: bool, root: Path, problems: list[str]
) -> list[tuple[str | None, str | None]]:
    """Return path below the root and key of each cell."""
    missing: list[int] = []
    odd: list[int] = []
    outside: list[int] = []
    found: list[tuple[str | None, str | None]] = []
    base = str(root) + os.sep
    for position, cell in enumerate(column.tolist()):
        if _is_nothing(cell):
            # A column of texts cannot hold None: pandas keeps it as NaN.
            if not optional or (cell is not None and column.dtype == object):
                missing.append(position)
            found.append((None, None))
            continue
        given = getattr(cell, "path", cell) if _is_path(cell) else cell
        if not isinstance(given, str | PurePath) or not str(given):
            odd.append(position)
            found.append((None, None))
            continue
        path = os.path.normpath(os.path.join(base, str(given)))
        if not path.startswith(base):
            outside.append(position)
            found.append((None, None))
            continue
        relative = path[len(base) :].replace(os.sep, "/")
        below = getattr(cell, "target", None) or relative.rpartition("/")[2]
        found.append((relative, f"{name}/{below}"))
    rows = _Rows(column)
    if missing:
        hint = (
            "" if optional else f"; name it in optional_columns=[{name!r}] if None may stand there"
        )
        problems.append(f"{name}: no path in {rows.named(missing)}{hint}")
    if odd:
        problems.append(f"{name}: neither a path nor a result in {rows.named(odd)}")
    if outside:
        problems.append(f"{name}: outside of the project {root} in {rows.named(outside)}")
    return found


class _Rows:
    """Names rows by label and position."""

    def __init__(self, column: pd.Series[Any]) -> None:
        self.index, self.cells = column.index, column

    def named(self, positions: Sequence[int], of: Sequence[str] | None = None) -> str:
        shown = [
            f"row {self.index[p]!r} (position {p}): {of[n] if of else _short(self.cells.iloc[p])}"
            for n, p in enumerate(positions[:SHOWN])
        ]
        more = len(positions) - SHOWN
        return f"{len(positions):,} row(s): {'; '.join(shown)}" + (
            f"; and {more:,} more" if more > 0 else ""
        )


def _short(cell: Any) -> str:
    text = repr(cell)
    return text if len(text) <= 60 else text[:57] + "…"


def _is_nothing(cell: Any) -> bool:
    return (
        cell is None
        or cell is pd.NA
        or cell is pd.NaT
        or (isinstance(cell, float) and math.isnan(cell))
    )


def _check_files(
    columns: dict[str, list[str | None]], index: pd.Index[Any], root: Path, problems: list[str]
) -> None:
    """Report files that are missing; one listing for each folder with many of them."""
    by_folder: defaultdict[str, set[str]] = defaultdict(set)
    for path in {path for paths in columns.values() for path in paths if path is not None}:
        by_folder[os.path.dirname(path)].add(os.path.basename(path))
    there: set[str] = set()
    for folder, names in by_folder.items():
        prefix = folder + "/" if folder else ""
        if len(names) <= SHOWN:
            there |= {prefix + name for name in names if (root / folder / name).exists()}
            continue
        try:
            there |= {prefix + entry.name for entry in os.scandir(root / folder)}
        except OSError:
            continue
    for column, paths in columns.items():
        missing = [n for n, path in enumerate(paths) if path is not None and path not in there]
        if missing:
            rows = _Rows(pd.Series(paths, index=index, dtype=object))
            problems.append(f"{column}: no such file in {rows.named(missing)}")


def _check_keys(
    located: dict[str, list[tuple[str | None, str | None]]],
    index: pd.Index[Any],
    problems: list[str],
) -> None:
    """Report different files that would get one name, also on a disk that ignores case."""
    for column, found in located.items():
        first: dict[str, tuple[str, str]] = {}
        collisions: list[str] = []
        for path, key in found:
            if path is None or key is None:
                continue
            other = first.setdefault(unicodedata.normalize("NFC", key).casefold(), (path, key))
            if other[0] != path:
                collisions.append(f"{other[0]} and {path} (both {key})")
        if collisions:
            shown = "; ".join(collisions[:SHOWN])
            more = f"; and {len(collisions) - SHOWN} more" if len(collisions) > SHOWN else ""
            problems.append(
                f"{column}: {len(collisions):,} files would share a name: {shown}{more}. Rename "
                "them, or use targets that differ by more than their folder or case"
            )


def _plain_column(column: pd.Series[Any], name: str, problems: list[str]) -> Any:
    """Return a metadata column that CSV and Parquet can hold."""
    if column.dtype != object:
        return column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array
    cells: list[Any] = []
    odd: list[int] = []
    for position, cell in enumerate(column.tolist()):
        if _is_nothing(cell):
            cells.append(None)
        elif isinstance(cell, np.generic):
            cells.append(cell.item())
        elif isinstance(cell, PurePath):
            cells.append(cell.as_posix())
        elif isinstance(cell, bool | int | float | str | datetime.date | datetime.time):
            cells.append(cell)
        else:
            odd.append(position)
            cells.append(None)
    if odd:
        problems.append(
            f"{name}: no plain value (number, text, date) in {_Rows(column).named(odd)}"
        )
    kinds = {type(cell) for cell in cells if cell is not None}
    if len(kinds) > 1 and not kinds <= {int, float, bool}:
        kinds_named = ", ".join(sorted(kind.__name__ for kind in kinds))
        problems.append(f"{name}: mixes {kinds_named}; one kind of value was expected")
    return pd.Series(cells, dtype=object if kinds <= {str} or not kinds else None).array


_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<img[^>]+src=[\"']([^\"']+)[\"']")


def check_links(text: str, folder: Path) -> list[str]:
    """Return the local files that a Markdown text links to and that are missing."""
    links = {one or other for one, other in _LINK.findall(text)}
    return sorted(
        link
        for link in links
        if not re.match(r"[a-zA-Z][\w+.-]*:|#|//", link)
        and not (folder / link.partition("#")[0]).exists()
    )


def as_rows(values: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *rows = [[str(cell).replace("|", "\\|") for cell in row] for row in values]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
