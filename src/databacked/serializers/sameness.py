"""Whether what comes back is what was given: type, digits, mask, index, names, attrs, order, zone.

Where a format itself decides what it keeps, its writer knows; `difference` is for the rest, and for
checks. `plain_array` is what every format of arrays keeps of a value.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
from typing import Any

import numpy as np

from databacked.errors import SerializerError

_ITERATES = (dict.__iter__, collections.OrderedDict.__iter__)


_SIMPLE = {int, str, bytes, bool, type(None), float}


def difference(value: Any, back: Any, where: str = "") -> str | None:
    """Return where and how what came back differs from a value; None if it is the same.

    ``0.0`` and ``-0.0`` differ, NaN is NaN; memory order and memory maps do not count. Of an object
    that has no equality of its own only the type is compared.
    """
    one, other = _kind(value), _kind(back)
    if one is other and one in _SIMPLE and value == back and (value or one is not float):
        return None
    if one is not other:
        return _at(where, f"{a_kind(one)} {shortly(value)} came back as {a_kind(other)}")
    if isinstance(value, np.ndarray):
        found = _of_arrays(value, back, where)
        if found is None and one not in (np.ndarray, np.ma.MaskedArray):  # what a subclass adds
            found = difference(_attributes(value), _attributes(back), where)
        return found
    if isinstance(value, list | tuple):
        return _of_items(value, back, where)
    if isinstance(value, dict) and getattr(one, "__iter__", None) in _ITERATES:  # no sparse matrix
        if list(value) != list(back):
            return _at(where, f"the keys {shortly(list(value))} came back as {shortly(list(back))}")
        keys = _of_items(list(value), list(back), f"{where}.keys()")
        pairs = ((f"{where}[{key!r}]", value[key], back[key]) for key in value)
        return keys or next(
            (found for at, item, its in pairs if (found := difference(item, its, at))), None
        )
    if any(kind.__module__.startswith("pandas.") for kind in one.__mro__):
        found = _of_pandas(value, back, where)
        if found is not NotImplemented:
            return found  # type: ignore[no-any-return]
    if dataclasses.is_dataclass(value):  # its own equality takes NaN and arrays for different
        fields = (field.name for field in dataclasses.fields(value))
        parts = ((f"{where}.{f}", getattr(value, f, None), getattr(back, f, None)) for f in fields)
        return next((found for at, a, b in parts if (found := difference(a, b, at))), None)
    if _same(value, back):
        return None
    return _at(where, f"{shortly(value)} came back as {shortly(back)}")


def _attributes(value: Any) -> dict[str, Any]:
    return dict(getattr(value, "__dict__", {}))


def _kind(value: Any) -> type:
    return np.ndarray if type(value) is np.memmap else type(value)


def a_kind(kind: type) -> str:
    """Return the name of a type with its article."""
    return f"{'an' if kind.__name__[:1].lower() in 'aeio' else 'a'} {kind.__name__}"


def _at(where: str, said: str) -> str:
    return f"{where}: {said}" if where else said


def shortly(value: Any) -> str:
    """Return a value as a message shows it, in one line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # what came back may be anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "…"


