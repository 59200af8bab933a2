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

import atexit
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from databacked.descriptors import Descriptor
from databacked.errors import RecordError
from databacked.hashes import hash_texts
from databacked.owners import Owner, Relation
from databacked.project import STATE, make_state_folder, obstacle, owner_of
from databacked.stats import NOTHING, Stat, look_at, stat_of_target
from databacked.types import Description, Json

FORMAT = 1
"""Version of the journal's format; a newer one is an error, never ignored."""

NONE = "none"
"""Content of the value None: a record without a file."""

HEADER = b"#databacked\t%d\n"
COMPACT_ABOVE = 8
"""Journals of ended runs in one place, above which they are made one."""

_WHOLE = re.compile(
    rb"([^\t]+)\t[0-9a-f]*\t[0-9a-f]*\t[\w=,]*\t-?\d+\t-?\d+\t[0-9a-z]*\t\{[^\t]*\}"
).fullmatch
"""What a claim has to look like behind its state: a damaged one must not be taken for another."""

OWNER = ("task", "project", "root", "host")
"""What a context says of whose its records are."""

_DESCRIBES = frozenset((*asdict(Description()), "outputs", "form"))
"""Details without which a file cannot be handed over."""

JOURNAL = r"\d{19,}-[0-9a-f]{8}"
"""What the name of a journal begins with: when it was begun, and something of its own."""

_is_named = re.compile(rf"{JOURNAL}.*\.tsv").fullmatch
_is_temporary = re.compile(JOURNAL).fullmatch
_is_begun = re.compile(rf"\.(?:{JOURNAL}|[0-9a-f]{{8}})").fullmatch
"""A journal that was never finished, by a run that was killed."""

_NOTHING: dict[str, Any] = {}


@dataclass(frozen=True)
class Record:
    """One claim: this recipe made this content at this target."""

    state: str
    """``w`` written by its task, ``e`` edited by hand since, ``a`` accepted as it was found."""

    target: str
    """Relative to the place, with ``/``."""

    recipe: str
    """Hash of code, parameters, inputs and serializer; inputs that are not kept by their recipe."""

    resolved: str
    """The same with the content of the inputs that are not kept."""

    content: str
    """xxh3-128 of the file's bytes, ``none`` for the value None, ``name=…,name=…`` for an item
    with several files."""

    size: int
    """Bytes; -1 for a value without a file."""

    mtime_ns: int
    """Modification time of the file as it was written, in nanoseconds."""

    context: str
    """Name of the line that task, code and serializer stand in."""

    body: bytes
    """The details, as JSON."""

    @cached_property
    def details(self) -> dict[str, Any]:
        """Parameters, inputs, start, seconds, shape, dtype …"""
        try:
            return dict(json.loads(self.body))
        except ValueError:
            return {}  # cut by a full disk: the claim's head is whole, its file never came to be

    @property
    def stat(self) -> Stat:
        """Size and time that the file has as long as nobody touches it."""
        return Stat(self.size, self.mtime_ns)

    def line(self) -> bytes:
        """Return the record as its line in a journal."""
        head = (
            f"{self.state}\t{self.target}\t{self.recipe}\t{self.resolved}\t{self.content}\t"
            f"{self.size}\t{self.mtime_ns}\t{self.context}\t"
        )
        return head.encode("utf-8", "surrogateescape") + self.body + b"\n"


def parse(line: bytes) -> Record:
    """Return the record in one line of a journal."""
    state, target, recipe, resolved, content, size, mtime, context, body = line.split(b"\t")
    return Record(
        state.decode(),
        target.decode("utf-8", "surrogateescape"),
        recipe.decode(),
        resolved.decode(),
        content.decode(),
        int(size),
        int(mtime),
        context.decode(),
        body,
    )


def details(**fields: Any) -> bytes:
    """Return the details of a record as JSON, without the fields that are None."""
    kept = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(kept, separators=(",", ":"), default=str).encode()


