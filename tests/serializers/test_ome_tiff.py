"""OME-TIFF: what tifffile writes, byte for byte, and what others read from it."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import bioio
import bioio_ome_tiff
import dask.array as da
import numpy as np
import ome_types
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from databacked import ArrayToOmeTiff, Image, PhysicalPixelSizes
from databacked.errors import SerializerError
from databacked.fingerprint.hashes import hash_file
from databacked.serializers import images
from databacked.serializers.ome_tiff.serializer import CLASSIC
from databacked.serializers.ome_tiff.writing import file_size
from databacked.storage.buffers import BLOCK
from databacked.testing.serializers import check_serializer
from databacked.types import Description

from .test_levels import means

DTYPES = [
    *("uint8", "int8", "uint16", "int16", "uint32", "int32"),
    *("float32", "float64", "complex64", "complex128"),
]


def pixels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    """Return pixels that differ from each other."""
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_contract_holds_for_every_type(tmp_path, dtype):
    """Same bytes, the value comes back, the description fits, a cut file does not open."""
    check_serializer(ArrayToOmeTiff(), [pixels(3, 2, 9, 8, dtype=dtype)], tmp_path)


SETTINGS = [
    {"compression": "zlib"},
    {"pyramid": True},
    {"channel_names": ["DNA & <more>", "µ-tubulin", "日本"], "image_name": "cell 1"},
    {"physical_pixel_sizes": (None, 0.1083, 0.1083)},
    {"physical_pixel_sizes": (0.29, 0.1, 0.2)},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_contract_holds_for_every_setting(tmp_path, settings):
    """Whatever is asked for, the same promises hold."""
    values = [pixels(3, 4, 70, 60), da.from_array(pixels(3, 4, 70, 60), chunks=(1, 2, 50, 60))]
    check_serializer(ArrayToOmeTiff(**settings), values, tmp_path)


@st.composite
def layouts(draw: st.DrawFn) -> np.ndarray:
    """Draw an array of any type, byte order and memory layout."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES))).newbyteorder(draw(st.sampled_from("<>")))
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=5, max_side=7))
    data = draw(arrays.arrays(dtype, shape, elements={"allow_nan": False}))
    if draw(st.booleans()):
        data = np.asfortranarray(data)
    if draw(st.booleans()):
        data = data[..., ::-1]
    if draw(st.booleans()):
        data = np.repeat(data, 2, axis=0)[::2]
    return data


@given(layouts(), st.booleans())
def test_splicing_gives_what_tifffile_writes(tmp_path_factory, data, named):
    """The fast way is no format of its own: the bytes are those of the slow way."""
    folder = tmp_path_factory.getbasetemp()
    order = images.DIM_ORDERS[data.ndim]
    count = data.shape[order.index("C")] if "C" in order else 1
    names = [f"c{n}" for n in range(count)] if named else None
    serializer = ArrayToOmeTiff(channel_names=names)
    path = folder / "spliced.ome.tiff"
    for _ in range(2):  # with a new header, and with a known one
        written = serializer.save(data, path)
        facts = serializer._facts(data)
        assert path.read_bytes() == serializer._in_memory(facts, facts.data)
        assert written.content == hash_file(path)
    np.testing.assert_array_equal(serializer.read(path), data)


def test_large_arrays_are_spliced_block_by_block(tmp_path):
    """More than one block: still the bytes of tifffile, and the right hash."""
    data = pixels(3, 700, 701)
    assert data.nbytes > 2 * BLOCK
    serializer, path = ArrayToOmeTiff(), tmp_path / "a.ome.tiff"
    written = serializer.save(data, path)
    assert path.read_bytes() == serializer._in_memory(serializer._facts(data), data)
    assert written.content == hash_file(path)


