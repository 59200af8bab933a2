"""What input files and folders count by, and how their hashes are remembered."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from pathlib import Path

import pytest

from databacked import task
from databacked.errors import FlowFailed
from databacked.fingerprint import files
from databacked.fingerprint.files import HashMemory, content_of, file_tokens, tree_hash
from databacked.fingerprint.hashes import hash_file

OLD = 1_500_000_000


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let this test have a memory of its own; returns its file."""
    file = tmp_path / "cache" / "hashes.sqlite"
    monkeypatch.setattr(files, "_memory", HashMemory(file))
    return file


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which files are read."""
    seen: list[str] = []

    def noted(path):
        seen.append(str(path))
        return hash_file(path)

    monkeypatch.setattr(files, "hash_file", noted)
    return seen


def old(path: Path, text: str) -> Path:
    """Write a file that seems to be written long ago."""
    path.write_text(text)
    os.utime(path, (OLD, OLD))
    return path


def wait_until_settled(path: Path) -> None:
    """Wait until a change of a file would surely change its times."""
    changed = path.stat().st_ctime_ns
    while time.time_ns() - changed <= files.RACY_NS:
        time.sleep(0.05)


def test_a_hash_is_remembered_across_processes(tmp_path, memory, hashed):
    """Size, times and inode stay: the file is not read again."""
    path = old(tmp_path / "a.tif", "pixels")
    wait_until_settled(path)
    first = content_of(path)
    assert content_of(path) == first
    files._memory = HashMemory(memory)  # as another process has it
    assert content_of(path) == first
    assert len(hashed) == 1


def test_a_file_that_just_changed_is_not_remembered(tmp_path, memory, hashed):
    """It may change again within one time stamp (git calls this racy)."""
    path = tmp_path / "a.tif"
    path.write_text("one")
    content_of(path)
    content_of(path)
    assert len(hashed) == 2


def test_a_change_with_the_same_size_and_time_is_seen(tmp_path, memory):
    """A tool that sets the old time back does not hide a change: ctime moves."""
    path = old(tmp_path / "a.tif", "one")
    wait_until_settled(path)
    first = content_of(path)
    old(path, "two")
    assert content_of(path) != first


def test_a_memory_that_cannot_be_used_only_costs_time(tmp_path, monkeypatch, hashed):
    """A full or damaged cache is no error."""
    path = old(tmp_path / "a.tif", "pixels")
    damaged = tmp_path / "hashes.sqlite"
    damaged.write_bytes(b"no database" * 500)
    (tmp_path / "file").touch()
    for memory in (HashMemory(damaged), HashMemory(tmp_path / "file" / "hashes.sqlite")):
        monkeypatch.setattr(files, "_memory", memory)
        content_of(path)
    assert len(hashed) == 2


def test_two_processes_may_remember_at_once(tmp_path, memory):
    """A locked database is waited for, then left."""
    files.memory().remember([("/a", "1", "x")])
    other = HashMemory(memory)
    other.remember([("/b", "1", "y")])
    with sqlite3.connect(memory) as connection:
        assert connection.execute("SELECT count(*) FROM hashes").fetchone() == (2,)
    connection.close()


def test_a_folder_counts_by_names_and_contents(tmp_path, memory):
    """Not by times, and not by the order in which the disk lists it."""
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "sub").mkdir(parents=True)
        for part in ("b", "a", "sub/c") if name == "one" else ("sub/c", "a", "b"):
            (folder / part).write_text(part)
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")
    hashes = {part: hash_file(tmp_path / "one" / part) for part in ("sub/c", "a", "b")}
    assert content_of(tmp_path / "one") == tree_hash(hashes)
    assert re.fullmatch("tree[0-9a-f]{32}", tree_hash(hashes))
    (tmp_path / "two/a").rename(tmp_path / "two/z")
    assert content_of(tmp_path / "one") != content_of(tmp_path / "two")


def test_files_over_256_mib_are_sampled_as_inputs_and_hashed_as_results(tmp_path, memory, hashed):
    """A sparse file of 2 GB: 64 MiB are read; its hash says that it was sampled."""
    path = tmp_path / "big.tif"
    with open(path, "wb") as file:
        file.truncate(2 << 30)
    first = content_of(path, sampled=True)
    assert first.startswith("sampled:")
    assert not hashed
    with open(path, "r+b") as file:  # the last block is always among the samples
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    assert content_of(path, sampled=True) != first
    with open(path, "ab") as file:
        file.write(b"x")
    assert content_of(path, sampled=True) != first


def test_the_place_of_a_file_does_not_count_its_name_does(tmp_path, memory):
    """A project that is moved is fresh."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    paths = [old(tmp_path / name / "a.tif", "pixels") for name in ("one", "two")]
    tokens = file_tokens([str(path) for path in paths])
    assert len(set(tokens.values())) == 1
    other = old(tmp_path / "two" / "b.tif", "pixels")
    assert file_tokens([str(other)])[str(other)] not in tokens.values()


def test_an_input_that_is_missing_fails_its_item_and_no_other(project):
    """The item says so; everything else is done."""
    (project / "a.txt").write_text("abc")

    @task
    def length(path: Path):
        return len(path.read_text())

    with pytest.raises(FlowFailed, match=r"1 × length at .*No such file or directory.*b\.txt") as e:
        length.map([project / "a.txt", project / "b.txt"])
    assert len(e.value.failures) == 1
