"""One run of a flow: the loop around graph, planner, scheduler, batches, crew and recorder.

None of them knows this loop; each does one thing, and can be had alone.
"""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from databacked.capture import Log, occupy
from databacked.display.base import Show
from databacked.engine.batches import Batches
from databacked.engine.crew import Crew
from databacked.engine.forward import Forward
from databacked.engine.items import Items
from databacked.engine.planner import Planner
from databacked.engine.recorder import Recorder
from databacked.engine.scheduler import Scheduler
from databacked.engine.spec import Specs, check_forced
from databacked.errors import DatabackedError, StorageError
from databacked.graph.calls import Graph
from databacked.graph.copies import copied
from databacked.graph.futures import Future, Futures, Several, Values, futures_in, replace_futures
from databacked.graph.nodes import Dynamic, Item, Node
from databacked.places.orphans import orphans
from databacked.places.parts import get_keys
from databacked.places.place import Place
from databacked.project.root import Project
from databacked.records.book import records_of
from databacked.records.compaction import compact
from databacked.records.owners import Owner
from databacked.runners.base import Runner
from databacked.storage.local import storage_error
from databacked.storage.scratch import Scratch
from databacked.types import Failed, Failure
from databacked.worker.columns import Made
from databacked.worker.failures import in_words
from databacked.worker.messages import LEFT, MADE, REUSED, Outcome


