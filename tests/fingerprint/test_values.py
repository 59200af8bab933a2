"""What parameters count by: same value, same token; other value, other token."""

from __future__ import annotations

import datetime
import decimal
import fractions
import functools
import math
import operator
import os
import re
import subprocess
import sys
import threading
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from databacked.errors import FingerprintError
from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.parameters import content, token, tokens


class Channel(Enum):
    """A choice."""

    DNA = 1
    MEMBRANE = 2


class Flags(IntFlag):
    """Choices that go together."""

    A = 1
    B = 2


Point = namedtuple("Point", "y x")
Size = namedtuple("Size", "y x")


@dataclass
class Settings:
    """Fields."""

    sigma: float
    names: list[str] = field(default_factory=list)


class Slotted:
    """State in slots, one of them private."""

    __slots__ = ("__hidden", "shown")

    def __init__(self, shown: int, hidden: int):
        self.shown, self.__hidden = shown, hidden


class Remembering:
    """A value that remembers what it computed."""

    def __init__(self, x: int):
        self.x = x

    @functools.cached_property
    def double(self):
        """Twice."""
        return self.x * 2


class Said:
    """A class that says what it counts by."""

    def __init__(self, x: int):
        self.x, self.lock = x, threading.Lock()

    def __databacked_token__(self):
        """The number alone."""
        return self.x


class Stack(np.ndarray):
    """An array of a class of one's own."""


def _masked(mask: list[bool]) -> Any:
    return np.ma.array([1, 2, 3], mask=mask)


def _frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


# All values here differ, each from every other one.
DIFFERENT: list[Any] = [
    None, True, False, 0, 1, -1, 10**5000, 0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 1e-300,
    1j, 1 + 0j, "", "1", "i:1", "none", "True", "a" * 64, "a" * 65, "a\nb", "\ud800", b"", b"1",
    (), [], {}, set(), (1,), [1], {1}, {1: 1}, [[1], 2], [[1, 2]], [1, [2]], ((1,), 2),
    ["a", "b"], ["ab"], ["a,b"], {"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": {"b": 1}},
    {1: "a"}, {"1": "a"}, {1.0: "a"}, {True: "a"}, range(3), range(0, 6, 2), slice(3), slice(0, 3),
    ..., Path("a/b"), Path("a"), Channel.DNA, Channel.MEMBRANE, Flags.A, Flags.A | Flags.B,
    datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1), datetime.time(1),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(1), datetime.UTC,
    decimal.Decimal("1"), decimal.Decimal("1.0"), fractions.Fraction(1, 2), uuid.UUID(int=1),
    Point(1, 2), Point(2, 1), Size(1, 2), Settings(1.0), Settings(1.5), Settings(1.0, ["a"]),
    Slotted(1, 2), Slotted(2, 1), Slotted(1, 3), Remembering(1), Remembering(2), Said(1), Said(2),
    SimpleNamespace(x=1), SimpleNamespace(x=2), MappingProxyType({"a": 1}),
    OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), Counter("aab"), defaultdict(int),
    defaultdict(list), deque([1]), deque([1], 3), re.compile("a"), re.compile("b"),
    re.compile("a", re.I),
    operator.itemgetter(1), operator.itemgetter(2), operator.add, len, math.sqrt, {1: 1}.get,
    {2: 1}.get, int, float, np.float32, list[int], list[str], dict[str, int], int | None,
    math, operator, lambda x: x + 1, lambda x: x + 2, functools.partial(int, base=2),
    functools.partial(int, base=3), functools.partial(len), functools.lru_cache(lambda: 1),
    np.sum, np.add, np.mean, np.linalg.norm,
    np.float32(1), np.float64(1), np.int64(1), np.bool_(True), np.str_("1"),
    np.datetime64("2024-01-01"), np.datetime64("2024-01-01T00"), np.timedelta64(1, "s"),
    np.dtype("f4"), np.dtype("f8"), np.dtype([("a", "f4")]),
    np.zeros(3), np.zeros(4), np.zeros((3, 1)), np.zeros(3, "f4"), np.zeros(0), np.zeros((0, 3)),
    np.array(0.0), np.array([0.0]), np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2),
    np.array([1, "a"], object), np.array(["1", "a"], object), np.array(["1", "a"]),
    np.array([(1, 2)], [("a", "i4"), ("b", "i4")]), np.array([(1, 2)], [("a", "i4"), ("c", "i4")]),
    np.array(["2024"], "M8[Y]"), _masked([True, False, False]), _masked([False, True, False]),
    np.zeros(3).view(Stack), np.random.default_rng(1), np.random.default_rng(2),
    np.random.RandomState(1), np.random.RandomState(2),
    pd.Series([1, 2]), pd.Series([1, 3]), pd.Series([1, 2], index=[1, 2]),
    pd.Series([1, 2], name="a"),
    pd.Series([1.0, 2.0]), pd.Series(["1", "2"]), pd.Series(["a", "b"], dtype="category"),
    pd.Series(pd.Categorical(["a", "b"], ["b", "a"])),
    pd.Series(pd.Categorical(["a", "b"], ordered=True)),
    pd.Index([1, 2]), pd.Index([1, 2], name="a"), pd.MultiIndex.from_tuples([(1, 2)]),
    pd.MultiIndex.from_tuples([(1, 2)], names=["a", "b"]), pd.Timestamp("2024-01-01"),
    pd.Timestamp("2024-01-01", tz="UTC"), pd.Timedelta(1, "s"), pd.NA, pd.NaT,
    pd.Categorical(["a", "b"]), pd.CategoricalDtype(["a"]), pd.CategoricalDtype(["b"]),
    pd.array([1, None], dtype="Int64"), pd.array([1, 2], dtype="Int64"), _frame(), _frame(a=[1]),
    _frame(b=[1]), _frame(a=[1, 2]), _frame(a=[1], b=[2]), _frame(b=[2], a=[1]), _frame(a=["1"]),
    _frame(a=[None]), pd.DataFrame(columns=pd.Index([], name="n")),
    pd.DataFrame(columns=pd.Index([], name="m")), da.zeros(3, chunks=2), da.ones(3, chunks=2),
    xr.DataArray(np.zeros(2)), xr.DataArray(np.zeros(2), dims="x"), xr.DataArray(np.ones(2)),
    xr.DataArray(np.zeros(2), dims="x", coords={"x": [1, 2]}),
    xr.DataArray(np.zeros(2), attrs={"a": 1}),
    xr.Dataset({"a": ("x", [1])}), xr.Dataset({"b": ("x", [1])}), xr.Dataset({"a": ("x", [2])}),
]  # fmt: skip


