"""Whose result it is: a task of a project, known by more than their names.

A record says which task of which project made a file. Names change: scripts are renamed, modules
and projects moved, packages installed in another way. Where the old owner is gone, the new one
inherits; where both are there, what one of them made is not the other's to replace.
"""

from __future__ import annotations

import ast
import importlib.machinery
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from databacked.callables import LIBRARIES
from databacked.fingerprint.hashes import hash_texts
from databacked.project.folders import STATE, make_state_folder
from databacked.project.notebook import UNNAMED
from databacked.storage.live import open_regular

Relation = Literal["mine", "alike", "other"]
"""``mine``: to be used and replaced. ``alike``: the same task elsewhere, whose recipe makes a hit,
but whose file is not to be replaced without a copy."""


@dataclass(frozen=True)
class Owner:
    """A task of a project, as records know it."""

    task: str
    """File below the project root (or module), and qualified name."""

    project: str = ""
    """What identifies the project wherever it lies; empty where that is not known."""

    root: str = ""
    """The project's root, as an absolute path."""

    host: str = ""
    """Where that path holds."""

    def said(self, place: Path) -> dict[str, str]:
        """Return what the records of a place say of it.

        The root is no part of a key: it tells whether somebody else is still there. Where the place
        lies in the project both move together, and it is seen from the place.
        """
        if not self.root:
            return {"task": self.task}
        root, folder = self.root, str(place)
        if not _is_below(folder, root):  # unless one of them is reached through a link
            root, folder = os.path.realpath(root), os.path.realpath(folder)
        return {
            "task": self.task,
            "project": self.project,
            "root": os.path.relpath(root, folder) if _is_below(folder, root) else root,
            "host": self.host,
        }

    def relation(self, context: Mapping[str, Any], place: Path) -> Relation:
        """Say whose a record is, from what its context says."""
        other = str(context.get("task", "?"))
        here = self._is_same_project(context, place)
        if here and (
            other == self.task or are_one(other, self.task) or is_gone(other, Path(self.root))
        ):
            return "mine"
        return "alike" if other == self.task or are_alike(other, self.task) else "other"

    def _is_same_project(self, context: Mapping[str, Any], place: Path) -> bool:
        if "root" not in context or not self.root:
            return True
        root = os.path.normpath(os.path.join(place, context["root"]))
        if root == self.root or os.path.realpath(root) == os.path.realpath(self.root):
            return True
        project = str(context.get("project", ""))
        same = bool(project) and project == self.project
        if os.path.lexists(root):
            # A copy beside a living original is another project; unless it moved, and another one
            # took its place.
            return same and _known_id(Path(root)) not in ("", project)
        return same or context.get("host") == self.host


def owner_of(task: str, root: Path, *, reads_only: bool = False) -> Owner:
    """Return a task of the project that lies at `root`.

    Parameters
    ----------
    reads_only
        Whether a project that has no name yet is given none, and is what its first run will call it
        as far as that can be told.
    """
    identity = (_known_id(root) or _lineage(root)) if reads_only else project_id(root)
    return Owner(task, identity, str(root), socket.gethostname())


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


# ---------------------------------------------------------------- projects


def project_id(root: Path) -> str:
    """Return what identifies a project: kept in its ``.databacked``, the same in all its clones.

    Empty where none is kept and none can be: the project is then known by its folder alone.
    """
    return _known_id(root) or _new_id(root)


def _known_id(root: Path) -> str:
    try:
        with open(root / STATE / "project", "rb", opener=open_regular) as file:
            said = file.read(100).decode("ascii").strip()
    except (OSError, ValueError):
        return ""
    return said if said.isalnum() else ""


def _new_id(root: Path) -> str:
    try:
        file = make_state_folder(root) / "project"
        temporary = file.with_name(f".project-{secrets.token_hex(4)}")
        temporary.write_text(f"{_lineage(root) or secrets.token_hex(8)}\n", encoding="ascii")
        try:
            os.link(temporary, file)  # whole; of two processes that start at once one is first
        except FileExistsError:
            if not _known_id(root):  # somebody else's file, or a damaged one
                os.replace(temporary, file)
        except OSError:
            os.replace(temporary, file)  # no links on this disk
        finally:
            temporary.unlink(missing_ok=True)
    except OSError:
        return ""
    return _known_id(root)


