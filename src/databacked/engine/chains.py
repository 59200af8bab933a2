"""What is ready goes to the runner: batches of chains, an item and what follows from it alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from databacked import capture
from databacked.engine.columns import (
    nested_inputs,
    row_inputs,
    token_of_item,
    token_of_nested,
)
from databacked.engine.needs import Needs
from databacked.engine.state import GONE, LAZY, SENT, TODO, WAITS
from databacked.graph.calls import current
from databacked.graph.futures import Future, replace_futures
from databacked.graph.inputs import Column, Element, Filled, Items, Mixed
from databacked.graph.nodes import Node
from databacked.graph.sketch import holds_unknown
from databacked.places.parts import get_keys
from databacked.types import Failed, Failure
from databacked.worker.failures import in_words
from databacked.worker.messages import (
    FAILED,
    SKIPPED,
    Held,
    InChain,
    Inside,
    Kept,
    Mark,
    Marks,
    Outcome,
    Work,
    shown,
)
from databacked.worker.worker import Worker

BATCH_SECONDS = 0.03
"""Batches of small items are made about this long, so that handing over costs little."""


LONGEST_BATCH = 512
"""Chains in one batch, at most."""


LONGEST_CHAIN = 64
"""Items in one chain, at most: what follows from what asks by calls within calls."""


class Chains(Needs):
    """How items are put together and sent."""

    def _chain(self, node: Node, row: int) -> list[tuple[Node, int]]:
        """Return an item and what follows from it alone."""
        members: list[tuple[Node, int]] = []
        places: dict[tuple[int, int], int] = {}

        def add(one: Node, index: int) -> None:
            places[one.id, index] = len(members)
            members.append((one, index))
            for reader, param in one.readers:
                if reader.plan is None:
                    continue
                arg = reader.args[param]
                if isinstance(arg, Items):
                    rows = arg.reading(one, index)
                elif reader.n == one.n == len(one.readers) == 1 and _is_just(arg, one):
                    rows = (0,)
                else:
                    continue
                for follower in rows if len(rows) == 1 else ():
                    if (
                        len(members) < LONGEST_CHAIN
                        and (reader.id, follower) not in places
                        and reader.state[follower] in (WAITS, LAZY, TODO)
                        and (reader.targets is None or reader.targets[follower] is not None)
                        and self._relevant(reader, follower)
                        and not (reader.plan.spec.remembers and reader.state[follower] == WAITS)
                        and not reader.plan.spec.marks  # it waits for what becomes of all
                        and joins(reader, follower)
                    ):
                        add(reader, follower)

        def joins(one: Node, index: int) -> bool:
            lacking: list[tuple[Node, int]] = []
            for upstream, above in (*row_inputs(one, index), *nested_inputs_if_few(one)):
                upstream, above = self._real(upstream, above)
                if (upstream.id, above) in places or self._available(upstream, above):
                    continue
                if not self._absorbs(upstream, above):
                    return False
                lacking.append((upstream, above))
            if one.plan.nested_open or (
                one.n > 1
                and any(isinstance(arg, Filled) for arg in one.args.values())
                and not all(self._available(*self._real(*item)) for item in nested_inputs(one))
            ):
                return False
            for upstream, above in lacking:
                if (upstream.id, above) not in places:
                    places[upstream.id, above] = len(members)
                    members.append((upstream, above))
            return True

        add(node, row)
        return members

    def _absorbs(self, node: Node, row: int) -> bool:
        """Whether an item that is not kept can be made where it is read."""
        return (
            node.plan is not None
            and not node.plan.spec.is_kept
            and node.plan.spec.pure
            and node.n > 1
            and node.state[row] in (LAZY, TODO)
            and len(node.readers) == 1
            and all(
                self._available(*self._real(*item))
                for item in (*row_inputs(node, row), *nested_inputs(node))
            )
        )

    def _work(self, chain: Sequence[tuple[Node, int]]) -> list[Work]:
        places = {(node.id, row): place for place, (node, row) in enumerate(chain)}
        works: list[Work] = []
        for node, row in chain:
            plan = node.plan
            hold = False
            if not plan.spec.is_kept:
                hold = row in plan.pinned or not plan.spec.pure
                hold = hold or self._needed(node, row, places)
                if hold:
                    self._to_hold.add((node.id, row))
            works.append(
                Work(
                    node.id,
                    row,
                    None if node.targets is None else node.targets[row],
                    tuple(self._source(node, name, row, places) for name in plan.spec.columns),
                    tuple(self._row_tokens(node, row)),
                    plan.found.get(row),
                    bool(plan.wanted[row]),
                    hold,
                    node.decides,
                )
            )
        return works

    def _row_tokens(self, node: Node, row: int) -> list[str | None]:
        """Return the tokens of an item that is about to run: what failed counts as failed."""
        plan = node.plan
        tokens: list[str | None] = plan.row_tokens(row)
        if not (plan.spec.marks and self.failures):
            return tokens
        for place, name in enumerate(plan.spec.order):
            arg, spec = node.args[name], plan.spec
            if isinstance(arg, Mixed):
                value, refs = arg.values[row], arg.refs[row]
            elif isinstance(arg, Filled):
                value, refs = arg.value, arg.refs
            else:
                continue
            tokens[place] = token_of_nested(value, refs, True, self._gone, spec.root)
        return tokens

    def _source(self, node: Node, name: str, row: int, places: dict[tuple[int, int], int]) -> Any:
        """Return the value of an argument, or where a worker finds it."""
        arg = node.args[name]
        if isinstance(arg, Column):
            return arg.values[row]
        if isinstance(arg, Items):
            return self._source_of(arg.node, arg.pick(row), arg.keys, places)
        if isinstance(arg, Element):
            if not holds_unknown(arg.known[row]):
                return arg.known[row]
            return self._source_of(arg.node, arg.index, (*arg.keys, row), places)
        if isinstance(arg, Mixed):
            return self._inside(arg.values[row], places)
        assert isinstance(arg, Filled)
        cached = node.plan.nested_sources.get(("source", name))
        if cached is None:
            cached = self._inside(arg.value, places)
            if node.n > 1:
                node.plan.nested_sources["source", name] = cached
        return cached

    def _inside(self, value: Any, places: dict[tuple[int, int], int]) -> Any:
        if type(value) is Future and value.index is not None:
            return self._source_of(*value.items()[0], value.keys, places)
        sources: list[Any] = []
        tokens: list[str | None] = []

        def mark(future: Future) -> Mark | Marks:
            start = len(sources)
            for item in future.items():
                source = self._source_of(*item, future.keys, places)
                sources.append(source)
                tokens.append(
                    None
                    if type(source) is InChain
                    else token_of_item(*self._real(*item), future.keys, True, self._gone)
                )
            return Marks(start, len(sources)) if future.index is None else Mark(start)

        filled = replace_futures(value, mark)
        return Inside(filled, sources, tokens)

    def _source_of(
        self, node: Node, row: int, keys: tuple[Any, ...], places: dict[tuple[int, int], int]
    ) -> Any:
        node, row = self._real(node, row)
        place = places.get((node.id, row))
        if place is not None:
            return InChain(place, keys)
        if node.state[row] == GONE:
            return Failed(node.plan.failures[row])
        if node.plan.spec.remembers:
            return get_keys(node.known[row], keys)
        if node.plan.bound is not None:
            return Kept(node.plan.bound, self._record(node, row), keys)
        return Held((node.id, row), keys)

    def _dispatch(self) -> None:
        """Send batches of what is ready, as long as the runner can take them."""
        limit = 2 * self.runner.workers
        while self._ready and self._batches < limit and self._fatal is None:
            if not self._opened:
                if self.log.path is not None:
                    capture.start(shown=self.runner.in_this_thread)
                    self._captures = True
                self.runner.open(Worker, self._scratch.folder)
                self._opened = True
            size = 1
            if self._seconds_per_chain:
                size = int(BATCH_SECONDS / self._seconds_per_chain)
            size = max(1, min(size, LONGEST_BATCH, len(self._ready) // limit))
            batch: list[list[Work]] = []
            needs: dict[str, float] = {}
            while self._ready and len(batch) < size:
                node, row = self._ready.popleft()
                if node.state[row] != TODO:
                    continue
                chain = self._chain(node, row)
                own = self._needs(chain)
                # Chains of a batch run one after another: the batch needs the most that one does.
                names = {**needs, **own}
                both = {name: max(needs.get(name, 0), own.get(name, 0)) for name in names}
                if not self._shares.fit(both):
                    self._blocked[frozenset(own.items())].append((node, row))
                    continue
                needs = both
                if not self._learned(chain):
                    if node.state[row] == TODO:
                        self._ready.append((node, row))
                    continue
                try:
                    works = self._work(chain)
                except Exception as error:  # a record that is gone, for instance
                    self._fail(node, row, error)
                    continue
                for member, index in chain:
                    member.state[index] = SENT
                batch.append(works)
            if batch:
                self._shares.take(needs, [(work.spec, work.row) for one in batch for work in one])
                self._batches += 1
                self._flying += sum(map(len, batch))
                inside = current.set(None)  # a task that is called in a task runs at once
                try:
                    self.runner.submit(batch)
                finally:
                    current.reset(inside)

    def _learned(self, chain: Sequence[tuple[Node, int]]) -> bool:
        """Have workers know all tasks of a chain; an item whose task cannot be sent fails."""
        for node, row in chain:
            if not node.plan.learned:
                try:
                    self.runner.learn(node.id, node.plan.spec)
                except Exception as error:
                    self._fail(node, row, error)
                    return False
                node.plan.learned = True
        return True

    def _needs(self, chain: Sequence[tuple[Node, int]]) -> dict[str, float]:
        """Return what a chain takes of what is shared while it runs."""
        needs: dict[str, float] = {}
        for node, _ in chain:
            options = node.task.options
            if options.limit is None and not options.resources:
                continue
            if options.limit is not None:
                needs[f"limit of {node.name}"] = 1
            for name, amount in options.resources.items():
                needs[name] = max(needs.get(name, 0), amount)
        return needs

    def _free(self, items: Iterable[tuple[int, int]]) -> None:
        """Give back what ended batches took, and let those go on that waited for it."""
        if not self._shares.give_back(items):
            return
        for needs, waiting in self._blocked.items():
            if waiting and self._shares.fit(dict(needs)):
                for _ in range(min(len(waiting), LONGEST_BATCH)):
                    self._ready.append(waiting.popleft())

    def _receive(self, result: list[Any] | BaseException) -> None:
        if isinstance(result, BaseException):
            lost = getattr(result, "lost", None)
            if lost is None:
                raise result
            self._flying -= len(lost)
            self._free((work.spec, work.row) for work in lost)
            names = dict.fromkeys(self.nodes[work.spec].name for work in lost)
            why = f"{in_words(result)}; it ran {' → '.join(names)}"
            for number, work in enumerate(lost):
                self._take(_lost_item(work, self.nodes[work.spec], why, number))
            return
        self._flying -= len(result)
        self._free((outcome.spec, outcome.row) for outcome in result)
        seconds = sum(outcome.seconds for outcome in result)
        chains = max(1, len({outcome.row for outcome in result}))
        each = max(seconds / chains, 2e-6)
        self._seconds_per_chain = (
            0.7 * self._seconds_per_chain + 0.3 * each if self._seconds_per_chain else each
        )
        for outcome in result:
            self._take(outcome)

    def _drain(self) -> None:
        later = self._later
        while later or self._to_read or self._released:
            while later:
                function, args = later.popleft()
                function(*args)
            if self._to_read:
                items, self._to_read = self._to_read, []
                self._read_files(items)
            elif self._released:
                items, self._released = self._released, []
                for node, row in items:
                    self._maybe_drop(node, row)


def nested_inputs_if_few(node: Node) -> Iterable[tuple[Node, int]]:
    """Return what all items of a node read, where the node has one item only."""
    return nested_inputs(node) if node.n == 1 else ()


def _is_just(arg: Any, node: Node) -> bool:
    """Whether an argument is one future of a node, and nothing around it."""
    if not isinstance(arg, Filled) or type(arg.value) is not Future:
        return False
    return arg.value.node is node and arg.value.index is not None


def _lost_item(work: Work, node: Node, why: str, number: int) -> Outcome:
    failure = Failure(node.name, shown(work.target or str(work.row)), {}, why, "?", 0.0)
    state = FAILED if number == 0 else SKIPPED
    return Outcome(work.spec, work.row, state, None, failure=failure)
