"""Parsed files: where functions and classes stand, and whether what runs is what stands there."""

from __future__ import annotations

import ast
import gc
import importlib.machinery
import inspect
import linecache
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FunctionType

from databacked.errors import FingerprintError
from databacked.fingerprint.code.names import Names, Piece
from databacked.fingerprint.code.normal_form import normal_form
from databacked.fingerprint.code.scopes import names_of
from databacked.project.notebook import is_cell, is_timed, timed_cells

DEEPEST = 20_000
"""Calls inside of one another that a syntax tree may take."""

_STARTED = time.time() - 60
"""Files that were changed later may not be what was loaded from them."""


@dataclass
class Source:
    """A parsed file, with what was found in it."""

    file: str
    tree: ast.Module
    names: Names
    compiled: dict[str, list[CodeType]] | None
    """Code of the file as it stands now, by name, where it may not be what was loaded."""

    _forms: dict[tuple[int, bool, tuple[int, ...]], str] = field(default_factory=dict)

    def piece(self, node: ast.AST) -> Piece:
        """Return what a function, a class or a statement of the module takes from outside."""
        return self.names.pieces[id(node)]

    def form(self, node: ast.AST, *, without: tuple[ast.AST, ...] = (), named: bool = True) -> str:
        """Return the normal form of a node; made out once."""
        key = (id(node), named, tuple(map(id, without)))
        found = self._forms.get(key)
        if found is None:
            with _deeply():
                found = self._forms[key] = normal_form(node, without=without, named=named)
        return found


_sources: dict[str, tuple[tuple[int, ...], Source | None]] = {}

_looked: dict[str, Source | None] | None = None
"""Files that one walk looked at so far: each is asked once whether it is still the same."""


@contextmanager
def one_look() -> Iterator[None]:
    """Look at each file once within; one thread at a time.

    Nothing that is made here is garbage, so nobody needs to look for some meanwhile: with many
    syntax trees that takes longer than all else.
    """
    global _looked
    _looked, collects = {}, gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        _looked = None
        if collects:
            gc.enable()


@contextmanager
def _deeply() -> Iterator[None]:
    """Let a walk through a syntax tree go deep: an ``elif`` is one level more than the last one.

    No code of others runs meanwhile, whose endless recursion would overflow the stack.
    """
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def source_of(file: str) -> Source | None:
    """Return a parsed file, or cell; None if it has no source."""
    looked = _looked
    if looked is None:
        return _source_of(file)
    if file not in looked:
        looked[file] = _source_of(file)
    return looked[file]


def _source_of(file: str) -> Source | None:
    cell = is_cell(file)
    if cell:
        lines = linecache.getlines(file)
        key: tuple[int, ...] = (len(lines), hash("".join(lines)))
    else:
        try:
            info = os.stat(file)
        except OSError:
            return None
        key = (info.st_mtime_ns, info.st_ctime_ns, info.st_size)
    known = _sources.get(file)
    if known is not None and known[0] == key:
        return known[1]
    try:
        if cell:
            text: str | bytes = "".join(linecache.getlines(file))
        else:
            with open(file, "rb") as opened:
                text = opened.read()
        with _deeply():
            found = _parse(text, file) if text else None
    except (OSError, SyntaxError, ValueError, RecursionError):
        found = None
    _sources[file] = (key, found)
    return found


def _parse(text: str | bytes, file: str) -> Source:
    tree = ast.parse(text, file)
    compiled: dict[str, list[CodeType]] | None = None
    if not is_cell(file) and _came(file) > _STARTED:
        compiled = {}
        for one in _codes(compile(tree, file, "exec", dont_inherit=True)):
            compiled.setdefault(one.co_name, []).append(one)
    return Source(file, tree, names_of(tree), compiled)


def _came(file: str) -> float:
    """Return since when a file stands there as it is: what is moved there keeps its own time."""
    info = os.stat(file)
    return max(info.st_mtime, info.st_ctime)


