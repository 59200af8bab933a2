"""A function's source as a text that only a change of what it does changes.

Own rules, written out over the abstract syntax tree, because ``ast.dump`` and bytecode differ from
one Python version to the next. Left out are positions, comments, docstrings, annotations of
functions and of their variables, and fields that are empty (later versions add such).
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable

_SKIPPED = frozenset({"ctx", "type_comment", "kind", "type_ignores", "simple"})
_BLOCKS = ("body", "orelse", "finalbody")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.Lambda)


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
    _write(node, parts, set(map(id, without)), in_class=False)
    return "".join(parts)


def _write(node: object, parts: list[str], without: set[int], in_class: bool) -> None:
    if isinstance(node, ast.AST):
        if id(node) in without:
            return
        if isinstance(node, ast.Constant):
            parts.append(_constant(node.value))
            return
        if isinstance(node, ast.AnnAssign) and not in_class and node.value is not None:
            node = ast.Assign(targets=[node.target], value=node.value)
        parts.append(f"({type(node).__name__}")
        inside = isinstance(node, ast.ClassDef) or (in_class and not isinstance(node, _SCOPES))
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in _SKIPPED:
                continue
            if _is_annotation(node, name, inside):
                continue
            parts.append(f" {name}=")
            if name in _BLOCKS and isinstance(value, list):
                value = [one for one in value if _does_something(one, inside)]
            elif isinstance(node, ast.JoinedStr):
                value = _joined(value)
            _write(value, parts, without, inside)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for item in node:
            _write(item, parts, without, in_class)
            parts.append(",")
        parts.append("]")
    else:
        parts.append(_constant(node))


def _is_annotation(node: ast.AST, field: str, in_class: bool) -> bool:
    if isinstance(node, ast.arg):
        return field == "annotation"
    if isinstance(node, _FUNCTIONS):
        return field in ("returns", "type_params")
    # Fields of a class are more than a hint: dataclasses are made of them.
    return isinstance(node, ast.AnnAssign) and field == "annotation" and not in_class


def _does_something(statement: ast.AST, in_class: bool) -> bool:
    """Whether a statement is more than a docstring, ``pass``, or a variable's annotation."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return False
    if isinstance(statement, ast.AnnAssign) and statement.value is None:
        return in_class
    return not isinstance(statement, ast.Pass)


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
