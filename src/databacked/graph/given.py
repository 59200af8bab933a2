"""What is known of the items of a map before any of them runs: their parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from databacked.graph.futures import Future
from databacked.graph.inputs import Column, Element, Plain
from databacked.graph.nodes import Node


def parameters_of(node: Node, row: int) -> dict[str, Any]:
    """Return the parameters of an item that are values, not results of tasks."""
    known = {
        name: arg.given(row)
        for name, arg in node.args.items()
        if isinstance(arg, Plain | Column | Element)
    }
    return {name: value for name, value in known.items() if type(value) is not Future}


def path_columns(outputs: Iterable[str]) -> list[str]:
    """Return the names of columns that hold an item's files."""
    return [f"path_{name}" for name in outputs] or ["path"]


def free_name(name: str, node: Node) -> str:
    """Return a name for a column that is no parameter's."""
    while name in node.args:
        name += "_"
    return name
