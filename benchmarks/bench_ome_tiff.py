"""Write OME-TIFF: small cells of one layout, and one large volume, hash included."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from bioio_ome_tiff.writers import OmeTiffWriter

from benchmarks.timing import compare
from databacked import ArrayToOmeTiff

CELLS = 400


def main() -> None:
    """Print both tables."""
    folder = Path(tempfile.mkdtemp())
    rng = np.random.default_rng(0)
    cells = [rng.integers(0, 255, (3, 16, 64, 64), dtype=np.uint8) for _ in range(CELLS)]
    serializer = ArrayToOmeTiff(dim_order="CZYX")
    options = {"photometric": "minisblack", "metadata": {"axes": "CZYX"}}

    def plain() -> None:
        for number, cell in enumerate(cells):
            tifffile.imwrite(folder / f"plain{number}.ome.tiff", cell, **options)

    def ours() -> None:
        for number, cell in enumerate(cells):
            serializer.save(cell, folder / f"ours{number}.ome.tiff")

    def raw() -> None:
        for number, cell in enumerate(cells):
            (folder / f"raw{number}").write_bytes(cell)

    def bioio() -> None:
        for number, cell in enumerate(cells[:20]):
            OmeTiffWriter.save(cell, folder / f"bioio{number}.ome.tiff", dim_order="CZYX")

    print(f"{CELLS} cells of (3, 16, 64, 64) uint8:\n")
    compare(
        {"tifffile": plain, "databacked": ours, "raw bytes": raw, "bioio": bioio},
        items={"tifffile": CELLS, "databacked": CELLS, "raw bytes": CELLS, "bioio": 20},
        rounds=5,
    )
    volume = rng.integers(0, 60_000, (4, 32, 1024, 1024), dtype=np.uint16)
    print("\nOne volume of 256 MB, uint16:\n")
    compare(
        {
            "tifffile": lambda: tifffile.imwrite(folder / "v1.ome.tiff", volume, **options),
            "databacked": lambda: serializer.save(volume, folder / "v2.ome.tiff") and None,
        },
        items=1,
        rounds=5,
    )
    shutil.rmtree(folder)
