"""What a parameter's value counts by: a short text for small plain values, a hash for the rest.

``1``, ``1.0``, ``True`` and ``"1"`` are different values; a value is the same in another process,
under another hash seed and on another Python version. Nothing is pickled to be hashed.
"""

from __future__ import annotations

import collections
import copy
import datetime
import decimal
import enum
import functools
import operator
import re
import sys
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from databacked.callables import is_library
from databacked.errors import FingerprintError
from databacked.hashes import hash_bytes, hash_texts

SHORT = 64
"""Characters up to which a text stands in its token as it is."""


def _of_text(value: str) -> str:
    if len(value) <= SHORT and "\n" not in value and "\x1f" not in value:
        return "s:" + value
    return "h:" + hash_texts(["str", value])


def _of_int(value: int) -> str:
    try:
        return f"i:{value}"
    except ValueError:  # Python writes no more than 4300 digits
        return "h:" + hash_texts(["int", hex(value)])


def _of_float(value: float) -> str:
    return f"f:{value!r}"


_WRITTEN = (
    datetime.timezone,
    datetime.timedelta,
    decimal.Decimal,
    operator.attrgetter,
    operator.itemgetter,
    uuid.UUID,
    type(Ellipsis),
)
"""Types whose values are written out in full by ``repr``."""

QUICK: dict[type, Callable[[Any], str]] = {
    str: _of_text,
    int: _of_int,
    float: _of_float,
    bool: lambda value: f"b:{value}",
    type(None): lambda value: "none",
    bytes: lambda value: "h:" + hash_texts(["bytes", hash_bytes(value)]),
    complex: lambda value: f"c:{_of_float(value.real)}{_of_float(value.imag)}",
}


