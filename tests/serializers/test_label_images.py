"""Label images inside an image: written with it, shown over it, read and corrected like others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tensorstore
import zarr

from databacked import (
    ArrayToDefaultWriter,
    ArrayToOmeZarr,
    Image,
    LocalResult,
    flow,
    last_run,
    task,
)
from databacked.errors import FlowFailed, ResultChangedError, SerializerError
from databacked.testing.serializers import check_serializer

from .models import require_valid

PIXELS = np.random.default_rng(0).integers(0, 4000, (2, 3, 40, 50)).astype("uint16")
NUCLEI = (PIXELS[0] > 2000).astype("uint32") * np.arange(1, 4, dtype="uint32")[:, None, None]
VERSIONS = ["0.4", "0.5"]


def said(path: Path) -> dict[str, Any]:
    """Return the attributes that OME-Zarr defines."""
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    return attributes.get("ome", attributes)  # type: ignore[return-value]


def image(**labels: Any) -> Image:
    return Image(PIXELS, "CZYX", ("DNA", "actin"), (1, 0.1, 0.2), (0, 5, 7), labels)


@pytest.mark.parametrize("version", VERSIONS)
def test_label_images_are_images_that_say_whose_they_are(tmp_path, version):
    """With as many levels, sizes and place of the image, colours, and a source."""
    path = tmp_path / "a.ome.zarr"
    colours = {1: "#FF000080", "cells": {2: (0, 255, 0)}}
    serializer = ArrayToOmeZarr(version=version, levels=2, label_colors=colours)
    written = serializer.save(image(nuclei=NUCLEI, cells=NUCLEI[:, ::-1] > 0), path)
    assert written.description.labels == ("nuclei", "cells")
    assert serializer.describe(path) == written.description
    assert said(path / "labels")["labels"] == ["nuclei", "cells"]
    for name, colour in (("nuclei", [255, 0, 0, 128]), ("cells", [0, 255, 0, 255])):
        group = zarr.open_group(path / "labels" / name, mode="r")
        require_valid(path / "labels" / name, version, labels=True)
        label = said(path / "labels" / name)["image-label"]
        assert label["source"] == {"image": "../../"}
        assert [one["rgba"] for one in label["colors"]] == [colour]
        one: Any = serializer.describe(path / "labels" / name)
        assert one.physical_pixel_sizes == (1, 0.1, 0.2)
        assert one.translation == (None, 5, 7)
        assert len(list(group.array_keys())) == 3
    np.testing.assert_array_equal(serializer.read(path / "labels/nuclei"), NUCLEI)
    cells = serializer.read(path / "labels/cells")
    assert cells.dtype == bool
    np.testing.assert_array_equal(cells, NUCLEI[:, ::-1] > 0)
    np.testing.assert_array_equal(serializer.read(path), PIXELS)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_contract_holds_with_label_images(tmp_path, version):
    """Same bytes; no file of them may be missing or cut either; lazy ones are written, too."""
    values = [
        image(nuclei=NUCLEI),
        image(nuclei=da.from_array(NUCLEI, chunks=(2, 30, 30)), whole=NUCLEI[0] > 0),
    ]
    check_serializer(ArrayToOmeZarr(version=version, chunks=(1, 1, 20, 20)), values, tmp_path)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"a/b": NUCLEI}, "a name of a folder was expected"),
        ({"": NUCLEI}, "a name of a folder was expected"),
        ({"..": NUCLEI}, "a name of a folder was expected"),
        ({"zarr.json": NUCLEI}, "a name of a folder was expected"),
        ({"n" * 300: NUCLEI}, "a name of a folder was expected"),
        ({"\ud800": NUCLEI}, "has characters that OME-Zarr cannot hold"),
        ({"u\u0308": NUCLEI, "\u00fc": NUCLEI}, "it would be the same folder as"),
        ({"A": NUCLEI, "a": NUCLEI}, "it would be the same folder as"),
        ({"n": NUCLEI[:, 1:]}, "does not fit the image of shape"),
        ({"n": NUCLEI * 0.5}, "labels of type float64"),
        ({"n": NUCLEI[0, 0]}, "dim_order='X'"),
        ({"n": Image(NUCLEI, labels={"m": NUCLEI})}, "label images of its own"),
        ({"n": Image(NUCLEI, "TYX")}, "does not fit the image of shape"),
        ([NUCLEI], "label images by name were expected"),
        ({1: NUCLEI}, "label images by name were expected"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_is_no_label_image_is_refused(tmp_path, labels, told):
    with pytest.raises(SerializerError, match=told):
        ArrayToOmeZarr().save(Image(PIXELS, labels=labels), tmp_path / "a.ome.zarr")
    assert not list(tmp_path.iterdir())


def test_all_that_is_wrong_with_labels_is_said_at_once(tmp_path):
    with pytest.raises(SerializerError, match=r"labels\['a'\].*labels\['b'\]"):
        ArrayToOmeZarr().save(image(a=NUCLEI[1:], b=NUCLEI * 1.5), tmp_path / "a.ome.zarr")


@pytest.mark.parametrize("ending", [".ome.tiff", ".png", ".npy"])
def test_formats_without_label_images_do_not_drop_them(tmp_path, ending):
    value = Image(PIXELS[0, 0], labels={"nuclei": NUCLEI[0]})
    with pytest.raises(SerializerError, match="labels"):
        ArrayToDefaultWriter().save(value, tmp_path / f"a{ending}")


@pytest.mark.parametrize(
    "wrong", [{"a": "#F00"}, {1: "red"}, {1.5: "#FF0000"}, [1], {"a": {1: (1, 2)}}], ids=str
)
def test_colours_of_labels_are_colours_by_number(wrong):
    with pytest.raises(SerializerError, match="a colour by the number of each label"):
        ArrayToOmeZarr(label_colors=wrong)


def test_an_image_without_label_images_may_say_so(project):
    @task(keep=True)
    def size(x):
        return x.data.size

    none: Any = None
    assert size(Image(NUCLEI, labels=none)) == NUCLEI.size
    assert size(Image(NUCLEI, translation=np.array([0, 5, 7]))) == NUCLEI.size  # type: ignore[arg-type]


def test_a_lazy_view_reads_nothing_before_it_is_computed(project, monkeypatch):
    """Dask copies what has numpy's ``copy``: all of it, at once."""

    @task(result=LocalResult("kept"), target="a.ome.zarr")
    def made():
        return NUCLEI

    made()
    x = made()
    whole = type(x).__array__
    monkeypatch.setattr(type(x), "__array__", lambda *_, **__: pytest.fail("it was read"))
    monkeypatch.setattr(ArrayToOmeZarr, "read", lambda *_: pytest.fail("it was read"))
    lazy = x.dask
    np.testing.assert_array_equal(lazy[1].compute(), NUCLEI[1])
    monkeypatch.setattr(type(x), "__array__", whole)


