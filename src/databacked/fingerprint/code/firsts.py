"""What runs fill (memos, counters, registries) counts as it was when it was first looked at.

Else nothing would be a hit in a process that ran a task before. Of containers a copy is kept, so
that the code in them is followed as it was then; of anything else what it counted by.
"""

from __future__ import annotations

import collections
import weakref
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

from databacked.fingerprint.code.sources import source_of
from databacked.fingerprint.code.symbols import MARK

ABSENT = object()
"""Stands for an attribute that is not set so far."""

_COPIED = (
    dict, list, set, tuple, bytearray, collections.deque, collections.OrderedDict,
    collections.Counter, collections.defaultdict,
)  # fmt: skip

_seen: dict[tuple[int, str], tuple[Any, Any, str]] = {}
"""By holder and attribute: the holder, what it held, and what that counted by if it is no copy."""


def as_first_seen(holder: Any, attribute: str, value: Any, tell: Callable[[Any], str]) -> str:
    """Return what something that runs fill counts by; "" if it was not there at first.

    Parameters
    ----------
    holder, attribute
        What holds it, and how; "" of what a constant itself holds.
    value
        What it is now; `ABSENT` if nothing.
    tell
        Returns what a value counts by.
    """
    known = _seen.get((id(holder), attribute))
    if known is not None:
        _, kept, fixed = known
        now = "" if kept is ABSENT else tell(kept)  # what it reaches is met in every walk
        return fixed or now
    kept = _copy(value, {})
    token = "" if kept is ABSENT else tell(kept)
    # What is no copy may change; but what stands for other symbols has new numbers in every walk.
    fixed = token if kept is value and MARK not in token else ""
    _seen[id(holder), attribute] = holder, kept, fixed
    return token


def _copy(value: Any, known: dict[int, Any]) -> Any:
    """Return a container with copies of those in it; anything else as it is."""
    kind = type(value)
    if kind not in _COPIED:
        return value
    if id(value) in known:
        return known[id(value)]
    if kind is tuple:
        items = [_copy(one, known) for one in value]
        same = all(a is b for a, b in zip(items, value, strict=True))
        return value if same else tuple(items)
    copy = known[id(value)] = value.copy()
    if isinstance(copy, dict):
        for key, one in copy.items():
            copy[key] = _copy(one, known)
    elif isinstance(copy, list | collections.deque):
        for number, one in enumerate(copy):
            copy[number] = _copy(one, known)
    return copy


_written: weakref.WeakKeyDictionary[FunctionType, tuple[CodeType, Any, Any, frozenset[str]]]
_written = weakref.WeakKeyDictionary()
"""Code that stands in files, defaults, and names of attributes, of functions as first looked at."""


def function_as_first_seen(function: FunctionType) -> FunctionType:
    """Return a function as it is written, also where it gets other code once it was called.

    As those behind networkx' argmap do, which compile what they run: that stands nowhere.
    """
    code = function.__code__
    if source_of(code.co_filename) is not None:
        given = function.__defaults__, function.__kwdefaults__
        _written[function] = code, *given, frozenset(vars(function))
        return function
    known, defaults, named, names = _written.get(function, (code, None, None, frozenset()))
    if known is code or len(known.co_freevars) != len(code.co_freevars):
        return function
    same = FunctionType(
        known, function.__globals__, function.__name__, defaults, function.__closure__
    )
    same.__kwdefaults__ = named
    same.__qualname__, same.__module__ = function.__qualname__, function.__module__
    same.__dict__.update((name, one) for name, one in vars(function).items() if name in names)
    return same
