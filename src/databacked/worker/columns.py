"""Many items of one node as columns: what goes out, and what comes back.

Most items of a large map are plain: they read nothing of other items, and what they make lies
nowhere yet. Such items go out as rows of columns, and come back as columns; no object an item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, overload

from databacked.capture import Said
from databacked.storage.looks import Stat
from databacked.worker.messages import Outcome, Spec, Work

EXACT = frozenset({type(None), bool, int, float, str})
"""Types of values that travel as they are, and that a record holds as they are."""


@dataclass(frozen=True)
class Rows(Sequence[list[Work]]):
    """A batch of items of one node; a chain an item for who asks for one."""

    spec: int
    rows: Sequence[int]
    args: Mapping[str, Sequence[Any]]
    """Column of each parameter that differs from item to item."""

    tokens: Sequence[str | Sequence[str]]
    """Token of each parameter, in the order of the recipe: one for all, or one an item."""

    targets: Sequence[str] | None
    judged: Sequence[Stat | None]
    """What lies at the targets and is to be replaced; empty where nothing does."""

    hold: bool
    """Whether their values are held."""

    needs: ClassVar[tuple[()]] = ()
    """Held values that they read: none, all that they get is plain."""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> list[Work]: ...

    @overload
    def __getitem__(self, index: slice) -> list[list[Work]]: ...

    def __getitem__(self, index: int | slice) -> list[Work] | list[list[Work]]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        target = None if self.targets is None else self.targets[index]
        args = tuple(column[index] for column in self.args.values())
        row = self.rows[index]
        return [Work(self.spec, row, target, args, self.tokens_of(index), None, True, self.hold)]

    def tokens_of(self, index: int) -> tuple[str, ...]:
        """Return the token of each parameter of one item, in the order of the recipe."""
        return tuple(one if isinstance(one, str) else one[index] for one in self.tokens)

    def recipes(self, spec: Spec) -> list[str]:
        """Return the recipes of all items."""
        count = len(self.rows)
        if not self.tokens:
            return [spec.recipe(())] * count
        columns = [[one] * count if isinstance(one, str) else one for one in self.tokens]
        return spec.recipes(columns)


@dataclass(frozen=True)
class Made:
    """Items of one batch that were made, and of which there is nothing else to say."""

    spec: int
    rows: Sequence[int]
    seconds: float
    """What all of them took."""

    busy: float
    """How much of that the thread was at work, seconds: it may have waited for others."""

    held: bool = False
    contents: Sequence[str] | None = None
    """Of the files, where values are kept."""

    lines: Sequence[bytes] | None = None
    """Their records."""

    rest: Sequence[Outcome] = ()
    """What became of the other items of the batch."""

    said: Mapping[int, Sequence[Said]] = field(default_factory=dict)
    """What items printed, logged and warned of, by their rows."""

    notes: Mapping[str, int] = field(default_factory=dict)
    """What is to be said of how items were made, and of how many."""
