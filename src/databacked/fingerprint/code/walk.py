"""One walk from a function through all that it reaches: a list of what is still to visit.

What is met gets a number at once, and is looked into later: code first, then constants, so that it
is known by then what code changes while it runs.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Hashable
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any

from databacked.callables import file_of
from databacked.fingerprint.code.changes import Changes
from databacked.fingerprint.code.classes import Classes
from databacked.fingerprint.code.constants import Constants
from databacked.fingerprint.code.functions import Functions
from databacked.fingerprint.code.members import called_in
from databacked.fingerprint.code.modules import Modules
from databacked.fingerprint.code.names import Piece, chains
from databacked.fingerprint.code.ownership import Ownership
from databacked.fingerprint.code.scope import Scope, absolute, unwrapped
from databacked.fingerprint.code.state import Constant
from databacked.fingerprint.code.symbols import Symbol, Symbols
from databacked.fingerprint.code.uses import Uses

_CODE = (FunctionType, type, ModuleType, MethodType)


class Walk:
    """Visits what a function reaches.

    Parameters
    ----------
    whole
        Identities of containers of which all counts, though only a part is named: an earlier walk
        found that code changes them.
    """

    def __init__(
        self, owner: Ownership, first: Any, whole: frozenset[Hashable] = frozenset()
    ) -> None:
        self.owner = owner
        self.first = unwrapped(first)
        """Its name does not count."""
        self.symbols = Symbols()
        self.libraries: set[str] = set()
        self.library_modules: set[str] = set()
        self.changes = Changes(whole)
        self.constants = Constants(self)
        self._functions, self._classes = Functions(self), Classes(self)
        self._modules, self._uses = Modules(self), Uses(self)
        self.attributes = self._functions.attributes
        self.loaded = self._modules.loaded
        self.stands = self.constants.stands
        self.reached = self._uses.reached
        self._known: dict[int, str] = {}
        self._alive: list[Any] = []
        self._code: deque[Callable[[], None]] = deque()
        self._values: deque[Callable[[], None]] = deque()

    def run(self) -> None:
        """Visit all that the function reaches."""
        self.ref(self.first)
        while self._code or self._values:
            (self._code or self._values).popleft()()

    # What is met

    def meet(self, value: Any, name: str, fill: Callable[[Symbol], None]) -> str:
        """Give code of the project a number; it is looked into later."""
        symbol, mark = self.symbols.new(name)
        self.know(value, mark)
        self._code.append(lambda: fill(symbol))
        return mark

    def know(self, value: Any, mark: str) -> None:
        """Remember what an object counts by."""
        self._known[id(value)] = mark
        self._alive.append(value)  # so that no other object gets its identity

    def known(self, value: Any) -> str | None:
        """Return what an object counts by that was met before."""
        return self._known.get(id(value))

    def later(self, fill: Callable[[], None]) -> None:
        """Look into a value when it is known what code changes."""
        self._values.append(fill)

    def ref(self, value: Any, at: str = "") -> str:
        """Return what an object counts by, and take it in."""
        value = unwrapped(value)
        known = self._known.get(id(value))
        if known is not None:
            return known
        if isinstance(value, MethodType):
            return f"{self.ref(value.__func__)} of {self.ref(value.__self__, at)}"
        if isinstance(value, FunctionType):
            return self._functions.ref(value)
        if isinstance(value, type):
            return self._classes.ref(value)
        if isinstance(value, ModuleType):
            return self._modules.ref(value)
        if type(value).__module__ == "functools":
            wrapped = getattr(value, "__wrapped__", None)
            if wrapped is not None:
                return self.ref(wrapped)
        return self.constants.ref(value, at)

    def named(self, value: Any, at: str) -> str:
        """Return what a value counts by that has a name in code, and may have been met by now."""
        value = unwrapped(value)
        if isinstance(value, _CODE):
            return self.ref(value, at)
        return self._known.get(id(value)) or self.constants.ref(value, at)

    def token(self, symbol: Symbol, what: str, value: Any) -> str:
        """Return what a value counts by that is no constant of a module."""
        value = unwrapped(value)
        if isinstance(value, _CODE):
            return self.ref(value, symbol.name + what)
        looked = Constant(self, symbol, what)
        token = looked.told(value)
        for text in looked.untold:
            self.symbols.say(symbol, f"{what.lstrip('.')}: {text}")
        return token

    def library(self, module: str, name: str = "") -> str:
        """Take in something of a library; return its package with its name."""
        top = module.partition(".")[0]
        if top and top not in sys.stdlib_module_names and top != "__main__":
            self.libraries.add(top)
            self.library_modules.add(module)
        return f"{top}.{name}" if name else top

    def owns(self, value: Any) -> bool:
        """Whether a function or class is the project's own."""
        return self.owner.owns_file(file_of(value), getattr(value, "__module__", None) or "")

    def take(self, symbol: Symbol, piece: Piece, scope: Scope, *, calls: bool = True) -> None:
        """Take in all that a piece of code takes from outside."""
        if calls:
            self.changes.spell(called_in(piece))
        for write in piece.writes:
            self.changes.note(write, scope)
        for one in piece.imports:  # in their order, before anything of them is looked at
            self.owner.load(absolute(one.module, scope.space))
        for use in chains(piece):
            found = self._uses.token(symbol, use, piece, scope)
            if found is not None:
                symbol.add(f"{use.text}:", found)
        for one in piece.imports:
            self._uses.imported(symbol, one, one in piece.used_imports, scope)
        for call in piece.calls:
            self._uses.call(symbol, call, scope)

    # What constants ask for

    def inner(self, value: Any, symbol: Symbol) -> str:
        """Take in an object that another one holds; return what it counts by."""
        return self._known.get(id(value)) or self.constants.inner(value, symbol)

    def path(self, value: PurePath, at: str) -> str:
        """Take in a path among the constants."""
        return self.constants.path(value, at)

    def below_root(self, text: str) -> str:
        """Return a text without the place where the project lies."""
        return text.replace(self.owner.root, "<root>")

    def stored_later(self, kind: type) -> set[str]:
        """Return the attributes that objects of a class may be given while a task runs."""
        return self.changes.stored_later(kind)


def walked(owner: Ownership, function: Any) -> Walk:
    """Walk from a function; anew, where a part was taken of something that code changes."""
    whole: frozenset[Hashable] = frozenset()
    while True:
        walk = Walk(owner, function, whole)
        walk.run()
        if not (found := walk.changes.wrongly_narrowed()):
            return walk
        whole |= found
