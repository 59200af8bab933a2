"""Who works, as those see it who put work together; see `databacked.engine.crew`."""

from __future__ import annotations

from typing import Any, Protocol

from databacked.engine.items import Items
from databacked.engine.limits import Limits
from databacked.graph.nodes import Node


class Pool(Protocol):
    """A runner at work."""

    limits: Limits

    @property
    def most(self) -> int:
        """How many batches fly at most."""
        ...

    def takes(self, are_small: bool) -> bool:
        """Whether it takes a batch."""
        ...


class Team(Protocol):
    """All pools."""

    def pool_of(self, node: Node) -> Pool:
        """Return where the items of a node run."""
        ...

    def learn(self, items: Items) -> None:
        """Have workers know what all items of a node share; raises if that cannot be sent."""
        ...

    def held(self, node: Node, row: int) -> Any:
        """Return a value that is held."""
        ...
