"""A fixture for whole flows: a project of its own for each test.

pytest loads this module at its start, whatever the tests are about: nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def databacked_project(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Run flows and tasks of a test in an empty project: quiet, with a cache of the tests' own.

    Returns
    -------
    The project's root, which is the current folder too.
    """
    from databacked.fingerprint import files
    from databacked.flow import QUIET
    from databacked.project.root import Project, use_project

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(QUIET, "1")
    monkeypatch.setenv(files.CACHE, str(tmp_path_factory.getbasetemp() / "databacked-cache"))
    # What this process remembers of files may be of the user's own cache.
    monkeypatch.setattr(files, "_memory", None)
    with use_project(Project(tmp_path.absolute())):
        yield tmp_path
