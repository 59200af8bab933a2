"""What own code changes while it runs: memos, counters, registries.

They count by what they were when this process first looked at them; else nothing would be a hit.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from types import FunctionType, SimpleNamespace
from typing import Any

from databacked.fingerprint.code.members import Method, methods_of
from databacked.fingerprint.code.names import Write
from databacked.fingerprint.code.scope import Scope
from databacked.fingerprint.code.symbols import PLAIN


class Changes:
    """What is changed by the code that one walk has reached so far.

    Parameters
    ----------
    whole
        Identities of containers, and names of modules (with their file), of which no part may be
        taken alone.
    """

    def __init__(self, whole: frozenset[Hashable]) -> None:
        self._whole = whole
        self._rebound: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._changed: set[tuple[int, str]] = set()
        self._attributes: dict[int, set[str]] = {}
        self._narrowed: set[tuple[int, str]] = set()
        self._narrowed_names: set[tuple[str, str]] = set()
        self._alive: list[Any] = []
        self._spelled: set[str] = {""}
        self._waiting: dict[str, list[tuple[type, Method]]] = {}
        self._later: dict[type, set[str]] = {}
        self._ever: dict[type, set[str]] = {}

    def note(self, write: Write, scope: Scope) -> None:
        """Note what a piece of code changes."""
        name, *attributes = write.chain
        value = scope.cells.get(name, scope.space.get(name, scope))
        if write.kind == "name":  # global: what it was when it was first looked at counts
            self._rebound[scope.file, name] = scope.space
            return
        if value is scope:
            return
        last = attributes.pop() if write.kind == "attribute" and attributes else ""
        for attribute in attributes:
            value = getattr(value, attribute, None)
        if value is not None and type(value) not in PLAIN:
            self._changed.add((id(value), last))
            if last:
                self._attributes.setdefault(id(value), set()).add(last)
            self._alive.append(value)

    def has(self, value: Any, attribute: str = "") -> bool:
        """Whether code changes what an object holds, or one attribute of it."""
        return (id(value), attribute) in self._changed

    def rebound(self, file: str, name: str) -> Mapping[str, Any] | None:
        """Return the names of the module in which code binds one anew, if any does."""
        return self._rebound.get((file, name))

    def attributes_of(self, value: Any) -> set[str]:
        """Return the attributes of an object that code changes."""
        return self._attributes.get(id(value), set())

    # What methods store

    def spell(self, names: Iterable[str]) -> None:
        """Take in names by which code that is reached may call methods."""
        waiting = [*names]
        while waiting:
            name = waiting.pop()
            if name in self._spelled:
                continue
            self._spelled.add(name)
            for kind, method in self._waiting.pop(name, ()):
                self._later[kind] |= method.stores
                waiting += method.spelled

    def stored_later(self, kind: type) -> set[str]:
        """Return the attributes that objects of a class may be given while a task runs."""
        for base in kind.__mro__:
            self.take_class(base)
        return set().union(*(self._later[base] for base in kind.__mro__))

    def take_class(self, kind: type) -> None:
        """Take in the methods of a class: those count that code which is reached may call."""
        if kind in self._later:
            return
        self._later[kind], self._ever[kind] = set(), set()
        called: list[str] = []
        for method in methods_of(kind):
            self._ever[kind] |= method.stores
            if method.by in self._spelled:
                self._later[kind] |= method.stores
                called += method.spelled
            else:
                self._waiting.setdefault(method.by, []).append((kind, method))
        self.spell(called)

    # Parts of a container

    def has_parts(self, file: str, name: str) -> bool:
        """Whether parts of what a name of a module stands for may be taken: not if it changes."""
        if (file, name) in self._whole or (file, name) in self._rebound:
            return False
        self._narrowed_names.add((file, name))
        return True

    def part(self, value: Any, step: str | int, *, is_key: bool) -> tuple[Any] | None:
        """Return a part of a container that can be taken without the rest of it.

        It is a written key of a plain dict, list or tuple, or an attribute that an object simply
        holds. None where that cannot be told, or where code changes it.
        """
        if id(value) in self._whole or self.has(value):
            return None
        kind = type(value)
        if is_key:
            if kind is dict:
                found = value.get(step, _NOTHING)
            elif kind in (list, tuple) and type(step) is int and -len(value) <= step < len(value):
                found = value[step]
            else:
                found = _NOTHING
        else:
            found = _held(value, str(step))
            if self.has(value, str(step)) or step in self._stored(kind):
                found = _NOTHING
        if found is _NOTHING:
            return None
        self._narrowed.add((id(value), "" if is_key else str(step)))
        self._alive.append(value)
        return (found,)

    def hangs(self, function: FunctionType, name: str) -> bool:
        """Whether something hangs on a function that can be taken without the rest of it."""
        if name not in vars(function) or id(function) in self._whole or self.has(function, name):
            return False
        self._narrowed.add((id(function), name))
        return True

    def _stored(self, kind: type) -> set[str]:
        """Return the attributes that any method sets, but for those that make an object."""
        self.stored_later(kind)
        return set().union(*(self._ever[base] for base in kind.__mro__))

    def wrongly_narrowed(self) -> frozenset[Hashable]:
        """Return what a part was taken of, and turned out to be changed by code."""
        values = {
            value
            for value, attribute in self._narrowed
            if (value, attribute) in self._changed or (value, "") in self._changed
        }
        return frozenset(values | (self._narrowed_names & self._rebound.keys()))


_NOTHING = object()


def _held(value: Any, name: str) -> Any:
    """Return an attribute that an object's own ``__dict__`` holds, and that is what one gets."""
    kind = type(value)
    computing = (one for one in kind.__mro__ if "__getattribute__" in vars(one))
    plain = all(one in (object, SimpleNamespace) for one in computing)
    if not plain or name.startswith("__") or any(_is_computed(one, name) for one in kind.__mro__):
        return _NOTHING
    return getattr(value, "__dict__", {}).get(name, _NOTHING)


def _is_computed(kind: type, name: str) -> bool:
    """Whether a class computes an attribute, or remembers it once it did."""
    return hasattr(type(vars(kind).get(name)), "__get__")
