"""Which installed packages are links to a folder that people work in, or were copied from one."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

from databacked.callables import is_library


class Installed(NamedTuple):
    """What was installed from folders of this machine."""

    linked: tuple[str, ...]
    """Real folders of editable installs, each with a separator at its end."""

    copied: frozenset[str]
    """Import names of packages that were installed from a folder as they stood there."""


def installed() -> Installed:
    """Return what was installed from folders; looked up anew once an environment has changed."""
    return _installed(tuple((path, _changed(path)) for path in sys.path))


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=4)
def _installed(paths: tuple[tuple[str, int], ...]) -> Installed:
    linked: set[str] = set()
    copied: set[str] = set()
    for one in importlib.metadata.distributions(path=[path for path, _ in paths]):
        try:
            said = json.loads(one.read_text("direct_url.json") or "{}")
            folder = url2pathname(urlsplit(said.get("url", "")).path)
            info = said.get("dir_info")
        except (OSError, ValueError, AttributeError):
            continue
        if info is None or not folder:
            continue
        if info.get("editable"):
            linked.add(folder)
        else:
            copied.update(_import_names(one))
    for path, _ in paths:
        # Older ways of linking (setup.py develop, conda develop) leave nothing but these.
        linked.update(_links(path) if is_library(path) else ())
    return Installed(
        tuple(sorted(os.path.realpath(one) + os.sep for one in linked)), frozenset(copied)
    )


def _import_names(one: importlib.metadata.Distribution) -> Iterator[str]:
    for file in one.files or ():
        top = file.parts[0]
        if len(file.parts) > 1 or top.endswith((".py", ".so")):
            yield top.partition(".")[0]


def _links(site: str) -> Iterator[str]:
    try:
        names = [name for name in os.listdir(site) if name.endswith((".pth", ".egg-link"))]
    except OSError:  # nobody has to be able to read all of the path
        return
    for name in names:
        try:
            with open(os.path.join(site, name), encoding="utf-8") as opened:
                lines = opened.read().splitlines()
        except (OSError, ValueError):
            continue
        folders = [line.strip() for line in lines if os.path.isabs(line)]
        yield from (one for one in folders if os.path.isdir(one) and not is_library(one))
