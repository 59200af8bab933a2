"""What the formats of images share: what an array says of itself, its axes, planes and levels."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from databacked.errors import SerializerError
from databacked.serializers.sameness import check_parts, plain_array
from databacked.types import Description, PhysicalPixelSizes

DIM_ORDERS = {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}
"""What axes are taken for where nobody says."""

LARGE_PLANE = 4096
"""Pixels along Y or X beyond which a pyramid is written unless told otherwise."""

SMALLEST_LEVEL = 1024
"""Pixels along Y and X that the smallest level of a pyramid stays below."""

TILE = 512
"""Pixels along Y and X of a tile, where planes are cut into tiles."""


class Settings(Protocol):
    """What a serializer of images is told; the value's own metadata win over it."""

    dim_order: str | None
    """One letter an axis."""

    channel_names: tuple[str, ...] | None
    """One name a channel."""

    channel_colors: tuple[str, ...] | None
    """Six hex digits a channel."""

    physical_pixel_sizes: PhysicalPixelSizes | None
    """Micrometres a pixel."""

    time_interval: float | None
    """Seconds from one frame to the next."""


@dataclass(frozen=True)
class Facts:
    """An array with all that is said of it."""

    data: Any
    """numpy array, or one that computes what is indexed."""

    dim_order: str
    """One letter an axis."""

    channel_names: tuple[str, ...] | None
    """One name a channel."""

    sizes: PhysicalPixelSizes | None
    """Micrometres a pixel."""

    dtype: np.dtype[Any]
    """The type that they came with, whatever they are stored as."""

    notes: tuple[str, ...] = ()
    """What the user should know once."""

    @property
    def is_bool(self) -> bool:
        """Whether they are True and False, however they are stored."""
        return self.dtype.kind == "b"

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(map(int, self.data.shape))

    @property
    def lazy(self) -> bool:
        """Whether the pixels are computed when they are indexed."""
        return not isinstance(self.data, np.ndarray)

    @property
    def inner(self) -> int:
        """Number of axes of a plane: Y and X, and samples if there are any."""
        return 3 if self.dim_order.endswith("S") else 2

    @property
    def plane(self) -> tuple[int, ...]:
        """Length of Y and X."""
        return self.shape[-self.inner :][:2]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[self.dim_order.index("C")] if "C" in self.dim_order else 1

    def texts(self, image_name: str | None) -> dict[str, str | None]:
        """Return all names, by what they name."""
        named = enumerate(self.channel_names or ())
        return {"image name": image_name, **{f"name of channel {n}": name for n, name in named}}

    def description(self, tile: tuple[int, int] | None) -> Description:
        """Return what the file will hold, where it holds planes or tiles of this size."""
        plane = self.shape[-self.inner :]
        if tile is not None:
            plane = (*map(min, tile, plane[:2]), *plane[2:])
        chunks = (1,) * (len(self.shape) - self.inner) + plane
        dtype = "bool" if self.is_bool else str(self.data.dtype)
        return Description(
            self.shape, dtype, self.dim_order, self.channel_names, self.sizes, chunks
        )


def facts_of(value: Any, settings: Settings, place: str, kinds: str) -> Facts:
    """Return a value's pixels with what it, else the settings, say of it.

    Parameters
    ----------
    place
        The format, for messages.
    kinds
        numpy's letters of the types that it holds.

    Raises
    ------
    SerializerError
        With everything that does not fit.
    """
    data, said, names, sizes = said_by(value)
    problems: list[str] = []
    if hasattr(data, "dask"):
        check_parts(data, place)
    else:
        data = plain_array(data, place)
    order: Any = said or settings.dim_order or DIM_ORDERS.get(data.ndim)
    names = names or settings.channel_names
    sizes = sizes or settings.physical_pixel_sizes
    if order is None:
        problems.append(
            f"an array of shape {data.shape} has {data.ndim} axes; 2 to 5 were expected, or "
            "dim_order= to say what they are"
        )
    elif not isinstance(order, str):
        problems.append(f"dim_order={order!r}; one letter an axis was expected")
    elif len(order) != data.ndim:
        problems.append(
            f"an array of shape {data.shape} does not fit dim_order={order!r} "
            f"({len(order)} axes were expected)"
        )
    elif any(length != length for length in data.shape):  # NaN: dask does not know yet
        problems.append(
            f"a dask array of shape {data.shape} does not know its lengths: call its "
            "compute_chunk_sizes() first"
        )
    elif 0 in data.shape:
        problems.append(f"an array of shape {data.shape} holds no pixels")
    elif names is not None:
        count = data.shape[order.index("C")] if "C" in order else 1
        if not all(names):
            problems.append(f"the channel names {names} name not every channel")
        elif len(names) != count:
            problems.append(f"{len(names)} channel names ({', '.join(names)}) for {count} channels")
    if not problems and settings.time_interval is not None and "T" not in order:
        problems.append(f"time_interval={settings.time_interval} for an image without T ({order})")
    colours = settings.channel_colors
    if not problems and colours is not None:
        count = data.shape[order.index("C")] if "C" in order else 1
        if len(colours) != count:
            problems.append(f"{len(colours)} channel colors for {count} channels")
    if data.dtype.kind not in kinds or data.dtype.itemsize > 16 or data.dtype == np.longdouble:
        also = ", complex numbers" if "c" in kinds else ""
        problems.append(
            f"pixels of type {data.dtype} have no place in {place}; integers, floats{also} or "
            "bool were expected"
        )
    if problems:
        raise SerializerError(f"{type(settings).__name__}: {'; '.join(problems)}.")
    assert order is not None
    notes = (_LEFT_OUT,) if _has_more(value) else ()
    if not data.dtype.isnative:
        notes = (
            *notes,
            f"{data.dtype.str} is stored as {data.dtype.name}, in the usual byte order",
        )
    return Facts(data, checked_order(order), names, sizes, data.dtype, notes)


