"""Make cells.csv: one row a nucleus, from the label image. Run once; its result is committed."""

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

IMAGE = "data/scratch-assay-labeled-10T-2Ch.tiff"
NUCLEI, CELLS = 2, 3
SMALLEST = 40  # pixels of a nucleus; smaller ones are cut or debris
BORDER = 8  # pixels; cells nearer to the edge are left out

pixels = tifffile.imread(Path(__file__).parent / IMAGE)
rows = []
for time_point in range(pixels.shape[1]):
    nuclei, cells = pixels[NUCLEI, time_point], pixels[CELLS, time_point]
    for label in np.unique(nuclei)[1:]:
        y, x = np.nonzero(nuclei == label)
        cell_index = int(np.bincount(cells[y, x]).argmax())
        center = y.mean(), x.mean()
        inside = all(BORDER <= c < n - BORDER for c, n in zip(center, nuclei.shape, strict=True))
        if len(y) >= SMALLEST and cell_index and inside:
            rows.append(
                {
                    "cell_id": f"t{time_point:02d}_c{label:04d}",
                    "cell_index": cell_index,
                    "time_point": time_point,
                    "fov_path": IMAGE,
                    "y": round(center[0]),
                    "x": round(center[1]),
                    "nucleus_area": len(y),
                }
            )
pd.DataFrame(rows).to_csv(Path(__file__).parent / "cells.csv", index=False)
