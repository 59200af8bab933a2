"""What goes wrong, in words: what came, what was expected, what to do."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from databacked.types import Failure


class DatabackedError(Exception):
    """Base of every error that databacked raises on purpose."""


class ProjectError(DatabackedError):
    """The project's configuration or root is not usable."""


class GraphError(DatabackedError):
    """A call cannot become part of the graph: lengths, kinds or use of a future."""


class TargetError(DatabackedError):
    """A target cannot be used: unknown key, outside its place, claimed twice."""


class SerializerError(DatabackedError):
    """A value cannot be written, or a file cannot be read, by its serializer."""


class FingerprintError(DatabackedError):
    """A parameter cannot be told apart from others by its content."""


class RecordError(DatabackedError):
    """A journal of records cannot be used as it is."""


class StorageError(DatabackedError):
    """A place cannot be read or written: full, read-only, gone."""


class UnknownFilesError(StorageError):
    """A place holds files at the targets, and no journal says who made them."""


class CorrectionError(DatabackedError):
    """A result was changed by hand to something that cannot be used in its place."""


class ResultChangedError(DatabackedError):
    """A file is no longer the one that its backed array stands for."""


class ArgumentChangedError(DatabackedError):
    """A large argument was modified between the call and the run of its item."""


class WorkerLost(DatabackedError):
    """The process of an item died."""


class DatasetError(DatabackedError):
    """A table cannot become a dataset; lists every problem at once."""


class FlowFailed(DatabackedError):
    """Some items of a flow failed; everything that did not depend on them was done."""

    failures: tuple[Failure, ...]
    """One entry a failed item."""

    value: Any
    """What the flow returned, with `Failed` marks where a value is missing."""

    def __init__(self, message: str, failures: Sequence[Failure] = (), value: Any = None) -> None:
        super().__init__(message)
        self.failures = tuple(failures)
        self.value = value


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or an empty string."""
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})
"""What a system says where no further file can be opened."""


def is_due_to(error: BaseException | None, numbers: Collection[int]) -> bool:
    """Whether an error, or one that it came from, is one of these of the operating system."""
    while error is not None:
        if getattr(error, "errno", None) in numbers:
            return True
        error = error.__cause__ or error.__context__
    return False
