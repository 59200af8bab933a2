"""Modules whose file was changed after they were imported: in a session the old code goes on."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

_HEADER = 16
"""Bytes at the start of compiled code: mark, flags, and time and size of its source (PEP 552)."""

_seen: dict[str, tuple[Any, tuple[int, int] | None]] = {}
"""By file: which import of it was seen, and how the file looked then; None if it was newer."""


def is_session() -> bool:
    """Whether somebody types here, so that what was imported stays: a notebook, a prompt."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def file_and_name(symbol: str) -> tuple[str, str]:
    """Return the two parts of what a symbol is called: ``cells.py:SIZES['a:b']``."""
    file, colon, name = symbol.partition(":")
    return (file, name) if colon else ("", symbol)


def older_than_files(symbols: Iterable[str], root: Path) -> list[str]:
    """Return the modules whose files were changed since they were imported.

    Parameters
    ----------
    symbols
        What code reaches, as records know it: file below the root (or module), and name.
    """
    reached: dict[str, set[str]] = {}
    for symbol in symbols:
        place, name = file_and_name(symbol)
        reached.setdefault(_file_of(place, root), set()).add(
            re.split(r"[.\[]", name, maxsplit=1)[0]
        )
    modules = {
        os.path.realpath(file): module
        for module in list(sys.modules.values())
        if (file := getattr(module, "__file__", None))
    }
    found = ((modules.get(file), file) for file in sorted(reached) if file)
    return [
        one.__name__
        for one, file in found
        if one is not None and _is_older(one, file) and _differs(vars(one), file, reached[file])
    ]


def _file_of(place: str, root: Path) -> str:
    if place.endswith(".py"):
        return os.path.realpath(root / place)
    file = getattr(sys.modules.get(place), "__file__", None)
    return os.path.realpath(file) if file else ""


def _is_older(module: ModuleType, file: str) -> bool:
    spec = getattr(module, "__spec__", None)
    try:
        info = os.stat(file)
    except OSError:
        return False
    now = info.st_size, info.st_mtime_ns
    known = _seen.get(file)
    if known is None or known[0] is not spec:  # imported, or reloaded, since the last look
        known = _seen[file] = spec, None if _was_compiled_before(spec, file) else now
    return known[1] != now


def _was_compiled_before(spec: Any, file: str) -> bool:
    """Whether the compiled code that the import left is of an older state of the file."""
    cached = getattr(spec, "cached", None)
    if not cached or sys.dont_write_bytecode:
        return False
    try:
        with open(cached, "rb") as compiled:
            header = compiled.read(_HEADER)
        info = os.stat(file)
    except OSError:
        return False
    if len(header) < _HEADER or header[4:8] != bytes(4):  # by hash: nothing of time is told
        return False
    told = (int.from_bytes(header[8:12], "little"), int.from_bytes(header[12:16], "little"))
    return told != (int(info.st_mtime) & 0xFFFFFFFF, info.st_size & 0xFFFFFFFF)


def _differs(space: Mapping[str, Any], file: str, names: set[str]) -> bool:
    """Whether names may have other values than stand in a file.

    It may only have been touched, or what stands there was put into the module by ``%autoreload``.
    """
    try:
        with open(file, "rb") as opened:
            body = ast.parse(opened.read()).body
    except (OSError, SyntaxError, ValueError):
        return True
    bound = [(_bound(one), one) for one in body]
    known = {name for name, _ in bound}
    return not names <= known or any(_is_other(one, space) for name, one in bound if name in names)


def _bound(statement: ast.stmt) -> str:
    """Return the name that a statement gives a value; empty where it is none, or several."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return ""


def _is_other(statement: ast.stmt, space: Mapping[str, Any]) -> bool:
    """Whether a name has another value than a statement gives it, or nobody can tell."""
    name = _bound(statement)
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return False  # another one is an error before anything runs
        case ast.ClassDef(body=body):
            inner = getattr(space.get(name), "__dict__", {})
            return any(_is_other(one, inner) for one in body)
        case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.AnnAssign(value=None):
            return False
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value) if name in space:
            try:
                return repr(ast.literal_eval(value)) != repr(space[name])
            except ValueError:
                return True
    return True
