"""Peak memory: many large values through a map, and a graph of five tasks."""

from __future__ import annotations

import subprocess
import sys
import tempfile

PEAK = """
def peak():  # kB of this process alone: ru_maxrss would count what started it, too
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
"""

LARGE = """
import sys
import numpy as np
from databacked import LocalResult, flow, task

@task
def large(n): return np.full(1 << 20, n, np.float64)          # 8 MB

@task(result=LocalResult("sums"), target="{n}.json")
def total(n, values):
    return [float(values.sum()), peak()]

@flow(root=sys.argv[1], quiet=True, runner=sys.argv[3])
def run():
    n = range(int(sys.argv[2]))
    return total.map(n, large.map(n))

worker = max(used for _, used in run())
print(peak() / 1024, worker / 1024)
"""

WIDE = """
import sys
from databacked import flow, task

def make(k):
    @task(name=f"step{k}")
    def one(n): return n
    return one

tasks = [make(k) for k in range(5)]

@flow(root=sys.argv[1], quiet=True)
def run():
    n = range(int(sys.argv[2]))
    for one in tasks:
        n = one.map(n)

run()
print(peak() / 1024)
"""


def main() -> None:
    """Print megabytes; the limit is 1 GiB for each process."""

    def peak(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", PEAK + code, tempfile.mkdtemp(), *arguments]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return " · ".join(f"{float(part):.0f} MB" for part in said.split())

    print("| | peak of the driver · of a worker |\n| --- | --- |")
    print(f"| 10,000 items of 8 MB, threads | {peak(LARGE, '10000', 'threads')} |")
    print(f"| 10,000 items of 8 MB, processes | {peak(LARGE, '10000', 'processes')} |")
    print(f"| 5 tasks × 100,000 items | {peak(WIDE, '100000')} |")
