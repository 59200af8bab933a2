"""What arrays count by: those of numpy and xarray."""

from __future__ import annotations

import copy
from typing import Any

from databacked.fingerprint.hashes import hash_bytes
from databacked.fingerprint.objects import is_of, name_of, state_of
from databacked.fingerprint.walk import Walk

_OF_MASKED = (
    "_mask", "_sharedmask", "_hardmask", "_isfield", "_baseclass", "_optinfo", "_basedict",
    "_fill_value",
)  # fmt: skip
"""What a masked array's class has of its own."""


def of_numpy(walk: Walk, value: Any, where: str) -> str | None:
    """Return the token of what numpy made; None for everything else."""
    import numpy as np

    if value is np.ma.masked:
        return walk.hash("masked")
    if isinstance(value, np.ndarray):
        return _of_array(walk, value, where)
    if isinstance(value, np.generic):
        own = [] if is_of("numpy", value) else walk.added(value, where)
        if isinstance(value, np.void) and value.dtype.names is not None:
            return walk.hash("scalar", walk.of(np.asarray(value), where), *own)
        data = _without_gaps(np.asarray(value)).tobytes()
        return walk.hash("scalar", value.dtype.str, data.hex(), *own)
    if isinstance(value, np.dtype):
        text = repr(value.descr) if value.names else value.str
        return walk.hash("dtype", text, *_of_type(walk, value))
    if isinstance(value, np.random.Generator):
        seeds = getattr(value.bit_generator, "seed_seq", None)  # what its children come from
        spawned = getattr(seeds, "n_children_spawned", 0) or None
        state = walk.of(_sorted(value.bit_generator.state), where)
        return walk.hash("rng", state, *walk.more(spawned=spawned))
    if isinstance(value, np.random.RandomState):
        return walk.hash("rng", walk.of(list(value.get_state()), where))
    if isinstance(value, np.vectorize) and vars(value).get("_ufunc"):
        fresh = copy.copy(value)  # without what it remembers of its calls
        fresh._ufunc = {}  # type: ignore[attr-defined]
        return walk.of_instance(fresh, where)
    if isinstance(value, np.ufunc) and "(vectorized)" not in value.__name__:
        return walk.hash("ufunc", value.__name__)
    return None


def _of_array(walk: Walk, value: Any, where: str) -> str:
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):
        own = [] if is_of("numpy", value) else walk.added(value, where, _OF_MASKED)
        kept = getattr(value, "_optinfo", None)  # what is given on from view to view
        return walk.hash(
            "masked",
            walk.of(value.data, where),
            walk.of(np.ma.getmaskarray(value), where),
            walk.of(np.asarray(value.fill_value, value.dtype), where),
            *walk.more(hard=value.hardmask or None, kept=kept or None),
            *own,
        )
    if type(value) not in (np.ndarray, np.memmap):
        own = (
            [walk.of(state_of(value), where)] if is_of("numpy", value) else walk.added(value, where)
        )
        plain = walk.of(value.view(np.ndarray), where)
        return walk.hash(type(value).__qualname__, plain, *own)
    dtype = value.dtype
    more = _of_type(walk, dtype)
    if dtype.names is not None:  # field by field: what lies between is anything
        fields = [walk.of(value[name], f"{where}[{name!r}]") for name in dtype.names]
        shape = [] if dtype.names else [repr(value.shape)]
        return walk.hash("fields", *dtype.names, *fields, *shape, *more)
    if dtype.hasobject:
        items = walk.each(value.ravel().tolist(), where)
        return walk.hash("objects", repr(value.shape), *items, *more)
    data = _without_gaps(np.ascontiguousarray(value))
    return walk.hash(
        "array",
        dtype.str,
        repr(value.shape),
        hash_bytes(data.reshape(-1).view(np.uint8)) if data.size else "",
        *more,
    )


def _of_type(walk: Walk, dtype: Any) -> list[str]:
    """Return what hangs on the type of an array besides its letter and size."""
    import numpy as np

    titles = [field[2] for field in (dtype.fields or {}).values() if len(field) > 2]
    return walk.more(
        metadata=dict(dtype.metadata) if dtype.metadata else None,
        titles=titles or None,
        scalar=dtype.type if dtype.names is not None and dtype.type is not np.void else None,
        text=repr(dtype) if dtype.kind == "T" else None,
    )


def of_xarray(walk: Walk, value: Any, where: str) -> str | None:
    """Return the token of what xarray made; None for everything else."""
    if hasattr(value, "children") and hasattr(value, "to_dict"):  # a tree of datasets
        return walk.hash("tree", walk.of(value.name, where), *walk.pairs(value.to_dict(), where))
    if hasattr(value, "data_vars"):
        return walk.hash(
            "dataset",
            walk.of(value.attrs, where),
            *walk.pairs(value.variables, where),
            *walk.pairs(value.sizes, where),
            *sorted(map(str, value.coords)),
            *_of_variable(walk, value, where),
        )
    if not hasattr(value, "dims") or not hasattr(value, "data"):
        return None
    coords = {name: one.variable for name, one in getattr(value, "coords", {}).items()}
    data = value.data
    return walk.hash(
        "xarray",
        *map(str, value.dims),
        walk.of(getattr(value, "name", None), where),
        walk.of(value.attrs, where),
        walk.of(coords, f"{where}.coords"),
        walk.of(data, where),
        *_of_variable(walk, value, where),
    )


def _of_variable(walk: Walk, value: Any, where: str) -> list[str]:
    """Return how values are written, and what a class of one's own adds."""
    # Where it was read from is no more part of it than of an array in a memory map.
    written = {key: one for key, one in value.encoding.items() if key != "source"}
    kind = type(value)
    own = [] if is_of("xarray", value) else [name_of(kind), walk.of_code(kind, where)]
    return [*walk.more(encoding=written or None), *own]


def _without_gaps(data: Any) -> Any:
    """Return an array in which the bytes that say nothing of a long double are zero."""
    import numpy as np

    if data.dtype.char not in "gG" or np.finfo(np.longdouble).nmant != 63:
        return data
    cleared = data.copy()
    cleared.reshape(-1).view(np.uint8).reshape(-1, np.dtype("g").itemsize)[:, 10:] = 0
    return cleared


def _sorted(value: Any) -> Any:
    """Return dicts in an order of their own, where it says nothing."""
    return {key: _sorted(value[key]) for key in sorted(value)} if type(value) is dict else value
