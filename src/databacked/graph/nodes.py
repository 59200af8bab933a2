"""What depends on what: futures, maps, and what a map runs over.

A call is a node, a single call a map of one item. A node holds columns, not an object an item, so
that a hundred thousand items cost little. What is not known before something ran (the cells that
were found in an image) is a `Dynamic` node: it gets one block of items as each of its sources
becomes known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, overload

from databacked.errors import FingerprintError, GraphError
from databacked.graph.step import Step

Key: TypeAlias = str | int


# ---------------------------------------------------------------- what a call gives


class Future:
    """Stands for the value of one item until it is known."""

    __slots__ = ("index", "keys", "node")

    def __init__(self, node: AnyNode, index: int | None = 0, keys: tuple[Key, ...] = ()) -> None:
        self.node = node
        self.index = index
        """Which item; None for the list of all items."""
        self.keys = keys

    def result(self) -> Any:
        """Run what this value needs, and return it."""
        return self.node.session.result(self)

    def __getitem__(self, key: Key) -> Future:
        if not isinstance(key, str | int):
            raise GraphError(
                f"{self!r}[{key!r}]: a future is indexed by a name or a number; use .result() to "
                "slice the value itself."
            )
        return Future(self.node, self.index, (*self.keys, key))

    def __repr__(self) -> str:
        keys = "".join(f"[{key!r}]" for key in self.keys)
        which = "" if self.node.single or self.index is None else f"[{self.index}]"
        return f"<future of {self.node.name}{which}{keys}>"

    def _misused(self, *_: object) -> NoReturn:
        raise GraphError(
            f"{self!r} is not known yet, so it cannot be used as a number, a truth value, a list "
            "or a file. Pass it to a task, or call .result() to have the value now."
        )

    def __deepcopy__(self, memo: Any) -> Future:
        return self

    def __databacked_token__(self) -> NoReturn:
        raise FingerprintError(
            f"it holds {self!r}, a value of a task, where it is not looked for: pass it as an "
            "argument, or in a list, a dict or an object of its own."
        )

    __bool__ = __int__ = __float__ = __index__ = __len__ = __iter__ = __contains__ = _misused
    __fspath__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _misused
    __truediv__ = __rtruediv__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __array__ = _misused
    __format__ = _misused


class Futures(Sequence[Future]):
    """The answer of a map: a sequence of futures, made when asked for."""

    def __init__(
        self, node: AnyNode, picks: Sequence[int] | None = None, keys: tuple[Key, ...] = ()
    ) -> None:
        self.node = node
        self.picks = picks
        """Which items; None for all of them, in order."""
        self.keys = keys

    def __len__(self) -> int:
        return self.node.length() if self.picks is None else len(self.picks)

    @overload
    def __getitem__(self, key: int) -> Future: ...
    @overload
    def __getitem__(self, key: slice | str) -> Futures: ...
    def __getitem__(self, key: int | slice | str) -> Future | Futures:
        if isinstance(key, str):
            return Futures(self.node, self.picks, (*self.keys, key))
        picks = range(len(self)) if self.picks is None else self.picks
        if isinstance(key, slice):
            return Futures(self.node, picks[key], self.keys)
        return Future(self.node, picks[key], self.keys)

    def __iter__(self) -> Iterator[Future]:
        picks = range(len(self)) if self.picks is None else self.picks
        return (Future(self.node, index, self.keys) for index in picks)

    def __deepcopy__(self, memo: Any) -> Futures:
        return self

    def result(self) -> list[Any]:
        """Run what these values need, and return them as a list."""
        return list(self.node.session.result(self))

    def whole(self) -> Future | list[Future]:
        """Return the list of all items as one future, where it is all of them."""
        return Future(self.node, None, self.keys) if self.picks is None else list(self)

    def __repr__(self) -> str:
        count = "?" if self.picks is None and self.node.dynamic else len(self)
        return f"<{count} futures of {self.node.name}>"

    def of(self, column: Any) -> list[Any]:
        """Return for each item of a swept map the value of `column` that belongs to it.

        Examples
        --------
        ``masks = segment.map(ids, images, sigma=sweep([1, 2]))``, then
        ``measure.map(masks.of(ids), masks)``.

        Raises
        ------
        GraphError
            If the map was not swept, or `column` does not have one value for each of its items.
        """
        node = self.node
        items = list(column) if isinstance(column, Futures) else elements(column)
        if not isinstance(node, Node) or self.picks is not None or items is None:
            raise GraphError(f"{self!r}.of(x): the whole answer of a swept map, and a list, fit.")
        if len(items) * node.repeat != node.n:
            raise GraphError(
                f"{self!r}.of(x): x has {len(items)} values, and the map {node.n // node.repeat} "
                f"items, each swept over {node.repeat} values."
            )
        return [item for item in items for _ in range(node.repeat)]

    @property
    def table(self) -> Any:
        """What is known of each item by now: parameters, state, and where it lies; a DataFrame."""
        return self.node.session.table(self)


class Values(list[Any]):
    """The values of a map: a list, mapped over like any other one."""

    answer: Futures | None = None
    """What they are the values of; not known after they were sent elsewhere."""

    @property
    def table(self) -> Any:
        """Parameters, state and place of each item, as a DataFrame.

        Raises
        ------
        GraphError
            If it is a plain list of values by now, which nobody knows the items of.
        """
        if self.answer is None:
            raise GraphError("This list of values is no longer the answer of a map.")
        return self.answer.table

    def of(self, column: Any) -> list[Any]:
        """Return for each item of a swept map the value of `column` that belongs to it."""
        if self.answer is None:
            raise GraphError("This list of values is no longer the answer of a map.")
        return self.answer.of(column)

    def __reduce__(self) -> tuple[Any, ...]:
        return Values, (list(self),)

    def _repr_html_(self) -> str | None:
        from databacked.pictures.html import values_html

        return values_html(self)


# ---------------------------------------------------------------- what a map runs over


@dataclass(frozen=True)
class Each:
    """Marks a value whose elements are the items: an array's first axis, what a task returns."""

    value: Any


