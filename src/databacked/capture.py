"""What items print, log and warn of: taken down by item, so that ten thousand do not talk at once.

While a run captures, ``sys.stdout``, ``sys.stderr``, the root logger and the display of warnings
look whether the thread that speaks is at work on an item; everybody else is passed through.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from itertools import groupby
from typing import Any, NamedTuple, TextIO

LONGEST = 100_000
"""Characters that are kept of what one item says; what is more is counted."""


_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\r\n])")
"""What a carriage return takes back, as bars of progress do: of a line the last state is kept."""


class Said(NamedTuple):
    """Something that an item said."""

    kind: str
    """``out``, ``log`` or ``warning``."""

    text: str
    where: str = ""
    """File and line, for a warning."""


class Heard:
    """What one item said: the first `LONGEST` characters, and how many more there were."""

    def __init__(self) -> None:
        self._said: list[Said] = []
        self._left = LONGEST
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._said)

    def note(self, said: Said) -> None:
        """Take something down, as far as there is room."""
        text = said.text[: self._left]
        self._left -= len(text)
        self._dropped += len(said.text) - len(text)
        if text or not said.text:
            self._said.append(said._replace(text=text))
            self._left -= not text  # an empty line takes room, too

    def told(self) -> tuple[Said, ...]:
        """Return what it said, and what was not kept; what it printed in a row is one text."""
        told: list[Said] = []
        for kind, some in groupby(self._said, key=lambda one: one.kind):
            if kind == "out":
                told.append(Said("out", _OVERWRITTEN.sub("", "".join(one.text for one in some))))
            else:
                told += some
        if self._dropped:
            told.append(Said("log", f"{self._dropped:,} more characters were not kept"))
        return tuple(told)


class Turns(Heard):
    """What many items said that run one after another: whose turn it is, is one store an item."""

    def __init__(self) -> None:
        self.row = -1
        self.heard: dict[int, Heard] = {}

    def __len__(self) -> int:
        return len(self.heard)

    def note(self, said: Said) -> None:
        """Take something down for the item whose turn it is."""
        self.heard.setdefault(self.row, Heard()).note(said)


class _Item(threading.local):
    heard: Heard | None = None


_item = _Item()


_lock = threading.Lock()


_captures = 0


_shown = False


_stack = ExitStack()


_wrap: Callable[[Any], Any] | None = None


def listen(heard: Heard | None) -> Heard | None:
    """Take down what this thread says from now on, or no more; return where it went before."""
    before, _item.heard = _item.heard, heard
    return before


def relay(lines: Sequence[Said]) -> None:
    """Say once more what was taken down: an item called in another one is heard by that one."""
    for one in lines:
        if _item.heard is not None:
            _item.heard.note(one)
        elif one.kind != "warning":  # these are said at the end
            out = one.kind == "out"
            tell(one.text, sys.stdout if out else sys.stderr, "" if out else "\n")


def occupy() -> None:
    """Hold the numbers of streams that this process was started without.

    Else the next file that is opened has one of them, a journal for instance, and what a library
    prints goes into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            if (opened := os.open(os.devnull, os.O_RDWR)) == number:
                os.set_inheritable(opened, True)
            else:
                os.close(opened)


def tell(text: str, stream: Any, end: str = "\n") -> bool:
    """Print a text; return whether somebody could hear it. That nobody does ends no run."""
    if stream is None:
        return False
    try:
        try:
            print(text, file=stream, end=end, flush=True)
        except UnicodeEncodeError:
            plain = text.encode("ascii", "backslashreplace").decode()
            print(plain, file=stream, end=end, flush=True)
    except Exception:  # a full disk, a pipe without a reader, a stream that was closed
        return False
    return True


def start(*, shown: bool = False) -> None:
    """Begin to capture; each start needs a `stop`.

    Parameters
    ----------
    shown
        Whether what items print is also shown at once: where a debugger may stop in them, it has
        to be heard.
    """
    global _captures, _shown
    with _lock:
        _captures += 1
        _shown = shown
        if _captures == 1:
            _begin()


