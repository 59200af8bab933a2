"""A dataset as a place: a table in, a manifest with its files out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from databacked.errors import ResultChangedError, SerializerError
from databacked.fingerprint.files import content_of
from databacked.places.backed import Backed
from databacked.places.judge import Found
from databacked.places.marks import is_marked
from databacked.places.place import Bound, Claim, settled, time_written
from databacked.project.folders import STATE
from databacked.records.book import Records, records_of
from databacked.records.journal import writing
from databacked.records.record import Record
from databacked.serializers.base import Serializer
from databacked.storage.local import LocalStorage, storage_error
from databacked.storage.looks import Stat, stat_of
from databacked.types import Description


class ManifestFormat(Serializer):
    """Stands where other results have a serializer: a dataset writes itself."""

    suffixes = (".csv",)
    format = 1

    def write(self, value: Any, path: Path) -> None:
        raise SerializerError("A dataset is written by its result.")

    def read(self, path: Path) -> Any:
        from databacked.datasets.dataset import Dataset

        return Dataset.load(path.parent)

    def describe(self, path: Path) -> Description:
        raise SerializerError("it is not as it was written")


class _Whole(LocalStorage):
    """A dataset's folder: what is not all there is not there."""

    def stat(self, target: str) -> Stat | None:
        from databacked.datasets.layout import PARTS

        whole = all((self.folder / name).is_file() for name in PARTS)
        return super().stat(target) if whole else None


@dataclass(frozen=True)
class BoundDataset(Bound):
    """A dataset's result of one project."""

    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def storage(self) -> LocalStorage:
        """The folder; a manifest without its other files counts as missing."""
        return _Whole(self.folder)

    def save(
        self, value: Any, target: str, judged: Found, claim: Claim
    ) -> tuple[Record, Any, tuple[str, ...]]:
        """Check the table and write the working dataset, its manifest last."""
        from databacked.datasets.write import write_working_dataset

        notes: list[str] = []
        if judged.kind == "foreign":
            self.storage.move_aside(target, claim.run)
            notes.append(f"moved aside to {STATE}/replaced/{claim.run}: {judged.why}")

        def aside(name: str) -> None:
            self.storage.move_aside(name, claim.run)
            notes.append(f"moved aside to {STATE}/replaced/{claim.run}: {name} of somebody else")

        provenance = {"run": claim.run, "task": claim.owner.task, "code": claim.fields.get("code")}
        path = self.path(target)
        try:
            # One at a time: the record, and what is read back, are of what this run wrote.
            with writing(self.folder):
                dataset = write_working_dataset(
                    value,
                    folder=self.folder,
                    root=self.root,
                    provenance=provenance,
                    record_of=_read_records(),
                    move_aside=aside,
                    **self.settings,
                )
                content = content_of(path)
                if not is_marked(time_written(path), content, target):
                    settled(str(path), content, target)
                stat = stat_of(path)
                shape = Description(shape=tuple(dataset.table.shape))
        except OSError as error:
            raise storage_error(error, str(self.folder), "written") from error
        if content != dataset.written[target]:
            raise ResultChangedError(
                f"{self.folder} was written by another run meanwhile. Run again when it has ended."
            )
        if dataset.dropped:
            notes.append(f"{dataset.dropped} rows of failed items are left out (dropped.csv)")
        record = self.record("w", target, stat, content, shape, claim)
        self.append(record, claim)
        return record, dataset, tuple(notes)

    def _whole(self, record: Record, value: Any) -> Any:
        """Return the dataset that a record describes; not one that was written since."""
        if record.size < 0 or value is not None:
            return value
        dataset = super()._whole(record, value)
        if dataset.written.get(record.target, record.content) != record.content:
            raise ResultChangedError(
                f"{self.folder} was written by another run meanwhile. Run the flow again to use it."
            )
        return dataset


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