def is_unicode(text: str) -> bool:
    """Whether a text can be written: file names that are no UTF-8 become texts that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_items(value: Any, back: Any, where: str) -> str | None:
    if len(value) != len(back):
        return _at(where, f"{len(value)} came back as {len(back)}")
    for number, (item, its) in enumerate(zip(value, back, strict=True)):
        found = difference(item, its, f"{where}[{number}]")
        if found is not None:
            return found
    return None


def _same(value: Any, back: Any) -> bool:
    """Whether two values of one type are the same."""
    if isinstance(value, np.generic):
        return _of_arrays(np.asarray(value), np.asarray(back), "") is None
    if isinstance(value, float | complex):
        return _of_arrays(np.asarray(value), np.asarray(back), "") is None
    if isinstance(value, decimal.Decimal):
        return bool(value.as_tuple() == back.as_tuple())
    if isinstance(value, datetime.datetime | datetime.time):  # the zone, not its offset alone
        return repr(value) == repr(back) and getattr(value, "unit", 0) == getattr(back, "unit", 0)
    if getattr(type(value), "__eq__", None) is object.__eq__:
        return True
    try:
        return bool(value == back)
    except Exception:  # of arrays inside, for example: nobody can tell
        return True


# ---------------------------------------------------------------- arrays


def _of_arrays(value: Any, back: Any, where: str) -> str | None:
    if value.dtype != back.dtype or value.dtype.type is not back.dtype.type:
        return _at(where, f"{value.dtype} came back as {back.dtype}")
    if value.dtype.metadata != back.dtype.metadata:
        kept, its = value.dtype.metadata, back.dtype.metadata
        return _at(where, f"metadata {shortly(kept)} of its type came back as {shortly(its)}")
    if value.shape != back.shape:
        return _at(where, f"the shape {value.shape} came back as {back.shape}")
    if isinstance(value, np.ma.MaskedArray):
        if value is back:  # np.ma.masked, whose fill value cannot be asked for
            return None
        if value.hardmask != back.hardmask:
            return _at(where, f"its hard mask ({value.hardmask}) came back as {back.hardmask}")
        return (
            _of_arrays(np.ma.getmaskarray(value), np.ma.getmaskarray(back), f"{where}.mask")
            or difference(value.data, back.data, f"{where}.data")
            or difference(_filled(value), _filled(back), f"{where}.fill_value")
        )
    if value.dtype.names is not None:  # field by field: what lies between is anything
        fields = (
            _of_arrays(np.asarray(value[name]), np.asarray(back[name]), f"{where}[{name!r}]")
            for name in value.dtype.names
        )
        return next((found for found in fields if found), None)
    if value.dtype == object:
        return _of_items(value.ravel().tolist(), back.ravel().tolist(), where)
    differ = _differ(np.asarray(value), np.asarray(back))
    if not differ.any():
        return None
    place = tuple(map(int, np.argwhere(differ)[0]))
    said = f"{value[place]!r} came back as {back[place]!r}"
    return _at(where + (f"[{', '.join(map(str, place))}]" if place else ""), said)


def _filled(value: Any) -> Any:
    # numpy's own is of a wider type until it is asked for.
    return np.asarray(value.fill_value).astype(value.dtype)


def _differ(value: Any, back: Any) -> Any:
    """Return where two arrays of one type differ."""
    if value.dtype.kind == "c":
        return _differ(value.real, back.real) | _differ(value.imag, back.imag)
    differ = value != back
    if value.dtype.kind == "f":
        differ = (differ | (np.signbit(value) != np.signbit(back))) & ~(
            np.isnan(value) & np.isnan(back)
        )
    elif value.dtype.kind in "mM":
        differ = differ & ~(np.isnat(value) & np.isnat(back))
    return np.asarray(differ)


# ---------------------------------------------------------------- tables


def _of_pandas(value: Any, back: Any, where: str) -> Any:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return _of_frames(value, back, where)
    if isinstance(value, pd.Series):
        return (
            difference(value.name, back.name, f"{where}.name")
            or _of_index(value.index, back.index, _join(where, "the index"))
            or _of_column(value.array, back.array, where)
            or difference(value.attrs, back.attrs, _join(where, "attrs"))
            or difference(own_of(value), own_of(back), where)
        )
    if isinstance(value, pd.Index):
        return _of_index(value, back, where)
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return _of_column(value, back, where)
    if value is pd.NaT or value is pd.NA:
        return None
    return NotImplemented


def _of_frames(value: Any, back: Any, where: str) -> str | None:
    names, its = list(value.columns), list(back.columns)
    if names != its or list(map(type, names)) != list(map(type, its)):
        return _at(where, f"the columns {shortly(names)} came back as {shortly(its)}")
    found = (
        difference(
            list(value.columns.names), list(back.columns.names), _join(where, "columns.name")
        )
        or _of_index(value.index, back.index, _join(where, "the index"))
        or difference(value.attrs, back.attrs, _join(where, "attrs"))
        or difference(own_of(value), own_of(back), _join(where, "its attributes"))
    )
    if found is None and len(names) and {"object", "str"}.isdisjoint({str(value.columns.dtype)}):
        found = _of_index(value.columns, back.columns, _join(where, "the columns"))
    if found:
        return found
    if value.flags.allows_duplicate_labels != back.flags.allows_duplicate_labels:
        return _at(where, "flags.allows_duplicate_labels came back as True")
    for number, name in enumerate(names):
        one, other = value.iloc[:, number].array, back.iloc[:, number].array
        found = _of_column(one, other, _join(where, f"the column {name!r}"))
        if found:
            return found
    return None


def own_of(table: Any) -> dict[str, Any]:
    """Return what somebody set on a table or column besides its columns (``table.px = 0.1``)."""
    return {name: one for name, one in vars(table).items() if name[0] != "_"}


def _join(where: str, part: str) -> str:
    return f"{where}: {part}" if where else part


def _of_index(value: Any, back: Any, where: str) -> str | None:
    import pandas as pd

    if type(value) is not type(back):
        return _at(where, f"{a_kind(type(value))} came back as {a_kind(type(back))}")
    if isinstance(value, pd.RangeIndex):
        found = None if value.equals(back) else f"{shortly(value)} came back as {shortly(back)}"
        return _at(where, found) if found else _of_names(value, back, where)
    if isinstance(value, pd.MultiIndex):
        if value.nlevels != back.nlevels or len(value) != len(back):
            return _at(where, f"{shortly(value)} came back as {shortly(back)}")
        for number in range(value.nlevels):
            level, its = value.get_level_values(number), back.get_level_values(number)
            found = _of_column(level.array, its.array, f"{where}, level {number}")
            if found:
                return found
        return _of_names(value, back, where)
    freq, its = getattr(value, "freq", None), getattr(back, "freq", None)
    if freq != its:
        return _at(where, f"its freq {freq!r} came back as {its!r}")
    return _of_column(value.array, back.array, where) or _of_names(value, back, where)


def _of_names(value: Any, back: Any, where: str) -> str | None:
    return difference(list(value.names), list(back.names), f"{where}.names")


def _of_column(value: Any, back: Any, where: str) -> str | None:
    """Compare the values of two columns, which are arrays of pandas."""
    import pandas as pd

    # pandas wraps what is numpy's, and takes None for NaN and 0.0 for -0.0 there.
    wrapped = pd.arrays.NumpyExtensionArray
    value = value.to_numpy() if isinstance(value, wrapped) else value
    back = back.to_numpy() if isinstance(back, wrapped) else back
    if isinstance(value.dtype, pd.CategoricalDtype) and isinstance(back.dtype, pd.CategoricalDtype):
        if value.dtype.ordered != back.dtype.ordered:
            return _at(where, f"ordered={value.dtype.ordered} came back as {back.dtype.ordered}")
        found = _of_index(value.dtype.categories, back.dtype.categories, f"{where}: its categories")
        return found or _of_arrays(value.codes, back.codes, where)
    if value.dtype != back.dtype or str(value.dtype) != str(back.dtype):
        return _at(where, f"{value.dtype} came back as {back.dtype}")
    if len(value) != len(back):
        return _at(where, f"{len(value)} rows came back as {len(back)}")
    if isinstance(value.dtype, np.dtype):
        return _of_arrays(np.asarray(value), np.asarray(back), where)
    exact = value.dtype.kind not in "fcO" or isinstance(value.dtype, pd.StringDtype)
    if exact and value.equals(back):
        return None
    return _of_items(value.tolist(), back.tolist(), where)


# ---------------------------------------------------------------- what formats of arrays keep


def plain_array(value: Any, place: str) -> np.ndarray[Any, Any]:
    """Return a value as numpy's plain array; raises where that would lose a part of it.

    Parameters
    ----------
    place
        The format, for messages.

    Raises
    ------
    SerializerError
        If it has a mask, is of a subclass or a table, or is a list that no array equals.
    """
    check_parts(value, place)
    try:
        array = np.asarray(value)
    except Exception as error:
        raise SerializerError(
            f"{type(value).__name__} is no array, which {place} takes: {error}."
        ) from error
    check_parts(array, place)  # of objects that give an array of their own
    if not array.dtype.hasobject and not _fits(value, array, place):
        raise SerializerError(
            f"{type(value).__name__} {shortly(value)} would come back from {place} as "
            f"{array.dtype} {shortly(array.tolist())}: numbers of one type were expected; return "
            "an array."
        )
    return array


def check_parts(value: Any, place: str) -> None:
    """Raise if a value has parts that an array of plain pixels has not."""
    if type(value).__name__ in ("Image", "DataArray"):  # their own __array__ drops a mask
        value = getattr(value, "data", value)
    held = getattr(value, "_meta", value) if hasattr(value, "dask") else value
    kind = type(held)
    library = kind.__module__.partition(".")[0]
    if issubclass(kind, np.ma.MaskedArray):
        raise SerializerError(
            f"this {kind.__name__} has a mask, which {place} cannot keep; return x.filled(…), and "
            "the mask (np.ma.getmaskarray(x)) as an array of its own where it is needed."
        )
    if issubclass(kind, np.ndarray) and kind not in (np.ndarray, np.memmap):
        raise SerializerError(
            f"this {kind.__name__} would come back from {place} as a plain array; return "
            "np.asarray(x), and what else it holds beside it."
        )
    if library in ("pandas", "polars", "pyarrow"):
        raise SerializerError(
            f"this {kind.__name__} would come back from {place} as a plain array, without its "
            "index and names; return an array of numpy, or a DataFrame of pandas to .parquet."
        )
    if isinstance(held, np.ndarray) and held.dtype.metadata:
        said = shortly(dict(held.dtype.metadata))
        raise SerializerError(
            f"the type of this {kind.__name__} has metadata ({said}), "
            f"which {place} cannot keep; return x.astype(x.dtype.str), and what they say beside it."
        )
    if library == "PIL" and value.mode in _OTHER_COLOURS:
        raise SerializerError(
            f"this {kind.__name__} has colours of mode {value.mode!r}, which {place} would take "
            "for others; return x.convert('RGB'), or np.asarray(x) for its numbers."
        )


_OTHER_COLOURS = frozenset({"P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "La", "RGBa"})
"""Modes of Pillow's images whose numbers are no gray and no red, green and blue."""


_LETTERS = {int: "iu", float: "f", bool: "b", complex: "c"}


def _gives_array(value: Any) -> bool:
    """Whether a value says itself that it is an array: of a graph numpy takes the nodes alone."""
    if any(hasattr(value, name) for name in ("__array__", "__array_interface__", "__dlpack__")):
        return True
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


def _fits(value: Any, array: Any, place: str) -> bool:
    """Whether an array holds what the lists hold that it was made of."""
    if isinstance(value, list | tuple):
        kinds = set(map(type, value))
        if len(kinds) == 1 and array.dtype.kind in _LETTERS.get(*kinds, ""):  # type: ignore[call-overload]
            return True
        return all(_fits(item, its, place) for item, its in zip(value, array, strict=True))
    if isinstance(value, bool | int | float | complex | str | bytes) and not isinstance(
        value, np.generic
    ):
        return difference(value, array.item()) is None
    check_parts(value, place)
    if not isinstance(value, range) and not _gives_array(value):
        return False
    dtype = getattr(value, "dtype", array.dtype)
    return bool(dtype == array.dtype)
