"""Values that formats like to change, and what there is to say of a value, part by part."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import math
import uuid
import zoneinfo
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from databacked import Image


class Kind(enum.Enum):
    CELL = 1


class Number(enum.IntEnum):
    ONE = 1


class Phase(enum.StrEnum):
    G1 = "g1"


class Point(NamedTuple):
    x: Any


class Named(np.ndarray):
    """An array of a subclass with something of its own."""


class Frame(pd.DataFrame):
    """A table of a subclass."""

    @property
    def _constructor(self):
        return Frame


class Text(str):
    pass


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
ODD_TEXTS = (
    "", "NA", "nan", "None", "null", "01", "1", "1.0", "True", "a\nb", "a\r\nb", "\r", 'q"q', "a,b",
    " a ", "\t", "\0", "DAPI\0", "\x1b", "\ufeffa", "\ud800", "\udcff", "\ud83d\ude00", "😀", "é",
    "e\u0301", "\u2028", "\ufffe", "<&>\"'", "]]>", "x.npy", "a/b", "-", "inf", "2024-02-29", "#",
)  # fmt: skip
texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=4)
numbers = st.sampled_from(
    [0, -1, 1, 255, 256, 2**31, 2**53 + 1, 2**60 + 1, 2**63, -(2**63), 2**64, 10**400]
)
floats = st.floats() | st.sampled_from([0.1 + 0.2, -0.0, 1e308, 5e-324, math.nan, math.inf])
moments = st.sampled_from(
    [
        datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
        datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
        datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
        datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
        datetime.date(2024, 2, 29),
        datetime.time(1, 2, 3),
        datetime.timedelta(microseconds=1),
        pd.Timestamp("2024-02-29", tz="Europe/Berlin"),
        pd.Timestamp(1, unit="ns"),
        pd.Timedelta(1, unit="ns"),
        pd.Period("2024-02", "M"),
        pd.Interval(0, 1),
        pd.NaT,
        pd.NA,
    ]
)
odd: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, False, b"", b"a\0", 1j, Kind.CELL, Number.ONE, Phase.G1, Text("a"), {1, 2},
        frozenset(), range(3), Path("a"), PurePosixPath("a"), uuid.UUID(int=5), ...,
        decimal.Decimal("1.0"), decimal.Decimal("1.00"), fractions.Fraction(1, 3), np.ma.masked,
    ]
)  # fmt: skip

# ---------------------------------------------------------------- arrays

plain_types = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="?", sizes=(64, 128))
    | hnp.datetime64_dtypes(endianness="?")
    | hnp.timedelta64_dtypes(endianness="?")
    | hnp.unicode_string_dtypes(endianness="?", max_len=3)
    | hnp.byte_string_dtypes(max_len=3)
    | st.just(np.dtype("g"))
)
FIELDS: list[Any] = [
    [("label", "i4"), ("area", "f8")],
    [("a", "i2"), ("b", ">f4", (2,))],
    [(("title", "a"), "i4")],
    [("a", [("b", "U2"), ("c", "M8[s]")])],
    np.dtype([("a", "i1"), ("b", "f8")], align=True),
    np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 0]}),
    np.dtype((np.record, [("a", "i4")])),
]
structured = st.sampled_from([np.dtype(one) for one in FIELDS])


@st.composite
def arrays(draw, types=plain_types):
    """Return an array of numpy, of a subclass, with a mask, or of objects."""
    dtype = draw(types)
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    array = draw(hnp.arrays(dtype, shape)) if dtype.names is None else np.zeros(shape, dtype)
    form = draw(st.sampled_from(["plain"] * 6 + ["masked", "matrix", "named", "objects", "order"]))
    match form:
        case "masked":
            return np.ma.masked_array(array, draw(hnp.arrays(bool, shape)))
        case "matrix" if array.ndim == 2 and array.dtype.names is None:
            return array.view(np.matrix)
        case "named":
            found = array.view(Named)
            found.unit = "µm"
            return found
        case "objects":
            return array.astype(object)
        case "order":
            return np.asfortranarray(array)[::-1] if array.ndim else array
    return array


PIXELS = ("bool", "u1", "i1", "u2", ">u2", "i4", "i8", "u8", "f2", "f4", ">f8", "c8")
pictures = arrays(st.sampled_from([np.dtype(kind) for kind in PIXELS]))
names = st.none() | st.lists(texts, max_size=5).map(tuple) | st.sampled_from(["ab", 5, (None,)])
sizes = st.sampled_from(
    [None, (None, 0.1, 0.1), (1, 2, 3), (0, 1, 1), (1, math.inf, 1), (math.nan,) * 3, 0.1, "111",
     {"Z": 1}, (np.float32(0.1),) * 3, (True, 1, 1), ("1", "1", "1"), (1e308,) * 3, (1, 2)]
)  # fmt: skip
orders = st.sampled_from([None, "YX", "ZYX", "CYX", "TCZYX", "CZYX", "YXS", "yx", "XY", 5, ""])
images = st.builds(Image, pictures, orders, names, sizes)
scalars = (
    texts | numbers | floats | moments | odd | st.integers(-5, 5) | st.booleans()
    | plain_types.flatmap(lambda dtype: hnp.arrays(dtype, ()).map(lambda array: array[()]))
)  # fmt: skip

# ---------------------------------------------------------------- containers and tables


def _within(inner):
    keys = texts | st.integers(-2, 2) | odd.filter(lambda one: type(one).__hash__ is not None)
    return (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts, inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=2)
        | st.dictionaries(texts, inner, max_size=2).map(collections.OrderedDict)
        | st.dictionaries(texts, inner, max_size=2).map(lambda d: collections.defaultdict(list, d))
        | inner.map(Point)
    )


plain = st.recursive(scalars | arrays(), _within, max_leaves=5)
cells = scalars | st.lists(scalars, max_size=2) | st.dictionaries(texts, scalars, max_size=2)


def _columns(rows: int) -> st.SearchStrategy[Any]:
    def many(values):
        return st.lists(values, min_size=rows, max_size=rows)

    one_kind = st.sampled_from([texts, numbers, floats, st.booleans(), moments, odd, cells])
    times = st.integers(-(2**40), 2**40)
    made = [
        hnp.arrays(plain_types, rows),
        one_kind.flatmap(lambda kind: many(kind)),
        one_kind.flatmap(lambda kind: many(kind | st.none())).map(_objects),
        many(texts | st.none()).map(_objects),
        many(texts | st.just(math.nan)).map(_objects),
        many(arrays()).map(_objects),
        many(st.sampled_from([1, None, 3])).map(lambda one: pd.array(one, dtype="Int64")),
        many(st.sampled_from([True, None])).map(lambda one: pd.array(one, dtype="boolean")),
        many(st.sampled_from([0.5, None])).map(lambda one: pd.array(one, dtype="Float32")),
        many(st.sampled_from(["a", None])).map(lambda one: pd.array(one, dtype="string")),
        many(st.sampled_from(["a", "b", None])).map(
            lambda one: pd.Categorical(one, categories=["c", "b", "a"], ordered=True)
        ),
        many(st.sampled_from([1, 2, None])).map(pd.Categorical),
        many(times).flatmap(
            lambda one: st.sampled_from(["s", "ms", "us", "ns"]).map(
                lambda unit: pd.array(np.array(one, f"M8[{unit}]"))
            )
        ),
        many(times).flatmap(
            lambda one: st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "+05:30"]).map(
                lambda zone: pd.DatetimeIndex(np.array(one, "M8[ns]"), tz="UTC").tz_convert(zone)
            )
        ),
        many(times).map(lambda one: pd.array(np.array(one, "m8[us]"))),
        st.just(pd.period_range("2024", periods=rows, freq="M").array),
        st.just(pd.interval_range(0, periods=rows).array),
        st.just(pd.arrays.SparseArray(np.zeros(rows))),
    ]
    return st.one_of(made)


def _series(values_: Any) -> pd.Series:
    try:
        return pd.Series(values_)
    except Exception:  # pandas does not take every mixture
        return _objects(list(values_))


def _objects(cells_: list[Any]) -> pd.Series:
    column = pd.Series([None] * len(cells_), dtype=object)
    for number, cell in enumerate(cells_):
        column.array[number] = cell
    return column


@st.composite
def tables(draw):
    """Return a table of columns, indexes, names and attrs of all kinds."""
    rows = draw(st.integers(0, 3))
    heads = draw(st.lists(texts, max_size=3, unique=True))
    columns = [draw(_columns(rows)) for _ in heads]
    series = [one if isinstance(one, pd.Series) else _series(one) for one in columns]
    table = pd.DataFrame(dict(enumerate(series)), index=range(rows))
    try:
        table.columns = heads
    except UnicodeEncodeError:  # pandas takes names that are no text as objects alone
        table.columns = pd.Index(heads, dtype=object)
    match draw(
        st.sampled_from(["default"] * 6 + ["range", "rows", "texts", "many", "dates", "col"])
    ):
        case "range":
            table.index = pd.RangeIndex(5, 5 + 2 * rows, 2, name=draw(st.none() | texts))
        case "rows":
            table = table.iloc[::-1]
        case "texts":
            kind = draw(st.sampled_from([None, object, "category"]))
            table.index = pd.Index(
                list("abc")[:rows], dtype=kind, name=draw(st.sampled_from([None, 3, "n"]))
            )
        case "many":
            table.index = pd.MultiIndex.from_tuples(
                [(1, "a"), (2.5, "b"), (1, "c")][:rows] or [(1, "a")], names=["u", None]
            )[:rows]
        case "dates":
            table.index = pd.date_range(
                "2024-02-29", periods=rows, tz=draw(st.sampled_from([None, BERLIN]))
            )
        case "col" if heads:
            with suppress(Exception):  # not every column can be one
                table = table.set_index(heads[0])
    match draw(
        st.sampled_from(
            ["plain"] * 8 + ["attrs", "name", "flag", "twice", "number", "series", "subclass"]
        )
    ):
        case "attrs":
            table.attrs = {"unit": draw(scalars)}
        case "name":
            table.columns.name = draw(texts)
        case "flag" if table.index.is_unique:
            table = table.set_flags(allows_duplicate_labels=False)
        case "twice":
            table.columns = pd.Index(["a"] * table.shape[1])
        case "number":
            table.columns = pd.RangeIndex(table.shape[1])
        case "series" if table.shape[1]:
            return table.iloc[:, 0]
        case "subclass":
            return Frame(table)
    return table


values = plain | arrays(structured) | pictures | images | tables()


# ---------------------------------------------------------------- what there is to say of a value


def told(value: Any) -> Any:
    """Return all that can be seen of a value as texts, so that two can be compared at once."""
    kind = "ndarray" if type(value) is np.memmap else type(value).__qualname__
    if isinstance(value, np.ma.MaskedArray) and value is not np.ma.masked:
        mask = np.ma.getmaskarray(value)
        return [
            kind,
            told(value.data),
            told(mask),
            told(np.asarray(value.fill_value).astype(value.dtype)),
        ]
    if isinstance(value, np.ndarray):
        dtype = _fields(value.dtype)
        more = sorted(getattr(value, "__dict__", {}).items())
        return [kind, dtype, value.shape, [told(one) for one in value.ravel().tolist()], more]
    if isinstance(value, pd.DataFrame):
        columns = [told(value.iloc[:, number]) for number in range(value.shape[1])]
        flags = value.flags.allows_duplicate_labels
        names = [told(name) for name in value.columns]
        return [kind, names, told(list(value.columns.names)), columns, told(value.index),
                told(value.attrs), flags]  # fmt: skip
    if isinstance(value, pd.Series):
        return [
            kind,
            told(value.name),
            _dtype(value.dtype),
            told(value.tolist()),
            told(value.index),
        ]
    if isinstance(value, pd.Index):
        freq = repr(getattr(value, "freq", None))
        return [kind, told(list(value.names)), _dtype(value.dtype), told(value.tolist()), freq]
    if isinstance(value, dict):
        return [kind, [(told(key), told(one)) for key, one in value.items()]]
    if isinstance(value, set | frozenset):
        return [kind, sorted(map(repr, value))]
    if isinstance(value, list | tuple):
        return [kind, [told(one) for one in value]]
    if isinstance(value, np.generic) and value.dtype.names is None:
        return [kind, value.dtype.str, repr(value)]
    if isinstance(value, Image):
        return [kind, told(vars(value))]
    if type(value) is int:
        return [kind, hex(value)]
    return [kind, repr(value), getattr(value, "unit", None)]


def _fields(dtype: np.dtype) -> Any:
    if dtype.names is None:
        return dtype.str
    # Whether fields lie where C would put them is seen by where they lie.
    return [dtype.type, dtype.itemsize, repr(dict(dtype.fields or {})).replace(", align=True", "")]


def _dtype(dtype: Any) -> Any:
    if isinstance(dtype, pd.CategoricalDtype):
        return ["category", told(dtype.categories), dtype.ordered]
    return [repr(dtype), str(dtype)]
