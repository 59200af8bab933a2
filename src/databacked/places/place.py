"""Where a task's value goes.

task → runner → [result] → serializer → storage → record → dataset → version → remote
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from databacked.errors import DatabackedError, ResultChangedError, SerializerError, StorageError
from databacked.fingerprint.files import content_of
from databacked.fingerprint.hashes import hash_texts
from databacked.places.backed import BackedArray, BackedFile
from databacked.places.judge import Found, is_hit, whose
from databacked.places.marks import is_marked, marked
from databacked.plugins import find as plug
from databacked.project.folders import STATE, can_write, obstacle, owner_name, space_left
from databacked.records.book import Records, records_of
from databacked.records.journal import journal_of
from databacked.records.owners import Owner
from databacked.records.record import NONE, Record, details
from databacked.serializers.base import Corrected, Serializer
from databacked.serializers.corrections import Correction
from databacked.storage.adopted import check_written
from databacked.storage.base import Storage
from databacked.storage.local import storage_error
from databacked.storage.looks import NOTHING, Stat, first_own_file, stat_of, to_open
from databacked.storage.renames import remove
from databacked.types import Description, PhysicalPixelSizes, Written

LEAST_SPACE = 16 << 10
"""Bytes below which a disk is full before the work: records alone need that much."""


TRIES = 8
"""How often a file that changes while it is being replaced is looked at again."""


RULES = {
    "when_stale": ("recompute", "warn", "keep"),
    "when_edited": ("keep", "replace"),
    "when_unknown": ("stop", "accept", "replace"),
}
"""What a place may do with files that are there, by option."""


def check_rules(result: Any) -> None:
    """Raise `StorageError` for a ``when_…=`` that does not exist: it would be taken for another."""
    problems = [
        f"{name}={given!r}: {', '.join(map(repr, known))} were expected"
        for name, known in RULES.items()
        if (given := getattr(result, name)) not in known
    ]
    if problems:
        raise StorageError(f"{type(result).__name__}: {'; '.join(problems)}.")


@dataclass(frozen=True)
class Claim:
    """What is recorded of a value besides its bytes."""

    owner: Owner
    recipe: str
    resolved: str
    context: str
    fields: Mapping[str, Any]
    """The context's own line: whose it is, code, symbols, serializer, run."""

    details: Mapping[str, Any]
    """Parameters, inputs, start, seconds."""

    run: str

    given: tuple[str, ...] = ()
    """Files and folders among the arguments, where a task's own file is adopted."""


