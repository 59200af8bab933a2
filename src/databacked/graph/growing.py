"""Maps of which the items become known while the flow runs: flatten, group, compact, each.

Such a map gets one block of items as what decides it becomes known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from databacked.errors import GraphError
from databacked.graph.blocks import Lost, of_block, origin_of
from databacked.graph.columns import (
    Compacted,
    Compaction,
    Flat,
    Group,
    Grouped,
    chunks,
    grouped,
    is_nothing,
    list_of,
)
from databacked.graph.futures import Future, Futures
from databacked.graph.nodes import AnyNode, Dynamic, Item, Node, nodes_in
from databacked.graph.step import Options, Step
from databacked.graph.taking import Taking
from databacked.places.parts import get_keys


def _item(item: Any, element: Any = None) -> Any:
    return item


RETURNED = Step(_item, Options(name="returned"))
"""Makes a map of what a flow returns of a column whose items become known while it runs."""

ITEM = Step(_item, Options(name="group"))
"""Makes a map of the elements of lists, so that they can be put together."""


class Growth:
    """How a graph grows: whoever runs it says what items returned (`learn`).

    Parameters
    ----------
    make
        Makes the node of a map from its columns.
    call
        Takes a map into the graph.
    """

    def __init__(
        self,
        taking: Taking,
        make: Callable[[Step, dict[str, Any]], AnyNode],
        call: Callable[[Step, tuple[Any, ...], dict[str, Any]], Futures],
    ) -> None:
        self._taking = taking
        self._make = make
        self._map = call
        self.maps: list[Dynamic] = []
        """All such maps."""
        self._waiting: dict[tuple[int, int], list[Callable[[], None]]] = {}
        """What to build once it is known what an item (node, row) returned."""
        self._feeds: dict[tuple[int, int], list[tuple[Dynamic, int]]] = {}
        """Blocks of maps that an item (node, row) decides, and whose items may read it."""
        self._asked: list[Item] = []
        """Items of which somebody has to say what they return, as they come to be asked for."""
        self._released: list[Item] = []
        """Items that decided others; whoever reads their values is known by now."""

    def dynamic(self, task: Step, columns: dict[str, Any], blocks: dict[str, Any]) -> Dynamic:
        """Return a map of unknown length; what decides its blocks has to become known."""
        first = next(
            (arg for arg in blocks.values() if not isinstance(arg, Flat) or arg.along is None), None
        )
        if first is None:
            raise GraphError(f"{task.name}.map: map over the elements of flatten(...) too.")
        if len({origin_of(arg) for arg in blocks.values()}) > 1:
            raise GraphError(
                f"{task.name}.map: {', '.join(blocks)} do not come from the same flatten(...), "
                "each(...), group(...) or compact(...), so their elements do not belong together."
            )
        if isinstance(first, Grouped):
            node = self._map_of(task, columns, 1, first)
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
            node = self._map_of(task, columns, len(rows), first)
            source.decides = True
            for number, row in enumerate(rows):
                self._feed(node, number, [(source, row)])
                build = partial(self._build, node, number)
                self._waiting.setdefault((source.id, row), []).append(build)
                self._asked.append((source, row))
            return node
        assert isinstance(source, Dynamic)
        node = self._map_of(task, columns, len(source.blocks), first)
        for number, block in enumerate(source.blocks):
            if block is not None or number in source.failed:
                self._build(node, number)
        return node

    def _map_of(self, task: Step, columns: dict[str, Any], blocks: int, first: Any) -> Dynamic:
        node = Dynamic(self._taking.owner, task, columns, blocks, origin_of(first))
        for one in self._decide(node):
            one.known.append(partial(self._build, node))
        return node

    def _build(self, node: Dynamic, number: int) -> None:
        """Make the block of a dynamic map, once all that decide it are known, or have failed."""
        if node.blocks[number] is not None or number in node.failed:
            return
        if not all(number in one.failed or one.blocks[number] for one in self._decide(node)):
            return  # called again by those
        columns: dict[str, Any] = {}
        for name, arg in node.args.items():
            found = of_block(self._taking, arg, number)
            if isinstance(found, Lost):
                node.failed[number] = found.failure
                break
            columns[name] = found
        else:
            block = node.blocks[number] = self._make(node.task, columns)
            block.parent = node
        for tell in list(node.known):
            tell(number)
        self._released += node.sources.pop(number, [])
        built = node.blocks[number]
        if built is None or isinstance(built, Node) or built.complete:
            node.block_known()

    def _decide(self, node: Dynamic) -> list[Dynamic]:
        """Return the maps whose blocks become those of a map; they may come to be in any order."""
        found: list[Dynamic] = []
        for arg in node.args.values():
            columns = arg.compaction.columns if isinstance(arg, Compacted) else (arg,)
            for one in columns:
                inside = (one.source, one.along) if isinstance(one, Flat) else (one,)
                found += [
                    answer.node
                    for answer in inside
                    if isinstance(answer, Futures) and isinstance(answer.node, Dynamic)
                ]
        return [one for one in found if len(one.blocks) == len(node.blocks)]

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
        found, self._asked = self._asked, []
        return found

    def take_released(self) -> list[Item]:
        """Return the items that decided others and need not be held for that any more."""
        found, self._released = self._released, []
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
                self._asked.append((future.node, key[1]))
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

    def _as_map(self, column: Any) -> Any:
        """Return elements of lists as the answer of a map, which has positions."""
        if isinstance(column, Compacted):
            return self._map(ITEM, (column,), {})
        if not isinstance(column, Flat):
            return column
        beside = {} if column.along is None else {"element": Flat(column.source)}
        return self._map(ITEM, (column,), beside)

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
            node = self._map_of(task, columns, len(source.blocks), first)
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
        parts = chunks(count)
        node = self._map_of(task, columns, len(parts), first)
        for one in futures:
            self._decided_by(one)
        for number, rows in enumerate(parts):
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


def _live_item(future: Future) -> Future:
    """Return the same item as one of the block that it lies in."""
    node, index = future.node, future.index or 0
    return future if isinstance(node, Node) else Future(*node.at(index), future.keys)
