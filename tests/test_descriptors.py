"""Descriptors that a task closes, and those that run out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from databacked.fingerprint.files import HashMemory
from databacked.storage.descriptors import Descriptor, opened_of

CLOSES = """
import os
from pathlib import Path
from databacked import LocalResult, flow, last_run, task

@task(result=LocalResult("out"), target="{n}.json")
def work(n, path: Path):
    print("said", n)
    if n == 1:
        os.closerange(3, 100)  # as libraries do that start daemons
        for k in range(20):
            os.open(f"mine{k}.csv", os.O_RDWR | os.O_CREAT)
    return n

Path("in").mkdir()
for n in range(6):
    Path(f"in/{n}").write_text(str(n))
    os.utime(f"in/{n}", (1_500_000_000, 1_500_000_000))

@flow(runner="calling", quiet=True)
def go():
    return work.map(range(6), [Path(f"in/{n}") for n in range(6)])

for _ in range(2):
    print(list(go()), dict(last_run().counts["work"]))
"""

MANY = """
import resource, sys
import numpy as np
from databacked import LocalResult, flow, task
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

@task(result=LocalResult("out"), target="{n}" + sys.argv[1])
def work(n):
    return np.full((4, 4), n, "uint8")

@task
def total(xs):
    rows = [x[0] for x in xs]  # held, as a list of views would be
    return sum(int(row[0]) for row in rows)

@flow(quiet=True)
def go():
    return total(work.map(range(100)))

print(go(), go())
"""


def ended(script: str, folder: Path, *arguments: str) -> str:
    """Run a script in a process of its own; return what it printed."""
    (folder / "databacked.toml").touch()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_goes_into_a_file_that_got_the_number_of_ours(tmp_path):
    """Neither records nor hashes nor the log; all items are made, and found again."""
    said = ended(CLOSES, tmp_path)
    assert [line for line in said.splitlines() if line[0] == "["] == [
        "[0, 1, 2, 3, 4, 5] {'made': 6}",
        "[0, 1, 2, 3, 4, 5] {'reused': 6}",
    ]
    assert [path.stat().st_size for path in tmp_path.glob("mine*.csv")] == [0] * 20
    (log,) = tmp_path.glob(".databacked/runs/*/log")
    assert len(log.read_text().splitlines()) == 6


def test_a_memory_whose_file_was_closed_is_opened_anew(tmp_path):
    """The number that is somebody else's by now is neither used nor closed."""
    file = tmp_path / "hashes.sqlite"
    memory = HashMemory(file)
    memory.remember([("a", "1", "x")])
    for one in opened_of(file):
        os.close(one.number)
    others = [os.open(tmp_path / f"mine{n}", os.O_RDWR | os.O_CREAT) for n in range(8)]
    memory.remember([("b", "2", "y")])
    del memory
    assert HashMemory(file).find("b", "2") == "y"
    assert HashMemory(file).find("a", "1") == "x"
    assert [os.fstat(one).st_size for one in others] == [0] * 8
    for number in others:
        os.close(number)


def test_a_descriptor_is_known_by_its_file(tmp_path):
    """By device and inode; closing it does nothing to a file that has its number."""
    number = os.open(tmp_path / "ours", os.O_RDWR | os.O_CREAT)
    ours = Descriptor(number)
    assert ours.is_ours
    assert ours.has_name
    (tmp_path / "ours").unlink()
    assert (ours.is_ours, ours.has_name) == (True, False)
    (tmp_path / "theirs").touch()
    theirs = os.open(tmp_path / "theirs", os.O_RDWR)
    os.dup2(theirs, number)
    assert (ours.is_ours, ours.has_name) == (False, False)
    ours.close()
    os.fstat(number)
    os.close(number)
    os.close(theirs)
    assert not ours.is_ours


@pytest.mark.parametrize("ending", [".ome.tiff", ".npy"])
def test_more_backed_arrays_than_descriptors(tmp_path, ending):
    """Those that were indexed give their file back."""
    assert ended(MANY, tmp_path, ending) == "4950 4950\n"
