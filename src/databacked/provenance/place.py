"""What lies in a place, by task: files, bytes, corrections, and what nobody recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from databacked.display.words import size_in_words, some
from databacked.project.folders import STATE, from_here
from databacked.provenance.file import State, judged
from databacked.records.book import records_of
from databacked.records.record import JOIN, Record
from databacked.storage.local import LocalStorage
from databacked.storage.looks import Stat, stat_of

NAMED = 3
"""Files that are named of all those that nobody recorded."""


@dataclass(frozen=True)
class Share:
    """What one task has in a place."""

    files: int
    """How many files it has there (a folder that is a result is one)."""

    nbytes: int
    """Bytes of them."""

    by_hand: int
    """How many of them were edited by hand or accepted, or changed since any record."""

    nothing: int
    """Items that are None, so that there is no file."""

    seconds: float
    """What making them took, in seconds."""

    last: datetime | None
    """When the last of them was made."""


@dataclass(frozen=True)
class Contents:
    """What lies in a place; printed, it is a table."""

    path: Path
    """The place."""

    tasks: Mapping[str, Share]
    """By the task that made it: file below the project's root, and name."""

    unknown: Sequence[str]
    """Files that nothing is recorded about, relative to the place."""

    unknown_nbytes: int
    """Bytes of them."""

    aside: tuple[int, int]
    """Files and bytes that were moved aside, to ``.databacked/replaced``."""

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, as ``--json`` prints them.

        Returns
        -------
        A dict that ``json.dumps`` takes; times are ISO 8601, sizes bytes.
        """
        tasks = {
            name: asdict(one) | {"last": None if one.last is None else one.last.isoformat()}
            for name, one in self.tasks.items()
        }
        return {
            "path": str(self.path),
            "tasks": tasks,
            "unknown": list(self.unknown),
            "unknown_nbytes": self.unknown_nbytes,
            "aside": {"files": self.aside[0], "nbytes": self.aside[1]},
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return each task with what it has, in words."""
        return [(name, _share(one)) for name, one in self.tasks.items()]

    def notes(self) -> list[str]:
        """Return what else lies there, in words."""
        notes = [] if self.tasks or self.unknown else ["no results"]
        if self.unknown:
            named = some(self.unknown[:NAMED], len(self.unknown))
            notes.append(
                f"nothing is recorded about {_files(len(self.unknown))} of "
                f"{size_in_words(self.unknown_nbytes)}{named}"
            )
        if self.aside[0]:
            notes.append(
                f"moved aside: {_files(self.aside[0])} of {size_in_words(self.aside[1])} in "
                f"{from_here(self.path / STATE / 'replaced')}"
            )
        return notes

    def __str__(self) -> str:
        width = max((len(name) for name in self.tasks), default=0)
        rows = [f"  {name:<{width}}  {said}" for name, said in self.rows()]
        return "\n".join([from_here(self.path), *rows, *(f"  {note}" for note in self.notes())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(said)}</td></tr>'
            for name, said in self.rows()
        )
        notes = "".join(f"<div>{escape(note)}</div>" for note in self.notes())
        table = f"<table><tbody>{rows}</tbody></table>"
        return f'<div class="databacked"><b>{escape(from_here(self.path))}</b>{table}{notes}</div>'


def contents_of(place: Path, beside: Mapping[str, Iterable[str]] | None = None) -> Contents:
    """Return what lies in a place by task; reads only files of which size and time do not tell.

    Parameters
    ----------
    beside
        Files that are part of a result, by the target that its record names.
    """
    records = records_of(place)
    targets = [target for target in records.targets() if JOIN not in target]
    looks = LocalStorage(place).find(targets)
    claims: dict[str, list[tuple[Record, Stat | None, State]]] = {}
    for target in targets:
        found = records.of(target)
        if not found:
            continue
        look = looks.get(target)
        try:
            state, record, _ = judged(place / target, target, look, found)
        except OSError:  # it went meanwhile, or is nobody's to read
            state, record = "changed", None
        if state != "missing":
            one = record or found[-1]
            claims.setdefault(records.task_of(one), []).append((one, look, state))
    parts = [name for target, names in (beside or {}).items() if target in looks for name in names]
    unknown = sorted(_unknown(place, {*looks, *parts}))
    return Contents(
        place,
        {name: _of_task(found) for name, found in sorted(claims.items())},
        unknown,
        sum(_size(place / name) for name in unknown),
        _aside(place),
    )


def _of_task(found: Sequence[tuple[Record, Stat | None, State]]) -> Share:
    sizes = [look.size for _, look, _ in found if look is not None]
    starts = [claim.details.get("start") for claim, _, _ in found]
    known = [start for start in starts if start is not None]
    return Share(
        len(sizes),
        sum(sizes),
        sum(state in ("edited", "accepted", "changed") for _, _, state in found),
        len(found) - len(sizes),
        sum(claim.details.get("seconds") or 0.0 for claim, _, _ in found),
        datetime.fromtimestamp(max(known), UTC) if known else None,
    )


def _unknown(place: Path, known: set[str]) -> Iterator[str]:
    """Yield what lies in a place and is no result, nor lies in a folder that is one."""
    for folder, folders, files in os.walk(place):
        below = Path(os.path.relpath(folder, place))
        folders[:] = [
            name for name in folders if name != STATE and (below / name).as_posix() not in known
        ]
        for name in files:
            target = (below / name).as_posix()
            if target not in known:
                yield target


def _aside(place: Path) -> tuple[int, int]:
    sizes = [
        _size(Path(folder, name))
        for folder, _, files in os.walk(place / STATE / "replaced")
        for name in files
    ]
    return len(sizes), sum(sizes)


def _size(path: Path) -> int:
    try:
        return stat_of(path).size
    except OSError:
        return 0


def _files(count: int) -> str:
    return f"{count:,} file{'' if count == 1 else 's'}"


def _share(one: Share) -> str:
    words = [f"{_files(one.files)}, {size_in_words(one.nbytes)}"]
    if one.by_hand:
        words.append(f"{one.by_hand:,} edited or accepted")
    if one.nothing:
        words.append(f"{one.nothing:,} × None")
    if one.last is not None:
        words.append(f"last made {one.last:%Y-%m-%d %H:%M} UTC")
    return ", ".join(words)
