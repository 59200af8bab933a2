"""Journals: cut, damaged, removed, written by others, and made one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databacked import LocalResult, flow, last_run, task
from databacked.errors import RecordError, UnknownFilesError
from databacked.records import book, compaction, journal
from databacked.records.book import Records
from databacked.records.compaction import compact
from databacked.records.journal import Journal
from databacked.records.owners import Owner
from databacked.records.record import WHOLE, Record, details, parse
from databacked.storage.base import Stat

CONTEXT = {"task": "t.py:f", "run": "r", "packages": {}}


def record(target: str = "a.txt", **changes) -> Record:
    """Return a claim."""
    fields = {
        "state": "w",
        "target": target,
        "recipe": "1" * 32,
        "resolved": "1" * 32,
        "content": "2" * 32,
        "size": 3,
        "mtime_ns": 4,
        "context": "c1",
        "body": details(parameters={"x": 1}),
    }
    return Record(**{**fields, **changes})


def written(place: Path, *claims: Record) -> Path:
    """Write claims to a journal of an ended run, and return it."""
    journal = Journal(place)
    for claim in claims:
        journal.append(claim.line(), claim.context, CONTEXT)
    journal.close()
    return max((place / ".databacked/journals").iterdir())


def read(place: Path) -> tuple[Records, list[str]]:
    """Read a place anew, and what is said of it."""
    found = Records(place)
    found.refresh()
    return found, found.take_notes()


TARGETS = st.text(st.characters(exclude_characters="\t\n\0", exclude_categories=["Cs"]), min_size=1)


@given(
    st.sampled_from("wea"),
    TARGETS,
    st.integers(-1, 2**63),
    st.integers(-(2**63), 2**63),  # before 1970, too: an empty clock west of Greenwich
    st.dictionaries(st.text(), st.text() | st.integers() | st.none()),
)
def test_a_record_comes_back_from_its_line(state, target, size, mtime, said):
    """Whatever characters a target or a parameter holds."""
    body = details(parameters=said)
    claim = record(target, state=state, size=size, mtime_ns=mtime, body=body)
    assert claim.line().count(b"\n") == 1
    assert parse(claim.line()[:-1]) == claim


def test_the_format_is_what_the_documentation_says(tmp_path):
    """Anybody can read a journal with a text editor or pandas."""
    lines = written(tmp_path, record()).read_text().splitlines()
    assert lines[0] == "#databacked\t1"
    assert lines[1].split("\t")[:2] == ["=", "c1"]
    assert json.loads(lines[1].split("\t")[2]) == CONTEXT
    assert lines[2].split("\t")[:8] == [
        *("w", "a.txt", "1" * 32, "1" * 32, "2" * 32, "3", "4", "c1"),
    ]
    assert json.loads(lines[2].split("\t")[8]) == {"parameters": {"x": 1}}


@pytest.mark.parametrize("lost", [1, 2, 30, 100])
def test_a_cut_last_line_costs_its_item_only(tmp_path, lost):
    """A process was killed, or a disk full, in the middle of a write."""
    path = written(tmp_path, record("a.txt"), record("b.txt"))
    os.truncate(path, path.stat().st_size - lost)
    found, notes = read(tmp_path)
    assert [one.target for one in found.all()] == ["a.txt"]
    assert len(notes) == 1
    assert "is cut" in notes[0]
    assert str(path) in notes[0]


def test_garbage_in_the_middle_costs_its_lines_only(tmp_path):
    """A damaged disk block: what is readable is read, the rest is said."""
    path = written(tmp_path, record("a.txt"), record("b.txt"), record("c.txt"))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"b.txt\t1111", b"b.t\xff\0\n\t11"))
    found, notes = read(tmp_path)
    assert [one.target for one in found.all()] == ["a.txt", "c.txt"]
    assert len(notes) == 1
    assert "2 line(s)" in notes[0]


def test_bytes_that_are_no_number_are_a_damaged_line_too(tmp_path):
    """A line is looked at whole before it counts; and it is said once."""
    path = written(tmp_path, record("a.txt"), record("b.txt", size=77))
    path.write_bytes(path.read_bytes().replace(b"\t77\t", b"\t7\xff\t"))
    found, notes = read(tmp_path)
    assert notes == []  # nobody asked for it yet
    stat, recipe = record().stat, record().recipe
    assert found.fitting(["b.txt"], {"b.txt": stat}, [recipe], Owner("t.py:f")) == [None]
    assert [one.target for one in found.all()] == ["a.txt"]
    assert len(found.take_notes()) == 1
    assert found.of("b.txt") == []
    assert found.take_notes() == []
    assert not found.has("b.txt")


def test_a_place_of_which_all_records_are_damaged_is_unknown(tmp_path):
    """Its files are as those of a place without any journal."""
    path = written(tmp_path, record("a.txt", size=77))
    path.write_bytes(path.read_bytes().replace(b"\t77\t", b"\t7\xff\t"))
    found, _ = read(tmp_path)
    assert not found.known


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_line_is_never_taken_for_another(tmp_path_factory, data):
    """Any byte of it: it is whole, or it is forgotten; and what fits is what was recorded."""
    folder = tmp_path_factory.mktemp("damage")
    path = written(folder, record("a.txt"))
    whole = path.read_bytes()
    start = whole.index(b"\nw\t") + 1
    place = data.draw(st.integers(start, len(whole) - 2))
    path.write_bytes(whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :])
    found, _ = read(folder)
    one = record()
    fits = found.fitting(["a.txt"], {"a.txt": one.stat}, [one.recipe], Owner("t.py:f"))
    for claim in found.all():
        assert WHOLE(claim.line()[:-1])
    if fits[0] is not None:
        content, _ = fits[0]
        assert [claim.content for claim in found.of("a.txt")] == [content]


def test_what_is_said_of_a_journal_is_said_once(tmp_path):
    """Not again for every batch."""
    path = written(tmp_path, record())
    os.truncate(path, path.stat().st_size - 5)
    found, notes = read(tmp_path)
    assert len(notes) == 1
    found.refresh()
    assert found.take_notes() == []


@pytest.mark.parametrize("header", ["#databacked\t2\n", "#databacked\t99\textra\n", "PK\x03\x04\n"])
def test_a_journal_of_a_newer_version_is_an_error_never_ignored(project, header):
    """Its results would look like files of nobody."""
    kept = kept_numbers()
    kept()
    path = next((project / "kept/.databacked/journals").iterdir())
    journal.close_journals()
    text = path.read_text()
    path.with_name(f"9{path.name[1:]}").write_text(header + text.partition("\n")[2])
    with pytest.raises(RecordError, match=r"journals/9\d+-\w+\.tsv.*upgrade"):
        kept()


def test_a_journal_that_was_saved_with_other_line_ends_is_read(project):
    """An editor did it, or a program that copies between systems: no record of a file is lost."""
    kept_numbers()()
    journal.close_journals()
    path = next((project / "kept/.databacked/journals").iterdir())
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (project / "kept/1.json").write_text("5\n")
    book._registry.clear()
    assert list(kept_numbers()()) == [5, 2, 3]
    assert last_run().counts["number"] == {"reused": 3}


def kept_numbers(factor: int = 1):
    """Return a flow that keeps three numbers."""

    @task(result=LocalResult("kept"), target="{x}.json")
    def number(x):
        return x * factor

    @flow
    def numbers():
        return number.map([1, 2, 3])

    return numbers


def test_a_cut_journal_is_said_by_the_run_and_its_item_is_made_again(project, monkeypatch):
    """The user sees which file, and what became of it."""
    monkeypatch.delenv("DATABACKED_QUIET")
    kept_numbers()()
    journal.close_journals()
    path = next((project / "kept/.databacked/journals").iterdir())
    last = path.read_bytes().splitlines(keepends=True)[-1]
    os.truncate(path, path.stat().st_size - len(last) // 2)
    (project / "databacked.toml").touch()
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, root, str(project)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"The last line of {path} is cut" in done.stderr + done.stdout
    assert sorted(json.loads(done.stdout.splitlines()[-1]).items()) == [("made", 1), ("reused", 2)]


AGAIN = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from databacked import last_run, testing
from tests.test_records import kept_numbers
with testing.project(Path(sys.argv[2])):
    kept_numbers()()
print(json.dumps(dict(last_run().counts["number"])))
"""


