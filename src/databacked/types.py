"""The nouns that every part shares: frozen, plain, and without third-party imports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

Json: TypeAlias = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class PhysicalPixelSizes(NamedTuple):
    """Size of one pixel along each spatial axis.

    Parameters
    ----------
    Z, Y, X
        Micrometres; None where nobody knows.
    """

    Z: float | None = None
    Y: float | None = None
    X: float | None = None


class Translation(NamedTuple):
    """Where the first pixel of an image lies, seen from what it was cut out of.

    Parameters
    ----------
    Z, Y, X
        Micrometres, pixels along an axis whose pixel size nobody knows; None: at its beginning.
    """

    Z: float | None = None
    Y: float | None = None
    X: float | None = None


@dataclass(frozen=True)
class Description:
    """What a file holds, as its record says it, so that nobody has to open it to know."""

    shape: tuple[int, ...] | None = None
    """Length of each axis in pixels; None for values that are not arrays."""

    dtype: str | None = None
    """numpy's name of the stored type, for example ``uint16``."""

    dim_order: str | None = None
    """One letter an axis, for example ``CZYX``."""

    channel_names: tuple[str, ...] | None = None
    """One name a channel, in order."""

    physical_pixel_sizes: PhysicalPixelSizes | None = None
    """Micrometres a pixel."""

    chunks: tuple[int, ...] | None = None
    """Pixels along each axis that are read at once."""

    columns: tuple[tuple[str, str], ...] | None = None
    """Name and kind (``number``, ``flag``, ``time``, ``text``) of each column of a table."""

    translation: Translation | None = None
    """Where it was cut out of a larger image."""

    labels: tuple[str, ...] | None = None
    """Names of the label images that lie in it."""


@dataclass(frozen=True)
class Written:
    """What a serializer says of the file that it just wrote."""

    content: str
    """xxh3-128 of the file's bytes, as 32 hex digits."""

    size: int
    """Bytes."""

    description: Description = Description()
    """What the file holds."""

    notes: tuple[str, ...] = ()
    """What the user should know once, for example that int64 was stored as uint16."""

    value: Any = None
    """The value exactly as `Serializer.read` would give it, where that is known without reading."""


class Parts(NamedTuple):
    """The bytes of a file that nobody has written yet, and what it will hold."""

    buffers: Sequence[bytes | memoryview]
    """The bytes in order, cut wherever they are at hand."""

    description: Description
    """What `Serializer.describe` would say of the file."""


@dataclass(frozen=True)
class Failure:
    """One item that failed."""

    task: str
    """Name of its task."""

    item: str
    """Target or position of the item."""

    parameters: dict[str, str]
    """Short texts of what it was called with."""

    exception: str
    """Type and message."""

    where: str
    """File and line of the innermost frame that is the user's."""

    seconds: float
    """How long it ran before it failed, in seconds."""

    traceback: str = ""
    """The whole traceback as text."""

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"{self.task}[{self.item}]: {self.exception}{where}"


@dataclass(frozen=True, repr=False)
class Failed:
    """Stands in a list in place of a value that could not be made."""

    failure: Failure
    """Why."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<Failed {self.failure}>"


@dataclass(frozen=True)
class Unlooked:
    """Stands among the values of a map for one that cannot be looked at: its item fails."""

    error: Exception
    """Why."""