def test_different_values_have_different_tokens():
    """No two of a long list of values that are easily mixed up share a token."""
    by_token: dict[str, Any] = {}
    for value in DIFFERENT:
        said = token(value)
        assert said not in by_token, f"{value!r} and {by_token[said]!r}"
        by_token[said] = value


SAME: list[tuple[Any, Any]] = [
    (math.nan, float("nan")),
    ({"a", "b", "c"}, {"c", "b", "a"}),
    (Path("a/b"), Path("a") / "b"),
    (Settings(1.0, ["a"]), Settings(1.0, ["a"])),
    (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    (np.arange(10)[::2], np.array([0, 2, 4, 6, 8])),
    (np.array([(1, 2)], np.dtype([("a", "i1"), ("b", "i4")], align=True)),
     np.array([(1, 2)], np.dtype([("a", "i1"), ("b", "i4")]))),
    (np.array([1, "a"], object), np.array([1, "a"], object)),
    (pd.Series(["a", "b"]), pd.Series(list("ab"))),
    (pd.RangeIndex(3), pd.Index([0, 1, 2])),
    (pd.Series(["a", np.nan], dtype=object), pd.Series(["a", float("nan")], dtype=object)),
    (_frame(a=[1.0], b=["x"]), _frame(a=[1.0], b=["x"])),
    (da.arange(6, chunks=2), da.arange(6, chunks=2)),
    (np.random.default_rng(1), np.random.default_rng(1)),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_same_values_have_the_same_token(one, other):
    """Layout in memory, padding, and how a value was put together don't count."""
    assert token(one) == token(other)


def test_what_is_remembered_on_a_value_does_not_count():
    """A cached property comes when somebody asks for it."""
    value = Remembering(1)
    before = token(value)
    assert value.double == 2
    assert token(value) == before


def test_a_memory_map_counts_like_its_array(tmp_path):
    """An array is the same in memory and in a file."""
    np.save(tmp_path / "a.npy", np.arange(5))
    assert token(np.load(tmp_path / "a.npy", mmap_mode="r")) == token(np.arange(5))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=80)
    | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def _exactly(value: Any) -> Any:
    """A value in which ``1``, ``1.0`` and ``True`` differ, and -0.0 from 0.0."""
    if isinstance(value, list | tuple):
        return type(value), [_exactly(one) for one in value]
    if isinstance(value, dict):
        return dict, [(key, repr(_exactly(one))) for key, one in value.items()]
    return type(value), repr(value)


@given(plain, plain)
def test_tokens_are_equal_exactly_where_values_are(one, other):
    """Two values of any nesting share a token only if they are the same."""
    assert (token(one) == token(other)) is (_exactly(one) == _exactly(other))


@given(st.lists(plain, max_size=5))
def test_many_tokens_at_once_are_those_of_each(values):
    """The quick way for many gives what the slow way for one does."""
    assert tokens(values) == [token(value) for value in values]


@given(arrays(np.float32, array_shapes(max_dims=3, max_side=4)))
def test_an_array_counts_by_its_content_alone(array):
    """Layout in memory doesn't count; one changed pixel does."""
    said = token(array)
    assert token(np.asfortranarray(array)) == said
    assert token(array.copy()) == said
    changed = array.copy()
    changed.flat[0] = 8 if changed.flat[0] == 7 else 7
    assert token(changed) != said


def test_tokens_are_the_same_in_another_process_and_hash_seed():
    """Nothing depends on identities, orders of sets, or what ran before."""
    text = (
        "from tests.fingerprint.test_values import DIFFERENT, token;"
        "print(*map(token, DIFFERENT), sep='\\x1e', end='')"
    )
    said = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                text.replace("*map(token, DIFFERENT)", "*(ascii(token(v)) for v in DIFFERENT)"),
            ],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout.split("\x1e"))
    assert len(said[0]) == len(DIFFERENT)
    assert [a for a, b in zip(*said, strict=True) if a != b] == []


