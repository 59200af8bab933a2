"""Whose each target is: one target, one recipe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path

from databacked.errors import DatabackedError, TargetError
from databacked.graph.nodes import Item, Node
from databacked.records.record import JOIN
from databacked.worker.messages import shown


class Claims:
    """The targets of one run, and the items that make them."""

    def __init__(self) -> None:
        self._items: defaultdict[str, dict[str, Item]] = defaultdict(dict)
        """By place and target."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield place and target of each."""
        return ((folder, target) for folder, mine in self._items.items() for target in mine)

    def claim_all(
        self, folder: Path | str, targets: Sequence[str], node: Node, rows: Sequence[int]
    ) -> bool:
        """Claim targets of one file each; False, and none is claimed, if two items have one."""
        mine = self._items[str(folder)]
        new = dict(zip(targets, zip(repeat(node), rows), strict=True))
        if len(new) < len(targets) or not mine.keys().isdisjoint(new):
            return False
        mine.update(new)
        return True

    def claim(self, folder: Path | str, target: str, item: Item) -> Item:
        """Claim a target, and each file of one that names several; return whose it is."""
        mine = self._items[str(folder)]
        other = mine.setdefault(target, item)
        if JOIN in target:
            for part in target.split(JOIN):
                if other != item:
                    break
                other = mine.setdefault(part, item)
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
