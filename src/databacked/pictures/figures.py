"""matplotlib's figures as bytes: the same figure gives the same ones, in every process.

matplotlib is imported only where there is a figure already, and pyplot never.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import Any

FORMATS = (".png", ".svg", ".pdf")
"""Endings of files that a figure can be written to."""


_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib says of itself and of the time; None leaves it out."""


_SALT = {"svg.hashsalt": "databacked"}
"""Identifiers in an SVG are hashes with a random salt unless one is given."""


_SAVING = ("savefig.", "svg.", "pdf.")
"""Beginnings of settings that are only read while a figure is saved."""


# Fonts are drawn by one thread at a time, and matplotlib's settings belong to the whole process.
_drawing = threading.Lock()


def figure_of(value: Any) -> Any:
    """Return the figure that a value is, or belongs to as one of its axes; None for all else."""
    for kind in type(value).__mro__:
        if (kind.__module__, kind.__name__) in (
            ("matplotlib.figure", "FigureBase"),
            ("matplotlib.axes._base", "_AxesBase"),
        ):
            return value.get_figure(root=True)
    return None


def is_with_figure(value: Any) -> bool:
    """Whether a value is a tuple or list of a figure and more, as ``plt.subplots()`` returns it."""
    return type(value) in (tuple, list) and any(figure_of(one) is not None for one in value)


def drawn(figure: Any, ending: str) -> bytes:
    """Return a figure as the bytes of a file.

    Size and resolution are the figure's own. Settings that are read while saving (``savefig.…``,
    ``svg.…``, ``pdf.…``) stand at matplotlib's defaults meanwhile: worker processes do not know
    what a script has set, and the bytes must not depend on where an item runs.

    Parameters
    ----------
    ending
        One of `FORMATS`.
    """
    import matplotlib

    kind = ending.removeprefix(".")
    defaults: Any = matplotlib.rcParamsDefault
    fixed = {name: defaults[name] for name in defaults if name.startswith(_SAVING)} | _SALT
    settings: Any = matplotlib.rcParams
    file = io.BytesIO()
    with _drawing:
        # Not rc_context: it would also undo what other threads set meanwhile.
        before = {name: settings[name] for name in fixed}
        put_back = _layout(figure)
        settings.update(fixed)
        try:
            figure.savefig(file, format=kind, metadata=dict(_METADATA[kind]))
        finally:
            settings.update(before)
            put_back()
    return file.getvalue()


def _layout(figure: Any) -> Callable[[], None]:
    """Return what puts the axes back to where they are now.

    A layout engine moves them a little further each time that it draws.
    """
    axes = [
        (one, one.get_position(original=True).frozen(), one.get_position().frozen())
        for one in figure.axes
    ]
    names = ("left", "right", "bottom", "top", "wspace", "hspace")
    room = {name: getattr(figure.subplotpars, name) for name in names}

    def put_back() -> None:
        figure.subplotpars.update(**room)
        for one, original, active in axes:
            one._set_position(original, "original")
            one._set_position(active, "active")

    return put_back


def forget(figure: Any) -> None:
    """Have pyplot let go of a figure, so that those of many items do not pile up."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    for _ in range(8):
        try:
            if pyplot is not None:
                pyplot.close(figure)
            return
        except RuntimeError:  # another thread opened one while pyplot looked for this one
            continue
