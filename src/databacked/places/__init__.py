"""A folder with its records: judged, saved, read."""