class Records:
    """All records of one place: read once a process, then only onwards."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.folder = place / STATE / "journals"
        self.contexts: dict[str, dict[str, Any]] = {}
        self._notes: list[str] = []
        self._lines: dict[str, bytes | list[bytes]] = {}
        self._read: dict[str, int] = {}
        self._lock = threading.RLock()
        self._noted: set[str] = set()
        self._looked = False
        self._odd: set[str] = set()
        """What lies among the journals and is none."""
        self._was_read = False
        self._relations: dict[tuple[Owner, str], Relation] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def take_notes(self) -> list[str]:
        """Return what was wrong with a journal; each is returned once."""
        taken, self._notes = self._notes, []
        return taken

    @property
    def known(self) -> bool:
        """Whether anything is known of the place: an emptied journal is as good as none."""
        return bool(self._lines)

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
                names = self._journals()
                if not names:  # none yet, or somebody removed them all
                    self._read.clear()
                    self._lines.clear()
                    self.contexts.clear()
                # A journal that is listed and then missing was compacted: list again.
                if all([self._read_on(name) for name in names]):
                    return

    def read_once(self) -> None:
        """Read all that was there when this process first asked, if nobody did so yet."""
        if not self._was_read:
            self.refresh()

    def _journals(self) -> list[str]:
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
        self._notes.append(f"{self.folder}: {shown}: no journal; passed over.")

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

    def _read_on(self, name: str) -> bool:
        path = self.folder / name
        offset = self._read.get(name, 0)
        try:
            with open(path, "rb", opener=_open_journal) as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unreadable(path, error) from error
        if offset == 0 and not _is_named(name) and not data.startswith(b"#databacked"):
            self._pass_over([name])  # somebody's own table
            return True
        if offset == 0 and data:
            version = data[: data.find(b"\n") + 1]
            if version and version != HEADER % FORMAT:
                raise RecordError(
                    f"The journal {path} begins with {version[:40]!r}, which this databacked does "
                    f"not know (it knows format {FORMAT}). If a newer databacked wrote it, "
                    "upgrade; if it is damaged, move it away: its results are then unknown files."
                )
        end = data.rfind(b"\n") + 1
        self._read[name] = offset + end
        if end < len(data) and name not in self._noted and not is_live(path):
            self._noted.add(name)
            self._notes.append(
                f"The last line of {path} is cut (a process was stopped while it wrote); "
                "it is ignored, and its item is made again."
            )
        self._take(data[:end], path)
        return True

    def _take(self, data: bytes, path: Path) -> None:
        lines, bad = self._lines, 0
        for line in data.split(b"\n"):
            mark, _, rest = line.partition(b"\t")
            if mark == b"=":
                context, _, body = rest.partition(b"\t")
                try:
                    self.contexts[context.decode()] = json.loads(body)
                except ValueError:
                    bad += 1
            elif mark in (b"w", b"e", b"a"):
                whole = _WHOLE(rest)
                if whole is None:
                    bad += 1
                    continue
                target = whole[1].decode("utf-8", "surrogateescape")
                before = lines.get(target)
                if before is None:
                    lines[target] = line
                elif isinstance(before, bytes):
                    if before != line:
                        lines[target] = [before, line]
                elif line not in before:
                    before.append(line)
            elif line and not line.startswith(b"#"):
                bad += 1
        if bad:
            self._notes.append(
                f"{bad} line(s) of {path} cannot be read and are ignored; their items are made "
                "again, and files without a record are moved aside, not deleted."
            )

    def of(self, target: str) -> list[Record]:
        """Return all claims about a target, newest of each journal last."""
        found = self._lines.get(target)
        if found is None:
            return []
        return [parse(found)] if isinstance(found, bytes) else [parse(line) for line in found]

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
        found = self._lines.get(target)
        if found is None:
            return None
        look, sought = stat or NOTHING, recipe.encode()
        if isinstance(found, bytes):
            state, _, made_by, resolved, content, size, mtime, context, _ = found.split(b"\t", 8)
            if (int(size), int(mtime)) != look or sought not in (made_by, resolved):
                return None
            return self._fitting(state, content, context, owner)
        contents: set[bytes] = set()
        claims = [line.split(b"\t", 8) for line in reversed(found)]
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
            found = owner.relation(self.contexts.get(context, _NOTHING), self.place)
            self._relations[owner, context] = found
        return found

    def remember(self, line: bytes) -> None:
        """Take a line that a process of this run has appended, without reading it from disk."""
        with self._lock:
            self._take(line.rstrip(b"\n"), self.folder)

    def task_of(self, record: Record) -> str:
        """Return the name of the task that a record belongs to."""
        return str(self.contexts.get(record.context, {}).get("task", "?"))

    def owner_of(self, record: Record, seen_from: Owner) -> str:
        """Return whose a record is, in words: the task, and the project where it is another one."""
        said = self.contexts.get(record.context, {})
        root = os.path.normpath(os.path.join(self.place, said.get("root", seen_from.root)))
        elsewhere = os.path.realpath(root) != os.path.realpath(seen_from.root)
        return self.task_of(record) + (f" in the project {root}" if elsewhere else "")

    def by_recipe(self, recipe: str) -> Iterator[Record]:
        """Yield the claims of a recipe, whatever their target."""
        sought = recipe.encode()
        for found in self._lines.values():
            for line in (found,) if isinstance(found, bytes) else found:
                if sought in line and (record := parse(line)).recipe == recipe:
                    yield record

    def all(self) -> Iterator[Record]:
        """Yield every claim."""
        for target in list(self._lines):
            yield from self.of(target)


_registry: dict[str, Records] = {}
_registry_lock = threading.Lock()


def records_of(place: Path, *, refresh: bool = True) -> Records:
    """Return this process's view of a place's records, by default read up to now."""
    key = str(place)
    found = _registry.get(key)
    if found is None:
        with _registry_lock:
            found = _registry.setdefault(key, Records(place))
    if refresh:
        found.refresh()
    return found


class Journal:
    """This process's own journal in one place; append is one write."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._lock = threading.Lock()
        self._file: Descriptor | None = None
        self._folder: Descriptor | None = None
        self._temporary = ""
        self._made: list[str] = []
        self._defined: set[str] = set()
        self._torn = False
        self._count = 0

    def append(self, record: Record, context: dict[str, Any]) -> bytes:
        """Append a record (and the line of its context, the first time); return its line.

        Raises
        ------
        OSError
            If the disk is full or not writable; the record then does not count.
        """
        line = record.line()
        with self._lock:
            file = self._open()
            data = line
            if record.context not in self._defined:
                data = context_line(record.context, context) + line
            if self._torn:
                data = b"\n" + data
            try:
                written = os.write(file.number, data)
            except OSError:
                self._torn = True
                raise
            if written != len(data):
                self._torn = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._torn = False
            self._defined.add(record.context)
        return line

    def temporary(self, suffix: str) -> str:
        """Return a fresh name for a file that is not visible yet, on the same disk."""
        with self._lock:
            self._open()
            if self._folder is None or not self._folder.has_name:
                self._make_folder()  # somebody removed it
            self._count += 1
            return f"{self._temporary}{os.sep}{self._count}{suffix}"

    def _open(self) -> Descriptor:
        if self._file is not None and not self._file.has_name:
            self._file.close()  # somebody removed it, or closed its number: begin a new one
            self._file = None
            self._defined.clear()
        if self._file is None:
            folder = make_state_folder(self.place) / "journals"
            folder.mkdir(exist_ok=True)
            # Sorted by time of start, so that a reader meets old claims first.
            name = f"{time.time_ns():019d}-{secrets.token_hex(4)}"
            path = folder / f"{name}.tsv"
            self._file = _begin_journal(folder / f".{name}", path)
            _take_group(self.place, path)
            self._temporary = str(folder.parent / "tmp" / name)
            self._made.append(self._temporary)
            self._make_folder()
        return self._file

    def _make_folder(self) -> None:
        """Make the folder of files that are not visible yet."""
        if self._folder is not None:
            self._folder.close()
            self._folder = None
        os.makedirs(self._temporary, exist_ok=True)
        _take_group(self.place, self._temporary)
        self._folder = Descriptor(os.open(self._temporary, os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        """Close the journal: from now on it is one of an ended run."""
        with self._lock:
            if self._file is not None:
                if self._folder is not None:  # before it goes: some disks then know it no more
                    self._folder.close()
                for folder in self._made:
                    _clear(folder)
                self._file.close()
                self._made.clear()
                self._folder = self._file = None
                self._defined.clear()


def _begin_journal(hidden: Path, path: Path) -> Descriptor:
    """Make a journal that is locked and has its first line before anybody can see it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    number = os.open(hidden, flags, 0o666)
    try:
        # Held while this process lives: an unlocked journal is one of an ended run.
        fcntl.flock(number, fcntl.LOCK_EX)
        header = HEADER % FORMAT
        if os.write(number, header) != len(header):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.rename(hidden, path)
    except BaseException:
        os.close(number)
        hidden.unlink(missing_ok=True)
        raise
    return Descriptor(number)


def _open_journal(path: str, flags: int) -> int:
    """Open what is a regular file; nothing else is waited for, and no link is followed."""
    number = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileNotFoundError(errno.ENOENT, "it is no regular file", path)
    return number


_journals: dict[tuple[int, str], Journal] = {}


@atexit.register
def close_journals() -> None:
    """Close all journals of this process; the next record opens new ones."""
    mine = [key for key in _journals if key[0] == os.getpid()]
    for journal in [_journals.pop(key) for key in mine]:
        journal.close()


def journal_of(place: Path) -> Journal:
    """Return this process's journal in a place, created with its first record."""
    key = (os.getpid(), str(place))
    found = _journals.get(key)
    if found is None:
        with _registry_lock:
            found = _journals.setdefault(key, Journal(place))
    return found


def context_of(fields: dict[str, Json]) -> str:
    """Return the name of a context: a hash of what it says."""
    return hash_texts([json.dumps(fields, sort_keys=True)])[:16]


def context_line(name: str, fields: dict[str, Any]) -> bytes:
    """Return the line of a context."""
    return f"=\t{name}\t{json.dumps(fields, separators=(',', ':'))}\n".encode()


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Let one process at a time write what several files of a place are; others wait.

    Where a disk has no locks, nobody waits: what was written has to be looked at then.
    """
    guard = None
    try:
        name = make_state_folder(place) / "writing.lock"
        guard = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(guard, fcntl.LOCK_EX)
    except OSError:
        pass
    try:
        yield
    finally:
        if guard is not None:
            os.close(guard)


def _take_group(place: Path, path: str | Path) -> None:
    """Hand the group of a place down, as its setgid bit asks for, where the system did not.

    That is so where ``.databacked`` is older than the bit: every result comes from a folder in it.
    """
    above = os.stat(place)
    if not above.st_mode & stat.S_ISGID:
        return
    mine = os.lstat(path)
    if mine.st_gid != above.st_gid and not stat.S_ISLNK(mine.st_mode):
        try:
            os.chown(path, -1, above.st_gid, follow_symlinks=False)
            if stat.S_ISDIR(mine.st_mode):
                os.chmod(path, stat.S_IMODE(mine.st_mode) | stat.S_ISGID)
        except OSError:
            pass  # not a member of the group: what others can do is theirs to say


def is_live(path: Path) -> bool:
    """Whether the process that writes this journal is still there (here or on another host)."""
    try:
        file = _open_journal(str(path), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # another user's: it is theirs to say that it ended
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def compact(records: Records, *, always: bool = False) -> int:
    """Make the journals of ended runs in a place one, and clear away their temporary files.

    Content and recipe of every record stay; only details go of what a target held before. The new
    journal is written before the old ones go.

    Returns
    -------
    How many journals were replaced.
    """
    try:
        return _compact(records, always)
    except (OSError, RecordError):
        return 0  # a full disk, for instance: it can wait


def _compact(records: Records, always: bool) -> int:
    state = records.place / STATE
    if os.path.islink(state) or os.path.islink(records.folder):
        return 0  # what lies behind a link may be more than this place's
    if not os.access(records.folder, os.W_OK):
        return 0
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    guard = os.open(state / "compaction.lock", flags, 0o666)  # another user's: they do it
    try:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0  # another process is at it
        paths = [records.folder / name for name in records._journals()]
        ended = [path for path in paths if not is_live(path)]
        folder = os.stat(records.folder)
        if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, folder.st_uid):
            # As in /tmp, nobody can remove what is another's.
            ended = [path for path in ended if path.stat().st_uid == os.geteuid()]
        _clear_temporary(state, records.folder)
        if len(ended) <= (1 if always else COMPACT_ABOVE):
            return 0
        old = Records(records.place)
        for path in ended:
            old._read_on(path.name)
        ended = [path for path in ended if path.name in old._read]
        if len(ended) < 2:
            return 0
        base = f"{records.place}{os.sep}"
        several = [target for target, lines in old._lines.items() if isinstance(lines, list)]
        looks = look_at(lambda target: _look(base, target), several)
        found = dict(zip(several, looks, strict=True))
        kept: list[Record] = []
        for target in old._lines:
            claims = old.of(target)
            if target in found:
                claims = _worth_keeping(claims, found[target], old.contexts)
            kept += claims
        new = records.folder / f".{secrets.token_hex(4)}"
        try:
            with open(new, "wb") as file:
                file.write(HEADER % FORMAT)
                used = {record.context for record in kept}
                file.writelines(
                    context_line(name, fields)
                    for name, fields in old.contexts.items()
                    if name in used
                )
                file.writelines(record.line() for record in kept)
                file.flush()
                os.fsync(file.fileno())
            # Once: the last one may be such a one itself, for ever where a clock was ahead.
            begun = ended[-1].stem.partition("-compacted-")[0]
            os.rename(new, ended[-1].with_name(f"{begun}-compacted-{secrets.token_hex(4)}.tsv"))
        finally:  # stopped, or the disk is full: the old ones stay
            new.unlink(missing_ok=True)
        for path in ended:
            path.unlink(missing_ok=True)
        return len(ended)
    finally:
        os.close(guard)


def _look(base: str, target: str) -> Stat | OSError | None:
    try:
        return stat_of_target(base, target)
    except OSError as error:
        return error


def _worth_keeping(
    claims: list[Record], found: Stat | OSError | None, contexts: dict[str, dict[str, Any]]
) -> list[Record]:
    """Return the claims about a target, without details where they can be missed.

    What a target held is never forgotten: a backup that is restored, or code that goes back to what
    it was, has to find it. Only the claims that may describe the file keep what they say of it.
    """
    if isinstance(found, OSError):
        return claims
    if found is None:
        whole = claims[-1:]
    else:
        fits = {claim.content for claim in claims if claim.stat == found}
        # Without a claim that surely fits, the content would have to be read to choose.
        whole = [claim for claim in claims if len(fits) != 1 or claim.content in fits]
    newest: dict[tuple[str, ...], Record] = {}
    for claim in claims:
        key = (claim.state, claim.recipe, claim.resolved, claim.content, str(claim.stat == found))
        newest.pop(key, None)  # the same again: where it stands now is what tells old from new
        newest[key] = claim
    keep = set(map(id, whole))
    return [claim if id(claim) in keep else _bare(claim, contexts) for claim in newest.values()]


def _bare(claim: Record, contexts: dict[str, dict[str, Any]]) -> Record:
    """Return a claim that says whose it is, what of and what for, and no more."""
    said = contexts.get(claim.context, {})
    whose = {name: said[name] for name in OWNER if name in said}
    context = context_of(whose)
    contexts.setdefault(context, whose)
    kept = {name: value for name, value in claim.details.items() if name in _DESCRIBES}
    return replace(claim, context=context, body=details(**kept))


def _clear_temporary(state: Path, journals: Path) -> None:
    """Clear what killed runs left; only what is named as ours, and never behind a link."""
    for name in filter(_is_begun, os.listdir(journals)):
        if not is_live(journals / name):
            (journals / name).unlink(missing_ok=True)
    temporary = state / "tmp"
    if os.path.islink(temporary) or not os.path.isdir(temporary):
        return
    for name in filter(_is_temporary, os.listdir(temporary)):
        if not is_live(journals / f"{name}.tsv"):
            _clear(temporary / name)


def _clear(folder: str | Path) -> None:
    """Remove a folder; what is none is somebody's (and a pipe would be waited for)."""
    if os.path.isdir(folder) and not os.path.islink(folder):
        shutil.rmtree(folder, ignore_errors=True)
