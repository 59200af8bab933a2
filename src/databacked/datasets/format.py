"""A dataset as a format: a table in, a manifest with its files out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databacked.datasets.dataset import Dataset
from databacked.datasets.layout import PARTS
from databacked.datasets.write import write_working_dataset
from databacked.errors import ResultChangedError, SerializerError
from databacked.fingerprint.files import content_of
from databacked.places.backed import Backed
from databacked.places.claim import Claim, record_of
from databacked.places.judge import Found
from databacked.places.one_file import OneFile
from databacked.places.parts import part_of
from databacked.places.place import Format, Place
from databacked.records.book import Records, records_of
from databacked.records.journal import writing
from databacked.records.marks import is_marked, settled, time_written
from databacked.records.owners import Owner
from databacked.records.record import Record
from databacked.serializers.base import Serializer
from databacked.storage.local import storage_error
from databacked.storage.looks import Stat, stat_of
from databacked.types import Description


class ManifestFormat(Serializer):
    """Stands where other results have a serializer: a dataset writes itself."""

    suffixes = (".csv",)
    format = 1

    def write(self, value: Any, path: Path) -> None:
        raise SerializerError("A dataset is written by its result.")

    def read(self, path: Path) -> Any:
        return Dataset.load(path.parent)

    def describe(self, path: Path) -> Description:
        raise SerializerError("it is not as it was written")


@dataclass(frozen=True)
class DatasetFormat(Format):
    """A table's manifest with the files beside it: what is not all there is not there."""

    manifest: OneFile
    table: Mapping[str, Any]
    """What its result says of tables, files and texts."""

    def settings(self) -> Mapping[str, Any]:
        return self.manifest.said

    def files(self, target: str) -> list[tuple[str, Serializer]]:
        return self.manifest.files(target)

    def find(self, place: Place, targets: Iterable[str]) -> dict[str, Stat]:
        looks = {target: self.stat(place, target) for target in targets}
        return {target: look for target, look in looks.items() if look is not None}

    def stat(self, place: Place, target: str) -> Stat | None:
        """Return what lies there; a manifest without its other files counts as missing."""
        whole = all((place.folder / name).is_file() for name in PARTS)
        return place.storage.stat(target) if whole else None

    def look(
        self,
        place: Place,
        target: str,
        stat: Stat | None,
        owner: Owner,
        records: Records,
        without: Sequence[Record] = (),
    ) -> Found:
        return self.manifest.look(place, target, stat, owner, records, without)

    def value(
        self, place: Place, record: Record, value: Any = None, keys: tuple[Any, ...] = ()
    ) -> Any:
        return part_of(self._whole(place, record, value), keys)

    def file(self, record: Record, keys: tuple[Any, ...] = ()) -> Record | None:
        return self.manifest.file(record, keys)

    def _whole(self, place: Place, record: Record, value: Any) -> Any:
        """Return the dataset that a record describes; not one that was written since."""
        if record.size < 0 or value is not None:
            return value
        dataset = self.manifest.value(place, record)
        if dataset.written.get(record.target, record.content) != record.content:
            raise ResultChangedError(
                f"{place.folder} was written by another run meanwhile. Run the flow again to "
                "use it."
            )
        return dataset

    def save(
        self,
        place: Place,
        value: Any,
        target: str,
        judged: Found,
        claim: Claim,
        without: Sequence[Record] = (),
    ) -> tuple[Record, Any, tuple[str, ...]]:
        """Check the table and write the working dataset, its manifest last."""
        notes: list[str] = []
        if judged.kind == "foreign":
            place.storage.move_aside(target, claim.run)
            notes.append(f"moved aside to {place.aside(claim.run)}: {judged.why}")

        def aside(name: str) -> None:
            place.storage.move_aside(name, claim.run)
            notes.append(f"moved aside to {place.aside(claim.run)}: {name} of somebody else")

        provenance = {"run": claim.run, "task": claim.owner.task, "code": claim.fields.get("code")}
        path = place.path(target)
        try:
            # One at a time: the record, and what is read back, are of what this run wrote.
            with writing(place.folder):
                dataset = write_working_dataset(
                    value,
                    folder=place.folder,
                    root=place.root,
                    provenance=provenance,
                    record_of=_read_records(),
                    move_aside=aside,
                    **self.table,
                )
                content = content_of(path)
                if not is_marked(time_written(path), content, target):
                    settled(str(path), content, target)
                stat = stat_of(path)
                shape = Description(shape=tuple(dataset.table.shape))
        except OSError as error:
            raise storage_error(error, str(place.folder), "written") from error
        if content != dataset.written[target]:
            raise ResultChangedError(
                f"{place.folder} was written by another run meanwhile. Run again when it has ended."
            )
        if dataset.dropped:
            notes.append(f"{dataset.dropped} rows of failed items are left out (dropped.csv)")
        record = record_of("w", target, stat, content, shape, claim)
        place.append(record, claim)
        return record, dataset, tuple(notes)

    def settlement(
        self, place: Place, found: Found, target: str, claim: Claim, state: str
    ) -> tuple[Record, list[tuple[Record, Claim]]]:
        return self.manifest.settlement(place, found, target, claim, state)

    def acceptable(self, place: Place, found: Found, target: str) -> Found | None:
        return self.manifest.acceptable(place, found, target)


def _read_records() -> Callable[[Any], Mapping[str, Any] | None]:
    """Return what gives the record of a backed array, for the provenance of its row."""
    places: dict[str, Records] = {}

    def record_of(value: Any) -> Mapping[str, Any] | None:
        if not isinstance(value, Backed):
            return None
        records = places.get(value._place)
        if records is None:
            records = places[value._place] = records_of(Path(value._place), refresh=False)
        target = value._path[len(value._place) :].lstrip(os.sep).replace(os.sep, "/")
        for record in records.of(target):
            if record.content == value.content:
                context = records.contexts.get(record.context, {})
                said = record.details
                return {
                    "task": context.get("task"),
                    "code": context.get("code"),
                    "run": context.get("run"),
                    "recipe": record.recipe,
                    "content": record.content,
                    **{name: said.get(name) for name in ("parameters", "inputs")},
                }
        return {"content": value.content}

    return record_of
