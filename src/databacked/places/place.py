"""Where the values of a task lie: bytes at names, with the records of what made them.

task → runner → [result] → serializer → storage → record → dataset → version → remote

A place is put together of four parts, each of which can be another one: a storage (where the bytes
are), records (what made them), a format (what the files of one item are) and rules.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from databacked.fingerprint.hashes import hash_texts
from databacked.places.backed import BackedFile
from databacked.places.claim import Claim
from databacked.places.judge import Found
from databacked.places.rules import Rules
from databacked.project.folders import STATE, from_here
from databacked.records.book import Records, records_of
from databacked.records.journal import Journal, journal_of
from databacked.records.owners import Owner
from databacked.records.record import Record, details
from databacked.serializers.base import Serializer
from databacked.storage.base import Storage
from databacked.storage.local import storage_error
from databacked.storage.looks import Stat


class Format(ABC):
    """What the files of one item are: one by a serializer, several by name, or a dataset.

    It is handed the place each time, and holds none.
    """

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Return name, format and settings, as they count and as records hold them."""

    def names(self) -> Sequence[str]:
        """Return the names of an item's files, in the order of its target; none of a single one."""
        return ()

    def by_time(self) -> bool:
        """Whether size and time tell that a file is the one that was written."""
        return True

    @abstractmethod
    def files(self, target: str) -> list[tuple[str, Serializer]]:
        """Return each file that a target names, with what writes it."""

    def find(self, place: Place, targets: Iterable[str]) -> dict[str, Stat]:
        """Return what lies at the targets of items, all at once; what is missing is left out."""
        return place.storage.find(targets)

    def stat(self, place: Place, target: str) -> Stat | None:
        """Return what lies at the target of one item now."""
        return place.storage.stat(target)

    @abstractmethod
    def look(
        self,
        place: Place,
        target: str,
        stat: Stat | None,
        owner: Owner,
        records: Records,
        without: Sequence[Record] = (),
    ) -> Found:
        """Say whose the file at a target is; reads it only where size and time do not decide.

        Parameters
        ----------
        without
            Claims that do not count: of files which are not visible yet, or never were.
        """

    @abstractmethod
    def value(
        self, place: Place, record: Record, value: Any = None, keys: tuple[Any, ...] = ()
    ) -> Any:
        """Return the value of a record as readers get it: backed by its file, or itself.

        Parameters
        ----------
        value
            The value where it is still in memory.
        keys
            Which part of it is asked for.
        """

    @abstractmethod
    def file(self, record: Record, keys: tuple[Any, ...] = ()) -> Record | None:
        """Return the record of the file that holds the value of a record, or a part of it.

        None if there is none: the value was None, or the part is not a file of its own.
        """

    @abstractmethod
    def save(
        self,
        place: Place,
        value: Any,
        target: str,
        judged: Found,
        claim: Claim,
        without: Sequence[Record] = (),
    ) -> tuple[Record, Any, tuple[str, ...]]:
        """Write a value: temporary file, then its record, then one rename.

        Parameters
        ----------
        without
            Claims that do not count (see `look`).

        Returns
        -------
        The record, the value as readers would get it where that is known, and what the user
        should know once.

        Raises
        ------
        SerializerError, StorageError
            If the value cannot be written, or the disk does not take it.
        """

    @abstractmethod
    def settlement(
        self, place: Place, found: Found, target: str, claim: Claim, state: str
    ) -> tuple[Record, list[tuple[Record, Claim]]]:
        """Return how a file is recorded that was edited by hand, or accepted; reads only.

        Returns
        -------
        The record of the item, and those that are new.
        """

    @abstractmethod
    def acceptable(self, place: Place, found: Found, target: str) -> Found | None:
        """Return a file of unknown origin as what can be accepted, if it opens; reads only."""