@pytest.mark.parametrize("left", [None, b"", b"\0" * 200, b"#databacked\t1\n"])
def test_without_journals_files_are_of_unknown_origin(project, left):
    """Nothing is overwritten, and the message says what can be done; also where they are empty."""
    kept = kept_numbers()
    kept()
    journal.close_journals()
    for path in (project / "kept/.databacked/journals").iterdir():
        path.unlink()
        if left is not None:
            path.write_bytes(left)
    book._registry.clear()
    with pytest.raises(UnknownFilesError, match="when_unknown='accept'"):
        kept()
    assert (project / "kept/1.json").read_text() == "1\n"


def test_a_reader_beside_a_writer_reads_whole_lines_only(tmp_path):
    """What is being written counts once its line is whole; nothing is said of a living journal."""
    journal = Journal(tmp_path)
    journal.append(record("a.txt").line(), record("a.txt").context, CONTEXT)
    found, notes = read(tmp_path)
    path = next((tmp_path / ".databacked/journals").iterdir())
    line = record("b.txt").line()
    with open(path, "ab") as file:
        file.write(line[:40])
        file.flush()
        found.refresh()
        assert [one.target for one in found.all()] == ["a.txt"]
        file.write(line[40:])
        file.flush()
        found.refresh()
    assert [one.target for one in found.all()] == ["a.txt", "b.txt"]
    assert notes + found.take_notes() == []
    journal.close()


