"""Files by their ending, and a serializer of one's own."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image as Pillow

from databacked import (
    ArrayToDefaultWriter,
    ArrayToOmeTiff,
    Image,
    LocalResult,
    flow,
    last_run,
    task,
)
from databacked.errors import ResultChangedError, SerializerError, StorageError, TargetError
from databacked.serializers.base import Serializer
from databacked.serializers.pickle import ToPickle
from databacked.testing.serializers import check_serializer

RNG = np.random.default_rng(0)
GREY, DEEP = RNG.integers(0, 255, (20, 30), "u1"), RNG.integers(0, 65535, (20, 30), "u2")
COLOUR = RNG.integers(0, 255, (20, 30, 3), "u1")
TABLE = pd.DataFrame({"cell": ["a", "b", "c"], "area": [1.5, 0.1 + 0.2, 3e-300], "n": [1, 2, 3]})
NESTED = {"a": [1, 2.5, None, True, "µ"], "b": {"c": []}}


def a_figure(layout=None):
    """Return a figure with all that depends on chance, order or the last time it was drawn."""
    figure = Figure(layout=layout, figsize=(3, 2))
    left, right = figure.subplots(1, 2)
    left.plot([1, 2, 3], marker="o", label="µ × α")
    left.legend()
    left.set_ylabel("$y_2$")
    right.bar(["a", "b"], [1, 2], hatch="/", clip_on=True)
    figure.colorbar(right.imshow(GREY), ax=right)
    return figure


LAYOUTS = (None, "tight", "constrained")

ENDINGS = [
    (".png", [GREY, DEEP, COLOUR, np.dstack([COLOUR, GREY]), Image(GREY)]),
    (".svg", [*map(a_figure, LAYOUTS), a_figure().axes[0]]),
    (".pdf", [*map(a_figure, LAYOUTS), a_figure().axes[0]]),
    (".jpg", [GREY, COLOUR]),
    (".tiff", [GREY, DEEP[None], RNG.random((2, 3, 4)), da.from_array(GREY)]),
    (".ome.tiff", [GREY, COLOUR]),
    (".ome.zarr", [GREY, DEEP[None], RNG.random((2, 3, 4)), da.from_array(GREY)]),
    (".npy", [GREY, RNG.random(3), np.array(5), np.array(["a", "bc"])]),
    (".npz", [{"mask": GREY, "points": RNG.random((4, 2))}, {}]),
    (".json", [NESTED, [], "text", 0.1, None, False]),
    (".csv", [TABLE, TABLE.head(0).astype(object)]),
    (".parquet", [TABLE, TABLE.set_index("cell"), TABLE.assign(when=pd.Timestamp("2024-02-29"))]),
    (".txt", ["", "two\nlines\r\nµ"]),
]


@pytest.mark.parametrize(("suffix", "values"), ENDINGS, ids=[suffix for suffix, _ in ENDINGS])
def test_the_contract_holds_for_every_ending(tmp_path, suffix, values):
    """Same bytes, the value comes back, the description fits, a cut file does not open."""
    check_serializer(
        ArrayToDefaultWriter(),
        values,
        tmp_path,
        suffix,
        lossy=suffix == ".jpg",
        any_beginning_opens=suffix in (".txt", ".csv"),
    )


def test_every_ending_is_tried_here():
    """A new ending needs a test."""
    tried = {suffix for suffix, _ in ENDINGS}
    assert set(ArrayToDefaultWriter.suffixes) - tried == {".jpeg", ".ome.tif", ".tif", ".zarr"}


def test_pickle_keeps_the_contract(tmp_path):
    """The explicit last resort."""
    check_serializer(ToPickle(), [{1: (2, "x")}, {"when": pd.Timestamp("2024-02-29")}], tmp_path)


def test_other_programs_open_pictures(tmp_path):
    """A 16-bit picture stays one, and colours stay colours."""
    writer = ArrayToDefaultWriter()
    for number, data in enumerate((GREY, DEEP, COLOUR)):
        writer.save(data, tmp_path / f"{number}.png")
        with Pillow.open(tmp_path / f"{number}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), data)
    writer.save(GREY, tmp_path / "a.jpg")
    with Pillow.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "JPEG"


def test_planes_of_one_and_channels_first_become_a_picture(tmp_path):
    """What a projection returns is a picture, also with axes of length one."""
    writer, path = ArrayToDefaultWriter(), tmp_path / "a.png"
    for data, picture in (
        (GREY[None], GREY),
        (GREY[None, None], GREY),
        (COLOUR[None], COLOUR),
        (np.moveaxis(COLOUR, -1, 0), COLOUR),
    ):
        writer.save(data, path)
        np.testing.assert_array_equal(writer.read(path), picture)


WRONG = [
    (".png", np.zeros((2, 3, 4, 5), "u1"), "shape (2, 3, 4, 5) is no picture"),
    (".png", RNG.random((4, 5)), "scale=(low, high)"),
    (".png", np.array([[70000]]), "do not fit this picture"),
    (".png", np.array([[-1]]), "do not fit this picture"),
    (".png", np.zeros((0, 4), "u1"), "is no picture"),
    (".jpg", DEEP, "do not fit this picture (uint8)"),
    (".jpg", np.dstack([COLOUR, GREY]), "no transparency"),
    (".npy", {"a": 1}, "no array of numbers"),
    (".npz", [GREY], "a dict of arrays was expected"),
    (".npz", {1: GREY}, "a dict of arrays was expected"),
    (".json", {"a": {"b": np.nan}}, "nan at ['a']['b']"),
    (".json", {1: 2}, "the key 1 at the top would come back as text"),
    (".json", [(1, 2)], "a tuple at [0]"),
    (".json", {"a": GREY}, "x.tolist()"),
    (".csv", GREY, "a DataFrame was expected"),
    (".csv", TABLE.set_index("cell"), "reset_index"),
    (".csv", pd.DataFrame({"id": ["01", "02"]}), "use .parquet"),
    (".csv", pd.DataFrame([[1, 2]], columns=["a", "a"]), "each once"),
    (".parquet", pd.DataFrame([[1, 2]], columns=["a", "a"]), "each once"),
    (".parquet", pd.DataFrame({"a": [1, "x", None, []]}), "would come back from .parquet"),
    (".parquet", pd.DataFrame({"a": [1, "x", None]}), "cannot be kept as .parquet"),
    (".txt", 5, "a text was expected"),
    (".txt", "\ud800", "cannot be written as UTF-8"),
    (".svg", "<svg/>", "a matplotlib figure or axes was expected"),
    (".jpg", Figure(), "a figure has no place in .jpg: .png, .svg, .pdf were expected"),
    (".json", Figure(), "a figure has no place in .json"),
    (".xyz", 5, "no default writer knows"),
    (".pgn", GREY, "did you mean '.png'"),
]


@pytest.mark.parametrize(("suffix", "value", "message"), WRONG)
def test_what_does_not_fit_is_said_and_nothing_is_written(tmp_path, suffix, value, message):
    """Nothing is clipped, wrapped, or comes back as something else."""
    with pytest.raises(SerializerError) as error:
        ArrayToDefaultWriter().save(value, tmp_path / f"a{suffix}")
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_scale_makes_floats_a_picture(tmp_path):
    """What lies below and above is clipped, because the scale says so."""
    data = np.array([[-1.0, 0.0, 0.5, 1.0, 9.0]])
    writer = ArrayToDefaultWriter(scale=(0, 1))
    writer.save(data, tmp_path / "a.png")
    assert writer.read(tmp_path / "a.png").tolist() == [[0, 0, 128, 255, 255]]
    ArrayToDefaultWriter(scale="minmax").save(data, tmp_path / "b.png")
    assert writer.read(tmp_path / "b.png").tolist() == [[0, 26, 38, 51, 255]]
    with pytest.raises(SerializerError, match="NaN has no place"):
        writer.save(np.array([[np.nan, 1.0]]), tmp_path / "c.png")
    with pytest.raises(SerializerError, match="scale"):
        ArrayToDefaultWriter(scale=(1, 0))


def test_another_process_writes_the_same_bytes(tmp_path):
    """With another hash seed."""
    script = (
        "import sys, numpy as np, pandas as pd; from pathlib import Path\n"
        "from databacked import ArrayToDefaultWriter\n"
        "table = pd.DataFrame({'a': [1.5, 2], 'b': ['x', 'y']})\n"
        "a = np.arange(240, dtype='u1').reshape(20, 12)\n"
        "values = {'a.png': a, 'a.jpg': a, 'a.npy': a, 'a.npz': {'a': a, 'b': a}, 'a.csv': table,\n"
        "          'a.parquet': table, 'a.json': {'a': 1, 'b': [2]}}\n"
        "for name, value in values.items():\n"
        "    ArrayToDefaultWriter().save(value, Path(sys.argv[1]) / name)\n"
    )
    folders = [tmp_path / "1", tmp_path / "2"]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        env = os.environ | {"PYTHONHASHSEED": str(seed)}
        subprocess.run([sys.executable, "-c", script, str(folder)], env=env, check=True)
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name


# ---------------------------------------------------------------- figures


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_figure_as_png_is_a_picture(tmp_path, layout):
    """Drawn again it is the same, although a layout engine moves the axes each time."""
    writer, figure = ArrayToDefaultWriter(), a_figure(layout)
    written = [writer.save(figure, tmp_path / f"{n}.png") for n in range(3)]
    assert len({one.content for one in written}) == 1
    assert written[0].description == writer.describe(tmp_path / "0.png")
    assert writer.read(tmp_path / "0.png").shape == (200, 300, 4)
    with Pillow.open(tmp_path / "0.png") as picture:
        assert "Software" not in picture.info


def test_another_process_writes_the_same_figures(tmp_path):
    """With another hash seed, and whatever is set there for saving."""
    script = (
        "import sys, matplotlib, numpy as np; from pathlib import Path\n"
        "from matplotlib.figure import Figure\n"
        "from databacked import ArrayToDefaultWriter\n"
        f"GREY = np.array({GREY.tolist()}, 'u1')\n{inspect.getsource(a_figure)}\n"
        "matplotlib.rcParams.update({'savefig.dpi': 30, 'savefig.bbox': 'tight',\n"
        "    'svg.hashsalt': None, 'svg.fonttype': 'none', 'pdf.compression': 0})\n"
        "for ending in ('.png', '.svg', '.pdf'):\n"
        "    ArrayToDefaultWriter().save(a_figure('tight'), Path(sys.argv[1]) / f'a{ending}')\n"
        "assert matplotlib.rcParams['savefig.dpi'] == 30\n"
    )
    folder = tmp_path / "there"
    folder.mkdir()
    env = os.environ | {"PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", script, str(folder)], env=env, check=True)
    for ending in (".png", ".svg", ".pdf"):
        ArrayToDefaultWriter().save(a_figure("tight"), tmp_path / f"a{ending}")
        here = (tmp_path / f"a{ending}").read_bytes()
        assert (folder / f"a{ending}").read_bytes() == here, ending
        assert not re.search(rb"Matplotlib v|<dc:date>|/CreationDate|/Producer", here)


def test_several_threads_draw_at_once(tmp_path):
    """Each of them gets its own figure, and the settings are as before."""
    before = dict(matplotlib.rcParams)
    writer = ArrayToDefaultWriter()
    alone = writer.save(a_figure("tight"), tmp_path / "alone.svg").content

    def draw(number):
        return writer.save(a_figure("tight"), tmp_path / f"{number}.svg").content

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(draw, range(12))) == {alone}
    assert dict(matplotlib.rcParams) == before


def test_a_figure_that_pyplot_knows_is_let_go(tmp_path):
    """Those of ten thousand items do not pile up; a figure that is not written stays."""
    from matplotlib import pyplot

    pyplot.switch_backend("agg")
    kept, (figure, _) = pyplot.figure(), pyplot.subplots()
    ArrayToDefaultWriter().save(figure, tmp_path / "a.png")
    assert pyplot.get_fignums() == [kept.number]
    figure.savefig(tmp_path / "b.png")  # it can still be used
    pyplot.close("all")


def test_matplotlib_is_not_imported_for_what_is_no_figure(tmp_path):
    """Nor pyplot for a figure."""
    script = (
        "import sys; from pathlib import Path; from databacked import ArrayToDefaultWriter\n"
        f"p = Path({str(tmp_path)!r}); ArrayToDefaultWriter().save([[1]], p / 'a.npy')\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from matplotlib.figure import Figure\n"
        "ArrayToDefaultWriter().save(Figure(), p / 'a.svg')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(("name", "data"), [("a.svg", b"<html/>"), ("a.pdf", b"%PDF-1.4 cut")])
def test_a_drawing_of_another_kind_is_refused(tmp_path, name, data):
    """What an editor saved under this name has to be whole."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SerializerError, match="is not a whole"):
        ArrayToDefaultWriter().describe(tmp_path / name)


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_a_drawing_is_handed_over_as_its_file(project, runner):
    """The same in the flow and after it, on the first run and the second."""
    make_drawing, embed, as_path = drawings()

    @flow(runner=runner)
    def report():
        made = make_drawing.map([1, 2], ".svg")
        return made, embed.map([1, 2], made), as_path.map(made), make_drawing(3, ".png")

    made, embedded, paths, picture = report()
    assert [type(one).__name__ for one in made] == ["BackedFile"] * 2
    assert made[0].path == project / "drawings/1.svg" == paths[0]
    assert made[0].target == "1.svg"
    assert made[0].uri.startswith("file://")
    assert os.fspath(made[0]) == str(made[0].path)
    assert made[0].read_bytes() == made[0].path.read_bytes()
    assert embedded == [["BackedFile", len(one.read_bytes())] for one in made]
    assert picture.shape == (480, 640, 4)
    assert (made, paths) == report()[::2][:2]
    assert last_run().counts == {
        "make_drawing": {"reused": 3},
        "embed": {"reused": 2},
        "as_path": {"reused": 2},
    }
    assert pickle.loads(pickle.dumps(made[0])) == made[0] != made[1]
    made[0].path.write_bytes(made[1].read_bytes())
    with pytest.raises(ResultChangedError, match=r"1\.svg is no longer the file that this file"):
        made[0].read_bytes()
    made[1].path.unlink()
    with pytest.raises(ResultChangedError, match="cannot be read any more"):
        made[1].read_bytes()


