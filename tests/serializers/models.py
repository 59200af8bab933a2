"""What ome-zarr-models says of an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ome_zarr_models.v04
import ome_zarr_models.v05
import pydantic_zarr.v2
import zarr


def require_valid(path: Path, version: str, *, labels: bool = False) -> None:
    """Raise unless a folder is an image of a version of the format, or also a label image."""
    models: Any = ome_zarr_models.v04 if version == "0.4" else ome_zarr_models.v05
    names = vars(pydantic_zarr.v2) if version == "0.4" else None
    for model in (models.Labels, models.Image, models.ImageLabel):
        model.model_rebuild(_types_namespace=names)  # pydantic 2.14 no longer does it by itself
    group = zarr.open_group(path, mode="r")
    models.Image.from_zarr(group)
    if labels:
        models.ImageLabel.from_zarr(group)
