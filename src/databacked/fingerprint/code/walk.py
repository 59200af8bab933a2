"""One walk from a function through all that it reaches: a list of what is still to visit.

What is met gets a number at once, and is looked into later: code first, then constants, so that it
is known by then what code changes while it runs.
"""

from __future__ import annotations

import ast
import builtins
import dis
import importlib.util
import re
import reprlib
import sys
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from databacked.callables import closure_of, file_of, written
from databacked.fingerprint.code.effects import OWN, effects
from databacked.fingerprint.code.members import (
    PYTHONS_OWN,
    defaults_of,
    file_of_class,
    functions_in,
    functions_of,
    is_generated,
    stands_in,
    statement_of,
    stored_later,
)
from databacked.fingerprint.code.names import Import, Piece, Use, Write, chain_of, chains, together
from databacked.fingerprint.code.ownership import Ownership, files_of
from databacked.fingerprint.code.sources import Source, node_of, source_of, told
from databacked.fingerprint.code.state import COPIED, MARK, Constant, first_seen
from databacked.fingerprint.hashes import hash_texts
from databacked.project.notebook import is_cell

SHOWN = 80
"""Characters of a constant that a reason shows."""

_MARKED = re.compile(f"{MARK}(\\d+){MARK}")

_NUMBER = re.compile(r"#\d+$")
"""What tells apart symbols of one name."""

_COPIED = COPIED | {"__dict__", "__signature__", "__isabstractmethod__"}


@dataclass
class Symbol:
    """Something of the project that is reached."""

    name: str
    """File, and name in it."""

    parts: list[str] = field(default_factory=list)
    """What it counts by; numbers of other symbols stand between marks."""

    shown: str = ""
    """A constant as a short text."""


@dataclass(frozen=True)
class Scope:
    """The names that a piece of code can see: its closure, then its module."""

    space: Mapping[str, Any]
    cells: Mapping[str, Any]
    source: Source | None

    @property
    def file(self) -> str:
        """The file that the names of the module stand in."""
        return str(self.space.get("__file__") or "<notebook>")


