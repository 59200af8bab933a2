"""What is given in a call becomes an input of a node: copied, and looked through for futures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from databacked.errors import FingerprintError, GraphError
from databacked.fingerprint.parameters import token
from databacked.graph.columns import (
    Compacted,
    Each,
    Flat,
    Grouped,
    Same,
    Sweep,
)
from databacked.graph.copies import taken
from databacked.graph.futures import Future, Futures, check_futures, elements, futures_in
from databacked.graph.inputs import Column, Filled, Items, Mixed, Plain
from databacked.graph.nodes import UNLOOKED, Input, Node, Owner
from databacked.graph.step import Step
from databacked.types import Unlooked

_PLAIN = frozenset({str, int, float, bool, type(None)})

TOO_DEEP = "it is nested too deeply to be looked at. Pass it flat, for example as one list."


class Taking:
    """Takes the arguments of calls into the graph of an owner."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner

    def same(self, value: Any) -> Input:
        """Return what is the same for every item."""
        if type(value) in _PLAIN:
            return Plain(value)
        refs = [self.live(future) for future in futures_in(value)]
        copy, large = taken(value)
        if refs:
            check_futures(copy)
            return Filled(copy, refs)
        return Plain(copy, str(token(copy))) if large else Plain(copy)

    def live(self, future: Future) -> Future:
        """Return a future that belongs here; raises for one of another run."""
        if future.node.session is not self.owner:
            raise GraphError(
                f"{future!r} belongs to another run. Return it from its flow, or use .result()."
            )
        return future

    def column(self, task: Step, name: str, value: Any) -> Any:
        """Return what one argument of a map runs over."""
        if isinstance(value, Same):
            return self.same(value.value)
        if isinstance(value, Each):
            return self.each(task, name, value.value)
        if isinstance(value, Flat | Sweep | Grouped | Compacted):
            return value
        if isinstance(value, Futures):
            if value.node.session is not self.owner:
                raise GraphError(f"{value!r} belongs to another run; return it from its flow.")
            if isinstance(value.node, Node):
                return Items(value.node, value.picks, value.keys)
            return value if value.picks is None else self.items(list(value))
        items = elements(value)
        if items is None:
            return self.same(value)
        column = self.items(items)
        if isinstance(column, Column):
            column.of_table = type(value).__module__.startswith("pandas")
        return column

    def each(self, task: Step, name: str, value: Any) -> Any:
        """Return the elements of a value as what a map runs over."""
        if isinstance(value, Future):
            future = self.live(value)
            if future.index is None:
                return self.column(task, name, Futures(future.node, None, future.keys))
            return Flat(Futures(future.node, [future.index], future.keys))
        if isinstance(value, Futures):
            return self.column(task, name, value)
        try:
            return self.items(list(value))
        except TypeError:
            raise GraphError(
                f"{task.name}: each({value!r}) for {name}: something with elements was expected."
            ) from None

    def items(self, items: list[Any]) -> Input:
        """Return one value an item."""
        kinds = set(map(type, items))
        if kinds <= _PLAIN:
            return Column(items)
        if kinds == {Future}:
            first = self.live(items[0])
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
        refs = [[self.live(future) for future in futures_in(item)] for item in items]
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


@contextmanager
def named(task: Step, name: str) -> Iterator[None]:
    """Say which argument it is that cannot be taken."""
    try:
        yield
    except RecursionError:
        raise GraphError(f"{task.name}: the argument {name!r}: {TOO_DEEP}") from None
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
