"""Which notebook a cell stands in, what its source is, and how people call it.

Frontends say where the notebook lies in ways of their own, or not at all. Where nobody says it, it
is the one beside the kernel whose cells hold all that was run, as when a notebook is run as a whole
by nbclient, nbconvert or papermill.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

UNNAMED = "notebook"
"""Stands for the file of a notebook that cannot be found, and for what is typed in elsewhere."""


_CELL = re.compile(r"(.*[\\/])?ipykernel_\d+[\\/][^\\/]+|<ipython-input-.*>|<timed exec>")


_TIMED = "<timed exec>"


def is_cell(file: str) -> bool:
    """Whether a code object's file is a cell, or something else that is no file.

    A debugger writes cells to files, without what IPython makes of their magics.
    """
    return not os.path.isfile(file) or looks_like_cell(file)


def looks_like_cell(file: str) -> bool:
    """Whether a file name is one that IPython gives to cells, in whatever process."""
    return _CELL.fullmatch(file) is not None


def is_timed(file: str) -> bool:
    """Whether a file name is the one that all cells below ``%%time`` share."""
    return file == _TIMED


def notebook_file() -> Path | None:
    """Return the file of the notebook whose kernel this process is; None if it cannot be told."""
    shell = _kernel()
    if shell is None:
        return None
    # What is said is what was true when the kernel started: after a rename the file is looked for.
    for file in _said(shell):
        if file.is_file():
            return file
    run = {cell.strip() for cell in shell.history_manager.input_hist_raw} - {""}
    beside = Path(shell.starting_dir).glob("*.ipynb")
    holding = [file for file in beside if run and run <= cells_of(file)]
    # What was made from a notebook ("cells.nbconvert.ipynb", "cells-Copy1.ipynb") has more letters.
    return min(holding, key=lambda file: (len(file.name), file.name), default=None)


def _said(shell: Any) -> list[Path]:
    """Return what VS Code and Jupyter's server say of the notebook's file."""
    said = shell.user_ns.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")
    return [
        Path(shell.starting_dir, name)
        for name in said
        if isinstance(name, str) and name.endswith(".ipynb")
    ]


def notebook_folder() -> Path:
    """Return the folder of the notebook, wherever a cell has changed to; else the current one."""
    file = notebook_file()
    shell = _kernel()
    return file.parent if file is not None else Path(shell.starting_dir if shell else os.getcwd())


def notebook_name(root: Path) -> str:
    """Return the notebook as records know it: its file, seen from the project root."""
    file, shell, top = notebook_file(), _kernel(), os.path.realpath(root)
    if file is None and shell is not None:
        # A name that it had is better than none: who has the new one inherits (see below).
        had = (one for one in _said(shell) if os.path.realpath(one).startswith(top + os.sep))
        file = next(had, None)
    if file is None:
        return UNNAMED
    return Path(os.path.relpath(os.path.realpath(file), top)).as_posix()


def timed_cells() -> Iterator[str]:
    """Yield what stood below ``%%time``, as Python, newest first: such cells get no file name."""
    shell = _kernel()
    for cell in reversed(shell.history_manager.input_hist_raw if shell is not None else []):
        lines = cell.lstrip().splitlines(keepends=True)
        magics = 0
        while magics < len(lines) and lines[magics].startswith("%%"):
            magics += 1
            if lines[magics - 1].split()[0] == "%%time":
                yield shell.transform_cell("".join(lines[magics:]))


def place_in_words(where: str) -> str:
    """Return a place (``file:line``) as people know it, if it is in a cell."""
    file, _, line = where.rpartition(":")
    if is_timed(file):
        return f"a cell with %%time, line {line}"
    shell = _kernel()
    if shell is None or not looks_like_cell(file):
        return where
    named = shell.compile.format_code_name(file)
    return where if named is None else f"{' '.join(named)}, line {line}"


def cells_of(file: Path) -> frozenset[str]:
    """Return the sources of a notebook's code cells; none if the file is no notebook."""
    try:
        info = file.stat()
        return _cells_of(file, info.st_mtime_ns, info.st_size)
    except OSError:
        return frozenset()


@lru_cache(maxsize=256)
def _cells_of(file: Path, mtime_ns: int, size: int) -> frozenset[str]:
    return frozenset(cell.strip() for cell in code_cells(file.read_bytes()) or ())


def code_cells(text: str | bytes) -> list[str] | None:
    """Return the sources of the code cells of a notebook's file; None if it is none."""
    try:
        found = json.loads(text)
        sheets = found.get("worksheets", [found])  # up to version 3 of the format
        cells = [cell for sheet in sheets for cell in sheet["cells"]]
        return [
            "".join(cell.get("source", cell.get("input", "")))
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _kernel() -> Any:
    """Return IPython's shell if this process is a kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None
