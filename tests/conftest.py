"""What every test starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# By name, so that it is there with and without the entry point of an installed package.
from databacked.pytest_plugin import databacked_project as databacked_project

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
def project(databacked_project: Path) -> Path:
    """A project of its own, in a folder of its own, for flows and tasks of one test."""
    return databacked_project


PEERS = Path(__file__).parents[1] / ".peers"


@pytest.fixture(scope="session")
def peer() -> Path:
    """The Python that has other programs (napari, scikit-image), see ``tests/peers.lock``."""
    for python in (PEERS / "bin/python", PEERS / "Scripts/python.exe"):
        if python.exists():
            return python
    pytest.fail(f"{PEERS} is missing: `./dev test` installs what tests/peers.lock names into it.")
