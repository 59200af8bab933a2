"""Parts of a value: ``future["a"]["b"]``."""

from __future__ import annotations

from typing import Any

from databacked.places.place import Bound, part_of
from databacked.records.record import Record


class Lazily:
    """A kept value inside a chain: handed over to each reader anew."""

    __slots__ = ("bound", "record", "same")

    def __init__(self, bound: Bound, record: Record, same: Any) -> None:
        self.bound, self.record, self.same = bound, record, same

    def get(self, keys: tuple[Any, ...] = ()) -> Any:
        """Return it, or a part of it, as a reader gets it."""
        return self.bound.hand_over(self.record, self.same, keys)


def get_keys(value: Any, keys: tuple[Any, ...]) -> Any:
    """Follow ``future["a"]["b"]`` into a value."""
    return value.get(keys) if type(value) is Lazily else part_of(value, keys)
