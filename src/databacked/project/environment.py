"""What a run stands on besides its code: installed packages, and who runs it."""

from __future__ import annotations

import getpass
import os
import re
import sys
from functools import cache

_INSTALLED = re.compile(r"(.+?)-(\d[^-]*)(?:-.*)?\.(?:dist-info|egg-info)").fullmatch
"""A folder that an installer left, which says name and version:
https://packaging.python.org/en/latest/specifications/recording-installed-packages/"""


def packages() -> dict[str, str]:
    """Return name and version of every package.

    Names are normalized (https://peps.python.org/pep-0503/#normalized-names). They are read off the
    folders that installers leave: opening their metadata takes a hundred times as long.
    """
    found: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path):
        for name, version in _installed_in(folder or os.curdir):
            found.setdefault(name, version)  # the first one is imported
    return dict(sorted(found.items()))


def _installed_in(folder: str) -> tuple[tuple[str, str], ...]:
    try:
        return _named_in(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return ()  # a path that is not there, or a zip


@cache
def _named_in(folder: str, mtime_ns: int) -> tuple[tuple[str, str], ...]:
    found = filter(None, map(_INSTALLED, sorted(os.listdir(folder))))
    return tuple((re.sub(r"[-_.]+", "-", one[1]).lower(), one[2]) for one in found)


def user_name() -> str:
    """Return who runs this process; ``?`` where nobody can tell."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "?"
