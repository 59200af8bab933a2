"""What a run stands on besides its code: installed packages, and who runs it."""

from __future__ import annotations

import getpass
from importlib.metadata import distributions


def packages() -> dict[str, str]:
    """Return name and version of every installed package."""
    found: dict[str, str] = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(name, one.version)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def user_name() -> str:
    """Return who runs this process; ``?`` where nobody can tell."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "?"
