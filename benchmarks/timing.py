"""Ratios of things that do the same work, measured in turn in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def compare(
    cases: Mapping[str, Callable[[], float | None]],
    *,
    items: Mapping[str, int] | int,
    rounds: int = 3,
    limit: str | None = None,
) -> dict[str, float]:
    """Time cases in turn, and print the median of each an item and as a ratio to the first.

    Parameters
    ----------
    cases
        What to time; one that returns seconds has timed itself.
    items
        How many items a case works through.
    limit
        The case that is 1.0; the first unless given.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            started = time.perf_counter()
            said = case()
            seconds[name].append(time.perf_counter() - started if said is None else said)
    each = {
        name: statistics.median(found) / (items if isinstance(items, int) else items[name])
        for name, found in seconds.items()
    }
    base = each[limit or next(iter(cases))]
    print("| | ratio | µs an item here |\n| --- | --- | --- |")
    for name, one in each.items():
        print(f"| {name} | {one / base:.2f} | {one * 1e6:.1f} |")
    return each