# ---------------------------------------------------------------- in a flow


def segmented(ending: str = ".ome.zarr"):
    """Return a flow whose first task returns both, and whose second one reads both."""

    @task(result=LocalResult("kept"), target=f"a{ending}")
    def segment():
        return image(nuclei=NUCLEI)

    @task(keep=True)
    def measure(x):
        nuclei = x.labels["nuclei"]
        inside = np.asarray(nuclei) == 2
        return {"pixels": int(inside.sum()), "mean": float(x[0][inside].mean()), "is": str(nuclei)}

    @flow(quiet=True)
    def run():
        return measure(segment())

    return run


def by_zarr(path: Path) -> None:
    array: Any = zarr.open_group(path, mode="r+")["0"]
    array[1, 5:9, 5:9] = 2


def by_tensorstore(path: Path) -> None:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/0/"}}
    array = tensorstore.open(spec).result()
    array[1, 5:9, 5:9].write(np.full((4, 4), 2, "uint32")).result()


@pytest.mark.parametrize("paint", [by_zarr, by_tensorstore])
def test_a_label_painted_by_hand_is_an_edit_of_the_image(project, paint):
    """What follows is computed again with it; the image and the edit stay."""
    run = segmented()
    before = run()
    assert before["pixels"] == (NUCLEI == 2).sum()
    run()
    assert last_run().counts["segment"] == {"reused": 1}
    paint(project / "kept/a.ome.zarr/labels/nuclei")
    after = run()
    painted = NUCLEI.copy()
    painted[1, 5:9, 5:9] = 2
    assert after["pixels"] == (painted == 2).sum() != before["pixels"]
    assert run() == after