def test_compaction_keeps_what_fits_the_file(tmp_path):
    """Of several claims about a target one stays whole: that of the file that is there."""
    (tmp_path / "a.txt").write_text("abc")
    stat = (tmp_path / "a.txt").stat()
    fitting = record("a.txt", content="f" * 32, mtime_ns=stat.st_mtime_ns)
    written(tmp_path, record("a.txt", content="e" * 32), record("b.txt", recipe="5" * 32))
    written(tmp_path, fitting)
    written(tmp_path, record("a.txt", content="9" * 32, size=9), record("b.txt", recipe="6" * 32))
    found, _ = read(tmp_path)
    assert compact(found, always=True) == 3
    (path,) = (tmp_path / ".databacked/journals").iterdir()
    after, notes = read(tmp_path)
    assert not notes
    assert [one.content[0] for one in after.of("a.txt")] == ["e", "f", "9"]
    assert after.of("a.txt")[1] == fitting
    assert [one.recipe[0] for one in after.of("b.txt")] == ["5", "6"]
    # Of what the targets held before, what it was and what it was made of is all that is left.
    left = [one for one in after.all() if one.details]
    assert left == [fitting, record("b.txt", recipe="6" * 32)]
    bare = {one.context for one in after.all() if not one.details}
    assert [after.contexts[name] for name in bare] == [{"task": CONTEXT["task"]}]
    assert after.contexts["c1"] == CONTEXT
    assert after.fits("a.txt", Stat(3, stat.st_mtime_ns), fitting.recipe, Owner("t.py:f"))
    assert "compacted" in path.name


def test_compaction_keeps_every_claim_when_none_surely_fits(tmp_path):
    """A copied project has other times: its claims are told apart by content, later."""
    (tmp_path / "a.txt").write_text("abc")
    written(tmp_path, record("a.txt", content="e" * 32))
    written(tmp_path, record("a.txt", content="f" * 32))
    found, _ = read(tmp_path)
    compact(found, always=True)
    assert [one.content[0] for one in read(tmp_path)[0].of("a.txt")] == ["e", "f"]


