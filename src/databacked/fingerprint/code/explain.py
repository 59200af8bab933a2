"""What differs between two fingerprints, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from databacked.project.modules import file_and_name


def explain(old: Any, new: Any) -> str:
    """Return in words what differs between two fingerprints, the most basic symbols first."""
    before, after = old.symbols, new.symbols
    moved = _moved(before, after)
    said: list[tuple[int, str]] = []
    for symbol, digest in after.items():
        known = moved.get(symbol, symbol)
        if known not in before:
            said.append((2, f"{_shown(symbol)} is new"))
        elif before[known] != digest:
            was, now = old.values.get(known), new.values.get(symbol)
            detail = f" ({was} → {now})" if was and now and was != now else ""
            said.append((0 if detail else 1, f"{_shown(symbol)} changed{detail}"))
    left = after.keys() | moved.values()
    said += [(3, f"{_shown(symbol)} is gone") for symbol in before if symbol not in left]
    if moved and any(rank == 0 for rank, _ in said):
        # What only reaches what moved looks changed, too.
        said = [one for one in said if one[0] == 0]
    if any(rank < 2 for rank, _ in said):
        # A name that appears or goes is a consequence of the change that uses it.
        said = [one for one in said if one[0] < 2]
    texts = [text for _, text in sorted(said)]
    if not texts:
        return "the rules of the fingerprint changed"
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def _moved(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return for each symbol of a renamed file the one that it was, where that can be told."""
    gone: dict[str, list[str]] = {}
    for symbol in before.keys() - after.keys():
        gone.setdefault(file_and_name(symbol)[1], []).append(symbol)
    found = {
        symbol: gone.get(file_and_name(symbol)[1], []) for symbol in after.keys() - before.keys()
    }
    return {symbol: were[0] for symbol, were in found.items() if len(were) == 1}


def _shown(symbol: str) -> str:
    file, name = file_and_name(symbol)
    return f"{file.removesuffix('.py').replace('/', '.')}.{name}".lstrip(".")
