"""What a run knows of its items: the state that tokens, needs and chains share.

The driver holds what items count by (tokens), never their arrays.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from databacked.capture import Log, occupy
from databacked.engine.limits import Shares
from databacked.engine.progress import Show
from databacked.engine.spec import Fingerprints
from databacked.errors import ResultChangedError
from databacked.graph.calls import Calls
from databacked.graph.nodes import ENDS, Node
from databacked.graph.sketch import decode_known
from databacked.project.folders import STATE, can_write
from databacked.project.root import Project
from databacked.records.book import records_of
from databacked.records.record import Record
from databacked.runners.base import Runner
from databacked.storage.scratch import Scratch
from databacked.types import Failure

# States of an item.
WAITS, LAZY, TODO, SENT, THERE, GONE, ALIAS = range(7)
"""An input is unknown · not kept, not needed · to be made · sent · there · failed · see another."""


END = {word: number for number, word in enumerate(ENDS)}
"""The number of what may become of an item."""


class State(Calls):
    """The graph of one run, and how far each item is."""

    def __init__(
        self,
        project: Project,
        runner: Runner,
        name: str,
        show: Show,
        id: str,
        default: Any,
        log: Path | None = None,
    ) -> None:
        super().__init__()
        occupy()
        self.project = project
        self.runner = runner
        self.name = name
        self.id = id
        self.show = show
        self.log = Log(log)
        """What items say."""
        self._captures = False
        self._warned: dict[tuple[str, str, str], str] = {}
        self.failures: list[Failure] = []
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Made, reused, failed and skipped items of each task."""
        self._fingerprints = Fingerprints(project, id, default)
        self._reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._notes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._claims: dict[tuple[str, str], tuple[Node, int]] = {}
        self._aliases: defaultdict[tuple[int, int], list[tuple[Node, int]]] = defaultdict(list)
        self._await_token: defaultdict[tuple[int, int], list[tuple[Node, int | None]]]
        self._await_token = defaultdict(list)
        """Who waits for an item's token through an argument that holds futures."""
        self._await_value: defaultdict[tuple[int, int], list[Node]] = defaultdict(list)
        """Whose items all wait for an item's value."""
        self._held: set[tuple[int, int]] = set()
        self._ready: deque[tuple[Node, int]] = deque()
        self._later: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._released: list[tuple[Node, int]] = []
        """Items that decided others; whoever reads their values is known by now."""
        self._to_read: list[tuple[Node, int]] = []
        """Items whose input files have to be read to know what they count by."""
        self._unplanned: set[int] = set()
        self._once_planned: defaultdict[int, dict[tuple[Callable[..., None], int], None]]
        self._once_planned = defaultdict(dict)
        """What is asked of items whose node waits for a map whose length is not known yet."""
        self._shares = Shares(runner.resources)
        self._blocked: defaultdict[frozenset[tuple[str, float]], deque[tuple[Node, int]]]
        self._blocked = defaultdict(deque)
        """Items that are ready, but wait for a share of what runs at once, by what they take."""
        self._wants = 0
        self._batches = 0
        self._flying = 0
        """Items that were sent and of which nothing was heard yet."""
        self._seconds_per_chain = 0.0
        self._opened = False
        self._running = False
        self._fatal: Failure | None = None
        self._to_hold: set[tuple[int, int]] = set()
        self._said: set[tuple[str, str]] = set()
        self._opaque: dict[str, None] = {}
        self._everything = False
        self._known_places: dict[Path, bool] = {}
        """Whether a place had any record when this run first looked at it."""
        self._checked: set[Path] = set()
        """Places of which it is known that they can be written to."""
        self._scratch = Scratch(project, id)
        self._values = project.state / "values"
        self._records_values = can_write(self._values / STATE / "journals")

    def released(self, items: list[tuple[Node, int]]) -> None:
        """Let values go of which it is known by now that nobody reads them."""
        self._released += items

    def failure_of(self, node: Node, row: int) -> Any:
        """Return why an item will never be, or None."""
        return node.plan.failures[row] if node.state[row] == GONE else None

    def _gone(self, node: Node, row: int) -> bool:
        return node.state[row] == GONE

    def _real(self, node: Node, row: int) -> tuple[Node, int]:
        while node.state[row] == ALIAS:
            node, row = node.alias[row]
        return node, row

    def _available(self, node: Node, row: int) -> bool:
        if node.plan is None:  # it waits for a map whose length is not known yet
            return False
        if node.plan.spec.is_kept:
            return node.state[row] == THERE
        return (node.id, row) in self._held

    def _count(self, node: Node, row: int, word: str) -> None:
        """Note what became of an item."""
        self.counts[node.name][word] += 1
        node.ended[row] = END[word]

    def _recount(self, node: Node, row: int, word: str) -> None:
        """Note that something else became of an item than was said before."""
        before = ENDS[node.ended[row]]
        if before:
            self.counts[node.name][before] -= 1
        self._count(node, row, word)

    def _final(self, node: Node, row: int) -> None:
        plan = node.plan
        if plan.wanted[row]:
            plan.wanted[row] = 0
            plan.wanted_open -= 1
            self._wants -= 1

    def _record(self, node: Node, row: int) -> Record:
        """Return the record of a kept item that is there."""
        bound, target = node.plan.bound, node.targets[row]  # type: ignore[index]
        content = (node.token[row] or "")[2:]
        records = records_of(bound.folder, refresh=False)
        for record in reversed(records.of(str(target))):
            if record.content == content:
                return record
        raise ResultChangedError(f"{bound.path(target)}: its record is gone. Run the flow again.")

    def _recorded(self, token: str) -> tuple[Any, ...]:
        """Return what a record says of a value, if one can be read: one entry, or none."""
        for record in records_of(self._values, refresh=False).of(token):
            try:
                return (decode_known(record.details["known"]),)
            except (KeyError, TypeError, ValueError):
                continue  # not readable: it is computed again
        return ()

    def _has_records(self, node: Node) -> bool:
        """Whether records hold a value of a task at all."""
        task = node.plan.spec.owner.task
        known = records_of(self._values, refresh=False).contexts.values()
        return any(context.get("task") == task for context in known)
