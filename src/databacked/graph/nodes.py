"""What depends on what: nodes, what they read, and maps whose items are yet to become known.

A call is a node, a single call a map of one item. A node holds columns, not an object an item, so
that a hundred thousand items cost little. What is not known before something ran (the cells that
were found in an image) is a `Dynamic` node: it gets one block of items as each of its sources
becomes known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from databacked.errors import GraphError
from databacked.graph.step import Step

Key: TypeAlias = str | int


class Owner(Protocol):
    """What the nodes of a graph belong to: a run, or the outline of one."""

    def result(self, asked: Any) -> Any:
        """Return the value of a future, or of all items of a map."""

    def table(self, asked: Any) -> Any:
        """Return what is known of each item of a map."""


class Input:
    """One argument of a node: what each of its items gets."""

    __slots__ = ()

    may_mark = False
    """Whether it can hold a mark in place of what failed."""

    def length(self) -> int | None:
        """Return how many items a map over it has; None for what is the same for all of them."""
        return None

    def nodes(self) -> Iterable[AnyNode]:
        """Return the nodes that it reads."""
        return ()

    def undecided(self) -> list[Dynamic]:
        """Return the maps that it reads whose items are not all known yet."""
        return [node for node in self.nodes() if isinstance(node, Dynamic) and not node.complete]

    def shared(self) -> Sequence[Item]:
        """Return the items that every row reads."""
        return ()

    def shares(self, node: Node, row: int) -> bool:
        """Whether every row reads an item."""
        return False

    def items(self, row: int) -> Sequence[Item]:
        """Return the items that one row reads, besides the shared ones."""
        return ()

    def reading(self, node: Node, row: int) -> Sequence[int]:
        """Return the rows that read an item, if it is none of the shared ones."""
        return ()

    def given(self, row: int) -> Any:
        """Return the value for one row, with futures in it where it comes from tasks."""
        raise NotImplementedError

    def repeated(self, rows: Sequence[int]) -> Input:
        """Return an input that gives the items of these rows, in this order."""
        return self


class Node:
    """One call of a task: a map of `n` items, or a single call (a map of one)."""

    dynamic = False

    __slots__ = (
        "args",
        "decides",
        "id",
        "known",
        "lost",
        "n",
        "own_readers",
        "parent",
        "promised",
        "repeat",
        "session",
        "single",
        "task",
    )

    def __init__(
        self, session: Owner, task: Step, args: dict[str, Input], n: int, single: bool
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
        self.known: dict[int, Any] = {}
        """What is known of what items returned."""
        self.lost: dict[int, Any] = {}
        """Why items will never be."""
        self.decides = False
        """Whether its values decide the items or targets of other nodes."""
        self.promised = False
        """Whether maps that are not known yet will read it."""
        self.repeat = 1
        """How many items of a sweep there are for each item that is zipped."""

    @property
    def name(self) -> str:
        """Name of its task."""
        return self.task.name

    def length(self) -> int:
        """Number of items."""
        return self.n

    def items(self, index: int | None = None) -> list[Item]:
        """Return one item, or all of them."""
        return [(self, index)] if index is not None else [(self, row) for row in range(self.n)]

    def reads(self, row: int) -> Iterator[Item]:
        """Yield the items that an item reads: its own of each argument, then what all share."""
        for arg in self.args.values():
            yield from arg.items(row)
            yield from arg.shared()

    @property
    def readers(self) -> list[tuple[Node, str]]:
        """Nodes that read this one, or the whole map that it is a block of, and where."""
        if self.parent is None:
            return self.own_readers
        return [*self.own_readers, *self.parent.readers]

    def __repr__(self) -> str:
        return f"<node {self.id} {self.name} × {self.n}>"


class Dynamic:
    """A map whose items become known while the flow runs: one block a source."""

    dynamic = True
    single = False

    def __init__(
        self, session: Owner, task: Step, args: dict[str, Any], blocks: int, origin: Any
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

    def items(self, index: int | None = None) -> list[Item]:
        """Return one item, or all of them, once they are known."""
        if index is not None:
            return [self.at(index)]
        self.length()  # raises while it is not known
        return [item for block in self.blocks if block is not None for item in block.items()]

    def at(self, index: int) -> Item:
        """Return node and position of the item `index` of all."""
        for block in self.blocks:
            if block is not None:
                count = block.length()
                if index < count:
                    return (block, index) if isinstance(block, Node) else block.at(index)
                index -= count
        raise IndexError(index)


AnyNode: TypeAlias = Node | Dynamic
Item: TypeAlias = tuple[Node, int]
"""A node, and which of its items."""


UNLOOKED = "x:not looked at"
"""What a value counts by that cannot be looked at: no record has it, and its item fails."""


def nodes_in(node: AnyNode) -> Iterator[Node]:
    """Yield the nodes with items that a node consists of by now."""
    if isinstance(node, Node):
        yield node
    else:
        for block in node.blocks:
            if block is not None:
                yield from nodes_in(block)
