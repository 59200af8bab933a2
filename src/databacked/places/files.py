"""Where the values of a task with several outputs go: files that count as one.

task → runner → [result] → serializer → storage → record → dataset → version → remote

An item's targets are joined to one. Each file has claims of its own, which say whose it is; the
item has one more record, which names all of them by content: a hit only if all are there and whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from databacked.errors import SerializerError
from databacked.places.judge import Found, rejoined
from databacked.places.place import Bound, Claim, part_of
from databacked.records.book import Records, records_of
from databacked.records.owners import Owner
from databacked.records.record import JOIN, NONE, Record, details
from databacked.storage.looks import NOTHING, Stat, fold
from databacked.storage.renames import remove
from databacked.types import Description


@dataclass(frozen=True)
class BoundOutputs(Bound):
    """The result of a task with several outputs, each with a serializer of its own."""

    parts: Mapping[str, Bound] = field(default_factory=dict)
    """Name of each output and where it goes, in the order of the joined target."""

    def _files(self, target: str) -> dict[str, str]:
        return dict(zip(self.parts, target.split(JOIN), strict=True))

    @property
    def files(self) -> int:
        """How many files an item has."""
        return len(self.parts)

    def endings(self, target: str) -> list[tuple[str, Bound]]:
        """Return each file of a target with the result that writes it."""
        return [(file, self.parts[name]) for name, file in self._files(target).items()]

    # Looking

    def find(self, targets: Iterable[str]) -> dict[str, Stat]:
        """Return what lies at the targets of items: one look stands for all files of an item."""
        items = list(targets)
        files = dict.fromkeys(part for one in items for part in one.split(JOIN))
        stats = self.storage.find(files)
        folded = ((one, fold([stats.get(part) for part in one.split(JOIN)])) for one in items)
        return {one: stat for one, stat in folded if stat is not None}

    def stat(self, target: str) -> Stat | None:
        """Return what lies at the targets of one item now, as one look."""
        return fold([self.storage.stat(part) for part in target.split(JOIN)])

    @property
    def by_time(self) -> bool:
        """Whether size and time tell that all files are those that were written."""
        return all(part.by_time for part in self.parts.values())

    def look(
        self,
        target: str,
        stat: Stat | None,
        owner: Owner,
        records: Records,
        without: Record | None = None,
    ) -> Found:
        """Say whose the files are, taken as one."""
        if stat is None:
            return super().look(target, None, owner, records, without)
        claims = [
            claim
            for claim in records.of(target)
            if records.relation(owner, claim.context) == "mine"
        ]
        found = {
            name: self.parts[name].look(
                file, self.parts[name].storage.stat(file), owner, records, without
            )
            for name, file in self._files(target).items()
        }
        return rejoined(found, stat, claims)

    def _whole(self, record: Record, value: Any) -> Any:
        if record.size < 0:
            return None
        return {name: self._part(record, value, name) for name in self.parts}

    def _part(self, record: Record, value: Any, name: str) -> Any:
        said = record.details["outputs"][name]
        one = Record(
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
        return self.parts[name].hand_over(one, None if value is None else value[name])

    def hand_over(self, record: Record, value: Any = None, keys: tuple[Any, ...] = ()) -> Any:
        """Return all outputs by name, or only the one that is asked for."""
        if keys and record.size >= 0 and keys[0] in self.parts:
            return part_of(self._part(record, value, keys[0]), keys[1:])
        return super().hand_over(record, value, keys)

    # Writing

    def save(
        self, value: Any, target: str, judged: Found, claim: Claim
    ) -> tuple[Record, Any, tuple[str, ...]]:
        """Write all outputs to temporary names, then make one after another visible."""
        files = self._files(target)
        values = self._checked(value)
        temporary = {name: self.parts[name].temporary(file) for name, file in files.items()}
        left = dict(temporary)
        made: dict[str, Record] = {}
        notes: list[str] = []
        same: dict[str, Any] = {}
        try:
            written = {
                name: self.parts[name].write(values[name], file, temporary[name], claim)
                for name, file in files.items()
            }
            for name, file in files.items():
                part = self.parts[name]
                # Each file by itself: one that was corrected by hand stays, whatever the others.
                found = part.look_now(file, claim.owner)
                if found.kind == "edited" and self.options.when_edited == "keep":
                    made[name] = part.settle(found, file, claim)
                    notes.append(f"{name}: edited by hand, kept as it is")
                    continue
                made[name], said = part.publish(temporary[name], file, written[name], found, claim)
                del left[name]
                notes += [f"{name}: {note}" for note in (*written[name].notes, *said)]
                if made[name].content == written[name].content:
                    same[name] = written[name].value
        finally:
            for path in left.values():
                remove(path)
        if value is None:
            record = self.record("w", target, NOTHING, NONE, Description(), claim)
        else:
            record = self._joined("w", target, made, claim)
        self.append(record, claim)
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
        return self.record(state, target, stat or NOTHING, content, Description(), said)

    def settlement(
        self, found: Found, target: str, claim: Claim, state: str = "e"
    ) -> tuple[Record, list[tuple[Record, Claim]]]:
        """Return how files are recorded of which some were edited by hand, or all accepted."""
        if found.records:  # explained already
            return found.records[-1], []
        new: list[tuple[Record, Claim]] = []
        records = records_of(self.folder, refresh=False)
        made: dict[str, Record] = {}
        for name, file in self._files(target).items():
            part = self.parts[name]
            one = part.look(file, part.storage.stat(file), claim.owner, records)
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

    def acceptable(self, found: Found, target: str) -> Found | None:
        """Return files of unknown origin as what can be accepted, if all of them open."""
        contents = {}
        for name, file in self._files(target).items():
            taken = self.parts[name].acceptable(found, file)
            if taken is None:
                return None  # one does not open: all are made again
            contents[name] = taken.content
        joined = ",".join(f"{name}={content}" for name, content in contents.items())
        return Found("foreign", found.stat, (), joined, found.why)
