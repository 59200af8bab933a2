"""What a run says of itself."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from databacked import flow, last_run, task
from databacked.project.environment import packages
from databacked.project.git import git_state, without_credentials
from databacked.records.runs import collect_in_background, redacted, write_run


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody, in a folder."""
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    git(tmp_path, "init")
    (tmp_path / "flow.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_a_clean_repository(repository):
    """Commit, branch and no difference."""
    state = git_state(repository, [])
    assert state is not None
    assert state.commit == git(repository, "rev-parse", "HEAD")
    assert (state.branch, state.dirty, state.diff) == ("main", False, "")


def test_dirty_means_code_results_never_count(repository):
    """A picture that lies in the repository does not make it dirty; a script does."""
    (repository / "result.png").touch()
    assert not git_state(repository, []).dirty
    (repository / "new.py").touch()
    state = git_state(repository, [])
    assert (state.dirty, state.untracked) == (True, ("new.py",))


def test_mistake_06_code_edited_between_run_and_push(repository):
    """The state of the code is that of the run's start, whatever is edited later."""
    started = collect_in_background("flow", {}, repository, "r1")
    for thread in started._threads:
        thread.join()
    (repository / "flow.py").write_text("x = 2\n")
    git(repository, "commit", "-am", "second")
    record = started.finished("done", {})
    assert record.git.commit == git(repository, "rev-parse", "HEAD~1")
    assert not record.git.dirty


def test_mistake_07_detached_head_sub_folder_no_origin_and_no_git_at_all(
    repository, tmp_path_factory, monkeypatch
):
    """None of these stops a run; what is not known is empty or a warning."""
    git(repository, "checkout", "--detach")
    (repository / "sub").mkdir()
    state = git_state(repository / "sub", [])
    assert (state.branch, state.remote) == (None, None)
    assert state.commit
    assert git_state(tmp_path_factory.mktemp("plain"), []) is None
    monkeypatch.setenv("PATH", "")
    warnings: list[str] = []
    assert git_state(repository, warnings) is None
    assert warnings == ["git is not installed"]


def test_a_repository_without_a_commit(tmp_path):
    """The first run may come before the first commit."""
    git(tmp_path, "init")
    (tmp_path / "a.py").touch()
    state = git_state(tmp_path, [])
    assert state.commit is None
    assert state.dirty


def test_the_diff_of_a_dirty_tree_is_kept(repository):
    """What ran can be told, also where it was not committed."""
    (repository / "flow.py").write_text("x = 3\n")
    assert "+x = 3" in git_state(repository, []).diff


def test_a_notebook_counts_by_the_sources_of_its_cells(repository):
    """Neither what it shows nor its text makes a tree dirty; a cell does, and the diff shows it."""

    def save(source: str, text: str = "", output: str = "") -> None:
        outputs = [{"output_type": "stream", "name": "stdout", "text": output}]
        code = {"cell_type": "code", "source": [source], "outputs": outputs}
        cells = [{"cell_type": "markdown", "source": text}, code]
        (repository / "zählen.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))

    save("x = 1")
    assert git_state(repository, []).untracked == ("zählen.ipynb",)
    git(repository, "add", ".")
    assert git_state(repository, []).dirty
    git(repository, "commit", "-m", "notebook")
    save("x = 1", "What comes", "1")
    (repository / ".ipynb_checkpoints").mkdir()
    (repository / ".ipynb_checkpoints/zählen-checkpoint.ipynb").touch()
    state = git_state(repository, [])
    assert (state.dirty, state.diff) == (False, "")
    save("x = 2", "What comes", "2" * 1000)
    state = git_state(repository, [])
    assert state.dirty
    assert "-x = 1\n+x = 2\n" in state.diff
    assert "222" not in state.diff
    git(repository, "mv", "zählen.ipynb", "other.ipynb")
    assert git_state(repository, []).dirty
    (repository / "other.ipynb").write_text("<<<<<<< ours")
    assert git_state(repository, []).dirty


def test_secrets_are_not_recorded():
    """Neither in arguments nor in the address of a remote."""
    assert redacted("api_token", "abc") == "<redacted>"
    assert redacted("sigma", "2") == "2"
    assert without_credentials("https://me:pw@host/x.git") == "https://host/x.git"


def test_a_flow_keeps_a_record_of_its_run(project):
    """Arguments, environment, state and counts, as a file."""

    @task
    def double(x):
        return 2 * x

    @flow
    def work(numbers, password="hush"):
        return double.map(numbers)

    work([1, 2])
    said = json.loads((last_run().folder / "run.json").read_text())
    assert said["state"] == "done"
    assert said["counts"] == {"double": {"made": 2}}
    assert said["arguments"]["numbers"] == "[1, 2]"
    assert said["python"] == sys.version.split()[0]
    assert "numpy" in said["packages"]
    assert "hush" not in json.dumps(said)


def test_a_record_that_cannot_be_written_does_not_fail_the_run(tmp_path, capsys):
    """Recording never breaks a run."""
    (tmp_path / "file").touch()
    record = collect_in_background("f", {}, tmp_path, "r").finished("done", {})
    write_run(tmp_path / "file", record)
    assert "could not be written" in capsys.readouterr().err


def test_packages_are_those_of_their_metadata():
    """Name by name and version by version, though no metadata is opened."""
    every = reversed(list(importlib.metadata.distributions()))
    expected = {re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): one.version for one in every}
    assert packages() == expected
