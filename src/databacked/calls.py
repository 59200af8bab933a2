"""How the calls of a flow become a graph: what is mapped over, and what belongs together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from databacked.errors import GraphError
from databacked.fingerprint.parameters import token
from databacked.graph import (
    AnyNode,
    Arg,
    Column,
    Dynamic,
    Each,
    Element,
    Flat,
    Future,
    Futures,
    Items,
    Nested,
    NestedColumn,
    Node,
    Plain,
    Same,
    elements,
    futures_in,
    is_large,
    taken,
)
from databacked.item import Unknown, get_keys, holds_unknown
from databacked.target import NotYet, Target, Touched
from databacked.task import Task

_PLAIN = frozenset({str, int, float, bool, type(None)})


class Calls:
    """The graph of one run, as its flow's function builds it."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        """In the order of the calls, so that what a node reads stands before it."""
        self.waiting_for: dict[tuple[int, int], list[Callable[[], None]]] = {}
        """What to build once it is known what an item (node, row) returned."""

    def call(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
        """Take a single call into the graph."""
        made: dict[str, Arg] = {}
        for name, value in task.bind(args, kwargs).items():
            if isinstance(value, Flat):
                raise GraphError(
                    f"{task.name}: {name} is flatten(...); pass the lists themselves, or use .map."
                )
            made[name] = self._same(value.value if isinstance(value, Same | Each) else value)
        return Future(self._node(task, made, 1, single=True), 0)

    def map(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Futures:
        """Take a map into the graph."""
        columns: dict[str, Any] = {}
        given = task.signature.bind_partial(*args, **kwargs).arguments if args or kwargs else {}
        for name, value in task.bind(args, kwargs).items():
            # A default is one value for all items, also where it is a list.
            from_call = name in given or name in kwargs
            columns[name] = self._column(task, name, value) if from_call else self._same(value)
        return Futures(self._map(task, columns))

    # One argument

    def _same(self, value: Any) -> Arg:
        if type(value) in _PLAIN:
            return Plain(value)
        refs = [self._live(future) for future in futures_in(value)]
        if refs:
            return Nested(taken(value), refs)
        return Plain(value, str(token(value))) if is_large(value) else Plain(taken(value))

    def _live(self, future: Future) -> Future:
        if future.node.session is not self:
            raise GraphError(
                f"{future!r} belongs to another run. Return it from its flow, or use .result()."
            )
        return future

    def _column(self, task: Task[..., Any], name: str, value: Any) -> Any:
        """Return what one argument of a map runs over."""
        if isinstance(value, Same):
            return self._same(value.value)
        if isinstance(value, Each):
            return self._each(task, name, value.value)
        if isinstance(value, Flat):
            return value
        if isinstance(value, Futures):
            if value.node.session is not self:
                raise GraphError(f"{value!r} belongs to another run; return it from its flow.")
            if isinstance(value.node, Node):
                return Items(value.node, value.picks, value.keys)
            return value if value.picks is None else self._items(list(value))
        items = elements(value)
        return self._same(value) if items is None else self._items(items)

    def _each(self, task: Task[..., Any], name: str, value: Any) -> Any:
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

    def _items(self, items: list[Any]) -> Arg:
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
        refs = [[self._live(future) for future in futures_in(item)] for item in items]
        items = [taken(item) for item in items]
        if any(refs):
            return NestedColumn(items, refs)
        if any(map(is_large, items)):
            return Column(items, [str(token(item)) for item in items])
        return Column(items)

    # Maps

    def _map(self, task: Task[..., Any], columns: dict[str, Any]) -> AnyNode:
        """Return the node of a map: of known length, or one block a source."""
        lengths = {
            name: length for name, arg in columns.items() if (length := _length(arg)) is not None
        }
        blocks = {name: arg for name, arg in columns.items() if isinstance(arg, Flat | Futures)}
        if not blocks and not lengths:
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
            return self._node(task, columns, next(iter(lengths.values())), single=False)
        if lengths:
            raise GraphError(
                f"{task.name}.map: {', '.join(blocks)} has items that become known only while the "
                f"flow runs; {', '.join(lengths)} has a fixed number. Use flatten(...).of(column) "
                "to give every element the item of the list that it comes from."
            )
        return self._dynamic(task, columns, blocks)

    def _dynamic(
        self, task: Task[..., Any], columns: dict[str, Any], blocks: dict[str, Flat | Futures]
    ) -> Dynamic:
        first = next(
            (arg for arg in blocks.values() if isinstance(arg, Futures) or arg.along is None), None
        )
        if first is None:
            raise GraphError(f"{task.name}.map: map over the elements of flatten(...) too.")
        if len({_origin(arg) for arg in blocks.values()}) > 1:
            raise GraphError(
                f"{task.name}.map: {', '.join(blocks)} do not come from the same flatten(...) or "
                "each(...), so their elements do not belong together."
            )
        source = first.node if isinstance(first, Futures) else first.source.node
        if isinstance(first, Flat) and isinstance(source, Node):
            rows = range(source.n) if first.source.picks is None else first.source.picks
            node = Dynamic(self, task, columns, len(rows), _origin(first))
            source.decides = True
            for number, row in enumerate(rows):
                build = partial(self._build, node, number)
                self.waiting_for.setdefault((source.id, row), []).append(build)
                self.becomes_known(source, row)
            return node
        assert isinstance(source, Dynamic)
        node = Dynamic(self, task, columns, len(source.blocks), _origin(first))
        source.known.append(partial(self._build, node))
        for number, block in enumerate(source.blocks):
            if block is not None or number in source.failed:
                self._build(node, number)
        return node

    def becomes_known(self, node: Node, row: int) -> None:
        """Called when something is to be built from what an item returns."""
        raise NotImplementedError

    def built(self, node: Node) -> None:
        """Called when a node came to be while the flow runs."""
        raise NotImplementedError

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
        failure = self.failure_of(source, row)
        if failure is not None:
            return _Lost(failure)
        if arg.along is None:
            return _elements_of(source, row, keys)
        items: Any = arg.along if isinstance(arg.along, Futures) else elements(arg.along)
        if items is None or number >= len(items):
            raise GraphError("flatten(lists).of(x): x must have one value for each list.")
        return self._same(items[number])

    def failure_of(self, node: Node, row: int) -> Any:
        """Return why an item will never be, or None."""
        raise NotImplementedError

    def _node(self, task: Task[..., Any], args: dict[str, Any], n: int, *, single: bool) -> Node:
        node = Node(self, task, args, n, single)
        node.id = len(self.nodes)
        self.nodes.append(node)
        target = task.target
        later = target is not None and (
            _touches(node, target) if target.is_callable and n else False
        )
        for name, arg in args.items():
            for upstream in dict.fromkeys(upstreams(arg)):
                upstream.own_readers.append((node, name))
                if later or (target is not None and name in target.names):
                    for one in nodes_in(upstream):
                        one.decides = True
        self.built(node)
        return node


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


def upstreams(arg: Any) -> Iterator[AnyNode]:
    """Yield the nodes that an argument reads."""
    match arg:
        case Items() | Element():
            yield arg.node
        case Nested():
            for future in arg.refs:
                yield future.node
        case NestedColumn():
            for row in arg.refs:
                for future in row:
                    yield future.node


def target_values(node: Node, row: int, unknown: Callable[[str], Any]) -> dict[str, Any]:
    """Return the parameters of an item as its target sees them."""
    values: dict[str, Any] = {}
    for name, arg in node.args.items():
        if isinstance(arg, Plain):
            values[name] = arg.value
        elif isinstance(arg, Column):
            values[name] = arg.values[row]
        else:
            values[name] = unknown(name)
    return values


def _touches(node: Node, target: Target) -> bool:
    """Whether a target callable uses what other tasks return."""
    try:
        target.call(target_values(node, 0, NotYet), node.name)
    except Touched:
        return True
    return False


def _length(arg: Any) -> int | None:
    match arg:
        case Column() | NestedColumn():
            return len(arg.values)
        case Items():
            return arg.node.n if arg.picks is None else len(arg.picks)
        case Element():
            return len(arg.known)
        case _:
            return None


def _origin(arg: Flat | Futures) -> Any:
    """Return what decides the blocks of a column: equal for columns that belong together."""
    if isinstance(arg, Futures):
        assert isinstance(arg.node, Dynamic)
        return arg.node.origin
    source = arg.source
    if isinstance(source.node, Dynamic):
        return ("of", id(source.node.origin), source.node.origin)
    return (source.node.id, None if source.picks is None else tuple(source.picks))


def _elements_of(source: Node, row: int, keys: tuple[Any, ...]) -> Arg:
    """Return the elements of what one item returned, as a column of their own."""
    known = get_keys(source.known[row], keys)
    if isinstance(known, Unknown):
        if not known.shape:
            raise GraphError(f"{source.name}[{row}] returned a value without elements.")
        return Element(source, row, keys, [Unknown(known.shape[1:])] * known.shape[0])
    items = elements(known)
    if items is None:
        raise GraphError(
            f"{source.name}[{row}] returned {known!r}; something with elements was expected."
        )
    if any(holds_unknown(item) for item in items):
        return Element(source, row, keys, items)
    return Column(items)
