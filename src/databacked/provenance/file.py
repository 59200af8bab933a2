"""What made a file, and what became of it since.

task → runner → result → serializer → storage → record → dataset → version → remote → [provenance]
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from databacked.display.words import seconds_in_words, size_in_words
from databacked.errors import RecordError
from databacked.fingerprint.files import content_of
from databacked.pictures.facts import facts_html
from databacked.project.folders import STATE, from_here
from databacked.records.book import Records, records_of
from databacked.records.marks import is_marked, time_written
from databacked.records.record import Record
from databacked.storage.looks import Stat, stat_of

State: TypeAlias = Literal[
    "made", "none", "edited", "accepted", "changed", "lost", "unknown", "missing"
]

STATES: Mapping[State, str] = {
    "made": "as it was made",
    "none": "None was made, so there is no file",
    "edited": "edited by hand since; used as it is",
    "accepted": "found there and accepted; used as it is",
    "changed": "changed since it was made; the next run of its task says whether it can be used",
    "lost": "a result whose record is lost",
    "unknown": "nothing is recorded about it",
    "missing": "not there any more",
}
"""What the states of a file mean."""


@dataclass(frozen=True)
class Provenance:
    """What is recorded of a file in a place; printed, it is a short table."""

    path: Path
    """The file, or the folder that is one to its readers."""

    place: Path
    """The place that it lies in."""

    state: State
    """``made``, and so since; ``none``: its value is None; ``edited`` by hand, or ``accepted`` as
    it was found; ``changed`` since any record; ``lost``: a result without a record; ``unknown``;
    ``missing``."""

    nbytes: int | None = None
    """Size of what lies there now, in bytes; None where nothing does."""

    content: str = ""
    """xxh3-128 of the file's bytes, where it had to be read or is recorded."""

    task: str = ""
    """File below the project's root (or module), and name of the task that made it."""

    run: str = ""
    """When that run started (UTC), and a few letters."""

    flow: str = ""
    """The run's flow, where its record is still there."""

    user: str = ""
    """Who ran it."""

    host: str = ""
    """Where it ran."""

    commit: str = ""
    """The git commit of that run, with ``+`` if files were changed since."""

    made: datetime | None = None
    """When making it began."""

    seconds: float | None = None
    """What making it took, in seconds."""

    edited: Mapping[str, Any] = field(default_factory=dict)
    """When and by whom it was edited, as far as the file tells."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Plain arguments; of large ones only what they count by."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    """What came from other tasks and from files, by what it counts by."""

    code: Mapping[str, str] = field(default_factory=dict)
    """What the task's code reaches in the project: constants by value, all else by its hash."""

    packages: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that the code reaches."""

    serializer: Mapping[str, Any] = field(default_factory=dict)
    """What wrote it: name, format and settings."""

    holds: Mapping[str, Any] = field(default_factory=dict)
    """Shape, dtype, axes, channels, pixel sizes (µm), columns."""

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, as ``--json`` prints them.

        Returns
        -------
        A dict that ``json.dumps`` takes; times are ISO 8601, sizes bytes.
        """
        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        said |= {"path": str(self.path), "place": str(self.place)}
        said["made"] = None if self.made is None else self.made.isoformat()
        return json.loads(json.dumps(said, default=str))  # type: ignore[no-any-return]

    def facts(self) -> dict[str, str]:
        """Return what is known in words, without what is not."""
        facts = {"state": STATES[self.state]}
        if self.edited:
            facts["edited"] = _edited(self.edited)
        if self.task:
            facts["made by"] = self.task
        if self.run:
            of = f" of {self.flow}" if self.flow else ""
            who = f", by {self.user}" if self.user else ""
            where = f" on {self.host}" if self.host else ""
            facts["run"] = f"{self.run}{of}{who}{where}"
        if self.commit:
            facts["commit"] = self.commit
        if self.made is not None:
            took = "" if self.seconds is None else f", in {seconds_in_words(self.seconds)}"
            facts["when"] = f"{self.made:%Y-%m-%d %H:%M:%S} UTC{took}"
        holds = _holds(self.holds)
        size = "" if self.nbytes is None else size_in_words(self.nbytes)
        if holds or size:
            facts["holds"] = ", ".join(filter(None, (holds, size)))
        for name, said in (
            ("parameters", {key: _value(one) for key, one in self.parameters.items()}),
            ("inputs", {key: _input(one) for key, one in self.inputs.items()}),
            ("code", _code(self.code)),
            ("packages", self.packages),
        ):
            if said:
                facts[name] = ", ".join(f"{key} {one}".rstrip() for key, one in said.items())
        if self.serializer:
            facts["written by"] = _serializers(self.serializer)
        return facts

    def __str__(self) -> str:
        facts = self.facts()
        width = max(map(len, facts))
        lines = [f"  {name:<{width}}  {text}" for name, text in facts.items()]
        return "\n".join([from_here(self.path), *lines])

    def _repr_html_(self) -> str:
        table = facts_html({"file": from_here(self.path), **self.facts()})
        return f'<div class="databacked">{table}</div>'


