"""Numbers, texts and plain values: npy, npz, json, txt."""

from __future__ import annotations

import io
import json
import math
import zipfile
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from databacked.errors import SerializerError
from databacked.serializers.default.made import EPOCH, Made, of_array, said_by
from databacked.serializers.sameness import is_unicode, plain_array
from databacked.types import Description, Json

# ---------------------------------------------------------------- arrays


def write_npy(value: Any, scale: Any) -> Made:
    """Return an array as .npy."""
    array = _numbers(value, ".npy")
    return _npy(array), of_array(array), ()


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _numbers(value: Any, place: str) -> np.ndarray[Any, Any]:
    """Return an array that comes back as it is; an Image is one if it says nothing of itself."""
    said = {name: one for name, one in (said_by(value) or {}).items() if one is not None}
    if said:
        raise SerializerError(
            f"an Image would come back from {place} without its {', '.join(said)}: return its "
            ".data, or keep it as .ome.tiff."
        )
    if hasattr(value, "dims") and hasattr(value, "attrs"):  # of xarray
        raise SerializerError(
            f"a {type(value).__name__} would come back from {place} without its axes and "
            "coordinates: return x.to_numpy(), or keep it as .ome.tiff."
        )
    array = plain_array(value, place)
    if array.dtype.hasobject:
        raise SerializerError(
            f"{type(value).__name__} is no array of numbers; {place} holds these only."
        )
    return array if array.dtype.names is None else array.view(_as_npy_has_it(array.dtype, place))


def _as_npy_has_it(dtype: np.dtype[Any], place: str) -> np.dtype[Any]:
    """Return the type of a structured array as .npy gives it back; raises if that is another."""
    found: np.dtype[Any] | None = None
    with suppress(ValueError):  # fields that overlap
        found = np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(dtype))
    if found is None or found != dtype or dtype.type is not np.void:
        raise SerializerError(
            f"an array of type {dtype} would come back from {place} as another one: fields that "
            "follow each other were expected (numpy.lib.recfunctions.repack_fields)."
        )
    return found


def write_npz(value: Any, scale: Any) -> Made:
    """Return a dict of arrays as .npz, the same bytes each time."""
    if type(value) is not dict or not all(type(name) is str for name in value):
        raise SerializerError(f"{type(value).__name__}: a dict of arrays was expected for .npz.")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, given in value.items():
            array = _numbers(given, f".npz[{name!r}]")
            if isinstance(given, np.generic) or not hasattr(given, "shape"):
                raise SerializerError(
                    f"{type(given).__name__} at [{name!r}] would come back from .npz as an array: "
                    "a dict of arrays was expected."
                )
            # A fixed date: the same arrays give the same bytes.
            entry = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            if entry.filename != f"{name}.npy" or not is_unicode(name):
                raise SerializerError(
                    f"the name {name!r} would come back from .npz as another one."
                )
            archive.writestr(entry, _npy(array))
    return file.getvalue(), Description(), ()


def read_npz(path: Path) -> dict[str, Any]:
    """Return the arrays of a .npz by name."""
    # numpy leaves a file open that it cannot read.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        # By the whole names: "a" and "a.npy" are two arrays.
        names = archive.zip.namelist()
        return {name.removesuffix(".npy"): archive[name] for name in names}


# ---------------------------------------------------------------- plain values and tables


def write_json(value: Any, scale: Any) -> Made:
    """Return plain values as JSON."""
    numpys: list[str] = []
    try:
        text = json.dumps(_jsonable(value, "", numpys), ensure_ascii=False, indent=1)
    except RecursionError:
        raise SerializerError(
            "lists and dicts lie too deep in each other for JSON, or one contains itself."
        ) from None
    except ValueError as error:  # Python writes no more than 4300 digits
        raise SerializerError(f"a whole number is too large for JSON: {error}.") from None
    notes = ("numbers and texts of numpy are stored as Python's",) if numpys else ()
    return (text + "\n").encode("utf-8", "surrogatepass"), Description(), notes


def _jsonable(value: Any, where: str, numpys: list[str]) -> Json:
    """Return a value as JSON gives it back: what would come back as something else is an error."""
    if value is None or type(value) in (bool, int, str):
        return value  # type: ignore[no-any-return]
    if isinstance(value, np.bool_ | np.integer | np.floating | np.str_):
        numpys.append(where)
        value = value.item()
    if type(value) is float:
        if not math.isfinite(value):
            raise SerializerError(
                f"{value} at {where or 'the top'}: JSON has no NaN or infinity. Use None, or "
                "another format (.npy, .parquet)."
            )
        return value
    if type(value) in (bool, int, str):
        return value  # type: ignore[no-any-return]
    if type(value) is list:
        return [_jsonable(item, f"{where}[{number}]", numpys) for number, item in enumerate(value)]
    if type(value) is dict:
        odd = [key for key in value if type(key) is not str]
        if odd:
            raise SerializerError(
                f"the key {odd[0]!r} at {where or 'the top'} would come back as text from JSON: "
                "use text keys."
            )
        return {key: _jsonable(item, f"{where}[{key!r}]", numpys) for key, item in value.items()}
    raise SerializerError(
        f"a {type(value).__name__} at {where or 'the top'} has no place in JSON: numbers, texts, "
        f"lists and dicts were expected (use {_plain(value)})."
    )


def _plain(value: Any) -> str:
    """Return what JSON would take in the place of a value."""
    hints = {"tuple": "a list", "ndarray": "x.tolist() or .npy", "DataFrame": ".csv or .parquet"}
    if isinstance(value, Enum):
        return "its .value"
    for kind in (dict, list, str, int, float):
        if isinstance(value, kind):
            return f"{kind.__name__}(x)"
    return hints.get(type(value).__name__, "plain values")


def write_txt(value: Any, scale: Any) -> Made:
    """Return a text as UTF-8."""
    if type(value) is not str:
        hint = "; use str(x)" if isinstance(value, str) else ""
        raise SerializerError(f"{type(value).__name__}: a text was expected for .txt{hint}.")
    try:
        return value.encode("utf-8"), Description(), ()
    except UnicodeEncodeError as error:
        raise SerializerError(f"this text cannot be written as UTF-8: {error}.") from None
