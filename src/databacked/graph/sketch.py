"""What is known of a value without holding all of it.

The driver decides the items of maps, targets and small kept values by it, and records hold it as
JSON.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from databacked.errors import SerializerError
from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.parameters import token as token_of_value
from databacked.places.backed import BackedArray
from databacked.serializers.sameness import a_kind, difference
from databacked.types import Json

LARGEST_REMEMBERED = 1 << 16
"""Bytes of a value that is kept in a record, at most."""


NOTHING_KNOWN: Json = {"none": True}
"""How a record says that a value is None; a record without a word is of no use."""


class Unknown(NamedTuple):
    """Stands in what is known of a value for a part that is too large to be known."""

    shape: tuple[int, ...] | None


PLAIN = (str, int, float, bool, type(None))


SMALL_ELEMENT = 1024
"""Bytes up to which an array is known by itself."""


def sketch(value: Any) -> Any:
    """Return what is known of a value that decides items: small parts whole, large ones `Unknown`.

    Series come as lists, and a DataFrame as a dict of the lists of its columns.
    """
    if type(value) in PLAIN or isinstance(value, np.generic | PurePath):
        return value
    if isinstance(value, BackedArray):
        return Unknown(value.shape)
    if isinstance(value, np.ndarray):
        small = value.nbytes <= SMALL_ELEMENT or value.ndim == 1
        return value if small and not value.dtype.hasobject else Unknown(value.shape)
    if type(value) in (list, tuple):
        return type(value)(sketch(item) for item in value)
    if type(value) is dict:
        return {key: sketch(item) for key, item in value.items()}
    if type(value).__module__.startswith("pandas"):
        if hasattr(value, "columns"):
            return {str(name): sketch(value[name].tolist()) for name in value.columns}
        if hasattr(value, "tolist"):
            return sketch(value.tolist())
    return Unknown(None)


def holds_unknown(value: Any) -> bool:
    """Whether a sketch leaves out a part."""
    if type(value) is Unknown:
        return True
    if type(value) in (list, tuple):
        return any(holds_unknown(item) for item in value)
    if type(value) is dict:
        return any(holds_unknown(item) for item in value.values())
    return False


def encode_known(known: Any) -> Json:
    """Return what is known of a value as a record holds it: JSON, with a letter for each type.

    Raises
    ------
    TypeError
        If it holds something else than plain values, small arrays and containers of these.
    """
    if known is None or type(known) in (bool, float, str):
        return known  # type: ignore[no-any-return]
    if type(known) is int:
        if known.bit_length() > LARGEST_REMEMBERED // 8:  # Python writes no number of any length
            raise TypeError(f"a number of {known.bit_length():,} bits cannot be part of a record")
        return known
    if type(known) is Unknown:
        return {"unknown": None if known.shape is None else list(known.shape)}
    if type(known) in (list, tuple):
        return {type(known).__name__: [encode_known(item) for item in known]}
    if type(known) is dict:
        return {"dict": [[encode_known(k), encode_known(v)] for k, v in known.items()]}
    if type(known) is type(Path()):
        return {"path": str(known)}
    scalar = isinstance(known, np.generic)
    if (scalar or type(known) in (np.ndarray, np.memmap)) and not known.dtype.hasobject:
        data = base64.b64encode(np.ascontiguousarray(known).tobytes()).decode()
        return {"array": [_encode_dtype(known.dtype), list(known.shape), scalar, data]}
    raise TypeError(f"{a_kind(type(known))} cannot be part of a record")


def _encode_dtype(dtype: np.dtype[Any]) -> Json:
    """Return a type as a record holds it: its text, or its fields in a list."""
    if dtype.names is None:
        return dtype.str
    try:
        said: Json = json.loads(json.dumps(np.lib.format.dtype_to_descr(dtype)))
        if dtype.type is np.void and _decode_dtype(said) == dtype:
            return said
    except (TypeError, ValueError):
        pass  # fields that overlap
    raise TypeError(f"an array of type {dtype} cannot be part of a record")


def _decode_dtype(said: Any) -> np.dtype[Any]:
    def as_numpy_wants_it(part: Any) -> Any:
        # Fields are tuples: (name, type), (name, type, shape), with a title ((title, name), …).
        if not isinstance(part, list):
            return part
        name, kind, *shape = part
        kind = [as_numpy_wants_it(one) for one in kind] if isinstance(kind, list) else kind
        name = tuple(name) if isinstance(name, list) else name
        return (name, kind, *map(tuple, shape))

    if isinstance(said, list):
        said = np.lib.format.descr_to_dtype([as_numpy_wants_it(one) for one in said])
    found: np.dtype[Any] = np.dtype(said)
    return found


def decode_known(said: Any) -> Any:
    """Return what a record says of a value that decides items."""
    if not isinstance(said, dict):
        return said
    (kind, held), *_ = said.items()
    match kind:
        case "none":
            return None
        case "unknown":
            return Unknown(None if held is None else tuple(held))
        case "list":
            return [decode_known(item) for item in held]
        case "tuple":
            return tuple(decode_known(item) for item in held)
        case "dict":
            return {decode_known(key): decode_known(value) for key, value in held}
        case "path":
            return Path(held)
        case "array":
            said_dtype, shape, scalar, data = held
            dtype = _decode_dtype(said_dtype)
            array = np.ndarray(shape, dtype, base64.b64decode(data))
            return array[()] if scalar else array.copy()
    raise ValueError(kind)


def remembered(value: Any) -> str:
    """Return what a value counts by that is kept in a record.

    Raises
    ------
    SerializerError
        If it is too large for a record, or no plain value.
    """
    try:
        said = json.dumps(encode_known(value))
    except (TypeError, RecursionError) as error:
        why = error if isinstance(error, TypeError) else "what lies so deep cannot be part of one"
        raise SerializerError(
            f"keep=True holds plain values (numbers, texts, lists, dicts, small arrays): {why}. "
            "Give the task a target=, so that its value becomes a file."
        ) from None
    size = len(said)
    if size > LARGEST_REMEMBERED:
        raise SerializerError(
            f"keep=True holds small values, and this one takes {size:,} bytes (at most "
            f"{LARGEST_REMEMBERED:,}). Give the task a target=, so that its value becomes a file."
        )
    if type(value) not in PLAIN and (found := difference(value, decode_known(json.loads(said)))):
        raise SerializerError(
            f"keep=True would give back something else in the next run ({found}). Give the task a "
            "target=, so that its value becomes a file."
        )
    return content_of_known(value)


def content_of_known(value: Any) -> str:
    """Return what a value counts by that came from a record."""
    return hash_texts([str(token_of_value(value))])
