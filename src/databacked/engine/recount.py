"""Counts a scheduler's columns again: what differs is a mistake of this package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from databacked.engine.items import DUE, OPEN, Items
from databacked.engine.scheduler import Scheduler
from databacked.graph.nodes import Item


def recount(scheduler: Scheduler) -> None:
    """Compare every count with what the columns say.

    Raises
    ------
    AssertionError
        If something was counted wrong.
    """
    wanted = sum(sum(items.wanted) for items in scheduler.tables)
    assert scheduler.open == wanted, ("open", scheduler.open, wanted)
    for items in scheduler.tables:
        if items.is_open and (OPEN in items.status or DUE in items.status):
            for what, counted, right in _recounted(scheduler, items):
                assert counted == right, (what, items, counted, right)


def _recounted(scheduler: Scheduler, items: Items) -> Iterator[tuple[str, Any, Any]]:
    def is_unknown(item: Item) -> bool:
        node, row = item
        return not scheduler.of(node).is_known(row) and row not in node.lost

    def is_absent(item: Item) -> bool:
        node, row = scheduler.real(*item)
        return not scheduler.is_here(node, row) and row not in node.lost

    args = items.node.args.values()
    shared = {item for arg in args for item in arg.shared()}
    yield "shared unknown", items.shared_unknown, set(filter(is_unknown, shared))
    if items.shared_absent is not None:
        yield "shared absent", items.shared_absent, set(filter(is_absent, shared))
    own = [arg for arg in args if arg.length() is not None]
    for row in range(items.n):
        read = [item for arg in own for item in dict.fromkeys(arg.items(row))]
        if items.status[row] == OPEN:
            yield f"unknown {row}", items.unknown[row], sum(map(is_unknown, read))
        if items.status[row] == DUE:
            yield f"absent {row}", items.lacks(row), sum(map(is_absent, read))
