"""The items of one node as columns: how far each is, and what it counts by.

How far an item is, is one byte. Which step may follow which is said once, by `STEPS`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

from databacked.errors import ResultChangedError
from databacked.graph.inputs import Column, Plain
from databacked.graph.nodes import Item, Node
from databacked.places.judge import Found
from databacked.places.place import Place
from databacked.records.record import Record
from databacked.worker.messages import Spec


class Status(IntEnum):
    """How far an item is."""

    OPEN = 0
    """Whether it has to be made is not known yet."""

    IDLE = 1
    """It would have to be made, and nobody asked for it."""

    DUE = 2
    """It is to be made."""

    SENT = 3
    """A worker has it."""

    HERE = 4
    """Its value can be had: it is kept, or held where it was made."""

    LOST = 5
    """It failed, or what it needs did."""

    TWIN = 6
    """Another item makes the same file of the same."""


OPEN, IDLE, DUE, SENT, HERE, LOST, TWIN = Status

STEPS: dict[int, frozenset[Status]] = {
    OPEN: frozenset({IDLE, SENT, HERE, LOST, TWIN}),
    IDLE: frozenset({DUE, SENT, LOST, HERE}),
    DUE: frozenset({SENT, LOST}),
    SENT: frozenset({HERE, IDLE, LOST}),
    HERE: frozenset({IDLE, LOST}),
    LOST: frozenset(),
    TWIN: frozenset(),
}
"""What may follow what."""


class Items:
    """All items of a node, in columns.

    The graph knows a node before it is known what its items count by: `open` says the latter.
    """

    __slots__ = (
        "absent",
        "asked",
        "columns",
        "found",
        "is_alike",
        "is_open",
        "is_untold",
        "n",
        "node",
        "odd",
        "pinned",
        "place",
        "reads_nothing",
        "sent",
        "shared_absent",
        "shared_unknown",
        "spec",
        "status",
        "targets",
        "token",
        "twin_of",
        "twins",
        "unknown",
        "unread",
        "wanted",
    )

    def __init__(self, node: Node) -> None:
        self.node = node
        self.n = node.n
        self.status = bytearray(node.n)
        self.wanted = bytearray(node.n)
        """Whether somebody waits for its value."""
        self.asked = bytearray(node.n)
        """Whether somebody waits to know what it counts by."""
        self.pinned: set[int] = set()
        """Items whose value is held until the run ends."""
        self.token: list[str | None] = [None] * node.n
        self.targets: list[str | None] | None = None
        self.columns: dict[str, Any] = {}
        """Token of each parameter: one for all items, or one an item; None for what is unknown."""
        self.odd: dict[int, Exception] = {}
        """Items of which an argument cannot be looked at."""
        self.unread: dict[int, tuple[str, ...]] = {}
        """Parameters of items that name files nobody read yet."""
        self.found: dict[int, Found | None] = {}
        """What lies at the targets of items that are to be made, if anything; None: to be looked
        at."""
        self.unknown: array[int] = array("i")
        """How many items that a row reads have no token yet, one a parameter."""
        self.shared_unknown: set[Item] = set()
        """Items that all rows read, and that have no token yet."""
        self.absent: array[int] = array("i")
        """How many items that a row which is due reads are not here, one a parameter; empty before
        any lacked one."""
        self.shared_absent: set[Item] | None = None
        """Items that all rows read, and that are not here; None before a row was due."""
        self.twin_of: dict[int, Item] = {}
        self.twins: dict[int, list[Item]] = {}
        """Items that are the same as one of these."""
        self.sent: dict[str, Any] = {}
        """Arguments that are the same for all items, as they are sent to workers."""
        self.is_open = False
        self.is_untold = False
        """Whether all is known that items count by, and nobody has asked for it: see `Recipes`."""
        self.is_alike: bool | None = None
        """Whether its items can go as columns; None before somebody asked."""
        self.reads_nothing = all(isinstance(arg, Plain | Column) for arg in node.args.values())
        """Whether all its arguments are known at the call."""
        self.spec: Spec
        self.place: Place | None = None

    def open(self, spec: Spec, place: Place | None) -> None:
        """Take in what all items share; all that they read can be named by now."""
        self.spec = spec
        self.place = place
        self.is_open = True

    def lacks(self, row: int) -> int:
        """Return how many items that a row which is due reads are not here."""
        return self.absent[row] if self.absent else 0

    def lack(self, row: int, count: int) -> None:
        """Set how many items that a row reads are not here."""
        if count and not self.absent:
            self.absent = array("i", bytes(4 * self.n))
        if self.absent:
            self.absent[row] = count

    def is_known(self, row: int) -> bool:
        """Whether it is known, or can be made out at once, what an item counts by."""
        return self.is_untold or self.token[row] is not None

    @property
    def is_all_known(self) -> bool:
        """Whether that is so of all items."""
        return self.is_untold or None not in self.token

    def move(self, row: int, to: Status) -> None:
        """Take an item a step further.

        Raises
        ------
        AssertionError
            If there is no such step: a mistake of this package.
        """
        before = self.status[row]
        if to not in STEPS[before]:
            raise AssertionError(f"{self.node.name}[{row}]: {Status(before).name} → {to.name}")
        self.status[row] = to

    def row_tokens(self, row: int) -> list[str | None]:
        """Return the token of each parameter of an item, in the order of the recipe."""
        columns = self.columns
        return [
            column[row] if isinstance(column := columns[name], list) else column
            for name in self.spec.order
        ]

    def record(self, row: int) -> Record:
        """Return the record of a kept item that is here.

        Raises
        ------
        ResultChangedError
            If somebody removed it meanwhile.
        """
        assert self.place is not None
        assert self.targets is not None
        target, content = str(self.targets[row]), (self.token[row] or "")[2:]
        for record in reversed(self.place.known.of(target)):
            if record.content == content:
                return record
        path = self.place.path(target)
        raise ResultChangedError(f"{path}: its record is gone. Run the flow again.")

    def value(self, row: int, keys: tuple[Any, ...] = ()) -> Any:
        """Return the value of a kept item that is here; whatever its file may raise."""
        assert self.place is not None
        return self.place.value(self.record(row), keys=keys)

    def are_all(self, status: Status) -> bool:
        """Whether all items are so far, and no further."""
        return self.status.count(status) == self.n

    def tokens_of(self, rows: Iterable[int]) -> list[str | None]:
        """Return what items count by."""
        return [self.token[row] for row in rows]

    def rows(self, *status: Status) -> Sequence[int]:
        """Return the rows that are so far."""
        found = sum(map(self.status.count, status))
        if found in (0, self.n):
            return range(found)
        return [row for row, one in enumerate(self.status) if one in status]

    def __repr__(self) -> str:
        return f"<items of {self.node!r}>"
