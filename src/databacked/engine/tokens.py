"""Tokens go forward: an item whose inputs are known is compared with what lies at its target."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from databacked.engine.columns import (
    check_legal,
    element_token,
    file_parameters,
    floats_in_names,
    nested_inputs,
    path_of,
    plain_tokens,
    recipes_of,
    refuse_unknown,
    row_inputs,
    targets_of,
    token_of_nested,
    unread,
)
from databacked.engine.spec import Plan
from databacked.engine.state import ALIAS, END, GONE, LAZY, THERE, TODO, WAITS, State
from databacked.errors import DatabackedError, GraphError
from databacked.fingerprint.files import file_tokens
from databacked.graph.calls import target_values
from databacked.graph.futures import Future
from databacked.graph.inputs import Column, Element, Filled, Items, Mixed, Plain
from databacked.graph.nodes import Node
from databacked.graph.sketch import remembered
from databacked.graph.target import NotYet, Touched
from databacked.places.backed import Backed
from databacked.places.judge import Found
from databacked.places.parts import get_keys
from databacked.places.place import Bound
from databacked.records.book import Records, records_of
from databacked.storage.looks import JOIN, Stat
from databacked.types import Failure
from databacked.worker.messages import shown, with_keys
from databacked.worker.reuse import bare_claim, reason_of, reuse

HASHED_AT_ONCE = 64
"""Input files that are read between two looks at the progress."""


LONGEST_BATCH = 512
"""Chains in one batch, at most."""


class Tokens(State):
    """What items count by, and what of them is there."""

    def _plan_up_to(self, last: int) -> None:
        self._running = True
        for node in self.nodes[: last + 1]:
            if node.id in self._unplanned:
                self._plan(node)

    def _plan(self, node: Node) -> None:
        """Find out what a node's items count by, and what of them is there."""
        if node.id not in self._unplanned:
            return
        waiting = [map for arg in node.args.values() for map in arg.undecided()]
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
        odd: dict[int, Exception] = {}
        columns: dict[str, Any] = plain_tokens(node, files, self.project.root, spec.how, odd)
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
            self._notes[node.name].update(floats_in_names(node, target))
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
        for row, error in odd.items():
            node.token[row] = None
            self._fail(node, row, error)
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
        for ask, row in self._once_planned.pop(node.id, ()):
            self._later.append((ask, (node, row)))

    def _tokens(self, node: Node, name: str, arg: Any, plan: Plan) -> Any:
        """Return the tokens of an argument that comes from tasks; count what is missing."""
        marks, root = plan.spec.marks, plan.spec.root
        if isinstance(arg, Filled):
            token = token_of_nested(arg.value, arg.refs, marks, self._gone, root)
            if token is None:
                plan.nested_missing += self._await_tokens(node, None, arg.refs, marks)
            return token
        tokens: list[str | None] = []
        for row in range(node.n):
            if isinstance(arg, Items):
                above = arg.node.token[arg.pick(row)]
                token = None if above is None else with_keys(above, arg.keys)
                if token is None and arg.node.state[arg.pick(row)] == GONE:
                    self._later.append((self._skip, (node, row, arg.node, arg.pick(row))))
            elif isinstance(arg, Element):
                token = element_token(arg, row, self.project.root)
            else:
                assert isinstance(arg, Mixed)
                token = token_of_nested(
                    arg.values[row], arg.refs[row], marks, self._gone, plan.spec.root
                )
                if token is None:
                    plan.missing[row] += self._await_tokens(node, row, arg.refs[row], marks) - 1
            if token is None:
                plan.missing[row] += 1
            tokens.append(token)
        return tokens

    def _await_tokens(
        self, node: Node, row: int | None, refs: Iterable[Future], marks: bool
    ) -> int:
        """Wait for the tokens of what an argument holds; return how many are not known yet.

        Without `marks` one that failed is never known: who reads it is skipped.
        """
        unknown = 0
        for upstream, above in (item for future in refs for item in future.items()):
            if upstream.token[above] is not None:
                continue
            if not self._gone(upstream, above):
                self._await_token[upstream.id, above].append((node, row))
            elif marks:
                continue
            else:
                for one in range(node.n) if row is None else (row,):
                    self._later.append((self._skip, (node, one, upstream, above)))
            unknown += 1
        return unknown

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
        if isinstance(arg, Filled) and type(arg.value) is Future and arg.value.index is not None:
            upstream, index = arg.value.items()[0]
            known = upstream.known.get(index, NotYet(name))
            return known if type(known) is NotYet else get_keys(known, arg.value.keys)
        return NotYet(name)

    def _judge(self, node: Node, plan: Plan, bound: Bound, recipes: Sequence[str | None]) -> None:
        """Compare all items of a node with their records, at once."""
        assert node.targets is not None
        wanted = [target for target in node.targets if target is not None]
        stats = bound.storage.find(dict.fromkeys(wanted))
        records = bound.records  # after the listing: a file that another run made has its record
        self._known_places.setdefault(bound.folder, records.known)
        refuse_unknown(node, bound, records, stats)
        folder, claims, name = str(bound.folder), self._claims, node.name
        fits, owner = records.fits, plan.spec.owner
        closer = bound.always or not bound.by_time
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
            if not closer:
                fitting = fits(target, stat, recipe, owner)
                if fitting is not None:
                    node.token[row] = "c:" + fitting[0]
                    node.state[row] = THERE
                    node.ended[row] = END["reused"]
                    contexts[fitting[1]] += 1
                    continue
            self._look(node, row, recipe, partial(bound.look, target, stat, owner, records))
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

    def _look(self, node: Node, row: int, recipe: str, look: Callable[[], Found]) -> None:
        """Judge an item; a file that cannot be looked at is a failure of this item alone."""
        try:
            self._judge_one(node, row, recipe, look())
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._fail(node, row, error)

    def _judge_one(self, node: Node, row: int, recipe: str, found: Found) -> None:
        """Decide about one item whose recipe is known, and what lies at its target."""
        plan = node.plan
        bound, target = plan.bound, node.targets[row]  # type: ignore[index]
        assert bound is not None
        assert target is not None
        tokens = plan.row_tokens(row)
        if not bound.always:
            if (
                found.kind == "foreign"
                and not self._known_places[bound.folder]
                and (bound.options.when_unknown == "accept")
            ):
                found = bound.accept(found, target, bare_claim(plan.spec, recipe))
                if found.kind == "ours":
                    self._notes[node.name]["accepted as they were found"] += 1
            used = reuse(found, plan.spec, recipe, tokens, bound, target)
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

    def _told(self, node: Node, row: int) -> None:
        """Tell the readers of an item that its token is known."""
        for reader, param in node.readers:
            if reader.plan is None:
                continue
            arg = reader.args[param]
            if isinstance(arg, Items | Element):
                for index in arg.reading(node, row):
                    column = reader.plan.columns[param]
                    if column[index] is None:
                        token = node.token[row]
                        assert token is not None
                        column[index] = (
                            with_keys(token, arg.keys)
                            if isinstance(arg, Items)
                            else element_token(arg, index, self.project.root)
                        )
                        self._one_less_missing(reader, index)
        for reader, place in self._await_token.get((node.id, row), ()):
            self._told_nested(reader, place)

    def _told_nested(self, reader: Node, index: int | None) -> None:
        plan = reader.plan
        if index is not None:
            self._one_less_missing(reader, index)
            return
        plan.nested_missing -= 1
        if plan.nested_missing == 0:
            for name, arg in reader.args.items():
                if isinstance(arg, Filled) and plan.columns[name] is None:
                    plan.columns[name] = token_of_nested(
                        arg.value, arg.refs, plan.spec.marks, self._gone, plan.spec.root
                    )
            for row in range(reader.n):
                self._maybe_judge(reader, row)

    def _one_less_missing(self, reader: Node, row: int) -> None:
        """Note that one more input of an item has a token; lists have theirs with the last one."""
        plan = reader.plan
        plan.missing[row] -= 1
        if plan.missing[row] == 0:
            for name, arg in reader.args.items():
                if isinstance(arg, Mixed) and plan.columns[name][row] is None:
                    plan.columns[name][row] = token_of_nested(
                        arg.values[row], arg.refs[row], plan.spec.marks, self._gone, plan.spec.root
                    )
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
        self._look(node, row, recipe, partial(plan.bound.look_now, target, plan.spec.owner))
        if node.state[row] == TODO:
            self._check_writable(node.name, plan.bound)
        if node.state[row] == THERE:
            self._later.append((self._there, (node, row)))
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
                token = tokens[plan.spec.how][path_of(node, name, row)]
                if isinstance(token, Exception):
                    self._fail(node, row, token)
                    break
                plan.columns[name][row] = token
            else:
                self._later.append((self._maybe_judge, (node, row)))

    def _hashed(self, paths: Sequence[str], how: str) -> dict[str, str | Exception]:
        """Return what files count by, or why one cannot be read; says how far it is."""
        distinct = list(dict.fromkeys(paths))
        tokens: dict[str, str | Exception] = {}
        for start in range(0, len(distinct), HASHED_AT_ONCE):
            some = distinct[start : start + HASHED_AT_ONCE]
            try:
                tokens |= file_tokens(some, how)
            except Exception:
                tokens |= {path: _token_or_error(path, how) for path in some}
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

    def _say_reasons(self, node: Node, before: bool = False) -> None:
        """Say what is replaced because a parameter changed, before it is replaced."""
        for reason, count in self._reasons[node.name].items():
            if reason.startswith("=") and (node.name, reason) not in self._said:
                self._said.add((node.name, reason))
                self.show.say(_replaced(node.name, reason, count))

    def built(self, node: Node) -> None:
        """Take a node that came to be; while the flow runs it is planned at once."""
        self._unplanned.add(node.id)
        if self._running:
            self._later.append((self._plan, (node,)))

    # What follows from what is known: `databacked.engine.needs` has it.

    def _want_node(self, node: Node) -> None:
        raise NotImplementedError

    def _want(self, node: Node, row: int) -> None:
        raise NotImplementedError

    def _want_known(self, node: Node, row: int) -> None:
        raise NotImplementedError

    def _known(self, node: Node, row: int) -> None:
        raise NotImplementedError

    def _pin(self, node: Node, row: int) -> None:
        raise NotImplementedError

    def _advance(self, node: Node, row: int) -> None:
        raise NotImplementedError

    def _there(self, node: Node, row: int) -> None:
        raise NotImplementedError

    def _alias_there(self, node: Node, row: int) -> None:
        raise NotImplementedError

    def _skip(self, node: Node, row: int, upstream: Node, index: int) -> None:
        raise NotImplementedError

    def _fail(self, node: Node, row: int, error: BaseException) -> Failure:
        raise NotImplementedError


def _token_or_error(path: str, how: str) -> str | Exception:
    try:
        return file_tokens([path], how)[path]
    except Exception as error:
        return error


def _holds_backed(arg: Any) -> bool:
    if isinstance(arg, Column):
        return any(isinstance(value, Backed) for value in arg.values)
    return isinstance(getattr(arg, "value", None), Backed)


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


def changed_packages(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words which third-party packages have another version by now."""
    return ", ".join(
        f"{name} {version} (now {now[name]})"
        for name, version in before.items()
        if now.get(name, version) != version
    )
