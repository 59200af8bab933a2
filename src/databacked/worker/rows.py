"""What happens to many items of one node that read nothing of others: one loop, no object an item.

What befalls one of them stays its own: an error, a value that takes more to keep, what it says.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any

from databacked import capture
from databacked.graph.copies import read_only
from databacked.places.claim import Claim
from databacked.places.judge import MISSING, Found
from databacked.places.keeper import Keeper
from databacked.places.one_file import OneFile
from databacked.places.place import Place
from databacked.project.folders import current_folder
from databacked.records.record import made_of
from databacked.worker import pyplot
from databacked.worker.calling import MOVED, called, refuse_once
from databacked.worker.chain import Slot, failed
from databacked.worker.columns import Made, Rows
from databacked.worker.messages import MADE, Outcome, Spec, Store


def run_rows(batch: Rows, spec: Spec, store: Store) -> Made:
    """Make items one after another; errors of the user's function become outcomes."""
    if spec.place is None:
        return _Passing(batch, spec, store).run()
    assert isinstance(spec.place.format, OneFile)
    return _Keeping(batch, spec, spec.place, spec.place.format).run()


class _Passing:
    """Items whose values are not kept."""

    def __init__(self, batch: Rows, spec: Spec, store: Store | None = None) -> None:
        self.batch = batch
        self.spec = spec
        self.store = store
        self.rest: dict[int, Outcome] = {}
        """Items of which there is more to say than that they were made, by their place here."""
        self.notes: Counter[str] = Counter()

    def run(self) -> Made:
        """Make all items."""
        batch, spec, one = self.batch, self.spec, self.one
        folder, turns = current_folder(), capture.Turns()
        is_heard = capture.is_capturing()
        before = capture.listen(turns) if is_heard else None
        began, busy = time.perf_counter(), time.thread_time()
        try:
            for index, values in enumerate(self._given()):
                turns.row = batch.rows[index]
                started = time.perf_counter()
                try:
                    one(index, values)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # SystemExit, too: main() of a tool has it
                    seconds = time.perf_counter() - started
                    self.rest[index] = failed(Slot(batch[index][0], spec), error, seconds)
                if (now := current_folder()) != folder:
                    folder = now
                    self.notes[MOVED] += 1
        finally:
            if is_heard:
                capture.listen(before)
        return Made(
            spec.id,
            batch.rows
            if not self.rest
            else [row for index, row in enumerate(batch.rows) if index not in self.rest],
            time.perf_counter() - began - sum(one.seconds for one in self.rest.values()),
            time.thread_time() - busy,
            batch.hold,
            rest=tuple(self.rest.values()),
            said={row: heard.told() for row, heard in turns.heard.items()},
            notes=self.notes,
        )

    def _given(self) -> Iterator[dict[str, Any]]:
        """Yield the arguments of each item, in the order of the recipe; all are of fixed types."""
        spec, args = self.spec, self.batch.args
        columns = [args[name] if name in args else repeat(spec.plain[name]) for name in spec.order]
        return (dict(zip(spec.order, values, strict=True)) for values in zip(*columns))  # noqa: B905

    def one(self, index: int, values: dict[str, Any]) -> None:
        """Make an item."""
        spec = self.spec
        if pyplot.is_near(spec.modules):
            with pyplot.alone(spec.modules):
                value = called(spec, values)
            self.notes.update(pyplot.notes())
        else:
            value = called(spec, values)
        refuse_once(spec.name, value)
        if self.batch.hold and self.store is not None:
            self.store.put((spec.id, self.batch.rows[index]), read_only(value))


class _Keeping(_Passing):
    """Items whose values are kept."""

    def __init__(self, batch: Rows, spec: Spec, place: Place, format: OneFile) -> None:
        super().__init__(batch, spec)
        self.place = place
        self.recipes = batch.recipes(spec)
        self.keeper = Keeper(place, format, spec.context, spec.fields)
        self.contents: dict[int, str] = {}
        self.lines: dict[int, bytes] = {}

    def run(self) -> Made:
        """Make and keep all items."""
        made = super().run()
        return replace(made, contents=list(self.contents.values()), lines=list(self.lines.values()))

    def one(self, index: int, values: dict[str, Any]) -> None:
        """Make and keep an item."""
        spec, batch, recipe = self.spec, self.batch, self.recipes[index]
        assert batch.targets is not None
        target = batch.targets[index]
        began, started = time.time(), time.perf_counter()
        with pyplot.alone(spec.modules):
            value = called(spec, values)
            seconds = time.perf_counter() - started
            judged = batch.judged[index] if batch.judged else None
            made = made_of(values, began, seconds)
            kept = self.keeper.keep(value, target, recipe, judged, made)
            if kept is None:
                said = json.loads(made)
                claim = Claim(spec.owner, recipe, recipe, spec.context, spec.fields, said, spec.run)
                found = MISSING if judged is None else Found("ours", judged)
                vain = tuple(self.keeper.in_vain)
                record, _, notes = self.place.save(value, target, found, claim, vain)
        if noted := pyplot.notes():
            self.notes.update(noted)
        if kept is not None:
            self.contents[index], self.lines[index] = kept
            return
        row, token = batch.rows[index], f"c:{record.content}"
        seconds = time.perf_counter() - started
        self.rest[index] = Outcome(spec.id, row, MADE, token, record, notes, seconds=seconds)
