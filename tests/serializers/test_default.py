"""Files by their ending, and a serializer of one's own."""

from __future__ import annotations

import os
import subprocess
import sys

import dask.array as da
import numpy as np
import pandas as pd
import pytest
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
from databacked.errors import SerializerError, StorageError, TargetError
from databacked.serializers.base import Serializer
from databacked.serializers.pickle import ToPickle
from databacked.testing import check_serializer

RNG = np.random.default_rng(0)
GREY, DEEP = RNG.integers(0, 255, (20, 30), "u1"), RNG.integers(0, 65535, (20, 30), "u2")
COLOUR = RNG.integers(0, 255, (20, 30, 3), "u1")
TABLE = pd.DataFrame({"cell": ["a", "b", "c"], "area": [1.5, 0.1 + 0.2, 3e-300], "n": [1, 2, 3]})
NESTED = {"a": [1, 2.5, None, True, "µ"], "b": {"c": []}}

ENDINGS = [
    (".png", [GREY, DEEP, COLOUR, np.dstack([COLOUR, GREY]), Image(GREY)]),
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
    (".parquet", pd.DataFrame({"a": [1, "x", None, []]}), "cannot be kept as .parquet"),
    (".txt", 5, "a text was expected"),
    (".txt", "\ud800", "cannot be written as UTF-8"),
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
