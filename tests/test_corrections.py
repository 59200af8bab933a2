"""What people save over a result with the programs that they use is used, or fails by name."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from databacked import ArrayToOmeTiff, ArrayToOmeZarr, LocalResult, ToPickle, flow, last_run, task
from databacked.errors import FlowFailed
from databacked.records import journal
from databacked.serializers.corrections import conform, fit
from databacked.types import Description


def kept(value, ending: str, serializer=None):
    """Return a flow that keeps a value, and gives what a reader sees of it."""

    @task(result=LocalResult("kept", serializer), target=f"a{ending}")
    def made():
        return value

    @task(keep=True)
    def seen(x):
        x = np.zeros(1) if x is None else np.asarray(x)
        return {"type": str(x.dtype), "shape": list(x.shape), "sum": float(x.sum())}

    @flow(quiet=True)
    def run():
        return seen(made())

    return run


LABELS = np.arange(60, dtype=np.uint16).reshape(1, 6, 10)
CORRECTED = np.where(LABELS > 30, 0, LABELS)


def by_tifffile(path: Path, array) -> None:
    tifffile.imwrite(path, array)


def by_napari(path: Path, array) -> None:
    """As napari's own writer stores labels (napari_builtins/io/_write.py)."""
    tifffile.imwrite(path, array.astype(np.uint32), compression="zlib")


def by_imagej(path: Path, array) -> None:
    """ImageJ's 32-bit images are floats, and it drops axes of length one."""
    tifffile.imwrite(path, array.squeeze().astype(np.float32), imagej=True)


def by_signed(path: Path, array) -> None:
    tifffile.imwrite(path, array.squeeze().astype(np.int32))


def by_bioio(path: Path, array) -> None:
    from bioio_ome_tiff.writers import OmeTiffWriter

    OmeTiffWriter.save(array, path, dim_order="ZYX")


@pytest.mark.parametrize("save", [by_tifffile, by_napari, by_imagej, by_signed, by_bioio])
def test_labels_that_another_program_saved_are_used(project, save):
    """Whatever it makes of types and of axes of length one."""
    run = kept(LABELS, ".ome.tiff", ArrayToOmeTiff(dim_order="ZYX"))
    before = run()
    save(project / "kept/a.ome.tiff", CORRECTED)
    journal.close_journals()
    for _ in range(2):
        assert run() == {**before, "sum": float(CORRECTED.sum())}
        assert "edited by hand, used as it is" in last_run().notes["made"]


PEERS = {
    "napari": "from napari_builtins.io import napari_write_labels as w; w(path, array, {})",
    "napari image": "from napari_builtins.io import napari_write_image as w; w(path, array, {})",
    "scikit-image": "from skimage.io import imsave; imsave(path, array, check_contrast=False)",
    "pillow": "from PIL import Image; Image.fromarray(array.squeeze()).save(path)",
}


@pytest.mark.parametrize("program", PEERS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_labels_that_a_viewer_itself_saved_are_used(project, peer, program, dtype):
    """Real programs, with their own writers, each in its own environment."""
    run = kept(LABELS.astype(dtype), ".ome.tiff", ArrayToOmeTiff(dim_order="ZYX"))
    before = run()
    np.save(project / "corrected.npy", CORRECTED.astype(dtype))
    # Saved under another name first: some programs choose a format by the ending.
    said = "import sys, numpy; path, array = sys.argv[2], numpy.load(sys.argv[1]); "
    saved = project / "saved.tif"
    arguments = [str(project / "corrected.npy"), str(saved)]
    subprocess.run([peer, "-W", "ignore", "-c", said + PEERS[program], *arguments], check=True)
    saved.rename(project / "kept/a.ome.tiff")
    assert run() == {**before, "sum": float(CORRECTED.sum())}
    assert "edited by hand, used as it is" in last_run().notes["made"]


@pytest.mark.parametrize(
    ("ending", "serializer"),
    [(".ome.tiff", ArrayToOmeTiff()), (".ome.zarr", ArrayToOmeZarr(labels=True))],
)
def test_a_mask_that_was_painted_as_numbers_is_a_mask(project, peer, ending, serializer):
    """napari stores labels as uint32 and without our annotation; what it painted may be any."""
    got: list[np.ndarray] = []

    @task(result=LocalResult("kept", serializer), target=f"a{ending}")
    def mask():
        return np.zeros((30, 20), bool)

    @task
    def look(array):
        got.append(np.asarray(array[...]))

    @flow
    def run():
        look(mask())

    run()
    path = project / f"kept/a{ending}"
    if ending == ".ome.tiff":
        np.save(project / "painted.npy", np.eye(30, 20, dtype="uint32") * 7)
        said = "import sys, numpy; path, array = sys.argv[2], numpy.load(sys.argv[1]); "
        arguments = [str(project / "painted.npy"), str(project / "saved.tif")]
        subprocess.run([peer, "-W", "ignore", "-c", said + PEERS["napari"], *arguments], check=True)
        (project / "saved.tif").rename(path)
    else:
        level: Any = zarr.open_group(path)["0"]
        level[...] = np.eye(30, 20, dtype="uint8") * 7
    journal.close_journals()
    run()
    assert [one.dtype for one in got] == [bool, bool]
    assert not got[0].any()
    np.testing.assert_array_equal(got[1], np.eye(30, 20, dtype=bool))


@pytest.mark.parametrize(
    "saved", [{"imagej": True}, {"ome": True, "compression": "zlib"}], ids=["ImageJ", "compressed"]
)
def test_a_hyperstack_in_another_order_comes_back_in_its_own(project, saved):
    """ImageJ stores ZCYX, whatever the order of an image was; others compress it, too."""
    image = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)

    @task(result=LocalResult("kept", ArrayToOmeTiff(dim_order="CZYX")), target="a.ome.tiff")
    def made():
        return image

    made()
    tifffile.imwrite(
        project / "kept/a.ome.tiff",
        (image + 1).transpose(1, 0, 2, 3),
        metadata={"axes": "ZCYX"},
        **saved,
    )
    assert (np.asarray(made()) == image + 1).all()
    assert (made()[1, 2] == image[1, 2] + 1).all()


