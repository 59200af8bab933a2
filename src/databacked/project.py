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
from databacked.notebook import is_cell, notebook_folder

STATE = ".databacked"
"""Name of the folder of records and bookkeeping, in the root and in every place."""


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
    return Project(Path(current_folder() or folder))


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


def current_folder() -> str | None:
    """Return the current folder; None if somebody has removed it."""
    try:
        return os.getcwd()
    except OSError:
        return None


def make_state_folder(folder: Path) -> Path:
    """Create ``.databacked`` in a folder, ignored by git through a ``.gitignore`` of its own."""
    state = folder / STATE
    ignore = state / ".gitignore"
    if not os.path.lexists(ignore):
        state.mkdir(parents=True, exist_ok=True)
        try:
            with open(ignore, "x", encoding="utf-8") as file:
                file.write("*\n")
        except FileExistsError:
            pass  # another process was quicker
        except OSError:
            ignore.unlink(missing_ok=True)  # an empty one would never be filled again
            raise
    return state


def obstacle(folder: Path) -> str:
    """Say what stands where a folder should be, or above it; empty where it can be made."""
    for one in (folder, *folder.parents):
        if os.path.isdir(one):
            return ""
        if os.path.islink(one):
            where = os.readlink(one)
            return f"{one} is a link to {where}, where no folder is (is its disk mounted?)"
        if os.path.lexists(one):
            return f"{one} is a file, and a folder was expected there; move it away"
    return ""


def owner_of(path: str | os.PathLike[str]) -> str:
    """Return whose a file or folder is, or the folder that it lies in."""
    return next(filter(None, map(owner_name, (Path(path), *Path(path).parents))), "?")


def owner_name(path: Path) -> str:
    """Return whose a file or folder is; empty where nobody can tell."""
    try:
        return path.owner()
    except (KeyError, OSError, NotImplementedError):
        return ""


def same_folder(one: Path, other: Path) -> bool:
    """Whether two paths are one folder by device and inode, also where it is not there yet."""
    return _identity(one) == _identity(other)


def lies_in(inner: Path, outer: Path) -> bool:
    """Whether a folder lies in another one, by its name or by where links lead."""
    identity = _identity(outer)
    above = (*inner.parents, *Path(os.path.realpath(inner)).parents)
    return any(identity == _identity(one) for one in dict.fromkeys(above))


def _identity(folder: Path) -> tuple[object, ...]:
    """Return device and inode of a folder, or of what is there above it and the names below."""
    below: tuple[str, ...] = ()
    real = Path(os.path.realpath(folder))
    for one in (real, *real.parents):
        try:
            info = os.stat(one)
        except OSError:
            below = (one.name, *below)
            continue
        if below and _ignores_case(one):
            below = tuple(name.casefold() for name in below)
        return info.st_dev, info.st_ino, below
    return (str(real),)


def _ignores_case(folder: Path) -> bool:
    """Whether names in a folder differ by more than case, as far as what lies in it tells."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                other = entry.name.swapcase()
                if other != entry.name:
                    return os.path.samefile(entry.path, folder / other)
    except OSError:
        pass
    return False


def can_write(folder: Path) -> bool:
    """Whether files can be made in a folder; where it is not there yet, whether it can be made."""
    for one in (folder, *folder.parents):
        if os.access(one, os.W_OK | os.X_OK):
            return True
        if os.path.lexists(one):  # or is there only now: somebody else made it meanwhile
            return os.access(one, os.W_OK | os.X_OK)
    return False


def space_left(folder: Path) -> int | None:
    """Return how many bytes a disk still takes; None where it does not say."""
    for one in (folder, *folder.parents):
        try:
            found = os.statvfs(one)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
        return blocks * found.f_frsize if found.f_blocks else None
    return None


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
    known = {field.name for field in fields(Project)} - {"root"}
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
