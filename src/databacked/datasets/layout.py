"""What lies where in a dataset's folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from databacked.types import Json

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.csv"
"""Written last: a folder without it holds no dataset."""


PARTS = ("manifest.parquet", "README.md", "provenance.json", MANIFEST)
"""The files of a working dataset."""


FORMAT = 3
"""Changes only when the bytes of a working dataset do."""


SHOWN = 5
"""How many rows of one kind of problem are named; the rest is counted."""


PART = re.compile(r"\w[\w-]*")


IS_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


IDENTITY = re.compile(
    r"(?i:(?:^|[\W\d_])(?:ids?|idx|index|label|key))$|[a-z](?:Id|ID|Index|Label)$"
)
"""Names of columns that say which one a row is of, and do not measure it."""


def text_of(file: Path) -> str:
    """Return the text of a file, without a mark of its byte order."""
    return file.read_text(encoding="utf-8-sig")


def provenance_of(folder: Path) -> Any:
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


def is_file(root: Path, text: str) -> bool:
    """Whether a text names a file below the root."""
    return "\n" not in text and len(text) < 255 and (root / text).is_file()


def csv_of(table: pd.DataFrame) -> bytes:
    """Return a table as CSV."""
    return table.to_csv(index=False, lineterminator="\n").encode("utf-8")


def plain(value: Any) -> Json:
    """Return a value as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in sorted(value.items())}
    return [plain(item) for item in value]