def node_of(function: FunctionType) -> tuple[Source, ast.AST] | None:
    """Return where a function stands; None if that cannot be told.

    Raises
    ------
    FingerprintError
        If the file was changed since it was imported: what runs is not what stands there.
    """
    code = function.__code__
    timed = is_timed(code.co_filename)
    source = _timed_source(code) if timed else source_of(code.co_filename)
    if source is None:
        return None
    module = sys.modules.get(function.__module__ or "")
    # Others than Python's own loader (pytest's) compile what they made of the source.
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    plain = loader is None or type(loader) is importlib.machinery.SourceFileLoader
    if source.compiled is None or not plain:
        node = _node_of(code, source)
        return None if node is None else (source, node)
    same = [one for one in source.compiled.get(code.co_name, ()) if _alike(one, code)]
    if not same:
        raise FingerprintError(
            f"{code.co_filename} was changed since {function.__qualname__} was loaded from "
            "it: what runs is not what stands there. Restart Python (or reload the module, "
            "and import from it again), and run again."
        )
    # What stands above may have become longer since.
    moved = code.co_firstlineno not in [one.co_firstlineno for one in same]
    node = _node_of(same[0] if moved else code, source)
    return None if node is None else (source, node)


def node_of_quietly(function: FunctionType) -> tuple[Source, ast.AST] | None:
    """Return where a function stands, as far as that can be told; says nothing of changes."""
    try:
        return node_of(function)
    except FingerprintError:
        return None


def _timed_source(code: CodeType) -> Source | None:
    """Return the cell below ``%%time`` that a function stands in: all have one file name."""
    for text in timed_cells():
        try:
            source = _parse(text, code.co_filename)
            compiled = compile(source.tree, code.co_filename, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        for one in _codes(compiled):
            same = (one.co_firstlineno, one.co_name) == (code.co_firstlineno, code.co_name)
            if same and _alike(one, code):
                return source
    return None


def _codes(code: CodeType) -> Iterator[CodeType]:
    waiting = [code]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += [inner for inner in one.co_consts if isinstance(inner, CodeType)]


def _alike(one: CodeType, other: CodeType) -> bool:
    """Whether two code objects do the same, wherever they stand in their files."""
    return (
        one.co_code == other.co_code
        and one.co_names == other.co_names
        and len(one.co_consts) == len(other.co_consts)
        and all(
            _alike(a, b)
            if isinstance(a, CodeType) and isinstance(b, CodeType)
            else told(a) == told(b)
            for a, b in zip(one.co_consts, other.co_consts, strict=True)
        )
    )


def told(constant: object) -> object:
    """Return a constant of a code object so that equal ones are equal, in every process."""
    if isinstance(constant, frozenset):
        return "frozenset", tuple(sorted(repr(told(one)) for one in constant))
    if isinstance(constant, tuple):
        return "tuple", tuple(map(told, constant))
    if isinstance(constant, CodeType):
        return (
            "code",
            constant.co_code.hex(),
            constant.co_names,
            tuple(map(told, constant.co_consts)),
        )
    return repr(constant)


def _node_of(code: CodeType, source: Source) -> ast.AST | None:
    found = source.names.functions.get((code.co_firstlineno, code.co_name), [])
    if len(found) == 1 or not found:
        return found[0] if found else None
    places = [(p[0], p[2]) for p in code.co_positions() if p[0] and p[2] is not None and p[3]]
    if not places:  # Python 3.12 says of no constant that is returned where it stands
        return next((node for node in found if _is_of(node, code)), found[0])
    best, size = found[0], float("inf")
    for node in found:
        body = getattr(node, "body", None)
        if not isinstance(body, ast.expr):
            continue
        start = (body.lineno, body.col_offset)
        end = (body.end_lineno or 0, body.end_col_offset or 0)
        width = (end[0] - start[0]) * 10_000 + end[1] - start[1]
        if all(start <= place <= end for place in places[1:] or places) and width < size:
            best, size = node, width
    return best


def _is_of(node: ast.AST, code: CodeType) -> bool:
    """Whether a lambda that names nothing does what a code object does."""
    if not isinstance(node, ast.Lambda):
        return False
    given, none = node.args, ast.Constant(None)
    bare = ast.Lambda(
        ast.arguments(
            posonlyargs=given.posonlyargs,
            args=given.args,
            vararg=given.vararg,
            kwonlyargs=given.kwonlyargs,
            kw_defaults=[one and none for one in given.kw_defaults],
            kwarg=given.kwarg,
            defaults=[none for _ in given.defaults],
        ),
        node.body,
    )
    compiled = compile(
        ast.fix_missing_locations(ast.Expression(ast.copy_location(bare, node))), "", "eval"
    )
    return any(
        _alike(one, code) and _arguments(one) == _arguments(code)
        for one in compiled.co_consts
        if isinstance(one, CodeType)
    )


def _arguments(code: CodeType) -> tuple[object, ...]:
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    takes_more = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    return *counts, takes_more, code.co_varnames
