"""What others put where databacked keeps its own things: links, pipes, notes, files for folders."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from databacked import LocalResult, flow, last_run, task
from databacked.errors import DatabackedError, RecordError, StorageError, TargetError
from databacked.project.folders import can_write, make_state_folder
from databacked.project.root import Project
from databacked.records import book, journal
from databacked.records.book import records_of
from databacked.records.compaction import compact
from databacked.records.owners import project_id

STATE = ".databacked"


def numbers(place: str | os.PathLike[str] = "out", name: str = "{n}.json", **options: str):
    """Return a flow that keeps two numbers."""

    @task(result=LocalResult(place, **options), target=name)  # type: ignore[arg-type]
    def number(n):
        return n

    @flow
    def run():
        return list(number.map([1, 2]))

    return run


def again(run: Callable[[], list[int]]) -> dict[str, int]:
    """Run as a new process would; return what became of the items."""
    journal.close_journals()
    book._registry.clear()
    assert run() == [1, 2]
    return dict(last_run().counts["number"])


def put(path: Path, kind: str) -> None:
    """Put something of somebody else at a path."""
    match kind:
        case "note":
            path.write_text("mine")
        case "folder":
            path.mkdir()
            (path / "mine.txt").write_text("mine")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            here = os.getcwd()
            os.chdir(path.parent)  # the name of a socket has to be short
            try:
                with socket.socket(socket.AF_UNIX) as one:
                    one.bind(path.name)
            finally:
                os.chdir(here)
        case "link to itself":
            path.symlink_to(path.name)
        case "link to nothing":
            path.symlink_to("gone")
        case "link to a folder":
            path.symlink_to(path.parent)


KINDS = ["note", "folder", "pipe", "socket", "link to itself", "link to nothing"]


def test_what_is_no_journal_is_passed_over_and_stays(project):
    """Whatever it is and however it is called; it is said once, and compaction leaves it alone."""
    run = numbers()
    run()
    odd: list[Path] = []
    for number, kind in enumerate([*KINDS, "link to a folder"]):
        names = [f"odd{number}", f"odd{number}.tsv", f"17956328777603703{number}6-7cea090f.tsv"]
        odd += [project / "out" / STATE / "journals" / name for name in names]
        for path in odd[-3:] if kind != "note" else odd[-3:-1]:  # that would be a damaged journal
            put(path, kind)
    odd.pop(2)
    assert again(run) == {"reused": 2}
    assert again(run) == {"reused": 2}
    compact(records_of(project / "out"), always=True)
    assert all(map(os.path.lexists, odd))
    assert again(run) == {"reused": 2}
    found = records_of(project / "out")
    assert found.take_notes() == []  # the run has said it
    found.refresh()
    assert found.take_notes() == []


@pytest.mark.parametrize("name", ["odd", "compaction.lock", "1795632877760370356-7cea090f"])
def test_what_lies_in_the_state_folder_stops_nothing(project, name):
    """Neither a run that makes something, nor one that has nothing to make."""
    for number, kind in enumerate(KINDS):
        place = f"out{number}"
        state = make_state_folder(project / place)
        (state / "tmp").mkdir()
        for folder in (state, state / "tmp"):
            put(folder / name, kind)
        assert again(numbers(place)) == {"made": 2}
        assert again(numbers(place)) == {"reused": 2}


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_where_the_name_of_the_project_is_kept_stops_nothing(tmp_path, kind):
    """A pipe would be waited for, for ever."""
    put(make_state_folder(tmp_path) / "project", kind)
    names = {project_id(tmp_path), project_id(tmp_path)}
    assert len(names) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["project", "runs", "tmp"])
def test_what_lies_in_the_state_folder_of_the_project_stops_nothing(project, name, kind):
    """A pipe would be waited for, until somebody writes into it."""
    put(make_state_folder(project) / name, kind)
    for state in ("made", "reused"):
        journal.close_journals()
        book._registry.clear()
        assert numbers()() == [1, 2]
        assert last_run().counts["number"] == {state: 2}


@pytest.mark.parametrize("where", ["out", f"out/{STATE}", f"out/{STATE}/journals"])
@pytest.mark.parametrize("kind", ["note", "link to nothing", "link to itself"])
def test_a_file_or_a_dead_link_for_a_folder_is_said_in_words(project, where, kind):
    """And which one it is; nothing is computed."""
    (project / where).parent.mkdir(parents=True, exist_ok=True)
    put(project / where, kind)
    said = "is a file" if kind == "note" else "is a link to"
    with pytest.raises(RecordError, match=f"{where} {said}"):
        numbers()()


@pytest.mark.parametrize("kind", ["note", "link to nothing"])
def test_a_file_for_the_folder_of_temporary_files_is_said_before_the_work(project, kind):
    """It is no lack of permission."""
    put(make_state_folder(project / "out") / "tmp", kind)
    with pytest.raises(StorageError, match=f"nothing can be kept in .*{STATE}/tmp is a "):
        numbers()()
    assert list((project / "out").glob("*.json")) == []


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("link", [f"{STATE}/tmp", f"{STATE}/journals", f"{STATE}/replaced", STATE])
def test_nothing_behind_a_link_is_cleared(project, link):
    """Scratch files on the fast disk, with somebody's folders in it, whatever they are called."""
    fast = project / "fast"
    names = ["scans", "tmp", "1795632877760370356-7cea090f"]
    for name in names:
        for folder in (fast / name, fast / "tmp" / name):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "a.txt").write_text("precious")
    (project / "out" / link).parent.mkdir(parents=True, exist_ok=True)
    (project / "out" / link).symlink_to(fast)
    (project / "out/1.json").write_text("9")
    run = numbers(when_unknown="replace")
    for _ in range(10):
        again(run)
    kept = {path.relative_to(fast).as_posix() for path in fast.rglob("a.txt")}
    assert kept >= {f"{name}/a.txt" for name in names}
    assert kept >= {f"tmp/{name}/a.txt" for name in names}


