"""Futures inside of values: found, checked, replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from databacked.graph.copies import parts_of, replaced
from databacked.graph.nodes import Future, Futures

# ---------------------------------------------------------------- reading arguments


def futures_in(value: Any) -> list[Future]:
    """Return the futures inside a value, wherever copies look: also those in objects and tables."""
    found: list[Future] = []
    for one in parts_of(value, (Future, Futures)):
        whole = one.whole() if isinstance(one, Futures) else one
        found += whole if isinstance(whole, list) else [whole]
    return found


def check_futures(value: Any) -> None:
    """Raise `FingerprintError` if a value holds futures that cannot be replaced."""
    replaced(value, (Future, Futures), lambda one: one)


def replace_futures(
    value: Any,
    known: Callable[[Future], Any],
    answer: Callable[[Futures, list[Any]], Any] = lambda _, values: values,
) -> Any:
    """Return `value` with every future inside it replaced.

    Parameters
    ----------
    answer
        Makes something of the list that stands for the answer of a map.
    """

    def replace(one: Any) -> Any:
        if isinstance(one, Future):
            return known(one)
        whole = one.whole()
        return answer(one, known(whole) if isinstance(whole, Future) else [*map(known, whole)])

    return replaced(value, (Future, Futures), replace)
