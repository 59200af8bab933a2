"""The state of the code as git sees it; every question is one call of git, and can be stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

from databacked.project.notebook import code_cells

LONGEST_DIFF = 1_000_000
"""Characters of a diff that are kept; what is cut is said."""


PATIENCE = 10.0
"""Seconds that git gets for one answer."""


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


def without_credentials(url: str) -> str:
    """Return a URL without user and password."""
    return re.sub(r"^(\w+://)[^/@]*@", r"\1", url)
