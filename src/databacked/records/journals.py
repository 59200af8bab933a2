"""The journals of one place as they lie on a disk: listed, and read onwards."""

from __future__ import annotations

import os
import re
from pathlib import Path

from databacked.errors import RecordError
from databacked.project.folders import STATE, obstacle, owner_of
from databacked.records.record import FORMAT, HEADER
from databacked.storage.live import JOURNAL, is_live, open_regular

_is_named = re.compile(rf"{JOURNAL}.*\.tsv").fullmatch


class LocalJournals:
    """What the processes of all runs have appended in a place, each to a file of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.folder = place / STATE / "journals"
        self.read: dict[str, int] = {}
        """How far each was read, in bytes."""
        self.notes: list[str] = []
        """What was wrong with one."""
        self._noted: set[str] = set()
        self._looked = False
        self._odd: set[str] = set()
        """What lies among the journals and is none."""

    def names(self) -> list[str]:
        """Return the names of the journals; what else lies among them is passed over."""
        names: list[str] = []
        odd: list[str] = []
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name[0] == "." or entry.name in self._odd:
                        continue
                    is_one = entry.name.endswith(".tsv") and entry.is_file(follow_symlinks=False)
                    (names if is_one else odd).append(entry.name)
        except FileNotFoundError as error:
            above = (self.place, self.place / STATE, self.folder)
            if not self._looked and any(map(os.path.islink, above)) and obstacle(self.folder):
                raise self._unreadable(self.folder, error) from error
            self._looked = True  # once is enough: it costs a slow disk three looks
        except OSError as error:
            raise self._unreadable(self.folder, error) from error
        if odd:
            self._pass_over(sorted(odd))
        return sorted(names)

    def _pass_over(self, names: list[str]) -> None:
        self._odd.update(names)
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        self.notes.append(f"{self.folder}: {shown}: no journal; passed over.")

    def _unreadable(self, path: Path, error: OSError) -> RecordError:
        """Return an error that says whose records cannot be read, and what to do."""
        if why := obstacle(self.folder):
            return RecordError(f"The records of {self.place} cannot be read: {why}.")
        return RecordError(
            f"The records of {self.place} cannot be read: {path}: {error.strerror}. It is "
            f"{owner_of(path)}'s. Without its records a result would look like a file of unknown "
            f"origin: ask for the right to read it (chmod -R g+rX {self.place / STATE}), or choose "
            "another place."
        )

    def read_on(self, name: str) -> bytes | None:
        """Return what a journal holds beyond what was read of it; None if it is gone.

        Raises
        ------
        RecordError
            If it cannot be read, or was written by a newer databacked.
        """
        path = self.folder / name
        offset = self.read.get(name, 0)
        try:
            with open(path, "rb", opener=open_regular) as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(path, error) from error
        if offset == 0 and not _is_named(name) and not data.startswith(b"#databacked"):
            self._pass_over([name])  # somebody's own table
            return b""
        end = data.rfind(b"\n") + 1
        # As an editor or a program that copies between systems may have saved it.
        lines = data[:end].replace(b"\r\n", b"\n") if b"\r" in data else data[:end]
        if offset == 0:
            version = lines[: lines.find(b"\n") + 1]
            if version and version != HEADER % FORMAT:
                raise RecordError(
                    f"The journal {path} begins with {version[:40]!r}, which this databacked does "
                    f"not know (it knows format {FORMAT}). If a newer databacked wrote it, "
                    "upgrade; if it is damaged, move it away: its results are then unknown files."
                )
        self.read[name] = offset + end
        if end < len(data) and name not in self._noted and not is_live(path):
            self._noted.add(name)
            self.notes.append(
                f"The last line of {path} is cut (a process was stopped while it wrote); "
                "it is ignored, and its item is made again."
            )
        return lines
