"""What is next: pure, over columns. No disk, clock, thread, runner or text. One algorithm.

Whatever happens is told by an event, which changes columns and counts down; whose count comes to
nothing goes on. Every count can be counted again (`recount`): nothing is remembered as a promise.
A wish is a column, too: whoever comes late finds it.

Tokens go forward (what items count by), wishes backward (what must be made for whom).
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from databacked.engine.items import DUE, HERE, IDLE, LOST, OPEN, SENT, TWIN, Items
from databacked.engine.ready import Ready
from databacked.engine.verdict import Verdict
from databacked.graph.calls import Graph
from databacked.graph.nodes import Input, Item, Node, nodes_in
from databacked.places.judge import MISSING

MANY = 1024
"""Wishes that are followed at once: each takes room while it waits."""


class Scheduler:
    """All items of a run, and which of them can go on."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.tables: list[Items] = []
        """The items of each node, by its id."""
        self.ready = Ready()
        """Items that are due and lack nothing; some may be lost meanwhile."""
        self.open = 0
        """How many items are wanted, and are neither here nor lost."""
        self.lost: list[Item] = []
        """Items that were lost with what they need."""
        self.reused: list[Item] = []
        """Twins of which the other one is here."""
        self._judge: dict[int, list[int] | None] = {}
        self._read: dict[Item, None] = {}
        self._drop: list[Item] = []
        self._learn: dict[Item, None] = {}
        self._wishes: deque[tuple[Items, int]] = deque()
        self._losses: deque[tuple[Items, int]] = deque()
        self._holding = 0
        """How many values are held that are not kept."""
        self._given_up: dict[Items, list[int]] = {}
        """Items that will not be made, or not again: what they would have read may go."""
        self._late: set[int] = set()
        """Nodes that others did not wait for."""
        self._curious: set[Item] = set()

    def of(self, node: Node) -> Items:
        """Return the items of a node; the graph may have made it just now."""
        if node.id >= len(self.tables):
            self.tables += map(Items, self._graph.nodes[len(self.tables) :])
        return self.tables[node.id]

    # What somebody else is to do next

    def to_judge(self) -> tuple[Items, list[int] | None] | None:
        """Return items whose inputs are all known; None for rows: all those of a new node."""
        if not self._judge:
            return None
        number = next(iter(self._judge))
        return self.tables[number], self._judge.pop(number)

    def to_read(self) -> list[Item]:
        """Return items whose input files have to be read."""
        found, self._read = list(self._read), {}
        return [(node, row) for node, row in found if row in self.of(node).unread]

    def to_learn(self) -> list[Item]:
        """Return items that others are curious of, and of which more is known than before."""
        found, self._learn = list(self._learn), {}
        return found

    def to_drop(self) -> list[Item]:
        """Return values that nobody needs any more."""
        found, self._drop = self._drop, []
        return found

    def take_reused(self) -> list[Item]:
        """Return the items whose twin is here."""
        found, self.reused = self.reused, []
        return found

    def take_lost(self) -> list[Item]:
        """Return the items that were lost with what they need."""
        found, self.lost = self.lost, []
        return found

    # Events

    def add(self, items: Items, *, late: bool = False) -> None:
        """All that a node reads can be named, and it has a specification: now it counts.

        Parameters
        ----------
        late
            Whether others may have been at work since the node came to be: what is held for it is
            looked through, since it may not read all of that.
        """
        if late and self._holding:
            self._late.add(items.node.id)
        items.unknown = array("i", bytes(4 * items.n))
        gone: list[int] = []
        for arg in items.node.args.values():
            marks = items.spec.marks and arg.may_mark
            for other, row in arg.shared():
                table = self.of(other)
                if row in other.lost:
                    gone += [] if marks else range(items.n)
                elif not table.is_known(row):
                    items.shared_unknown.add((other, row))
            if arg.length() is None or self._all_told(arg):
                continue
            for row in range(items.n):
                for other, index in dict.fromkeys(arg.items(row)):
                    table = self.of(other)
                    if index in other.lost:
                        gone += [] if marks else [row]
                    elif not table.is_known(index):
                        items.unknown[row] += 1
        self._judge[items.node.id] = None
        for row in dict.fromkeys(gone):
            self._lose(items, row)
        self._settle()

    def _all_told(self, arg: Input) -> bool:
        """Whether all items that an input reads have tokens."""
        return all(
            isinstance(node, Node) and not node.lost and self.of(node).is_all_known
            for node in arg.nodes()
        )

    def judged(self, items: Items, verdict: Verdict) -> None:
        """Take in what was found out about items that were open."""
        status, here = items.status, []
        known: Sequence[int] = []
        tokens = verdict.tokens
        if len(tokens) == items.n and items.are_all(OPEN):
            items.token[:] = tokens.values()
            known = range(items.n)
            status[:] = bytes([IDLE]) * items.n
        else:
            known = [
                row for row in tokens if items.token[row] is None and status[row] in (OPEN, IDLE)
            ]
            for row in known:
                items.token[row] = tokens[row]
        if verdict.untold:
            items.is_untold = True
            known = verdict.idle
        if items.n in (len(verdict.due), len(verdict.idle)) and items.are_all(OPEN):
            status[:] = bytes([IDLE]) * items.n
        for row in (*tokens, *verdict.idle, *verdict.due) if OPEN in status else ():
            if status[row] == OPEN:
                items.move(row, IDLE)
        items.found.update((row, one) for row, one in verdict.due.items() if one is not MISSING)
        if len(verdict.fresh) == items.n and items.are_all(OPEN):  # as in most reruns
            items.token[:] = verdict.fresh.values()
            status[:] = bytes([HERE]) * items.n
            here = list(range(items.n))
            self.open -= items.wanted.count(1)
            items.wanted[:] = bytes(items.n)
        else:
            for row, token in verdict.fresh.items():
                if status[row] == OPEN:
                    items.token[row] = token
                    items.move(row, HERE)
                    self._satisfied(items, row)
                    here.append(row)
        if verdict.idle:
            self._look_up_from(items, verdict.idle)
        rows = range(items.n) if verdict.whole else (*tokens, *verdict.idle, *verdict.due)
        if self._curious or 1 in items.wanted or 1 in items.asked:
            for row in rows:
                self._go_on(items, row)
        if items.node.id in self._late:
            self._late.discard(items.node.id)
            read = {one for arg in items.node.args.values() for one in arg.nodes()}
            for node in {one for above in read for one in nodes_in(above)}:
                for row in self.of(node).rows(HERE):
                    self._release(node, row)
        if here and self._holding:
            self._given_up.setdefault(items, []).extend(here)
        self._tell(items, [*known, *here] if here else known)
        self._arrived(items, here)
        for row, other in verdict.twins.items():
            if status[row] == OPEN:
                self._pair(items, row, other)
        self._settle()

    def want(self, node: Node, rows: Sequence[int]) -> None:
        """Have values made, unless they are there."""
        items = self.of(node)
        if len(rows) == items.n and items.reads_nothing and items.are_all(IDLE):
            items.wanted[:] = bytes([1]) * items.n
            self.open += items.n
            items.status[:] = bytes([DUE]) * items.n
            items.shared_absent = set()
            self.ready.add(items, range(items.n))
            return
        for start in range(0, len(rows), MANY):
            self._wishes.extend((items, row) for row in rows[start : start + MANY])
            self._settle()

    def pin(self, node: Node, row: int) -> None:
        """Hold a value until the run ends."""
        node, row = self.real(node, row)
        self.of(node).pinned.add(row)
        self.want(node, (row,))

    def ask(self, node: Node, row: int) -> None:
        """Have it found out what an item counts by."""
        self._ask(self.of(node), row)
        self._settle()

    def be_curious(self, node: Node, row: int) -> None:
        """Say of an item, whenever more is known of it, that it can be learned from."""
        self._curious.add((node, row))
        self._learn[node, row] = None

    def learned(self, node: Node, row: int) -> None:
        """Nobody is curious of an item any more."""
        self._curious.discard((node, row))

    def again(self, node: Node, row: int) -> None:
        """Something is known now that was missing when an item was judged."""
        self._complete(self.of(node), (row,))

    def sent(self, items: Items, row: int) -> None:
        """A worker has an item."""
        items.lack(row, 0)
        items.move(row, SENT)

    def made(self, items: Items, row: int, token: str | None, held: bool) -> None:
        """An item was made, or was found to be there; `held` if its value can be had."""
        if items.status[row] == LOST:
            return
        known = token is not None and not items.is_known(row)
        if token is not None and token != items.token[row]:  # else readers share the text
            items.token[row] = token
        items.found.pop(row, None)
        items.move(row, HERE if held else IDLE)
        self._holding += held and not items.spec.is_kept
        self._satisfied(items, row)
        if known:
            self._tell(items, (row,))
        if held:
            self._arrived(items, (row,))
        elif row in items.pinned or self._is_lacked(items, row):  # by who came meanwhile
            self._wishes.append((items, row))
        self._noticed(items, row)
        self._settle()

    def sent_all(self, items: Items, rows: Sequence[int]) -> None:
        """A worker has all of these, which read nothing of others."""
        if isinstance(rows, range):
            items.status[rows.start : rows.stop] = bytes([SENT]) * len(rows)
        else:
            for row in rows:
                items.move(row, SENT)

    def made_all(
        self, items: Items, rows: Sequence[int], tokens: Sequence[str] | None, held: bool
    ) -> None:
        """Items were made that `sent_all` took; what they count by, where that was not known."""
        to = HERE if held else IDLE
        if (
            isinstance(rows, range)
            and not (items.twins or self._curious)
            and items.status.count(SENT, rows.start, rows.stop) == len(rows)
            and not (items.node.readers or (items.pinned and not held))
        ):
            part = slice(rows.start, rows.stop)
            if tokens is not None:
                items.token[part] = tokens
            if items.found:
                for row in rows:
                    items.found.pop(row, None)
            items.status[part] = bytes([to]) * len(rows)
            self._holding += len(rows) if held and not items.spec.is_kept else 0
            self.open -= items.wanted.count(1, rows.start, rows.stop)
            items.wanted[part] = bytes(len(rows))
            return
        for row, token in zip(
            rows, items.tokens_of(rows) if tokens is None else tokens, strict=True
        ):
            self.made(items, row, token, held)
            self.ended(items, row)
            self.maybe_drop(items.node, row)

    def left(self, items: Items, row: int, token: str | None) -> None:
        """A worker did not need to make an item, and says what it counts by."""
        if items.status[row] == LOST:
            return
        known = token is not None and not items.is_known(row)
        items.token[row] = token
        items.move(row, IDLE)
        if items.wanted[row]:
            self._satisfied(items, row)
            self._wishes.append((items, row))
        if known:
            self._tell(items, (row,))
        self._noticed(items, row)
        self._settle()

    def lose(self, items: Items, row: int, failure: Any) -> None:
        """An item will never be."""
        if items.status[row] != LOST:
            self._lose(items, row, failure)
        self._settle()

    def ended(self, items: Items, row: int) -> None:
        """A worker is done with an item: what it read may go."""
        self._let_go(items, (row,))
        self._settle()

    def _let_go(self, items: Items, rows: Iterable[int]) -> None:
        """Let values go that these rows have read, or will not read any more."""
        if not self._holding:
            return
        for arg in items.node.args.values():
            for row in rows if arg.length() is not None else ():
                for item in arg.items(row):
                    self._release(*item)
        if 1 not in items.wanted:
            for arg in items.node.args.values():
                for item in arg.shared():
                    self._release(*item)

    def _release(self, node: Node, row: int) -> None:
        """Let a value go, or what it would be made from, if nobody needs it any more."""
        items = self.of(node)
        if not items.is_open or items.spec.is_kept:
            return
        if items.status[row] == HERE:
            self.maybe_drop(node, row)
        elif items.status[row] in (OPEN, IDLE) and not self.is_relevant(items, row):
            self._given_up.setdefault(items, []).append(row)

    def maybe_drop(self, node: Node, row: int) -> None:
        """Let a value go that is not kept, once its last reader is done."""
        items = self.of(node)
        if (
            items.is_open
            and items.status[row] == HERE
            and not items.spec.is_kept
            and items.spec.pure  # else it runs once a run for all its readers
            and row not in items.pinned
            and not self.is_needed(items, row, ())
        ):
            items.move(row, IDLE)
            self._holding -= 1
            self._drop.append((node, row))
            for reader, name in node.readers:  # others of its items may be wanted one day
                table = self.of(reader)
                if table.shared_absent is not None and reader.args[name].shares(node, row):
                    table.shared_absent.add((node, row))

    # What is read from the columns

    def real(self, node: Node, row: int) -> Item:
        """Return the item that makes the file of another one."""
        while self.of(node).status[row] == TWIN:
            node, row = self.of(node).twin_of[row]
        return node, row

    def is_here(self, node: Node, row: int) -> bool:
        """Whether the value of an item can be had."""
        node, row = self.real(node, row)
        return self.of(node).status[row] == HERE

    def is_lost(self, node: Node, row: int) -> bool:
        """Whether an item will never be."""
        return row in node.lost

    def is_absent(self, node: Node, row: int) -> bool:
        """Whether an item has no value yet, and may still get one."""
        return not self.is_here(node, row) and not self.is_lost(node, row)

    def is_needed(self, items: Items, row: int, among: Collection[Item]) -> bool:
        """Whether an item that is not among some others may still read a value."""
        node = items.node
        if self._graph.growth.is_awaited(node, row):
            return True
        for reader, name in node.readers:
            table = self.of(reader)
            if not table.is_open:
                return True
            arg = reader.args[name]
            rows: Sequence[int] = arg.reading(node, row)
            if arg.length() is None:
                rows = range(reader.n)
                if reader.n > 1 and 1 in table.wanted:
                    return True
            for one in rows:
                if (reader, one) not in among and self.is_relevant(table, one):
                    return True
        return False

    def _is_lacked(self, items: Items, row: int) -> bool:
        """Whether an item is due that waits for a value; one that is sent has what it reads."""
        for reader, name in items.node.readers:
            table = self.of(reader)
            if not table.is_open or DUE not in table.status:
                continue
            arg = reader.args[name]
            if arg.length() is None:
                if (items.node, row) in (table.shared_absent or ()):
                    return True
            elif any(table.status[one] == DUE for one in arg.reading(items.node, row)):
                return True
        return False

    def is_relevant(self, items: Items, row: int) -> bool:
        """Whether an item is yet to be made, or something that needs it."""
        status = items.status[row]
        if status in (LOST, TWIN):
            return False
        if items.wanted[row]:
            return True
        if items.spec.is_kept or status == HERE:
            return False
        return self.is_needed(items, row, ())

    # Inside

    def _satisfied(self, items: Items, row: int) -> None:
        if items.wanted[row]:
            items.wanted[row] = 0
            self.open -= 1

    def _noticed(self, items: Items, row: int) -> None:
        if (items.node, row) in self._curious:
            self._learn[items.node, row] = None

    def _settle(self) -> None:
        """Follow wishes and losses to where they lead; a graph may be deep."""
        while self._wishes or self._losses:
            while self._losses:
                self._lost_with(*self._losses.popleft())
            if self._wishes:
                self._wish(*self._wishes.popleft())
        seen: set[Item] = set()
        while self._given_up:
            items, rows = self._given_up.popitem()
            new = {row for row in rows if (items.node, row) not in seen}
            seen.update((items.node, row) for row in new)
            self._let_go(items, new)

    def _wish(self, items: Items, row: int) -> None:
        node, row = self.real(items.node, row)
        items = self.of(node)
        if items.wanted[row] or items.status[row] in (HERE, LOST):
            return
        items.wanted[row] = 1
        self.open += 1
        self._go_on(items, row)

    def _go_on(self, items: Items, row: int) -> None:
        """See what an item needs next that somebody wants, or wants to know."""
        if items.wanted[row] and items.status[row] == IDLE:
            self._due(items, row)
        elif (items.wanted[row] or items.asked[row]) and not items.is_known(row):
            items.asked[row] = 0
            self._ask(items, row)
        self._noticed(items, row)

    def _ask(self, items: Items, row: int) -> None:
        """Have what decides about an item made known."""
        if items.asked[row] or items.is_known(row) or items.status[row] not in (OPEN, IDLE):
            return
        items.asked[row] = 1
        if not items.is_open:
            return
        if row in items.unread:
            self._read[items.node, row] = None
        above: list[Item] = list(items.shared_unknown)
        if items.unknown[row]:
            above += [one for arg in items.node.args.values() for one in arg.items(row)]
        for node, index in above:
            table = self.of(node)
            if not table.is_known(index) and index not in node.lost:
                if table.is_open and not table.spec.is_kept:
                    self._ask(table, index)
                elif table.is_open:
                    self._wishes.append((table, index))
                else:
                    table.asked[index] = 1

    def _due(self, items: Items, row: int) -> None:
        items.move(row, DUE)
        if items.shared_absent is None:
            items.shared_absent = set()
            for arg in items.node.args.values():
                for other, index in arg.shared():
                    if self.is_absent(other, index):
                        items.shared_absent.add((other, index))
                        self._wishes.append((self.of(other), index))
        else:
            self._wishes.extend((self.of(other), one) for other, one in items.shared_absent)
        absent = 0
        for arg in items.node.args.values():
            if arg.length() is None:
                continue
            for other, index in dict.fromkeys(arg.items(row)):
                if self.is_absent(other, index):
                    absent += 1
                    self._wishes.append((self.of(other), index))
        if absent:
            items.lack(row, absent)
        else:
            self._free(items, (row,))

    def _free(self, items: Items, rows: Sequence[int]) -> None:
        """Note that items lack no value of their own any more."""
        if items.shared_absent:
            return
        # What reads others comes first, so that what they gave can go.
        first = any(arg.length() is not None and arg.nodes() for arg in items.node.args.values())
        self.ready.add(items, rows, first=first)

    def _tell(self, items: Items, rows: Sequence[int]) -> None:
        """What items count by is known: count down with their readers."""
        node = items.node
        for reader, name in node.readers if rows else ():
            table = self.of(reader)
            if table.is_open:
                self._count_down(table, reader.args[name], node, rows)
        if self._curious:
            for row in rows:
                self._noticed(items, row)
        for row in rows if items.twins else ():
            for twin, index in items.twins.get(row, ()):
                table = self.of(twin)
                table.token[index] = items.token[row]
                self._tell(table, (index,))

    def _look_up_from(self, items: Items, rows: Iterable[int]) -> None:
        """Have readers judged that can be made, too, without knowing what they count by."""
        for reader, name in items.node.readers:
            table = self.of(reader)
            if table.is_open and not table.spec.is_kept:
                arg = reader.args[name]
                above = [one for row in rows for one in arg.reading(items.node, row)]
                self._to_be_judged(table, [one for one in above if table.status[one] == OPEN])

    def _count_down(self, table: Items, arg: Input, node: Node, rows: Iterable[int]) -> None:
        if arg.length() is None:
            before = len(table.shared_unknown)
            table.shared_unknown.difference_update((node, row) for row in rows)
            if before and not table.shared_unknown:
                self._complete(table, range(table.n))
            return
        complete = []
        for row in rows:
            for one in arg.reading(node, row):
                table.unknown[one] -= 1
                if not table.unknown[one] and not table.shared_unknown:
                    complete.append(one)
        self._complete(table, complete)

    def _complete(self, items: Items, rows: Iterable[int]) -> None:
        """Have items judged that have all tokens."""
        status, token = items.status, items.token
        found = [
            row
            for row in rows
            if token[row] is None
            and status[row] in (OPEN, IDLE)
            and not items.unknown[row]
            and not items.shared_unknown
        ]
        self._to_be_judged(items, found)

    def _to_be_judged(self, items: Items, rows: list[int]) -> None:
        waiting = self._judge.setdefault(items.node.id, []) if rows else None
        if waiting is not None:  # else there is nothing, or the whole node waits
            waiting += rows

    def _arrived(self, items: Items, rows: Sequence[int]) -> None:
        """Values are at hand, or never will be: count down with the readers that are due."""
        node = items.node
        for reader, name in node.readers if rows else ():
            table = self.of(reader)
            if not table.is_open:
                continue
            arg = reader.args[name]
            if arg.length() is None:
                if table.shared_absent:
                    table.shared_absent.difference_update((node, row) for row in rows)
                    if not table.shared_absent:
                        due = table.rows(DUE)
                        self._free(table, [row for row in due if not table.lacks(row)])
                continue
            free = []
            for row in rows:
                for one in arg.reading(node, row):
                    left = table.lacks(one)
                    if left:
                        table.lack(one, left - 1)
                    if left == 1:
                        free.append(one)
            self._free(table, free)
        for row in rows if items.twins else ():
            for twin, index in items.twins.get(row, ()):
                self._satisfied(self.of(twin), index)
                if row not in node.lost:
                    self.reused.append((twin, index))
                self._arrived(self.of(twin), (index,))

    def _pair(self, items: Items, row: int, other: Item) -> None:
        """Make an item the twin of another one."""
        items.move(row, TWIN)
        items.twin_of[row] = other
        node, index = self.real(*other)
        first = self.of(node)
        first.twins.setdefault(index, []).append((items.node, row))
        if items.wanted[row]:
            self._satisfied(items, row)
            self._wishes.append((first, index))
        if first.token[index] is not None:
            items.token[row] = first.token[index]
            self._tell(items, (row,))
        if first.status[index] == HERE:
            self.reused.append((items.node, row))
            self._arrived(items, (row,))
        elif first.status[index] == LOST:
            items.node.lost[row] = node.lost[index]
            self.lost.append((items.node, row))
            self._losses.append((items, row))

    def _lose(self, items: Items, row: int, failure: Any = None) -> None:
        if failure is not None:
            items.node.lost[row] = failure
        if items.status[row] != TWIN:
            items.lack(row, 0)
            self._holding -= items.status[row] == HERE and not items.spec.is_kept
            items.move(row, LOST)
        self._satisfied(items, row)
        self._losses.append((items, row))

    def _lost_with(self, items: Items, row: int) -> None:
        """Lose what needs an item that is lost; for who takes marks it is known now."""
        node = items.node
        failure = node.lost.get(row)
        if failure is None:
            failure = node.lost[row] = self._cause(items, row)
            self.lost.append((node, row))
        known = not items.is_known(row)
        for reader, name in node.readers:
            table = self.of(reader)
            if not table.is_open:
                continue
            arg = reader.args[name]
            if table.spec.marks and arg.may_mark:
                if known:
                    self._count_down(table, arg, node, (row,))
                continue
            rows = range(reader.n) if arg.shares(node, row) else arg.reading(node, row)
            for one in rows:
                if table.status[one] not in (HERE, LOST, SENT, TWIN):
                    self._lose(table, one)
        self._arrived(items, (row,))
        self._noticed(items, row)
        if items.is_open:
            self._given_up.setdefault(items, []).append(row)
        for twin, index in items.twins.get(row, ()):
            twin.lost[index] = failure
            self.lost.append((twin, index))
            self._losses.append((self.of(twin), index))

    def _cause(self, items: Items, row: int) -> Any:
        """Return why an item is lost: what it reads is."""
        for node, index in items.node.reads(row):
            if (why := node.lost.get(index)) is not None:
                return why
        raise AssertionError(f"{items!r}[{row}] is lost for no reason")
