"""What the items of a node count by, and what lies at their targets.

Everything about a node that needs no scheduling: its specification for the workers, the tokens of
its arguments, recipes, targets and whose the files there are. Done for whole columns at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from databacked.engine.spec import Plan
from databacked.errors import FingerprintError, TargetError, UnknownFilesError
from databacked.fingerprint.files import known_file_tokens
from databacked.fingerprint.parameters import token as token_of_value
from databacked.fingerprint.parameters import tokens as tokens_of_values
from databacked.fingerprint.urls import is_url
from databacked.graph.futures import Future, replace_futures
from databacked.graph.inputs import Column, Element, Plain
from databacked.graph.nodes import UNLOOKED, Input, Item, Node
from databacked.graph.sketch import holds_unknown
from databacked.graph.target import Outputs, Target, check_case, check_targets
from databacked.places.place import Bound
from databacked.records.book import Records
from databacked.storage.looks import JOIN, Stat
from databacked.types import Unlooked
from databacked.worker.messages import OF_TASK, token_of_filled, token_of_list, with_keys

FAILED_TOKEN = "x:failed"


# ---------------------------------------------------------------- inputs of an item


def row_inputs(node: Node, row: int) -> Iterator[Item]:
    """Yield the items that one item reads, besides those that all items of its node read."""
    for arg in node.args.values():
        yield from arg.items(row)


def nested_inputs(node: Node) -> Iterator[Item]:
    """Yield the items that all items of a node read."""
    for arg in node.args.values():
        yield from arg.shared()


# ---------------------------------------------------------------- tokens


def token_of_future(future: Future, marks: bool, gone: Callable[[Node, int], bool]) -> str | None:
    """Return what a future counts by; None if it is not known yet."""
    if future.index is not None:
        return token_of_item(*future.items()[0], future.keys, marks, gone)
    tokens = [token_of_item(node, row, future.keys, marks, gone) for node, row in future.items()]
    return None if None in tokens else token_of_list(tokens)  # type: ignore[arg-type]


def token_of_item(
    node: Node, row: int, keys: tuple[Any, ...], marks: bool, gone: Callable[[Node, int], bool]
) -> str | None:
    """Return what an item, or a part of it, counts by; None if it is not known yet."""
    if marks and gone(node, row):
        return FAILED_TOKEN
    token = node.token[row]
    return None if token is None else with_keys(token, keys)


def token_of_nested(
    value: Any,
    refs: Sequence[Future],
    marks: bool,
    gone: Callable[[Node, int], bool],
    root: str | Path,
) -> str | None:
    """Return the token of a value that holds futures."""
    if len(refs) == 1 and type(value) is Future:
        return token_of_future(refs[0], marks, gone)
    unknown = False

    def known(future: Future) -> Any:
        nonlocal unknown
        token = token_of_future(future, marks, gone)
        unknown = unknown or token is None
        return OF_TASK, token

    filled = replace_futures(value, known)
    return None if unknown else token_of_filled(filled, root)


def element_token(arg: Element, row: int, root: Path) -> str | None:
    """Return what an element counts by: its content when small, else its place."""
    known = arg.known[row]
    if not holds_unknown(known):
        return _value_token(known, "element", root)
    above = arg.node.token[arg.index]
    return None if above is None else with_keys(above, (*arg.keys, row))


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
                found[name] = _value_token(arg.value, where, root)
        elif isinstance(arg, Column):
            found[name] = (
                _file_tokens(arg.values, how)
                if files.get(name)
                else _value_tokens(arg.values, where, root, odd)
            )
    return found


def _value_token(value: Any, where: str, root: Path | None = None) -> str:
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
                token = _value_token(value, f"{where} of item {row}", root)
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


def recipes_of(plan: Plan, n: int) -> list[str | None]:
    """Return the recipes of all items; None for those of which an input is not known yet."""
    if plan.nested_missing or any(column is None for column in plan.columns.values()):
        return [None] * n
    columns: list[Any] = []
    for name in plan.spec.order:
        column = plan.columns[name]
        columns.append(column if isinstance(column, list) else [column] * n)
    recipe = plan.spec.recipe
    if not columns:
        return [recipe(())] * n
    if not any(plan.missing) and not plan.unread:
        return [recipe(row) for row in zip(*columns, strict=True)]
    return [
        None if missing or index in plan.unread else recipe(row)
        for index, (missing, row) in enumerate(
            zip(plan.missing, zip(*columns, strict=True), strict=True)
        )
    ]


# ---------------------------------------------------------------- targets


def targets_of(node: Node, target: Target, fields: Mapping[str, Input]) -> list[str] | None:
    """Return the targets of all items from their plain arguments; None if some are not plain."""
    columns: dict[str, Sequence[Any]] = {}
    for name in target.names:
        arg = fields[name]
        if isinstance(arg, Plain):
            columns[name] = _Repeated(arg.value, node.n)
        elif isinstance(arg, Column):
            columns[name] = arg.values
        elif isinstance(arg, Element) and not any(holds_unknown(item) for item in arg.known):
            columns[name] = arg.known
        else:
            return None
    return target.of_column(columns, node.n)


def floats_in_names(node: Node, target: Target) -> list[str]:
    """Return in words which columns put whole numbers as floats into targets (``1.0.ome.tiff``)."""
    found: list[str] = []
    for part in target.outputs.values() if isinstance(target, Outputs) else (target,):
        for _, name, attributes, spec, conversion in part.parts:
            arg = None if name is None else node.args.get(name)
            if not isinstance(arg, Column) or attributes or spec or conversion:
                continue
            odd = [
                value
                for value in arg.values
                if isinstance(value, float) and (value != value or value.is_integer())
            ]
            if odd:
                found.append(
                    f"{name} in the target holds floats, such as {odd[0]!r}: a column of whole "
                    "numbers becomes float through a missing value. Drop these rows, or use "
                    f"{name}.astype('Int64')"
                )
    return list(dict.fromkeys(found))


class _Repeated(Sequence[Any]):
    def __init__(self, value: Any, count: int) -> None:
        self._value, self._count = value, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and 0 <= index < self._count:
            return self._value
        raise IndexError(index)


def check_legal(targets: Sequence[str], bound: Bound, name: str) -> None:
    """Raise for targets that cannot be files of this place."""
    check_targets(targets, name, bound.files)
    odd = [
        (file, part.serializer)
        for target in targets
        for file, part in bound.endings(target)
        if not file.lower().endswith(part.serializer.suffixes)
    ]
    if odd:
        first, serializer = odd[0]
        raise TargetError(
            f"{name}: {len(odd)} of {len(targets)} targets, for example {first!r}, do not end as "
            f"{type(serializer).__name__} writes files: {', '.join(serializer.suffixes)}. Change "
            "target= or the result's serializer."
        )
    if bound.storage.ignores_case():
        check_case(list(dict.fromkeys(targets)), name)


def refuse_unknown(node: Node, bound: Bound, records: Records, stats: Mapping[str, Stat]) -> None:
    """Raise if a place holds files at the targets but no journal says who made them."""
    if not stats or records.known or bound.options.when_unknown != "stop":
        return
    shown = ", ".join(sorted(stats)[:3]).replace(JOIN, " + ")
    raise UnknownFilesError(
        f"{node.name}: {bound.folder} holds {len(stats):,} of its targets already ({shown}…), and "
        "no record says what made them. Say LocalResult(…, when_unknown='accept') to use them as "
        "they are, or 'replace' to move them aside and make them again."
    )
