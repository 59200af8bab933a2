"""The members of a class, however they came there; and where the class stands."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from databacked.fingerprint.code.names import Piece
from databacked.fingerprint.code.sources import Source, node_of_quietly, source_of

PYTHONS_OWN = frozenset(
    {
        "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__",
        "__annotations_cache__", "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__",
        "__callable_proto_members_only__", "__class_getitem__", "__dataclass_fields__",
        "__dataclass_params__", "__dict__", "__doc__",
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
    nodes = source.names.classes.get(kind.__qualname__, []) if source is not None else []
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


def module_space(kind: type) -> dict[str, Any]:
    """Return the names of the module that a class belongs to."""
    return vars(sys.modules[kind.__module__]) if kind.__module__ in sys.modules else {}


def is_slot(member: Any) -> bool:
    """Whether a member is a descriptor of C's own: it holds nothing of the project."""
    return hasattr(type(member), "__get__") and type(member).__name__ in (
        "getset_descriptor", "member_descriptor", "method_descriptor", "wrapper_descriptor",
        "classmethod_descriptor", "builtin_function_or_method", "_tuplegetter",
    )  # fmt: skip


def _covers(node: ast.ClassDef, line: int) -> bool:
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return first <= line <= (node.end_lineno or node.lineno)


_CONSTRUCTION = frozenset(
    {"__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__", "__setstate__"}
)
"""Methods that fill an object when it is made."""

_CHANGING = frozenset(
    {"__setattr__", "__delattr__", "__setitem__", "__delitem__", "__set__", "__delete__"}
)
"""Methods that are called to change an object: by what is reached, or by somebody in a session."""


@dataclass(frozen=True)
class Method:
    """What a method does to the object that it is called on."""

    by: str
    """The name that it is called by; with ``=`` in front for the setter of a property; "" if
    Python itself calls it."""

    stores: frozenset[str]
    """Attributes that it sets or changes."""

    spelled: frozenset[str]
    """Names that it may call others by."""


def methods_of(kind: type) -> Iterator[Method]:
    """Yield the methods that a class itself has, but for those that make an object."""
    for name, member in vars(kind).items():
        if name in _CONSTRUCTION:
            continue
        setters = (member.fset, member.fdel) if isinstance(member, property) else ()
        is_implicit = name.startswith("__") and name.endswith("__") and name not in _CHANGING
        for function in functions_in(member):
            stands = node_of_quietly(function)
            if stands is not None:
                piece = stands[0].piece(stands[1])
                by = f"={name}" if any(function is one for one in setters) else name
                yield Method(
                    "" if is_implicit else by,
                    frozenset(_mangled(attribute, kind) for attribute in piece.stores),
                    names_in(piece),
                )


def called_in(piece: Piece) -> frozenset[str]:
    """Return the names that a function calls, or sets, on what is outside of it.

    On what it makes itself it may call the same ones: that changes nothing that stays.
    """
    called = {name for use in piece.uses for name in use.chain[1:]}
    stored = {f"={name}" for write in piece.writes for name in write.chain[1:]}
    return frozenset(called | stored)


def names_in(piece: Piece) -> frozenset[str]:
    """Return the names by which a piece of code may call methods, and setters."""
    return frozenset({*piece.spelled, *(f"={name}" for name in piece.stores)})


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
