"""A table becomes a working dataset: a folder with manifest, readme and provenance."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from databacked.datasets.dataset import Dataset
from databacked.datasets.layout import (
    MANIFEST,
    PARTS,
    csv_of,
    is_file,
    plain,
    provenance_of,
    text_of,
)
from databacked.datasets.links import move_links
from databacked.datasets.manifest import Manifest, check_table, raise_problems
from databacked.datasets.rows import as_rows
from databacked.datasets.settings import settings_problems
from databacked.errors import did_you_mean
from databacked.fingerprint.files import content_of
from databacked.fingerprint.hashes import hash_bytes
from databacked.records.journal import journal_of
from databacked.storage.renames import replace
from databacked.types import Json


def fingerprint_of(
    *, root: Path, readme: str | os.PathLike[str], extra_files: Sequence[Any] = (), **settings: Any
) -> dict[str, Json]:
    """Return what decides a dataset besides its table: settings, and the content of its texts."""
    said: dict[str, Json] = {name: plain(value) for name, value in sorted(settings.items())}
    said["readme"] = content_of(root / readme)
    said["extra_files"] = [content_of(root / extra) for extra in extra_files]
    for name in ("usage", "license"):
        text = settings.get(name)
        if text and is_file(root, text):
            said[name] = content_of(root / text)
    return said


def table_problems(
    table: Any,
    *,
    root: Path,
    filepath_columns: Sequence[str] | None = None,
    metadata_columns: Sequence[str] | None = None,
    optional_columns: Sequence[str] = (),
    descriptions: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    **_: Any,
) -> tuple[Manifest | None, list[str]]:
    """Return the manifest of a table, and what is wrong with it, what is said of it included."""
    manifest, problems = check_table(
        table,
        root=root,
        filepath_columns=filepath_columns,
        metadata_columns=metadata_columns,
        optional_columns=optional_columns,
    )
    known = [str(column) for column in table.columns] if isinstance(table, pd.DataFrame) else []
    for role, named in (("descriptions", descriptions or {}), ("units", units or {})):
        problems += [
            f"{role} names {one!r}, which is no column{did_you_mean(str(one), known)}"
            for one in named
            if known and one not in known
        ]
    return manifest, problems


def problems_of(table: Any, *, root: Path, **settings: Any) -> list[str]:
    """Return everything that is wrong with settings and table."""
    problems = settings_problems(root=root, **settings)
    try:
        _, of_table = table_problems(table, root=root, **settings)
    except (TypeError, AttributeError):
        if problems:  # a setting of another kind, which is among them
            return problems
        raise
    return list(dict.fromkeys([*problems, *of_table]))


def write_working_dataset(
    table: Any,
    *,
    folder: Path,
    root: Path,
    name: str,
    readme: str | os.PathLike[str],
    extra_files: Sequence[str | os.PathLike[str]] = (),
    usage: str | None = None,
    license: str | None = None,
    descriptions: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    record_of: Callable[[Any], Mapping[str, Any] | None] = lambda _: None,
    move_aside: Callable[[str], object] | None = None,
    **columns: Any,
) -> Dataset:
    """Check a table and write it as a working dataset.

    Files that come out the same are left alone, each other one is replaced as a whole, and the
    manifest goes first and comes last: a kill in between leaves no dataset, never a mixed one.

    Parameters
    ----------
    table
        A DataFrame; cells of filepath columns are backed arrays, paths or texts.
    record_of
        Gives the record of a cell, for the provenance of its row.
    move_aside
        Takes a file of the folder out of the way that is not as it was written.
    columns
        ``filepath_columns``, ``metadata_columns``, ``optional_columns``.

    Raises
    ------
    DatasetError
        With every problem of the table, before anything is written.
    """
    manifest, problems = table_problems(
        table, root=root, descriptions=descriptions, units=units, **columns
    )
    raise_problems(name, problems)
    assert manifest is not None
    parquet = io.BytesIO()
    manifest.table.to_parquet(parquet, index=False)
    # As it comes back, so that both manifests say the same.
    kept = pd.read_parquet(parquet)
    text = _readme(manifest, root, folder, name, readme, usage, license, descriptions, units)
    data = {
        "manifest.parquet": _same_parquet(folder / "manifest.parquet", parquet.getvalue(), kept),
        "README.md": text.encode("utf-8"),
        MANIFEST: csv_of(kept),
    }
    if len(manifest.dropped):
        data["dropped.csv"] = csv_of(manifest.dropped)
    about: dict[str, Any] = {
        "name": name,
        "root": os.path.relpath(root, folder).replace(os.sep, "/"),
        "filepath_columns": list(manifest.filepath_columns),
        "metadata_columns": list(manifest.metadata_columns),
        "rows": len(manifest.table),
        "dropped": len(manifest.dropped),
        "extra_files": [Path(extra).as_posix() for extra in extra_files],
        **(provenance or {}),
        "written": {name: hash_bytes(data[name]) for name in sorted(data)},
    }
    data["provenance.json"] = _json(about, _files(manifest, table, record_of))
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, data, move_aside)
    columns_kept, dropped = manifest.filepath_columns, len(manifest.dropped)
    return Dataset(name, folder, columns_kept, dropped, root, about["written"])


def _write(
    folder: Path, data: Mapping[str, bytes], move_aside: Callable[[str], object] | None
) -> None:
    """Replace what differs; what is there and not as it was written goes aside."""
    old = provenance_of(folder)
    written = {} if isinstance(old, str) else dict(old.get("written", {}))
    changed: list[str] = []
    for name in (*PARTS, "dropped.csv"):
        there = _bytes(folder / name)
        if there == data.get(name):
            continue
        changed.append(name)
        # Nothing says what the provenance itself was: it is ours if it tells of the others.
        ours = bool(written) if name == "provenance.json" else written.get(name)
        if there is not None and ours not in (True, hash_bytes(there)) and move_aside is not None:
            move_aside(name)
    if not changed:
        return
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in changed:
        if name not in data:
            (folder / name).unlink(missing_ok=True)
        elif name != MANIFEST:
            _replace(folder / name, data[name])
    _replace(folder / MANIFEST, data[MANIFEST])


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _files(
    manifest: Manifest, table: pd.DataFrame, record_of: Callable[[Any], Any]
) -> dict[str, dict[str, Any]]:
    """Return for the name of each file its path, and what is known of how it was made."""
    left = set(manifest.dropped["position"].tolist())
    table = table.set_axis([str(name) for name in table.columns], axis=1)
    found: dict[str, dict[str, Any]] = {}
    for column in manifest.filepath_columns:
        cells = [cell for n, cell in enumerate(table[column].tolist()) if n not in left]
        keys, paths = manifest.keys[column].tolist(), manifest.table[column].tolist()
        for key, path, cell in zip(keys, paths, cells, strict=True):
            if isinstance(key, str) and key not in found:
                kind = {"directory": True} if path in manifest.directories else {}
                found[key] = {"path": path, **kind, **(record_of(cell) or {})}
    return found


def _json(about: Mapping[str, Any], files: Mapping[str, Any]) -> bytes:
    """Return provenance with a line a file: quick to write, and its changes are easy to see."""
    dumps = json.JSONEncoder(default=str, ensure_ascii=False).encode
    lines = [f" {dumps(key)}: {dumps(value)}" for key, value in about.items()]
    listed = ",\n".join(f"  {dumps(key)}: {dumps(value)}" for key, value in files.items())
    text = "{\n" + ",\n".join([*lines, ' "files": {\n' + listed + "\n }"]) + "\n}\n"
    return text.encode("utf-8", "backslashreplace")


def _same_parquet(path: Path, data: bytes, table: pd.DataFrame) -> bytes:
    """Return the bytes that are there if they hold the same table.

    The versions of pandas and pyarrow stand in a Parquet file: an upgrade alone changes no dataset.
    """
    try:
        there = path.read_bytes()
        if there == data:
            return data
        pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(there)), table, check_exact=True)
    except Exception:
        return data
    return there


def _readme(
    manifest: Manifest,
    root: Path,
    folder: Path,
    name: str,
    readme: str | os.PathLike[str],
    usage: str | None,
    license: str | None,
    descriptions: Mapping[str, str] | None,
    units: Mapping[str, str] | None,
) -> str:
    """Return the user's readme with what is known of the table."""
    rows = [("column", "kind", "description", "unit")]
    for column in manifest.table.columns:
        kind = _kind(manifest, column)
        rows.append(
            (column, kind, (descriptions or {}).get(column, ""), (units or {}).get(column, ""))
        )
    parts = [
        move_links(text_of(root / readme), (root / readme).parent, folder).rstrip(),
        f"## Contents\n\n`{name}`: {len(manifest.table):,} rows in `manifest.csv` (the same as "
        "Parquet). Paths are relative to the root of the project.",
        as_rows(rows),
    ]
    if len(manifest.dropped):
        parts.append(
            f"{len(manifest.dropped):,} rows of failed items were left out: `dropped.csv`."
        )
    for title, text in (("Usage", usage), ("License", license)):
        if text:
            file = root / text if is_file(root, text) else None
            shown = text if file is None else text_of(file)
            moved = move_links(shown, root if file is None else file.parent, folder)
            parts.append(f"## {title}\n\n{moved.strip()}")
    parts.append("## Provenance\n\nHow each file was made stands in `provenance.json`.")
    return "\n\n".join(parts) + "\n"


def _kind(manifest: Manifest, column: str) -> str:
    """Say what a column holds, in words that no version of pandas changes."""
    if column in manifest.filepath_columns:
        paths = {path for path in manifest.table[column] if isinstance(path, str)}
        folders = paths & manifest.directories
        return "file" if not folders else "directory" if folders == paths else "file or directory"
    dtype = manifest.table[column].dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "date and time"
    if pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
        first = next((cell for cell in manifest.table[column] if not pd.isna(cell)), "")
        return "text" if isinstance(first, str) else type(first).__name__
    return str(dtype)


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole; what a killed run leaves is not seen in the dataset."""
    temporary = journal_of(path.parent).temporary(path.suffix)
    try:
        Path(temporary).write_bytes(data)
        replace(temporary, str(path))
    finally:
        Path(temporary).unlink(missing_ok=True)
