"""Tables as CSV and Parquet: whatever would come back as another one is refused by its column.

Plain numbers and texts are known to come back; all other tables are read back and compared.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from databacked.errors import SerializerError
from databacked.serializers.sameness import difference, own_of, shortly
from databacked.types import Description


def _table(value: Any, suffix: str) -> Any:
    """Return a table that a format can take at all: `_check_table` says what it gives back."""
    import pandas as pd

    if not isinstance(value, pd.DataFrame):
        raise SerializerError(f"{type(value).__name__}: a DataFrame was expected for {suffix}.")
    if type(value) is not pd.DataFrame:
        raise SerializerError(
            f"a {type(value).__name__} would come back from {suffix} as a DataFrame: return "
            "pd.DataFrame(x), without what else it holds."
        )
    if value.columns.has_duplicates or not all(type(name) is str for name in value.columns):
        raise SerializerError(
            f"columns {list(value.columns)}: names that are texts, each once, were expected."
        )
    if not len(value.columns) and (len(value) or suffix == ".csv"):
        raise SerializerError(
            f"a table without columns cannot come back from {suffix}; give them also where there "
            "are no rows: pd.DataFrame(rows, columns=[…])."
        )
    return value


def _check_table(value: Any, back: Any, suffix: str, advice: str) -> None:
    found = difference(value, back)
    if found is not None:
        raise SerializerError(
            f"this table would come back from {suffix} as something else ({found}): {advice}."
        )


def to_csv(value: Any) -> bytes:
    """Return a table as CSV; raises unless it comes back as it is."""
    import pandas as pd

    table = _table(value, ".csv")
    if not isinstance(table.index, pd.RangeIndex) or not table.index.equals(
        pd.RangeIndex(len(table))
    ):
        raise SerializerError(
            f"the index {shortly(table.index)} would be lost in .csv: use .reset_index() "
            "(with drop=True, if it says nothing), or .parquet."
        )
    advice = "use .parquet, which keeps the types"
    try:
        data: bytes = table.to_csv(index=False, lineterminator="\n").encode("utf-8")
        back = read_csv(io.BytesIO(data))
    except Exception as error:
        who = _culprit(table, lambda one: one.to_csv(index=False).encode("utf-8"))
        raise SerializerError(f"{who} cannot be kept as .csv: {error}; {advice}.") from error
    _check_table(table, back, ".csv", advice)
    return data


def describe_table(table: Any) -> Description:
    """Return what a table holds: rows and columns, and the kind of each column."""
    kinds = tuple((str(name), _kind(table[name])) for name in table.columns)
    return Description(tuple(table.shape), columns=kinds)


def _kind(column: Any) -> str:
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype):
        return "flag"
    if pd.api.types.is_numeric_dtype(column.dtype):
        return "number"
    return "time" if column.dtype.kind in "mM" else "text"


def dialect_of(data: bytes, recorded: Description) -> dict[str, str]:
    """Return how a CSV that a spreadsheet saved differs from ours, as `read_csv` takes it.

    Parameters
    ----------
    recorded
        The table that it took the place of.
    """
    columns = recorded.shape[-1] if recorded.shape else 1
    found: dict[str, str] = {}
    if marked := marked_encoding(data):
        found["encoding"] = marked
    try:
        text = data.decode(found.get("encoding", "utf-8"))
    except UnicodeDecodeError:
        found["encoding"] = "cp1252"  # as spreadsheets write it where it is their system's
        text = data.decode("cp1252", "replace")
    lines = text.splitlines()
    widths = {sep: len(next(csv.reader(lines[:1], delimiter=sep), [])) for sep in ",;\t|"}
    if widths[","] < columns:
        separator = max(widths, key=lambda sep: widths[sep])
        if widths[separator] >= columns and separator != ",":
            found["sep"] = separator
    rows = csv.DictReader(lines, delimiter=found.get("sep", ","))
    numbers = {name for name, kind in recorded.columns or () if kind == "number"}
    cells = {cell for row in rows for name, cell in row.items() if name in numbers and cell}
    if any(map(_COMMA, cells)) and not any(map(_POINT, cells)):
        found["decimal"] = ","
    return found


def numbers_for_texts(table: Any, recorded: Description) -> dict[str, str]:
    """Return the columns that were texts and now read as something else, with their type.

    Where the rows with letters went, ``7`` is still the text of a name, and no number.
    """
    texts = [name for name, kind in recorded.columns or () if kind == "text" and name in table]
    return {
        name: "str"
        for name in texts
        if table[name].dtype.kind in "biuf" and table[name].notna().any()
    }


def marked_encoding(data: bytes) -> str:
    """Return the encoding that a text names by its first bytes; empty if it names none."""
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    return next((name for mark, name in marks.items() if data.startswith(mark)), "")


_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?").fullmatch
_POINT = re.compile(r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?").fullmatch


def read_csv(file: Any, **dialect: Any) -> Any:
    """Return the table of a path or a file, with every digit."""
    import pandas as pd

    # pandas 3.1 reads every digit by default, and warns of being asked to.
    old = tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
    exact: dict[str, Any] = {"float_precision": "round_trip"} if old else {}
    return pd.read_csv(file, **exact, **dialect)


def to_parquet(value: Any) -> bytes:
    """Return a table as Parquet; raises unless it comes back as it is."""
    table = _table(value, ".parquet")
    odd = [name for name in table.index.names if name is not None and type(name) is not str]
    if odd:
        raise SerializerError(f"the index's name {odd[0]!r} would become a text in .parquet.")
    _check_cells(table)
    try:
        data = _parquet(table)
        back = None if _is_plain(table) else read_parquet(io.BytesIO(data))
    except Exception as error:
        raise SerializerError(
            f"{_culprit(table, _parquet)} cannot be kept as .parquet: {error}."
        ) from error
    if back is not None:
        advice = "convert that, or keep it as .json or by ToPickle"
        _check_table(table, back, ".parquet", advice)
    return data


def _check_cells(table: Any) -> None:
    """Raise if cells are lists, or arrays of several types: some of these end pyarrow's process."""
    for number, name in enumerate(table.columns):
        if str(table.dtypes.iloc[number]) != "object":
            continue
        types = set()
        for row, cell in enumerate(table.iloc[:, number].tolist()):
            held = list(cell.values()) if isinstance(cell, dict) else []
            for one in (cell, *held):
                if isinstance(one, list | tuple | set | frozenset) or (
                    held and isinstance(one, np.ndarray | dict) and one is not cell
                ):
                    raise SerializerError(
                        f"the column {name!r} would come back from .parquet as something else: row "
                        f"{row} holds {shortly(cell)}, and a {type(one).__name__} would come back "
                        "as another one. Give it columns or rows of its own, or keep it as .json."
                    )
            if isinstance(cell, np.ndarray):
                types.add(cell.dtype)
        if len(types) > 1:
            raise SerializerError(
                f"the column {name!r} cannot be kept as .parquet: its arrays are of several types "
                f"({', '.join(sorted(map(str, types)))}); one type was expected."
            )


