"""The items of a map as a table: parameters, state, and where each lies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from databacked.engine.costs import cost_of
from databacked.engine.items import Items
from databacked.engine.scheduler import Scheduler
from databacked.graph.futures import Futures
from databacked.graph.given import free_name, parameters_of, path_columns
from databacked.graph.nodes import Node
from databacked.records.record import JOIN


def table_of(
    answer: Futures, scheduler: Scheduler, became: Callable[[Node, int], str]
) -> pd.DataFrame:
    """Return one row for each item of a map.

    Parameters
    ----------
    became
        Says what became of an item.

    Returns
    -------
    A column for each parameter that is a value (not the result of a task), ``state`` (``made``,
    ``reused``, ``edited`` for what a hand corrected, ``failed``, ``skipped``; empty for what was
    not needed or did not run yet), and for tasks with files ``path`` (``path_mask``, … for several
    outputs; None where there is no file), ``seconds`` that making it took, whenever that was, and
    ``nbytes`` of its files. A column whose name is a parameter's gets a ``_`` behind its own.
    """
    items = [item for future in answer for item in future.items()]
    rows = [
        {**parameters_of(node, row), **_state(scheduler.of(node), row, became(node, row))}
        for node, row in items
    ]
    return pd.DataFrame(rows, dtype=None if rows else object)


def _state(items: Items, row: int, became: str) -> dict[str, Any]:
    node, place = items.node, items.place
    said: dict[str, Any] = {free_name("state", node): became}
    if place is None or items.targets is None:
        return said
    names = path_columns(place.format.names())
    target = items.targets[row]
    files = [None] * len(names) if target is None else target.split(JOIN)
    for name, file in zip(names, files, strict=True):
        path = None if file is None else Path(place.folder) / file
        said[free_name(name, node)] = path if path is not None and path.exists() else None
    for name, known in zip(("seconds", "nbytes"), cost_of(items, row), strict=True):
        said[free_name(name, node)] = known
    return said
