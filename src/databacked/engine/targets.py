"""Where the files of items lie: whole columns of targets, and whether a place can hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from databacked.errors import TargetError, UnknownFilesError
from databacked.graph.calls import target_values
from databacked.graph.futures import Future
from databacked.graph.inputs import Column, Element, Plain
from databacked.graph.nodes import Input, Node
from databacked.graph.sketch import holds_unknown
from databacked.graph.target import NotYet, Outputs, Target, Touched, check_case, check_targets
from databacked.places.parts import get_keys
from databacked.places.place import Place
from databacked.records.book import Records
from databacked.records.record import JOIN
from databacked.storage.looks import Stat


def targets_now(node: Node, target: Target) -> list[str | None]:
    """Return the targets of all items; None of those that depend on what is not known yet."""
    plain = None if target.is_callable else targets_of(node, target, node.args)
    if plain is not None:
        return list(plain)
    return [target_of(node, row) for row in range(node.n)]


def target_of(node: Node, row: int) -> str | None:
    """Return an item's target; None if it depends on what is not known yet."""
    target = node.task.target
    assert target is not None
    values = target_values(node, row, lambda name: _known_argument(node, name, row))
    if target.is_callable:
        try:
            return target.call(values, node.name)
        except Touched:
            return None
    if any(isinstance(values[name], NotYet) for name in target.names):
        return None
    return target.of_item(values)


def _known_argument(node: Node, name: str, row: int) -> Any:
    """Return what is known of an argument that comes from a task."""
    given = node.args[name].given(row)
    if type(given) is not Future:
        held = isinstance(node.args[name], Element) and not holds_unknown(given)
        return given if held else NotYet(name)
    if given.index is None:
        return NotYet(name)
    ((above, index),) = given.items()
    known = above.known.get(index, NotYet(name))
    return known if type(known) is NotYet else get_keys(known, given.keys)


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
            whole = all(
                isinstance(value, float) and (value != value or value.is_integer())
                for value in arg.values
            )
            if arg.of_table and arg.values and whole:
                found.append(
                    f"{name} in the target holds floats, such as {arg.values[0]!r}: a column of "
                    "whole numbers becomes float through a missing value. Drop these rows, or use "
                    f"{name}.astype('Int64')"
                )
    return list(dict.fromkeys(found))


def folders_in_names(node: Node, target: Target) -> list[str]:
    """Return in words which texts make folders, because they hold a ``/`` (``well A/1``)."""
    found: list[str] = []
    for part in target.outputs.values() if isinstance(target, Outputs) else (target,):
        for _, name, attributes, _, conversion in part.parts:
            arg = None if name is None else node.args.get(name)
            if attributes or conversion or not isinstance(arg, Column | Plain):
                continue
            values = arg.values if isinstance(arg, Column) else [arg.value]
            first = next((one for one in values if isinstance(one, str) and "/" in one), None)
            if first is not None:
                found.append(
                    f"{name} in the target holds a /, such as {first!r}: what stands before it is "
                    f"a folder. If none is meant: {name}.replace('/', '-')"
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


def check_legal(targets: Sequence[str], place: Place, name: str) -> None:
    """Raise for targets that cannot be files of this place."""
    count = len(place.format.names()) or 1
    check_targets(targets, name, count)
    written: tuple[str, ...] = ()
    if targets and count == 1:  # most end as they are written
        ((_, by),) = place.format.files(targets[0])
        written = tuple(by.suffixes)
    odd = [
        (file, serializer)
        for target in targets
        if not (written and target.endswith(written))
        for file, serializer in place.format.files(target)
        if not file.lower().endswith(serializer.suffixes)
    ]
    if odd:
        first, serializer = odd[0]
        raise TargetError(
            f"{name}: {len(odd)} of {len(targets)} targets, for example {first!r}, do not end as "
            f"{type(serializer).__name__} writes files: {', '.join(serializer.suffixes)}. Change "
            "target= or the result's serializer."
        )
    if place.storage.ignores_case():
        check_case(list(dict.fromkeys(targets)), name)


def refuse_unknown(node: Node, place: Place, records: Records, stats: Mapping[str, Stat]) -> None:
    """Raise if a place holds files at the targets but no journal says who made them."""
    if not stats or records.known or place.rules.when_unknown != "stop":
        return
    shown = ", ".join(sorted(stats)[:3]).replace(JOIN, " + ")
    raise UnknownFilesError(
        f"{node.name}: {place.folder} holds {len(stats):,} of its targets already ({shown}…), and "
        "no record says what made them. Say LocalResult(…, when_unknown='accept') to use them as "
        "they are, or 'replace' to move them aside and make them again."
    )


def changed_packages(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words which third-party packages have another version by now."""
    return ", ".join(
        f"{name} {version} (now {now[name]})"
        for name, version in before.items()
        if now.get(name, version) != version
    )
