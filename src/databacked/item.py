"""What happens to one item, in whatever process it runs.

A batch is a list of chains; a chain is an item and what follows from it alone, in order. A chain is
worked through on demand: a kept item is compared with its record first, and an item that is not
kept is computed only if something needs it.
"""

from __future__ import annotations

import inspect
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from databacked import pyplot, said
from databacked.adopted import paths_in
from databacked.arrays import BackedArray, Image
from databacked.callables import is_library
from databacked.copies import FIXED, copied, parts_of, read_only, replaced
from databacked.decide import Found, Recipe, contents, is_hit, is_hit_resolved, why_stale
from databacked.errors import (
    ArgumentChangedError,
    CorrectionError,
    DatabackedError,
    FingerprintError,
    StorageError,
)
from databacked.failures import failure_of, in_short, in_words
from databacked.fingerprint.files import SeenFiles, refusal
from databacked.fingerprint.parameters import content as content_of_value
from databacked.fingerprint.parameters import token as token_of_value
from databacked.fingerprint.parameters import told_apart
from databacked.hashes import hash_bytes, hash_texts
from databacked.known import remembered, sketch
from databacked.owners import Owner
from databacked.project import current_folder
from databacked.records import Record, records_of
from databacked.result import Bound, Claim, part_of
from databacked.said import Said
from databacked.stats import JOIN
from databacked.types import Failed, Failure
from databacked.watch import Changed, Given, nobody_asks_for, watch

SEPARATOR = "\x1f"

# What became of an item.
MADE, REUSED, FAILED, SKIPPED, LEFT = range(5)


@dataclass(frozen=True)
class Spec:
    """What all items of a node share; sent to a worker once."""

    id: int
    name: str
    """The function's name, for people."""

    owner: Owner
    """Whose records these are."""

    function: Any
    order: tuple[str, ...]
    """All parameters, in the order of the recipe."""

    positional: tuple[str, ...]
    """Those that can only be given by position."""

    plain: Mapping[str, Any]
    """Values that are the same for every item."""

    columns: tuple[str, ...]
    """Parameters that differ from item to item, in the order of `Work.args`."""

    arrives: Mapping[str, str]
    """``array``, ``dask`` or ``path``, where the annotation says so."""

    inputs: frozenset[str]
    """Parameters that come from a task or a file."""

    base: str
    """Start of every recipe: code, serializer, names of the parameters."""

    bound: Bound | None
    fields: Mapping[str, Any]
    """What the context of the records says."""

    context: str
    run: str
    retries: int
    retry_delay: float
    shared: bool
    """Whether an un-kept value has more than one reader (a retry is one): then it is read-only."""

    marks: bool
    """Whether failed inputs arrive as `Failed` marks."""

    checks: tuple[tuple[str, str], ...]
    """Large arguments with their hash at the call."""

    root: str
    hashed: frozenset[str] = frozenset()
    """Parameters of which each item's value was hashed at the call."""

    pure: bool = True
    """Whether it repeats: the value of one that does not counts for this run alone."""

    remembers: bool = False
    """Whether small values are kept in records, without a file."""

    draws: bool = False
    """Whether it gets a random generator as ``rng``."""

    how: str = "sampled"
    """How input files count."""

    reads: tuple[tuple[str, str, str], ...] = ()
    """Further files that it reads, with what they count by and how."""

    modules: frozenset[str] = frozenset()
    """Modules of libraries that its code reaches."""

    @property
    def is_kept(self) -> bool:
        """Whether its values count by their content, because they are kept."""
        return self.bound is not None or self.remembers

    def token(self, recipe: str) -> str:
        """Return what a value that is not kept counts by."""
        return ("r:" if self.pure else "u:") + recipe

    def recipe(self, tokens: Sequence[str]) -> str:
        """Return the recipe of an item from the tokens of its parameters, in `order`."""
        return hash_bytes((self.base + SEPARATOR.join(tokens)).encode("utf-8", "surrogatepass"))

    @cached_property
    def of_call(self) -> Callable[[Mapping[str, Any]], Any]:
        """Return what calls the function with the values of its parameters."""
        if not self.positional:
            return lambda values: not_awaited(self.function(**values))

        def call(values: Mapping[str, Any]) -> Any:
            first = [values[name] for name in self.positional]
            rest = {name: value for name, value in values.items() if name not in self.positional}
            return not_awaited(self.function(*first, **rest))

        return call

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "of_call"}


