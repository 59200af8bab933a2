"""What lies at a target: used as it is, or not, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from databacked.errors import CorrectionError
from databacked.fingerprint.parameters import token as token_of_value
from databacked.fingerprint.parameters import told_apart
from databacked.places.claim import Claim
from databacked.places.judge import Found, Recipe, is_hit, why_stale
from databacked.places.place import Place
from databacked.places.rules import replaces
from databacked.records.record import Record
from databacked.worker.messages import Reason, Spec, shown


def check_usable(found: Found, place: Place, target: str) -> None:
    """Raise `CorrectionError` if somebody worked on a file, and no reader can use what it is now.

    Nothing else would do: what was computed is not what they meant.
    """
    if found.kind == "unusable" and not replaces(found, place.rules):
        raise CorrectionError(
            f"{place.folder / shown(target)} was changed by hand, and cannot be used as it is: "
            f"{found.why}. Or move it away, to have it made again."
        )


class Used(NamedTuple):
    """What lies at a target is used as it is."""

    content: str
    record: Record | None
    """None where it is yet to be recorded: it was edited by hand since."""

    notes: tuple[str, ...] = ()
    is_edited: bool = False
    """Whether it was corrected by hand, or accepted as it was found."""


def used(
    found: Found, spec: Spec, recipe: str, tokens: Sequence[str | None], place: Place
) -> Used | None:
    """Return what lies at a target if it is used as it is, and what to say of it; reads only."""
    if spec.forced and found.kind == "ours":
        return None  # what a hand has done stays
    record = found.records[-1] if found.records else None
    if is_hit(found, recipe):
        if found.kind != "edited" and record is not None:
            # Of the same task elsewhere it may be an edited one.
            edited = record.state == "e"
            notes = (edited_note(record, recipe),) if edited else ()
            return Used(record.content, record, notes, edited)
        if replaces(found, place.rules):
            return None
        note = edited_note(record or found.origin, recipe)
        content = found.content if record is None else record.content
        return Used(content, record, (note,), is_edited=True)
    if found.kind == "ours" and place.rules.when_stale != "recompute" and record is not None:
        if place.rules.when_stale == "keep":
            return Used(record.content, record)
        why = reason_of(found, spec, tokens, place).text
        return Used(record.content, record, (f"kept although stale: {why}",))
    return None


def reuse(
    found: Found,
    spec: Spec,
    recipe: str,
    tokens: Sequence[str | None],
    place: Place,
    target: str,
) -> tuple[Record, tuple[str, ...]] | None:
    """Return the record of what lies at a target if it is used as it is, and what to say of it."""
    as_it_is = used(found, spec, recipe, tokens, place)
    if as_it_is is None:
        return None
    record = as_it_is.record or place.settle(found, target, bare_claim(spec, recipe))
    return record, as_it_is.notes


def bare_claim(spec: Spec, recipe: str) -> Claim:
    """Return the claim of a file that nobody is about to make."""
    return Claim(spec.owner, recipe, recipe, spec.context, spec.fields, {}, spec.run)


def edited_note(record: Record | None, recipe: str) -> str:
    """Return what is said of a file that was corrected by hand, or accepted as it was found.

    Parameters
    ----------
    record
        What it was made from, as far as that is recorded.
    """
    accepted = record is not None and record.state == "a"
    what = "accepted as it was found" if accepted else "edited by hand"
    if record is not None and record.recipe != recipe:
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
            # Of a whole number too long to be written, the token is a hash.
            exact = value is None or type(value) in (bool, float, str) or token[:2] == "i:"
            parameters[name] = value if exact else {"token": token, **_in_short(value)}
    return {"parameters": parameters, "inputs": inputs}


_SHORT = 60
"""Characters up to which a list of plain values is shown."""


def _in_short(value: Any) -> dict[str, str]:
    """Return how a short list is shown; nothing for what people would not read."""
    kind = type(value)
    if kind not in (list, tuple) or not all(
        one is None or type(one) in (bool, int, float, str) for one in value
    ):
        return {}
    text = repr(value)
    return {"shown": text} if len(text) <= _SHORT else {}


def reason_of(found: Found, spec: Spec, tokens: Sequence[str | None], place: Place) -> Reason:
    """Return why a record of this task does not fit."""
    from databacked.fingerprint.code import explain

    record = found.records[-1]
    context = place.known.contexts.get(record.context, {})
    if "code" not in context:
        return Reason("it was made in another way long ago")
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
        rules=context.get("rules", 0),
        parameters=before,
        inputs=said.get("inputs", {}),
        shown={
            name: value["shown"]
            for name, value in said.get("parameters", {}).items()
            if isinstance(value, dict) and "shown" in value
        },
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
        rules=spec.fields["rules"],
        parameters={name: token for name, token in pairs if name not in spec.inputs},
        inputs={name: token for name, token in pairs if name in spec.inputs},
        shown={name: said["shown"] for name, one in spec.plain.items() if (said := _in_short(one))},
    )
    why, only_parameters, only_inputs = why_stale(old, new, explain)
    if only_inputs and (detail := _above_in_words(context, spec.fields)):
        why = f"{why} ({detail})"
    return Reason(why, only_parameters, only_inputs)


def _above_in_words(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words what changed in tasks that are not kept, which a value was made from."""
    from databacked.fingerprint.code import explain

    old, new = before.get("above", {}), now.get("above", {})
    said = [
        f"{name}: {explain(SimpleNamespace(**old[name]), SimpleNamespace(**code))}"
        for name, code in new.items()
        if name in old and old[name]["code"] != code["code"]
    ]
    return "; ".join(said)
