"""What is sent to another process, as bytes."""

from __future__ import annotations

import io
from collections import ChainMap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any, ClassVar

import cloudpickle

from databacked.errors import DatabackedError


@contextmanager
def sending(what: str) -> Iterator[None]:
    """Say of what cannot be pickled what it is, and what to do."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise DatabackedError(
            f"{what} cannot be sent to another process ({type(error).__name__}: {error}). Make it "
            "inside the function, use plain values and arrays, or runner='threads'."
        ) from error


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """Sends functions by value with the names of their files, so that tracebacks can say them."""

    dispatch_table: ClassVar[Any] = ChainMap(
        {CodeType: lambda code: (_with_file, (*_reduced(code), code.co_filename))},
        cloudpickle.CloudPickler.dispatch_table,
    )


def _reduced(code: CodeType) -> tuple[Any, ...]:
    return tuple(cloudpickle.CloudPickler.dispatch_table[CodeType](code)[:2])


def _with_file(make: Callable[..., CodeType], arguments: tuple[Any, ...], file: str) -> CodeType:
    return make(*arguments).replace(co_filename=file)


def as_pickle(value: Any) -> bytes:
    """Return a value as bytes that another process can read."""
    with io.BytesIO() as file:
        _Pickler(file, protocol=5).dump(value)
        return file.getvalue()
