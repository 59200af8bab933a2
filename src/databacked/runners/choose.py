"""Which runner runs what: an object, a name, the project's own, or one a task."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from databacked.errors import GraphError
from databacked.plugins import find
from databacked.project.root import Project
from databacked.runners.base import Runner

OTHERS = "*"
"""Stands for all tasks that are not named."""


def runners_of(given: Any, project: Project) -> dict[str, Runner]:
    """Return runners by the names of their tasks; ``*`` is that of all others.

    Parameters
    ----------
    given
        What ``runner=`` says: one for all, or a dict by task.

    Raises
    ------
    GraphError
        If one is no runner, or a name of a task is none.
    """
    if not isinstance(given, Mapping):
        return {OTHERS: _runner(given, project)}
    odd = [name for name in given if not isinstance(name, str)]
    if odd:
        raise GraphError(
            f"runner={{{odd[0]!r}: …}}: names of tasks were expected, for example "
            "{'segment': ProcessRunner(4), '*': 'threads'}; '*' stands for all others."
        )
    made: dict[int | str, Runner] = {}
    found: dict[str, Runner] = {}
    for name, one in {OTHERS: None, **given}.items():
        said = project.runner if one is None else one
        key = said if isinstance(said, str) else id(said)
        if key not in made:  # what is one runner to the user is one here, too
            made[key] = _runner(said, project)
        found[name] = made[key]
    return found


def _runner(given: Any, project: Project) -> Runner:
    if isinstance(given, Runner):
        return copy.copy(given)  # flows of several threads may use one at the same time
    if hasattr(given, "scheduler_info") or hasattr(given, "scheduler_address"):
        return _named("dask", given)
    name = project.runner if given is None else given
    if isinstance(name, str):
        return _named("dask", name) if "://" in name else _named(name)
    raise GraphError(
        f"runner={given!r}: a Runner was expected, for example ProcessRunner(workers=4), or one of "
        '"threads", "processes", "dask", "calling", a Client or a cluster of Dask, the address of '
        "its scheduler, or a dict of these by task."
    )


def _named(name: str, *given: Any) -> Runner:
    """Return a new runner of an installed package."""
    try:
        return find("runners", name)(*given)  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        raise GraphError(
            f"runner={name!r} needs the package {error.name!r}, which is not installed: "
            f"pip install 'databacked[{name}]' brings what is built in."
        ) from None
