"""What the docs show is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def code_of(page: str) -> list[str]:
    """Return the blocks of Python of a page."""
    return BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("page", "times"), [("tutorial", 2), ("extending", 1), ("coming-from", 2), ("seeing", 1)]
)
def test_the_code_of_a_page_runs(page, times, tmp_path):
    """The blocks of a page, one after another, in a project of its own; a script runs twice."""
    blocks = code_of(page)
    (tmp_path / "databacked.toml").touch()
    (tmp_path / "page.py").write_text("\n".join(blocks), encoding="utf-8")
    assert blocks
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_tests_of_the_page_on_testing_pass(tmp_path):
    """Its blocks are a file of tests."""
    blocks = code_of("testing")
    (tmp_path / "test_page.py").write_text("\n".join(blocks), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "databacked.pytest_plugin"]
    done = subprocess.run(
        [*command, "-W", "error", "test_page.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_links_between_pages_lead_somewhere():
    """Every relative link of the readme and the docs names a file."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_script_in_the_readme_is_the_example():
    """Every line of the first screen's script stands in the example, up to what is left out."""
    shown = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0]
    script = (ROOT / "examples/scratch_assay/workflow.py").read_text(encoding="utf-8")
    for name in re.findall(r"def (\w+)\(", shown):
        assert f"def {name}(" in script
    for line in re.findall(r"^    \w+ = \w+\.map\(.*$", shown, re.MULTILINE):
        assert line in script