def provenance_of(
    path: Path, place: Path, beside: Mapping[str, Iterable[str]] | None = None
) -> Provenance:
    """Return what is recorded of a file in a place; reads it only where size and time do not tell.

    Parameters
    ----------
    beside
        Files that are part of a result, by the target that its record names.

    Raises
    ------
    RecordError
        If nothing lies there, and nothing is recorded of it.
    """
    records = records_of(place)
    below = Path(os.path.relpath(path, place))
    # A chunk of a folder that is a result belongs to that one, and so does a part of a dataset.
    wholes = (Path(whole) for whole, parts in (beside or {}).items() if below.as_posix() in parts)
    known = (one for one in (below, *below.parents, *wholes) if records.has(one.as_posix()))
    below = next(known, below)
    path, target = place / below, below.as_posix()
    claims = records.of(target)
    try:
        stat: Stat | None = stat_of(path)
    except OSError:
        stat = None
    if stat is None and not claims:
        raise RecordError(
            f"{from_here(path)}: no such file, and {from_here(place)} has no record of it."
        )
    state, record, content = judged(path, target, stat, claims)
    found = Provenance(path, place, state, None if stat is None else stat.size, content)
    return found if record is None else _with_record(found, records, record)


def judged(
    path: Path, target: str, stat: Stat | None, claims: Sequence[Record]
) -> tuple[State, Record | None, str]:
    """Return what a file is, the record that tells most of it, and its content where known."""
    files = [claim for claim in claims if claim.size >= 0]
    if stat is None:
        return "none" if claims[-1].size < 0 else "missing", claims[-1], ""
    fitting = [claim for claim in files if claim.stat == stat]
    if len({claim.content for claim in fitting}) != 1:  # the bytes decide, as they do in a run
        content = content_of(path)
        fitting = [claim for claim in files if claim.content == content]
    else:
        content = fitting[0].content
    if not fitting:
        if is_marked(time_written(path), content, target):
            return "lost", None, content
        return ("changed", files[-1], content) if files else ("unknown", None, content)
    states: Mapping[str, State] = {"w": "made", "e": "edited", "a": "accepted"}
    return states[fitting[-1].state], fitting[-1], content


def _with_record(found: Provenance, records: Records, record: Record) -> Provenance:
    """Return what is known of a file with what its record says."""
    said, context = record.details, records.contexts.get(record.context, {})
    run = str(context.get("run", ""))
    about = _run(found.place, context, run)
    git = about.get("git") or {}
    commit = str(git.get("commit") or "")
    start = said.get("start")
    symbols, values = context.get("symbols", {}), context.get("values", {})
    return Provenance(
        found.path,
        found.place,
        found.state,
        found.nbytes,
        found.content,
        task=str(context.get("task", "")),
        run=run,
        flow=str(about.get("flow", "")),
        user=str(about.get("user", "")),
        host=str(context.get("host", "")),
        commit=commit + ("+" if commit and git.get("dirty") else ""),
        made=None if start is None else datetime.fromtimestamp(start, UTC),
        seconds=said.get("seconds"),
        edited=said.get("edited", {}),
        parameters=said.get("parameters", {}),
        inputs=said.get("inputs", {}),
        code={name: values.get(name, digest) for name, digest in symbols.items()},
        packages=context.get("packages", {}),
        serializer=context.get("serializer", {}),
        holds={name: said[name] for name in _HOLDS if name in said},
    )


