"""One run of a flow: what must be done, in which order, and by whom.

The driver holds what items count by (tokens), never their arrays. Tokens go forward: an item whose
inputs are known is compared with its record. Needs go backward: an item that must be made asks for
the values that it reads. What is ready goes to the runner in batches of chains.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from databacked import said
from databacked.calls import Calls, target_values
from databacked.decide import Found
from databacked.errors import DatabackedError, GraphError, ResultChangedError, StorageError
from databacked.fingerprint.files import file_tokens
from databacked.graph import (
    ENDS,
    Column,
    Dynamic,
    Element,
    Future,
    Futures,
    Items,
    Nested,
    NestedColumn,
    Node,
    Plain,
    Values,
    futures_in,
    replace_futures,
)
from databacked.item import (
    FAILED,
    LEFT,
    MADE,
    SKIPPED,
    Held,
    InChain,
    Inside,
    Kept,
    Mark,
    Outcome,
    Work,
    Worker,
    bare_claim,
    copied,
    get_keys,
    reason_of,
    reuse,
    shown,
    with_keys,
)
from databacked.known import decode_known, encode_known, holds_unknown, remembered, sketch
from databacked.notebook import place_in_words
from databacked.orphans import orphans
from databacked.plan import (
    Fingerprints,
    Plan,
    check_legal,
    element_token,
    file_parameters,
    incomplete,
    locate,
    nested_inputs,
    path_of,
    plain_tokens,
    recipes_of,
    refuse_unknown,
    row_inputs,
    rows_reading,
    targets_of,
    token_of_nested,
    unread,
)
from databacked.progress import Show
from databacked.project import STATE, Project, can_write, make_state_folder
from databacked.records import (
    Record,
    Records,
    compact,
    details,
    journal_of,
    records_of,
)
from databacked.result import Bound
from databacked.runners.base import Runner
from databacked.said import Log, Said
from databacked.shares import Shares
from databacked.stats import JOIN, Stat
from databacked.target import NotYet, Touched
from databacked.types import Failed, Failure

# States of an item.
WAITS, LAZY, TODO, SENT, THERE, GONE, ALIAS = range(7)
"""An input is unknown · not kept, not needed · to be made · sent · there · failed · see another."""

BATCH_SECONDS = 0.03
"""Batches of small items are made about this long, so that handing over costs little."""

REUSED_END = ENDS.index("reused")

HASHED_AT_ONCE = 64
"""Input files that are read between two looks at the progress."""

LONGEST_BATCH = 512
"""Chains in one batch, at most."""


class Run(Calls):
    """The graph of one flow, and its way through."""

    def __init__(
        self,
        project: Project,
        runner: Runner,
        name: str,
        show: Show,
        id: str,
        log: Path | None = None,
    ) -> None:
        super().__init__()
        self.project = project
        self.runner = runner
        self.name = name
        self.id = id
        self.show = show
        self.log = Log(log)
        """What items say."""
        self._captures = False
        self._warned: dict[tuple[str, str, str], str] = {}
        self.failures: list[Failure] = []
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Made, reused, failed and skipped items of each task."""
        self._fingerprints = Fingerprints(project, id)
        self._reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._notes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._claims: dict[tuple[str, str], tuple[Node, int]] = {}
        self._aliases: defaultdict[tuple[int, int], list[tuple[Node, int]]] = defaultdict(list)
        self._await_token: defaultdict[tuple[int, int], list[tuple[Node, int | None]]]
        self._await_token = defaultdict(list)
        """Who waits for an item's token through an argument that holds futures."""
        self._await_value: defaultdict[tuple[int, int], list[Node]] = defaultdict(list)
        """Whose items all wait for an item's value."""
        self._held: set[tuple[int, int]] = set()
        self._ready: deque[tuple[Node, int]] = deque()
        self._later: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._released: list[tuple[Node, int]] = []
        """Items that decided others; whoever reads their values is known by now."""
        self._to_read: list[tuple[Node, int]] = []
        """Items whose input files have to be read to know what they count by."""
        self._unplanned: set[int] = set()
        self._pin_later: defaultdict[int, set[int]] = defaultdict(set)
        self._shares = Shares(runner.resources)
        self._blocked: defaultdict[frozenset[tuple[str, float]], deque[tuple[Node, int]]]
        self._blocked = defaultdict(deque)
        """Items that are ready, but wait for a share of what runs at once, by what they take."""
        self._wants = 0
        self._batches = 0
        self._flying = 0
        """Items that were sent and of which nothing was heard yet."""
        self._seconds_per_chain = 0.0
        self._opened = False
        self._running = False
        self._fatal: Failure | None = None
        self._to_hold: set[tuple[int, int]] = set()
        self._said: set[tuple[str, str]] = set()
        self._opaque: dict[str, None] = {}
        self._everything = False
        self._checked: set[Path] = set()
        """Places of which it is known that they can be written to."""
        if can_write(project.state / "tmp"):
            scratch = make_state_folder(project.root) / "tmp"
            clear_scratch(scratch)
            self._scratch = scratch / f"{socket.gethostname()}-{os.getpid()}-{id}"
        else:  # another user's project: what is there can be used
            self._scratch = Path(tempfile.mkdtemp(prefix="databacked-"))
        self._values = project.state / "values"
        self._records_values = can_write(self._values / STATE / "journals")

    # ------------------------------------------------------------ what the flow asks for

    def result(self, asked: Future | Futures) -> Any:
        """Run what a future needs, and return its value; a list for the answer of a map."""
        if isinstance(asked, Futures):
            if isinstance(asked.node, Dynamic):
                self._complete(asked.node)
            futures = list(asked)
        else:
            if isinstance(asked.node, Dynamic):
                self._complete(asked.node)
            futures = [asked]
        items = [item for future in futures for item in locate(future)]
        self._plan_up_to(max((node.id for node, _ in items), default=-1))
        for node, row in items:
            self._pin(node, row)
        self._go(lambda: all(self._settled(node, row) for node, row in items))
        self.raise_fatal()
        values = [self._value_of_future(future, raises=True) for future in futures]
        return values if isinstance(asked, Futures) else values[0]

    def finish(self, returned: Any) -> Any:
        """Run everything that is wanted, and return what the flow returned, with its values."""
        self._plan_up_to(len(self.nodes))
        self._everything = True
        for future in futures_in(returned):
            self._pin_future(future)
        for node in list(self.nodes):
            self._want_node(node)
        self._go(lambda: not (self._wants or self._unplanned or self.waiting_for))
        self.raise_fatal()
        return replace_futures(returned, self._value_of_future, _answered)

    def table(self, answer: Futures) -> Any:
        """Return what is known of each item of a map, as a DataFrame."""
        from databacked.tables import table_of

        self._plan_up_to(len(self.nodes))
        return table_of(answer)

    def _pin_future(self, future: Future) -> None:
        """Hold what a future stands for, also where it is not known yet how many items it has."""
        node = future.node
        if isinstance(node, Dynamic) and not node.complete:
            if future.index is not None:
                node.completed.append(lambda: self._pin_future(future))
                return
            node.known.append(lambda number: self._pin_block(node, number))
            for number in range(len(node.blocks)):
                self._pin_block(node, number)
        else:
            for item, row in locate(future):
                self._pin(item, row)

    def _pin_block(self, node: Dynamic, number: int) -> None:
        block = node.blocks[number]
        if block is not None:
            self._pin_future(Future(block, None))

    def _want_node(self, node: Node) -> None:
        """Want what a flow keeps, and calls that nobody reads."""
        if node.id in self._unplanned:
            return  # it is wanted once it is planned
        if node.plan.spec.is_kept or not (node.readers or node.decides):
            for row in range(node.n):
                if node.state[row] not in (THERE, GONE):
                    self._later.append((self._want, (node, row)))

    def _complete(self, dynamic: Dynamic) -> None:
        self._plan_up_to(len(self.nodes))
        self._go(lambda: dynamic.complete)

    def _pin(self, node: Node, row: int) -> None:
        """Hold an item's value until the run ends."""
        if node.id in self._unplanned:
            self._pin_later[node.id].add(row)
            return
        node, row = self._real(node, row)
        node.plan.pinned.add(row)
        self._later.append((self._want, (node, row)))

    def _settled(self, node: Node, row: int) -> bool:
        if node.id in self._unplanned:
            return False
        node, row = self._real(node, row)
        return node.state[row] == GONE or self._available(node, row)

    def _value_of_future(self, future: Future, raises: bool = False) -> Any:
        if isinstance(future.node, Dynamic) and not future.node.complete:
            return None
        if future.index is None:
            return [self._value(node, row, future.keys, raises) for node, row in locate(future)]
        return self._value(*locate(future)[0], future.keys, raises)

    def _value(self, node: Node, row: int, keys: tuple[Any, ...], raises: bool) -> Any:
        node, row = self._real(node, row)
        if node.state[row] == GONE:
            failure = node.plan.failures[row]
            if raises:
                raise DatabackedError(f"{node.name}[{row}] has no value: {failure}")
            return Failed(failure)
        if node.plan.spec.remembers:
            return copied(get_keys(node.known[row], keys))
        if node.plan.bound is not None:
            record = self._record(node, row)
            return node.plan.bound.hand_over(record, keys=keys)
        import numpy as np

        value = get_keys(self.runner.fetch((node.id, row)), keys)
        return value.copy() if isinstance(value, np.ndarray) else value

    # ------------------------------------------------------------ planning

    def built(self, node: Node) -> None:
        """Take a node that came to be; while the flow runs it is planned at once."""
        self._unplanned.add(node.id)
        if self._running:
            self._later.append((self._plan, (node,)))

    def becomes_known(self, node: Node, row: int) -> None:
        """Make known what an item returns, because other nodes depend on it."""
        if self._running:
            self._later.append((self._want_known, (node, row)))

    def released(self, items: list[tuple[Node, int]]) -> None:
        """Let values go of which it is known by now that nobody reads them."""
        self._released += items

    def failure_of(self, node: Node, row: int) -> Any:
        """Return why an item will never be, or None."""
        return node.plan.failures[row] if node.state[row] == GONE else None

    def _plan_up_to(self, last: int) -> None:
        self._running = True
        for node in self.nodes[: last + 1]:
            if node.id in self._unplanned:
                self._plan(node)

    def _plan(self, node: Node) -> None:
        """Find out what a node's items count by, and what of them is there."""
        if node.id not in self._unplanned:
            return
        waiting = incomplete(node)
        if waiting:
            waiting[0].completed.append(lambda: self._later.append((self._plan, (node,))))
            return
        self._unplanned.discard(node.id)
        self._shares.allow(node.task)
        bound = self._fingerprints.bound(node.task)
        files = file_parameters(node)
        inputs = [
            name
            for name, arg in node.args.items()
            if files.get(name) or not isinstance(arg, Plain | Column) or _holds_backed(arg)
        ]
        spec = self._fingerprints.spec(node, bound, inputs)
        columns: dict[str, Any] = plain_tokens(node, files, self.project.root, spec.how)
        for line in spec.fields["opaque"]:
            self._opaque.setdefault(line, None)
        plan = node.plan = Plan(spec, bound, columns, [0] * node.n, bytearray(node.n))
        plan.unread = unread(node, columns, files)
        for name, arg in node.args.items():
            if not isinstance(arg, Plain | Column):
                columns[name] = self._tokens(node, name, arg, plan)
        target = node.task.target
        if bound is not None and target is not None:
            node.targets = [None] * node.n
            plain = None if target.is_callable else targets_of(node, target, node.args)
            for row in range(node.n):
                node.targets[row] = plain[row] if plain is not None else self._target(node, row)
            known = [one for one in node.targets if one is not None]
            check_legal(known, bound, node.name)
        recipes = recipes_of(plan, node.n)
        if spec.remembers:
            self._recall(node, recipes)
        elif bound is None:
            for row, recipe in enumerate(recipes):
                if recipe is not None:
                    node.token[row] = spec.token(recipe)
                    node.state[row] = LAZY
                elif plan.unread and self._is_ready_unread(node, row):
                    node.state[row] = LAZY
        else:
            self._judge(node, plan, bound, recipes)
        for row in range(node.n):
            if node.token[row] is not None:
                self._told(node, row)
        if node.decides:
            records_of(self._values)
            for row in range(node.n):
                if (node.id, row) in self.waiting_for:
                    self._later.append((self._want_known, (node, row)))
        if self._everything:
            self._want_node(node)
        for row in self._pin_later.pop(node.id, ()):
            self._pin(node, row)

    def _tokens(self, node: Node, name: str, arg: Any, plan: Plan) -> Any:
        """Return the tokens of an argument that comes from tasks; count what is missing."""
        marks = plan.spec.marks
        if isinstance(arg, Nested):
            token = token_of_nested(arg.value, arg.refs, marks, self._gone)
            if token is None:
                for future in arg.refs:
                    for upstream, row in locate(future):
                        if upstream.token[row] is None and not (
                            marks and self._gone(upstream, row)
                        ):
                            plan.nested_missing += 1
                            self._await_token[upstream.id, row].append((node, None))
            return token
        tokens: list[str | None] = []
        for row in range(node.n):
            if isinstance(arg, Items):
                above = arg.node.token[arg.pick(row)]
                token = None if above is None else with_keys(above, arg.keys)
                if token is None and arg.node.state[arg.pick(row)] == GONE:
                    self._later.append((self._skip, (node, row, arg.node, arg.pick(row))))
            elif isinstance(arg, Element):
                token = element_token(arg, row)
            else:
                assert isinstance(arg, NestedColumn)
                token = token_of_nested(arg.values[row], arg.refs[row], marks, self._gone)
                if token is None:
                    for future in arg.refs[row]:
                        for upstream, above_row in locate(future):
                            if upstream.token[above_row] is None:
                                plan.missing[row] += 1
                                self._await_token[upstream.id, above_row].append((node, row))
                    plan.missing[row] -= 1
            if token is None:
                plan.missing[row] += 1
            tokens.append(token)
        return tokens

    def _target(self, node: Node, row: int) -> str | None:
        """Return an item's target; None if it depends on what is not known yet."""
        target = node.task.target
        assert target is not None
        if target.is_callable:
            try:
                return target.call(
                    target_values(node, row, lambda name: self._known_argument(node, name, row)),
                    node.name,
                )
            except Touched:
                return None
        values = target_values(node, row, lambda name: self._known_argument(node, name, row))
        if any(isinstance(values[name], NotYet) for name in target.names):
            return None
        return target.of_item(values)

    def _known_argument(self, node: Node, name: str, row: int) -> Any:
        """Return what is known of an argument that comes from a task."""
        arg = node.args[name]
        if isinstance(arg, Element):
            return arg.known[row]
        if isinstance(arg, Items):
            known = arg.node.known.get(arg.pick(row), NotYet(name))
            return known if type(known) is NotYet else get_keys(known, arg.keys)
        if isinstance(arg, Nested) and type(arg.value) is Future and arg.value.index is not None:
            upstream, index = locate(arg.value)[0]
            known = upstream.known.get(index, NotYet(name))
            return known if type(known) is NotYet else get_keys(known, arg.value.keys)
        return NotYet(name)

    def _judge(self, node: Node, plan: Plan, bound: Bound, recipes: Sequence[str | None]) -> None:
        """Compare all items of a node with their records, at once."""
        assert node.targets is not None
        wanted = [target for target in node.targets if target is not None]
        stats = bound.storage.find(dict.fromkeys(wanted))
        records = bound.records  # after the listing: a file that another run made has its record
        refuse_unknown(node, bound, records, stats)
        folder, claims, name = str(bound.folder), self._claims, node.name
        fits, always, task = records.fits, bound.always, plan.spec.task
        contexts: Counter[str] = Counter()
        for row, (target, recipe) in enumerate(zip(node.targets, recipes, strict=True)):
            if target is None:
                continue
            other = claims.setdefault((folder, target), (node, row))
            if JOIN in target:
                other = self._claim_parts(node, row, folder, target, other)
            if other[0] is not node or other[1] != row:
                self._claimed_twice(node, row, other, target)
                continue
            stat = stats.get(target)
            if recipe is None:
                self._judge_unknown(node, row, target, stat, records)
                continue
            if not always:
                fitting = fits(target, stat, recipe, task)
                if fitting is not None:
                    node.token[row] = "c:" + fitting[0]
                    node.state[row] = THERE
                    node.ended[row] = REUSED_END
                    contexts[fitting[1]] += 1
                    continue
            self._judge_one(node, row, recipe, bound.look(target, stat, task, records))
        self.counts[name]["reused"] += contexts.total()
        for context, count in contexts.items():
            before = records.contexts.get(context, {}).get("packages", {})
            changed = changed_packages(before, plan.spec.fields["packages"])
            if changed:
                self._notes[name][f"made with {changed}; kept, because versions do not count"] += (
                    count
                )
        if TODO in node.state:
            self._check_writable(node.name, bound)
        self._say_reasons(node, before=True)

    def _check_writable(self, name: str, bound: Bound) -> None:
        """Say before the work, not after it, that a place takes nothing; asked once a place."""
        if bound.folder not in self._checked:
            bound.check_writable(name)
            self._checked.add(bound.folder)

    def _judge_one(self, node: Node, row: int, recipe: str, found: Found) -> None:
        """Decide about one item whose recipe is known, and what lies at its target."""
        plan = node.plan
        bound, target = plan.bound, node.targets[row]  # type: ignore[index]
        assert bound is not None
        assert target is not None
        records = records_of(bound.folder, refresh=False)
        tokens = plan.row_tokens(row)
        if not bound.always:
            if (
                found.kind == "foreign"
                and not records.known
                and (bound.options.when_unknown == "accept")
            ):
                found = bound.accept(found, target, bare_claim(plan.spec, recipe))
                if found.kind == "ours":
                    self._notes[node.name]["accepted as they were found"] += 1
            used = reuse(found, plan.spec, recipe, tokens, bound)
            if used is not None:
                record, notes = used
                self._notes[node.name].update(notes)
                node.token[row] = "c:" + record.content
                node.state[row] = THERE
                self._count(node, row, "reused")
                return
            if found.kind == "ours":
                self._reasons[node.name][reason_of(found, plan.spec, tokens, bound)] += 1
        plan.found[row] = found
        node.state[row] = TODO
        if plan.wanted[row]:
            self._later.append((self._advance, (node, row)))

    def _claim_parts(
        self, node: Node, row: int, folder: str, target: str, other: tuple[Node, int]
    ) -> tuple[Node, int]:
        """Claim each file of an item with several outputs; return whose one of them is already."""
        if other != (node, row):
            return other
        for part in target.split(JOIN):
            other = self._claims.setdefault((folder, part), (node, row))
            if other != (node, row):
                return other
        return other

    def _claimed_twice(self, node: Node, row: int, other: tuple[Node, int], target: str) -> None:
        """Make two items with one target one, if they have the same recipe; else raise."""
        first, first_row = other
        if node is not first:
            self._read_files([(node, row), (first, first_row)])
        if self._signature(node, row) != self._signature(first, first_row):
            raise _two_claims(node, row, first, first_row, target)
        node.state[row] = ALIAS
        node.alias[row] = other
        self._aliases[first.id, first_row].append((node, row))
        if first.state[first_row] == THERE:
            node.token[row] = first.token[first_row]
            self._later.append((self._alias_there, (node, row)))

    def _signature(self, node: Node, row: int) -> tuple[Any, ...]:
        """Return what tells items apart whose inputs are not all known yet."""
        tokens: list[Any] = node.plan.row_tokens(row)
        if None in tokens:
            for upstream, index in (*row_inputs(node, row), *nested_inputs(node)):
                real, real_row = self._real(upstream, index)
                tokens.append((real.id, real_row))
            tokens += [path_of(node, name, row) for name in node.plan.unread.get(row, ())]
        return (node.plan.spec.base, *tokens)

    # ------------------------------------------------------------ tokens go forward

    def _gone(self, node: Node, row: int) -> bool:
        return node.state[row] == GONE

    def _told(self, node: Node, row: int) -> None:
        """Tell the readers of an item that its token is known."""
        for reader, param in node.readers:
            if reader.plan is None:
                continue
            arg = reader.args[param]
            if isinstance(arg, Items | Element):
                for index in rows_reading(reader, param, arg, node, row):
                    column = reader.plan.columns[param]
                    if column[index] is None:
                        token = node.token[row]
                        assert token is not None
                        column[index] = (
                            with_keys(token, arg.keys)
                            if isinstance(arg, Items)
                            else element_token(arg, index)
                        )
                        reader.plan.missing[index] -= 1
                        self._maybe_judge(reader, index)
        for reader, place in self._await_token.get((node.id, row), ()):
            self._told_nested(reader, place)

    def _told_nested(self, reader: Node, index: int | None) -> None:
        plan = reader.plan
        if index is not None:
            plan.missing[index] -= 1
            if plan.missing[index] == 0:
                for name, arg in reader.args.items():
                    if isinstance(arg, NestedColumn) and plan.columns[name][index] is None:
                        plan.columns[name][index] = token_of_nested(
                            arg.values[index], arg.refs[index], plan.spec.marks, self._gone
                        )
            self._maybe_judge(reader, index)
            return
        plan.nested_missing -= 1
        if plan.nested_missing == 0:
            for name, arg in reader.args.items():
                if isinstance(arg, Nested) and plan.columns[name] is None:
                    plan.columns[name] = token_of_nested(
                        arg.value, arg.refs, plan.spec.marks, self._gone
                    )
            for row in range(reader.n):
                self._maybe_judge(reader, row)

    def _maybe_judge(self, node: Node, row: int) -> None:
        """Judge an item once all its inputs are known."""
        plan = node.plan
        known = node.token[row] is not None or node.state[row] not in (WAITS, LAZY)
        if known or plan.missing[row] > 0 or plan.nested_missing:
            return
        if row in plan.unread:
            self._maybe_lazy(node, row)
            return
        recipe = plan.spec.recipe(plan.row_tokens(row))
        if plan.spec.remembers:
            self._recall_one(node, row, recipe)
            return
        if plan.bound is None:
            node.token[row] = plan.spec.token(recipe)
            node.state[row] = LAZY
            self._later.append((self._told, (node, row)))
            if plan.wanted[row]:
                plan.wanted[row] = 0
                plan.wanted_open -= 1
                self._wants -= 1
                self._later.append((self._want, (node, row)))
            if (node.id, row) in self.waiting_for:
                self._later.append((self._want_known, (node, row)))
            return
        if node.targets[row] is None and not self._late_target(node, row):  # type: ignore[index]
            return
        target = node.targets[row]  # type: ignore[index]
        assert target is not None
        if node.state[row] == ALIAS:
            return
        self._judge_one(node, row, recipe, plan.bound.look_now(target, plan.spec.task))
        if node.state[row] == TODO:
            self._check_writable(node.name, plan.bound)
        if node.state[row] == THERE:
            self._there(node, row)
            if (node.id, row) in self.waiting_for:
                self._later.append((self._want_known, (node, row)))

    def _late_target(self, node: Node, row: int) -> bool:
        """Find the target of an item once what it depends on is known."""
        for upstream, index in (*row_inputs(node, row), *nested_inputs(node)):
            if upstream.decides and index not in upstream.known:
                waiting = self.waiting_for.setdefault((upstream.id, index), [])
                waiting.append(lambda: self._later.append((self._maybe_judge, (node, row))))
                self._later.append((self._want_known, (upstream, index)))
                return False
        target = self._target(node, row)
        if target is None:
            raise GraphError(
                f"{node.name}: the target of item {row} depends on a value that is too large to "
                "be part of a name. Use an id that is passed to the task."
            )
        bound = node.plan.bound
        assert node.targets is not None
        assert bound is not None
        check_legal([target], bound, node.name)
        node.targets[row] = target
        folder = str(bound.folder)
        other = self._claims.setdefault((folder, target), (node, row))
        if JOIN in target:
            other = self._claim_parts(node, row, folder, target, other)
        if other != (node, row):
            self._claimed_twice(node, row, other, target)
        return True

    # ------------------------------------------------------------ needs go backward

    def _want(self, node: Node, row: int) -> None:
        """Have an item's value made, unless it is there."""
        node, row = self._real(node, row)
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
        if node.id in self._unplanned or node.token[row] is not None:
            return
        if node.plan.spec.is_kept:
            self._later.append((self._want, (node, row)))
        else:
            self._later.append((self._want_tokens, (node, row)))

    # Files that nobody read yet: an item that has nothing to be compared with does not need to
    # know what they count by before it runs, and has them read where it runs.

    def _is_ready_unread(self, node: Node, row: int) -> bool:
        """Whether an item that is not kept lacks nothing but what files count by."""
        plan = node.plan
        if plan.spec.is_kept or plan.nested_missing:
            return False
        if not plan.missing[row]:
            return row in plan.unread
        return all(
            above.token[index] is not None
            or (above.plan is not None and above.state[index] == LAZY)
            for above, index in row_inputs(node, row)
        )

    def _maybe_lazy(self, node: Node, row: int) -> bool:
        """Take an item that is not kept for one that can be made, if it lacks no more than that."""
        if node.state[row] != WAITS or not self._is_ready_unread(node, row):
            return False
        node.state[row] = LAZY
        return True

    def _judge_unknown(
        self, node: Node, row: int, target: str, stat: Stat | None, records: Records
    ) -> None:
        """Judge an item whose recipe is not known: without file and record it is to be made."""
        if stat is None and not records.has(target):
            node.plan.found[row] = Found("missing")
            node.state[row] = TODO
        elif node.plan.bound.always:
            node.state[row] = TODO
        elif row in node.plan.unread:
            self._to_read.append((node, row))

    def _read_files(self, items: Iterable[tuple[Node, int]]) -> None:
        """Have files read, several at once, and go on with the items that name them."""
        wanted = [(node, row) for node, row in dict.fromkeys(items) if row in node.plan.unread]
        paths: defaultdict[str, list[str]] = defaultdict(list)
        for node, row in wanted:
            for name in node.plan.unread[row]:
                paths[node.plan.spec.how].append(path_of(node, name, row))
        tokens = {how: self._hashed(found, how) for how, found in paths.items()}
        for node, row in wanted:
            plan = node.plan
            for name in plan.unread.pop(row):
                plan.columns[name][row] = tokens[plan.spec.how][path_of(node, name, row)]
            self._later.append((self._maybe_judge, (node, row)))

    def _hashed(self, paths: Sequence[str], how: str) -> dict[str, str]:
        """Return what files count by; says how far it is."""
        distinct = list(dict.fromkeys(paths))
        tokens: dict[str, str] = {}
        for start in range(0, len(distinct), HASHED_AT_ONCE):
            tokens |= file_tokens(distinct[start : start + HASHED_AT_ONCE], how)
            self.show.update({"reading input files": (len(distinct), Counter(made=len(tokens)))})
        return tokens

    # Small values in records

    def _recall(self, node: Node, recipes: Sequence[str | None]) -> None:
        """Look for the values of a task that keeps them in records."""
        records_of(self._values)
        for row, recipe in enumerate(recipes):
            if recipe is not None:
                self._recall_one(node, row, recipe)

    def _recall_one(self, node: Node, row: int, recipe: str) -> None:
        found = self._recorded(node.plan.spec.token(recipe))
        if not found:
            node.state[row] = TODO
            if node.plan.wanted[row]:
                self._later.append((self._advance, (node, row)))
            return
        (node.known[row],) = found
        node.token[row] = "c:" + remembered(node.known[row])
        node.state[row] = THERE
        self._count(node, row, "reused")
        self._later.append((self._there, (node, row)))
        self._later.append((self._known, (node, row)))

    def _has_records(self, node: Node) -> bool:
        """Whether records hold a value of a task at all."""
        task = node.plan.spec.task
        known = records_of(self._values, refresh=False).contexts.values()
        return any(context.get("task") == task for context in known)

    def _recorded(self, token: str) -> tuple[Any, ...]:
        """Return what a record says of a value, if one can be read: one entry, or none."""
        for record in records_of(self._values, refresh=False).of(token):
            try:
                return (decode_known(record.details["known"]),)
            except (KeyError, TypeError, ValueError):
                continue  # not readable: it is computed again
        return ()

    def _want_known(self, node: Node, row: int) -> None:
        """Have what an item returns made known to the driver."""
        if node.id in self._unplanned or row in node.known:
            if row in node.known:
                self._known(node, row)
            return
        state = node.state[row]
        if state == GONE:
            self._known(node, row)
        elif node.plan.bound is not None and state == THERE:
            node.known[row] = sketch(node.plan.bound.hand_over(self._record(node, row)))
            self._known(node, row)
        elif (node.id, row) in self._held:
            node.known[row] = sketch(self.runner.fetch((node.id, row)))
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

    def _known(self, node: Node, row: int) -> None:
        """Build what depends on what an item returned."""
        for build in self.waiting_for.pop((node.id, row), ()):
            self._later.append((build, ()))

    def _available(self, node: Node, row: int) -> bool:
        if node.plan is None:  # it waits for a map whose length is not known yet
            return False
        if node.plan.spec.is_kept:
            return node.state[row] == THERE
        return (node.id, row) in self._held

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
            self._want(upstream, index)
        if plan.nested_open is None:
            self._open_nested(node)
        if plan.nested_open:
            blocked = True
        elif plan.nested_sources.get("gone") and not plan.spec.marks:
            self._skip(node, row, *plan.nested_sources["gone"])
            return
        if not blocked:
            # What reads others comes first, so that what they gave can go.
            first = any(
                isinstance(arg, Items | Element | NestedColumn) for arg in node.args.values()
            )
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
            self._want(upstream, index)

    def _real(self, node: Node, row: int) -> tuple[Node, int]:
        while node.state[row] == ALIAS:
            node, row = node.alias[row]
        return node, row

    # ------------------------------------------------------------ what became of items

    def _count(self, node: Node, row: int, word: str) -> None:
        """Note what became of an item."""
        self.counts[node.name][word] += 1
        node.ended[row] = ENDS.index(word)

    def _final(self, node: Node, row: int) -> None:
        plan = node.plan
        if plan.wanted[row]:
            plan.wanted[row] = 0
            plan.wanted_open -= 1
            self._wants -= 1

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
            for index in rows_reading(reader, param, reader.args[param], node, row):
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
                for one in rows_reading(reader, param, arg, node, row):
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
        if row in node.known:
            self._known(node, row)

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
            details(known=known),
        )
        line = record.line()  # in another user's project the value counts for this run alone
        if self._records_values:
            line = journal_of(self._values).append(record, dict(spec.fields))
        records_of(self._values, refresh=False).remember(line)

    def _maybe_drop(self, node: Node, row: int) -> None:
        """Let a value go that is not kept, once its last reader is done."""
        key = (node.id, row)
        if not node.plan.spec.pure:
            return  # it runs once a run for all its readers
        if key in self._held and row not in node.plan.pinned and not self._needed(node, row, {}):
            self._held.discard(key)
            self.runner.drop(key)

    # ------------------------------------------------------------ sending

    def _needed(self, node: Node, row: int, chain: dict[tuple[int, int], int]) -> bool:
        """Whether an item outside the chain may still read a value."""
        if self.is_awaited(node, row):
            return True
        for reader, param in node.readers:
            if reader.plan is None:
                return True
            arg = reader.args[param]
            if not isinstance(arg, Nested):
                if any(
                    (reader.id, one) not in chain and self._relevant(reader, one)
                    for one in rows_reading(reader, param, arg, node, row)
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
                    rows = rows_reading(reader, param, arg, one, index)
                elif reader.n == one.n == len(one.readers) == 1 and _is_just(arg, one):
                    rows = (0,)
                else:
                    continue
                for follower in rows if len(rows) == 1 else ():
                    if (
                        (reader.id, follower) not in places
                        and reader.state[follower] in (WAITS, LAZY, TODO)
                        and (reader.targets is None or reader.targets[follower] is not None)
                        and self._relevant(reader, follower)
                        and not (reader.plan.spec.remembers and reader.state[follower] == WAITS)
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
                and any(isinstance(arg, Nested) for arg in one.args.values())
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
            if not plan.learned:
                plan.learned = True
                self.runner.learn(node.id, plan.spec)
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
                    tuple(plan.row_tokens(row)),
                    plan.found.get(row),
                    bool(plan.wanted[row]),
                    hold,
                    node.decides,
                )
            )
        return works

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
        if isinstance(arg, NestedColumn):
            return self._inside(arg.values[row], places)
        assert isinstance(arg, Nested)
        cached = node.plan.nested_sources.get(("source", name))
        if cached is None:
            cached = self._inside(arg.value, places)
            if node.n > 1:
                node.plan.nested_sources["source", name] = cached
        return cached

    def _inside(self, value: Any, places: dict[tuple[int, int], int]) -> Any:
        if type(value) is Future and value.index is not None:
            return self._source_of(*locate(value)[0], value.keys, places)
        sources: list[Any] = []

        def mark(future: Future) -> Any:
            marks = []
            for item in locate(future):
                marks.append(Mark(len(sources)))
                sources.append(self._source_of(*item, future.keys, places))
            return marks if future.index is None else marks[0]

        filled = replace_futures(value, mark)
        return Inside(filled, sources)

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

    def _record(self, node: Node, row: int) -> Record:
        """Return the record of a kept item that is there."""
        bound, target = node.plan.bound, node.targets[row]  # type: ignore[index]
        content = (node.token[row] or "")[2:]
        records = records_of(bound.folder, refresh=False)
        for record in reversed(records.of(str(target))):
            if record.content == content:
                return record
        raise ResultChangedError(f"{bound.path(target)}: its record is gone. Run the flow again.")

    def _dispatch(self) -> None:
        """Send batches of what is ready, as long as the runner can take them."""
        limit = 2 * self.runner.workers
        while self._ready and self._batches < limit and self._fatal is None:
            if not self._opened:
                if self.log.path is not None:
                    said.start(shown=self.runner.in_this_thread)
                    self._captures = True
                self.runner.open(Worker, self._scratch)
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
                works = self._work(chain)
                for member, index in chain:
                    member.state[index] = SENT
                batch.append(works)
            if batch:
                self._shares.take(needs, [(work.spec, work.row) for one in batch for work in one])
                self._batches += 1
                self._flying += sum(map(len, batch))
                self.runner.submit(batch)

    def _needs(self, chain: Sequence[tuple[Node, int]]) -> dict[str, float]:
        """Return what a chain takes of what is shared while it runs."""
        needs: dict[str, float] = {}
        for node, _ in chain:
            options = node.task.options
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

    def _go(self, reached: Callable[[], bool]) -> None:
        """Run until a goal is reached."""
        try:
            self._drain()
            while not reached():
                self._dispatch()
                self._drain()
                if not self._flying:
                    if self._fatal is not None:
                        return
                    if not self._ready and not any(self._blocked.values()):
                        raise DatabackedError(
                            f"{self.name} cannot go on: {self._wants} items wait for what nobody "
                            "makes. This is a mistake of databacked; what is done is kept."
                        )
                for result in self.runner.done(0.1):
                    # A runner may answer a batch piece by piece, for instance after a death.
                    self._batches = max(0, self._batches - 1)
                    self._receive(result)
                    self._drain()
                self.show.update(self.progress())
        except KeyboardInterrupt:
            self.close(cancel=True)
            raise

    def _receive(self, result: list[Any] | BaseException) -> None:
        if isinstance(result, BaseException):
            lost = getattr(result, "lost", None)
            if lost is None:
                raise result
            self._flying -= len(lost)
            self._free((work.spec, work.row) for work in lost)
            names = dict.fromkeys(self.nodes[work.spec].name for work in lost)
            why = f"{result}; it ran {' → '.join(names)}"
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

    # ------------------------------------------------------------ what is said

    def progress(self) -> dict[str, tuple[int, Counter[str]]]:
        """Return for each task how many items there are, and what became of them."""
        totals: Counter[str] = Counter()
        lazy: set[str] = set()
        for node in self.nodes:
            if node.plan is None or node.plan.bound is not None:
                totals[node.name] += node.n
            else:  # what nobody needs is not made, and is not left to do either
                totals[node.name] += node.plan.wanted_open
                lazy.add(node.name)
        for name in lazy:
            totals[name] += sum(self.counts[name].values())
        return {name: (total, self.counts[name]) for name, total in totals.items()}

    def _say_reasons(self, node: Node, before: bool = False) -> None:
        """Say what is replaced because a parameter changed, before it is replaced."""
        for reason, count in self._reasons[node.name].items():
            if reason.startswith("=") and (node.name, reason) not in self._said:
                self._said.add((node.name, reason))
                self.show.say(_replaced(node.name, reason, count))

    def reasons(self) -> dict[str, Counter[str]]:
        """Return why items of each task were made again."""
        return {
            name: Counter({reason.removeprefix("="): n for reason, n in found.items()})
            for name, found in self._reasons.items()
            if found
        }

    def notes(self) -> dict[str, Counter[str]]:
        """Return what else is to be said of each task's items, with counts."""
        return {name: Counter(found) for name, found in self._notes.items() if found}

    def opaque(self) -> list[str]:
        """Return what the fingerprint of code cannot follow."""
        return list(self._opaque)

    def damages(self) -> list[str]:
        """Return what was wrong with journals, each once a process."""
        places = dict.fromkeys([*self._folders(), self._values])
        return [note for place in places for note in records_of(place, refresh=False).take_notes()]

    def orphans(self) -> dict[str, tuple[int, int]]:
        """Return how many files and bytes in each place belong to no item of this run.

        Nothing is said where the targets of some items never became known.
        """
        places: dict[Path, tuple[Bound, set[str]]] = {}
        for node in self.nodes:
            bound = None if node.plan is None else node.plan.bound
            if bound is None:
                continue
            if node.targets is None or None in node.targets:
                return {}
            places.setdefault(bound.folder, (bound, set()))[1].add(node.plan.spec.task)
        return orphans(places, self._claims)

    def _folders(self) -> list[Path]:
        return [node.plan.bound.folder for node in self.nodes if node.plan and node.plan.bound]

    def raise_fatal(self) -> None:
        """Raise if the run had to stop, for instance because the disk is full."""
        if self._fatal is not None:
            raise StorageError(self._fatal.exception.partition(": ")[2])

    def close(self, *, cancel: bool = False) -> None:
        """End the run: let values go, compact what many runs have written."""
        if self._opened:
            self._opened = False
            self.runner.close(cancel=cancel)
            if self._captures:
                said.stop()
        self.log.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        self.show.close()
        if cancel:
            return
        for folder in set(self._folders()):
            compact(records_of(folder, refresh=False))


