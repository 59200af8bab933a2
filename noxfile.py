"""Jobs that need another environment than `.venv`, or write one: `./dev NAME` runs them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False  # those not found are named at the end
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
OTHERS = [
    version
    for version in nox.project.python_versions(PROJECT)
    if version != "{}.{}".format(*sys.version_info)
]

PARALLEL = ("--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal")

# pyenv hides all interpreters but the chosen one behind stubs that fail.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
FOUND = [str(path) for version in OTHERS for path in PYENV.glob(f"{version}.*/bin")]
os.environ["PATH"] = os.pathsep.join([*FOUND, os.environ["PATH"]])


@nox.session(python=OTHERS)
def tests(session: nox.Session) -> None:
    """Run the tests on every other supported Python that is found."""
    session.install("--require-hashes", "-r", "requirements.lock")
    session.install("--no-build-isolation", "--no-deps", "-e", ".")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest direct dependencies that pyproject.toml allows."""
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Write the lock files; `./dev lock --upgrade` takes newer versions."""
    for given, written in (
        ("pyproject.toml --all-extras", "requirements.lock"),
        ("tests/peers.in", "tests/peers.lock"),
        ("docs/docs.in --constraints requirements.lock", "docs/docs.lock"),
    ):
        command = (
            f"{sys.executable} -m uv pip compile {given} --universal "
            "--python-version 3.11 --generate-hashes --no-header --no-annotate "
            f"--no-emit-index-url --no-emit-find-links --quiet -o {written}"
        )
        session.run(*command.split(), *session.posargs)
