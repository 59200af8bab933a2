"""What a run would make, without making it: the run's own graph, planner and scheduler.

There is no crew here and no recorder, so that nothing can be written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, NoReturn

from databacked.engine.forward import Forward
from databacked.engine.items import DUE, HERE, IDLE, LOST, OPEN, TWIN, Items
from databacked.engine.limits import allowing
from databacked.engine.planner import Planner
from databacked.engine.scheduler import Scheduler
from databacked.engine.spec import Specs, check_forced
from databacked.engine.verdict import Verdict
from databacked.graph.calls import Graph
from databacked.graph.futures import Future, Futures, futures_in
from databacked.graph.growing import ITEM, RETURNED
from databacked.graph.nodes import Dynamic, Item, Node
from databacked.graph.outline import Asked
from databacked.places.parts import get_keys
from databacked.project.root import Project
from databacked.records.record import Record
from databacked.runners.base import Runner
from databacked.types import Failure
from databacked.worker.failures import failure_of
from databacked.worker.messages import shown
from databacked.worker.reuse import bare_claim

MISSING = {
    "missing": "not there yet",
    "foreign": "the file there is not its own",
    "unusable": "the file there was changed to what cannot be used",
    "edited": "edited by hand, and to be replaced",
}
"""Why an item is to be made that no record explains, by what lies at its target."""


@dataclass(frozen=True)
class TaskPlan:
    """What would become of the items of one task."""

    fresh: int = 0
    """Items that are there and stay."""

    due: int = 0
    """Items that are to be made."""

    open: int = 0
    """Items that may have to be made, as what they read is made first: it may come out the same."""

    failed: int = 0
    """Items that cannot be made."""

    unneeded: int = 0
    """Items that are not kept, and that nothing needs."""

    grows: bool = False
    """Whether further items become known only while the flow runs."""

    reasons: Mapping[str, int] = field(default_factory=dict)
    """Why items are due, or may be, with counts."""


@dataclass(frozen=True)
class Plan:
    """What a run would make, task by task; printed as a table."""

    name: str
    """The flow."""

    tasks: Mapping[str, TaskPlan]
    """What would become of the items of each task, by its name."""

    failures: tuple[Failure, ...] = ()
    """Items that cannot be made."""

    asks: str = ""
    """The task whose value the flow asks for, and that is not there; what the flow does with it is
    not known."""

    @property
    def due(self) -> int:
        """How many items are to be made in all."""
        return sum(task.due for task in self.tasks.values())

    def __str__(self) -> str:
        width = max((len(name) for name in self.tasks), default=4)
        lines = [f"{self.name}: {self.due:,} items to make"]
        lines += [f"  {name:<{width}}  {_words(task)}" for name, task in self.tasks.items()]
        if self.asks:
            lines.append(f"  … and what depends on the .result() of {self.asks}")
        lines += [f"  {one.task}[{one.item}] fails: {one.exception}" for one in self.failures[:3]]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _words(task: TaskPlan) -> str:
    said = [f"{task.fresh:,} fresh"] if task.fresh else []
    said += [f"{task.due:,} to make"] if task.due else []
    said += [f"up to {task.open:,} more"] if task.open else []
    said += [f"{task.failed:,} fail"] if task.failed else []
    said += ["and what becomes known while it runs"] if task.grows else []
    why = "; ".join(f"{count:,} × {reason}" for reason, count in task.reasons.items())
    return (", ".join(said) or "nothing to do") + (f" ({why})" if why else "")


class Outlook:
    """A flow as far as it is known without anybody at work.

    Parameters
    ----------
    default
        The result of tasks that have only a target.
    runners
        By the name of a task; what they have says what could never run.
    """

    def __init__(
        self,
        project: Project,
        name: str,
        default: Any,
        runners: Mapping[str, Runner],
        force: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.graph = Graph(self)
        self._project = project
        self._scheduler = Scheduler(self.graph)
        specs = Specs(project, name, default, force, reads_only=True)
        self._planner = Planner(project, specs, self._scheduler, lambda progress: None)
        self._forward = Forward(
            self.graph, self._planner, self._scheduler, allowing(runners), self, self._fetched
        )
        self._failures: list[Failure] = []
        self._edited: dict[Item, Record] = {}
        """What a run would record of items that were edited or accepted."""
        self._perhaps: set[Item] = set()
        """Items that are not made if what they read comes out the same."""
        self._reasons: dict[str, Counter[str]] = {}
        self._asks = ""

    # What a flow asks for: what is there can be had, else nobody knows how it goes on

    def result(self, asked: Future | Futures) -> Any:
        """Return a value that is there; else the flow cannot be followed any further."""
        with self.graph.turn:
            self._forward.go_on()
            node = asked.node
            if isinstance(node, Dynamic) and not node.complete:
                self._stop(asked)
            futures = list(asked) if isinstance(asked, Futures) else [asked]
            values = []
            for future in futures:
                found = [self._value(item, future, asked) for item in future.items()]
                values.append(found if future.index is None else found[0])
            return values if isinstance(asked, Futures) else values[0]

    def table(self, asked: Futures) -> Any:
        """Return what is known of each item of a map; of those that are there, that they stay."""
        from databacked.engine.table import table_of

        with self.graph.turn:
            self._forward.go_on()
            if isinstance(asked.node, Dynamic) and not asked.node.complete:
                self._stop(asked)
            return table_of(asked, self._scheduler, self._became)

    def _became(self, node: Node, row: int) -> str:
        return "reused" if self._scheduler.is_here(node, row) else ""

    def _value(self, item: Item, future: Future, asked: Future | Futures) -> Any:
        node, row = self._scheduler.real(*item)
        items = self._scheduler.of(node)
        if not items.is_open or items.status[row] != HERE:
            self._scheduler.want(node, (row,))
            self._stop(asked)
        return get_keys(self._fetched(items, row), future.keys)

    def _stop(self, asked: Future | Futures) -> NoReturn:
        self._asks = asked.node.name
        raise Asked

    def _fetched(self, items: Items, row: int) -> Any:
        if items.spec.remembers:
            return items.node.known[row]
        edited = self._edited.get((items.node, row))
        if edited is not None and items.place is not None:
            return items.place.value(edited)
        return items.value(row)

    # What is found out

    def opened(self, items: Items) -> None:
        """Nothing is to be said of a node."""

    def begin(self, items: Items, verdict: Verdict) -> Verdict:
        """Count why items are to be made."""
        items.node.known.update(verdict.recalled)
        self._perhaps.update((items.node, row) for row in verdict.perhaps)
        for row, (found, state) in verdict.settle.items():
            assert items.place is not None
            assert items.targets is not None
            claim = bare_claim(items.spec, "")
            target = str(items.targets[row])
            self._edited[items.node, row] = items.place.settlement(found, target, claim, state)[0]
        reasons = self._reasons.setdefault(items.node.name, Counter())
        reasons.update(reason.text for reason in verdict.why.values())
        if items.spec.is_kept:
            for there in verdict.due.values():
                kind = "always written" if there is None else MISSING.get(there.kind, "")
                kind = there.why if there is not None and there.why and kind else kind
                reasons[kind] += bool(kind)
        return verdict

    def failed(self, items: Items, row: int, error: BaseException) -> Failure:
        """Take an error for the failure of an item."""
        target = None if items.targets is None else items.targets[row]
        failure = failure_of(
            error, items.node.name, shown(target or str(row)), {}, str(self._project.root)
        )
        self._failures.append(failure)
        return failure

    def count_all(self, items: Iterable[Item], word: str) -> None:
        """What becomes of items is read from the columns at the end."""

    def plan(self, function: Callable[[], Any]) -> Plan:
        """Follow a flow's function as far as it goes, and return what a run would make."""
        try:
            returned = self.graph.returned(function())
            futures = futures_in(returned)
        except Asked:
            futures = []
        check_forced(self._planner.forced, self.graph)
        self._forward.finish(futures)
        self._forward.go_on()
        return Plan(self.name, self._tasks(), tuple(self._failures), self._asks)

    def _tasks(self) -> dict[str, TaskPlan]:
        counts: dict[str, Counter[str]] = {}
        for items in self._scheduler.tables:
            if items.node.task in (ITEM, RETURNED):  # no calls of the flow
                continue
            found = counts.setdefault(items.node.name, Counter())
            for row in range(items.n):
                found[self._word(items, row)] += 1
        growing = {call.name for call in self.graph.growth.maps if not call.complete}
        names = dict.fromkeys([*(one.name for one in self.graph.calls), *counts])
        return {
            name: TaskPlan(
                **counts.get(name, Counter()),
                grows=name in growing,
                reasons={why: n for why, n in self._reasons.get(name, Counter()).items() if n},
            )
            for name in names
        }

    def _word(self, items: Items, row: int) -> str:
        status = items.status[row]
        if status == TWIN:
            node, index = self._scheduler.real(items.node, row)
            status = self._scheduler.of(node).status[index]
            return "open" if status == OPEN else "failed" if status == LOST else "fresh"
        if status == DUE:
            return "open" if (items.node, row) in self._perhaps else "due"
        if status in (HERE, LOST):
            return "fresh" if status == HERE else "failed"
        if not items.is_open or self._scheduler.is_relevant(items, row):
            return "open"
        return "open" if items.spec.is_kept and status in (OPEN, IDLE) else "unneeded"