def _answered(answer: Futures, values: list[Any]) -> Values:
    """Return the values of a map as a list that knows what they are the values of."""
    found = Values(values)
    found.answer = answer
    return found


def nested_inputs_if_few(node: Node) -> Iterable[tuple[Node, int]]:
    """Return what all items of a node read, where the node has one item only."""
    return nested_inputs(node) if node.n == 1 else ()


def _is_just(arg: Any, node: Node) -> bool:
    """Whether an argument is one future of a node, and nothing around it."""
    if not isinstance(arg, Nested) or type(arg.value) is not Future:
        return False
    return arg.value.node is node and arg.value.index is not None


def _holds_backed(arg: Any) -> bool:
    if isinstance(arg, Column):
        return any(type(value).__name__ == "BackedArray" for value in arg.values)
    return type(getattr(arg, "value", None)).__name__ == "BackedArray"


def _two_claims(node: Node, row: int, first: Node, first_row: int, target: str) -> DatabackedError:
    from databacked.errors import TargetError

    if first is node:
        who = f"items {first_row} and {row} of {node.name}"
        advice = "Add what tells them apart to the target, for example {cell_id}."
    else:
        who = f"{first.name}[{first_row}] and {node.name}[{row}]"
        advice = "Give the tasks different places or targets."
    target = shown(target)
    return TargetError(f"{who} have the same target {target!r} but not the same recipe. {advice}")