# ---------------------------------------------------------------- arguments of a node


@dataclass(slots=True)
class Plain:
    """The same value for every item, known now."""

    value: Any
    token: str | None = None
    """What it counts by, where that was taken at the call: a large array is not copied."""


@dataclass(slots=True)
class Column:
    """One value an item, known now."""

    values: Sequence[Any]
    token: list[str] | None = None
    """What the values count by, where it was taken at the call."""


@dataclass(slots=True)
class Items:
    """One item of another node for each item: the same position, or the one that `picks` names."""

    node: Node
    picks: Sequence[int] | None = None
    keys: tuple[Key, ...] = ()

    def pick(self, index: int) -> int:
        return index if self.picks is None else self.picks[index]


@dataclass(slots=True)
class Nested:
    """A value that holds futures, the same for every item."""

    value: Any
    refs: list[Future]


@dataclass(slots=True)
class NestedColumn:
    """One value an item, and some hold futures."""

    values: Sequence[Any]
    refs: list[list[Future]]


@dataclass(slots=True)
class Element:
    """The elements of what one item of another node returned: one an item."""

    node: Node
    index: int
    keys: tuple[Key, ...]
    known: Sequence[Any]
    """What is known of each element: itself where it is small."""


Arg: TypeAlias = Plain | Column | Items | Nested | NestedColumn | Element


ENDS = ("", "made", "reused", "failed", "skipped")
"""What may become of an item."""


class Node:
    """One call of a task: a map of `n` items, or a single call (a map of one)."""

    dynamic = False

    __slots__ = (
        "alias",
        "args",
        "decides",
        "ended",
        "id",
        "known",
        "n",
        "own_readers",
        "parent",
        "plan",
        "promised",
        "repeat",
        "rows",
        "session",
        "single",
        "state",
        "targets",
        "task",
        "token",
    )

    def __init__(
        self, session: Any, task: Step, args: dict[str, Arg], n: int, single: bool
    ) -> None:
        self.session = session
        self.task = task
        self.args = args
        self.n = n
        self.single = single
        self.id = -1
        self.parent: Dynamic | None = None
        """The map of unknown length that this node is a block of."""
        self.own_readers: list[tuple[Node, str]] = []
        self.targets: list[str | None] | None = None
        self.state = bytearray(n)
        self.token: list[str | None] = [None] * n
        self.known: dict[int, Any] = {}
        self.alias: dict[int, tuple[Node, int]] = {}
        self.rows: dict[str, dict[Any, list[int]]] = {}
        self.decides = False
        """Whether its values decide the items or targets of other nodes."""
        self.plan: Any = None
        self.promised = False
        """Whether maps that are not known yet will read it."""
        self.ended = bytearray(n)
        """What became of each item: a number of `ENDS`."""
        self.repeat = 1
        """How many items of a sweep there are for each item that is zipped."""

    @property
    def name(self) -> str:
        """Name of its task."""
        return self.task.name

    def length(self) -> int:
        """Number of items."""
        return self.n

    def became(self, row: int) -> str:
        """What became of an item: ``made``, ``reused``, ``failed``, ``skipped``, or ``""``."""
        return ENDS[self.ended[row]]

    @property
    def readers(self) -> list[tuple[Node, str]]:
        """Nodes that read this one, or the whole map that it is a block of, and where."""
        if self.parent is None:
            return self.own_readers
        return [*self.own_readers, *self.parent.readers]

    def readers_of(self, param: str, upstream_index: int, arg: Items) -> Sequence[int]:
        """Return the items of this node that read one item of another through `param`."""
        if arg.picks is None:
            return (upstream_index,)
        rows = self.rows.get(param)
        if rows is None:
            rows = self.rows[param] = {}
            for row, pick in enumerate(arg.picks):
                rows.setdefault(pick, []).append(row)
        return rows.get(upstream_index, ())

    def __repr__(self) -> str:
        return f"<node {self.id} {self.name} × {self.n}>"


