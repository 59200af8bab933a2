"""Which function or class stands below a callable of any kind, and where that is written.

A task can be a function, a method, a ``functools.partial``, an object with ``__call__``, a class,
or any of these in the wrapper of another package's decorator.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from databacked.errors import DatabackedError, GraphError

LIBRARIES = ("site-packages", "dist-packages")
"""Folders of installed packages."""

STDLIB = tuple(
    {os.path.realpath(sysconfig.get_paths()[name]) + os.sep for name in ("stdlib", "platstdlib")}
)
"""Where Python's own modules lie."""

PACKAGE = os.path.dirname(__file__) + os.sep
"""Folder of this package, as it was imported."""

HERE = os.path.realpath(PACKAGE) + os.sep
"""The same, without links."""

_HOLDS = ("func", "py_func", "pyfunc", "__wrapped__")
"""Attributes by which partials, compilers and ``np.vectorize`` know their function."""


@functools.lru_cache(maxsize=4096)  # to follow links costs a look at each folder above
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
    mine = (one for one, file in found if not (is_library(file) or file.startswith(HERE)))
    return next(mine, found[0][0] if found else value)


def written_in(value: Any) -> str:
    """Return the file that a callable's own code is written in, or ""."""
    return file_of(written(value))


def described(value: Any) -> Any:
    """Return the function whose annotations speak of a callable's parameters."""
    while True:
        if is_ours(value):
            value = value.fn
        elif isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, type):
            made = getattr(value, "__init__", None)
            return value.__new__ if made is object.__init__ else made
        elif isinstance(value, FunctionType | MethodType) or hasattr(value, "__wrapped__"):
            return inspect.unwrap(value)
        else:
            return type(value).__call__


def signature_of(function: Any) -> inspect.Signature:
    """Return what a callable takes: a wrapper that names its parameters takes these.

    Raises
    ------
    TypeError, ValueError
        If nobody can tell.
    """
    own = _own_signature(function)
    if hasattr(function, "__signature__") or own is None or _VARIABLE & _kinds(own):
        return inspect.signature(function)
    return own


def positional_only(function: Any) -> int:
    """Return how many first parameters have to come by position, though their names are known.

    Wrappers say of themselves what the wrapped function takes, and take less.
    """
    if hasattr(function, "registry") and hasattr(function, "dispatch"):  # functools.singledispatch
        return 1
    own = _own_signature(function)
    variable = set() if own is None else _VARIABLE & _kinds(own)
    return sys.maxsize if variable == {inspect.Parameter.VAR_POSITIONAL} else 0


_VARIABLE = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def _kinds(signature: inspect.Signature) -> set[Any]:
    return {one.kind for one in signature.parameters.values()}


def _own_signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def stands_for(wrapper: Any, function: Any) -> None:
    """Give a wrapper the name, text and attributes of its function, none in place of its own."""
    own = {*vars(wrapper), *dir(type(wrapper))}
    functools.update_wrapper(wrapper, function, updated=())
    for name, value in getattr(function, "__dict__", {}).items():
        if name not in own:
            vars(wrapper).setdefault(name, value)


def got_from(wrapper: Any, instance: Any, owner: Any, word: str) -> Any:
    """Return what a task or flow is that a class has as an attribute."""
    if instance is not None and instance is owner:  # from within @classmethod
        return MethodType(wrapper, instance)
    if instance is not None:
        _refuse_method(wrapper.fn, instance, word)
    return wrapper


def _refuse_method(function: Any, instance: Any, word: str) -> None:
    """Raise if a function that stands for a method is asked for by an object of its class."""
    if not isinstance(function, FunctionType):
        return
    owner, _, name = function.__qualname__.rpartition(".")
    first = next(iter(signature_of(function).parameters), "")
    kinds = {one.__qualname__ for one in type(instance).__mro__}
    if owner in kinds and first in ("self", "cls"):
        raise GraphError(
            f"{name}: @{word} stands on a method of {type(instance).__name__}, which does not get "
            f"its {first}. Make the method of one object a {word}, as in "
            f"{name} = {word}({type(instance).__name__}(…).{name}) with a method that is none, or "
            "write a function that takes the object as an argument."
        )


def not_awaited(value: Any) -> Any:
    """Return what a function returned, unless it is still to be run by an event loop.

    Raises
    ------
    DatabackedError
        If it is a coroutine, an asynchronous generator, or a future of asyncio.
    """
    if not (inspect.iscoroutine(value) or inspect.isasyncgen(value) or is_future(value)):
        return value
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that nobody awaited it
    raise DatabackedError(
        f"the function returned a {type(value).__name__}, which is not a value yet. Run it inside "
        "of the function (asyncio.run(...)), and return what it gives."
    )


def is_future(value: Any) -> bool:
    """Whether a value is a future of asyncio."""
    return hasattr(type(value), "_asyncio_future_blocking")
