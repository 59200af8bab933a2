"""Datasets: a table of files with readme, metadata and the provenance of every row.

task → runner → result → serializer → storage → record → [dataset] → version → remote
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from databacked.errors import DatasetError, ResultChangedError, did_you_mean
from databacked.fingerprint.files import content_of, memory
from databacked.hashes import hash_bytes
from databacked.links import check_links, move_links
from databacked.manifest import (
    SHOWN,
    Manifest,
    Rows,
    as_rows,
    check_files,
    check_name,
    check_table,
    raise_problems,
)
from databacked.project import find_project
from databacked.records import journal_of
from databacked.renames import replace
from databacked.sameness import is_unicode
from databacked.types import Json
from databacked.views import sorry_html, table_html

MANIFEST = "manifest.csv"
"""Written last: a folder without it holds no dataset."""

PARTS = ("manifest.parquet", "README.md", "provenance.json", MANIFEST)
"""The files of a working dataset."""

FORMAT = 2
"""Changes only when the bytes of a working dataset do."""


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

    written: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Hash of each of its files as it was written, by name."""

    @property
    def table(self) -> pd.DataFrame:
        """The manifest, with absolute paths in its filepath columns.

        Raises
        ------
        ResultChangedError
            If it is no longer the table that this dataset had: another run wrote it meanwhile.
        """
        data = (self.path / "manifest.parquet").read_bytes()
        expected = self.written.get("manifest.parquet")
        if expected is not None and hash_bytes(data) != expected:
            raise ResultChangedError(
                f"{self.path} was written again since this dataset was opened or made. Run the "
                "flow again, or open it with Dataset.load."
            )
        table = pd.read_parquet(io.BytesIO(data))
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
        missing = [name for name in PARTS if not (path / name).is_file()]
        if missing:
            raise DatasetError(f"{path} holds no dataset: {', '.join(missing)} is missing.")
        said = _provenance(path)
        if isinstance(said, str):
            raise DatasetError(f"{path} holds no whole dataset: {said}.")
        # Kept with the dataset: a project that was given has no marks to find it by.
        root = said.get("root")
        return Dataset(
            said["name"],
            path,
            tuple(said["filepath_columns"]),
            int(said["dropped"]),
            Path(os.path.normpath(path / root)) if root else find_project(path).root,
            dict(said.get("written", {})),
        )

    def validate(self) -> list[str]:
        """Return what is wrong with the dataset as it lies on disk; nothing if it is whole.

        Its own files, the two manifests against each other, the files that they name (all hashes
        that are known are computed again, in parallel), the links of its readme.
        """
        return _validate(self)

    def __repr__(self) -> str:
        return f"<Dataset {self.name} at {self.path}>"

    def _repr_html_(self) -> str:
        try:
            table = self.table
        except Exception as error:  # the folder is gone, or is no dataset any more
            return sorry_html(repr(self), error)
        return table_html(table, self.filepath_columns, title=self.name, note=str(self.path))


def check_settings(*, name: str, root: Path, **settings: Any) -> None:
    """Check what can be checked before the first item.

    Raises
    ------
    DatasetError
        With every problem; see `settings_problems`.
    """
    raise_problems(name, settings_problems(name=name, root=root, **settings))


