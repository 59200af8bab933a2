"""Cells of a scratch assay: cut out, normalised, drawn, measured, handed over as datasets."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from normalize import cut_out, draw, stretch
from sheet import contact_sheet, plot_over_time

from databacked import (
    ArrayToDefaultWriter,
    ArrayToOmeTiff,
    LocalDatasetResult,
    LocalResult,
    flow,
    task,
)

HERE = Path(__file__).resolve().parent
H3342, OBLIQUE, CELLS = 0, 1, 3  # channels of the image, CTYX
PIXEL = 0.619  # micrometres


@task
def select_cell_data(fov_path: Path, cell_index, time_point, y, x):
    """Cut a cell out of its field: nucleus, body and mask, (C=3, Y, X)."""
    pages = [channel * 10 + time_point for channel in (H3342, OBLIQUE, CELLS)]
    planes = cut_out(tifffile.imread(fov_path, key=pages), y, x)
    return np.stack([planes[0], planes[1], planes[2] == cell_index])


@task(
    result=LocalResult(
        "local_staging/normalized_cells",
        serializer=ArrayToOmeTiff(
            dim_order="CZYX",
            channel_names=["H3342", "oblique"],
            physical_pixel_sizes=(None, PIXEL, PIXEL),
        ),
    ),
    target="{cell_id}.ome.tiff",
)
def normalize_cell(cell_id, cell_data):
    """Stretch both channels between 0 and 1 inside the cell, (C=2, Z=1, Y, X)."""
    nucleus, body, mask = cell_data
    channels = [stretch(channel, mask > 0) for channel in (nucleus, body)]
    return np.stack(channels)[:, None].astype(np.float32)


@task(
    result=LocalResult("local_staging/projections", serializer=ArrayToDefaultWriter()),
    target="{cell_id}.png",
)
def project_cell(cell_id, normed_cell):
    """Draw the maximum along Z as a picture."""
    nucleus, body = normed_cell.max(axis=1)
    return draw(nucleus, body)


@task(
    result=LocalDatasetResult(
        name="scratch-assay/normalized-cells",
        readme="README_cells.md",
        filepath_columns=["normalized_cell_path"],
        metadata_columns=["cell_id", "cell_index", "time_point"],
        license="data/LICENSE",
    )
)
def create_normalized_cell_dataset(cells, normalized_cells):
    """Name the file of each cell."""
    return cells.assign(normalized_cell_path=normalized_cells)


@task(
    result=LocalDatasetResult(
        name="scratch-assay/projections",
        readme="README_projections.md",
        filepath_columns=["projection_path"],
        metadata_columns=["cell_id", "cell_index", "time_point"],
        license="data/LICENSE",
    )
)
def create_projection_dataset(cells, projections):
    """Name the picture of each cell."""
    return cells.assign(projection_path=projections)


@task(result=LocalResult("local_staging/analysis"), target="features.csv")
def measure(cells, normalized_cells):
    """Measure every cell, in one table."""
    brightness = [float(cell[0][cell[1] > 0].mean()) for cell in normalized_cells]
    return cells[["cell_id", "time_point", "nucleus_area"]].assign(brightness=brightness)


@task(result=LocalResult("local_staging/analysis"), target="features_over_time.png")
def plot(features):
    """Plot the features over time."""
    return plot_over_time(features)


@task(result=LocalResult("local_staging/analysis"), target="contact_sheet.png")
def make_contact_sheet(projections, time_points):
    """Put pictures of each time point in a row."""
    return contact_sheet([np.asarray(picture) for picture in projections], time_points)


@flow
def scratch_assay(cells):
    """From a table of cells to two datasets, a plot and a contact sheet."""
    fields = [HERE / path for path in cells.fov_path]
    selected = select_cell_data.map(fields, cells.cell_index, cells.time_point, cells.y, cells.x)
    normalized = normalize_cell.map(cells.cell_id, selected)
    projections = project_cell.map(cells.cell_id, normalized)
    features = measure(cells, normalized)
    return {
        "normalized cells": create_normalized_cell_dataset(cells, normalized),
        "projections": create_projection_dataset(cells, projections),
        "plot": plot(features),
        "contact sheet": make_contact_sheet(projections, cells.time_point),
    }


made = scratch_assay(pd.read_csv(HERE / "cells.csv"))
print("\nWhat was made:")
for name, value in made.items():
    print(f"  {name:<16}  {os.path.relpath(value.path)}")
