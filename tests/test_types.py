"""Type checkers over code of users: mypy and pyright, strictly over what is annotated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .test_docs import code_of

TYPED = Path(__file__).with_name("typed.py")
PAGES = ["tutorial", "seeing"]
SAYS = ("as_values(paths: list[Path]) -> list[int]:", "as_values(paths: list[Path]) -> list[str]:")
"""A flow that says what it returns, and one that does not."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with code of users: ``right``, ``wrong``, and that of pages of the docs."""
    folder = tmp_path_factory.mktemp("users")
    text = TYPED.read_text(encoding="utf-8")
    assert SAYS[0] in text
    texts = {"right": text, "wrong": text.replace(*SAYS)}
    texts |= {page: "\n\n".join(code_of(page)) for page in PAGES}
    for name, code in texts.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    return folder


def mypy(folder: Path, *arguments: str) -> set[str]:
    """Return the names of files in which mypy finds something."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--config-file=", *arguments]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert not said.stderr
    return {line.partition(".py:")[0] for line in said.stdout.splitlines()}


def pyright(peer: Path, folder: Path, mode: str, *names: str) -> set[str]:
    """Return the names of files in which pyright finds something."""
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": mode}))
    files = [str(folder / f"{name}.py") for name in names]
    command = [str(peer.with_name("basedpyright")), "--pythonpath", sys.executable, "--outputjson"]
    command += ["--project", str(folder), *files]
    said = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    assert said["summary"]["filesAnalyzed"] == len(names)
    errors = [one for one in said["generalDiagnostics"] if one["severity"] == "error"]
    return {Path(one["file"]).stem for one in errors}


def test_mypy_knows_what_annotated_flows_return(folder):
    """Strictly; and a mistake in them is one."""
    assert mypy(folder, "--strict", "right.py", "wrong.py") == {"wrong"}


def test_pyright_knows_what_annotated_flows_return(folder, peer):
    assert pyright(peer, folder, "strict", "right", "wrong") == {"wrong"}


def test_the_code_of_the_docs_is_typed(folder, peer):
    """As it stands there, mostly without annotations: no checker complains of it."""
    assert mypy(folder, "--check-untyped-defs", *(f"{page}.py" for page in PAGES)) == set()
    assert pyright(peer, folder, "standard", *PAGES) == set()