_HOLDS = (
    *("shape", "dtype", "dim_order", "channel_names", "physical_pixel_sizes", "columns"),
    *("translation", "labels"),
)


def _run(place: Path, context: Mapping[str, Any], run: str) -> Mapping[str, Any]:
    """Return what a run said of itself; nothing where its project is elsewhere or was cleared."""
    for seen in (place, os.path.realpath(place)):  # a link may lead to the place, or the place out
        root = os.path.normpath(os.path.join(seen, context.get("root", "")))
        try:
            file = Path(root, STATE, "runs", run, "run.json")
            about = json.loads(file.read_text(encoding="utf-8"))
            break
        except (OSError, ValueError):
            continue
    else:
        return {}
    return about if isinstance(about, dict) else {}


# ---------------------------------------------------------------- words


def _edited(edited: Mapping[str, Any]) -> str:
    when = edited.get("when")
    said = "" if when is None else f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return ", ".join(filter(None, (said, f"by {edited.get('by', '?')}")))


def _holds(said: Mapping[str, Any]) -> str:
    shape = said.get("shape")
    words = [
        "" if shape is None else f"({', '.join(map(str, shape))})",
        str(said.get("dim_order") or ""),
        str(said.get("dtype") or ""),
    ]
    if names := said.get("channel_names"):
        words.append(f"channels {', '.join(names)}")
    if sizes := said.get("physical_pixel_sizes"):
        known = [f"{size:g}" for size in sizes if size is not None]
        words.append(f"{' × '.join(known)} µm" if known else "")
    if there := said.get("translation"):
        places = zip("zyx", there, strict=True)
        words.append("at " + ", ".join(f"{axis} {n:g}" for axis, n in places if n is not None))
    if labels := said.get("labels"):
        words.append(f"labels {', '.join(labels)}")
    return " ".join(filter(None, words))


def _value(value: Any) -> str:
    if isinstance(value, Mapping) and "token" in value:
        shown = value.get("shown") or f"a large value ({_short(str(value['token']))})"
        return f"= {shown}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"= {text if len(text) <= 60 else text[:59] + '…'}"


def _input(token: str) -> str:
    kind, _, rest = token.partition(":")
    kinds = {"c": "content", "r": "made by recipe", "u": "of that run", "f": "file"}
    return f"({kinds.get(kind, kind)} {_short(rest)})"


def _short(token: str) -> str:
    return token if len(token) <= 14 else token[:12] + "…"


def _code(code: Mapping[str, str]) -> dict[str, str]:
    """Return constants with their values, and the names of all else."""
    digests = {name for name, said in code.items() if len(said) == 32 and said.isalnum()}
    return {name: "" if name in digests else f"= {said}" for name, said in code.items()}


def _serializers(said: Mapping[str, Any]) -> str:
    """Return what wrote a file; of several outputs what wrote each, once where it is the same."""
    each = {name: _serializer(one) for name, one in said.get("outputs", {}).items()}
    if len(set(each.values())) > 1:
        return ", ".join(f"{name} {one}" for name, one in each.items())
    return next(iter(each.values()), "") or _serializer(said)


def _serializer(said: Mapping[str, Any]) -> str:
    given = {
        name: value
        for name, value in (said.get("settings") or {}).items()
        if value is not None and value != {} and value != []
    }
    shown = ", ".join(f"{name}={json.dumps(value, default=str)}" for name, value in given.items())
    return f"{said.get('name', '?')}({shown})"
