"""Which items go out as columns, and these columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from databacked.engine.items import DUE, Items
from databacked.graph.inputs import Column, Plain
from databacked.places.judge import MISSING, Found
from databacked.places.one_file import OneFile
from databacked.worker.columns import EXACT, Rows


def goes_by_rows(items: Items) -> bool:
    """Whether items of a node read nothing of others, are read by none, and need no care each."""
    if items.is_alike is None:
        items.is_alike = _are_alike(items)
    node = items.node
    return (
        items.is_alike
        and not (node.readers or node.decides or node.promised)
        and len(items.pinned) in (0, items.n)
    )


def _are_alike(items: Items) -> bool:
    spec, place, options = items.spec, items.place, items.node.task.options
    return (
        items.n > 1
        and items.reads_nothing
        and not (items.unread or items.odd or spec.inputs or spec.remembers)
        and not (spec.retries or spec.draws or spec.reads or spec.checks or spec.hashed)
        and spec.pure
        and not (options.resources or options.limit is not None)
        and _are_exact(items)
        and (
            place is None
            or (
                isinstance(place.format, OneFile)
                and not (place.rules.always or place.rules.from_path)
            )
        )
    )


def alike_among(items: Items, rows: Sequence[int]) -> Sequence[int]:
    """Return those of rows that are still to be made, where nothing lies but their own results."""
    status, found = items.status, items.found
    whole = isinstance(rows, range) and not found
    if whole and status.count(DUE, rows[0], rows[-1] + 1) == len(rows):
        return rows
    return [row for row in rows if status[row] == DUE and is_own(found.get(row, MISSING))]


def is_own(found: Found | None) -> bool:
    """Whether nothing lies at a target, or what its own task once made, in the same way."""
    if found is None or found.kind == "ours":
        return found is not None and found.stat is not None
    return found is MISSING


def rows_of(items: Items, rows: Sequence[int]) -> Rows:
    """Return rows as they are sent."""
    spec, args = items.spec, items.node.args
    part = slice(rows.start, rows.stop) if isinstance(rows, range) else None

    def of(column: Sequence[Any]) -> Sequence[Any]:
        return [column[row] for row in rows] if part is None else column[part]

    tokens = (items.columns[name] for name in spec.order)
    return Rows(
        spec.id,
        rows,
        {name: of(arg.values) for name in spec.columns if isinstance(arg := args[name], Column)},
        [of(one) if isinstance(one, list) else one for one in tokens],
        None if items.targets is None else of(items.targets),
        [] if not items.found else [(items.found.get(row) or MISSING).stat for row in rows],
        bool(items.pinned) and spec.place is None,
    )


def is_nobodys(items: Items) -> bool:
    """Whether items count by what is known, and nobody has to know it unless somebody asks.

    They are not kept, and nothing is looked at on their behalf.
    """
    spec = items.spec
    return (
        not (items.node.decides or items.node.promised)
        and not (spec.is_kept or spec.marks or spec.draws or spec.hashed or spec.reads)
        and not (items.unread or items.shared_unknown or any(items.unknown))
        and not any(isinstance(items.node.args[name], Plain | Column) for name in spec.inputs)
        and _are_exact(items)
    )


def _are_exact(items: Items) -> bool:
    """Whether all given values are of types that come back as they were sent."""
    return all(
        EXACT.issuperset(map(type, arg.values if isinstance(arg, Column) else (arg.value,)))
        for arg in items.node.args.values()
        if isinstance(arg, Plain | Column)
    )
