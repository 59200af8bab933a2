"""Which names a piece of code takes from outside: one walk through a file, scope by scope.

Python's own rules: a name that a function binds anywhere is local in all of it, unless it says
``global`` or ``nonlocal``; comprehensions have a scope of their own, but for their first iterable;
functions inside a class do not see what the class binds; decorators, defaults and bases belong to
the scope around. Annotations of functions and their variables name nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from databacked.fingerprint.code.names import Chain, Import, Names, Piece, Use, Write, chain_of

COMPUTED = frozenset(
    {"getattr", "eval", "exec", "globals", "locals", "vars", "__import__", "import_module"}
)
"""Calls whose result names alone do not tell."""

_SAID = frozenset({"__subclasses__", "files", "open_text", "read_text", "open_binary"})
"""Further calls of which something is to be said."""

CHANGES = frozenset(
    {
        "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop",
        "popitem", "popleft", "remove", "reverse", "setdefault", "sort", "update", "write",
    }
)  # fmt: skip
"""Methods that change what they are called on."""


class _Scope:
    def __init__(
        self, kind: str, parent: _Scope | None, piece: Piece | None, name: str = ""
    ) -> None:
        self.kind, self.parent, self.piece = kind, parent, piece
        self.prefix: str = (parent.prefix if parent is not None else "") + name
        """What the qualified names of what stands in it begin with."""
        self.bound: dict[str, tuple[tuple[int, int], list[Import | None]]] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.loads: list[tuple[Use, tuple[int, int], bool, Piece | None]] = []
        self.writes: list[tuple[Chain, tuple[int, int], Any, Piece | None]] = []

    def bind(self, name: str, where: tuple[int, int], by: Import | None = None) -> None:
        if name in self.bound:
            self.bound[name][1].append(by)
        else:
            self.bound[name] = where, [by]


def names_of(tree: ast.Module) -> Names:
    """Return what each piece of a file takes from outside."""
    return _Walk(tree).found


class _Walk:
    def __init__(self, tree: ast.Module) -> None:
        self.found = Names({}, {}, {}, {}, {}, {})
        self._scopes: list[_Scope] = []
        self._visits: dict[type, Callable[[Any, _Scope, bool], None]] = {}
        self._module = self._open("module", None, None)
        self._statement: Piece | None = None
        self._after: tuple[int, int] | None = None
        """Where what is being bound is bound, if not where its name stands."""
        for statement in tree.body:
            self._statement = self.found.pieces[id(statement)] = Piece()
            before = set(self._module.bound)
            counts = {name: len(by) for name, (_, by) in self._module.bound.items()}
            self._visit(statement, self._module)
            for name, (_, by) in self._module.bound.items():
                if name not in before or len(by) > counts[name]:
                    self.found.bound.setdefault(name, []).append(statement)
        self._statement = None
        for scope in self._scopes:
            self._resolve(scope)
        self.found.imported = {name: by for name, (_, by) in self._module.bound.items() if any(by)}

    def _open(
        self, kind: str, parent: _Scope | None, node: ast.AST | None, name: str = ""
    ) -> _Scope:
        piece = None
        if node is not None:
            piece = self.found.pieces[id(node)] = Piece()
        scope = _Scope(kind, parent, piece, name)
        self._scopes.append(scope)
        return scope

    # Collecting

    def _visit(self, node: ast.AST, scope: _Scope, hint: bool = False) -> None:
        kind = type(node)
        method = self._visits.get(kind)
        if method is None:
            found = getattr(self, f"_{kind.__name__}", self._inside)
            method = self._visits[kind] = found
        method(node, scope, hint)

    def _inside(self, node: ast.AST, scope: _Scope, hint: bool = False) -> None:
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                if value._fields:  # no operator
                    self._visit(value, scope, hint)
            elif isinstance(value, list):
                for one in value:
                    if isinstance(one, ast.AST):
                        self._visit(one, scope, hint)

    def _all(self, nodes: Iterable[ast.AST | None], scope: _Scope, hint: bool = False) -> None:
        for node in nodes:
            if node is not None:
                self._visit(node, scope, hint)

    def _of(self, scope: _Scope) -> Iterator[Piece]:
        """Yield the pieces that stand around: that of a scope, and those above."""
        one: _Scope | None = scope
        while one is not None:
            if one.piece is not None:
                yield one.piece
            one = one.parent
        if self._statement is not None:
            yield self._statement

    def _load(
        self, chain: Chain, node: ast.AST, scope: _Scope, hint: bool, keys: Keys = ()
    ) -> None:
        scope.loads.append((Use(chain, keys), _at(node), hint, self._statement))
        for piece in self._of(scope):
            piece.spelled.update(chain[1:])

    def _Name(self, node: ast.Name, scope: _Scope, hint: bool) -> None:
        if isinstance(node.ctx, ast.Load):
            self._load((node.id,), node, scope, hint)
        else:
            self._bind(node.id, node, scope)

    def _bind(self, name: str, node: ast.AST, scope: _Scope, by: Import | None = None) -> None:
        if scope.kind == "around" and scope.parent is not None:
            scope = scope.parent
        where = self._after or _at(node)
        if name in scope.globals:
            self._module.bind(name, where, by)
            scope.writes.append(((name,), where, "name", self._statement))
        else:
            scope.bind(name, where, by)

    def _Attribute(self, node: ast.Attribute, scope: _Scope, hint: bool) -> None:
        chain = chain_of(node)
        if not isinstance(node.ctx, ast.Load):
            if chain is not None:
                scope.writes.append((chain, _at(node), "attribute", self._statement))
                self._load(chain[:-1], node, scope, hint)
            else:
                self._changes(node.value, node, scope)
                self._visit(node.value, scope, hint)
            for piece in self._of(scope):
                piece.stores.add(node.attr)
                piece.spelled.add(node.attr)
        elif chain is not None:
            self._load(chain, node, scope, hint)
        else:
            for piece in self._of(scope):
                piece.spelled.add(node.attr)
            self._visit(node.value, scope, hint)

    def _Subscript(self, node: ast.Subscript, scope: _Scope, hint: bool) -> None:
        chain = chain_of(node.value)
        if isinstance(node.ctx, ast.Load):
            of, keys = _keys_of(node)
            if (chain := chain_of(of)) is not None and keys:
                self._load(chain, node, scope, hint, keys)
                for piece in self._of(scope):
                    piece.spelled.update(one for one in keys if isinstance(one, str))
                return
        else:
            self._changes(node, node, scope)
        self._inside(node, scope, hint)

    def _changes(self, target: ast.expr, node: ast.AST, scope: _Scope) -> None:
        """Note that the content of something is changed: ``self.known[key] = value``."""
        while isinstance(target, ast.Subscript):
            target = target.value
        chain = chain_of(target)
        if chain is not None:
            scope.writes.append((chain, _at(node), "content", self._statement))
            for piece in self._of(scope):
                piece.stores.update(chain[1:])

    def _Call(self, node: ast.Call, scope: _Scope, hint: bool) -> None:
        chain = chain_of(node.func)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else (chain or ("",))[-1]
        if name in COMPUTED or name in _SAID:
            for piece in self._of(scope):
                piece.calls.append(node)
        if name in CHANGES and isinstance(node.func, ast.Attribute):
            self._changes(node.func.value, node, scope)
        self._inside(node, scope, hint)

    def _Constant(self, node: ast.Constant, scope: _Scope, hint: bool) -> None:
        if isinstance(node.value, str) and node.value.isidentifier():
            for piece in self._of(scope):
                piece.spelled.add(node.value)

    def _Assign(self, node: ast.Assign, scope: _Scope, hint: bool) -> None:
        self._visit(node.value, scope, hint)
        self._after = node.end_lineno or 0, node.end_col_offset or 0  # its value is seen before
        self._all(node.targets, scope, hint)
        self._after = None

    def _AnnAssign(self, node: ast.AnnAssign, scope: _Scope, hint: bool) -> None:
        if scope.kind in ("class", "module"):
            self._visit(node.annotation, scope, True)
        if node.value is not None:
            self._visit(node.value, scope, hint)
        if node.value is not None or isinstance(node.target, ast.Name):
            self._visit(node.target, scope, hint)

    def _AugAssign(self, node: ast.AugAssign, scope: _Scope, hint: bool) -> None:
        if isinstance(node.target, ast.Name):  # read, too
            self._load((node.target.id,), node.target, scope, hint)
            scope.writes.append(((node.target.id,), _at(node), "content", self._statement))
        self._inside(node, scope, hint)

    def _arg(self, node: ast.arg, scope: _Scope, hint: bool) -> None:
        self._bind(node.arg, node, scope)

    def _function(self, node: Any, scope: _Scope, hint: bool) -> None:
        arguments = node.args
        defaults = [*arguments.defaults, *arguments.kw_defaults]
        self._all(defaults, scope, hint)  # of the function itself, the values count
        name, decorators = getattr(node, "name", "<lambda>"), getattr(node, "decorator_list", ())
        line = min([node.lineno, *(one.lineno for one in decorators)])
        self.found.functions.setdefault((line, name), []).append(node)
        inner = self._open("function", scope, node, f"{name}.<locals>.")
        for decorator in decorators:
            # Each is a piece of its own, as not all of them count; it is seen from around.
            self._visit(decorator, self._open("around", scope, decorator), hint)
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        self._all([*every, arguments.vararg, arguments.kwarg], inner)
        body = node.body if isinstance(node.body, list) else [node.body]
        self._all(body, inner, hint)

    def _FunctionDef(self, node: ast.FunctionDef, scope: _Scope, hint: bool) -> None:
        self._bind(node.name, node, scope)
        self._function(node, scope, hint)

    _AsyncFunctionDef = _FunctionDef

    def _Lambda(self, node: ast.Lambda, scope: _Scope, hint: bool) -> None:
        self._function(node, scope, hint)

    def _ClassDef(self, node: ast.ClassDef, scope: _Scope, hint: bool) -> None:
        self._bind(node.name, node, scope)
        outside = [*node.decorator_list, *node.bases, *(one.value for one in node.keywords)]
        self.found.classes.setdefault(scope.prefix + node.name, []).append(node)
        inner = self._open("class", scope, node, f"{node.name}.")
        outer = _Scope("around", scope, inner.piece)
        self._scopes.append(outer)
        self._all(outside, outer, hint)
        self._all(node.body, inner, hint)

    def _comprehension(self, node: Any, scope: _Scope, hint: bool) -> None:
        first, *others = node.generators
        self._visit(first.iter, scope, hint)
        inner = self._open("comprehension", scope, None)
        self._visit(first.target, inner, hint)
        self._all(first.ifs, inner, hint)
        for one in others:
            self._all([one.target, one.iter, *one.ifs], inner, hint)
        parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        self._all(parts, inner, hint)

    _ListComp = _SetComp = _GeneratorExp = _DictComp = _comprehension

    def _NamedExpr(self, node: ast.NamedExpr, scope: _Scope, hint: bool) -> None:
        self._visit(node.value, scope, hint)
        home = scope
        while home.kind == "comprehension" and home.parent is not None:
            home = home.parent
        self._bind(node.target.id, node, home)

    def _Import(self, node: ast.Import, scope: _Scope, hint: bool) -> None:
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            one = Import(alias.name, None, bound, whole=alias.asname is not None)
            self._import(one, node, scope)

    def _ImportFrom(self, node: ast.ImportFrom, scope: _Scope, hint: bool) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            one = Import(module, alias.name, alias.asname or alias.name, whole=True)
            self._import(one, node, scope)

    def _import(self, one: Import, node: ast.stmt, scope: _Scope) -> None:
        if one.bound in scope.globals:
            self.found.late[one.bound] = one.module if one.whole else one.bound
        self._bind(one.bound, node, scope, one)
        if scope.kind != "module":
            for piece in self._of(scope):
                piece.imports[one] = None

    def _Global(self, node: ast.Global, scope: _Scope, hint: bool) -> None:
        scope.globals.update(node.names)

    def _Nonlocal(self, node: ast.Nonlocal, scope: _Scope, hint: bool) -> None:
        scope.nonlocals.update(node.names)

    def _ExceptHandler(self, node: ast.ExceptHandler, scope: _Scope, hint: bool) -> None:
        if node.name:
            self._bind(node.name, node, scope)
        self._inside(node, scope, hint)

    def _MatchAs(self, node: Any, scope: _Scope, hint: bool) -> None:
        for name in (getattr(node, "name", None), getattr(node, "rest", None)):
            if name:
                self._bind(name, node, scope)
        self._inside(node, scope, hint)

    _MatchStar = _MatchMapping = _MatchAs

    # Resolving

    def _resolve(self, scope: _Scope) -> None:
        for use, where, hint, statement in scope.loads:
            chain = use.chain
            home, origin = self._home(chain[0], scope, where)
            above = _is_above(scope)
            for piece in self._reached(scope, home, statement):
                piece.uses[use] = None
                # Of a class around the members count there; of a function around, what a
                # decorator got from it is seen in what it made.
                if hint or home.kind == "class" or (above and home is not self._module):
                    piece.hints.add(chain)
            if origin is not None:
                own = Use(chain, use.keys, origin)
                for piece in self._of_local(home, statement):
                    piece.uses[own] = None
                    piece.used_imports.add(origin)
        for chain, where, kind, statement in scope.writes:
            home, origin = self._home(chain[0], scope, where)
            if kind == "name":
                home = self._module
            if origin is None:
                for piece in self._reached(scope, home, statement):
                    piece.writes.add(Write(chain, kind))

    def _home(
        self, name: str, scope: _Scope, where: tuple[int, int]
    ) -> tuple[_Scope, Import | None]:
        """Return the scope that binds a name, and the import that does so, if one does alone."""
        one: _Scope | None = scope
        first = True
        while one is not None and one is not self._module:
            visible = one.kind != "around" and (first or one.kind != "class")
            if one.kind != "around":
                first = False
            if visible and name in one.globals:
                return self._module, None
            if visible and name in one.bound and name not in one.nonlocals:
                since, by = one.bound[name]
                if one.kind != "class" or since < where:
                    only = by[0] if one.kind != "class" and len(set(by)) == 1 else None
                    return one, only
            one = one.parent
        return self._module, None

    def _reached(self, scope: _Scope, home: _Scope, statement: Piece | None) -> Iterator[Piece]:
        """Yield the pieces between a load and what binds its name: they take it from outside."""
        one: _Scope | None = scope
        while one is not None and one is not home:
            if one.piece is not None:
                yield one.piece
            one = one.parent
        if home is self._module and statement is not None:
            yield statement

    def _of_local(self, home: _Scope, statement: Piece | None) -> Iterator[Piece]:
        """Yield the pieces that hold the import of a name."""
        one: _Scope | None = home
        while one is not None:
            if one.piece is not None:
                yield one.piece
            one = one.parent
        if statement is not None:
            yield statement


Keys: TypeAlias = tuple[str | int, ...]


def _keys_of(node: ast.expr) -> tuple[ast.expr, Keys]:
    """Return what is looked into, and the keys by which, where they are written out."""
    keys: list[str | int] = []
    while isinstance(node, ast.Subscript):
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if not isinstance(key, str | int) or isinstance(key, bool):
            return node, ()
        keys.append(key)
        node = node.value
    return node, tuple(reversed(keys))


def _is_above(scope: _Scope) -> bool:
    """Whether something stands in a decorator."""
    one: _Scope | None = scope
    while one is not None and one.kind == "comprehension":
        one = one.parent
    return one is not None and one.kind == "around"


def _at(node: Any) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
