"""How the calls of a flow become a graph: what is mapped over, and what belongs together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import product
from typing import Any

from databacked.errors import GraphError, TargetError
from databacked.graph.columns import (
    Compacted,
    Each,
    Flat,
    Grouped,
    Same,
    Sweep,
)
from databacked.graph.copies import parts_of, replaced
from databacked.graph.futures import Future, Futures
from databacked.graph.growing import ITEM, RETURNED, Growth
from databacked.graph.inputs import Column, Plain
from databacked.graph.nodes import AnyNode, Input, Node, Owner, nodes_in
from databacked.graph.step import Step
from databacked.graph.taking import Taking, named
from databacked.graph.target import NotYet, Target, Touched

current: ContextVar[Graph | None] = ContextVar("databacked_run", default=None)
"""What calls of tasks belong to: a run, or the outline of one; None outside of flows."""


class Graph:
    """What the calls of a flow became so far, as its function builds it.

    It grows while the flow runs (`growth`): whoever runs it takes from `nodes` what came to be.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.turn = threading.RLock()
        """Held by the thread that calls or asks: a flow may do so in several."""
        self.calls: list[AnyNode] = []
        """What was called, in order."""
        self.nodes: list[Node] = []
        """In the order of the calls, so that what a node reads stands before it."""
        self._taking = Taking(owner)
        self.growth = Growth(self._taking, self._map, self.map)
        """Maps of which the items become known while the flow runs."""

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
            with named(task, name):
                made[name] = self._taking.same(
                    value.value if isinstance(value, Same | Each) else value
                )
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
            with named(task, name):
                columns[name] = (
                    self._taking.column(task, name, value)
                    if from_call
                    else self._taking.same(value)
                )
        with self.turn:
            found = self._map(task, columns)
            if task is not ITEM:
                self.calls.append(found)
            return Futures(found)

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
        made = self.growth.dynamic(task, columns, blocks)
        self.growth.maps.append(made)
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
