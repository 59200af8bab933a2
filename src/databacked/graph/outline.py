"""The graph of a flow as a drawing: its calls are taken, and none of them runs.

[flow] → task → runner → result → serializer → storage → record → dataset → version → remote
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, NoReturn

from databacked.graph.calls import Graph
from databacked.graph.columns import Compacted, Flat, Grouped
from databacked.graph.futures import Future, Futures, futures_in
from databacked.graph.given import parameters_of
from databacked.graph.growing import ITEM
from databacked.graph.inputs import Column, Filled, Items, Mixed, Plain
from databacked.graph.nodes import AnyNode, Dynamic
from databacked.graph.step import Step
from databacked.graph.target import Outputs
from databacked.pictures.boxes import Arrow, Box, Style
from databacked.pictures.drawing import Drawing
from databacked.project.root import Project

APART = 3
"""Calls of one task that read the same boxes are drawn apart up to this number."""


REST = "…the rest depends on a .result()"


class Asked(BaseException):
    """The flow asked for a value; no ``except Exception`` of its own shall swallow that."""


@dataclass(frozen=True)
class Read:
    """One way in which a call reads another one."""

    source: AnyNode
    parameter: str
    keys: tuple[str | int, ...] = ()
    loose: bool = False
    """Whether its items are the elements of what the other one returns: flatten, each."""


class Outline:
    """The graph of a flow as far as it is known before anything runs; touches no disk."""

    def __init__(self) -> None:
        self.graph = Graph(self)
        self.asked: AnyNode | None = None
        """What the flow asked to be computed; it was left there."""

    def result(self, asked: Future | Futures) -> NoReturn:
        """Stop: what comes after is known only once this is computed."""
        self.asked = asked.node
        raise Asked

    def table(self, asked: Futures) -> Any:
        """Return the parameters of each item; stop where somebody asks what became of them."""
        from databacked.graph.known_table import known_table

        if isinstance(asked.node, Dynamic):
            self.result(asked)
        rows = [parameters_of(*item) for future in asked for item in future.items()]
        return known_table(rows, lambda: self.result(asked))

    def drawing(self, project: Project) -> Drawing:
        """Return the calls as boxes, and what they read as arrows."""
        groups = grouped(self.graph.calls)
        name_of = {id(call): str(n) for n, group in enumerate(groups) for call in group.calls}
        drawn = [_box(str(n), group, project) for n, group in enumerate(groups)]
        found: defaultdict[tuple[str, str, bool], dict[str, None]] = defaultdict(dict)
        for number, group in enumerate(groups):
            reads = [read for call in group.calls for read in reads_of(call)]
            names = {(name_of[id(read.source)], read.parameter) for read in reads}
            for read in reads:
                # A box that is fed by one arrow alone needs no word for it.
                said = len(names) > 1 or read.keys or read.loose
                pair = (name_of[id(read.source)], str(number), read.loose)
                found[pair].update({_label(read): None} if said else {})
        arrows = [
            Arrow(source, target, ", ".join(labels), dashed=loose)
            for (source, target, loose), labels in found.items()
        ]
        if self.asked is not None:
            drawn.append(Box("rest", REST, style="rest"))
            arrows.append(Arrow(name_of[id(self.asked)], "rest", ".result()", dashed=True))
        return Drawing(tuple(drawn), tuple(arrows))


def reads_of(call: AnyNode) -> Iterator[Read]:
    """Yield what a call reads of other ones."""
    for name, arg in call.args.items():
        yield from _reads(name, arg)


def _reads(name: str, arg: Any) -> Iterator[Read]:
    match arg:
        case Items() | Futures():
            yield Read(arg.node, name, arg.keys)
        case Filled():
            yield from dict.fromkeys(Read(one.node, name, one.keys) for one in arg.refs)
        case Mixed():
            every = (one for row in arg.refs for one in row)
            yield from dict.fromkeys(Read(one.node, name, one.keys) for one in every)
        case Flat():
            yield from _loosely(name, arg.source if arg.along is None else arg.along)
        case Grouped():
            yield from _loosely(name, arg.group.items if arg.part else arg.group.by)
            if arg.part:
                yield from _loosely("by", arg.group.by)
        case Compacted():
            yield from _loosely(name, arg.compaction.columns[arg.place])


def _loosely(name: str, value: Any) -> Iterator[Read]:
    """Yield what is read where the items become known only while the flow runs."""
    for future in [value] if isinstance(value, Futures | Flat) else futures_in(value):
        if isinstance(future, Future | Futures) and future.node.task is not ITEM:
            yield Read(future.node, name, future.keys, loose=True)
            continue
        # What makes a map of the elements of lists is no call of the flow: its own sources count.
        inner = [future] if isinstance(future, Flat) else future.node.args.values()
        for arg in inner:
            for read in _reads(name, arg):
                yield replace(read, loose=True)


def _label(read: Read) -> str:
    return read.parameter + "".join(f"[{key!r}]" for key in read.keys)


@dataclass(frozen=True)
class Group:
    """The calls of one box."""

    calls: tuple[AnyNode, ...]
    """All of them."""

    different: tuple[AnyNode, ...]
    """One of each: equal calls of a flow are one."""


def grouped(calls: Sequence[AnyNode]) -> list[Group]:
    """Return what is one box: equal calls, and those of a long loop over one task."""
    # First by what they read, whatever their values, to see which tasks are called in a loop.
    alike: dict[int, int] = {}
    equal: dict[int, int] = {}
    numbers: dict[Any, int] = {}
    loops: defaultdict[int, set[int]] = defaultdict(set)
    for call in calls:
        key = (_task(call), *_sources(call, alike))
        alike[id(call)] = numbers.setdefault(key, len(numbers))
        key = (_task(call), _values(call), *_sources(call, equal))
        equal[id(call)] = numbers.setdefault(key, len(numbers))
        loops[alike[id(call)]].add(equal[id(call)])
    boxes: defaultdict[Any, list[AnyNode]] = defaultdict(list)
    for call in calls:
        number = alike[id(call)]
        apart = len(loops[number]) <= APART
        boxes[("equal", equal[id(call)]) if apart else ("loop", number)].append(call)
    return [
        Group(tuple(box), tuple({equal[id(call)]: call for call in box}.values()))
        for box in boxes.values()
    ]


def _sources(call: AnyNode, known: dict[int, int]) -> list[Any]:
    return [(known[id(one.source)], one.parameter, one.keys, one.loose) for one in reads_of(call)]


def _task(call: AnyNode) -> Any:
    task = call.task
    return task.name, id(task.fn), id(task.options.result), str(task.options.target), call.single


def _values(call: AnyNode) -> Any:
    """Return what tells calls of one task apart besides what they read; hashable."""
    return tuple(_value(name, arg) for name, arg in sorted(call.args.items()))


def _value(name: str, arg: Any) -> Any:
    match arg:
        case Plain() | Filled():
            return name, _known(arg.value)
        case Column() | Mixed():
            return name, tuple(map(_known, arg.values))
        case Items() | Futures():
            return name, None if arg.picks is None else tuple(arg.picks)
        case Flat(along=None):
            return name, None if arg.source.picks is None else tuple(arg.source.picks)
        case Grouped():
            return name, id(arg.group), arg.part
        case Compacted():
            return name, id(arg.compaction), arg.place
        case _:
            return name, id(arg)


def _known(value: Any) -> Any:
    """Return what a value is compared by: itself where that is cheap, else which object it is."""
    match value:
        case None | bool() | int() | float() | str():
            return type(value).__name__, value
        case Future():
            return value.index, value.keys
        case Futures():
            return None if value.picks is None else tuple(value.picks), value.keys
        case list() | tuple():
            return type(value).__name__, *map(_known, value)
        case dict():
            return tuple((str(key), _known(item)) for key, item in value.items())
        case _:
            return id(value)


def _box(name: str, group: Group, project: Project) -> Box:
    """Return the box of calls: the task, how many items, and where they are kept."""
    first, several = group.calls[0], len(group.different) > 1
    notes = []
    if any(isinstance(call, Dynamic) for call in group.calls):
        notes.append("× ?")
    elif not first.single:
        notes.append(f"× {sum(call.length() for call in group.different):,}")
    elif several:
        notes.append(f"{len(group.different):,} calls")
    kept = kept_at(first.task, project)
    notes += kept
    style: Style = "kept" if kept else "passing"
    return Box(name, first.name, tuple(notes), style, not first.single or several)


def kept_at(task: Step, project: Project) -> list[str]:
    """Return place and target of a task, one text an output; none if it keeps nothing."""
    result, target = task.options.result, task.target
    if target is None:
        return ["kept in its record"] if task.options.keep else []
    name = getattr(result, "name", None)  # a dataset's
    place = PurePath(getattr(result, "place", project.place))
    if name is not None:
        return [(place / name).as_posix()]
    outputs = list(target.outputs.values()) if isinstance(target, Outputs) else [target]
    return [(place / ("…" if one.is_callable else str(one.given))).as_posix() for one in outputs]
