"""The journals of many ended runs are made one, without what nobody needs any more."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

from databacked.errors import RecordError
from databacked.project.folders import STATE
from databacked.records.book import Records
from databacked.records.journal import is_temporary
from databacked.records.record import (
    DESCRIBES,
    FORMAT,
    HEADER,
    JOIN,
    OWNER,
    Record,
    context_line,
    context_of,
    details,
)
from databacked.storage.live import JOURNAL, is_live
from databacked.storage.looks import Stat, fold, look_at, stat_of
from databacked.storage.renames import clear_folder

COMPACT_ABOVE = 8
"""Journals of ended runs in one place, above which they are made one."""


_is_begun = re.compile(rf"\.(?:{JOURNAL}|[0-9a-f]{{8}})").fullmatch
"""A journal that was never finished, by a run that was killed."""


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
    state, folder = records.place / STATE, records.journals.folder
    if os.path.islink(state) or os.path.islink(folder):
        return 0  # what lies behind a link may be more than this place's
    if not os.access(folder, os.W_OK):
        return 0
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    guard = os.open(state / "compaction.lock", flags, 0o666)  # another user's: they do it
    try:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return 0  # another process is at it
        paths = [folder / name for name in records.journals.names()]
        ended = [path for path in paths if not is_live(path)]
        info = os.stat(folder)
        if info.st_mode & stat.S_ISVTX and os.geteuid() not in (0, info.st_uid):
            # As in /tmp, nobody can remove what is another's.
            ended = [path for path in ended if path.stat().st_uid == os.geteuid()]
        _clear_temporary(state, folder)
        if len(ended) <= (1 if always else COMPACT_ABOVE):
            return 0
        old = Records(records.place)
        for path in ended:
            old.read_on(path.name)
        ended = [path for path in ended if path.name in old.journals.read]
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
        new = folder / f".{secrets.token_hex(4)}"
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
    kept = {name: value for name, value in claim.details.items() if name in DESCRIBES}
    return replace(claim, context=context, body=details(**kept))


def _clear_temporary(state: Path, journals: Path) -> None:
    """Clear what killed runs left; only what is named as ours, and never behind a link."""
    for name in filter(_is_begun, os.listdir(journals)):
        if not is_live(journals / name):
            (journals / name).unlink(missing_ok=True)
    temporary = state / "tmp"
    if os.path.islink(temporary) or not os.path.isdir(temporary):
        return
    for name in filter(is_temporary, os.listdir(temporary)):
        if not is_live(journals / f"{name}.tsv"):
            clear_folder(temporary / name)


def stat_of_target(base: str, target: str) -> Stat | None:
    """Return what lies at a target of the place `base` (which ends in a separator), or None."""
    if JOIN in target:
        return fold([stat_of_target(base, part) for part in target.split(JOIN)])
    try:
        return stat_of(base + target)
    except (FileNotFoundError, NotADirectoryError):
        return None
