"""Columns of a manifest: paths below the root, plain values, no others."""

from __future__ import annotations

import datetime
import io
import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from databacked.datasets.layout import IDENTITY, IS_URL
from databacked.datasets.rows import Rows, column_names, is_nothing
from databacked.errors import did_you_mean
from databacked.project.folders import STATE
from databacked.serializers.sameness import is_unicode


def plain_columns(
    table: pd.DataFrame,
    filepath_columns: Sequence[str] | None,
    metadata_columns: Sequence[str] | None,
    problems: list[str],
) -> tuple[list[str], list[str]]:
    """Return the columns that hold no files, each as it can be written."""
    names = list(table.columns)
    given: list[list[str]] = []
    for role, columns in (("filepath", filepath_columns), ("metadata", metadata_columns)):
        for name in column_names(columns):
            if name not in names:
                in_index = name in [str(level) for level in table.index.names]
                hint = "; it is the index: table.reset_index() makes it a column"
                problems.append(
                    f"the {role} column {name!r} is not in the table"
                    + (hint if in_index else did_you_mean(name, names))
                    + f" (it has {', '.join(map(repr, names))})"
                )
        given.append([name for name in column_names(columns) if name in names])
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


def paths_of(
    column: pd.Series[Any], name: str, optional: bool, root: Path, problems: list[str]
) -> list[tuple[str | None, str | None]]:
    """Return path below the root and key of each cell."""
    wrong: dict[str, list[int]] = {}
    found: list[tuple[str | None, str | None]] = []
    below = _Below(root)
    for position, cell in enumerate(column.tolist()):
        relative = target = None
        problem = ""
        if type(cell) is not str and is_nothing(cell):
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
        if "://" in given and IS_URL.match(given):
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


def plain_column(
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
        if is_nothing(cell):
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
    if IDENTITY.search(name) and nothing.any() and known.size and (known == np.trunc(known)).all():
        problems.append(
            f"{name}: whole numbers became {column.dtype} ({known[0]}) because there is none in "
            f"{Rows(column).named(np.flatnonzero(nothing).tolist())}. Leave these rows out, or "
            f"keep empty cells with table[{name!r}].astype('Int64')"
        )