class Walk:
    """Visits what a function reaches."""

    def __init__(self, owner: Ownership, first: Any) -> None:
        self.owner = owner
        self.symbols: list[Symbol] = []
        self.unfollowed: dict[str, None] = {}
        self.libraries: set[str] = set()
        self.modules: set[str] = set()
        self.paths: dict[str, Path] = {}
        self._first = unwrapped(first)
        self._known: dict[int, str] = {}
        self._constants: dict[str, list[tuple[Any, str]]] = {}
        self._alive: list[Any] = []
        self._names: dict[str, int] = {}
        self._code: deque[Callable[[], None]] = deque()
        self._values: deque[Callable[[], None]] = deque()
        self._files: set[str] = set()
        self._changed: set[tuple[int, str]] = set()
        """What own code changes when it runs: objects, with the attribute or ""."""
        self._spelled: set[str] = set()
        """Names by which methods may be called."""
        self._later: dict[type, set[str]] = {}
        self._places: dict[str, tuple[str, str]] = {}
        """File and name of each constant."""

    def run(self, function: Any) -> None:
        """Visit a function, and all that it reaches."""
        self.ref(function)
        while self._code or self._values:
            (self._code or self._values).popleft()()

    def digests(self) -> dict[str, str]:
        """Return the digest of each symbol by its name."""
        names = [one.name for one in self.symbols]
        return {one.name: _hash(one, names) for one in self.symbols}

    def nameless(self) -> list[str]:
        """Return the digests in the order in which symbols are met, whatever they are called."""
        numbers = [f"#{number}" for number in range(len(self.symbols))]
        return [_hash(one, numbers) for one in self.symbols]

    # What is met

    def _new(self, name: str) -> tuple[Symbol, str]:
        count = self._names[name] = self._names.get(name, 0) + 1
        symbol = Symbol(name if count == 1 else f"{name}#{count}")
        self.symbols.append(symbol)
        return symbol, f"{MARK}{len(self.symbols) - 1}{MARK}"

    def _meet(self, value: Any, name: str, fill: Callable[[Symbol], None]) -> str:
        symbol, mark = self._new(name)
        self._know(value, mark)
        self._code.append(lambda: fill(symbol))
        return mark

    def _know(self, value: Any, mark: str) -> None:
        self._known[id(value)] = mark
        self._alive.append(value)

    def ref(self, value: Any, at: str = "") -> str:
        """Return what an object counts by, and take it in."""
        value = unwrapped(value)
        known = self._known.get(id(value))
        if known is not None:
            return known
        if isinstance(value, MethodType):
            return f"{self.ref(value.__func__)} of {self.ref(value.__self__, at)}"
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, ModuleType):
            return self._module(value)
        wrapped = getattr(value, "__wrapped__", None) if _is_functools(value) else None
        if wrapped is not None:
            return self.ref(wrapped)
        return self._constant(value, at)

    def library(self, module: str, name: str = "") -> str:
        """Take in something of a library; return its package with its name."""
        top = module.partition(".")[0]
        if top and top not in sys.stdlib_module_names and top != "__main__":
            self.libraries.add(top)
            self.modules.add(module)
        return f"{top}.{name}" if name else top

    def _say(self, symbol: Symbol, text: str) -> None:
        self.unfollowed.setdefault(f"{_NUMBER.sub('', symbol.name)}: {text}")

    # Functions

    def _function(self, function: FunctionType) -> str:
        code = _as_first_seen(function).__code__
        if not self.owner.owns_file(code.co_filename, function.__module__ or ""):
            return self._wrapping(function)
        name = self.owner.symbol(code.co_filename, function.__qualname__)
        return self._meet(
            function,
            name,
            lambda symbol: self._fill_function(symbol, _as_first_seen(function)),
        )

    def _fill_function(self, symbol: Symbol, function: FunctionType) -> None:
        code = function.__code__
        found = node_of(function)
        scope = Scope(function.__globals__, closure_of(function), found[0] if found else None)
        if found is None:
            self._say(symbol, "no source; its bytecode counts, which differs between Pythons")
            symbol.parts.append(hash_texts([code.co_code.hex(), repr(told(code))]))
            piece = Piece({Use((name,)): None for name in _globals_of(code)})
        else:
            source, node = found
            skipped = self._ours(node, scope)
            named = function is not self._first
            symbol.parts.append(source.form(node, without=tuple(skipped), named=named))
            decorators = getattr(node, "decorator_list", ())
            counted = [node, *(one for one in decorators if one not in skipped)]
            piece = together([source.piece(one) for one in counted])
            self._file(code.co_filename, function.__globals__)
        self._take(symbol, piece, scope)
        for parameter, default in defaults_of(function):
            symbol.parts.append(f"{parameter}={self._token(symbol, f'({parameter})', default)}")
        self._attributes(symbol, function)

    def _attributes(self, symbol: Symbol, function: FunctionType) -> None:
        """Take in what hangs on a function: what a decorator left there, what somebody set."""
        cells = [*closure_of(function).values()]
        for name, value in sorted(vars(function).items()):
            if name in _COPIED or any(value is one for one in cells):
                continue
            if self._is_changed(function, name):
                continue
            symbol.parts.append(f".{name}={self._token(symbol, f'.{name}', value)}")

    def _named(self, value: Any, at: str) -> str:
        """Return what a value counts by that has a name in code, and may have been met by now."""
        value = unwrapped(value)
        if isinstance(value, FunctionType | type | ModuleType | MethodType):
            return self.ref(value, at)
        return self._known.get(id(value)) or self._constant(value, at)

    def _wrapping(self, function: FunctionType) -> str:
        """Return the name of another package's function, and take in what it wraps of ours."""
        module = function.__module__ or ""
        name = self.library(module, function.__qualname__)
        self._know(function, name)
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
                if below is not one and self._owns(below):
                    own[key + self.ref(below)] = None
            elif self._owns(one):
                if not getattr(one, "__qualname__", "").startswith("__create_fn__."):
                    own[key + self.ref(one)] = None
            elif isinstance(one, FunctionType) and id(one) not in self._known:
                found = self._wrapping(one)
                own |= {found: None} if found.startswith("around ") else {}
        if own:
            name = f"around {', '.join(own)}"
            self._known[id(function)] = name
        return name

    def _owns(self, value: Any) -> bool:
        return self.owner.owns_file(file_of(value), getattr(value, "__module__", None) or "")

    def _ours(self, node: ast.AST, scope: Scope) -> list[ast.expr]:
        """Return the decorators of databacked: where a result is kept counts elsewhere."""
        found = []
        for decorator in getattr(node, "decorator_list", []):
            chain = chain_of(_called(decorator))
            value = scope.cells.get(chain[0], scope.space.get(chain[0])) if chain else None
            module = getattr(value, "__module__", None) or getattr(value, "__name__", "")
            if isinstance(module, str) and module.partition(".")[0] == "databacked":
                found.append(decorator)
        return found

    # Classes

    def _class(self, kind: type) -> str:
        file = file_of_class(kind)
        if kind.__module__ == "builtins" or not self.owner.owns_file(file, kind.__module__):
            name = self.library(kind.__module__, kind.__qualname__)
            self._know(kind, name)
            return name
        name = self.owner.symbol(file, kind.__qualname__)
        return self._meet(kind, name, lambda symbol: self._fill_class(symbol, kind, file))

    def _fill_class(self, symbol: Symbol, kind: type, file: str) -> None:
        symbol.parts += [self.ref(base) for base in kind.__bases__ if base is not object]
        if type(kind) is not type:
            symbol.parts.append(f"metaclass={self.ref(type(kind))}")
        found = statement_of(kind, file)
        space = vars(sys.modules[kind.__module__]) if kind.__module__ in sys.modules else {}
        if found is not None:
            source, node = found
            symbol.parts.append(source.form(node))
            cells: dict[str, Any] = {}
            for function in functions_of(kind):
                cells.update(closure_of(function) if stands_in(function, kind, file) else {})
            cells.pop("__class__", None)
            self._take(symbol, source.piece(node), Scope(space, cells, source))
            self._file(file, space)
        for name, member in sorted(vars(kind).items()):
            self._member(symbol, kind, file, name, member, found is not None)

    def _member(
        self, symbol: Symbol, kind: type, file: str, name: str, member: Any, has_text: bool
    ) -> None:
        functions = list(functions_in(member))
        for function in functions:
            if is_generated(function, kind):
                continue
            if not self._owns(function):
                found = self.ref(function)
                # Later versions of Python give classes more of their own methods.
                if not name.startswith("__") or found.startswith("around "):
                    symbol.parts.append(f"{name}={found}")
            elif has_text and stands_in(function, kind, file):
                node_of(function)  # raises if the file was changed since
                for free, value in closure_of(function).items():
                    if free != "__class__":
                        symbol.parts.append(f"{free}={self._token(symbol, f'({free})', value)}")
                self._attributes(symbol, function)
            else:
                symbol.parts.append(f"{name}={self.ref(function)}")
        if name == "__dataclass_fields__" and not has_text:
            made = {one.name: one.default_factory for one in member.values()}
            symbol.parts.append(f"{name}={self._token(symbol, f'.{name}', made)}")
        if functions or (name in PYTHONS_OWN and not (name in _FIELDS and not has_text)):
            return
        if hasattr(type(member), "__get__") and _is_slot(member):
            return

        def fill() -> None:
            token = self._token(symbol, f".{name}", member)
            if self._is_changed(kind, name) or name in self.stored_later(kind):
                token = first_seen(kind, token, name)
            symbol.parts.append(f"{name}={token}")

        # What is set from outside, or computed, stands nowhere in the class's own text.
        self._values.append(fill)

    # Modules

    def _module(self, module: ModuleType) -> str:
        if not self.owner.owns(module):
            name = self.library(module.__name__)
            self._know(module, name)
            return name
        file = next(iter(files_of(module)), "")
        name = self.owner.symbol(file, "*")
        return self._meet(module, name, lambda symbol: self._fill_module(symbol, module, file))

    def _fill_module(self, symbol: Symbol, module: ModuleType, file: str) -> None:
        """A module as a value: whoever has it can reach all that is bound in it."""
        source = source_of(file)
        if source is None:
            return
        scope = Scope(vars(module), {}, source)
        for name, statements in sorted(source.names.bound.items()):
            if all(isinstance(one, ast.Import | ast.ImportFrom) for one in statements):
                continue
            if name in scope.space:
                mark = self._reached(scope.space[name], (), symbol, scope, name)
                symbol.parts.append(f"{name}:{mark}")
        for statement in source.tree.body:
            if not isinstance(statement, _DEFINITIONS):
                symbol.parts.append(source.form(statement))
                self._take(symbol, source.piece(statement), scope)
        self._file(file, scope.space)

    def _file(self, file: str, space: Mapping[str, Any]) -> None:
        """Take in what a file does to others when it is loaded."""
        key = self.owner.key(file) if not is_cell(file) else file
        if key in self._files:
            return
        self._files.add(key)
        source = source_of(file)
        if source is None:
            return
        scope = Scope(space, {}, source)
        found = list(effects(source.tree, lambda name: self._whose(name, scope)))
        if found:
            symbol, _ = self._new(self.owner.symbol(file, "(effects)"))
            for statement, what in found:
                symbol.parts.append(source.form(statement))
                self._take(symbol, source.piece(statement), scope)
                self._say(
                    symbol,
                    f"{what} is set when this file is loaded; that counts, what others set "
                    "there does not",
                )
        used = {use.chain[0] for piece in source.names.pieces.values() for use in piece.uses}
        for name, imports in source.names.imported.items():
            for one in imports:
                if one is not None and name not in used and not is_cell(file):
                    module = self._imported_module(one, space)
                    if module is not None:
                        for inner in files_of(module):
                            self._file(inner, vars(module))

    def _whose(self, name: str, scope: Scope) -> str:
        """Say what a name of a module stands for, if it is not the module's own value."""
        value = scope.space.get(name)
        if isinstance(value, ModuleType):
            return f"{OWN}{value.__name__}" if self.owner.owns(value) else value.__name__
        if isinstance(value, type) and self._owns(value):
            return f"{OWN}{value.__qualname__}"
        imported = (scope.source.names.imported.get(name) or [None]) if scope.source else [None]
        if imported[0] is not None and value is not None:
            module = self._imported_module(imported[0], scope.space)
            return "" if module is not None else imported[0].module
        return ""

    def _imported_module(self, one: Import, space: Mapping[str, Any]) -> ModuleType | None:
        name = absolute(one.module, space)
        if one.name is not None:
            inner = self.owner.load(f"{name}.{one.name}", run=False)
            if inner is not None:
                return inner
        return self.owner.load(name, run=False)

    # Constants

    def _constant(self, value: Any, at: str) -> str:
        kind = type(value)
        if kind.__module__.partition(".")[0] not in ("builtins", "__main__"):
            self.library(kind.__module__)
        if _is_c(value):
            module = getattr(value, "__module__", None) or ""
            name = self.library(module, getattr(value, "__qualname__", kind.__qualname__))
            file = getattr(sys.modules.get(module), "__file__", None) or ""
            if module and file and self.owner.owns_file(file, module):
                self.unfollowed.setdefault(f"{name}: compiled code of the project")
            return name
        for other, mark in self._constants.get(at, ()):
            if other is value or (type(other) is kind and kind in _PLAIN and other == value):
                return mark
        symbol, mark = self._new(at)
        self._constants.setdefault(at, []).append((value, mark))
        if kind not in _PLAIN:
            self._know(value, mark)
        self._values.append(lambda: self._fill_constant(symbol, value, at))
        return mark

    def _fill_constant(self, symbol: Symbol, value: Any, at: str) -> None:
        looked = Constant(self, symbol.name)
        token = looked.told(value)
        symbol.shown = self._short(value)
        if self._is_changed(value, ""):
            # What runs fill: what it was when this process first looked, else nothing is a hit.
            token = first_seen(value, token)
            symbol.shown = ""
        symbol.parts.append(token)
        if looked.untold:
            self._made_by(symbol, at, looked.untold)

    def _made_by(self, symbol: Symbol, at: str, untold: Sequence[str]) -> None:
        """Of what cannot be looked into, the statement counts that made it."""
        file, name = self._places.get(at, ("", ""))
        source = source_of(file) if file else None
        statements = source.names.bound.get(name, []) if source is not None else []
        if source is None or not statements:
            for text in untold:
                self._say(symbol, text)
            return
        module = next(
            (one for one in list(sys.modules.values()) if file in files_of_any(one)), None
        )
        scope = Scope(vars(module) if module is not None else {}, {}, source)
        for statement in statements:
            symbol.parts.append(source.form(statement))
            self._take(symbol, source.piece(statement), scope)

    def _token(self, symbol: Symbol, what: str, value: Any) -> str:
        """Return what a value counts by that is no constant of a module."""
        value = unwrapped(value)
        if isinstance(value, FunctionType | type | ModuleType | MethodType):
            return self.ref(value, symbol.name + what)
        looked = Constant(self, symbol.name + what)
        token = looked.told(value)
        for text in looked.untold:
            self._say(symbol, f"{what.lstrip('.')}: {text}")
        return token

    def stored_later(self, kind: type) -> set[str]:
        """Return the attributes that objects of a class may be given while a task runs."""
        found = self._later.get(kind)
        if found is None:
            found = self._later[kind] = stored_later(kind, self._spelled)
        return found

    def _is_changed(self, value: Any, attribute: str) -> bool:
        return (id(value), attribute) in self._changed

    def path(self, value: PurePath, at: str) -> str:
        """Take in a path among the constants: a file counts by its name here and its content."""
        path = Path(value)
        if self._holds_results(path):
            self.unfollowed.setdefault(
                f"{at}: a folder that holds results; what lies in it does not count"
            )
        elif self._holds_code(path):
            pass  # the code in it counts as code
        elif path.exists():
            self.paths[at] = path
            return hash_texts(["path", path.name])
        return hash_texts(["path", self.below_root(path.as_posix())])

    def _holds_results(self, path: Path) -> bool:
        """Whether a folder changes with every run: the project itself, or a place in it."""
        if not path.is_dir():
            return False
        real = self.owner.real(str(path))
        return (self.owner.root + "/").startswith(real + "/") or (path / ".databacked").is_dir()

    def _holds_code(self, path: Path) -> bool:
        """Whether a folder is one of own code: a constant such as ``Path(__file__).parent``."""
        return path.is_dir() and any(
            self.owner.owns_file(str(one), "") for one in path.glob("*.py")
        )

    def below_root(self, text: str) -> str:
        """Return a text without the place where the project lies."""
        return text.replace(self.owner.root, "<root>")

    def _short(self, value: Any) -> str:
        """Return a constant as a reason shows it; "" for what has code of its own to say so."""
        if type(value) not in _SHOWN:
            return ""
        text = self.below_root(" ".join(_repr.repr(value).split()))
        return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"

    # Names

    def _take(self, symbol: Symbol, piece: Piece, scope: Scope) -> None:
        """Take in all that a piece of code takes from outside."""
        for use in chains(piece):
            found = self._use(symbol, use, piece, scope)
            if found is not None:
                symbol.parts.append(f"{'.'.join(use.chain)}:{found}")
        for one in piece.imports:
            self._import(symbol, one, one in piece.used_imports, scope)
        for write in piece.writes:
            self._write(write, scope)
        self._spelled |= piece.spelled
        for call in piece.calls:
            self._call(symbol, call, scope)

    def _use(self, symbol: Symbol, use: Use, piece: Piece, scope: Scope) -> str | None:
        name, *attributes = use.chain
        late = scope.source.names.late if scope.source is not None else {}
        if use.origin is not None:
            return self._of_import(symbol, use.origin, attributes, scope)
        if name in scope.cells:
            return self._closed(scope.cells[name], attributes, symbol, scope, name)
        if name in late:
            module = self.owner.load(late[name])
            if module is None:
                return self.library(late[name])
            return self._reached(module, attributes, symbol, scope, name)
        if name in scope.space:
            if name == "__file__":
                self._say(
                    symbol, "__file__: files beside the code are not seen; name them in reads="
                )
            taken = self._taken(name, scope)
            if taken is not None and attributes[:1] != ["modules"]:
                return taken
            return self._reached(scope.space[name], attributes, symbol, scope, name)
        bound = scope.source.names.bound if scope.source is not None else {}
        # What the module binds on another system, or another Python, may be missing here.
        if not (hasattr(builtins, name) or use.chain in piece.hints or name in bound):
            self._say(symbol, f"the name {name!r} is not defined")
        return None

    def _taken(self, name: str, scope: Scope) -> str | None:
        """Return a library's name as it is imported, wherever the library keeps it."""
        imports = scope.source.names.imported.get(name) if scope.source is not None else None
        if imports is None or len(imports) != 1 or imports[0] is None:
            return None
        one = imports[0]
        value = scope.space[name]
        if one.name is None or isinstance(value, ModuleType):
            return None
        module = absolute(one.module, scope.space)
        loaded = sys.modules.get(module)
        if (
            loaded is None
            or self.owner.owns(loaded)
            or getattr(loaded, one.name, None) is not value
        ):
            return None
        self.library(module)
        if isinstance(value, FunctionType) and (found := self.ref(value)).startswith("around "):
            return found
        return f"{module.partition('.')[0]}.{one.name}"

    def _reached(
        self, value: Any, attributes: Sequence[str], symbol: Symbol, scope: Scope, name: str
    ) -> str:
        """Return what a chain of names stands for, from its first value on."""
        where = scope.file
        for attribute in attributes:
            value = unwrapped(value)
            if isinstance(value, FunctionType) and attribute in vars(value):
                at = f"{self._name_of(self.ref(value))}.{attribute}"
                return self._named(vars(value)[attribute], at)
            if not isinstance(value, ModuleType):
                break
            if value is sys and attribute == "modules":
                self._say(symbol, "sys.modules: which module it is is known only when it runs")
            if not self.owner.owns(value):
                return self.library(value.__name__)
            where, name = next(iter(files_of(value)), ""), attribute
            inner = f"{value.__name__}.{attribute}"
            try:
                value = getattr(value, attribute)
            except AttributeError:
                # A part of the package that nobody has loaded so far.
                if (found := self.owner.load(inner)) is not None:
                    value = found
                    continue
                self._say(symbol, f"{attribute!r} is not in {value.__name__}")
                return "missing"
        # A constant imported by name is known by the module that made it, where that can be told.
        file, name = self._origin(value, name, scope, where)
        at = self.owner.symbol(file, name)
        self._places.setdefault(at, (file, name))
        return self.ref(value, at)

    def _closed(
        self, value: Any, attributes: Sequence[str], symbol: Symbol, scope: Scope, name: str
    ) -> str:
        value = unwrapped(value)
        if isinstance(value, ModuleType) and attributes:
            return self._reached(value, attributes, symbol, scope, name)
        return self._named(value, f"{symbol.name}({name})")

    def _name_of(self, mark: str) -> str:
        found = _MARKED.fullmatch(mark)
        return mark if found is None else self.symbols[int(found[1])].name

    def _origin(self, value: Any, name: str, scope: Scope, where: str) -> tuple[str, str]:
        """Return file and name of a constant that may have been imported under another name."""
        if where != scope.file or isinstance(value, FunctionType | type | ModuleType):
            return where, name
        imports = scope.source.names.imported.get(name, []) if scope.source is not None else []
        for one in imports:
            if one is None or one.name is None:
                continue
            module = self.owner.load(absolute(one.module, scope.space), run=False)
            file = getattr(module, "__file__", None)
            # Another one was given this name there since.
            if file and getattr(module, one.name, value) is value:
                return file, one.name
        return where, name

    # Imports inside of functions

    def _of_import(
        self, symbol: Symbol, one: Import, attributes: Sequence[str], scope: Scope
    ) -> str | None:
        """Return what is used of an import.

        A library's name counts where it is written: the same before it is loaded and afterwards.
        """
        name = absolute(one.module, scope.space)
        if one.name is not None:
            module = self.owner.load(name)
            if module is None:
                return self.library(name, one.name)
            inner = Scope(vars(module), {}, source_of(next(iter(files_of(module)), "")))
            if not hasattr(module, one.name):
                part = self.owner.load(f"{name}.{one.name}")
                if part is None:
                    self._say(symbol, f"{one.name!r} is not in {name}")
                    return "missing"
                return self._reached(part, attributes, symbol, inner, one.name)
            return self._reached(module, [one.name, *attributes], symbol, inner, one.name)
        start = name if one.whole else name.partition(".")[0]
        self.owner.load(name)
        module = self.owner.load(start)
        if module is None:
            return self.library(start)
        inner = Scope(vars(module), {}, source_of(next(iter(files_of(module)), "")))
        return self._reached(module, attributes, symbol, inner, one.bound)

    def _import(self, symbol: Symbol, one: Import, used: bool, scope: Scope) -> None:
        name = absolute(one.module, scope.space)
        if not one.module.startswith("."):
            self.modules |= {name} if one.name is None else {name, f"{name}.{one.name}"}
        if one.name == "*" or used:
            return
        module = self.owner.load(name if one.name is None else f"{name}.{one.name}")
        module = module or self.owner.load(name)
        if module is None:
            self.library(name)
        else:  # for its effect
            symbol.parts.append(f"import:{self.ref(module)}")

    def _write(self, write: Write, scope: Scope) -> None:
        """Note what own code changes when it runs."""
        name, *attributes = write.chain
        value = scope.cells.get(name, scope.space.get(name, scope))
        if value is scope or write.kind == "name":
            return
        last = attributes.pop() if write.kind == "attribute" and attributes else ""
        for attribute in attributes:
            value = getattr(value, attribute, None)
        if value is not None and type(value) not in _PLAIN:
            self._changed.add((id(value), last))
            self._alive.append(value)

    def _call(self, symbol: Symbol, call: ast.Call, scope: Scope) -> None:
        """Take in modules that are imported by a call; say what is known only when it runs."""
        chain = chain_of(call.func) or ("",)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else chain[-1]
        if name == "__subclasses__":
            self._say(symbol, f"{_text(call)}: which there are is known only when it runs")
            return
        if name in ("files", "open_text", "read_text", "open_binary"):
            if self._is_resource(call, scope):
                self._say(symbol, f"{_text(call)}: a file that does not count; name it in reads=")
            return
        argument = call.args[1:2] if name == "getattr" else call.args[:1]
        written_out = bool(argument) and isinstance(argument[0], ast.Constant)
        if name in ("getattr", "__import__", "import_module") and written_out:
            text = str(argument[0].value)  # type: ignore[attr-defined]
            module = None if name == "getattr" else self.owner.load(absolute(text, scope.space))
            if module is not None:
                symbol.parts.append(f"import:{self.ref(module)}")
            return
        self._say(symbol, f"{name}(…) with what is known only when it runs")

    def _is_resource(self, call: ast.Call, scope: Scope) -> bool:
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


