"""Several files an item, by name: they count as one.

task → runner → [result] → serializer → storage → record → dataset → version → remote

An item's targets are joined to one. Each file has claims of its own, which say whose it is; the
item has one more record, which names all of them by content: a hit only if all are there and whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from databacked.errors import SerializerError
from databacked.places.claim import Claim, record_of
from databacked.places.judge import Found, nothing, rejoined
from databacked.places.one_file import OneFile, suffix
from databacked.places.parts import part_of
from databacked.places.place import Format, Place
from databacked.records.book import Records
from databacked.records.owners import Owner
from databacked.records.record import JOIN, NONE, Record, details
from databacked.serializers.base import Serializer
from databacked.storage.looks import NOTHING, Stat, fold
from databacked.storage.renames import remove
from databacked.types import Description


@dataclass(frozen=True)
class SeveralFiles(Format):
    """The files of a task with several outputs, each with a serializer of its own."""

    parts: Mapping[str, OneFile]
    """Name and format of each output, in the order of the joined target."""

    def settings(self) -> Mapping[str, Any]:
        return {"outputs": {name: dict(part.said) for name, part in self.parts.items()}}

    def names(self) -> Sequence[str]:
        return tuple(self.parts)

    def by_time(self) -> bool:
        return all(part.by_time() for part in self.parts.values())

    def part(self, place: Place, name: str) -> Place:
        """Return the place as one output sees it."""
        return replace(place, format=self.parts[name])

    def _files(self, target: str) -> dict[str, str]:
        return dict(zip(self.parts, target.split(JOIN), strict=True))

    def files(self, target: str) -> list[tuple[str, Serializer]]:
        return [(file, self.parts[name].serializer) for name, file in self._files(target).items()]

    # Looking

    def find(self, place: Place, targets: Iterable[str]) -> dict[str, Stat]:
        items = list(targets)
        files = dict.fromkeys(part for one in items for part in one.split(JOIN))
        stats = place.storage.find(files)
        folded = ((one, fold([stats.get(part) for part in one.split(JOIN)])) for one in items)
        return {one: stat for one, stat in folded if stat is not None}

    def stat(self, place: Place, target: str) -> Stat | None:
        return fold([place.storage.stat(part) for part in target.split(JOIN)])

    def look(
        self,
        place: Place,
        target: str,
        stat: Stat | None,
        owner: Owner,
        records: Records,
        without: Sequence[Record] = (),
    ) -> Found:
        claims = [
            claim
            for claim in records.of(target)
            if claim not in without and records.relation(owner, claim.context) == "mine"
        ]
        if stat is None:
            return nothing(claims)
        found = {
            name: self.parts[name].look(
                place, file, place.storage.stat(file), owner, records, without
            )
            for name, file in self._files(target).items()
        }
        return rejoined(found, stat, claims)

    def value(
        self, place: Place, record: Record, value: Any = None, keys: tuple[Any, ...] = ()
    ) -> Any:
        if record.size < 0:
            return part_of(None, keys)
        if keys and keys[0] in self.parts:
            return part_of(self._part(place, record, value, keys[0]), keys[1:])
        every = {name: self._part(place, record, value, name) for name in self.parts}
        return part_of(every, keys)

    def _part(self, place: Place, record: Record, value: Any, name: str) -> Any:
        one = _record_of(record, name)
        return self.parts[name].value(place, one, None if value is None else value[name])

    def file(self, record: Record, keys: tuple[Any, ...] = ()) -> Record | None:
        if len(keys) != 1 or keys[0] not in self.parts or record.size < 0:
            return None
        one = _record_of(record, keys[0])
        return None if one.size < 0 else one

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
        """Write all outputs to temporary names, then make one after another visible."""
        files = self._files(target)
        values = self._checked(value)
        temporary = {name: place.temporary(suffix(file)) for name, file in files.items()}
        left = dict(temporary)
        made: dict[str, Record] = {}
        notes: list[str] = []
        same: dict[str, Any] = {}
        try:
            written = {
                name: self.parts[name].write(place, values[name], file, temporary[name], claim)
                for name, file in files.items()
            }
            for name, file in files.items():
                # Each file by itself: one that was corrected by hand stays, whatever the others.
                part = self.part(place, name)
                found = part.look_now(file, claim.owner)
                if found.kind == "edited" and place.rules.when_edited == "keep":
                    made[name] = part.settle(found, file, claim)
                    notes.append(f"{name}: edited by hand, kept as it is")
                    continue
                made[name], said = self.parts[name].publish(
                    place, temporary[name], file, written[name], found, claim
                )
                del left[name]
                notes += [f"{name}: {note}" for note in (*written[name].notes, *said)]
                if made[name].content == written[name].content:
                    same[name] = written[name].value
        finally:
            for path in left.values():
                remove(path)
        if all(one.size < 0 for one in made.values()):
            record = record_of("w", target, NOTHING, NONE, Description(), claim)
        else:
            record = self._joined("w", target, made, claim)
        place.append(record, claim)
        return record, same if len(same) == len(files) else None, tuple(notes)

    def _checked(self, value: Any) -> Mapping[str, Any]:
        if value is None:
            return dict.fromkeys(self.parts)
        names = list(self.parts)
        if not isinstance(value, Mapping) or set(value) != set(names):
            came = f"keys {list(value)}" if isinstance(value, Mapping) else type(value).__name__
            raise SerializerError(
                f"{came}: a dict with the keys of target= ({', '.join(names)}) was expected, or "
                "None for an item without any."
            )
        if all(one is None for one in value.values()):
            raise SerializerError("every output is None: return None itself.")
        return value

    def _joined(self, state: str, target: str, made: Mapping[str, Record], claim: Claim) -> Record:
        """Return the record of all files as one."""
        outputs = {
            name: {
                "target": file,
                "content": made[name].content,
                "size": made[name].size,
                "mtime_ns": made[name].mtime_ns,
                **{key: made[name].details.get(key) for key in (*asdict(Description()), "form")},
            }
            for name, file in self._files(target).items()
        }
        stat = fold([None if one.size < 0 else one.stat for one in made.values()])
        content = ",".join(f"{name}={one.content}" for name, one in made.items())
        said = replace(claim, details={**claim.details, "outputs": outputs})
        return record_of(state, target, stat or NOTHING, content, Description(), said)

    def settlement(
        self, place: Place, found: Found, target: str, claim: Claim, state: str
    ) -> tuple[Record, list[tuple[Record, Claim]]]:
        new: list[tuple[Record, Claim]] = []
        made: dict[str, Record] = {}
        for name, file in self._files(target).items():
            part = self.part(place, name)
            one = part.look(file, place.storage.stat(file), claim.owner, place.known)
            if one.kind == "ours":
                made[name] = one.records[-1]
            else:
                made[name], more = part.settlement(one, file, claim, state)
                new += more
        old = found.origin
        if old is not None:
            kept = {key: said for key, said in old.details.items() if key != "outputs"}
            claim = replace(claim, recipe=old.recipe, resolved=old.resolved, details=kept)
        record = self._joined(state, target, made, claim)
        return record, [*new, (record, claim)]

    def acceptable(self, place: Place, found: Found, target: str) -> Found | None:
        contents = {}
        for name, file in self._files(target).items():
            taken = self.parts[name].acceptable(place, found, file)
            if taken is None:
                return None  # one does not open: all are made again
            contents[name] = taken.content
        joined = ",".join(f"{name}={content}" for name, content in contents.items())
        return Found("foreign", found.stat, (), joined, found.why)


def _record_of(record: Record, name: str) -> Record:
    """Return what the record of an item says of one of its outputs, as a record of that alone."""
    said = record.details["outputs"][name]
    return Record(
        record.state,
        said["target"],
        record.recipe,
        record.resolved,
        said["content"],
        said["size"],
        said["mtime_ns"],
        record.context,
        details(**said),
    )
