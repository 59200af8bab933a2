"""All that a run writes or says: records, its log, counts, reasons, notes and failures."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from databacked.capture import Log, Said, is_shown, relay
from databacked.display.base import Show
from databacked.display.words import Progress
from databacked.engine.costs import cost_of
from databacked.engine.items import LOST, OPEN, Items
from databacked.engine.scheduler import Scheduler
from databacked.engine.small_values import SmallValuesWriter
from databacked.engine.verdict import Verdict
from databacked.graph.inputs import Column, Plain
from databacked.graph.nodes import Item, Node
from databacked.places.place import Place
from databacked.places.writable import check_writable
from databacked.project.folders import from_here
from databacked.project.notebook import place_in_words
from databacked.project.root import Project
from databacked.records.record import JOIN
from databacked.types import Failure
from databacked.worker.columns import Made
from databacked.worker.failures import failure_of, in_short
from databacked.worker.messages import FAILED, MADE, REUSED, SKIPPED, Outcome, Reason, shown
from databacked.worker.reuse import bare_claim

ENDS = ("", "made", "reused", "failed", "skipped")
"""What may become of an item."""

NAMED = 3
"""Files that are named of all those of which one thing is said."""

END = {word: number for number, word in enumerate(ENDS)}


class Recorder:
    """Writes and counts what a run does."""

    def __init__(self, project: Project, scheduler: Scheduler, show: Show, log: Log) -> None:
        self._project = project
        self._scheduler = scheduler
        self._show = show
        self.log = log
        self.is_capturing = False
        """Whether what items say is taken down; else what called them hears it."""
        self.failures: list[Failure] = []
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Made, reused, failed and skipped items of each task."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """What making items of each task took in this run."""
        self._ended: dict[int, bytearray] = {}
        self._reasons: defaultdict[str, Counter[Reason]] = defaultdict(Counter)
        self._why: dict[int, dict[int, Reason]] = {}
        """Why items are to be made again, by node and row, until what became of them is known."""
        self._notes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._named: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        """Some files of which a note is said, by task and note."""
        self._edited: set[Item] = set()
        self._nones: Counter[str] = Counter()
        self._warned: dict[tuple[str, str, str], str] = {}
        self._said: set[tuple[str, Reason]] = set()
        self._opaque: dict[str, None] = {}
        self.symbols: set[str] = set()
        """What the code of all tasks reaches."""
        self._checked: set[Path] = set()
        """Places of which it is known that they can be written to."""
        self._small = SmallValuesWriter(project)

    # What became of items

    def became(self, node: Node, row: int) -> str:
        """Return what became of an item: a word of `ENDS`, or that a hand's work was used."""
        ended = self._ended.get(node.id)
        word = "" if ended is None else ENDS[ended[row]]
        return "edited" if word == "reused" and (node, row) in self._edited else word

    def count(self, node: Node, row: int, word: str) -> None:
        """Note what became of an item, in place of what was said before."""
        ended = self._ended.get(node.id)
        if ended is None:
            ended = self._ended[node.id] = bytearray(node.n)
        counts = self.counts[node.name]
        if ended[row]:
            counts[ENDS[ended[row]]] -= 1
        counts[word] += 1
        ended[row] = END[word]

    def progress(self) -> dict[str, Progress]:
        """Return for each task how many items there are, and what became of them."""
        totals: Counter[str] = Counter()
        passing: set[str] = set()
        for items in self._scheduler.tables:
            name = items.node.name
            if not items.is_open or items.place is not None:
                totals[name] += items.n
            else:  # what nobody needs is not made, and is not left to do either
                totals[name] += items.wanted.count(1)
                passing.add(name)
        for name in passing:
            totals[name] += sum(self.counts[name].values())
        return {name: Progress(total, self.counts[name]) for name, total in totals.items()}

    def costs(self) -> dict[str, Progress]:
        """Return the same with what items took, whenever they were made, and what they take up."""
        seconds: dict[str, float] = dict(self.seconds)
        sizes: Counter[str] = Counter()
        for name, found in self._kept().items():
            costs = [cost_of(items, row) for items in found for row in range(items.n)]
            seconds[name] = sum(took or 0 for took, _ in costs)
            if any(items.place is not None for items in found):
                sizes[name] = sum(nbytes or 0 for _, nbytes in costs)
        return {
            name: replace(one, seconds=seconds.get(name), nbytes=sizes.get(name))
            for name, one in self.progress().items()
        }

    def _kept(self) -> dict[str, list[Items]]:
        """Return the items of tasks that all keep their values in files."""
        found: dict[str, list[Items]] = {}
        for items in self._scheduler.tables:
            if items.is_open:
                found.setdefault(items.node.name, []).append(items)
        return {
            name: kept
            for name, kept in found.items()
            if all(items.place is not None for items in kept)
        }

    def reasons(self) -> dict[str, Counter[str]]:
        """Return why items of each task were made again."""
        said: dict[str, Counter[str]] = {}
        for name, found in self._reasons.items():
            for reason, count in found.items():
                if count:
                    said.setdefault(name, Counter())[reason.text] += count
        return said

    def notes(self) -> dict[str, Counter[str]]:
        """Return what else is to be said of each task's items, with counts."""
        return {name: Counter(found) for name, found in self._notes.items() if found}

    def named(self, name: str, note: str) -> list[str]:
        """Return some of the files of which a note is said, as paths from where one stands."""
        return self._named[name, note]

    def nones(self) -> dict[str, int]:
        """Return how many items of each kept task gave None, so that there is no file."""
        return dict(self._nones)

    def _name(self, items: Items, note: str, targets: Iterable[str]) -> None:
        if items.place is None:
            return
        known = self._named[items.node.name, note]
        for target in islice(targets, NAMED - len(known)):
            known.append(from_here(items.place.path(target.split(JOIN)[0])))

    def opaque(self) -> list[str]:
        """Return what the fingerprint of code cannot follow."""
        return list(self._opaque)

    # Before the work

    def opened(self, items: Items) -> None:
        """Note what is known of a node."""
        self.symbols.update(items.spec.fields["symbols"])
        for line in items.spec.fields["opaque"]:
            self._opaque.setdefault(line, None)

    def begin(self, items: Items, verdict: Verdict) -> Verdict:
        """Record what is used as it is, and say what will be replaced, before it is.

        Returns
        -------
        The verdict, without what could not be recorded.

        Raises
        ------
        StorageError
            If the place of what is to be made takes nothing.
        """
        node, spec, place = items.node, items.spec, items.place
        errors = dict(verdict.errors)
        if place is not None and items.targets is not None:
            for row, (found, state) in verdict.settle.items():
                target = str(items.targets[row])
                recipe = spec.recipe([str(token) for token in items.row_tokens(row)])
                try:
                    place.settle(found, target, bare_claim(spec, recipe), state)
                except Exception as error:
                    errors[row] = error
        node.known.update(verdict.recalled)
        if len(verdict.fresh) == node.n and not errors and not any(items.status):
            self._ended[node.id] = bytearray([END["reused"]]) * node.n
            self.counts[node.name]["reused"] += node.n
        else:
            for row in verdict.fresh:
                if row not in errors and items.status[row] == OPEN:
                    self.count(node, row, "reused")
        self._reasons[node.name].update(verdict.why.values())
        self._why.setdefault(node.id, {}).update(verdict.why)
        self._notes[node.name].update(verdict.notes)
        for note, targets in verdict.named.items():
            self._name(items, note, targets)
        self._edited.update((node, row) for row in verdict.edited)
        if place is not None and verdict.due:
            self._check_writable(node.name, place)
        if verdict.whole:
            self._say_reasons(node.name)
        if errors != verdict.errors:
            fresh = {row: one for row, one in verdict.fresh.items() if row not in errors}
            return replace(verdict, errors=errors, fresh=fresh)
        return verdict

    def _check_writable(self, name: str, place: Place) -> None:
        """Say before the work, not after it, that a place takes nothing; asked once a place."""
        if place.folder not in self._checked:
            check_writable(place.folder, name)
            self._checked.add(place.folder)

    def _say_reasons(self, name: str) -> None:
        """Say what is replaced because a parameter changed, before it is replaced."""
        for reason, count in self._reasons[name].items():
            if reason.only_parameters and (name, reason) not in self._said:
                self._said.add((name, reason))
                self._show.say(_replaced(name, reason.text, count))

    # What workers say

    def note(self, items: Items, outcome: Outcome) -> Outcome:
        """Take down what a worker says of one item, and return it as it counts."""
        node, name = items.node, items.node.name
        if outcome.notes:
            self._notes[name].update(outcome.notes)
            target = items.targets[outcome.row] if items.targets is not None else None
            for note in outcome.notes if target else ():
                self._name(items, note, [str(target)])
        self.seconds[name] += outcome.seconds
        if outcome.said:
            self._heard(items, outcome.row, outcome.said)
        if outcome.reason:
            self._reasons[name][outcome.reason] += 1
        why = self._why.get(node.id, {}).pop(outcome.row, None)
        if why is not None and outcome.state == REUSED:  # what it is made of came out the same
            self._reasons[name][why] -= 1
        if outcome.state == FAILED:
            assert outcome.failure is not None
            where = place_in_words(outcome.failure.where)  # workers know no numbers of cells
            outcome = outcome._replace(failure=replace(outcome.failure, where=where))
            assert outcome.failure is not None
            self.failures.append(outcome.failure)
            self.count(node, outcome.row, "failed")
        elif outcome.state == SKIPPED:
            if items.status[outcome.row] != LOST:
                self.count(node, outcome.row, "skipped")
        elif outcome.state in (MADE, REUSED):
            self.count(node, outcome.row, "made" if outcome.state == MADE else "reused")
            if outcome.known:
                (node.known[outcome.row],) = outcome.known
            if outcome.record is not None and outcome.record.state == "e":
                self._edited.add((node, outcome.row))
            if outcome.record is not None and outcome.state == MADE and outcome.record.size < 0:
                self._nones[name] += 1
            if outcome.record is not None and items.place is not None:
                records = items.place.known
                if not records.knows(outcome.record):  # another process has appended it
                    records.contexts.setdefault(outcome.record.context, dict(items.spec.fields))
                    records.remember(outcome.record.line())
            elif outcome.known and outcome.token is not None:
                self._small.keep(items, outcome)
        return outcome

    def note_all(self, items: Items, made: Made) -> None:
        """Take down what a worker says of items that were made as columns."""
        node, rows = items.node, made.rows
        self.seconds[node.name] += made.seconds
        self._notes[node.name].update(made.notes)
        for row, lines in made.said.items():
            self._heard(items, row, lines)
        if isinstance(rows, range):
            ended = self._ended.setdefault(node.id, bytearray(node.n))
            ended[rows.start : rows.stop] = bytes([END["made"]]) * len(rows)
            self.counts[node.name]["made"] += len(rows)
        else:
            for row in rows:
                self.count(node, row, "made")
        if made.lines is not None and items.place is not None and items.targets is not None:
            records = items.place.known
            records.contexts.setdefault(items.spec.context, dict(items.spec.fields))
            records.remember_all([str(items.targets[row]) for row in rows], made.lines)

    def count_all(self, items: Iterable[Item], word: str) -> None:
        """Note what became of items."""
        for node, row in items:
            self.count(node, row, word)

    def failed(self, items: Items, row: int, error: BaseException) -> Failure:
        """Take an error that the driver met for the failure of the item that it belongs to."""
        node = items.node
        target = None if items.targets is None else items.targets[row]
        given = {
            name: in_short(arg.given(row))
            for name, arg in node.args.items()
            if isinstance(arg, Column | Plain)
        }
        failure = failure_of(
            error, node.name, shown(target or str(row)), given, str(self._project.root)
        )
        self.failures.append(failure)
        self.count(node, row, "failed")
        return failure

    def _heard(self, items: Items, row: int, lines: Sequence[Said]) -> None:
        """Write down what an item said; warnings are said once by kind, with counts."""
        name = items.node.name
        if not self.is_capturing:  # nobody reads a log: what called this item hears it
            relay(lines)
        target = None if items.targets is None else items.targets[row]
        item = f"{name}[{shown(target or str(row))}]"
        self.log.write(item, lines)
        if self.is_capturing and not is_shown():
            self._show.hear(item, lines)
        for one in lines:
            if one.kind == "warning":
                kind = (name, one.text.partition(":")[0], one.where)
                first = self._warned.setdefault(kind, one.text)
                where = one.where.removeprefix(f"{self._project.root}{os.sep}")
                self._notes[name][f"{first} ({where})"] += 1


def _replaced(name: str, reason: str, count: int) -> str:
    parameter = reason.removeprefix("parameter ").partition(" ")[0]
    results = "result is" if count == 1 else "results are"
    return (
        f"{name}: {count:,} {results} replaced ({reason}); add {{{parameter}}} to the target to "
        "keep both"
    )
