"""What is sent to a worker, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from databacked.capture import Said
from databacked.fingerprint.hashes import hash_one, hash_texts
from databacked.fingerprint.parameters import token as token_of_value
from databacked.places.judge import Found, contents
from databacked.places.place import Place
from databacked.records.owners import Owner
from databacked.records.record import JOIN, Record
from databacked.types import Failure

SEPARATOR = "\x1f"


# What became of an item.
MADE, REUSED, FAILED, SKIPPED, LEFT = range(5)


@dataclass(frozen=True)
class Spec:
    """What all items of a node share; sent to a worker once."""

    id: int
    name: str
    """The function's name, for people."""

    owner: Owner
    """Whose records these are."""

    function: Any
    order: tuple[str, ...]
    """All parameters, in the order of the recipe."""

    positional: tuple[str, ...]
    """Those that can only be given by position."""

    plain: Mapping[str, Any]
    """Values that are the same for every item."""

    columns: tuple[str, ...]
    """Parameters that differ from item to item, in the order of `Work.args`."""

    arrives: Mapping[str, str]
    """``array``, ``dask`` or ``path``, where the annotation says so."""

    inputs: frozenset[str]
    """Parameters that come from a task or a file."""

    base: str
    """Start of every recipe: code, serializer, names of the parameters."""

    place: Place | None
    fields: Mapping[str, Any]
    """What the context of the records says."""

    context: str
    run: str
    retries: int
    """How often the driver sends an item again whose function raised."""

    retry_delay: float
    """Seconds between two tries."""

    shared: bool
    """Whether an un-kept value has more than one reader (a retry is one): then it is read-only."""

    marks: bool
    """Whether failed inputs arrive as `Failed` marks."""

    checks: tuple[tuple[str, str], ...]
    """Large arguments with their hash at the call."""

    root: str
    hashed: frozenset[str] = frozenset()
    """Parameters of which each item's value was hashed at the call."""

    pure: bool = True
    """Whether it repeats: the value of one that does not counts for this run alone."""

    remembers: bool = False
    """Whether small values are kept in records, without a file."""

    draws: bool = False
    """Whether it gets a random generator as ``rng``."""

    how: str = "sampled"
    """How input files count."""

    reads: tuple[tuple[str, str, str], ...] = ()
    """Further files that it reads, with what they count by and how."""

    modules: frozenset[str] = frozenset()
    """Modules of libraries that its code reaches."""

    forced: bool = False
    """Whether its items are made again, whatever is there."""

    @property
    def is_kept(self) -> bool:
        """Whether its values count by their content, because they are kept."""
        return self.place is not None or self.remembers

    def token(self, recipe: str) -> str:
        """Return what a value that is not kept counts by."""
        return ("r:" if self.pure else "u:") + recipe

    def recipe(self, tokens: Sequence[str]) -> str:
        """Return the recipe of an item from the tokens of its parameters, in `order`."""
        return hash_one((self.base + SEPARATOR.join(tokens)).encode("utf-8", "surrogatepass"))

    def recipes(self, columns: Sequence[Sequence[str]]) -> list[str]:
        """Return the recipes of many items, from the columns of their tokens."""
        base, join = self.base, SEPARATOR.join
        return [
            hash_one((base + join(tokens)).encode("utf-8", "surrogatepass"))
            for tokens in zip(*columns, strict=True)
        ]

    @cached_property
    def of_call(self) -> Callable[[Mapping[str, Any]], Any]:
        """Return what calls the function with the values of its parameters."""
        if not self.positional:
            return lambda values: self.function(**values)

        def call(values: Mapping[str, Any]) -> Any:
            first = [values[name] for name in self.positional]
            rest = {name: value for name, value in values.items() if name not in self.positional}
            return self.function(*first, **rest)

        return call

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "of_call"}


class InChain(NamedTuple):
    """The value of an earlier item of the same chain."""

    position: int
    keys: tuple[Any, ...] = ()


class Kept(NamedTuple):
    """The value of a result that is there."""

    place: Place
    record: Record
    keys: tuple[Any, ...] = ()


class Held(NamedTuple):
    """A value that is not kept, made earlier and held where it was made."""

    key: tuple[int, int]
    keys: tuple[Any, ...] = ()


