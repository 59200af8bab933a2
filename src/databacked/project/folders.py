"""Folders as they are on a disk: whose, writable, full, one and the same."""

from __future__ import annotations

import os
from pathlib import Path

STATE = ".databacked"
"""Name of the folder of records and bookkeeping, in the root and in every place."""


def current_folder() -> str | None:
    """Return the current folder; None if somebody has removed it."""
    try:
        return os.getcwd()
    except OSError:
        return None


def from_here(path: str | os.PathLike[str]) -> str:
    """Return a path as it can be opened from where one stands: short if it lies near, else whole.

    Parameters
    ----------
    path
        An absolute path.
    """
    shown, here = os.fspath(path), current_folder()
    if here is None:
        return shown
    for one in (shown, os.path.realpath(shown)):  # a process knows its folder without links
        near = os.path.relpath(one, here)
        if near.split(os.sep)[:3] != [os.pardir] * 3 and len(near) < len(shown):
            return near
    return shown


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
