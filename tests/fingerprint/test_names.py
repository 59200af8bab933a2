"""Names, scope by scope: held against Python's own symbol tables, and by what is not in them."""

from __future__ import annotations

import ast
import json
import symtable
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from databacked.fingerprint.code.scopes import names_of

STDLIB = Path(json.__file__).parents[1]
SOME = [
    *("argparse.py", "ast.py", "dataclasses.py", "enum.py", "functools.py", "inspect.py"),
    *("logging/__init__.py", "pathlib.py", "pathlib/__init__.py", "tarfile.py", "typing.py"),
    *("unittest/mock.py", "zipfile.py", "zipfile/__init__.py", "asyncio/base_events.py"),
]


def globals_by_symtable(table: symtable.SymbolTable) -> Iterator[tuple[int, str, set[str]]]:
    """Yield line, name and global names of each function, with those inside of it."""
    for child in table.get_children():
        inside = list(globals_by_symtable(child))
        names = {
            one.get_name() for one in child.get_symbols() if one.is_global() and one.is_referenced()
        }
        for _, _, more in inside:
            names |= more
        yield from inside
        yield child.get_lineno(), child.get_name(), names


@pytest.mark.parametrize("name", [name for name in SOME if (STDLIB / name).exists()])
def test_python_itself_finds_the_same_names(name):
    """Of every function and class: all that Python takes for global, but for annotations."""
    text = (STDLIB / name).read_text(encoding="utf-8")
    tree = ast.parse(text)
    for node in ast.walk(tree):  # annotations name nothing here
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    plain = ast.unparse(tree)
    tree = ast.parse(plain)
    found = names_of(tree)
    theirs: dict[tuple[int, str], list[set[str]]] = {}
    for line, what, names in globals_by_symtable(symtable.symtable(plain, name, "exec")):
        theirs.setdefault((line, what), []).append(names)
    checked = 0
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        line = min([node.lineno, *(one.lineno for one in node.decorator_list)])
        sets = theirs.get((line, node.name)) or theirs.get((node.lineno, node.name)) or []
        if len(sets) != 1:
            continue
        around = {
            one.id
            for part in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
            if part is not None
            for one in ast.walk(part)
            if isinstance(one, ast.Name)
        }
        mine = {use.chain[0] for use in found.pieces[id(node)].uses if use.origin is None}
        # What functions around bind is outside of this one, too: symbol tables call it free.
        # Of a class, Python itself brings `__class__` along.
        assert sets[0] - {"__class__"} <= mine | around, (node.name, sets[0] - mine)
        checked += 1
    assert checked > 3 or len(plain) < 10_000


def uses(text: str, name: str = "f") -> set[str]:
    """Return what a function takes from outside, as written."""
    tree = ast.parse(dedent(text))
    (node,) = [one for one in ast.walk(tree) if getattr(one, "name", None) == name]
    return {".".join(use.chain) for use in names_of(tree).pieces[id(node)].uses}


CASES: list[Any] = [
    ("def f(x, y=top):\n    return x + other", {"other"}),
    ("class A:\n    sigma = 1\n    def f(self, x=sigma):\n        return sigma", {"sigma"}),
    ("class f:\n    def go(self, sigma=sigma):\n        return sigma", {"sigma"}),
    (
        "class f:\n    @hook(order)\n    def go(self): ...\n    def b(self, order): ...",
        {"hook", "order"},
    ),
    ("def f(x):\n    return [y for y in rows if y.size > limit]", {"rows", "limit"}),
    ("def f(x):\n    y = 1\n    def g():\n        return y + z\n    return g", {"z"}),
    ("def f(x):\n    global total\n    total += x", {"total"}),
    ("def f(x: Hint) -> Other:\n    y: Third = x\n    return y", set()),
    ("def f(x):\n    return config.paths.root / name(x)", {"config.paths.root", "name"}),
    ("def f(x):\n    try:\n        pass\n    except E as e:\n        return e", {"E"}),
    ("def f(x):\n    match x:\n        case P(a, b=c):\n            return a, c", {"P"}),
    ("def f(x):\n    if (n := g(x)):\n        return n", {"g"}),
    ("def f(x):\n    return lambda y=k: y + m", {"k", "m"}),
    ("class f:\n    a = a\n    b = a", {"a"}),
    ("class f:\n    a = 1\n    b = [a for _ in r]", {"a", "r"}),
]


@pytest.mark.parametrize(("text", "found"), CASES)
def test_names_from_outside(text, found):
    assert uses(text) == found


def test_imports_inside_of_functions():
    """What they bind is followed by what was imported; unused ones are known, too."""
    tree = ast.parse(
        dedent(
            """
            def f(x):
                import lab.deep, plug
                from .near import scale as s
                def g():
                    return s(x)
                return lab.deep.go(g())
            """
        )
    )
    piece = names_of(tree).pieces[id(tree.body[0])]
    found = {
        (".".join(use.chain), use.origin.module, use.origin.name)
        for use in piece.uses
        if use.origin
    }
    assert found == {("lab.deep.go", "lab.deep", None), ("s", ".near", "scale")}
    assert {one.module for one in piece.imports if one not in piece.used_imports} == {"plug"}


def test_what_is_changed_outside():
    tree = ast.parse(
        dedent(
            """
            def f(self, x):
                CACHE[x] = 1
                Box.made += 1
                ROWS.append(x)
                local = {}
                local[x] = 2
                self.seen = x
                global count
                count = 3
            """
        )
    )
    piece = names_of(tree).pieces[id(tree.body[0])]
    assert {(".".join(one.chain), one.kind) for one in piece.writes} == {
        ("CACHE", "content"),
        ("Box.made", "attribute"),
        ("ROWS", "content"),
        ("count", "name"),
    }
    assert piece.stores == {"made", "seen"}
