"""A table of results as a dataset: manifest, readme, provenance."""
