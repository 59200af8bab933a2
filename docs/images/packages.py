"""Draws packages.svg: the packages, and the way of one value through them."""

from pathlib import Path

from databacked.pictures.boxes import Arrow, Box
from databacked.pictures.drawing import Drawing

BOXES = [
    Box("doors", "task · flow · result", ("what a user writes",), "kept"),
    Box("graph", "graph", ("calls as nodes with columns",)),
    Box("engine", "engine", ("what must be made,", "and its way there"), "kept"),
    Box("runners", "runners", ("threads, processes",)),
    Box("worker", "worker", ("one item:", "compared, computed, kept"), "kept"),
    Box("places", "places", ("a folder with its records:", "judged, saved, read"), "kept"),
    Box("serializers", "serializers", ("value ↔ file",)),
    Box("records", "records", ("what made what",)),
    Box("storage", "storage", ("bytes at names",)),
    Box("fingerprint", "fingerprint", ("what code, values", "and files count by")),
    Box("datasets", "datasets", ("a table of results", "with readme and manifest")),
]
ARROWS = [
    Arrow("doors", "graph", "calls"),
    Arrow("graph", "engine", "nodes"),
    Arrow("engine", "fingerprint", "token of?"),
    Arrow("engine", "runners", "batches"),
    Arrow("engine", "places", "whose is it?"),
    Arrow("runners", "worker", "items"),
    Arrow("worker", "places", "a value"),
    Arrow("places", "serializers", "a value"),
    Arrow("places", "records", "a claim"),
    Arrow("serializers", "storage", "a temporary file"),
    Arrow("records", "storage", "first", dashed=True),
    Arrow("places", "datasets", "a table"),
]

if __name__ == "__main__":
    Drawing(tuple(BOXES), tuple(ARROWS)).save(Path(__file__).with_name("packages.svg"))