def test_labels_in_an_ome_zarr_saved_as_wider_integers_are_used(project):
    """Also where a whole folder is another one."""
    run = kept(LABELS, ".ome.zarr", ArrayToOmeZarr(dim_order="ZYX"))
    before = run()
    shutil.rmtree(project / "kept/a.ome.zarr")
    ArrayToOmeZarr(dim_order="ZYX").save(CORRECTED.astype(np.int32), project / "kept/a.ome.zarr")
    assert run() == {**before, "sum": float(CORRECTED.sum())}


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        (CORRECTED[:, :3], "save it with the same axes"),
        (CORRECTED + 0.5, "no whole numbers"),
        (CORRECTED.astype(np.complex64), "complex64"),
    ],
    ids=["cropped", "fractions", "complex"],
)
def test_what_cannot_be_used_fails_its_item_and_stays(project, edited, said):
    """It is never replaced silently; the error names the file, and what would make it usable."""
    run = kept(LABELS, ".ome.tiff", ArrayToOmeTiff(dim_order="ZYX"))
    run()
    file = project / "kept/a.ome.tiff"
    tifffile.imwrite(file, edited)
    there = file.read_bytes()
    with pytest.raises(FlowFailed, match=said) as failed:
        run()
    assert str(file) in str(failed.value.failures[0].exception)
    assert file.read_bytes() == there
    by_tifffile(file, CORRECTED)
    assert run()["sum"] == CORRECTED.sum()


def by_excel(table, path: Path) -> None:
    """As a German Excel does: semicolons, decimal commas, a byte order mark."""
    table.to_csv(path, sep=";", decimal=",", index=False, encoding="utf-8-sig")


SHEETS = {
    "pandas": lambda table, path: table.to_csv(path, index=False),
    "with its index": lambda table, path: table.to_csv(path),
    "Excel": by_excel,
    "LibreOffice": lambda table, path: (
        table.astype(str).replace(r"\.", ",", regex=True).to_csv(path, index=False)
    ),
    "tabs": lambda table, path: table.to_csv(path, sep="\t", index=False, encoding="utf-16"),
    "western": lambda table, path: table.to_csv(path, sep=";", index=False, encoding="cp1252"),
}


@pytest.mark.parametrize("program", SHEETS)
def test_a_table_that_a_spreadsheet_saved_is_used(project, program):
    """Without an outlier, with a column of notes, and with its own separators."""
    table = pd.DataFrame({"cell": ["a", "b", "c"], "area": [1.5, 2.25, 100.0], "n": [1, 2, 3]})

    @task(result=LocalResult("kept"), target="a.csv")
    def measured():
        return table

    @task(keep=True)
    def seen(found):
        return [found["cell"].tolist(), float(found["area"].sum()), int(found["n"].sum())]

    @flow(quiet=True)
    def run():
        return seen(measured())

    assert run()[1:] == [103.75, 6]
    SHEETS[program](table.assign(note="größer")[:2], project / "kept/a.csv")
    for _ in range(2):
        assert run() == [["a", "b"], 3.75, 3]
        assert "edited by hand, used as it is" in last_run().notes["measured"]
    table.drop(columns=["n"]).to_csv(project / "kept/a.csv", index=False)
    with pytest.raises(FlowFailed, match="its column 'n' is missing"):
        run()
    table.assign(area=["1", "#DIV/0!", "3"]).to_csv(project / "kept/a.csv", index=False)
    with pytest.raises(FlowFailed, match="its column 'area' holds texts, and the result's numbers"):
        run()


