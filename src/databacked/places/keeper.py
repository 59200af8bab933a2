"""Many new values of one task: what their records share is said once."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from databacked.places.claim import details_of, joined
from databacked.places.one_file import OneFile
from databacked.places.place import Place
from databacked.records.marks import marked
from databacked.records.record import Record, line_of, parse
from databacked.storage.buffers import NEW, write_hashed
from databacked.storage.local import storage_error
from databacked.storage.looks import Stat
from databacked.storage.renames import remove


class Keeper:
    """Keeps values whose bytes are at hand: what `Place.save` does where nothing is odd, for many.

    The order is the same: a temporary file, its record, and a rename that replaces nothing else.

    Parameters
    ----------
    context, fields
        Name and content of the context that all records are in.
    """

    def __init__(
        self, place: Place, format: OneFile, context: str, fields: Mapping[str, Any]
    ) -> None:
        self._place = place
        self._serializer = format.serializer
        self._context = context
        self._fields = fields
        self._journal = place.journal
        self._temporary = ""
        """One name for all: once a file is published, it is free again."""
        self.in_vain: list[Record] = []
        """Records of files that never became visible, since something else lay there by then."""

    def keep(
        self, value: Any, target: str, recipe: str, judged: Stat | None, said: bytes
    ) -> tuple[str, bytes] | None:
        """Keep a value; return its content and the line of its record.

        Parameters
        ----------
        judged
            What lies there, and is to be replaced.
        said
            The details of its record, but for what the file holds.

        Returns
        -------
        None, with nothing kept, if it takes more: other bytes, or something lies there by now.

        Raises
        ------
        StorageError
            If the disk does not take it.
        """
        parts = self._serializer.parts(value)
        if parts is None:
            return None
        try:
            content, size, written_at = self._write(target, parts.buffers)
            line = line_of(
                "w",
                target,
                recipe,
                recipe,
                content,
                size,
                written_at,
                self._context,
                joined(said, details_of(parts.description)),
            )
            self._journal.append(line, self._context, self._fields)
            if self._place.storage.publish(self._temporary, target, judged):
                return content, line
        except BaseException as error:
            remove(self._temporary)
            if isinstance(error, OSError):
                raise storage_error(error, str(self._place.path(target)), "written") from error
            raise
        remove(self._temporary)
        self.in_vain.append(parse(line[:-1]))
        return None

    def _write(self, target: str, buffers: Sequence[bytes | memoryview]) -> tuple[str, int, int]:
        """Write a file whose time carries its mark; return content, size and time."""
        try:
            file = os.open(self._temporary, NEW, 0o666)
        except FileNotFoundError:  # the first one, or somebody removed the folder
            self._temporary = self._journal.temporary("")
            file = os.open(self._temporary, NEW, 0o666)
        try:
            content, size = write_hashed(file, buffers)
            time_ns = marked(time.time_ns(), content, target)
            os.utime(file, ns=(time_ns, time_ns))
            return content, size, os.fstat(file).st_mtime_ns
        finally:
            os.close(file)
