"""Any Python value, as a last resort: only Python opens such a file, and only where its code is."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

from databacked.errors import SerializerError
from databacked.serializers.base import Serializer
from databacked.serializers.sameness import difference


class ToPickle(Serializer):
    """Pickle a value.

    The bytes can differ between versions of Python and of the libraries that a value comes from,
    so that what depends on it may be made again after an upgrade. Reading a pickle can run code:
    one whose content no record holds is never read, so a pickle cannot be corrected by hand.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".pkl", ".pickle")
    format = 1
    runs_code = True

    def write(self, value: Any, path: Path) -> None:
        """Pickle a value with protocol 5."""
        try:
            data = pickle.dumps(value, protocol=5)
        except Exception as error:
            raise SerializerError(f"{type(value).__name__} cannot be pickled: {error}.") from error
        try:
            back = pickle.loads(data)
        except Exception as error:
            raise SerializerError(
                f"{type(value).__name__} can be pickled, but not read back: {error}."
            ) from error
        # Classes say themselves what they leave out; numpy's subclasses do so without a word.
        try:
            found = difference(value, back)
        except RecursionError:  # it contains itself
            found = None
        if found is not None:
            raise SerializerError(
                f"{type(value).__name__} would come back from a pickle as something else: {found}."
            )
        path.write_bytes(data)

    def read(self, path: Path) -> Any:
        """Load a value."""
        try:
            with open(path, "rb") as file:
                return pickle.load(file)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise SerializerError(f"{path} is not a whole pickle: {error}.") from error
