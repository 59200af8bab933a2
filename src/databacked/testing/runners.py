"""What every runner has to pass."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from databacked.runners.base import Died, Runner
from databacked.worker.messages import MADE, Held, Outcome, Work

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

    Raises
    ------
    AssertionError
        With a sentence that says what is not kept.

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
    """Works through batches as `databacked.worker.worker.Worker` does, for checks."""

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

    def after_a_death(self, count: int) -> tuple[dict[tuple[int, int], str], set[Any]]:
        """Return texts of outcomes, and the items of batches that died, once all are told of."""
        texts: dict[tuple[int, int], str] = {}
        errors: list[BaseException] = []
        gone: set[tuple[int, int]] = set()
        end = time.monotonic() + self.patience
        while len(texts) + len(gone) < count and time.monotonic() < end:
            self._take(self.runner.done(0.1), Counter(), texts, errors)
            for one in errors:
                assert isinstance(one, Died), f"a dead worker is no Died, but {one!r}"
                gone |= {(work.spec, work.row) for chain in one.batch for work in chain}
        came = len(texts) + len(gone)
        assert came == count, f"of {count} items {came} were told of after a worker died"
        return texts, gone

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
    value = store.get(work.args[0].key)
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
        held = [Held((0, row)) for row in range(6)]
        runner.submit([[_work(1, n, one), _work(1, n + 10, one)] for n, one in enumerate(held)])
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
        batches = [[[_work(1, 0)], [_work(1, 1), _work(2, 2)], [_work(1, 3)]], [[_work(1, 4)]]]
        for batch in batches:
            runner.submit(batch)
        texts, named = trial.after_a_death(5)
        assert {(1, 1), (2, 2)} <= named, "nobody said that the batch of a dead worker is gone"
        assert not named & set(texts), "an item is said to be done, and to be gone"
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
