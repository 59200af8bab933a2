"""What notebooks show of values: pictures of arrays and files as HTML.

Pure: a value in, a text out. Of an array only its middle plane is read, of a large plane every n-th
pixel. Nothing here raises, because a notebook would show nothing at all then: what cannot be shown
is said in words.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

from databacked.errors import DatabackedError

if TYPE_CHECKING:
    import numpy as np

    Pixels: TypeAlias = np.ndarray[Any, np.dtype[Any]]

PICTURE = 512
"""Pixels along Y or X of a picture, at most: of a larger plane every n-th pixel is read."""

THUMBNAIL = 128
"""The same for a picture in a table."""

SMALLEST = 192
"""Screen pixels along the longer side that a small picture is enlarged to."""

CHANNELS = 4
"""How many channels are shown side by side."""

PERCENTILES = 0.5, 99.8
"""Darkest and brightest pixels of a plane, in percent, that become black and white."""

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

# Red, green, blue of the channels of one picture: any two of them are told apart by everybody.
_COLOURS = {1: ((1, 1, 1),), 2: ((1, 0, 1), (0, 1, 0)), 3: ((1, 0, 1), (0, 1, 0), (0, 0.6, 1))}


@dataclass(frozen=True)
class Plane:
    """One plane of an array, as much of it as is shown."""

    channels: tuple[Pixels, ...]
    """(Y, X) each, or one (Y, X, samples)."""

    names: tuple[str, ...]
    """What stands below each channel; empty texts where there is nothing to say."""

    where: tuple[str, ...]
    """Which plane it is, for example ``Z 6 of 12``."""

    step: int
    """Every n-th pixel was read."""

    left: int
    """Channels that were not read."""

    samples: bool
    """Whether the pixels are colours."""


def array_html(array: Any) -> str:
    """Return the middle plane of an array that knows its file, and what is known of it."""
    try:
        facts = facts_of(array)
    except Exception as error:
        return _box(_sorry(array, error))
    try:
        plane = middle_plane(array, PICTURE, CHANNELS)
        shown = [_figure(channel, name) for channel, name in _pictures(plane)]
        if plane.left:
            shown.append(_note(f"… and {plane.left} more"))
        if plane.where:
            facts["plane"] = ", ".join(plane.where)
    except Exception as error:
        shown = [_sorry(array, error)]
    return _box(f'<div style="{_ROW}">{"".join(shown)}</div>{_facts_html(facts)}')


def file_html(file: Any) -> str:
    """Return a file as a browser shows it, or its name where it does not."""
    try:
        path = Path(os.fspath(file))
        kind = _BROWSER.get(path.suffix.lower())
        size = path.stat().st_size
        facts = {"file": _shown_path(path), "size": f"{size:,} bytes"}
        picture = ""
        if kind is not None and size <= LARGEST_FILE:
            data = file.read_bytes()
            # In an <img>, scripts of an SVG do not run, and its styles stay its own.
            picture = f'<img src="{_data_uri(data, kind)}" style="{_PAPER};max-width:100%">'
        return _box(picture + _facts_html(facts))
    except Exception as error:
        return _box(_sorry(file, error))


def values_html(values: Sequence[Any], limit: int = 20) -> str | None:
    """Return pictures of the first values of a list; None if there is no picture among them."""
    first = list(values[:limit])
    if not any(_is_backed(value) for value in first):
        return None
    cells = []
    for number, value in enumerate(first):
        if _is_backed(value):
            shown, below = _thumbnail_html(value), _name_of(value)
        else:
            shown, below = _text(repr(value)), f"[{number}]"
        cells.append(
            f'<div style="{_CELL}">{shown}<div style="{_CAPTION}">{escape(below)}</div></div>'
        )
    more = len(values) - len(first)
    rest = _note(f"… and {more:,} more") if more else ""
    return _box(f'<div style="{_ROW}">{"".join(cells)}{rest}</div>')


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
    """
    try:
        pictured = set(columns)
        names = list(frame.columns)
        head = "".join(f"<th>{escape(str(name))}</th>" for name in names)
        first = [frame.iloc[:limit, number].tolist() for number in range(len(names))]
        rows = []
        for number, label in enumerate(frame.index[:limit].tolist()):
            cells = [
                (_thumbnail_html if name in pictured else _text)(column[number])
                for name, column in zip(names, first, strict=True)
            ]
            inside = "".join(f"<td>{cell}</td>" for cell in cells)
            rows.append(f"<tr><th>{escape(str(label))}</th>{inside}</tr>")
        more = len(frame) - len(rows)
        notes = [f"… and {more:,} more rows"] if more else []
        below = " · ".join([*notes, *([note] if note else [])])
        above = f"<div><b>{escape(title)}</b></div>" if title else ""
        table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
        return _box(f"{above}{table}</table>{_note(below) if below else ''}")
    except Exception as error:
        return sorry_html(title or "This table", error)


