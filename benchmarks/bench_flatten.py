"""A rerun over the elements of many lists, in which everything is found; the limit is a listing."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.timing import compare
from databacked import LocalResult, flatten, flow, task

CELLS = 30


def main() -> None:
    """Print a table for 400 and one for 1,600 lists: a cell costs the same in both."""
    for count in (400, 1_600):
        top = Path(tempfile.mkdtemp())

        @task(keep=True)
        def find(image: int) -> list[int]:
            return list(range(CELLS))

        @task(result=LocalResult(top / "cells"), target="{image}-{cell}.json")
        def measure(image: int, cell: int) -> int:
            return cell

        @flow(root=top, quiet=True)
        def run(count: int = count, find: Any = find, measure: Any = measure) -> None:
            images = list(range(count))
            cells = flatten(find.map(images))
            measure.map(cells.of(images), cells)

        def scan(top: Path = top) -> None:
            for entry in os.scandir(top / "cells"):
                entry.stat()

        run()
        print(f"\n{count:,} lists of {CELLS}:\n")
        compare({"scandir and stat": scan, "databacked": run}, items=count * CELLS, rounds=5)
        shutil.rmtree(top)
