"""How long it takes to begin: the import, and a run's way to its first item."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from benchmarks.timing import compare

FIRST = """
import time
started = time.perf_counter()
from databacked import flow, task
import sys
@task
def first(n): return time.perf_counter()
@flow(root=sys.argv[1], quiet=True)
def run(): return first(1)
called = time.perf_counter()
print(run() - (called if sys.argv[2] == "run" else started))
"""


def main() -> None:
    """Print the table; the limit is Python's own start."""

    def process(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def start(code: str) -> None:
        process(code)

    def ask(*arguments: str) -> None:
        command = [sys.executable, "-m", "databacked", *arguments]
        subprocess.run(command, check=True, capture_output=True)

    root = tempfile.mkdtemp()
    compare(
        {
            "python -c pass": lambda: start("pass"),
            "import databacked": lambda: start("import databacked"),
            "databacked --help": lambda: ask("--help"),
            "import numpy": lambda: start("import numpy"),
            "run called → first item": lambda: float(process(FIRST, root, "run")),
            "import → first item": lambda: float(process(FIRST, root, "import")),
        },
        items=1,
        rounds=7,
    )
