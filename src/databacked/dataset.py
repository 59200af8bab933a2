"""Datasets: a table of files with readme, metadata and the provenance of every row.

task → runner → result → serializer → storage → record → [dataset] → version → remote
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from databacked.errors import DatasetError
from databacked.fingerprint.files import content_of
from databacked.manifest import (
    Manifest,
    as_rows,
    check_links,
    check_name,
    check_table,
    raise_problems,
)
from databacked.project import find_project
from databacked.types import Json
from databacked.views import sorry_html, table_html

MANIFEST = "manifest.csv"
"""Written last: a folder without it holds no dataset."""


@dataclass(frozen=True)
class Dataset:
    """A working dataset: manifest, readme and provenance; the files stay where they are."""

    name: str
    """``owner/project/dataset`` or ``owner/name``."""

    path: Path
    """The folder."""

    filepath_columns: tuple[str, ...]
    """Columns of `table` that name files."""

    dropped: int = 0
    """Rows that were left out because their items failed; ``dropped.csv`` lists them."""

    root: Path = Path()
    """The project's root, which paths on disk are relative to."""

    @property
    def table(self) -> pd.DataFrame:
        """The manifest, with absolute paths in its filepath columns."""
        table = pd.read_parquet(self.path / "manifest.parquet")
        for name in self.filepath_columns:
            table[name] = [
                None if path is None or path != path else str(self.root / path)
                for path in table[name]
            ]
        return table

    @property
    def readme(self) -> str:
        """The readme's text."""
        return (self.path / "README.md").read_text(encoding="utf-8")

    @property
    def provenance(self) -> dict[str, Any]:
        """Which run, task and code made it, and the record of every file."""
        return dict(json.loads((self.path / "provenance.json").read_text(encoding="utf-8")))

    @staticmethod
    def load(folder: str | os.PathLike[str]) -> Dataset:
        """Return the working dataset in a folder.

        Raises
        ------
        DatasetError
            If there is none.
        """
        path = Path(folder).absolute()
        missing = [
            name
            for name in (MANIFEST, "manifest.parquet", "README.md", "provenance.json")
            if not (path / name).is_file()
        ]
        if missing:
            raise DatasetError(f"{path} holds no dataset: {', '.join(missing)} is missing.")
        said = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
        return Dataset(
            said["name"],
            path,
            tuple(said["filepath_columns"]),
            int(said["dropped"]),
            find_project(path).root,
        )

    def __repr__(self) -> str:
        return f"<Dataset {self.name} at {self.path}>"

    def _repr_html_(self) -> str:
        try:
            table = self.table
        except Exception as error:  # the folder is gone, or is no dataset any more
            return sorry_html(repr(self), error)
        return table_html(table, self.filepath_columns, title=self.name, note=str(self.path))


def check_settings(
    *,
    name: str,
    readme: str | os.PathLike[str],
    root: Path,
    filepath_columns: Sequence[str] | None = None,
    metadata_columns: Sequence[str] | None = None,
    extra_files: Sequence[str | os.PathLike[str]] = (),
    **_: Any,
) -> None:
    """Check what can be checked before the first item.

    Raises
    ------
    DatasetError
        With every problem: name, readme and its links, extra files, columns named twice.
    """
    problems = check_name(name)
    file = root / readme
    if not file.is_file():
        problems.append(f"the readme {str(readme)!r} is not a file below {root}")
    else:
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            problems.append(f"the readme {str(readme)!r} is not UTF-8 text")
        else:
            problems += [
                f"the readme links to {link!r}, which is not there"
                for link in check_links(text, file.parent)
            ]
    problems += [
        f"the extra file {str(extra)!r} is not there"
        for extra in extra_files
        if not (root / extra).is_file()
    ]
    both = set(filepath_columns or ()) & set(metadata_columns or ())
    problems += [f"the column {one!r} is named as filepath and metadata" for one in sorted(both)]
    raise_problems(name, problems)


def fingerprint_of(
    *, root: Path, readme: str | os.PathLike[str], extra_files: Sequence[Any] = (), **settings: Any
) -> dict[str, Json]:
    """Return what decides a dataset besides its table: settings, and the content of its texts."""
    said: dict[str, Json] = {name: _plain(value) for name, value in sorted(settings.items())}
    said["readme"] = content_of(root / readme)
    said["extra_files"] = [content_of(root / extra) for extra in extra_files]
    for name in ("usage", "license"):
        text = settings.get(name)
        if text and _is_file(root, text):
            said[name] = content_of(root / text)
    return said


