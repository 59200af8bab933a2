"""What parameters and returned values count by, functions and classes among them included."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from databacked.callables import is_library, written_in
from databacked.errors import FingerprintError
from databacked.fingerprint.code import code_fingerprint
from databacked.fingerprint.files import content_of, file_token
from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.values import QUICK, Tokens
from databacked.project.root import project_at


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
    return _Parameter(root).told(value)


def tokens(values: Sequence[Any], root: Path | str | None = None) -> list[str]:
    """Return the tokens of many values; quick where all are plain numbers or texts."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        quick = QUICK.get(kinds.pop())
        if quick is not None:
            return [quick(value) for value in values]
    known = _Parameter(root)
    return [
        quick(value) if (quick := QUICK.get(type(value))) is not None else known.told(value)
        for value in values
    ]


def content(value: Any, root: Path | str | None = None) -> str | None:
    """Return the token of a value, or None if its content cannot be told."""
    try:
        return token(value, root)
    except FingerprintError:
        return None


def told_apart(old: str, new: str) -> tuple[str, str]:
    """Return two tokens as a reason shows them: ``1`` and ``np.int64(1)`` are not the same."""
    found = _as_numpy(old).get(new), _as_numpy(new).get(old)
    return (found[1] or old), (found[0] or new)


_NUMBERS = (
    np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
    np.float32, np.float64,
)  # fmt: skip


def _as_numpy(said: str) -> dict[str, str]:
    """Return the tokens of numpy's numbers that are equal to Python's number in a token."""
    letter, _, text = said.partition(":")
    if letter not in ("i", "f", "b"):
        return {}
    value = int(text) if letter == "i" else float(text) if letter == "f" else text == "True"
    found: dict[str, str] = {}
    for kind in _NUMBERS:
        try:
            with np.errstate(over="ignore"):
                one = kind(value)
        except OverflowError:
            continue
        if repr(one.item()) == repr(value):
            found[token(one)] = f"np:np.{kind.__name__}({value!r})"
    return found


class _Parameter(Tokens):
    """Tokens in which a file counts by its content, also in the middle of a list or a table.

    A path at which nothing lies counts as it is seen from the project's root.
    """

    def __init__(self, root: Path | str | None) -> None:
        super().__init__(_code_below(root))
        self._root = root

    @property
    def root(self) -> Path:
        """The project's root, asked for by few values."""
        return Path.cwd() if self._root is None else Path(self._root)

    def of_path(self, value: PurePath, where: str) -> str:
        if isinstance(value, Path) and _is_there(value):
            return self.hash("file", file_token(os.fspath(value)))
        return super().of_path(
            value.relative_to(self.root) if value.is_relative_to(self.root) else value, where
        )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # no name that a disk could have
        return False


def _code_below(root: Path | str | None) -> Callable[[Any], str]:
    """Return what tells functions and classes by their code, each of them once."""
    known: dict[int, tuple[Any, str]] = {}

    def code(value: Any) -> str:
        if id(value) in known:
            return known[id(value)][1]
        base = Path.cwd() if root is None else Path(root)
        own = project_at(base).own
        if is_library(written_in(value)) and value.__module__.partition(".")[0] not in own:
            return f"{value.__module__}.{value.__qualname__}"
        found = code_fingerprint(value, root=base, own=own)
        files = [content_of(path) for path in found.paths.values()]
        known[id(value)] = value, hash_texts([found.digest, *files])
        return known[id(value)][1]

    return code
