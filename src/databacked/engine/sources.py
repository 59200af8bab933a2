"""What is sent of a chain: values, or where a worker finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from databacked.engine.items import OPEN, Items
from databacked.engine.recipes import Recipes
from databacked.engine.scheduler import Scheduler
from databacked.engine.team import Team
from databacked.graph.futures import Future, replace_futures
from databacked.graph.inputs import Filled
from databacked.graph.nodes import Item, Node
from databacked.places.judge import MISSING
from databacked.places.parts import get_keys
from databacked.types import Failed
from databacked.worker.messages import (
    Handed,
    Held,
    InChain,
    Inside,
    Kept,
    Mark,
    Marks,
    Work,
    with_keys,
)


class Sources:
    """Turns the items of a chain into what a worker gets."""

    def __init__(self, scheduler: Scheduler, recipes: Recipes, team: Team) -> None:
        self._scheduler = scheduler
        self._recipes = recipes
        self._team = team

    def works(self, chain: Sequence[Item]) -> list[Work]:
        """Return the items of a chain as they are sent; raises what their records may raise."""
        places = {item: place for place, item in enumerate(chain)}
        works: list[Work] = []
        for node, row in chain:
            items = self._scheduler.of(node)
            spec = items.spec
            hold = not spec.is_kept and (
                row in items.pinned
                or not spec.pure
                or self._scheduler.is_needed(items, row, places)
            )
            works.append(
                Work(
                    node.id,
                    row,
                    None if items.targets is None else items.targets[row],
                    tuple(self._source(items, name, row, places) for name in spec.columns),
                    self._recipes.tokens_to_send(items, row),
                    None if items.status[row] == OPEN else items.found.get(row, MISSING),
                    bool(items.wanted[row]),
                    hold,
                    node.decides,
                )
            )
        return works

    def _source(self, items: Items, name: str, row: int, places: Mapping[Item, int]) -> Any:
        """Return the value of an argument, or where a worker finds it."""
        arg = items.node.args[name]
        if isinstance(arg, Filled):
            if name not in items.sent:
                found = self._inside(arg.value, places, told=not items.is_untold)
                if items.n == 1:
                    return found
                items.sent[name] = found
            return items.sent[name]
        given = arg.given(row)
        if type(given) is Future or arg.may_mark:
            return self._inside(given, places, told=not items.is_untold)
        return given

    def _inside(self, value: Any, places: Mapping[Item, int], *, told: bool) -> Any:
        """Return a value with sources in place of futures.

        Parameters
        ----------
        told
            Whether somebody asks what they count by.
        """
        if type(value) is Future and value.index is not None:
            return self._source_of(*value.items()[0], value.keys, places)
        sources: list[Any] = []
        tokens: list[str | None] = []

        def mark(future: Future) -> Mark | Marks:
            start = len(sources)
            for item in future.items():
                source = self._source_of(*item, future.keys, places)
                sources.append(source)
                is_open = type(source) is InChain or not told
                tokens.append(None if is_open else self._token(*item, future.keys))
            return Marks(start, len(sources)) if future.index is None else Mark(start)

        filled = replace_futures(value, mark)
        return Inside(filled, sources, tokens)

    def _token(self, node: Node, row: int, keys: tuple[Any, ...]) -> str | None:
        token = self._recipes.token_or_mark(*self._scheduler.real(node, row))
        return token if token is None or node.lost.get(row) is not None else with_keys(token, keys)

    def _source_of(
        self, node: Node, row: int, keys: tuple[Any, ...], places: Mapping[Item, int]
    ) -> Any:
        node, row = self._scheduler.real(node, row)
        place = places.get((node, row))
        if place is not None:
            return InChain(place, keys)
        if row in node.lost:
            return Failed(node.lost[row])
        items = self._scheduler.of(node)
        if items.spec.remembers:
            return get_keys(node.known[row], keys)
        if items.place is not None:
            return Kept(items.place, items.record(row), keys)
        (reader, _) = next(iter(places))  # all of a chain runs in one place
        if self._team.pool_of(node) is not self._team.pool_of(reader):
            return Handed(self._team.held(node, row), keys)
        return Held((node.id, row), keys)
