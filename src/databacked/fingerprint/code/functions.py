"""What a function counts by: its text, what it names, its defaults, what hangs on it."""

from __future__ import annotations

import ast
import dis
from types import CodeType, FunctionType, MethodType
from typing import Any

from databacked.callables import closure_of, written
from databacked.fingerprint.code.firsts import ABSENT, as_first_seen, function_as_first_seen
from databacked.fingerprint.code.members import defaults_of
from databacked.fingerprint.code.names import Piece, Use, chain_of, together
from databacked.fingerprint.code.scope import Scope
from databacked.fingerprint.code.sources import node_of, told
from databacked.fingerprint.code.state import without_docs
from databacked.fingerprint.code.symbols import Symbol
from databacked.fingerprint.code.visit import Visit
from databacked.fingerprint.hashes import hash_texts

_COPIED = frozenset({"__dict__", "__signature__", "__isabstractmethod__"})


class Functions:
    """Looks into the functions that a walk meets."""

    def __init__(self, walk: Visit) -> None:
        self._walk = walk

    def ref(self, function: FunctionType) -> str:
        """Return what a function counts by, and take it in."""
        code = function_as_first_seen(function).__code__
        if not self._walk.owner.owns_file(code.co_filename, function.__module__ or ""):
            return self._wrapping(function)
        name = self._walk.owner.symbol(code.co_filename, function.__qualname__)
        return self._walk.meet(
            function, name, lambda symbol: self._fill(symbol, function_as_first_seen(function))
        )

    def _fill(self, symbol: Symbol, function: FunctionType) -> None:
        walk, code = self._walk, function.__code__
        found = node_of(function)
        scope = Scope(function.__globals__, closure_of(function), found[0] if found else None)
        if found is None:
            walk.symbols.say(
                symbol, "no source; its bytecode counts, which differs between Pythons"
            )
            symbol.parts.append(hash_texts([code.co_code.hex(), repr(told(code))]))
            piece = Piece({Use((name,)): None for name in _globals_of(code)})
        else:
            source, node = found
            skipped = _ours(node, scope)
            named = function is not walk.first
            symbol.parts.append(source.form(node, without=tuple(skipped), named=named))
            decorators = getattr(node, "decorator_list", ())
            counted = [node, *(one for one in decorators if one not in skipped)]
            piece = together([source.piece(one) for one in counted])
            walk.loaded(code.co_filename, function.__globals__)
        walk.take(symbol, piece, scope)
        for parameter, default in defaults_of(function):
            symbol.add(f"{parameter}=", walk.token(symbol, f"({parameter})", default))
        self.attributes(symbol, function)

    def attributes(self, symbol: Symbol, function: FunctionType) -> None:
        """Take in what hangs on a function: what a decorator left there, what somebody set."""
        self._walk.later(lambda: self._fill_attributes(symbol, function))

    def _fill_attributes(self, symbol: Symbol, function: FunctionType) -> None:
        walk, changed = self._walk, self._walk.changes.attributes_of(function)
        held = without_docs(vars(function), function)
        if not held and not changed:
            return
        cells = [*closure_of(function).values()]
        for name in sorted({*held, *changed}):
            value = held.get(name, ABSENT)
            if name in _COPIED or any(value is one for one in cells):
                continue

            def tell(value: Any, name: str = name) -> str:
                return walk.token(symbol, f".{name}", value)

            token = as_first_seen(function, name, value, tell) if name in changed else tell(value)
            if token:
                symbol.add(f".{name}=", token)

    def _wrapping(self, function: FunctionType) -> str:
        """Return the name of another package's function, and take in what it wraps of ours."""
        walk = self._walk
        name = walk.library(function.__module__ or "", function.__qualname__)
        walk.know(function, name)
        cells = [getattr(function, "__wrapped__", None), *closure_of(function).values()]
        inner: list[tuple[str, Any]] = [("", cell) for cell in cells]
        for cell in cells:
            if isinstance(cell, dict):  # of functools.singledispatch, by type
                inner += [(f"{getattr(k, '__qualname__', '')} ", v) for k, v in cell.items()]
            elif isinstance(cell, tuple | list):
                inner += [(f"{number} ", one) for number, one in enumerate(cell)]
        own: dict[str, None] = {}
        for key, one in inner:
            if not isinstance(one, FunctionType | MethodType | type):
                below = written(one) if callable(one) else one
                if below is not one and walk.owns(below):
                    own[key + walk.ref(below)] = None
            elif walk.owns(one):
                if not getattr(one, "__qualname__", "").startswith("__create_fn__."):
                    own[key + walk.ref(one)] = None
            elif isinstance(one, FunctionType) and walk.known(one) is None:
                found = self._wrapping(one)
                own |= {found: None} if found.startswith(AROUND) else {}
        if own:
            name = f"{AROUND}{', '.join(own)}"
            walk.know(function, name)
        return name


AROUND = "around "
"""How the token of a library's function begins that wraps one of the project's own."""


def _ours(node: ast.AST, scope: Scope) -> list[ast.expr]:
    """Return the decorators of databacked: where a result is kept counts elsewhere."""
    found = []
    for decorator in getattr(node, "decorator_list", []):
        chain = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
        value = scope.cells.get(chain[0], scope.space.get(chain[0])) if chain else None
        module = getattr(value, "__module__", None) or getattr(value, "__name__", "")
        if isinstance(module, str) and module.partition(".")[0] == "databacked":
            found.append(decorator)
    return found


def _globals_of(code: CodeType) -> set[str]:
    """Return the global names that a code object and those inside it use."""
    found: set[str] = set()
    waiting = [code]
    while waiting:
        one = waiting.pop()
        found |= {
            str(step.argval)
            for step in dis.get_instructions(one)
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
        }
        waiting += [inner for inner in one.co_consts if isinstance(inner, CodeType)]
    return found
