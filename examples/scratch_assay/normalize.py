"""How cells are cut out, brightened and drawn: plain functions on arrays."""

import numpy as np

BOX = 64
"""Pixels along Y and X of a cut-out cell."""

DARKEST, BRIGHTEST = 2.0, 99.8
"""Percentiles of a channel that become 0 and 1."""

NUCLEUS_COLOUR = np.array([0.25, 0.75, 1.0])
"""Red, green, blue of the nuclear channel."""


def cut_out(planes, y, x):
    """Return a box around a point, filled up with zeros at the edge; (C, Y, X) in and out."""
    half = BOX // 2
    padded = np.pad(planes, ((0, 0), (half, half), (half, half)))
    return padded[:, y : y + BOX, x : x + BOX]


def stretch(channel, mask):
    """Return a channel between 0 and 1 inside a mask, 0 outside."""
    low, high = np.percentile(channel[mask], [DARKEST, BRIGHTEST])
    return np.clip((channel - low) / max(high - low, 1), 0, 1) * mask


def draw(nucleus, body):
    """Return an RGB picture: the cell's body in grey, its nucleus in colour."""
    picture = 0.6 * body[..., None] + nucleus[..., None] ** 1.5 * NUCLEUS_COLOUR
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
