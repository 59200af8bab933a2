"""One record, a line of a journal: what made a file, and what the file was then."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.values import QUICK
from databacked.storage.looks import Stat
from databacked.types import Description, Json

FORMAT = 1
"""Version of the journal's format; a newer one is an error, never ignored."""


NONE = "none"
"""Content of the value None: a record without a file."""


JOIN = "\x1f"
"""Between the targets of one item that has several files; no target can hold it."""

HEADER = b"#databacked\t%d\n"


CLAIMS = frozenset({b"w\t", b"e\t", b"a\t"})
"""How the lines of records begin."""

TABS = 8
"""In the line of a record."""

WHOLE = re.compile(
    rb"[wea]\t([^\t]+)\t[0-9a-f]*\t[0-9a-f]*\t[\w=,]*\t-?\d+\t-?\d+\t[0-9a-z]*\t\{[^\t]*\}"
).fullmatch
"""What a claim has to look like: a damaged one must not be taken for another."""


OWNER = ("task", "project", "root", "host")
"""What a context says of whose its records are."""


DESCRIBES = frozenset((*asdict(Description()), "outputs", "form"))
"""Details without which a file cannot be handed over."""


NO_DETAILS: dict[str, Any] = {}


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
        return line_of(
            self.state,
            self.target,
            self.recipe,
            self.resolved,
            self.content,
            self.size,
            self.mtime_ns,
            self.context,
            self.body,
        )


def line_of(
    state: str,
    target: str,
    recipe: str,
    resolved: str,
    content: str,
    size: int,
    mtime_ns: int,
    context: str,
    body: bytes,
) -> bytes:
    """Return the line of a record in a journal, from its fields."""
    head = f"{state}\t{target}\t{recipe}\t{resolved}\t{content}\t{size}\t{mtime_ns}\t{context}\t"
    return head.encode("utf-8", "surrogateescape") + body + b"\n"


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


_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


def details(**fields: Any) -> bytes:
    """Return the details of a record as JSON, without the fields that are None."""
    return _encode({name: value for name, value in fields.items() if value is not None}).encode()


def _of_int(value: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:  # Python writes no more than 4300 digits
        return json.dumps({"token": QUICK[int](value)})


JSON: dict[type, Callable[[Any], str]] = {
    type(None): lambda value: "null",
    bool: lambda value: "true" if value else "false",
    int: _of_int,
    float: json.dumps,
    str: json.dumps,
}
"""What gives the JSON of plain values; an encoder for each record would cost more than the rest."""


def made_of(parameters: Mapping[str, Any], start: float, seconds: float) -> bytes:
    """Return the details of what was made from plain values alone.

    Parameters
    ----------
    parameters
        Of the types that `JSON` knows.
    start
        Seconds since 1970.
    """
    given = ",".join(
        [f"{JSON[str](name)}:{JSON[type(one)](one)}" for name, one in parameters.items()]
    )
    said = f'{{"parameters":{{{given}}},"inputs":{{}},"start":{start:.3f},"seconds":{seconds:.6f}}}'
    return said.encode()


def context_of(fields: dict[str, Json]) -> str:
    """Return the name of a context: a hash of what it says."""
    return hash_texts([json.dumps(fields, sort_keys=True)])[:16]


def context_line(name: str, fields: Mapping[str, Any]) -> bytes:
    """Return the line of a context."""
    return f"=\t{name}\t{json.dumps(dict(fields), separators=(',', ':'))}\n".encode()
