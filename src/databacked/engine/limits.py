"""What items share while they run: a task's ``limit=``, and ``resources=`` of the runner."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping

from databacked.errors import GraphError
from databacked.graph.step import Step
from databacked.runners.base import Runner
from databacked.runners.choose import OTHERS


class Limits:
    """How much of everything there is, and how much is taken.

    Parameters
    ----------
    resources
        What the runner says it has. Of what it does not name there is one; of ``memory`` as many
        bytes as this machine has.
    """

    def __init__(self, resources: Mapping[str, float]) -> None:
        self._all: dict[str, float] = dict(resources)
        self._taken: Counter[str] = Counter()

    def allow(self, task: Step) -> None:
        """Take in what a task says.

        Raises
        ------
        GraphError
            If one item asks for more than there is: it could never run.
        """
        if task.options.limit is not None:
            self._all[f"limit of {task.name}"] = task.options.limit
        for name, amount in task.options.resources.items():
            there = self._all.setdefault(name, _memory() if name.lower() == "memory" else 1)
            if amount > there:
                raise GraphError(
                    f"{task.name}: resources={{{name!r}: {amount:g}}} for each item, and the "
                    f"runner has {there:g}. Say how much there is, for example "
                    f"ThreadRunner(resources={{{name!r}: {amount:g}}})."
                )

    def fit(self, needs: Mapping[str, float]) -> bool:
        """Whether so much is left."""
        return all(self._taken[name] + need <= self._all[name] for name, need in needs.items())

    def take(self, needs: Mapping[str, float]) -> None:
        """Take a share."""
        self._taken.update(needs)

    def give_back(self, needs: Mapping[str, float]) -> None:
        """Give a share back."""
        self._taken.subtract(needs)


def allowing(runners: Mapping[str, Runner]) -> Callable[[Step], None]:
    """Return what takes in what tasks say, each with its own runner, and raises as `allow` does."""
    limits = {id(one): Limits(one.resources) for one in runners.values()}
    return lambda task: limits[id(runners.get(task.name, runners[OTHERS]))].allow(task)


def _memory() -> float:
    """Return the bytes of memory of this machine."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return float("inf")