_LEFT_OUT = "attrs and coordinates of a DataArray are not kept, but for channels and pixel sizes"


def _has_more(value: Any) -> bool:
    """Whether an xarray DataArray says more than an image keeps."""
    if not (hasattr(value, "dims") and hasattr(value, "coords")):
        return False
    return bool(set(value.attrs) - {"physical_pixel_sizes"}) or any(
        str(name).upper() != "C" for name in value.coords
    )


def levels_of(plane: tuple[int, ...], pyramid: bool | None) -> int:
    """Return how many smaller levels a pyramid has; None asks for one where planes are large."""
    if pyramid is False or (pyramid is None and max(plane) <= LARGE_PLANE):
        return 0
    levels, longest = 0, max(plane)
    while longest > SMALLEST_LEVEL or (pyramid and not levels and longest > 1):
        longest = (longest + 1) // 2
        levels += 1
    return levels


def is_averaged(dtype: np.dtype[Any], *, labels: bool) -> bool:
    """Whether smaller levels hold means: of labels, and of True and False, they would be wrong.

    Integers of 32 and 64 bits are taken for labels: that is what label images are stored as.
    """
    return not labels and (dtype.kind in "fc" or (dtype.kind in "iu" and dtype.itemsize <= 2))


def halved(pixels: np.ndarray[Any, Any], inner: int, *, mean: bool) -> np.ndarray[Any, Any]:
    """Return half as many pixels along Y and X.

    Parameters
    ----------
    inner
        Axes of a plane: Y and X, and samples if there are any.
    mean
        Whether each is the mean of four, integers rounded (at an odd edge, of those that are
        there); else every second one along Y and X.
    """
    every, samples = slice(None, None, 2), (slice(None),) * (inner - 2)
    if not mean:
        second: Any = (..., every, every, *samples)
        decimated: np.ndarray[Any, Any] = pixels[second]
        return decimated
    *outer, height, width = pixels.shape[: pixels.ndim - inner + 2]
    rest = pixels.shape[pixels.ndim - inner + 2 :]
    out = np.empty((*outer, -(-height // 2), -(-width // 2), *rest), pixels.dtype)
    for index in np.ndindex(*outer):
        for top in range(0, out.shape[len(outer)], _BAND):  # sums are wider than pixels
            part = pixels[(*index, slice(2 * top, 2 * (top + _BAND)))]
            out[(*index, slice(top, top + _BAND))] = _mean(part)
    return out


_BAND = 64
"""Rows of which means are made at once."""


def _mean(plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the means of two by two pixels along the first two axes."""
    kinds: dict[str, Any] = {"i": np.int32, "u": np.uint32, "f": np.float64, "c": np.complex128}
    whole = plane.astype(kinds[plane.dtype.kind])
    for _ in range(2):  # each turn adds neighbours along one axis, and swaps both
        one, other = whole[::2], whole[1::2]
        if len(other) < len(one):
            other = np.concatenate([other, one[-1:]])
        whole = (one + other).swapaxes(0, 1)
    return (whole + 2) // 4 if plane.dtype.kind in "iu" else whole / 4


def interval_of(seconds: Any) -> float | None:
    """Return seconds between frames; raises unless they are a positive number."""
    if seconds is None:
        return None
    try:
        found = _length(seconds)
    except (TypeError, ValueError, OverflowError):
        found = 0.0
    if not 0 < found < np.inf:
        raise SerializerError(f"time_interval={seconds!r}: seconds between frames were expected.")
    return found


def colours_of(colours: Any) -> tuple[str, ...] | None:
    """Return colours as six hex digits each.

    Parameters
    ----------
    colours
        RGB triples from 0 to 255, or texts such as ``"#FF0000"``; None where nobody says.

    Raises
    ------
    SerializerError
        If one is neither.
    """
    if colours is None:
        return None
    wrong = SerializerError(
        f"channel_colors={colours!r}: one colour a channel was expected, as (red, green, blue) "
        "from 0 to 255, or as '#FF0000'."
    )
    if isinstance(colours, str | bytes | Mapping | Set):
        raise wrong
    try:
        return tuple(_hex(one) for one in colours)
    except (TypeError, ValueError):
        raise wrong from None


def _hex(colour: Any) -> str:
    if isinstance(colour, str):
        digits = colour.removeprefix("#")
        if not re.fullmatch("[0-9a-fA-F]{6}", digits):
            raise ValueError(colour)
        return digits.upper()
    red, green, blue = (operator.index(one) for one in colour)
    if not all(0 <= one <= 255 for one in (red, green, blue)):
        raise ValueError(colour)
    return f"{red:02X}{green:02X}{blue:02X}"


def said_by(
    value: Any,
) -> tuple[Any, str | None, tuple[str, ...] | None, PhysicalPixelSizes | None]:
    """Return a value's pixels and what it says of itself."""
    if hasattr(value, "dims") and hasattr(value, "coords"):  # an xarray DataArray
        order = "".join(str(name).upper() for name in value.dims)
        channel = next((name for name in value.dims if str(name).upper() == "C"), None)
        labels = value.coords[channel].values if channel in value.coords else None
        names = None if labels is None else tuple(str(label) for label in labels)
        sizes = sizes_of(value.attrs.get("physical_pixel_sizes"))
        return value.data, order if len(order) == len(value.dims) else None, names, sizes
    said: str | None = getattr(value, "dim_order", None)
    labels = getattr(value, "channel_names", None)
    sizes = sizes_of(getattr(value, "physical_pixel_sizes", None))
    data = getattr(value, "data", value) if type(value).__name__ == "Image" else value
    return data, said, names_of(labels), sizes


def names_of(names: Any) -> tuple[str, ...] | None:
    """Return names of channels as they are kept; raises unless they are texts that can be."""
    if names is None:
        return None
    found = tuple(names) if isinstance(names, Iterable) else (names,)
    if any(not isinstance(name, str) for name in found) or not isinstance(names, Iterable):
        raise SerializerError(
            f"channel_names={names!r}: a list of texts, one a channel, was expected."
        )
    return tuple(map(str, found))


_NO_TEXT = re.compile("[\ud800-\udfff]")
_NO_XML = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")


def check_texts(texts: Mapping[str, str | None], place: str, *, xml: bool = False) -> None:
    """Raise if a name has characters that a file for other programs cannot hold."""
    for what, text in texts.items():
        odd = sorted(set((_NO_XML if xml else _NO_TEXT).findall(text or "")))
        if odd:
            raise SerializerError(
                f"the {what} {text!r} has characters that {place} cannot hold "
                f"({', '.join(map(ascii, odd))}): take them out (name.strip('\\0'))."
            )


def sizes_of(sizes: Any) -> PhysicalPixelSizes | None:
    """Return sizes as they are kept; raises unless they are three, in micrometres or None."""
    if sizes is None:
        return None
    wrong = SerializerError(
        f"physical_pixel_sizes={sizes!r}: three sizes in micrometres (Z, Y, X) were expected, "
        "None where nobody knows."
    )
    if isinstance(sizes, str | bytes | Mapping | Set):
        raise wrong
    try:
        found = tuple(None if size is None else _length(size) for size in sizes)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if len(found) != 3 or any(size is not None and not 0 < size < np.inf for size in found):
        raise wrong
    return PhysicalPixelSizes(*found) if any(found) else None


def _length(size: Any) -> float:
    if isinstance(size, str | bytes | bool | np.bool_):
        raise TypeError(f"{size!r} is no number")
    return float(size)


def checked_order(order: str) -> str:
    """Return axes in capitals; raises unless they are ones that images have."""
    order = str(order).upper()
    if (
        not order.removesuffix("S").endswith("YX")
        or len(set(order)) != len(order)
        or set(order) - set("TCZYXS")
    ):
        raise SerializerError(
            f"dim_order={order!r}: letters of TCZYX, each once, ending in YX (or YXS) were "
            "expected, for example 'CZYX'. Transpose the array if its axes are in another order."
        )
    return order


def full_key(key: Any, ndim: int) -> tuple[Any, ...] | None:
    """Return a key with one entry an axis; None if it needs numpy's own indexing."""
    keys = key if isinstance(key, tuple) else (key,)
    plain = (int, np.integer, slice, type(...))
    if any(isinstance(one, bool) or not isinstance(one, plain) for one in keys):
        return None
    if any(isinstance(one, slice) and (one.step or 1) < 0 for one in keys):
        return None
    if Ellipsis in keys:
        place = keys.index(Ellipsis)
        keys = (*keys[:place], *(slice(None),) * (ndim - len(keys) + 1), *keys[place + 1 :])
    return (*keys, *(slice(None),) * (ndim - len(keys)))


def read_only(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a view that cannot be written to."""
    view = np.ascontiguousarray(data).view()
    view.flags.writeable = False
    return view