_FIELDS = ("__annotations__", "_fields", "_field_defaults")

_DEFINITIONS = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign,
    ast.AnnAssign,
)  # fmt: skip

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})

_SHOWN = frozenset({*_PLAIN, tuple, list, dict, set, frozenset, range})

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 120
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = _repr.maxfrozenset = 24


_written: weakref.WeakKeyDictionary[FunctionType, tuple[CodeType, Any, Any, frozenset[str]]]
_written = weakref.WeakKeyDictionary()
"""Code that stands in files, defaults, and names of attributes, of functions as first looked at."""


def _as_first_seen(function: FunctionType) -> FunctionType:
    """Return a function as it is written, also where it gets other code once it was called.

    As those behind networkx' argmap do, which compile what they run: that stands nowhere.
    """
    code = function.__code__
    if source_of(code.co_filename) is not None:
        given = function.__defaults__, function.__kwdefaults__
        _written[function] = code, *given, frozenset(vars(function))
        return function
    known, defaults, named, names = _written.get(function, (code, None, None, frozenset()))
    if known is code or len(known.co_freevars) != len(code.co_freevars):
        return function
    same = FunctionType(
        known, function.__globals__, function.__name__, defaults, function.__closure__
    )
    same.__kwdefaults__ = named
    same.__qualname__, same.__module__ = function.__qualname__, function.__module__
    same.__dict__.update((name, one) for name, one in vars(function).items() if name in names)
    return same