def test_a_picture_saved_with_colours_is_still_gray(project):
    """A viewer made RGBA of it; where colours differ it is another picture."""
    from PIL import Image

    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    run = kept(gray, ".png")
    before = run()
    rgba = np.dstack([gray[::-1]] * 3 + [np.full_like(gray, 255)])
    Image.fromarray(rgba).save(project / "kept/a.png")
    assert run() == before
    assert last_run().counts["made"] == {"reused": 1}
    rgba[..., 0] = 7
    Image.fromarray(rgba).save(project / "kept/a.png")
    with pytest.raises(FlowFailed, match=r"\(6, 8, 4\)"):
        run()


def test_a_second_and_a_third_correction_are_used_like_the_first(project):
    """Each has a record of its own; going back to an earlier one is one more."""
    run = kept([1, 2], ".json")
    sums = [run()["sum"]]
    for text in ("[5, 5]", "[70, 70]", "[5, 5]", "[1, 1]"):
        (project / "kept/a.json").write_text(text)
        sums += [run()["sum"], run()["sum"]]
    assert sums == [3, 10, 10, 140, 140, 10, 10, 2, 2]


def png(pixels, colours: int) -> bytes:
    """Return a PNG with 16 bits a colour, which Pillow does not write."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "palette and transparency", "CMYK"])
@pytest.mark.parametrize("colours", [(), (3,)], ids=["gray", "colours"])
def test_a_picture_that_was_made_smaller_shows_what_it_showed(project, mode, colours):
    """Optimizers and editors write palettes, single bits and other colours: pixels are meant."""
    from PIL import Image

    pixels = np.where(np.indices((6, 8)).sum(0) % 3 == 0, np.uint8(255), np.uint8(0))
    painted = Image.fromarray(pixels)
    pixels = np.broadcast_to(pixels[(..., *[None] * len(colours))], (6, 8, *colours))
    run = kept(np.zeros_like(pixels), ".jpg" if mode == "CMYK" else ".png")
    before = run()
    if mode in ("P", "palette and transparency"):
        painted = painted.point(lambda n: n == 0).convert("P")  # 0 and 1
        painted.putpalette([255, 255, 255, 0, 0, 0])
    elif mode == "CMYK":
        painted = painted.convert("RGB")
    options: dict[str, Any] = {"transparency": b"\xff\xff"} if "transparency" in mode else {}
    painted = painted if painted.mode == "P" else painted.convert(mode)
    painted.save(next((project / "kept").glob("a.*")), **options)
    assert painted.mode == ("P" if "palette" in mode else mode)
    if mode == "CMYK" and not colours:
        pytest.skip("a JPEG of gray in CMYK is none any more: its colours differ by rounding")
    assert run()["sum"] == pytest.approx(pixels.sum(), rel=0.05 if mode == "CMYK" else 0)
    assert run()["shape"] == before["shape"]
    assert last_run().counts["made"] == {"reused": 1}


@pytest.mark.parametrize(("colours", "samples"), [(2, 3), (6, 4), (4, 2)])
def test_colours_of_16_bits_are_never_cut(project, colours, samples):
    """Pillow reads 8 of them: what was 300 would be 1."""
    run = kept(np.full((6, 8), 9, np.uint16), ".png")
    run()
    file = project / "kept/a.png"
    file.write_bytes(png(np.full((6, 8, samples), 300), colours))
    with pytest.raises(FlowFailed, match="colours of 16 bits"):
        run()
    file.write_bytes(png(np.full((6, 8), 300), 0))
    assert run()["sum"] == 300 * 48


@pytest.mark.parametrize("forged", [False, True])
def test_a_pickle_that_was_changed_is_never_read(project, forged):
    """It could run code of whoever put it there: it is moved aside, and the value made again."""
    planted = project / "planted"

    class Planted:
        def __reduce__(self):
            return Path.mkdir, (planted,)

    @task(result=LocalResult("kept", ToPickle()), target="{n}.pickle")
    def made(n):
        return "x" * 999

    @flow(quiet=True)
    def run():
        return made.map([1])

    run()
    file = project / "kept/1.pickle"
    before = file.stat()
    data = pickle.dumps(Planted())
    file.write_bytes(data.ljust(before.st_size, b"."))
    if forged:
        os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns))
    journal.close_journals()
    assert list(run()) == ["x" * 999]
    assert not planted.exists()
    assert len(list(project.glob("kept/.databacked/replaced/*/1.pickle"))) == 1


def test_a_file_that_took_the_place_of_none_is_used(project):
    """Where a task found nothing, somebody drew it."""
    run = kept(None, ".npy")
    run()
    np.save(project / "kept/a.npy", np.ones((3, 3)))
    assert run()["sum"] == 9


TYPES = st.sampled_from(["bool", "uint8", "uint16", "int32", "uint32", "int64", "float32"])


@given(
    arrays.arrays(
        np.uint8,
        arrays.array_shapes(min_dims=2, max_dims=4, max_side=4),
        elements=st.integers(0, 1),
    ),
    TYPES.filter(lambda name: name != "float32"),
    TYPES,
    st.data(),
)
def test_whatever_type_and_axes_a_viewer_makes_the_values_are_those(array, was, now, data):
    """Axes of length one come and go, integers become wider, narrower or floats."""
    recorded = array.astype(was)
    flat = array.astype(now)
    held = flat.squeeze() if data.draw(st.booleans()) else flat
    seen = fit(Description(recorded.shape, was), Description(held.shape, now), lambda: held)
    assert not seen.problem
    back = conform(held, seen.form or {})
    assert back.shape == recorded.shape
    assert back.dtype == was
    assert (back == recorded).all()


def by_hand_in_xml(path: Path) -> None:
    pixels = {"axes": "CYX", "PhysicalSizeX": 0.325, "Channel": {"Name": ["DAPI", "RFP"]}}
    tifffile.imwrite(path, tifffile.imread(path), ome=True, metadata=pixels)


def by_hand_in_json(path: Path) -> None:
    said = json.loads((path / "zarr.json").read_text())
    ome = said["attributes"]["ome"]
    ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"][2] = 0.325
    ome["omero"]["channels"][1]["label"] = "RFP"
    (path / "zarr.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("writer", "ending", "correct"),
    [(ArrayToOmeTiff, ".ome.tiff", by_hand_in_xml), (ArrayToOmeZarr, ".ome.zarr", by_hand_in_json)],
)
def test_a_corrected_pixel_size_or_channel_name_reaches_the_readers(
    project, writer, ending, correct
):
    """What a file does not say itself, as after other programs, is as it was recorded."""
    names, sizes = ["DAPI", "GFP"], (None, 0.65, 0.65)
    serializer = writer(dim_order="CYX", channel_names=names, physical_pixel_sizes=sizes)

    @task(result=LocalResult("kept", serializer), target=f"a{ending}")
    def made():
        return np.ones((2, 8, 8), np.uint16)

    @task(keep=True)
    def seen(x):
        return [*x.channel_names, *x.physical_pixel_sizes]

    @flow
    def run():
        return seen(made())

    assert run() == ["DAPI", "GFP", None, 0.65, 0.65]
    correct(project / f"kept/a{ending}")
    for _ in range(2):
        assert run() == ["DAPI", "RFP", None, 0.65, 0.325]
        assert last_run().counts["made"] == {"reused": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_that_an_editor_saved_with_a_mark_is_the_text(project, encoding):
    """As Windows' editor writes it: the mark is no part of it."""

    @task(result=LocalResult("kept"), target="a.txt")
    def made():
        return "computed"

    @task(keep=True)
    def seen(x):
        return x

    @flow
    def run():
        return seen(made())

    assert run() == "computed"
    (project / "kept/a.txt").write_text("größer\n", encoding=encoding)
    for _ in range(2):
        assert run() == "größer\n"
        assert "edited by hand, used as it is" in last_run().notes["made"]


@pytest.mark.parametrize("save", [SHEETS["pandas"], SHEETS["Excel"]])
def test_texts_of_a_table_stay_texts_where_numbers_alone_are_left(project, save):
    """A name that looks like a number finds nothing once it is one."""

    @task(result=LocalResult("kept"), target="a.csv")
    def made():
        return pd.DataFrame({"id": ["a1", "007", "8"], "area": [0.5, 1.25, 2.0]})

    @task(keep=True)
    def seen(x):
        return [x["id"].tolist(), float(x["area"].sum())]

    @flow
    def run():
        return seen(made())

    assert run()[0] == ["a1", "007", "8"]
    save(pd.DataFrame({"id": ["007", "8"], "area": [1.25, 2.0]}), project / "kept/a.csv")
    for _ in range(2):
        assert run() == [["007", "8"], 3.25]
        assert last_run().counts["made"] == {"reused": 1}
