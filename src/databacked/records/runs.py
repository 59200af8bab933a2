"""What a run says of itself: code, arguments, environment; taken when it starts.

task → runner → result → serializer → storage → [record] → dataset → version → remote

Recording never breaks a run: what cannot be found out is a warning inside the record.
"""

from __future__ import annotations

import json
import platform
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from databacked.capture import tell
from databacked.project.environment import packages, user_name
from databacked.project.git import Asked, Git, git_state
from databacked.storage.renames import replace

AT_LEAST = 1.0
"""Seconds that a run's record waits, from its start, for what is still to be found out."""


_SECRET = re.compile(r"password|passwd|token|secret|api_?key|credential", re.IGNORECASE)


@dataclass(frozen=True)
class RunRecord:
    """What a run says of itself."""

    id: str
    flow: str
    symbol: str
    """The flow as records know tasks: file (a notebook's too) below the root, and name."""

    arguments: Mapping[str, str]
    start: str
    """UTC, ISO 8601."""

    user: str
    host: str
    system: str
    python: str
    packages: Mapping[str, str] = field(default_factory=dict)
    git: Git | None = None
    """None without git or outside of a repository."""

    warnings: tuple[str, ...] = ()
    """What could not be found out, and why."""

    end: str | None = None
    state: str = "running"
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Made, reused, failed and skipped items of each task."""


class Collecting:
    """A run's record that is being put together beside the run."""

    def __init__(
        self, flow: str, arguments: Mapping[str, str], root: Path, identity: str, symbol: str
    ) -> None:
        self._record = RunRecord(
            id=identity,
            flow=flow,
            symbol=symbol,
            arguments={name: redacted(name, text) for name, text in arguments.items()},
            start=_now(),
            user=user_name(),
            host=socket.gethostname(),
            system=platform.platform(),
            python=platform.python_version(),
        )
        self._found: dict[str, Any] = {}
        self._warnings: list[str] = []
        self._lacking = {"git": "git", "packages": "installed packages"}
        self._until = time.monotonic() + AT_LEAST
        self._git = Asked()
        looks = {"git": lambda: git_state(root, self._warnings, self._git), "packages": packages}
        self._threads = [
            threading.Thread(target=self._collect, args=one, daemon=True) for one in looks.items()
        ]
        for thread in self._threads:
            thread.start()

    def _collect(self, name: str, look: Callable[[], Any]) -> None:
        try:
            self._found[name] = look()
        except Exception as error:
            self._warnings.append(f"{self._lacking[name]}: {error}")
        self._lacking.pop(name, None)

    def finished(
        self, state: str, counts: Mapping[str, Mapping[str, int]], *, wait: bool = True
    ) -> RunRecord:
        """Return the record of a run that ended, without what nobody could say so far.

        Parameters
        ----------
        wait
            Whether what is still to be found out gets a second from the start of the run.
        """
        for thread in self._threads if wait else ():
            thread.join(max(0.0, self._until - time.monotonic()))
        lacking = [f"{what}: no answer until the run ended" for what in self._lacking.values()]
        known = {**self._record.__dict__, **self._found}
        self._git.stop()
        return RunRecord(
            **{
                **known,
                "warnings": (*self._warnings, *lacking),
                "end": _now(),
                "state": state,
                "counts": counts,
            }
        )


def collect_in_background(
    flow: str, arguments: Mapping[str, str], root: Path, identity: str, symbol: str = ""
) -> Collecting:
    """Start to put a run's record together; costs the run next to nothing."""
    return Collecting(flow, arguments, root, identity, symbol)


def write_run(folder: Path, record: RunRecord) -> None:
    """Write ``run.json``; a disk that does not take it is no reason to fail."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = folder.parents[1] / "tmp"
        scratch.mkdir(exist_ok=True)
        temporary = scratch / f"run-{folder.name}.json"  # which another run clears away one day
        try:
            temporary.write_text(json.dumps(asdict(record), indent=1, default=str) + "\n", "utf-8")
            replace(str(temporary), str(folder / "run.json"))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        tell(f"The record of run {record.id} could not be written: {error}", sys.stderr)


def redacted(name: str, text: str) -> str:
    """Return an argument's text, unless its name says that it is a secret."""
    return "<redacted>" if _SECRET.search(name) else text


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
