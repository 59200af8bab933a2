"""What a constant in code counts by: its class, then its content, as far as it can be told.

What cannot be told (a lock, what C code holds) is noted and passed by; all around it counts.
"""

from __future__ import annotations

import collections
import re
import weakref
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any, Protocol

from databacked.errors import FingerprintError
from databacked.fingerprint.code.firsts import ABSENT, as_first_seen
from databacked.fingerprint.code.symbols import MARK, Symbol
from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.objects import name_of, state_of
from databacked.fingerprint.values import QUICK, Tokens

COPIED = frozenset({"__doc__", "__name__", "__qualname__", "__module__", "__annotations__"})
"""What wrappers copy of the function that they wrap: nothing of it is run."""

_EMPTY = ("_thread", "threading", "_asyncio", "multiprocessing.synchronize")
"""Modules whose objects hold nothing but who waits for whom."""

_WEAK: tuple[Any, ...] = (weakref.ref, *weakref.ProxyTypes, weakref.WeakSet)
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_CONTENT: tuple[type, ...] = (dict, list, set, frozenset, tuple, str, bytes, int, float, complex)


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory, in a text that somebody made of it."""


def without_docs(state: Mapping[str, Any], holder: Any) -> dict[str, Any]:
    """Return attributes without what is copied of code that is held: its names, its docstrings."""
    found = {name: one for name, one in state.items() if name not in COPIED}
    if not any(type(one) is str for one in found.values()):
        return found
    code = [one for one in (holder, *state.values()) if isinstance(one, FunctionType | type)]
    docs = {one.__doc__ for one in (*code, type(holder))}
    return {name: None if type(one) is str and one in docs else one for name, one in found.items()}


class Looks(Protocol):
    """What knows code, paths and where the project lies."""

    def ref(self, value: Any, at: str = "") -> str:
        """Return what a function, class or module counts by."""
        ...

    def inner(self, value: Any, symbol: Symbol) -> str:
        """Take in an object that another one holds; return what it counts by."""
        ...

    def path(self, value: PurePath, at: str) -> str:
        """Take in a path among the constants."""
        ...

    def below_root(self, text: str) -> str:
        """Return a text without the place where the project lies."""
        ...

    def stored_later(self, kind: type) -> set[str]:
        """Return the attributes that objects of a class may be given while a task runs."""
        ...


class Constant(Tokens):
    """One walk through a constant.

    Parameters
    ----------
    symbol
        What it belongs to.
    what
        What it is of that symbol.
    """

    def __init__(self, looks: Looks, symbol: Symbol, what: str = "") -> None:
        self._at = symbol.name + what
        super().__init__(lambda code: looks.ref(code, self._at))
        self._looks, self._symbol = looks, symbol
        self._is_unordered = self._is_filled = False
        self._met: dict[int, int] = {}
        self._alive: list[Any] = []
        self.untold: list[str] = []
        """What could not be told, in words."""

    def hash(self, *parts: str) -> str:
        if any(MARK in part for part in parts):  # named at the end
            return f"({chr(31).join(parts)})"
        return super().hash(*parts)

    def of(self, value: Any, where: str) -> str:
        kind = type(value)
        if kind is str:
            value = _ADDRESS.sub(" at 0x", self._looks.below_root(value))
        quick = QUICK.get(kind)
        if quick is not None:
            return quick(value)
        if kind in (tuple, frozenset):  # equal ones may be one object, or several
            return super().of(value, where)
        number = self._met.get(id(value))
        if number is not None:
            return f"again {number}"
        self._met[id(value)] = len(self._met)
        self._alive.append(value)  # so that no other object gets its identity
        try:
            return super().of(value, where)
        except (FingerprintError, RecursionError) as error:
            return self._pass_by(value, where, error)

    def _of(self, value: Any, where: str) -> str:
        kind = type(value)
        if kind is object:
            return "sentinel"
        if kind in _VIEWS:
            return self.hash(kind.__name__, *self.each(value, where))
        if isinstance(value, ModuleType):
            return self.hash("module", self._looks.ref(value))
        if kind is collections.ChainMap:
            return self.hash("ChainMap", *self.each(value.maps, where))
        if isinstance(value, _WEAK):
            return "weak"
        if isinstance(value, _CONTENT) and kind not in _CONTENT and _is_written(kind):
            return self._of_derived(value, where)
        return super()._of(value, where)

    def _of_derived(self, value: Any, where: str) -> str:
        """Return the token of an object whose class derives from a type that holds content."""
        base = next(one for one in _CONTENT if isinstance(value, one))
        code = self.of_code(type(value), where)
        if base is dict:
            content = self.pairs(dict(dict.items(value)), where)
        elif base in (list, tuple):
            content = self.each(list(base.__iter__(value)), where)
        elif base in (set, frozenset):
            content = self.unordered(list(base.__iter__(value)), where)
        else:
            content = [self.of(base(value), where)]
        return self.hash("derived", base.__name__, code, *content, *self._state(value, where))

    def of_instance(self, value: Any, where: str) -> str:
        kind = type(value)
        if kind.__module__ in _EMPTY:
            return f"empty {kind.__qualname__}"
        inner = getattr(value, "__wrapped__", None)
        if isinstance(inner, FunctionType) and not _is_written(kind):  # lru_cache, a compiler
            return self.hash("around", kind.__qualname__, self.of(inner, where))
        if not _is_written(kind):
            return super().of_instance(value, where)
        if where and not self._is_unordered:
            # Others hold it, too, perhaps it holds itself: each object is looked into once.
            return self._looks.inner(value, self._symbol)
        code = self.of_code(kind, where)
        return self.hash("instance", code, *self._state(value, where))

    def whole(self, value: Any, *, is_filled: bool) -> str:
        """Return the token of a constant; as it was at first, if runs fill it."""
        if is_filled and not _is_instance(value):
            return as_first_seen(value, "", value, self.told)
        self._is_filled = is_filled
        return self.told(value)

    def unordered(self, values: Collection[Any], where: str) -> list[str]:
        # What is met first is the same in every process, though a set's own order is not.
        before, self._is_unordered = self._is_unordered, True
        try:
            return super().unordered(sorted(values, key=_order), where)
        finally:
            self._is_unordered = before

    def _state(self, value: Any, where: str) -> list[str]:
        state = without_docs(state_of(value), value)
        later = self._looks.stored_later(type(value))
        if not where and self._is_filled:
            later = later | state.keys()
        if not later:
            return self.members(state, where)
        parts: list[str] = []
        for name in sorted(state.keys() | later):

            def tell(one: Any, at: str = f"{where}.{name}") -> str:
                return self.of(one, at)

            if name in later:
                token = as_first_seen(value, name, state.get(name, ABSENT), tell)
            else:
                token = tell(state[name])
            parts += [name, token] if token else []
        return parts

    def of_path(self, value: PurePath, where: str) -> str:
        return self._looks.path(value, self._at + where)

    def _pass_by(self, value: Any, where: str, error: Exception) -> str:
        kind = type(value)
        said = "" if where == "" else f" at {where}"
        if isinstance(value, Iterator):
            self.untold.append(f"{name_of(kind)}{said}, which can be read only once")
        else:
            self.untold.append(f"{name_of(kind)}{said}, which cannot be looked into")
        return hash_texts(["untold", kind.__qualname__])


def _order(value: Any) -> str:
    """Return what puts the members of a set in an order, as far as that can be told."""
    kind = type(value)
    if isinstance(value, type | FunctionType):
        line = value.__code__.co_firstlineno if isinstance(value, FunctionType) else 0
        return f"code {value.__module__}.{value.__qualname__} {line}"
    if kind in (tuple, frozenset):
        parts = map(_order, value)
        return f"{kind.__name__} {[*parts] if kind is tuple else sorted(parts)}"
    return f"{name_of(kind)} {value!r}" if kind in QUICK else name_of(kind)


def _is_instance(value: Any) -> bool:
    """Whether all that an object holds stands in its attributes."""
    return _is_written(type(value)) and not isinstance(value, _CONTENT)


def _is_written(kind: type) -> bool:
    """Whether a class is written in Python, whatever it derives from."""
    return bool(kind.__flags__ & (1 << 9)) and not kind.__flags__ & (1 << 8)