# ---------------------------------------------------------------- what is read


def middle_plane(array: Any, longest: int, channels: int) -> Plane:
    """Read the middle plane of an array.

    Parameters
    ----------
    array
        With ``shape``, ``dtype`` and numpy's indexing; perhaps ``dim_order`` and ``channel_names``.
    longest
        Pixels along Y or X, at most.
    channels
        How many channels are read, at most.

    Raises
    ------
    DatabackedError
        If it has no plane.
    """
    import numpy as np

    shape = tuple(int(n) for n in array.shape)
    order = axes_of(array)
    if not order or 0 in shape:
        raise DatabackedError(f"An array of shape {shape} has no plane to show.")
    height, width = (shape[order.index(axis)] for axis in "YX")
    step = max(1, -(-max(height, width) // longest))
    count = shape[order.index("C")] if "C" in order else 1
    keys: list[Any] = []
    where: list[str] = []
    for axis, length in zip(order, shape, strict=True):
        if axis in "YX":
            keys.append(slice(None, None, step))
        elif axis == "S":
            keys.append(slice(None))
        elif axis == "C":
            keys.append(None)
        else:
            keys.append(length // 2)
            if length > 1:
                name = axis if axis.isalpha() else f"axis {order.index(axis)}"
                where.append(f"{name} {length // 2 + 1} of {length}")
    read = []
    for channel in range(min(count, channels)):
        found = np.asarray(array[tuple(channel if key is None else key for key in keys)])
        left = [axis for axis in order if axis in "YXS"]
        read.append(found.transpose([left.index(axis) for axis in "YXS" if axis in left]))
    names = getattr(array, "channel_names", None) or ()
    said = tuple(str(names[n]) if n < len(names) else "" for n in range(len(read)))
    return Plane(tuple(read), said, tuple(where), step, count - len(read), "S" in order)


def axes_of(array: Any) -> str:
    """Return one letter an axis: as the array says it, else a guess; digits mean unknown axes.

    An empty text means that there is no plane.
    """
    shape = tuple(array.shape)
    said = str(getattr(array, "dim_order", None) or "")
    if len(said) == len(shape) and "Y" in said and "X" in said:
        return said
    if len(shape) < 2:
        return ""
    last = "YX"
    if len(shape) > 2 and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4:
        last = "YXS"
    return "".join(chr(ord("0") + n) for n in range(len(shape) - len(last))) + last


def facts_of(array: Any) -> dict[str, str]:
    """Return what is known of an array, in words; reads no pixels."""
    order = getattr(array, "dim_order", None)
    shape = " × ".join(map(str, array.shape)) or "one number"
    facts = {"shape": f"{shape} ({order})" if order else shape, "type": str(array.dtype)}
    names = getattr(array, "channel_names", None)
    if names:
        facts["channels"] = ", ".join(map(str, names))
    sizes = getattr(array, "physical_pixel_sizes", None)
    if sizes is not None and any(sizes):
        facts["pixel"] = ", ".join(
            f"{axis} {size:g} µm"
            for axis, size in zip("ZYX", sizes, strict=True)
            if size is not None
        )
    facts["file"] = _shown_path(Path(os.fspath(array)))
    return facts


# ---------------------------------------------------------------- what is drawn


def is_labels(plane: Pixels) -> bool:
    """Whether a plane holds numbers of objects, not brightness.

    Integers, none below zero, more than two of them; most neighbours are equal, and where they are
    not, they differ by more than one (else it is a smooth picture).
    """
    import numpy as np

    if plane.dtype.kind not in "iu" or plane.ndim != 2 or min(plane.shape) < 2 or plane.min() < 0:
        return False
    numbers = plane.astype(np.int64)
    steps = np.concatenate([np.diff(numbers, axis=axis).ravel() for axis in (0, 1)])
    here = np.concatenate([numbers[:-1].ravel(), numbers[:, :-1].ravel()])
    # Background is equal to itself in every picture with a mask: only objects decide.
    inside = (here != 0) & (here + steps != 0)
    changes = np.abs(steps[steps != 0])
    if len(np.unique(numbers)) <= 2 or not inside.any():
        return False
    return bool(np.mean(steps[inside] == 0) >= 0.6 and np.mean(changes == 1) < 0.7)


def as_grey(plane: Pixels) -> Pixels:
    """Return a plane, or colours, as uint8 between its low and high percentiles."""
    import numpy as np

    if plane.dtype.kind == "b":
        return plane.astype(np.uint8) * np.uint8(255)
    if plane.dtype.kind not in "iufc":
        raise DatabackedError(f"Pixels of type {plane.dtype} cannot be shown.")
    values = np.abs(plane) if plane.dtype.kind == "c" else plane
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros(plane.shape, np.uint8)
    low, high = np.percentile(finite, PERCENTILES)
    if low == high:
        low, high = finite.min(), finite.max()
    if low == high:
        return np.full(plane.shape, 0 if low == 0 else 128, np.uint8)
    scaled = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1)
    return np.asarray(np.round(scaled * 255), dtype=np.uint8)


def as_labels(plane: Pixels) -> Pixels:
    """Return a colour for each number, the same in every picture, and black for zero."""
    import numpy as np

    numbers, places = np.unique(plane, return_inverse=True)
    hue = (numbers * 0.61803398875) % 1.0  # the golden section: neighbours are far apart
    light = 0.65 + 0.35 * ((numbers * 0.7548776662) % 1.0)
    turns = np.abs((hue[:, None] * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    colours = np.round(255 * light[:, None] * (0.25 + 0.75 * np.clip(turns, 0, 1)))
    colours[numbers == 0] = 0
    return np.asarray(colours.astype(np.uint8)[places.reshape(plane.shape)])


def as_colours(plane: Plane) -> Pixels:
    """Return all channels of a plane as one picture: grey, colours, or labels."""
    import numpy as np

    if plane.samples or len(plane.channels) == 1:
        return _drawn(plane.channels[0], plane.samples)
    if any(is_labels(channel) for channel in plane.channels):
        return np.concatenate([_with_colours(_drawn(c, False)) for c in plane.channels], axis=1)
    channels = plane.channels[:3]
    mixed = sum(
        as_grey(channel)[..., None] * np.array(colour, np.float64)
        for channel, colour in zip(channels, _COLOURS[len(channels)], strict=True)
    )
    return np.asarray(np.clip(mixed, 0, 255), dtype=np.uint8)


def png_of(pixels: Pixels) -> bytes:
    """Return uint8 pixels, (Y, X) or (Y, X, 3 or 4), as a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def thumbnail(array: Any) -> bytes:
    """Return a small picture of an array's middle plane, its channels as colours, as a PNG."""
    return png_of(as_colours(middle_plane(array, THUMBNAIL, 3)))


def _pictures(plane: Plane) -> Iterable[tuple[Pixels, str]]:
    for channel, name in zip(plane.channels, plane.names, strict=True):
        yield _drawn(channel, plane.samples), name


def _drawn(channel: Pixels, samples: bool) -> Pixels:
    import numpy as np

    if samples:
        if channel.shape[-1] not in (3, 4):
            channel = channel[..., 0]
        return channel if channel.dtype == np.uint8 else as_grey(channel)
    return as_labels(channel) if is_labels(channel) else as_grey(channel)


def _with_colours(pixels: Pixels) -> Pixels:
    import numpy as np

    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]


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


def _facts_html(facts: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left;overflow-wrap:anywhere">{escape(text)}</td></tr>'
        for name, text in facts.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _thumbnail_html(value: Any) -> str:
    """Return one cell: a picture where there is one, else words."""
    try:
        found = _opened(value)
        if found is None:
            return _text(value)
        data, kind = found
        return (
            f'<img src="{_data_uri(data, kind)}" alt="{escape(_name_of(value))}" '
            f'title="{escape(_name_of(value))}" '
            f'style="{_PAPER};max-height:{THUMBNAIL}px;max-width:{2 * THUMBNAIL}px">'
        )
    except Exception as error:
        return _sorry(value, error)


def _opened(value: Any) -> tuple[bytes, str] | None:
    """Return a thumbnail of a backed value or of an image's path, and its type; None for others."""
    if _is_backed(value) and hasattr(value, "shape"):
        return thumbnail(value), "image/png"
    if not (_is_backed(value) or isinstance(value, str | PurePath)):
        return None
    path = Path(os.fspath(value))
    suffix = path.suffix.lower()
    if suffix == ".svg":
        if path.stat().st_size > LARGEST_FILE:
            return None
        read: Callable[[], bytes] = getattr(value, "read_bytes", path.read_bytes)
        return read(), _BROWSER[suffix]
    if suffix not in _IMAGES:
        return None
    from databacked.plugins import find

    path.stat()  # what is missing is said by its name
    serializer = find("serializers", "default")()
    return thumbnail(_Opened(serializer.open(path), serializer.describe(path))), "image/png"


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


def _shown_path(path: Path) -> str:
    """Return a path relative to the current folder where it lies in it."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return str(path)


def _text(value: Any) -> str:
    """Return a value in a few words; nothing for what is missing."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    return escape(text if len(text) <= 100 else text[:99] + "…")


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
