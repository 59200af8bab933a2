"""What a run says of itself: code, arguments, environment; taken when it starts.

task → runner → result → serializer → storage → [record] → dataset → version → remote

Recording never breaks a run: what cannot be found out is a warning inside the record.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from difflib import unified_diff
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from databacked.notebook import code_cells
from databacked.renames import replace
from databacked.said import tell

LONGEST_DIFF = 1_000_000
"""Characters of a diff that are kept; what is cut is said."""

PATIENCE = 10.0
"""Seconds that git gets for one answer."""

AT_LEAST = 1.0
"""Seconds that a run's record waits, from its start, for what is still to be found out."""

_SECRET = re.compile(r"password|passwd|token|secret|api_?key|credential", re.IGNORECASE)
_FIELDS = {"1": 8, "2": 9, "u": 10}
"""Fields before the name in a line of git's status, by kind."""

_CODE = (".py", ".pyi", ".ipynb", ".toml", ".cfg", ".ini", ".yaml", ".yml", ".lock")


@dataclass(frozen=True)
class Git:
    """The state of the code as git sees it."""

    commit: str | None = None
    """Hash of the commit; None before the first one."""

    branch: str | None = None
    """Name of the branch; None for a detached HEAD."""

    remote: str | None = None
    """Where it is pushed to, without credentials."""

    dirty: bool = False
    """Whether code differs from the commit; results never count."""

    diff: str = ""
    """What differs in files that git knows."""

    untracked: tuple[str, ...] = ()
    """Code that git does not know."""


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
            user=_user(),
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


class Asked:
    """The question that git is at; it can be stopped, and then no further one is asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def start(self, *arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        """Ask; raises TimeoutError once it was stopped."""
        with self._lock:
            if self._stopped:
                raise TimeoutError("stopped, because the run ended")
            self._process = subprocess.Popen(*arguments, **options)
            return self._process

    def stop(self) -> None:
        """End the question that git is at."""
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)  # git may have asked others


def git_state(root: Path, warnings: list[str], asked: Asked | None = None) -> Git | None:
    """Return the state of the repository that a folder lies in; None if there is none."""
    asked = asked or Asked()
    status = _git(
        root, warnings, asked, "status", "--porcelain=v2", "--branch", "--untracked-files=all", "-z"
    )
    if status is None:
        return None
    commit, branch, changed = None, None, False
    untracked: list[str] = []
    notebooks: list[str] = []
    lines = iter(status.split("\0"))
    for line in lines:
        if line.startswith("# branch.oid "):
            commit = None if line.endswith("(initial)") else line.split(" ", 2)[2]
        elif line.startswith("# branch.head "):
            branch = None if line.endswith("(detached)") else line.split(" ", 2)[2]
        elif line.startswith("? "):
            if line.endswith(_CODE) and "/.ipynb_checkpoints/" not in f"/{line[2:]}":
                untracked.append(line[2:])
        elif line and not line.startswith("#"):
            names = [line.split(" ", _FIELDS.get(line[0], 8))[-1]]
            if line[0] == "2":  # renamed or copied: the old name follows
                names.append(next(lines))
            notebooks += [name for name in names if name.endswith(".ipynb")]
            changed = changed or any(
                name.endswith(_CODE) and not name.endswith(".ipynb") for name in names
            )
    diff = ""
    if changed and commit:
        pathspec = [f":(top)*{suffix}" for suffix in _CODE if suffix != ".ipynb"]
        diff = _git(root, warnings, asked, "diff", "HEAD", "--", *pathspec) or ""
    for name in notebooks:
        cells = _changed_cells(root, name, asked)
        changed = changed or bool(cells)
        diff += cells
    if len(diff) > LONGEST_DIFF:
        warnings.append(f"the diff has {len(diff)} characters; the first {LONGEST_DIFF} are kept")
        diff = diff[:LONGEST_DIFF]
    remote = _git(root, [], asked, "config", "--get", "remote.origin.url")
    return Git(
        commit,
        branch,
        without_credentials(remote.strip()) if remote else None,
        changed or bool(untracked),
        diff,
        tuple(untracked),
    )


def _changed_cells(root: Path, name: str, asked: Asked) -> str:
    """Return what differs in the code of a notebook: neither outputs nor text count."""
    top = (_git(root, [], asked, "rev-parse", "--show-toplevel") or "").removesuffix("\n")
    try:
        now = (Path(top) / name).read_bytes()
    except OSError:
        now = b""
    sides = []
    for text in (_git(root, [], asked, "show", f"HEAD:{name}") or "", now):
        cells = code_cells(text)
        if cells is None:  # deleted, new, or a merge that is not done
            cells = [text if isinstance(text, str) else text.decode("utf-8", "replace")]
        sides.append([f"{line}\n" for cell in cells for line in ["# %%", *cell.split("\n")]])
    before, after = sides
    return "".join(unified_diff(before, after, f"a/{name}", f"b/{name}"))


def _git(root: Path, warnings: list[str], asked: Asked, *arguments: str) -> str | None:
    try:
        process = asked.start(
            ["git", "-C", str(root), "--no-optional-locks", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            process_group=0,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
        )
        with process:
            try:
                out, err = process.communicate(timeout=PATIENCE)
            except BaseException:
                process.kill()
                raise
    except FileNotFoundError:
        warnings.append("git is not installed")
        return None
    except (OSError, subprocess.SubprocessError) as error:
        warnings.append(f"git {arguments[0]}: {error}")
        return None
    if process.returncode:
        said = err.decode("utf-8", "replace").strip()
        if "not a git repository" not in said:
            warnings.append(f"git {arguments[0]}: {said}")
        return None
    return out.decode("utf-8", "replace")


def packages() -> dict[str, str]:
    """Return name and version of every installed package."""
    found: dict[str, str] = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(name, one.version)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def redacted(name: str, text: str) -> str:
    """Return an argument's text, unless its name says that it is a secret."""
    return "<redacted>" if _SECRET.search(name) else text


def without_credentials(url: str) -> str:
    """Return a URL without user and password."""
    return re.sub(r"^(\w+://)[^/@]*@", r"\1", url)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "?"