class Handed(NamedTuple):
    """A value that was held elsewhere, as it was there, handed over with the item."""

    held: Any
    keys: tuple[Any, ...] = ()


class Inside(NamedTuple):
    """A value that holds other sources; `sources` replaces the marks in it."""

    value: Any
    sources: list[Any]
    tokens: list[str | None]
    """What each source counts by; None for what an earlier item of the chain decides."""


class Mark(NamedTuple):
    """Stands in `Inside.value` for a source."""

    position: int


class Marks(NamedTuple):
    """Stands in `Inside.value` for the list of all items of a map."""

    start: int
    stop: int


class Work(NamedTuple):
    """One item, as it is sent to a worker."""

    spec: int
    row: int
    target: str | None
    args: tuple[Any, ...]
    """Value or source of each parameter in `Spec.columns`."""

    tokens: tuple[str | None, ...] | None
    """Token of each parameter in `Spec.order`; None for what an earlier item decides, and in place
    of all if nobody asks what the item counts by."""

    found: Found | None
    """What lies at the target, as it was judged; None to look."""

    wanted: bool
    """Whether it is made even if nothing in the chain needs it."""

    hold: bool
    """Whether others need its value after this chain."""

    tell: bool = False
    """Whether it decides the items of maps, so that the driver has to know it."""

    def needs(self) -> Iterator[tuple[int, int]]:
        """Yield the keys of the held values that it reads."""
        return _held_in(self.args)


def _held_in(sources: Iterable[Any]) -> Iterator[tuple[int, int]]:
    for one in sources:
        if type(one) is Held:
            yield one.key
        elif type(one) is Inside:
            yield from _held_in(one.sources)


class Reason(NamedTuple):
    """Why an item is made again."""

    text: str
    only_parameters: bool = False
    """Whether nothing but parameters changed: another result is replaced."""

    only_inputs: bool = False
    """Whether nothing but what comes from tasks changed; it may come out the same."""


class Outcome(NamedTuple):
    """What became of one item."""

    spec: int
    row: int
    state: int
    token: str | None
    record: Record | None = None
    notes: tuple[str, ...] = ()
    reason: Reason | None = None
    failure: Failure | None = None
    known: tuple[Any, ...] = ()
    """What is known of the value, where it decides items: one entry, or none."""

    seconds: float = 0.0
    fatal: bool = False
    raised: bool = False
    """Whether its function raised: another try may succeed."""

    said: tuple[Said, ...] = ()
    """What the item printed, logged and warned of."""

    held: bool = False
    """Whether its value, which is not kept, stays where it was made."""


class Store(Protocol):
    """Where values are held that are not kept."""

    def put(self, key: tuple[int, int], value: Any) -> None: ...

    def get(self, key: tuple[int, int]) -> Any: ...


def shown(target: str) -> str:
    """Return a target as people read it, also where it names several files."""
    return target.replace(JOIN, " + ")


def with_keys(token: str, keys: Sequence[Any]) -> str:
    """Return the token of a part of a value."""
    if keys and "=" in token and token.startswith("c:"):  # several outputs: each by its own content
        known = contents(token[2:])
        if keys[0] in known:
            return with_keys(f"c:{known[keys[0]]}", keys[1:])
    return token if not keys else f"{token}{''.join(f'[{key!r}]' for key in keys)}"


def value_of_marks(mark: Mark | Marks, found: list[Any]) -> Any:
    """Return the value that marks stand for."""
    return found[mark.position] if isinstance(mark, Mark) else found[mark.start : mark.stop]


def token_of_marks(mark: Mark | Marks, tokens: list[str]) -> tuple[str, str]:
    """Return what stands for the value of marks in a value that is to have a token."""
    found = value_of_marks(mark, tokens)
    return OF_TASK, found if isinstance(mark, Mark) else token_of_list(found)


OF_TASK = "of a task"
"""Tells a token in a value from a text."""


def token_of_list(tokens: Sequence[str]) -> str:
    """Return what the list of all items of a map counts by."""
    return "l:" + hash_texts(tokens)


def token_of_filled(value: Any, root: str | Path) -> str:
    """Return the token of a value that holds tokens in place of what comes from tasks."""
    return "n:" + str(token_of_value(value, root))