class InChain(NamedTuple):
    """The value of an earlier item of the same chain."""

    position: int
    keys: tuple[Any, ...] = ()


class Kept(NamedTuple):
    """The value of a result that is there."""

    bound: Bound
    record: Record
    keys: tuple[Any, ...] = ()


class Held(NamedTuple):
    """A value that is not kept, made earlier and held where it was made."""

    key: tuple[int, int]
    keys: tuple[Any, ...] = ()


class Inside(NamedTuple):
    """A value that holds other sources; `sources` replaces the marks in it."""

    value: Any
    sources: list[Any]
    tokens: list[str | None]
    """What each source counts by; None for what an earlier item of the chain decides."""


class Mark(NamedTuple):
    """Stands in `Inside.value` for a source."""

    position: int


class Marks(NamedTuple):
    """Stands in `Inside.value` for the list of all items of a map."""

    start: int
    stop: int


class Work(NamedTuple):
    """One item, as it is sent to a worker."""

    spec: int
    row: int
    target: str | None
    args: tuple[Any, ...]
    """Value or source of each parameter in `Spec.columns`."""

    tokens: tuple[str | None, ...] | None
    """Token of each parameter in `Spec.order`; None for what an earlier item decides."""

    found: Found | None
    """What lies at the target, as it was judged; None to look."""

    wanted: bool
    """Whether it is made even if nothing in the chain needs it."""

    hold: bool
    """Whether others need its value after this chain."""

    tell: bool = False
    """Whether it decides the items of maps, so that the driver has to know it."""


class Outcome(NamedTuple):
    """What became of one item."""

    spec: int
    row: int
    state: int
    token: str | None
    record: Record | None = None
    notes: tuple[str, ...] = ()
    reason: str | None = None
    failure: Failure | None = None
    known: tuple[Any, ...] = ()
    """What is known of the value, where it decides items: one entry, or none."""

    seconds: float = 0.0
    fatal: bool = False
    said: tuple[Said, ...] = ()
    """What the item printed, logged and warned of."""


class Store(Protocol):
    """Where values are held that are not kept."""

    def put(self, key: tuple[int, int], value: Any) -> None: ...

    def get(self, key: tuple[int, int]) -> Any: ...


class Skip(Exception):
    """An input is missing because its own item failed."""


@dataclass
class _Slot:
    work: Work
    spec: Spec
    outcome: Outcome | None = None
    token: str | None = None
    tokens: tuple[str, ...] | None = None
    value: Any = None
    made: bool = False
    failed: Failure | None = None
    changed: str = ""
    """Which input changed while its value was made, or one that it was made from."""

    notes: tuple[str, ...] = ()
    said: said.Heard = field(default_factory=said.Heard)

    @property
    def given(self) -> dict[str, Any]:
        """Value or source of each parameter."""
        return {**self.spec.plain, **dict(zip(self.spec.columns, self.work.args, strict=True))}


