"""A folder of one run for what travels between processes, known by a lock that the run holds."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from databacked.project.folders import can_write, make_state_folder
from databacked.project.root import Project
from databacked.storage.descriptors import Descriptor

LOCK = ".lock"


LONG_AGO = 3600
"""Seconds after which nobody writes the record of a run any more."""


class Scratch:
    """The folder of a run; it is made by who needs it, and goes with the run.

    Names of hosts and numbers of processes do not tell runs apart: two containers have the same.
    """

    def __init__(self, project: Project, run: str) -> None:
        self._lock: Descriptor | None = None
        above = project.state / "tmp"
        if can_write(above):
            with suppress(OSError):  # a full disk: a run that has nothing to make needs none
                make_state_folder(project.root)
                above.mkdir(exist_ok=True)
                clear(above)
                self.folder = above / f"run-{run}"
                self._lock = Descriptor(_locked(f"{self.folder}{LOCK}"))
                return
        # Another user's project, for instance: what is there can be used.
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="databacked-"))
        except OSError:
            self.folder = above / f"run-{run}"  # who needs it says why it cannot be made

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            with suppress(OSError):
                os.unlink(f"{self.folder}{LOCK}")
            self._lock.close()  # unless somebody closed its number, and it is another file's by now
            self._lock = None


def clear(above: Path) -> None:
    """Remove what runs left behind that were killed: nobody holds their lock."""
    if above.is_symlink() or above.parent.is_symlink():
        return  # what lies behind a link may be somebody's
    for name in os.listdir(above):
        if name.startswith("run-") and name.endswith(".json"):  # the record of a run, half written
            with suppress(OSError):
                if time.time() - os.lstat(above / name).st_mtime > LONG_AGO:
                    os.unlink(above / name)
        if not (name.startswith("run-") and name.endswith(LOCK)):
            continue
        path = str(above / name)
        with suppress(OSError):  # held, or another user's
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.removesuffix(LOCK), ignore_errors=True)
                os.unlink(path)
            finally:
                os.close(lock)


def _locked(path: str) -> int:
    """Return a lock that is held, at a file that is there."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)  # another run took it for one that was left behind, before it was locked
