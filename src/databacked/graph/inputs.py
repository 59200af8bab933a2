"""The six kinds of arguments of a node, behind one interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from databacked.errors import GraphError
from databacked.graph.futures import Future, elements
from databacked.graph.nodes import AnyNode, Input, Item, Key, Node
from databacked.graph.sketch import Unknown, holds_unknown
from databacked.places.parts import get_keys


class Plain(Input):
    """The same value for every item, known now."""

    __slots__ = ("token", "value")

    def __init__(self, value: Any, token: str | None = None) -> None:
        self.value = value
        self.token = token
        """What it counts by, where that was taken at the call: a large array is not copied."""

    def given(self, row: int) -> Any:
        return self.value


class Column(Input):
    """One value an item, known now."""

    __slots__ = ("of_table", "token", "values")

    def __init__(self, values: Sequence[Any], token: list[str] | None = None) -> None:
        self.values = values
        self.token = token
        """What the values count by, where it was taken at the call."""
        self.of_table = False
        """Whether they came as a column of a table, where whole numbers may have become floats."""

    def length(self) -> int:
        return len(self.values)

    def given(self, row: int) -> Any:
        return self.values[row]

    def repeated(self, rows: Sequence[int]) -> Column:
        tokens = None if self.token is None else [self.token[row] for row in rows]
        return Column([self.values[row] for row in rows], tokens)


class Items(Input):
    """One item of another node for each item: the same position, or the one that `picks` names."""

    __slots__ = ("_rows", "keys", "node", "picks")

    def __init__(
        self, node: Node, picks: Sequence[int] | None = None, keys: tuple[Key, ...] = ()
    ) -> None:
        self.node = node
        self.picks = picks
        self.keys = keys
        self._rows: dict[int, list[int]] | None = None

    def pick(self, row: int) -> int:
        """Return which item of the other node a row reads."""
        return row if self.picks is None else self.picks[row]

    def length(self) -> int:
        return self.node.n if self.picks is None else len(self.picks)

    def nodes(self) -> Sequence[AnyNode]:
        return (self.node,)

    def items(self, row: int) -> Sequence[Item]:
        return ((self.node, row if self.picks is None else self.picks[row]),)

    def reading(self, node: Node, row: int) -> Sequence[int]:
        if node is not self.node:
            return ()
        if self.picks is None:
            return (row,)
        if self._rows is None:
            self._rows = {}
            for one, pick in enumerate(self.picks):
                self._rows.setdefault(pick, []).append(one)
        return self._rows.get(row, ())

    def given(self, row: int) -> Future:
        return Future(self.node, self.pick(row), self.keys)

    def repeated(self, rows: Sequence[int]) -> Items:
        return Items(self.node, [self.pick(row) for row in rows], self.keys)


class Element(Input):
    """The elements of what one item of another node returned: one an item."""

    __slots__ = ("_open", "index", "keys", "known", "node")

    def __init__(self, node: Node, index: int, keys: tuple[Key, ...], known: Sequence[Any]) -> None:
        self.node = node
        self.index = index
        self.keys = keys
        self.known = known
        """What is known of each element: itself where it is small."""
        self._open: list[int] | None = None

    def length(self) -> int:
        return len(self.known)

    def nodes(self) -> Sequence[AnyNode]:
        return (self.node,)

    def items(self, row: int) -> Sequence[Item]:
        return ((self.node, self.index),) if holds_unknown(self.known[row]) else ()

    def reading(self, node: Node, row: int) -> Sequence[int]:
        if node is not self.node or row != self.index:
            return ()
        if self._open is None:
            self._open = [one for one, known in enumerate(self.known) if holds_unknown(known)]
        return self._open

    def given(self, row: int) -> Any:
        known = self.known[row]
        return Future(self.node, self.index, (*self.keys, row)) if holds_unknown(known) else known

    def repeated(self, rows: Sequence[int]) -> Mixed:
        parts = [Future(self.node, self.index, (*self.keys, row)) for row in rows]
        return Mixed(parts, [[part] for part in parts])


class Filled(Input):
    """A value that holds futures, the same for every item."""

    __slots__ = ("_items", "refs", "value")

    may_mark = True

    def __init__(self, value: Any, refs: list[Future]) -> None:
        self.value = value
        self.refs = refs
        self._items: dict[Item, None] | None = None

    def nodes(self) -> Iterator[AnyNode]:
        return (future.node for future in self.refs)

    def shared(self) -> Sequence[Item]:
        if self._items is None:
            items = (item for future in self.refs for item in future.items())
            self._items = dict.fromkeys(items)
        return tuple(self._items)

    def shares(self, node: Node, row: int) -> bool:
        return (node, row) in (self._items or self.shared())

    def given(self, row: int) -> Any:
        return self.value


class Mixed(Input):
    """One value an item, and some hold futures."""

    __slots__ = ("_rows", "refs", "values")

    may_mark = True

    def __init__(self, values: Sequence[Any], refs: list[list[Future]]) -> None:
        self.values = values
        self.refs = refs
        self._rows: dict[Item, list[int]] | None = None

    def length(self) -> int:
        return len(self.values)

    def nodes(self) -> Iterator[AnyNode]:
        return (future.node for row in self.refs for future in row)

    def items(self, row: int) -> Sequence[Item]:
        return [item for future in self.refs[row] for item in future.items()]

    def reading(self, node: Node, row: int) -> Sequence[int]:
        if self._rows is None:
            self._rows = {}
            for one in range(len(self.refs)):
                for item in dict.fromkeys(self.items(one)):
                    self._rows.setdefault(item, []).append(one)
        return self._rows.get((node, row), ())

    def given(self, row: int) -> Any:
        return self.values[row]

    def repeated(self, rows: Sequence[int]) -> Mixed:
        return Mixed([self.values[row] for row in rows], [self.refs[row] for row in rows])


def elements_of(source: Node, row: int, keys: tuple[Any, ...]) -> Input:
    """Return the elements of what one item returned, as a column of their own."""
    known = get_keys(source.known[row], keys)
    if isinstance(known, Unknown):
        if not known.shape:
            raise GraphError(f"{source.name}[{row}] returned a value without elements.")
        return Element(source, row, keys, [Unknown(known.shape[1:])] * known.shape[0])
    along_first = isinstance(known, np.ndarray) and known.ndim > 1
    items = list(known) if along_first else elements(known)
    if items is None:
        raise GraphError(
            f"{source.name}[{row}] returned {known!r}; something with elements was expected."
        )
    if any(holds_unknown(item) for item in items):
        return Element(source, row, keys, items)
    return Column(items)
