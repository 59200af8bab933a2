"""What a function's result depends on besides its arguments: the project's own code it reaches.

The function itself, and every function, class and constant of the project that it names, across
modules. The project's own is what lies below its root, the package of the function, editable
installs, and packages that the project names. Reasons name a symbol by its file below the project
root; the digest counts symbols in the order in which they are met, so that it depends neither on
the names of files and of the function, nor on where the project lies, nor on whether a file runs
as ``__main__`` or is imported. Third-party packages are counted by name and version, which stand
beside the digest.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import linecache
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from databacked.callables import (
    HERE,
    LIBRARIES,
    STDLIB,
    closure_of,
    file_of,
    is_library,
    written,
    written_in,
)
from databacked.errors import FingerprintError
from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.installed import Installed, installed
from databacked.fingerprint.normal_form import normal_form
from databacked.fingerprint.values import Tokens
from databacked.project.notebook import UNNAMED, is_cell, is_timed, looks_like_cell, timed_cells

RULES = 2
"""Version of these rules; part of every digest."""

SHOWN = 80
"""Characters of a constant that a reason shows."""

_STARTED = time.time() - 60
_COMPUTED = {"getattr", "eval", "exec", "globals", "locals", "vars", "__import__", "import_module"}


@dataclass(frozen=True)
class CodeFingerprint:
    """What a function reaches, and one hash of it all."""

    digest: str
    """32 hex digits."""

    symbols: Mapping[str, str] = field(default_factory=dict)
    """Digest of each function, class and constant, by ``file.py:name``."""

    values: Mapping[str, str] = field(default_factory=dict)
    """Constants as short texts, so that a reason can show the old and the new one."""

    opaque: tuple[str, ...] = ()
    """What could not be followed, a line each."""

    packages: Mapping[str, str] = field(default_factory=dict)
    """Version of each third-party package that is reached."""

    modules: frozenset[str] = frozenset()
    """Modules of third-party packages that it names."""

    paths: Mapping[str, Path] = field(default_factory=dict)
    """Path constants that name an existing file or folder, in the order in which they are met: each
    counts by its content."""


def code_fingerprint(function: Any, *, root: Path, own: Sequence[str] = ()) -> CodeFingerprint:
    """Return what a function (or class) depends on.

    Parameters
    ----------
    root
        The project's root; code below it is the project's own, except installed packages.
    own
        Further packages that count as the project's own, wherever they are installed.

    Raises
    ------
    FingerprintError
        If a source file was changed since it was imported: what runs is not what stands there.
    """
    top = Path(os.path.realpath(root))
    walk, nameless = _Walk(top, own, function), _Walk(top, own, function, nameless=True)
    nameless._reals = walk._reals
    with _lock:
        walk.visit(function)
        nameless.visit(function)
        walk.finish()
    counted = sorted(nameless.symbols.items())
    return CodeFingerprint(
        hash_texts([f"rules {RULES}", *(part for pair in counted for part in pair)]),
        dict(sorted(walk.symbols.items())),
        dict(sorted(walk.values.items())),
        tuple(sorted(walk.opaque)),
        dict(sorted(walk.packages.items())),
        frozenset(walk.modules),
        walk.paths,
    )


def explain(old: Any, new: Any) -> str:
    """Return in words what differs between two fingerprints, the most basic symbols first."""
    before, after = old.symbols, new.symbols
    moved = _moved(before, after)
    said: list[tuple[int, str]] = []
    for symbol, digest in after.items():
        known = moved.get(symbol, symbol)
        if known not in before:
            said.append((2, f"{_shown(symbol)} is new"))
        elif before[known] != digest:
            was, now = old.values.get(known), new.values.get(symbol)
            detail = f" ({was} → {now})" if was and now and was != now else ""
            said.append((0 if detail else 1, f"{_shown(symbol)} changed{detail}"))
    left = after.keys() | moved.values()
    said += [(3, f"{_shown(symbol)} is gone") for symbol in before if symbol not in left]
    if moved and any(rank == 0 for rank, _ in said):
        # What only reaches what moved looks changed, too.
        said = [one for one in said if one[0] == 0]
    if any(rank < 2 for rank, _ in said):
        # A name that appears or goes is a consequence of the change that uses it.
        said = [one for one in said if one[0] < 2]
    texts = [text for _, text in sorted(said)]
    if not texts:
        return "the rules of the fingerprint changed"
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return for each symbol of a renamed file the one that it was, where that can be told."""
    gone: dict[str, list[str]] = {}
    for symbol in before.keys() - after.keys():
        gone.setdefault(symbol.rpartition(":")[2], []).append(symbol)
    found = {
        symbol: gone.get(symbol.rpartition(":")[2], []) for symbol in after.keys() - before.keys()
    }
    return {symbol: were[0] for symbol, were in found.items() if len(were) == 1}


