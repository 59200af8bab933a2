"""The fingerprint of a function's code, from one walk."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from databacked.callables import written_in
from databacked.fingerprint.code.ownership import Ownership, version_of
from databacked.fingerprint.code.sources import one_look
from databacked.fingerprint.code.walk import walked
from databacked.fingerprint.hashes import hash_texts

RULES = 4
"""Version of these rules; part of every digest."""

_lock = threading.RLock()


@dataclass(frozen=True)
class CodeFingerprint:
    """What a function reaches, and one hash of it all."""

    digest: str
    """32 hex digits."""

    rules: ClassVar[int] = RULES
    """Version of the rules by which code is judged."""

    symbols: Mapping[str, str] = field(default_factory=dict)
    """Digest of each function, class and constant, by ``file.py:name``."""

    values: Mapping[str, str] = field(default_factory=dict)
    """Constants as short texts, so that a reason can show the old and the new one."""

    opaque: tuple[str, ...] = ()
    """What could not be followed, a line each."""

    packages: Mapping[str, str] = field(default_factory=dict)
    """Version of each third-party package that is reached."""

    modules: frozenset[str] = frozenset()
    """Modules of third-party packages that it names."""

    paths: Mapping[str, Path] = field(default_factory=dict)
    """Path constants that name an existing file or folder, in the order in which they are met: each
    counts by its content."""


def code_fingerprint(function: Any, *, root: Path, own: Sequence[str] = ()) -> CodeFingerprint:
    """Return what a function (or class) depends on.

    Parameters
    ----------
    root
        The project's root; code below it is the project's own, except installed packages.
    own
        Further packages that count as the project's own, wherever they are installed.

    Raises
    ------
    FingerprintError
        If a source file was changed since it was imported: what runs is not what stands there.
    """
    owner = Ownership(root, own, written_in(function))
    with _lock, one_look():
        walk = walked(owner, function)
        packages = {name: version_of(name) for name in walk.libraries}
        unfollowed = [
            *walk.symbols.unfollowed,
            *(
                f"{name}, which {why}; own = [{name!r}] in databacked.toml has it count"
                for name in walk.libraries
                if (why := owner.why_not(name))
            ),
        ]
    return CodeFingerprint(
        hash_texts([f"rules {RULES}", *walk.symbols.nameless()]),
        dict(sorted(walk.symbols.digests().items())),
        dict(sorted((one.name, one.shown) for one in walk.symbols.all if one.shown)),
        tuple(sorted(unfollowed)),
        dict(sorted(packages.items())),
        frozenset(walk.library_modules),
        walk.constants.paths,
    )
