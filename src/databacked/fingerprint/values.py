"""What a parameter's value counts by: a short text for small plain values, a hash for the rest.

``1``, ``1.0``, ``True`` and ``"1"`` are different values; a value is the same in another process,
under another hash seed and on another Python version. Nothing is pickled to be hashed.

Whatever a task can see in a value counts: what hangs on it, its names, what a subclass adds, the
order of a dict. What is usual adds nothing to a token, so that records of usual values stay fresh.
"""

from __future__ import annotations

import collections
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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from databacked.callables import is_library
from databacked.errors import FingerprintError
from databacked.fingerprint.arrays import of_numpy, of_xarray
from databacked.fingerprint.hashes import hash_bytes, hash_texts
from databacked.fingerprint.objects import (
    held_by,
    is_more_than_fields,
    is_plain_class,
    name_of,
    state_of,
)
from databacked.fingerprint.tables import of_pandas

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
            said = self._own(value, where)
            if isinstance(said, str) and said.startswith("content:"):
                return "c:" + said.removeprefix("content:")
            return self.hash(type(value).__qualname__, self.of(said, where))
        if id(value) in self.inside:
            raise FingerprintError(
                f"the value{where and ' at ' + where} contains itself; pass plain values."
            )
        self.inside.add(id(value))
        try:
            return self._of(value, where)
        except (FingerprintError, RecursionError):
            raise
        except Exception as error:  # of the value's own code, such as a __getattr__
            raise FingerprintError(
                f"a value of type {name_of(type(value))}{where and ' at ' + where} cannot be "
                f"looked at ({type(error).__name__} from its own code). Pass plain values, or give "
                "its class a method __databacked_token__() that returns some."
            ) from error
        finally:
            self.inside.discard(id(value))

    def told(self, value: Any) -> str:
        """Return the token of a whole value; one that cannot be told has a `FingerprintError`."""
        try:
            return self.of(value, "")
        except RecursionError:
            raise FingerprintError(
                f"a value of type {name_of(type(value))} is nested too deeply to be looked at. "
                "Pass it flat, for example as one list."
            ) from None

    def _own(self, value: Any, where: str) -> Any:
        try:
            return value.__databacked_token__()
        except FingerprintError as error:
            raise FingerprintError(f"{where and 'at ' + where + ' '}{error}") from None
        except Exception as error:
            raise FingerprintError(
                f"__databacked_token__() of {name_of(type(value))}{where and ' at ' + where} "
                f"raised {type(error).__name__}."
            ) from error

    def of_path(self, value: PurePath, where: str) -> str:
        """Return what a path counts by: its text, whatever the file holds."""
        return self.hash("path", value.as_posix())

    def hash(self, *parts: str) -> str:
        return "h:" + hash_texts(parts)

    def pairs(self, value: Mapping[Any, Any], where: str) -> list[str]:
        """Return keys and values, and the order that they stand in: a loop sees it.

        One that is sorted by its keys says nothing of its order.
        """
        pairs = [
            (self.of(key, f"{where}.keys()"), self.of(item, f"{where}[{key!r}]"))
            for key, item in value.items()
        ]
        ordered = sorted(pairs)
        order = [] if pairs == ordered else ["in this order", *(key for key, _ in pairs)]
        return [*order, *(part for pair in ordered for part in pair)]

    def more(self, **said: Any) -> list[str]:
        """Return what is unusual of a value: nothing where nothing is."""
        return [
            part
            for name, one in sorted(said.items())
            if one is not None
            for part in (name, self.of(one, f".{name}"))
        ]

    def added(self, value: Any, where: str, hidden: Sequence[str] = ()) -> list[str]:
        """Return what a class adds to the library's that it derives from: its code, its state."""
        state = {name: one for name, one in state_of(value).items() if name not in hidden}
        members = self.members(state, where)
        return [name_of(type(value)), self.of_code(type(value), where), *members]

    def members(self, state: Mapping[str, Any], where: str) -> list[str]:
        return [
            part
            for name in sorted(state)
            for part in (name, self.of(state[name], f"{where}.{name}"))
        ]

    def each(self, values: Any, where: str) -> list[str]:
        return [self.of(item, f"{where}[{number}]") for number, item in enumerate(values)]

    def unordered(self, values: Collection[Any], where: str) -> list[str]:
        return sorted(self.each(values, where))

    def _of(self, value: Any, where: str) -> str:
        kind = type(value)
        if isinstance(value, enum.Enum):
            members = [f"{kind.__qualname__}.{value.name}", self.of(value.value, f"{where}.value")]
            more = {name: one for name, one in vars(value).items() if not name.endswith("_")}
            return self.hash("enum", *members, self.of(kind, where), *self.more(**more))
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            items = self.each(value, where)
            added = self.added(value, where) if is_more_than_fields(kind) else []
            return self.hash("tuple", kind.__qualname__, *value._fields, *items, *added)
        if kind in (list, tuple):
            return self.hash(kind.__name__, *self.each(value, where))
        if kind is dict:
            return self.hash("dict", *self.pairs(value, where))
        if kind in (set, frozenset):
            return self.hash(kind.__name__, *self.unordered(value, where))
        if kind in (collections.OrderedDict, collections.Counter, collections.defaultdict):
            factory = self.of(getattr(value, "default_factory", None), f"{where}.default_factory")
            # An OrderedDict is one because its order counts.
            order = self.each(value, where) if kind is collections.OrderedDict else []
            return self.hash(kind.__name__, factory, *order, *self.pairs(value, where))
        if kind is collections.deque:
            return self.hash("deque", self.of(value.maxlen, where), *self.each(value, where))
        if kind is types.SimpleNamespace:
            return self.hash("namespace", self.of(vars(value), where))
        if kind is types.MappingProxyType:
            held = held_by(value)  # what a missing key gives is said by it alone
            inner = self.pairs(held, where) if type(held) is dict else [self.of(held, where)]
            return self.hash("mappingproxy", *inner)
        if isinstance(value, PurePath):
            path = self.of_path(value, where)
            if kind in _FILES:
                return path
            own = [] if kind in _PURE else self.added(value, where, _CACHED_OF_PATH)
            return self.hash(kind.__name__, path, *own)
        if kind in (range, slice):
            return self.hash(
                kind.__name__, *self.each((value.start, value.stop, value.step), where)
            )
        if kind in (datetime.date, datetime.datetime, datetime.time):
            return self.hash(kind.__name__, value.isoformat(), *self._of_zone(value))
        if isinstance(value, datetime.tzinfo) and kind.__module__.partition(".")[0] in _ZONES:
            said = getattr(value, "key", None) or getattr(value, "zone", None)
            if said is not None or kind.__module__.startswith("dateutil"):
                return self.hash("zone", name_of(kind), str(said), repr(value))
        if kind is re.Pattern:
            return self.hash("pattern", self.of(value.pattern, where), str(value.flags))
        if kind.__module__ == "logging" and isinstance(getattr(value, "name", None), str):
            return self.hash("logger", value.name)
        if kind in _WRITTEN:
            return self.hash(kind.__name__, repr(value))
        if kind is bytearray:
            return self.hash("bytearray", hash_bytes(value))
        if kind is memoryview:
            form = [
                value.format,
                repr(value.shape),
                *self.more(writable=not value.readonly or None),
            ]
            return self.hash("memoryview", *form, hash_bytes(value.tobytes()))
        if isinstance(value, ModuleType):
            return self.hash("module", value.__name__)
        found = self._of_library(value, where)
        if found is not None:
            return found
        if isinstance(value, functools.partial):
            return self.hash(
                "partial",
                self.of(value.func, f"{where}.func"),
                self.of(list(value.args), where),
                self.of(value.keywords, where),
                *self.more(**vars(value)),
            )
        if typing.get_origin(value) is not None:
            return self.hash(
                "type", self.of(typing.get_origin(value), where), *self.each(_args(value), where)
            )
        if kind.__name__ == "TypeAliasType":
            return self.hash("type", value.__name__, self.of(value.__value__, where))
        if isinstance(value, typing.TypeVar):
            return self.hash("type", value.__name__)
        if isinstance(value, FunctionType | type | MethodType | BuiltinFunctionType):
            return self.of_code(value, where)
        if _is_library_name(value):
            return self.hash("builtin", f"{value.__module__}.{value.__name__}")
        if kind.__module__.startswith("databacked.") and hasattr(value, "fn"):
            return self.of_code(value.fn, where)
        return self.of_instance(value, where)

    def _of_zone(self, value: Any) -> list[str]:
        """Return what the text of a time does not say: its zone, and which of two equal hours."""
        zone, fold = getattr(value, "tzinfo", None), getattr(value, "fold", 0)
        is_offset = type(zone) is datetime.timezone and (
            repr(zone) == repr(datetime.timezone(zone.utcoffset(None)))  # without a name
        )
        return self.more(zone=None if is_offset else zone, fold=fold or None)

    def of_code(self, value: Any, where: str) -> str:
        if isinstance(value, MethodType):
            return self.hash(
                "method",
                value.__name__,
                self.of_code(value.__func__, where),
                self.of(value.__self__, f"{where}.__self__"),
            )
        if not isinstance(value, FunctionType | type):
            owner = value.__self__
            of = "" if owner is None or isinstance(owner, ModuleType) else self.of(owner, where)
            return self.hash("builtin", f"{value.__module__}.{value.__qualname__}", of)
        return self.hash("code", self.code(value))

    def _of_library(self, value: Any, where: str) -> str | None:
        """Return the token of what numpy, pandas or dask made; None for everything else."""
        libraries = {kind.__module__.partition(".")[0] for kind in type(value).__mro__}
        if "numpy" in libraries:
            return of_numpy(self, value, where)
        if "pandas" in libraries:
            return of_pandas(self, value, where)
        if "xarray" in libraries:
            return of_xarray(self, value, where)
        if "dask" in libraries and hasattr(value, "to_delayed") and hasattr(value, "chunks"):
            import numpy as np

            parts = [
                self.of(np.asanyarray(block.compute()), where)  # a mask counts, too
                for block in value.to_delayed().ravel()
            ]
            return self.hash("dask", repr(value.shape), repr(value.chunks), *parts)
        return None

    def of_instance(self, value: Any, where: str) -> str:
        """Return the token of an object of the user's own: its class and its state."""
        kind = type(value)
        if not is_plain_class(kind):
            inner = getattr(value, "__wrapped__", None)
            if callable(value) and callable(inner):  # functools.lru_cache, a compiler
                return self.hash("around", kind.__qualname__, self.of(inner, where))
            what = f"a value of type {name_of(kind)}{f' at {where}' if where else ''}"
            if isinstance(value, Iterator):
                raise FingerprintError(
                    f"{what} can be read only once: pass list(...) of it, or what it reads from "
                    "(a file's path). A class of your own may have a __databacked_token__()."
                )
            raise FingerprintError(
                f"{what} cannot be told apart "
                "from others by its content. Pass plain values (numbers, texts, arrays, tables, "
                "dataclasses), or give its class a method __databacked_token__() that returns some."
            )
        state = state_of(value)
        if kind.__module__.startswith("scipy.sparse"):  # found out when somebody asked
            state = {name: one for name, one in state.items() if not name.startswith("_has_")}
        members = self.members(state, where)
        return self.hash("instance", kind.__qualname__, self.of_code(kind, where), *members)


_FILES = frozenset({Path, PosixPath, WindowsPath})
_PURE = frozenset({PurePosixPath, PureWindowsPath})
_CACHED_OF_PATH = (
    "_drv", "_root", "_parts", "_str", "_hash", "_pparts", "_cached_cparts", "_raw_paths",
    "_tail_cached", "_str_normcase_cached", "_parts_normcase_cached", "_lines_cached", "_raw_path",
    "_drive", "_root_cached", "_info",
)  # fmt: skip
"""What a path remembers of its own text."""

_ZONES = frozenset({"zoneinfo", "backports", "pytz", "dateutil"})
"""Packages whose time zones are known by their key."""


def _args(value: Any) -> list[Any]:
    """Return the arguments of a type such as ``dict[str, int]``, flat."""
    found: list[Any] = []
    for one in typing.get_args(value):
        found += one if isinstance(one, list) else [one]
    return found


def _is_library_name(value: Any) -> bool:
    """Whether a value is something callable of another package, known by its name there."""
    if not callable(value):
        return False
    name = getattr(value, "__name__", None)
    module = getattr(value, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        return False
    found = sys.modules.get(module)
    return (
        found is not None
        and is_library(getattr(found, "__file__", None) or "")
        and getattr(found, name, None) is value
    )
