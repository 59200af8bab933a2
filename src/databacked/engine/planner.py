"""What items count by, what of them is there, and what is to be made: reads, never writes."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from databacked.display.words import Progresses
from databacked.engine.claims import Claims, two_claims
from databacked.engine.columns import is_nobodys
from databacked.engine.items import IDLE, OPEN, Items
from databacked.engine.recipes import Recipes
from databacked.engine.scheduler import Scheduler
from databacked.engine.small_values import SmallValues
from databacked.engine.spec import Specs
from databacked.engine.targets import (
    changed_packages,
    check_legal,
    floats_in_names,
    folders_in_names,
    refuse_unknown,
    target_of,
    targets_now,
)
from databacked.engine.tokens import (
    file_parameters,
    plain_tokens,
    unread,
)
from databacked.engine.verdict import Draft, Verdict
from databacked.errors import GraphError, StorageError, is_due_to
from databacked.graph.inputs import Column, Plain
from databacked.graph.nodes import Item
from databacked.graph.sketch import content_of_known
from databacked.places.backed import Backed
from databacked.places.judge import MISSING, Found
from databacked.places.place import Place
from databacked.project.root import Project
from databacked.records.book import Records
from databacked.storage.looks import Stat
from databacked.worker.messages import Reason
from databacked.worker.reuse import reason_of, used

FORCED = Reason("force= asks for it")

FEW = 16
"""Items up to which each is looked at by itself, as it becomes known what it counts by."""


class Planner:
    """Looks at code, files and records for one run, at each as seldom as it can."""

    def __init__(
        self,
        project: Project,
        specs: Specs,
        scheduler: Scheduler,
        show: Callable[[Callable[[], Progresses]], None],
    ) -> None:
        self._project = project
        self._specs = specs
        self._scheduler = scheduler
        self.recipes = Recipes(project, scheduler, show)
        self.claims = Claims()
        self.small = SmallValues(project)
        self._known_places: dict[Path, bool] = {}
        """Whether a place had any record when this run first looked at it."""

    @property
    def forced(self) -> frozenset[str]:
        """Tasks whose items are made again, by name."""
        return self._specs.force

    def open(self, items: Items) -> None:
        """Find out what the items of a node share, and what their plain arguments count by."""
        node = items.node
        place = self._specs.place(node.task)
        files = file_parameters(node)
        inputs = [
            name
            for name, arg in node.args.items()
            if files.get(name) or not isinstance(arg, Plain | Column) or _holds_backed(arg)
        ]
        spec = self._specs.spec(node, place, inputs)
        items.open(spec, place)
        odd: dict[int, Exception] = {}
        items.columns = plain_tokens(node, files, self._project.root, spec.how, odd)
        items.odd = odd
        items.unread = unread(node, items.columns, files)
        target = node.task.target
        if place is not None and target is not None:
            items.targets = targets_now(node, target)
            check_legal([one for one in items.targets if one is not None], place, node.name)

    # Targets

    def _late_target(self, items: Items, row: int, draft: Draft) -> str | None:
        """Find the target of an item once what it depends on is known."""
        node = items.node
        unknown = [
            (other, index)
            for other, index in node.reads(row)
            if other.decides and index not in other.known and index not in other.lost
        ]
        if unknown:
            draft.late[row] = unknown
            return None
        target = target_of(node, row)
        if target is None:
            raise GraphError(
                f"{node.name}: the target of item {row} depends on a value that is too large to "
                "be part of a name. Use an id that is passed to the task."
            )
        assert items.place is not None
        assert items.targets is not None
        check_legal([target], items.place, node.name)
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
        draft = Draft(whole=rows is None)
        whole = rows is None
        if rows is None:
            rows = range(items.n)
        rows = [
            row
            for row in sorted(set(rows))
            if items.token[row] is None and items.status[row] in (OPEN, IDLE)
        ]
        if whole:
            draft.errors.update(items.odd)
            if items.odd:
                rows = [row for row in rows if row not in items.odd]
            if items.targets is not None and items.node.task.target is not None:
                draft.notes.update(floats_in_names(items.node, items.node.task.target))
        if whole and is_nobodys(items):
            draft.idle, draft.untold = list(rows), True
            return draft.verdict()
        recipes = self.recipes.of_rows(items, rows)
        if items.spec.remembers:
            self._recall(items, rows, recipes, draft)
        elif items.place is None:
            self._passing(items, rows, recipes, draft)
        elif whole:
            self._compare(items, rows, recipes, draft, items.place)
            if draft.due and items.node.task.target is not None:
                draft.notes.update(folders_in_names(items.node, items.node.task.target))
        else:
            left = {
                row: recipe
                for row, recipe in zip(rows, recipes, strict=True)
                if recipe is not None and items.status[row] == OPEN
            }
            if len(left) > FEW:
                self._compare(items, list(left), list(left.values()), draft, items.place)
            else:
                for row, recipe in left.items():
                    self._look_now(items, row, recipe, draft, items.place)
        return draft.verdict()

    def _passing(
        self, items: Items, rows: Sequence[int], recipes: Sequence[str | None], draft: Draft
    ) -> None:
        """Judge items that are not kept: they are there for nobody, and count by their recipe."""
        token = items.spec.token
        if None not in recipes:
            draft.tokens = dict(zip(rows, map(token, recipes), strict=True))  # type: ignore[arg-type]
            return
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
            if not table.is_known(index) and (
                not table.is_open or table.spec.is_kept or table.status[index] == OPEN
            ):
                return False
        return True

    def _recall(
        self, items: Items, rows: Sequence[int], recipes: Sequence[str | None], draft: Draft
    ) -> None:
        """Look for the values of a task that keeps them in records."""
        for row, recipe in zip(rows, recipes, strict=True):
            if recipe is None or items.status[row] != OPEN:
                continue
            found = self.small.of(items.spec.token(recipe))
            if found and items.spec.forced:
                draft.why[row] = FORCED
            elif found:
                (draft.recalled[row],) = found
                draft.fresh[row] = "c:" + content_of_known(found[0])
                continue
            draft.due[row] = MISSING

    def _compare(
        self,
        items: Items,
        rows: Sequence[int],
        recipes: Sequence[str | None],
        draft: Draft,
        place: Place,
    ) -> None:
        """Compare all items of a node with their records, at once."""
        assert items.targets is not None
        node, targets = items.node, items.targets
        stats, barred = _found_at(place, dict.fromkeys(one for one in targets if one is not None))
        folder, claims = str(place.folder), self.claims
        owner = items.spec.owner
        chosen = targets if len(rows) == items.n else [targets[row] for row in rows]
        closer = place.rules.always or items.spec.forced or not place.format.by_time()
        records = place.known
        fitting: list[tuple[str, str] | None] = [None] * len(rows)
        if not closer and place.folder in self._known_places:  # a block of many: mostly all fit
            fitting = records.fitting(chosen, stats, recipes, owner)
        if None in fitting:
            records = place.records  # after the listing: a file of another run has its record
            self._known_places.setdefault(place.folder, records.known)
            refuse_unknown(node, place, records, stats)
            if not closer:
                fitting = records.fitting(chosen, stats, recipes, owner)
        contexts: Counter[str] = Counter()
        fresh = draft.fresh
        whole = (
            None not in fitting
            and not barred
            and not place.format.names()
            and claims.claim_all(folder, chosen, node, rows)  # type: ignore[arg-type]
        )
        if whole:
            fits_all = [one for one in fitting if one is not None]
            draft.fresh = {row: f"c:{one[0]}" for row, one in zip(rows, fits_all, strict=True)}
            contexts.update(one[1] for one in fits_all)
        each = () if whole else zip(rows, chosen, recipes, fitting, strict=True)
        for row, target, recipe, fits in each:
            if target is None:
                if recipe is not None:
                    self._look_now(items, row, recipe, draft, place)
                continue
            other = claims.claim(folder, target, (node, row))
            if other[0] is not node or other[1] != row:
                self._pair(items, row, other, target, draft)
                continue
            if target in barred:
                draft.errors[row] = barred[target]
                continue
            if fits is not None:
                fresh[row] = "c:" + fits[0]
                contexts[fits[1]] += 1
                continue
            stat = stats.get(target)
            if stat is None and not records.has(target):
                draft.due[row] = MISSING
                continue
            if recipe is None:
                self._judge_unknown(items, row, target, stat, records, draft, place)
                continue
            look = partial(place.look, target, stat, owner, records)
            self._look(items, row, recipe, look, draft, place)
        for context, count in contexts.items():
            before = records.contexts.get(context, {}).get("packages", {})
            changed = changed_packages(before, items.spec.fields["packages"])
            if changed:
                draft.notes[f"made with {changed}; kept, because versions do not count"] += count

    def _look_now(self, items: Items, row: int, recipe: str, draft: Draft, place: Place) -> None:
        """Judge one item by itself, and find its target where that depends on what it gets."""
        assert items.targets is not None
        target = items.targets[row]
        if target is None:
            target = self._late_target(items, row, draft)
            if target is None:
                return
            other = self.claims.claim(place.folder, target, (items.node, row))
            if other != (items.node, row):
                self._pair(items, row, other, target, draft)
                return
            self._known_places.setdefault(place.folder, place.records.known)
        look = partial(place.look_now, target, items.spec.owner)
        self._look(items, row, recipe, look, draft, place)

    def _look(
        self,
        items: Items,
        row: int,
        recipe: str,
        look: Callable[[], Found],
        draft: Draft,
        place: Place,
    ) -> None:
        """Judge an item; a file that cannot be looked at is a failure of this item alone."""
        try:
            self._judge_one(items, row, recipe, look(), draft, place)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            draft.errors[row] = error

    def _judge_one(
        self, items: Items, row: int, recipe: str, found: Found, draft: Draft, place: Place
    ) -> None:
        """Decide about one item whose recipe is known, and what lies at its target."""
        assert items.targets is not None
        target, spec = items.targets[row], items.spec
        assert target is not None
        tokens = items.row_tokens(row)
        if not place.rules.always:
            unknown = found.kind == "foreign" and not self._known_places[place.folder]
            if unknown and place.rules.when_unknown == "accept":
                taken = place.acceptable(found, target)
                if taken is not None:
                    draft.fresh[row] = "c:" + taken.content
                    draft.settle[row] = taken, "a"
                    draft.notes["accepted as they were found"] += 1
                    draft.named["accepted as they were found"].append(target)
                    draft.edited.append(row)
                    return
            as_it_is = used(found, spec, recipe, tokens, place)
            if as_it_is is not None:
                draft.notes.update(as_it_is.notes)
                for note in as_it_is.notes:
                    draft.named[note].append(target)
                if as_it_is.is_edited:
                    draft.edited.append(row)
                draft.fresh[row] = "c:" + as_it_is.content
                if as_it_is.record is None:
                    draft.settle[row] = found, "e"
                return
            if found.kind == "ours":
                reason = FORCED if spec.forced else reason_of(found, spec, tokens, place)
                draft.why[row] = reason
                passing = any("r:" in str(token) for token in tokens)
                if reason.only_inputs and (passing or spec.marks):  # who fails is not known yet
                    draft.perhaps.append(row)
        draft.due[row] = found

    def _judge_unknown(
        self,
        items: Items,
        row: int,
        target: str,
        stat: Stat | None,
        records: Records,
        draft: Draft,
        place: Place,
    ) -> None:
        """Judge an item whose recipe is not known: without file and record it is to be made."""
        if place.rules.always:
            draft.due[row] = None
        elif row in items.unread:
            draft.unread.append((items.node, row))

    # Two items with one target

    def _pair(self, items: Items, row: int, other: Item, target: str, draft: Draft) -> None:
        """Make two items with one target one, if they have the same recipe; else raise."""
        first, first_row = other
        above = self._scheduler.of(first)
        if first is not items.node:
            self.recipes.read([(items.node, row), other])
        if self.recipes.signature(items, row) != self.recipes.signature(above, first_row):
            raise two_claims(items.node, row, first, first_row, target)
        draft.twins[row] = other


def _holds_backed(arg: Any) -> bool:
    if isinstance(arg, Column):
        return any(isinstance(value, Backed) for value in arg.values)
    return isinstance(getattr(arg, "value", None), Backed)


def _found_at(
    place: Place, targets: Iterable[str]
) -> tuple[dict[str, Stat], dict[str, StorageError]]:
    """Return what lies at the targets, and which of them nobody lets us look at."""
    try:
        return place.find(targets), {}
    except StorageError as error:
        if not is_due_to(error, {errno.EACCES, errno.EPERM}):
            raise
    found: dict[str, Stat] = {}
    barred: dict[str, StorageError] = {}
    for target in targets:
        try:
            found.update(place.find([target]))
        except StorageError as error:
            barred[target] = error
    return found, barred