@dataclass(frozen=True)
class Bound:
    """A result of one project: an absolute folder, and a serializer as an instance."""

    folder: Path
    serializer: Serializer
    says: Mapping[str, Any]
    """Name, format and settings of the serializer, as they count and as records hold them."""

    options: Any
    always: bool = False
    """With ``location=``: every run writes."""

    root: Path = Path()
    """The project's root."""

    @cached_property
    def storage(self) -> Storage:
        """Where the bytes of the place live."""
        return plug("storage", "local")(self.folder)  # type: ignore[no-any-return]

    @property
    def records(self) -> Records:
        """The records of the place, read up to now."""
        return records_of(self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what the serializer does to the bytes."""
        return hash_texts([repr(sorted(self.says.items()))])

    def __getstate__(self) -> dict[str, Any]:
        hidden = ("storage", "fingerprint")
        return {name: value for name, value in self.__dict__.items() if name not in hidden}

    def path(self, target: str) -> Path:
        """Return the absolute path of a target."""
        return self.folder / target

    @property
    def files(self) -> int:
        """How many files an item has."""
        return 1

    def endings(self, target: str) -> list[tuple[str, Bound]]:
        """Return each file that a target names, with the result that writes it."""
        return [(target, self)]

    @property
    def by_time(self) -> bool:
        """Whether size and time tell that a file is the one that was written."""
        return not self.serializer.runs_code

    def check_writable(self, name: str) -> None:
        """Raise `StorageError` if what a task is about to make cannot be kept here."""
        state = self.folder / STATE
        inside = (state, state / "journals", state / "tmp") if os.path.lexists(state) else ()
        for folder in (self.folder, *inside):
            if not can_write(folder):
                if why := obstacle(folder):
                    raise StorageError(f"{name}: nothing can be kept in {self.folder}: {why}.")
                raise StorageError(
                    f"{name}: some of its results are missing or stale, and new ones cannot be "
                    f"kept in {self.folder}: no permission to write to {folder}. Ask for write "
                    "access, or choose another place. Nothing was computed for it."
                )
        left = space_left(self.folder)
        if left is not None and left < LEAST_SPACE:
            raise StorageError(
                f"{name}: some of its results are missing or stale, and new ones cannot be kept in "
                f"{self.folder}: the disk is full; free some space and run again. Nothing was "
                "computed for it."
            )

    # Looking

    def find(self, targets: Iterable[str]) -> dict[str, Stat]:
        """Return what lies at the targets of items, all at once; what is missing is left out."""
        return self.storage.find(targets)

    def stat(self, target: str) -> Stat | None:
        """Return what lies at the target of one item now."""
        return self.storage.stat(target)

    def look(
        self,
        target: str,
        stat: Stat | None,
        owner: Owner,
        records: Records,
        without: Record | None = None,
    ) -> Found:
        """Say whose the file at a target is; reads it only where size and time do not decide.

        Parameters
        ----------
        without
            A claim that does not count: that of a file which is not visible yet.
        """
        path = self.path(target)

        def correction(claim: Record) -> Correction:
            if self.serializer.runs_code:
                raise SerializerError(
                    "it is not as it was written, and reading it could run what somebody put there"
                )
            return self.serializer.correction(to_open(path), described(claim))

        return whose(
            stat,
            [claim for claim in records.of(target) if claim != without],
            relation=lambda claim: records.relation(owner, claim.context),
            owner=lambda claim: records.owner_of(claim, owner),
            content=lambda: content_of(path),
            is_marked=lambda content: is_marked(time_written(path), content, target),
            correction=correction,
            by_time=self.by_time,
        )

    def look_now(self, target: str, owner: Owner) -> Found:
        """Say whose the file is that lies at a target now.

        The journals are read on only where what is known of them does not explain the file: on a
        shared disk that costs more than all the rest.
        """
        stat = self.stat(target)
        records = records_of(self.folder, refresh=False)
        records.read_once()
        found = self.look(target, stat, owner, records)
        if found.kind not in ("ours", "missing"):  # or another process has made it
            found = self.look(target, stat, owner, self.records)
        return found

    def hand_over(self, record: Record, value: Any = None, keys: tuple[Any, ...] = ()) -> Any:
        """Return the value of a record as readers get it: backed by its file, or itself.

        Parameters
        ----------
        value
            The value where it is still in memory.
        keys
            Which part of it is asked for.
        """
        return part_of(self._whole(record, value), keys)

    def _whole(self, record: Record, value: Any) -> Any:
        if record.size < 0:
            return None
        path = self.path(record.target)
        kind = self.serializer.kind(suffix(record.target))
        # Looked for first: reading the details of what was written as it is costs small items much.
        form = record.details.get("form") if b'"form"' in record.body else None
        serializer = self.serializer if form is None else Corrected(self.serializer, form)
        if kind == "value":
            return serializer.read(self._unchanged(path, record))
        if kind == "file":
            return BackedFile(path, record.stat, record.content, self.folder)
        return BackedArray(
            path, described(record), serializer, record.stat, record.content, self.folder, value
        )

    def _unchanged(self, path: Path, record: Record) -> Path:
        try:
            found = stat_of(path)
        except OSError as error:
            raise ResultChangedError(
                f"{path} cannot be read any more: {error.strerror}. Run the flow again to make it."
            ) from None
        # Whoever can write here can set a time, too: what may run is known by its content alone.
        as_written = found == record.stat and self.by_time
        if not as_written and (found.size != record.size or content_of(path) != record.content):
            raise ResultChangedError(
                f"{path} was changed by something else during the run. Run again to use it."
            )
        return path

    # Writing

    def save(
        self, value: Any, target: str, judged: Found, claim: Claim
    ) -> tuple[Record, Any, tuple[str, ...]]:
        """Write a value: temporary file, then its record, then one rename.

        Returns
        -------
        The record, the value as readers would get it where that is known, and what the user
        should know once.

        Raises
        ------
        SerializerError, StorageError
            If the value cannot be written, or the disk does not take it.
        """
        temporary = self.temporary(target)
        try:
            written = self.write(value, target, temporary, claim)
            record, notes = self.publish(temporary, target, written, judged, claim)
        except BaseException:
            remove(temporary)
            raise
        same = record.content == written.content
        return record, written.value if same else None, (*written.notes, *notes)

    def temporary(self, target: str) -> str:
        """Return a name on the disk of the place that nobody sees yet."""
        try:
            return journal_of(self.folder).temporary(suffix(target))
        except OSError as error:
            raise storage_error(error, str(self.folder), "written") from error

    def write(self, value: Any, target: str, temporary: str, claim: Claim) -> Written:
        """Write a value to its temporary name; None has no file."""
        if value is None:
            return Written(NONE, NOTHING.size)
        if self.options.from_path:
            check_written(value, claim.details["start"], claim.given)
        try:
            return self.serializer.save(value, Path(temporary))
        except OSError as error:
            raise storage_error(error, str(self.path(target)), "written") from error

    def publish(
        self, temporary: str, target: str, written: Written, judged: Found, claim: Claim
    ) -> tuple[Record, tuple[str, ...]]:
        """Record what was written, and make it visible unless something else came in between.

        Nothing is left at the temporary name, unless an error is raised.
        """
        own = self.serializer.format is None or self.options.from_path
        nothing = written.content == NONE
        stat = NOTHING if nothing else settled(temporary, written.content, target, own)
        record = self.record("w", target, stat, written.content, written.description, claim)
        self.append(record, claim)
        notes: list[str] = []
        for _ in range(TRIES):
            if judged.kind in ("foreign", "edited", "unusable"):  # not proved to be ours
                why = judged.why or "edited by hand"
                try:
                    self.storage.move_aside(target, claim.run)
                    notes.append(f"moved aside to {STATE}/replaced/{claim.run}: {why}")
                except StorageError:  # another run was quicker
                    if os.path.lexists(self.path(target)):
                        raise
                judged = Found("missing")
            if stat == NOTHING:
                done = judged.stat is None or self.storage.withdraw(target, judged.stat, temporary)
            else:
                done = self.storage.publish(temporary, target, judged.stat)
            if done:
                return record, tuple(notes)
            # Something else lies there by now: read the journals on, and judge again.
            now = self.storage.stat(target)
            if now is None and self.path(target).is_symlink():
                self.storage.move_aside(target, claim.run)
                notes.append(f"moved aside to {STATE}/replaced/{claim.run}: a link to nothing")
            judged = self.look(target, now, claim.owner, self.records, without=record)
            if is_hit(judged, claim.recipe) and not self.always:
                if judged.kind == "edited" and self.options.when_edited == "replace":
                    continue
                if stat != NOTHING:
                    remove(temporary)
                if judged.kind == "edited":
                    notes.append("edited: saved by hand while it was being made")
                    return self.settle(judged, target, claim), tuple(notes)
                return judged.records[-1], ("made by another run meanwhile",)
        raise StorageError(
            f"{self.path(target)} keeps changing while it is being written. Something else "
            "writes to it; stop that, and run again."
        )

    def settle(self, found: Found, target: str, claim: Claim, state: str = "e") -> Record:
        """Record a file that was edited by hand, or found and accepted, as it is now."""
        record, new = self.settlement(found, target, claim, state)
        for one, said in new:
            self.append(one, said, needed=False)
        return record

    def settlement(
        self, found: Found, target: str, claim: Claim, state: str = "e"
    ) -> tuple[Record, list[tuple[Record, Claim]]]:
        """Return how a file is recorded that was edited by hand, or accepted; reads only.

        Returns
        -------
        The record of the item, and those that are new.
        """
        if found.records:  # explained already
            return found.records[-1], []
        path = self.path(target)
        stat, content = stat_of(path), content_of(path)
        if found.content and content != found.content:
            raise ResultChangedError(
                f"{path} was changed again while it was looked at. Run again to use it."
            )
        old = found.origin
        claim = replace(
            claim,
            recipe=old.recipe if old else claim.recipe,
            resolved=old.resolved if old else claim.resolved,
            details={
                **{name: said for name, said in (old or claim).details.items() if name != "form"},
                "edited": {"when": os.stat(path).st_mtime, "by": owner_name(path) or "?"},
                "form": found.form,
            },
        )
        description = found.description or self.serializer.describe(path)
        record = self.record(state, target, stat, content, description, claim)
        return record, [(record, claim)]

    def acceptable(self, found: Found, target: str) -> Found | None:
        """Return a file of unknown origin as what can be accepted, if it opens; reads only."""
        path = self.path(target)
        if self.serializer.runs_code:
            return None  # who knows what it does: moved aside and made again
        try:
            description, content = self.serializer.describe(path), content_of(path)
        except Exception:
            return None  # it does not open: moved aside and made again
        return Found("foreign", found.stat, (), content, found.why, description=description)

    def confirm(self, found: Found, claim: Claim) -> Record:
        """Record that a further recipe leads to the file that is there."""
        old = found.records[-1]
        record = Record(
            old.state,
            old.target,
            claim.recipe,
            claim.resolved,
            old.content,
            old.size,
            old.mtime_ns,
            claim.context,
            details(**{**old.details, **claim.details}),
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
            journal_of(self.folder).append(line, record.context, claim.fields)
        except OSError as error:
            if needed or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise storage_error(error, str(self.folder / STATE), "written") from error
        records = records_of(self.folder, refresh=False)
        records.contexts.setdefault(record.context, dict(claim.fields))
        records.remember(line)

    def record(
        self,
        state: str,
        target: str,
        stat: Stat,
        content: str,
        description: Description,
        claim: Claim,
    ) -> Record:
        """Return the record of a file that has this size, time and content."""
        body = joined(details(**claim.details), details_of(description))
        return Record(
            state,
            target,
            claim.recipe,
            claim.resolved,
            content,
            stat.size,
            stat.mtime_ns,
            claim.context,
            body,
        )


def joined(said: bytes, seen: bytes) -> bytes:
    """Return two sets of details as one."""
    return said if seen == b"{}" else seen if said == b"{}" else said[:-1] + b"," + seen[1:]


@lru_cache(maxsize=256)
def details_of(description: Description) -> bytes:
    """Return what a record says of what a file holds; the same for all files of one layout."""
    return details(
        shape=description.shape,
        dtype=description.dtype,
        dim_order=description.dim_order,
        channel_names=description.channel_names,
        physical_pixel_sizes=description.physical_pixel_sizes,
        chunks=description.chunks,
        columns=description.columns,
    )


def part_of(value: Any, keys: Sequence[Any]) -> Any:
    """Follow ``future["a"]["b"]`` into a value.

    Raises
    ------
    DatabackedError
        If it holds no such part.
    """
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            held = ", ".join(map(repr, value)) if isinstance(value, dict) else type(value).__name__
            raise DatabackedError(
                f"[{key!r}] is not in what the task returned (it holds {held})."
            ) from error
    return value


def described(record: Record) -> Description:
    """Return what a record says that its file holds."""
    said = record.details
    sizes = said.get("physical_pixel_sizes")
    return Description(
        shape=as_tuple(said.get("shape")),
        dtype=said.get("dtype"),
        dim_order=said.get("dim_order"),
        channel_names=as_tuple(said.get("channel_names")),
        physical_pixel_sizes=None if sizes is None else PhysicalPixelSizes(*sizes),
        chunks=as_tuple(said.get("chunks")),
        columns=as_tuple(map(tuple, said["columns"])) if said.get("columns") else None,
    )


def time_written(path: Path) -> int:
    """Return the time in which a mark would stand: a file's own, or that of a folder's first."""
    first = first_own_file(str(path)) if os.path.isdir(path) else None
    return os.stat(first or path).st_mtime_ns


def settled(path: str, content: str, target: str, own: bool = False) -> Stat:
    """Give what was written a time that carries its mark, and return how it looks.

    Parameters
    ----------
    own
        Whether the user's own code wrote it: it may be one file with something else of theirs.
    """
    written_at = marked(time.time_ns(), content, target)
    if not (own and os.path.isfile(path) and os.lstat(path).st_nlink > 1):
        os.utime(path, ns=(written_at, written_at), follow_symlinks=False)
    info = os.stat(path)
    if not S_ISDIR(info.st_mode):
        return Stat(info.st_size, info.st_mtime_ns)
    # A folder's own time does not count, that of its first file does.
    if first := first_own_file(path):
        os.utime(first, ns=(written_at, written_at), follow_symlinks=False)
    return stat_of(path)


def suffix(target: str) -> str:
    """Return all endings of a file's name, so that ``.ome.tiff`` stays what it is."""
    name = target.rpartition("/")[2]
    for known in (".ome.tiff", ".ome.tif", ".ome.zarr"):
        if name.lower().endswith(known):
            return name[-len(known) :]
    return os.path.splitext(name)[1]


def as_tuple(value: Any) -> tuple[Any, ...] | None:
    """Return a list as a tuple; None stays None."""
    return None if value is None else tuple(value)
