"""Which journals belong to a process that still writes."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

JOURNAL = r"\d{19,}-[0-9a-f]{8}"
"""What the name of a journal begins with: when it was begun, and something of its own."""


def is_live(path: Path) -> bool:
    """Whether the process that writes this journal is still there (here or on another host)."""
    try:
        file = open_regular(str(path), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # another user's: it is theirs to say that it ended
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def open_regular(path: str, flags: int) -> int:
    """Open what is a regular file; nothing else is waited for, and no link is followed."""
    number = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileNotFoundError(errno.ENOENT, "it is no regular file", path)
    return number
