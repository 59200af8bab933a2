"""One pyplot for all threads: items that use it run one at a time, each from a clean state.

pyplot knows one current figure a process, not one a thread. An item whose code reaches it holds a
lock while its function runs; any other one that comes upon it (``table.plot()``, a library that
draws) takes the lock when it first does, and keeps it until it ends. matplotlib is imported here
only for code that imports it itself.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

PYPLOT = "matplotlib.pyplot"


NOTE = (
    "with pyplot, which draws one item at a time in threads (several at once: "
    "matplotlib.figure.Figure, or runner='processes')"
)
"""What is said of a task's items."""


_DRAW_WITH_IT = ("matplotlib.pyplot.", "matplotlib.pylab.", "pylab.", "seaborn.")


_LOOKED_AT = (
    "get_fig_manager", "get_all_fig_managers", "get_active", "set_active", "_set_new_active_manager"
)  # fmt: skip
"""What pyplot asks for its figures by."""


_lock = threading.Lock()


_importing = threading.Lock()


class _Here(threading.local):
    """What this thread does with pyplot."""

    working = False
    """Whether an item runs."""

    state: tuple[dict[Any, Any], dict[str, Any]] | None = None
    """Figures and settings as they were before the item took the lock."""

    had_it = False
    """Whether the last item took the lock."""


_here = _Here()


@functools.cache
def module_of(modules: frozenset[str]) -> str | None:
    """Return what of matplotlib the code that reaches these modules imports: pyplot, if it does."""
    if any((name + ".").startswith(_DRAW_WITH_IT) for name in modules):
        return PYPLOT
    return (
        "matplotlib.figure" if any((n + ".").startswith("matplotlib.") for n in modules) else None
    )


def notes() -> tuple[str, ...]:
    """Return what is to be said of the item that ended last in this thread."""
    had_it, _here.had_it = _here.had_it, False
    return (NOTE,) if had_it and threading.current_thread() is not threading.main_thread() else ()


def is_near(modules: frozenset[str]) -> bool:
    """Whether an item may come upon pyplot: its code reaches it, or somebody has imported it."""
    return PYPLOT in sys.modules or module_of(modules) is not None


def alone(modules: frozenset[str]) -> AbstractContextManager[None]:
    """Run an item: with pyplot to itself, where its code reaches it or as soon as it uses it.

    Parameters
    ----------
    modules
        Modules of libraries that its code reaches.
    """
    return _alone(module_of(modules)) if is_near(modules) else _NOTHING


_NOTHING = nullcontext()


@contextmanager
def _alone(module: str | None) -> Iterator[None]:
    if module is not None:
        _import_once(module)
    if PYPLOT in sys.modules:
        _guard()
    before, _here.working = _here.working, True
    mine = module == PYPLOT and _enter()
    try:
        yield
    finally:
        _here.working = before
        if mine or not before:
            _leave()


@contextmanager
def apart() -> Iterator[None]:
    """Let others have pyplot while a run inside of an item waits for them."""
    before, _here.working = _here.working, False
    held = _here.state is not None
    figures = _figures()
    kept = dict(figures) if held else {}
    chosen = _settings() if held else {}
    if held:
        figures.clear()  # they stay open
        _leave()
    try:
        yield
    finally:
        _here.working = before
        if held:
            _enter()
            figures.update(kept)
            dict.update(_rc(), chosen)


def _figures() -> dict[Any, Any]:
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    return {} if helpers is None else helpers.Gcf.figs


def _rc() -> dict[str, Any]:
    return getattr(sys.modules.get("matplotlib"), "rcParams", {})


def _settings() -> dict[str, Any]:
    # The backend is not put back: figures that are open could not follow.
    return {name: one for name, one in dict.items(_rc()) if name != "backend"}


def _enter() -> bool:
    """Take the lock, unless this thread has it; put aside what pyplot holds."""
    if _here.state is not None:
        return False
    _lock.acquire()
    figures = _figures()
    _here.state, _here.had_it = (dict(figures), _settings()), True
    figures.clear()
    return True


def _leave() -> None:
    """Let pyplot be as it was before the item, and others have it."""
    if _here.state is None:
        return
    (before, rest), _here.state = _here.state, None
    try:
        figures = _figures()
        if figures:  # what the item left open
            with suppress(Exception):
                sys.modules["matplotlib._pylab_helpers"].Gcf.destroy_all()
            figures.clear()
        figures.update(before)
        dict.update(_rc(), rest)
    finally:
        _lock.release()


def _import_once(name: str) -> None:
    """Import matplotlib in one thread at a time: two at once may see half of it."""
    if name in sys.modules and not _importing.locked():
        return
    with _importing:
        try:
            importlib.import_module(name)
        except ImportError:
            return  # the item says so itself


def _guard() -> None:
    """Have items that come upon pyplot take the lock first."""
    figures: Any = getattr(sys.modules.get("matplotlib._pylab_helpers"), "Gcf", None)
    if figures is None or hasattr(figures, "_databacked"):
        return
    with _importing:
        if hasattr(figures, "_databacked"):
            return
        figures._databacked = True
        for name in _LOOKED_AT:
            asked = getattr(figures, name, None)
            if asked is not None:
                setattr(figures, name, staticmethod(_after_entering(asked)))


def _after_entering(asked: Any) -> Any:
    @functools.wraps(asked)
    def guarded(*args: Any, **options: Any) -> Any:
        if _here.working:
            _enter()
        return asked(*args, **options)

    return guarded
