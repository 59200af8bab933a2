"""What notebooks show of values: pictures of arrays and files as HTML.

Pure: a value in, a text out. Of an array only its middle plane is read, of a large plane every n-th
pixel. Nothing here raises, because a notebook would show nothing at all then: what cannot be shown
is said in words.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path, PurePath
from typing import Any

from databacked.pictures.facts import facts_html
from databacked.pictures.planes import (
    CHANNELS,
    PICTURE,
    SMALLEST,
    THUMBNAIL,
    Pixels,
    Plane,
    alike,
    as_colours,
    facts_of,
    middle_plane,
    pictures_of,
    png_of,
)
from databacked.project.folders import from_here

LARGEST_FILE = 4 << 20
"""Bytes up to which a file is put into a notebook as it is."""


_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".zarr", ".npy")
"""Endings of paths that are shown as pictures."""


_BROWSER = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".svg": "image/svg+xml",
}
"""Types of files that a browser shows by itself."""


def array_html(array: Any) -> str:
    """Return the middle plane of an array that knows its file, and what is known of it."""
    try:
        facts = facts_of(array)
    except Exception as error:
        return _box(_sorry(array, error))
    try:
        plane = middle_plane(array, PICTURE, CHANNELS)
        shown = [_figure(channel, name) for channel, name in pictures_of(plane)]
        if plane.left:
            shown.append(_note(f"… and {plane.left} more"))
        if plane.where:
            facts["plane"] = ", ".join(plane.where)
    except Exception as error:
        shown = [_sorry(array, error)]
    return _box(f'<div style="{_ROW}">{"".join(shown)}</div>{facts_html(facts)}')


def file_html(file: Any) -> str:
    """Return a file as a browser shows it, or its name where it does not."""
    try:
        path = Path(os.fspath(file))
        kind = _BROWSER.get(path.suffix.lower())
        size = path.stat().st_size
        facts = {"file": from_here(path), "size": f"{size:,} bytes"}
        picture = ""
        if kind is not None and size <= LARGEST_FILE:
            data = file.read_bytes()
            # In an <img>, scripts of an SVG do not run, and its styles stay its own.
            picture = f'<img src="{_data_uri(data, kind)}" style="{_PAPER};max-width:100%">'
        return _box(picture + facts_html(facts))
    except Exception as error:
        return _box(_sorry(file, error))


def values_html(values: Sequence[Any], limit: int = 20) -> str | None:
    """Return pictures of the first values of a list; None if there is no picture among them."""
    first = list(values[:limit])
    if not any(_is_backed(value) for value in first):
        return None
    cells = []
    shown_by_place = _thumbnails_html([value if _is_backed(value) else None for value in first])
    for number, (value, shown) in enumerate(zip(first, shown_by_place, strict=True)):
        if _is_backed(value):
            below = _name_of(value)
        else:
            shown, below = _text(repr(value)), f"[{number}]"
        cells.append(
            f'<div style="{_CELL}">{shown}<div style="{_CAPTION}">{escape(below)}</div></div>'
        )
    more = len(values) - len(first)
    rest = _note(f"… and {more:,} more") if more else ""
    return _box(f'<div style="{_ROW}">{"".join(cells)}{rest}</div>')


def several_html(values: Sequence[Any]) -> str:
    """Return what a notebook shows of several values, one below another."""
    shown = []
    for value in values:
        of_itself = getattr(type(value), "_repr_html_", None)
        html = of_itself(value) if of_itself is not None else None
        shown.append(html or f"<pre>{escape(_cut(repr(value)))}</pre>")
    return _box("".join(f'<div style="margin-bottom:8px">{one}</div>' for one in shown))


def table_html(
    frame: Any, columns: Iterable[str], *, limit: int = 10, title: str = "", note: str = ""
) -> str:
    """Return the first rows of a table, with thumbnails in some columns.

    Parameters
    ----------
    frame
        A DataFrame.
    columns
        Columns of backed arrays, backed files or paths of images.
    limit
        Rows that are shown; the others are counted, and their files not opened.
    title, note
        Stand above and below it.

    Returns
    -------
    HTML; what cannot be shown is said in it.
    """
    try:
        pictured = set(columns)
        names = list(frame.columns)
        head = "".join(f"<th>{escape(str(name))}</th>" for name in names)
        first = [frame.iloc[:limit, number].tolist() for number in range(len(names))]
        columns_html = [
            _thumbnails_html(column) if name in pictured else [*map(_text, column)]
            for name, column in zip(names, first, strict=True)
        ]
        rows = []
        for number, label in enumerate(frame.index[:limit].tolist()):
            inside = "".join(f"<td>{column[number]}</td>" for column in columns_html)
            rows.append(f"<tr><th>{escape(str(label))}</th>{inside}</tr>")
        more = len(frame) - len(rows)
        notes = [f"… and {more:,} more rows"] if more else []
        below = " · ".join([*notes, *([note] if note else [])])
        above = f"<div><b>{escape(title)}</b></div>" if title else ""
        table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
        return _box(f"{above}{table}</table>{_note(below) if below else ''}")
    except Exception as error:
        return sorry_html(title or "This table", error)


# ---------------------------------------------------------------- HTML

# No background and no colour of text: a notebook may be dark.
_ROW = "display:flex;flex-wrap:wrap;gap:8px;align-items:flex-start"


_CELL = "display:inline-block;text-align:center;max-width:192px;overflow:hidden"


_CAPTION = "font-size:85%;opacity:0.75;overflow-wrap:anywhere"


_PAPER = "background:white"


def sorry_html(what: str, error: Exception) -> str:
    """Return in words that something cannot be shown."""
    return _box(_note(f"{what} cannot be shown: {error}"))


def _box(inside: str) -> str:
    return f'<div class="databacked">{inside}</div>'


def _note(text: str) -> str:
    return f'<div style="{_CAPTION}">{escape(text)}</div>'


def _sorry(value: Any, error: Exception) -> str:
    try:
        name = os.fspath(value)
    except TypeError:
        name = type(value).__name__
    return _note(f"{name} cannot be shown: {error}")


def _figure(pixels: Pixels, name: str) -> str:
    height, width = pixels.shape[:2]
    longest = max(height, width)
    # Whole multiples: every pixel stays a square.
    times = max(1, -(-SMALLEST // longest))
    below = f'<div style="{_CAPTION}">{escape(name)}</div>' if name else ""
    return (
        f'<div style="text-align:center"><img src="{_data_uri(png_of(pixels), "image/png")}" '
        f'width="{width * times}" height="{height * times}" alt="{escape(name)}" '
        f'style="image-rendering:pixelated">{below}</div>'
    )


def _thumbnails_html(values: Sequence[Any]) -> list[str]:
    """Return a cell for each value of one kind: a picture where there is one, else words."""
    cells: list[str] = []
    planes: dict[int, Plane] = {}
    for place, value in enumerate(values):
        try:
            found = _opened(value)
            if isinstance(found, Plane):
                planes[place], found = found, ""
            cells.append(_text(value) if found is None else found)
        except Exception as error:
            cells.append(_sorry(value, error))
    for place, plane in zip(planes, alike(planes.values()), strict=True):
        try:
            cells[place] = _thumbnail_html(as_colours(plane), _name_of(values[place]))
        except Exception as error:
            cells[place] = _sorry(values[place], error)
    return cells


def _thumbnail_html(pixels: Pixels, name: str) -> str:
    height, width = pixels.shape[:2]
    times = max(1, THUMBNAIL // (2 * max(height, width)))
    return (
        f'<img src="{_data_uri(png_of(pixels), "image/png")}" alt="{escape(name)}" '
        f'title="{escape(name)}" width="{width * times}" height="{height * times}" '
        f'style="{_PAPER};image-rendering:pixelated">'
    )


def _opened(value: Any) -> Plane | str | None:
    """Return what is shown of a backed value or of an image's path; None for others."""
    if _is_backed(value) and hasattr(value, "shape"):
        return middle_plane(value, THUMBNAIL, 3)
    if not (_is_backed(value) or isinstance(value, str | PurePath)):
        return None
    path = Path(os.fspath(value))
    suffix = path.suffix.lower()
    if suffix == ".svg":
        if path.stat().st_size > LARGEST_FILE:
            return None
        read: Callable[[], bytes] = getattr(value, "read_bytes", path.read_bytes)
        name = escape(_name_of(value))
        return (
            f'<img src="{_data_uri(read(), _BROWSER[suffix])}" alt="{name}" title="{name}" '
            f'style="{_PAPER};max-height:{THUMBNAIL}px;max-width:{2 * THUMBNAIL}px">'
        )
    if suffix not in _IMAGES:
        return None
    from databacked.plugins import find

    path.stat()  # what is missing is said by its name
    serializer = find("serializers", "default")()
    opened = _Opened(serializer.open(path), serializer.describe(path))
    return middle_plane(opened, THUMBNAIL, 3)


class _Opened:
    """An opened image with what its file says of it."""

    def __init__(self, pixels: Any, description: Any) -> None:
        self.pixels = pixels
        self.shape = pixels.shape
        self.dim_order = description.dim_order
        self.channel_names = description.channel_names

    def __getitem__(self, key: Any) -> Any:
        return self.pixels[key]


def _is_backed(value: Any) -> bool:
    return hasattr(type(value), "uri") and hasattr(type(value), "path")


def _name_of(value: Any) -> str:
    try:
        return Path(os.fspath(value)).name
    except TypeError:
        return type(value).__name__


def _text(value: Any) -> str:
    """Return a value in a few words; nothing for what is missing."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    return escape(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= 100 else text[:99] + "…"


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
