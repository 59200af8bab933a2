"""Parts of a value that a format has no place for are refused by their name."""

from __future__ import annotations

import collections
import datetime
import decimal
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray
from PIL import Image as Pillow

from databacked import (
    ArrayToDefaultWriter,
    ArrayToOmeTiff,
    ArrayToOmeZarr,
    Image,
    LocalResult,
    flow,
    task,
)
from databacked.datasets.manifest import check_table
from databacked.errors import DatabackedError, SerializerError
from databacked.serializers.base import Serializer
from databacked.serializers.corrections import type_of
from databacked.serializers.pickle import ToPickle
from databacked.serializers.sameness import difference
from databacked.testing.serializers import check_serializer

from .nasty import Kind, Number, Phase

GREY = np.arange(64, dtype="uint8").reshape(8, 8)
MASKED = np.ma.masked_array(GREY, mask=np.eye(8, dtype=bool))


class Length(np.ndarray):
    """As libraries of units have them."""

    unit: str


def refused(value, path, writer=None):
    """Return what a writer says to a value that it does not take; it leaves no file."""
    with pytest.raises(SerializerError) as error:
        (writer or ArrayToDefaultWriter()).save(value, path)
    assert not path.exists()
    return str(error.value)


def back(value, path, writer=None):
    """Return a value as a file gives it back."""
    writer = writer or ArrayToDefaultWriter()
    writer.save(value, path)
    return writer.read(path)


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("name", ["a.npy", "a.ome.tiff", "a.ome.zarr", "a.png", "a.jpg"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (MASKED, "has a mask"),
        (Image(MASKED), "has a mask"),
        ([MASKED, MASKED], "has a mask"),
        (GREY.view(Length), "Length would come back"),
        (GREY.view(np.matrix), "matrix would come back"),
        (pd.DataFrame(GREY), "without its index and names"),
        (pa.table({"a": [1, 2]}), "without its index and names"),
        (pa.array([1, None]), "without its index and names"),
        (GREY.astype(np.dtype("u1", metadata={"px": 1})), "has metadata"),
        (Pillow.fromarray(GREY).convert("P"), "colours of mode 'P'"),
        (Pillow.new("CMYK", (4, 4)), "colours of mode 'CMYK'"),
        (Pillow.new("YCbCr", (4, 4)), "colours of mode 'YCbCr'"),
        ([[1, 2.5], [3, 4]], "numbers of one type"),
        ([[1, 2], [3]], "is no array"),
        (collections.deque([GREY, GREY]), "return an array"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_format_of_arrays_drops_a_part(tmp_path, name, value, said):
    """Masks, subclasses, names; also inside of lists and images.

    Nor once files of the same shape and type were written, from which what they share is known.
    """
    writer = ArrayToDefaultWriter()
    for other in ("before", "again"):
        writer.save(GREY.copy(), tmp_path / f"{other}_{name}")
    assert said in refused(value, tmp_path / name, writer)


def test_a_lazy_mask_is_refused_before_it_is_computed(tmp_path):
    """dask says what its chunks are."""
    lazy = pytest.importorskip("dask.array").from_array(MASKED, asarray=False)
    for name in ("a.ome.tiff", "a.ome.zarr"):
        assert "has a mask" in refused(lazy, tmp_path / name)


def test_npz_gives_back_what_it_was_given(tmp_path):
    """By names that are no others, and arrays alone."""
    both = {"a": GREY, "a.npy": GREY + 1, "µ/b": GREY[:0]}
    assert difference(both, back(both, tmp_path / "a.npz")) is None
    for value in ({"a": MASKED}, {"a": 5}, {"a": [1]}, {"a\0b": GREY}, {"\ud800": GREY}):
        refused(value, tmp_path / "b.npz")
    assert "['m'] has a mask" not in refused({"m": MASKED}, tmp_path / "b.npz")
    assert ".npz['m']" in refused({"m": MASKED}, tmp_path / "b.npz")


def test_structured_arrays_keep_their_fields(tmp_path):
    """Padding and titles come back; fields that overlap do not."""
    for dtype in (
        [("label", "i4"), ("area", "f8")],
        np.dtype([("a", "i1"), ("b", ">f8")], align=True),
        [(("title", "a"), "M8[s]"), ("b", [("c", "U2")], (2,))],
    ):
        array = np.zeros(3, dtype)
        assert difference(array, back(array, tmp_path / "a.npy")) is None
        assert type_of(str(array.dtype)) == array.dtype
    overlap = np.dtype({"names": ["a", "b"], "formats": ["i4", "i2"], "offsets": [0, 0]})
    for dtype in (overlap, np.dtype((np.record, [("a", "i4")]))):
        assert "fields that follow" in refused(np.zeros(2, dtype), tmp_path / "b.npy")


def test_metadata_that_a_format_lacks_is_refused(tmp_path):
    """An Image whose names would go is kept as OME."""
    named = Image(GREY, channel_names=("DAPI",), physical_pixel_sizes=(None, 0.1, 0.1))
    for name in ("a.png", "a.npy"):
        assert ".ome.tiff" in refused(named, tmp_path / name)
    assert "'ZYX' is no picture" in refused(Image(np.stack([GREY] * 3), "ZYX"), tmp_path / "a.png")
    assert "coordinates" in refused(xarray.DataArray(GREY), tmp_path / "a.npy")


def test_what_an_xarray_says_beyond_an_image_is_told(tmp_path):
    """Its attrs have no place in OME."""
    array = xarray.DataArray(GREY, dims=("y", "x"), attrs={"history": "x"})
    for name in ("a.ome.tiff", "a.ome.zarr"):
        (note,) = ArrayToDefaultWriter().save(array, tmp_path / name).notes
        assert "attrs and coordinates" in note


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_minmax_does_not_take_what_is_not_finite(tmp_path, value):
    """A division by zero in one pixel would make all others black."""
    floats = np.linspace(0, 1, 64).reshape(8, 8)
    floats[0, 0] = value
    refused(floats, tmp_path / "a.png", ArrayToDefaultWriter("minmax"))
    if not np.isnan(value):
        pixels = back(floats, tmp_path / "b.png", ArrayToDefaultWriter((0, 1)))
        assert pixels[0, 0] == (255 if value > 0 else 0)
        assert pixels.max() == 255


@pytest.mark.parametrize(("largest", "dtype"), [(3e38, "f4"), (1e308, "f8"), (6e4, "f2")])
def test_a_range_that_overflows_its_type_is_spread(tmp_path, largest, dtype):
    """The difference of two numbers can be larger than any of them may be."""
    floats = np.array([[-largest, 0, largest]], dtype)
    for scale in ("minmax", (-largest, largest)):
        pixels = back(floats, tmp_path / "a.png", ArrayToDefaultWriter(scale))
        assert pixels.tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("scale", [(0, np.inf), (np.nan, 1), "auto", (1, 2, 3), 5])
def test_a_scale_that_shows_nothing_is_refused(scale):
    """Before anything runs."""
    with pytest.raises(SerializerError, match=r"\(low, high\) or 'minmax'"):
        ArrayToDefaultWriter(scale)


# ---------------------------------------------------------------- names and sizes


@pytest.mark.parametrize("name", ["DAPI\0", "\x1b", "a\nb", "\ud800", "\uffff", ""])
def test_a_name_that_no_xml_can_hold_is_refused(tmp_path, name):
    """As microscopes' names of fixed width end."""
    image = Image(np.stack([GREY] * 2), "CYX", (name, "GFP"))
    assert "name" in refused(image, tmp_path / "a.ome.tiff")
    if name not in ("\ud800", ""):
        ArrayToOmeZarr().save(image, tmp_path / "a.ome.zarr")
        assert ArrayToOmeZarr().describe(tmp_path / "a.ome.zarr").channel_names == (name, "GFP")
    else:
        refused(image, tmp_path / "a.ome.zarr")
    assert "image name" in refused(GREY, tmp_path / "b.tif", ArrayToOmeTiff(image_name="\0"))


SIZES = [
    (1, np.inf, 1), (1, np.nan, 1), (0, 1, 1), 0.1, {"Z": 1}, {1, 2, 3}, "111", ("1", "1", "1"),
    (True, 1, 1), (1j, 1, 1), (1, 1), (10**400, 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES)
def test_pixel_sizes_that_are_none_are_refused(tmp_path, sizes):
    """Wherever they are said."""
    for name in ("a.ome.tiff", "a.ome.zarr"):
        image = Image(GREY, physical_pixel_sizes=sizes)
        assert "three sizes in micrometres" in refused(image, tmp_path / name)
    for kind in (ArrayToDefaultWriter, ArrayToOmeTiff, ArrayToOmeZarr):
        with pytest.raises(SerializerError, match="three sizes in micrometres"):
            kind(physical_pixel_sizes=sizes)


def test_metadata_of_ome_zarr_are_json(tmp_path):
    """A scale that overflows in a pyramid is no number of JSON."""
    writer = ArrayToOmeZarr(pyramid=True, physical_pixel_sizes=(None, 1e308, 1e308))
    with pytest.raises(SerializerError, match="finite"):
        writer.save(np.zeros((2000, 2000), "u1"), tmp_path / "a.ome.zarr")


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_samples_that_are_no_colours_are_refused(tmp_path, samples):
    """With what to call them instead."""
    image = Image(np.zeros((5, 10, samples), "u1"), "YXS")
    assert "dim_order='CYX'" in refused(image, tmp_path / "a.ome.tiff")


# ---------------------------------------------------------------- tables


def frame(*cells, **options):
    return pd.DataFrame({"ok": range(len(cells)), "x": pd.Series(list(cells), **options)})


CHANGED = [
    frame(np.zeros(2, "M8[h]"), np.zeros(0)), frame({"a": [1]}), frame({"a": {"b": 1}}),
    frame([1, 2], [3]), frame((1, 2), (3,)), frame({1}, {2}), frame({"a": 1}, {"b": 2}),
    frame(2**60 + 1, None, dtype=object), frame(1, 2, dtype=object), frame(0.5, None, dtype=object),
    frame("a", np.nan, dtype=object), frame(1, "a"), frame(Kind.CELL), frame(1j),
    frame(np.str_("a"), dtype=object),
    frame(decimal.Decimal("1.0"), decimal.Decimal("1.00")), frame(pd.DataFrame({"a": [1]})),
    frame(*pd.to_datetime(["2024-02-29"]), dtype="M8[s]"), frame(1, 2, dtype="category"),
    frame(0, 1, dtype="Sparse[int]"), frame(1, 2, dtype=">i4"), frame(MASKED),
    frame("\ud800", dtype=object),
]  # fmt: skip
COMES_BACK = [
    frame("a", None, dtype=object), frame("a", "b", dtype=object), frame("a", None),
    frame(True, None), frame(b"a", None), frame(datetime.date(2024, 2, 29)),
    frame(decimal.Decimal("1.10")),
    frame(np.array([1, 2]), np.array([3])), frame(-0.0, np.nan), frame("NA", "01", "a\r\nb", '"'),
    frame(1, None, dtype="Int64"),
    frame("b", "a", dtype=pd.CategoricalDtype(["c", "b", "a"], True)),
    frame(*pd.to_datetime(["2024-10-27 02:30"]).tz_localize("Europe/Berlin", ambiguous=False)),
    frame(pd.Period("2024-02", "M")), frame(pd.Interval(0, 1)), frame(pd.Timedelta(1)),
    frame(2**60 + 1), frame(2**63), frame(), pd.DataFrame(), frame(1, 2, 3).iloc[1:],
    frame(1, 2, 3).iloc[[2, 0]], frame(1).rename_axis("n"), frame(1).rename_axis(columns="n"),
    frame("a", "b").set_index("x"), frame("a", dtype=object).set_index("x"),
    frame(1, 2).set_index("ok", append=True),
]  # fmt: skip


@pytest.mark.parametrize("table", CHANGED)
def test_a_column_that_would_change_is_refused_by_its_name(tmp_path, table):
    """Whatever the format makes of it."""
    assert "'x'" in refused(table, tmp_path / "a.parquet")
    assert "'x'" in refused(table, tmp_path / "a.csv")


@pytest.mark.parametrize("table", COMES_BACK)
def test_parquet_gives_back_the_same_table(tmp_path, table):
    """Types, None, zones, index and names."""
    assert difference(table, back(table, tmp_path / "a.parquet")) is None


def test_csv_keeps_rows_that_are_counted_from_zero(tmp_path):
    """And names, texts and digits, as far as text can say them."""
    table = pd.DataFrame({"n": [1, 2**60 + 1], "x": [-0.0, 0.1 + 0.2], "t": ["a\nb", 'q"q']})
    assert difference(table, back(table, tmp_path / "a.csv")) is None
    for other in (table.iloc[1:], table.rename_axis("n"), table.set_axis([1, 0])):
        assert "index" in refused(other, tmp_path / "b.csv")


def test_parts_of_a_table_that_would_go_are_named(tmp_path):
    """attrs, flags, names, a subclass."""

    class Frame(pd.DataFrame):
        pass

    table = frame(1, 2)
    table.attrs = {"unit": ("µm",)}
    flagged = frame(1, 2)
    flagged.flags.allows_duplicate_labels = False
    owned = frame(1, 2)
    owned.pixel_size = 0.1  # pandas takes it for an attribute, without a word
    kinds = frame(1, 2).set_axis(pd.CategoricalIndex(["n", "x"]), axis=1)
    dates = frame(1, 2).set_axis(pd.date_range("2024", periods=2))
    for value, said in [
        (table, "attrs"),
        (flagged, "flags"),
        (owned, "pixel_size"),
        (kinds, ".parquet"),
        (dates, "its freq"),
        (Frame(frame(1)), "a Frame would come back"),
        (frame(1)["x"], "a DataFrame was expected"),
        (frame(1).set_axis([0, 1], axis=1), "names that are texts"),
        (frame(1).rename_axis(5), "the index's name 5"),
        (pd.DataFrame(index=[0, 1]), "pd.DataFrame(rows, columns=[…])"),
    ]:
        assert said in refused(value, tmp_path / "a.parquet")
    assert "columns=[…]" in refused(pd.DataFrame([]), tmp_path / "a.csv")
    table.attrs = {"unit": "µm"}
    assert back(table, tmp_path / "b.parquet").attrs == {"unit": "µm"}
    assert "attrs" in refused(table, tmp_path / "b.csv")
    assert "pixel_size" in refused(owned, tmp_path / "b.csv")
    assert "the columns" in refused(kinds, tmp_path / "b.csv")


def test_plain_tables_are_not_read_back(tmp_path, monkeypatch):
    """Their types say that they come back."""
    monkeypatch.setattr("databacked.serializers.tables.read_parquet", None)
    table = pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "t": ["a", None], "f": [True, False]})
    if str(table["t"].dtype) == "object":  # before pandas 3
        table = table.drop(columns="t")
    ArrayToDefaultWriter().save(table.iloc[1:], tmp_path / "a.parquet")


# ---------------------------------------------------------------- plain values


def circle():
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        (1,), {1: 2}, {True: 1}, {None: 1}, {1}, b"a", 1j, np.nan, np.float32("inf"), Kind.CELL,
        Number.ONE, Phase.G1, collections.OrderedDict(a=1), collections.Counter("a"),
        [datetime.date(2024, 2, 29)], {np.str_("a"): 1}, circle(), 10**5000,
        np.longdouble(1), decimal.Decimal(1), range(3), [MASKED],
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_json_refuses_what_it_would_give_back_as_something_else(tmp_path, value):
    """Never a raw error either."""
    refused(value, tmp_path / "a.json")


def test_numbers_of_numpy_in_json_are_told(tmp_path):
    """The run says once that they are Python's."""
    written = ArrayToDefaultWriter().save([np.float32(0.1), np.str_("a")], tmp_path / "a.json")
    assert len(written.notes) == 1
    assert json.loads((tmp_path / "a.json").read_bytes()) == [float(np.float32(0.1)), "a"]
    assert not ArrayToDefaultWriter().save([0.1, "a"], tmp_path / "b.json").notes


class Odd:
    def __reduce__(self):
        return int, ("no number",)


def test_a_pickle_that_nobody_could_read_is_refused(tmp_path):
    """Nor one that drops what a subclass of numpy's adds."""
    assert "not read back" in refused(Odd(), tmp_path / "a.pkl", ToPickle())
    length = GREY.view(Length)
    length.unit = "µm"
    assert "unit" in refused([length], tmp_path / "a.pkl", ToPickle())
    assert difference(MASKED, back(MASKED, tmp_path / "b.pkl", ToPickle())) is None
    hard = np.ma.array([1, 2], mask=[False, True], hard_mask=True)
    assert "its hard mask" in refused(hard, tmp_path / "c.pkl", ToPickle())
    sparse = pytest.importorskip("scipy.sparse").dok_matrix(np.eye(2))
    assert back(sparse, tmp_path / "d.pkl", ToPickle()).nnz == 2
    assert back(circle(), tmp_path / "c.pkl", ToPickle())


def test_a_kept_value_is_the_same_in_the_next_run(project):
    """Fields of structured arrays included."""
    cells = [("label", "i4"), ("area", "f8")]

    @task(keep=True)
    def kept(n):
        return [np.array([(1, 2.0)], cells), (n, np.float32(0.1))]

    @task
    def told(x):
        return repr(x)

    @flow(quiet=True)
    def go():
        return list(told.map(kept.map([1])))

    assert go() == go() == [repr(kept.fn(1))]


def test_readers_of_a_structured_array_know_its_fields(project):
    """Of its file, too, and of one that was saved over it by hand."""
    cells = np.array([(1, 2.0), (2, 3.5)], [("label", "i4"), ("area", "f8")])

    @task(result=LocalResult("out"), target="cells.npy")
    def kept():
        return cells

    @task
    def told(x):
        return x.dtype, x["area"].tolist(), x.dtype.names

    @flow(quiet=True)
    def go():
        return told(kept())

    assert go() == go() == (cells.dtype, [2.0, 3.5], ("label", "area"))
    np.save(project / "out/cells.npy", cells[::-1])
    assert go() == (cells.dtype, [3.5, 2.0], ("label", "area"))


def test_metadata_of_a_type_are_kept_in_no_record(project):
    """They were gone in the second run, and what read them was made again."""

    @task(keep=True)
    def kept():
        return np.zeros(2, np.dtype("f8", metadata={"px": 1}))

    with pytest.raises(DatabackedError, match=r"metadata .* of its type came back as None"):
        kept()


def test_a_class_is_a_value_like_any_other(tmp_path):
    """It has a shape and a type that are none."""
    assert back(np.float64, tmp_path / "a.pkl", ToPickle()) is np.float64


@pytest.mark.parametrize("value", [MASKED, GREY.view(np.matrix), GREY.view(Length), Kind.CELL, {1}])
def test_a_value_that_a_record_cannot_hold_is_refused(project, value):
    """Also inside of a list, in the first run as in the second."""

    @task(keep=True)
    def kept(n):
        return [value]

    @flow(quiet=True)
    def go():
        return kept(1)

    for _ in range(2):
        with pytest.raises(DatabackedError, match="keep=True holds plain values"):
            go()


# ---------------------------------------------------------------- datasets, checks


def test_members_of_an_enum_are_no_plain_cells(tmp_path):
    """Their numbers would say less than they do; members that are texts are texts."""
    table = pd.DataFrame(
        {
            "kind": pd.Series([Kind.CELL, None], dtype=object),
            "text": pd.Series(["a\udcff", np.str_("b\udcff")], dtype=object),
            "phase": pd.Series([Phase.G1, Phase.G1], dtype=object),
        }
    )
    _, problems = check_table(table, root=tmp_path, filepath_columns=[])
    assert [one.partition(":")[0] for one in problems] == ["kind", "text"]


class ToRaw(Serializer):
    """Drops whatever an array says besides its numbers."""

    suffixes = (".raw",)

    def write(self, value, path):
        with open(path, "wb") as file:
            np.save(file, np.asarray(value))

    def read(self, path):
        return np.load(path)


def test_the_shared_check_sees_a_mask_that_is_dropped(tmp_path):
    """Whatever plug drops it."""
    with pytest.raises(AssertionError, match=r"mask: .*MaskedArray .* came back as a.* ndarray"):
        check_serializer(ToRaw(), [GREY], tmp_path)
