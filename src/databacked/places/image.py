"""An image: pixels and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Image:
    """An array with metadata of its own, which win over the serializer's settings.

    Parameters
    ----------
    data
        numpy or dask array, (Y, X) with any of T, C, Z before it.
    dim_order
        One letter an axis, for example ``CZYX``.
    channel_names
        One name a channel.
    physical_pixel_sizes
        Z, Y, X in micrometres; None where nobody knows.
    translation
        Where its first pixel lies in what it was cut out of: Z, Y, X in micrometres, in pixels
        along an axis whose pixel size nobody knows; None: at the beginning.
    labels
        Label images of the same pixels by name, each an array or an `Image`: without the axis of
        channels, integers or bool. They lie inside of the image, in OME-Zarr.

    Examples
    --------
    >>> Image(np.zeros((2, 8, 8)), "CYX", ("DNA", "actin"), (None, 0.1, 0.1)).shape
    (2, 8, 8)
    """

    data: Any
    dim_order: str | None = None
    channel_names: tuple[str, ...] | None = None
    physical_pixel_sizes: tuple[float | None, float | None, float | None] | None = None
    translation: tuple[float | None, float | None, float | None] | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.labels:  # None, too
            object.__setattr__(self, "labels", {})

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis in pixels."""
        return tuple(self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __databacked_token__(self) -> tuple[Any, ...]:
        said: dict[str, Any] = {}
        if self.translation is not None:
            said["translation"] = tuple(self.translation)
        if self.labels:
            said["labels"] = dict(self.labels)
        known = (self.data, self.dim_order, self.channel_names, self.physical_pixel_sizes)
        return (*known, said) if said else known