def test_a_drawing_that_was_edited_counts_by_its_new_content(project):
    """A label moved in a vector editor makes again what embeds it."""
    make_drawing, embed, _ = drawings()

    @flow
    def report():
        return embed(1, make_drawing(1, ".svg"))

    report()
    file = project / "drawings/1.svg"
    file.write_text(file.read_text().replace("</svg>", "<g/></svg>"))
    assert report() == ["BackedFile", file.stat().st_size]
    assert last_run().counts["make_drawing"] == {"reused": 1}
    assert last_run().counts["embed"] == {"made": 1}
    assert embed(1, make_drawing(1, ".svg")) == ["BackedFile", file.stat().st_size]
    assert last_run().counts["embed"] == {"reused": 1}


def drawings():
    """Return tasks that draw, and that read drawings."""

    @task(result=LocalResult("drawings"), target="{number}{ending}")
    def make_drawing(number, ending):
        figure = Figure()
        figure.subplots().plot([number, 2])
        return figure

    @task(result=LocalResult("embedded"), target="{number}.json")
    def embed(number, drawing):
        return [type(drawing).__name__, len(drawing.read_bytes())]

    @task(keep=True)
    def as_path(drawing: Path):
        return drawing

    return make_drawing, embed, as_path


class ToPoints(Serializer):
    """Points as one line each: what a user writes in ten lines."""

    suffixes = (".xyz",)

    def __init__(self, digits=3):
        self.digits = digits

    def write(self, value, path):
        path.write_text("".join(f"{x:.{self.digits}f} {y:.{self.digits}f}\n" for x, y in value))

    def read(self, path):
        return [tuple(map(float, line.split())) for line in path.read_text().splitlines()]