def test_only_folders_named_as_ours_are_cleared(project):
    """What somebody keeps in the folder of temporary files stays; what a killed run left goes."""
    run = numbers()
    run()
    scratch = project / "out" / STATE / "tmp"
    for name in ("1795632877760370356-7cea090f", "mine", "1795632877760370356-7cea090f-mine"):
        (scratch / name).mkdir(exist_ok=True)
    journals = project / "out" / STATE / "journals"
    (journals / ".1795632877760370356-7cea090f").touch()  # begun by a run that was killed
    (journals / ".0badcafe").touch()
    (journals / ".mine").touch()
    compact(records_of(project / "out"))
    assert {"mine", "1795632877760370356-7cea090f-mine"} <= {one.name for one in scratch.iterdir()}
    assert not (scratch / "1795632877760370356-7cea090f").exists()
    assert [one.name for one in journals.iterdir() if one.name[0] == "."] == [".mine"]


def test_a_link_to_nothing_at_a_target_is_moved_aside(project):
    """It is not lost, and the result is made."""
    (project / "out").mkdir()
    (project / "out/1.json").symlink_to("not-mounted/1.json")
    assert again(numbers(when_unknown="replace")) == {"made": 2}
    assert (project / "out/1.json").read_text().strip() == "1"
    (aside,) = (project / "out" / STATE / "replaced").glob("*/*.json")
    assert os.readlink(aside) == "not-mounted/1.json"
    assert again(numbers()) == {"reused": 2}


@pytest.mark.parametrize("kind", ["relative", "absolute"])
@pytest.mark.parametrize("value", [2, None])
def test_a_link_to_a_result_that_was_moved_is_moved_aside_too(project, kind, value):
    """Somebody keeps it elsewhere: used through its link, and neither is replaced or removed."""

    def numbers(value):
        @task(result=LocalResult("out"), target="{n}.json")
        def number(n):
            return value

        @flow
        def run():
            return number.map([1])

        return run

    assert list(numbers(1)()) == [1]
    (project / "archive").mkdir()
    kept, link = project / "archive/1.json", project / "out/1.json"
    link.rename(kept)
    leads = "../archive/1.json" if kind == "relative" else str(kept)
    link.symlink_to(leads)
    assert list(numbers(1)()) == [1]
    assert last_run().counts["number"] == {"reused": 1}
    for expected in ({"made": 1}, {"reused": 1}):
        assert list(numbers(value)()) == [value]
        assert last_run().counts["number"] == expected
    assert kept.read_text().strip() == "1"
    assert not link.is_symlink()
    (aside,) = (project / "out" / STATE / "replaced").glob("*/*.json")
    assert os.readlink(aside) == leads


