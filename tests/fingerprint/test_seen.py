"""Whatever a task can see in a value counts: two values that differ in it have two tokens."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import pickle
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from databacked.errors import FingerprintError
from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.parameters import token, tokens
from databacked.graph.copies import copied


class Calibrated(np.ndarray):
    """An array with a pixel size."""

    pixel: float

    def __array_finalize__(self, other):
        self.pixel = getattr(other, "pixel", 1.0)


class Plate(pd.DataFrame):
    """A table with a name of its own."""

    _metadata: ClassVar = ["plate"]

    @property
    def _constructor(self):
        return Plate


class Unnamed(pd.DataFrame):
    """A table that only has another class."""


class Well(NamedTuple):
    """A named tuple with a method."""

    row: int

    def label(self):
        """What its user sees."""
        return f"row {self.row}"


class Place(Well):
    """A named tuple with attributes."""


class Stain(enum.Enum):
    """A member with an attribute."""

    DAPI = 1


class Slotted:
    """A slot above a dict."""

    __slots__ = ("size",)


class Open(Slotted):
    """Both."""


@dataclasses.dataclass
class Settings:
    """Fields."""

    sigma: float = 1.0


def with_(value: Any, **attributes: Any) -> Any:
    """Return a value with attributes set."""
    for name, one in attributes.items():
        setattr(value, name, one)
    return value


def table(**changes: Any) -> Any:
    """Return a small table with attributes of it changed."""
    return with_(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), **changes)


def masked(**changes: Any) -> Any:
    return with_(np.ma.masked_array([1, 2, 3], np.array([0, 1, 0], bool)), **changes)


def generator(children: int) -> Any:
    made = np.random.default_rng(1)
    made.spawn(children)
    return made


DAY = datetime.datetime(2024, 1, 15)
PARIS, LAGOS = ZoneInfo("Europe/Paris"), ZoneInfo("Africa/Lagos")
DAYS = pd.date_range("2024-01-01", periods=3)
CET = datetime.timezone(datetime.timedelta(hours=1))

FAMILIES: dict[str, list[Any]] = {
    "dicts": [
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        Counter("ab"),
        Counter("ba"),
        defaultdict(int, a=1, b=2),
        defaultdict(int, b=2, a=1),
        [{"a": 1, "b": 2}],
        [{"b": 2, "a": 1}],
        SimpleNamespace(a=1, b=2),
        SimpleNamespace(b=2, a=1),
    ],
    "tables": [
        table(),
        table(attrs={"px": 0.1}),
        table(attrs={"px": 0.2}),
        table().rename_axis(columns="feature"),
        table().rename_axis(columns="object"),
        table().rename_axis(index="cell"),
        table().set_flags(allows_duplicate_labels=False),
        table().astype({"b": object}),
        table().astype({"b": "string"}),
        table().astype({"a": "i4"}),
        table().astype({"a": "Int64"}),
        table().astype({"b": "category"}),
        table()[["b", "a"]],
        Plate(table()),
        with_(Plate(table()), plate="A"),
        with_(Plate(table()), plate="B"),
        Unnamed(table()),
        with_(table(), scale=3),
        table(index=DAYS[:2]),
        table(index=pd.DatetimeIndex(list(DAYS[:2]))),
        table(columns=pd.Index(["a", "b"], dtype=object)),
        table(columns=pd.CategoricalIndex(["a", "b"])),
        table(columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 1)])),
        table(columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 1)], names=["x", "y"])),
    ],
    "columns": [
        pd.Series([1, 2]),
        pd.Series([1, 2], name="a"),
        with_(pd.Series([1, 2]), attrs={"px": 1}),
        pd.Series([1, 2]).rename_axis("cell"),
        pd.Series([1, 2]).set_flags(allows_duplicate_labels=False),
        pd.Series(["a", "b"]),
        pd.Series(["a", "b"], dtype=object),
        pd.Series(["a", "b"], dtype="string"),
        pd.Series(["a", "b"], dtype="category"),
        pd.Series(pd.Categorical(["a", "b"], ["b", "a"])),
        pd.Series(pd.Categorical(["a", "b"], ["a", "b", "c"])),
        pd.Series(pd.Categorical(["a", "b"], ordered=True)),
        pd.Series([0.0, 1.0]),
        pd.Series([0.0, 1.0], dtype=pd.SparseDtype(float, 0.0)),
        pd.Series([0.0, 1.0], dtype=pd.SparseDtype(float, 1.0)),
        pd.Series(pd.Categorical([1, 2], pd.Index([1, 2], dtype="i4"))),
        pd.Series(pd.Categorical([1, 2], pd.Index([1, 2], dtype="i8"))),
    ],
    "indexes": [
        DAYS,
        pd.DatetimeIndex(list(DAYS)),
        DAYS.rename("day"),
        DAYS.tz_localize("Europe/Paris"),
        DAYS.tz_localize("Africa/Lagos"),
        DAYS.as_unit("ms"),
        pd.MultiIndex.from_product([["a"], [1, 2]]),
        pd.MultiIndex.from_product([["a"], [1, 2]], names=["x", None]),
        pd.MultiIndex.from_product([["a", "b"], [1, 2]])[:2],
        pd.MultiIndex.from_product([["a"], np.array([1, 2], "i4")]),
        pd.period_range("2024", periods=2, freq="M"),
        pd.interval_range(0, 2),
        pd.interval_range(0.0, 2.0),
        pd.interval_range(0, 2, closed="left"),
    ],
    "scalars of pandas": [
        pd.Timestamp(DAY).as_unit("s"),
        pd.Timestamp(DAY).as_unit("ns"),
        pd.Timestamp(DAY, tz=PARIS),
        pd.Timestamp(DAY, tz=LAGOS),
        pd.Timedelta(1, "s").as_unit("s"),
        pd.Timedelta(1, "s").as_unit("ns"),
        pd.Interval(0, 1),
        pd.Interval(0.0, 1.0),
        pd.Interval(0, 1, "left"),
        pd.offsets.Day(1),
        pd.offsets.Day(2),
        pd.offsets.Hour(24),
        pd.offsets.CustomBusinessDay(),
        pd.offsets.CustomBusinessDay(holidays=["2024-01-01"]),
        pd.Categorical(["a"]),
        pd.array(["a"], dtype="string"),
        pd.StringDtype("python"),
        pd.StringDtype("pyarrow"),
    ],
    "times": [
        DAY,
        DAY.replace(fold=1),
        DAY.replace(tzinfo=PARIS),
        DAY.replace(tzinfo=LAGOS),
        DAY.replace(tzinfo=CET),
        DAY.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1), "CET")),
        DAY.replace(tzinfo=PARIS, fold=1),
        datetime.time(1),
        datetime.time(1, fold=1),
        datetime.time(1, tzinfo=PARIS),
        datetime.time(1, tzinfo=LAGOS),
        PARIS,
        LAGOS,
        CET,
    ],
    "arrays": [
        np.arange(3),
        np.arange(3).view(Calibrated),
        with_(np.arange(3).view(Calibrated), pixel=2.0),
        np.array([0, 1, 2], np.dtype("i8", metadata={"unit": "nm"})),
        np.arange(3).astype(">i8"),
        np.array(["a"], object),
        np.array(["a"], np.dtypes.StringDType()),
        np.array(["a"], np.dtypes.StringDType(na_object=None)),
        np.array(["a"]),
        np.array([(1,)], [("a", "i8")]),
        np.array([(1,)], [(("title", "a"), "i8")]),
        np.array([(1,)], [("a", "i8")]).view(np.recarray),
        np.zeros(2, []),
        np.zeros(3, []),
        np.rec.array([(1,)], [("a", "i8")]).view(np.ndarray),
    ],
    "masked arrays": [
        masked(),
        masked(fill_value=7),
        masked(mask=[1, 0, 0]),
        np.ma.masked_array([1, 2, 3]),
        np.ma.masked_array([1, 5, 3], np.array([0, 1, 0], bool)),
        np.ma.masked_array([1, 2, 3], np.array([0, 1, 0], bool), hard_mask=True),
        masked().astype("i4"),
    ],
    "random numbers": [generator(0), generator(1), np.random.default_rng(2)],
    "labelled arrays": [
        xr.DataArray(np.zeros(2), dims="x"),
        xr.DataArray(np.zeros(2), dims="x", attrs={"px": 1}),
        xr.DataArray(np.zeros(2), dims="x", name="a"),
        xr.DataArray(np.zeros(2), {"x": [1, 2]}, "x"),
        xr.DataArray(np.zeros(2), {"x": ("x", [1, 2], {"unit": "nm"})}, "x"),
        with_(xr.DataArray(np.zeros(2), dims="x"), encoding={"scale_factor": 2}),
        xr.Dataset({"a": ("x", [1])}),
        xr.Dataset({}, {"a": ("x", [1])}),
        xr.Dataset({"a": ("x", [1])}, attrs={"px": 1}),
        xr.Dataset({"a": ("x", [1]), "b": ("x", [1])}),
        xr.Dataset({"b": ("x", [1]), "a": ("x", [1])}),
        xr.DataTree.from_dict({"/": xr.Dataset({"a": ("x", [1])})}),
        xr.DataTree.from_dict({"/": xr.Dataset({"a": ("x", [1])}), "/b": xr.Dataset()}),
    ],
    "paths": [
        Path("a"),
        PurePosixPath("a"),
        PureWindowsPath("a"),
        PureWindowsPath("a/b"),
        PurePosixPath("a/b"),
        "a",
    ],
    "bytes": [b"a", bytearray(b"a"), memoryview(b"a"), memoryview(b"a").cast("b")],
    "sets": [{1}, frozenset({1})],
    "objects": [
        Well(1),
        Place(1),
        with_(Place(1), note="x"),
        Settings(),
        with_(Settings(), extra=1),
        with_(Open(), size=1),
        with_(Open(), size=2),
        with_(Open(), size=1, more=1),
        (1,),
        functools.partial(len),
        with_(functools.partial(len), note="x"),
    ],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_task_can_see_counts(family):
    """No two of a family share a token."""
    said = tokens(FAMILIES[family])
    same = [
        (FAMILIES[family][one], FAMILIES[family][other])
        for other in range(len(said))
        for one in range(other)
        if said[one] == said[other]
    ]
    assert same == []


def test_what_is_seen_through_another_value_counts():
    """What a view of a dict gives for a missing key, whether bytes can be written, lazy masks."""
    views: list[Any] = [{"a": 1}, defaultdict(int, a=1), defaultdict(list, a=1), OrderedDict(a=1)]
    plain, masked = np.zeros(4), np.ma.masked_array(np.zeros(4), np.arange(4) == 0)
    others = [np.ma.masked_array(np.zeros(4), np.arange(4) == 1), np.ma.masked]
    dask = pytest.importorskip("dask.array")
    values = [
        *map(MappingProxyType, views),
        memoryview(b"a"),
        memoryview(bytearray(b"a")),
        *(dask.from_array(one, asarray=False) for one in (plain, masked, others[0])),
        *others,
    ]
    assert len(set(tokens(values))) == len(values)
    assert [token(copied(value)) for value in values] == tokens(values)
    assert copied(MappingProxyType(views[1]))["missing"] == 0
    assert views[1] == {"a": 1}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_and_what_another_process_gets_count_the_same(family):
    """Nothing of a token depends on where a value lies."""
    for value in FAMILIES[family]:
        assert token(copied(value)) == token(value), value
        # Pickle has no memory views, and leaves out what was set by hand on what is not ours.
        by_hand = isinstance(value, memoryview | Unnamed | Calibrated) or hasattr(value, "scale")
        by_hand = by_hand or getattr(value, "hardmask", False)
        kind = getattr(value, "dtype", None)
        odd = getattr(kind, "metadata", None) or getattr(kind, "byteorder", "=") == ">"
        if not (by_hand or odd):
            assert token(pickle.loads(pickle.dumps(value))) == token(value), value


def test_what_is_usual_adds_nothing():
    """Tokens of plain tables, dicts sorted by key and times: records of them stay fresh."""
    values = [
        table(), pd.DataFrame(), pd.DataFrame(np.eye(2)), {"a": 1, "b": {"c": (1, 2)}}, DAY,
        np.array([(1, 2)], [("a", "i4"), ("b", "i4")]), pd.Series([1.0, None], name="x"), {1, 2},
        np.arange(4.0), np.float64(2), DAY.replace(tzinfo=datetime.UTC), SimpleNamespace(a=1),
    ]  # fmt: skip
    assert hash_texts(tokens(values)) == "f70e8961bdacc4398322b34995f2c402"


leaves = st.integers() | st.text(max_size=3) | st.booleans()
labels = st.text("abc", min_size=1, max_size=2)
dicts = st.dictionaries(labels, leaves, max_size=3)


@st.composite
def tables(draw):
    """Tables with everything that may hang on one."""
    names = draw(st.lists(labels, min_size=1, max_size=3, unique=True))
    rows = draw(st.integers(0, 3))
    kinds = st.sampled_from(["i8", "i4", "f8", "Int64", "str", "object", "category", "bool"])
    made = pd.DataFrame({name: pd.Series([1] * rows).astype(draw(kinds)) for name in names})
    made.columns.name = draw(st.none() | labels)
    made.index.name = draw(st.none() | labels)
    made.attrs = draw(dicts)
    return made.set_flags(allows_duplicate_labels=draw(st.booleans()))


def seen(made: pd.DataFrame) -> Any:
    """Return all that a task can see of a table."""
    return (
        made.to_dict("split"),
        [(name, str(kind)) for name, kind in made.dtypes.items()],
        made.columns.names,
        made.index.names,
        list(made.attrs.items()),
        [(key, type(one)) for key, one in made.attrs.items()],
        made.flags.allows_duplicate_labels,
    )


@given(tables(), tables())
def test_two_tables_share_a_token_only_if_nobody_sees_a_difference(one, other):
    """And share it if nobody does, however they came to be."""
    assert (token(one) == token(other)) is (repr(seen(one)) == repr(seen(other)))
    again = pd.concat([one[[name]] for name in one], axis=1)
    again.columns.name, again.attrs = one.columns.name, one.attrs
    again = again.set_flags(allows_duplicate_labels=one.flags.allows_duplicate_labels)
    assert token(again) == token(one)


@given(dicts, dicts)
def test_the_order_of_a_dict_counts(one, other):
    """Also that of a dict in a dict."""
    same = repr(list(one.items())) == repr(list(other.items()))
    assert (token(one) == token(other)) is same
    assert (token([{"x": one}]) == token([{"x": other}])) is same


class Proxy:
    """Stands for something that is not there."""

    def __getattr__(self, name):
        raise RuntimeError("not connected")


class Calling(Proxy):
    """One that can be called."""

    def __call__(self):
        """Do nothing."""


class Raising:
    """Nothing of it works but its attributes."""

    x = 1

    def __init__(self):
        self.y = 1

    def _no(self, *_):
        raise RuntimeError("not connected")

    __eq__ = __hash__ = __reduce__ = __reduce_ex__ = __repr__ = __bool__ = __len__ = _no


class Said:
    """Its own word fails."""

    def __databacked_token__(self):
        raise OSError("no network")


def test_an_odd_object_is_looked_at_past_its_own_code():
    """Its class and its attributes are what it counts by."""
    assert token(Proxy()) == token(Proxy())
    assert token(Raising()) == token(Raising())
    assert token(with_(Raising(), y=2)) != token(Raising())


def deep(around: Any) -> Any:
    """Return a value inside three thousand others."""
    value: Any = 1
    for _ in range(3000):
        value = around(value)
    return value


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Calling(), "Calling cannot be looked at .RuntimeError"),
        (lambda: [1, {"a": Calling()}], r"Calling at \[1\]\['a'\]"),
        (lambda: Said(), "__databacked_token__.. of .*Said raised OSError"),
        (lambda: {Said(): 1}, "__databacked_token__"),
        (lambda: deep(lambda inner: [inner]), "nested too deeply"),
        (
            lambda: deep(lambda inner: {"a": inner}),
            "nested too deeply",
        ),
        (lambda: [map(str, [1])], r"map at \[0\] can be read only once: pass list"),
        (lambda: {"rows": zip([1], [2], strict=True)}, r"zip at \['rows'\] can be read only once"),
    ],
)
def test_what_cannot_be_looked_at_is_an_error_with_words(make, words):
    """Never the raw error of somebody's code."""
    with pytest.raises(FingerprintError, match=words):
        token(make())