def _hash(symbol: Symbol, names: Sequence[str]) -> str:
    return hash_texts(
        [_MARKED.sub(lambda found: names[int(found[1])], part) for part in symbol.parts]
    )


def unwrapped(value: Any) -> Any:
    """Return the plain function of a task or flow."""
    while type(value).__module__.partition(".")[0] == "databacked" and hasattr(value, "fn"):
        value = value.fn
    return value


def absolute(module: str, space: Mapping[str, Any]) -> str:
    """Return the name of a module without leading dots."""
    try:
        return importlib.util.resolve_name(module, space.get("__package__") or "")
    except ImportError:
        return ""


def files_of_any(module: Any) -> list[str]:
    """Return the files of what stands among the modules, if it is one."""
    return files_of(module) if isinstance(module, ModuleType) else []


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _text(call: ast.Call) -> str:
    text = ast.unparse(call)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _is_functools(value: Any) -> bool:
    return type(value).__module__ == "functools"


def _is_slot(member: Any) -> bool:
    """Whether a descriptor is C's own: it holds nothing of the project."""
    return type(member).__name__ in (
        "getset_descriptor", "member_descriptor", "method_descriptor", "wrapper_descriptor",
        "classmethod_descriptor", "builtin_function_or_method", "_tuplegetter",
    )  # fmt: skip


def _is_c(value: Any) -> bool:
    """Whether a value is a function in C: nothing but its name, if it belongs to no object."""
    if isinstance(value, BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, ModuleType)
    return type(value).__name__ in (
        "method_descriptor",
        "wrapper_descriptor",
        "cython_function_or_method",
        "_ArrayFunctionDispatcher",
    )


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