class Worker:
    """Works through chains, in the thread or process that it lives in."""

    def __init__(self, specs: Mapping[int, Spec], store: Store) -> None:
        self.specs = specs
        self.store = store
        self.files = SeenFiles()
        self.changed: dict[int, str] = {}
        """Nodes of which an argument was changed after the call, and what to say."""

    def run_batch(self, batch: Sequence[Sequence[Work]]) -> list[Outcome]:
        """Work through chains, one after another."""
        specs = {work.spec for chain in batch for work in chain}
        self.changed = dict(self.check_arguments(sorted(specs)))
        return [outcome for chain in batch for outcome in self.run(chain)]

    def run(self, chain: Sequence[Work]) -> list[Outcome]:
        """Work through one chain; errors of the user's functions become outcomes."""
        slots = [_Slot(work, self.specs[work.spec]) for work in chain]
        for slot in slots:
            if slot.work.wanted or slot.spec.is_kept:
                self._finish(slots, slot)
        outcomes = [slot.outcome or self._left(slots, slot) for slot in slots]
        return [
            outcome._replace(said=slot.said.told()) if slot.said else outcome
            for outcome, slot in zip(outcomes, slots, strict=True)
        ]

    def _left(self, slots: list[_Slot], slot: _Slot) -> Outcome:
        """Say of an item that was not needed what its token is."""
        try:
            self._tokens(slots, slot)
        except Skip as skipped:
            return self._skip(slot, skipped)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self._fail(slot, error, 0.0)
        return Outcome(slot.spec.id, slot.work.row, LEFT, slot.token)

    def _finish(self, slots: list[_Slot], slot: _Slot) -> None:
        if slot.outcome is not None:
            return
        started = time.perf_counter()
        try:
            self._tokens(slots, slot)
            if slot.spec.bound is None:
                self._compute(slots, slot)
            else:
                self._keep(slots, slot, slot.spec.bound)
        except Skip as skipped:
            slot.outcome = self._skip(slot, skipped)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, too: main() of a command-line tool has it
            slot.outcome = self._fail(slot, error, time.perf_counter() - started)

    def _fail(self, slot: _Slot, error: BaseException, seconds: float) -> Outcome:
        slot.failed = self._failure(slot, error, seconds)
        # A disk that a task writes to by itself is its own affair.
        full = isinstance(error, StorageError) and getattr(error, "errno", None) in (28, 122, 30)
        return Outcome(
            slot.spec.id,
            slot.work.row,
            FAILED,
            None,
            failure=slot.failed,
            seconds=seconds,
            fatal=full,
        )

    def _skip(self, slot: _Slot, skipped: Skip) -> Outcome:
        slot.failed = skipped.args[0]
        return Outcome(slot.spec.id, slot.work.row, SKIPPED, None, failure=slot.failed)

    # Tokens: what an item counts by

    def _tokens(self, slots: list[_Slot], slot: _Slot) -> tuple[str, ...]:
        if slot.tokens is None:
            given = slot.work.tokens
            assert given is not None
            if None in given:
                sources = slot.given
                given = tuple(
                    self._token(slots, slot.spec, sources[name]) if token is None else token
                    for name, token in zip(slot.spec.order, given, strict=True)
                )
            slot.tokens = given  # type: ignore[assignment]
            if not slot.spec.is_kept:
                slot.token = slot.spec.token(slot.spec.recipe(slot.tokens))  # type: ignore[arg-type]
        return slot.tokens  # type: ignore[return-value]

    def _token(self, slots: list[_Slot], spec: Spec, source: Any) -> str:
        """Return the token of a source in this chain, or of a file that nobody read yet."""
        if isinstance(source, Inside):
            return self._token_inside(slots, source, spec.root)
        if not isinstance(source, InChain):
            return self.files.token(os.fspath(source), spec.how)
        return self._token_before(slots, source)

    def _token_inside(self, slots: list[_Slot], inside: Inside, root: str) -> str:
        """Return the token of a value that holds others, once those in this chain are known."""
        tokens = [
            self._token_before(slots, source) if token is None else token
            for source, token in zip(inside.sources, inside.tokens, strict=True)
        ]
        return token_of_filled(
            replaced(inside.value, (Mark, Marks), lambda mark: token_of_marks(mark, tokens)), root
        )

    def _token_before(self, slots: list[_Slot], source: InChain) -> str:
        before = slots[source.position]
        if before.failed is not None:
            raise Skip(before.failed)
        if before.spec.is_kept:
            self._finish(slots, before)
        else:
            self._tokens(slots, before)
        if before.failed is not None:
            raise Skip(before.failed)
        assert before.token is not None
        return with_keys(before.token, source.keys)

    # Values

    def _value(self, slots: list[_Slot], slot: _Slot, source: Any) -> Any:
        kind = type(source)
        if kind is InChain:
            before = slots[source.position]
            if not before.made:
                self._finish(slots, before)
            if before.failed is not None:
                raise Skip(before.failed)
            slot.changed = slot.changed or before.changed
            value = get_keys(before.value, source.keys)
            return copied(value) if before.spec.shared or before.work.hold else value
        if kind is Kept:
            return source.bound.hand_over(source.record, keys=source.keys)
        if kind is Held:
            held = self.store.get(source.key)
            if type(held) is Changed:
                held, slot.changed = held
            return copied(get_keys(held, source.keys))
        if kind is Inside:
            found = [self._value(slots, slot, item) for item in source.sources]
            return replaced(
                source.value, (Mark, Marks), lambda mark: value_of_marks(mark, found), copies=True
            )
        return copied(source)

    def _values(self, slots: list[_Slot], slot: _Slot) -> dict[str, Any]:
        """Return the arguments of one try, which nobody else holds."""
        spec = slot.spec
        if spec.id in self.changed:
            raise ArgumentChangedError(self.changed[spec.id])
        values = {name: copied(value) for name, value in spec.plain.items()}
        for name, source in zip(spec.columns, slot.work.args, strict=True):
            if name in spec.hashed:
                token = (slot.tokens or ())[spec.order.index(name)]
                if self._is_changed(source, token):
                    raise ArgumentChangedError(_changed(spec, name))
            values[name] = self._value(slots, slot, source)
        for name, given in zip(spec.order, slot.tokens or slot.work.tokens or (), strict=False):
            if why := refusal(given):
                raise FingerprintError(f"{spec.name}: {name} names {why}.")
        return values

    def _is_changed(self, value: Any, token: str) -> bool:
        """Hash an argument that was hashed at the call once more."""
        return token_of_value(value) != token

    # Making

    def _compute(self, slots: list[_Slot], slot: _Slot) -> None:
        started = time.perf_counter()
        values = self._values(slots, slot)
        look_again = self._watch(slot, values)
        with pyplot.alone(slot.spec.modules):
            value = self._call(slots, slot, values)
        slot.changed = ", ".join(look_again()) or slot.changed
        for once in parts_of(value, Iterator):
            raise DatabackedError(
                f"{slot.spec.name} returned {'' if once is value else 'something that holds '}a "
                f"{type(once).__name__}, which can be read only once. Return list(...) of it, or "
                "what it reads from (a file's path)."
            )
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
        )

    def _watch(self, slot: _Slot, values: Mapping[str, Any]) -> Callable[[], list[str]]:
        """Look at the inputs of an item; returns what names those that changed since."""
        spec, tokens = slot.spec, slot.tokens or ()
        plain = FIXED.issuperset(map(type, values.values()))
        if plain and not spec.reads and not any(token.startswith("file:") for token in tokens):
            return list
        given, named = slot.given, zip(spec.order, tokens, strict=True)
        said = [Given(name, given[name], token) for name, token in named]
        return watch(said, spec.reads, values, self.files, spec.how, spec.root)

    def _call(self, slots: list[_Slot], slot: _Slot, values: dict[str, Any]) -> Any:
        """Call the function; each further try gets its arguments anew."""
        folder = current_folder()
        try:
            return self._tried(slots, slot, values)
        finally:
            if current_folder() != folder:
                slot.notes += (MOVED,)

    def _tried(self, slots: list[_Slot], slot: _Slot, values: dict[str, Any]) -> Any:
        spec = slot.spec
        for tries_left in range(spec.retries, -1, -1):
            if tries_left < spec.retries:
                values = self._values(slots, slot)
            for name, kind in spec.arrives.items():
                if name in values:
                    values[name] = _arrive(name, values[name], kind)
            if spec.draws:
                values["rng"] = self._generator(slot)
            try:
                if not said.is_capturing():
                    return _called(spec, values)
                before = said.listen(slot.said)
                try:
                    return _called(spec, values)
                finally:
                    said.listen(before)
            except BaseException as error:
                if isinstance(error, ValueError) and "read-only" in in_words(error):
                    error.add_note(
                        "An array that other items read too cannot be changed in place: "
                        "work on a copy (x = x.copy())."
                    )
                if isinstance(error, TypeError | AttributeError | BufferError):
                    _say_what_is_backed(error, values)
                if not tries_left or isinstance(error, KeyboardInterrupt):
                    raise
                time.sleep(spec.retry_delay)

    def _generator(self, slot: _Slot) -> np.random.Generator:
        """Return a generator that depends on the task's name and the item, and on nothing else."""
        spec, tokens = slot.spec, slot.tokens or ()
        named = zip(spec.order, tokens, strict=True)
        plain = [f"{name}={token}" for name, token in named if name not in spec.inputs]
        which = [slot.work.target] if slot.work.target is not None else plain
        return np.random.default_rng(int(hash_texts([spec.name, *which]), 16))

    def _keep(self, slots: list[_Slot], slot: _Slot, bound: Bound) -> None:
        spec, work = slot.spec, slot.work
        target = work.target
        assert target is not None
        tokens = self._tokens(slots, slot)
        recipe = spec.recipe(tokens)
        found = work.found
        if found is None:
            found = bound.look_now(target, spec.owner)
        check_usable(found, bound, target)
        reason = None
        if not bound.always:
            used = reuse(found, spec, recipe, tokens, bound, target)
            if used is not None:
                self._done(slot, bound, REUSED, used[0], None, used[1])
                return
            if found.kind == "ours" and work.found is None:
                reason = reason_of(found, spec, tokens, bound)
        started_at, started = time.time(), time.perf_counter()
        values = self._values(slots, slot)
        resolved, contents = self._resolve(slots, slot, tokens, values)
        said: dict[str, Any] = {
            **recorded(spec, tokens, values),
            "contents": contents or None,
            "start": round(started_at, 3),
        }
        given = tuple(paths_in(values)) if getattr(bound.options, "from_path", False) else ()
        claim = Claim(
            spec.owner, recipe, resolved, spec.context, spec.fields, said, spec.run, given
        )
        if not bound.always and contents and is_hit_resolved(found, resolved):
            # What it was made from came out the same: nothing to do but to say so.
            record = bound.confirm(found, claim)
            self._done(slot, bound, REUSED, record, None)
            return
        look_again = self._watch(slot, values)
        # Figures are written before others change what they are drawn with.
        with pyplot.alone(spec.modules):
            value = self._call(slots, slot, values)
            seconds = time.perf_counter() - started
            said["seconds"] = round(seconds, 6)
            own = look_again()
            if own or slot.changed:
                slot.changed = ", ".join(own) or slot.changed
                said["inputs"] = {**said["inputs"], **dict.fromkeys(own, "changed while it ran")}
                nobodys = nobody_asks_for(recipe, spec.run)
                # Of inputs that are not kept the content that came counts, whatever it came from.
                exact = resolved if contents and not own else nobodys
                claim = replace(claim, recipe=nobodys, resolved=exact, details=said)
            record, same, notes = bound.save(value, target, found, claim)
        notes += self._notes(slot)
        self._done(slot, bound, MADE, record, same, notes, reason, time.perf_counter() - started)

    @staticmethod
    def _notes(slot: _Slot) -> tuple[str, ...]:
        """Return what is to be said of how an item was made."""
        changed = (_while_it_ran(slot),) if slot.changed else ()
        return (*pyplot.notes(), *slot.notes, *changed)

    def _done(
        self,
        slot: _Slot,
        bound: Bound,
        state: int,
        record: Record,
        same: Any,
        notes: tuple[str, ...] = (),
        reason: str | None = None,
        seconds: float = 0.0,
    ) -> None:
        slot.token = "c:" + record.content
        slot.value = Lazily(bound, record, same)
        slot.made = True
        known = (sketch(bound.hand_over(record)),) if slot.work.tell else ()
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

    def _resolve(
        self, slots: list[_Slot], slot: _Slot, tokens: tuple[str, ...], values: Mapping[str, Any]
    ) -> tuple[str, dict[str, str]]:
        """Return the recipe with the content of inputs that are not kept, and these contents."""
        contents: dict[str, str] = {}
        resolved = list(tokens)
        for position, name in enumerate(slot.spec.order):
            if "r:" in tokens[position] and name in slot.spec.inputs:
                content = content_of_value(_plain(values[name]), slot.spec.root)
                if content is not None:
                    contents[name] = content
                    resolved[position] = content
        return slot.spec.recipe(resolved), contents

    def _failure(self, slot: _Slot, error: BaseException, seconds: float) -> Failure:
        return failure_of(
            error,
            slot.spec.name,
            shown(slot.work.target or str(slot.work.row)),
            {name: _short(value) for name, value in slot.given.items()},
            slot.spec.root,
            seconds,
        )

    def check_arguments(self, specs: Sequence[int]) -> Iterator[tuple[int, str]]:
        """Hash arguments again that were hashed at the call; yield the specs of changed ones."""
        for number in specs:
            spec = self.specs[number]
            for name, before in spec.checks:
                if self._is_changed(spec.plain[name], before):
                    yield number, _changed(spec, name)


