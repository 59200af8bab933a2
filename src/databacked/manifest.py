"""The table of a dataset: checked as a whole, and turned into relative paths and plain values.

task → runner → result → serializer → storage → record → [dataset] → version → remote
"""

from __future__ import annotations

import datetime
import io
import math
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from databacked.errors import DatasetError, did_you_mean
from databacked.project import STATE
from databacked.sameness import is_unicode
from databacked.types import Failed

SHOWN = 5
"""How many rows of one kind of problem are named; the rest is counted."""

_PART = re.compile(r"\w[\w-]*")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")

_IDENTITY = re.compile(
    r"(?i:(?:^|[\W\d_])(?:ids?|idx|index|label|key))$|[a-z](?:Id|ID|Index|Label)$"
)
"""Names of columns that say which one a row is of, and do not measure it."""


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

    directories: frozenset[str] = frozenset()
    """Paths that are folders: an OME-Zarr is one value."""


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
    paths, metadata = _columns(table, filepath_columns, metadata_columns, problems)
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
    optional = _names(optional_columns)
    problems += [
        f"the optional column {name!r} is not a filepath column{did_you_mean(name, paths)}"
        for name in optional
        if name not in paths
    ]
    located = {name: _paths(table[name], name, name in optional, root, problems) for name in paths}
    relative = {name: [path for path, _ in found] for name, found in located.items()}
    directories = check_files(relative, table.index, root, problems)
    _check_keys(located, problems)
    plain = {name: _plain_column(table[name], name, root, problems) for name in metadata}
    if problems:
        return None, problems
    columns = {
        **{name: pd.Series(cells, dtype=object) for name, cells in relative.items()},
        **plain,
    }
    keys = {name: [key for _, key in found] for name, found in located.items()}
    index = pd.RangeIndex(len(table))
    return (
        Manifest(
            pd.DataFrame(columns, index=index, columns=[*paths, *metadata]),
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
    nameless = [n for n, name in enumerate(columns) if _is_nothing(name) or not str(name).strip()]
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


def _names(columns: Any) -> list[str]:
    """Return names of columns as texts, as those of the table are."""
    return [columns] if isinstance(columns, str) else [str(name) for name in columns or ()]


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


def _columns(
    table: pd.DataFrame,
    filepath_columns: Sequence[str] | None,
    metadata_columns: Sequence[str] | None,
    problems: list[str],
) -> tuple[list[str], list[str]]:
    names = list(table.columns)
    given: list[list[str]] = []
    for role, columns in (("filepath", filepath_columns), ("metadata", metadata_columns)):
        for name in _names(columns):
            if name not in names:
                in_index = name in [str(level) for level in table.index.names]
                hint = "; it is the index: table.reset_index() makes it a column"
                problems.append(
                    f"the {role} column {name!r} is not in the table"
                    + (hint if in_index else did_you_mean(name, names))
                    + f" (it has {', '.join(map(repr, names))})"
                )
        given.append([name for name in _names(columns) if name in names])
    paths, metadata = given
    if filepath_columns is None:
        paths = [
            name
            for name in names
            if name not in metadata
            and table[name].dtype == object
            and any(_is_path(cell) for cell in table[name].tolist())
        ]
        if not paths and names and len(table):
            problems.append(
                "no column holds results or paths; say which ones name files in filepath_columns="
                "[…], or [] for a table without files"
            )
    for name in dict.fromkeys(paths):
        if name in metadata:
            problems.append(f"the column {name!r} is named as a filepath and as a metadata column")
    if metadata_columns is None:
        metadata = [name for name in names if name not in paths]
    return list(dict.fromkeys(paths)), list(dict.fromkeys(metadata))


def _is_path(cell: Any) -> bool:
    # The class is asked: making the URI of each of many cells takes its time.
    return isinstance(cell, PurePath) or hasattr(type(cell), "uri")


def _paths(
    column: pd.Series[Any], name: str, optional: bool, root: Path, problems: list[str]
) -> list[tuple[str | None, str | None]]:
    """Return path below the root and key of each cell."""
    wrong: dict[str, list[int]] = {}
    found: list[tuple[str | None, str | None]] = []
    below = _Below(root)
    for position, cell in enumerate(column.tolist()):
        relative = target = None
        problem = ""
        if type(cell) is not str and _is_nothing(cell):
            # A column of texts cannot hold None: pandas keeps it as NaN.
            if not optional or (cell is not None and column.dtype == object):
                problem = "no path"
        else:
            given = cell
            if type(cell) is not str and _is_path(cell):
                target, given = getattr(cell, "target", None), getattr(cell, "path", cell)
            relative, problem = below.path(given)
        if problem:
            wrong.setdefault(problem, []).append(position)
        if relative is None:
            found.append((None, None))
        else:
            found.append((relative, f"{name}/{target or relative.rpartition('/')[2]}"))
    rows = Rows(column)
    for problem, positions in wrong.items():
        hint = (
            f"; name it in optional_columns=[{name!r}] if None may stand there"
            if problem == "no path" and not optional
            else ""
        )
        problems.append(f"{name}: {problem} in {rows.named(positions)}{hint}")
    return found


class _Below:
    """Says where a path lies below the root, whichever of its names the root is called by."""

    def __init__(self, root: Path) -> None:
        self.root = root
        names = dict.fromkeys((os.path.abspath(root), os.path.realpath(root)))
        self._bases = [name.rstrip(os.sep) + os.sep for name in names]

    def path(self, given: Any) -> tuple[str | None, str]:
        """Return the relative path with ``/``, or None, and what is wrong with it."""
        if not isinstance(given, str):
            try:
                given = os.fspath(given)
            except TypeError:
                return None, "neither a path nor a result"
        if not isinstance(given, str) or not given:
            return None, "neither a path nor a result"
        if "://" in given and _URL.match(given):
            return None, "a URL; a file of the project was expected"
        path = given if given.startswith(os.sep) else self._bases[0] + given
        if ".." in given:  # what lies above a link is not what lies above its name
            folder, last = os.path.split(path)
            path = os.path.join(os.path.realpath(folder), last)
        path = os.path.normpath(path)
        for base in self._bases:
            if path.startswith(base):
                relative = path[len(base) :].replace(os.sep, "/")
                if not is_unicode(relative):
                    return None, "a name that is no Unicode text"
                if STATE in relative.split("/"):
                    return None, f"a file of {STATE}, which is databacked's own"
                return relative, ""
        return None, f"outside of the project {self.root}"


class Rows:
    """Names rows by label and position."""

    def __init__(self, column: pd.Series[Any]) -> None:
        self.index, self.cells = column.index, column

    def named(self, positions: Sequence[int]) -> str:
        """Return how many rows there are, and the first of them with what stands there."""
        shown = [
            f"row {_label(self.index[p])!r} (position {p}): {_short(self.cells.iloc[p])}"
            for p in positions[:SHOWN]
        ]
        more = len(positions) - SHOWN
        return f"{len(positions):,} row(s): {'; '.join(shown)}" + (
            f"; and {more:,} more" if more > 0 else ""
        )


def _label(label: Any) -> Any:
    """Return a row's label as a user writes it: 2, not np.int64(2)."""
    if isinstance(label, tuple):
        return tuple(map(_label, label))
    return label.item() if isinstance(label, np.number) else label


def _short(cell: Any) -> str:
    text = repr(_label(cell))
    return text if len(text) <= 60 else text[:57] + "…"


def _is_nothing(cell: Any) -> bool:
    return (
        cell is None
        or cell is pd.NA
        or cell is pd.NaT
        or (isinstance(cell, float) and math.isnan(cell))
    )


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


def _check_keys(
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


def _plain_column(
    column: pd.Series[Any], name: str, root: Path, problems: list[str]
) -> pd.Series[Any]:
    """Return a metadata column as it comes back from Parquet."""
    before = len(problems)
    if column.dtype == object:
        column = _plain_cells(column, name, root, problems)
    elif isinstance(column.dtype, pd.CategoricalDtype):
        if column.cat.categories.dtype.kind in "iu":  # with a gap they come back as 1.0, 2.0, NaN
            column = column.astype("Int64" if column.isna().any() else "int64")
    elif isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        _check_numbers(column, name, problems)
    table = pd.DataFrame({name: column.reset_index(drop=True)})
    if len(problems) > before:
        return table[name]
    try:
        file = io.BytesIO()
        table.to_parquet(file, index=False)
        kept = pd.read_parquet(file)[name]
        kept.to_csv(io.StringIO(), index=False)
    except Exception as error:
        why = " ".join(str(error).split())[:80]
        problems.append(f"{name}: {column.dtype} cannot be kept in CSV and Parquet ({why})")
        return table[name]
    return kept


def _plain_cells(
    column: pd.Series[Any], name: str, root: Path, problems: list[str]
) -> pd.Series[Any]:
    """Return a column of Python objects as one of numbers, texts or dates."""
    cells: list[Any] = []
    wrong: dict[str, list[int]] = {}
    below = _Below(root)
    for position, cell in enumerate(column.tolist()):
        if isinstance(cell, np.datetime64):
            cell = pd.Timestamp(cell)
        elif isinstance(cell, np.generic):
            cell = cell.item()
        if _is_nothing(cell):
            cells.append(None)
        elif isinstance(cell, PurePath):
            relative, problem = below.path(cell)
            if problem:
                wrong.setdefault(problem, []).append(position)
            cells.append(relative)
        elif isinstance(cell, str):  # also a text that is a member of an Enum
            text = str.__str__(cell)
            if not is_unicode(text):
                wrong.setdefault("cannot be kept, as it is no Unicode text", []).append(position)
                text = ""
            cells.append(text)
        elif not isinstance(cell, Enum) and isinstance(
            cell, bool | int | float | datetime.date | datetime.time
        ):
            cells.append(cell)
        else:
            wrong.setdefault("no plain value (number, text, date)", []).append(position)
            cells.append(None)
    rows = Rows(column)
    for problem, positions in wrong.items():
        problems.append(f"{name}: {problem} in {rows.named(positions)}")
    kinds = {type(cell) for cell in cells if cell is not None}
    if len(kinds) > 1 and kinds != {int, float}:
        kinds_named = ", ".join(sorted(kind.__name__ for kind in kinds))
        problems.append(f"{name}: mixes {kinds_named}; one kind of value was expected")
        return pd.Series(cells, dtype=object)
    gap = None in cells
    dtype: str | type | None = None
    if kinds == {int}:  # pandas would make whole numbers with a gap 1.0, 2.0, NaN
        dtype = "Int64" if gap else "int64"
    elif kinds == {bool}:
        dtype = "boolean" if gap else "bool"
    elif kinds <= {str}:
        dtype = object
    try:
        return pd.Series(cells, dtype=dtype)
    except (OverflowError, ValueError) as error:
        problems.append(f"{name}: cannot be kept in CSV and Parquet ({error})")
        return pd.Series(cells, dtype=object)


def _check_numbers(column: pd.Series[Any], name: str, problems: list[str]) -> None:
    """Report identities that a missing one has turned into decimal numbers."""
    values = column.to_numpy()
    nothing = np.isnan(values)
    known = values[~nothing]
    if _IDENTITY.search(name) and nothing.any() and known.size and (known == np.trunc(known)).all():
        problems.append(
            f"{name}: whole numbers became {column.dtype} ({known[0]}) because there is none in "
            f"{Rows(column).named(np.flatnonzero(nothing).tolist())}. Leave these rows out, or "
            f"keep empty cells with table[{name!r}].astype('Int64')"
        )


def as_rows(values: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *rows = [
        [" ".join(str(cell).replace("|", "\\|").split()) for cell in row] for row in values
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
