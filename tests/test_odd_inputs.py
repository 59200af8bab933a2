"""Input folders as they are: links, loops, pipes, names of old disks, files nobody may read."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databacked import FlowFailed, LocalDatasetResult, LocalResult, flow, last_run, task
from databacked.errors import DatabackedError, TargetError
from databacked.fingerprint.files import HashMemory, content_of, file_token
from databacked.graph.target import check_targets
from databacked.records import book, journal
from databacked.storage.looks import files_in, stat_of


def wells(plate: Path):
    """Return a flow that adds up what the wells of a plate hold."""

    @task(result=LocalResult("out"), target="{folder.name}.json")
    def total(folder: Path):
        return sum(int(one.read_text()) for one in folder.glob("*/*.txt"))

    @flow
    def run():
        return total(plate)

    return run


def test_what_lies_behind_a_linked_folder_counts(project):
    """As if it lay there itself; a copy of it all counts the same."""
    (project / "disk2/well1").mkdir(parents=True)
    (project / "disk2/well1/a.txt").write_text("1")
    plate = project / "plate"
    (plate / "well2").mkdir(parents=True)
    (plate / "well2/a.txt").write_text("2")
    (plate / "well1").symlink_to("../disk2/well1")
    run = wells(plate)
    assert run() == 3
    assert run() == 3
    assert dict(last_run().counts["total"]) == {"reused": 1}
    (project / "disk2/well1/a.txt").write_text("100")
    assert run() == 102
    shutil.copytree(plate, project / "copy", symlinks=False)
    assert content_of(project / "copy") == content_of(plate)


def test_a_loop_of_links_ends(tmp_path):
    """To itself, to a folder above, through each other, to nothing, into itself."""
    for name in ("a/b", "c"):
        (tmp_path / "in" / name).mkdir(parents=True)
    links = {"a/up": "..", "a/b/top": "../..", "c/a": "../a", "a/c": "../c", "self": "self"}
    for name, where in {**links, "here": ".", "gone": "nothing"}.items():
        (tmp_path / "in" / name).symlink_to(where)
    (tmp_path / "in/a/x.txt").write_text("x")
    names = [name for name, _ in files_in(tmp_path / "in")]
    assert len(names) == len(set(names))
    assert {"a/x.txt", "c/a/x.txt", "gone", "self"} <= set(names)
    before = content_of(tmp_path / "in"), stat_of(tmp_path / "in")
    assert (content_of(tmp_path / "in"), stat_of(tmp_path / "in")) == before
    (tmp_path / "in/a/x.txt").write_text("yy")
    assert content_of(tmp_path / "in") != before[0]
    assert stat_of(tmp_path / "in") != before[1]


@pytest.mark.parametrize("odd", ["link to nothing", "unreadable file", "unreadable folder", "pipe"])
def test_one_odd_thing_in_a_folder_hides_none_of_the_others(tmp_path, monkeypatch, odd):
    """A lock of an editor, a file of somebody else: what changes beside it counts."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (folder / "z.txt").write_text("1")
    (folder / "sub/a.txt").write_text("1")
    match odd:
        case "link to nothing":
            (folder / ".#lock").symlink_to("user@host.1234")
        case "pipe":
            os.mkfifo(folder / "pipe")
        case _:
            hidden = str(folder / ("sub" if "folder" in odd else "sub/a.txt"))
            listed, opened = os.scandir, open

            def refuse(really):
                def call(path, *arguments, **options):
                    if os.fspath(path) == hidden:
                        raise PermissionError(13, "Permission denied", hidden)
                    return really(path, *arguments, **options)

                return call

            monkeypatch.setattr(os, "scandir", refuse(listed))
            monkeypatch.setattr("builtins.open", refuse(opened))
    first = file_token(str(folder))
    assert first.startswith("file:in:tree")
    assert file_token(str(folder)) == first
    (folder / "z.txt").write_text("2")
    assert file_token(str(folder)) != first


@pytest.mark.parametrize("way", ["argument", "in a list", "in a folder"])
def test_a_pipe_is_never_opened(project, way):
    """As an argument it fails its item, by name; in a folder it is there and no more."""
    (project / "in").mkdir()
    os.mkfifo(project / "in/pipe")
    value = {
        "argument": project / "in/pipe",
        "in a list": [project / "in/pipe"],
        "in a folder": project / "in",
    }[way]

    @task(result=LocalResult("out"), target="{n}.json")
    def count(n, value):
        return len(list(value.iterdir())) if isinstance(value, Path) else len(value)

    @flow
    def run():
        return count(1, value)

    if way == "argument":
        with pytest.raises(FlowFailed, match="value names pipe: it is a named pipe, and a file"):
            run()
    else:
        assert run() == 1
        assert run() == 1
        assert dict(last_run().counts["count"]) == {"reused": 1}


def test_the_name_of_a_device_is_a_text(project):
    """A microscope's port is no input file."""

    @task(result=LocalResult("out"), target="{n}.json")
    def setting(n, port, sink: Path):
        return port

    @flow
    def run():
        return setting(1, "/dev/zero", Path(os.devnull))

    assert run() == "/dev/zero"
    assert run() == "/dev/zero"
    assert dict(last_run().counts["setting"]) == {"reused": 1}


