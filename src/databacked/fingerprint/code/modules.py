"""What a module counts by as a value; what it does to others when it is loaded."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from databacked.fingerprint.code.effects import OWN, effects
from databacked.fingerprint.code.names import Import
from databacked.fingerprint.code.normal_form import does_something
from databacked.fingerprint.code.ownership import files_of
from databacked.fingerprint.code.scope import Scope, absolute
from databacked.fingerprint.code.sources import source_of
from databacked.fingerprint.code.symbols import Symbol
from databacked.fingerprint.code.visit import Visit
from databacked.project.notebook import is_cell

_DEFINITIONS = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.AnnAssign,
)  # fmt: skip


def _is_definition(statement: ast.stmt) -> bool:
    """Whether a statement binds names of its module, and does nothing else."""
    if isinstance(statement, ast.Assign):
        return all(isinstance(one, ast.Name | ast.Tuple) for one in statement.targets)
    return isinstance(statement, _DEFINITIONS)


class Modules:
    """Looks into the modules that a walk meets, and the files that what it meets stands in."""

    def __init__(self, walk: Visit) -> None:
        self._walk = walk
        self._files: set[str] = set()

    def ref(self, module: ModuleType) -> str:
        """Return what a module as a value counts by, and take it in."""
        walk = self._walk
        if not walk.owner.owns(module):
            name = walk.library(module.__name__)
            walk.know(module, name)
            return name
        file = next(iter(files_of(module)), "")
        return walk.meet(
            module,
            walk.owner.symbol(file, "*"),
            lambda symbol: self._fill(symbol, module, file),
        )

    def _fill(self, symbol: Symbol, module: ModuleType, file: str) -> None:
        """Take in all that is bound in a module: whoever has it can reach it."""
        source = source_of(file)
        if source is None:
            return
        walk, scope = self._walk, Scope(vars(module), {}, source)
        for name, statements in sorted(source.names.bound.items()):
            if all(isinstance(one, ast.Import | ast.ImportFrom) for one in statements):
                continue
            if name in scope.space:
                symbol.add(f"{name}:", walk.reached(scope.space[name], symbol, scope, name))
        for statement in source.tree.body:
            if not _is_definition(statement) and does_something(statement):
                symbol.parts.append(source.form(statement))
                walk.take(symbol, source.piece(statement), scope)
        self.loaded(file, scope.space)

    def loaded(self, file: str, space: Mapping[str, Any]) -> None:
        """Take in what a file does to others when it is loaded; each file once."""
        walk = self._walk
        key = walk.owner.key(file)
        if key in self._files:
            return
        self._files.add(key)
        source = source_of(file)
        if source is None:
            return
        scope = Scope(space, {}, source)
        found = list(effects(source.tree, lambda name: self._whose(name, scope)))
        if found:
            symbol, _ = walk.symbols.new(walk.owner.symbol(file, "(effects)"))
            for statement, what in found:
                symbol.parts.append(source.form(statement))
                walk.take(symbol, source.piece(statement), scope)
                walk.symbols.say(
                    symbol,
                    f"{what} is set when this file is loaded; that counts, what others set "
                    "there does not",
                )
        if is_cell(file):
            return
        # What is imported and never named is imported for what it does.
        used = {use.chain[0] for piece in source.names.pieces.values() for use in piece.uses}
        for name, imports in source.names.imported.items():
            for one in imports if name not in used else ():
                module = self._imported(one, space) if one is not None else None
                for inner in files_of(module) if module is not None else ():
                    self.loaded(inner, vars(module))

    def _whose(self, name: str, scope: Scope) -> str:
        """Say what a name of a module stands for, if it is not the module's own value."""
        value = scope.space.get(name)
        if isinstance(value, ModuleType):
            return f"{OWN}{value.__name__}" if self._walk.owner.owns(value) else value.__name__
        if isinstance(value, type) and self._walk.owns(value):
            return f"{OWN}{value.__qualname__}"
        imported = (scope.source.names.imported.get(name) or [None]) if scope.source else [None]
        if imported[0] is not None and value is not None:
            module = self._imported(imported[0], scope.space)
            return "" if module is not None else imported[0].module
        return ""

    def _imported(self, one: Import, space: Mapping[str, Any]) -> ModuleType | None:
        name = absolute(one.module, space)
        if one.name is not None:
            inner = self._walk.owner.load(f"{name}.{one.name}", run=False)
            if inner is not None:
                return inner
        return self._walk.owner.load(name, run=False)