@pytest.mark.parametrize("where", ["out/deep", "out/deep/er"])
def test_a_dead_link_above_a_target_is_said_in_words(project, where):
    """It would never be there."""
    (project / where).parent.mkdir(parents=True)
    (project / where).symlink_to("not-mounted")
    with pytest.raises(DatabackedError, match=f"{where} is a link to not-mounted"):
        numbers(name="deep/er/still/{n}.json")()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_a_pipe_at_a_target_is_moved_aside_and_never_opened(project, kind, known):
    """Whether a file of ours was there before or not."""
    run = numbers(when_unknown="replace")
    if known:
        run()
        (project / "out/1.json").unlink()
    (project / "out").mkdir(exist_ok=True)
    put(project / "out/1.json", kind)
    assert again(run).get("made") == (1 if known else 2)
    assert (project / "out/1.json").read_text().strip() == "1"
    assert len(list((project / "out" / STATE / "replaced").glob("*/1.json"))) == 1


# ---------------------------------------------------------------- two places that are one


def test_two_places_that_are_one_folder_are_refused(project):
    """By whatever names they are called, before anything is made."""
    (project / "out/sub").mkdir(parents=True)
    (project / "other").mkdir()
    (project / "link").symlink_to("out")
    (project / "deep").symlink_to("out/sub")
    (project / "other/up").symlink_to(project / "out")

    def both(one: str, two: str):
        @task(result=LocalResult(one), target="{n}.json")
        def first(n):
            return n

        @task(result=LocalResult(two), target="{n}.json")
        def second(n):
            return n * 100

        @flow
        def run():
            return list(first.map([1, 2])), list(second.map([1, 2]))

        return run

    for one, two in (("out", "link"), ("link/new", "out/new"), ("deep", "link/sub")):
        for pair in ((one, two), (two, one)):
            with pytest.raises(TargetError, match="one and the same folder"):
                both(*pair)()
    for one, two in (
        ("out", "deep"),
        ("link", "out/new"),
        ("other/up/a", "link"),
        ("out", "link/a"),
    ):
        for pair in ((one, two), (two, one)):
            with pytest.raises(TargetError, match="lie inside one another"):
                both(*pair)()
    assert not list(project.rglob("[12].json"))


def test_above_a_link_is_above_what_it_leads_to(tmp_path):
    """As in a terminal; where no link is in between nothing is looked at."""
    (tmp_path / "disk/a").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    (tmp_path / "project/link").symlink_to(tmp_path / "disk/a")
    project = Project(tmp_path / "project")
    assert project.resolve("link/../b") == tmp_path / "disk/b"
    assert project.resolve("gone/../b") == tmp_path / "project/b"
    assert project.resolve("../b") == tmp_path / "b"


def test_results_below_a_place_that_is_a_link_are_found(project):
    """A place may be a link to the big disk; only two names for it in one run are refused."""
    (project / "disk").mkdir()
    (project / "out").symlink_to("disk")
    assert again(numbers()) == {"made": 2}
    assert again(numbers()) == {"reused": 2}
    assert again(numbers("disk")) == {"reused": 2}


# ---------------------------------------------------------------- what goes during a run


def test_folders_that_are_removed_during_a_run_are_made_again(project):
    """By a task, or by somebody who clears old temporary files."""
    removed = [f"out/{STATE}/tmp", f"out/{STATE}/journals", f"out/{STATE}"]

    @task(result=LocalResult("out"), target="{n}.json")
    def number(n):
        if n % 3 == 1 and n // 3 < len(removed):
            shutil.rmtree(project / removed[n // 3])
        return n

    @flow(runner="calling")
    def run():
        return list(number.map(range(14)))

    assert run() == list(range(14))
    assert dict(last_run().counts["number"]) == {"made": 14}


def test_what_another_run_took_away_is_gone_as_it_was_to_be(project, monkeypatch):
    """A value that becomes None has no file, whoever removes the old one."""

    @task(result=LocalResult("out"), target="{n}.json")
    def number(n, again):
        if again:
            (project / f"out/{n}.json").unlink()
        return None if again else n

    @flow(runner="calling")
    def run(again):
        return list(number.map(range(2), again))

    assert run(0) == [0, 1]
    rename = os.rename

    def late(source, target):
        if str(source).endswith("json") and "/tmp/" in str(target):
            os.unlink(source)  # the other run, in this moment
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert run(1) == [None, None]


def test_a_folder_that_somebody_makes_meanwhile_can_be_written_to(tmp_path, monkeypatch):
    """Two runs begin at once in a place that is new."""
    new, access = tmp_path / "new", os.access

    def late(path, mode):
        found = access(path, mode)
        new.mkdir(exist_ok=True)
        return found

    monkeypatch.setattr(os, "access", late)
    assert can_write(new)
