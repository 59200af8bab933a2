"""Values that nobody else holds: what one item does to its arguments, no other one sees.

What a value counts by (`databacked.fingerprint.values`) is what is copied: containers, arrays,
tables, and the attributes of plain objects, past their own code. A value that lies in two places of
another one becomes two values, as if each place had been written by itself.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import re
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

import numpy as np

from databacked.errors import FingerprintError
from databacked.fingerprint.objects import held_by, is_plain_class, state_of
from databacked.places.backed import Backed
from databacked.places.image import Image
from databacked.types import Unlooked

SMALL = 1 << 20
"""Bytes up to which an array is copied; a larger one is handed on so that it cannot be written."""


FIXED = frozenset(
    {
        str, int, float, bool, complex, bytes, type(None), type(Ellipsis), range, slice, type,
        datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone,
        decimal.Decimal, fractions.Fraction, uuid.UUID, zoneinfo.ZoneInfo, re.Pattern,
        types.FunctionType, types.ModuleType, types.CodeType, np.ma.core.MaskedConstant,
        type(NotImplemented), types.GenericAlias, types.UnionType, Unlooked,
    }
)  # fmt: skip
"""Types whose values do not change."""


def copied(value: Any) -> Any:
    """Return a value that its reader may change without anybody else seeing it.

    Arrays over `SMALL` are not copied but handed on read-only; so are those that are read-only.
    An object that says by ``__databacked_token__`` what it counts by is handed on as it is, such as
    a model that was loaded once.
    """
    return value if type(value) in FIXED else _Copies().of(value)


def taken(value: Any) -> tuple[Any, bool]:
    """Return a value as it is at a call, and whether it holds large arrays, which are not copied.

    These may still be changed by others: they are hashed at the call, and before they are used.
    """
    copies = _Copies(at_call=True)
    return copies.of(value), copies.large


def replaced(
    value: Any, kinds: tuple[type, ...], make: Callable[[Any], Any], *, copies: bool = False
) -> Any:
    """Return a value with everything of some types in it replaced, wherever copies look.

    Parameters
    ----------
    copies
        Whether the rest is copied; else what holds nothing of these types is handed on.
    """
    return _Copies(kinds=kinds, make=make, copies=copies).of(value)


def parts_of(value: Any, wanted: type | tuple[type, ...]) -> Iterator[Any]:
    """Yield everything of some types in a value, wherever copies look."""
    kind = type(value)
    if kind in FIXED or (kind is np.ndarray and value.dtype.kind != "O"):
        return iter(())
    return _Parts(wanted).of(value)


class _Parts:
    """One walk through a value that yields what is of some types; an object is looked at once."""

    def __init__(self, wanted: type | tuple[type, ...]) -> None:
        self.wanted = wanted
        self.seen: dict[int, Any] = {}

    def of(self, value: Any) -> Iterator[Any]:
        kind = type(value)
        if isinstance(value, self.wanted):
            yield value
            return
        if id(value) in self.seen:
            return
        self.seen[id(value)] = value  # kept, so that no other one gets its address
        if isinstance(value, dict):  # past its own code: some sparse matrices are dicts
            yield from self.of_all([*dict.__iter__(value), *dict.values(value)])
        elif isinstance(value, types.MappingProxyType):
            yield from self.of(held_by(value))
        elif isinstance(value, list | tuple | set | frozenset | collections.deque):
            yield from self.of_all(value)
        elif isinstance(value, np.ndarray):
            if value.dtype.kind == "O":
                yield from self.of_all(value.ravel().tolist())
        elif isinstance(value, Image):
            yield from self.of_all([value.data, *value.labels.values()])
        elif kind is functools.partial:
            yield from self.of_all([value.func, *value.args, *value.keywords.values()])
        elif kind.__module__.partition(".")[0] == "pandas":
            if hasattr(value, "columns"):
                for number in range(value.shape[1]):
                    yield from self.of(value.iloc[:, number])
            elif str(getattr(value, "dtype", "")) == "object":
                yield from self.of_all(value.tolist())
        elif kind is types.SimpleNamespace or (
            is_plain_class(kind)
            and not _is_itself(kind)
            and not kind.__module__.startswith("databacked.")
        ):
            yield from self.of_all(list(state_of(value).values()))

    def of_all(self, values: Any) -> Iterator[Any]:
        if not FIXED.issuperset(map(type, values)):
            for one in values:
                if type(one) not in FIXED:
                    yield from self.of(one)


def read_only(value: Any) -> Any:
    """Return a value whose arrays cannot be changed in place by one of several readers."""
    if type(value) in FIXED:
        return value
    if isinstance(value, np.ndarray):
        return _locked(value)
    if type(value) in (list, tuple):
        return type(value)(read_only(item) for item in value)
    if type(value) is dict:
        return {key: read_only(item) for key, item in value.items()}
    return value


class _Copies:
    """One walk through a value; what stands in it twice, or holds itself, does so in the copy.

    Parameters
    ----------
    at_call
        Whether large arrays stay themselves, to be looked at again.
    kinds, make
        What is replaced, and by what.
    copies
        Whether what holds nothing of these types is copied.
    """

    def __init__(
        self,
        *,
        at_call: bool = False,
        kinds: tuple[type, ...] = (),
        make: Callable[[Any], Any] | None = None,
        copies: bool = True,
    ) -> None:
        self.at_call = at_call
        self.kinds, self.make, self.copies = kinds, make, copies
        self.large = False
        self._made: dict[int, Any] = {}
        self._kept: list[Any] = []  # what was copied, so that nothing else gets its address

    def of(self, value: Any) -> Any:
        kind = type(value)
        if kind in FIXED:
            return value
        if kind in self.kinds and self.make is not None:
            return self.make(value)
        if (made := self._made.get(id(value), self)) is not self:
            return made
        self._kept.append(value)
        made = self._made[id(value)] = self._of(value)
        return made

    def begun(self, value: Any, new: Any) -> Any:
        """Note the copy of a value before it is filled: what the value holds may hold the value."""
        self._made[id(value)] = new
        return new

    def _of(self, value: Any) -> Any:
        kind = type(value)
        walked = self.copies or kind in (list, tuple, dict)
        if not walked and next(parts_of(value, self.kinds), self) is self:
            return value
        make = _MAKERS.get(kind)
        if make is not None:
            return make(self, value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic | enum.Enum | PurePath | Backed | BaseException | type):
            return value
        if isinstance(value, Image):
            labels = {name: self.of(one) for name, one in value.labels.items()}
            return dataclasses.replace(value, data=self.of(value.data), labels=labels)
        if kind.__module__.startswith("databacked.") and isinstance(value, list):
            return self.many(value)  # the answer of a map: a list like any other one
        if _is_itself(kind) or kind.__module__.startswith("databacked.") or _is_bare(value):
            return value
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return self._state(tuple.__new__(kind, [self.of(item) for item in value]), value)
        library = kind.__module__.partition(".")[0]
        bases = {base.__module__.partition(".")[0] for base in kind.__mro__}
        if "pandas" in bases:
            return (
                self._table(value) if hasattr(value, "copy") and hasattr(value, "shape") else value
            )
        if library == "xarray" and hasattr(value, "copy"):
            return self._labelled(value)
        if library == "dask":
            return value
        if is_plain_class(kind):
            return self._state(self.begun(value, object.__new__(kind)), value)
        if self.make is not None and next(parts_of(value, self.kinds), self) is not self:
            raise FingerprintError(
                f"a {kind.__qualname__} holds a value of a task, where it is not looked for: pass "
                "it as an argument, or in a list, a dict or a dataclass of its own."
            )
        try:
            return copy.deepcopy(value)
        except Exception:  # a lock, a connection: nobody has a second one
            return value

    def many(self, values: Any) -> list[Any]:
        """Return copies of items; of plain ones there is nothing to copy."""
        if FIXED.issuperset(map(type, values)):
            return list(values)
        return [item if type(item) in FIXED else self.of(item) for item in values]

    def pairs(self, value: Any) -> dict[Any, Any]:
        """Return copies of the keys and values of a mapping."""
        if not FIXED.issuperset(map(type, value)):
            return dict(zip(self.many(value), self.many(value.values()), strict=True))
        return {key: item if type(item) in FIXED else self.of(item) for key, item in value.items()}

    def _array(self, value: Any) -> Any:
        if value.dtype.hasobject and value.dtype.kind != "T":
            return self._objects(value)
        if value.nbytes <= SMALL and value.flags.writeable:
            new = value.copy()
            return new if type(value) is np.ndarray else self._state(new, value)
        if self.at_call and value.nbytes > SMALL:
            self.large = True
            return value
        if self.at_call:
            return self._state(value.copy(), value)
        return self._state(_locked(value), value)

    def _objects(self, value: Any) -> Any:
        if value.dtype.kind != "O":
            return copy.deepcopy(value)
        new = self.begun(value, value.copy())
        plain = new.view(np.ndarray)
        for place, one in np.ndenumerate(plain):
            plain[place] = self.of(one)
        return self._state(new, value)

    def _state(self, new: Any, old: Any) -> Any:
        """Give a new object the attributes of an old one that it does not have by itself."""
        has = getattr(type(new), "__dictoffset__", 0) and isinstance(new, np.ndarray)
        own = object.__getattribute__(new, "__dict__") if has else {}
        for name, one in state_of(old, remembered=True).items():
            if name not in own:
                _set(new, name, self.of(one))
        return new

    def _table(self, value: Any) -> Any:
        """Return a copy of a table, column or index, what its cells hold included."""
        new = value.copy()
        if hasattr(value, "columns"):
            for number in range(value.shape[1]):
                column = value.iloc[:, number]
                if _may_change(column):
                    new.isetitem(number, self._column(column))
        elif hasattr(value, "iloc") and _may_change(value):
            new.iloc[:] = self._cells(value)
        if type(new) is not type(value):  # a class that does not say what its copies are
            new.__class__ = type(value)
        if hasattr(value, "attrs") and value.attrs:
            new.attrs = self.of(value.attrs)
        names = {name for name in getattr(value, "__dict__", {}) if name[0] != "_"}
        for name in names | set(getattr(type(value), "_metadata", ())) - {"name", "_name"}:
            if name in vars(value):
                object.__setattr__(new, name, self.of(vars(value)[name]))
        return new

    def _column(self, column: Any) -> Any:
        # pandas makes another type of cells that are all texts or times, for example.
        return column._constructor(self._cells(column), column.index, dtype=object)

    def _cells(self, column: Any) -> Any:
        cells = np.empty(len(column), object)
        for place, one in enumerate(column.tolist()):
            cells[place] = self.of(one)
        return cells

    def _labelled(self, value: Any) -> Any:
        """Return a copy of an array or dataset with labels; large arrays are read-only."""
        new = value.copy(deep=value.nbytes <= SMALL if hasattr(value, "nbytes") else True)
        if getattr(value, "nbytes", 0) > SMALL:
            for one in _variables(new):
                if type(one).__name__ == "Variable":
                    one.data = self.of(one.data)
                one.attrs = self.of(one.attrs)
            new.attrs = self.of(new.attrs)
        return new


def _is_itself(kind: type) -> bool:
    """Whether objects of a class stand for themselves: loggers, annotations, what has a token."""
    return hasattr(kind, "__databacked_token__") or kind.__module__ in ("logging", "typing")


def _is_bare(value: Any) -> bool:
    """Whether an object holds nothing that could change: it stands for itself, as a default does.

    Functions ask of such a one whether it *is* the one they know (``x is MISSING``).
    """
    kind = type(value)
    return (
        kind.__basicsize__ <= object.__basicsize__ + 16  # a dict and weak references, at most
        and not kind.__itemsize__
        and not any(getattr(base, "__slots__", ()) for base in kind.__mro__)
        and not getattr(value, "__dict__", None)
    )


def _variables(value: Any) -> list[Any]:
    if hasattr(value, "variables"):
        return list(value.variables.values())
    coords = [one.variable for one in getattr(value, "coords", {}).values()]
    return [getattr(value, "variable", value), *coords]


def _may_change(column: Any) -> bool:
    """Whether the cells of a column hold something that can be changed in place."""
    return str(column.dtype) == "object" and not FIXED.issuperset(map(type, column))


def _set(new: Any, name: str, one: Any) -> None:
    for base in type(new).__mro__:
        if isinstance(vars(base).get(name), types.MemberDescriptorType):
            vars(base)[name].__set__(new, one)
            return
    object.__getattribute__(new, "__dict__")[name] = one


def _locked(value: Any) -> Any:
    """Return a view of an array that cannot be written to."""
    view = value.view()
    if isinstance(view, np.ma.MaskedArray):
        view.unshare_mask()
    view.flags.writeable = False
    return view


def _memory(copies: _Copies, value: memoryview[Any]) -> memoryview[Any]:
    held = memoryview(bytearray(value.tobytes())).cast(value.format, value.shape)  # type: ignore[call-overload]
    return held.toreadonly() if value.readonly else held  # type: ignore[no-any-return]


def _of_c(copies: _Copies, value: Any) -> Any:
    owner = value.__self__
    if owner is None or isinstance(owner, type | types.ModuleType):
        return value
    return getattr(copies.of(owner), value.__name__)


def _list(copies: _Copies, value: list[Any]) -> list[Any]:
    new: list[Any] = copies.begun(value, [])
    new += copies.many(value)
    return new


def _deque(copies: _Copies, value: Any) -> Any:
    new = copies.begun(value, collections.deque(maxlen=value.maxlen))
    new += copies.many(value)
    return new


def _dict(copies: _Copies, value: dict[Any, Any]) -> dict[Any, Any]:
    new: dict[Any, Any] = copies.begun(value, {})
    new.update(copies.pairs(value))
    return new


def _mapping(copies: _Copies, value: Any) -> Any:
    is_default = isinstance(value, collections.defaultdict)
    new = copies.begun(value, type(value)(*[value.default_factory] if is_default else ()))
    for key, one in copies.pairs(value).items():
        new[key] = one
    return new


def _namespace(copies: _Copies, value: Any) -> Any:
    new = copies.begun(value, types.SimpleNamespace())
    vars(new).update(copies.pairs(vars(value)))
    return new


def _tuple(copies: _Copies, value: Any) -> Any:
    items = copies.many(value)
    return value if all(map(_is, items, value)) else tuple(items)


def _is(one: Any, other: Any) -> bool:
    return one is other


def _partial(copies: _Copies, value: Any) -> Any:
    new = functools.partial(
        copies.of(value.func), *copies.many(value.args), **copies.pairs(value.keywords)
    )
    vars(new).update(copies.pairs(vars(value)))
    return new


_MAKERS: dict[type, Any] = {
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: lambda copies, value: set(copies.many(value)),
    frozenset: lambda copies, value: frozenset(copies.many(value)),
    bytearray: lambda copies, value: bytearray(value),
    memoryview: _memory,
    types.BuiltinFunctionType: _of_c,
    collections.OrderedDict: _mapping,
    collections.Counter: _mapping,
    collections.defaultdict: _mapping,
    collections.deque: _deque,
    types.SimpleNamespace: _namespace,
    types.MappingProxyType: lambda copies, value: types.MappingProxyType(copies.of(held_by(value))),
    functools.partial: _partial,
    types.MethodType: lambda copies, value: types.MethodType(
        value.__func__, copies.of(value.__self__)
    ),
}
