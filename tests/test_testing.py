"""What every plug has to pass, and that each check can fail."""

from __future__ import annotations

import os
import shutil
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from databacked import CallingThreadRunner, ProcessRunner, ThreadRunner
from databacked.errors import StorageError
from databacked.plugins import find
from databacked.runners.base import Died
from databacked.storage import local, renames
from databacked.storage.local import LocalStorage
from databacked.storage.looks import Stat
from databacked.storage.memory import MemoryStorage
from databacked.testing.runners import check_runner
from databacked.testing.storage import check_storage

# Storage


STORAGES = "databacked.storage"


def check(storage: type[LocalStorage], folder: Path, **options: bool) -> None:
    """Run the check over a place and a scratch folder below a folder."""
    place = folder / "place"
    read = lambda name: (place / name).read_bytes()  # noqa: E731
    check_storage(lambda: storage(place), folder / "scratch", read, **options)


def test_local_storage_keeps_the_contract(tmp_path):
    """A rename that does not replace, and an exchange of two names."""
    check(LocalStorage, tmp_path, conditional=renames._call is not None)


@pytest.mark.parametrize("links", [True, False], ids=["links", "neither"])
def test_local_storage_keeps_the_contract_on_poorer_disks(tmp_path, monkeypatch, links):
    """Without renames of that kind, and without hard links (FAT, some network mounts)."""

    def refuse(source, target):
        raise PermissionError

    monkeypatch.setattr(renames, "_call", None)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
        # Two writers of a new file are told apart by nothing there.
        monkeypatch.setattr(
            "databacked.testing.storage._one_of_two_writers_wins", lambda place: None
        )
    check(LocalStorage, tmp_path, conditional=False)


@pytest.mark.parametrize("name", sorted(one.name for one in entry_points(group=STORAGES)))
def test_every_storage_that_is_a_plug_keeps_the_contract(tmp_path, name):
    """Found as places find theirs; read by its own means."""
    kind = find("storage", name)
    check_storage(lambda: kind(tmp_path / "place"), tmp_path / "scratch")


def test_two_places_in_memory_are_two(tmp_path):
    """And one is the same for all who ask for it, a folder that was put there, too."""
    source = tmp_path / "source.zarr"
    source.mkdir()
    (source / "a").write_bytes(b"12")
    (source / "b").write_bytes(b"345")
    one = MemoryStorage(tmp_path / "one")
    assert one.publish(str(source), "x.zarr", None)
    assert MemoryStorage(tmp_path / "one").stat("x.zarr") == one.stat("x.zarr")
    look = one.stat("x.zarr")
    assert look is not None
    assert look.size == 5
    assert MemoryStorage(tmp_path / "two").stat("x.zarr") is None
    assert not source.exists()


class Sizeless(LocalStorage):
    def _list(self, folder, wanted, found):
        super()._list(folder, wanted, found)
        found.update({name: stat._replace(size=0) for name, stat in found.items()})


class Forgetful(LocalStorage):
    def find(self, targets):
        return dict(list(super().find(targets).items())[:-1])


class Talkative(LocalStorage):
    def find(self, targets):
        return {**super().find(targets), "0.txt": Stat(1, 1)}


class Raising(LocalStorage):
    def stat(self, target):
        found = super().stat(target)
        if found is None:
            raise StorageError(f"{target} is missing")
        return found


class Flat(LocalStorage):
    def publish(self, temporary, target, judged):
        return super().publish(temporary, target.rpartition("/")[2], judged)


class Quoting(LocalStorage):
    def publish(self, temporary, target, judged):
        return super().publish(temporary, target.replace("%", "%25"), judged)


class Replacing(LocalStorage):
    def publish(self, temporary, target, judged):
        return super().publish(temporary, target, judged or self.stat(target))


class Careless(LocalStorage):
    def publish(self, temporary, target, judged):
        return super().publish(temporary, target, judged and self.stat(target))


class Boastful(LocalStorage):
    def publish(self, temporary, target, judged):
        super().publish(temporary, target, judged)
        return True


class Losing(LocalStorage):
    def publish(self, temporary, target, judged):
        done = super().publish(temporary, target, judged)
        Path(temporary).unlink(missing_ok=True)
        return done


