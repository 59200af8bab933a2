"""What must run, and why: pure decisions about what was found.

Nothing here touches a disk; what has to be looked up comes as a callable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from databacked.records import NONE, Record
from databacked.stats import Stat
from databacked.types import Description

Kind = Literal["missing", "ours", "edited", "foreign"]


@dataclass(frozen=True)
class Found:
    """What lies at a target, and whose it is."""

    kind: Kind
    """``ours``: a record of this task describes the file. ``edited``: changed by hand since."""

    stat: Stat | None = None
    """Size and time of the file; None if there is none (``ours``: the value was None)."""

    records: tuple[Record, ...] = ()
    """The claims that fit the file (several recipes can lead to one content).

    For a foreign file: those of the same task in another notebook. For an edited one: what it was
    made from.
    """

    content: str = ""
    """xxh3-128 of the file's bytes, where known."""

    why: str = ""
    """For a foreign file: what is known of it."""

    description: Description | None = None
    """For a file edited just now: what it holds."""


def whose(
    stat: Stat | None,
    claims: Sequence[Record],
    task: str,
    *,
    task_of: Callable[[Record], str],
    alike: Callable[[str], bool] = lambda other: False,
    is_gone: Callable[[str], bool] = lambda other: False,
    content: Callable[[], str],
    describe: Callable[[], Description],
) -> Found:
    """Say whose the file at a target is.

    Parameters
    ----------
    claims
        All records of the target.
    task
        The task that wants to use or write it.
    alike, is_gone
        Whether another task is one of the same name in another notebook; whether that notebook is
        no longer there, so that what it made passes to this one.
    content, describe
        Read the file: its content hash, and what it holds (raising if it does not open). Called
        only where size and time do not decide.
    """

    def is_mine(claim: Record) -> bool:
        other = task_of(claim)
        return other == task or (alike(other) and is_gone(other))

    if stat is None:
        return _nothing(claims, task, task_of)
    claims = [claim for claim in claims if claim.size >= 0]
    fitting = tuple(claim for claim in claims if claim.stat == stat)
    digest = ""
    if len({claim.content for claim in fitting}) != 1 and claims:
        # No claim fits, or two of one size within one time stamp do: the bytes decide.
        digest = content()
        fitting = tuple(
            claim for claim in claims if claim.size == stat.size and claim.content == digest
        )
    if fitting:
        mine = tuple(filter(is_mine, fitting))
        if not mine:
            usable = tuple(claim for claim in fitting if alike(task_of(claim)))
            return Found("foreign", stat, usable, why=f"it is a result of {task_of(fitting[-1])}")
        kind: Kind = "edited" if mine[-1].state == "e" else "ours"
        return Found(kind, stat, mine, mine[-1].content)
    mine = tuple(filter(is_mine, claims))
    if not mine:
        return Found("foreign", stat, why="nothing is recorded about it")
    try:
        held = describe()
    except Exception as error:  # any reason why it does not open makes it damaged
        return Found("foreign", stat, why=f"it does not open ({error})")
    for claim in reversed(mine):
        shape, dtype = claim.details.get("shape"), claim.details.get("dtype")
        if shape is None or held.shape is None or (tuple(shape), dtype) == (held.shape, held.dtype):
            return Found("edited", stat, (claim,), digest, "edited by hand", held)
    return Found(
        "foreign",
        stat,
        why=f"it holds {held.shape} {held.dtype} instead of {tuple(shape or ())} {dtype}",
    )


def _nothing(claims: Sequence[Record], task: str, task_of: Callable[[Record], str]) -> Found:
    """Say what it means that no file is there: None was the value, or the file is missing."""
    mine = [claim for claim in claims if task_of(claim) == task]
    # A recipe that gave a file once: somebody removed it.
    gone = {claim.recipe for claim in mine if claim.size >= 0}
    none = tuple(claim for claim in mine if claim.size < 0 and claim.recipe not in gone)
    return Found("ours", None, none, NONE) if none else Found("missing")


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
    for name, part in parts.items():
        if part.kind == "foreign":
            return Found("foreign", stat, why=f"{name}: {part.why}")
    now = {name: NONE if part.stat is None else part.content for name, part in parts.items()}
    joined = ",".join(f"{name}={content}" for name, content in now.items())
    fitting = tuple(claim for claim in claims if claim.content == joined)
    if fitting:
        kind: Kind = "edited" if fitting[-1].state == "e" else "ours"
        return Found(kind, stat, fitting, joined)
    edited = {name for name, part in parts.items() if part.kind == "edited"}
    for claim in reversed(claims):
        before = contents(claim.content)
        if edited and all(before.get(name) == now[name] for name in now if name not in edited):
            return Found("edited", stat, (claim,), joined, f"edited by hand ({', '.join(edited)})")
    return Found("missing", stat)  # one was removed, or they are of different runs


def contents(joined: str) -> dict[str, str]:
    """Return the content of each file from that of an item with several outputs."""
    return dict(part.split("=", 1) for part in joined.split(",") if "=" in part)


def is_hit(found: Found, recipe: str) -> bool:
    """Whether what was found can be used for a recipe as it is."""
    if found.kind == "edited":
        return True
    # A foreign file has records only where they are of the same task in another notebook.
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


def why_stale(
    old: Recipe, new: Recipe, explain_code: Callable[[Recipe, Recipe], str]
) -> tuple[str, bool]:
    """Return the reason why a record does not fit, and whether only parameters changed."""
    reasons: list[str] = []
    if old.code != new.code:
        reasons.append(explain_code(old, new))
    changed = [
        f"{name} changed ({_short(old.parameters[name])} → {_short(token)})"
        if name in old.parameters
        else f"{name} is new"
        for name, token in new.parameters.items()
        if old.parameters.get(name) != token
    ]
    changed += [f"{name} is gone" for name in old.parameters if name not in new.parameters]
    reasons += [f"parameter {text}" for text in changed]
    inputs = [name for name, token in new.inputs.items() if old.inputs.get(name) != token]
    if inputs:
        reasons.append(f"input {', '.join(inputs)} changed")
    if old.serializer != new.serializer:
        reasons.append(f"serializer changed ({old.serializer} → {new.serializer})")
    only_parameters = bool(changed) and len(reasons) == len(changed)
    return "; ".join(reasons) or "the rules of the fingerprint changed", only_parameters


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
