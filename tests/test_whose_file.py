"""Whose file is it, through everything that people and accidents do to one result."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from databacked import LocalResult, flow, task, testing
from databacked.fingerprint.hashes import hash_file
from databacked.records import book, compaction, journal
from databacked.records.marks import is_marked

NOW = time.time_ns


def number_task(factor: int, **options):
    """Return a task that keeps one number, made by code of which `factor` is a part."""

    @task(result=LocalResult("../kept", **options), target="a.json")
    def number():
        return ["computed", factor]

    @flow(quiet=True)
    def run():
        return number()

    return run


class Story(RuleBasedStateMachine):
    """What one target goes through: runs of other code, corrections, accidents."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.file = self.folder / "kept/a.json"
        self.by_hand: set[str] = set()
        """Everything a person ever saved."""
        self.gone: set[str] = set()
        """What a person deleted, or saved over, themselves."""
        self.seen: list[tuple[bytes, int]] = []
        """What lay there once, as a backup has it: bytes and time."""
        self.accepted = ""
        self.taken: set[str] = set()
        """What was accepted once: a record says so ever after."""
        self.count = self.clock = 0

    def teardown(self) -> None:
        self.end_process()
        shutil.rmtree(self.folder)

    @initialize()
    def start(self) -> None:
        for name in ("one", "two"):
            (self.folder / name).mkdir()
            (self.folder / name / "databacked.toml").touch()
        self.project, self.users = "one", set[str]()
        self.run(1, "keep")

    def now(self) -> int:
        """Return the time where the runs are."""
        return NOW() + self.clock

    def end_process(self) -> None:
        journal.close_journals()
        book._registry.clear()

    def text(self) -> str | None:
        return self.file.read_text() if self.file.exists() else None

    def is_known(self, journals: bytes) -> bool:
        """Whether a record or the mark in its time says that the file was computed."""
        content = hash_file(self.file)
        mtime = self.file.stat().st_mtime_ns
        return content.encode() in journals or is_marked(mtime, content, "a.json")

    def journals(self) -> list[Path]:
        return sorted((self.folder / "kept/.databacked/journals").glob("*.tsv"))

    # Runs

    @rule(
        factor=st.sampled_from([1, 2, 3]),
        edited=st.sampled_from(["keep"] * 5 + ["replace"]),
        stale=st.sampled_from(["recompute"] * 5 + ["warn", "keep"]),
    )
    def run(self, factor: int, edited: str, stale: str = "recompute") -> None:
        before = self.text()
        options = {"when_edited": edited, "when_stale": stale, "when_unknown": "accept"}
        journals = b"".join(path.read_bytes() for path in self.journals())
        unknown = re.search(rb"^[wea]\t", journals, re.MULTILINE) is None
        recorded = b"\ta.json\t" in journals
        if before is not None and before not in self.by_hand and not self.is_known(journals):
            self.accepted = before  # neither its record is left nor its time: as if by hand
        clock = mock.patch.object(time, "time_ns", self.now)
        with testing.project(self.folder / self.project), clock:
            value = number_task(factor, **options)()
        self.end_process()
        if before is not None and unknown:
            self.accepted = before
        is_person = before is not None and (before in self.by_hand or before == self.accepted)
        self.users.add(self.project)
        known = unknown or (recorded and len(self.users) == 1)
        if before is not None:
            self.taken |= {before} & {self.accepted}
        if before in self.taken and not unknown:
            pass  # it can be taken for either
        elif is_person and edited == "keep" and known:
            assert value == json.loads(before or ""), "what somebody made is used"
            assert self.text() == before, "and stays"
        elif not is_person and stale != "recompute" and value == json.loads(before or "null"):
            pass  # asked for: what is there is kept
        elif not (is_person and value == json.loads(before or "")):
            assert value == ["computed", factor], "nothing of other code is used"
            assert json.loads(self.text() or "") == value
            self.accepted = ""
        self.remember()

    @rule(days=st.sampled_from([-400, -1, 0, 1, 400]))
    def other_host(self, days: int) -> None:
        """Runs go on where the clock is behind, or ahead."""
        self.clock = days * 86_400 * 10**9

    @rule()
    def other_project(self) -> None:
        self.project = "two" if self.project == "one" else "one"

    def remember(self) -> None:
        self.seen.append((self.file.read_bytes(), self.file.stat().st_mtime_ns))

    # People

    @rule(age=st.sampled_from([0, 1, 10**6, 10**9, 2 * 10**9]))
    def edit(self, age: int) -> None:
        """Save something new; the clock of that host, or what was copied, may be of any time."""
        self.saved_over()
        self.count += 1
        text = json.dumps(["by hand", self.count])
        self.by_hand.add(text)
        self.file.write_text(text)
        when = time.time() - age
        os.utime(self.file, (when, when))
        self.remember()

    @rule(which=st.integers(0, 99), keeps_time=st.booleans())
    def restore(self, which: int, keeps_time: bool) -> None:
        """Bring back what lay there once: undo, a backup, another branch."""
        self.saved_over()
        data, mtime = self.seen[which % len(self.seen)]
        self.file.write_bytes(data)
        self.gone.discard(data.decode())
        if keeps_time:
            os.utime(self.file, ns=(mtime, mtime))

    @precondition(lambda self: self.file.exists())
    @rule()
    def delete(self) -> None:
        self.saved_over()
        self.file.unlink()

    def saved_over(self) -> None:
        before = self.text()
        if before is not None:
            self.gone.add(before)
            self.accepted = ""

    # Accidents, and what runs do now and then

    @rule()
    def compact(self) -> None:
        compaction.compact(book.records_of(self.folder / "kept"), always=True)
        self.end_process()

    @precondition(lambda self: self.journals())
    @rule(lines=st.integers(1, 3), torn=st.booleans())
    def lose_the_end_of_a_journal(self, lines: int, torn: bool) -> None:
        path = self.journals()[-1]
        kept = path.read_bytes().splitlines(keepends=True)
        cut = b"".join(kept[: max(1, len(kept) - lines)])
        path.write_bytes(cut[:-3] if torn and len(kept) - lines > 1 else cut)

    @precondition(lambda self: len(self.journals()) > 1)
    @rule(which=st.integers(0, 99))
    def lose_a_journal(self, which: int) -> None:
        journals = self.journals()
        journals[which % len(journals)].unlink()

    @rule()
    def lose_all_records(self) -> None:
        shutil.rmtree(self.folder / "kept/.databacked/journals", ignore_errors=True)

    @invariant()
    def nothing_that_a_person_made_is_lost(self) -> None:
        there = {self.text()}
        there |= {
            path.read_text()
            for path in self.folder.glob("kept/.databacked/replaced/*/*")
            if path.is_file()
        }
        assert self.by_hand - self.gone <= there


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)


@pytest.mark.slow
def test_long_stories():
    """Nothing that a person made is lost or passed over; nothing of other code is used."""
    long = settings(max_examples=150, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(Story, settings=long)
