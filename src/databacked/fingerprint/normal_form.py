"""A function's source as a text that only a change of what it does changes.

Own rules, written out over the abstract syntax tree, because ``ast.dump`` and bytecode differ from
one Python version to the next. Left out are positions, comments, docstrings, annotations of
functions and of their variables, and fields that are empty (later versions add such).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

_SKIPPED = frozenset({"ctx", "type_comment", "kind", "type_ignores", "type_params", "simple"})
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def normal_form(node: ast.AST, *, without: Iterable[ast.AST] = ()) -> str:
    """Return the normal form of a function, class or expression.

    Parameters
    ----------
    without
        Nodes that do not count, for example decorators that say where a result is kept.
    """
    parts: list[str] = []
    _write(node, parts, set(map(id, without)), in_class=False)
    return "".join(parts)


def _write(node: object, parts: list[str], without: set[int], in_class: bool) -> None:
    if isinstance(node, ast.AST):
        if id(node) in without:
            return
        if isinstance(node, ast.Constant):
            parts.append(_constant(node.value))
            return
        parts.append(f"({type(node).__name__}")
        inside = isinstance(node, ast.ClassDef) or (in_class and not isinstance(node, _SCOPES))
        for name in node._fields:
            value = getattr(node, name, None)
            if (
                value is None
                or value == []
                or name in _SKIPPED
                or _is_annotation(node, name, inside)
            ):
                continue
            parts.append(f" {name}=")
            if name == "body" and isinstance(value, list):
                value = _without_docstring(node, value)
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
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return field == "returns"
    # Fields of a class are more than a hint: dataclasses are made of them.
    return isinstance(node, ast.AnnAssign) and field == "annotation" and not in_class


def _without_docstring(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    if (
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module)
        and body
    ):
        first = body[0]
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            body = body[1:]
        # A variable that is only annotated does nothing, like pass.
        if not isinstance(node, ast.ClassDef):
            body = [one for one in body if not isinstance(one, ast.AnnAssign) or one.value]
        return [one for one in body if not isinstance(one, ast.Pass)]
    return body


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Merge neighbouring texts of an f-string: versions of Python cut them differently."""
    merged: list[ast.expr] = []
    for value in values:
        last = merged[-1] if merged else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            merged[-1] = ast.Constant(str(last.value) + str(value.value))
        else:
            merged.append(value)
    return merged


def _constant(value: object) -> str:
    return f"<{type(value).__name__} {value!r}>"