def _shown(symbol: str) -> str:
    file, _, name = symbol.rpartition(":")
    return f"{file.removesuffix('.py').replace('/', '.')}.{name}".lstrip(".")


# ---------------------------------------------------------------- sources


@dataclass
class _Source:
    """A parsed file, with what was found in it."""

    tree: ast.Module
    functions: dict[tuple[int, str], list[ast.AST]]
    classes: dict[str, list[ast.ClassDef]]
    compiled: CodeType | None
    late: dict[str, str]
    """Modules that a function imports for all others (``global torch``), by name."""


_sources: dict[str, tuple[tuple[int, ...], _Source | None]] = {}
_lock = threading.RLock()


def _source(file: str) -> _Source | None:
    cell = is_cell(file)
    key: tuple[int, ...]
    if cell:
        key = (len(linecache.getlines(file)), hash("".join(linecache.getlines(file))))
    else:
        info = os.stat(file)
        key = (info.st_mtime_ns, info.st_ctime_ns, info.st_size)
    known = _sources.get(file)
    if known is not None and known[0] == key:
        return known[1]
    try:
        if cell:
            text: str | bytes = "".join(linecache.getlines(file))
        else:
            with open(file, "rb") as opened:
                text = opened.read()
        found = _parse(text, file) if text else None
    except (OSError, SyntaxError, ValueError):
        found = None
    _sources[file] = (key, found)
    return found


def _parse(text: str | bytes, file: str) -> _Source:
    tree = ast.parse(text, file)
    functions: dict[tuple[int, str], list[ast.AST]] = {}
    classes: dict[str, list[ast.ClassDef]] = {}

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                line = min([child.lineno, *(one.lineno for one in child.decorator_list)])
                functions.setdefault((line, child.name), []).append(child)
                inner = f"{prefix}{child.name}.<locals>."
            elif isinstance(child, ast.Lambda):
                functions.setdefault((child.lineno, "<lambda>"), []).append(child)
            elif isinstance(child, ast.ClassDef):
                classes.setdefault(prefix + child.name, []).append(child)
                inner = f"{prefix}{child.name}."
            walk(child, inner)

    walk(tree, "")
    changed = not is_cell(file) and _came(file) > _STARTED
    compiled = compile(tree, file, "exec", dont_inherit=True) if changed else None
    return _Source(tree, functions, classes, compiled, dict(_late(tree)))


def _came(file: str) -> float:
    """Return since when a file stands there as it is: what is moved there keeps its own time."""
    info = os.stat(file)
    return max(info.st_mtime, info.st_ctime)


def _late(tree: ast.Module) -> Iterator[tuple[str, str]]:
    nodes = list(ast.walk(tree))
    said = {name for one in nodes if isinstance(one, ast.Global) for name in one.names}
    for one in nodes if said else ():
        if isinstance(one, ast.Import) and one not in tree.body:
            for alias in one.names:
                name = alias.asname or alias.name.partition(".")[0]
                if name in said:
                    yield name, alias.name if alias.asname else name


