"""Modules that were changed on disk after they were imported: told where it matters."""

from __future__ import annotations

import importlib
import sys

import pytest

from databacked.project.modules import older_than_files

SOURCE = """
FACTOR = 2
OTHER = 1
ODD = [FACTOR]

class Settings:
    \"\"\"Of a camera.\"\"\"
    gain: int
    offset = 3

def times(x):
    return x * FACTOR
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that was looked at once after it was imported."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "edited_on_disk.py").write_text(SOURCE)
    found = importlib.import_module("edited_on_disk")
    assert older(tmp_path) == []
    yield found
    del sys.modules["edited_on_disk"]


def older(folder, *names):
    reached = names or ("FACTOR", "Settings", "times")
    return older_than_files([f"edited_on_disk.py:{name}" for name in reached], folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [("FACTOR = 2", "FACTOR = 3"), ("offset = 3", "offset = 4"), ("FACTOR = 2", "GAIN = 2")],
)
def test_a_value_that_is_reached_and_stands_there_otherwise_is_told(module, tmp_path, old, new):
    file = tmp_path / "edited_on_disk.py"
    file.write_text(SOURCE.replace(old, new) + "\n")
    assert older(tmp_path) == ["edited_on_disk"]
    file.write_text(SOURCE + "\n\n")
    assert older(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new"), [("\n\n", "\n\n# a comment\n"), ("OTHER = 1", "OTHER = 5"), ("Of a", "Of the")]
)
def test_what_makes_no_difference_is_not_told(module, tmp_path, old, new):
    """A comment, a docstring, what no task reaches."""
    (tmp_path / "edited_on_disk.py").write_text(SOURCE.replace(old, new))
    assert older(tmp_path) == []


def test_what_was_put_into_the_module_is_not_told(module, tmp_path):
    """As %autoreload does, which imports nothing anew."""
    (tmp_path / "edited_on_disk.py").write_text(SOURCE.replace("FACTOR = 2", "FACTOR = 33"))
    assert older(tmp_path) == ["edited_on_disk"]
    module.FACTOR = 33
    assert older(tmp_path) == []


def test_what_is_computed_is_told_where_the_file_is_newer(module, tmp_path):
    """Nobody can tell whether it came out the same."""
    assert older(tmp_path, "ODD") == []
    (tmp_path / "edited_on_disk.py").write_text(SOURCE + "\n")
    assert older(tmp_path, "ODD") == ["edited_on_disk"]
    (tmp_path / "edited_on_disk.py").write_text("FACTOR =")
    assert older(tmp_path) == ["edited_on_disk"]
