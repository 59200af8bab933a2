"""What a place may do with files that are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from databacked.errors import StorageError
from databacked.places.judge import Found

KNOWN = {
    "when_stale": ("recompute", "warn", "keep"),
    "when_edited": ("keep", "replace"),
    "when_unknown": ("stop", "accept", "replace"),
}
"""What each option may be."""


@dataclass(frozen=True)
class Rules:
    """How a task's result wants its files to be treated."""

    when_stale: Literal["recompute", "warn", "keep"] = "recompute"
    when_edited: Literal["keep", "replace"] = "keep"
    when_unknown: Literal["stop", "accept", "replace"] = "stop"

    from_path: bool = False
    """Whether the task wrote a file by itself, and returns its path."""

    always: bool = False
    """With ``location=``: every run writes."""


def replaces(found: Found, rules: Rules) -> bool:
    """Whether what was changed by hand is to be moved aside and made again."""
    changed = found.kind in ("edited", "unusable")
    return changed and (rules.always or rules.when_edited == "replace")


def rules_of(result: Any) -> Rules:
    """Return the rules that a result has as options of the same names."""
    given = {name: getattr(result, name) for name in KNOWN}
    return Rules(**given, from_path=getattr(result, "from_path", False))


def check_rules(result: Any) -> None:
    """Raise `StorageError` for a ``when_…=`` that does not exist: it would be taken for another."""
    problems = [
        f"{name}={given!r}: {', '.join(map(repr, known))} were expected"
        for name, known in KNOWN.items()
        if (given := getattr(result, name)) not in known
    ]
    if problems:
        raise StorageError(f"{type(result).__name__}: {'; '.join(problems)}.")