def test_a_serializer_of_one_s_own(project):
    """It is used by a task, and its settings count."""
    check_serializer(ToPoints(), [[(0.5, 1.25)]], project, any_beginning_opens=True)

    def kept(serializer):
        @task(result=LocalResult("points", serializer), target="{x}.xyz", name="points")
        def points(x):
            return [(x, x / 3)]

        @flow
        def one():
            return points(1)

        return one

    assert kept(ToPoints())() == [(1.0, 0.333)]
    assert (project / "points" / "1.xyz").read_text() == "1.000 0.333\n"
    kept(ToPoints())()
    assert last_run().counts["points"] == {"reused": 1}
    assert kept(ToPoints(digits=1))() == [(1.0, 0.3)]
    assert last_run().counts["points"] == {"made": 1}


def test_a_class_is_as_good_as_an_instance(project):
    """`LocalResult("kept", ArrayToDefaultWriter)`, as Prefect 0.x had it."""

    @task(result=LocalResult("kept", ArrayToDefaultWriter), target="{x}.json")
    def value(x):
        return {"x": x}

    assert value(1) == {"x": 1}
    with pytest.raises(SerializerError, match="a Serializer was expected"):
        LocalResult("kept", dict)  # type: ignore[arg-type]


def test_rules_that_do_not_exist_are_named_all_at_once():
    """A misspelt rule would be taken for another one."""
    with pytest.raises(StorageError, match=r"when_stale='kep'.*when_unknown='adopt'"):
        LocalResult("kept", when_stale="kep", when_unknown="adopt")  # type: ignore[arg-type]


def test_an_ending_that_the_serializer_does_not_write_is_an_error_before_anything_runs(project):
    """Not a `.png` that holds a TIFF."""
    ran = []

    @task(result=LocalResult("kept", ArrayToOmeTiff()), target="{x}.png")
    def image(x):
        ran.append(x)
        return GREY

    with pytest.raises(TargetError, match=r"2 of 2 targets, for example '1\.png', do not end"):
        image.map([1, 2])
    assert not ran
