"""Whose code it is: the project's own, or a library's; and what own code is called."""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from databacked.callables import HERE, LIBRARIES, STDLIB, is_library
from databacked.fingerprint.installed import Installed, installed
from databacked.project.notebook import UNNAMED, is_cell, looks_like_cell


class Ownership:
    """Says whose a file or module is, seen from one project and one function.

    Parameters
    ----------
    own
        Further packages that count as the project's own.
    file
        Where the function is written: its package is the project's own, too.
    """

    def __init__(self, root: Path, own: Sequence[str], file: str) -> None:
        self.root = os.path.realpath(root)
        self._own = tuple(own)
        self._reals: dict[str, str] = {}
        self._shown: dict[str, str] = {}
        self._known: dict[tuple[str, str], bool] = {}
        self._home = home_of(file)

    @functools.cached_property
    def _installed(self) -> Installed:
        return installed()

    def real(self, file: str) -> str:
        """Return where a file really lies; asked once, as a slow disk takes its time."""
        found = self._reals.get(file)
        if found is None:
            found = self._reals[file] = os.path.realpath(file)
        return found

    def owns_file(self, file: str, module: str) -> bool:
        """Whether what a file holds is the project's own.

        Parameters
        ----------
        file
            As a code object names it: of a cell, or of what was made by ``exec``, no file at all.
        module
            What the code calls itself.
        """
        found = self._known.get((file, module))
        if found is None:
            found = self._known[file, module] = self._owns_file(file, module)
        return found

    def _owns_file(self, file: str, module: str) -> bool:
        if file.startswith("<frozen "):
            return False
        if not file or (is_cell(file) and not os.path.isdir(file)):
            if module != "__main__" and not looks_like_cell(file):
                # Made by exec: whose it is says the module that it calls itself.
                place = getattr(sys.modules.get(module), "__file__", None)
                if place and place != file and os.path.isfile(place):
                    return self.owns_file(place, module)
            return module == "__main__" or file.startswith("<") or looks_like_cell(file)
        real = self.real(file)
        if real.startswith(HERE):
            return False
        if module.partition(".")[0] in self._own:
            return True
        if not file.endswith(".py") and os.path.isdir(file):
            real += os.sep  # a package without an __init__.py
        if self._home and real.startswith(self._home):
            inner = real[len(self._home) :]
            return not any(part in LIBRARIES for part in inner.split(os.sep))
        if real.startswith(STDLIB) or any(part in LIBRARIES for part in real.split(os.sep)):
            return False
        return real.startswith(self.root + os.sep) or real.startswith(self._installed.linked)

    def owns(self, module: ModuleType) -> bool:
        """Whether a module is the project's own."""
        return any(self.owns_file(file, module.__name__) for file in files_of(module) or [""])

    def key(self, file: str) -> str:
        """Return what tells files apart, whatever they are called by."""
        return UNNAMED if is_cell(file) else self.real(file)

    def symbol(self, file: str, name: str) -> str:
        """Return what something that stands in a file is called, in reasons and records."""
        shown = self._shown.get(file)
        if shown is None:
            shown = self._shown[file] = self._name_of(file)
        return f"{shown}:{name}"

    def _name_of(self, file: str) -> str:
        if is_cell(file):
            # Without the notebook's own name: one that is renamed or copied stays fresh.
            return UNNAMED
        real = self.real(file)
        if real.startswith(self.root + os.sep) and not is_library(real):
            return os.path.relpath(real, self.root).replace(os.sep, "/")
        in_package = _in_package(real)
        base = os.path.dirname(home_of(real).rstrip(os.sep)) if in_package else None
        return os.path.relpath(real, base or os.path.dirname(real)).replace(os.sep, "/")

    # Modules

    def load(self, name: str, *, run: bool = True) -> ModuleType | None:
        """Return a module of the project's own; None for a library's, or one that cannot be had.

        Parameters
        ----------
        run
            Whether it is imported if it is not loaded: what a task imports when it runs.
        """
        loaded = sys.modules.get(name)
        if loaded is not None:
            return loaded if self.owns(loaded) else None
        try:
            # The top package first: looking for what is inside one imports it.
            for one in (name.partition(".")[0], name):
                if not any(self.owns_file(file, name) for file in places_of(one)):
                    return None
            return importlib.import_module(name) if run else None
        except Exception:  # it will fail, or be skipped, when the task runs
            return None

    def why_not(self, name: str) -> str:
        """Say of a package that is not followed why one could think that it is; else ""."""
        places = [] if name == "databacked" else places_of(name)
        # By the text alone: to look links up costs time on a slow disk.
        outside = [
            file
            for file in places
            if os.path.isabs(file) and not any(part in file.split(os.sep) for part in LIBRARIES)
        ]
        copied = name in self._installed.copied
        if not (outside or copied) or any(self.owns_file(file, name) for file in places):
            return ""
        return "was installed from a local folder" if copied else "is not an installed package"


def files_of(module: ModuleType) -> list[str]:
    """Return the file of a module; of a package without an ``__init__.py`` its folders."""
    file = getattr(module, "__file__", None)
    return [file] if file else [str(one) for one in getattr(module, "__path__", ())]


def places_of(name: str) -> list[str]:
    """Return the files of a module that may not be loaded; what stands above it is."""
    if (loaded := sys.modules.get(name)) is not None:
        return files_of(loaded)
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None:
        return []
    return (
        [spec.origin]
        if spec.has_location and spec.origin
        else [str(one) for one in spec.submodule_search_locations or ()]
    )


def _in_package(file: str) -> bool:
    return os.path.isfile(os.path.join(os.path.dirname(file), "__init__.py"))


@functools.lru_cache(maxsize=4096)
def home_of(file: str) -> str:
    """Return the top folder of a file's package, or of a script, with a separator."""
    if not file or not os.path.isfile(file):
        return ""
    folder = os.path.dirname(os.path.realpath(file))
    if os.path.basename(folder) in LIBRARIES or folder + os.sep in STDLIB:
        return os.path.realpath(file)  # its neighbours are other packages
    while os.path.isfile(os.path.join(folder, "__init__.py")) and _in_package(folder):
        folder = os.path.dirname(folder)
    return folder + os.sep


@functools.cache
def version_of(name: str) -> str:
    """Return the version of a package; ``?`` where nobody says it."""
    # What stands there, not what a module makes up when it is asked: that is its own code.
    found = getattr(sys.modules.get(name), "__dict__", {}).get("__version__")
    if isinstance(found, str):
        return found
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "?"
