"""What the names of a piece of code stand for: in its closure, its module, what it imports."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Sequence
from types import FunctionType, ModuleType
from typing import Any

from databacked.fingerprint.code.functions import AROUND
from databacked.fingerprint.code.names import Import, Piece, Use, chain_of
from databacked.fingerprint.code.ownership import files_of
from databacked.fingerprint.code.scope import Scope, absolute, scope_of, unwrapped
from databacked.fingerprint.code.symbols import Symbol, cut
from databacked.fingerprint.code.visit import Visit


class Uses:
    """Finds what names stand for, and takes it in."""

    def __init__(self, walk: Visit) -> None:
        self._walk = walk

    def token(self, symbol: Symbol, use: Use, piece: Piece, scope: Scope) -> str | None:
        """Return what a use of a name counts by; None for what Python itself brings."""
        walk = self._walk
        name, *attributes = use.chain
        names = scope.source.names if scope.source is not None else None
        if use.origin is not None:
            return self._of_import(symbol, use, scope)
        if name in scope.cells:
            value = unwrapped(scope.cells[name])
            if isinstance(value, ModuleType) and attributes:
                return self.reached(value, symbol, scope, name, attributes, use.keys)
            return walk.named(value, f"{symbol.name}({name})")
        if names is not None and name in names.late:
            module = walk.owner.load(names.late[name])
            if module is None:
                return walk.library(names.late[name])
            return self.reached(module, symbol, scope, name, attributes, use.keys)
        if name in scope.space:
            if name == "__file__":
                walk.symbols.say(
                    symbol, "__file__: files beside the code are not seen; name them in reads="
                )
            taken = self._taken(name, scope)
            if taken is not None and attributes[:1] != ["modules"]:
                return taken
            return self.reached(scope.space[name], symbol, scope, name, attributes, use.keys)
        bound = names.bound if names is not None else {}
        # What the module binds on another system, or another Python, may be missing here.
        if not (hasattr(builtins, name) or use.chain in piece.hints or name in bound):
            walk.symbols.say(symbol, f"the name {name!r} is not defined")
        return None

    def _taken(self, name: str, scope: Scope) -> str | None:
        """Return a library's name as it is imported, wherever the library keeps it."""
        imports = scope.source.names.imported.get(name) if scope.source is not None else None
        if imports is None or len(imports) != 1 or imports[0] is None:
            return None
        one, value = imports[0], scope.space[name]
        if one.name is None or isinstance(value, ModuleType):
            return None
        module = absolute(one.module, scope.space)
        loaded = sys.modules.get(module)
        if loaded is None or self._walk.owner.owns(loaded):
            return None
        if getattr(loaded, one.name, None) is not value:
            return None
        self._walk.library(module)
        if isinstance(value, FunctionType) and (found := self._walk.ref(value)).startswith(AROUND):
            return found
        return f"{module.partition('.')[0]}.{one.name}"

    def reached(
        self,
        value: Any,
        symbol: Symbol,
        scope: Scope,
        name: str,
        attributes: Sequence[str] = (),
        keys: Sequence[str | int] = (),
    ) -> str:
        """Return what a chain of names stands for, from its first value on."""
        walk, where = self._walk, scope.file
        rest = list(attributes)
        while rest:
            value = unwrapped(value)
            attribute = rest[0]
            if isinstance(value, FunctionType) and walk.changes.hangs(value, attribute):
                at = f"{walk.symbols.name_of(walk.ref(value))}.{attribute}"
                return walk.named(vars(value)[attribute], at)
            if not isinstance(value, ModuleType):
                break
            if value is sys and attribute == "modules":
                walk.symbols.say(
                    symbol, "sys.modules: which module it is is known only when it runs"
                )
            if not walk.owner.owns(value):
                return walk.library(value.__name__)
            where, name = next(iter(files_of(value)), ""), attribute
            try:
                inner = getattr(value, attribute)
            except AttributeError:
                # A part of the package that nobody has loaded so far.
                inner = walk.owner.load(f"{value.__name__}.{attribute}")
                if inner is None:
                    walk.symbols.say(symbol, f"{attribute!r} is not in {value.__name__}")
                    return "missing"
            value = inner
            del rest[0]
        # A constant imported by name is known by the module that made it, where that can be told.
        file, name = self._origin(value, name, scope, where)
        further = ""
        if (rest or keys) and walk.changes.has_parts(file, name):
            value, further = self._part(value, rest, keys)
        at = walk.owner.symbol(file, name + further)
        walk.stands(at, file, name)
        return walk.ref(value, at)

    def _part(
        self, value: Any, attributes: Sequence[str], keys: Sequence[str | int]
    ) -> tuple[Any, str]:
        """Return the part of a value that alone is named, and its name after the value's."""
        value, further = unwrapped(value), ""
        for step, is_key in [*((one, False) for one in attributes), *((one, True) for one in keys)]:
            if isinstance(value, FunctionType | type | ModuleType):
                break
            found = self._walk.changes.part(value, step, is_key=is_key)
            if found is None:
                break
            value = unwrapped(found[0])
            further += f"[{step!r}]" if is_key else f".{step}"
        return value, further

    def _origin(self, value: Any, name: str, scope: Scope, where: str) -> tuple[str, str]:
        """Return file and name of a constant that may have been imported under another name."""
        if where != scope.file or isinstance(value, FunctionType | type | ModuleType):
            return where, name
        imports = scope.source.names.imported.get(name, []) if scope.source is not None else []
        for one in imports:
            if one is None or one.name is None:
                continue
            module = self._walk.owner.load(absolute(one.module, scope.space), run=False)
            file = getattr(module, "__file__", None)
            # Another one was given this name there since.
            if file and getattr(module, one.name, value) is value:
                return file, one.name
        return where, name

    # Imports inside of functions

    def _of_import(self, symbol: Symbol, use: Use, scope: Scope) -> str | None:
        """Return what is used of an import.

        A library's name counts where it is written: the same before it is loaded and afterwards.
        """
        one, walk = use.origin, self._walk
        assert one is not None
        attributes = use.chain[1:]
        name = absolute(one.module, scope.space)
        if one.name is not None:
            module = walk.owner.load(name)
            if module is None:
                return walk.library(name, one.name)
            inner = scope_of(module)
            if hasattr(module, one.name):
                steps = [one.name, *attributes]
                return self.reached(module, symbol, inner, one.name, steps, use.keys)
            part = walk.owner.load(f"{name}.{one.name}")
            if part is None:
                walk.symbols.say(symbol, f"{one.name!r} is not in {name}")
                return "missing"
            return self.reached(part, symbol, inner, one.name, attributes, use.keys)
        start = name if one.whole else name.partition(".")[0]
        walk.owner.load(name)
        module = walk.owner.load(start)
        if module is None:
            return walk.library(start)
        return self.reached(module, symbol, scope_of(module), one.bound, attributes, use.keys)

    def imported(self, symbol: Symbol, one: Import, used: bool, scope: Scope) -> None:
        """Take in an import inside a function: one that nothing names is there for its effect."""
        walk, name = self._walk, absolute(one.module, scope.space)
        if not one.module.startswith("."):
            walk.library_modules |= {name} if one.name is None else {name, f"{name}.{one.name}"}
        if one.name == "*" or used:
            return
        module = walk.owner.load(name if one.name is None else f"{name}.{one.name}")
        module = module or walk.owner.load(name)
        if module is None:
            walk.library(name)
        else:
            symbol.add("import:", walk.ref(module))

    # Calls

    def call(self, symbol: Symbol, call: ast.Call, scope: Scope) -> None:
        """Take in modules that are imported by a call; say what is known only when it runs."""
        walk = self._walk
        chain = chain_of(call.func) or ("",)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else chain[-1]
        if name == "__subclasses__":
            walk.symbols.say(symbol, f"{_text(call)}: which there are is known only when it runs")
            return
        if name in ("files", "open_text", "read_text", "open_binary"):
            if _is_resource(call, scope):
                walk.symbols.say(
                    symbol, f"{_text(call)}: a file that does not count; name it in reads="
                )
            return
        argument = call.args[1:2] if name == "getattr" else call.args[:1]
        written_out = bool(argument) and isinstance(argument[0], ast.Constant)
        if name in ("getattr", "__import__", "import_module") and written_out:
            text = str(argument[0].value)  # type: ignore[attr-defined]
            module = None if name == "getattr" else walk.owner.load(absolute(text, scope.space))
            if module is not None:
                symbol.add("import:", walk.ref(module))
            return
        walk.symbols.say(symbol, f"{name}(…) with what is known only when it runs")


def _text(call: ast.Call) -> str:
    return cut(ast.unparse(call))


def _is_resource(call: ast.Call, scope: Scope) -> bool:
    node: ast.AST = call
    while isinstance(node, ast.Call | ast.Attribute):
        node = node.func if isinstance(node, ast.Call) else node.value
    value = scope.space.get(node.id) if isinstance(node, ast.Name) else None
    module = (
        getattr(value, "__name__", "")
        if isinstance(value, ModuleType)
        else (getattr(value, "__module__", "") or "")
    )
    return str(module).startswith("importlib")
