"""What a module does to others when it is loaded: what it sets in libraries, what it registers."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from databacked.fingerprint.code.names import chain_of

_SETS = re.compile(
    r"seed|manual_seed|use|update|putenv|setdefault|configure|"
    r"(set|enable|disable|register|patch|install|add|default)_?\w*"
)
"""Names of functions that set something for the whole process, as libraries have them."""

OWN = "own "
"""How it begins what stands for something of the project: what is set there counts there."""

_HARMLESS = frozenset({"sys", "warnings", "logging", "builtins", "atexit", "faulthandler"})
"""Libraries in which modules set what no result hangs on."""


def effects(tree: ast.Module, is_others: Callable[[str], str]) -> Iterator[tuple[ast.stmt, str]]:
    """Yield the statements of a module that change something elsewhere, and what.

    Of one inside an ``if`` or ``with`` the whole is yielded: it says whether, and with what.

    Parameters
    ----------
    is_others
        Says what a name of the module stands for: the library that it comes from, the own class
        or module that it is; else "".
    """
    for statement in tree.body:
        for one in _statements([statement]):
            found = next(filter(None, (_changed(part, is_others) for part in _parts(one))), "")
            if found and found.partition(".")[0] not in _HARMLESS:
                yield statement, found.removeprefix(OWN)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for one in body:
        if isinstance(one, ast.If) and _is_main(one.test):
            yield from _statements(one.orelse)
        elif isinstance(one, ast.If | ast.For | ast.While | ast.With | ast.Try):
            for name in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(one, name, []))
            for handler in getattr(one, "handlers", []):
                yield from _statements(handler.body)
        else:
            yield one


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and chain_of(test.left) == ("__name__",)


def _parts(statement: ast.stmt) -> Iterator[ast.expr]:
    """Yield what a statement sets or calls, as far as it may change something."""
    match statement:
        case ast.Assign(targets=targets):
            yield from (one for one in targets if not isinstance(one, ast.Name))
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            if not isinstance(target, ast.Name):
                yield target
        case ast.Delete(targets=targets):
            yield from (one for one in targets if not isinstance(one, ast.Name))
        case ast.Expr(value=ast.Call() as call):
            yield call
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield from (one for one in statement.decorator_list)


def _changed(node: ast.expr, is_others: Callable[[str], str]) -> str:
    """Return what a part of a statement changes; "" if nothing, or something of the module's."""
    if isinstance(node, ast.Call):
        chain = chain_of(node.func)
        if chain is None or not _SETS.fullmatch(chain[-1]):
            return ""
        of = is_others(chain[0])
        if of.startswith(OWN) and chain[-1] != "register":  # of abc: seen nowhere else
            return ""
        return f"{of}.{chain[-1]}" if of else ""
    if isinstance(node, ast.Name):
        of = is_others(node.id) if _SETS.fullmatch(node.id) else ""
        return "" if of.startswith(OWN) else of
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        chain = chain_of(node)
        of = is_others(chain[0]) if chain is not None and _SETS.fullmatch(chain[-1]) else ""
        return f"{of}.{node.attr}" if of and not of.startswith(OWN) else ""
    words: list[str] = []
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        if isinstance(node, ast.Attribute):
            words.append(node.attr)
        node = node.func if isinstance(node, ast.Call) else node.value
    of = is_others(node.id) if isinstance(node, ast.Name) else ""
    return ".".join([of, *reversed(words)]) if of and not of.startswith(OWN) else ""
