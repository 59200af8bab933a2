"""What became of a run: what is printed at its end, and what can be asked for afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databacked.display.words import Progress, some
from databacked.engine.run import Run
from databacked.errors import DatabackedError
from databacked.pictures.facts import facts_html
from databacked.places.judge import summary as reasons_in_words
from databacked.places.orphans import in_words
from databacked.project.folders import from_here
from databacked.project.modules import is_session, older_than_files
from databacked.types import Failure

LONG = 0.1
"""Seconds from which on it is said how long a failed item took."""

SHOWN = 5
"""Reasons, notes and failures that a report shows; its fields have all."""

_last: Report | None = None


@dataclass(frozen=True, repr=False)
class Report:
    """What became of a run."""

    id: str
    """When it started (UTC), and a few random letters."""

    name: str
    """The flow, or the task that was called outside of any."""

    state: str
    """``done``, ``partly failed``, ``failed`` or ``interrupted``."""

    counts: Mapping[str, Mapping[str, int]]
    """Made, reused, failed and skipped items of each task."""

    reasons: Mapping[str, Mapping[str, int]]
    """Why items of each task were made again, with counts."""

    notes: Mapping[str, Mapping[str, int]]
    """What else was said of each task's items, with counts."""

    failures: tuple[Failure, ...]
    """Items that failed."""

    value: Any
    """What the flow returned."""

    folder: Path
    """Where its record lies."""

    orphans: Mapping[str, tuple[int, int]]
    """Files and bytes in each place that this run's tasks wrote there for items that are none of
    this run; known for flows that ended whole."""

    def facts(self) -> dict[str, str]:
        """Return what became of it in words."""
        facts = {"run": f"{self.id} of {self.name}", "state": self.state}
        for task, counts in self.counts.items():
            facts[task] = ", ".join(f"{count:,} {word}" for word, count in counts.items())
        said = [*self.reasons.items(), *self.notes.items()]
        lines = [f"{task}: {n:,} × {text}" for task, one in said for text, n in one.items()]
        lines += [f"{one.task}: {one.item} failed: {one.exception}" for one in self.failures]
        if lines:
            more = f"; and {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else ""
            facts["said"] = "; ".join(lines[:SHOWN]) + more
        facts["record"] = from_here(self.folder)
        return facts

    def __repr__(self) -> str:
        facts = self.facts()
        width = max(map(len, facts))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in facts.items())

    def _repr_html_(self) -> str:
        return f'<div class="databacked">{facts_html(self.facts())}</div>'

    @property
    def log(self) -> str:
        """What its items printed, logged and warned of: item, kind and text, a line each."""
        try:
            return (self.folder / "log").read_text(encoding="utf-8")
        except OSError:
            return ""


def last_run() -> Report:
    """Return what became of the last run of this process.

    Returns
    -------
    Its counts, reasons, failures and value; shown in a notebook, it is a short table.

    Raises
    ------
    DatabackedError
        Before the first run.
    """
    if _last is None:
        raise DatabackedError("last_run(): nothing has run yet in this process. Call a flow first.")
    return _last


def tasks_of(run: Run) -> dict[str, Progress]:
    """Return what became of each task's items; with what they took, where that was asked for."""
    return run.recorder.costs() if run.verbose else run.recorder.progress()


def counts_of(run: Run) -> dict[str, dict[str, int]]:
    """Return made, reused, failed and skipped items of each task."""
    return {
        name: {word: count for word, count in one.counts.items() if count}
        for name, one in run.recorder.progress().items()
    }


def report_of(run: Run, state: str, value: Any, folder: Path | None) -> None:
    """Print what became of the run, and remember it."""
    global _last
    whole = folder is not None and state == "done"
    try:
        left_over = run.orphans() if whole else {}
    except OSError:  # a folder that cannot be listed any more: the run is done all the same
        left_over = {}
    _last = Report(
        run.id,
        run.name,
        state,
        counts_of(run),
        run.recorder.reasons(),
        run.recorder.notes(),
        tuple(run.recorder.failures),
        value,
        folder or run.project.state,
        left_over,
    )
    say = run.show.say
    progress = run.recorder.progress()
    for name, reasons in run.recorder.reasons().items():
        say(f"{name}: {reasons_in_words(reasons, progress[name].total)}")
    for name, notes in run.recorder.notes().items():
        for note, count in notes.most_common(10):
            say(f"{name}: {count:,} × {note}{some(run.recorder.named(name, note), count)}")
    for name, count in run.recorder.nones().items():
        made = run.recorder.counts[name]["made"]
        hint = "; did the function forget to return what it made?" if count == made else ""
        say(f"{name}: {count:,} × None, so there is no file{hint}")
    for place, (count, nbytes) in left_over.items():
        say(in_words(from_here(place), count, nbytes))
    for line in run.damages():
        say(line)
    if run.show.hidden and run.recorder.log.path is not None:
        say(
            f"what items said: {run.show.hidden:,} more lines; databacked.last_run().log has all "
            f"({from_here(run.recorder.log.path)})"
        )
    older = older_than_files(run.recorder.symbols, run.project.root) if is_session() else []
    for module in older:
        say(
            f"{module}: its file was changed after it was imported, and what was imported runs. "
            f"Reload it: importlib.reload({module}), or %autoreload 2; or restart"
        )
    if folder is not None:
        for line in run.recorder.opaque():
            say(f"not followed, so a change of it is not seen: {line}")
        run.show.end(tasks_of(run))


def failed_in_words(run: Run) -> str:
    """Return the failures of a run in words, grouped by kind."""
    groups: dict[tuple[str, str, str], list[Failure]] = {}
    for failure in run.recorder.failures:
        key = (failure.task, failure.exception.partition(":")[0], failure.where)
        groups.setdefault(key, []).append(failure)
    skipped = sum(one.counts.get("skipped", 0) for one in run.recorder.progress().values())
    lines = [
        f"{run.name}: {_items(len(run.recorder.failures))} failed"
        + (f", {_skipped(skipped)}" if skipped else "")
        + "; everything else is done. Correct the cause and run again: only these are left."
    ]
    for (name, _, where), members in sorted(groups.items(), key=lambda item: -len(item[1])):
        first = members[0]
        given = ", ".join(f"{key}={value}" for key, value in first.parameters.items())
        at = f" at {_from_here(run, where)}" if where else ""
        lines.append(f"  {len(members):,} × {name}{at}: {first.exception}")
        after = f" after {first.seconds:.2g} s" if first.seconds >= LONG else ""
        lines.append(f"      for example {first.item} ({given}){after}")
    return "\n".join(lines)


def _from_here(run: Run, where: str) -> str:
    """Return file and line as they can be opened from where one stands."""
    file, _, line = where.rpartition(":")
    path = run.project.root / file
    return f"{from_here(path)}:{line}" if file and path.is_file() else where


def _items(count: int) -> str:
    return f"{count:,} {'item' if count == 1 else 'items'}"


def _skipped(count: int) -> str:
    one = count == 1
    return f"{count:,} that {'needs' if one else 'need'} them {'was' if one else 'were'} skipped"
