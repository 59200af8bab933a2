"""What tables, columns and their values count by: those of pandas."""

from __future__ import annotations

import functools
from typing import Any

from databacked.fingerprint.objects import is_of, name_of
from databacked.fingerprint.walk import Walk


def of_pandas(walk: Walk, value: Any, where: str) -> str | None:
    """Return the token of what pandas made; None for everything else."""
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        columns = [
            part
            for number, name in enumerate(value.columns)
            for part in (
                walk.of(name, where),
                _of_values(walk, value.iloc[:, number], f"{where}[{name!r}]"),
            )
        ]
        names = _of_index(walk, value.columns, where)
        more = [*names, *_of_table(walk, value, where)]
        return walk.hash("frame", walk.of(value.index, where), *columns, *more)
    if isinstance(value, pd.Series):
        return walk.hash(
            "series",
            walk.of(value.name, where),
            walk.of(value.index, where),
            _of_values(walk, value, where),
            *_of_table(walk, value, where),
        )
    if isinstance(value, pd.MultiIndex):
        names = walk.each(value.names, where)
        items = walk.each(value.tolist(), where)
        return walk.hash("index", *names, *items, *walk.each(value.levels, where))
    if isinstance(value, pd.Index):
        said = [walk.of(value.name, where), _of_values(walk, value, where)]
        kind = type(value)
        own = [] if is_of("pandas", value) else [name_of(kind), walk.of_code(kind, where)]
        return walk.hash("index", *said, *walk.more(freq=_rhythm(value)), *own)
    if isinstance(value, pd.Interval):
        ends = walk.each((value.left, value.right), where)
        return walk.hash("Interval", *ends, value.closed)
    if isinstance(value, pd.Timestamp):
        unit = None if value.unit == "ns" else value.unit
        more = walk.more(unit=unit, fold=value.fold or None)
        return walk.hash("Timestamp", repr(value), *more)
    if isinstance(value, pd.Timedelta):
        return walk.hash("Timedelta", repr(value), value.unit)
    if isinstance(value, pd.Period):
        return walk.hash(type(value).__name__, repr(value))
    if isinstance(value, pd.offsets.BaseOffset):
        how = {key: one for key, one in value.kwds.items() if key != "calendar"}
        said = [name_of(type(value)), str(value.n), str(getattr(value, "normalize", ""))]
        return walk.hash("offset", *said, walk.of(how, where))
    if type(value) in (type(pd.NA), type(pd.NaT)):
        return walk.hash("missing", repr(value))
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return walk.hash("values", name_of(type(value)), _of_values(walk, value, where))
    if isinstance(value, pd.CategoricalDtype):
        known: Any = value.categories
        categories = [] if known is None else walk.each(known.tolist(), where)
        more = [] if known is None else _of_index(walk, known, where)
        return walk.hash("category", repr(value.ordered), *categories, *more)
    if isinstance(value, pd.api.extensions.ExtensionDtype):
        return walk.hash("dtype", repr(value))
    return None


def _of_index(walk: Walk, index: Any, where: str) -> list[str]:
    """Return what is unusual of columns, or of the categories of a category."""
    import pandas as pd

    if isinstance(index, pd.MultiIndex):
        return [walk.of(index, where)]
    usual = pd.Index(index.tolist()).dtype if len(index) else index.dtype
    return walk.more(
        names=index.name,
        values=None if usual == index.dtype else _of_values(walk, index, where),
        freq=_rhythm(index),
    )


def _of_table(walk: Walk, value: Any, where: str) -> list[str]:
    """Return what hangs on a table or column besides its values."""
    kind = type(value)
    more = walk.more(
        attrs=value.attrs or None,
        unique=None if value.flags.allows_duplicate_labels else True,
        # By hand, or by a class of one's own.
        own={
            name: one
            for name, one in vars(value).items()
            if name[0] != "_" and name not in kind._metadata
        }
        or None,
    )
    if is_of("pandas", value):
        return more
    names = sorted(set(kind._metadata) - {"name", "_name"})
    said = {name: getattr(value, name, None) for name in names}
    return [*more, name_of(kind), walk.of_code(kind, where), walk.of(said, where)]


def _of_values(walk: Walk, value: Any, where: str) -> str:
    import numpy as np

    if isinstance(value.dtype, np.dtype) and not value.dtype.hasobject:
        return walk.of(value.to_numpy(), where)
    kind, items = str(value.dtype), value.tolist()
    if kind == "category":
        kind = walk.of(value.dtype, where)
    elif kind == _type_of_texts():  # a type of its own since pandas 3
        kind = "object"
    elif kind == "object" and all(type(one) is str or _is_nan(one) for one in items):
        kind = "object of texts"
    elif kind == "string":
        kind = repr(value.dtype)
    return walk.hash(kind, *walk.each(items, where))


def _rhythm(index: Any) -> Any:
    """Return the frequency that an index of times knows; None where it knows none."""
    import pandas as pd

    return index.freq if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else None


@functools.cache
def _type_of_texts() -> str:
    """Return the type that pandas gives to texts."""
    import pandas as pd

    return str(pd.Series(["a"]).dtype)


def _is_nan(value: Any) -> bool:
    """Whether a value is the NaN of Python or numpy: what was pickled is another object."""
    return type(value) is float and value != value