def _changed(spec: Spec, name: str) -> str:
    return (
        f"{spec.name}: the argument {name!r} was changed between the call and the run of "
        "its items. Pass a copy, or change it after the flow has ended."
    )


MOVED = (
    "the working folder changed while it ran: it is one for all threads, so what others read by a "
    "relative path may be another file"
)


def _called(spec: Spec, values: Mapping[str, Any]) -> Any:
    """Call the function; a copy of this process that it made by `os.fork` ends where it ends.

    Such a copy would go on with the run, beside the one that waits for it.
    """
    process, status = os.getpid(), 1
    try:
        value = spec.of_call(values)
        status = 0
        return value
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    finally:
        if os.getpid() != process:
            os._exit(status & 0xFF)


def _while_it_ran(slot: _Slot) -> str:
    return (
        f"{slot.changed} changed while it was read: made again in the next run (if the task writes "
        "there itself, annotate the parameter as str)"
    )


class Lazily:
    """A kept value inside a chain: handed over to each reader anew."""

    __slots__ = ("bound", "record", "same")

    def __init__(self, bound: Bound, record: Record, same: Any) -> None:
        self.bound, self.record, self.same = bound, record, same

    def get(self, keys: tuple[Any, ...] = ()) -> Any:
        """Return it, or a part of it, as a reader gets it."""
        return self.bound.hand_over(self.record, self.same, keys)


