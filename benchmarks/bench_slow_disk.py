"""A disk that answers each look-up of a name after 2 ms; the peer is a plain loop with tifffile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import compare

SHIM = Path(__file__).parents[1] / "tests" / "slow_disk.c"
COUNT = 1_000

SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
kind, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

def image(n): return np.full((64, 64), n % 250, np.uint8)

if kind == "databacked":
    from databacked import ArrayToOmeTiff, LocalResult, flow, task

    @task(result=LocalResult("images", ArrayToOmeTiff(dim_order="YX")), target="{n}.ome.tiff")
    def keep(n): return image(n)

    @flow(root=folder, quiet=True)
    def run(): keep.map(range(count))
else:
    import tifffile
    def run():
        Path(folder, "images").mkdir(parents=True, exist_ok=True)
        for n in range(count):
            path = Path(folder, "images", f"{n}.ome.tiff")
            if not path.exists():
                tifffile.imwrite(path, image(n), ome=True, metadata={"axes": "YX"})
started = time.perf_counter()
run()
print(time.perf_counter() - started)
"""


def main() -> None:
    """Print one table for a cold run and one for a warm one."""
    top = Path(tempfile.mkdtemp())
    shim = top / "slow_disk.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(SHIM), "-ldl"], check=True
    )

    def timed(kind: str, disk: str, warm: bool) -> float:
        folder = top / f"{kind} {disk}"
        if not warm:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        slow = {"LD_PRELOAD": str(shim), "SLOW_DISK": str(folder), "SLOW_DISK_US": "2000"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, kind, str(folder), str(COUNT)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **(slow if disk == "slow" else {})},
        )
        return float(done.stdout.split()[-1])

    for warm in (False, True):
        print(f"\n{COUNT:,} images of 64 × 64, {'warm' if warm else 'cold'}:\n")
        cases = {
            f"{kind}, {disk} disk": (
                lambda kind=kind, disk=disk, warm=warm: timed(kind, disk, warm)
            )
            for kind in ("tifffile in a loop", "databacked")
            for disk in ("plain", "slow")
        }
        compare(cases, items=COUNT, rounds=3)
    shutil.rmtree(top)
