"""What a piece of code takes from outside: names, imports, and what it changes."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Chain: TypeAlias = tuple[str, ...]
"""A name with its attributes, as written: ``config.SIGMA`` is ``("config", "SIGMA")``."""


@dataclass(frozen=True)
class Import:
    """What a name is bound to by an import inside a function."""

    module: str
    """As written, with dots for a relative one."""

    name: str | None
    """What is taken from it; None for the module itself."""

    bound: str
    """The name that it gets."""

    whole: bool
    """Whether ``bound`` is the module itself, and not the package that it lies in."""


@dataclass(frozen=True)
class Use:
    """A name that a piece of code takes from outside."""

    chain: Chain
    keys: tuple[str | int, ...] = ()
    """Written keys that follow: ``SIZES["nuclei"]["sigma"]``."""

    origin: Import | None = None
    """Where a function imports it by itself."""

    @property
    def text(self) -> str:
        """As written."""
        return ".".join(self.chain) + "".join(f"[{key!r}]" for key in self.keys)


@dataclass(frozen=True)
class Write:
    """Something outside that a piece of code changes when it runs."""

    chain: Chain
    """What is changed: a container, an object's attribute, a name."""

    kind: Literal["content", "attribute", "name"]


@dataclass
class Piece:
    """A function or a class, with all that stands in it; or a statement of a module."""

    uses: dict[Use, None] = field(default_factory=dict)
    hints: set[Chain] = field(default_factory=set)
    """Those of ``uses`` that stand in annotations alone."""

    imports: dict[Import, None] = field(default_factory=dict)
    """Imports inside of functions, used or not."""

    used_imports: set[Import] = field(default_factory=set)
    writes: set[Write] = field(default_factory=set)
    stores: set[str] = field(default_factory=set)
    """Attributes that it sets, or changes the content of: ``self.x = …``, ``self.y[1] = …``."""

    calls: list[ast.Call] = field(default_factory=list)
    """Calls whose result names alone do not tell."""

    spelled: set[str] = field(default_factory=set)
    """Attributes and short texts: what methods can be called by."""


def together(pieces: Sequence[Piece]) -> Piece:
    """Return several pieces as one."""
    if len(pieces) == 1:
        return pieces[0]
    whole = Piece()
    for one in pieces:
        whole.uses |= one.uses
        whole.hints |= one.hints
        whole.imports |= one.imports
        whole.used_imports |= one.used_imports
        whole.writes |= one.writes
        whole.stores |= one.stores
        whole.calls += one.calls
        whole.spelled |= one.spelled
    return whole


@dataclass
class Names:
    """What was found in a file."""

    pieces: dict[int, Piece]
    """By the identity of function, class and lambda nodes, of decorators of functions, and of
    statements of the module (those that stand in others belong to the outermost)."""

    functions: dict[tuple[int, str], list[ast.AST]]
    """Functions and lambdas by their first line (that of a decorator) and name."""

    classes: dict[str, list[ast.ClassDef]]
    """Classes by their qualified name."""

    late: dict[str, str]
    """Modules that a function imports for all others (``global torch``), by name."""

    bound: dict[str, list[ast.stmt]]
    """Statements of the module that bind a name, in their order."""

    imported: dict[str, list[Import | None]]
    """How names of the module are bound, where an import does so."""


def chain_of(node: ast.AST) -> Chain | None:
    """Return a name with its attributes; None for anything else."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else None


def chains(piece: Piece) -> Sequence[Use]:
    """Return the names of a piece in an order that depends on them alone."""
    return sorted(piece.uses, key=lambda one: (one.chain, repr(one.keys), repr(one.origin)))