def get_keys(value: Any, keys: tuple[Any, ...]) -> Any:
    """Follow ``future["a"]["b"]`` into a value."""
    return value.get(keys) if type(value) is Lazily else part_of(value, keys)


def shown(target: str) -> str:
    """Return a target as people read it, also where it names several files."""
    return target.replace(JOIN, " + ")


def with_keys(token: str, keys: Sequence[Any]) -> str:
    """Return the token of a part of a value."""
    if keys and "=" in token and token.startswith("c:"):  # several outputs: each by its own content
        known = contents(token[2:])
        if keys[0] in known:
            return with_keys(f"c:{known[keys[0]]}", keys[1:])
    return token if not keys else f"{token}{''.join(f'[{key!r}]' for key in keys)}"


def replaces(found: Found, bound: Bound) -> bool:
    """Whether what was changed by hand is to be moved aside and made again."""
    changed = found.kind in ("edited", "unusable")
    return changed and (bound.always or bound.options.when_edited == "replace")


def check_usable(found: Found, bound: Bound, target: str) -> None:
    """Raise `CorrectionError` if somebody worked on a file, and no reader can use what it is now.

    Nothing else would do: what was computed is not what they meant.
    """
    if found.kind == "unusable" and not replaces(found, bound):
        raise CorrectionError(
            f"{bound.folder / shown(target)} was changed by hand, and cannot be used as it is: "
            f"{found.why}. Or move it away, to have it made again."
        )


