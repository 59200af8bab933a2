"""What can be asked of files, in Python and on the command line.

task → runner → result → serializer → storage → record → dataset → version → remote → [provenance]
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from databacked.datasets.layout import MANIFEST, PARTS
from databacked.errors import RecordError
from databacked.project.folders import from_here
from databacked.provenance.file import Provenance, provenance_of
from databacked.provenance.find import is_place, place_above, places_below
from databacked.provenance.place import Contents, contents_of

BESIDE = {MANIFEST: PARTS}
"""What lies beside a result and is part of it: a dataset's files beside its manifest."""


def describe(what: str | os.PathLike[str] | Any) -> Provenance | Contents | Places:
    """Return what made a file, or what lies in a place.

    Parameters
    ----------
    what
        A result's file (a folder that is one, such as an OME-Zarr, too), or a backed array or
        file; a place, for example ``"results/masks"``; or a folder with places below it, for
        example a project.

    Returns
    -------
    Of a file a `Provenance`: which task with which code, parameters and inputs made it, when, in
    which run, and whether it was edited since. Of a place its `Contents`: files and bytes by task.
    Of a folder of places the contents of each. Printed, each is a short table.

    Raises
    ------
    RecordError
        If there is no such file, or it lies in no place.

    Examples
    --------
    ``print(describe("masks/a.ome.tiff"))``, ``describe("masks").tasks``
    """
    record = getattr(what, "record", None)
    if isinstance(record, Provenance):  # a backed array or file
        return record
    path = Path(os.path.abspath(os.path.expanduser(os.fspath(what))))
    if is_place(path):
        return contents_of(path, BESIDE)
    for one in (path, Path(os.path.realpath(path))):  # or a link to what lies in a place
        place = place_above(one)
        if place is not None:
            return provenance_of(one, place, BESIDE)
    if path.is_dir():
        places = Places(contents_of(one, BESIDE) for one in places_below(path))
        if places:
            return places
        raise RecordError(
            f"{from_here(path)}: no place lies in it or below it, and it lies in none: no result "
            "of databacked was ever written there."
        )
    if not path.exists():
        raise RecordError(f"{from_here(path)}: no such file or folder.")
    raise RecordError(
        f"{from_here(path)} lies in no place: records of what made a file lie beside it, in "
        "the .databacked of its result's folder. Was it copied from there? Ask for the original."
    )


class Places(tuple[Contents, ...]):
    """The places below a folder; printed, one table after another."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def as_dict(self) -> dict[str, Any]:
        """Return them as plain values, as ``--json`` prints them.

        Returns
        -------
        A dict with one entry, ``places``: what `Contents.as_dict` says of each.
        """
        return {"places": [one.as_dict() for one in self]}

    def _repr_html_(self) -> str:
        return "".join(one._repr_html_() for one in self)
