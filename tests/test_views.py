"""What notebooks show: pictures that cost one plane, and never an error."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from matplotlib.figure import Figure
from PIL import Image as Pillow

from databacked import (
    ArrayToDefaultWriter,
    ArrayToOmeTiff,
    Image,
    LocalDatasetResult,
    LocalResult,
    PhysicalPixelSizes,
    flow,
    task,
)
from databacked.pictures import html as shown
from databacked.pictures import planes
from databacked.places.backed import BackedArray
from databacked.serializers.base import Serializer
from databacked.storage.looks import stat_of

EXAMPLE = Path(__file__).parents[1] / "examples/scratch_assay/data"
RNG = np.random.default_rng(0)
EVIL = "<script>alert('1')</script>"


class Array:
    """An array that knows its file, and notes what is read of it."""

    def __init__(self, pixels, dim_order=None, channel_names=None, path="a.tiff"):
        self.pixels = pixels
        self.shape = pixels.shape
        self.dtype = pixels.dtype
        self.dim_order = dim_order
        self.channel_names = channel_names
        self.physical_pixel_sizes = None
        self.path = path
        self.read = 0

    def __getitem__(self, key):
        found = self.pixels[key]
        self.read += found.size
        return found

    def __fspath__(self):
        return self.path


def pictures(html: str) -> list[np.ndarray]:
    """Return the pixels of all PNGs in an HTML text."""
    found = []
    for data in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html):
        with Pillow.open(io.BytesIO(base64.b64decode(data))) as picture:
            found.append(np.asarray(picture))
    return found


def text(html: str) -> str:
    """Return what a reader sees of an HTML text, which has to be whole."""
    seen, open_tags = [], []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag != "img":
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

        def handle_data(self, data):
            seen.append(data)

    Parser().feed(html)
    assert not open_tags
    return " ".join(seen)


def backed(folder: Path, value, name: str = "a.ome.tiff", serializer: Serializer | None = None):
    """Return a backed array of a file that is written now."""
    serializer = serializer or ArrayToOmeTiff()
    written = serializer.save(value, folder / name)
    stat = stat_of(folder / name)
    described = written.description
    return BackedArray(folder / name, described, serializer, stat, written.content, folder)


# ---------------------------------------------------------------- what is read


def test_only_the_middle_plane_is_read_and_of_a_large_one_every_nth_pixel():
    """Of 4 channels, 10 planes and 12 million pixels: one in four of four planes."""
    array = Array(np.zeros((4, 10, 600, 900), "u1"), "CZYX")
    html = shown.array_html(array)
    assert array.read == 4 * 300 * 450
    assert [one.shape for one in pictures(html)] == [(300, 450)] * 4
    assert "Z 6 of 10" in text(html)
    array = Array(np.zeros((20, 3000, 3000), "u1"), "ZYX")
    planes.as_colours(planes.middle_plane(array, planes.THUMBNAIL, 3))
    assert array.read == 125**2


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "pyramid": True}])
def test_a_backed_array_is_not_read_as_a_whole(tmp_path, monkeypatch, options):
    """Neither where the file is mapped nor where it has tiles."""
    array = backed(tmp_path, RNG.random((6, 700, 700)), serializer=ArrayToOmeTiff(**options))

    def read(self, path):
        raise AssertionError("all of it was read")

    monkeypatch.setattr(ArrayToOmeTiff, "read", read)
    monkeypatch.setattr(BackedArray, "__array__", read)
    html = array._repr_html_()
    assert [one.shape for one in pictures(html)] == [(350, 350)]
    assert "cannot be shown" not in text(html)


def test_tables_and_lists_open_the_first_rows_only(tmp_path):
    """The rest is counted."""
    pixels = np.zeros((40, 40), "u1")
    cells = [backed(tmp_path, pixels, f"{n}.npy", CountingOpens()) for n in range(30)]
    CountingOpens.opened = 0
    html = shown.table_html(pd.DataFrame({"cell": cells}), ["cell"], limit=7)
    assert (len(pictures(html)), CountingOpens.opened) == (7, 7)
    assert "… and 23 more rows" in text(html)
    html = shown.values_html(cells) or ""
    assert (len(pictures(html)), CountingOpens.opened) == (20, 20)  # what is open stays open
    assert "… and 10 more" in text(html)


class CountingOpens(ArrayToDefaultWriter):
    opened = 0

    def open(self, path):
        type(self).opened += 1
        return super().open(path)


# ---------------------------------------------------------------- what is drawn


def test_what_is_known_stands_beside_the_picture(tmp_path, monkeypatch):
    """Shape, axes, channels, type, pixel size, and where it lies."""
    monkeypatch.chdir(tmp_path)
    value = Image(
        RNG.integers(0, 999, (2, 5, 30, 40), "u2"),
        dim_order="CZYX",
        channel_names=("H3342", "oblique"),
        physical_pixel_sizes=PhysicalPixelSizes(None, 0.619, 0.619),
    )
    html = backed(tmp_path, value)._repr_html_()
    shown = text(html)
    assert "2 × 5 × 30 × 40 (CZYX)" in shown
    assert "uint16" in shown
    assert "H3342, oblique" in shown
    assert "Y 0.619 µm, X 0.619 µm" in shown
    assert "a.ome.tiff" in shown
    assert str(tmp_path) not in shown
    assert "Z 3 of 5" in shown
    assert len(pictures(html)) == 2


def test_contrast_lies_between_percentiles():
    """One hot pixel does not make everything else black; NaN is as dark as the darkest."""
    plane = np.linspace(0, 1, 10_000).reshape(100, 100)
    plane[0, 0], plane[50, 50] = 1e9, np.nan
    grey = planes.as_grey(plane)
    assert grey[99, 99] == 255
    assert abs(int(grey[49, 99]) - 127) < 3
    assert grey[50, 50] == 0
    assert planes.as_grey(np.full((4, 4), 7)).tolist() == [[128] * 4] * 4
    assert planes.as_grey(np.array([[True, False]])).tolist() == [[255, 0]]
    assert planes.as_grey(np.full((2, 2), np.nan)).tolist() == [[0, 0]] * 2
    assert planes.as_grey(np.array([[0, 6 + 8j, 10]]))[0].tolist() == [0, 255, 255]
    sparse = np.zeros((100, 100), "u2")
    sparse[3, 3] = 50
    assert planes.as_grey(sparse)[3, 3] == 255


def test_numbers_of_objects_are_told_from_brightness():
    """On real images, thinned out as well; and on smooth, noisy and binary ones."""
    pixels = tifffile.imread(EXAMPLE / "scratch-assay-labeled-10T-2Ch.tiff")
    for time_point in range(10):
        for step in (1, 2, 5):
            found = [planes.is_labels(one[time_point, ::step, ::step]) for one in pixels]
            assert found == [False, False, True, True]
    y, x = np.mgrid[:200, :200]
    assert not planes.is_labels(((y + x) // 3).astype("u1"))
    assert not planes.is_labels((np.hypot(y - 99, x - 99) < 50).astype("u1"))
    assert not planes.is_labels(RNG.poisson(3, (200, 200)))
    assert not planes.is_labels(np.zeros((9, 9), "i8"))
    assert planes.is_labels((y // 20) * 10 + x // 20)


def test_each_object_has_a_colour_of_its_own():
    """The same in every picture; background is black."""
    plane = np.repeat(np.arange(60)[None], 3, axis=0)
    colours = planes.as_labels(plane)
    assert colours[0, 0].tolist() == [0, 0, 0]
    assert len(np.unique(colours[0], axis=0)) == 60
    assert (planes.as_labels(plane[:, 30:]) == colours[:, 30:]).all()


@pytest.mark.parametrize(
    ("shape", "dim_order", "pictures_of"),
    [
        ((30, 40), None, [(30, 40)]),
        ((7, 30, 40), None, [(30, 40)]),
        ((2, 3, 30, 40), "TCYX", [(30, 40)] * 3),
        ((9, 30, 40), "CYX", [(30, 40)] * 4),
        ((30, 40, 3), None, [(30, 40, 3)]),
        ((30, 40, 4), "YXS", [(30, 40, 4)]),
        ((30, 2, 40), "YCX", [(30, 40)] * 2),
        ((40, 3, 30), "XSY", [(30, 40, 3)]),
        ((1, 1), None, [(1, 1)]),
    ],
)
def test_axes_are_found(shape, dim_order, pictures_of):
    """As the array says, else the last two, or three for colours."""
    html = shown.array_html(Array(RNG.integers(0, 255, shape, "u1"), dim_order))
    assert [one.shape for one in pictures(html)] == pictures_of


def test_channels_become_colours_in_a_thumbnail():
    """Two in magenta and green, which add up to white."""
    pixels = np.zeros((2, 10, 10))
    pixels[0, :5], pixels[1, :, :5] = 1, 1
    plane = planes.middle_plane(Array(pixels, "CYX"), 99, 3)
    colours = planes.as_colours(plane)[[0, 0, 9, 9], [0, 9, 0, 9]]
    assert colours.tolist() == [[255] * 3, [255, 0, 255], [0, 255, 0], [0, 0, 0]]


# ---------------------------------------------------------------- nothing raises


@pytest.mark.parametrize(
    "value",
    [
        np.array(5),
        np.arange(3),
        np.zeros((0, 5)),
        np.array([["a", "b"]]),
        np.zeros((2, 2), [("a", "u1")]),
    ],
    ids=["a number", "a line", "nothing", "texts", "records"],
)
def test_what_is_no_picture_is_said_in_words(value):
    """With all that is known of it."""
    html = shown.array_html(Array(value))
    assert "cannot be shown" in text(html)
    assert str(value.dtype) in text(html)
    assert not pictures(html)


def test_a_missing_file_is_said_in_words(tmp_path):
    """An array whose file is gone, or damaged; also in tables and lists."""
    gone, other = backed(tmp_path, np.ones((9, 9)), "gone.npy", ArrayToDefaultWriter()), None
    gone.path.unlink()
    other = backed(tmp_path, np.ones((9, 9)), "other.npy", ArrayToDefaultWriter())
    other.path.write_bytes(b"something else")
    for html in (
        gone._repr_html_(),
        shown.table_html(pd.DataFrame({"cell": [gone]}), ["cell"]),
        shown.table_html(pd.DataFrame({"cell": [str(gone.path)]}), ["cell"]),
        shown.values_html([gone]) or "",
    ):
        assert "gone.npy cannot be shown" in text(html) or "No such file" in text(html)
    assert "is no longer the file" in text(other._repr_html_())
    assert "cannot be shown" in text(shown.array_html(None))
    assert "cannot be shown" in text(shown.table_html(None, []))
    assert "cannot be shown" in text(shown.file_html(tmp_path / "nowhere.svg"))


def test_everything_is_escaped(tmp_path):
    """Names of channels, files and columns, labels, values and errors are text, never HTML."""

    class Broken(Array):
        def __getitem__(self, key):
            raise ValueError(EVIL)

    plane = np.ones((9, 9))
    frame = pd.DataFrame(
        {EVIL: [EVIL], "path": [f"{EVIL}.tiff"], "other": [Path(f"{EVIL}.txt")]}, index=[EVIL]
    )
    for html in (
        shown.array_html(Array(plane[None], "CYX", [EVIL], EVIL)),
        shown.array_html(Broken(plane)),
        shown.table_html(frame, ["path", "other"], title=EVIL, note=EVIL),
        shown.values_html([Named(EVIL), EVIL]),
        shown.file_html(tmp_path / EVIL),
        shown.sorry_html(EVIL, ValueError(EVIL)),
    ):
        assert html is not None
        assert "<script" not in html
        assert "'1'" not in html
        assert EVIL in text(html)


class Named:
    """Something backed whose name is HTML."""

    uri = path = ""

    def __init__(self, name):
        self.name = name

    def __fspath__(self):
        return self.name

    def __str__(self):
        return self.name


# ---------------------------------------------------------------- who shows it


def test_the_answer_of_a_map_shows_its_pictures(project):
    """Outside a flow; a list of plain values is shown as Python does."""

    @task(result=LocalResult("pictures"), target="{n}.png")
    def draw(n):
        return np.full((20, 20), n, "u1") if n else None

    @task
    def double(n):
        return 2 * n

    shown = draw.map([0, 1, 2])._repr_html_()  # type: ignore[attr-defined]
    assert len(pictures(shown)) == 2
    assert "None [0]" in text(shown)
    assert "1.png" in text(shown)
    assert double.map([1])._repr_html_() is None  # type: ignore[attr-defined]


def test_a_dataset_shows_its_table_with_thumbnails(project):
    """Arrays, pictures and drawings; and text where its folder is gone."""
    (project / "README.md").write_text("# Cells\n")

    @task(result=LocalResult("images", ArrayToOmeTiff(dim_order="CYX")), target="{n}.ome.tiff")
    def image(n):
        return RNG.random((2, 30, 30))

    @task(result=LocalResult("drawings"), target="{n}.svg")
    def drawing(n):
        return Figure(figsize=(1, 1))

    @task(result=LocalDatasetResult("lab/cells", readme="README.md"))
    def dataset(n, image, drawing):
        return pd.DataFrame({"n": n, "image": image, "drawing": drawing, "<b>": 0.25})

    @flow
    def cells(n):
        return dataset(n, image.map(n), drawing.map(n))

    made = cells(list(range(12)))
    html = made._repr_html_()
    assert [one.shape for one in pictures(html)] == [(30, 30, 3)] * 10
    assert html.count("data:image/svg+xml") == 10
    assert "… and 2 more rows" in text(html)
    assert "lab/cells" in text(html)
    assert "0.25" in text(html)
    (project / "images/0.ome.tiff").unlink()
    assert "No such file" in text(made._repr_html_())
    (made.path / "manifest.parquet").unlink()
    assert "cannot be shown" in text(made._repr_html_())


def test_a_drawing_shows_itself(project):
    """An SVG as an image, in which scripts do not run; a PDF by its name and size."""

    @task(result=LocalResult("drawings"), target="{name}")
    def drawing(name):
        figure = Figure(figsize=(1, 1))
        figure.text(0.5, 0.5, EVIL)
        return figure

    html = drawing("a.svg")._repr_html_()
    assert '<img src="data:image/svg+xml;base64,' in html
    assert "<svg" not in html
    html = drawing("a.pdf")._repr_html_()
    assert "<img" not in html
    assert "drawings/a.pdf" in text(html)
    assert "bytes" in text(html)


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype([("label", "i4"), ("at", "f8", (2,))]),
        np.dtype([("a", "i1"), ("b", "f8")], align=True),
        np.dtype([(("title", "a"), "M8[s]")]),
    ],
)
def test_arrays_with_fields_say_what_they_are(project, dtype):
    @task(result=LocalResult("fields"), target="{n}.npy")
    def fields(n):
        return np.zeros((2, 3), dtype)

    array = fields(1)
    assert array.dtype == dtype
    assert "(2, 3)" in repr(array)
    assert "Pixels of type" in array._repr_html_()
