"""What happens to one item, in whatever process it runs.

A batch is a list of chains; a chain is an item and what follows from it alone, in order. A chain is
worked through on demand: a kept item is compared with its record first, and an item that is not
kept is computed only if something needs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from databacked import capture
from databacked.errors import DatabackedError
from databacked.fingerprint.files import SeenFiles
from databacked.fingerprint.hashes import hash_texts
from databacked.graph.copies import FIXED, copied, parts_of, read_only
from databacked.graph.sketch import remembered, sketch
from databacked.places.claim import Claim
from databacked.places.judge import MEANWHILE, is_hit_resolved
from databacked.places.parts import Lazily
from databacked.places.place import Place
from databacked.project.folders import current_folder
from databacked.records.record import Record
from databacked.storage.adopted import paths_in
from databacked.types import Failed, Failure
from databacked.worker import pyplot
from databacked.worker.arrive import arrived, say_what_is_backed
from databacked.worker.calling import MOVED, called, refuse_once
from databacked.worker.chain import Chain, Skip, Slot, changed_in_words, failed, is_changed
from databacked.worker.columns import Made, Rows
from databacked.worker.failures import in_words
from databacked.worker.messages import (
    LEFT,
    MADE,
    REUSED,
    SKIPPED,
    Outcome,
    Reason,
    Spec,
    Store,
    Work,
)
from databacked.worker.reuse import check_usable, reason_of, recorded, reuse
from databacked.worker.rows import run_rows
from databacked.worker.watch import Changed, Given, nobody_asks_for, watch


class Worker:
    """Works through chains, in the thread or process that it lives in."""

    def __init__(self, specs: Mapping[int, Spec], store: Store) -> None:
        self.specs = specs
        self.store = store
        self.files = SeenFiles()
        self.changed: dict[int, str] = {}
        """Nodes of which an argument was changed after the call, and what to say."""

    def run_batch(self, batch: Sequence[Sequence[Work]]) -> list[Outcome | Made]:
        """Work through chains, one after another; items that are alike go as columns."""
        if isinstance(batch, Rows):
            return [run_rows(batch, self.specs[batch.spec], self.store)]
        specs = {work.spec for chain in batch for work in chain}
        self.changed = dict(self.check_arguments(sorted(specs)))
        return [outcome for chain in batch for outcome in self.run(chain)]

    def run(self, works: Sequence[Work]) -> list[Outcome]:
        """Work through one chain; errors of the user's functions become outcomes."""
        slots = [Slot(work, self.specs[work.spec]) for work in works]
        chain = Chain(slots, self.store, self.files, self.changed, self._finish)
        for slot in slots:
            if slot.work.wanted or slot.spec.is_kept:
                self._finish(chain, slot)
        outcomes = [slot.outcome or self._left(chain, slot) for slot in slots]
        return [
            outcome._replace(said=slot.said.told()) if slot.said else outcome
            for outcome, slot in zip(outcomes, slots, strict=True)
        ]

    def _left(self, chain: Chain, slot: Slot) -> Outcome:
        """Say of an item that was not needed what its token is."""
        try:
            chain.tokens(slot)
        except Skip as skipped:
            return self._skip(slot, skipped.args[0])
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return failed(slot, error, 0.0)
        return Outcome(slot.spec.id, slot.work.row, LEFT, slot.token)

    def _finish(self, chain: Chain, slot: Slot) -> None:
        if slot.outcome is not None:
            return
        started = time.perf_counter()
        try:
            chain.tokens(slot)
            if slot.spec.place is None:
                self._compute(chain, slot)
            else:
                self._keep(chain, slot, slot.spec.place)
        except Skip as skipped:
            slot.outcome = self._skip(slot, skipped.args[0])
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too: main() of a command-line tool has it
            if slot.marked is not None:  # the real failure is that one
                slot.outcome = self._skip(slot, slot.marked, _in_vain(error))
            else:
                slot.outcome = failed(slot, error, time.perf_counter() - started)

    def _skip(self, slot: Slot, failure: Failure, *notes: str) -> Outcome:
        slot.failed = failure
        return Outcome(slot.spec.id, slot.work.row, SKIPPED, None, notes=notes, failure=failure)

    # Making

    def _compute(self, chain: Chain, slot: Slot) -> None:
        started = time.perf_counter()
        values = chain.values(slot)
        look_again = self._watch(slot, values)
        with pyplot.alone(slot.spec.modules):
            value = self._call(slot, values)
        slot.changed = ", ".join(look_again()) or slot.changed
        refuse_once(slot.spec.name, value)
        known: tuple[Any, ...] = ()
        if slot.spec.remembers:
            if slot.changed:
                raise DatabackedError(_while_it_ran(slot))
            slot.token = "c:" + remembered(value)
            known = (copied(value),)
        elif slot.work.tell:
            known = (copied(sketch(value)),)
        if slot.spec.shared or slot.work.hold:
            value = read_only(value)
        slot.value, slot.made = value, True
        if slot.work.hold:
            held = Changed(value, slot.changed) if slot.changed else value
            self.store.put((slot.spec.id, slot.work.row), held)
        slot.outcome = Outcome(
            slot.spec.id,
            slot.work.row,
            MADE,
            slot.token,
            notes=self._notes(slot),
            known=known,
            seconds=time.perf_counter() - started,
            held=slot.work.hold,
        )

    def _watch(self, slot: Slot, values: Mapping[str, Any]) -> Callable[[], list[str]]:
        """Look at the inputs of an item; returns what names those that changed since."""
        spec, tokens = slot.spec, slot.tokens or ()
        plain = FIXED.issuperset(map(type, values.values()))
        if plain and not spec.reads and not any(token.startswith("file:") for token in tokens):
            return list
        given, named = slot.given, zip(spec.order, tokens, strict=bool(tokens))
        said = [Given(name, given[name], token) for name, token in named]
        return watch(said, spec.reads, values, self.files, spec.how, spec.root)

    def _call(self, slot: Slot, values: dict[str, Any]) -> Any:
        """Call the function."""
        spec, folder = slot.spec, current_folder()
        for name, kind in spec.arrives.items():
            if name in values:
                values[name] = arrived(name, values[name], kind)
        if spec.draws:
            values["rng"] = self._generator(slot)
        is_heard = capture.is_capturing()
        before = capture.listen(slot.said) if is_heard else None
        try:
            return called(spec, values)
        except BaseException as error:
            slot.raised = not isinstance(error, KeyboardInterrupt)
            if spec.marks and slot.raised:
                slot.marked = next((one.failure for one in parts_of(values, (Failed,))), None)
            if isinstance(error, ValueError) and "read-only" in in_words(error):
                error.add_note(
                    "An array that other items read too cannot be changed in place: "
                    "work on a copy (x = x.copy())."
                )
            if isinstance(error, TypeError | AttributeError | BufferError):
                say_what_is_backed(error, values)
            raise
        finally:
            if is_heard:
                capture.listen(before)
            if current_folder() != folder:
                slot.notes += (MOVED,)

    def _generator(self, slot: Slot) -> np.random.Generator:
        """Return a generator that depends on the task's name and the item, and on nothing else."""
        spec, tokens = slot.spec, slot.tokens or ()
        named = zip(spec.order, tokens, strict=True)
        plain = [f"{name}={token}" for name, token in named if name not in spec.inputs]
        which = [slot.work.target] if slot.work.target is not None else plain
        return np.random.default_rng(int(hash_texts([spec.name, *which]), 16))

    def _keep(self, chain: Chain, slot: Slot, place: Place) -> None:
        spec, work = slot.spec, slot.work
        target = work.target
        assert target is not None
        tokens = chain.tokens(slot)
        recipe = spec.recipe(tokens)
        found = work.found
        if found is None:
            found = place.look_now(target, spec.owner)
        check_usable(found, place, target)
        reason = None
        if not place.rules.always:
            used = reuse(found, spec, recipe, tokens, place, target)
            if used is not None:
                self._done(slot, place, REUSED, used[0], None, used[1])
                return
            if found.kind == "ours" and work.found is None:
                reason = reason_of(found, spec, tokens, place)
        started_at, started = time.time(), time.perf_counter()
        values = chain.values(slot)
        resolved, contents = chain.resolve(slot, tokens, values)
        said: dict[str, Any] = {
            **recorded(spec, tokens, values),
            "contents": contents or None,
            "start": round(started_at, 3),
        }
        given = tuple(paths_in(values)) if place.rules.from_path else ()
        claim = Claim(
            spec.owner, recipe, resolved, spec.context, spec.fields, said, spec.run, given
        )
        fresh = contents and is_hit_resolved(found, resolved)
        if fresh and not (place.rules.always or spec.forced):
            # What it was made from came out the same: nothing to do but to say so.
            record = place.confirm(found, claim)
            self._done(slot, place, REUSED, record, None)
            return
        look_again = self._watch(slot, values)
        # Figures are written before others change what they are drawn with.
        with pyplot.alone(spec.modules):
            value = self._call(slot, values)
            seconds = time.perf_counter() - started
            said["seconds"] = round(seconds, 6)
            own = look_again()
            if own or slot.changed:
                slot.changed = ", ".join(own) or slot.changed
                said["inputs"] = {**said["inputs"], **dict.fromkeys(own, MEANWHILE)}
                nobodys = nobody_asks_for(recipe, spec.run)
                # Of inputs that are not kept the content that came counts, whatever it came from.
                exact = resolved if contents and not own else nobodys
                claim = replace(claim, recipe=nobodys, resolved=exact, details=said)
            record, same, notes = place.save(value, target, found, claim)
        notes += self._notes(slot)
        self._done(slot, place, MADE, record, same, notes, reason, time.perf_counter() - started)

    @staticmethod
    def _notes(slot: Slot) -> tuple[str, ...]:
        """Return what is to be said of how an item was made."""
        changed = (_while_it_ran(slot),) if slot.changed else ()
        return (*pyplot.notes(), *slot.notes, *changed)

    def _done(
        self,
        slot: Slot,
        place: Place,
        state: int,
        record: Record,
        same: Any,
        notes: tuple[str, ...] = (),
        reason: Reason | None = None,
        seconds: float = 0.0,
    ) -> None:
        slot.token = "c:" + record.content
        slot.value = Lazily(place, record, same)
        slot.made = True
        known = (sketch(place.value(record)),) if slot.work.tell else ()
        slot.outcome = Outcome(
            slot.spec.id,
            slot.work.row,
            state,
            slot.token,
            record,
            notes,
            reason,
            known=known,
            seconds=seconds,
        )

    def check_arguments(self, specs: Sequence[int]) -> Iterator[tuple[int, str]]:
        """Hash arguments again that were hashed at the call; yield the specs of changed ones."""
        for number in specs:
            spec = self.specs[number]
            for name, before in spec.checks:
                if is_changed(spec.plain[name], before):
                    yield number, changed_in_words(spec, name)


def _in_vain(error: BaseException) -> str:
    return (
        f"skipped: it got marks of what failed, and could not do with them ({in_words(error)}); "
        "compact(...) drops them"
    )


def _while_it_ran(slot: Slot) -> str:
    return (
        f"{slot.changed} changed while it was read: made again in the next run (if the task writes "
        "there itself, annotate the parameter as str)"
    )
