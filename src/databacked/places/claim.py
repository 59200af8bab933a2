"""What is recorded of a value, and what a record says of its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from databacked.records.owners import Owner
from databacked.records.record import Record, details
from databacked.storage.looks import Stat
from databacked.types import Description, PhysicalPixelSizes, Translation


@dataclass(frozen=True)
class Claim:
    """What is recorded of a value besides its bytes."""

    owner: Owner
    recipe: str
    resolved: str
    context: str
    fields: Mapping[str, Any]
    """The context's own line: whose it is, code, symbols, serializer, run."""

    details: Mapping[str, Any]
    """Parameters, inputs, start, seconds."""

    run: str

    given: tuple[str, ...] = ()
    """Files and folders among the arguments, where a task's own file is adopted."""


def record_of(
    state: str, target: str, stat: Stat, content: str, description: Description, claim: Claim
) -> Record:
    """Return the record of a file that has this size, time and content."""
    return Record(
        state,
        target,
        claim.recipe,
        claim.resolved,
        content,
        stat.size,
        stat.mtime_ns,
        claim.context,
        joined(details(**claim.details), details_of(description)),
    )


def joined(said: bytes, seen: bytes) -> bytes:
    """Return two sets of details as one."""
    return said if seen == b"{}" else seen if said == b"{}" else said[:-1] + b"," + seen[1:]


@lru_cache(maxsize=256)
def details_of(description: Description) -> bytes:
    """Return what a record says of what a file holds; the same for all files of one layout."""
    return details(
        shape=description.shape,
        dtype=description.dtype,
        dim_order=description.dim_order,
        channel_names=description.channel_names,
        physical_pixel_sizes=description.physical_pixel_sizes,
        chunks=description.chunks,
        columns=description.columns,
        translation=description.translation,
        labels=description.labels,
    )


def described(record: Record) -> Description:
    """Return what a record says that its file holds."""
    said = record.details
    sizes, there = said.get("physical_pixel_sizes"), said.get("translation")
    return Description(
        shape=as_tuple(said.get("shape")),
        dtype=said.get("dtype"),
        dim_order=said.get("dim_order"),
        channel_names=as_tuple(said.get("channel_names")),
        physical_pixel_sizes=None if sizes is None else PhysicalPixelSizes(*sizes),
        chunks=as_tuple(said.get("chunks")),
        columns=as_tuple(map(tuple, said["columns"])) if said.get("columns") else None,
        translation=None if there is None else Translation(*there),
        labels=as_tuple(said.get("labels")),
    )


def as_tuple(value: Any) -> tuple[Any, ...] | None:
    """Return a list as a tuple; None stays None."""
    return None if value is None else tuple(value)