class Tokens:
    """One walk through a value.

    Parameters
    ----------
    code
        Returns what a function or class among the values counts by.
    """

    def __init__(self, code: Callable[[Any], str]) -> None:
        self.code = code
        self.inside: set[int] = set()

    def of(self, value: Any, where: str) -> str:
        quick = QUICK.get(type(value))
        if quick is not None:
            return quick(value)
        own = getattr(type(value), "__databacked_token__", None)
        if own is not None:
            said = value.__databacked_token__()
            if isinstance(said, str) and said.startswith("content:"):
                return "c:" + said.removeprefix("content:")
            return self._hash(type(value).__qualname__, self.of(said, where))
        if id(value) in self.inside:
            raise FingerprintError(
                f"the value{where and ' at ' + where} contains itself; pass plain values."
            )
        self.inside.add(id(value))
        try:
            return self._of(value, where)
        finally:
            self.inside.discard(id(value))

    def of_path(self, value: PurePath, where: str) -> str:
        """Return what a path counts by: its text, whatever the file holds."""
        return self._hash("path", value.as_posix())

    def _hash(self, *parts: str) -> str:
        return "h:" + hash_texts(parts)

    def _pairs(self, value: Mapping[Any, Any], where: str) -> list[str]:
        """Return keys and values in an order of their own: dicts are equal in any order."""
        pairs = sorted(
            (self.of(key, f"{where}.keys()"), self.of(item, f"{where}[{key!r}]"))
            for key, item in value.items()
        )
        return [part for pair in pairs for part in pair]

    def _each(self, values: Any, where: str) -> list[str]:
        return [self.of(item, f"{where}[{number}]") for number, item in enumerate(values)]

    def _of(self, value: Any, where: str) -> str:
        kind = type(value)
        if isinstance(value, enum.Enum):
            members = [f"{kind.__qualname__}.{value.name}", self.of(value.value, f"{where}.value")]
            return self._hash("enum", *members, self.of(kind, where))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self._hash("tuple", kind.__qualname__, *value._fields, *self._each(value, where))
        if kind in (list, tuple):
            return self._hash(kind.__name__, *self._each(value, where))
        if kind is dict:
            return self._hash("dict", *self._pairs(value, where))
        if kind in (set, frozenset):
            return self._hash("set", *sorted(self._each(value, where)))
        if kind in (collections.OrderedDict, collections.Counter, collections.defaultdict):
            factory = self.of(getattr(value, "default_factory", None), f"{where}.default_factory")
            # An OrderedDict is one because its order counts.
            order = self._each(value, where) if kind is collections.OrderedDict else []
            return self._hash(kind.__name__, factory, *order, *self._pairs(value, where))
        if kind is collections.deque:
            return self._hash("deque", self.of(value.maxlen, where), *self._each(value, where))
        if kind is types.SimpleNamespace:
            return self._hash("namespace", self.of(vars(value), where))
        if kind is types.MappingProxyType:
            return self._hash("mappingproxy", *self._pairs(value, where))
        if isinstance(value, PurePath):
            return self.of_path(value, where)
        if kind in (range, slice):
            return self._hash(
                kind.__name__, *self._each((value.start, value.stop, value.step), where)
            )
        if kind in (datetime.date, datetime.datetime, datetime.time):
            return self._hash(kind.__name__, value.isoformat())
        if kind is re.Pattern:
            return self._hash("pattern", self.of(value.pattern, where), str(value.flags))
        if kind.__module__ == "logging" and isinstance(getattr(value, "name", None), str):
            return self._hash("logger", value.name)
        if kind in _WRITTEN:
            return self._hash(kind.__name__, repr(value))
        if kind in (bytearray, memoryview):
            return self._hash("bytes", hash_bytes(bytes(value)))
        if isinstance(value, ModuleType):
            return self._hash("module", value.__name__)
        found = self._of_library(value, where)
        if found is not None:
            return found
        if isinstance(value, functools.partial):
            return self._hash(
                "partial",
                self.of(value.func, f"{where}.func"),
                self.of(list(value.args), where),
                self.of(value.keywords, where),
            )
        if typing.get_origin(value) is not None:
            return self._hash(
                "type", self.of(typing.get_origin(value), where), *self._each(_args(value), where)
            )
        if kind.__name__ == "TypeAliasType":
            return self._hash("type", value.__name__, self.of(value.__value__, where))
        if isinstance(value, typing.TypeVar):
            return self._hash("type", value.__name__)
        if isinstance(value, FunctionType | type | MethodType | BuiltinFunctionType):
            return self._of_code(value, where)
        if _is_library_name(value):
            return self._hash("builtin", f"{value.__module__}.{value.__name__}")
        if hasattr(value, "fn") and kind.__module__.startswith("databacked."):
            return self._of_code(value.fn, where)
        return self._of_instance(value, where)

    def _of_code(self, value: Any, where: str) -> str:
        if isinstance(value, MethodType):
            return self._hash(
                "method",
                value.__name__,
                self._of_code(value.__func__, where),
                self.of(value.__self__, f"{where}.__self__"),
            )
        if not isinstance(value, FunctionType | type):
            owner = value.__self__
            of = "" if owner is None or isinstance(owner, ModuleType) else self.of(owner, where)
            return self._hash("builtin", f"{value.__module__}.{value.__qualname__}", of)
        return self._hash("code", self.code(value))

    def _of_library(self, value: Any, where: str) -> str | None:
        """Return the token of what numpy, pandas or dask made; None for everything else."""
        libraries = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
        if "numpy" in libraries:
            return self._of_numpy(value, where)
        if "pandas" in libraries:
            return self._of_pandas(value, where)
        if "xarray" in libraries:
            return self._of_xarray(value, where)
        if "dask" in libraries and hasattr(value, "to_delayed") and hasattr(value, "chunks"):
            import numpy as np

            parts = [
                self._of_numpy(np.asarray(block.compute()), where) or ""
                for block in value.to_delayed().ravel()
            ]
            return self._hash("dask", repr(value.shape), repr(value.chunks), *parts)
        return None

    def _of_xarray(self, value: Any, where: str) -> str | None:
        if hasattr(value, "data_vars"):
            variables = self._pairs(value.variables, where)
            return self._hash("dataset", self.of(value.attrs, where), *variables)
        if not hasattr(value, "dims") or not hasattr(value, "data"):
            return None
        coords = {name: one.variable for name, one in getattr(value, "coords", {}).items()}
        return self._hash(
            "xarray",
            *map(str, value.dims),
            self.of(getattr(value, "name", None), where),
            self.of(value.attrs, where),
            self.of(coords, f"{where}.coords"),
            self.of(value.data, where),
        )

    def _of_numpy(self, value: Any, where: str) -> str | None:
        import numpy as np

        if isinstance(value, np.ma.MaskedArray):
            mask = np.ma.getmaskarray(value)
            filled = self.of(np.asarray(value.filled()), where)
            return self._hash("masked", filled, self.of(mask, where), repr(value.fill_value))
        if isinstance(value, np.ndarray):
            if type(value) not in (np.ndarray, np.memmap):
                state = {} if isinstance(value, np.recarray) else getattr(value, "__dict__", {})
                plain = self.of(value.view(np.ndarray), where)
                return self._hash(type(value).__qualname__, plain, self.of(dict(state), where))
            if value.dtype.hasobject:
                return self._hash(
                    "objects", repr(value.shape), *self._each(value.ravel().tolist(), where)
                )
            if value.dtype.names is not None:  # field by field: what lies between is anything
                fields = [self.of(value[name], f"{where}[{name!r}]") for name in value.dtype.names]
                return self._hash("fields", *value.dtype.names, *fields)
            data = np.ascontiguousarray(value)
            return self._hash(
                "array",
                data.dtype.str,
                repr(value.shape),
                hash_bytes(data.reshape(-1).view(np.uint8)) if data.size else "",
            )
        if isinstance(value, np.void) and value.dtype.names is not None:
            return self._hash("scalar", self.of(np.asarray(value), where))
        if isinstance(value, np.generic):
            return self._hash("scalar", value.dtype.str, value.tobytes().hex())
        if isinstance(value, np.dtype):
            return self._hash("dtype", repr(value.descr) if value.names else value.str)
        if isinstance(value, np.random.Generator):
            return self._hash("rng", self.of(value.bit_generator.state, where))
        if isinstance(value, np.random.RandomState):
            return self._hash("rng", self.of(list(value.get_state()), where))
        if isinstance(value, np.vectorize) and vars(value).get("_ufunc"):
            fresh = copy.copy(value)  # without what it remembers of its calls
            fresh._ufunc = {}  # type: ignore[attr-defined]
            return self._of_instance(fresh, where)
        if isinstance(value, np.ufunc) and "(vectorized)" not in value.__name__:
            return self._hash("ufunc", value.__name__)
        return None

    def _of_pandas(self, value: Any, where: str) -> str | None:
        import pandas as pd

        if isinstance(value, pd.DataFrame):
            columns = [
                part
                for number, name in enumerate(value.columns)
                for part in (
                    self.of(name, where),
                    self._of_values(value.iloc[:, number], f"{where}[{name!r}]"),
                )
            ]
            return self._hash("frame", self.of(value.index, where), *columns)
        if isinstance(value, pd.Series):
            return self._hash(
                "series",
                self.of(value.name, where),
                self.of(value.index, where),
                self._of_values(value, where),
            )
        if isinstance(value, pd.MultiIndex):
            names = self._each(value.names, where)
            return self._hash("index", *names, *self._each(value.tolist(), where))
        if isinstance(value, pd.Index):
            return self._hash("index", self.of(value.name, where), self._of_values(value, where))
        if isinstance(value, pd.Timestamp | pd.Timedelta | pd.Period | pd.Interval):
            return self._hash(type(value).__name__, repr(value))
        if type(value) in (type(pd.NA), type(pd.NaT)):
            return self._hash("missing", repr(value))
        if isinstance(value, pd.api.extensions.ExtensionArray):
            return self._of_values(value, where)
        if isinstance(value, pd.CategoricalDtype):
            known: Any = value.categories
            categories = [] if known is None else self._each(known.tolist(), where)
            return self._hash("category", repr(value.ordered), *categories)
        if isinstance(value, pd.api.extensions.ExtensionDtype):
            return self._hash("dtype", str(value))
        return None

    def _of_values(self, value: Any, where: str) -> str:
        import numpy as np

        if isinstance(value.dtype, np.dtype) and not value.dtype.hasobject:
            return self.of(value.to_numpy(), where)
        kind = str(value.dtype)
        if kind == "category":
            kind = self.of(value.dtype, where)
        elif kind in ("str", "string"):  # pandas 3 has a type of its own for texts
            kind = "object"
        return self._hash(kind, *self._each(value.tolist(), where))

    def _of_instance(self, value: Any, where: str) -> str:
        """Return the token of an object of the user's own: its class and its state."""
        kind = type(value)
        if not _is_plain_class(kind):
            inner = getattr(value, "__wrapped__", None)
            if callable(value) and callable(inner):  # functools.lru_cache, a compiler
                return self._hash("around", kind.__qualname__, self.of(inner, where))
            at = f" at {where}" if where else ""
            raise FingerprintError(
                f"a value of type {kind.__module__}.{kind.__qualname__}{at} cannot be told apart "
                "from others by its content. Pass plain values (numbers, texts, arrays, tables, "
                "dataclasses), or give its class a method __databacked_token__() that returns some."
            )
        state = {
            name: getattr(value, name)
            for base in kind.__mro__
            for name in _slots(base)
            if hasattr(value, name)
        }
        for name, one in getattr(value, "__dict__", {}).items():
            # What is only remembered says nothing new, and comes when somebody asks for it.
            if not isinstance(getattr(kind, name, None), functools.cached_property):
                state[name] = one
        members = [
            part
            for name in sorted(state)
            for part in (name, self.of(state[name], f"{where}.{name}"))
        ]
        return self._hash("instance", kind.__qualname__, self._of_code(kind, where), *members)


