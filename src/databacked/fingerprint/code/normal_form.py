"""A function's source as a text that only a change of what it does changes.

Own rules, written out over the abstract syntax tree, because ``ast.dump`` and bytecode differ from
one Python version to the next. Left out are positions, comments, docstrings, annotations of
functions and of their variables, fields that are empty (later versions add such), and what
formatters change: the order of imports that follow one another, brackets around what is deleted.
"""

from __future__ import annotations

import ast
import copy
import functools
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

_SKIPPED = frozenset({"ctx", "type_comment", "kind", "type_ignores", "simple"})
_BLOCKS = ("body", "orelse", "finalbody")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda)
_IMPORTS = (ast.Import, ast.ImportFrom)


def normal_form(node: ast.AST, *, without: Iterable[ast.AST] = (), named: bool = True) -> str:
    """Return the normal form of a function, class or expression.

    Parameters
    ----------
    without
        Nodes that do not count, for example decorators that say where a result is kept.
    named
        Whether the name of the function itself counts.
    """
    parts: list[str] = []
    if not named and isinstance(node, _FUNCTIONS):
        node = copy.copy(node)
        node.name = "_"
    _write(node, parts, frozenset(map(id, without)), in_class=False)
    return "".join(parts)


@functools.cache
def _fields(kind: Any, in_class: bool) -> tuple[tuple[str, str], ...]:
    """Return the fields of a kind of node that count, each with the text before it."""
    skipped = set(_SKIPPED)
    if issubclass(kind, ast.arg):
        skipped.add("annotation")
    elif issubclass(kind, _FUNCTIONS):
        skipped |= {"returns", "type_params"}
    elif issubclass(kind, ast.AnnAssign) and not in_class:
        # Fields of a class are more than a hint: dataclasses are made of them.
        skipped.add("annotation")
    return tuple((name, f" {name}=") for name in kind._fields if name not in skipped)


def _write(node: object, parts: list[str], without: frozenset[int], in_class: bool) -> None:
    if isinstance(node, ast.AST):
        if not node._fields:  # an operator
            parts.append(f"({type(node).__name__})")
        elif isinstance(node, ast.Constant):
            parts.append(_constant(node.value))
        elif id(node) not in without:
            _write_node(node, parts, without, in_class)
    elif isinstance(node, list):
        parts.append("[")
        for item in node:
            _write(item, parts, without, in_class)
            parts.append(",")
        parts.append("]")
    else:
        parts.append(_constant(node))


def _write_node(node: ast.AST, parts: list[str], without: frozenset[int], in_class: bool) -> None:
    if isinstance(node, ast.AnnAssign) and not in_class and node.value is not None:
        node = ast.Assign(targets=[node.target], value=node.value)
    kind: Any = type(node)
    parts.append(f"({kind.__name__}")
    inside = kind is ast.ClassDef or (in_class and kind not in _SCOPES)
    for name, before in _fields(kind, inside):
        value = getattr(node, name, None)
        if value is None or value == []:
            continue
        parts.append(before)
        if type(value) is str:
            parts.append(f"<str {value!a}>")
            continue
        if type(value) is list:
            if name in _BLOCKS:
                value = [one for one in value if does_something(one, in_class=inside)]
                if any(type(one) in _IMPORTS for one in value):
                    value = _with_sorted_imports(value)
            elif kind is ast.JoinedStr:
                value = _joined(value)
            elif kind is ast.Delete:
                value = [*_deleted(value)]
        _write(value, parts, without, inside)
    parts.append(")")


def does_something(statement: ast.AST, *, in_class: bool = False) -> bool:
    """Whether a statement is more than a docstring, ``pass``, or a variable's annotation."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return False
    if isinstance(statement, ast.AnnAssign) and statement.value is None:
        return in_class
    return not isinstance(statement, ast.Pass)


def _with_sorted_imports(block: list[ast.stmt]) -> list[ast.stmt]:
    """Return a block in which imports that follow one another stand in one order, a name each."""
    found: list[ast.stmt] = []
    for is_import, statements in groupby(block, lambda one: isinstance(one, _IMPORTS)):
        if not is_import:
            found += statements
            continue
        single = [one for statement in statements for one in _single(statement)]
        names = [(one.names[0].asname or one.names[0].name).partition(".")[0] for one in single]
        # Of two that bind one name the last one wins.
        if len(set(names)) == len(names) and "*" not in names:
            single.sort(key=ast.unparse)
        found += single
    return found


def _single(statement: ast.stmt) -> Iterator[ast.Import | ast.ImportFrom]:
    if isinstance(statement, ast.Import):
        yield from (ast.Import([alias]) for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            yield ast.ImportFrom(statement.module, [alias], statement.level)


def _deleted(targets: list[ast.expr]) -> Iterator[ast.expr]:
    for target in targets:
        if isinstance(target, ast.Tuple | ast.List):
            yield from _deleted(target.elts)
        else:
            yield target


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Merge neighbouring texts of an f-string: versions of Python cut them differently."""
    merged: list[ast.expr] = []
    for value in values:
        last = merged[-1] if merged else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            merged[-1] = ast.Constant(str(last.value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            merged.append(value)
    return merged


def _constant(value: object) -> str:
    # ascii and hex: what repr escapes differs between versions, and it refuses very long numbers.
    text = hex(value) if type(value) is int and value.bit_length() > 64 else ascii(value)
    return f"<{type(value).__name__} {text}>"