def _timed_source(code: CodeType) -> _Source | None:
    """Return the cell below ``%%time`` that a function stands in: all have one file name."""
    for text in timed_cells():
        try:
            source = _parse(text, code.co_filename)
            compiled = compile(source.tree, code.co_filename, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        for one in _codes(compiled):
            same = (one.co_firstlineno, one.co_name) == (code.co_firstlineno, code.co_name)
            if same and _alike(one, code):
                return source
    return None


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _alike(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same, wherever they stand in their files."""
    return (
        one.co_code == other.co_code
        and one.co_names == other.co_names
        and len(one.co_consts) == len(other.co_consts)
        and all(
            _alike(a, b)
            if isinstance(a, CodeType) and isinstance(b, CodeType)
            else _told(a) == _told(b)
            for a, b in zip(one.co_consts, other.co_consts, strict=True)
        )
    )


def _told(constant: object) -> object:
    if isinstance(constant, frozenset):
        return frozenset(map(repr, constant))  # equal sets may be written in different orders
    return repr(constant)


def _node_of(code: CodeType, source: _Source) -> ast.AST | None:
    found = source.functions.get((code.co_firstlineno, code.co_name), [])
    if len(found) == 1 or not found:
        return found[0] if found else None
    places = [(p[0], p[2]) for p in code.co_positions() if p[0] and p[2] is not None and p[3]]
    best, size = found[0], float("inf")
    for node in found:
        body = getattr(node, "body", None)
        if not isinstance(body, ast.expr):
            continue
        start = (body.lineno, body.col_offset)
        end = (body.end_lineno or 0, body.end_col_offset or 0)
        width = (end[0] - start[0]) * 10_000 + end[1] - start[1]
        if places and all(start <= place <= end for place in places[1:] or places) and width < size:
            best, size = node, width
    return best


# ---------------------------------------------------------------- the walk


class _Walk:
    """One walk from a function through all that it reaches."""

    def __init__(
        self, root: Path, own: Sequence[str], function: Any, *, nameless: bool = False
    ) -> None:
        self.root = str(root)
        self._numbers: dict[tuple[str, str], int] | None = {} if nameless else None
        self._first = _unwrapped(function)
        self._reals: dict[str, str] = {}
        self.own = tuple(own)
        self.symbols: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.opaque: set[str] = set()
        self.packages: dict[str, str] = {}
        self.modules: set[str] = set()
        self.paths: dict[str, Path] = {}
        self.home = _home(written_in(function))
        self._seen: dict[int, str] = {}
        self._alive: list[Any] = []
        self._libraries: set[str] = set()

    def finish(self) -> None:
        """Look up the versions of the packages that were met, and what people may think is ours."""
        for name in self._libraries:
            self.packages[name] = _version(name)
            why = self._why_not(name)
            if why:
                self.opaque.add(
                    f"{name}, which {why}; own = [{name!r}] in databacked.toml has it count"
                )

    def _why_not(self, name: str) -> str:
        """Say of a package that is not followed why one could think that it is; else ""."""
        places = [] if name == "databacked" else _places_of(name)
        # By the text alone: to look links up costs time on a slow disk.
        outside = [
            file
            for file in places
            if os.path.isabs(file) and not any(part in file.split(os.sep) for part in LIBRARIES)
        ]
        copied = name in self._installed.copied
        if not (outside or copied) or any(self.is_own(file, name) for file in places):
            return ""
        return "was installed from a local folder" if copied else "is not an installed package"

    @functools.cached_property
    def _installed(self) -> Installed:
        return installed()

    def _real(self, file: str) -> str:
        """Return where a file really lies; asked once, as a slow disk takes its time."""
        found = self._reals.get(file)
        if found is None:
            found = self._reals[file] = os.path.realpath(file)
        return found

    # Whose is it

    def is_own(self, file: str, module: str) -> bool:
        if not file or (is_cell(file) and not os.path.isdir(file)):
            return module == "__main__" or file.startswith("<") or looks_like_cell(file)
        real = self._real(file)
        if real.startswith(HERE):
            return False
        if module.partition(".")[0] in self.own:
            return True
        if not file.endswith(".py") and os.path.isdir(file):
            real += os.sep  # a package without an __init__.py
        if self.home and real.startswith(self.home):
            inner = real[len(self.home) :]
            return not any(part in LIBRARIES for part in inner.split(os.sep))
        if real.startswith(STDLIB) or any(part in LIBRARIES for part in real.split(os.sep)):
            return False
        return real.startswith(self.root + os.sep) or real.startswith(self._installed.linked)

    def _owns(self, module: ModuleType) -> bool:
        return any(self.is_own(file, module.__name__) for file in _files(module) or [""])

    def symbol(self, file: str, name: str) -> str:
        """Return the name of what stands in a file.

        For the digest it is a number, in the order in which names are met: what is renamed or moved
        as a whole stays what it was.
        """
        if self._numbers is not None:
            key = (UNNAMED if is_cell(file) else self._real(file), name)
            return f"#{self._numbers.setdefault(key, len(self._numbers))}"
        if is_cell(file):
            # Without the notebook's own name: one that is renamed or copied stays fresh.
            return f"{UNNAMED}:{name}"
        real = self._real(file)
        if real.startswith(self.root + os.sep) and not is_library(real):
            return f"{os.path.relpath(real, self.root).replace(os.sep, '/')}:{name}"
        base = (
            os.path.dirname(_home(real).rstrip(os.sep))
            if _in_package(real)
            else (os.path.dirname(real))
        )
        return f"{os.path.relpath(real, base).replace(os.sep, '/')}:{name}"

    # Objects

    def visit(self, value: Any, at: str = "") -> str:
        """Take an object into the fingerprint; return the name that it is known by."""
        value = _unwrapped(value)
        known = self._seen.get(id(value))
        if known is not None:
            return known
        self._alive.append(value)
        if isinstance(value, MethodType):
            return f"{self.visit(value.__func__)} of {self.visit(value.__self__, at)}"
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, ModuleType):
            return self._module(value)
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None and type(value).__module__ == "functools":
            return self.visit(wrapped)
        return self._constant(value, at)

    def _library(self, module: str) -> str:
        name = module.partition(".")[0]
        if name and name not in sys.stdlib_module_names and name != "__main__":
            self._libraries.add(name)
            self.modules.add(module)
        return name

    def _function(self, function: FunctionType) -> str:
        code = function.__code__
        module = function.__module__ or ""
        if not self.is_own(code.co_filename, module):
            return self._wrapping(function)
        symbol = self._fresh(self.symbol(code.co_filename, function.__qualname__))
        self._seen[id(function)] = symbol
        node, parts = self._node(function), []
        scope = _Scope(function.__globals__, closure_of(function))
        _, source = _sources.get(code.co_filename, (None, None))  # read by now
        scope.late = source.late if source is not None else {}
        if node is None:
            self.opaque.add(
                f"{symbol}: no source; its bytecode counts, which differs between Python versions"
            )
            parts.append(
                hash_texts([code.co_code.hex(), repr(code.co_names), repr(code.co_consts)])
            )
            names = {name: () for name in _globals_of(code)}
            parts += self._names(symbol, scope, {(name,) for name in names})
        else:
            skipped = self._own_decorators(node, scope)
            parts.append(normal_form(node, without=skipped, named=function is not self._first))
            used = _globals_of(code) | set(code.co_freevars)
            chains = {c for c in _chains(node) if c[0] in used}
            for decorator in getattr(node, "decorator_list", []):
                if decorator not in skipped:
                    chains |= _chains(decorator)
            parts += self._names(symbol, scope, chains)
            parts += self._imports(symbol, node, scope)
            parts += self._look_for_opaque(symbol, node)
        for name, default in _defaults(function):
            parts.append(f"{name}={self._value(default, f'{symbol}({name})')}")
        self.symbols[symbol] = hash_texts(parts)
        return symbol

    def _wrapping(self, function: FunctionType) -> str:
        """Return the name of another package's function, and take in what it wraps of ours."""
        module = function.__module__ or ""
        self._library(module)
        name = self._seen[id(function)] = f"{module}.{function.__qualname__}"
        cells = [getattr(function, "__wrapped__", None), *closure_of(function).values()]
        inner: list[tuple[str, Any]] = [("", cell) for cell in cells]
        for cell in cells:
            if isinstance(cell, dict):  # of functools.singledispatch, by type
                inner += [(f"{getattr(k, '__qualname__', '')} ", v) for k, v in cell.items()]
            elif isinstance(cell, tuple | list):
                inner += [(f"{number} ", one) for number, one in enumerate(cell)]
        own: set[str] = set()
        for key, one in inner:
            if not isinstance(one, FunctionType | MethodType | type):
                below = written(one) if callable(one) else one
                if below is not one and self.is_own(file_of(below), below.__module__ or ""):
                    own.add(key + self._value(_unwrapped(one), name))
                continue
            if self.is_own(file_of(one), one.__module__ or ""):
                if not getattr(one, "__qualname__", "").startswith("__create_fn__."):
                    own.add(key + self.visit(one))
            elif isinstance(one, FunctionType):
                found = self.visit(one)
                own |= {found} if found.startswith("around ") else set()
        if own:
            name = self._seen[id(function)] = f"around {', '.join(sorted(own))}"
        return name

    def _node(self, function: FunctionType) -> ast.AST | None:
        code = function.__code__
        timed = is_timed(code.co_filename)
        source = _timed_source(code) if timed else _source(code.co_filename)
        if source is None:
            return None
        node = _node_of(code, source)
        module = sys.modules.get(function.__module__ or "")
        # Others than Python's own loader (pytest's) compile what they made of the source.
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        plain = loader is None or type(loader) is importlib.machinery.SourceFileLoader
        if source.compiled is None or not plain:
            return node
        same = [one for one in _codes(source.compiled) if one.co_name == code.co_name]
        same = [one for one in same if _alike(one, code)]
        if not same:
            raise FingerprintError(
                f"{code.co_filename} was changed since {function.__qualname__} was loaded from "
                "it: what runs is not what stands there. Restart Python (or reload the module, "
                "and import from it again), and run again."
            )
        # What stands above may have become longer since.
        moved = code.co_firstlineno not in [one.co_firstlineno for one in same]
        return _node_of(same[0], source) if moved else node

    def _own_decorators(self, node: ast.AST, scope: _Scope) -> list[ast.expr]:
        """Return the decorators of databacked: where a result is kept counts elsewhere."""
        found = []
        for decorator in getattr(node, "decorator_list", []):
            chain = _chain(decorator.func if isinstance(decorator, ast.Call) else decorator)
            value = scope.get(chain[0]) if chain else None
            module = getattr(value, "__module__", None) or getattr(value, "__name__", "")
            if isinstance(module, str) and module.partition(".")[0] == "databacked":
                found.append(decorator)
        return found

    def _class(self, kind: type) -> str:
        module = sys.modules.get(kind.__module__)
        file = _class_file(kind) or getattr(module, "__file__", None) or ""
        if kind.__module__ == "builtins" or not self.is_own(file, kind.__module__):
            self._library(kind.__module__)
            name = f"{kind.__module__}.{kind.__qualname__}"
            self._seen[id(kind)] = name
            return name
        symbol = self._fresh(self.symbol(file, kind.__qualname__))
        self._seen[id(kind)] = symbol
        space = vars(module) if module is not None else {}
        parts: list[str] = [self.visit(base) for base in kind.__bases__ if base is not object]
        node = _class_node(kind, file)
        if node is not None:
            parts.append(normal_form(node))
            mine = vars(kind).keys() | vars(kind).get("__annotations__", {}).keys()
            local = _local_names(node) | mine
            used: set[str] = set()
            for function in _functions_of(kind):
                used |= _globals_of(function.__code__)
            chains = {c for c in _chains(node) if c[0] in used or c[0] not in local}
            cells: dict[str, Any] = {}
            for function in _functions_of(kind):
                cells.update(closure_of(function) if _stands_in(function, kind, file) else {})
            scope = _Scope(space, cells)
            parts += self._names(symbol, scope, chains)
            parts += self._imports(symbol, node, scope)
            parts += self._look_for_opaque(symbol, node)
        for name, member in sorted(vars(kind).items()):
            functions = list(_functions_in(member))
            for function in functions:
                if not self.is_own(function.__code__.co_filename, function.__module__ or ""):
                    found = self.visit(function)
                    # Later versions of Python give classes more of their own methods.
                    if not name.startswith("__") or found.startswith("around "):
                        parts.append(f"{name}={found}")
                elif node is not None and _stands_in(function, kind, file):
                    self._node(function)  # raises if the file was changed since
                    parts += self._closure(symbol, function)
                elif not _is_generated(function, kind):
                    parts.append(f"{name}={self.visit(function)}")
            if name == "__dataclass_fields__" and node is None:
                made = {one.name: one.default_factory for one in member.values()}
                parts.append(f"{name}={self._value(made, f'{symbol}.{name}')}")
            # What is set from outside, or computed, stands nowhere in the class's own text.
            if not functions and _is_data(name, member, node is None):
                with contextlib.suppress(FingerprintError):
                    parts.append(f"{name}={self._tokens(f'{symbol}.{name}').told(member)}")
        self.symbols[symbol] = hash_texts(parts)
        return symbol

    def _closure(self, symbol: str, function: FunctionType) -> list[str]:
        return [
            f"{name}={self._value(value, f'{symbol}({name})')}"
            for name, value in closure_of(function).items()
            if name != "__class__"
        ]

    def _module(self, module: ModuleType) -> str:
        if not self._owns(module):
            return self._library(module.__name__)
        file = next(iter(_files(module)), "")
        symbol = self.symbol(file, "*")
        self._seen[id(module)] = symbol
        source = _source(file)
        self.opaque.add(f"{symbol}: the whole module is used as a value; all of it counts")
        self.symbols[symbol] = hash_texts([normal_form(source.tree) if source else ""])
        return symbol

    def _constant(self, value: Any, at: str) -> str:
        kind = type(value)
        if kind.__module__.partition(".")[0] not in ("builtins", "__main__"):
            self._library(kind.__module__)
        if _is_c(value):
            module = getattr(value, "__module__", None) or ""
            name = f"{module}.{getattr(value, '__qualname__', kind.__qualname__)}"
            file = getattr(sys.modules.get(module), "__file__", None) or ""
            if module and file and self.is_own(file, module):
                self.opaque.add(f"{name}: compiled code of the project")
            self._library(module)
            return name
        self.symbols[at] = self._value(value, at)
        self.values[at] = self._short(value)
        return at

    def _holds_results(self, path: Path) -> bool:
        """Whether a folder changes with every run: the project itself, or a place in it."""
        if not path.is_dir():
            return False
        real = os.path.realpath(path)
        return (self.root + os.sep).startswith(real + os.sep) or (path / ".databacked").is_dir()

    def _value(self, value: Any, at: str) -> str:
        try:
            return self._tokens(at).told(value)
        except FingerprintError as error:
            self.opaque.add(f"{at}: {error}")
            return f"opaque {type(value).__module__}.{type(value).__qualname__}"

    def _tokens(self, at: str) -> Tokens:
        return _Constant(lambda code: self.visit(code, at), self, at)

    def path(self, value: PurePath, at: str) -> str:
        """Take in a path among the constants: a file counts by its name here and its content."""
        path = Path(value)
        if self._holds_results(path):
            self.opaque.add(f"{at}: a folder that holds results; what lies in it does not count")
        elif path.exists():
            self.paths[at] = path
            return hash_texts(["path", path.name])
        return hash_texts(["path", self.below_root(path.as_posix())])

    def below_root(self, text: str) -> str:
        """Return a text without the place where the project lies."""
        return text.replace(self.root, "<root>")

    def _short(self, value: Any) -> str:
        text = self.below_root(" ".join(repr(value).split()))
        if " at 0x" in text:
            return type(value).__qualname__
        return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"

    def _fresh(self, symbol: str) -> str:
        """Tell apart symbols of one name, such as several lambdas."""
        fresh, number = symbol, 1
        while fresh in self.symbols or fresh in self._seen.values():
            number += 1
            fresh = f"{symbol}#{number}"
        return fresh

    # Names

    def _names(self, symbol: str, scope: _Scope, chains: set[tuple[str, ...]]) -> list[str]:
        """Take in what chains of names (``config.SIGMA``) stand for; say what each one is."""
        found: list[str] = []
        for chain in sorted(chains):
            name, *attributes = chain
            if name in scope.late and name not in scope.cells:
                value = self._load(scope.late[name])
                if value is None:
                    self._library(scope.late[name])
                    continue
            elif name in scope:
                value = scope.get(name)
            elif hasattr(builtins, name):
                continue
            else:
                self.opaque.add(f"{symbol}: the name {name!r} is not defined")
                continue
            # A longer chain says more exactly what is meant of a module.
            if (
                isinstance(_unwrapped(value), ModuleType)
                and not attributes
                and any(other[0] == name and len(other) > 1 for other in chains)
            ):
                continue
            found.append(f"{'.'.join(chain)}:{self._chain(value, attributes, symbol, scope, name)}")
        return found

    def _chain(
        self, value: Any, attributes: Sequence[str], symbol: str, scope: _Scope, name: str
    ) -> str:
        where = scope.file
        for attribute in attributes:
            if isinstance(value, FunctionType) and attribute in vars(value):
                return self._closed(vars(value)[attribute], f"{self.visit(value)}.{attribute}")
            if not isinstance(value, ModuleType):
                break
            if not self._owns(value):
                return self._library(value.__name__)
            where, name = next(iter(_files(value)), ""), attribute
            inner = f"{value.__name__}.{attribute}"
            try:
                value = getattr(value, attribute)
            except AttributeError:
                # A part of the package that nobody has loaded so far.
                if (found := self._load(inner)) is not None:
                    value = found
                    continue
                self.opaque.add(f"{symbol}: {attribute!r} is not in {value.__name__}")
                return "missing"
        if name in scope.cells:
            return self._closed(value, f"{symbol}({name})")
        # A constant imported by name is known by the module that made it, where that can be told.
        return self.visit(value, self.symbol(*self._origin(value, name, scope, where)))

    def _closed(self, value: Any, at: str) -> str:
        value = _unwrapped(value)
        if isinstance(value, FunctionType | type | ModuleType | MethodType):
            return self.visit(value, at)
        return self._constant(value, at) if id(value) not in self._seen else self._seen[id(value)]

    def _origin(self, value: Any, name: str, scope: _Scope, where: str) -> tuple[str, str]:
        """Return file and name of a constant that may have been imported under another name."""
        if where != scope.file or isinstance(value, FunctionType | type | ModuleType):
            return where, name
        source = _source(where) if where else None
        for node in source.tree.body if source is not None else ():
            if not isinstance(node, ast.ImportFrom):
                continue
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    module = self._load(_absolute(node, scope.space))
                    file = getattr(module, "__file__", None)
                    if file:
                        return file, alias.name
        return where, name

    def _imports(self, symbol: str, node: ast.AST, scope: _Scope) -> list[str]:
        """Take in what is imported inside a function.

        A library's name counts where it is written: the same before it is loaded and afterwards.
        """
        self.modules |= _imported_names(node)
        found: list[str] = []
        for one in ast.walk(node):
            if isinstance(one, ast.ImportFrom):
                name = _absolute(one, scope.space)
                module = self._load(name)
                for alias in one.names:
                    if module is None:
                        self._library(name)
                        continue
                    inner = self._inner(module, alias.name)
                    if inner is not None:
                        found += self._used(inner, alias.asname or alias.name, symbol, node)
                    else:
                        found.append(f"{alias.name}:{self._member(module, alias.name, symbol)}")
            elif isinstance(one, ast.Import):
                for alias in one.names:
                    module = self._load(alias.name)
                    if module is None:
                        self._library(alias.name)
                        continue
                    bound = alias.asname or alias.name.partition(".")[0]
                    start = module if alias.asname else self._load(bound) or module
                    found += self._used(start, bound, symbol, node)
        return found

    def _inner(self, module: ModuleType, name: str) -> ModuleType | None:
        """Return the module that is imported from a package by name; None for anything else."""
        if not hasattr(module, name):
            return self._load(f"{module.__name__}.{name}")
        found = getattr(module, name)
        return found if isinstance(found, ModuleType) else None

    def _used(self, module: ModuleType, name: str, symbol: str, node: ast.AST) -> list[str]:
        """Take in what a piece of code uses of a module that it knows by a name."""
        local = _Scope({name: module}, {}, getattr(module, "__file__", "") or "")
        return self._names(symbol, local, {c for c in _chains(node) if c[0] == name})

    def _member(self, module: ModuleType, name: str, symbol: str) -> str:
        if not hasattr(module, name):
            self.opaque.add(f"{symbol}: {name!r} is not in {module.__name__}")
            return "missing"
        file = next(iter(_files(module)), "")
        return self.visit(getattr(module, name), self.symbol(file, name))

    def _load(self, name: str) -> ModuleType | None:
        """Return a module of the project's own, loaded if need be; None for a library's."""
        loaded = sys.modules.get(name)
        if loaded is not None:
            return loaded if self._owns(loaded) else None
        try:
            # The top package first: looking for what is inside one imports it.
            for one in (name.partition(".")[0], name):
                if not any(self.is_own(file, name) for file in _places_of(one)):
                    return None
            return importlib.import_module(name)
        except Exception:  # it will fail, or be skipped, when the task runs
            return None

    def _look_for_opaque(self, symbol: str, node: ast.AST) -> list[str]:
        """List what is known only when it runs; take in modules that are imported by a call."""
        found: list[str] = []
        for one in ast.walk(node):
            if not isinstance(one, ast.Call):
                continue
            name = (_chain(one.func) or ("",))[-1]
            if name not in _COMPUTED:
                continue
            argument = one.args[1:2] if name == "getattr" else one.args[:1]
            if (
                name in ("getattr", "__import__", "import_module")
                and argument
                and isinstance(argument[0], ast.Constant)
            ):
                module = None if name == "getattr" else self._load(str(argument[0].value))
                found += [self.visit(module)] if module is not None else []
                continue
            self.opaque.add(f"{symbol}: {name}(…) with what is known only when it runs")
        return found


class _Constant(Tokens):
    """Tokens of what stands in code, where neither the project's place counts nor a file's."""

    def __init__(self, code: Callable[[Any], str], walk: _Walk, at: str) -> None:
        super().__init__(code)
        self.walk, self.at = walk, at

    def of(self, value: Any, where: str) -> str:
        if type(value) is str:
            value = self.walk.below_root(value)
        return super().of(value, where)

    def of_path(self, value: PurePath, where: str) -> str:
        return self.walk.path(value, self.at + where)


class _Scope:
    """The names that a function's body can see: its closure, then its module."""

    def __init__(self, space: Mapping[str, Any], cells: Mapping[str, Any], file: str = "") -> None:
        self.space, self.cells = space, cells
        self.file = file or space.get("__file__") or "<notebook>"
        self.late: Mapping[str, str] = {}
        """Modules that come into a name when a function runs; loaded by now or not."""

    def __contains__(self, name: str) -> bool:
        return name in self.cells or name in self.space

    def get(self, name: str) -> Any:
        return self.cells[name] if name in self.cells else self.space.get(name)


def _unwrapped(value: Any) -> Any:
    """Return the plain function of a task or flow."""
    while type(value).__module__.partition(".")[0] == "databacked" and hasattr(value, "fn"):
        value = value.fn
    return value


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


def _defaults(function: FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    given = function.__defaults__ or ()
    yield from zip(names[len(names) - len(given) :], given, strict=True)
    yield from sorted((function.__kwdefaults__ or {}).items())


def _functions_in(member: Any) -> Iterator[FunctionType]:
    if isinstance(member, FunctionType):
        yield member
    elif isinstance(member, staticmethod | classmethod):
        if isinstance(member.__func__, FunctionType):
            yield member.__func__
    elif isinstance(member, property):
        for one in (member.fget, member.fset, member.fdel):
            if isinstance(one, FunctionType):
                yield one
    elif isinstance(member, functools.cached_property) and isinstance(member.func, FunctionType):
        yield member.func


def _functions_of(kind: type) -> Iterator[FunctionType]:
    for member in vars(kind).values():
        yield from _functions_in(member)


def _is_generated(function: FunctionType, kind: type) -> bool:
    """Whether a decorator or base made a method out of what stands in the class."""
    file = function.__code__.co_filename
    return function.__qualname__.startswith(kind.__qualname__ + ".") and (
        file == "<string>" or file.startswith("<attrs generated")
    )


def _stands_in(function: FunctionType, kind: type, file: str) -> bool:
    """Whether a method's code is written in its class, and not brought from elsewhere."""
    code = function.__code__
    inside = code.co_qualname.startswith(kind.__qualname__ + ".")
    return code.co_filename == file and inside and not _is_generated(function, kind)


def _is_data(name: str, member: Any, unwritten: bool) -> bool:
    """Whether a class attribute is data of the project's own: no descriptor, nothing internal."""
    if name in ("__annotations__", "_fields", "_field_defaults"):
        return unwritten
    inner = name.startswith("__") or (name.startswith("_") and name.endswith("_"))
    internal = inner or name in ("_abc_impl", "_is_protocol", "_is_runtime_protocol")
    return not internal and not hasattr(type(member), "__get__")


def _class_node(kind: type, file: str) -> ast.ClassDef | None:
    """Return the class statement of a class; None for one made by a call, as namedtuple does."""
    source = _source(file)
    nodes = source.classes.get(kind.__qualname__, []) if source is not None else []
    lines = [
        function.__code__.co_firstlineno
        for function in _functions_of(kind)
        if _stands_in(function, kind, file)
    ]
    line = getattr(kind, "__firstlineno__", None) or min(lines, default=None)
    return next((n for n in nodes if line is not None and _covers(n, line)), None) or (
        nodes[-1] if nodes else None
    )


def _covers(node: ast.ClassDef, line: int) -> bool:
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return first <= line <= (node.end_lineno or node.lineno)


def _class_file(kind: type) -> str:
    for function in _functions_of(kind):
        file = function.__code__.co_filename
        if function.__module__ == kind.__module__ and _stands_in(function, kind, file):
            return file
    return ""


def _in_package(file: str) -> bool:
    return os.path.isfile(os.path.join(os.path.dirname(file), "__init__.py"))


def _home(file: str) -> str:
    """Return the top folder of a file's package, or of a script, with a separator."""
    if not file or not os.path.isfile(file):
        return ""
    folder = os.path.dirname(os.path.realpath(file))
    if os.path.basename(folder) in LIBRARIES or folder + os.sep in STDLIB:
        return os.path.realpath(file)  # its neighbours are other packages
    while os.path.isfile(os.path.join(folder, "__init__.py")) and _in_package(folder):
        folder = os.path.dirname(folder)
    return folder + os.sep


def _globals_of(code: CodeType) -> set[str]:
    """Return the global names that a code object and those inside it use."""
    return {
        str(one.argval)
        for inner in _codes(code)
        for one in dis.get_instructions(inner)
        if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }


def _chain(node: ast.AST) -> tuple[str, ...] | None:
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else None


def _chains(node: ast.AST) -> set[tuple[str, ...]]:
    """Return all names with their attributes, outside of annotations of functions."""
    found: set[tuple[str, ...]] = set()

    def walk(one: ast.AST, in_class: bool) -> None:
        chain = _chain(one)
        if chain is not None:
            found.add(chain)
            return
        inside = isinstance(one, ast.ClassDef)
        for name, value in ast.iter_fields(one):
            if name == "returns" or (name == "annotation" and not in_class):
                continue
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.AST):
                    walk(child, inside or (in_class and isinstance(one, ast.AnnAssign)))

    walk(node, False)
    return found


def _local_names(node: ast.ClassDef) -> set[str]:
    """Return the names that only the methods of a class know: parameters and variables."""
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.arg):
            found.add(one.arg)
        elif isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load):
            found.add(one.id)
        elif isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and one.name:
            found.add(one.name)
        elif isinstance(one, ast.alias):
            found.add((one.asname or one.name).partition(".")[0])
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(one.name)
    return found