@dataclass(frozen=True)
class Place:
    """A folder, or a prefix, with its records; what a task's result becomes in one project."""

    folder: Path
    storage: Storage
    format: Format
    rules: Rules
    root: Path
    """The project's root."""

    @property
    def records(self) -> Records:
        """The records of the place, read up to now."""
        return records_of(self.folder)

    @property
    def known(self) -> Records:
        """The records of the place as far as they were read."""
        return records_of(self.folder, refresh=False)

    @property
    def journal(self) -> Journal:
        """Where this process writes its records of the place."""
        return journal_of(self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what the format does to the bytes."""
        return hash_texts([repr(sorted(self.format.settings().items()))])

    def path(self, target: str) -> Path:
        """Return the absolute path of a target."""
        return self.folder / target

    def aside(self, run: str) -> str:
        """Return where a run moves what is in its way, as it can be opened from here."""
        return from_here(self.folder / STATE / "replaced" / run)

    # Looking

    def find(self, targets: Iterable[str]) -> dict[str, Stat]:
        """Return what lies at the targets of items, all at once; what is missing is left out."""
        return self.format.find(self, targets)

    def look(self, target: str, stat: Stat | None, owner: Owner, records: Records) -> Found:
        """Say whose the file at a target is; reads it only where size and time do not decide."""
        return self.format.look(self, target, stat, owner, records)

    def look_now(self, target: str, owner: Owner) -> Found:
        """Say whose the file is that lies at a target now.

        The journals are read on only where what is known of them does not explain the file: on a
        shared disk that costs more than all the rest.
        """
        stat = self.format.stat(self, target)
        records = self.known
        records.read_once()
        found = self.look(target, stat, owner, records)
        if found.kind not in ("ours", "missing"):  # or another process has made it
            found = self.look(target, stat, owner, self.records)
        return found

    def value(self, record: Record, value: Any = None, keys: tuple[Any, ...] = ()) -> Any:
        """Return the value of a record as readers get it (see `Format.value`)."""
        return self.format.value(self, record, value, keys)

    def file(self, record: Record, keys: tuple[Any, ...] = ()) -> BackedFile | None:
        """Return the file that holds the value of a record, or a part of it (see `Format.file`)."""
        one = self.format.file(record, keys)
        if one is None:
            return None
        return BackedFile(self.path(one.target), one.stat, one.content, self.folder)

    def acceptable(self, found: Found, target: str) -> Found | None:
        """Return a file of unknown origin as what can be accepted, if it opens; reads only."""
        return self.format.acceptable(self, found, target)

    # Writing

    def save(
        self,
        value: Any,
        target: str,
        judged: Found,
        claim: Claim,
        without: Sequence[Record] = (),
    ) -> tuple[Record, Any, tuple[str, ...]]:
        """Write a value, and record it (see `Format.save`)."""
        return self.format.save(self, value, target, judged, claim, without)

    def temporary(self, suffix: str) -> str:
        """Return a name on the disk of the place that nobody sees yet."""
        try:
            return self.journal.temporary(suffix)
        except OSError as error:
            raise storage_error(error, str(self.folder), "written") from error

    def settlement(
        self, found: Found, target: str, claim: Claim, state: str = "e"
    ) -> tuple[Record, list[tuple[Record, Claim]]]:
        """Return how a file is recorded that was edited, or accepted; reads only."""
        if found.records:  # explained already
            return found.records[-1], []
        return self.format.settlement(self, found, target, claim, state)

    def settle(self, found: Found, target: str, claim: Claim, state: str = "e") -> Record:
        """Record a file that was edited by hand, or found and accepted, as it is now."""
        record, new = self.settlement(found, target, claim, state)
        for one, said in new:
            self.append(one, said, needed=False)
        return record

    def confirm(self, found: Found, claim: Claim) -> Record:
        """Record that a further recipe leads to the file that is there."""
        old = found.records[-1]
        record = replace(
            old,
            recipe=claim.recipe,
            resolved=claim.resolved,
            context=claim.context,
            body=details(**{**old.details, **claim.details}),
        )
        self.append(record, claim, needed=False)
        return record

    def append(self, record: Record, claim: Claim, *, needed: bool = True) -> None:
        """Append a record to this process's journal of the place.

        Parameters
        ----------
        needed
            Otherwise it says something of a file that is there already: in another user's place
            it then counts for this run alone.
        """
        line = record.line()
        try:
            self.journal.append(line, record.context, claim.fields)
        except OSError as error:
            if needed or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise storage_error(error, str(self.folder / STATE), "written") from error
        records = self.known
        records.contexts.setdefault(record.context, dict(claim.fields))
        records.remember(line)
