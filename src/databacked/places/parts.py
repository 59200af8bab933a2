"""Parts of a value: ``future["a"]["b"]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from databacked.errors import DatabackedError
from databacked.places.place import Place
from databacked.records.record import Record


class Lazily:
    """A kept value inside a chain: handed over to each reader anew."""

    __slots__ = ("place", "record", "same")

    def __init__(self, place: Place, record: Record, same: Any) -> None:
        self.place, self.record, self.same = place, record, same

    def get(self, keys: tuple[Any, ...] = ()) -> Any:
        """Return it, or a part of it, as a reader gets it."""
        return self.place.value(self.record, self.same, keys)


def get_keys(value: Any, keys: tuple[Any, ...]) -> Any:
    """Follow ``future["a"]["b"]`` into a value."""
    return value.get(keys) if type(value) is Lazily else part_of(value, keys)


def part_of(value: Any, keys: Sequence[Any]) -> Any:
    """Follow ``future["a"]["b"]`` into a value.

    Raises
    ------
    DatabackedError
        If it holds no such part.
    """
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            held = ", ".join(map(repr, value)) if isinstance(value, dict) else type(value).__name__
            raise DatabackedError(
                f"[{key!r}] is not in what the task returned (it holds {held})."
            ) from error
    return value
