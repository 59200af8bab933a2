"""For tests: a project of one's own, and checks that every plug has to pass."""

from __future__ import annotations

import json
import os
import pickle
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from databacked.errors import StorageError
from databacked.fingerprint.files import content_of
from databacked.item import MADE, Outcome, Work
from databacked.project import STATE, Project, use_project
from databacked.runners.base import Runner
from databacked.sameness import difference
from databacked.serializers.base import Serializer
from databacked.stats import JOIN, Stat
from databacked.storage.base import Storage


@contextmanager
def project(folder: Path, **settings: Any) -> Iterator[Path]:
    """Have all flows and tasks in a ``with`` block keep their results below a folder."""
    with use_project(Project(Path(folder).absolute(), **settings)):
        yield Path(folder)


def check_serializer(
    serializer: Serializer,
    values: Iterable[Any],
    folder: Path,
    suffix: str | None = None,
    *,
    lossy: bool = False,
    any_beginning_opens: bool = False,
) -> None:
    """Raise AssertionError unless a serializer keeps its contract.

    The same value gives the same bytes, also after the serializer was sent to another process. It
    comes back in type, digits, names and order; a mask, a subclass, an index or attrs that the
    values get here come back as well, or are refused. Hash, size and description fit; a file that
    was cut does not open, nor a folder with a file missing; settings are JSON.

    Parameters
    ----------
    lossy
        For formats that change pixels (JPEG): what comes back is not compared with what came.
    any_beginning_opens
        For formats in which the beginning of a file is a file too (text): cutting is not checked.
    """
    suffix = suffix or serializer.suffixes[0]
    kind = serializer.kind(suffix)
    for number, value in enumerate(values):
        first, second = folder / f"{number}-a{suffix}", folder / f"{number}-b{suffix}"
        written = serializer.save(value, first)
        again = pickle.loads(pickle.dumps(serializer)).save(value, second)
        files = _files(first)
        assert files == _files(second), "the same value gave other bytes"
        assert written.content == again.content == content_of(first), "the hash is not the bytes'"
        assert written.size == sum(map(len, files.values())), "the size is not the file's"
        back = serializer.read(first)
        if written.value is not None:
            assert_same(back, written.value)
        if kind == "file":
            assert back == first.read_bytes(), "a file that is handed over is read as its bytes"
        elif not lossy and not written.notes:
            assert_same(back, np.asarray(value) if kind == "array" else value)
        assert serializer.describe(first) == written.description, "the description does not fit"
        if kind == "array":
            opened = serializer.open(first)
            assert tuple(opened.shape) == written.description.shape, "it opens in another shape"
            assert_same(np.asarray(opened[...]), np.asarray(back))
        for what, more in _with_more(value):
            path = folder / f"{number}-{what}{suffix}"
            try:
                serializer.save(more, path)
            except Exception:
                continue
            lost = difference(more, serializer.read(path))
            assert lost is None, f"{what}: {lost}, and that was not refused with a SerializerError"
        if not any_beginning_opens:
            for name, data in files.items():
                # Of a folder, each of its files in turn is missing, then cut.
                (second / name).unlink()
                for what in ("missing", "cut") if second.is_dir() else ("cut",):
                    if what == "cut":
                        (second / name).write_bytes(data[: len(data) // 2])
                    try:
                        serializer.describe(second)
                    except Exception:
                        continue
                    raise AssertionError(f"{name or suffix} is {what}, and that was not seen")
                (second / name).write_bytes(data)
    json.dumps(serializer.settings())


class _Marked(np.ndarray):
    """A subclass, as libraries have them for units or metadata."""


def _with_more(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a value with parts that formats like to drop."""
    if type(value) is np.ndarray and value.size and not value.dtype.hasobject:
        yield "mask", np.ma.masked_array(value, np.arange(value.size).reshape(value.shape) == 0)
        yield "subclass", value.view(_Marked)
    elif type(value).__name__ == "DataFrame" and hasattr(value, "iloc"):
        yield "index", value.set_axis(range(5, 5 + len(value)))
        more = value.copy()
        more.attrs = {"unit": "µm"}
        yield "attrs", more


def _files(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of all files of a folder by their path in it."""
    if not path.is_dir():
        return {"": path.read_bytes()}
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


# ---------------------------------------------------------------- storage


def check_storage(
    make: Callable[[], Storage],
    scratch: Path,
    read: Callable[[str], bytes],
    *,
    conditional: bool = True,
) -> None:
    """Raise AssertionError unless a storage keeps its contract.

    Looks agree whether few or many are asked for; what is published is there as a whole; nothing
    is replaced, moved or taken away but what was judged; of two writers one wins.

    Parameters
    ----------
    make
        Returns the storage of one place, which is empty; called several times, as processes would.
    scratch
        An empty local folder for temporary files; for a local storage on the same disk.
    read
        Returns the bytes at a target, or at what `Storage.move_aside` returned.
    conditional
        False where the system can only look and then replace: of two writers that replace the same
        file at once both may think that they won.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from databacked.storage.local import LocalStorage
    >>> with TemporaryDirectory() as folder:
    ...     place, scratch = Path(folder, "place"), Path(folder, "scratch")
    ...     check_storage(
    ...         lambda: LocalStorage(place), scratch, lambda name: (place / name).read_bytes()
    ...     )
    """
    scratch.mkdir(parents=True, exist_ok=True)
    for check in (
        _nothing_is_there,
        _looks_agree,
        _names_of_all_kinds,
        _joined_targets_are_looked_up_as_one,
        _what_was_judged_is_replaced,
        _what_was_not_judged_stays,
        _what_is_moved_aside_is_kept,
        _only_what_was_judged_is_withdrawn,
        _one_of_two_writers_wins,
    ):
        check(_Place(make, scratch / check.__name__, read, conditional))


class _Place:
    """A storage, and how the checks write to it and read from it."""

    def __init__(
        self,
        make: Callable[[], Storage],
        scratch: Path,
        read: Callable[[str], bytes],
        conditional: bool,
    ) -> None:
        scratch.mkdir()
        self.conditional = conditional
        self.make, self.storage, self.read = make, make(), read
        self._scratch, self._count = scratch, 0

    def temporary(self, data: bytes | None = None) -> str:
        """Return the name of a temporary file, with some bytes in it or not yet there."""
        self._count += 1
        path = self._scratch / f"{self._count}.tmp"
        if data is not None:
            path.write_bytes(data)
        return str(path)

    def publish(self, target: str, data: bytes) -> Stat:
        """Make bytes visible at a target, whatever is there, and return how they look."""
        judged = self.storage.stat(target)
        done = self.storage.publish(self.temporary(data), target, judged)
        assert done is True, f"{target}: not published, though what was judged lies there"
        self.holds(target, data)
        stat = self.storage.stat(target)
        assert stat is not None, f"{target}: published, and not there"
        assert stat != judged, f"{target}: looks as it did before it was replaced"
        return stat

    def holds(self, target: str, data: bytes) -> None:
        """Check which bytes lie at a target."""
        try:
            found = self.read(target)
        except Exception as error:
            raise AssertionError(f"{target} cannot be read: {error!r}") from error
        assert found == data, f"{target} holds {found!r}; {data!r} was expected"

    def looks(self, targets: Sequence[str], expected: Mapping[str, Stat | None]) -> None:
        """Check that a look at few, a look at many and single looks agree."""
        there = {target: stat for target, stat in expected.items() if stat is not None}
        asked = [target for target in targets if target in there]
        few, many = [*asked[:2], "no/such", "none"], [*targets, *targets]
        for name, ask in (("few", few), ("many", many)):
            found = self.make().find(iter(ask))
            known = {target: there[target] for target in ask if target in there}
            assert found == known, (
                f"a look at {name} targets differs from single ones: {_difference(found, known)}"
            )


def _difference(found: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    for target in sorted({*found, *known}):
        if found.get(target) != known.get(target):
            return f"{target!r} is {found.get(target)}, not {known.get(target)}"
    return "nothing"


def _nothing_is_there(place: _Place) -> None:
    targets = [f"missing/deep/{n}.txt" for n in range(40)]
    odd = ["n" * 5000, "missing.txt"]
    for target in targets[:2] + odd:
        try:
            found = place.storage.stat(target)
        except Exception as error:
            raise AssertionError(f"a look at what is missing raised {error!r}") from error
        assert found is None, f"{target[:40]!r} is missing, and looks as {found}"
    place.looks(targets, {})
    assert place.storage.find([]) == {}, "a look at nothing found something"
    assert isinstance(place.storage.ignores_case(), bool), "ignores_case() is no yes or no"


def _looks_agree(place: _Place) -> None:
    targets = [f"{folder}{n}.txt" for folder in ("", "in/", "in/deep/er/") for n in range(40)]
    stats: dict[str, Stat | None] = {}
    for number, target in enumerate(targets):
        if number % 3:
            data = b"x" * number
            stats[target] = place.publish(target, data)
            size = stats[target].size  # type: ignore[union-attr]
            assert size == number, f"{target} has {number} bytes, and looks like {size}"
    place.looks(targets, stats)
    below = [f"1.txt/{n}.txt" for n in range(40)]  # below a file there is nothing
    place.looks(below, {})
    for target, stat in stats.items():
        assert place.make().stat(target) == stat, f"{target} looks different for another process"


def _names_of_all_kinds(place: _Place) -> None:
    names = ["a b", "a+b", "50%", "%20", "a#b", "a?b", "a&b=c", "é", "e\u0301x", "細胞", "😀", "-x"]
    targets = [f"of all kinds/{name}.ome.tiff" for name in names]
    stats: dict[str, Stat | None] = {
        target: place.publish(target, target.encode()) for target in targets
    }
    place.looks([*targets, *(f"of all kinds/{n}" for n in range(40))], stats)
    for target in targets:
        place.holds(target, target.encode())


def _joined_targets_are_looked_up_as_one(place: _Place) -> None:
    for n in range(20):
        place.publish(f"joined/{n}.a", b"a" * n)
    place.publish("joined/0.b", b"bb")
    targets = [f"joined/{n}.a{JOIN}joined/{n}.b" for n in range(40)]
    stats = {target: place.storage.stat(target) for target in targets}
    assert stats[targets[0]] is not None, "of several files joined to one all are there, and not it"
    assert stats[targets[0]].size == 2, "several files joined to one have the size of all"  # type: ignore[union-attr]
    assert stats[targets[19]] is not None, "of several files joined to one some are there"
    assert stats[targets[20]] is None, "of several files joined to one none is there"
    single = {target: place.storage.stat(target) for target in ("joined/3.a", "joined/no")}
    place.looks([*targets, *single], {**stats, **single})


def _what_was_judged_is_replaced(place: _Place) -> None:
    target = "judged/a.txt"
    place.publish(target, b"first")
    place.publish(target, b"the second one")
    place.publish(target, b"third")


def _what_was_not_judged_stays(place: _Place) -> None:
    target = "stays/a.txt"
    old = place.publish(target, b"old")
    new = place.publish(target, b"newer")
    gone = Stat(3, 12345)
    for judged, what in ((None, "nothing"), (old, "an older file"), (gone, "another file")):
        temporary = place.temporary(b"mine is longer")
        done = place.storage.publish(temporary, target, judged)
        place.holds(target, b"newer")
        assert done is False, f"judged was {what}, something else lies there: it said published"
        assert place.storage.stat(target) == new, "what was not to be replaced looks different now"
        with suppress(FileNotFoundError):
            if Path(temporary).read_bytes() == b"mine is longer":
                continue
        raise AssertionError("what was not published is lost")
    temporary = place.temporary(b"mine")
    done = place.storage.publish(temporary, "stays/b.txt", old)
    assert done is False, "a file was judged, nothing lies there: it said published"
    assert place.storage.stat("stays/b.txt") is None, "published where something else was judged"


def _what_is_moved_aside_is_kept(place: _Place) -> None:
    target = "aside/deep/a.txt"
    kept: dict[str, bytes] = {}
    for number in range(3):
        data = b"x" * (number + 1)
        place.publish(target, data)
        where = place.storage.move_aside(target, "run-1")
        assert f"{STATE}/replaced/run-1/" in where.replace(os.sep, "/"), (
            f"moved to {where}; a place in {STATE}/replaced/run-1/ was expected"
        )
        assert place.storage.stat(target) is None, "what was moved aside is still there"
        assert where not in kept, f"two files were moved to {where}"
        kept[where] = data
    place.publish(target, b"of another run")
    kept[place.storage.move_aside(target, "run-2")] = b"of another run"
    for where, data in kept.items():
        place.holds(where, data)
    try:
        place.storage.move_aside(target, "run-3")
    except StorageError:
        return
    raise AssertionError("nothing was there to be moved aside, and no StorageError said so")


def _only_what_was_judged_is_withdrawn(place: _Place) -> None:
    target = "withdrawn/a.txt"
    old = place.publish(target, b"old")
    new = place.publish(target, b"newer")
    done = place.storage.withdraw(target, old, place.temporary())
    place.holds(target, b"newer")
    assert done is False, "something else was judged: it said withdrawn"
    assert place.storage.withdraw(target, new, place.temporary()) is True, "not withdrawn"
    assert place.storage.stat(target) is None, "withdrawn, and still there"
    done = place.storage.withdraw(target, new, place.temporary())
    assert done is False, "nothing lies there any more: it said withdrawn"


def _one_of_two_writers_wins(place: _Place) -> None:
    with ThreadPoolExecutor(2) as pool:
        for number in range(20):
            target = f"race/{number // (2 if place.conditional else 1)}.txt"
            judged = place.storage.stat(target)
            data = [b"x" * (2 * number + 1), b"y" * (2 * number + 2)]
            ready = [(place.make(), place.temporary(one)) for one in data]
            done = list(
                pool.map(lambda one: one[0].publish(one[1], target, judged), ready)  # noqa: B023
            )
            assert sorted(done) == [False, True], f"of two writers at once {sum(done)} won"
            place.holds(target, data[done.index(True)])


# ---------------------------------------------------------------- runners


def check_runner(make: Callable[[], Runner], scratch: Path, *, patience: float = 60) -> None:
    """Raise AssertionError unless a runner keeps its contract.

    Every outcome arrives once; a chain runs in its order; values are held, fetched and dropped one
    by one; what fails or dies takes nothing else with it; closing waits, or cancels; the same
    runner serves one run after another.

    Parameters
    ----------
    make
        Returns a runner that was not opened yet.
    scratch
        A folder that the workers see too.
    patience
        Seconds after which an outcome counts as lost, and what should end as not ending.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from databacked import ThreadRunner
    >>> with TemporaryDirectory() as folder:
    ...     check_runner(lambda: ThreadRunner(workers=2), Path(folder))
    """
    for check in (
        _every_outcome_arrives_once,
        _a_chain_runs_in_its_order,
        _workers_learn_while_they_work,
        _as_many_run_at_once_as_it_says,
        _values_are_held,
        _a_batch_that_cannot_be_run_is_said,
        _a_dead_worker_takes_nothing_with_it,
        _closing_waits_for_what_runs,
        _cancelling_drops_what_has_not_started,
        _it_serves_one_run_after_another,
    ):
        check(_Trial(make(), scratch / check.__name__, patience))


@dataclass(frozen=True)
class _Order:
    """Stands for a task: what the items of a node do."""

    name: str
    function: Callable[[Work, Any, Any], Any]
    """Takes an item, what the one before it in its chain returned, and the store."""


class _Orders:
    """Works through batches as `databacked.item.Worker` does, for checks."""

    def __init__(self, specs: Mapping[int, Any], store: Any) -> None:
        self.specs, self.store = specs, store

    def run_batch(self, batch: Sequence[Any]) -> list[Any]:
        """Run chains; what a function returns becomes the text of the outcome."""
        outcomes: list[Outcome] = []
        for chain in batch:
            value = None
            for work in chain:
                value = self.specs[work.spec].function(work, value, self.store)
                outcomes.append(Outcome(work.spec, work.row, MADE, str(value)))
        return outcomes


class _Trial:
    """A runner, and how the checks send to it and hear from it."""

    def __init__(self, runner: Runner, scratch: Path, patience: float) -> None:
        self.runner, self.scratch, self.patience = runner, scratch, patience
        self._runs = 0
        scratch.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def run(self, *functions: Callable[[Work, Any, Any], Any]) -> Iterator[Runner]:
        """Open the runner for a run whose nodes do as these functions do; close it at the end."""
        self._runs += 1
        self.runner.open(_Orders, self.scratch / f"run-{self._runs}")
        try:
            for number, function in enumerate(functions):
                self.runner.learn(number, _Order(function.__name__, function))
            yield self.runner
        except BaseException:
            with suppress(Exception):  # of several mistakes the first one is said
                self.runner.close(cancel=True)
            raise
        self.runner.close()

    def answers(self, count: int) -> tuple[dict[tuple[int, int], str], list[BaseException]]:
        """Return the text of each outcome by node and item, and errors, once all have arrived."""
        texts: dict[tuple[int, int], str] = {}
        errors: list[BaseException] = []
        end = time.monotonic() + self.patience
        arrived: Counter[tuple[int, int]] = Counter()
        while arrived.total() + len(errors) < count and time.monotonic() < end:
            self._take(self.runner.done(0.1), arrived, texts, errors)
        self._take(self.runner.done(0.05), arrived, texts, errors)
        twice = [key for key, times in arrived.items() if times > 1]
        assert not twice, f"the outcome of {len(twice)} item(s) arrived more than once"
        came = arrived.total() + len(errors)
        first = f"; one batch could not be run: {errors[0]!r}" if errors else ""
        assert came == count, (
            f"{came} of {count} outcomes arrived within {self.patience:g} s{first}"
        )
        return texts, errors

    @staticmethod
    def _take(
        results: Iterable[list[Any] | BaseException],
        arrived: Counter[tuple[int, int]],
        texts: dict[tuple[int, int], str],
        errors: list[BaseException],
    ) -> None:
        for result in results:
            if isinstance(result, BaseException):
                errors.append(result)
                continue
            for outcome in result:
                arrived[outcome.spec, outcome.row] += 1
                texts[outcome.spec, outcome.row] = outcome.token


def _work(spec: int, row: int, *args: Any) -> Work:
    return Work(spec, row, None, args, None, None, True, False)


def _row(work: Work, before: Any, store: Any) -> int:
    return work.row


def _count_on(work: Work, before: Any, store: Any) -> Any:
    return work.args[0] if before is None else before * 10 + work.args[0]


def _where(work: Work, before: Any, store: Any) -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _hold(work: Work, before: Any, store: Any) -> None:
    value = np.full((64, 1024), work.row, np.int32)
    value.flags.writeable = False
    store.put((work.spec, work.row), value)


def _look(work: Work, before: Any, store: Any) -> str:
    value = store.get(tuple(work.args))
    return f"{int(value.max())} {value.flags.writeable}"


def _fail(work: Work, before: Any, store: Any) -> None:
    raise ValueError(f"no {work.row}")


def _die(work: Work, before: Any, store: Any) -> None:
    os._exit(1)


def _mark(work: Work, before: Any, store: Any) -> int:
    folder, seconds = work.args
    time.sleep(seconds)
    Path(folder, str(work.row)).touch()
    return work.row


def _meet(work: Work, before: Any, store: Any) -> bool:
    folder, count, patience = work.args
    Path(folder, str(work.row)).touch()
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if len(os.listdir(folder)) >= count:
            return True
        time.sleep(0.01)
    return False


def _every_outcome_arrives_once(trial: _Trial) -> None:
    with trial.run(_row) as runner:
        assert runner.workers >= 1, f"workers is {runner.workers}: nothing can run"
        started = time.monotonic()
        assert list(runner.done(0.01)) == [], "nothing was sent, and something arrived"
        assert time.monotonic() - started < trial.patience, "done() did not return in time"
        row = 0
        for size in (1, 2, 7, 1, 50, 3, 200):
            runner.submit([[_work(0, row + n)] for n in range(size)])
            row += size
        texts, _ = trial.answers(row)
        wrong = [key for key, text in texts.items() if text != str(key[1])]
        assert not wrong, f"{len(wrong)} item(s) came back with the outcome of another one"


def _a_chain_runs_in_its_order(trial: _Trial) -> None:
    with trial.run(_count_on, _count_on) as runner:
        batches = [
            [[_work(n % 2, 100 * row + n, n + 1) for n in range(length)] for row in rows]
            for rows, length in ((range(3), 5), (range(3, 4), 9), (range(4, 9), 2))
        ]
        for batch in batches:
            runner.submit(batch)
        chains = [chain for batch in batches for chain in batch]
        texts, _ = trial.answers(sum(map(len, chains)))
        for chain in chains:
            expected = ["123456789"[: n + 1] for n in range(len(chain))]
            found = [texts.get((work.spec, work.row)) for work in chain]
            assert found == expected, f"a chain was not run in its order: {found}"


def _workers_learn_while_they_work(trial: _Trial) -> None:
    with trial.run(_row) as runner:
        for number in range(1, 5):
            runner.submit([[_work(0, 10 * number + n)] for n in range(4)])
            runner.learn(number, _Order("count", _count_on))
            runner.submit([[_work(number, n, number)] for n in range(4)])
            texts, errors = trial.answers(8)
            assert not errors, f"an item could not be run: {errors[0]!r}"
            assert texts[number, 0] == str(number), "another node's function was called"


def _as_many_run_at_once_as_it_says(trial: _Trial) -> None:
    workers = min(trial.runner.workers, 4)
    with trial.run(_meet) as runner:
        meeting = trial.scratch / "meeting"
        meeting.mkdir()
        for row in range(workers):
            runner.submit([[_work(0, row, str(meeting), workers, trial.patience / 2)]])
        texts, _ = trial.answers(workers)
        assert set(texts.values()) == {"True"}, f"it says {runner.workers} workers; fewer run"


def _values_are_held(trial: _Trial) -> None:
    with trial.run(_hold, _look) as runner:
        runner.submit([[_work(0, row)] for row in range(3)])
        runner.submit([[_work(0, row)] for row in range(3, 6)])
        trial.answers(6)
        runner.submit([[_work(1, row, 0, row), _work(1, row + 10, 0, row)] for row in range(6)])
        texts, _ = trial.answers(12)
        found = [texts[1, row] for row in range(6)]
        assert found == [f"{row} False" for row in range(6)], (
            f"held values are not as they were, read-only included: {found}"
        )
        runner.drop((0, 2))
        for row in (0, 1, 3, 4, 5, 5):
            try:
                value = runner.fetch((0, row))
            except Exception as error:
                raise AssertionError(f"a held value cannot be fetched: {error!r}") from error
            assert value.shape == (64, 1024), "a fetched value has another shape"
            assert int(value.min()) == row, "another value was fetched"
        try:
            runner.fetch((0, 2))
        except Exception:
            return
        raise AssertionError("a value that was dropped is still held")


def _a_batch_that_cannot_be_run_is_said(trial: _Trial) -> None:
    with trial.run(_row, _fail) as runner:
        runner.submit([[_work(0, 0)], [_work(0, 1)]])
        runner.submit([[_work(1, 7)]])
        texts, errors = trial.answers(3)
        assert len(errors) == 1, "a batch that could not be run was not said by an exception"
        said = f"{type(errors[0]).__name__}: {errors[0]}"
        assert said == "ValueError: no 7", f"the exception is not the one of the batch: {said}"
        runner.submit([[_work(0, 2)]])
        texts, errors = trial.answers(1)
        assert texts == {(0, 2): "2"}, "after a batch that could not be run nothing else runs"


def _a_dead_worker_takes_nothing_with_it(trial: _Trial) -> None:
    """Only where items run in other processes: elsewhere a death is that of the driver."""
    with trial.run(_where, _row, _die) as runner:
        runner.submit([[_work(0, 0)]])
        if trial.answers(1)[0][0, 0] == f"{socket.gethostname()}:{os.getpid()}":
            return
        runner.submit([[_work(1, 0)], [_work(1, 1), _work(2, 2)], [_work(1, 3)]])
        runner.submit([[_work(1, 4)], [_work(1, 5)]])
        texts, errors = trial.answers(5)
        assert {row for _, row in texts} == {0, 3, 4, 5}, "a dead worker took other items with it"
        lost = [(work.spec, work.row) for work in getattr(errors[0], "lost", ())]
        assert lost == [(1, 1), (2, 2)], "the exception does not say the deadly chain in `.lost`"
        runner.submit([[_work(1, 6)]])
        assert trial.answers(1)[0] == {(1, 6): "6"}, "after a death nothing else runs"


def _closing_waits_for_what_runs(trial: _Trial) -> None:
    with trial.run(_mark) as runner:
        runner.submit([[_work(0, 0, str(trial.scratch), 0.3)]])
    assert (trial.scratch / "0").exists(), "close() did not wait for what ran"


def _cancelling_drops_what_has_not_started(trial: _Trial) -> None:
    count = 25 * trial.runner.workers
    with trial.run(_mark) as runner:
        started = time.monotonic()
        runner.submit([[_work(0, 0, str(trial.scratch), 0.2)]])
        if time.monotonic() - started >= 0.2:
            return  # it runs what it is given at once: nothing is left to be dropped
        for row in range(1, count):
            runner.submit([[_work(0, row, str(trial.scratch), 0.2)]])
        runner.close(cancel=True)
        made = len(list(trial.scratch.glob("[0-9]*")))
        assert made < count, "close(cancel=True) dropped nothing"
        time.sleep(0.5)
        later = len(list(trial.scratch.glob("[0-9]*")))
        assert later == made, "after close(cancel=True) items still ran"


def _it_serves_one_run_after_another(trial: _Trial) -> None:
    with trial.run(_hold) as runner:
        runner.submit([[_work(0, 0)]])
        trial.answers(1)
    with trial.run(_row) as runner:
        try:
            runner.fetch((0, 0))
        except Exception:
            runner.submit([[_work(0, 3)]])
        else:
            raise AssertionError("a value of the run before is still held")
        texts, _ = trial.answers(1)
        assert texts == {(0, 3): "3"}, "the second run called what the first one had learned"


# ---------------------------------------------------------------- values


def assert_same(one: Any, other: Any) -> None:
    """Raise AssertionError unless two values are the same: types, digits, masks, names, order."""
    found = difference(other, one)
    assert found is None, found
