"""What an import costs, and what it gives."""

from __future__ import annotations

import subprocess
import sys

import pytest

import databacked

HEAVY = {"PIL", "dask", "pandas", "prefect", "pyarrow", "quilt3", "tifffile", "zarr"}


def imported_by(statement: str) -> set[str]:
    """Return the top-level modules that a statement imports in a fresh process."""
    program = f"import sys; old = set(sys.modules); {statement}; print(*set(sys.modules) - old)"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in answer.stdout.split()}


def test_the_package_alone_imports_no_third_party():
    """`import databacked` costs what the standard library costs."""
    assert imported_by("import databacked") - sys.stdlib_module_names == {"databacked"}


def test_task_and_flow_import_nothing_heavy():
    """A run can start before pandas and dask are imported."""
    assert not imported_by("from databacked import flow, task") & HEAVY


@pytest.mark.parametrize("name", databacked.__all__)
def test_a_public_name_is_there(name):
    """Each name of `__all__` is defined where the table says."""
    assert getattr(databacked, name).__name__ == name


@pytest.mark.parametrize("first", ["import databacked.task", "from databacked import flow", ""])
def test_task_is_the_decorator_whoever_imports_its_module_first(first):
    """A submodule of the same name never takes a public name's place."""
    program = f"{first}\nfrom databacked import task\nimport databacked\n" + (
        "assert task is databacked.task is __import__('sys').modules['databacked.task'].task"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error():
    """A misspelt name says what is missing."""
    with pytest.raises(AttributeError, match="no attribute 'tusk'"):
        _ = databacked.tusk  # type: ignore[attr-defined]