@pytest.mark.parametrize(
    ("shape", "levels", "is_big"),
    [
        ((1, 44_000, 44_000), 0, False),  # 3.6 GiB
        ((1, 44_000, 44_000), 6, True),  # a third more
        ((1, 39_000, 39_000), 6, False),  # 4.1 GB with its levels
        ((1100, 2048, 1024), 0, True),
        ((4_000_000, 22, 22), 0, True),  # 3.9 GB, and as many directories
    ],
)
def test_the_size_of_all_levels_and_directories_makes_a_big_tiff(shape, levels, is_big):
    shapes = [(shape[0], *(-(-n // 2**level) for n in shape[1:])) for level in range(levels + 1)]
    size = file_size(shapes, 2, 2, tiled=levels > 0)
    assert (size >= CLASSIC) is is_big


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:As of version 0.4.0, the parser argument")  # bioio's own
def test_a_pyramid_beyond_4_gb_opens_elsewhere(tmp_path):
    """3.4 GiB of pixels, 4.5 with the smaller levels."""
    lazy = da.zeros((1, 42_700, 42_700), dtype="uint16", chunks=(1, 4096, -1))
    lazy[0, -1, -1] = 7
    path = tmp_path / "a.ome.tiff"
    assert ArrayToOmeTiff().save(lazy, path).size > 1 << 32
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
        assert len(tiff.series[0].levels) == 7
        assert tiff.series[0].levels[1].shape == (21_350, 21_350)
    image = bioio.BioImage(path, reader=bioio_ome_tiff.Reader)
    assert image.shape == (1, 1, 1, 42_700, 42_700)
    assert image.get_image_dask_data("YX")[-2:, -2:].compute().tolist() == [[0, 0], [0, 7]]


@pytest.mark.slow
def test_more_than_4_gb_come_back(tmp_path):
    """A lazy array of 4.3 GB is written, described and read in part."""
    tile = da.ones((1, 2048, 2048), dtype="uint16", chunks=-1)
    lazy = da.concatenate([tile * n for n in range(520)])
    path = tmp_path / "a.ome.tiff"
    written = ArrayToOmeTiff().save(lazy, path)
    assert written.size > 1 << 32
    opened = ArrayToOmeTiff().open(path)
    assert opened.shape == lazy.shape
    assert [int(opened[n, 2047, 2047]) for n in (0, 300, 519)] == [0, 300, 519]
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff


def test_a_dask_array_is_never_held_whole(tmp_path):
    """Plane by plane: memory stays at a few planes of many."""
    plane = 512 * 512 * 2
    lazy = da.random.default_rng(0).integers(0, 9, (60, 512, 512), dtype="u2", chunks=(1, -1, -1))
    ArrayToOmeTiff().save(lazy[:1], tmp_path / "warm.ome.tiff")
    tracemalloc.start()
    ArrayToOmeTiff().save(lazy, tmp_path / "a.ome.tiff")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * plane
    np.testing.assert_array_equal(ArrayToOmeTiff().read(tmp_path / "a.ome.tiff"), lazy.compute())


def test_a_large_dask_plane_is_written_tile_by_tile(tmp_path):
    """A plane beyond 4096 pixels is tiled and has a pyramid; a row of tiles is held at once."""
    lazy = da.random.default_rng(0).integers(
        0, 255, (1, 6000, 5000), dtype="u1", chunks=(1, 512, 5000)
    )
    ArrayToOmeTiff().save(lazy[:, :512, :512], tmp_path / "warm.ome.tiff")
    tracemalloc.start()
    ArrayToOmeTiff().save(lazy, tmp_path / "a.ome.tiff")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < lazy.nbytes / 2
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as tiff:
        levels = tiff.series[0].levels
        assert [level.shape for level in levels] == [
            (6000, 5000),
            (3000, 2500),
            (1500, 1250),
            (750, 625),
        ]
        assert levels[0].pages[0].tile == (512, 512)
        np.testing.assert_array_equal(levels[1].asarray(), means(lazy[0].compute()))
    opened = ArrayToOmeTiff().open(tmp_path / "a.ome.tiff")
    np.testing.assert_array_equal(opened[0, 5000:5100, 10], lazy[0, 5000:5100, 10].compute())


def test_a_pyramid_keeps_labels(tmp_path):
    """A level takes pixels as they are: no label that nobody drew."""
    labels = pixels(1500, 1300)
    ArrayToOmeTiff(pyramid=True).save(labels, tmp_path / "a.ome.tiff")
    with tifffile.TiffFile(tmp_path / "a.ome.tiff") as tiff:
        assert set(np.unique(tiff.series[0].levels[-1].asarray())) <= set(np.unique(labels))


ORDERS = [
    ("YX", (9, 8)),
    ("ZYX", (4, 9, 8)),
    ("CZYX", (3, 4, 9, 8)),
    ("CZYX", (3, 1, 9, 8)),
    ("CZYX", (1, 1, 9, 8)),
    ("ZYX", (1, 9, 8)),
    ("CYX", (1, 9, 8)),
    ("TCZYX", (2, 3, 4, 9, 8)),
    ("TCZYX", (1, 1, 1, 9, 8)),
    ("TZCYX", (2, 4, 3, 9, 8)),
    ("CTYX", (3, 2, 9, 8)),
    ("YXS", (9, 8, 3)),
    ("TYXS", (2, 9, 8, 3)),
]


@pytest.mark.filterwarnings("ignore:As of version 0.4.0, the parser argument")  # bioio's own
@pytest.mark.parametrize(("order", "shape"), ORDERS)
def test_others_read_the_same_pixels_and_metadata(tmp_path, order, shape):
    """ome-types finds it valid; bioio, tifffile and zarr read what was written."""
    from bioio_ome_tiff import Reader

    data, path = pixels(*shape, dtype="uint8"), tmp_path / "a.ome.tiff"
    count = shape[order.index("C")] if "C" in order else 1
    names = [] if order.endswith("S") else [f"channel {n}" for n in range(count)]
    serializer = ArrayToOmeTiff(order, names or None, (0.3, 0.1, 0.2))
    serializer.save(data, path)
    # Read by databacked, whole and in part.
    assert serializer.read(path).shape == shape
    other = ArrayToOmeTiff()  # the file itself says what its axes are
    assert other.describe(path).dim_order == order
    np.testing.assert_array_equal(other.open(path)[..., 2, 1:2], data[..., 2, 1:2])
    # Valid OME-XML.
    image = ome_types.from_tiff(path, validate=True).images[0].pixels
    sizes = {axis: getattr(image, f"size_{axis.lower()}") for axis in "TCZYX"}
    lengths = dict(zip(order.replace("S", "C"), shape, strict=True))
    assert sizes == {axis: lengths.get(axis, 1) for axis in "TCZYX"}
    assert (image.physical_size_z, image.physical_size_y, image.physical_size_x) == (0.3, 0.1, 0.2)
    if names:
        assert [channel.name for channel in image.channels] == names
    # bioio.
    reader = Reader(path)
    np.testing.assert_array_equal(reader.get_image_data(order), data)
    if names:
        assert reader.channel_names == names
    assert tuple(reader.physical_pixel_sizes) == (0.3, 0.1, 0.2)
    # tifffile and zarr.
    np.testing.assert_array_equal(tifffile.imread(path).reshape(shape), data)
    with tifffile.TiffFile(path) as tiff:
        store = tiff.aszarr()
        np.testing.assert_array_equal(
            np.asarray(zarr.open_array(store, mode="r")[...]).reshape(shape), data
        )
        store.close()


def test_unknown_pixel_sizes_stay_unknown(tmp_path):
    """None is None, not 1 and not 0."""
    path = tmp_path / "a.ome.tiff"
    ArrayToOmeTiff().save(pixels(2, 9, 8), path)
    assert ArrayToOmeTiff().describe(path).physical_pixel_sizes is None
    ArrayToOmeTiff(physical_pixel_sizes=(None, 0.5, 0.5)).save(pixels(2, 9, 8), path)
    assert ArrayToOmeTiff().describe(path).physical_pixel_sizes == (None, 0.5, 0.5)
    image = ome_types.from_tiff(path).images[0].pixels
    assert image.physical_size_z is None


@pytest.mark.parametrize(("unit", "factor"), [("nm", 1000.0), ("mm", 0.001), ("µm", 1.0)])
def test_pixel_sizes_of_other_units_are_micrometres_here(tmp_path, unit, factor):
    """A file of another program may count in nanometres."""
    path = tmp_path / "a.ome.tiff"
    size = {"PhysicalSizeX": 0.2 * factor, "PhysicalSizeXUnit": unit}
    tifffile.imwrite(path, pixels(3, 9, 8), ome=True, metadata={"axes": "ZYX", **size})
    assert pytest.approx(0.2) == ArrayToOmeTiff().describe(path).physical_pixel_sizes.X


WIDE = [
    (np.array([[0, 255]], "int64"), "uint8"),
    (np.array([[-1, 100]], "int64"), "int8"),
    (np.array([[0, 256]], "uint64"), "uint16"),
    (np.array([[-1, 300]], "int64"), "int16"),
    (np.array([[0, 2**32 - 1]], "uint64"), "uint32"),
    (np.array([[-5, 2**31 - 1]], "int64"), "int32"),
]


@pytest.mark.parametrize(("data", "stored"), WIDE, ids=[name for _, name in WIDE])
def test_64_bit_integers_take_the_smallest_type_that_holds_them(tmp_path, data, stored):
    """OME has no 64-bit integers: no value changes, and it is said."""
    written = ArrayToOmeTiff().save(data, tmp_path / "a.ome.tiff")
    back = ArrayToOmeTiff().read(tmp_path / "a.ome.tiff")
    assert str(back.dtype) == stored
    np.testing.assert_array_equal(back, data)
    assert written.notes == (f"{data.dtype} is stored as {stored}, which holds all values",)


def test_float16_and_bool_are_stored_and_said(tmp_path):
    """float16 as float32; bool as 0 and 255, as ImageJ has masks, and it comes back."""
    half = np.array([[0.1, 6e4]], np.float16)
    written = ArrayToOmeTiff().save(half, tmp_path / "a.ome.tiff")
    assert written.notes == ("float16 is stored as float32",)
    np.testing.assert_array_equal(ArrayToOmeTiff().read(tmp_path / "a.ome.tiff"), half)
    written = ArrayToOmeTiff().save(np.array([[True, False]]), tmp_path / "b.ome.tiff")
    assert written.notes == ()
    assert written.description.dtype == "bool"
    assert tifffile.imread(tmp_path / "b.ome.tiff").tolist() == [[255, 0]]
    for back in (ArrayToOmeTiff().read, lambda path: ArrayToOmeTiff().open(path)[...]):
        found = back(tmp_path / "b.ome.tiff")
        assert (found.dtype, found.tolist()) == (bool, [[True, False]])


WRONG = [
    ({}, np.zeros(5), "shape (5,) has 1 axes"),
    ({}, np.zeros((1,) * 6), "has 6 axes"),
    ({"dim_order": "YX"}, np.zeros((2, 3, 4)), "does not fit dim_order='YX'"),
    ({"channel_names": ["a"]}, np.zeros((2, 1, 3, 4)), "1 channel names (a) for 2 channels"),
    ({}, np.zeros((0, 4)), "holds no pixels"),
    ({}, np.zeros((3, 4), object), "pixels of type object"),
    ({}, np.zeros((3, 4), "M8[s]"), "pixels of type datetime64"),
    ({}, "text", "has 0 axes"),
    ({}, None, "pixels of type object"),
    ({}, np.array([[2**40, -1]]), "from -1 to 1099511627776 do not fit"),
    ({"channel_names": ["a"]}, np.zeros((2, 1, 3, 4), "U3"), "pixels of type <U3"),
]


@pytest.mark.parametrize(
    ("settings", "value", "message"), WRONG, ids=[wrong[-1] for wrong in WRONG]
)
def test_what_cannot_be_written_is_said(tmp_path, settings, value, message):
    """What came, what was expected; and nothing is written."""
    with pytest.raises(SerializerError) as error:
        ArrayToOmeTiff(**settings).save(value, tmp_path / "a.ome.tiff")
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


BAD_SETTINGS = [
    ({"dim_order": "XY"}, "ending in YX"),
    ({"dim_order": "QYX"}, "letters of TCZYX"),
    ({"dim_order": "ZZYX"}, "each once"),
    ({"physical_pixel_sizes": (1, 2)}, "three sizes in micrometres"),
    ({"physical_pixel_sizes": (1, 0, 2)}, "three sizes in micrometres"),
    ({"compression": "best"}, "compression='best' cannot be used"),
]


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS)
def test_wrong_settings_are_said_where_they_are_written(settings, message):
    """Not in the middle of a run."""
    with pytest.raises(SerializerError, match=message):
        ArrayToOmeTiff(**settings)


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, 0.99])
@pytest.mark.parametrize("settings", [{}, {"compression": "zlib"}, {"pyramid": True}], ids=str)
def test_a_cut_file_is_no_file(tmp_path, settings, keep):
    """Wherever it was cut, it is said with its name."""
    path = tmp_path / "a.ome.tiff"
    ArrayToOmeTiff(**settings).save(pixels(3, 40, 30), path)
    os.truncate(path, keep if isinstance(keep, int) else int(keep * path.stat().st_size))
    with pytest.raises(SerializerError, match=r"a\.ome\.tiff"):
        ArrayToOmeTiff().describe(path)


def test_a_value_s_own_metadata_win(tmp_path):
    """Two objectives through one task give two pixel sizes."""
    serializer = ArrayToOmeTiff("CZYX", ["x", "y"], (1, 1, 1))
    image = Image(pixels(2, 9, 8), "CYX", ("a", "b"), PhysicalPixelSizes(None, 0.5, 0.25))
    array = SimpleNamespace(
        data=pixels(2, 9, 8),
        dims=("C", "Y", "X"),
        coords={"C": SimpleNamespace(values=np.array(["a", "b"]))},
        attrs={"physical_pixel_sizes": (None, 0.5, 0.25)},
    )  # what an xarray.DataArray has, which is not a dependency
    for value in (image, array):
        written = serializer.save(value, tmp_path / "a.ome.tiff").description
        assert (written.dim_order, written.channel_names) == ("CYX", ("a", "b"))
        assert written.physical_pixel_sizes == (None, 0.5, 0.25)
        assert serializer.describe(tmp_path / "a.ome.tiff") == written


def test_a_file_of_another_program_is_read(tmp_path):
    """A TIFF without any metadata, and one that ImageJ would write."""
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, pixels(4, 9, 8), photometric="minisblack")
    assert ArrayToOmeTiff().read(path).shape == (4, 9, 8)
    tifffile.imwrite(path, pixels(4, 3, 9, 8), imagej=True, metadata={"axes": "ZCYX"})
    assert ArrayToOmeTiff().describe(path).dim_order == "ZCYX"
    np.testing.assert_array_equal(ArrayToOmeTiff().open(path)[1, 2], pixels(4, 3, 9, 8)[1, 2])


