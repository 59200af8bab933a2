"""What a function's result depends on besides its arguments: the project's own code it reaches.

The function itself, and every function, class and constant of the project that it names, across
modules. The project's own is what lies below its root, the package of the function, editable
installs, and packages that the project names. Reasons name a symbol by its file below the project
root; the digest counts symbols in the order in which they are met, so that it depends neither on
the names of files and of the function, nor on where the project lies, nor on whether a file runs
as ``__main__`` or is imported. Third-party packages are counted by name and version, which stand
beside the digest.

names (what a piece of code takes from outside) → sources (where it stands) → ownership (whose it
is) → members, state, effects (what classes, objects and modules hold) → walk → a fingerprint →
explain (what differs, in words).
"""

from databacked.fingerprint.code.explain import explain
from databacked.fingerprint.code.fingerprint import CodeFingerprint, code_fingerprint

__all__ = ["CodeFingerprint", "code_fingerprint", "explain"]