def test_tokens_are_the_same_on_every_python():
    """Records stay fresh after an upgrade: these were made once, on 3.11."""
    values = [
        1, "a", 0.1, [1, {"b": (2.5, None)}], {"x", "y"}, Path("a/b"), range(3),
        datetime.datetime(2024, 1, 1), np.arange(3.0), np.float32(1), pd.Series(["a", "b"]),
        re.compile("a"), uuid.UUID(int=1), decimal.Decimal("1.5"), np.sum, int, list[int],
        fractions.Fraction(1, 2), np.random.default_rng(1),
    ]  # fmt: skip
    assert hash_texts(tokens(values)) == "eb64e6b88829871992b609584ddaf140"


def test_plain_values_can_be_read_in_their_token():
    """A record that is opened by hand says what its parameters were."""
    assert tokens([1, 1.5, True, None, "nucleus"]) == [
        "i:1",
        "f:1.5",
        "b:True",
        "none",
        "s:nucleus",
    ]


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (threading.Lock(), "lock"),
        ({"filter": SimpleNamespace(kernel=threading.Lock())}, r"\['filter'\].*\['kernel'\]"),
        ([1, (x for x in "a")], r"generator at \[1\]"),
        (np.array([threading.Lock()], object), r"lock at \[0\]"),
        (np.frompyfunc(math.floor, 1, 1), "ufunc"),
        (iter([1]), "list_iterator"),
        (sys.stdout, "read only once"),
    ],
)
def test_a_value_without_content_is_an_error_that_says_where(value, where):
    """What came, where in the value it stands, and what to do."""
    with pytest.raises(FingerprintError, match=where) as error:
        token(value)
    assert "__databacked_token__" in str(error.value)
    assert content(value) is None


def test_a_value_that_contains_itself_is_an_error():
    """It has no end."""
    value: list[Any] = [1]
    value.append(value)
    with pytest.raises(FingerprintError, match="contains itself"):
        token(value)


def test_a_value_twice_in_a_value_is_fine():
    """Only what lies inside itself has no end."""
    inner = [1]
    assert token([inner, inner]) == token([[1], [1]])


def test_a_function_among_parameters_counts_by_its_code(tmp_path):
    """Another body, another token; another package's function counts by its name."""

    def make(amount: int) -> Callable[[int], int]:
        return lambda x: x + amount

    assert token(make(1)) == token(make(1))
    assert token(make(1)) != token(make(2))
    assert token([np.mean]) != token([np.median])
