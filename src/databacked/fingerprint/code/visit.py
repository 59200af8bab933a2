"""What those who look into functions, classes, modules and constants ask of the walk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, Protocol

from databacked.fingerprint.code.changes import Changes
from databacked.fingerprint.code.names import Piece
from databacked.fingerprint.code.ownership import Ownership
from databacked.fingerprint.code.scope import Scope
from databacked.fingerprint.code.state import Looks
from databacked.fingerprint.code.symbols import Symbol, Symbols


class Visit(Looks, Protocol):
    """One walk: what was met, and what is to be visited."""

    owner: Ownership
    symbols: Symbols
    changes: Changes
    library_modules: set[str]

    first: Any
    """What the walk begins with: its name does not count."""

    def meet(self, value: Any, name: str, fill: Callable[[Symbol], None]) -> str:
        """Give code of the project a number; it is looked into later."""
        ...

    def know(self, value: Any, mark: str) -> None:
        """Remember what an object counts by."""
        ...

    def known(self, value: Any) -> str | None:
        """Return what an object counts by that was met before."""
        ...

    def later(self, fill: Callable[[], None]) -> None:
        """Look into a value when it is known what code changes."""
        ...

    def named(self, value: Any, at: str) -> str:
        """Return what a value counts by that has a name in code, and may have been met by now."""
        ...

    def token(self, symbol: Symbol, what: str, value: Any) -> str:
        """Return what a value counts by that is no constant of a module."""
        ...

    def library(self, module: str, name: str = "") -> str:
        """Take in something of a library; return its package with its name."""
        ...

    def owns(self, value: Any) -> bool:
        """Whether a function or class is the project's own."""
        ...

    def take(self, symbol: Symbol, piece: Piece, scope: Scope, *, calls: bool = True) -> None:
        """Take in all that a piece of code takes from outside.

        Parameters
        ----------
        calls
            Whether it runs when it is reached; of a class only those methods do that are called.
        """
        ...

    def attributes(self, symbol: Symbol, function: FunctionType) -> None:
        """Take in what hangs on a function."""
        ...

    def loaded(self, file: str, space: Mapping[str, Any]) -> None:
        """Take in what a file does to others when it is loaded."""
        ...

    def stands(self, at: str, file: str, name: str) -> None:
        """Note in which file, and under which name there, a constant stands."""
        ...

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
        ...
