"""Edits of whole packages that change nothing that runs: formatters, docstrings, other places."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parents[2] / ".peers" / "bin" / "python"


def _run(*command: object) -> None:
    subprocess.run([*map(str, command)], check=True, capture_output=True)


def _each(change: Callable[[ast.Module], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        for file in folder.rglob("*.py"):
            tree = ast.parse(file.read_bytes())
            change(tree)
            file.write_text(ast.unparse(ast.fix_missing_locations(tree)) + "\n", encoding="utf-8")

    return edit


def _no_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        body: Any = getattr(node, "body", None)
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = body[1:] or [ast.Pass()]


def _no_annotations(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None


def _windows_lines(folder: Path) -> None:
    for file in folder.rglob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


EDITS: dict[str, Callable[[Path], None]] = {
    "black": lambda folder: _run(PEERS, "-m", "black", "-q", folder),
    "ruff": lambda folder: _run(sys.executable, "-m", "ruff", "format", "--isolated", folder),
    "isort": lambda folder: _run(PEERS, "-m", "isort", "-q", "--profile", "black", folder),
    "unparsed": _each(lambda tree: None),
    "no docstrings": _each(_no_docstrings),
    "no annotations": _each(_no_annotations),
    "windows lines": _windows_lines,
    "elsewhere": lambda folder: None,
}
"""What is done to a package that lies in another folder than before."""
