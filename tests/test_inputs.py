"""Files, environment, randomness: what comes in besides values."""

from __future__ import annotations

import functools
import os
import shutil
import threading
import time
import warnings
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from databacked import FlowFailed, LocalResult, flatten, flow, last_run, same, task, testing
from databacked.errors import FingerprintError, GraphError
from databacked.fingerprint import files
from databacked.fingerprint.hashes import hash_file

RUNNERS = ["calling", "threads", "processes"]


def counts(name: str) -> dict[str, int]:
    """Return what became of a task's items in the last run."""
    return dict(last_run().counts.get(name, {}))


def old(path: Path, text: str) -> Path:
    """Write a file that seems to be written long ago, so that its hash can be remembered."""
    path.write_text(text)
    os.utime(path, (1_500_000_000, 1_500_000_000))
    return path


@pytest.fixture
def read(monkeypatch):
    """Note which files are hashed, and when."""
    seen: list[str] = []
    plain = hash_file

    def noted(path):
        seen.append(Path(path).name)
        return plain(path)

    monkeypatch.setattr(files, "hash_file", noted)
    return seen


@pytest.mark.parametrize("runner", RUNNERS)
def test_files_are_read_where_items_run(project, runner):
    """A chain of tasks that are not kept, then one that is; the next run finds everything."""
    paths = [old(project / f"{n}.txt", "x" * n) for n in range(1, 5)]

    @task
    def load(path: Path):
        return path.read_text()

    @task
    def twice(text):
        return text * 2

    @task(result=LocalResult("lengths"), target="{n}.json")
    def length(n, text):
        return len(text)

    @flow(runner=runner)
    def run():
        return length.map(range(1, 5), twice.map(load.map(paths)))

    for expected in ("made", "reused"):
        assert run() == [2, 4, 6, 8]
        assert counts("length") == {expected: 4}
    old(project / "2.txt", "y" * 7)
    assert run() == [2, 14, 6, 8]
    assert counts("length") == {"made": 1, "reused": 3}


def test_each_file_is_read_once_however_many_items_it_has(project, read):
    """Four hundred cells of one field do not hash it four hundred times."""
    paths = [old(project / f"{n}.txt", str(n)) for n in range(3)]

    @task(result=LocalResult("kept"), target="{path.stem}_{k}.json")
    def keep(path: Path, k):
        return k

    keep.map([path for path in paths for _ in range(20)], list(range(20)) * 3)
    assert sorted(name for name in read if name.endswith(".txt")) == ["0.txt", "1.txt", "2.txt"]
    (project / "fresh.txt").write_text("its times may still change")
    keep.map([project / "fresh.txt"] * 20, range(20))
    assert read.count("fresh.txt") == 1


def test_twelve_files_of_two_gigabytes_do_not_delay_the_first_item(project, monkeypatch):
    """Sparse ones: the first item runs when one of them was sampled, not all."""
    paths = [project / f"{n}.raw" for n in range(12)]
    for path in paths:
        with open(path, "wb") as file:
            file.truncate(2 << 30)
    events: list[str] = []
    plain = files._sampled

    def noted(path, size):
        events.append("sampled")
        return plain(path, size)

    monkeypatch.setattr(files, "_sampled", noted)

    @task(result=LocalResult("kept"), target="{path.stem}.json")
    def size(path: Path):
        warnings.warn("an item runs", stacklevel=1)
        return path.stat().st_size

    monkeypatch.setattr(warnings, "warn", lambda *_, **__: events.append("item"))

    @flow(runner="calling")
    def run():
        return size.map(paths)

    assert run() == [2 << 30] * 12
    assert events == ["sampled", "item"] * 12
    assert run() == [2 << 30] * 12
    assert counts("size") == {"reused": 12}


def test_an_unread_file_decides_items_like_any_other(project, read):
    """The cells of an image: what was found is recorded, and known again without running."""
    paths = [old(project / f"{n}.txt", "abc"[:n]) for n in range(4)]

    @task
    def find(path: Path):
        return list(path.read_text())

    @task(result=LocalResult("cells"), target="{field}_{letter}.json")
    def cell(field, letter):
        return letter

    @flow
    def run():
        letters = flatten(find.map(paths))
        return cell.map(letters.of(range(4)), letters)

    for expected in ("made", "reused"):
        assert run() == ["a", "a", "b", "a", "b", "c"]
        assert counts("cell") == {expected: 6}
    assert counts("find") == {}
    old(paths[0], "z")
    assert run() == ["z", "a", "a", "b", "a", "b", "c"]
    assert counts("cell") == {"made": 1, "reused": 6}
    assert counts("find") == {"made": 1}


