"""A runner whose workers are processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import cloudpickle

from databacked import capture
from databacked.errors import DatabackedError
from databacked.project.folders import current_folder
from databacked.runners.base import Chain, Died, Key, Runner, Works, again, drain, lost
from databacked.runners.cores import capped_threads, cores
from databacked.runners.outlive import allow_late_ones, before_end_of
from databacked.runners.sending import as_pickle, sending
from databacked.runners.stores import FolderStore

MOST_POOLS = 20
"""Pools of processes that may break one after another before a run gives up."""


class ProcessRunner(Runner):
    """Runs items in processes of their own, for functions that hold Python's global lock.

    The script needs no ``if __name__ == "__main__"`` guard: workers do not run it again. Values
    that are not kept go from worker to worker through files, never through the driver. A worker
    that dies is replaced.

    Parameters
    ----------
    workers
        How many processes; the default is the number of cores.
    resources
        How much there is of what tasks ask for by ``resources=``, for example ``{"GPU": 2}``.
    """

    def __init__(
        self, workers: int | None = None, resources: Mapping[str, float] | None = None
    ) -> None:
        self.workers = workers or cores()
        self.resources = dict(resources or {})

    def open(self, make_worker: Callable[[Mapping[int, Any], Any], Works], scratch: Path) -> None:
        here = current_folder()
        if here is not None and not os.access(here, os.X_OK):
            raise DatabackedError(
                f"Processes start in the current folder, and {here} is one that this user may not "
                'enter. Change to another folder, or use runner="threads".'
            )
        self._scratch = scratch
        self._names: dict[int, str] = {}
        scratch.mkdir(parents=True, exist_ok=True)
        self._make_worker = make_worker
        self._store = FolderStore(scratch)
        self._queue: queue.SimpleQueue[list[Any] | BaseException] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._running: dict[int, tuple[Future[Any], Sequence[Chain]]] = {}
        self._waiting: deque[Sequence[Chain]] = deque()
        self._count = 0
        self._renewed = 0
        """How many pools broke since an item was done."""
        self._pool: Any = self._new_pool()

    def _new_pool(self) -> Any:
        allow_late_ones()
        from loky.backend import get_context

        return _pool_class()(
            self.workers,
            context=get_context("loky"),
            initializer=_start_worker,
            initargs=(
                list(sys.path),
                current_folder(),
                os.getpid(),
                multiprocessing.get_start_method(allow_none=True),
            ),
            env=capped_threads(max(1, cores() // self.workers)),
        )

    def learn(self, number: int, spec: Any) -> None:
        self._names[number] = spec.name
        with sending(f"{spec.name}: the function, or a value that it uses,"):
            data = as_pickle(spec)
        (self._scratch / f"spec-{number}.pickle").write_bytes(data)

    def submit(self, batch: Sequence[Chain]) -> None:
        with self._lock:
            self._send(batch)

    def _send(self, batch: Sequence[Chain]) -> None:
        self._count += 1
        number = self._count
        names = dict.fromkeys(self._names[work.spec] for chain in batch for work in chain)
        try:
            with sending(f"{', '.join(names)}: an argument"):
                payload = as_pickle((self._make_worker, batch))
        except DatabackedError as error:
            self._refused(batch, error)
            return
        try:
            allow_late_ones()
            future = self._pool.submit(_work, str(self._scratch), payload)
            before_end_of("processes")
        except RuntimeError as error:
            if not _is_death(error):
                raise DatabackedError(
                    f"no processes can be started ({error}). Where the main thread has ended, let "
                    "it wait for the thread of the flow (.join()), or use runner='threads'."
                ) from error
            self._put_off(batch)
            return
        self._running[number] = (future, batch)
        future.add_done_callback(lambda done: self._ended(number, done))

    def _refused(self, batch: Sequence[Chain], error: BaseException) -> None:
        """Try the chains of a batch that could not be run one by one: only what cannot is lost."""
        if len(batch) == 1:
            self._queue.put(lost(batch[0], error))
            return
        for chain in batch:
            self._send([again(chain)])

    def _put_off(self, batch: Sequence[Chain]) -> None:
        """Keep a batch that the pool did not take: a worker died, and nobody has said so yet."""
        self._waiting.append(batch)
        if not self._running:  # else those that run are about to say it
            self._renew()
            self._next()

    def _renew(self) -> None:
        self._renewed += 1
        if self._renewed > MOST_POOLS:
            raise DatabackedError(
                f"worker processes ended {MOST_POOLS} times before they took an item. Look whether "
                "Python starts in a process of its own here, or use runner='threads'."
            )
        self._pool.shutdown(wait=False, kill_workers=True)
        self._pool = self._new_pool()

    def _ended(self, number: int, future: Future[Any]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        with self._lock:
            sent = self._running.pop(number, None)
            if sent is None:
                return
            try:
                if error is None:
                    self._renewed = 0
                    self._queue.put(pickle.loads(future.result()))
                elif _is_death(error):
                    self._queue.put(Died(sent[1]))
                elif isinstance(error, KeyboardInterrupt):
                    self._queue.put(error)
                else:
                    self._refused(sent[1], error)
                self._next()
            except Exception as problem:  # in a thread of the pool nobody else would see it
                self._queue.put(problem)

    def _next(self) -> None:
        """Send what was put off, once all that ran with the dead worker is known to be gone."""
        if self._running:
            return
        if getattr(self._pool, "_flags", None) is not None and self._pool._flags.broken:
            self._pool.shutdown(wait=False, kill_workers=True)
            self._pool = self._new_pool()
        for _ in range(len(self._waiting)):  # one that is put off comes to stand here again
            self._send(self._waiting.popleft())

    def done(self, timeout: float) -> list[list[Any] | BaseException]:
        return drain(self._queue, timeout)

    def fetch(self, key: Key) -> Any:
        return self._store.get(key)

    def drop(self, key: Key) -> None:
        self._store.drop(key)

    def close(self, *, cancel: bool = False) -> None:
        with self._lock:
            if cancel:
                self._running.clear()
                self._waiting.clear()
        self._pool.shutdown(wait=True, kill_workers=cancel)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _is_death(error: BaseException) -> bool:
    from concurrent.futures.process import BrokenProcessPool

    return isinstance(error, BrokenProcessPool)


@contextmanager
def _somewhere() -> Iterator[None]:
    """Stand in a folder that is there: in one that is gone no process can be started."""
    if current_folder() is not None:
        yield
        return
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(os.sep)
        yield
    finally:
        os.fchdir(here)
        os.close(here)


@cache
def _pool_class() -> Any:
    """Return the pool of processes; imported when it is needed."""
    from loky.process_executor import ProcessPoolExecutor

    class Pool(ProcessPoolExecutor):  # type: ignore[misc]
        def _adjust_process_count(self) -> None:
            with _somewhere():
                super()._adjust_process_count()

    return Pool


# In the worker process

_workers: dict[str, tuple[dict[int, Any], Works]] = {}


class _Specs(dict[int, Any]):
    """Specs of a run, read from the scratch folder when first asked for."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def __missing__(self, number: int) -> Any:
        with open(os.path.join(self._folder, f"spec-{number}.pickle"), "rb") as file:
            spec = self[number] = pickle.load(file)
        return spec


def _start_worker(path: list[str], folder: str | None, driver: int, method: str | None) -> None:
    sys.path[:] = path
    if folder is not None:
        os.chdir(folder)
    else:  # as its driver: in a folder that is gone
        gone = tempfile.mkdtemp()
        os.chdir(gone)
        os.rmdir(gone)
    # Processes that a task starts do not know loky's way to start one.
    multiprocessing.set_start_method(method, force=True)
    capture.start()  # for as long as this worker lives
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()


def _end_with(driver: int) -> None:
    """End this process when its driver is gone: killed, it could not say so."""
    while os.getppid() == driver:
        time.sleep(0.2)
    os._exit(1)


def _work(scratch: str, payload: bytes) -> bytes:
    make_worker, batch = pickle.loads(payload)
    if scratch not in _workers:
        specs = _Specs(scratch)
        _workers[scratch] = (specs, make_worker(specs, FolderStore(Path(scratch))))
    return bytes(cloudpickle.dumps(_workers[scratch][1].run_batch(batch), protocol=5))