class Dynamic:
    """A map whose items become known while the flow runs: one block a source."""

    dynamic = True
    single = False

    def __init__(
        self, session: Any, task: Step, args: dict[str, Any], blocks: int, origin: Any
    ) -> None:
        self.session = session
        self.task = task
        self.args = args
        self.origin = origin
        """What decides the blocks: two dynamic maps with one origin have the same blocks."""
        self.blocks: list[AnyNode | None] = [None] * blocks
        self.failed: dict[int, Any] = {}
        """Blocks that will never be, because their source failed, and why."""
        self.known: list[Callable[[int], None]] = []
        """Called with the number of a block that became known, or failed."""
        self.completed: list[Callable[[], None]] = []
        """Called once all items are known."""
        self.sources: dict[int, list[tuple[Node, int]]] = {}
        """Items whose values decide each block that is not known yet, and may be read by it."""
        self.open = blocks
        """How many blocks, or items inside of them, are not known yet."""
        self.parent: Dynamic | None = None
        self.own_readers: list[tuple[Node, str]] = []

    @property
    def name(self) -> str:
        """Name of its task."""
        return self.task.name

    @property
    def readers(self) -> list[tuple[Node, str]]:
        """Nodes that read all of it, or of the map that it is a block of."""
        return [*self.own_readers, *(self.parent.readers if self.parent is not None else ())]

    @property
    def complete(self) -> bool:
        """Whether all items are known."""
        return self.open == 0

    def block_known(self) -> None:
        """Note that all items of one more block are known."""
        self.open -= 1
        if self.open == 0:
            for tell in self.completed:
                tell()
            if self.parent is not None:
                self.parent.block_known()

    def length(self) -> int:
        """Number of items, once all are known."""
        if not self.complete:
            raise GraphError(
                f"How many items {self.name} has is known only when what it runs over is: use "
                ".result(), or pass the answer on as it is."
            )
        return sum(block.length() for block in self.blocks if block is not None)

    def at(self, index: int) -> tuple[Node, int]:
        """Return node and position of the item `index` of all."""
        for block in self.blocks:
            if block is not None:
                count = block.length()
                if index < count:
                    return (block, index) if isinstance(block, Node) else block.at(index)
                index -= count
        raise IndexError(index)


AnyNode: TypeAlias = Node | Dynamic


UNLOOKED = "x:not looked at"
"""What a value counts by that cannot be looked at: no record has it, and its item fails."""


def elements(value: Any) -> list[Any] | None:
    """Return the items of what a map runs over, or None if the value is one for all items.

    Raises
    ------
    GraphError
        For a DataFrame (which column?) and for iterators (they can be read only once).
    """
    kind = type(value)
    if kind in (list, tuple, range, Values):
        return list(value)
    if kind in (str, bytes, dict, int, float, bool, type(None)):
        return None
    module = kind.__module__.partition(".")[0]
    if module == "pandas":
        if hasattr(value, "columns"):
            names = ", ".join(repr(name) for name in value.columns)
            raise GraphError(
                f"A DataFrame cannot be mapped over: pass its columns one by one ({names}), or "
                "wrap it in same(...) to give all of it to every item."
            )
        if hasattr(value, "tolist") and hasattr(value, "dtype"):
            return list(value.tolist())
        return None
    if module == "numpy" and getattr(value, "ndim", None) == 1:
        # Plain numbers and texts arrive as Python's own, other types as numpy's.
        if value.dtype.str in ("<i8", "<f8", "|b1") or value.dtype.kind in "UO":
            return list(value.tolist())
        return list(value)
    if isinstance(value, Iterator):
        raise GraphError(
            f"An iterator ({kind.__name__}) can be read only once: pass list(...) of it to map."
        )
    if isinstance(value, list | tuple | range):
        return list(value)
    return None
