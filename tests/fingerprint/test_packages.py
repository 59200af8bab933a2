"""Real packages as own code: the same in every process, and every edit that matters is seen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .fuzz import DRIVERS

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


@pytest.mark.slow
@pytest.mark.parametrize("package", DRIVERS)
def test_many_edits_of_real_packages(package, peer):
    counts, *wrong = fuzzed(package, 40, 3)
    assert "seen" in counts
    assert not wrong
