"""What a constant counts by: its value; where that cannot be told, the statement that made it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from types import BuiltinFunctionType, ModuleType
from typing import Any

from databacked.fingerprint.code.firsts import as_first_seen
from databacked.fingerprint.code.ownership import files_of
from databacked.fingerprint.code.scope import Scope
from databacked.fingerprint.code.sources import source_of
from databacked.fingerprint.code.state import Constant
from databacked.fingerprint.code.symbols import PLAIN, Symbol, short
from databacked.fingerprint.code.visit import Visit
from databacked.fingerprint.hashes import hash_texts


class Constants:
    """Looks into the values that are no code."""

    def __init__(self, walk: Visit) -> None:
        self._walk = walk
        self.paths: dict[str, Path] = {}
        """Those that name a file or folder which counts by its content."""
        self._met: dict[str, list[tuple[Any, str]]] = {}
        self._places: dict[str, tuple[str, str]] = {}
        self._made: set[str] = set()

    def stands(self, at: str, file: str, name: str) -> None:
        """Note in which file, and under which name there, a constant stands."""
        self._places.setdefault(at, (file, name))

    def ref(self, value: Any, at: str) -> str:
        """Return what a value counts by, and take it in."""
        walk, kind = self._walk, type(value)
        if kind.__module__.partition(".")[0] not in ("builtins", "__main__"):
            walk.library(kind.__module__)
        if _is_c(value):
            return self._compiled(value)
        if (module := _module_of(value)) is not None:
            return f"names of {walk.ref(module)}"
        for other, mark in self._met.get(at, ()):
            if other is value or (type(other) is kind and kind in PLAIN and other == value):
                return mark
        symbol, mark = walk.symbols.new(at)
        self._met.setdefault(at, []).append((value, mark))
        if kind not in PLAIN:
            walk.know(value, mark)
        walk.later(lambda: self._fill(symbol, value))
        return mark

    def inner(self, value: Any, symbol: Symbol) -> str:
        """Take in an object that another one holds; return what it counts by."""
        one, mark = self._walk.symbols.inner(symbol)
        self._walk.know(value, mark)
        self._walk.later(lambda: self._fill(one, value))
        return mark

    def _compiled(self, value: Any) -> str:
        walk, module = self._walk, getattr(value, "__module__", None) or ""
        name = walk.library(module, getattr(value, "__qualname__", type(value).__qualname__))
        file = getattr(sys.modules.get(module), "__file__", None) or ""
        if module and file and walk.owner.owns_file(file, module):
            walk.symbols.unfollowed.setdefault(f"{name}: compiled code of the project")
        return name

    def _fill(self, symbol: Symbol, value: Any) -> None:
        looked = Constant(self._walk, symbol)
        is_filled = self._walk.changes.has(value)
        place = self._places.get(symbol.at) if symbol.home is None else None
        space = self._walk.changes.rebound(*place) if place is not None else None

        def tell(one: Any) -> str:
            return looked.whole(one, is_filled=is_filled)

        if space is not None and place is not None:
            symbol.parts.append(as_first_seen(space, place[1], value, tell))
        else:
            symbol.shown = "" if is_filled else self._walk.below_root(short(value))
            symbol.parts.append(tell(value))
        if looked.untold:
            self._made_by(symbol.home or symbol, looked.untold)

    def _made_by(self, symbol: Symbol, untold: Sequence[str]) -> None:
        """Of what cannot be looked into, the statement counts that made it."""
        file, name = self._places.get(symbol.at, ("", ""))
        source = source_of(file) if file else None
        statements = source.names.bound.get(name, []) if source is not None else []
        if source is None or not statements:
            for text in untold:
                self._walk.symbols.say(symbol, text)
            return
        if symbol.name in self._made:
            return
        self._made.add(symbol.name)
        modules: list[Any] = list(sys.modules.values())  # whatever somebody put there
        module = next((one for one in modules if file in _files_of(one)), None)
        scope = Scope(vars(module) if module is not None else {}, {}, source)
        for statement in statements:
            symbol.parts.append(source.form(statement))
            self._walk.take(symbol, source.piece(statement), scope)

    # Paths

    def path(self, value: PurePath, at: str) -> str:
        """Take in a path among the constants: a file counts by its name here and its content."""
        path = Path(value)
        if self._holds_results(path):
            self._walk.symbols.unfollowed.setdefault(
                f"{at}: a folder that holds results; what lies in it does not count"
            )
        elif self._holds_code(path):
            pass  # the code in it counts as code
        elif path.exists():
            self.paths[at] = path
            return hash_texts(["path", path.name])
        return hash_texts(["path", self._walk.below_root(path.as_posix())])

    def _holds_results(self, path: Path) -> bool:
        """Whether a folder changes with every run: the project itself, or a place in it."""
        if not path.is_dir():
            return False
        real, root = self._walk.owner.real(str(path)), self._walk.owner.root
        return (root + "/").startswith(real + "/") or (path / ".databacked").is_dir()

    def _holds_code(self, path: Path) -> bool:
        """Whether a folder is one of own code: a constant such as ``Path(__file__).parent``."""
        return path.is_dir() and any(
            self._walk.owner.owns_file(str(one), "") for one in path.glob("*.py")
        )


def _module_of(value: Any) -> ModuleType | None:
    """Return the module whose names a dict is: ``vars(module)``."""
    name = value.get("__name__") if type(value) is dict else None
    module = sys.modules.get(name) if isinstance(name, str) else None
    return module if getattr(module, "__dict__", None) is value else None


def _files_of(module: Any) -> list[str]:
    return files_of(module) if isinstance(module, ModuleType) else []


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
