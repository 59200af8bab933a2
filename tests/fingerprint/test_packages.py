"""Real packages as own code: the same in every process, and every edit that matters is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .fuzz import DRIVERS, evaluate, project, where
from .whole import EDITS

ROOT = Path(__file__).parents[2]
QUICK = ["toolz", "sortedcontainers", "attr"]


def fuzzed(package: str, count: int, seed: int) -> list[str]:
    """Return what the command prints: a line of counts, then what was missed or is wrong."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fingerprint.fuzz", package]
    said = subprocess.run(
        [*command, "--edits", str(count), "--seed", str(seed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.splitlines()


@pytest.mark.parametrize("package", QUICK)
def test_every_edit_that_matters_is_seen(package, peer):
    counts, *wrong = fuzzed(package, 15, 7)
    assert counts.startswith(f"{package}: ")
    assert not wrong


LARGE = ("networkx", "mpmath", "tifffile", "jinja2", "pyparsing")
"""Packages of which each edit takes seconds."""


@pytest.mark.parametrize(
    ("package", "count", "seed"),
    [
        *(
            pytest.param(one, 50 if one in LARGE else 200, 3, marks=pytest.mark.slow)
            for one in DRIVERS
        ),
        *(pytest.param(one, 200, 5, marks=pytest.mark.wide) for one in LARGE),
    ],
)
def test_many_edits_of_real_packages(package, count, seed, peer):
    counts, *wrong = fuzzed(package, count, seed)
    assert "seen" in counts
    assert not wrong


REALLY_OTHER = {
    ("isort", "networkx"): "its modules import one another in that order",
    ("isort", "pyparsing"): "its modules import one another in that order",
    ("isort", "mpmath"): "functions are registered in another order",
    ("no docstrings", "networkx"): "an object holds a text that says which docstrings are empty",
    **{
        (edit, "pyparsing"): "a constant holds the number of a line"
        for edit in ("unparsed", "no docstrings", "no annotations")
    },
}
"""Edits that change what runs, though they seem not to."""

if sys.version_info[:2] == (3, 12):  # it does not say where in its line such a lambda stands
    REALLY_OTHER |= {
        (edit, "toolz"): "two hundred lambdas that return None come to stand in one line"
        for edit in ("unparsed", "no docstrings", "no annotations")
    }


def _whole(package: str, folder: Path) -> list[str]:
    """Return the edits of a whole package after which its task is stale."""
    before = folder / "before"
    before.mkdir()
    project(before, package, where(package))
    found = evaluate(before)
    stale = []
    for name, edit in EDITS.items():
        after = folder / name.replace(" ", "_")
        shutil.copytree(before, after)
        edit(after / package)
        if evaluate(after)["digest"] != found["digest"]:
            stale.append(name)
    return [name for name in stale if (name, package) not in REALLY_OTHER]


@pytest.mark.parametrize("package", ["toolz"])
def test_a_package_that_was_only_formatted_is_fresh(package, peer, tmp_path):
    assert _whole(package, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("package", DRIVERS)
def test_packages_that_were_only_formatted_are_fresh(package, peer, tmp_path):
    assert _whole(package, tmp_path) == []


SAME_ON_EVERY_PYTHON = {
    "sortedcontainers": "c46ed90be6e0f0550c4abc4dbdb43f3e",
    "click": "9339d928f86a1faab837fad780cbda79",
}
"""Fingerprints of tasks that call packages which do not ask for the version of Python."""


@pytest.mark.parametrize("package", SAME_ON_EVERY_PYTHON)
def test_another_python_finds_the_same(package, peer, tmp_path):
    """Made once, on 3.11: if it is another one, the package here may be newer than it was."""
    project(tmp_path, package, where(package))
    assert evaluate(tmp_path)["digest"][0] == SAME_ON_EVERY_PYTHON[package]
