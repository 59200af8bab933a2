"""The page on configuration says what the code does."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

import databacked
from databacked.errors import ProjectError
from databacked.fingerprint.files import cache_folder
from databacked.project.root import Project, project_at
from databacked.runners.cores import capped_threads

SOURCE = Path(databacked.__file__).parent
PAGE = (Path(__file__).parents[1] / "docs/configuration.md").read_text(encoding="utf-8")
NOT_SETTINGS = {"root", "is_found"}
BY_OTHER_NAMES = {"engine/spec.py", "runners/cores.py"}
"""Modules that look up what somebody names: ``reads=``, and what `capped_threads` counts up."""


def table_below(heading: str) -> dict[str, tuple[str, str]]:
    """Return default and meaning by name, from the table of a section."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", section, re.MULTILINE)
    return {name: (default, meaning) for name, default, meaning in rows}


def looked_up() -> Iterator[tuple[str, str | None]]:
    """Yield module and name of each look at the environment; None where it is not written there."""
    for file in sorted(SOURCE.rglob("*.py")):
        module = file.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Attribute(attr="environ")), args=[key, *_]
                ):
                    pass
                case ast.Call(func=ast.Attribute(attr="getenv"), args=[key, *_]):
                    pass
                case ast.Subscript(value=ast.Attribute(attr="environ"), slice=key):
                    pass
                case ast.Compare(left=key, comparators=[ast.Attribute(attr="environ")]):
                    pass
                case _:
                    continue
            name = str(key.value) if isinstance(key, ast.Constant) else None
            if isinstance(key, ast.Name):  # a constant of the module, or a variable
                dotted = ".".join(("databacked", *file.relative_to(SOURCE).with_suffix("").parts))
                name = getattr(import_module(dotted), key.id, None)
            yield module, name


def test_every_setting_is_told_with_its_default():
    """And none that does not exist."""
    told = table_below("Settings")
    settings = {one.name: one.default for one in fields(Project) if one.name not in NOT_SETTINGS}
    assert set(told) == set(settings)
    for name, (default, meaning) in told.items():
        value = tomllib.loads(f"value = {default.strip('`')}")["value"]
        assert (tuple(value) if isinstance(value, list) else value) == settings[name]
        assert len(meaning) > 20


def test_every_environment_variable_is_told(monkeypatch):
    """And none that nobody reads."""
    found = list(looked_up())
    assert {module for module, name in found if name is None} == BY_OTHER_NAMES
    monkeypatch.setattr("os.environ", {})
    names = {name for _, name in found if name} | set(capped_threads(1))
    told = table_below("Environment variables")
    beside = re.findall(r"`([A-Z_]+)`", told["OMP_NUM_THREADS"][1])
    assert sorted([*told, *beside]) == sorted(names)


def test_the_cache_lies_where_the_page_says(monkeypatch, tmp_path):
    """Named, below the user's cache, or below the usual one."""
    told = table_below("Environment variables")
    assert told["DATABACKED_CACHE"][0] == "`databacked` in `$XDG_CACHE_HOME`"
    monkeypatch.delenv("DATABACKED_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "databacked"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(told["XDG_CACHE_HOME"][0].strip("`")).expanduser() / "databacked"


def test_the_example_of_the_page_is_read(tmp_path):
    """It says something else than the default for every setting."""
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "databacked.toml").write_text(example, encoding="utf-8")
    found = project_at(tmp_path)
    for one in fields(Project):
        if one.name not in NOT_SETTINGS:
            assert getattr(found, one.name) != one.default, one.name


def test_the_error_of_the_page_is_the_one_that_comes(tmp_path):
    """Up to the folder, and where the line is broken."""
    [said] = re.findall(r"```\nProjectError: (.*?)\n```", PAGE, re.DOTALL)
    (tmp_path / "databacked.toml").write_text('plase = "x"\nown = "labtools"\n', encoding="utf-8")
    with pytest.raises(ProjectError) as caught:
        project_at(tmp_path)
    assert str(caught.value).replace(f"{tmp_path}/", "") == said.replace("\n", " ")
