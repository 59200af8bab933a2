"""A rerun that finds everything, in a process of its own; the limit is a listing with times."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import compare

SCRIPT = """
import sys, time
kind, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

if kind == "databacked":
    from databacked import LocalResult, Serializer, flow, task

    class ToText(Serializer):
        suffixes = (".txt",)
        def write(self, value, path): path.write_text(str(value))
        def read(self, path): return path.read_text()

    @task(result=LocalResult("texts", ToText), target="{n}.txt")
    def keep(n): return n

    @flow(root=folder, quiet=True)
    def run(): keep.map(range(count))
elif kind == "joblib":
    import joblib
    def double(n): return 2 * n
    kept = joblib.Memory(folder, verbose=0).cache(double)
    def run():
        for n in range(count): kept(n)
elif kind == "pipefunc":
    import pipefunc
    @pipefunc.pipefunc("y", mapspec="n[i] -> y[i]")
    def double(n: int) -> int: return 2 * n
    def run():
        pipefunc.Pipeline([double]).map({"n": list(range(count))}, run_folder=folder,
            storage="file_array", parallel=False, show_progress=False, cleanup=False)
else:
    import os
    def run():
        for entry in os.scandir(folder + "/texts"): entry.stat()
started = time.perf_counter()
run()
print(time.perf_counter() - started)
"""


def main() -> None:
    """Print a table for 10,000 and one for 100,000 items."""
    for count in (10_000, 100_000):
        top = Path(tempfile.mkdtemp())
        few = min(count, 4_000)
        counts = {"scandir and stat": count, "databacked": count, "joblib": few, "pipefunc": few}

        def timed(kind: str, top: Path = top, counts: dict[str, int] = counts) -> float:
            folder = top / (kind if kind in ("joblib", "pipefunc") else "databacked")
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT, kind, str(folder), str(counts[kind])],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
            )
            return float(done.stdout.split()[-1])

        for kind in ("databacked", "joblib", "pipefunc"):
            timed(kind)  # cold
        print(f"\n{count:,} items ({few:,} of the peers):\n")
        compare({kind: (lambda kind=kind: timed(kind)) for kind in counts}, items=counts, rounds=3)
        shutil.rmtree(top)
