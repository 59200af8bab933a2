"""The members of a class, however they came there; and where the class stands."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Container, Iterator
from types import FunctionType
from typing import Any

from databacked.fingerprint.code.sources import Source, node_of_quietly, source_of

PYTHONS_OWN = frozenset(
    {
        "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__",
        "__annotations_cache__", "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__",
        "__class_getitem__", "__dataclass_fields__", "__dataclass_params__", "__dict__", "__doc__",
        "__firstlineno__", "__hash__", "__match_args__", "__module__", "__orig_bases__",
        "__parameters__", "__protocol_attrs__", "__non_callable_proto_members__", "__qualname__",
        "__signature__", "__slotnames__", "__slots__", "__static_attributes__", "__subclasshook__",
        "__type_params__", "__weakref__", "_abc_impl", "_is_protocol", "_is_runtime_protocol",
        "_member_map_", "_member_names_", "_member_type_", "_value2member_map_",
        "_hashable_values_", "_unhashable_values_", "_unhashable_values_map_", "_new_member_",
        "_use_args_", "_value_repr_", "_generate_next_value_", "_field_defaults", "_fields",
        "__new_member__",
    }
)  # fmt: skip
"""Attributes that Python and well-known decorators give to every class."""

_PROPERTY = ("fget", "fset", "fdel")


def functions_in(member: Any) -> Iterator[FunctionType]:
    """Yield the functions that a member of a class is made of, as far as Python knows its kind."""
    if isinstance(member, FunctionType):
        yield member
    elif isinstance(member, staticmethod | classmethod):
        yield from functions_in(member.__func__)
    elif isinstance(member, property):
        for name in _PROPERTY:
            yield from functions_in(getattr(member, name))
    elif isinstance(member, functools.cached_property):
        yield from functions_in(member.func)


def functions_of(kind: type) -> Iterator[FunctionType]:
    """Yield the functions of a class."""
    for member in vars(kind).values():
        yield from functions_in(member)


def is_generated(function: FunctionType, kind: type) -> bool:
    """Whether a decorator or base made a method out of what stands in the class."""
    file = function.__code__.co_filename
    if file.startswith("<attrs generated"):
        return True
    name = function.__qualname__
    of = f"{kind.__qualname__}.", f"{kind.__name__}.", "__create_fn__"
    return file == "<string>" and name.startswith(of)


def stands_in(function: FunctionType, kind: type, file: str) -> bool:
    """Whether a method's code is written in its class, and not brought from elsewhere."""
    code = function.__code__
    inside = code.co_qualname.startswith(kind.__qualname__ + ".")
    return code.co_filename == file and inside and not is_generated(function, kind)


def file_of_class(kind: type) -> str:
    """Return the file that a class stands in."""
    for function in functions_of(kind):
        file = function.__code__.co_filename
        if function.__module__ == kind.__module__ and stands_in(function, kind, file):
            return file
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""


def statement_of(kind: type, file: str) -> tuple[Source, ast.ClassDef] | None:
    """Return the class statement of a class; None for one made by a call, as namedtuple does."""
    source = source_of(file)
    nodes = source.classes.get(kind.__qualname__, []) if source is not None else []
    if source is None or not nodes:
        return None
    lines = [
        function.__code__.co_firstlineno
        for function in functions_of(kind)
        if stands_in(function, kind, file)
    ]
    line = getattr(kind, "__firstlineno__", None) or min(lines, default=None)
    holding = (node for node in nodes if line is not None and _covers(node, line))
    return source, next(holding, nodes[-1])


def _covers(node: ast.ClassDef, line: int) -> bool:
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return first <= line <= (node.end_lineno or node.lineno)


CONSTRUCTION = frozenset(
    {"__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__", "__setstate__"}
)
"""Methods that fill an object when it is made."""


def stored_later(kind: type, spelled: Container[str]) -> set[str]:
    """Return the attributes that objects of a class may be given while a task runs: memos, counts.

    Parameters
    ----------
    spelled
        Names by which methods are called in what is reached.
    """
    pieces = [
        (base, name, stands[0].piece(stands[1]))
        for base in kind.__mro__
        for name, member in vars(base).items()
        for function in functions_in(member)
        if (stands := node_of_quietly(function)) is not None
    ]
    called = {inner for _, _, piece in pieces for inner in piece.spelled}
    return {
        _mangled(attribute, base)
        for base, name, piece in pieces
        if name in spelled or name in called or (name.startswith("__") and name not in CONSTRUCTION)
        for attribute in piece.stores
    }


def _mangled(name: str, kind: type) -> str:
    """Return the name that an attribute has which a class keeps for itself."""
    private = name.startswith("__") and not name.endswith("__")
    return f"_{kind.__name__.lstrip('_')}{name}" if private else name


def defaults_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the defaults of a function by parameter, as many as there are of both."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    given = function.__defaults__ or ()
    known = names[max(len(names) - len(given), 0) :]
    yield from zip(known, given[len(given) - len(known) :], strict=True)
    for number, value in enumerate(given[: len(given) - len(known)]):
        yield f"#{number}", value  # a wrapper that copied them
    yield from sorted((function.__kwdefaults__ or {}).items())
