"""What items took and take up, as their records say."""

from __future__ import annotations

from databacked.engine.items import Items
from databacked.errors import ResultChangedError
from databacked.records.record import Record


def record_of(items: Items, row: int) -> Record | None:
    """Return the record of an item, made or reused; None if it keeps no file or is not there."""
    if items.place is None or items.targets is None or items.targets[row] is None:
        return None
    try:
        return items.record(row)
    except ResultChangedError:
        return None


def cost_of(items: Items, row: int) -> tuple[float | None, int | None]:
    """Return the seconds that making an item took, and the bytes of its files; None: not known."""
    record = record_of(items, row)
    if record is None:
        return None, None
    seconds = record.details.get("seconds")
    return (
        float(seconds) if isinstance(seconds, int | float) else None,
        max(record.size, 0),
    )