def test_compaction_keeps_both_claims_that_fit_one_size_and_time(tmp_path):
    """Only the bytes tell them apart; a quick look says that it takes a closer one."""
    (tmp_path / "a.txt").write_text("abc")
    stat = Stat(3, (tmp_path / "a.txt").stat().st_mtime_ns)
    for content in ("e" * 32, "f" * 32):
        written(tmp_path, record("a.txt", content=content, mtime_ns=stat.mtime_ns))
    found, _ = read(tmp_path)
    compact(found, always=True)
    after, _ = read(tmp_path)
    assert [one.content[0] for one in after.of("a.txt")] == ["e", "f"]
    assert after.fits("a.txt", stat, record().recipe, Owner("t.py:f")) is None


def test_compaction_leaves_the_journals_of_living_processes(tmp_path):
    """They are still being written."""
    written(tmp_path, record("a.txt"))
    written(tmp_path, record("b.txt"))
    living = Journal(tmp_path)
    living.append(record("c.txt").line(), record().context, CONTEXT)
    found, _ = read(tmp_path)
    compact(found, always=True)
    living.append(record("d.txt").line(), record().context, CONTEXT)
    assert len(list((tmp_path / ".databacked/journals").iterdir())) == 2
    assert {one.target for one in read(tmp_path)[0].all()} == {"a.txt", "b.txt", "c.txt", "d.txt"}
    found.refresh()  # who had read the old ones already
    assert {one.target for one in found.all()} == {"a.txt", "b.txt", "c.txt", "d.txt"}
    living.close()


def test_many_runs_leave_few_journals(project):
    """Compaction comes by itself, and costs no result."""
    for _ in range(compaction.COMPACT_ABOVE + 4):
        journal.close_journals()
        # Always another run's journal: an item that is missing each time.
        (project / "kept/2.json").unlink(missing_ok=True)
        kept_numbers()()
    names = [path.name for path in (project / "kept/.databacked/journals").iterdir()]
    assert len(names) <= compaction.COMPACT_ABOVE + 1
    assert any("compacted" in name for name in names)
    kept_numbers()()
    assert last_run().counts["number"] == {"reused": 3}


def test_the_name_of_a_journal_does_not_grow(tmp_path, monkeypatch):
    """A clock was ahead once: the journal that was made one stays the last for years."""
    with monkeypatch.context() as ahead:
        ahead.setattr("databacked.records.journal.time.time_ns", lambda: 3 * 10**18)
        written(tmp_path, record("a.txt"))
    names = []
    for _ in range(3):
        written(tmp_path, record("b.txt"))
        assert compact(read(tmp_path)[0], always=True) == 2
        (path,) = (tmp_path / ".databacked/journals").iterdir()
        names.append(path.name)
    assert len(set(map(len, names))) == 1


def test_temporary_files_of_a_killed_process_go(tmp_path):
    """Nothing half-written stays for ever; what lives is left alone."""
    code = (
        "import os, sys; from pathlib import Path; from databacked.records.journal import Journal\n"
        "Path(Journal(Path(sys.argv[1])).temporary('.tiff')).write_text('half')\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    living = Journal(tmp_path)
    Path(living.temporary(".txt")).write_text("being written")
    assert len(list((tmp_path / ".databacked/tmp").iterdir())) == 2
    found, _ = read(tmp_path)
    compact(found)
    assert [path.read_text() for path in (tmp_path / ".databacked/tmp").glob("*/*")] == [
        "being written"
    ]
    living.close()


def test_names_of_journals_sort_by_time(tmp_path):
    """A reader meets old claims first."""
    first, second = written(tmp_path, record()), written(tmp_path, record())
    assert first.name < second.name
    assert re.fullmatch(r"\d{19}-[0-9a-f]{8}\.tsv", first.name)
