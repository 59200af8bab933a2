"""The journals of what made what.

task → runner → result → serializer → storage → [record] → dataset → version → remote

Records lie beside the results, in ``<place>/.databacked/journals/``. Each process appends to a
journal file of its own, one write an item, before the item's file becomes visible. A record is a
claim: a file is described by whichever record of its target fits its content, and a claim without
a file means nothing; of what a target held before, content and recipe are never forgotten. One
line a record, tab-separated::

    state  target  recipe  resolved  content  size  mtime_ns  context  {details}

``state`` is ``w`` (written), ``e`` (edited by hand) or ``a`` (accepted as it was). ``context``
names a line ``=  context  {task, project, root, code, serializer, run …}``, which many share.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from databacked.records.journals import LocalJournals
from databacked.records.owners import Owner, Relation
from databacked.records.record import CLAIMS, NO_DETAILS, TABS, WHOLE, Record, parse
from databacked.storage.looks import NOTHING, Stat


class Records:
    """All records of one place: read once a process from its journals, then only onwards."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.journals = LocalJournals(place)
        self.contexts: dict[str, dict[str, Any]] = {}
        self._lines: dict[str, bytes | list[bytes]] = {}
        self._lock = threading.RLock()
        self._was_read = False
        self._relations: dict[tuple[Owner, str], Relation] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def take_notes(self) -> list[str]:
        """Return what was wrong with a journal; each is returned once."""
        taken, self.journals.notes = self.journals.notes, []
        return taken

    @property
    def known(self) -> bool:
        """Whether anything is known of the place: an emptied journal is as good as none."""
        return any(self._whole(target) for target in list(self._lines))

    def refresh(self) -> None:
        """Read what was appended since the last time.

        Raises
        ------
        RecordError
            If a journal was written by a newer databacked.
        """
        with self._lock:
            self._was_read = True
            self._relations.clear()  # others may have gone since
            for _ in range(3):
                names = self.journals.names()
                if not names:  # none yet, or somebody removed them all
                    self.journals.read.clear()
                    self._lines.clear()
                    self.contexts.clear()
                # A journal that is listed and then missing was compacted: list again.
                if all([self.read_on(name) for name in names]):
                    return

    def read_once(self) -> None:
        """Read all that was there when this process first asked, if nobody did so yet."""
        if not self._was_read:
            self.refresh()

    def read_on(self, name: str) -> bool:
        """Take in what was appended to one journal; return whether it is still there."""
        data = self.journals.read_on(name)
        if data is not None:
            self._take(data, self.journals.folder / name)
        return data is not None

    def _take(self, data: bytes, path: Path) -> None:
        lines, bad = self._lines, 0
        for line in data.split(b"\n"):
            mark = line[:2]
            if mark in CLAIMS:
                # A line that is cut is seen here, any other damage where the line is used (`of`).
                end = line.find(b"\t", 2)
                if end < 3 or line.count(b"\t") != TABS or line[-1:] != b"}":
                    bad += 1
                    continue
                target = line[2:end].decode("utf-8", "surrogateescape")
                before = lines.get(target)
                if before is None:
                    lines[target] = line
                elif isinstance(before, bytes):
                    if before != line:
                        lines[target] = [before, line]
                elif line not in before:
                    before.append(line)
            elif mark == b"=\t":
                context, _, body = line[2:].partition(b"\t")
                try:
                    self.contexts[context.decode()] = json.loads(body)
                except ValueError:
                    bad += 1
            elif line and not line.startswith(b"#"):
                bad += 1
        self._note(bad, path)

    def _note(self, bad: int, path: Path) -> None:
        if bad:
            self.journals.notes.append(
                f"{bad} line(s) of {path} cannot be read and are ignored; their items are made "
                "again, and files without a record are moved aside, not deleted."
            )

    def of(self, target: str) -> list[Record]:
        """Return all claims about a target, newest of each journal last."""
        return [parse(line) for line in self._whole(target)]

    def _whole(self, target: str) -> list[bytes]:
        """Return the claims about a target; damaged ones are forgotten."""
        found = self._lines.get(target)
        if found is None:
            return []
        lines = [found] if isinstance(found, bytes) else found
        whole = [line for line in lines if WHOLE(line)]
        if len(whole) < len(lines):
            with self._lock:
                self._note(len(lines) - len(whole), self.journals.folder)
                if whole:
                    self._lines[target] = whole
                else:
                    self._lines.pop(target, None)
        return whole

    def targets(self) -> Set[str]:
        """Return all targets of which anything is known."""
        return self._lines.keys()

    def has(self, target: str) -> bool:
        """Whether anything is known of a target."""
        return target in self._lines

    def fits(
        self, target: str, stat: Stat | None, recipe: str, owner: Owner
    ) -> tuple[str, str] | None:
        """Return content and context of the file at a target if a record of this recipe fits it.

        The quick way for many items: None only means that it takes a closer look (see `of`).

        Parameters
        ----------
        stat
            What lies at the target; None fits a record of a value without a file.
        """
        look, sought = stat or NOTHING, recipe.encode()
        contents: set[bytes] = set()
        claims = [line.split(b"\t", 8) for line in reversed(self._whole(target))]
        for _, _, made_by, _, content, size, mtime, _, _ in claims:
            if (int(size), int(mtime)) == look:
                contents.add(content)
            elif stat is None and sought == made_by:
                return None  # the same recipe gave a file, which somebody removed
        if len(contents) != 1:
            return None  # two of one size, written within one time stamp: their bytes decide
        # Several recipes can lead to one content, and several times: each of them makes a hit.
        for state, _, made_by, resolved, content, _, _, context, _ in claims:
            if content in contents and sought in (made_by, resolved):
                fitting = self._fitting(state, content, context, owner)
                if fitting is not None:
                    return fitting
        return None

    def fitting(
        self,
        targets: Iterable[str | None],
        looks: Mapping[str, Stat],
        recipes: Iterable[str | None],
        owner: Owner,
    ) -> list[tuple[str, str] | None]:
        """Return `fits` of many items: the way through a whole column.

        Parameters
        ----------
        looks
            What lies at the targets; what is missing lies nowhere.
        """
        lines, fits = self._lines, self.fits
        names: dict[bytes, str | None] = {}  # of contexts, where their records may be used
        found: list[tuple[str, str] | None] = []
        for target, recipe in zip(targets, recipes, strict=True):
            if target is None or recipe is None:
                found.append(None)
                continue
            line = lines.get(target)
            if type(line) is not bytes:
                found.append(
                    None if line is None else fits(target, looks.get(target), recipe, owner)
                )
                continue
            state, _, made_by, resolved, content, size, mtime, context, body = line.split(b"\t", 8)
            sought = recipe.encode()
            if sought != made_by and sought != resolved:
                found.append(None)
                continue
            # Of several files, of inputs that are not kept, or damaged.
            names_are_whole = content.isalnum() and context.isalnum()
            if resolved != made_by or not names_are_whole or body[:1] != b"{":
                found.append(fits(target, looks.get(target), recipe, owner))
                continue
            try:
                is_it = (int(size), int(mtime)) == looks.get(target, NOTHING)
            except ValueError:  # damaged
                is_it = False
            if not is_it:
                found.append(None)
                continue
            if context not in names:
                fitting = self._fitting(b"w", content, context, owner)
                names[context] = None if fitting is None else fitting[1]
            name = names[context]
            found.append(None if name is None or state == b"e" else (content.decode(), name))
        return found

    def _fitting(
        self, state: bytes, content: bytes, context: bytes, owner: Owner
    ) -> tuple[str, str] | None:
        name = context.decode()
        is_fit = state != b"e" and self.relation(owner, name) != "other"
        return (content.decode(), name) if is_fit else None

    def relation(self, owner: Owner, context: str) -> Relation:
        """Say whose the records of a context are, seen from a task."""
        found = self._relations.get((owner, context))
        if found is None:
            found = owner.relation(self.contexts.get(context, NO_DETAILS), self.place)
            self._relations[owner, context] = found
        return found

    def remember(self, line: bytes) -> None:
        """Take a line that a process of this run has appended, without reading it from disk."""
        with self._lock:
            self._take(line.rstrip(b"\n"), self.journals.folder)

    def remember_all(self, targets: Sequence[str], lines: Sequence[bytes]) -> None:
        """Take many lines of this run, of whose targets mostly nothing was known."""
        with self._lock:
            for target, line in zip(targets, lines, strict=True):
                if target in self._lines:
                    self._take(line.rstrip(b"\n"), self.journals.folder)
                else:
                    self._lines[target] = line[:-1]

    def knows(self, record: Record) -> bool:
        """Whether a record is the only one of its target, or was taken in last."""
        found = self._lines.get(record.target)
        last = found[-1] if isinstance(found, list) else found
        return last is not None and last == record.line().rstrip(b"\n")

    def task_of(self, record: Record) -> str:
        """Return the name of the task that a record belongs to."""
        return str(self.contexts.get(record.context, {}).get("task", "?"))

    def owner_of(self, record: Record, seen_from: Owner) -> str:
        """Return whose a record is, in words: the task, and the project where it is another one."""
        said = self.contexts.get(record.context, {})
        root = os.path.normpath(os.path.join(self.place, said.get("root", seen_from.root)))
        elsewhere = os.path.realpath(root) != os.path.realpath(seen_from.root)
        return self.task_of(record) + (f" in the project {root}" if elsewhere else "")

    def all(self) -> Iterator[Record]:
        """Yield every claim."""
        for target in list(self._lines):
            yield from self.of(target)


_registry: dict[str, Records] = {}


registry_lock = threading.Lock()


def records_of(place: Path, *, refresh: bool = True) -> Records:
    """Return this process's view of a place's records, by default read up to now."""
    key = str(place)
    found = _registry.get(key)
    if found is None:
        with registry_lock:
            found = _registry.setdefault(key, Records(place))
    if refresh:
        found.refresh()
    return found
