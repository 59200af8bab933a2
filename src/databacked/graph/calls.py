"""How the calls of a flow become a graph: what is mapped over, and what belongs together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from databacked.errors import FingerprintError, GraphError, TargetError
from databacked.fingerprint.parameters import token
from databacked.graph.columns import (
    Compacted,
    Compaction,
    Each,
    Flat,
    Group,
    Grouped,
    Same,
    Sweep,
    grouped,
    is_nothing,
    list_of,
)
from databacked.graph.copies import parts_of, replaced, taken
from databacked.graph.futures import Future, Futures, check_futures, elements, futures_in
from databacked.graph.inputs import Column, Element, Filled, Items, Mixed, Plain
from databacked.graph.nodes import UNLOOKED, AnyNode, Dynamic, Input, Item, Node, Owner
from databacked.graph.sketch import Unknown, holds_unknown
from databacked.graph.step import Options, Step
from databacked.graph.target import NotYet, Target, Touched
from databacked.places.parts import get_keys
from databacked.types import Unlooked

current: ContextVar[Graph | None] = ContextVar("databacked_run", default=None)
"""What calls of tasks belong to: a run, or the outline of one; None outside of flows."""


_PLAIN = frozenset({str, int, float, bool, type(None)})


class Graph:
    """What the calls of a flow became so far, as its function builds it.

    It grows while the flow runs: whoever runs it says what items returned (`learn`), and takes
    from it what came to be (`nodes`), what has to become known (`asked`), and what need not be held
    for its sake any more (`released`).
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.turn = threading.RLock()
        """Held by the thread that calls or asks: a flow may do so in several."""
        self.calls: list[AnyNode] = []
        """What was called, in order."""
        self.maps: list[Dynamic] = []
        """Maps of which the items become known while the flow runs."""
        self.nodes: list[Node] = []
        """In the order of the calls, so that what a node reads stands before it."""
        self._waiting: dict[tuple[int, int], list[Callable[[], None]]] = {}
        """What to build once it is known what an item (node, row) returned."""
        self._feeds: dict[tuple[int, int], list[tuple[Dynamic, int]]] = {}
        """Blocks of maps that an item (node, row) decides, and whose items may read it."""
        self.asked: list[Item] = []
        """Items of which somebody has to say what they return, as they come to be asked for."""
        self.released: list[Item] = []
        """Items that decided others; whoever reads their values is known by now."""

    def call(self, task: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
        """Take a single call into the graph."""
        made: dict[str, Input] = {}
        for name, value in task.bind(args, kwargs).items():
            if isinstance(value, Flat | Sweep | Grouped | Compacted):
                word = {Flat: "flatten", Sweep: "sweep", Grouped: "group"}.get(
                    type(value), "compact"
                )
                raise GraphError(
                    f"{task.name}: {name} is {word}(...), which gives many values: use .map."
                )
            with _named(task, name):
                made[name] = self._same(value.value if isinstance(value, Same | Each) else value)
        with self.turn:
            self.calls.append(self._node(task, made, 1, single=True))
            return Future(self.calls[-1], 0)

    def map(self, task: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Futures:
        """Take a map into the graph."""
        columns: dict[str, Any] = {}
        given = (
            task.call_signature.bind_partial(*args, **kwargs).arguments if args or kwargs else {}
        )
        for name, value in task.bind(args, kwargs).items():
            # A default is one value for all items, also where it is a list.
            from_call = name in given or name in kwargs
            with _named(task, name):
                columns[name] = self._column(task, name, value) if from_call else self._same(value)
        with self.turn:
            found = self._map(task, columns)
            if task is not ITEM:
                self.calls.append(found)
            return Futures(found)

    # One argument

    def _same(self, value: Any) -> Input:
        if type(value) in _PLAIN:
            return Plain(value)
        refs = [self._live(future) for future in futures_in(value)]
        copy, large = taken(value)
        if refs:
            check_futures(copy)
            return Filled(copy, refs)
        return Plain(copy, str(token(copy))) if large else Plain(copy)

    def _live(self, future: Future) -> Future:
        if future.node.session is not self.owner:
            raise GraphError(
                f"{future!r} belongs to another run. Return it from its flow, or use .result()."
            )
        return future

    def _column(self, task: Step, name: str, value: Any) -> Any:
        """Return what one argument of a map runs over."""
        if isinstance(value, Same):
            return self._same(value.value)
        if isinstance(value, Each):
            return self._each(task, name, value.value)
        if isinstance(value, Flat | Sweep | Grouped | Compacted):
            return value
        if isinstance(value, Futures):
            if value.node.session is not self.owner:
                raise GraphError(f"{value!r} belongs to another run; return it from its flow.")
            if isinstance(value.node, Node):
                return Items(value.node, value.picks, value.keys)
            return value if value.picks is None else self._items(list(value))
        items = elements(value)
        return self._same(value) if items is None else self._items(items)

    def _each(self, task: Step, name: str, value: Any) -> Any:
        if isinstance(value, Future):
            future = self._live(value)
            if future.index is None:
                return self._column(task, name, Futures(future.node, None, future.keys))
            return Flat(Futures(future.node, [future.index], future.keys))
        if isinstance(value, Futures):
            return self._column(task, name, value)
        try:
            return self._items(list(value))
        except TypeError:
            raise GraphError(
                f"{task.name}: each({value!r}) for {name}: something with elements was expected."
            ) from None

    def _items(self, items: list[Any]) -> Input:
        kinds = set(map(type, items))
        if kinds <= _PLAIN:
            return Column(items)
        if kinds == {Future}:
            first = self._live(items[0])
            if isinstance(first.node, Node) and all(
                item.node is first.node and item.keys == first.keys and item.index is not None
                for item in items
            ):
                return Items(first.node, [item.index for item in items], first.keys)
        try:
            return self._taken(items)
        except (RecursionError, FingerprintError):  # one odd value is no reason to lose the others
            return self._taken(list(map(_looked_at, items)))

    def _taken(self, items: list[Any]) -> Input:
        refs = [[self._live(future) for future in futures_in(item)] for item in items]
        items, large = taken(items)
        if any(refs):
            check_futures(items)
            return Mixed(items, refs)
        if large:
            return Column(
                items,
                [UNLOOKED if type(item) is Unlooked else str(token(item)) for item in items],
            )
        return Column(items)

    # Maps

    def _map(self, task: Step, columns: dict[str, Any]) -> AnyNode:
        """Return the node of a map: of known length, or one block a source."""
        lengths = {
            name: length
            for name, arg in columns.items()
            if isinstance(arg, Input) and (length := arg.length()) is not None
        }
        blocks = {
            name: arg
            for name, arg in columns.items()
            if isinstance(arg, Flat | Futures | Grouped | Compacted)
        }
        swept = {name: arg for name, arg in columns.items() if isinstance(arg, Sweep)}
        self._check_sweep(task, swept)
        if not blocks and not lengths and not swept:
            given = ", ".join(columns) or "no arguments"
            raise GraphError(
                f"{task.name}.map: nothing to map over ({given}: the same for every item). "
                "Pass a list, a Series, a range or the answer of another map, or wrap a value in "
                f"each(...); for one call, write {task.name}(...)."
            )
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise GraphError(
                f"{task.name}.map: the arguments have different lengths: {said}. Give each one "
                "value an item, or wrap what is the same for all in same(...)."
            )
        if not blocks:
            count = next(iter(lengths.values()), 1)
            columns, times = _multiplied(columns, swept, count)
            return self._node(task, columns, count * times, single=False, repeat=times)
        if lengths:
            raise GraphError(
                f"{task.name}.map: {', '.join(blocks)} has items that become known only while the "
                f"flow runs; {', '.join(lengths)} has a fixed number. Use flatten(...).of(column) "
                "to give every element the item of the list that it comes from."
            )
        made = self._dynamic(task, columns, blocks)
        self.maps.append(made)
        return made

    @staticmethod
    def _check_sweep(task: Step, swept: dict[str, Sweep]) -> None:
        """Raise if one value of a sweep would replace the results of another one."""
        if task.target is None or task.target.is_callable:
            return
        lost = [
            name
            for name, arg in swept.items()
            if len(arg.values) > 1 and name not in task.target.names
        ]
        if lost:
            named = ", ".join(f"{{{name}}}" for name in lost)
            raise TargetError(
                f"{task.name}.map: a sweep over {', '.join(lost)}, and the target does not name it:"
                f" each value would replace the results of the one before. Add {named} to the "
                "target."
            )

    def _dynamic(self, task: Step, columns: dict[str, Any], blocks: dict[str, Any]) -> Dynamic:
        first = next(
            (arg for arg in blocks.values() if not isinstance(arg, Flat) or arg.along is None), None
        )
        if first is None:
            raise GraphError(f"{task.name}.map: map over the elements of flatten(...) too.")
        if len({_origin(arg) for arg in blocks.values()}) > 1:
            raise GraphError(
                f"{task.name}.map: {', '.join(blocks)} do not come from the same flatten(...), "
                "each(...), group(...) or compact(...), so their elements do not belong together."
            )
        if isinstance(first, Grouped):
            node = Dynamic(self.owner, task, columns, 1, _origin(first))
            self._when_grouped(first.group, partial(self._build, node, 0))
            return node
        if isinstance(first, Compacted):
            return self._compacted(task, columns, first)
        for arg in blocks.values():
            if isinstance(arg, Flat) and isinstance(arg.along, Futures):
                self._mark(arg.along.node, "promised")
        source = first.node if isinstance(first, Futures) else first.source.node
        if isinstance(first, Flat) and isinstance(source, Node):
            rows = range(source.n) if first.source.picks is None else first.source.picks
            node = Dynamic(self.owner, task, columns, len(rows), _origin(first))
            source.decides = True
            for number, row in enumerate(rows):
                self._feed(node, number, [(source, row)])
                build = partial(self._build, node, number)
                self._waiting.setdefault((source.id, row), []).append(build)
                self.asked.append((source, row))
            return node
        assert isinstance(source, Dynamic)
        node = Dynamic(self.owner, task, columns, len(source.blocks), _origin(first))
        source.known.append(partial(self._build, node))
        for number, block in enumerate(source.blocks):
            if block is not None or number in source.failed:
                self._build(node, number)
        return node

    def _build(self, node: Dynamic, number: int) -> None:
        """Make the block of a dynamic map whose source is known, or has failed, by now."""
        columns: dict[str, Any] = {}
        for name, arg in node.args.items():
            found = self._of_block(arg, number)
            if isinstance(found, _Lost):
                node.failed[number] = found.failure
                break
            columns[name] = found
        else:
            block = node.blocks[number] = self._map(node.task, columns)
            block.parent = node
        for tell in list(node.known):
            tell(number)
        self.released += node.sources.pop(number, [])
        built = node.blocks[number]
        if built is None or isinstance(built, Node) or built.complete:
            node.block_known()

    def _feed(self, node: Dynamic, number: int, items: list[tuple[Node, int]]) -> None:
        """Note which items decide a block: their values stay until it is known who reads them."""
        node.sources.setdefault(number, []).extend(items)
        for one, row in items:
            self._feeds.setdefault((one.id, row), []).append((node, number))

    @property
    def is_waiting(self) -> bool:
        """Whether anything is to be built yet."""
        return bool(self._waiting)

    def take_asked(self) -> list[Item]:
        """Return the items that were asked for since, once each time."""
        found, self.asked = self.asked, []
        return found

    def take_released(self) -> list[Item]:
        """Return the items that decided others and need not be held for that any more."""
        found, self.released = self.released, []
        return found

    def learn(self, node: Node, row: int) -> None:
        """Build what depends on what an item returned (`Node.known`), or on that it failed."""
        for build in self._waiting.pop((node.id, row), ()):
            build()

    def is_awaited(self, node: Node, row: int) -> bool:
        """Whether an item decides a block that is not known yet."""
        if not self._feeds:
            return False
        return any(number in map.sources for map, number in self._feeds.get((node.id, row), ()))

    # Groups and compactions: what belongs together, or is nothing, becomes known with the values

    def _when_known(
        self, futures: Sequence[Future], then: Callable[[], None], dynamic: Sequence[Dynamic] = ()
    ) -> None:
        """Call once it is known what all of these items returned, and which items maps have."""
        left = 1

        def one_less() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                then()

        for node in dynamic:
            if not node.complete:
                left += 1
                node.completed.append(one_less)
        for future in futures:
            assert isinstance(future.node, Node)
            key = (future.node.id, future.index or 0)
            if key[1] not in future.node.known and future.node.lost.get(key[1]) is None:
                left += 1
                self._waiting.setdefault(key, []).append(one_less)
                self.asked.append((future.node, key[1]))
        one_less()

    def _decided_by(self, answer: Futures) -> None:
        """Have what the items of a map return become known, also of those that come to be."""
        self._mark(answer.node, "decides")

    def _mark(self, node: AnyNode, how: str) -> None:
        """Set a mark of a node, or of all blocks of a map, also of those that come to be."""
        for one in nodes_in(node):
            setattr(one, how, True)
        if isinstance(node, Dynamic):

            def of_block(number: int) -> None:
                block = node.blocks[number]
                if block is not None:
                    self._mark(block, how)

            node.known.append(of_block)

    def _when_grouped(self, group: Group, then: Callable[[], None]) -> None:
        if group.known is not None or group.failure is not None:
            then()
            return
        group.items, group.by = self._as_map(group.items), self._as_map(group.by)
        columns = [one for one in (group.items, group.by) if isinstance(one, Futures)]
        dynamic = [one.node for one in columns if isinstance(one.node, Dynamic)]
        if isinstance(group.by, Futures):
            self._decided_by(group.by)
        if isinstance(group.items, Futures):
            self._mark(group.items.node, "promised")

        def complete() -> None:
            wanted = [_live_item(one) for one in group.by] if isinstance(group.by, Futures) else []
            self._when_known(wanted, known)

        def known() -> None:
            if group.known is None and group.failure is None:
                self._resolve_group(group)
            then()

        self._when_known([], complete, dynamic)

    def returned(self, value: Any) -> Any:
        """Return what a flow returned, with answers of maps for what only stands for columns.

        Raises
        ------
        GraphError
            If it would be read when the run is over: a generator of calls, for instance.
        """
        for once in parts_of(value, Iterator):
            raise GraphError(
                f"the flow returned a {type(once).__name__}, which is read when the run is over: "
                "return list(...) of it."
            )

        def column(one: Any) -> Any:
            if isinstance(one, Same | Each):
                return self.returned(one.value)
            if isinstance(one, Sweep):
                return list(one.values)
            return self.map(RETURNED, (one,), {})

        return replaced(value, (Compacted, Flat, Grouped, Same, Each, Sweep), column)

    def _as_map(self, column: Any) -> Any:
        """Return elements of lists as the answer of a map, which has positions."""
        if isinstance(column, Compacted):
            return self.map(ITEM, (column,), {})
        if not isinstance(column, Flat):
            return column
        beside = {} if column.along is None else {"element": Flat(column.source)}
        return self.map(ITEM, (column,), beside)

    def _resolve_group(self, group: Group) -> None:
        keys = [] if isinstance(group.by, Futures) else list_of(group.by, "by")
        for future in group.by if isinstance(group.by, Futures) else ():
            item = _live_item(future)
            assert isinstance(item.node, Node)
            failure = item.node.lost.get(item.index or 0)
            if failure is not None:
                group.failure = failure
                return
            keys.append(get_keys(item.node.known[item.index or 0], item.keys))
        group.known = grouped(list_of(group.items, "group(items)"), keys)

    def _compacted(self, task: Step, columns: dict[str, Any], first: Compacted) -> Dynamic:
        compaction = first.compaction
        futures = [one for one in compaction.columns if isinstance(one, Futures)]
        flat = next((one.source for one in compaction.columns if isinstance(one, Flat)), None)
        source = next((one.node for one in futures if isinstance(one.node, Dynamic)), None)
        if source is not None:  # a compaction for each block of items
            node = Dynamic(self.owner, task, columns, len(source.blocks), _origin(first))
            source.known.append(partial(self._build, node))
            for number, block in enumerate(source.blocks):
                if block is not None or number in source.failed:
                    self._build(node, number)
            return node
        if flat is not None:
            raise GraphError(
                "compact(): elements of flatten(...) are values that are there; pass them together "
                "with the answer of a map over them."
            )
        count = len(compaction.columns[first.place])
        chunks = _chunks(count)
        node = Dynamic(self.owner, task, columns, len(chunks), _origin(first))
        for one in futures:
            self._decided_by(one)
        for number, rows in enumerate(chunks):
            items = [_live_item(one[row]) for one in futures for row in rows]
            self._feed(node, number, [(one.node, one.index or 0) for one in items])  # type: ignore[misc]

            self._when_known(items, partial(self._compact, node, compaction, number, rows))
        return node

    def _compact(self, node: Dynamic, compaction: Compaction, number: int, rows: range) -> None:
        """Say which rows of a part stay, now that its values are known."""
        if number not in compaction.kept:
            compaction.kept[number] = [
                row
                for row in rows
                if not any(self._is_nothing(column[row]) for column in compaction.columns)
            ]
        self._build(node, number)

    def _is_nothing(self, value: Any) -> bool:
        if not isinstance(value, Future):
            return is_nothing(value)
        item = _live_item(value)
        assert isinstance(item.node, Node)
        if item.node.lost.get(item.index or 0) is not None:
            return True
        return is_nothing(get_keys(item.node.known[item.index or 0], item.keys))

    def _of_block(self, arg: Any, number: int) -> Any:
        """Return one argument of a dynamic map for one of its blocks."""
        if isinstance(arg, Futures):
            assert isinstance(arg.node, Dynamic)
            if number in arg.node.failed:
                return _Lost(arg.node.failed[number])
            block = arg.node.blocks[number]
            assert block is not None
            if isinstance(block, Node):
                return Items(block, None, arg.keys)
            return Futures(block, None, arg.keys)
        if isinstance(arg, Grouped):
            if arg.group.failure is not None:
                return _Lost(arg.group.failure)
            assert arg.group.known is not None
            return self._items(list(arg.group.known[arg.part]))
        if isinstance(arg, Compacted):
            return self._of_compacted(arg, number)
        if not isinstance(arg, Flat):
            return arg
        source, keys = arg.source.node, arg.source.keys
        if isinstance(source, Dynamic):
            if number in source.failed:
                return _Lost(source.failed[number])
            block = source.blocks[number]
            assert block is not None
            along = arg.along
            if isinstance(along, Futures) and isinstance(along.node, Dynamic):
                inside = along.node.blocks[number]
                assert inside is not None
                along = Futures(inside, None, along.keys)
            return Flat(Futures(block, None, keys), along)
        row = number if arg.source.picks is None else arg.source.picks[number]
        failure = source.lost.get(row)
        if failure is not None:
            return _Lost(failure)
        if arg.along is None:
            return _elements_of(source, row, keys)
        items: Any = arg.along if isinstance(arg.along, Futures) else elements(arg.along)
        if items is None or number >= len(items):
            raise GraphError("flatten(lists).of(x): x must have one value for each list.")
        return self._same(items[number])

    def _of_compacted(self, arg: Compacted, number: int) -> Any:
        """Return the rows that stay of one block of a column."""
        compaction = arg.compaction
        if number in compaction.kept:
            column = compaction.columns[arg.place]
            return self._items([column[row] for row in compaction.kept[number]])
        part = compaction.parts.get(number)
        if part is None:
            found = [self._of_block(one, number) for one in compaction.columns]
            lost = next((one for one in found if isinstance(one, _Lost)), None)
            if lost is not None:
                return lost
            part = compaction.parts[number] = Compaction([*map(_as_column, found)])
            lengths = {len(one) for one in part.columns if isinstance(one, Futures)}
            part.columns = [
                [one.value] * next(iter(lengths)) if isinstance(one, Plain) else one
                for one in part.columns
            ]
        return Compacted(part, arg.place)

    def _node(
        self, task: Step, args: dict[str, Any], n: int, *, single: bool, repeat: int = 1
    ) -> Node:
        node = Node(self.owner, task, args, n, single)
        node.repeat = repeat
        node.id = len(self.nodes)
        self.nodes.append(node)
        target = task.target
        later = target is not None and (
            _touches(node, target) if target.is_callable and n else False
        )
        for name, arg in args.items():
            for upstream in dict.fromkeys(arg.nodes()):
                upstream.own_readers.append((node, name))
                if later or (target is not None and name in target.names):
                    for one in nodes_in(upstream):
                        one.decides = True
        return node


TOO_DEEP = "is nested too deeply to be looked at. Pass it flat, for example as one list."


@contextmanager
def _named(task: Step, name: str) -> Iterator[None]:
    """Say which argument it is that cannot be taken."""
    try:
        yield
    except RecursionError:
        raise GraphError(f"{task.name}: the argument {name!r} {TOO_DEEP}") from None
    except FingerprintError as error:
        raise FingerprintError(f"{task.name}: the argument {name!r}: {error}") from None


def _looked_at(value: Any) -> Any:
    """Return a value of a map, or what says that it cannot be looked at."""
    try:
        futures_in(value)
        copy, large = taken(value)
        if large:
            token(copy)
    except RecursionError:
        return Unlooked(FingerprintError(TOO_DEEP))
    except FingerprintError as error:
        return Unlooked(error)
    return value


class _Lost:
    """Stands for an argument whose source failed."""

    def __init__(self, failure: Any) -> None:
        self.failure = failure


def nodes_in(node: AnyNode) -> Iterator[Node]:
    """Yield the nodes with items that a node consists of by now."""
    if isinstance(node, Node):
        yield node
    else:
        for block in node.blocks:
            if block is not None:
                yield from nodes_in(block)


def target_values(node: Node, row: int, unknown: Callable[[str], Any]) -> dict[str, Any]:
    """Return the parameters of an item as its target sees them."""
    values: dict[str, Any] = {}
    for name, arg in node.args.items():
        known = isinstance(arg, Plain | Column)
        values[name] = arg.given(row) if known else unknown(name)
    return values


def _touches(node: Node, target: Target) -> bool:
    """Whether a target callable uses what other tasks return."""
    try:
        target.call(target_values(node, 0, NotYet), node.name)
    except Touched:
        return True
    return False


def _multiplied(
    columns: dict[str, Any], swept: dict[str, Sweep], count: int
) -> tuple[dict[str, Any], int]:
    """Return columns with every combination of the swept values for every item."""
    if not swept:
        return columns, 1
    combinations = list(product(*(arg.values for arg in swept.values())))
    times = len(combinations)
    rows = [row for row in range(count) for _ in range(times)]
    made: dict[str, Any] = {}
    for name, arg in columns.items():
        if isinstance(arg, Sweep):
            place = list(swept).index(name)
            made[name] = Column([one[place] for one in combinations] * count)
        else:
            made[name] = arg.repeated(rows)
    return made, times


MOST_CHUNKS = 64
"""Parts that a compaction is cut into: what follows on a part starts when that one is known."""


def _chunks(count: int) -> list[range]:
    size = max(1, -(-count // MOST_CHUNKS))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def _live_item(future: Future) -> Future:
    """Return the same item as one of the block that it lies in."""
    node, index = future.node, future.index or 0
    return future if isinstance(node, Node) else Future(*node.at(index), future.keys)


def _as_column(found: Any) -> Any:
    """Return one block of a column as what a compaction takes."""
    if isinstance(found, Items):
        return Futures(found.node, found.picks, found.keys)
    if isinstance(found, Input) and (length := found.length()) is not None:
        return [found.given(row) for row in range(length)]
    return found


def _item(item: Any, element: Any = None) -> Any:
    return item


RETURNED = Step(_item, Options(name="returned"))
"""Makes a map of what a flow returns of a column whose items become known while it runs."""


ITEM = Step(_item, Options(name="group"))
"""Makes a map of the elements of lists, so that they can be put together."""


def _origin(arg: Any) -> Any:
    """Return what decides the blocks of a column: equal for columns that belong together."""
    if isinstance(arg, Grouped):
        return ("group", id(arg.group), arg.group)
    if isinstance(arg, Compacted):
        return ("compact", id(arg.compaction), arg.compaction)
    if isinstance(arg, Futures):
        assert isinstance(arg.node, Dynamic)
        return arg.node.origin
    source = arg.source
    if isinstance(source.node, Dynamic):
        return ("of", id(source.node.origin), source.node.origin)
    return (source.node.id, None if source.picks is None else tuple(source.picks))


def _elements_of(source: Node, row: int, keys: tuple[Any, ...]) -> Input:
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
