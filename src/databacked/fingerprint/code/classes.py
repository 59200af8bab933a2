"""What a class counts by: its text and what that names, its bases, and every member of it."""

from __future__ import annotations

from typing import Any

from databacked.callables import closure_of
from databacked.fingerprint.code.firsts import ABSENT, as_first_seen
from databacked.fingerprint.code.functions import AROUND
from databacked.fingerprint.code.members import (
    PYTHONS_OWN,
    file_of_class,
    functions_in,
    functions_of,
    is_generated,
    is_slot,
    module_space,
    stands_in,
    statement_of,
)
from databacked.fingerprint.code.scope import Scope
from databacked.fingerprint.code.sources import node_of
from databacked.fingerprint.code.symbols import Symbol
from databacked.fingerprint.code.visit import Visit

_FIELDS = ("__annotations__", "_fields", "_field_defaults")
"""What a class that stands nowhere (a namedtuple) is made of."""


class Classes:
    """Looks into the classes that a walk meets."""

    def __init__(self, walk: Visit) -> None:
        self._walk = walk

    def ref(self, kind: type) -> str:
        """Return what a class counts by, and take it in."""
        walk, file = self._walk, file_of_class(kind)
        if kind.__module__ == "builtins" or not walk.owner.owns_file(file, kind.__module__):
            name = walk.library(kind.__module__, kind.__qualname__)
            walk.know(kind, name)
            return name
        name = walk.owner.symbol(file, kind.__qualname__)
        return walk.meet(kind, name, lambda symbol: self._fill(symbol, kind, file))

    def _fill(self, symbol: Symbol, kind: type, file: str) -> None:
        walk = self._walk
        walk.changes.take_class(kind)
        symbol.parts += [walk.ref(base) for base in kind.__bases__ if base is not object]
        if type(kind) is not type:
            symbol.add("metaclass=", walk.ref(type(kind)))
        found = statement_of(kind, file)
        if found is not None:
            source, node = found
            space, cells = module_space(kind), dict[str, Any]()
            for function in functions_of(kind):
                if stands_in(function, kind, file):
                    cells.update(closure_of(function))
            cells.pop("__class__", None)
            symbol.parts.append(source.form(node))
            walk.take(symbol, source.piece(node), Scope(space, cells, source), calls=False)
            walk.loaded(file, space)
        for name, member in sorted(vars(kind).items()):
            functions = list(functions_in(member))
            for function in functions:
                self._method(symbol, kind, name, function, file if found is not None else "")
            if not functions:
                self._data(symbol, kind, name, member, found is not None)
        walk.later(lambda: self._not_yet(kind))

    def _method(self, symbol: Symbol, kind: type, name: str, function: Any, file: str) -> None:
        """Take in a function of a class: of one that stands in its text only what is not there."""
        walk = self._walk
        if is_generated(function, kind):
            return
        if not walk.owns(function):
            found = walk.ref(function)
            # Later versions of Python give classes more of their own methods.
            if not name.startswith("__") or (name not in PYTHONS_OWN and found.startswith(AROUND)):
                symbol.add(f"{name}=", found)
        elif file and stands_in(function, kind, file):
            node_of(function)  # raises if the file was changed since
            for free, value in closure_of(function).items():
                if free != "__class__":
                    symbol.add(f"{free}=", walk.token(symbol, f"({free})", value))
            walk.attributes(symbol, function)
        else:
            symbol.add(f"{name}=", walk.ref(function))

    def _data(self, symbol: Symbol, kind: type, name: str, member: Any, has_text: bool) -> None:
        """Take in what is no method, set from outside or computed: it stands in no text."""
        walk = self._walk
        if name == "__dataclass_fields__" and not has_text:
            made = {one.name: one.default_factory for one in member.values()}
            symbol.add(f"{name}=", walk.token(symbol, f".{name}", made))
        if is_slot(member) or (name in PYTHONS_OWN and (has_text or name not in _FIELDS)):
            return

        def fill() -> None:
            if walk.changes.has(kind, name) or name in walk.stored_later(kind):
                token = as_first_seen(kind, name, member, tell)
            else:
                token = tell(member)
            if token:
                symbol.add(f"{name}=", token)

        def tell(value: Any) -> str:
            return walk.token(symbol, f".{name}", value)

        walk.later(fill)

    def _not_yet(self, kind: type) -> None:
        """Note what runs will set on a class: it is not there when it is first looked at."""
        walk = self._walk
        for name in walk.changes.attributes_of(kind) | walk.stored_later(kind):
            if name not in vars(kind):
                as_first_seen(kind, name, ABSENT, str)
