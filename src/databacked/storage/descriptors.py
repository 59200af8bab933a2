"""Files that stay open: each is known by device and inode, not by its number alone.

Libraries that start daemons close every number there is, and the next file that somebody opens gets
one of them: what was written to the number would go into that file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable


class Descriptor:
    """An open file or folder of ours, as long as its number means it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._is = _identity(number)

    @property
    def is_ours(self) -> bool:
        """Whether the number still means the file that was opened."""
        return _identity(self.number) == self._is

    @property
    def has_name(self) -> bool:
        """Whether it does, and the file was not removed meanwhile."""
        try:
            info = os.fstat(self.number)
        except OSError:
            return False
        return (info.st_dev, info.st_ino) == self._is and info.st_nlink > 0

    def close(self) -> None:
        """Close it, unless the number is somebody else's by now."""
        if self.is_ours:
            os.close(self.number)


def opened_of(path: str | os.PathLike[str]) -> list[Descriptor]:
    """Return every descriptor of this process that means a file: what a library has opened."""
    info = os.stat(path)
    wanted = (info.st_dev, info.st_ino)
    return [Descriptor(number) for number in _numbers() if _identity(number) == wanted]


def _numbers() -> Iterable[int]:
    try:
        return sorted(map(int, os.listdir("/dev/fd")))
    except (OSError, ValueError):
        return range(256)


def _identity(number: int) -> tuple[int, int] | None:
    try:
        info = os.fstat(number)
    except OSError:
        return None
    return info.st_dev, info.st_ino
