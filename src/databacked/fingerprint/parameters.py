"""What parameters and returned values count by, functions and classes among them included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from databacked.errors import FingerprintError
from databacked.fingerprint.code import code_fingerprint
from databacked.fingerprint.values import QUICK, Tokens


def token(value: Any, root: Path | str | None = None) -> str:
    """Return what a value counts by.

    Parameters
    ----------
    root
        The project's root, for functions and classes among the values; the current folder if None.

    Raises
    ------
    FingerprintError
        If its content cannot be told: which type, where in the value, what to do.
    """
    quick = QUICK.get(type(value))
    if quick is not None:
        return quick(value)
    return Tokens(_code_below(root)).of(value, "")


def tokens(values: Sequence[Any], root: Path | str | None = None) -> list[str]:
    """Return the tokens of many values; quick where all are plain numbers or texts."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        quick = QUICK.get(kinds.pop())
        if quick is not None:
            return [quick(value) for value in values]
    known = Tokens(_code_below(root))
    return [
        quick(value) if (quick := QUICK.get(type(value))) is not None else known.of(value, "")
        for value in values
    ]


def content(value: Any, root: Path | str | None = None) -> str | None:
    """Return the token of a value, or None if its content cannot be told."""
    try:
        return token(value, root)
    except FingerprintError:
        return None


def _code_below(root: Path | str | None) -> Callable[[Any], str]:
    base = Path.cwd() if root is None else Path(root)
    return lambda value: code_fingerprint(value, root=base).digest
