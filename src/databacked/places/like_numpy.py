"""What numpy's arrays can do besides arithmetic, for an array that is read when it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

IN_PLACE = frozenset(
    {"byteswap", "fill", "itemset", "partition", "put", "resize", "setfield", "setflags", "sort"}
)
"""Methods that change an array and give nothing back."""


CHANGE_FIRST = frozenset(
    {np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask}
)
"""Functions that change their first argument."""


_WRITABLE = 1  # of inspect.BufferFlags, which is new in Python 3.12


class LikeNumpy(NDArrayOperatorsMixin):
    """Gives what numpy's arrays give, from an array that ``__array__`` reads."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        raise NotImplementedError

    def _unchangeable(self) -> str:
        """Return in words that it cannot be written to."""
        raise NotImplementedError

    def __contains__(self, value: Any) -> bool:
        return value in self.__array__()

    def __bool__(self) -> bool:
        return bool(self.__array__())

    def __float__(self) -> float:
        return float(self.__array__())

    def __int__(self) -> int:
        return int(self.__array__())

    def __complex__(self) -> complex:
        return complex(self.__array__())

    def __index__(self) -> int:
        if self.shape != ():  # without reading it
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return self.__array__().__index__()

    def __bytes__(self) -> bytes:
        return self.__array__().tobytes()

    def __format__(self, spec: str) -> str:
        return format(self.__array__(), spec) if spec else str(self)

    def __dir__(self) -> Iterable[str]:
        return {*object.__dir__(self), *dir(np.ndarray)}

    # What C code asks for

    def __buffer__(self, flags: int) -> memoryview:  # asked for by Python 3.12 and newer
        if flags & _WRITABLE:
            raise BufferError(self._unchangeable())
        return memoryview(self.__array__())  # type: ignore[arg-type]  # before 3.12

    @property
    def __array_interface__(self) -> dict[str, Any]:
        data = np.asarray(self.__array__(), order="C")
        # The bytes as an object of their own, which keeps them alive as long as they are used.
        flat = data.reshape(-1).view(np.uint8) if data.size else np.empty(0, np.uint8)
        return {**data.__array_interface__, "data": flat, "strides": data.strides}

    def __dlpack__(self, **options: Any) -> Any:
        return self.__array__().__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return np.empty(0).__dlpack_device__()

    def __array_namespace__(self, *, api_version: Any = None) -> Any:
        return np.empty(0).__array_namespace__(api_version=api_version)
