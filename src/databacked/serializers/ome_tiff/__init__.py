"""OME-TIFF: written layout by layout, read lazily."""
