"""What must run, and why: pure decisions about what was found.

Nothing here touches a disk; what has to be looked up comes as a callable.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from databacked.errors import EXHAUSTED, is_due_to
from databacked.records.owners import Relation
from databacked.records.record import NONE, Record
from databacked.serializers.corrections import Correction
from databacked.storage.looks import Stat
from databacked.types import Description

Kind = Literal["missing", "ours", "edited", "unusable", "foreign"]


@dataclass(frozen=True)
class Found:
    """What lies at a target, and whose it is."""

    kind: Kind
    """``ours``: a record of this task describes the file. ``edited``: changed by hand since, or
    accepted as it was found. ``unusable``: changed by hand to what no reader can use."""

    stat: Stat | None = None
    """Size and time of the file; None if there is none (``ours``: the value was None)."""

    records: tuple[Record, ...] = ()
    """The claims that fit the file (several recipes can lead to one content); of a file that was
    edited just now there are none. For a foreign file: those of the same task elsewhere."""

    content: str = ""
    """xxh3-128 of the file's bytes, where known."""

    why: str = ""
    """For a foreign or unusable file: what is known of it."""

    origin: Record | None = None
    """For a file edited just now: what it was made from (a foreign one: elsewhere)."""

    description: Description | None = None
    """For a file edited just now: what its readers get."""

    form: Mapping[str, Any] | None = None
    """For a file edited just now: how it is read as what was recorded, if not as it is."""

    partly: bool = False
    """Of an item with several files: whether only some were edited, the others being its task's."""


MEANWHILE = "changed while it ran"
"""Stands in records for the token of an input that did not stay as it was: no recipe's."""


MISSING = Found("missing")
"""Nothing lies there, and nothing is recorded."""


def whose(
    stat: Stat | None,
    claims: Sequence[Record],
    *,
    relation: Callable[[Record], Relation],
    owner: Callable[[Record], str],
    content: Callable[[], str],
    is_marked: Callable[[str], bool],
    correction: Callable[[Record], Correction],
    by_time: bool = True,
) -> Found:
    """Say whose the file at a target is.

    A content that a record explains is that record's, whatever its time. One that none explains is
    somebody's work only if nothing says otherwise: no clock is asked.

    Parameters
    ----------
    claims
        All records of the target, the oldest first.
    relation, owner
        Whose a record is, seen from the task that asks; and its name for people.
    content
        Reads the file: its hash. Called only where size and time do not decide.
    is_marked
        Whether the file's time carries the mark of databacked for this content.
    correction
        Opens the file as a correction of what a record describes; raises if it does not open.
    by_time
        Whether a record fits by size and time; False for what is dangerous to read: a time is
        easily set.
    """
    if stat is None:
        return nothing([claim for claim in claims if relation(claim) == "mine"])
    files = [claim for claim in claims if claim.size >= 0]
    digests = {claim.content for claim in files if claim.stat == stat}
    # No claim fits, or two of one size within one time stamp do: the bytes decide.
    sure = by_time and len(digests) == 1
    digest = digests.pop() if sure else content() if claims else ""
    explained = [claim for claim in files if claim.content == digest]
    if explained:
        mine = tuple(claim for claim in explained if relation(claim) == "mine")
        if not mine:
            usable = tuple(claim for claim in explained if relation(claim) == "alike")
            why = f"it is a result of {owner(explained[-1])}"
            return Found("foreign", stat, usable, digest, why)
        written = [claim for claim in mine if claim.state == "w"]
        # What was made by hand once may have been computed since, and only that carries a mark.
        by_hand = mine[-1].state != "w" and not (written and is_marked(digest))
        return Found("edited" if by_hand else "ours", stat, mine, digest, "edited by hand")
    mine = tuple(claim for claim in claims if relation(claim) == "mine")
    near = mine or tuple(claim for claim in claims if relation(claim) == "alike")
    if not near:
        why = f"it is no result of {owner(claims[-1])} any more" if claims else ""
        return Found("foreign", stat, (), digest, why or "nothing is recorded about it")
    if is_marked(digest):
        return Found("foreign", stat, (), digest, "it is a result whose record is lost")
    if any(claim.mtime_ns == stat.mtime_ns for claim in files):
        return Found("foreign", stat, (), digest, "it is damaged: changed, and its time is not")
    problem, why = (
        "",
        "edited by hand" if mine else f"a result of {owner(near[-1])}, edited by hand",
    )
    # What a task made tells more of what its readers expect than an earlier correction of it.
    for claim in sorted(reversed(near), key=lambda claim: claim.state != "w"):
        try:
            seen = correction(claim)
        except Exception as error:  # any reason why it does not open makes it damaged
            if is_due_to(error, _UNREAD):
                raise
            return Found("foreign", stat, (), digest, f"it does not open ({error})")
        if not seen.problem:
            kind: Kind = "edited" if mine else "foreign"
            return Found(kind, stat, (), digest, why, claim, seen.description, seen.form)
        problem = problem or seen.problem
    return Found("unusable" if mine else "foreign", stat, (), digest, problem)


_UNREAD = EXHAUSTED | {
    *(errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM),
}
"""What a system says of a file that could not be looked at: nothing of what it holds."""


def nothing(mine: Sequence[Record]) -> Found:
    """Say what it means that no file is there: None was the value, or the file is missing.

    Parameters
    ----------
    mine
        The claims of the task that asks.
    """
    # A recipe that gave a file once: somebody removed it.
    gone = {claim.recipe for claim in mine if claim.size >= 0}
    none = tuple(claim for claim in mine if claim.size < 0 and claim.recipe not in gone)
    return Found("ours", None, none, NONE) if none else MISSING


