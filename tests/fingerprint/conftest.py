"""A project of a few modules, in this process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest


def write(folder: Path, files: dict[str, str]) -> None:
    """Write a small project."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write modules into a project's folder and import the one called ``lab_main``."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(text: str, **others: str) -> ModuleType:
        write(tmp_path, {f"{name}.py": dedent(one) for name, one in others.items()})
        write(tmp_path, {"lab_main.py": dedent(text)})
        importlib.invalidate_caches()
        return importlib.import_module("lab_main")

    yield load
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
