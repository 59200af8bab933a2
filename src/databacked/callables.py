"""What a callable of any kind is made of: which function stands below it, and where that is written.

A task can be a function, a method, a ``functools.partial``, an object with ``__call__``, a class, or
any of these in the wrapper of another package's decorator.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

LIBRARIES = ("site-packages", "dist-packages")
"""Folders of installed packages."""

STDLIB = tuple(
    {os.path.realpath(sysconfig.get_paths()[name]) + os.sep for name in ("stdlib", "platstdlib")}
)
"""Where Python's own modules lie."""

_HERE = os.path.dirname(os.path.realpath(__file__)) + os.sep
_HOLDS = ("func", "py_func", "pyfunc", "__wrapped__")
"""Attributes by which partials, compilers and ``np.vectorize`` know their function."""


def is_library(file: str) -> bool:
    """Whether a file belongs to Python itself or to an installed package."""
    real = os.path.realpath(file)
    return (
        not os.path.isabs(file)
        or real.startswith(STDLIB)
        or any(part in LIBRARIES for part in real.split(os.sep))
    )


def is_ours(value: Any) -> bool:
    """Whether a value is a task or a flow, which knows its plain function as ``fn``."""
    return type(value).__module__.partition(".")[0] == "databacked" and hasattr(value, "fn")


def below(value: Any) -> Iterator[Any]:
    """Yield a callable and what it calls in turn, from the outside inwards."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen or not (callable(one) or hasattr(one, "__get__")):
            continue
        seen.add(id(one))
        yield one
        if is_ours(one):
            waiting.append(one.fn)
        elif isinstance(one, MethodType):
            owner = one.__self__
            waiting += [one.__func__, owner if isinstance(owner, type) else type(owner)]
        elif isinstance(one, FunctionType):
            waiting.append(getattr(one, "__wrapped__", None))
            if is_library(one.__code__.co_filename):  # a decorator that says not what it wraps
                waiting += [
                    found for found in closure_of(one).values() if not isinstance(found, type)
                ]
        elif not isinstance(one, type):
            waiting += [_held(one, name) for name in _HOLDS]
            if isinstance(one, functools.partial | functools.partialmethod):
                waiting += [*one.args, *one.keywords.values()]
            if not is_library(file_of(type(one))):
                waiting.append(type(one))


def _held(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:  # a property of somebody else's
        return None


def closure_of(function: FunctionType) -> dict[str, Any]:
    """Return the values of a function's closure by name, as far as they are there yet."""
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue  # not filled yet
    return found


def file_of(value: Any) -> str:
    """Return the file that a function or class itself was loaded from, or ""."""
    if isinstance(value, MethodType):
        value = value.__func__
    if isinstance(value, FunctionType):
        return value.__code__.co_filename
    if not isinstance(value, type):
        return ""
    known = getattr(sys.modules.get(value.__module__), "__file__", None)
    files = (
        one.__code__.co_filename
        for one in vars(value).values()
        if isinstance(one, FunctionType) and one.__module__ == value.__module__
    )
    # Of what a decorator has made of a class, nothing is a file.
    return known or next((file for file in files if file != "<string>"), "")


def written(value: Any) -> Any:
    """Return the function or class in which a callable's own code is written; itself if none is.

    Of a wrapper of another package's it is what is wrapped; of a callable that lies wholly in other
    packages the outermost function.
    """
    found = [(one, file) for one in below(value) if (file := file_of(one))]
    mine = (one for one, file in found if not (is_library(file) or file.startswith(_HERE)))
    return next(mine, found[0][0] if found else value)


def written_in(value: Any) -> str:
    """Return the file that a callable's own code is written in, or ""."""
    return file_of(written(value))
