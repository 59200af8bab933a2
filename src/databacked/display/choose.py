"""Which way of showing fits where somebody sits."""

from __future__ import annotations

import os
import sys
from typing import Any

from databacked.display.base import Show
from databacked.display.notebook import NotebookShow
from databacked.display.terminal import TerminalShow


def show_for(*, quiet: bool = False) -> Show:
    """Return what shows a run here."""
    if quiet:
        return Show(quiet=True)
    if is_in_notebook():
        return NotebookShow()
    return TerminalShow() if _is_terminal(sys.stderr) else Show()


def is_in_notebook() -> bool:
    """Whether this is the kernel of a notebook, whichever program shows it."""
    module: Any = sys.modules.get("IPython")
    if module is None:
        return False
    try:
        return getattr(module.get_ipython(), "kernel", None) is not None
    except Exception:
        return False


def _is_terminal(stream: Any) -> bool:
    if os.environ.get("TERM", "").lower() in ("dumb", "unknown"):  # nothing is drawn anew there
        return False
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # closed, or no file at all
        return False
