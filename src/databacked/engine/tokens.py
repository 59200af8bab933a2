"""What the arguments of items count by."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeAlias

from databacked.errors import FingerprintError
from databacked.fingerprint.files import known_file_tokens
from databacked.fingerprint.parameters import token as token_of_value
from databacked.fingerprint.parameters import tokens as tokens_of_values
from databacked.fingerprint.urls import is_url
from databacked.graph.futures import Future, replace_futures
from databacked.graph.inputs import Column, Plain
from databacked.graph.nodes import UNLOOKED, Node
from databacked.types import Unlooked
from databacked.worker.messages import OF_TASK, token_of_filled, token_of_list, with_keys

FAILED_TOKEN = "x:failed"
"""What an item counts by that failed, for who takes marks."""

Token: TypeAlias = Callable[[Node, int], str | None]


def token_of(given: Any, token: Token, root: str | Path) -> str | None:
    """Return what an argument with futures in it counts by; None while that of one is not known.

    Parameters
    ----------
    token
        Says what an item counts by.
    """
    if type(given) is Future:
        return _token_of_future(given, token)
    unknown = False

    def known(future: Future) -> Any:
        nonlocal unknown
        found = _token_of_future(future, token)
        unknown = unknown or found is None
        return OF_TASK, found

    filled = replace_futures(given, known)
    return None if unknown else token_of_filled(filled, root)


def _token_of_future(future: Future, token: Token) -> str | None:
    keys = future.keys
    found = [token(*item) for item in future.items()]
    tokens = [one if one is None or one == FAILED_TOKEN else with_keys(one, keys) for one in found]
    if future.index is not None:
        return tokens[0]
    return None if None in tokens else token_of_list(tokens)  # type: ignore[arg-type]


def plain_tokens(
    node: Node, files: Mapping[str, bool], root: Path, how: str, odd: dict[int, Exception]
) -> dict[str, Any]:
    """Return the tokens of all arguments of a node that hold no futures.

    A file that would have to be read has none yet: None, one an item.

    Parameters
    ----------
    odd
        Takes the items of which a value cannot be looked at, and why; the others go on.
    """
    found: dict[str, Any] = {}
    for name, arg in node.args.items():
        where = f"{node.name}: the argument {name!r}"
        if isinstance(arg, Plain | Column) and arg.token is not None:
            found[name] = arg.token
            if isinstance(arg, Column):
                _note_unlooked(arg.values, where, odd)
        elif isinstance(arg, Plain):
            if files.get(name):
                (token,) = _file_tokens([arg.value], how)
                found[name] = [None] * node.n if token is None else token
            else:
                found[name] = value_token(arg.value, where, root)
        elif isinstance(arg, Column):
            found[name] = (
                _file_tokens(arg.values, how)
                if files.get(name)
                else _value_tokens(arg.values, where, root, odd)
            )
    return found


def value_token(value: Any, where: str, root: Path | None = None) -> str:
    """Return what a value counts by; `where` it is, is said if it cannot be looked at."""
    if type(value).__name__ == "BackedArray":
        return f"c:{value.content}"
    try:
        return str(token_of_value(value, root))
    except FingerprintError as error:
        raise FingerprintError(f"{where}: {error}") from None


def _value_tokens(
    values: Sequence[Any], where: str, root: Path, odd: dict[int, Exception]
) -> list[str]:
    if not {type(value).__name__ for value in values} & {"BackedArray", "Unlooked"}:
        try:
            return list(tokens_of_values(values, root))
        except FingerprintError:
            pass  # one by one: which is it?
    _note_unlooked(values, where, odd)
    found: list[str] = []
    for row, value in enumerate(values):
        token = UNLOOKED
        try:
            if type(value) is not Unlooked:
                token = value_token(value, f"{where} of item {row}", root)
        except FingerprintError as error:
            odd.setdefault(row, error)
        found.append(token)
    return found


def _note_unlooked(values: Sequence[Any], where: str, odd: dict[int, Exception]) -> None:
    for row, value in enumerate(values):
        if type(value) is Unlooked:
            odd.setdefault(row, FingerprintError(f"{where} of item {row}: {value.error}"))


def _file_tokens(values: Sequence[Any], how: str) -> list[str | None]:
    paths = [os.fspath(value) for value in values if isinstance(value, str | PurePath)]
    tokens = known_file_tokens(paths, how)
    return [
        tokens[os.fspath(value)]
        if isinstance(value, str | PurePath)
        else str(token_of_value(value))
        for value in values
    ]


def unread(node: Node, columns: Mapping[str, Any], files: Mapping[str, bool]) -> dict[int, Any]:
    """Return for each item the parameters whose files nobody read yet."""
    found: dict[int, tuple[str, ...]] = {}
    for name in files:
        column = columns.get(name)
        if files[name] and isinstance(column, list):
            for row, token in enumerate(column):
                if token is None:
                    found[row] = (*found.get(row, ()), name)
    return found


def path_of(node: Node, name: str, row: int) -> str:
    """Return the file that a parameter of an item names."""
    return str(os.fspath(node.args[name].given(row)))


def file_parameters(node: Node) -> dict[str, bool]:
    """Say which parameters name files: decided once a parameter, not once an item.

    One annotated as a path, one that gets ``Path`` values, or an unannotated one of which a text
    contains a separator or a suffix and names an existing file or folder.
    """
    found: dict[str, bool] = {}
    arrives = node.task.arrives
    for name, arg in node.args.items():
        kind = arrives.get(name)
        if kind == "text":
            continue
        values = arg.values if isinstance(arg, Column) else [getattr(arg, "value", None)]
        if kind == "path" or any(isinstance(value, PurePath) for value in values[:1]):
            found[name] = isinstance(arg, Column | Plain)
        elif isinstance(arg, Column | Plain) and isinstance(values[0] if values else None, str):
            texts = dict.fromkeys(value for value in values if isinstance(value, str))
            found[name] = any(_names_file(text) for text in texts)
    return found


def _names_file(text: str) -> bool:
    if is_url(text):
        return True
    looks = "/" in text or os.sep in text or "." in text[1:]
    if not looks or len(text) >= 4096 or "\0" in text:
        return False
    return os.path.isfile(text) or os.path.isdir(text)  # the name of a device is a text