class Timid(LocalStorage):
    def publish(self, temporary, target, judged):
        return judged is None and super().publish(temporary, target, judged)


class Inventing(LocalStorage):
    def publish(self, temporary, target, judged):
        missing = self.stat(target) is None
        return super().publish(temporary, target, None if missing else judged)


class LooksThenWrites(LocalStorage):
    def publish(self, temporary, target, judged):
        if self.stat(target) != judged:
            return False
        time.sleep(0.01)
        Path(self._base, target).parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, self._base + target)
        return True


class Overwriting(LocalStorage):
    def move_aside(self, target, run):
        aside = Path(self._base, ".databacked/replaced", run, target)
        aside.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._base + target, aside)
        return str(aside)


class Copying(LocalStorage):
    def move_aside(self, target, run):
        aside = super().move_aside(target, run)
        shutil.copy(aside, self._base + target)
        return aside


class Deleting(LocalStorage):
    def move_aside(self, target, run):
        aside = super().move_aside(target, run)
        Path(aside).write_bytes(b"")
        return aside


class Elsewhere(LocalStorage):
    def move_aside(self, target, run):
        return super().move_aside(target, "trash")


class Silent(LocalStorage):
    def move_aside(self, target, run):
        return super().move_aside(target, run) if self.stat(target) else "nothing"


class Withdrawing(LocalStorage):
    def withdraw(self, target, judged, temporary):
        now = self.stat(target)
        return now is not None and super().withdraw(target, now, temporary)


class Keeping(LocalStorage):
    def withdraw(self, target, judged, temporary):
        return self.stat(target) == judged


class Short(LocalStorage):
    def read(self, target):
        return super().read(target)[:100]


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        (Sizeless, "a look at many targets differs from single ones"),
        (Forgetful, "differs from single ones"),
        (Talkative, "differs from single ones"),
        (Raising, "a look at what is missing raised"),
        (Flat, "cannot be read"),
        (Quoting, "cannot be read"),
        (Replacing, "holds b'mine is longer'; b'newer' was expected"),
        (Careless, "holds b'mine is longer'; b'newer' was expected"),
        (Boastful, "it said published"),
        (Losing, "what was not published is lost"),
        (Timid, "not published, though what was judged lies there"),
        (Inventing, "nothing lies there: it said published"),
        (LooksThenWrites, "of two writers at once 2 won"),
        (Overwriting, "two files were moved to"),
        (Copying, "what was moved aside is still there"),
        (Deleting, "holds b''"),
        (Elsewhere, "replaced/run-1/ was expected"),
        (Silent, "no StorageError said so"),
        (Withdrawing, "cannot be read: FileNotFoundError"),
        (Keeping, "withdrawn, and still there"),
        (Short, "gives other bytes"),
    ],
)
def test_a_storage_with_one_defect_does_not_pass(tmp_path, storage, said):
    """Each check can fail."""
    with pytest.raises(AssertionError, match=said):
        check(storage, tmp_path)


def test_a_folder_that_was_removed_meanwhile_is_made_again(tmp_path):
    """A long run does not trip over somebody who cleans up."""
    storage = LocalStorage(tmp_path / "place")
    for _ in range(2):
        (tmp_path / "new").write_text("new")
        assert storage.publish(str(tmp_path / "new"), "in/a.txt", None)
        shutil.rmtree(tmp_path / "place")


def test_a_file_that_goes_while_it_is_replaced_is_no_error(tmp_path, monkeypatch):
    """It is judged again."""
    storage = LocalStorage(tmp_path)
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "new").write_text("new")
    judged = storage.stat("a.txt")
    exchange = renames.exchange

    def late(one, other):
        (tmp_path / "a.txt").unlink()
        return exchange(one, other)

    monkeypatch.setattr(local, "exchange", late)
    assert storage.publish(str(tmp_path / "new"), "a.txt", judged) is False
    assert (tmp_path / "new").read_text() == "new"


# Runners

RUNNERS = {
    "calling": CallingThreadRunner,
    "threads": lambda: ThreadRunner(workers=2),
    "processes": lambda: ProcessRunner(workers=2),
}


