"""What programs of others make of our images: the same pixels, axes, sizes, colours and labels."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import ome_types
import pytest

from databacked import ArrayToOmeTiff, ArrayToOmeZarr, Image

from .models import require_valid

PIXELS = np.random.default_rng(0).integers(0, 4000, (2, 2, 3, 40, 50)).astype("uint16")
NUCLEI = (PIXELS[:, 0] > 3000) * np.arange(1, 4, dtype="uint16")[:, None, None]
SIZES, START, SECONDS = (0.5, 0.1, 0.2), (0, 12.5, 7), 2.5
COLOURS, NAMES = ("0000FF", "FFFF00"), ("DNA", "actin")
SAID: dict[str, Any] = {
    "channel_colors": [f"#{colour}" for colour in COLOURS],
    "time_interval": SECONDS,
    "levels": 1,
}


def image(**labels: Any) -> Image:
    return Image(PIXELS, "TCZYX", NAMES, SIZES, START, labels)


@pytest.fixture(scope="module", params=["0.4", "0.5"])
def written(request, tmp_path_factory) -> Path:
    """Return an image with label images, of each version."""
    path: Path = tmp_path_factory.mktemp("seen") / f"{request.param}.ome.zarr"
    serializer = ArrayToOmeZarr(version=request.param, label_colors={2: "#FF8000"}, **SAID)
    serializer.save(image(nuclei=NUCLEI, bright=NUCLEI > 0), path)
    return path


def seen_by(peer: Path, script: str, path: Path) -> Any:
    """Return what a program of others says of an image, as JSON."""
    command = [str(peer), "-W", "ignore", "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


NAPARI = """
import sys, json, numpy as np
from napari_ome_zarr import napari_get_reader
import napari.layers
found = []
for data, said, kind in napari_get_reader(sys.argv[1])(sys.argv[1]):
    layers = napari.layers.Image if kind == "image" else napari.layers.Labels
    layer = layers(data, **said) if kind == "labels" else None  # as the viewer makes it
    levels = data if isinstance(data, list) else [data]
    found.append({
        "kind": kind,
        "sums": [int(np.asarray(one).sum()) for one in levels],
        "shape": list(levels[0].shape),
        "axes": "".join(said["axis_labels"]),
        "units": [str(one) for one in said["units"]],
        "scale": list(said["scale"]),
        "name": said["name"],
        "colours": [one.colors[-1].tolist() for one in said["colormap"]]
            if kind == "image" else layer.get_color(2).tolist(),
    })
print(json.dumps(found))
"""


def test_napari_shows_labels_over_the_image(written, peer):
    """With their colours, level by level; napari-ome-zarr 0.10 itself loses where a crop lay."""
    shown, *labels = seen_by(peer, NAPARI, written)
    assert (shown["kind"], shown["shape"], shown["name"]) == ("image", [*PIXELS.shape], [*NAMES])
    assert shown["sums"][0] == PIXELS.sum()
    assert shown["colours"] == [[0, 0, 1, 1], [1, 1, 0, 1]]
    assert [one["name"].rpartition("/")[2] for one in labels] == ["nuclei", "bright"]
    for one in (shown, *labels):
        assert one["axes"] == "tzyx"
        assert one["units"] == ["second", "micrometer", "micrometer", "micrometer"]
        assert one["scale"] == [SECONDS, *SIZES]
        assert len(one["sums"]) == 2
    for one, pixels in zip(labels, (NUCLEI, NUCLEI > 0), strict=True):
        assert one["kind"] == "labels"
        assert one["sums"] == [pixels.sum(), pixels[..., ::2, ::2].sum()]
        np.testing.assert_allclose(one["colours"], [1, 128 / 255, 0, 1])


YAOZARRS = """
import sys, json, yaozarrs
yaozarrs.validate_zarr_store(sys.argv[1])
group = yaozarrs.open_group(sys.argv[1])
image = group.ome_metadata()
labels = group["labels"].ome_metadata()
label = group["labels"]["nuclei"].ome_metadata()
said = label.image_label
print(json.dumps({
    "axes": [[one.name, one.type, one.unit] for one in image.multiscales[0].axes],
    "steps": [one.model_dump() for one in
        image.multiscales[0].datasets[0].coordinateTransformations],
    "channels": [[one.label, one.color] for one in image.omero.channels],
    "labels": labels.labels,
    "colours": [[one.label_value, list(one.rgba)] for one in said.colors],
    "source": said.source.image,
}))
"""


def test_yaozarrs_finds_it_valid_and_reads_the_same(written, peer):
    found = seen_by(peer, YAOZARRS, written)
    micrometres = [[axis, "space", "micrometer"] for axis in "zyx"]
    assert found["axes"] == [["t", "time", "second"], ["c", "channel", None], *micrometres]
    scale, there = found["steps"]
    assert scale["scale"] == [SECONDS, 1, *SIZES]
    assert there["translation"] == [0, 0, *START]
    assert found["channels"] == [[*pair] for pair in zip(NAMES, COLOURS, strict=True)]
    assert found["labels"] == ["nuclei", "bright"]
    assert found["colours"] == [[2, [255, 128, 0, 255]]]
    assert found["source"] == "../../"


def test_bioio_and_models_read_the_same(written):
    from bioio_ome_zarr import Reader

    reader = Reader(written)
    np.testing.assert_array_equal(reader.get_image_data("TCZYX"), PIXELS)
    assert reader.channel_names == [*NAMES]
    assert reader.physical_pixel_sizes == SIZES
    assert reader.scale.T == SECONDS
    version = written.name.removesuffix(".ome.zarr")
    require_valid(written, version)
    require_valid(written / "labels/nuclei", version, labels=True)
    nuclei = Reader(written / "labels/nuclei")
    np.testing.assert_array_equal(nuclei.get_image_data("TZYX"), NUCLEI)


@pytest.mark.filterwarnings("ignore:As of version 0.4.0, the parser argument")  # bioio's own
def test_others_read_the_same_of_a_tiff(tmp_path):
    from bioio_ome_tiff import Reader

    path = tmp_path / "a.ome.tiff"
    ArrayToOmeTiff(**SAID).save(image(), path)
    reader = Reader(path)
    np.testing.assert_array_equal(reader.get_image_data("TCZYX"), PIXELS)
    assert reader.channel_names == [*NAMES]
    assert reader.physical_pixel_sizes == SIZES
    said = ome_types.from_tiff(path, validate=True).images[0].pixels
    assert (said.time_increment, said.time_increment_unit.value) == (SECONDS, "s")
    assert [one.name for one in said.channels] == [*NAMES]
    assert [one.color.as_hex(format="long")[1:7].upper() for one in said.channels] == [*COLOURS]
    assert {(one.position_y, one.position_x) for one in said.planes} == {START[1:]}


PAINT = """
import sys, napari.layers, zarr
array = zarr.open_array(sys.argv[1], mode="r+")
layer = napari.layers.Labels(array)
layer.brush_size = 5
layer.paint((0, 1, 20, 20), 7)
print(int((array[:] == 7).sum()))
"""


def test_a_stroke_painted_in_napari_changes_one_chunk(written, peer):
    """What the brush writes through to the files is what a reader gets."""
    serializer = ArrayToOmeZarr()
    folder = written / "labels/nuclei/0"
    there = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    painted = seen_by(peer, PAINT, folder)
    found = serializer.read(written / "labels/nuclei")
    assert painted == (found == 7).sum() > 9
    changed = [file for file, before in there.items() if file.read_bytes() != before]
    assert len(changed) == 1
    serializer.describe(written)
    changed[0].write_bytes(there[changed[0]])
