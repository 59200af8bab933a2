"""What lies in a place and belongs to no item any more: results of rows that are gone.

Only what databacked wrote itself and nobody touched since counts; nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from databacked.display.words import size_in_words
from databacked.places.place import Place
from databacked.records.book import records_of
from databacked.records.owners import Owner
from databacked.records.record import JOIN, Record


def orphans(
    places: Mapping[Path, tuple[Place, set[Owner]]], claimed: Iterable[tuple[str, str]]
) -> dict[str, tuple[int, int]]:
    """Return how many files (a folder that is a result is one) and bytes belong to no item.

    Costs a look at the records in memory; a place is listed only if they name something more.

    Parameters
    ----------
    places
        Each folder with a result that lies in it, and the tasks that keep theirs there. What other
        tasks keep in a place is none of this run's business.
    claimed
        Folder and target of every item of the run.
    """
    wanted: dict[str, set[str]] = {str(folder): set() for folder in places}
    for folder, target in claimed:
        wanted[folder].add(target)
    found: dict[str, tuple[int, int]] = {}
    for path, (place, tasks) in places.items():
        records = records_of(path, refresh=False)
        mine: dict[str, list[Record]] = {}
        for target in records.targets() - wanted[str(path)]:
            if JOIN not in target:
                claims = [
                    one
                    for one in records.of(target)
                    if any(records.relation(task, one.context) == "mine" for task in tasks)
                ]
                if claims:
                    mine[target] = claims
        sizes = [
            stat.size
            for target, stat in (place.storage.find(mine) if mine else {}).items()
            # What fits no claim, or one of an edited or accepted file, is somebody's own work.
            if {one.state for one in mine[target] if one.stat == stat} == {"w"}
        ]
        if sizes:
            found[str(path)] = len(sizes), sum(sizes)
    return found


def in_words(place: str, count: int, nbytes: int) -> str:
    """Return what is said of a place at the end of a run."""
    files = "file" if count == 1 else "files"
    belong = "belongs" if count == 1 else "belong"
    return (
        f"{place}: {count:,} {files} ({size_in_words(nbytes)}) {belong} to no item of this run: "
        "results of rows that are gone, or of an older target="
    )
