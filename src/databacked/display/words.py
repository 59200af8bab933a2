"""How far tasks are, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

WORDS = ("made", "reused", "failed", "skipped")
"""What may become of an item, in the order in which it is said."""


@dataclass(frozen=True)
class Progress:
    """How far one task is."""

    total: int
    """Items."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """How many of them became what, by `WORDS`."""

    seconds: float | None = None
    """What making them took, whenever they were made; None where nobody asked."""

    nbytes: int | None = None
    """Size of their files; None where there are none, or nobody asked."""

    @property
    def done(self) -> int:
        """How many items are done, in whichever way."""
        return sum(self.counts.values())

    @property
    def said(self) -> str:
        """What became of them, for example ``3 made, 2 reused``."""
        return ", ".join(f"{self.counts[word]:,} {word}" for word in WORDS if self.counts.get(word))

    @property
    def outcome(self) -> str:
        """What became of them in the end; what a run that was stopped did not come to is left."""
        left = self.total - self.done
        return ", ".join(filter(None, (self.said, f"{left:,} left" if left > 0 else "")))

    @property
    def cost(self) -> str:
        """Seconds and bytes, as far as they are known."""
        took = [] if self.seconds is None else [seconds_in_words(self.seconds)]
        return " · ".join([*took, *([] if self.nbytes is None else [size_in_words(self.nbytes)])])


Progresses = Mapping[str, Progress]
"""By the name of a task."""


def line(tasks: Progresses) -> str:
    """Return in one line how far all tasks are."""
    shown = []
    for name, one in tasks.items():
        left = f"{one.total - one.done:,} left"
        shown.append(f"{name}: {one.said}, {left}" if one.said else f"{name}: {left}")
    return " · ".join(shown)


def summary(tasks: Progresses) -> list[str]:
    """Return a line a task: what was made, reused, failed and skipped, and what that took."""
    width = max((len(name) for name in tasks), default=0)
    return [
        f"  {name:<{width}}  {' · '.join(filter(None, (one.outcome or 'nothing to do', one.cost)))}"
        for name, one in tasks.items()
    ]


def seconds_in_words(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size_in_words(nbytes: float) -> str:
    """Return a number of bytes as people say it."""
    if nbytes < 1000:
        return f"{nbytes:.0f} byte{'' if nbytes == 1 else 's'}"
    for unit in ("kB", "MB", "GB"):
        nbytes /= 1000
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
    return f"{nbytes / 1000:,.3g} TB"


def some(names: Iterable[str], count: int) -> str:
    """Return some of many names in brackets, and how many more there are."""
    known = list(names)
    more = f" and {count - len(known):,} more" if count > len(known) else ""
    return f" ({', '.join(known)}{more})" if known else ""
