"""A task's function is called, and what it returned is looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from databacked.callables import not_awaited
from databacked.errors import DatabackedError
from databacked.graph.copies import FIXED, parts_of
from databacked.worker.messages import Spec

MOVED = (
    "the working folder changed while it ran: it is one for all threads, so what others read by a "
    "relative path may be another file"
)


_forks = 0
"""How many forks this process is away from the one that databacked was imported in."""


def _forked() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_forked)


def called(spec: Spec, values: Mapping[str, Any]) -> Any:
    """Call the function; a copy of this process that it made by `os.fork` ends where it ends.

    Such a copy would go on with the run, beside the one that waits for it.
    """
    here, status = _forks, 1
    try:
        value = spec.of_call(values)
        status = 0
        return value if type(value) in FIXED else not_awaited(value)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    finally:
        if _forks != here:
            os._exit(status & 0xFF)


def refuse_once(name: str, value: Any) -> None:
    """Raise for a value that can be read only once, or holds one: others may read it, too."""
    if type(value) in FIXED:
        return
    for once in parts_of(value, Iterator):
        raise DatabackedError(
            f"{name} returned {'' if once is value else 'something that holds '}a "
            f"{type(once).__name__}, which can be read only once. Return list(...) of it, or "
            "what it reads from (a file's path)."
        )