def settings_problems(
    *,
    name: str,
    readme: str | os.PathLike[str],
    root: Path,
    filepath_columns: Sequence[str] | None = None,
    metadata_columns: Sequence[str] | None = None,
    optional_columns: Sequence[str] = (),
    extra_files: Sequence[str | os.PathLike[str]] = (),
    usage: str | None = None,
    license: str | None = None,
    descriptions: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> list[str]:
    """Return what is wrong with a dataset's settings, whatever its table.

    Name, readme and its links, extra files, licence and usage notes, columns named twice.
    """
    problems = check_name(name)
    if wrong := _wrong_kinds(
        lists={
            "filepath_columns": filepath_columns,
            "metadata_columns": metadata_columns,
            "optional_columns": optional_columns,
            "extra_files": extra_files,
        },
        dicts={"descriptions": descriptions, "units": units},
        texts={"usage": usage, "license": license},
        files={"readme": readme},
    ):
        return problems + wrong
    texts = [("usage", usage), ("license", license)]
    for role, named in (("descriptions", descriptions or {}), ("units", units or {})):
        texts += [(f"{role}[{column!r}]", text) for column, text in named.items()]
    if odd := [role for role, text in texts if isinstance(text, str) and not is_unicode(text)]:
        return [*problems, *(f"{role} is no Unicode text" for role in odd)]
    problems += _text_problems("readme", root / readme, root)
    for role, text in (("usage", usage), ("license", license)):
        if not text:
            continue
        if _is_file(root, text):
            problems += _text_problems(role, root / text, root)
        elif not any(map(str.isspace, text)) and PurePosixPath(text).suffix in TEXTS:
            problems.append(f"{role}={text!r} looks like a file, and is not one below {root}")
        else:
            problems += [f"the {role} {link}" for link in check_links(text, root, root)]
    for extra in extra_files:
        file = os.path.normpath(root / extra)
        if not file.startswith(os.path.join(root, "")):
            problems.append(f"the extra file {str(extra)!r} is outside of the project {root}")
        elif os.path.isdir(file):
            problems.append(f"the extra file {str(extra)!r} is a folder; name its files")
        elif not os.path.isfile(file):
            problems.append(f"the extra file {str(extra)!r} is not there")
    both = set(filepath_columns or ()) & set(metadata_columns or ())
    problems += [f"the column {one!r} is named as filepath and metadata" for one in sorted(both)]
    if filepath_columns is not None:
        problems += [
            f"the optional column {one!r} is not a filepath column"
            f"{did_you_mean(one, filepath_columns)}"
            for one in optional_columns
            if one not in filepath_columns
        ]
    return problems


def _wrong_kinds(
    *,
    lists: Mapping[str, Any],
    dicts: Mapping[str, Any],
    texts: Mapping[str, Any],
    files: Mapping[str, Any],
) -> list[str]:
    """Return which settings are of another kind: a text would be taken for a list of letters."""
    expected: tuple[tuple[Mapping[str, Any], Any, str], ...] = (
        (lists, list | tuple | pd.Index, "a list"),
        (dicts, Mapping, "a dict from column to text"),
        (texts, str, "a text or the name of a file"),
        (files, str | os.PathLike, "the path of a file"),
    )
    return [
        f"{name}={value!r}: {words} was expected"
        for given, kind, words in expected
        for name, value in given.items()
        if not isinstance(value, kind) and (value is not None or given is files)
    ]


TEXTS = {".md", ".txt", ".rst", ".html"}
"""Endings by which a one-word text is taken for the name of a file."""


def _text_problems(role: str, file: Path, root: Path) -> list[str]:
    """Return what is wrong with a text file and its links."""
    if not file.is_file():
        return [f"the {role} {os.path.relpath(file, root)!r} is not a file below {root}"]
    try:
        text = _read(file)
    except UnicodeDecodeError:
        return [f"the {role} {os.path.relpath(file, root)!r} is not UTF-8 text"]
    # A link to a file of the dataset itself leads there.
    return [
        f"the {role} {problem}"
        for problem in check_links(text, file.parent, root)
        if problem not in [f"links to {name!r}, which is not there" for name in PARTS]
    ]


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8-sig")


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
        MANIFEST: _csv(kept),
    }
    if len(manifest.dropped):
        data["dropped.csv"] = _csv(manifest.dropped)
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
    old = _provenance(folder)
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


def _provenance(folder: Path) -> Any:
    """Return what ``provenance.json`` says, or a text about what is wrong with it."""
    try:
        said = json.loads((folder / "provenance.json").read_bytes())
    except (OSError, ValueError) as error:
        return f"provenance.json cannot be read ({error})"
    needed = {"name": str, "filepath_columns": list, "dropped": int, "files": dict}
    if not isinstance(said, dict) or not all(
        isinstance({"written": {}, **said}.get(name), kind)
        for name, kind in {**needed, "written": dict}.items()
    ):
        return f"provenance.json does not say {', '.join(needed)}"
    return said


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
        move_links(_read(root / readme), (root / readme).parent, folder).rstrip(),
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
            file = root / text if _is_file(root, text) else None
            shown = text if file is None else _read(file)
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


def _is_file(root: Path, text: str) -> bool:
    return "\n" not in text and len(text) < 255 and (root / text).is_file()


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode("utf-8")


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole; what a killed run leaves is not seen in the dataset."""
    temporary = journal_of(path.parent).temporary(path.suffix)
    try:
        Path(temporary).write_bytes(data)
        replace(temporary, str(path))
    finally:
        Path(temporary).unlink(missing_ok=True)


# Looking at a dataset again


def _validate(dataset: Dataset) -> list[str]:
    folder = dataset.path
    problems = [f"{name} is missing" for name in PARTS if not (folder / name).is_file()]
    said = _provenance(folder)
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
            text = _read(folder / "README.md")
        except UnicodeDecodeError:
            problems.append("README.md is not UTF-8 text")
        else:
            problems += [f"README.md {link}" for link in check_links(text, folder, dataset.root)]
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
    check_files(paths, table.index, dataset.root, problems)
    problems += _compare_files(paths, said["files"], dataset.root)
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
    expected = _csv(table)
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


def _plain(value: Any) -> Json:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in sorted(value.items())}
    return [_plain(item) for item in value]
