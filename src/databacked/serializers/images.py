"""What the formats of images share: what an array says of itself, its axes, planes and levels."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from databacked.errors import SerializerError
from databacked.serializers.sameness import check_parts, plain_array
from databacked.types import Description, PhysicalPixelSizes, Translation

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

    translation: Translation | None
    """Where the first pixel lies in what the image was cut out of."""

    pyramid: bool | None
    """Whether smaller levels are written; None: where planes are large."""

    levels: int | None
    """How many smaller ones; None: until they are small."""

    factors: dict[str, int]
    """How much smaller each is than the one before, by axis."""


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

    translation: Translation | None = None
    """Where its first pixel lies."""

    labels: Mapping[str, Any] = field(default_factory=dict)
    """Label images of the same pixels, as they came."""

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
            self.shape,
            dtype,
            self.dim_order,
            self.channel_names,
            self.sizes,
            chunks,
            translation=self.translation,
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
    it = said_by(value)
    data, said = it.data, it.dim_order
    problems: list[str] = []
    if hasattr(data, "dask"):
        check_parts(data, place)
    else:
        data = plain_array(data, place)
    order: Any = said or settings.dim_order or DIM_ORDERS.get(data.ndim)
    names = it.channel_names or settings.channel_names
    sizes = it.sizes or settings.physical_pixel_sizes
    translation = it.translation or settings.translation
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
    order = checked_order(order)
    return Facts(data, order, names, sizes, data.dtype, translation, it.labels, notes)


_LEFT_OUT = "attrs and coordinates of a DataArray are not kept, but for channels and pixel sizes"


def _has_more(value: Any) -> bool:
    """Whether an xarray DataArray says more than an image keeps."""
    if not (hasattr(value, "dims") and hasattr(value, "coords")):
        return False
    return bool(set(value.attrs) - {"physical_pixel_sizes"}) or any(
        str(name).upper() != "C" for name in value.coords
    )


def levels_of(shape: Sequence[int], order: str, settings: Settings) -> list[tuple[int, ...]]:
    """Return the shapes of all levels of an image, itself the first.

    Parameters
    ----------
    order
        One letter an axis.
    settings
        ``pyramid`` None asks for smaller levels where planes are large, or ``levels`` says so.
    """
    shapes = [tuple(shape)]
    factors = factors_of(order, settings)
    height = order.index("Y")

    def longest() -> int:
        return max(shapes[-1][height : height + 2])

    asked = settings.pyramid
    if asked is None:
        asked = settings.levels is not None or longest() > LARGE_PLANE
    while asked:
        count = len(shapes) - 1
        if settings.levels is not None:
            asked = count < settings.levels
        else:
            asked = longest() > SMALLEST_LEVEL or not count
        less = tuple(-(-length // step) for length, step in zip(shapes[-1], factors, strict=True))
        if less == shapes[-1]:  # of one pixel nothing is smaller
            break
        if asked:
            shapes.append(less)
    return shapes


def factors_of(order: str, settings: Settings) -> tuple[int, ...]:
    """Return how much smaller each level is than the one before, an axis each."""
    return tuple(settings.factors.get(axis, 1) for axis in order)


def is_averaged(dtype: np.dtype[Any], *, labels: bool) -> bool:
    """Whether pixels of smaller levels are means: not of labels, of which every second is taken.

    Integers of 32 and 64 bits are taken for labels: that is how label images are stored.
    """
    return not labels and (dtype.kind in "fc" or (dtype.kind in "iu" and dtype.itemsize <= 2))


def reduced(
    pixels: np.ndarray[Any, Any], factors: Sequence[int], *, mean: bool
) -> np.ndarray[Any, Any]:
    """Return fewer pixels along each axis.

    Parameters
    ----------
    factors
        One an axis: how many pixels become one; the last ones may be fewer.
    mean
        Whether each is the mean of those that it stands for, integers rounded; else the first.
    """
    if not mean:
        first: np.ndarray[Any, Any] = pixels[tuple(slice(None, None, step) for step in factors)]
        return first
    shape = [-(-n // step) for n, step in zip(pixels.shape, factors, strict=True)]
    out = np.empty(shape, pixels.dtype)
    # As much at once as takes little memory: sums are wider than pixels.
    below = [math.prod(pixels.shape[axis + 1 :]) * step for axis, step in enumerate(factors)]
    axis = next((axis for axis, many in enumerate(below) if many <= _AT_ONCE), len(below) - 1)
    band = max(_AT_ONCE // below[axis], 1)
    for index in np.ndindex(*shape[:axis]):
        pairs = zip(index, factors, strict=False)
        there = [slice(n * step, (n + 1) * step) for n, step in pairs]
        for start in range(0, shape[axis], band):
            stop = start + band
            part = pixels[(*there, slice(start * factors[axis], stop * factors[axis]))]
            with np.errstate(invalid="ignore", over="ignore"):  # of inf and -inf: NaN
                out[(*index, slice(start, stop))] = _mean(part, factors)[(0,) * axis]
    return out


_AT_ONCE = 1 << 20
"""Pixels of which means are made at once."""


def _mean(pixels: np.ndarray[Any, Any], factors: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return means of blocks of pixels; those at the end may be of fewer."""
    wide = 4 if np.prod(factors) <= 1 << 15 else 8
    kinds: dict[str, Any] = {"i": f"i{wide}", "u": f"u{wide}", "f": "f8", "c": "c16"}
    whole = pixels.astype(kinds[pixels.dtype.kind])
    counts: Any = 1
    for axis, step in enumerate(factors):
        if step == 1:
            continue
        length, before = whole.shape[axis], (slice(None),) * axis
        total = whole[(*before, slice(0, None, step))].copy()  # of blocks, pixel by pixel
        for start in range(1, step):
            more = whole[(*before, slice(start, None, step))]
            total[(*before, slice(0, more.shape[axis]))] += more
        each = np.full(total.shape[axis], step)
        each[-1] = length - (len(each) - 1) * step
        counts = counts * each.reshape(-1, *[1] * (whole.ndim - axis - 1)).astype(whole.real.dtype)
        whole = total
    means: np.ndarray[Any, Any]
    means = (whole + counts // 2) // counts if pixels.dtype.kind in "iu" else whole / counts
    return means


def checked_levels(pyramid: Any, levels: Any, factors: Any, axes: str) -> dict[str, int]:
    """Return how much smaller each level is by axis; raises if that cannot be.

    Parameters
    ----------
    axes
        Those along which the format has smaller levels.
    """
    if levels is not None and (type(levels) is not int or levels < 0):
        raise SerializerError(f"levels={levels!r}: how many smaller ones was expected.")
    if pyramid is False and (levels or factors):
        raise SerializerError("pyramid=False writes no smaller levels; levels= and factors= do.")
    found = {"Y": 2, "X": 2} if factors is None else factors
    if not isinstance(found, Mapping) or not all(
        type(step) is int and step > 0 for step in found.values()
    ):
        raise SerializerError(
            f"factors={factors!r}: how much smaller each level is than the one before was expected "
            "by axis, for example {'Y': 2, 'X': 2}."
        )
    found = {str(axis).upper(): step for axis, step in found.items()}
    if set(found) - set(axes):
        raise SerializerError(
            f"factors={factors!r}: smaller levels along {', '.join(axes)} are possible here."
        )
    return {axis: found[axis] for axis in axes if found.get(axis, 1) > 1}


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
        return tuple(hex_of(one) for one in colours)
    except (TypeError, ValueError):
        raise wrong from None


def hex_of(colour: Any, *, with_alpha: bool = False) -> str:
    """Return a colour as six hex digits; raises TypeError or ValueError unless it is one.

    Parameters
    ----------
    with_alpha
        Whether it is eight digits, the last two of which say how opaque it is; a colour that does
        not say is.
    """
    counts = (3, 4) if with_alpha else (3,)
    if isinstance(colour, str):
        digits = colour.removeprefix("#")
        if not re.fullmatch("([0-9a-fA-F]{2})+", digits) or len(digits) // 2 not in counts:
            raise ValueError(colour)
        return (digits + "FF" * (max(counts) - len(digits) // 2)).upper()
    parts = [operator.index(one) for one in colour]
    if len(parts) not in counts or not all(0 <= one <= 255 for one in parts):
        raise ValueError(colour)
    return "".join(f"{one:02X}" for one in (*parts, *[255] * (max(counts) - len(parts))))


@dataclass(frozen=True)
class Said:
    """What a value says of itself."""

    data: Any
    """Its pixels."""

    dim_order: str | None = None
    """One letter an axis."""

    channel_names: tuple[str, ...] | None = None
    """One name a channel."""

    sizes: PhysicalPixelSizes | None = None
    """Micrometres a pixel."""

    translation: Translation | None = None
    """Where its first pixel lies."""

    labels: Mapping[str, Any] = field(default_factory=dict)
    """Label images of the same pixels."""


def said_by(value: Any) -> Said:
    """Return a value's pixels and what it says of itself."""
    if hasattr(value, "dims") and hasattr(value, "coords"):  # an xarray DataArray
        order = "".join(str(name).upper() for name in value.dims)
        channel = next((name for name in value.dims if str(name).upper() == "C"), None)
        labels = value.coords[channel].values if channel in value.coords else None
        names = None if labels is None else tuple(str(label) for label in labels)
        sizes = sizes_of(value.attrs.get("physical_pixel_sizes"))
        return Said(value.data, order if len(order) == len(value.dims) else None, names, sizes)
    return Said(
        getattr(value, "data", value) if type(value).__name__ == "Image" else value,
        getattr(value, "dim_order", None),
        names_of(getattr(value, "channel_names", None)),
        sizes_of(getattr(value, "physical_pixel_sizes", None)),
        translation_of(getattr(value, "translation", None)),
        _labels_of(getattr(value, "labels", None)),
    )


def _labels_of(labels: Any) -> Mapping[str, Any]:
    if labels is None or callable(labels):  # of a class of its own
        return {}
    if not isinstance(labels, Mapping) or any(not isinstance(name, str) for name in labels):
        raise SerializerError(f"labels={labels!r}: label images by name were expected.")
    return labels


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
    found = _along_zyx(sizes, wrong)
    if any(size is not None and not 0 < size < np.inf for size in found):
        raise wrong
    return PhysicalPixelSizes(*found) if any(found) else None


def translation_of(translation: Any) -> Translation | None:
    """Return where an image lies as it is kept; raises unless it is three numbers or None."""
    if translation is None:
        return None
    wrong = SerializerError(
        f"translation={translation!r}: where the first pixel lies along Z, Y and X was expected, "
        "in micrometres (in pixels where no pixel size is known), None for the beginning."
    )
    found = _along_zyx(translation, wrong)
    if any(one is not None and not abs(one) < np.inf for one in found):
        raise wrong
    return Translation(*(one or None for one in found)) if any(found) else None


def _along_zyx(given: Any, wrong: SerializerError) -> tuple[float | None, ...]:
    """Return three numbers or None, for Z, Y and X; raises what is given unless they are."""
    if isinstance(given, str | bytes | Mapping | Set):
        raise wrong
    try:
        found = tuple(None if one is None else _length(one) for one in given)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if len(found) != 3:
        raise wrong
    return found


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
