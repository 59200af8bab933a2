"""Files and folders that a task wrote itself: adopted as they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePath
from typing import Any

from databacked.errors import SerializerError
from databacked.fingerprint.files import tree_hash
from databacked.hashes import hash_file
from databacked.serializers.base import Kind, Serializer
from databacked.stats import files_in, stat_of
from databacked.types import Description, Written


class AsWritten(Serializer):
    """Adopt the file or the folder whose path a task returns: it is moved into the place.

    Parameters
    ----------
    reader
        What reads it back, where its ending is one of the reader's; any other file is handed over
        as a file.
    """

    suffixes = ("",)
    format = 1

    def __init__(self, reader: Serializer) -> None:
        self._reader = reader

    def settings(self) -> dict[str, Any]:
        """Nothing: the bytes are the task's."""
        return {}

    def write(self, value: Any, path: Path) -> Description:
        """Move what lies at a path to its new name."""
        return self.save(value, path).description

    def save(self, value: Any, path: Path) -> Written:
        """Move what lies at a path to its new name, and hash it."""
        given = Path(_path(value))
        if given.is_symlink():
            raise SerializerError(f"{given} is a link; the path of what it wrote was expected.")
        ending = path.suffix.lower()
        if given.suffix.lower() != ending:
            raise SerializerError(
                f"{given} does not end in {ending or 'nothing'!r}, as the target does: give the "
                "task a target that ends like what it writes."
            )
        try:
            os.rename(given, path)
        except OSError:  # on another disk
            shutil.move(given, path)
        description = self.describe(path)
        if path.is_dir():
            content = tree_hash({name: hash_file(file) for name, file in files_in(path)})
        else:
            content = hash_file(path)
        return Written(content, stat_of(path).size, description)

    def read(self, path: Path) -> Any:
        """Read it as its reader does."""
        return self._reader.read(path)

    def describe(self, path: Path) -> Description:
        """Say what it holds, where its reader knows such files."""
        return self._reader.describe(path) if self._knows(path.name) else Description()

    def open(self, path: Path) -> Any:
        """Open it as its reader does."""
        return self._reader.open(path)

    def kind(self, suffix: str) -> Kind:
        """Whatever its reader makes of it; a file where it does not know such files."""
        return self._reader.kind(suffix) if self._knows(suffix) else "file"

    def _knows(self, name: str) -> bool:
        return name.lower().endswith(tuple(self._reader.suffixes))


def check_written(value: Any, since: float) -> None:
    """Raise unless a task returned the path of something that it wrote just now.

    What is adopted is moved away: an input, or somebody else's file, must not be.

    Parameters
    ----------
    since
        When the task started, in seconds since the epoch.

    Raises
    ------
    SerializerError
        What came, and what was expected.
    """
    given = _path(value)
    try:
        changed = os.stat(given).st_ctime
    except OSError as error:
        raise SerializerError(
            f"{given} cannot be adopted: {error.strerror}. With from_path=True a task returns the "
            "path of a file or folder that it wrote."
        ) from None
    if changed < since - 0.05:
        raise SerializerError(
            f"{given} was there before the task ran, so it is not adopted (that would move it "
            "away). Write a file of its own, in a temporary folder for instance, and return its "
            "path."
        )


def _path(value: Any) -> str:
    if isinstance(value, str | PurePath):
        return os.path.abspath(os.fspath(value))
    raise SerializerError(
        f"{type(value).__name__}: with from_path=True a task returns the path of a file or folder "
        "that it wrote."
    )
