"""What a mapped item costs that does nothing and keeps nothing."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor

import pipefunc
from distributed import Client

from benchmarks.timing import compare
from databacked import flow, task

ITEMS = 50_000


@task
def nothing(n: int) -> int:
    """Do nothing."""
    return n


def plain(n: int) -> int:
    """Do nothing, without databacked."""
    return n


def main() -> None:
    """Print the table."""

    @flow(root=tempfile.mkdtemp(), quiet=True)
    def ours() -> None:
        nothing.map(range(ITEMS))

    def futures() -> None:
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(plain, number) for number in range(ITEMS)]:
                future.result()

    pipeline = pipefunc.Pipeline([pipefunc.pipefunc("y", mapspec="n[i] -> y[i]")(plain)])

    def of_pipefunc() -> None:
        pipeline.map({"n": list(range(ITEMS))}, storage="dict", parallel=False, show_progress=False)

    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as dask:

        def of_dask() -> None:
            dask.gather(dask.map(plain, range(2_000), pure=False))

        compare(
            {
                "concurrent.futures, threads": futures,
                "databacked, threads": ours,
                "pipefunc, in this thread": of_pipefunc,
                "dask distributed, threads": of_dask,
            },
            items={
                "concurrent.futures, threads": ITEMS,
                "databacked, threads": ITEMS,
                "pipefunc, in this thread": ITEMS,
                "dask distributed, threads": 2_000,
            },
            rounds=5,
        )