def reuse(
    found: Found,
    spec: Spec,
    recipe: str,
    tokens: Sequence[str | None],
    bound: Bound,
    target: str,
) -> tuple[Record, tuple[str, ...]] | None:
    """Return the record of what lies at a target if it is used as it is, and what to say of it."""
    if is_hit(found, recipe):
        if found.kind != "edited" and found.records:
            record = found.records[-1]  # of the same task elsewhere it may be an edited one
            return record, (edited_note(record, recipe),) if record.state == "e" else ()
        if replaces(found, bound):
            return None
        record = bound.settle(found, target, bare_claim(spec, recipe))
        return record, (edited_note(record, recipe),)
    if found.kind == "ours" and bound.options.when_stale != "recompute":
        record = found.records[-1]
        if bound.options.when_stale == "keep":
            return record, ()
        return record, (f"kept although stale: {reason_of(found, spec, tokens, bound)}",)
    return None


def bare_claim(spec: Spec, recipe: str) -> Claim:
    """Return the claim of a file that nobody is about to make."""
    return Claim(spec.owner, recipe, recipe, spec.context, spec.fields, {}, spec.run)


def edited_note(record: Record, recipe: str) -> str:
    """Return what is said of a file that was corrected by hand, or accepted as it was found."""
    what = "accepted as it was found" if record.state == "a" else "edited by hand"
    if record.recipe != recipe:
        return f"{what}, used although what it was made from changed since"
    return f"{what}, used as it is"