def _parquet(table: Any) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file, engine="pyarrow", compression="snappy")
    return file.getvalue()


def _is_plain(table: Any) -> bool:
    """Whether its types alone say that a table comes back from Parquet as it is."""
    import pandas as pd

    return (
        isinstance(table.index, pd.RangeIndex)
        and table.index.name is None
        and table.columns.name is None
        and not table.attrs
        and not own_of(table)
        and str(table.columns.dtype) in ("object", "str")
        and table.flags.allows_duplicate_labels
        and all(
            dtype.isnative and dtype.kind in "biuf" and dtype.itemsize <= 8
            if isinstance(dtype, np.dtype)
            else str(dtype) == "str" and dtype.storage == "pyarrow"
            for dtype in table.dtypes
        )
    )


def _culprit(table: Any, write: Callable[[Any], object]) -> str:
    """Return the column that a format does not take."""
    for name in table.columns:
        try:
            write(table[[name]].reset_index(drop=True))
        except Exception:
            return f"the column {name!r}"
    return "this table"


def read_parquet(path: Any) -> Any:
    """Return the table of a path or a file."""
    import pandas as pd

    table = pd.read_parquet(path, engine="pyarrow")
    texts = [name for name, dtype in table.dtypes.items() if str(dtype) == "str"]
    kinds = [getattr(one, "dtype", None) for one in (table.index, table.columns)]
    if not texts and "str" not in map(str, kinds):
        return table
    return _with_objects(table, path)


def _with_objects(table: Any, path: Any) -> Any:
    """Return a table with the texts that were objects of Python, and None among them, as such."""
    import pyarrow.parquet

    said = pyarrow.parquet.read_schema(path).pandas_metadata or {}
    objects = {
        one.get("field_name")
        for one in said.get("columns", ())
        if one.get("numpy_type") == "object"
    }
    for number, name in enumerate(table.columns):
        if name in objects and str(table.dtypes.iloc[number]) == "str":
            texts = table[name].astype(object)
            table[name] = texts.where(texts.notna(), None)
    levels = said.get("index_columns", ())
    if str(table.index.dtype) == "str" and len(levels) == 1 and levels[0] in objects:
        table.index = table.index.astype(object)
    heads = said.get("column_indexes") or [{}]
    if str(table.columns.dtype) == "str" and heads[0].get("numpy_type") == "object":
        table.columns = table.columns.astype(object)
    return table
