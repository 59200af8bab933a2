"""Built-in and private plugs, found by the same entry points."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, entry_points
from typing import Any

from databacked.errors import ProjectError, did_you_mean


@cache
def find(kind: str, name: str) -> Any:
    """Return what an installed package offers under the group ``databacked.<kind>``.

    Parameters
    ----------
    kind
        ``runners``, ``serializers`` or ``storage``.

    Raises
    ------
    ProjectError
        If nothing of this name is installed; the known names are listed.
    """
    group = f"databacked.{kind}"
    try:  # what is built in needs no look at all the packages that are installed
        (own,) = distribution("databacked").entry_points.select(group=group, name=name)
    except (PackageNotFoundError, ValueError):
        pass
    else:
        return own.load()
    offered = entry_points(group=group)
    for entry in offered:
        if entry.name == name:
            return entry.load()
    known = sorted({entry.name for entry in offered})
    raise ProjectError(
        f"{name!r} is none of the {kind} that are installed{did_you_mean(name, known)}. "
        f"Known are {', '.join(known) or 'none: is databacked installed?'}."
    )