def rejoined(parts: Mapping[str, Found], stat: Stat, claims: Sequence[Record]) -> Found:
    """Say whose the files of an item with several outputs are, taken as one.

    Parameters
    ----------
    parts
        Whose each file is by itself, by the name of the output.
    stat
        How they look, taken as one.
    claims
        The records of the item as a whole, of this task.
    """
    kinds: tuple[Kind, ...] = ("unusable", "foreign")  # what somebody worked on, before all else
    for kind in kinds:
        for name, part in parts.items():
            if part.kind == kind:
                return Found(kind, stat, why=f"{name}: {part.why}")
    now = {name: NONE if part.stat is None else part.content for name, part in parts.items()}
    joined = ",".join(f"{name}={content}" for name, content in now.items())
    fitting = tuple(claim for claim in claims if claim.content == joined)
    edited = {name for name, part in parts.items() if part.kind == "edited"}
    partly = len(edited) < len(parts)
    if fitting:
        kind = "edited" if fitting[-1].state != "w" else "ours"
        return Found(kind, stat, fitting, joined, partly=partly)
    for claim in reversed(claims):
        before = contents(claim.content)
        if edited and all(before.get(name) == now[name] for name in now if name not in edited):
            why = f"edited by hand ({', '.join(edited)})"
            return Found("edited", stat, (), joined, why, claim, partly=partly)
    return Found("missing", stat)  # one was removed, or they are of different runs


def contents(joined: str) -> dict[str, str]:
    """Return the content of each file from that of an item with several outputs."""
    return dict(part.split("=", 1) for part in joined.split(",") if "=" in part)


def is_hit(found: Found, recipe: str) -> bool:
    """Whether what was found can be used for a recipe as it is."""
    if found.kind == "edited" and not found.partly:
        return True
    if found.kind == "edited":  # what the task made beside it is of this recipe, or made again
        made = found.records or (() if found.origin is None else (found.origin,))
        return any(recipe in (record.recipe, record.resolved) for record in made)
    if found.kind == "foreign" and found.origin is not None:
        # A correction of what the same task made elsewhere, of the same.
        return recipe in (found.origin.recipe, found.origin.resolved)
    # A foreign file has records only where they are of the same task elsewhere.
    # A recipe of plain values is the resolved recipe of the same values coming from tasks.
    return found.kind in ("ours", "foreign") and any(
        recipe in (record.recipe, record.resolved) for record in found.records
    )


def is_hit_resolved(found: Found, resolved: str) -> bool:
    """Whether it can be used once the content of inputs that are not kept is known."""
    return found.kind in ("ours", "foreign") and any(
        record.resolved == resolved for record in found.records
    )


@dataclass(frozen=True)
class Recipe:
    """What a recipe consists of, in words: what a record says of it and a reason compares."""

    code: str
    symbols: Mapping[str, str]
    values: Mapping[str, str]
    serializer: Any
    parameters: Mapping[str, str]
    """Token of each plain parameter."""

    inputs: Mapping[str, str]
    """Token of each parameter that comes from a task or a file."""

    shown: Mapping[str, str] = field(default_factory=dict)
    """Parameters whose values people would read, where their tokens do not tell them."""

    rules: int = 0
    """Version of the rules by which the code was judged."""


RULES_CHANGED = "the rules of the fingerprint changed"


def why_stale(
    old: Recipe, new: Recipe, explain_code: Callable[[Recipe, Recipe], str]
) -> tuple[str, bool, bool]:
    """Return why a record does not fit; whether only parameters changed; whether only inputs."""
    reasons: list[str] = []
    if old.code != new.code:
        # Judged by other rules, each symbol has another digest: none of them says anything.
        same_rules = old.rules == new.rules
        reasons.append(explain_code(old, new) if same_rules else RULES_CHANGED)
    changed = [
        f"{name} changed ({_shown(old, name)} → {_shown(new, name)})"
        if name in old.parameters
        else f"{name} is new"
        for name, token in new.parameters.items()
        if old.parameters.get(name) != token
    ]
    changed += [f"{name} is gone" for name in old.parameters if name not in new.parameters]
    reasons += [f"parameter {text}" for text in changed]
    inputs = [name for name, token in new.inputs.items() if old.inputs.get(name) != token]
    inputs += [
        name
        for name, token in old.inputs.items()
        if token == MEANWHILE and name not in new.inputs  # in a list, or what the code reads
    ]
    if inputs:
        reasons.append(f"input {', '.join(inputs)} changed")
    if old.serializer != new.serializer:
        reasons.append(f"serializer changed ({old.serializer} → {new.serializer})")
    only_parameters = bool(changed) and len(reasons) == len(changed)
    only_inputs = bool(inputs) and len(reasons) == 1
    why = "; ".join(reasons) or RULES_CHANGED
    return why, only_parameters, only_inputs


def _shown(recipe: Recipe, name: str) -> str:
    return recipe.shown.get(name) or _short(recipe.parameters[name])


def _short(token: str) -> str:
    kind, _, text = token.partition(":")
    shown = text if text and len(kind) <= 2 and kind != "h" else "another value"
    return shown if len(shown) <= 40 else shown[:37] + "…"


def summary(reasons: Counter[str], total: int) -> str:
    """Return the reasons of one task with counts, most frequent first."""
    shown = [
        f"{count:,} of {total:,} recomputed: {reason}" for reason, count in reasons.most_common(3)
    ]
    if len(reasons) > 3:
        shown.append(f"{len(reasons) - 3} further reasons")
    return "; ".join(shown)
