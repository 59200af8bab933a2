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

from databacked.arrays import BackedArray
from databacked.errors import SerializerError
from databacked.fingerprint.parameters import token as token_of_value
from databacked.hashes import hash_texts
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
    if known is None or type(known) in (bool, int, float, str):
        return known  # type: ignore[no-any-return]
    if type(known) is Unknown:
        return {"unknown": None if known.shape is None else list(known.shape)}
    if type(known) in (list, tuple):
        return {type(known).__name__: [encode_known(item) for item in known]}
    if type(known) is dict:
        return {"dict": [[encode_known(k), encode_known(v)] for k, v in known.items()]}
    if isinstance(known, PurePath):
        return {"path": str(known)}
    if isinstance(known, np.ndarray | np.generic) and not known.dtype.hasobject:
        data = base64.b64encode(np.ascontiguousarray(known).tobytes()).decode()
        return {"array": [known.dtype.str, list(known.shape), isinstance(known, np.generic), data]}
    raise TypeError(f"{type(known).__name__} cannot be part of a record")


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
            dtype, shape, scalar, data = held
            array = np.frombuffer(base64.b64decode(data), dtype).reshape(shape)
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
        size = len(json.dumps(encode_known(value)))
    except TypeError as error:
        raise SerializerError(
            f"keep=True holds plain values (numbers, texts, lists, dicts, small arrays): {error}. "
            "Give the task a target=, so that its value becomes a file."
        ) from None
    if size > LARGEST_REMEMBERED:
        raise SerializerError(
            f"keep=True holds small values, and this one takes {size:,} bytes (at most "
            f"{LARGEST_REMEMBERED:,}). Give the task a target=, so that its value becomes a file."
        )
    return hash_texts([str(token_of_value(value))])