@pytest.mark.parametrize(
    "name", ["calling", "threads", pytest.param("processes", marks=pytest.mark.slow)]
)
def test_a_runner_keeps_the_contract(tmp_path, name):
    """The calling thread, threads, processes."""
    check_runner(RUNNERS[name], tmp_path)


class Two(ThreadRunner):
    def __init__(self):
        super().__init__(workers=2)


class Twice(Two):
    def _run(self, batch):
        super()._run(batch)
        super()._run(batch)


class Swallowing(Two):
    def _run(self, batch):
        super()._run(batch[:-1] if len(batch) > 5 else batch)


class Backwards(Two):
    def _run(self, batch):
        super()._run([chain[::-1] for chain in batch])


class Early(Two):
    def learn(self, number, spec):
        if not self._specs or spec.name != "count":
            super().learn(number, spec)


class Boaster(CallingThreadRunner):
    workers = 3


class Renumbering(Two):
    def fetch(self, key):
        return super().fetch((key[0], 0))


class Hoarding(Two):
    def drop(self, key):
        pass


class Wasteful(Two):
    def drop(self, key):
        for row in range(6):
            if (key[0], row) in self._store._held:
                super().drop((key[0], row))


class Mute(Two):
    def _run(self, batch):
        try:
            self._queue.put(self._worker.run_batch(batch))
        except Exception:
            self._queue.put([])


class Vague(Two):
    def _run(self, batch):
        try:
            self._queue.put(self._worker.run_batch(batch))
        except Exception:
            self._queue.put(RuntimeError("failed"))


class Hasty(Two):
    def close(self, *, cancel=False):
        self._forget()


class Stubborn(Two):
    def close(self, *, cancel=False):
        super().close()


class Running(Two):
    def close(self, *, cancel=False):
        if not cancel:
            super().close()


class Remembering(Two):
    def open(self, make_worker, scratch):
        before = getattr(self, "_store", None)
        super().open(make_worker, scratch)
        self._store = before or self._store


class Learned(Two):
    def open(self, make_worker, scratch):
        before = getattr(self, "_specs", {})
        super().open(make_worker, scratch)
        self._specs.update(before)

    def learn(self, number, spec):
        self._specs.setdefault(number, spec)


class Writeable(Two):
    def open(self, make_worker, scratch):
        super().open(make_worker, scratch)
        put = self._store.put
        self._store.put = lambda key, value: put(key, value.copy())  # type: ignore[method-assign]


class Mourning(ProcessRunner):
    def __init__(self):
        super().__init__(workers=2)

    def done(self, timeout):
        found = super().done(timeout)
        return [RuntimeError("lost") if isinstance(one, Died) else one for one in found]


class Speechless(Mourning):
    def done(self, timeout):
        return [one for one in ProcessRunner.done(self, timeout) if not isinstance(one, Died)]


@pytest.mark.parametrize(
    ("runner", "said"),
    [
        (Twice, "arrived more than once"),
        (Swallowing, "outcomes arrived within 1 s"),
        (Backwards, "not run in its order"),
        (Early, "an item could not be run: KeyError"),
        (Boaster, "it says 3 workers; fewer run"),
        (Renumbering, "another value was fetched"),
        (Hoarding, "a value that was dropped is still held"),
        (Wasteful, "a held value cannot be fetched"),
        (Mute, "outcomes arrived within 1 s"),
        (Vague, "not the one of the batch: RuntimeError"),
        (Hasty, "did not wait for what ran"),
        (Stubborn, "dropped nothing"),
        (Running, "items still ran"),
        (Remembering, "a value of the run before is still held"),
        (Learned, "what the first one had learned"),
        (Writeable, "read-only included"),
        pytest.param(Mourning, "a dead worker is no Died", marks=pytest.mark.slow),
        pytest.param(Speechless, "were told of after a worker died", marks=pytest.mark.slow),
    ],
)
def test_a_runner_with_one_defect_does_not_pass(tmp_path, runner, said):
    """Each check can fail."""
    with pytest.raises(AssertionError, match=said):
        check_runner(runner, tmp_path, patience=10 if issubclass(runner, Mourning) else 1)
