"""Objects and their classes: attributes past their own code, and what is written in Python."""

from __future__ import annotations

import functools
import gc
import typing
from types import FunctionType, MappingProxyType
from typing import Any


def name_of(kind: type) -> str:
    """Return the name of a class, with its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def is_of(library: str, value: Any) -> bool:
    """Whether the class of a value is a library's own, and not one that derives from it."""
    return type(value).__module__.partition(".")[0] == library


def state_of(value: Any, *, remembered: bool = False) -> dict[str, Any]:
    """Return the attributes of an object, by slots and by ``__dict__``, past its own code.

    Parameters
    ----------
    remembered
        Whether what a cached property holds is one of them.
    """
    kind = type(value)
    state: dict[str, Any] = {}
    for base in kind.__mro__:
        for name in slots_of(base):
            try:
                state[name] = vars(base)[name].__get__(value)
            except (AttributeError, KeyError):  # not set
                continue
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return state
    for name, one in held.items():
        # What is only remembered says nothing new, and comes when somebody asks for it.
        if remembered or not isinstance(_in_class(kind, name), functools.cached_property):
            state[name] = one
    return state


def _in_class(kind: type, name: str) -> Any:
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def slots_of(kind: type) -> list[str]:
    """Return the slots that a class itself adds, as its instances know them."""
    said = kind.__dict__.get("__slots__", ())
    names = [said] if isinstance(said, str) else list(said)
    hidden = kind.__name__.lstrip("_")
    return [
        f"_{hidden}{name}" if name.startswith("__") and not name.endswith("__") else name
        for name in names
        if name not in ("__dict__", "__weakref__")
    ]


def held_by(proxy: MappingProxyType[Any, Any]) -> Any:
    """Return the mapping that a read-only view of one shows."""
    return gc.get_referents(proxy)[0]


def is_plain_class(kind: type) -> bool:
    """Whether a class is written in Python, so that all its state lies in its attributes."""
    bases = [base for base in kind.__mro__ if base not in (object, typing.Generic)]
    python = all(base.__flags__ & _HEAP and not base.__flags__ & _IMMUTABLE for base in bases)
    slots = sum(len(slots_of(base)) for base in bases)
    # What is written in C has fields of its own; dict and weak references take a pointer each.
    size = object.__basicsize__ + (slots + 2) * _POINTER
    has_state = bool(kind.__dictoffset__) or slots > 0 or any("__slots__" in vars(b) for b in bases)
    return python and kind.__basicsize__ <= size and has_state


_HEAP, _IMMUTABLE, _POINTER = 1 << 9, 1 << 8, 8


def is_more_than_fields(kind: type) -> bool:
    """Whether a named tuple has attributes or methods besides its fields."""
    made = {"__new__", "_make", "_replace", "__replace__", "_asdict", "__repr__", "__getnewargs__"}
    own = (
        name
        for name, one in vars(kind).items()
        if name not in made
        and isinstance(one, FunctionType | property | classmethod | staticmethod)
    )
    return kind.__bases__ != (tuple,) or any(own)