def write_working_dataset(
    table: Any,
    *,
    folder: Path,
    root: Path,
    name: str,
    readme: str | os.PathLike[str],
    filepath_columns: Sequence[str] | None = None,
    metadata_columns: Sequence[str] | None = None,
    optional_columns: Sequence[str] = (),
    extra_files: Sequence[str | os.PathLike[str]] = (),
    usage: str | None = None,
    license: str | None = None,
    descriptions: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    record_of: Callable[[Any], Mapping[str, Any] | None] = lambda _: None,
) -> Dataset:
    """Check a table and write it as a working dataset.

    Files that come out the same are left alone, each other one is replaced as a whole, and the
    manifest comes last.

    Parameters
    ----------
    table
        A DataFrame; cells of filepath columns are backed arrays, paths or texts.
    record_of
        Gives the record of a cell, for the provenance of its row.

    Raises
    ------
    DatasetError
        With every problem of the table, before anything is written.
    """
    manifest, problems = check_table(
        table,
        root=root,
        filepath_columns=filepath_columns,
        metadata_columns=metadata_columns,
        optional_columns=optional_columns,
    )
    for role, named in (("descriptions", descriptions or {}), ("units", units or {})):
        known = [str(column) for column in getattr(table, "columns", ())]
        problems += [
            f"{role} names {one!r}, which is no column" for one in named if one not in known
        ]
    raise_problems(name, problems)
    assert manifest is not None
    records = {
        str(key): record
        for column in manifest.filepath_columns
        for key, record in _records(manifest, table, column, record_of)
    }
    about = {
        "name": name,
        "filepath_columns": list(manifest.filepath_columns),
        "metadata_columns": list(manifest.metadata_columns),
        "rows": len(manifest.table),
        "dropped": len(manifest.dropped),
        "extra_files": [Path(extra).as_posix() for extra in extra_files],
        **(provenance or {}),
        "files": records,
    }
    text = _readme(manifest, root, name, readme, usage, license, descriptions, units)
    parquet = io.BytesIO()
    manifest.table.to_parquet(parquet, index=False)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "manifest.parquet", parquet.getvalue())
    _replace(folder / "README.md", text.encode("utf-8"))
    if len(manifest.dropped):
        _replace(folder / "dropped.csv", _csv(manifest.dropped))
    else:
        (folder / "dropped.csv").unlink(missing_ok=True)
    _replace(
        folder / "provenance.json",
        (json.dumps(about, indent=1, default=str) + "\n").encode("utf-8"),
    )
    _replace(folder / MANIFEST, _csv(manifest.table))
    return Dataset(name, folder, manifest.filepath_columns, len(manifest.dropped), root)


def _records(
    manifest: Manifest, table: pd.DataFrame, column: str, record_of: Callable[[Any], Any]
) -> list[tuple[str, Any]]:
    left = set(manifest.dropped["position"].tolist())
    cells = [c for n, c in enumerate(table[column].tolist()) if n not in left]
    found = zip(manifest.keys[column].tolist(), map(record_of, cells), strict=True)
    return [(key, record) for key, record in found if record is not None]


def _readme(
    manifest: Manifest,
    root: Path,
    name: str,
    readme: str | os.PathLike[str],
    usage: str | None,
    license: str | None,
    descriptions: Mapping[str, str] | None,
    units: Mapping[str, str] | None,
) -> str:
    """Return the user's readme with what is known of the table."""
    kinds = {column: "file" for column in manifest.filepath_columns}
    rows = [("column", "kind", "description", "unit")]
    for column in manifest.table.columns:
        kind = kinds.get(column) or str(manifest.table[column].dtype)
        rows.append(
            (column, kind, (descriptions or {}).get(column, ""), (units or {}).get(column, ""))
        )
    parts = [
        (root / readme).read_text(encoding="utf-8").rstrip(),
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
            shown = (root / text).read_text(encoding="utf-8") if _is_file(root, text) else text
            parts.append(f"## {title}\n\n{shown.strip()}")
    parts.append("## Provenance\n\nHow each file was made stands in `provenance.json`.")
    return "\n\n".join(parts) + "\n"


def _is_file(root: Path, text: str) -> bool:
    return "\n" not in text and len(text) < 255 and (root / text).is_file()


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode("utf-8")


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole, unless it holds just that."""
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        pass
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Json:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in sorted(value.items())}
    return [_plain(item) for item in value]
