"""Whatever a serializer or `keep=` takes comes back equal, or is refused with words."""

from __future__ import annotations

import json
import re
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from databacked import Image
from databacked.errors import SerializerError
from databacked.graph.sketch import decode_known, encode_known, remembered

from .nasty import told, values

NO_VALUES = {"as-written"}
"""Serializers that take a path, not a value."""

PICTURES = (".jpg", ".jpeg")
"""Endings that change pixels."""

EXEMPT = {
    r"bool is stored as 0 and 255( \(uint8\))?": "bool in pictures",
    r"\S+ is stored as u?int\d+, which holds all values": "integers in OME-TIFF",
    r"float16 is stored as float32": "float16 in OME-TIFF",
    r"[<>]\w\d is stored as \w+, in the usual byte order": "pixels in the other byte order",
    r"axes of length one are left out of a picture, .*": "axes of length one, and colours",
    r"attrs and coordinates of a DataArray are not kept, .*": "coordinates of an xarray DataArray",
    r"numbers and texts of numpy are stored as Python's": "numbers and texts of numpy in JSON",
}
"""What may come back as something else: how the run says it, and how the docs do."""

EVERY = [
    pytest.param(entry, suffix, id=f"{entry.name}{suffix}")
    for entry in entry_points(group="databacked.serializers")
    if entry.name not in NO_VALUES
    for suffix in entry.load().suffixes
]
MANY = settings(
    deadline=None, suppress_health_check=list(HealthCheck), max_examples=30, derandomize=True
)


@pytest.mark.parametrize(("entry", "suffix"), EVERY)
@MANY
@given(value=values)
def test_a_value_comes_back_equal_or_is_refused(entry, suffix, value):
    """In type, dtype, mask, index, names, attrs, order, zone and digits; never a raw error."""
    with tempfile.TemporaryDirectory() as folder:
        comes_back(entry.load()(), value, Path(folder, f"a{suffix}"), suffix)


def comes_back(serializer, value, path, suffix):
    """Raise AssertionError unless a value is the same after it was a file, or was refused."""
    before = told(value)
    try:
        written = serializer.save(value, path)
    except SerializerError:
        return
    assert told(value) == before, "writing changed it"
    assert serializer.describe(path) == written.description
    assert all(any(re.fullmatch(one, note) for one in EXEMPT) for note in written.notes)
    back = serializer.read(path)
    if serializer.kind(suffix) != "array":
        assert told(back) == told(pythons(value) if written.notes else value)
        return
    assert told(np.asarray(serializer.open(path)[...])) == told(back)
    if suffix in PICTURES:
        return
    array = np.asarray(value)
    if any(note.startswith("bool") for note in written.notes):
        array = array * np.uint8(255)
    if any(note.startswith("axes") for note in written.notes):
        array = as_picture(array, back.shape)
    assert told(back) == told(array.astype(back.dtype) if written.notes else array)
    assert told(back.astype(array.dtype)) == told(array), "another number"
    if isinstance(value, Image) and suffix != ".png":
        said = written.description
        assert said.channel_names == (value.channel_names and tuple(value.channel_names))
        assert value.dim_order in (None, "") or said.dim_order == value.dim_order.upper()


def as_picture(array, shape):
    """Return an array without axes of length one, and with colours in its last axis."""
    rest = array.reshape([n for n in array.shape if n != 1])
    return (
        rest if rest.shape == shape else np.moveaxis(array.reshape(array.shape[-3:]), 0, -1)
    ).reshape(shape)


def test_what_may_come_back_as_something_else_is_in_the_docs():
    """Nothing else is exempt."""
    docs = Path(__file__).parents[2] / "docs" / "how-it-works.md"
    for said in EXEMPT.values():
        assert said in docs.read_text(encoding="utf-8")


@MANY
@given(value=values)
def test_a_kept_value_comes_back_equal_or_is_refused(value):
    """What the next run takes from a record is what the first one had."""
    try:
        remembered(value)
    except SerializerError:
        return
    back = decode_known(json.loads(json.dumps(encode_known(value))))
    assert told(back) == told(value)


def pythons(value):
    """Return a value with numbers and texts of Python in the place of numpy's."""
    if isinstance(value, list):
        return [pythons(one) for one in value]
    if isinstance(value, dict):
        return {key: pythons(one) for key, one in value.items()}
    return value.item() if isinstance(value, np.generic) else value
