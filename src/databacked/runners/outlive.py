"""Flows in threads go on when the main thread has ended: what serves them is stopped after them.

Python stops its pools before it waits for plain threads, and a flow needs them to the end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from databacked.errors import DatabackedError

_flows: dict[threading.Thread, int] = {}


_lock = threading.Lock()


_registered: set[str] = set()


@contextmanager
def going_on() -> Iterator[None]:
    """Note that a flow runs in this thread."""
    thread = threading.current_thread()
    with _lock:
        _flows[thread] = _flows.get(thread, 0) + 1
    before_end_of("pools")
    try:
        yield
    except RuntimeError as error:
        if "interpreter shutdown" not in str(error):
            raise
        raise DatabackedError(
            "a flow in a thread cannot go on after the main thread has ended: Python 3.12.0 to "
            "3.12.2 start no threads then (python/cpython#113964). What is done is kept. Join the "
            "thread at the end of the script, or use Python 3.12.3 or newer"
        ) from error
    finally:
        with _lock:
            _flows[thread] -= 1
            if not _flows[thread]:
                del _flows[thread]


def before_end_of(what: str) -> None:
    """Have flows end first; called once what serves them has said when it is to be stopped."""
    if what not in _registered:
        _registered.add(what)
        with suppress(AttributeError, RuntimeError):  # not Python's word; or the end has come
            threading._register_atexit(_wait)  # type: ignore[attr-defined]


def allow_late_ones() -> None:
    """Let pools be opened after the main thread has ended: a flow closes what it opens itself."""
    if getattr(threading, "_SHUTTING_DOWN", False):
        threading._register_atexit = lambda *_, **__: None  # type: ignore[attr-defined]


def _wait() -> None:
    for thread in list(_flows):
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
