"""What clears up may do so beside others that clear the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from databacked.storage import local
from databacked.storage.local import LocalStorage
from databacked.storage.renames import remove


def at_once(calls: list[Callable[[], object]]) -> list[BaseException]:
    """Call all of them in threads that start together; return what they raised."""
    start, raised = threading.Barrier(len(calls)), []

    def run(call: Callable[[], object]) -> None:
        start.wait()
        try:
            call()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return raised


def a_file(path: Path) -> None:
    path.write_bytes(b"x")


def a_folder(path: Path) -> None:
    for name in ("a/b", "c", "d/e/f"):
        (path / name).mkdir(parents=True)
        for number in range(5):
            (path / name / str(number)).touch()
    (path / "on top").touch()


@pytest.mark.parametrize("make", [a_file, a_folder])
def test_several_remove_one_thing(tmp_path, make):
    for turn in range(40):
        path = tmp_path / str(turn)
        make(path)
        assert at_once([partial(remove, str(path))] * 4) == []
        assert not path.exists()


def test_what_cannot_be_removed_is_an_error(tmp_path, monkeypatch):
    """Only what is gone is fine."""
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("databacked.storage.renames.shutil.rmtree", _refuse)
    with pytest.raises(PermissionError):
        remove(str(tmp_path / "folder"))


def _refuse(path: str) -> None:
    raise PermissionError(13, "Permission denied", path)


@pytest.mark.parametrize("make", [a_file, a_folder])
def test_what_ended_runs_left_beside_results_is_cleared_by_several_at_once(tmp_path, make):
    def clear() -> None:
        LocalStorage(tmp_path)._beside(str(tmp_path / ".databacked/tmp/run/1.tif"), "1.tif")

    for turn in range(20):
        left = tmp_path / f".databacked-1795632877760370356-7cea090f-{turn}.tif"
        make(left)
        assert at_once([clear] * 4) == []
        assert not left.exists()


def test_what_another_user_left_beside_results_ends_nothing(tmp_path, monkeypatch):
    left = tmp_path / ".databacked-1795632877760370356-7cea090f-1.tif"
    left.touch()
    monkeypatch.setattr(local, "remove", _refuse)
    LocalStorage(tmp_path)._beside(str(tmp_path / ".databacked/tmp/run/1.tif"), "1.tif")
    assert left.exists()