def _absolute(node: ast.ImportFrom, space: Mapping[str, Any]) -> str:
    name = "." * node.level + (node.module or "")
    try:
        return importlib.util.resolve_name(name, space.get("__package__") or "")
    except ImportError:
        return ""


def _imported_names(node: ast.AST) -> set[str]:
    """Return the names of everything that a piece of code imports, modules or not."""
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            found |= {alias.name for alias in one.names}
        elif isinstance(one, ast.ImportFrom) and one.module and not one.level:
            found |= {one.module, *(f"{one.module}.{alias.name}" for alias in one.names)}
    return found


def _files(module: ModuleType) -> list[str]:
    """Return the file of a module; of a package without an ``__init__.py`` its folders."""
    file = getattr(module, "__file__", None)
    return [file] if file else [str(one) for one in getattr(module, "__path__", ())]


def _places_of(name: str) -> list[str]:
    """Return the files of a module that may not be loaded; what stands above it is."""
    if (loaded := sys.modules.get(name)) is not None:
        return _files(loaded)
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None:
        return []
    return (
        [spec.origin]
        if spec.has_location and spec.origin
        else [str(one) for one in spec.submodule_search_locations or ()]
    )


@functools.cache
def _version(name: str) -> str:
    found = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(found, str):
        return found
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "?"