def _args(value: Any) -> list[Any]:
    """Return the arguments of a type such as ``dict[str, int]``, flat."""
    found: list[Any] = []
    for one in typing.get_args(value):
        found += one if isinstance(one, list) else [one]
    return found


def _slots(kind: type) -> list[str]:
    """Return the slots that a class itself adds, as its instances know them."""
    said = kind.__dict__.get("__slots__", ())
    names = [said] if isinstance(said, str) else list(said)
    hidden = kind.__name__.lstrip("_")
    return [
        f"_{hidden}{name}" if name.startswith("__") and not name.endswith("__") else name
        for name in names
        if name not in ("__dict__", "__weakref__")
    ]


def _is_plain_class(kind: type) -> bool:
    """Whether a class is written in Python, so that all its state lies in its attributes."""
    bases = [base for base in kind.__mro__ if base not in (object, typing.Generic)]
    python = all(base.__flags__ & _HEAP and not base.__flags__ & _IMMUTABLE for base in bases)
    slots = sum(len(_slots(base)) for base in bases)
    # What is written in C has fields of its own; dict and weak references take a pointer each.
    size = object.__basicsize__ + (slots + 2) * _POINTER
    has_state = bool(kind.__dictoffset__) or slots > 0 or any("__slots__" in vars(b) for b in bases)
    return python and kind.__basicsize__ <= size and has_state


_HEAP, _IMMUTABLE, _POINTER = 1 << 9, 1 << 8, 8


def _is_library_name(value: Any) -> bool:
    """Whether a value is something callable of another package, known by its name there."""
    name = getattr(value, "__name__", None)
    module = getattr(value, "__module__", None)
    if not callable(value) or not isinstance(name, str) or not isinstance(module, str):
        return False
    found = sys.modules.get(module)
    return (
        found is not None
        and is_library(getattr(found, "__file__", None) or "")
        and getattr(found, name, None) is value
    )
