"""Rows of a table, whatever kind of table it is, and what they are called in messages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from databacked.datasets.layout import SHOWN


class Rows:
    """Names rows by label and position."""

    def __init__(self, column: pd.Series[Any]) -> None:
        self.index, self.cells = column.index, column

    def named(self, positions: Sequence[int]) -> str:
        """Return how many rows there are, and the first of them with what stands there."""
        shown = [
            f"row {_label(self.index[p])!r} (position {p}): {_short(self.cells.iloc[p])}"
            for p in positions[:SHOWN]
        ]
        more = len(positions) - SHOWN
        return f"{len(positions):,} row(s): {'; '.join(shown)}" + (
            f"; and {more:,} more" if more > 0 else ""
        )


def _label(label: Any) -> Any:
    """Return a row's label as a user writes it: 2, not np.int64(2)."""
    if isinstance(label, tuple):
        return tuple(map(_label, label))
    return label.item() if isinstance(label, np.number) else label


def _short(cell: Any) -> str:
    text = repr(_label(cell))
    return text if len(text) <= 60 else text[:57] + "…"


def is_nothing(cell: Any) -> bool:
    """Whether a cell holds no value."""
    return (
        cell is None
        or cell is pd.NA
        or cell is pd.NaT
        or (isinstance(cell, float) and math.isnan(cell))
    )


def as_rows(values: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *rows = [
        [" ".join(str(cell).replace("|", "\\|").split()) for cell in row] for row in values
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def column_names(columns: Any) -> list[str]:
    """Return names of columns as texts, as those of the table are."""
    return [columns] if isinstance(columns, str) else [str(name) for name in columns or ()]