def recorded(
    spec: Spec, tokens: Sequence[str], values: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return parameters (as JSON where possible) and inputs as the record says them."""
    parameters: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    for name, token in zip(spec.order, tokens, strict=True):
        if name in spec.inputs:
            inputs[name] = token
        else:
            value = values[name]
            exact = value is None or type(value) in (bool, int, float, str)
            parameters[name] = value if exact else {"token": token}
    return {"parameters": parameters, "inputs": inputs}


def reason_of(found: Found, spec: Spec, tokens: Sequence[str | None], bound: Bound) -> str:
    """Return why a record of this task does not fit."""
    from databacked.fingerprint.code import explain

    record = found.records[-1]
    context = records_of(bound.folder, refresh=False).contexts.get(record.context, {})
    if "code" not in context:
        return "it was made in another way long ago"
    said = record.details
    before = {
        name: value["token"] if isinstance(value, dict) else str(token_of_value(value))
        for name, value in said.get("parameters", {}).items()
    }
    old = Recipe(
        code=context.get("code", ""),
        symbols=context.get("symbols", {}),
        values=context.get("values", {}),
        serializer=context.get("serializer"),
        parameters=before,
        inputs=said.get("inputs", {}),
    )
    pairs = [(name, token or "") for name, token in zip(spec.order, tokens, strict=True)]
    for number, (name, token) in enumerate(pairs):
        if before.get(name, token) != token:
            before[name], now = told_apart(before[name], token)
            pairs[number] = name, now
    new = Recipe(
        code=spec.fields["code"],
        symbols=spec.fields["symbols"],
        values=spec.fields["values"],
        serializer=spec.fields["serializer"],
        parameters={name: token for name, token in pairs if name not in spec.inputs},
        inputs={name: token for name, token in pairs if name in spec.inputs},
    )
    reason, only_parameters = why_stale(old, new, explain)
    return ("=" if only_parameters else "") + reason


def _plain(value: Any) -> Any:
    return value.get() if type(value) is Lazily else value


def _say_what_is_backed(error: Exception, values: Mapping[str, Any]) -> None:
    """Add to an error in a library that arrays came which are none of numpy's."""
    names = [name for name, value in values.items() if isinstance(value, BackedArray)]
    frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    if names and (is_library(frames[-1]) or "BackedArray" in str(error)):
        error.add_note(
            f"({names[0]} is a backed array. Where a library wants one of numpy's own, annotate "
            f"the parameter: {names[0]}: np.ndarray.)"
        )


def value_of_marks(mark: Mark | Marks, found: list[Any]) -> Any:
    """Return the value that marks stand for."""
    return found[mark.position] if isinstance(mark, Mark) else found[mark.start : mark.stop]


def token_of_marks(mark: Mark | Marks, tokens: list[str]) -> tuple[str, str]:
    """Return what stands for the value of marks in a value that is to have a token."""
    found = value_of_marks(mark, tokens)
    return OF_TASK, found if isinstance(mark, Mark) else token_of_list(found)


OF_TASK = "of a task"
"""Tells a token in a value from a text."""


def token_of_list(tokens: Sequence[str]) -> str:
    """Return what the list of all items of a map counts by."""
    return "l:" + hash_texts(tokens)


def token_of_filled(value: Any, root: str | Path) -> str:
    """Return the token of a value that holds tokens in place of what comes from tasks."""
    return "n:" + str(token_of_value(value, root))


def _arrive(name: str, value: Any, kind: str) -> Any:
    """Give a value the form that the parameter's annotation asks for.

    Raises
    ------
    DatabackedError
        If a file is asked for, and the value is none.
    """
    if isinstance(value, Failed) or value is None:
        return value
    is_array = isinstance(value, BackedArray | Image | np.ndarray) or hasattr(value, "dask")
    if kind == "array":
        return np.asarray(value) if is_array else value
    if kind == "dask":
        if isinstance(value, BackedArray):
            return value.dask
        inner = value.data if isinstance(value, Image) else value
        if isinstance(inner, np.ndarray):
            from dask.array import from_array

            return from_array(inner)
        return inner
    if isinstance(value, str | os.PathLike):
        return Path(value)
    raise DatabackedError(
        f"{name} asks for a file (its annotation is a path), and a {type(value).__name__} came. "
        "Give the task that makes it a target=, so that there is a file."
    )


def _short(value: Any) -> str:
    if isinstance(value, Kept):
        return shown(value.record.target)
    if isinstance(value, InChain | Held | Inside):
        return "…"
    return in_short(value)


def not_awaited(value: Any) -> Any:
    """Return what a function returned, unless it is still to be run by an event loop.

    Raises
    ------
    DatabackedError
        If it is a coroutine, an asynchronous generator, or a future of asyncio.
    """
    if not (inspect.iscoroutine(value) or inspect.isasyncgen(value) or is_future(value)):
        return value
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that nobody awaited it
    raise DatabackedError(
        f"the function returned a {type(value).__name__}, which is not a value yet. Run it inside "
        "of the function (asyncio.run(...)), and return what it gives."
    )


def is_future(value: Any) -> bool:
    """Whether a value is a future of asyncio."""
    return hasattr(type(value), "_asyncio_future_blocking")
