"""One block of a map of which the items become known while the flow runs: what it reads."""

from __future__ import annotations

from typing import Any

from databacked.errors import GraphError
from databacked.graph.columns import Compacted, Compaction, Flat, Grouped
from databacked.graph.futures import Futures, elements
from databacked.graph.inputs import Items, Plain, elements_of
from databacked.graph.nodes import Dynamic, Input, Node
from databacked.graph.taking import Taking


class Lost:
    """Stands for an argument whose source failed."""

    def __init__(self, failure: Any) -> None:
        self.failure = failure


def of_block(taking: Taking, arg: Any, number: int) -> Any:
    """Return one argument of a dynamic map for one of its blocks."""
    if isinstance(arg, Futures):
        assert isinstance(arg.node, Dynamic)
        if number in arg.node.failed:
            return Lost(arg.node.failed[number])
        block = arg.node.blocks[number]
        assert block is not None
        if isinstance(block, Node):
            return Items(block, None, arg.keys)
        return Futures(block, None, arg.keys)
    if isinstance(arg, Grouped):
        if arg.group.failure is not None:
            return Lost(arg.group.failure)
        assert arg.group.known is not None
        return taking.items(list(arg.group.known[arg.part]))
    if isinstance(arg, Compacted):
        return _of_compacted(taking, arg, number)
    if not isinstance(arg, Flat):
        return arg
    source, keys = arg.source.node, arg.source.keys
    if isinstance(source, Dynamic):
        if number in source.failed:
            return Lost(source.failed[number])
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
        return Lost(failure)
    if arg.along is None:
        return elements_of(source, row, keys)
    items: Any = arg.along if isinstance(arg.along, Futures) else elements(arg.along)
    if items is None or number >= len(items):
        raise GraphError("flatten(lists).of(x): x must have one value for each list.")
    return taking.same(items[number])


def _of_compacted(taking: Taking, arg: Compacted, number: int) -> Any:
    """Return the rows that stay of one block of a column."""
    compaction = arg.compaction
    if number in compaction.kept:
        column = compaction.columns[arg.place]
        return taking.items([column[row] for row in compaction.kept[number]])
    part = compaction.parts.get(number)
    if part is None:
        found = [of_block(taking, one, number) for one in compaction.columns]
        lost = next((one for one in found if isinstance(one, Lost)), None)
        if lost is not None:
            return lost
        part = compaction.parts[number] = Compaction([*map(_as_column, found)])
        lengths = {len(one) for one in part.columns if isinstance(one, Futures)}
        part.columns = [
            [one.value] * next(iter(lengths)) if isinstance(one, Plain) else one
            for one in part.columns
        ]
    return Compacted(part, arg.place)


def _as_column(found: Any) -> Any:
    """Return one block of a column as what a compaction takes."""
    if isinstance(found, Items):
        return Futures(found.node, found.picks, found.keys)
    if isinstance(found, Input) and (length := found.length()) is not None:
        return [found.given(row) for row in range(length)]
    return found


def origin_of(arg: Any) -> Any:
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
