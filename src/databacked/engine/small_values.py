"""Small values that records hold, without a file: found by what counts, written beside the runs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from databacked.engine.items import Items
from databacked.graph.sketch import NOTHING_KNOWN, decode_known, encode_known
from databacked.project.folders import STATE, can_write
from databacked.project.root import Project
from databacked.records.book import Records, records_of
from databacked.records.journal import journal_of
from databacked.records.record import Record, details
from databacked.storage.local import storage_error
from databacked.worker.messages import Outcome


class SmallValues:
    """Values of tasks with ``keep=True``, and of what decides the items of maps, as recorded."""

    def __init__(self, project: Project) -> None:
        self.folder = project.state / "values"

    @cached_property
    def _records(self) -> Records:
        """Read on once a run."""
        return records_of(self.folder)

    def of(self, token: str) -> tuple[Any, ...]:
        """Return what a record says of a value, if one can be read: one entry, or none."""
        for record in self._records.of(token):
            try:
                return (decode_known(record.details["known"]),)
            except (KeyError, TypeError, ValueError):
                continue  # not readable: it is computed again
        return ()

    def has_any(self, task: str) -> bool:
        """Whether records hold a value of a task at all."""
        known = self._records.contexts.values()
        return any(context.get("task") == task for context in known)


class SmallValuesWriter:
    """Records small values, where this user may."""

    def __init__(self, project: Project) -> None:
        self.folder = project.state / "values"
        self._writes = can_write(self.folder / STATE / "journals")

    def keep(self, items: Items, outcome: Outcome) -> None:
        """Record what is known of a value that was made.

        Raises
        ------
        StorageError
            If the disk does not take it.
        """
        spec = items.spec
        try:
            known = encode_known(outcome.known[0])
        except TypeError:
            return  # it is computed again the next time
        token = outcome.token or ""
        if spec.remembers:  # found again by its recipe, counts by its content
            tokens = [one for one in items.row_tokens(outcome.row) if one is not None]
            if len(tokens) < len(spec.order):
                return
            token = spec.token(spec.recipe(tokens))
        record = Record(
            "w",
            token,
            token[2:],
            "",
            "",
            -1,
            0,
            spec.context,
            details(known=NOTHING_KNOWN if known is None else known),
        )
        line = record.line()  # in another user's project the value counts for this run alone
        if self._writes:
            try:
                journal_of(self.folder).append(line, record.context, spec.fields)
            except OSError as error:
                raise storage_error(error, str(self.folder), "written") from error
        records_of(self.folder, refresh=False).remember(line)
