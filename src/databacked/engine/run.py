"""One run of a flow: what must be done, in which order, and by whom.

Four layers, each a module: `state`, `tokens` (forward: what is there), `needs` (backward: what must
be made) and `chains` (to the runner). Here is what a flow asks of them, and what is said.
"""

from __future__ import annotations

import errno
import secrets
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from databacked import capture
from databacked.engine.chains import Chains
from databacked.engine.state import GONE
from databacked.errors import DatabackedError, StorageError
from databacked.graph.copies import copied
from databacked.graph.futures import Future, Futures, Values, futures_in, replace_futures
from databacked.graph.nodes import Dynamic, Node
from databacked.places.orphans import orphans
from databacked.places.parts import get_keys
from databacked.places.place import Bound
from databacked.records.book import records_of
from databacked.records.compaction import compact
from databacked.records.owners import Owner
from databacked.storage.local import storage_error
from databacked.types import Failed
from databacked.worker.failures import in_words


class Run(Chains):
    """The graph of one flow, and its way through."""

    def result(self, asked: Future | Futures) -> Any:
        """Run what a future needs, and return its value; a list for the answer of a map."""
        with self.turn:
            return self._result(asked)

    def _result(self, asked: Future | Futures) -> Any:
        if isinstance(asked, Futures):
            if isinstance(asked.node, Dynamic):
                self._complete(asked.node)
            futures = list(asked)
        else:
            if isinstance(asked.node, Dynamic):
                self._complete(asked.node)
            futures = [asked]
        items = [item for future in futures for item in future.items()]
        self._plan_up_to(max((node.id for node, _ in items), default=-1))
        for node, row in items:
            self._pin(node, row)
        self._go(lambda: all(self._settled(node, row) for node, row in items))
        self.raise_fatal()
        values = [self._value_of_future(future, raises=True) for future in futures]
        return values if isinstance(asked, Futures) else values[0]

    def finish(self, returned: Any) -> Any:
        """Run everything that is wanted, and return what the flow returned, with its values."""
        with self.turn:
            returned = self.returned(returned)
            self._plan_up_to(len(self.nodes))
            self._everything = True
            for future in futures_in(returned):
                self._pin_future(future)
            for node in list(self.nodes):
                self._want_node(node)
            self._go(lambda: not (self._wants or self._unplanned or self.waiting_for))
            self.raise_fatal()
            return replace_futures(returned, self._value_of_future, _answered)

    def table(self, answer: Futures) -> Any:
        """Return what is known of each item of a map, as a DataFrame."""
        from databacked.engine.table import table_of

        with self.turn:
            self._plan_up_to(len(self.nodes))
            return table_of(answer)

    def _pin_future(self, future: Future) -> None:
        """Hold what a future stands for, also where it is not known yet how many items it has."""
        node = future.node
        if isinstance(node, Dynamic) and not node.complete:
            if future.index is not None:
                node.completed.append(lambda: self._pin_future(future))
                return
            node.known.append(lambda number: self._pin_block(node, number))
            for number in range(len(node.blocks)):
                self._pin_block(node, number)
        else:
            for item, row in future.items():
                self._pin(item, row)

    def _pin_block(self, node: Dynamic, number: int) -> None:
        block = node.blocks[number]
        if block is not None:
            self._pin_future(Future(block, None))

    def _go(self, reached: Callable[[], bool]) -> None:
        """Run until a goal is reached."""
        try:
            self._drain()
            while not reached():
                self._dispatch()
                self._drain()
                if not self._flying:
                    if self._fatal is not None or reached():
                        return
                    if not self._ready and not any(self._blocked.values()):
                        raise DatabackedError(
                            f"{self.name} cannot go on: {self._wants} items wait for what nobody "
                            "makes. This is a mistake of databacked; what is done is kept."
                        )
                for result in self.runner.done(0.1):
                    # A runner may answer a batch piece by piece, for instance after a death.
                    self._batches = max(0, self._batches - 1)
                    self._receive(result)
                    self._drain()
                self.show.update(self.progress())
        except KeyboardInterrupt:
            self.close(cancel=True)
            raise
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise storage_error(
                error, error.filename or str(self._scratch.folder), "written"
            ) from error

    def _complete(self, dynamic: Dynamic) -> None:
        self._plan_up_to(len(self.nodes))
        self._go(lambda: dynamic.complete)

    def _settled(self, node: Node, row: int) -> bool:
        if node.id in self._unplanned:
            return False
        node, row = self._real(node, row)
        return node.state[row] == GONE or self._available(node, row)

    def _value_of_future(self, future: Future, raises: bool = False) -> Any:
        if isinstance(future.node, Dynamic) and not future.node.complete:
            return None
        if future.index is None:
            return [self._value(node, row, future.keys, raises) for node, row in future.items()]
        return self._value(*future.items()[0], future.keys, raises)

    def _value(self, node: Node, row: int, keys: tuple[Any, ...], raises: bool) -> Any:
        node, row = self._real(node, row)
        if node.state[row] == GONE:
            failure = node.plan.failures[row]
            if raises:
                raise DatabackedError(f"{node.name}[{row}] has no value: {failure}")
            return Failed(failure)
        if node.plan.spec.remembers:
            return copied(get_keys(node.known[row], keys))
        try:
            value = self._fetched(node, row, keys)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # somebody replaced its file meanwhile, for instance
            failure = self._fail(node, row, error)
            if raises:
                raise DatabackedError(f"{node.name}[{row}] has no value: {failure}") from error
            return Failed(failure)
        return value.copy() if isinstance(value, np.ndarray) else copied(value)

    def progress(self) -> dict[str, tuple[int, Counter[str]]]:
        """Return for each task how many items there are, and what became of them."""
        totals: Counter[str] = Counter()
        lazy: set[str] = set()
        for node in self.nodes:
            if node.plan is None or node.plan.bound is not None:
                totals[node.name] += node.n
            else:  # what nobody needs is not made, and is not left to do either
                totals[node.name] += node.plan.wanted_open
                lazy.add(node.name)
        for name in lazy:
            totals[name] += sum(self.counts[name].values())
        return {name: (total, self.counts[name]) for name, total in totals.items()}

    def reasons(self) -> dict[str, Counter[str]]:
        """Return why items of each task were made again."""
        return {
            name: Counter({reason.removeprefix("="): n for reason, n in found.items()})
            for name, found in self._reasons.items()
            if found
        }

    def notes(self) -> dict[str, Counter[str]]:
        """Return what else is to be said of each task's items, with counts."""
        return {name: Counter(found) for name, found in self._notes.items() if found}

    def opaque(self) -> list[str]:
        """Return what the fingerprint of code cannot follow."""
        return list(self._opaque)

    def damages(self) -> list[str]:
        """Return what was wrong with journals, each once a process."""
        places = dict.fromkeys([*self._folders(), self._values])
        return [note for place in places for note in records_of(place, refresh=False).take_notes()]

    def orphans(self) -> dict[str, tuple[int, int]]:
        """Return how many files and bytes in each place belong to no item of this run.

        Nothing is said where the targets of some items never became known.
        """
        places: dict[Path, tuple[Bound, set[Owner]]] = {}
        for node in self.nodes:
            bound = None if node.plan is None else node.plan.bound
            if bound is None:
                continue
            if node.targets is None or None in node.targets:
                return {}
            places.setdefault(bound.folder, (bound, set()))[1].add(node.plan.spec.owner)
        return orphans(places, self._claims)

    def _folders(self) -> list[Path]:
        return [node.plan.bound.folder for node in self.nodes if node.plan and node.plan.bound]

    def raise_fatal(self) -> None:
        """Raise if the run had to stop, for instance because the disk is full."""
        if self._fatal is not None:
            raise StorageError(self._fatal.exception.partition(": ")[2])

    def close(self, *, cancel: bool = False) -> None:
        """End the run: let values go."""
        try:
            if self._opened:
                self._opened = False
                self.runner.close(cancel=cancel)
        finally:
            if self._captures:
                self._captures = False
                capture.stop()
            self._scratch.close()
            self.show.close()

    def tidy(self) -> None:
        """Make one of the journals of many runs; it can wait, so what fails here is only said."""
        try:
            for folder in dict.fromkeys([*self._folders(), self._values]):
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


def new_id() -> str:
    """Return the name of a run: when it started (UTC), and a few random letters."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