@pytest.mark.parametrize(("how", "seen"), [("sampled", True), ("full", True), ("stat", False)])
def test_how_input_files_count(project, how, seen):
    """By content, or by size and time alone."""
    path = old(project / "a.txt", "one")

    @task(result=LocalResult("kept"), target="a.json", inputs=how)
    def keep(path: Path):
        return path.read_text()

    assert keep(path) == "one"
    old(path, "two")
    assert keep(path) == ("two" if seen else "one")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    keep(path)
    assert counts("keep") == ({"reused": 1} if seen else {"made": 1})


def test_further_files_and_variables_that_a_task_reads(project, monkeypatch):
    """`reads=` names them; their contents count, and the reason names them."""
    (project / "config.yaml").write_text("sigma: 1")
    monkeypatch.setenv("MODEL", "small")

    @task(result=LocalResult("kept"), target="{n}.json", reads=["config.yaml", "$MODEL"])
    def keep(n):
        return n

    keep(1)
    keep(1)
    assert counts("keep") == {"reused": 1}
    (project / "config.yaml").write_text("sigma: 2")
    keep(1)
    assert counts("keep") == {"made": 1}
    assert "config.yaml (its file) changed" in str(last_run().reasons)
    monkeypatch.setenv("MODEL", "large")
    keep(1)
    assert "$MODEL changed" in str(last_run().reasons)
    (project / "config.yaml").unlink()
    with pytest.raises(FingerprintError, match=r"'config\.yaml' is not there"):
        keep(1)


def test_paths_inside_of_values_know_no_folder_above_the_project(tmp_path):
    """A table or a list of files is the same one once the project lies elsewhere."""

    @task(result=LocalResult("names"), target="names.json")
    def names(table, paths, elsewhere):
        return [path.name for path in [*table["path"], *paths]]

    for name, expected in (("one", "made"), ("two", "reused")):
        with testing.project(tmp_path / name) as root:
            if expected == "reused":
                shutil.copytree(tmp_path / "one/names", root / "names")
            paths = [root / "a.txt", root / "b.txt"]
            names(pd.DataFrame({"path": paths}), paths, Path("/a/file/of/another/disk"))
            assert counts("names") == {expected: 1}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_task_that_does_not_repeat_runs_once_a_run(project, runner):
    """All its readers get one value; what depends on it is never a hit, kept ones are."""

    @task(pure=False)
    def clock(n, log):
        with open(log, "a") as file:
            file.write("tick\n")
        return n

    @task(result=LocalResult("kept"), target="{n}{name}.json")
    def keep(n, name, now):
        return now

    @flow(runner=runner)
    def run():
        now = clock.map([1, 2], "ticks")
        return keep.map([1, 2], "a", now), keep.map([1, 2], "b", now)

    for number in (1, 2):
        assert run() == ([1, 2], [1, 2])
        assert counts("keep") == {"made": 4}
        assert (project / "ticks").read_text().count("tick") == 2 * number


def test_a_kept_task_that_does_not_repeat_counts_by_its_content(project):
    """Its file is there: it is a hit like any other."""

    @task(pure=False, result=LocalResult("photos"), target="{n}.json")
    def photo(n):
        return time.time_ns()

    assert photo(1) == photo(1)


@pytest.mark.parametrize("runner", RUNNERS)
def test_rng_depends_on_the_item_alone(project, runner):
    """The same numbers on every run and runner, others for another item, none from the code."""

    @task(result=LocalResult("noise"), target="{n}.json")
    def noise(n, rng, scale=1):
        return float(rng.random()) * scale

    @flow(runner=runner)
    def run():
        return noise.map([1, 2])

    first = run()
    assert first == [0.4385235307048827, 0.9457844822015713]  # on every machine and version
    for path in (project / "noise").glob("*.json"):
        path.unlink()
    assert run() == first
    assert noise.fn(1, np.random.default_rng(0)) == np.random.default_rng(0).random()
    assert noise(3, rng=np.random.default_rng(0)) == np.random.default_rng(0).random()