# ---------------------------------------------------------------- names


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems refuse such names")
@pytest.mark.parametrize("runner", ["threads", "calling"])
def test_names_that_are_no_text_are_names(project, monkeypatch, capsys, runner):
    """Hash memory, records, log and what is printed; also where the item fails."""
    monkeypatch.delenv("DATABACKED_QUIET")
    (project / "in").mkdir()
    for name in (b"Gef\xe4\xdf.tif", b"plain.tif", b"\xff\xfe"):
        with open(os.path.join(os.fsencode(project / "in"), name), "wb") as file:
            file.write(name)
        os.utime(os.path.join(os.fsencode(project / "in"), name), (1_500_000_000, 1_500_000_000))
    paths = sorted((project / "in").iterdir())

    @task(result=LocalResult("out"), target="{n}.json")
    def size(n, path: Path, text, fail):
        if runner == "threads":
            print(path)
        if fail:
            raise ValueError(f"{path} is odd")
        return os.path.getsize(path)

    @task(keep=True)
    def names(path):
        return [one.name for one in path.iterdir()]

    @flow(runner=runner, on_error="collect")
    def run(fail):
        return size.map(range(3), paths, [str(path) for path in paths], fail), names(project / "in")

    sizes = [path.stat().st_size for path in paths]
    for state in ("made", "reused"):
        found, listed = run(False)
        assert list(found) == sizes
        assert sorted(listed) == sorted(path.name for path in paths)
        assert dict(last_run().counts["size"]) == {state: 3}
        journal.close_journals()
        book._registry.clear()
    run(True)
    assert len(last_run().failures) == 3
    assert capsys.readouterr().err


def test_hashes_are_remembered_by_names_that_are_no_text(tmp_path):
    """In this process and the next."""
    odd = os.fsdecode(b"/in/Gef\xe4\xdf.tif")
    memory = HashMemory(tmp_path / "hashes.sqlite")
    memory.remember([(odd, "1", "x"), ("/in/plain", "2", "y")])
    for one in (memory, HashMemory(tmp_path / "hashes.sqlite")):
        assert one.find(odd, "1") == "x"
        assert one.find("/in/plain", "2") == "y"


def test_a_dataset_names_the_path_that_is_no_text(project):
    """It could not be written to a table."""
    (project / "README.md").write_text("# r")
    odd = os.fsdecode(os.fsencode(project) + b"/Gef\xe4\xdf.txt")
    with open(odd, "w") as file:
        file.write("x")

    @task(
        result=LocalDatasetResult("lab/set", readme="README.md", filepath_columns=["file"]),
    )
    def hand():
        return pd.DataFrame({"file": [Path(odd)]})

    with pytest.raises(FlowFailed, match="a name that is no Unicode text"):
        hand()


CONTROL = st.sampled_from([*map(chr, range(32)), "\x7f"])


@settings(max_examples=60)
@given(st.text("ab./", max_size=4), CONTROL, st.text("ab", max_size=3), st.integers(1, 3))
def test_no_target_holds_what_the_code_separates_by(before, control, after, files):
    """Every control character is refused, in a name and among several names."""
    joined = "\x1f".join(
        [f"{before}{control}{after}.json", *(f"{n}.json" for n in range(1, files))]
    )
    with pytest.raises(TargetError):
        check_targets([joined], "work", files)


@pytest.mark.parametrize("target", ["{n!z}", "{n:>q}", "{n.stem}", "{n:{n}}", "{n!s:d}", "{n!r"])
@pytest.mark.parametrize("several", [False, True])
def test_a_template_that_cannot_be_filled_names_task_and_template(project, target, several):
    """Conversions, formats and attributes that the value does not have."""
    given = {"one": target + ".json", "two": "{n}_2.json"} if several else target + ".json"

    def run():
        @task(result=LocalResult("out"), target=given)
        def work(n):
            return n

        return work.map([1, 2])

    with pytest.raises(DatabackedError) as raised:
        run()
    assert isinstance(raised.value, TargetError)
    assert str(raised.value).startswith("work: the target")
    assert target in str(raised.value)


# ---------------------------------------------------------------- what stays small and clean


def test_the_journals_of_small_values_are_made_one(project):
    """As those of every place are."""
    for number in range(12):

        @task(keep=True)
        def value(n):
            return [n]

        @flow
        def run(numbers):
            return list(value.map(numbers))

        assert run(range(number, number + 2)) == [[number], [number + 1]]
        journal.close_journals()
        book._registry.clear()
    assert len(list((project / ".databacked/values/.databacked/journals").iterdir())) <= 9


def test_nothing_of_a_killed_run_lies_in_a_dataset_or_beside_a_record(project, monkeypatch):
    """Half of a file is written where the next run clears it away."""
    (project / "README.md").write_text("# r")

    @task(result=LocalDatasetResult("lab/set", readme="README.md", filepath_columns=[]))
    def hand():
        return pd.DataFrame({"a": [1]})

    def killed(source, target):
        shutil.copy(source, project / "half")  # it was there
        raise KeyboardInterrupt

    @flow(runner="calling")
    def run():
        return hand()

    for where in ("databacked.datasets.write.replace", "databacked.records.runs.replace"):
        with monkeypatch.context() as patch:
            patch.setattr(where, killed)
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            with pytest.raises(KeyboardInterrupt):
                run()
        assert (project / "half").exists()
    names = [path.name for path in (project / "datasets/lab/set").iterdir()]
    assert [name for name in names if name[0] == "." and name != ".databacked"] == []
    runs = [path.name for path in (project / ".databacked/runs").rglob("*")]
    assert not any(name.startswith(".") for name in runs)