def _lineage(root: Path) -> str:
    """Return what all clones of a project share: its first commit, and its place among the files.

    Empty without git, or where git takes its time: a project gets a random name then.
    """
    top = next((one for one in (root, *root.parents) if (one / ".git").exists()), None)
    if top is None or (top / ".git" / "shallow").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(top), "rev-list", "--max-parents=0", "HEAD"],
            capture_output=True,
            check=True,
            timeout=1,
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ""
    first = sorted(found)[:1]
    return hash_texts([first[0].decode(), os.path.relpath(root, top)])[:16] if first else ""


# ---------------------------------------------------------------- tasks


def are_alike(task: str, other: str) -> bool:
    """Whether two tasks have one name and both stand in files of a project, or in notebooks.

    What they make counts for both where the recipe is the same.
    """
    (file, name), (other_file, other_name) = _split(task), _split(other)
    return name == other_name and _is_file(file) and _is_file(other_file)


def are_one(task: str, other: str) -> bool:
    """Whether two tasks are one in a package that is installed in another way.

    As ``src/lab/masks.py:segment`` is ``lab.masks:segment`` once it is no longer editable.
    """
    (file, name), (other_file, other_name) = _split(task), _split(other)
    if name != other_name:
        return False
    installed, there = (_is_installed(one) for one in (file, other_file))
    one, two = _dotted(file), _dotted(other_file)
    if installed and there:
        return one == two
    longer, shorter = (two, one) if installed else (one, two)
    return (installed or there) and (longer == shorter or longer.endswith(f".{shorter}"))


def is_gone(task: str, root: Path) -> bool:
    """Whether a task, as records know it, is no longer there.

    Its file was renamed or removed, or holds no function of this name any more.
    """
    file, name = _split(task)
    if file in (UNNAMED, "__main__", "", "?"):
        return False
    if not _is_file(file) and file in sys.modules:
        return not _has(sys.modules[file], name)
    path = root / file if _is_file(file) else _module_file(file)
    if path is None:
        return True
    try:
        info = os.stat(path)
    except OSError:
        return not os.path.lexists(path)
    if path.suffix != ".py" or path.name == "__init__.py" or not os.path.isfile(path):
        return False  # what it names may come from elsewhere
    names = _names_in(str(path), info.st_mtime_ns, info.st_size)
    return names is not None and name.partition("#")[0] not in names and "<lambda>" not in name


def _has(value: Any, name: str) -> bool:
    """Whether a module holds a function by its qualified name, as far as that can be told."""
    for part in name.split("."):
        if part == "<locals>":
            return True
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


def _split(task: str) -> tuple[str, str]:
    file, _, name = task.rpartition(":")
    return file, name


def _is_file(file: str) -> bool:
    return file == UNNAMED or "/" in file or file.endswith((".py", ".ipynb"))


def _is_installed(file: str) -> bool:
    return not _is_file(file) or any(part in LIBRARIES for part in file.split("/"))


def _dotted(file: str) -> str:
    """Return the module that a file is, as far as its path tells."""
    if not _is_file(file):
        return file.removesuffix(".__init__")
    parts = file.removesuffix(".py").split("/")
    for position, part in enumerate(parts):
        if part in LIBRARIES:
            parts = parts[position + 1 :]
            break
    return ".".join(parts).removesuffix(".__init__")


def _module_file(name: str) -> Path | None:
    """Return the file of a module, which is not imported for it."""
    search: list[str] | None = None
    spec: importlib.machinery.ModuleSpec | None = None
    for part in name.split("."):
        try:
            spec = importlib.machinery.PathFinder.find_spec(part, search)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        search = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.origin else None


@lru_cache(maxsize=256)
def _names_in(path: str, mtime_ns: int, size: int) -> frozenset[str] | None:
    """Return the qualified names of all functions and classes of a file; None if it is none."""
    found: set[str] = set()

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + child.name)
                kind = "." if isinstance(child, ast.ClassDef) else ".<locals>."
                inner = f"{prefix}{child.name}{kind}"
            walk(child, inner)

    try:
        with open(path, "rb") as file:
            walk(ast.parse(file.read()), "")
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    return frozenset(found)
