"""Runners of this process: the calling thread, and threads."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

from databacked.runners.base import Chain, Key, Runner, Works, drain, worked_through
from databacked.runners.cores import caps, cores
from databacked.runners.stores import MemoryStore


class CallingThreadRunner(Runner):
    """Runs every item in the thread that called the flow, so that a debugger stops in it."""

    in_this_thread = True

    def open(self, make_worker: Callable[[Mapping[int, Any], Any], Works], scratch: Path) -> None:
        self._specs: dict[int, Any] = {}
        self._store = MemoryStore(scratch)
        self._worker = make_worker(self._specs, self._store)
        self._done: list[list[Any] | BaseException] = []

    def learn(self, number: int, spec: Any) -> None:
        self._specs[number] = spec

    def submit(self, batch: Sequence[Chain]) -> None:
        self._done.extend(worked_through(self._worker, batch))

    def done(self, timeout: float) -> list[list[Any] | BaseException]:
        found, self._done = self._done, []
        return found

    def fetch(self, key: Key) -> Any:
        return self._store.get(key)

    def drop(self, key: Key) -> None:
        self._store.drop(key)

    def close(self, *, cancel: bool = False) -> None:
        self._done = []


class ThreadRunner(Runner):
    """Runs items in threads of this process: starts at once, and shares memory.

    Parameters
    ----------
    workers
        How many threads; the default is the number of cores.
    resources
        How much there is of what tasks ask for by ``resources=``, for example ``{"GPU": 2}``.

    Notes
    -----
    While it runs, libraries that start threads of their own (BLAS, OpenMP) get their share of the
    cores, so that 8 workers do not start 8 × 8 threads.
    """

    def __init__(
        self, workers: int | None = None, resources: Mapping[str, float] | None = None
    ) -> None:
        self.workers = workers or cores()
        self.one_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
        self.resources = dict(resources or {})

    def open(self, make_worker: Callable[[Mapping[int, Any], Any], Works], scratch: Path) -> None:
        self._specs: dict[int, Any] = {}
        self._store = MemoryStore(scratch)
        self._worker = make_worker(self._specs, self._store)
        # Threads of its own, not those of a pool: a pool takes nothing any more once the main
        # thread has ended, and a flow may go on in another one.
        self._threads: list[threading.Thread] = []
        self._capped = self.workers > 1
        if self._capped:
            caps.lower(max(1, cores() // self.workers))
        self._todo: queue.SimpleQueue[Sequence[Chain] | None] = queue.SimpleQueue()
        self._queue: queue.SimpleQueue[list[Any] | BaseException] = queue.SimpleQueue()

    def learn(self, number: int, spec: Any) -> None:
        self._specs[number] = spec

    def submit(self, batch: Sequence[Chain]) -> None:
        self._todo.put(batch)
        if len(self._threads) < self.workers:
            thread = threading.Thread(
                target=copy_context().run,
                args=(self._serve,),
                name=f"databacked_{len(self._threads)}",
                daemon=True,  # it lives as long as the thread that its flow runs in
            )
            thread.start()
            self._threads.append(thread)

    def _serve(self) -> None:
        while (batch := self._todo.get()) is not None:
            self._run(batch)

    def _run(self, batch: Sequence[Chain]) -> None:
        try:
            for result in worked_through(self._worker, batch):
                self._queue.put(result)
        except BaseException as error:
            self._queue.put(error)

    def done(self, timeout: float) -> list[list[Any] | BaseException]:
        return drain(self._queue, timeout)

    def fetch(self, key: Key) -> Any:
        return self._store.get(key)

    def drop(self, key: Key) -> None:
        self._store.drop(key)

    def close(self, *, cancel: bool = False) -> None:
        if cancel:
            self._forget()
        for _ in self._threads:
            self._todo.put(None)
        while self._threads:
            self._threads[-1].join()
            self._threads.pop()
        if self._capped:
            self._capped = False
            caps.lift()

    def _forget(self) -> None:
        """Drop what nobody has begun."""
        with suppress(queue.Empty):
            while True:
                self._todo.get_nowait()
