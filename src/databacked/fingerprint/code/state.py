"""What a constant in code counts by: its class, then its content, as far as it can be told.

What cannot be told (a lock, what C code holds) is noted and passed by; all around it counts.
"""

from __future__ import annotations

import collections
import re
import weakref
from collections.abc import Iterator
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any, Protocol

from databacked.errors import FingerprintError
from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.objects import name_of, state_of
from databacked.fingerprint.values import QUICK, Tokens

MARK = "\x00"
"""Stands around the number of a symbol in a token: its name is put in at the end."""

COPIED = frozenset({"__doc__", "__name__", "__qualname__", "__module__", "__annotations__"})
"""What wrappers copy of the function that they wrap: nothing of it is run."""

_EMPTY = ("_thread", "threading", "_asyncio", "multiprocessing.synchronize")
"""Modules whose objects hold nothing but who waits for whom."""

_WEAK: tuple[Any, ...] = (weakref.ref, *weakref.ProxyTypes, weakref.WeakSet)
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_CONTENT: tuple[type, ...] = (dict, list, set, frozenset, tuple, str, bytes, int, float, complex)


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""Where an object lies in memory, in a text that somebody made of it."""

_seen: dict[tuple[int, str], tuple[Any, str]] = {}


def first_seen(value: Any, token: str, attribute: str = "") -> str:
    """Return what something that runs fill was when this process first looked at it."""
    return _seen.setdefault((id(value), attribute), (value, token))[1]


class Looks(Protocol):
    """What knows code, paths and where the project lies."""

    def ref(self, value: Any, at: str = "") -> str:
        """Return what a function, class or module counts by."""
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
    at
        The name that it is known by.
    """

    def __init__(self, looks: Looks, at: str) -> None:
        super().__init__(lambda code: looks.ref(code, at))
        self._looks, self._at = looks, at
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
            content = sorted(self.each(list(base.__iter__(value)), where))
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
        code = self.of_code(kind, where)
        return self.hash("instance", code, *self._state(value, where))

    def _state(self, value: Any, where: str) -> list[str]:
        state = {name: one for name, one in state_of(value).items() if name not in COPIED}
        later = self._looks.stored_later(type(value)) & state.keys()
        if not later:
            return self.members(state, where)
        parts: list[str] = []
        for name in sorted(state):
            token = self.of(state[name], f"{where}.{name}")
            # What a run fills: as it was when this process first looked, else nothing is a hit.
            parts += [name, first_seen(value, token, name) if name in later else token]
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


def _is_written(kind: type) -> bool:
    """Whether a class is written in Python, whatever it derives from."""
    return bool(kind.__flags__ & (1 << 9)) and not kind.__flags__ & (1 << 8)
