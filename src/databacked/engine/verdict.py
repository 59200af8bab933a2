"""What the planner says of items: what they count by, what is there, what is to be made."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from databacked.graph.nodes import Item
from databacked.places.judge import Found
from databacked.worker.messages import Reason


@dataclass(frozen=True)
class Verdict:
    """Of each row that was judged; a row that is named nowhere stays open."""

    tokens: Mapping[int, str] = field(default_factory=dict)
    """What items count by that are not kept."""

    idle: Sequence[int] = ()
    """Items that are not kept, and can be made without knowing what their files count by."""

    untold: bool = False
    """Whether it was not looked what `idle` items count by: nobody reads them."""

    fresh: Mapping[int, str] = field(default_factory=dict)
    """Items whose value is there, and what they count by."""

    due: Mapping[int, Found | None] = field(default_factory=dict)
    """Items that would have to be made, and what lies at their targets; None: to be looked at."""

    perhaps: Sequence[int] = ()
    """Those of `due` that are not made if what they read comes out the same."""

    twins: Mapping[int, Item] = field(default_factory=dict)
    """Items that make the same file as another one, of the same."""

    settle: Mapping[int, tuple[Found, Literal["e", "a"]]] = field(default_factory=dict)
    """Fresh items of which it is to be recorded that they are used: edited, or accepted."""

    recalled: Mapping[int, Any] = field(default_factory=dict)
    """Small values that records hold."""

    late: Mapping[int, Sequence[Item]] = field(default_factory=dict)
    """Items whose target depends on what others return: judged again once that is known."""

    unread: Sequence[Item] = ()
    """Items of which files have to be read to judge them."""

    errors: Mapping[int, BaseException] = field(default_factory=dict)
    """Items that cannot be looked at."""

    why: Mapping[int, Reason] = field(default_factory=dict)
    """Why items are to be made again."""

    notes: Counter[str] = field(default_factory=Counter)
    """What else is to be said of items."""

    named: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Targets of items of which a note is said."""

    edited: Sequence[int] = ()
    """Fresh items that were corrected by hand, or accepted as they were found."""

    whole: bool = False
    """Whether all rows were looked at, for the first time."""


@dataclass
class Draft:
    """A verdict that is being written."""

    tokens: dict[int, str] = field(default_factory=dict)
    idle: list[int] = field(default_factory=list)
    untold: bool = False
    fresh: dict[int, str] = field(default_factory=dict)
    due: dict[int, Found | None] = field(default_factory=dict)
    perhaps: list[int] = field(default_factory=list)
    twins: dict[int, Item] = field(default_factory=dict)
    settle: dict[int, tuple[Found, Literal["e", "a"]]] = field(default_factory=dict)
    recalled: dict[int, Any] = field(default_factory=dict)
    late: dict[int, list[Item]] = field(default_factory=dict)
    unread: list[Item] = field(default_factory=list)
    errors: dict[int, BaseException] = field(default_factory=dict)
    why: dict[int, Reason] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    named: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    edited: list[int] = field(default_factory=list)
    whole: bool = False

    def verdict(self) -> Verdict:
        """Return it as it stands."""
        return Verdict(**vars(self))
