"""What a function's code counts by: edits that must be seen, and those that must not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from databacked.fingerprint.code import CodeFingerprint, explain

from .cases import CASES, NOT_SEEN, SEEN, Case

READABLE = [case for case in CASES if sys.version_info >= case.python]


class Pair(NamedTuple):
    """What was found before and after an edit."""

    before: dict[str, Any]
    after: dict[str, Any]


def write(folder: Path, files: dict[str, str]) -> None:
    """Write a small project."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def fingerprints(folders: list[Path], hash_seed: str) -> list[dict[str, Any]]:
    """Return the fingerprints of projects as a fresh process finds them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fingerprint.evaluate"],
        input=json.dumps([str(one) for one in folders]),
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for one in found.values():
        assert "error" not in one, one["error"]
    return [found[str(one)] for one in folders]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Every case before and after its edit: other folder, other process, other hash seed."""
    sides = []
    for edited in (False, True):
        top = tmp_path_factory.mktemp("edited" if edited else "first")
        for case in READABLE:
            write(top / case.name.replace(" ", "_"), case.written(edited=edited))
        folders = [top / case.name.replace(" ", "_") for case in READABLE]
        sides.append(fingerprints(folders, hash_seed="2" if edited else "1"))
    return {c.name: Pair(*pair) for c, *pair in zip(READABLE, *sides, strict=True)}


def _readable(cases: tuple[Case, ...]) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in cases if case in READABLE]


def _content(found: dict[str, Any]) -> tuple[str, list[str]]:
    return found["digest"], found["files"]


@pytest.mark.parametrize("case", _readable(SEEN))
def test_an_edit_that_matters_is_seen(case: Case, matrix: dict[str, Pair]):
    """The digest changes, and the reason names the symbol that was edited."""
    before, after = matrix[case.name]
    assert _content(before) != _content(after)
    old, new = (CodeFingerprint(p["digest"], p["symbols"], p["values"]) for p in (before, after))
    assert case.reason in explain(old, new)


@pytest.mark.parametrize("case", _readable(NOT_SEEN))
def test_an_edit_that_does_not_matter_is_not_seen(case: Case, matrix: dict[str, Pair]):
    """The digest stays: also in another folder, process and hash seed."""
    before, after = matrix[case.name]
    assert before["symbols"] == after["symbols"]
    assert _content(before) == _content(after)


@pytest.mark.parametrize("case", _readable(CASES))
def test_the_matrix_is_true(case: Case, matrix: dict[str, Pair]):
    """What an edit changes must change the value, or the case would show nothing."""
    before, after = matrix[case.name]
    assert (before["value"] != after["value"]) is case.seen


@pytest.mark.parametrize("case", _readable(CASES))
def test_what_is_ordinary_is_not_called_opaque(case: Case, matrix: dict[str, Pair]):
    """A list of what could not be followed helps only if it is short."""
    assert matrix[case.name].before["opaque"] == []
