"""How a value becomes a file and comes back.

task → runner → result → [serializer] → storage → record → dataset → version → remote
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

from databacked.errors import SerializerError
from databacked.fingerprint.hashes import hash_file
from databacked.serializers.corrections import Conformed, Correction, conform, fit
from databacked.types import Description, Json, Parts, Written

Kind: TypeAlias = Literal["array", "file", "value"]
"""What readers get: a backed array, a backed file, or the value itself."""


class Serializer(ABC):
    """Writes a value to one file and reads it back; subclass it for a format of your own.

    A subclass needs `suffixes`, `write` and `read`. Everything else has a default. The same value
    must always give the same bytes: no date, no random identifier.

    Examples
    --------
    >>> class Upper(Serializer):
    ...     suffixes = (".txt",)
    ...     def write(self, value, path):
    ...         path.write_text(value.upper())
    ...     def read(self, path):
    ...         return path.read_text()
    """

    suffixes: ClassVar[tuple[str, ...]]
    """File name endings that it writes, with the dot; the first is the usual one."""

    format: ClassVar[int | None] = None
    """Built-in ones: a number that changes only when their bytes do. None: the code counts."""

    runs_code: ClassVar[bool] = False
    """Whether reading a file can run what somebody put into it, as a pickle does. Such a file is
    read only if a record holds its content."""

    backed: bool = False
    """Whether readers get a lazy backed array (see `open`) instead of the value."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Have what a class writes in its own way written by it alone, whatever it derives from."""
        super().__init_subclass__(**options)
        own = vars(cls)
        if "write" in own and "save" not in own:
            cls.save = Serializer.save  # type: ignore[method-assign]
        if ("write" in own or "save" in own) and "parts" not in own:
            cls.parts = Serializer.parts  # type: ignore[method-assign]

    @abstractmethod
    def write(self, value: Any, path: Path) -> Description | None:
        """Write `value` to the new file `path`.

        Parameters
        ----------
        value
            What the task returned.
        path
            A file that is not there yet; its suffix is the target's.

        Returns
        -------
        What the file holds, or None to have `describe` say it.

        Raises
        ------
        SerializerError
            If the value cannot be written: what came, what was expected, what to do.
        """

    @abstractmethod
    def read(self, path: Path) -> Any:
        """Read the whole value back.

        Parameters
        ----------
        path
            A file that `write` wrote, or that somebody saved over it.

        Returns
        -------
        A value that is equal to the one that was written.
        """

    def save(self, value: Any, path: Path) -> Written:
        """Write `value` and hash the bytes; override it to hash beside the write, not after it.

        Parameters
        ----------
        value, path
            As `write` takes them.

        Returns
        -------
        Hash, size in bytes, and what the file holds.
        """
        description = self.write(value, path)
        return Written(
            content=hash_file(path),
            size=path.stat().st_size,
            description=description or self.describe(path),
        )

    def parts(self, value: Any) -> Parts | None:
        """Return the bytes that `save` would write, where they are at hand.

        What there is to be noted of a value, only `save` says; such a value has no parts.

        Parameters
        ----------
        value
            What the task returned.

        Returns
        -------
        The bytes and what they hold; None: `save` has to write.
        """
        return None

    def describe(self, path: Path) -> Description:
        """Open the file and say what it holds; raises if it is not a whole file of this format.

        Used for files that were edited by hand or put there by others. The default reads the value.

        Parameters
        ----------
        path
            A file that may be damaged, or of another format.

        Returns
        -------
        Shape, type, axes and whatever else is known of the value.
        """
        value = self.read(path)
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if not isinstance(shape, tuple) or dtype is None:  # of a class they are descriptors
            return Description()
        return Description(shape=tuple(int(n) for n in shape), dtype=str(dtype))

    def correction(self, path: Path, recorded: Description) -> Correction:
        """Say how a file that was saved by hand is read as what was recorded of the result.

        The default takes what other programs make of an array (wider types, axes of length one that
        were dropped, another order), and any other value that opens.

        Parameters
        ----------
        path
            The file as it was saved.
        recorded
            What the result held that it took the place of.

        Returns
        -------
        How it is read, or what would make it usable.
        """
        return fit(recorded, self.describe(path), lambda: self.read(path))

    def read_corrected(self, path: Path, form: Mapping[str, Any]) -> Any:
        """Read a file that was saved by hand in the form that `correction` found.

        Parameters
        ----------
        path
            The file as it was saved.
        form
            What `Correction.form` said.

        Returns
        -------
        A value as it was recorded: its axes, its type where every number fits.
        """
        return conform(self.read(path), form)

    def open(self, path: Path) -> Any:
        """Open a backed value lazily.

        Only called where `backed` is true. The default reads everything.

        Parameters
        ----------
        path
            A file that `write` wrote, or that somebody saved over it.

        Returns
        -------
        An object with shape, dtype and numpy indexing.
        """
        return self.read(path)

    def inside(self, path: Path, name: str) -> tuple[Serializer, Path]:
        """Return what reads a label image that lies in an image, and where it lies.

        Only called for those that a `Description` names.

        Parameters
        ----------
        path
            The image.
        name
            Of the label image.

        Returns
        -------
        A serializer, and the file or folder that it reads.

        Raises
        ------
        SerializerError
            If images of this format hold none, which is the default.
        """
        raise SerializerError(f"{path} holds no label images.")

    def kind(self, suffix: str) -> Kind:
        """Say what readers of a file with this ending get.

        Parameters
        ----------
        suffix
            The target's ending, with the dot.

        Returns
        -------
        ``"array"`` (a `BackedArray`), ``"file"`` (a `BackedFile`: `read` gives its bytes), or
        ``"value"``.
        """
        return "array" if self.backed else "value"

    def settings(self) -> dict[str, Json]:
        """Say what decides the bytes besides the value; counts in the fingerprint of a result.

        Returns
        -------
        Plain values by name; the default: the instance's public attributes.
        """
        return {
            name: _plain(value)
            for name, value in sorted(vars(self).items())
            if not name.startswith("_")
        }

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
        return f"{type(self).__name__}({given})"


class Corrected(Serializer):
    """Reads one file that was saved by hand; a serializer writes it no more."""

    suffixes = ()

    def __init__(self, serializer: Serializer, form: Mapping[str, Any]) -> None:
        self.serializer, self.form = serializer, dict(form)
        self.backed = serializer.backed

    def write(self, value: Any, path: Path) -> Description | None:
        """Write as the serializer does that the file is of."""
        return self.serializer.write(value, path)

    def read(self, path: Path) -> Any:
        """Read the file as what was recorded."""
        return self.serializer.read_corrected(path, self.form)

    def open(self, path: Path) -> Any:
        """Open the file as what was recorded."""
        return Conformed(self.serializer.open(path), self.form)

    def inside(self, path: Path, name: str) -> tuple[Serializer, Path]:
        """What reads a label image: each is as it was saved."""
        return self.serializer.inside(path, name)

    def kind(self, suffix: str) -> Kind:
        """What readers get of any file of the result."""
        return self.serializer.kind(suffix)


def _plain(value: Any) -> Json:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return repr(value)