def test_a_label_image_that_was_deleted_is_missed(project):
    run = segmented()
    run()
    folder = project / "kept/a.ome.zarr/labels"
    shutil.move(folder, project / "labels")
    with pytest.raises(FlowFailed, match="label images nuclei are missing"):
        run()


def cropped(folder: Path) -> None:
    group: Any = zarr.open_group(folder, mode="r+")
    group.create_array("0", data=NUCLEI[:, :9], overwrite=True)


def fractions(folder: Path) -> None:
    group: Any = zarr.open_group(folder, mode="r+")
    group.create_array("0", data=NUCLEI * 0.5, overwrite=True)


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (cropped, "'nuclei' has shape .*: save it with the same axes"),
        (fractions, "'nuclei' holds float64: save it as integers"),
        (gone, "label images nuclei are missing"),
    ],
)
def test_labels_that_cannot_be_used_fail_their_item_and_stay(project, edit, told):
    """They are no damage of the image: what somebody saved is not moved aside."""
    run = segmented()
    run()
    folder = project / "kept/a.ome.zarr/labels/nuclei"
    edit(folder)
    there = sorted(str(one) for one in (project / "kept/a.ome.zarr").rglob("*"))
    with pytest.raises(FlowFailed, match=told):
        run()
    assert sorted(str(one) for one in (project / "kept/a.ome.zarr").rglob("*")) == there


def test_other_labels_painted_on_flags_are_not_merged(project):
    @task(result=LocalResult("kept", ArrayToOmeZarr(labels=True)), target="a.ome.zarr")
    def flags():
        return NUCLEI > 0

    @task(keep=True)
    def total(x):
        return int(np.asarray(x).sum())

    @flow(quiet=True)
    def run():
        return total(flags())

    before = run()
    array: Any = zarr.open_group(project / "kept/a.ome.zarr", mode="r+")["0"]
    array[0, :3, :3] = 1
    assert run() != before
    array[0, 3:9, :3] = 2
    with pytest.raises(FlowFailed, match="more values than two"):
        run()


def test_an_image_that_is_not_kept_carries_its_label_images(project):
    """The same words as for a kept one; what one reader does to them no other one sees."""

    @task
    def segment():
        return image(nuclei=NUCLEI.copy())

    @task(keep=True)
    def wiped(x):
        x.labels["nuclei"][:] = 0
        return int(np.asarray(x.labels["nuclei"]).sum())

    @task(keep=True)
    def counted(x):
        return int(np.asarray(x.labels["nuclei"]).sum())

    @flow(quiet=True)
    def run():
        made = segment()
        return [wiped(made), counted(made)]

    assert run() == [0, int(NUCLEI.sum())]


@pytest.mark.parametrize("ending", [".ome.zarr", ".ome.tiff", ".npy"])
def test_an_old_handle_does_not_read_new_pixels(project, ending):
    """Not of a part either that nobody asked for before its result was replaced."""

    @task(result=LocalResult("kept"), target=f"a{ending}")
    def made(n):
        return np.full((3, 40, 50), n, "uint16")

    old = made(1)
    assert old[0].max() == 1
    made(2)
    with pytest.raises(ResultChangedError, match="is no longer the file"):
        old[1]
    with pytest.raises(ResultChangedError, match="is no longer the file"):
        old.dask[1].compute()


def test_a_label_image_is_an_input_like_any_other(project):
    """It counts by the image that it lies in, and its name."""

    @task(result=LocalResult("kept"), target="a.ome.zarr")
    def segment():
        return image(nuclei=NUCLEI, cells=NUCLEI > 0)

    @task(keep=True)
    def total(labels: np.ndarray):
        return [str(labels.dtype), int(labels.sum())]

    made = segment()
    assert sorted(made.labels) == ["cells", "nuclei"]
    nuclei = made.labels["nuclei"]
    assert nuclei.is_labels
    assert (nuclei.dim_order, nuclei.shape) == ("ZYX", NUCLEI.shape)
    assert nuclei.physical_pixel_sizes == (1, 0.1, 0.2)
    assert nuclei.translation == (None, 5, 7)
    assert nuclei.record.task == made.record.task
    np.testing.assert_array_equal(nuclei.dask[1].compute(), NUCLEI[1])
    assert total(nuclei) == ["uint32", int(NUCLEI.sum())]
    assert total(made.labels["cells"]) == ["bool", int((NUCLEI > 0).sum())]
