"""Whether a dataset on disk is what its manifest says."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from databacked.datasets.files import check_files
from databacked.datasets.layout import MANIFEST, PARTS, SHOWN, csv_of, provenance_of, text_of
from databacked.datasets.links import check_links
from databacked.datasets.manifest import check_name
from databacked.datasets.rows import Rows
from databacked.fingerprint.files import content_of, memory

# Looking at a dataset again


def problems_on_disk(folder: Path, root: Path) -> list[str]:
    """Return what is not as the dataset in a folder says, with files below a root."""
    problems = [f"{name} is missing" for name in PARTS if not (folder / name).is_file()]
    said = provenance_of(folder)
    if isinstance(said, str):
        return [*problems, *([said] if "provenance.json is missing" not in problems else [])]
    problems += check_name(said["name"])
    for name, content in dict(said.get("written", {})).items():
        if name != MANIFEST and (folder / name).is_file():
            if content_of(folder / name) != content:
                problems.append(f"{name} was changed since it was written")
        elif name == "dropped.csv":
            problems.append("dropped.csv is missing")
    if (folder / "README.md").is_file():
        try:
            text = text_of(folder / "README.md")
        except UnicodeDecodeError:
            problems.append("README.md is not UTF-8 text")
        else:
            problems += [f"README.md {link}" for link in check_links(text, folder, root)]
    try:
        table = pd.read_parquet(folder / "manifest.parquet")
    except FileNotFoundError:
        return problems
    except Exception as error:
        return [*problems, f"manifest.parquet cannot be read ({error})"]
    if (folder / MANIFEST).is_file():
        problems += _compare_csv((folder / MANIFEST).read_bytes(), table)
    if len(table) != said.get("rows"):
        problems.append(f"the manifest has {len(table):,} rows, provenance.json {said.get('rows')}")
    paths: dict[str, list[str | None]] = {}
    for column in said["filepath_columns"]:
        if column not in table.columns:
            problems.append(f"manifest.parquet has no filepath column {column!r}")
            continue
        paths[column] = _relative(table[column], column, problems)
    check_files(paths, table.index, root, problems)
    problems += _compare_files(paths, said["files"], root)
    return problems


def _relative(column: pd.Series[Any], name: str, problems: list[str]) -> list[str | None]:
    """Return paths of a manifest; what is no relative path is reported."""
    cells = [cell if isinstance(cell, str) else None for cell in column.tolist()]
    odd = [n for n, p in enumerate(cells) if p and (p[0] == "/" or ".." in p.split("/"))]
    if odd:
        problems.append(f"{name}: not relative to the project in {Rows(column).named(odd)}")
    wrong = set(odd)
    return [None if n in wrong else path for n, path in enumerate(cells)]


def _compare_csv(data: bytes, table: pd.DataFrame) -> list[str]:
    """Say where the CSV differs from the Parquet; how lines end and cells are quoted is free."""
    expected = csv_of(table)
    if data == expected:
        return []
    try:
        texts = [io.StringIO(one.decode("utf-8-sig"), newline="") for one in (data, expected)]
        there, rows = ([row for row in csv.reader(text, strict=True)] for text in texts)
    except (UnicodeDecodeError, csv.Error) as error:
        return [f"{MANIFEST} cannot be read ({error})"]
    if not there or there[0] != rows[0]:
        head = ", ".join(there[0] if there else ())
        return [f"{MANIFEST} has the columns {head}; manifest.parquet has {', '.join(rows[0])}"]
    if len(there) != len(rows):
        return [
            f"{MANIFEST} has {len(there) - 1:,} rows, manifest.parquet {len(rows) - 1:,} of them"
        ]
    differing = [
        f"row {n} {name!r}: {one[:60]!r} in {MANIFEST}, {other[:60]!r} in manifest.parquet"
        for n, (row, known) in enumerate(zip(there[1:], rows[1:], strict=True))
        for name, one, other in zip(rows[0], row, known, strict=False)
        if one != other or len(row) != len(known)
    ]
    return _some(differing)


def _compare_files(
    columns: Mapping[str, Sequence[str | None]], files: Mapping[str, Any], root: Path
) -> list[str]:
    """Return which files the provenance does not list, and which are not as their records say."""
    listed: dict[tuple[str, str], Any] = {
        (key.partition("/")[0], entry["path"]): entry.get("content")
        for key, entry in files.items()
        if isinstance(entry, dict) and "path" in entry
    }
    problems: list[str] = []
    known: list[tuple[str, str, str]] = []
    for column, paths in columns.items():
        unlisted: list[str] = []
        for path in dict.fromkeys(path for path in paths if path is not None):
            if (column, path) not in listed:
                unlisted.append(f"{column}: provenance.json does not list {path}")
            elif content := listed[column, path]:
                known.append((column, path, content))
        problems += _some(unlisted)
    with memory().collecting(), ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda one: _content(root / one[1]), known)
        changed = [
            f"{column}: {path} was changed since the dataset was made; run its flow again"
            for (column, path, content), there in zip(known, found, strict=True)
            if there is not None and there != content
        ]
    return problems + _some(changed)


def _content(path: Path) -> str | None:
    """Return what a file holds; None if it is missing, which is said elsewhere."""
    try:
        return content_of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{error.strerror}"


def _some(problems: Sequence[str]) -> list[str]:
    """Return the first problems of a kind, and how many more there are."""
    more = len(problems) - SHOWN
    return [*problems[:SHOWN], *([f"… and {more:,} more like this"] if more > 0 else [])]
