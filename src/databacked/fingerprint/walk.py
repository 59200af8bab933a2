"""A walk through a value, as what knows one library sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Walk(Protocol):
    """Gives the tokens of parts; see `databacked.fingerprint.values.Tokens`."""

    def of(self, value: Any, where: str) -> str:
        """Return what a part counts by."""
        ...

    def hash(self, *parts: str) -> str:
        """Return the token of what has these parts."""
        ...

    def each(self, values: Any, where: str) -> list[str]:
        """Return the tokens of elements."""
        ...

    def pairs(self, value: Mapping[Any, Any], where: str) -> list[str]:
        """Return those of keys and values, and the order that they stand in."""
        ...

    def more(self, **said: Any) -> list[str]:
        """Return what is unusual of a value: nothing where nothing is."""
        ...

    def added(self, value: Any, where: str, hidden: Sequence[str] = ()) -> list[str]:
        """Return what a class adds to the library's that it derives from: its code, its state."""
        ...

    def of_code(self, value: Any, where: str) -> str:
        """Return the token of a function or class."""
        ...

    def of_instance(self, value: Any, where: str) -> str:
        """Return the token of an object by its class and its state."""
        ...