def stop() -> None:
    """Let everything be as it was, once nobody captures any more."""
    global _captures
    with _lock:
        _captures -= 1
        if _captures == 0:
            _stack.close()


def is_shown() -> bool:
    """Whether what is taken down is shown at once, too."""
    return _shown


def is_capturing() -> bool:
    """Whether what items say is taken down in this process."""
    return _captures > 0


def show_above(wrap: Callable[[Any], Any] | None) -> None:
    """Have what nobody takes down written through something else, as long as bars are drawn.

    Parameters
    ----------
    wrap
        Makes of a stream what is written to instead; None ends it.
    """
    global _wrap
    _wrap = wrap


def _begin() -> None:
    out, err, show = sys.stdout, sys.stderr, warnings.showwarning
    mine: list[Any] = [_Stream(out), _Stream(err)]
    handler = _Handler()

    def restore() -> None:
        # Somebody else may have put a stream of their own in its place since.
        if sys.stdout is mine[0]:
            sys.stdout = out
        if sys.stderr is mine[1]:
            sys.stderr = err

    sys.stdout, sys.stderr = mine
    _stack.callback(restore)
    logging.getLogger().addHandler(handler)
    _stack.callback(logging.getLogger().removeHandler, handler)
    _stack.enter_context(warnings.catch_warnings())
    # Last of the filters: what no other one decides is counted every time, not once a line.
    warnings.simplefilter("always", append=True)

    def noted(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if _item.heard is None:
            show(message, category, filename, lineno, file, line)
        else:
            _note(Said("warning", f"{category.__name__}: {message}", f"{filename}:{lineno}"))

    warnings.showwarning = noted


def _note(said: Said) -> None:
    if _item.heard is not None:
        _item.heard.note(said)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if _item.heard is None:
            return
        try:
            text = record.getMessage()
        except Exception:  # logging says so and goes on, whatever was to be logged
            self.handleError(record)
        else:
            _note(Said("log", f"{record.levelname} {record.name}: {text}"))


class _Stream:
    """A stream that takes down what items write, and passes everything else through."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        """None in a process without one."""
        self._wrapped: tuple[Any, Any] = None, None

    def write(self, text: str) -> int:
        if _item.heard is None:
            return int(self._through().write(text) or 0) if self._stream else len(text)
        _note(Said("out", text))
        if _shown:
            tell(text, self._stream, end="")
        return len(text)

    def _through(self) -> Any:
        """Return what is written to: the stream, or what stands before it while bars are drawn."""
        wrap, wrapped = self._wrapped
        if wrap is not _wrap:
            wrapped = None if _wrap is None else _wrap(self._stream)
            self._wrapped = _wrap, wrapped
        return self._stream if wrapped is None else wrapped

    def flush(self) -> None:
        # What an item says is taken down already. And what could not be told to a full disk or an
        # ended pipe still lies in the stream: starting a process flushes it, and must go on.
        if self._stream is not None and _item.heard is None:
            with suppress(OSError, ValueError):
                self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and bool(self._stream.isatty())

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)


class Log:
    """The file of a run that holds what its items said; it is made with the first line.

    It is opened for each item: what stays open may be closed by a task, and its number reused.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = path
        self.lines = 0

    def write(self, item: str, said: Sequence[Said]) -> None:
        """Append what an item said, each line with its name."""
        if self.path is None:
            return
        lines = [
            f"{item}\t{one.kind}\t{line}{f' ({one.where})' if one.where else ''}\n"
            for one in said
            for line in one.text.splitlines() or [""]
        ]
        try:
            if not self.lines:
                os.makedirs(os.path.dirname(self.path), exist_ok=True)
            with open(self.path, "a", encoding="utf-8", errors="replace") as file:
                file.writelines(lines)
        except OSError:  # a full disk is said by what matters
            self.path = None
        self.lines += len(lines)
