"""OME-Zarr: the image around the arrays is written here, the arrays by tensorstore."""
