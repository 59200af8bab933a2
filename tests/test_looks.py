"""Many looks at a disk: how, and how many."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from databacked.storage.local import SHARE, LocalStorage
from databacked.storage.looks import look_at


def threads_of(pauses: dict[int, float], count: int = 200) -> int:
    """Return how many threads looked, where some looks take longer than others."""
    seen = set()

    def look(number: int) -> int:
        seen.add(threading.get_ident())
        time.sleep(pauses.get(number, pauses.get(-1, 0)))
        return number

    assert look_at(look, range(count)) == list(range(count))
    return len(seen)


@pytest.mark.parametrize("paused", [{0: 0.05}, {15: 0.02, 40: 0.02, 41: 0.02}, {199: 0.02}, {}])
def test_a_busy_machine_is_no_slow_disk(paused):
    """Somebody else had the core for a while."""
    assert threads_of(paused) == 1


def test_a_slow_disk_is_asked_by_many_threads_at_once():
    """Each look waits for a server."""
    assert threads_of({-1: 0.002}) > 4


def test_a_folder_is_listed_only_where_much_of_it_is_wanted(tmp_path, monkeypatch):
    """Else each block of cells of an image would list the cells of all images."""
    for number in range(1000):
        (tmp_path / f"{number}.txt").touch()
    listed: list[Path] = []
    scandir = os.scandir

    def noted(path):
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    storage = LocalStorage(tmp_path)
    for start in range(0, 1000, 50):
        names = [f"{number}.txt" for number in range(start, start + 50)]
        assert set(storage.find([*names, "none.txt"])) == set(names)
    assert len(listed) == 1
    names = [f"{number}.txt" for number in range(1000 // SHARE + 1)]
    assert set(storage.find(names)) == set(names)
    assert len(listed) == 2
