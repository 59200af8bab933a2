"""What a viewer shows from black to white: percentiles of pixels that come block by block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from databacked.serializers.images import Facts

SHOWN = (0.1, 99.9)
"""Percentiles of the values that a viewer shows as black and as white."""

SAMPLED = 1 << 20
"""Pixels of an image that percentiles are taken of, about; all of smaller ones."""


class Spans:
    """Nearly the smallest and the largest value of each channel, of blocks that come one by one."""

    def __init__(self, facts: Facts) -> None:
        self._axis = facts.dim_order.find("C")
        self._found: dict[int, list[np.ndarray[Any, Any]]] = {}
        # Evenly, wherever blocks begin: the same pixels, however they come.
        pixels = int(np.prod(facts.shape, dtype=np.int64))
        self._step = math.ceil(math.sqrt(pixels / max(SAMPLED, facts.channels)))

    def see(self, block: np.ndarray[Any, Any], first: Sequence[int]) -> None:
        """Take note of a block that begins at `first`."""
        every = [slice(-start % self._step, None, self._step) for start in first[-2:]]
        key: Any = (..., *every)
        some = block[key]
        whole = self._axis < 0
        for number in range(1 if whole else some.shape[self._axis]):
            pixels = some if whole else some[(slice(None),) * self._axis + (number,)]
            channel = 0 if whole else first[self._axis] + number
            values = pixels[np.isfinite(pixels)]
            if values.size:
                self._found.setdefault(channel, []).append(values)

    def of(self, channel: int) -> tuple[Any, Any]:
        """Return numbers of which the second is larger, as viewers want it."""
        values = np.concatenate(self._found.get(channel, [np.array([0, 1], np.int8)]))
        if values.dtype.kind == "b":
            return 0, 1
        low, high = (one.item() for one in np.percentile(values, SHOWN, method="nearest"))
        if not high > low:  # a few bright spots
            low, high = values.min().item(), values.max().item()
        return low, high if high > low else low + 1
