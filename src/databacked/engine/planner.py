"""What items count by, what of them is there, and what is to be made: reads, never writes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from databacked.engine.claims import Claims, two_claims
from databacked.engine.items import IDLE, OPEN, Items
from databacked.engine.scheduler import Scheduler
from databacked.engine.small_values import SmallValues
from databacked.engine.spec import Specs
from databacked.engine.targets import (
    check_legal,
    floats_in_names,
    refuse_unknown,
    targets_of,
)
from databacked.engine.tokens import (
    FAILED_TOKEN,
    file_parameters,
    path_of,
    plain_tokens,
    token_of,
    unread,
    value_token,
)
from databacked.engine.verdict import Verdict
from databacked.errors import GraphError
from databacked.fingerprint.files import file_tokens
from databacked.graph.calls import target_values
from databacked.graph.futures import Future
from databacked.graph.inputs import Column, Element, Plain
from databacked.graph.nodes import Item, Node
from databacked.graph.sketch import holds_unknown, remembered
from databacked.graph.target import NotYet, Touched
from databacked.places.backed import Backed
from databacked.places.judge import Found
from databacked.places.parts import get_keys
from databacked.places.place import Bound
from databacked.project.root import Project
from databacked.records.book import Records
from databacked.storage.looks import Stat
from databacked.worker.messages import Reason
from databacked.worker.reuse import reason_of, used

HASHED_AT_ONCE = 64
"""Input files that are read between two looks at the progress."""


@dataclass
class _Draft:
    """A verdict that is being written."""

    tokens: dict[int, str] = field(default_factory=dict)
    idle: list[int] = field(default_factory=list)
    fresh: dict[int, str] = field(default_factory=dict)
    due: dict[int, Found | None] = field(default_factory=dict)
    perhaps: list[int] = field(default_factory=list)
    twins: dict[int, Item] = field(default_factory=dict)
    settle: dict[int, tuple[Found, Literal["e", "a"]]] = field(default_factory=dict)
    recalled: dict[int, Any] = field(default_factory=dict)
    late: dict[int, list[Item]] = field(default_factory=dict)
    unread: list[Item] = field(default_factory=list)
    errors: dict[int, BaseException] = field(default_factory=dict)
    reasons: Counter[Reason] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    whole: bool = False


class Planner:
    """Looks at code, files and records for one run, at each as seldom as it can."""

    def __init__(
        self,
        project: Project,
        specs: Specs,
        scheduler: Scheduler,
        show: Callable[[Mapping[str, tuple[int, Counter[str]]]], None],
    ) -> None:
        self._project = project
        self._specs = specs
        self._scheduler = scheduler
        self._show = show
        self.claims = Claims()
        self.small = SmallValues(project)
        self._known_places: dict[Path, bool] = {}
        """Whether a place had any record when this run first looked at it."""

    def open(self, items: Items) -> None:
        """Find out what the items of a node share, and what their plain arguments count by."""
        node = items.node
        bound = self._specs.bound(node.task)
        files = file_parameters(node)
        inputs = [
            name
            for name, arg in node.args.items()
            if files.get(name) or not isinstance(arg, Plain | Column) or _holds_backed(arg)
        ]
        spec = self._specs.spec(node, bound, inputs)
        items.open(spec, bound)
        odd: dict[int, Exception] = {}
        items.columns = plain_tokens(node, files, self._project.root, spec.how, odd)
        items.odd = odd
        items.unread = unread(node, items.columns, files)
        for name, arg in node.args.items():
            if not isinstance(arg, Plain | Column):
                items.columns[name] = None if arg.length() is None else [None] * node.n
        target = node.task.target
        if bound is not None and target is not None:
            items.targets = self._targets(items)
            check_legal([one for one in items.targets if one is not None], bound, node.name)

    # Tokens

    def token(self, node: Node, row: int) -> str | None:
        """Return what an item counts by, if that is known."""
        return self._scheduler.of(node).token[row]

    def token_or_mark(self, node: Node, row: int) -> str | None:
        return FAILED_TOKEN if row in node.lost else self.token(node, row)

    def complete(self, items: Items, rows: Iterable[int]) -> None:
        """Fill in what the arguments of rows count by, as far as it is known by now."""
        spec = items.spec
        for name, arg in items.node.args.items():
            token = self.token_or_mark if spec.marks and arg.may_mark else self.token
            column = items.columns[name]
            if column is None:
                items.columns[name] = token_of(arg.given(0), token, spec.root)
            if isinstance(arg, Plain | Column) or not isinstance(column, list):
                continue
            where = f"{items.node.name}: the argument {name!r}"
            for row in rows:
                if column[row] is None:
                    given = arg.given(row)
                    if type(arg) is Element and type(given) is not Future:
                        column[row] = value_token(given, where, self._project.root)
                    else:
                        column[row] = token_of(given, token, spec.root)

    def tokens_to_send(self, items: Items, row: int) -> list[str | None]:
        """Return the tokens of an item that is about to run: what failed counts as failed."""
        if items.spec.marks:
            for name, arg in items.node.args.items():
                if arg.may_mark:
                    token = token_of(arg.given(row), self.token_or_mark, items.spec.root)
                    column = items.columns[name]
                    if isinstance(column, list):
                        column[row] = token
                    else:
                        items.columns[name] = token
        self.complete(items, (row,))
        return items.row_tokens(row)

    def _recipes(self, items: Items, rows: Sequence[int]) -> list[str | None]:
        """Return the recipes of rows; None for those of which an input is not known yet."""
        self.complete(items, rows)
        columns = [items.columns[name] for name in items.spec.order]
        if any(column is None for column in columns):
            return [None] * len(rows)
        recipe = items.spec.recipe
        if len(rows) == items.n:
            given = [one if isinstance(one, list) else [one] * items.n for one in columns]
        else:
            given = [
                [one[row] for row in rows] if isinstance(one, list) else [one] * len(rows)
                for one in columns
            ]
        if not given:
            return [recipe(())] * len(rows)
        return [None if None in row else recipe(row) for row in zip(*given, strict=True)]

    # Targets

    def _targets(self, items: Items) -> list[str | None]:
        node, target = items.node, items.node.task.target
        assert target is not None
        plain = None if target.is_callable else targets_of(node, target, node.args)
        if plain is not None:
            return list(plain)
        return [self._target(node, row) for row in range(node.n)]

    def _target(self, node: Node, row: int) -> str | None:
        """Return an item's target; None if it depends on what is not known yet."""
        target = node.task.target
        assert target is not None
        values = target_values(node, row, lambda name: _known_argument(node, name, row))
        if target.is_callable:
            try:
                return target.call(values, node.name)
            except Touched:
                return None
        if any(isinstance(values[name], NotYet) for name in target.names):
            return None
        return target.of_item(values)

    def _late_target(self, items: Items, row: int, draft: _Draft) -> str | None:
        """Find the target of an item once what it depends on is known."""
        node = items.node
        above = (item for arg in node.args.values() for item in (*arg.items(row), *arg.shared()))
        unknown = [
            (other, index)
            for other, index in above
            if other.decides and index not in other.known and index not in other.lost
        ]
        if unknown:
            draft.late[row] = unknown
            return None
        target = self._target(node, row)
        if target is None:
            raise GraphError(
                f"{node.name}: the target of item {row} depends on a value that is too large to "
                "be part of a name. Use an id that is passed to the task."
            )
        assert items.bound is not None
        assert items.targets is not None
        check_legal([target], items.bound, node.name)
        items.targets[row] = target
        return target

    # Judging

    def judge(self, items: Items, rows: Sequence[int] | None = None) -> Verdict:
        """Say what is known of items.

        Parameters
        ----------
        rows
            Those whose inputs are all known by now; None for a new node, of which not all need be.
        """
        draft = _Draft(whole=rows is None)
        whole = rows is None
        if rows is None:
            rows = range(items.n)
        rows = [
            row
            for row in sorted(set(rows))
            if items.status[row] in (OPEN, IDLE) and items.token[row] is None
        ]
        if whole:
            draft.errors.update(items.odd)
            if items.odd:
                rows = [row for row in rows if row not in items.odd]
            if items.targets is not None and items.node.task.target is not None:
                draft.notes.update(floats_in_names(items.node, items.node.task.target))
        recipes = self._recipes(items, rows)
        if items.spec.remembers:
            self._recall(items, rows, recipes, draft)
        elif items.bound is None:
            self._passing(items, rows, recipes, draft)
        elif whole:
            self._compare(items, rows, recipes, draft, items.bound)
        else:
            for row, recipe in zip(rows, recipes, strict=True):
                if recipe is not None and items.status[row] == OPEN:
                    self._look_now(items, row, recipe, draft, items.bound)
        return Verdict(**vars(draft))

    def _passing(
        self, items: Items, rows: Sequence[int], recipes: Sequence[str | None], draft: _Draft
    ) -> None:
        """Judge items that are not kept: they are there for nobody, and count by their recipe."""
        token = items.spec.token
        for row, recipe in zip(rows, recipes, strict=True):
            if recipe is not None:
                draft.tokens[row] = token(recipe)
            elif items.status[row] == OPEN and self._is_ready_unread(items, row):
                draft.idle.append(row)

    def _is_ready_unread(self, items: Items, row: int) -> bool:
        """Whether an item that is not kept lacks nothing but what files count by."""
        if items.shared_unknown:
            return False
        if not items.unknown[row]:
            return row in items.unread
        above = (item for arg in items.node.args.values() for item in arg.items(row))
        for node, index in above:
            table = self._scheduler.of(node)
            if table.token[index] is None and (
                not table.is_open or table.spec.is_kept or table.status[index] == OPEN
            ):
                return False
        return True

    def _recall(
        self, items: Items, rows: Sequence[int], recipes: Sequence[str | None], draft: _Draft
    ) -> None:
        """Look for the values of a task that keeps them in records."""
        for row, recipe in zip(rows, recipes, strict=True):
            if recipe is None or items.status[row] != OPEN:
                continue
            found = self.small.of(items.spec.token(recipe))
            if found:
                (draft.recalled[row],) = found
                draft.fresh[row] = "c:" + remembered(found[0])
            else:
                draft.due[row] = Found("missing")

    def _compare(
        self,
        items: Items,
        rows: Sequence[int],
        recipes: Sequence[str | None],
        draft: _Draft,
        bound: Bound,
    ) -> None:
        """Compare all items of a node with their records, at once."""
        assert items.targets is not None
        node, targets = items.node, items.targets
        stats = bound.find(dict.fromkeys(one for one in targets if one is not None))
        records = bound.records  # after the listing: a file that another run made has its record
        self._known_places.setdefault(bound.folder, records.known)
        refuse_unknown(node, bound, records, stats)
        folder, claim = str(bound.folder), self.claims.claim
        owner = items.spec.owner
        chosen = targets if len(rows) == items.n else [targets[row] for row in rows]
        closer = bound.always or not bound.by_time
        fitting = [None] * len(rows) if closer else records.fitting(chosen, stats, recipes, owner)
        contexts: Counter[str] = Counter()
        fresh = draft.fresh
        for row, target, recipe, fits in zip(rows, chosen, recipes, fitting, strict=True):
            if target is None:
                if recipe is not None:
                    self._look_now(items, row, recipe, draft, bound)
                continue
            other = claim(folder, target, (node, row))
            if other[0] is not node or other[1] != row:
                self._pair(items, row, other, target, draft)
                continue
            if fits is not None:
                fresh[row] = "c:" + fits[0]
                contexts[fits[1]] += 1
                continue
            stat = stats.get(target)
            if recipe is None:
                self._judge_unknown(items, row, target, stat, records, draft, bound)
                continue
            look = partial(bound.look, target, stat, owner, records)
            self._look(items, row, recipe, look, draft, bound)
        for context, count in contexts.items():
            before = records.contexts.get(context, {}).get("packages", {})
            changed = changed_packages(before, items.spec.fields["packages"])
            if changed:
                draft.notes[f"made with {changed}; kept, because versions do not count"] += count

    def _look_now(self, items: Items, row: int, recipe: str, draft: _Draft, bound: Bound) -> None:
        """Judge one item by itself, and find its target where that depends on what it gets."""
        assert items.targets is not None
        target = items.targets[row]
        if target is None:
            target = self._late_target(items, row, draft)
            if target is None:
                return
            other = self.claims.claim(bound.folder, target, (items.node, row))
            if other != (items.node, row):
                self._pair(items, row, other, target, draft)
                return
            self._known_places.setdefault(bound.folder, bound.records.known)
        look = partial(bound.look_now, target, items.spec.owner)
        self._look(items, row, recipe, look, draft, bound)

    def _look(
        self,
        items: Items,
        row: int,
        recipe: str,
        look: Callable[[], Found],
        draft: _Draft,
        bound: Bound,
    ) -> None:
        """Judge an item; a file that cannot be looked at is a failure of this item alone."""
        try:
            self._judge_one(items, row, recipe, look(), draft, bound)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            draft.errors[row] = error

    def _judge_one(
        self, items: Items, row: int, recipe: str, found: Found, draft: _Draft, bound: Bound
    ) -> None:
        """Decide about one item whose recipe is known, and what lies at its target."""
        assert items.targets is not None
        target, spec = items.targets[row], items.spec
        assert target is not None
        tokens = items.row_tokens(row)
        if not bound.always:
            unknown = found.kind == "foreign" and not self._known_places[bound.folder]
            if unknown and bound.options.when_unknown == "accept":
                taken = bound.acceptable(found, target)
                if taken is not None:
                    draft.fresh[row] = "c:" + taken.content
                    draft.settle[row] = taken, "a"
                    draft.notes["accepted as they were found"] += 1
                    return
            as_it_is = used(found, spec, recipe, tokens, bound)
            if as_it_is is not None:
                draft.notes.update(as_it_is.notes)
                draft.fresh[row] = "c:" + as_it_is.content
                if as_it_is.record is None:
                    draft.settle[row] = found, "e"
                return
            if found.kind == "ours":
                reason = reason_of(found, spec, tokens, bound)
                draft.reasons[reason] += 1
                if reason.only_inputs and any("r:" in str(token) for token in tokens):
                    draft.perhaps.append(row)
        draft.due[row] = found

    def _judge_unknown(
        self,
        items: Items,
        row: int,
        target: str,
        stat: Stat | None,
        records: Records,
        draft: _Draft,
        bound: Bound,
    ) -> None:
        """Judge an item whose recipe is not known: without file and record it is to be made."""
        if stat is None and not records.has(target):
            draft.due[row] = Found("missing")
        elif bound.always:
            draft.due[row] = None
        elif row in items.unread:
            draft.unread.append((items.node, row))

    # Two items with one target

    def _pair(self, items: Items, row: int, other: Item, target: str, draft: _Draft) -> None:
        """Make two items with one target one, if they have the same recipe; else raise."""
        first, first_row = other
        above = self._scheduler.of(first)
        if first is not items.node:
            self.read([(items.node, row), other])
        if self._signature(items, row) != self._signature(above, first_row):
            raise two_claims(items.node, row, first, first_row, target)
        draft.twins[row] = other

    def _signature(self, items: Items, row: int) -> tuple[Any, ...]:
        """Return what tells items apart whose inputs are not all known yet."""
        self.complete(items, (row,))
        tokens: list[Any] = items.row_tokens(row)
        if None in tokens:
            for arg in items.node.args.values():
                for item in (*arg.items(row), *arg.shared()):
                    node, index = self._scheduler.real(*item)
                    tokens.append((node.id, index))
            tokens += [path_of(items.node, name, row) for name in items.unread.get(row, ())]
        return (items.spec.base, *tokens)

    # Files that nobody read yet: an item that has nothing to be compared with does not need to
    # know what they count by before it runs, and has them read where it runs.

    def read(self, wanted: Iterable[Item]) -> dict[Item, BaseException]:
        """Read files, several at once, and fill in what the items count by that name them.

        Returns
        -------
        Items of which a file cannot be read, and why.
        """
        tables = [(self._scheduler.of(node), row) for node, row in dict.fromkeys(wanted)]
        paths: defaultdict[str, list[str]] = defaultdict(list)
        for items, row in tables:
            for name in items.unread.get(row, ()):
                paths[items.spec.how].append(path_of(items.node, name, row))
        tokens = {how: self._hashed(found, how) for how, found in paths.items()}
        errors: dict[Item, BaseException] = {}
        for items, row in tables:
            for name in items.unread.pop(row, ()):
                token = tokens[items.spec.how][path_of(items.node, name, row)]
                if isinstance(token, BaseException):
                    errors[items.node, row] = token
                    break
                items.columns[name][row] = token
        return errors

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
            self._show({"reading input files": (len(distinct), Counter(made=len(tokens)))})
        return tokens


def _known_argument(node: Node, name: str, row: int) -> Any:
    """Return what is known of an argument that comes from a task."""
    given = node.args[name].given(row)
    if type(given) is not Future:
        held = isinstance(node.args[name], Element) and not holds_unknown(given)
        return given if held else NotYet(name)
    if given.index is None:
        return NotYet(name)
    ((above, index),) = given.items()
    known = above.known.get(index, NotYet(name))
    return known if type(known) is NotYet else get_keys(known, given.keys)


def _token_or_error(path: str, how: str) -> str | Exception:
    try:
        return file_tokens([path], how)[path]
    except Exception as error:
        return error


def _holds_backed(arg: Any) -> bool:
    if isinstance(arg, Column):
        return any(isinstance(value, Backed) for value in arg.values)
    return isinstance(getattr(arg, "value", None), Backed)


def changed_packages(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words which third-party packages have another version by now."""
    return ", ".join(
        f"{name} {version} (now {now[name]})"
        for name, version in before.items()
        if now.get(name, version) != version
    )
