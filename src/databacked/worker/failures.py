"""What is said of an exception, whatever it is: telling it never raises another one."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from databacked.callables import PACKAGE
from databacked.project.notebook import looks_like_cell
from databacked.types import Failure

_WRITES = (f"{PACKAGE}serializers{os.sep}", f"{PACKAGE}places{os.sep}")
"""Where values are written and read, after and before the user's own code."""


def failure_of(
    error: BaseException,
    task: str,
    item: str,
    arguments: Mapping[str, str],
    root: str,
    seconds: float = 0.0,
) -> Failure:
    """Return what is known of an item that failed with this error."""
    return Failure(
        task=task,
        item=item,
        parameters=dict(arguments),
        exception=in_words(error),
        where=told(lambda: _where(error, root), "?"),
        seconds=seconds,
        traceback=told(lambda: "".join(traceback.format_exception(error)), ""),
    )


def in_words(error: BaseException) -> str:
    """Return type, text and notes of an exception."""
    text = told(lambda: str(error), "(no text)")
    notes = told(lambda: " ".join(map(str, getattr(error, "__notes__", ()))), "")
    return f"{type(error).__name__}: {text}" + (f" {notes}" if notes else "")


def in_short(value: Any) -> str:
    """Return a value as it is shown, in at most 80 characters."""
    text = " ".join(told(lambda: repr(value), f"<{type(value).__name__}>").split())
    return text if len(text) <= 80 else text[:77] + "…"


def told(say: Callable[[], str], instead: str) -> str:
    """Return a text that code of somebody else's makes; another one where that code fails."""
    try:
        return "".join([say()])  # a plain text: what derives from it may not reach the driver
    except KeyboardInterrupt:
        raise
    except BaseException:
        return instead


def _where(error: BaseException, root: str) -> str:
    """Return file and line of the innermost frame that is the user's."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if looks_like_cell(frame.filename):
            return f"{frame.filename}:{frame.lineno}"
        mine = frame.filename.startswith(root) and "site-packages" not in frame.filename
        if mine and not frame.filename.startswith(PACKAGE):
            return f"{os.path.relpath(frame.filename, root)}:{frame.lineno}"
    outside = [frame for frame in frames if not frame.filename.startswith(PACKAGE)]
    writing = any(frame.filename.startswith(_WRITES) for frame in frames)
    if not outside or writing:
        return ""  # what could not be done with a value: the task's name says whose
    return f"{outside[-1].filename}:{outside[-1].lineno}"
