"""Whose each target is: one target, one recipe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from databacked.errors import DatabackedError, TargetError
from databacked.graph.nodes import Item, Node
from databacked.records.record import JOIN
from databacked.worker.messages import shown


class Claims:
    """The targets of one run, and the items that make them."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Item] = {}

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield place and target of each."""
        return iter(self._items)

    def claim(self, folder: Path | str, target: str, item: Item) -> Item:
        """Claim a target, and each file of one that names several; return whose it is."""
        folder = str(folder)
        other = self._items.setdefault((folder, target), item)
        if JOIN in target:
            for part in target.split(JOIN):
                if other != item:
                    break
                other = self._items.setdefault((folder, part), item)
        return other


def two_claims(node: Node, row: int, first: Node, first_row: int, target: str) -> DatabackedError:
    """Return the error of two items that have one target, and are not the same."""
    if first is node:
        who = f"items {first_row} and {row} of {node.name}"
        advice = "Add what tells them apart to the target, for example {cell_id}."
    else:
        who = f"{first.name}[{first_row}] and {node.name}[{row}]"
        advice = "Give the tasks different places or targets."
    target = shown(target)
    return TargetError(f"{who} have the same target {target!r} but not the same recipe. {advice}")
