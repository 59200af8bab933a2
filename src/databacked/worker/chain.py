"""One chain on a worker: what its items count by, and the values that they get."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from databacked import capture
from databacked.errors import ArgumentChangedError, FingerprintError, StorageError
from databacked.fingerprint.files import SeenFiles, refusal
from databacked.fingerprint.parameters import content as content_of_value
from databacked.fingerprint.parameters import token as token_of_value
from databacked.graph.copies import copied, replaced
from databacked.places.backed import BackedFile
from databacked.places.parts import Lazily, get_keys
from databacked.types import Failure
from databacked.worker.arrive import short
from databacked.worker.failures import failure_of
from databacked.worker.messages import (
    FAILED,
    Handed,
    Held,
    InChain,
    Inside,
    Kept,
    Mark,
    Marks,
    Outcome,
    Spec,
    Store,
    Work,
    shown,
    token_of_filled,
    token_of_marks,
    value_of_marks,
    with_keys,
)
from databacked.worker.watch import Changed


class Skip(Exception):
    """An input is missing because its own item failed."""


@dataclass
class Slot:
    """One item of a chain, and how far it is."""

    work: Work
    spec: Spec
    outcome: Outcome | None = None
    token: str | None = None
    tokens: tuple[str, ...] | None = None
    value: Any = None
    made: bool = False
    raised: bool = False
    """Whether its function raised."""

    failed: Failure | None = None
    marked: Failure | None = None
    """Of an item whose function raised: what failed among what it got marks of."""

    changed: str = ""
    """Which input changed while its value was made, or one that it was made from."""

    notes: tuple[str, ...] = ()
    said: capture.Heard = field(default_factory=capture.Heard)

    @property
    def given(self) -> dict[str, Any]:
        """Value or source of each parameter."""
        return {**self.spec.plain, **dict(zip(self.spec.columns, self.work.args, strict=True))}


class Chain:
    """The items of a chain; each is found out and made when another one, or the run, needs it.

    Parameters
    ----------
    changed
        Nodes of which an argument was changed after the call, and what to say.
    finish
        Makes an item, or finds that it is there.
    """

    def __init__(
        self,
        slots: list[Slot],
        store: Store,
        files: SeenFiles,
        changed: Mapping[int, str],
        finish: Callable[[Chain, Slot], None],
    ) -> None:
        self.slots = slots
        self._store = store
        self._files = files
        self.changed = changed
        self._make = finish

    def _finish(self, slot: Slot) -> None:
        self._make(self, slot)

    def tokens(self, slot: Slot) -> tuple[str, ...]:
        """Return what the arguments of an item count by; raises `Skip` if one failed."""
        if slot.tokens is None:
            given = slot.work.tokens
            if given is None:  # nobody asks
                slot.tokens = ()
                return slot.tokens
            if None in given:
                sources = slot.given
                given = tuple(
                    self._token(slot.spec, sources[name]) if token is None else token
                    for name, token in zip(slot.spec.order, given, strict=True)
                )
            slot.tokens = given  # type: ignore[assignment]
            if not slot.spec.is_kept:
                slot.token = slot.spec.token(slot.spec.recipe(slot.tokens))  # type: ignore[arg-type]
        return slot.tokens  # type: ignore[return-value]

    def _token(self, spec: Spec, source: Any) -> str:
        """Return the token of a source in this chain, or of a file that nobody read yet."""
        if isinstance(source, Inside):
            return self._token_inside(source, spec.root)
        if not isinstance(source, InChain):
            return self._files.token(os.fspath(source), spec.how)
        return self._token_before(source)

    def _token_inside(self, inside: Inside, root: str) -> str:
        """Return the token of a value that holds others, once those in this chain are known."""
        tokens = [
            self._token_before(source) if token is None else token
            for source, token in zip(inside.sources, inside.tokens, strict=True)
        ]
        return token_of_filled(
            replaced(inside.value, (Mark, Marks), lambda mark: token_of_marks(mark, tokens)), root
        )

    def _token_before(self, source: InChain) -> str:
        before = self.slots[source.position]
        if before.failed is not None:
            raise Skip(before.failed)
        if before.spec.is_kept:
            self._finish(before)
        else:
            self.tokens(before)
        if before.failed is not None:
            raise Skip(before.failed)
        assert before.token is not None
        return with_keys(before.token, source.keys)

    def _value(self, slot: Slot, source: Any) -> Any:
        kind = type(source)
        if kind is InChain:
            before = self.slots[source.position]
            if not before.made:
                self._finish(before)
            if before.failed is not None:
                raise Skip(before.failed)
            slot.changed = slot.changed or before.changed
            value = get_keys(before.value, source.keys)
            return copied(value) if before.spec.shared or before.work.hold else value
        if kind is Kept:
            return source.place.value(source.record, keys=source.keys)
        if kind is Held or kind is Handed:
            held = self._store.get(source.key) if kind is Held else source.held
            if type(held) is Changed:
                held, slot.changed = held
            return copied(get_keys(held, source.keys))
        if kind is Inside:
            found = [self._value(slot, item) for item in source.sources]
            return replaced(
                source.value, (Mark, Marks), lambda mark: value_of_marks(mark, found), copies=True
            )
        return copied(source)

    def values(self, slot: Slot) -> dict[str, Any]:
        """Return the arguments of one try, which nobody else holds."""
        spec = slot.spec
        if spec.id in self.changed:
            raise ArgumentChangedError(self.changed[spec.id])
        values = {name: copied(value) for name, value in spec.plain.items()}
        for name, source in zip(spec.columns, slot.work.args, strict=True):
            if name in spec.hashed:
                token = (slot.tokens or ())[spec.order.index(name)]
                if is_changed(source, token):
                    raise ArgumentChangedError(changed_in_words(spec, name))
            file = self._file(source) if spec.arrives.get(name) == "path" else None
            values[name] = self._value(slot, source) if file is None else file
        for name, given in zip(spec.order, slot.tokens or slot.work.tokens or (), strict=False):
            if why := refusal(given):
                raise FingerprintError(f"{spec.name}: {name} names {why}.")
        return values

    def _file(self, source: Any) -> BackedFile | None:
        """Return the file of a kept value, for who asks for one: whatever a reader would get."""
        if type(source) is Kept:
            return source.place.file(source.record, source.keys)
        if type(source) is InChain:
            before = self.slots[source.position]
            if before.spec.place is not None and not before.made:
                self._finish(before)
            if type(before.value) is Lazily:
                return before.value.place.file(before.value.record, source.keys)
        return None

    def resolve(
        self, slot: Slot, tokens: tuple[str, ...], values: Mapping[str, Any]
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


def failed(slot: Slot, error: BaseException, seconds: float) -> Outcome:
    """Return what became of an item that failed with an error."""
    spec, work = slot.spec, slot.work
    slot.failed = failure_of(
        error,
        spec.name,
        shown(work.target or str(work.row)),
        {name: short(value) for name, value in slot.given.items()},
        spec.root,
        seconds,
    )
    # A disk that a task writes to by itself is its own affair.
    full = isinstance(error, StorageError) and getattr(error, "errno", None) in (28, 122, 30)
    return Outcome(
        spec.id,
        work.row,
        FAILED,
        None,
        failure=slot.failed,
        seconds=seconds,
        fatal=full,
        raised=slot.raised,
    )


def changed_in_words(spec: Spec, name: str) -> str:
    """Say which argument was changed after the call."""
    return (
        f"{spec.name}: the argument {name!r} was changed between the call and the run of "
        "its items. Pass a copy, or change it after the flow has ended."
    )


def is_changed(value: Any, token: str) -> bool:
    """Hash an argument that was hashed at the call once more."""
    return token_of_value(value) != token


def _plain(value: Any) -> Any:
    return value.get() if type(value) is Lazily else value
