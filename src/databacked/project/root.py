"""Where a project begins, and what its configuration says.

The root is the nearest folder upward from the flow's file (a notebook's: its folder) that holds
``databacked.toml``, ``[tool.databacked]`` in ``pyproject.toml``, or ``.git``; else the current one.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from databacked.callables import written_in
from databacked.errors import ProjectError, did_you_mean
from databacked.project.folders import STATE, current_folder
from databacked.project.notebook import is_cell, notebook_folder


@dataclass(frozen=True)
class Project:
    """A project's root folder and its configuration."""

    root: Path
    """Absolute; relative places are resolved against it."""

    place: str = "results"
    """Where tasks that have only a ``target=`` keep their results, relative to the root."""

    own: tuple[str, ...] = ()
    """Further packages whose code counts as the project's own: names as they are imported.

    The project, the package of a task and editable installs are its own without being named.
    """

    runner: str = "threads"
    """Name of the runner that flows use unless they say otherwise."""

    inputs: str = "sampled"
    """How input files over 256 MiB count: ``sampled``, ``full``; or ``stat`` for all files."""

    is_found: bool = True
    """Whether a configuration or a repository says where the root is; else one stands there."""

    @property
    def state(self) -> Path:
        """Folder of runs and records of values without a file."""
        return self.root / STATE

    def resolve(self, place: str | os.PathLike[str]) -> Path:
        """Return a place as an absolute path."""
        given = self.root / Path(place).expanduser()
        path = Path(os.path.normpath(given))
        if ".." not in given.parts:
            return path
        # "link/.." is above what the link leads to, not above the link.
        real = os.path.realpath(given)
        return path if os.path.realpath(path) == real else Path(real)


def find_project(start: Path) -> Project:
    """Return the project that the file or folder `start` belongs to.

    Raises
    ------
    ProjectError
        If the configuration cannot be read or holds unknown settings; all of them are named.
    """
    start = start.absolute()
    folder = start if start.is_dir() else start.parent
    for candidate in (folder, *folder.parents):
        if _configuration(candidate) is not None or (candidate / ".git").exists():
            return project_at(candidate)
    # A terminal may stand in a folder that is gone.
    return Project(Path(current_folder() or folder), is_found=False)


def project_at(root: Path) -> Project:
    """Return the project whose root is this folder, with the configuration that lies in it."""
    root = root.absolute()
    config = _configuration(root)
    return Project(root) if config is None else _project(root, *config)


_given: ContextVar[Project | None] = ContextVar("databacked_project", default=None)


@contextmanager
def use_project(project: Project) -> Iterator[Project]:
    """Have all flows and tasks in a ``with`` block belong to one project, wherever they stand."""
    token = _given.set(project)
    try:
        yield project
    finally:
        _given.reset(token)


def project_of(function: Callable[..., Any]) -> Project:
    """Return the project of a function: from its file, or from the folder of its notebook."""
    return _project_of_file(written_in(function))


def project_of_code(code: Any) -> Project:
    """Return the project that a piece of code stands in."""
    return _project_of_file(getattr(code, "co_filename", ""))


def _project_of_file(file: str) -> Project:
    if (given := _given.get()) is not None:
        return given
    return find_project(notebook_folder() if not file or is_cell(file) else Path(file))


def _configuration(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    for name, path in (("databacked.toml", ()), ("pyproject.toml", ("tool", "databacked"))):
        file = folder / name
        if not file.is_file():
            continue
        table: Any = _read(file, file.stat().st_mtime_ns)
        for key in path:
            table = table.get(key) if isinstance(table, dict) else None
        if table is not None:
            return file, table
    return None


@lru_cache(maxsize=64)
def _read(file: Path, mtime_ns: int) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} cannot be read: {error}. Correct it and run again.") from error


def _project(root: Path, file: Path, table: dict[str, Any]) -> Project:
    known = {field.name for field in fields(Project)} - {"root", "is_found"}
    problems = [
        f"{name!r} is not a setting{did_you_mean(name, known)}"
        for name in sorted(table.keys() - known)
    ]
    given: dict[str, Any] = {}
    for name in sorted(table.keys() & known):
        value = table[name]
        if name == "own":
            if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
                problems.append(f"own = {value!r}: a list of package names was expected")
                continue
            value = tuple(value)
        elif not isinstance(value, str):
            problems.append(f"{name} = {value!r}: a text was expected")
            continue
        elif name == "inputs" and value not in ("sampled", "full", "stat"):
            problems.append(f"inputs = {value!r}: sampled, full or stat was expected")
            continue
        given[name] = value
    if problems:
        raise ProjectError(
            f"{file}: " + "; ".join(problems) + f". Known are {', '.join(sorted(known))}."
        )
    return Project(root, **given)
