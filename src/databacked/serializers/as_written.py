"""Files and folders that a task wrote itself: adopted as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from databacked.errors import SerializerError
from databacked.fingerprint.files import content_of
from databacked.serializers.base import Kind, Serializer
from databacked.storage.adopted import path_of
from databacked.storage.looks import stat_of
from databacked.storage.renames import move_new
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
        return AsWritten.save(self, value, path).description

    def save(self, value: Any, path: Path) -> Written:
        """Move what lies at a path to its new name, and hash it."""
        given = Path(path_of(value))
        if given.is_symlink():
            raise SerializerError(f"{given} is a link; the path of what it wrote was expected.")
        ending = path.suffix.lower()
        if given.suffix.lower() != ending:
            raise SerializerError(
                f"{given} does not end in {ending or 'nothing'!r}, as the target does: give the "
                "task a target that ends like what it writes."
            )
        if not move_new(str(given), str(path)):
            raise SerializerError(f"{path} is there already.")
        return Written(content_of(path), stat_of(path).size, self.describe(path))

    def read(self, path: Path) -> Any:
        """Read it as its reader does."""
        return self._reader.read(path)

    def describe(self, path: Path) -> Description:
        """Say what it holds, where its reader knows such files."""
        return self._reader.describe(path) if self._knows(path.name) else Description()

    def open(self, path: Path) -> Any:
        """Open it as its reader does."""
        return self._reader.open(path)

    def inside(self, path: Path, name: str) -> tuple[Serializer, Path]:
        """What reads a label image of an image that its reader knows."""
        return self._reader.inside(path, name)

    def kind(self, suffix: str) -> Kind:
        """Whatever its reader makes of it; a file where it does not know such files."""
        return self._reader.kind(suffix) if self._knows(suffix) else "file"

    def _knows(self, name: str) -> bool:
        return name.lower().endswith(tuple(self._reader.suffixes))
