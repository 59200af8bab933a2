"""Needs go backward: an item that must be made asks for the values that it reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from databacked.capture import Said, relay
from databacked.engine.columns import nested_inputs, row_inputs
from databacked.engine.state import ALIAS, GONE, LAZY, THERE, TODO, WAITS
from databacked.engine.tokens import Tokens
from databacked.graph.inputs import Column, Element, Filled, Items, Mixed, Plain
from databacked.graph.nodes import Node
from databacked.graph.sketch import NOTHING_KNOWN, encode_known, sketch
from databacked.places.parts import get_keys
from databacked.project.notebook import place_in_words
from databacked.records.book import records_of
from databacked.records.journal import journal_of
from databacked.records.record import Record, details
from databacked.storage.local import storage_error
from databacked.types import Failure
from databacked.worker.failures import failure_of, in_short
from databacked.worker.messages import FAILED, LEFT, MADE, SKIPPED, Outcome, shown
from databacked.worker.watch import Changed


class Needs(Tokens):
    """Which items are made, and what becomes of them."""

    def _want(self, node: Node, row: int) -> None:
        """Have an item's value made, unless it is there."""
        node, row = self._real(node, row)
        if node.id in self._unplanned:
            self._once_planned[node.id][self._want, row] = None
            return
        plan, state = node.plan, node.state[row]
        if plan.wanted[row] or state == GONE or self._available(node, row):
            return
        plan.wanted[row] = 1
        plan.wanted_open += 1
        self._wants += 1
        if state in (LAZY, THERE) or (state == WAITS and self._maybe_lazy(node, row)):
            node.state[row] = TODO
        if node.state[row] == TODO:
            self._advance(node, row)
        elif state == WAITS:
            self._want_tokens(node, row)

    def _want_tokens(self, node: Node, row: int) -> None:
        """Have what decides about an item made known."""
        plan = node.plan
        if row in plan.unread:
            self._to_read.append((node, row))
        if plan.missing[row] > 0:
            for upstream, index in row_inputs(node, row):
                self._want_token(upstream, index)
        if plan.nested_missing and not plan.nested_sources.get("asked"):
            plan.nested_sources["asked"] = True
            for upstream, index in nested_inputs(node):
                self._want_token(upstream, index)
        if not plan.missing[row] and not plan.nested_missing:
            self._maybe_judge(node, row)

    def _want_token(self, node: Node, row: int) -> None:
        if node.id in self._unplanned:
            self._once_planned[node.id][self._want_token, row] = None
            return
        if node.token[row] is not None:
            return
        if node.plan.spec.is_kept:
            self._later.append((self._want, (node, row)))
        else:
            self._later.append((self._want_tokens, (node, row)))

    def _want_known(self, node: Node, row: int) -> None:
        """Have what an item returns made known to the driver."""
        if node.id in self._unplanned or row in node.known:
            if row in node.known:
                self._known(node, row)
            return
        state = node.state[row]
        if state == GONE:
            self._known(node, row)
        elif (node.plan.bound is not None and state == THERE) or (node.id, row) in self._held:
            try:
                node.known[row] = sketch(self._fetched(node, row))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._fail(node, row, error)
            else:
                self._known(node, row)
        elif not node.plan.spec.is_kept and node.state[row] == LAZY and node.token[row] is None:
            if self._has_records(node):
                self._want_tokens(node, row)  # it comes back here once its token is known
            else:
                self._want(node, row)
        elif not node.plan.spec.is_kept and node.token[row] is not None:
            if found := self._recorded(node.token[row] or ""):
                (node.known[row],) = found
                self._known(node, row)
            else:
                self._want(node, row)
        else:
            self._want(node, row)

    def _fetched(self, node: Node, row: int, keys: tuple[Any, ...] = ()) -> Any:
        """Return the value of an item that is there; whatever its file or its class may raise."""
        if node.plan.bound is not None:
            return node.plan.bound.hand_over(self._record(node, row), keys=keys)
        held = self.runner.fetch((node.id, row))
        return get_keys(held.value if type(held) is Changed else held, keys)

    def _known(self, node: Node, row: int) -> None:
        """Build what depends on what an item returned."""
        for build in self.waiting_for.pop((node.id, row), ()):
            self._later.append((build, ()))

    def _advance(self, node: Node, row: int) -> None:
        """See whether an item that is to be made has all it needs; ask for what it lacks."""
        if node.state[row] != TODO:
            return
        plan, blocked = node.plan, False
        for upstream, index in row_inputs(node, row):
            upstream, index = self._real(upstream, index)
            if self._available(upstream, index):
                continue
            if upstream.state[index] == GONE:
                if plan.spec.marks:
                    continue
                self._skip(node, row, upstream, index)
                return
            blocked = True
            self._later.append((self._want, (upstream, index)))
        if plan.nested_open is None:
            self._open_nested(node)
        if plan.nested_open:
            blocked = True
        elif plan.nested_sources.get("gone") and not plan.spec.marks:
            self._skip(node, row, *plan.nested_sources["gone"])
            return
        if not blocked:
            # What reads others comes first, so that what they gave can go.
            first = any(isinstance(arg, Items | Element | Mixed) for arg in node.args.values())
            (self._ready.appendleft if first else self._ready.append)((node, row))

    def _open_nested(self, node: Node) -> None:
        """Ask for what all items of a node read."""
        plan = node.plan
        plan.nested_open = set()
        for upstream, index in nested_inputs(node):
            upstream, index = self._real(upstream, index)
            if self._available(upstream, index):
                continue
            if upstream.state[index] == GONE:
                plan.nested_sources.setdefault("gone", (upstream, index))
                continue
            plan.nested_open.add((upstream.id, index))
            self._await_value[upstream.id, index].append(node)
            self._later.append((self._want, (upstream, index)))

    def _there(self, node: Node, row: int) -> None:
        """Go on with what reads an item that is there now."""
        self._final(node, row)
        self._told(node, row)
        self._wake(node, row)
        for alias, index in self._aliases.get((node.id, row), ()):
            self._alias_there(alias, index)

    def _alias_there(self, node: Node, row: int) -> None:
        first, first_row = node.alias[row]
        node.token[row] = first.token[first_row]
        self._count(node, row, "reused")
        self._final(node, row)
        self._told(node, row)
        self._wake(node, row)

    def _wake(self, node: Node, row: int) -> None:
        """Advance the items that waited for the value of this one."""
        for reader, param in node.readers:
            if reader.plan is None:
                continue
            for index in reader.args[param].reading(node, row):
                self._wake_one(reader, index)
        for reader in self._await_value.get((node.id, row), ()):
            plan = reader.plan
            plan.nested_open.discard((node.id, row))
            if node.state[row] == GONE:
                plan.nested_sources.setdefault("gone", (node, row))
            if not plan.nested_open:
                for one in range(reader.n):
                    self._wake_one(reader, one)

    def _wake_one(self, node: Node, row: int) -> None:
        if node.state[row] == TODO and node.plan.wanted[row]:
            self._later.append((self._advance, (node, row)))

    def _skip(self, node: Node, row: int, upstream: Node, index: int) -> None:
        if node.state[row] in (THERE, GONE):
            return
        self._lose(node, row, upstream.plan.failures[index])
        self._count(node, row, "skipped")

    def _lose(self, node: Node, row: int, failure: Failure) -> None:
        """Note that an item will never be, and go on with what reads it."""
        node.state[row] = GONE
        node.plan.failures[row] = failure
        self._final(node, row)
        for reader, param in node.readers:
            if reader.plan is None:
                continue
            arg = reader.args[param]
            if isinstance(arg, Items | Element):
                for one in arg.reading(node, row):
                    self._later.append((self._skip, (reader, one, node, row)))
        for reader, place in self._await_token.get((node.id, row), ()):
            if not reader.plan.spec.marks:
                for one in range(reader.n) if place is None else (place,):
                    self._later.append((self._skip, (reader, one, node, row)))
            elif node.token[row] is None:
                self._told_nested(reader, place)
        self._wake(node, row)
        self._known(node, row)
        for alias, one in self._aliases.get((node.id, row), ()):
            self._lose(alias, one, failure)

    def _fail(self, node: Node, row: int, error: BaseException) -> Failure:
        """Take an error that the driver met for the failure of the item that it belongs to."""
        target = None if node.targets is None else node.targets[row]
        given = {
            name: in_short(arg.values[row] if isinstance(arg, Column) else arg.value)
            for name, arg in node.args.items()
            if isinstance(arg, Column | Plain)
        }
        failure = failure_of(
            error, node.name, shown(target or str(row)), given, str(self.project.root)
        )
        self.failures.append(failure)
        self._recount(node, row, "failed")
        self._lose(node, row, failure)
        return failure

    def _take(self, outcome: Outcome) -> None:
        """Take what a worker says of one item."""
        node, row = self.nodes[outcome.spec], outcome.row
        plan, name = node.plan, node.name
        if outcome.notes:
            self._notes[name].update(outcome.notes)
        if outcome.said:
            self._heard(node, row, outcome.said)
        if outcome.reason:
            self._reasons[name][outcome.reason] += 1
        if outcome.state == FAILED:
            assert outcome.failure is not None
            where = place_in_words(outcome.failure.where)  # workers know no numbers of cells
            outcome = outcome._replace(failure=replace(outcome.failure, where=where))
            assert outcome.failure is not None
            self.failures.append(outcome.failure)
            self._count(node, row, "failed")
            if outcome.fatal:
                self._fatal = outcome.failure
            self._lose(node, row, outcome.failure)
        elif outcome.state == SKIPPED:
            if node.state[row] != GONE:
                self._count(node, row, "skipped")
                assert outcome.failure is not None
                self._lose(node, row, outcome.failure)
        elif outcome.state == LEFT:
            node.state[row] = LAZY
            self._learn_token(node, row, outcome.token)
            if plan.wanted[row]:
                self._final(node, row)
                self._later.append((self._want, (node, row)))
        else:
            self._made(node, row, outcome)
        for upstream, index in row_inputs(node, row):
            self._maybe_drop(upstream, index)
        if node.n == 1 or (plan.bound is not None and not plan.wanted_open):
            for upstream, index in nested_inputs(node):
                self._maybe_drop(upstream, index)

    def _heard(self, node: Node, row: int, lines: Sequence[Said]) -> None:
        """Write down what an item said; warnings are said once by kind, with counts."""
        if not self._captures:  # nobody reads a log: what called this item hears it
            relay(lines)
        target = None if node.targets is None else node.targets[row]
        self.log.write(f"{node.name}[{shown(target or str(row))}]", lines)
        for one in lines:
            if one.kind == "warning":
                kind = (node.name, one.text.partition(":")[0], one.where)
                first = self._warned.setdefault(kind, one.text)
                self._notes[node.name][f"{first} ({self._below_root(one.where)})"] += 1

    def _below_root(self, where: str) -> str:
        return where.removeprefix(f"{self.project.root}{os.sep}")

    def _made(self, node: Node, row: int, outcome: Outcome) -> None:
        plan = node.plan
        self._count(node, row, "made" if outcome.state == MADE else "reused")
        if outcome.known:
            (node.known[row],) = outcome.known
        if plan.bound is not None:
            assert outcome.record is not None
            records = records_of(plan.bound.folder, refresh=False)
            records.contexts.setdefault(outcome.record.context, dict(plan.spec.fields))
            records.remember(outcome.record.line())
            plan.found.pop(row, None)
            node.token[row] = outcome.token
            node.state[row] = THERE
            self._there(node, row)
        else:
            held = (node.id, row) in self._to_hold
            if held:
                self._to_hold.discard((node.id, row))
                self._held.add((node.id, row))
            node.state[row] = THERE
            if outcome.known and outcome.token is not None:
                self._keep_known(node, outcome)
            if plan.spec.remembers:
                node.token[row] = outcome.token
                self._there(node, row)
                self._known(node, row)
                return
            before, node.token[row] = node.token[row], outcome.token
            self._final(node, row)
            if before is None:
                self._told(node, row)
            if held:
                self._wake(node, row)
                self._maybe_drop(node, row)
            else:
                self._later.append((self._want_if_needed, (node, row)))
        if row in node.known:
            self._known(node, row)

    def _want_if_needed(self, node: Node, row: int) -> None:
        """Have a value made again that was not held, for a reader who came to be meanwhile."""
        if self._needed(node, row, {}):
            self._want(node, row)

    def _learn_token(self, node: Node, row: int, token: str | None) -> None:
        before, node.token[row] = node.token[row], token
        if before is None and token is not None:
            self._told(node, row)

    def _keep_known(self, node: Node, outcome: Outcome) -> None:
        """Record what decides the items of a map, also of a task that keeps nothing."""
        spec = node.plan.spec
        try:
            known = encode_known(outcome.known[0])
        except TypeError:
            return  # it is computed again the next time
        token = outcome.token or ""
        if spec.remembers:  # found again by its recipe, counts by its content
            tokens = node.plan.row_tokens(outcome.row)
            if None in tokens:
                return
            token = spec.token(spec.recipe(tokens))
        record = Record(
            "w",
            token,
            token[2:],
            "",
            "",
            -1,
            0,
            spec.context,
            details(known=NOTHING_KNOWN if known is None else known),
        )
        line = record.line()  # in another user's project the value counts for this run alone
        if self._records_values:
            try:
                line = journal_of(self._values).append(record, dict(spec.fields))
            except OSError as error:
                raise storage_error(error, str(self._values), "written") from error
        records_of(self._values, refresh=False).remember(line)

    def _maybe_drop(self, node: Node, row: int) -> None:
        """Let a value go that is not kept, once its last reader is done."""
        key = (node.id, row)
        if not node.plan.spec.pure:
            return  # it runs once a run for all its readers
        if key in self._held and row not in node.plan.pinned and not self._needed(node, row, {}):
            self._held.discard(key)
            self.runner.drop(key)

    def _needed(self, node: Node, row: int, chain: dict[tuple[int, int], int]) -> bool:
        """Whether an item outside the chain may still read a value."""
        if self.is_awaited(node, row):
            return True
        for reader, param in node.readers:
            if reader.plan is None:
                return True
            arg = reader.args[param]
            if not isinstance(arg, Filled):
                if any(
                    (reader.id, one) not in chain and self._relevant(reader, one)
                    for one in arg.reading(node, row)
                ):
                    return True
            elif reader.n == 1:
                if (reader.id, 0) not in chain and self._relevant(reader, 0):
                    return True
            elif reader.plan.wanted_open or any(
                self._relevant(reader, one) for one in range(reader.n)
            ):
                return True
        return False

    def _relevant(self, node: Node, row: int) -> bool:
        """Whether an item is yet to be made, or something that needs it."""
        state = node.state[row]
        if state in (GONE, ALIAS):
            return False
        if node.plan.wanted[row]:
            return True
        if node.plan.spec.is_kept or (state == THERE and (node.id, row) in self._held):
            return False
        if state == THERE:
            return False
        return self._needed(node, row, {})

    def becomes_known(self, node: Node, row: int) -> None:
        """Make known what an item returns, because other nodes depend on it."""
        if self._running:
            self._later.append((self._want_known, (node, row)))

    def _want_node(self, node: Node) -> None:
        """Want what a flow keeps, and calls that nobody reads."""
        if node.id in self._unplanned:
            return  # it is wanted once it is planned
        if node.plan.spec.is_kept or not (node.readers or node.decides or node.promised):
            for row in range(node.n):
                if node.state[row] not in (THERE, GONE):
                    self._later.append((self._want, (node, row)))

    def _pin(self, node: Node, row: int) -> None:
        """Hold an item's value until the run ends."""
        if node.id in self._unplanned:
            self._once_planned[node.id][self._pin, row] = None
            return
        node, row = self._real(node, row)
        node.plan.pinned.add(row)
        self._later.append((self._want, (node, row)))
