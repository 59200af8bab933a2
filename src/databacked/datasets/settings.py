"""Name, columns, readme and metadata of a dataset, checked before anything is written."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from databacked.datasets.layout import PARTS, is_file, text_of
from databacked.datasets.links import check_links
from databacked.datasets.manifest import check_name, raise_problems
from databacked.errors import did_you_mean
from databacked.serializers.sameness import is_unicode


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
        if is_file(root, text):
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
        text = text_of(file)
    except UnicodeDecodeError:
        return [f"the {role} {os.path.relpath(file, root)!r} is not UTF-8 text"]
    # A link to a file of the dataset itself leads there.
    return [
        f"the {role} {problem}"
        for problem in check_links(text, file.parent, root)
        if problem not in [f"links to {name!r}, which is not there" for name in PARTS]
    ]
