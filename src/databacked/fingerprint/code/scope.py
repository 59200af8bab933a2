"""What a piece of code can see while it runs; what names of modules and values mean there."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from databacked.fingerprint.code.ownership import files_of
from databacked.fingerprint.code.sources import Source, source_of


@dataclass(frozen=True)
class Scope:
    """The names that a piece of code can see: its closure, then its module."""

    space: Mapping[str, Any]
    cells: Mapping[str, Any]
    source: Source | None

    @property
    def file(self) -> str:
        """The file that the names of the module stand in."""
        return str(self.space.get("__file__") or "<notebook>")


def scope_of(module: ModuleType) -> Scope:
    """Return what the module level of a module can see."""
    return Scope(vars(module), {}, source_of(next(iter(files_of(module)), "")))


def absolute(module: str, space: Mapping[str, Any]) -> str:
    """Return the name of a module without leading dots."""
    try:
        return importlib.util.resolve_name(module, space.get("__package__") or "")
    except ImportError:
        return ""


def unwrapped(value: Any) -> Any:
    """Return the plain function of a task or flow."""
    while type(value).__module__.partition(".")[0] == "databacked" and hasattr(value, "fn"):
        value = value.fn
    return value
