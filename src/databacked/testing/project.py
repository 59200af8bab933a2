"""A project of its own for a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from databacked.project.root import Project, use_project


@contextmanager
def project(folder: Path, **settings: Any) -> Iterator[Path]:
    """Have all flows and tasks in a ``with`` block keep their results below a folder.

    Parameters
    ----------
    folder
        The root of the project; it need not hold a configuration, and none is read.
    **settings
        What ``databacked.toml`` would say, for example ``place="kept"``.

    Yields
    ------
    The folder.
    """
    with use_project(Project(Path(folder).absolute(), **settings)):
        yield Path(folder)