def _replaced(name: str, reason: str, count: int) -> str:
    text = reason.removeprefix("=")
    parameter = text.removeprefix("parameter ").partition(" ")[0]
    return (
        f"{name}: {count:,} results are replaced ({text}); add {{{parameter}}} to the target to "
        "keep both"
    )


def _lost_item(work: Work, node: Node, why: str, number: int) -> Outcome:
    failure = Failure(
        node.name, shown(work.target or str(work.row)), {}, f"WorkerLost: {why}", "?", 0.0
    )
    state = FAILED if number == 0 else SKIPPED
    return Outcome(work.spec, work.row, state, None, failure=failure)


def clear_scratch(folder: Path) -> None:
    """Remove what runs of this host left behind that were killed."""
    here = socket.gethostname() + "-"
    try:
        names = [name for name in os.listdir(folder) if name.startswith(here)]
    except OSError:
        return
    for name in names:
        number = name.removeprefix(here).partition("-")[0]
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder / name, ignore_errors=True)
        except (ValueError, PermissionError):
            continue


def changed_packages(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words which third-party packages have another version by now."""
    return ", ".join(
        f"{name} {version} (now {now[name]})"
        for name, version in before.items()
        if now.get(name, version) != version
    )


def new_id() -> str:
    """Return the name of a run: when it started (UTC), and a few random letters."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
