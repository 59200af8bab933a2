"""What every test starts from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from databacked import testing

# No deadline: how long an example takes says more about the machine than about the code.
settings.register_profile("databacked", deadline=None)
settings.load_profile("databacked")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Keep the tests out of the user's cache, also in the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of its own, in a folder of its own, for flows and tasks of one test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABACKED_QUIET", "1")
    with testing.project(tmp_path):
        yield tmp_path
