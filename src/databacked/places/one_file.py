"""One file an item, by a serializer: judged, read, and written so that it is whole or not there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from databacked.errors import CorrectionError, ResultChangedError, SerializerError, StorageError
from databacked.fingerprint.files import content_of
from databacked.places.backed import BackedArray, BackedFile
from databacked.places.claim import Claim, described, record_of
from databacked.places.judge import MISSING, Found, is_hit, whose
from databacked.places.parts import part_of
from databacked.places.place import Format, Place
from databacked.places.rules import replaces
from databacked.project.folders import owner_name
from databacked.records.book import Records
from databacked.records.marks import is_marked, settled, time_written
from databacked.records.owners import Owner
from databacked.records.record import NONE, Record
from databacked.serializers.base import Corrected, Serializer
from databacked.serializers.corrections import Correction
from databacked.storage.adopted import check_written
from databacked.storage.local import storage_error
from databacked.storage.looks import NOTHING, Stat, stat_of, to_open
from databacked.storage.renames import remove
from databacked.types import Written

TRIES = 8
"""How often a file that changes while it is being replaced is looked at again."""


@dataclass(frozen=True)
class OneFile(Format):
    """One file, or one folder that is a file to its readers."""

    serializer: Serializer
    said: Mapping[str, Any]
    """Name, format and settings of the serializer."""

    def settings(self) -> Mapping[str, Any]:
        return self.said

    def by_time(self) -> bool:
        return not self.serializer.runs_code

    def files(self, target: str) -> list[tuple[str, Serializer]]:
        return [(target, self.serializer)]

    def look(
        self,
        place: Place,
        target: str,
        stat: Stat | None,
        owner: Owner,
        records: Records,
        without: Sequence[Record] = (),
    ) -> Found:
        path = place.path(target)

        def correction(claim: Record) -> Correction:
            if self.serializer.runs_code:
                raise SerializerError(
                    "it is not as it was written, and reading it could run what somebody put there"
                )
            return self.serializer.correction(to_open(path), described(claim))

        return whose(
            stat,
            [claim for claim in records.of(target) if claim not in without],
            relation=lambda claim: records.relation(owner, claim.context),
            owner=lambda claim: records.owner_of(claim, owner),
            content=lambda: content_of(path),
            is_marked=lambda content: is_marked(time_written(path), content, target),
            correction=correction,
            by_time=self.by_time(),
        )

    def value(
        self, place: Place, record: Record, value: Any = None, keys: tuple[Any, ...] = ()
    ) -> Any:
        return part_of(self._whole(place, record, value), keys)

    def file(self, record: Record, keys: tuple[Any, ...] = ()) -> Record | None:
        return None if keys or record.size < 0 else record

    def _whole(self, place: Place, record: Record, value: Any) -> Any:
        if record.size < 0:
            return None
        path = place.path(record.target)
        kind = self.serializer.kind(suffix(record.target))
        # Looked for first: reading the details of what was written as it is costs small items much.
        form = record.details.get("form") if b'"form"' in record.body else None
        serializer = self.serializer if form is None else Corrected(self.serializer, form)
        if kind == "value":
            return serializer.read(self._unchanged(path, record))
        if kind == "file":
            return BackedFile(path, record.stat, record.content, place.folder)
        return BackedArray(
            path, described(record), serializer, record.stat, record.content, place.folder, value
        )

    def _unchanged(self, path: Path, record: Record) -> Path:
        try:
            found = stat_of(path)
        except OSError as error:
            raise ResultChangedError(
                f"{path} cannot be read any more: {error.strerror}. Run the flow again to make it."
            ) from None
        # Whoever can write here can set a time, too: what may run is known by its content alone.
        as_written = found == record.stat and self.by_time()
        if not as_written and (found.size != record.size or content_of(path) != record.content):
            raise ResultChangedError(
                f"{path} was changed by something else during the run. Run again to use it."
            )
        return path

    # Writing

    def save(
        self,
        place: Place,
        value: Any,
        target: str,
        judged: Found,
        claim: Claim,
        without: Sequence[Record] = (),
    ) -> tuple[Record, Any, tuple[str, ...]]:
        temporary = place.temporary(suffix(target))
        try:
            written = self.write(place, value, target, temporary, claim)
            record, notes = self.publish(place, temporary, target, written, judged, claim, without)
        except BaseException:
            remove(temporary)
            raise
        same = record.content == written.content
        return record, written.value if same else None, (*written.notes, *notes)

    def write(self, place: Place, value: Any, target: str, temporary: str, claim: Claim) -> Written:
        """Write a value to its temporary name; None has no file."""
        if value is None:
            return Written(NONE, NOTHING.size)
        if place.rules.from_path:
            check_written(value, claim.details["start"], claim.given)
        try:
            return self.serializer.save(value, Path(temporary))
        except OSError as error:
            raise storage_error(error, str(place.path(target)), "written") from error

    def publish(
        self,
        place: Place,
        temporary: str,
        target: str,
        written: Written,
        judged: Found,
        claim: Claim,
        without: Sequence[Record] = (),
    ) -> tuple[Record, tuple[str, ...]]:
        """Record what was written, and make it visible unless something else came in between.

        Nothing is left at the temporary name, unless an error is raised.
        """
        own = self.serializer.format is None or place.rules.from_path
        nothing = written.content == NONE
        stat = NOTHING if nothing else settled(temporary, written.content, target, own)
        record = record_of("w", target, stat, written.content, written.description, claim)
        place.append(record, claim)
        notes: list[str] = []
        for _ in range(TRIES):
            if judged.kind == "unusable" and not replaces(judged, place.rules):
                raise CorrectionError(
                    f"{place.path(target)} was changed by hand while it was being made, and cannot "
                    f"be used as it is: {judged.why}. Or move it away, to have it made again."
                )
            if judged.kind in ("foreign", "edited", "unusable"):  # not proved to be ours
                why = judged.why or "edited by hand"
                try:
                    place.storage.move_aside(target, claim.run)
                    notes.append(f"moved aside to {place.aside(claim.run)}: {why}")
                except StorageError:  # another run was quicker
                    if os.path.lexists(place.path(target)):
                        raise
                judged = MISSING
            if stat == NOTHING:
                done = judged.stat is None or place.storage.withdraw(target, judged.stat, temporary)
            else:
                done = place.storage.publish(temporary, target, judged.stat)
            if done:
                return record, tuple(notes)
            # Something else lies there by now: read the journals on, and judge again.
            now = place.storage.stat(target)
            judged = self.look(
                place, target, now, claim.owner, place.records, without=(record, *without)
            )
            if is_hit(judged, claim.recipe) and not place.rules.always:
                if judged.kind == "edited" and place.rules.when_edited == "replace":
                    continue
                if stat != NOTHING:
                    remove(temporary)
                if judged.kind == "edited":
                    notes.append("edited: saved by hand while it was being made")
                    return place.settle(judged, target, claim), tuple(notes)
                return judged.records[-1], ("made by another run meanwhile",)
            if judged.kind in ("missing", "ours") and place.path(target).is_symlink():
                why = "a link" if now else "a link to nothing"
                judged = Found("foreign", now, why=why)  # what it leads to may be ours, it is not
        raise StorageError(
            f"{place.path(target)} keeps changing while it is being written. Something else "
            "writes to it; stop that, and run again."
        )

    def settlement(
        self, place: Place, found: Found, target: str, claim: Claim, state: str
    ) -> tuple[Record, list[tuple[Record, Claim]]]:
        path = place.path(target)
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
        record = record_of(state, target, stat, content, description, claim)
        return record, [(record, claim)]

    def acceptable(self, place: Place, found: Found, target: str) -> Found | None:
        path = place.path(target)
        if self.serializer.runs_code:
            return None  # who knows what it does: moved aside and made again
        try:
            description, content = self.serializer.describe(path), content_of(path)
        except Exception:
            return None  # it does not open: moved aside and made again
        return Found("foreign", found.stat, (), content, found.why, description=description)


def suffix(target: str) -> str:
    """Return all endings of a file's name, so that ``.ome.tiff`` stays what it is."""
    name = target.rpartition("/")[2]
    for known in (".ome.tiff", ".ome.tif", ".ome.zarr"):
        if name.lower().endswith(known):
            return name[-len(known) :]
    return os.path.splitext(name)[1]
