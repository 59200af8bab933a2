"""The table of a map before it runs: parameters, and nothing of what became of the items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import pandas as pd

BECAME = ("state", "path", "seconds", "nbytes")
"""How the names of columns begin that only a run can fill."""


class KnownTable(pd.DataFrame):
    """A table that stops who asks for a column which only a run can fill."""

    _metadata = ["_asked"]  # noqa: RUF012  what pandas calls attributes of its own
    _asked: Callable[[], NoReturn]

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def __getitem__(self, key: Any) -> Any:
        names = key if isinstance(key, list) else [key]
        if any(_is_unknown(name, self.columns) for name in names):
            self._asked()
        return super().__getitem__(key)

    def __getattr__(self, name: str) -> Any:  # type: ignore[misc]
        if _is_unknown(name, self.columns):
            self._asked()
        return super().__getattr__(name)


def _is_unknown(name: Any, columns: Any) -> bool:
    return isinstance(name, str) and name.startswith(BECAME) and name not in columns


def known_table(rows: Sequence[Mapping[str, Any]], asked: Callable[[], NoReturn]) -> pd.DataFrame:
    """Return the parameters of items as a table.

    Parameters
    ----------
    asked
        Called, and does not return, where what became of an item is asked for.
    """
    table = KnownTable(rows, dtype=None if rows else object)
    object.__setattr__(table, "_asked", asked)
    return table
