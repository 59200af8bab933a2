"""A runner whose workers are those of a Dask cluster: on this machine, under SLURM, in a cloud.

A batch is one task of Dask; what it returns is what became of its items, and the values that others
need, which stay where they were made. A value has a key of its own: Dask sends it from worker to
worker, and makes it again if its worker died. Nothing of it passes through the driver.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import distributed
from distributed.deploy.subprocess import SubprocessCluster

from databacked import capture
from databacked.errors import DatabackedError, GraphError, StorageError
from databacked.project.folders import current_folder
from databacked.runners.base import Chain, Died, Key, Runner, Works, again, drain, lost
from databacked.runners.cores import cores
from databacked.runners.sending import as_pickle, sending

MAKER = -1
"""Stands for what works through items, where nodes have numbers."""

TRIES = 20
"""How often workers are told something again, while others of them die."""

START = 120.0
"""Seconds that the first worker may take to come, on a cluster that has none yet."""


class DaskRunner(Runner):
    """Runs items on a Dask cluster; the workers see the project's folder under the same path.

    Parameters
    ----------
    cluster
        A ``distributed.Client``, a cluster (``LocalCluster``, ``SLURMCluster`` of dask-jobqueue and
        any other one), or the address of a scheduler; None: workers of this machine, which end with
        the run. What was given goes on after the run.
    workers
        How many workers of this machine; the default is the number of cores.
    resources
        How much there is of what tasks ask for by ``resources=``, for example ``{"GPU": 2}``.

    Raises
    ------
    GraphError
        If `cluster` is none of these.
    """

    def __init__(
        self,
        cluster: Any = None,
        workers: int | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        if not (
            cluster is None
            or isinstance(cluster, str | distributed.Client)
            or hasattr(cluster, "scheduler_address")
        ):
            raise GraphError(
                f"DaskRunner({cluster!r}): a distributed.Client, a cluster of Dask, or the address "
                "of a scheduler ('tcp://host:8786') was expected."
            )
        self._given = cluster
        self._count = workers or cores()
        self.resources = dict(resources or {})
        self._client: Any = None

    @property
    def workers(self) -> int:  # type: ignore[override]
        """How many chains run at once, by now: clusters grow and shrink."""
        if self._client is None:
            return self._count
        known = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return max(sum(int(one["nthreads"]) for one in known), 1)

    def open(self, make_worker: Callable[[Mapping[int, Any], Any], Works], scratch: Path) -> None:
        self._run = uuid.uuid4().hex[:12]
        self._queue: queue.SimpleQueue[list[Any] | BaseException] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._batches = 0
        self._running: dict[str, tuple[Any, Sequence[Chain]]] = {}
        self._values: dict[Key, Any] = {}
        self._names: dict[int, str] = {}
        self._cluster: Any = None
        self._client = self._connected()
        self._check_versions()
        here = list(sys.path), current_folder()
        with sending("what works through items"):
            made = as_pickle((make_worker, *here))
        self._plugins: list[str] = []
        self._tell(MAKER, made)

    def _connected(self) -> Any:
        given = self._given
        if isinstance(given, distributed.Client):
            return given
        try:
            if given is None:
                given = self._cluster = _of_this_machine(self._count)
            client = distributed.Client(given, set_as_default=False, timeout=START)
            client.wait_for_workers(1, timeout=START)
        except (OSError, TimeoutError) as error:
            raise DatabackedError(
                f"no worker of {self._given or 'a cluster of this machine'!r} came in {START:g} s "
                f"({error}). Look whether its scheduler runs, and whether it may have workers."
            ) from error
        return client

    def _check_versions(self) -> None:
        """Raise unless the workers have what has to be the same as here."""
        said = self._client.run(_versions)
        here = _versions()
        wrong = sorted(
            {
                f"{name}: {there[name]} on {address}, {one} here"
                for address, there in said.items()
                for name, one in here.items()
                if there[name] != one
            }
        )
        if wrong:
            raise DatabackedError(
                f"the workers do not have what the driver has: {'; '.join(wrong[:5])}. Start them "
                "in the same environment, or one with the same versions."
            )

    def _tell(self, number: int, data: bytes) -> None:
        """Have all workers know something of this run, also those that come later."""
        name = f"databacked-{self._run}-{number}"
        self._plugins.append(name)
        for left in range(TRIES, -1, -1):
            try:
                self._client.register_plugin(_Known(self._run, number, data), name=name)
            except OSError:  # a worker died meanwhile; whoever comes in its place is told, too
                if not left:
                    raise
                time.sleep(0.2)
            else:
                return

    def learn(self, number: int, spec: Any) -> None:
        self._names[number] = spec.name
        with sending(f"{spec.name}: the function, or a value that it uses,"):
            data = as_pickle(spec)
        self._tell(number, data)

    def submit(self, batch: Sequence[Chain]) -> None:
        with self._lock:
            self._send(batch)

    def _send(self, batch: Sequence[Chain]) -> None:
        names = dict.fromkeys(self._names[work.spec] for chain in batch for work in chain)
        try:
            with sending(f"{', '.join(names)}: an argument"):
                payload = as_pickle(batch)
        except DatabackedError as error:
            self._refused(batch, error)
            return
        self._batches += 1
        name = f"databacked-{self._run}-batch-{self._batches}"
        needs = [key for key in _needed(batch) if key in self._values]
        values = [self._values[key] for key in needs]
        work = self._client.submit(_work, self._run, needs, values, payload, key=name)
        outcome = self._client.submit(_outcomes, work, key=f"{name}-outcomes", priority=5)
        self._running[name] = work, batch
        outcome.add_done_callback(lambda done: self._ended(name, done))

    def _refused(self, batch: Sequence[Chain], error: BaseException) -> None:
        """Try the chains of a batch that could not be run one by one: only what cannot is lost."""
        if len(batch) == 1:
            self._queue.put(lost(batch[0], error))
            return
        for chain in batch:
            self._send([again(chain)])

    def _ended(self, name: str, future: Any) -> None:
        with self._lock:
            sent = self._running.pop(name, None)
            if sent is None or future.status == "cancelled":
                return
            try:
                if future.status == "finished":
                    outcomes, keys = pickle.loads(future.result())
                    for key in keys:
                        name = _name_of(self._run, key)
                        self._values[key] = self._client.submit(_value, sent[0], key, key=name)
                    self._queue.put(outcomes)
                    return
                error = future.exception()
                if error is None or isinstance(error, distributed.KilledWorker):
                    self._queue.put(Died(sent[1]))
                else:
                    self._refused(sent[1], error)
            except Exception as problem:  # in a thread of Dask nobody else would see it
                self._queue.put(problem)

    def done(self, timeout: float) -> list[list[Any] | BaseException]:
        return drain(self._queue, timeout)

    def fetch(self, key: Key) -> Any:
        if key not in self._values:
            raise StorageError(f"the value {key} is not held.")
        return self._values[key].result()

    def drop(self, key: Key) -> None:
        self._values.pop(key, None)

    def close(self, *, cancel: bool = False) -> None:
        if self._client is None:
            return
        with self._lock:
            running = [future for future, _ in self._running.values()]
            if cancel:
                self._running.clear()
        self._values.clear()
        with suppress(OSError):  # a cluster that is gone: there is nothing to wait for
            if not cancel:
                _wait(running)
            elif self._cluster is None:  # else its workers end here
                self._stop(running)
            for name in self._plugins:
                self._client.unregister_worker_plugin(name)
        client, self._client = self._client, None
        with suppress(OSError), dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
            if client is not self._given:
                client.close()
            if self._cluster is not None:
                self._cluster.close()

    def _stop(self, running: Sequence[Any]) -> None:
        """Have workers of others begin no more, and wait for what they have in hand."""
        self._client.run(_end, self._run)
        self._client.cancel(running, force=True)
        while any(self._client.run(_busy_with, self._run).values()):
            time.sleep(0.05)


def _wait(running: Sequence[Any]) -> None:
    for one in running:
        with suppress(Exception):  # what it raised was told
            one.exception()


def _of_this_machine(count: int) -> Any:
    """Start workers in processes of their own, which do not run the user's script again."""
    settings = {
        "distributed.scheduler.allowed-failures": 0,  # the crew finds out who is deadly
        "logging": {"distributed": "critical"},
    }
    # Ctrl-C in a terminal reaches all processes that it started: these are told by their driver.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with dask.config.set(settings):
            return SubprocessCluster(
                n_workers=count,
                worker_kwargs={"nthreads": 1},
                scheduler_kwargs={"dashboard": False},
                silence_logs=50,
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _needed(batch: Sequence[Chain]) -> list[Key]:
    """Return the held values that a batch reads, each once."""
    known = getattr(batch, "needs", None)
    if known is not None:  # of columns: no object an item
        return list(known)
    return [*dict.fromkeys(key for chain in batch for work in chain for key in work.needs())]


def _name_of(run: str, key: Key) -> str:
    return f"databacked-{run}-value-{key[0]}-{key[1]}"


def _versions() -> dict[str, str]:
    """Return the versions of what driver and workers have to share."""
    names = ("distributed", "cloudpickle", "databacked")
    python = "{}.{}".format(*sys.version_info)
    return {"Python": python, **{name: version(name) for name in names}}


# In the worker


class _Values:
    """The store of the batch that a thread works through: what it was given, and what it makes."""

    def __init__(self) -> None:
        self._of_batch = threading.local()

    def begin(self, given: dict[Key, Any]) -> dict[Key, Any]:
        """Start with these values; what is put goes to the dict that comes back."""
        self._of_batch.given, self._of_batch.made = given, {}
        return self._of_batch.made  # type: ignore[no-any-return]

    def put(self, key: Key, value: Any) -> None:
        self._of_batch.made[key] = value

    def get(self, key: Key) -> Any:
        made, given = self._of_batch.made, self._of_batch.given
        return made[key] if key in made else given[key]


_data: dict[str, dict[int, bytes]] = defaultdict(dict)
"""What is known of runs: what works through items, and what those of a node share."""

_runs: dict[str, tuple[_Values, Works]] = {}
_busy: Counter[str] = Counter()
_ended: set[str] = set()
_lock = threading.Lock()


class _Known(distributed.WorkerPlugin):
    """Brings something of a run to every worker."""

    def __init__(self, run: str, number: int, data: bytes) -> None:
        self.run, self.number, self.data = run, number, data

    def setup(self, worker: Any) -> None:
        _data[self.run][self.number] = self.data

    def teardown(self, worker: Any) -> None:
        _data[self.run].pop(self.number, None)
        if not _data[self.run]:
            del _data[self.run]
            _runs.pop(self.run, None)


class _Specs(dict[int, Any]):
    """Specs of a run, read when they are first asked for."""

    def __init__(self, data: Mapping[int, bytes]) -> None:
        super().__init__()
        self._data = data

    def __missing__(self, number: int) -> Any:
        spec = self[number] = pickle.loads(self._data[number])
        return spec


def _end(run: str) -> None:
    """Begin no more batches of a run here."""
    with _lock:
        _ended.add(run)


def _busy_with(run: str) -> int:
    """Return how many batches of a run are worked through here."""
    return _busy[run]


def _work(
    run: str, needs: Sequence[Key], values: Sequence[Any], payload: bytes
) -> tuple[bytes, dict[Key, Any]]:
    """Work through a batch; return its outcomes, and the values that are held."""
    with _lock:
        if run in _ended:
            raise RuntimeError("this run was cancelled")
        _busy[run] += 1
        if run not in _runs:
            _runs[run] = _started(_data[run])
        store, works = _runs[run]
    try:
        made = store.begin(dict(zip(map(_as_key, needs), values, strict=True)))
        outcomes = works.run_batch(pickle.loads(payload))
        return cloudpickle.dumps((outcomes, [*made]), protocol=5), made
    finally:
        with _lock:
            _busy[run] -= 1


def _started(data: Mapping[int, bytes]) -> tuple[_Values, Works]:
    make_worker, path, folder = pickle.loads(data[MAKER])
    sys.path.extend(one for one in path if one not in sys.path)
    if folder is not None and os.path.isdir(folder):
        os.chdir(folder)
    capture.start()  # for as long as this worker lives
    store = _Values()
    return store, make_worker(_Specs(data), store)


def _as_key(key: Sequence[int]) -> Key:
    return key[0], key[1]


def _outcomes(found: tuple[bytes, dict[Key, Any]]) -> bytes:
    return found[0]


def _value(found: tuple[bytes, dict[Key, Any]], key: Sequence[int]) -> Any:
    return found[1][_as_key(key)]
