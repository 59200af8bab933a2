"""What runs the items: in this thread, in others, in other processes, on a cluster.

task → [runner] → result → serializer → storage → record → dataset → version → remote
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

Chain: TypeAlias = Sequence[Any]
"""Items that run one after another in one place: an item and what follows from it alone."""

Key: TypeAlias = tuple[int, int]
"""Node and item of a value that is held."""


class Works(Protocol):
    """What a runner calls where an item runs; as ``databacked.worker.worker.Worker`` has it."""

    def run_batch(self, batch: Sequence[Chain]) -> list[Any]:
        """Work through chains.

        Parameters
        ----------
        batch
            Chains as `Runner.submit` got them.

        Returns
        -------
        One outcome an item.
        """
        ...


class Died(Exception):
    """A worker died that had a batch, or other workers with it; the batch can be sent again."""

    def __init__(self, batch: Sequence[Chain]) -> None:
        super().__init__("a worker died")
        self.batch = batch


class Runner(ABC):
    """Takes batches of chains, says when they are done, and holds values that are not kept.

    A held value lives where it was made: the driver sees it only if somebody asks for it. One
    runner serves one run after another: each opens it, with a `scratch` of its own, and closes it.
    """

    workers: int = 1
    """How many chains run at once."""

    in_this_thread: bool = False
    """Whether items run in the thread that called the flow, so that a debugger stops in them."""

    one_lock: bool = False
    """Whether its workers share one interpreter's lock, so that small items gain nothing by it."""

    resources: Mapping[str, float] = {}
    """How much there is of what tasks ask for by ``resources=``; of what is not named: one."""

    @abstractmethod
    def open(self, make_worker: Callable[[Mapping[int, Any], Any], Works], scratch: Path) -> None:
        """Get ready for a run.

        Parameters
        ----------
        make_worker
            Makes what works through batches, from the specs of the nodes and a store of values.
        scratch
            A folder of this run for values that do not fit into memory or cross processes.
        """

    @abstractmethod
    def learn(self, number: int, spec: Any) -> None:
        """Make what the items of a node share known to all workers; comes before its items.

        Parameters
        ----------
        number
            Number of the node in this run; items name it.
        spec
            What ``make_worker`` finds in its specs below that number; can be pickled by cloudpickle
            where items run in other processes.
        """

    @abstractmethod
    def submit(self, batch: Sequence[Chain]) -> None:
        """Start a batch, or queue it.

        Parameters
        ----------
        batch
            Chains of items, which may run in any order, each in one place from its first item on.
            The ``needs()`` of an item are the keys of the held values that it reads.
        """

    @abstractmethod
    def done(self, timeout: float) -> list[list[Any] | BaseException]:
        """Return the outcomes of batches that ended.

        Each outcome comes once; those of a batch may come in pieces. An exception with an attribute
        ``lost`` stands for the one chain that could not be worked through at all. `Died` stands for
        a batch that was with a worker that died: which of its chains it died of, nobody knows yet.
        Any other exception ends the run.

        Parameters
        ----------
        timeout
            Seconds to wait for the first of them, at most.

        Returns
        -------
        Lists of outcomes, and exceptions; empty if none came in time.
        """

    @abstractmethod
    def fetch(self, key: Key) -> Any:
        """Return a held value to the driver; an error if it is not held.

        Parameters
        ----------
        key
            Node and item.

        Returns
        -------
        The value, an array of numpy read-only.
        """

    @abstractmethod
    def drop(self, key: Key) -> None:
        """Let a held value go.

        Parameters
        ----------
        key
            Node and item.
        """

    @abstractmethod
    def close(self, *, cancel: bool = False) -> None:
        """End: wait for what runs. Closing what is closed does nothing.

        Parameters
        ----------
        cancel
            Whether what has not started is dropped.
        """


def worked_through(worker: Works, batch: Sequence[Chain]) -> Iterator[list[Any] | BaseException]:
    """Work through a batch, chain by chain if that fails: only what cannot be run at all is lost.

    Yields
    ------
    Outcomes, and an exception with an attribute ``lost`` for each chain that is.
    """
    try:
        yield worker.run_batch(batch)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if len(batch) == 1:
            yield lost(batch[0], error)
        else:
            for chain in batch:
                yield from worked_through(worker, [again(chain)])


def lost(chain: Chain, error: BaseException) -> BaseException:
    """Return an exception as one that stands for a chain."""
    error.lost = chain  # type: ignore[attr-defined]
    return error


def again(chain: Chain) -> Chain:
    """Return a chain that looks anew at what is there: part of it may have been done."""
    return [work._replace(found=None) for work in chain]


def drain(
    source: queue.SimpleQueue[list[Any] | BaseException], timeout: float
) -> list[list[Any] | BaseException]:
    """Return all that a queue holds; waits for the first."""
    found: list[list[Any] | BaseException] = []
    try:
        found.append(source.get(timeout=timeout))
        while True:
            found.append(source.get_nowait())
    except queue.Empty:
        return found