@pytest.mark.parametrize("runner", RUNNERS)
def test_keep_holds_a_small_value_in_the_record(project, runner):
    """No file; a hit; what depends on it counts by its content."""

    def flow_of(k):
        @task(keep=True)
        def threshold(n):
            return {"low": n // k, "high": [n]}

        @task(result=LocalResult("kept"), target="{n}.json")
        def use(n, found):
            return found["low"]

        @flow(runner=runner)
        def run():
            found = threshold.map([2, 3])
            return use.map([2, 3], found), found[0]

        return run

    for expected in ("made", "reused"):
        assert flow_of(4)() == ([0, 0], {"low": 0, "high": [2]})
        assert counts("threshold") == {expected: 2}
        assert counts("use") == {expected: 2}
    flow_of(5)()
    assert counts("threshold") == {"made": 2}
    assert counts("use") == {"reused": 2}
    assert flow_of(1)() == ([2, 3], {"low": 2, "high": [2]})
    assert counts("use") == {"made": 2}


def test_keep_refuses_what_is_no_small_plain_value(project):
    """What came, and what to do."""

    @task(keep=True)
    def large(n):
        return list(range(n)) if n else object()

    with pytest.raises(FlowFailed, match=r"at most 65,536.*Give the task a target="):
        large(100_000)
    with pytest.raises(FlowFailed, match=r"plain values.*object cannot be part of a record"):
        large(0)
    with pytest.raises(GraphError, match="keep=True needs no file"):
        task(lambda n: n, keep=True, target="{n}.json")


@pytest.fixture
def server(project):
    """Serve the project's folder by http, on a free port of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            seen.append(self.command)

    seen: list[str] = []
    handler = functools.partial(Quiet, directory=str(project))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}", seen
        http.shutdown()


@pytest.mark.parametrize("kind", ["http", "file", "memory"])
def test_a_url_counts_by_what_its_server_says(project, server, kind):
    """Not by its text alone: another file behind it is another input."""
    base, seen = server

    def put(text, second):
        if kind == "memory":
            with fsspec.open("memory://inputs/a.txt", "w") as file:
                file.write(text)
        else:
            path = project / "a.txt"
            path.write_text(text)
            os.utime(path, (1_500_000_000 + second, 1_500_000_000 + second))

    url = {
        "http": f"{base}/a.txt",
        "file": (project / "a.txt").as_uri(),
        "memory": "memory://inputs/a.txt",
    }[kind]

    @task(result=LocalResult("kept"), target="{n}.json")
    def load(n, source):
        with fsspec.open(source, "r") as file:
            return file.read()

    @flow(runner="threads")
    def run():
        return load.map(range(3), same(url))

    put("one", 0)
    assert run() == ["one"] * 3
    seen.clear()
    run()
    assert counts("load") == {"reused": 3}
    assert seen == ["HEAD"] * (kind == "http")  # asked once, not once an item
    put("two and more", 9)
    assert run() == ["two and more"] * 3
    assert counts("load") == {"made": 3}


def test_text_that_only_looks_like_a_url_is_text(project):
    """Kinds that are not known, and parameters annotated as text."""

    @task(result=LocalResult("kept"), target="a.json")
    def keep(label: str, other):
        return label

    keep("http://127.0.0.1:9/nothing", "project://x/y")
    keep("http://127.0.0.1:9/nothing", "project://x/y")
    assert counts("keep") == {"reused": 1}


def test_a_url_that_does_not_answer_fails_its_item_with_the_reason(project):
    """And no other one."""

    @task(result=LocalResult("kept"), target="{n}.json")
    def load(n, source):
        with fsspec.open(source, "rb") as file:
            return len(file.read())

    (project / "a.txt").write_text("abc")
    urls = ["http://127.0.0.1:9/nothing", (project / "a.txt").as_uri()]
    with pytest.raises(FlowFailed, match="1 × load"):
        load.map([1, 2], urls)
    assert (project / "kept/2.json").exists()


def test_a_path_inside_a_list_or_a_table_counts_by_its_content(project):
    """Not by its name alone: what was made of other bytes would be taken for it."""

    @task(result=LocalResult("kept"), target="{kind}.json")
    def read(kind, where):
        found = where["file"].tolist() if kind == "table" else where
        return [path.read_text() for path in found]

    path = old(project / "a.txt", "one")

    @flow
    def run():
        return read("list", [path]), read("table", pd.DataFrame({"file": [path]}))

    assert run() == (["one"], ["one"])
    run()
    assert counts("read") == {"reused": 2}
    old(path, "two")
    assert run() == (["two"], ["two"])
