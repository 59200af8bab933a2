"""What a parameter's value counts by: a short text for small plain values, a hash for the rest.

``1``, ``1.0``, ``True`` and ``"1"`` are different values; a value is the same in another process,
under another hash seed and on another Python version. Nothing is pickled to be hashed.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import math
import sys
import uuid
from collections.abc import Callable
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any

from databacked.errors import FingerprintError
from databacked.hashes import hash_bytes, hash_texts

SHORT = 64
"""Characters up to which a text stands in its token as it is."""


def _of_text(value: str) -> str:
    if len(value) <= SHORT and "\n" not in value and "\x1f" not in value:
        return "s:" + value
    return "h:" + hash_texts(["str", value])


def _of_float(value: float) -> str:
    return "f:nan" if math.isnan(value) else "f:" + repr(value)


QUICK: dict[type, Callable[[Any], str]] = {
    str: _of_text,
    int: lambda value: f"i:{value}",
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

    def _hash(self, *parts: str) -> str:
        return "h:" + hash_texts(parts)

    def _each(self, values: Any, where: str) -> list[str]:
        return [self.of(item, f"{where}[{number}]") for number, item in enumerate(values)]

    def _of(self, value: Any, where: str) -> str:
        kind = type(value)
        if isinstance(value, enum.Enum):
            return self._hash("enum", kind.__qualname__, value.name)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self._hash("tuple", kind.__qualname__, *value._fields, *self._each(value, where))
        if kind in (list, tuple):
            return self._hash(kind.__name__, *self._each(value, where))
        if isinstance(value, dict):
            pairs = sorted(
                (self.of(key, f"{where}.keys()"), self.of(item, f"{where}[{key!r}]"))
                for key, item in value.items()
            )
            name = "dict" if kind is dict else kind.__qualname__
            return self._hash(name, *(part for pair in pairs for part in pair))
        if isinstance(value, set | frozenset):
            return self._hash("set", *sorted(self._each(value, where)))
        if isinstance(value, list | tuple):
            return self._hash(kind.__qualname__, *self._each(value, where))
        if isinstance(value, PurePath):
            return self._hash("path", value.as_posix())
        if kind in (range, slice):
            return self._hash(
                kind.__name__, *self._each((value.start, value.stop, value.step), where)
            )
        if kind in (datetime.date, datetime.datetime, datetime.time):
            return self._hash(kind.__name__, value.isoformat())
        if kind in (datetime.timedelta, decimal.Decimal, uuid.UUID, type(Ellipsis)):
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
        if isinstance(value, FunctionType | type | MethodType) or inspect.isbuiltin(value):
            return self._of_code(value, where)
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
            return self._hash("builtin", f"{value.__module__}.{value.__qualname__}")
        return self._hash("code", self.code(value))

    def _of_library(self, value: Any, where: str) -> str | None:
        """Return the token of what numpy, pandas or dask made; None for everything else."""
        library = type(value).__module__.partition(".")[0]
        if library not in ("numpy", "pandas", "dask") or library not in sys.modules:
            return None
        if library == "numpy":
            return self._of_numpy(value, where)
        if library == "pandas":
            return self._of_pandas(value, where)
        if hasattr(value, "to_delayed") and hasattr(value, "chunks"):
            import numpy as np

            parts = [
                self._of_numpy(np.asarray(block.compute()), where) or ""
                for block in value.to_delayed().ravel()
            ]
            return self._hash("dask", repr(value.shape), repr(value.chunks), *parts)
        return None

    def _of_numpy(self, value: Any, where: str) -> str | None:
        import numpy as np

        if isinstance(value, np.ma.MaskedArray):
            mask = np.ma.getmaskarray(value)
            return self._hash(
                "masked", self.of(np.asarray(value.filled()), where), self.of(mask, where)
            )
        if isinstance(value, np.ndarray):
            if value.dtype.hasobject:
                return self._hash(
                    "objects", repr(value.shape), *self._each(value.ravel().tolist(), where)
                )
            data = np.ascontiguousarray(value)
            dtype = data.dtype.str if data.dtype.names is None else repr(data.dtype.descr)
            return self._hash(
                "array",
                dtype,
                repr(value.shape),
                hash_bytes(data.reshape(-1).view(np.uint8)) if data.size else "",
            )
        if isinstance(value, np.generic):
            return self._hash("scalar", value.dtype.str, value.tobytes().hex())
        if isinstance(value, np.dtype):
            return self._hash("dtype", repr(value.descr) if value.names else value.str)
        if isinstance(value, np.random.Generator):
            return self._hash("rng", self.of(value.bit_generator.state, where))
        if isinstance(value, np.random.RandomState):
            return self._hash("rng", self.of(list(value.get_state()), where))
        if isinstance(value, np.ufunc):
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
            return self._hash("index", *self._each(value.tolist(), where))
        if isinstance(value, pd.Index):
            return self._hash("index", self.of(value.name, where), self._of_values(value, where))
        if isinstance(value, pd.Timestamp | pd.Timedelta | pd.Period | pd.Interval):
            return self._hash(type(value).__name__, repr(value))
        if value is pd.NA or value is pd.NaT:
            return self._hash("missing", repr(value))
        if isinstance(value, pd.api.extensions.ExtensionArray):
            return self._hash(str(value.dtype), *self._each(list(value), where))
        return None

    def _of_values(self, value: Any, where: str) -> str:
        import numpy as np

        if isinstance(value.dtype, np.dtype) and not value.dtype.hasobject:
            return self.of(value.to_numpy(), where)
        return self._hash(str(value.dtype), *self._each(value.tolist(), where))

    def _of_instance(self, value: Any, where: str) -> str:
        """Return the token of an object of the user's own: its class and its state."""
        kind = type(value)
        state: dict[str, Any] = {}
        if dataclasses.is_dataclass(value):
            state = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        elif _is_plain_class(kind):
            for base in kind.__mro__:
                slots = base.__dict__.get("__slots__", ())
                for name in (slots,) if isinstance(slots, str) else slots:
                    if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                        state[name] = getattr(value, name)
            state.update(getattr(value, "__dict__", {}))
        else:
            at = f" at {where}" if where else ""
            raise FingerprintError(
                f"a value of type {kind.__module__}.{kind.__qualname__}{at} cannot be told apart "
                "from others by its content. Pass plain values (numbers, texts, arrays, tables, "
                "dataclasses), or give its class a method __databacked_token__() that returns some."
            )
        members = [
            part
            for name in sorted(state)
            for part in (name, self.of(state[name], f"{where}.{name}"))
        ]
        return self._hash("instance", kind.__qualname__, self._of_code(kind, where), *members)


def _is_plain_class(kind: type) -> bool:
    """Whether a class is written in Python, so that its state lies in its attributes."""
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    python = kind.__module__ == "__main__" or (file is not None and file.endswith(".py"))
    return python and all(base is object or base.__module__ != "builtins" for base in kind.__mro__)
