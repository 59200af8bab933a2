"""What a parameter's value counts by: a short text for small plain values, a hash for the rest.

``1``, ``1.0``, ``True`` and ``"1"`` are different values; a value is the same in another process,
under another hash seed and on another Python version. Nothing is pickled to be hashed.

Whatever a task can see in a value counts: what hangs on it, its names, what a subclass adds, the
order of a dict. What is usual adds nothing to a token, so that records of usual values stay fresh.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from databacked.callables import is_library
from databacked.errors import FingerprintError
from databacked.fingerprint.hashes import hash_bytes, hash_texts

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
            return self._hash(type(value).__qualname__, self.of(said, where))
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
                f"a value of type {_name(type(value))}{where and ' at ' + where} cannot be looked "
                f"at ({type(error).__name__} from its own code). Pass plain values, or give its "
                "class a method __databacked_token__() that returns some."
            ) from error
        finally:
            self.inside.discard(id(value))

    def told(self, value: Any) -> str:
        """Return the token of a whole value; one that cannot be told has a `FingerprintError`."""
        try:
            return self.of(value, "")
        except RecursionError:
            raise FingerprintError(
                f"a value of type {_name(type(value))} is nested too deeply to be looked at. Pass "
                "it flat, for example as one list."
            ) from None

    def _own(self, value: Any, where: str) -> Any:
        try:
            return value.__databacked_token__()
        except FingerprintError as error:
            raise FingerprintError(f"{where and 'at ' + where + ' '}{error}") from None
        except Exception as error:
            raise FingerprintError(
                f"__databacked_token__() of {_name(type(value))}{where and ' at ' + where} raised "
                f"{type(error).__name__}."
            ) from error

    def of_path(self, value: PurePath, where: str) -> str:
        """Return what a path counts by: its text, whatever the file holds."""
        return self._hash("path", value.as_posix())

    def _hash(self, *parts: str) -> str:
        return "h:" + hash_texts(parts)

    def _pairs(self, value: Mapping[Any, Any], where: str) -> list[str]:
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

    def _more(self, **said: Any) -> list[str]:
        """Return what is unusual of a value: nothing where nothing is."""
        return [
            part
            for name, one in sorted(said.items())
            if one is not None
            for part in (name, self.of(one, f".{name}"))
        ]

    def _added(self, value: Any, where: str, hidden: Sequence[str] = ()) -> list[str]:
        """Return what a class adds to the library's that it derives from: its code, its state."""
        state = {name: one for name, one in state_of(value).items() if name not in hidden}
        members = self._members(state, where)
        return [_name(type(value)), self._of_code(type(value), where), *members]

    def _members(self, state: Mapping[str, Any], where: str) -> list[str]:
        return [
            part
            for name in sorted(state)
            for part in (name, self.of(state[name], f"{where}.{name}"))
        ]

    def _each(self, values: Any, where: str) -> list[str]:
        return [self.of(item, f"{where}[{number}]") for number, item in enumerate(values)]

    def _of(self, value: Any, where: str) -> str:
        kind = type(value)
        if isinstance(value, enum.Enum):
            members = [f"{kind.__qualname__}.{value.name}", self.of(value.value, f"{where}.value")]
            more = {name: one for name, one in vars(value).items() if not name.endswith("_")}
            return self._hash("enum", *members, self.of(kind, where), *self._more(**more))
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            items = self._each(value, where)
            added = self._added(value, where) if _is_more_than_fields(kind) else []
            return self._hash("tuple", kind.__qualname__, *value._fields, *items, *added)
        if kind in (list, tuple):
            return self._hash(kind.__name__, *self._each(value, where))
        if kind is dict:
            return self._hash("dict", *self._pairs(value, where))
        if kind in (set, frozenset):
            return self._hash(kind.__name__, *sorted(self._each(value, where)))
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
            path = self.of_path(value, where)
            if kind in _FILES:
                return path
            own = [] if kind in _PURE else self._added(value, where, _CACHED_OF_PATH)
            return self._hash(kind.__name__, path, *own)
        if kind in (range, slice):
            return self._hash(
                kind.__name__, *self._each((value.start, value.stop, value.step), where)
            )
        if kind in (datetime.date, datetime.datetime, datetime.time):
            return self._hash(kind.__name__, value.isoformat(), *self._of_zone(value))
        if isinstance(value, datetime.tzinfo) and kind.__module__.partition(".")[0] in _ZONES:
            said = getattr(value, "key", None) or getattr(value, "zone", None)
            if said is not None or kind.__module__.startswith("dateutil"):
                return self._hash("zone", _name(kind), str(said), repr(value))
        if kind is re.Pattern:
            return self._hash("pattern", self.of(value.pattern, where), str(value.flags))
        if kind.__module__ == "logging" and isinstance(getattr(value, "name", None), str):
            return self._hash("logger", value.name)
        if kind in _WRITTEN:
            return self._hash(kind.__name__, repr(value))
        if kind is bytearray:
            return self._hash("bytearray", hash_bytes(value))
        if kind is memoryview:
            return self._hash(
                "memoryview", value.format, repr(value.shape), hash_bytes(value.tobytes())
            )
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
                *self._more(**vars(value)),
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
        if kind.__module__.startswith("databacked.") and hasattr(value, "fn"):
            return self._of_code(value.fn, where)
        return self._of_instance(value, where)

    def _of_zone(self, value: Any) -> list[str]:
        """Return what the text of a time does not say: its zone, and which of two equal hours."""
        zone, fold = getattr(value, "tzinfo", None), getattr(value, "fold", 0)
        is_offset = type(zone) is datetime.timezone and (
            repr(zone) == repr(datetime.timezone(zone.utcoffset(None)))  # without a name
        )
        return self._more(zone=None if is_offset else zone, fold=fold or None)

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
        if hasattr(value, "children") and hasattr(value, "to_dict"):  # a tree of datasets
            return self._hash(
                "tree", self.of(value.name, where), *self._pairs(value.to_dict(), where)
            )
        if hasattr(value, "data_vars"):
            return self._hash(
                "dataset",
                self.of(value.attrs, where),
                *self._pairs(value.variables, where),
                *self._pairs(value.sizes, where),
                *sorted(map(str, value.coords)),
                *self._of_variable(value, where),
            )
        if not hasattr(value, "dims") or not hasattr(value, "data"):
            return None
        coords = {name: one.variable for name, one in getattr(value, "coords", {}).items()}
        data = value.data
        return self._hash(
            "xarray",
            *map(str, value.dims),
            self.of(getattr(value, "name", None), where),
            self.of(value.attrs, where),
            self.of(coords, f"{where}.coords"),
            self.of(data, where),
            *self._of_variable(value, where),
        )

    def _of_variable(self, value: Any, where: str) -> list[str]:
        """Return how values are written, and what a class of one's own adds."""
        # Where it was read from is no more part of it than of an array in a memory map.
        written = {key: one for key, one in value.encoding.items() if key != "source"}
        kind = type(value)
        own = [] if is_of("xarray", value) else [_name(kind), self._of_code(kind, where)]
        return [*self._more(encoding=written or None), *own]

    def _of_numpy(self, value: Any, where: str) -> str | None:
        import numpy as np

        if isinstance(value, np.ndarray):
            return self._of_array(value, where)
        if isinstance(value, np.generic):
            own = [] if is_of("numpy", value) else self._added(value, where)
            if isinstance(value, np.void) and value.dtype.names is not None:
                return self._hash("scalar", self.of(np.asarray(value), where), *own)
            data = _without_gaps(np.asarray(value)).tobytes()
            return self._hash("scalar", value.dtype.str, data.hex(), *own)
        if isinstance(value, np.dtype):
            text = repr(value.descr) if value.names else value.str
            return self._hash("dtype", text, *self._of_type(value))
        if isinstance(value, np.random.Generator):
            seeds = getattr(value.bit_generator, "seed_seq", None)  # what its children come from
            spawned = getattr(seeds, "n_children_spawned", 0) or None
            state = self.of(_sorted(value.bit_generator.state), where)
            return self._hash("rng", state, *self._more(spawned=spawned))
        if isinstance(value, np.random.RandomState):
            return self._hash("rng", self.of(list(value.get_state()), where))
        if isinstance(value, np.vectorize) and vars(value).get("_ufunc"):
            fresh = copy.copy(value)  # without what it remembers of its calls
            fresh._ufunc = {}  # type: ignore[attr-defined]
            return self._of_instance(fresh, where)
        if isinstance(value, np.ufunc) and "(vectorized)" not in value.__name__:
            return self._hash("ufunc", value.__name__)
        return None

    def _of_array(self, value: Any, where: str) -> str:
        import numpy as np

        if isinstance(value, np.ma.MaskedArray):
            own = [] if is_of("numpy", value) else self._added(value, where, _OF_MASKED)
            kept = getattr(value, "_optinfo", None)  # what is given on from view to view
            return self._hash(
                "masked",
                self.of(value.data, where),
                self.of(np.ma.getmaskarray(value), where),
                self.of(np.asarray(value.fill_value, value.dtype), where),
                *self._more(hard=value.hardmask or None, kept=kept or None),
                *own,
            )
        if type(value) not in (np.ndarray, np.memmap):
            own = (
                [self.of(state_of(value), where)]
                if is_of("numpy", value)
                else self._added(value, where)
            )
            plain = self.of(value.view(np.ndarray), where)
            return self._hash(type(value).__qualname__, plain, *own)
        dtype = value.dtype
        more = self._of_type(dtype)
        if dtype.names is not None:  # field by field: what lies between is anything
            fields = [self.of(value[name], f"{where}[{name!r}]") for name in dtype.names]
            shape = [] if dtype.names else [repr(value.shape)]
            return self._hash("fields", *dtype.names, *fields, *shape, *more)
        if dtype.hasobject:
            items = self._each(value.ravel().tolist(), where)
            return self._hash("objects", repr(value.shape), *items, *more)
        data = _without_gaps(np.ascontiguousarray(value))
        return self._hash(
            "array",
            dtype.str,
            repr(value.shape),
            hash_bytes(data.reshape(-1).view(np.uint8)) if data.size else "",
            *more,
        )

    def _of_type(self, dtype: Any) -> list[str]:
        """Return what hangs on the type of an array besides its letter and size."""
        import numpy as np

        titles = [field[2] for field in (dtype.fields or {}).values() if len(field) > 2]
        return self._more(
            metadata=dict(dtype.metadata) if dtype.metadata else None,
            titles=titles or None,
            scalar=dtype.type if dtype.names is not None and dtype.type is not np.void else None,
            text=repr(dtype) if dtype.kind == "T" else None,
        )

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
            names = self._of_index(value.columns, where)
            more = [*names, *self._of_table(value, where)]
            return self._hash("frame", self.of(value.index, where), *columns, *more)
        if isinstance(value, pd.Series):
            return self._hash(
                "series",
                self.of(value.name, where),
                self.of(value.index, where),
                self._of_values(value, where),
                *self._of_table(value, where),
            )
        if isinstance(value, pd.MultiIndex):
            names = self._each(value.names, where)
            items = self._each(value.tolist(), where)
            return self._hash("index", *names, *items, *self._each(value.levels, where))
        if isinstance(value, pd.Index):
            said = [self.of(value.name, where), self._of_values(value, where)]
            kind = type(value)
            own = [] if is_of("pandas", value) else [_name(kind), self._of_code(kind, where)]
            return self._hash("index", *said, *self._more(freq=_rhythm(value)), *own)
        if isinstance(value, pd.Interval):
            ends = self._each((value.left, value.right), where)
            return self._hash("Interval", *ends, value.closed)
        if isinstance(value, pd.Timestamp):
            unit = None if value.unit == "ns" else value.unit
            more = self._more(unit=unit, fold=value.fold or None)
            return self._hash("Timestamp", repr(value), *more)
        if isinstance(value, pd.Timedelta):
            return self._hash("Timedelta", repr(value), value.unit)
        if isinstance(value, pd.Period):
            return self._hash(type(value).__name__, repr(value))
        if isinstance(value, pd.offsets.BaseOffset):
            how = {key: one for key, one in value.kwds.items() if key != "calendar"}
            said = [_name(type(value)), str(value.n), str(getattr(value, "normalize", ""))]
            return self._hash("offset", *said, self.of(how, where))
        if type(value) in (type(pd.NA), type(pd.NaT)):
            return self._hash("missing", repr(value))
        if isinstance(value, pd.api.extensions.ExtensionArray):
            return self._hash("values", _name(type(value)), self._of_values(value, where))
        if isinstance(value, pd.CategoricalDtype):
            known: Any = value.categories
            categories = [] if known is None else self._each(known.tolist(), where)
            more = [] if known is None else self._of_index(known, where)
            return self._hash("category", repr(value.ordered), *categories, *more)
        if isinstance(value, pd.api.extensions.ExtensionDtype):
            return self._hash("dtype", repr(value))
        return None

    def _of_index(self, index: Any, where: str) -> list[str]:
        """Return what is unusual of columns, or of the categories of a category."""
        import pandas as pd

        if isinstance(index, pd.MultiIndex):
            return [self.of(index, where)]
        usual = pd.Index(index.tolist()).dtype if len(index) else index.dtype
        return self._more(
            names=index.name,
            values=None if usual == index.dtype else self._of_values(index, where),
            freq=_rhythm(index),
        )

    def _of_table(self, value: Any, where: str) -> list[str]:
        """Return what hangs on a table or column besides its values."""
        kind = type(value)
        more = self._more(
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
        return [*more, _name(kind), self._of_code(kind, where), self.of(said, where)]

    def _of_values(self, value: Any, where: str) -> str:
        import numpy as np

        if isinstance(value.dtype, np.dtype) and not value.dtype.hasobject:
            return self.of(value.to_numpy(), where)
        kind, items = str(value.dtype), value.tolist()
        if kind == "category":
            kind = self.of(value.dtype, where)
        elif kind == _type_of_texts():  # a type of its own since pandas 3
            kind = "object"
        elif kind == "object" and all(type(one) is str or _is_nan(one) for one in items):
            kind = "object of texts"
        elif kind == "string":
            kind = repr(value.dtype)
        return self._hash(kind, *self._each(items, where))

    def _of_instance(self, value: Any, where: str) -> str:
        """Return the token of an object of the user's own: its class and its state."""
        kind = type(value)
        if not is_plain_class(kind):
            inner = getattr(value, "__wrapped__", None)
            if callable(value) and callable(inner):  # functools.lru_cache, a compiler
                return self._hash("around", kind.__qualname__, self.of(inner, where))
            what = f"a value of type {_name(kind)}{f' at {where}' if where else ''}"
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
        members = self._members(state, where)
        return self._hash("instance", kind.__qualname__, self._of_code(kind, where), *members)


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

_OF_MASKED = (
    "_mask", "_sharedmask", "_hardmask", "_isfield", "_baseclass", "_optinfo", "_basedict",
    "_fill_value",
)  # fmt: skip
"""What a masked array's class has of its own."""


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def is_of(library: str, value: Any) -> bool:
    """Whether the class of a value is a library's own, and not one that derives from it."""
    return type(value).__module__.partition(".")[0] == library


def state_of(value: Any, *, remembered: bool = False) -> dict[str, Any]:
    """Return the attributes of an object, by slots and by ``__dict__``, past its own code.

    Parameters
    ----------
    remembered
        Whether what a cached property holds is one of them.
    """
    kind = type(value)
    state: dict[str, Any] = {}
    for base in kind.__mro__:
        for name in slots_of(base):
            try:
                state[name] = vars(base)[name].__get__(value)
            except (AttributeError, KeyError):  # not set
                continue
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return state
    for name, one in held.items():
        # What is only remembered says nothing new, and comes when somebody asks for it.
        if remembered or not isinstance(_in_class(kind, name), functools.cached_property):
            state[name] = one
    return state


def _in_class(kind: type, name: str) -> Any:
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def _is_more_than_fields(kind: type) -> bool:
    """Whether a named tuple has attributes or methods besides its fields."""
    made = {"__new__", "_make", "_replace", "__replace__", "_asdict", "__repr__", "__getnewargs__"}
    own = (
        name
        for name, one in vars(kind).items()
        if name not in made
        and isinstance(one, FunctionType | property | classmethod | staticmethod)
    )
    return kind.__bases__ != (tuple,) or any(own)


def _is_nan(value: Any) -> bool:
    """Whether a value is the NaN of Python or numpy: what was pickled is another object."""
    return type(value) is float and value != value


def _without_gaps(data: Any) -> Any:
    """Return an array in which the bytes that say nothing of a long double are zero."""
    import numpy as np

    if data.dtype.char not in "gG" or np.finfo(np.longdouble).nmant != 63:
        return data
    cleared = data.copy()
    cleared.reshape(-1).view(np.uint8).reshape(-1, np.dtype("g").itemsize)[:, 10:] = 0
    return cleared


def _sorted(value: Any) -> Any:
    """Return dicts in an order of their own, where it says nothing."""
    return {key: _sorted(value[key]) for key in sorted(value)} if type(value) is dict else value


def _rhythm(index: Any) -> Any:
    """Return the frequency that an index of times knows; None where it knows none."""
    import pandas as pd

    return index.freq if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else None


@functools.cache
def _type_of_texts() -> str:
    """Return the type that pandas gives to texts."""
    import pandas as pd

    return str(pd.Series(["a"]).dtype)


def _args(value: Any) -> list[Any]:
    """Return the arguments of a type such as ``dict[str, int]``, flat."""
    found: list[Any] = []
    for one in typing.get_args(value):
        found += one if isinstance(one, list) else [one]
    return found


def slots_of(kind: type) -> list[str]:
    """Return the slots that a class itself adds, as its instances know them."""
    said = kind.__dict__.get("__slots__", ())
    names = [said] if isinstance(said, str) else list(said)
    hidden = kind.__name__.lstrip("_")
    return [
        f"_{hidden}{name}" if name.startswith("__") and not name.endswith("__") else name
        for name in names
        if name not in ("__dict__", "__weakref__")
    ]


def is_plain_class(kind: type) -> bool:
    """Whether a class is written in Python, so that all its state lies in its attributes."""
    bases = [base for base in kind.__mro__ if base not in (object, typing.Generic)]
    python = all(base.__flags__ & _HEAP and not base.__flags__ & _IMMUTABLE for base in bases)
    slots = sum(len(slots_of(base)) for base in bases)
    # What is written in C has fields of its own; dict and weak references take a pointer each.
    size = object.__basicsize__ + (slots + 2) * _POINTER
    has_state = bool(kind.__dictoffset__) or slots > 0 or any("__slots__" in vars(b) for b in bases)
    return python and kind.__basicsize__ <= size and has_state


_HEAP, _IMMUTABLE, _POINTER = 1 << 9, 1 << 8, 8


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
