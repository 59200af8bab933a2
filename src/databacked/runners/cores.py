"""How many cores there are, and how many threads libraries may start on them."""

from __future__ import annotations

import os
import threading
from typing import Any

from threadpoolctl import threadpool_limits


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def capped_threads(number: int) -> dict[str, str]:
    """Return the environment of a worker whose libraries start only so many threads of their own.

    What the user has set stays.
    """
    names = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "VECLIB_MAXIMUM")
    variables = [
        f"{name}_THREADS" if name.endswith("MAXIMUM") else f"{name}_NUM_THREADS" for name in names
    ]
    return {name: str(number) for name in variables if name not in os.environ}


class Caps:
    """How many threads libraries may start in this process, as long as a run has threads.

    Runs may overlap: the first one lowers it, and the last one lifts it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._limits: Any = None

    def lower(self, number: int) -> None:
        with self._lock:
            self._runs += 1
            if self._runs == 1:
                self._limits = threadpool_limits(number)

    def lift(self) -> None:
        with self._lock:
            self._runs -= 1
            if not self._runs:
                self._limits.restore_original_limits()


caps = Caps()
