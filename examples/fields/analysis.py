"""Nuclei of several fields: found with three thresholds, measured, drawn, handed over."""

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from PIL import Image, ImageDraw

from databacked import ArrayToOmeTiff, LocalDatasetResult, LocalResult, flow, group, sweep, task

THRESHOLDS = [15, 30, 60]  # grey values
SMALLEST = 40  # pixels of a nucleus
ID = "{field.stem}_{above}"


@task(result=LocalResult("results/masks", ArrayToOmeTiff), target=f"{ID}.ome.tiff")
def find(field: Path, above):
    bright = tifffile.imread(field) > above
    labels, new = 0, np.arange(1, bright.size + 1).reshape(bright.shape) * bright
    while np.any(labels != new):  # a pixel takes the largest number next to it, until all have it
        labels, n = new, np.pad(new, 1)
        new = np.max([n[:-2, 1:-1], n[2:, 1:-1], n[1:-1, :-2], n[1:-1, 2:], new], axis=0) * bright
        new = np.append(0, new)[new]  # and the number that the pixel of this number has by now
    large = np.bincount(labels.ravel())[labels] >= SMALLEST
    return np.unique(labels * large, return_inverse=True)[1].astype(np.uint16)


@task(result=LocalResult("results/nuclei"), target={"table": f"{ID}.csv", "picture": f"{ID}.png"})
def measure(field: Path, above, mask: np.ndarray):
    image, labels = tifffile.imread(field), np.unique(mask[mask > 0]).astype(int)
    area, light = np.bincount(mask.ravel()), np.bincount(mask.ravel(), image.ravel())
    columns = {"label": labels, "area": area[labels], "brightness": light[labels] / area[labels]}
    outline = (mask != np.roll(mask, 1, axis=0)) | (mask != np.roll(mask, 1, axis=1))
    grey = np.clip(image / np.percentile(image, 99.8), 0, 1)[..., None] ** 0.6 * 255
    drawn = Image.fromarray(np.where(outline[..., None], [255, 140, 0], grey).astype(np.uint8))
    ImageDraw.Draw(drawn).text((9, 6), f"{field.stem} > {above}: {len(labels)}", font_size=20)
    return {"table": pd.DataFrame(columns), "picture": np.asarray(drawn)}


@task(result=LocalResult("results/sheets"), target="{name}.png")
def compare(name, pictures):
    return np.hstack(pictures)


@task(result=LocalDatasetResult("bbbc007/nuclei", readme="README.md", license="data/LICENSE"))
def hand_over(rows, masks, pictures):
    return rows.assign(mask=masks, picture=pictures)


@flow
def analysis(fields):
    masks = find.map(fields, sweep(THRESHOLDS))
    rows = masks.table[["field", "above"]]
    measured = measure.map(rows.field, rows.above, masks)
    compare.map(*group(measured["picture"], by=[field.stem for field in rows.field]))
    return hand_over(rows, masks, measured["picture"])


analysis(sorted((Path(__file__).parent / "data").glob("*.tif")))