def test_another_process_writes_the_same_bytes(tmp_path):
    """With another hash seed and without a known header."""
    script = (
        "import sys, numpy as np; from pathlib import Path; from databacked import ArrayToOmeTiff\n"
        "data = np.arange(3 * 4 * 9 * 8, dtype='uint16').reshape(3, 4, 9, 8)\n"
        "ArrayToOmeTiff('CZYX', ['a', 'b', 'c'], (1, 2, 3)).save(data, Path(sys.argv[1]))"
    )
    paths: list[Path] = [tmp_path / "1.ome.tiff", tmp_path / "2.ome.tiff"]
    for seed, path in enumerate(paths):
        env = os.environ | {"PYTHONHASHSEED": str(seed)}
        subprocess.run([sys.executable, "-c", script, str(path)], env=env, check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("key", [np.s_[:], np.s_[0], np.s_[0:1, 2:4], np.s_[1:], np.s_[..., 3]])
def test_an_axis_that_another_program_did_not_name_is_there(tmp_path, key):
    """A viewer's compressed stack of one plane is read by tiles, in all its axes."""
    stack, file = pixels(1, 20, 30), tmp_path / "a.ome.tiff"
    said = '{"shape": [1, 20, 30]}'
    tifffile.imwrite(
        file, stack, tile=(16, 16), compression="zlib", metadata=None, description=said
    )
    read = ArrayToOmeTiff(dim_order="ZYX").open(file)[key]
    assert read.shape == stack[key].shape
    assert (read == stack[key]).all()


class Apart(ArrayToOmeTiff):
    def save(self, value, path):
        return ArrayToOmeTiff().save(value, path)


class Longer(Apart):
    def parts(self, value):
        found = ArrayToOmeTiff().parts(value)
        return None if found is None else found._replace(buffers=(*found.buffers, b"more"))


class Misnamed(Apart):
    def parts(self, value):
        found = ArrayToOmeTiff().parts(value)
        return None if found is None else found._replace(description=Description(shape=(1,)))


@pytest.mark.parametrize("serializer", [Longer(), Misnamed()])
def test_parts_that_are_not_the_file_do_not_pass(tmp_path, serializer):
    """What is at hand has to be what `save` writes."""
    with pytest.raises(AssertionError, match="parts"):
        check_serializer(serializer, [pixels(5, 7)], tmp_path)