class Run:
    """The graph of one flow, and its way through.

    Parameters
    ----------
    runners
        By the name of a task; ``*`` is that of all others.
    default
        The result of tasks that have only a target.
    log
        The file that holds what items say.
    force
        Tasks whose items are made again, by name.
    verbose
        Whether seconds and bytes of each task are said.
    """

    def __init__(
        self,
        project: Project,
        runners: Mapping[str, Runner],
        name: str,
        show: Show,
        id: str,
        default: Any,
        log: Path | None = None,
        force: frozenset[str] = frozenset(),
        verbose: bool = False,
    ) -> None:
        occupy()
        self.project = project
        self.name = name
        self.id = id
        self.show = show
        self.verbose = verbose
        self.graph = Graph(self)
        self._scratch = Scratch(project, id)
        self._scheduler = Scheduler(self.graph)
        self._planner = Planner(
            project, Specs(project, id, default, force), self._scheduler, self.show.update
        )
        self._crew = Crew(runners, self._scheduler, self._scratch.folder, captures=log is not None)
        self._batches = Batches(self._scheduler, self._planner.recipes, self._crew)
        self.recorder = Recorder(project, self._scheduler, show, Log(log))
        self._fatal: Failure | None = None
        self._forward = Forward(
            self.graph,
            self._planner,
            self._scheduler,
            self._crew.allow,
            self.recorder,
            self._fetched,
        )

    # What a flow asks for

    def result(self, asked: Future | Futures) -> Any:
        """Run what a future needs, and return its value; a list for the answer of a map."""
        with self.graph.turn:
            node = asked.node
            if isinstance(node, Dynamic):
                self._until(lambda: node.complete)
            futures = list(asked) if isinstance(asked, Futures) else [asked]
            items = [item for future in futures for item in future.items()]
            self._forward.grow()
            for item in items:
                self._scheduler.pin(*item)
            self._until(lambda: all(map(self._is_settled, items)))
            self.raise_fatal()
            values = [self._value_of_future(future, raises=True) for future in futures]
            return values if isinstance(asked, Futures) else values[0]

    def finish(self, returned: Any) -> Any:
        """Run everything that is wanted, and return what the flow returned, with its values."""
        with self.graph.turn:
            returned = self.graph.returned(returned)
            check_forced(self._planner.forced, self.graph)
            unknown = self._crew.unknown(call.name for call in self.graph.calls)
            if unknown:
                self.show.say(f"runner= names {', '.join(unknown)}: no task of this run")
            self._forward.finish(futures_in(returned))
            self._until(lambda: self._forward.is_done)
            self.raise_fatal()
            return _shown(replace_futures(returned, self._value_of_future, _answered))

    def table(self, answer: Futures) -> Any:
        """Return what is known of each item of a map, as a DataFrame."""
        from databacked.engine.table import table_of

        with self.graph.turn:
            self._forward.grow()
            self._forward.judge()
            return table_of(answer, self._scheduler, self.recorder.became)

    def _is_settled(self, item: Item) -> bool:
        node, row = self._scheduler.real(*item)
        return row in node.lost or self._scheduler.is_here(node, row)

    # The loop

    def _until(self, reached: Callable[[], bool]) -> None:
        """Run until a goal is reached."""
        try:
            while True:
                self._follow()
                if reached() or (self._fatal is not None and self._crew.is_idle):
                    return
                if self._fatal is None:
                    self._send()
                    if self._batches.errors:
                        continue
                if self._crew.is_idle:
                    if not self._batches.is_empty:
                        continue
                    raise DatabackedError(
                        f"{self.name} cannot go on: {self._scheduler.open} items wait for what "
                        "nobody makes. This is a mistake of databacked; what is done is kept."
                    )
                outcomes, ended = self._crew.ended(0.1)
                for flight in ended:
                    self._batches.ended(flight.batch, flight.seconds, flight.busy, flight.alone)
                self.recorder.is_capturing = self._crew.is_capturing
                for outcome in outcomes:
                    if isinstance(outcome, Made):
                        self._take_all(outcome)
                    else:
                        self._take(outcome)
                self.show.update(self.recorder.progress)
        except KeyboardInterrupt:
            self.close(cancel=True)
            raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise storage_error(
                error, error.filename or str(self._scratch.folder), "written"
            ) from error

    def _follow(self) -> None:
        """Follow what is known by now, and let go what nobody needs any more."""
        errors, self._batches.errors = self._batches.errors, []
        for (node, row), error in errors:
            self._forward.fail(node, row, error)
        self._forward.go_on()
        self._crew.drop(self._scheduler.to_drop())

    def _send(self) -> None:
        """Send batches of what is ready, as long as the crew takes them."""
        for pool in self._crew.pools:
            while (batch := self._batches.next(pool)) is not None:
                self._crew.send(batch)

    def _take(self, outcome: Outcome) -> None:
        """Take what a worker says of one item."""
        scheduler = self._scheduler
        items, row = scheduler.tables[outcome.spec], outcome.row
        outcome = self.recorder.note(items, outcome)
        if outcome.state in (MADE, REUSED):
            held = items.spec.is_kept or outcome.held
            scheduler.made(items, row, outcome.token, held)
        elif outcome.state == LEFT:
            scheduler.left(items, row, outcome.token)
        else:
            scheduler.lose(items, row, outcome.failure)
            if outcome.fatal:
                self._fatal = outcome.failure
        scheduler.ended(items, row)
        scheduler.maybe_drop(items.node, row)

    def _take_all(self, made: Made) -> None:
        """Take what a worker says of items that were made as columns."""
        items = self._scheduler.tables[made.spec]
        self.recorder.note_all(items, made)
        tokens = None if made.contents is None else [f"c:{one}" for one in made.contents]
        self._scheduler.made_all(items, made.rows, tokens, items.spec.is_kept or made.held)

    def _fetched(self, items: Items, row: int, keys: tuple[Any, ...] = ()) -> Any:
        """Return the value of an item that is there; whatever its file or its class may raise."""
        if items.place is not None:
            return items.value(row, keys)
        return self._crew.fetch(items.node, row, keys)

    def _value_of_future(self, future: Future, raises: bool = False) -> Any:
        if isinstance(future.node, Dynamic) and not future.node.complete:
            return None
        if future.index is None:
            return [self._value(*item, future.keys, raises) for item in future.items()]
        return self._value(*future.items()[0], future.keys, raises)

    def _value(self, node: Node, row: int, keys: tuple[Any, ...], raises: bool) -> Any:
        node, row = self._scheduler.real(node, row)
        if row in node.lost:
            if raises:
                raise DatabackedError(f"{node.name}[{row}] has no value: {node.lost[row]}")
            return Failed(node.lost[row])
        items = self._scheduler.of(node)
        if items.spec.remembers:
            return copied(get_keys(node.known[row], keys))
        try:
            value = self._fetched(items, row, keys)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # somebody replaced its file meanwhile, for instance
            failure = self._forward.fail(node, row, error)
            if raises:
                raise DatabackedError(f"{node.name}[{row}] has no value: {failure}") from error
            return Failed(failure)
        return value.copy() if isinstance(value, np.ndarray) else copied(value)

    # What is said of it

    def damages(self) -> list[str]:
        """Return what was wrong with journals, each once a process."""
        return [
            note
            for place in self._places()
            for note in records_of(place, refresh=False).take_notes()
        ]

    def orphans(self) -> dict[str, tuple[int, int]]:
        """Return how many files and bytes in each place belong to no item of this run.

        Nothing is said where the targets of some items never became known.
        """
        places: dict[Path, tuple[Place, set[Owner]]] = {}
        for items in self._scheduler.tables:
            if not items.is_open or items.place is None:
                continue
            if items.targets is None or None in items.targets:
                return {}
            owners = places.setdefault(items.place.folder, (items.place, set()))[1]
            owners.add(items.spec.owner)
        return orphans(places, self._planner.claims)

    def _places(self) -> list[Path]:
        tables = self._scheduler.tables
        kept = [one.place.folder for one in tables if one.is_open and one.place is not None]
        return list(dict.fromkeys([*kept, self._planner.small.folder]))

    def raise_fatal(self) -> None:
        """Raise if the run had to stop, for instance because the disk is full."""
        if self._fatal is not None:
            raise StorageError(self._fatal.exception.partition(": ")[2])

    def close(self, *, cancel: bool = False) -> None:
        """End the run: let values go."""
        try:
            self._crew.close(cancel=cancel)
        finally:
            self._scratch.close()
            self.show.close()

    def tidy(self) -> None:
        """Make one of the journals of many runs; it can wait, so what fails here is only said."""
        try:
            for folder in self._places():
                compact(records_of(folder, refresh=False))
        except (Exception, KeyboardInterrupt) as error:
            self.show.say(
                f"journals were not made one ({in_words(error)}); nothing is lost, the next run "
                "tries it again"
            )


def _answered(answer: Futures, values: list[Any]) -> Values:
    """Return the values of a map as a list that knows what they are the values of."""
    found = Values(values)
    found.answer = answer
    return found


def _shown(value: Any) -> Any:
    """Return what a flow returned as a notebook shows it."""
    if type(value) is tuple and any(hasattr(type(one), "_repr_html_") for one in value):
        return Several(value)
    return value


def new_id() -> str:
    """Return the name of a run: when it started (UTC), and a few random letters."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
