"""OME-Zarr: what zarr writes, byte for byte, what others read from it, and what an edit costs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from databacked import ArrayToOmeZarr, Image, PhysicalPixelSizes
from databacked.errors import SerializerError
from databacked.fingerprint.files import content_of
from databacked.serializers.ome_zarr import layout
from databacked.serializers.ome_zarr.arrays import Layout
from databacked.serializers.ome_zarr.damage import fill_of
from databacked.testing.serializers import check_serializer

from .models import require_valid
from .test_levels import means

VERSIONS = ["0.5", "0.4"]
DTYPES = [
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "bool"),
]


def pixels(*shape: int, dtype: str = "uint16") -> np.ndarray:
    """Return pixels that differ from each other."""
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def files(path: Path) -> dict[str, bytes]:
    """Return the bytes of all files of a folder."""
    return {
        str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()
    }


def metadata(path: Path) -> dict:
    """Return the attributes that OME-Zarr defines."""
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    return attributes.get("ome", attributes)  # type: ignore[return-value]


def layout_of(serializer: ArrayToOmeZarr, data: Any) -> Layout:
    """Return how the pixels of an image lie in files."""
    facts = serializer._facts(data)
    return layout.layouts(facts, [facts.shape], serializer)[0]


def level(path: Path, name: str, mode="r") -> Any:
    """Return an array of an image as zarr has it."""
    return zarr.open_group(path, mode=mode)[name]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_contract_holds_for_every_type(tmp_path, dtype, version):
    """Same bytes, the value comes back, the description fits, no file may be missing or cut."""
    check_serializer(ArrayToOmeZarr(version=version), [pixels(3, 2, 9, 8, dtype=dtype)], tmp_path)


SETTINGS = [
    {"compression": None},
    {"compression": "lz4", "version": "0.4"},
    {"pyramid": True},
    {"pyramid": True, "version": "0.4"},
    {"shards": True},
    {"shards": True, "pyramid": True, "compression": None},
    {"shards": (1, 4, 40, 80), "chunks": (1, 1, 20, 20)},
    {"chunks": (1, 2, 30, 60)},
    {"labels": True},
    {"labels": True, "channel_names": "abc", "version": "0.4"},
    {"windows": [(0, 1), (0, 2.5), (-1, 1)]},
    {"channel_names": ["DNA & <more>", "µ-tubulin", "日本"], "image_name": "cell 1"},
    {"physical_pixel_sizes": (None, 0.1083, 0.1083)},
    {"physical_pixel_sizes": (0.29, 0.1, 0.2), "version": "0.4"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_contract_holds_for_every_setting(tmp_path, settings):
    """Whatever is asked for, the same promises hold."""
    lazy = da.from_array(pixels(3, 4, 70, 60), chunks=(1, 2, 50, 60))
    check_serializer(ArrayToOmeZarr(**settings), [pixels(3, 4, 70, 60), lazy], tmp_path)


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
    return data


SETTINGS_OF_FILES = st.fixed_dictionaries(
    {
        "version": st.sampled_from(VERSIONS),
        "compression": st.sampled_from(["zstd", None]),
        "chunk": st.sampled_from([2, 5, 512]),
        "shards": st.booleans(),
    }
)


@given(layouts(), SETTINGS_OF_FILES)
def test_files_are_what_zarr_writes(tmp_path_factory, data, settings):
    """The same metadata and the same files, of which zarr and tensorstore read the same pixels."""
    folder = tmp_path_factory.mktemp("zarr")
    version, chunks = settings["version"], (1,) * (data.ndim - 2) + (settings["chunk"],) * 2
    serializer = ArrayToOmeZarr(
        version=version,
        chunks=chunks,
        compression=settings["compression"],
        shards=settings["shards"] and version == "0.5",
    )
    serializer.save(data, folder / "ours.zarr")
    grid = layout_of(serializer, data)
    theirs: dict = {"compressors": None}
    if settings["compression"] and version == "0.4":
        theirs = {"compressors": numcodecs.Blosc("zstd", 1, 1, blocksize=grid.nbytes)}
    elif settings["compression"]:
        blosc: dict = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "blocksize": grid.nbytes}
        codec = zarr.codecs.BloscCodec(typesize=data.dtype.itemsize, **blosc)
        theirs = {"compressors": codec}
    if version == "0.5":
        theirs |= {"dimension_names": grid.axes, "shards": grid.shards}
    array = zarr.create_array(
        folder / "theirs.zarr" / "0",
        shape=data.shape,
        dtype=grid.dtype,
        chunks=grid.chunks,
        fill_value=np.nan if grid.dtype.kind == "f" else fill_of(grid.dtype),
        zarr_format=3 if version == "0.5" else 2,
        chunk_key_encoding={"name": "default" if version == "0.5" else "v2", "separator": "/"},
        config={"write_empty_chunks": True},
        **theirs,
    )
    array[...] = data
    ours, others = files(folder / "ours.zarr" / "0"), files(folder / "theirs.zarr" / "0")
    others.pop(".zattrs", None)  # empty
    name = "zarr.json" if version == "0.5" else ".zarray"
    assert _said(ours.pop(name)) == _said(others.pop(name))
    assert ours.keys() == others.keys()
    if not grid.shards and not settings["compression"]:
        assert ours == others
    np.testing.assert_array_equal(level(folder / "ours.zarr", "0")[...], data)
    np.testing.assert_array_equal(serializer.read(folder / "ours.zarr"), data)


def _said(text: bytes) -> dict:
    """Return metadata without what means nothing: what holds, too, where it is not said."""
    found: dict = json.loads(text)
    (found.get("compressor") or {}).pop("typesize", None)
    if found["zarr_format"] == 3:
        defaults: dict = {"attributes": {}, "storage_transformers": []}
        found = {**defaults, **found}
        found["chunk_key_encoding"].setdefault("configuration", {"separator": "/"})
        if found["codecs"][0]["name"] == "sharding_indexed":
            found["codecs"][0]["configuration"].setdefault("index_location", "end")
    return found


def test_zarr_is_for_the_images_of_others(tmp_path):
    """It takes half a second to import; an image of ours is written, read and described without."""
    script = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from databacked import ArrayToOmeZarr, Image\n"
        "one, path = ArrayToOmeZarr(levels=1), Path(sys.argv[1]) / 'a.ome.zarr'\n"
        "one.save(Image(np.ones((9, 8)), labels={'n': np.ones((9, 8), 'u1')}), path)\n"
        "one.describe(path), one.read(path)\n"
        "print('zarr' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"False\n"


@pytest.mark.skipif(sys.platform == "win32", reason="names that it does not have")
@pytest.mark.parametrize(
    "name",
    ["back\\slash", "sur\udc80rogate", "new\nline", "a#b?c", "%41", "[x]:y", "ünï"],
    ids=ascii,
)
@pytest.mark.parametrize("version", VERSIONS)
def test_any_path_is_that_path(tmp_path, name, version):
    """To tensorstore a backslash divides folders, and a name is UTF-8; to a disk neither is so."""
    folder = tmp_path / name
    folder.mkdir()
    serializer, path = ArrayToOmeZarr(version=version, levels=1), folder / f"{name}.ome.zarr"
    check_serializer(serializer, [pixels(2, 9, 8)], folder)
    serializer.save(pixels(2, 9, 8), path)
    np.testing.assert_array_equal(serializer.read(path), pixels(2, 9, 8))
    opened = serializer.open(path)
    assert opened[1, 2, 3] == pixels(2, 9, 8)[1, 2, 3]
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_above_a_link_is_where_it_leads(tmp_path):
    """Of ``link/..`` the text says another folder than the disk."""
    (tmp_path / "there/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "there/inner")
    path = tmp_path / "link/../a.ome.zarr"
    ArrayToOmeZarr().save(pixels(9, 8), path)
    np.testing.assert_array_equal(ArrayToOmeZarr().read(path), pixels(9, 8))
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith("zarr")] == []
    assert (tmp_path / "there/a.ome.zarr/0").is_dir()


@pytest.mark.parametrize("shards", [False, True])
def test_an_array_saved_anew_may_leave_out_chunks(tmp_path, shards):
    """Its own fill value says that it is no longer ours: an empty plane is no damage."""
    path = tmp_path / "a.ome.zarr"
    ArrayToOmeZarr().save(pixels(3, 60, 70) + 1, path)
    edited = pixels(3, 60, 70) + 1
    edited[1], edited[2, :30] = 0, 0
    group: Any = zarr.open_group(path, mode="r+")
    more = {"shards": (1, 60, 60)} if shards else {}
    group.create_array("0", data=edited, chunks=(1, 30, 30), overwrite=True, **more)
    ArrayToOmeZarr().describe(path)
    np.testing.assert_array_equal(ArrayToOmeZarr().read(path), edited)


def test_windows_may_be_numbers_of_numpy(tmp_path):
    image = pixels(9, 8)
    ArrayToOmeZarr(windows=[(image.min(), image.max())]).save(image, tmp_path / "a.zarr")
    window = metadata(tmp_path / "a.zarr")["omero"]["channels"][0]["window"]
    assert (window["start"], window["end"]) == (image.min(), image.max())


def test_an_empty_folder_of_labels_says_nothing(tmp_path):
    path = tmp_path / "a.ome.zarr"
    ArrayToOmeZarr(version="0.4").save(pixels(9, 8), path)
    (path / "labels").mkdir()
    (path / "labels/.zgroup").write_text('{"zarr_format": 2}')
    assert ArrayToOmeZarr().describe(path).labels is None


LIMITED = """
import os, resource, sys
from pathlib import Path
import numpy as np
from databacked import ArrayToOmeZarr

folder, one = Path(sys.argv[1]), ArrayToOmeZarr(chunks=(20, 20))
data = np.random.default_rng(0).integers(0, 60000, (60, 60), "u2")

def said(limit, most):
    before = resource.getrlimit(limit)
    resource.setrlimit(limit, (most, before[1]))
    try:
        one.save(data, folder / f"{most}.ome.zarr")
    except OSError as error:
        print(error.errno, Path(error.filename).name)
    resource.setrlimit(limit, before)

said(resource.RLIMIT_FSIZE, 600)
said(resource.RLIMIT_FSIZE, 100)
used = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
said(resource.RLIMIT_NOFILE, max(used) + 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits there")
def test_what_the_disk_says_is_an_error_of_the_disk(tmp_path):
    """So that a full one is said as for any other format; tensorstore has words of its own."""
    command = [sys.executable, "-W", "ignore", "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    chunk, *metadata = done.stdout.splitlines()
    assert chunk.split()[0] == str(errno.EFBIG)
    assert metadata == [f"{errno.EFBIG} zarr.json", f"{errno.EMFILE} zarr.json"]


FORKED = """
import multiprocessing, sys
from pathlib import Path
import numpy as np
from databacked import ArrayToOmeZarr
from databacked.errors import SerializerError

one, path = ArrayToOmeZarr(), Path(sys.argv[1]) / "a.ome.zarr"
one.save(np.arange(24, dtype="u2").reshape(2, 3, 4), path)
opened = one.open(path)
opened[0]

def read(n):
    try:
        one.save(np.ones((2, 3)), path.with_name(f"{n}.ome.zarr"))
    except SerializerError as error:
        assert "get_context('spawn')" in str(error)
        return int(opened[n].sum()), int(one.read(path)[n].sum())

with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map_async(read, range(2)).get(timeout=60))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_a_process_that_was_forked_reads_and_does_not_wait_for_ever(tmp_path):
    """As loaders of deep learning do: threads of tensorstore do not come along."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[(66, 66), (210, 210)]\n"


@pytest.mark.parametrize("more", ["", "shards=True, levels=2"], ids=["chunks", "shards"])
def test_the_same_value_gives_the_same_bytes_whatever_threads_do(tmp_path, more):
    """Blosc writes the blocks of a chunk in the order in which its threads are done.

    Nor do bytes depend on how many cores a process has.
    """
    script = (
        "import os, sys, numpy as np, numcodecs.blosc; from pathlib import Path\n"
        "if sys.argv[1].endswith('1') and hasattr(os, 'sched_setaffinity'):\n"
        "    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])\n"
        "from databacked import ArrayToOmeZarr\n"
        "numcodecs.blosc.use_threads = True\n"
        "numcodecs.blosc.set_nthreads(4)\n"
        "data = np.random.default_rng(0).poisson(100, (3, 512, 512)).astype('uint16')\n"
        "data[1] = 0\n"
        "for n in range(8):\n"
        "    path = Path(sys.argv[1]) / f'{n}.ome.zarr'\n"
        f"    one = ArrayToOmeZarr('CYX', ['a', 'b', 'c'], (1, 2, 3), {more})\n"
        "    print(one.save(data, path).content)"
    )
    found = set()
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / str(seed))],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
        )
        found |= set(done.stdout.split())
    assert found == {content_of(tmp_path / "0" / "0.ome.zarr")}


ORDERS = [
    ("YX", (9, 8)),
    ("ZYX", (4, 9, 8)),
    ("CYX", (1, 9, 8)),
    ("TYX", (2, 9, 8)),
    ("CZYX", (3, 4, 9, 8)),
    ("TZYX", (3, 4, 9, 8)),
    ("TCYX", (1, 1, 9, 8)),
    ("TCZYX", (2, 3, 4, 9, 8)),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize(("order", "shape"), ORDERS)
def test_others_read_the_same_pixels_and_metadata(tmp_path, order, shape, labels, version):
    """ome-zarr-models finds it valid; bioio and zarr read what was written."""
    from bioio_ome_zarr import Reader

    data, path = pixels(*shape, dtype="uint8"), tmp_path / "a.ome.zarr"
    count = shape[order.index("C")] if "C" in order else 1
    names = [f"channel {n}" for n in range(count)]
    settings = {"pyramid": True, "labels": labels, "version": version}
    serializer = ArrayToOmeZarr(order, names, (0.3, 0.1, 0.2), **settings)
    serializer.save(data, path)
    sizes = (0.3 if "Z" in order else None, 0.1, 0.2)
    # Read by databacked, whole and in part.
    other = ArrayToOmeZarr()  # the folder itself says what its axes are
    assert other.describe(path).dim_order == order
    assert other.describe(path).channel_names == tuple(names)
    assert other.describe(path).physical_pixel_sizes == sizes
    np.testing.assert_array_equal(other.open(path)[..., 2, 1:2], data[..., 2, 1:2])
    # Valid.
    require_valid(path, version, labels=labels)
    if labels:
        assert "image-label" in metadata(path)
    # bioio.
    reader = Reader(path)
    assert reader.dims.order == order
    np.testing.assert_array_equal(reader.get_image_data(order), data)
    assert reader.channel_names == names
    assert tuple(reader.physical_pixel_sizes or ()) == sizes
    assert reader.resolution_levels == (0, 1)
    # zarr.
    np.testing.assert_array_equal(level(path, "0")[...], data)
    smaller = data[..., ::2, ::2] if labels else means(data)
    np.testing.assert_array_equal(level(path, "1")[...], smaller)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bioio_opens_every_type(tmp_path, dtype, version):
    """Also bool, 64-bit integers and half floats, as they are."""
    from bioio import BioImage

    data = pixels(2, 9, 8, dtype=dtype)
    ArrayToOmeZarr("CYX", version=version).save(data, tmp_path / "a.ome.zarr")
    image = BioImage(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(image.get_image_data("CYX"), data, strict=True)
    assert image.channel_names == ["Channel:0:0", "Channel:0:1"]  # nobody named them
    assert ArrayToOmeZarr().describe(tmp_path / "a.ome.zarr").channel_names is None


# ---------------------------------------------------------------- files


def test_one_plane_is_one_chunk_up_to_512_pixels(tmp_path):
    """Scrolling through Z or T opens one file a step."""
    written = ArrayToOmeZarr("CZYX").save(pixels(2, 3, 100, 513), tmp_path / "a.ome.zarr")
    assert written.description.chunks == (1, 1, 100, 512)
    chunks = {name for name in files(tmp_path / "a.ome.zarr") if not name.endswith(".json")}
    assert chunks == {f"0/c/{c}/{z}/0/{x}" for c in range(2) for z in range(3) for x in range(2)}


def test_painting_labels_changes_few_files(tmp_path):
    """Correcting one percent of the pixels in place rewrites the chunks that they lie in."""
    labels = np.zeros((40, 128, 128), "uint32")
    labels[:, 20:60, 20:60] = 7
    path, serializer = tmp_path / "a.ome.zarr", ArrayToOmeZarr(labels=True)
    serializer.save(labels, path)
    before = files(path)
    array = level(path, "0", mode="r+")
    array[20, :81, :81] = 9  # 1 % of all, as a brush in one plane does it
    after = files(path)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"0/c/20/0/0"}
    assert serializer.describe(path).dtype == "uint32"
    assert serializer.read(path)[20, 5, 5] == 9


def test_a_plane_that_was_wiped_clean_is_no_damage(tmp_path):
    """Programs that edit through zarr delete a chunk of fill values: zero must not be one."""
    path, serializer = tmp_path / "a.ome.zarr", ArrayToOmeZarr(labels=True)
    serializer.save(pixels(3, 9, 8), path)
    for version in VERSIONS:
        path = tmp_path / f"{version}.ome.zarr"
        serializer = ArrayToOmeZarr(labels=True, version=version)
        serializer.save(pixels(3, 9, 8), path)
        level(path, "0", mode="r+")[1] = 0
        serializer.describe(path)
        assert not serializer.read(path)[1].any()


def test_many_chunks_share_files(tmp_path):
    """Thousands of files choke disks and transfers; labels are left as they are."""
    data = np.zeros((5000, 2, 2), "uint8")
    data[4321] = 1
    path = tmp_path / "a.ome.zarr"
    written = ArrayToOmeZarr().save(data, path)
    assert len(files(path)) == 3
    assert written.description.chunks == (1, 2, 2)
    assert ArrayToOmeZarr().open(path)[4321].all()
    assert not ArrayToOmeZarr().open(path)[4320].any()
    for settings in ({"labels": True}, {"shards": False}, {"version": "0.4"}):
        serializer = ArrayToOmeZarr(**settings)
        assert layout_of(serializer, data).shards is None


def test_a_shard_takes_planes_before_it_takes_depth():
    """Squares of a plane first, then Z, C and T, and never more than 64 MiB of pixels."""
    serializer = ArrayToOmeZarr(shards=True)

    def shards(shape, dtype="uint16"):
        lazy = da.zeros(shape, dtype=dtype, chunks=(*shape[:-2], 512, 512))
        grid = layout_of(serializer, lazy)
        assert grid.shards is not None
        assert np.prod(grid.shards) * grid.dtype.itemsize <= layout.SHARD
        return grid.shards

    assert shards((2, 3, 60, 512, 512)) == (1, 2, 60, 512, 512)
    assert shards((3, 60, 512, 512)) == (2, 60, 512, 512)
    assert shards((1, 50_000, 60_000)) == (1, 8192, 4096)
    assert shards((10, 1024, 1024)) == (10, 1024, 1024)
    assert shards((5, 9, 8)) == (5, 9, 8)


def test_a_shard_of_the_largest_values_is_written_too(tmp_path):
    """zarr would leave out what equals the fill value: a saturated image would be damaged."""
    for fill in (
        np.full((4, 9, 8), 255, "u1"),
        np.full((4, 9, 8), np.nan),
        np.ones((4, 9, 8), "?"),
    ):
        for shards in (True, False):
            path = tmp_path / f"{fill.dtype}-{shards}.ome.zarr"
            serializer = ArrayToOmeZarr(shards=shards)
            serializer.save(fill, path)
            serializer.describe(path)
            np.testing.assert_array_equal(serializer.read(path), fill)


# ---------------------------------------------------------------- lazy arrays


def test_a_lazy_read_opens_only_the_files_it_needs(tmp_path):
    """With every other file gone, what was asked for still comes."""
    data, path = pixels(3, 4, 40, 40), tmp_path / "a.ome.zarr"
    for shards, needed in (
        (None, ["0/c/1/2/0/1", "0/c/1/2/1/1"]),
        ((1, 4, 40, 40), ["0/c/1/0/0/0"]),
    ):
        serializer = ArrayToOmeZarr(chunks=(1, 1, 20, 20), shards=shards)
        serializer.save(data, path)
        opened = serializer.open(path)
        assert (opened.shape, opened.dtype, opened.ndim) == (data.shape, data.dtype, 4)
        assert opened.chunks == (1, 1, 20, 20)
        for name in files(path):
            if not name.endswith("zarr.json") and name not in needed:
                (path / name).unlink()
        np.testing.assert_array_equal(opened[1, 2, 5:35, 30], data[1, 2, 5:35, 30])
        with pytest.raises(SerializerError, match="is missing"):
            opened[2, 2, 0, 0]
        shutil.rmtree(path)


KEYS = [
    *(np.s_[1], np.s_[-1], np.s_[:], np.s_[...], np.s_[..., 3], np.s_[1, ..., ::3], np.s_[1:1]),
    *(np.s_[::2, 1, 5:7], np.s_[2, 3, -1, -2], np.s_[:, :, 38:100:4, 7:33:9], np.s_[-2:, :-1]),
    *(np.s_[::-1], np.s_[[2, 0]], np.s_[None, 0], np.s_[np.int64(2)]),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("shards", [False, True])
def test_indexing_is_numpy_s(tmp_path, key, shards):
    """Integers, slices with steps, and what only numpy can."""
    data, path = pixels(3, 4, 39, 41), tmp_path / "a.ome.zarr"
    serializer = ArrayToOmeZarr(chunks=(1, 1, 10, 20), shards=shards)
    serializer.save(data, path)
    np.testing.assert_array_equal(serializer.open(path)[key], data[key], strict=True)


def test_an_index_out_of_range_is_an_index_error(tmp_path):
    """As numpy has it, so that iterating ends."""
    ArrayToOmeZarr().save(pixels(3, 9, 8), tmp_path / "a.ome.zarr")
    opened = ArrayToOmeZarr().open(tmp_path / "a.ome.zarr")
    for key in (3, (0, 0, 0, 0), (0, -10)):
        with pytest.raises(IndexError):
            opened[key]


@pytest.mark.parametrize("shards", [(1, 4, 512, 512), False])
def test_a_dask_array_is_never_held_whole(tmp_path, shards):
    """Chunk by chunk: memory stays at a few planes of many, windows included."""
    plane = 512 * 512 * 2
    rng = da.random.default_rng(0)
    lazy = rng.integers(0, 9, (1, 64, 512, 512), dtype="u2", chunks=(1, 1, -1, -1))
    serializer = ArrayToOmeZarr(shards=shards)
    serializer.save(lazy[:, :4], tmp_path / "warm.ome.zarr")
    tracemalloc.start()
    serializer.save(lazy, tmp_path / "a.ome.zarr")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * plane
    np.testing.assert_array_equal(serializer.read(tmp_path / "a.ome.zarr"), lazy.compute())


def test_a_dask_array_is_computed_once(tmp_path):
    """Windows and smaller levels come from what was computed, and a chunk is asked for once."""
    seen = []

    def block(block_info=None):
        seen.append(block_info[None]["chunk-location"])
        return np.full((1, 4, 300, 200), len(seen), "u2")

    lazy = da.map_blocks(block, chunks=((1, 1), (4, 4), (300, 300), (200,)), dtype="u2")
    seen.clear()
    serializer = ArrayToOmeZarr(pyramid=True, chunks=(1, 1, 100, 100))
    serializer.save(lazy, tmp_path / "a.ome.zarr")
    assert len(seen) == len(set(seen)) == 8
    smaller = level(tmp_path / "a.ome.zarr", "1")[...]
    np.testing.assert_array_equal(smaller, serializer.read(tmp_path / "a.ome.zarr")[..., ::2, ::2])


def test_a_large_plane_has_a_pyramid(tmp_path):
    """Beyond 4096 pixels; where its pixels lie is said of each level."""
    large = da.random.default_rng(0).integers(
        0, 255, (1, 5000, 1300), dtype="u1", chunks=(1, 512, -1)
    )
    path = tmp_path / "a.ome.zarr"
    ArrayToOmeZarr(physical_pixel_sizes=(2, 0.5, None)).save(large, path)
    levels = metadata(path)["multiscales"][0]["datasets"]
    shapes = [level(path, one["path"]).shape for one in levels]
    assert shapes == [(1, 5000, 1300), (1, 2500, 650), (1, 1250, 325), (1, 625, 163)]
    scales = [one["coordinateTransformations"][0]["scale"] for one in levels]
    assert scales == [[2, 0.5, 1], [2, 1, 2], [2, 2, 4], [2, 4, 8]]
    shifts = [one["coordinateTransformations"][1]["translation"] for one in levels[1:]]
    assert shifts == [[0, 0.25, 0.5], [0, 0.75, 1.5], [0, 1.75, 3.5]]
    assert metadata(path)["multiscales"][0]["type"] == "mean"
    np.testing.assert_array_equal(level(path, "2")[...], means(means(large.compute())))
    require_valid(path, "0.5")


# ---------------------------------------------------------------- metadata


def test_unknown_pixel_sizes_stay_unknown(tmp_path):
    """None is None, not 1 and not 0; and only a known one has a unit."""
    path = tmp_path / "a.ome.zarr"
    ArrayToOmeZarr().save(pixels(2, 9, 8), path)
    assert ArrayToOmeZarr().describe(path).physical_pixel_sizes is None
    path = tmp_path / "b.ome.zarr"
    ArrayToOmeZarr(physical_pixel_sizes=(None, 0.5, 1.0)).save(pixels(2, 9, 8), path)
    assert ArrayToOmeZarr().describe(path).physical_pixel_sizes == (None, 0.5, 1.0)
    axes = metadata(path)["multiscales"][0]["axes"]
    assert axes == [
        {"name": "z", "type": "space"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]


def windows(value, **settings):
    """Return start, end, min and max of the windows of each channel."""
    path = Path(settings.pop("folder")) / "w.ome.zarr"
    shutil.rmtree(path, ignore_errors=True)
    ArrayToOmeZarr("CYX", **settings).save(value, path)
    channels = metadata(path)["omero"]["channels"]
    return [[one["window"][key] for key in ("start", "end", "min", "max")] for one in channels]


def test_windows_show_each_channel_from_its_least_to_its_largest_value(tmp_path):
    """The slider of 8 and 16 bits reaches as far as the type; NaN and infinity do not count."""
    data = np.stack([pixels(9, 8), pixels(9, 8) + 500, np.zeros((9, 8), "uint16")])
    data[:2, 0, 0], data[0, 8, 7], data[1, 8, 7] = 0, 4000, 700
    expected = [[0, 4000, 0, 65535], [0, 700, 0, 65535], [0, 1, 0, 65535]]
    assert windows(data, folder=tmp_path) == expected
    lazy = da.from_array(data, chunks=(2, 5, 3))
    assert windows(lazy, folder=tmp_path) == expected
    real = np.array([[[np.nan, 1.5], [np.inf, -2.25]], [[np.nan] * 2] * 2])
    assert windows(real, folder=tmp_path) == [[-2.25, 1.5] * 2, [0, 1] * 2]
    assert windows(np.array([[[True, False]]]), folder=tmp_path) == [[0, 1, 0, 1]]
    given = [(0, 1), (2, 3.5), (4, 5)]
    assert windows(data, windows=given, folder=tmp_path)[1] == [2, 3.5, 0, 65535]


def test_labels_are_marked_and_have_no_windows(tmp_path):
    """So that viewers show them as labels; a mask is numbers for them, and comes back as it was."""
    path = tmp_path / "a.ome.zarr"
    written = ArrayToOmeZarr(labels=True).save(np.array([[True, False]]), path)
    assert written.notes == ()
    assert written.description.dtype == "bool"
    assert level(path, "0")[...].tolist() == [[1, 0]]
    for back in (ArrayToOmeZarr().read(path), ArrayToOmeZarr().open(path)[...]):
        assert (back.dtype, back.tolist()) == (bool, [[True, False]])
    assert "omero" not in metadata(path)
    assert metadata(path)["image-label"] == {}


def test_a_value_s_own_metadata_win(tmp_path):
    """Two objectives through one task give two pixel sizes."""
    serializer = ArrayToOmeZarr("CZYX", ["x", "y"], (1, 1, 1))
    image = Image(pixels(2, 9, 8), "CYX", ("a", "b"), PhysicalPixelSizes(None, 0.5, 0.25))
    array = SimpleNamespace(
        data=pixels(2, 9, 8),
        dims=("C", "Y", "X"),
        coords={"C": SimpleNamespace(values=np.array(["a", "b"]))},
        attrs={"physical_pixel_sizes": (None, 0.5, 0.25)},
    )  # what an xarray.DataArray has, which is not a dependency
    for number, value in enumerate((image, array)):
        path = tmp_path / f"{number}.ome.zarr"
        written = serializer.save(value, path).description
        assert (written.dim_order, written.channel_names) == ("CYX", ("a", "b"))
        assert written.physical_pixel_sizes == (None, 0.5, 0.25)
        assert serializer.describe(path) == written


# ---------------------------------------------------------------- what others wrote


def foreign(path: Path, data: np.ndarray, axes: list, *, zarr_format: int, **array) -> dict:
    """Write an image as other programs do, and return its multiscale."""
    group = zarr.create_group(path, zarr_format=zarr_format)  # type: ignore[arg-type]
    group.create_array("s0", data=data, **array)
    scale = {"type": "scale", "scale": [0.5] * data.ndim}
    multiscale = {
        "axes": axes,
        "datasets": [{"path": "s0", "coordinateTransformations": [scale]}],
        "coordinateTransformations": [{"type": "scale", "scale": [2000.0] * data.ndim}],
    }
    said = {"multiscales": [multiscale]}
    group.attrs.update({"ome": {"version": "0.5", **said}} if zarr_format == 3 else said)
    return multiscale


NANOMETRES = [
    {"name": "z", "type": "space"},
    {"name": "y", "type": "space", "unit": "nanometer"},
    {"name": "x", "type": "space", "unit": "millimeter"},
]
FOREIGN = [
    {"zarr_format": 2},
    {"zarr_format": 2, "chunks": (2, 4, 3), "compressors": None, "order": "F"},
    {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    {"zarr_format": 3},
    {"zarr_format": 3, "chunks": (2, 4, 3), "compressors": zarr.codecs.BloscCodec()},
    {"zarr_format": 3, "serializer": zarr.codecs.BytesCodec(endian="big")},
    {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "."}},
    {"zarr_format": 3, "chunks": (1, 3, 4), "shards": (2, 9, 8)},
]


@pytest.mark.parametrize("dtype", ["uint16", "float32", ">i4"])
@pytest.mark.parametrize("array", FOREIGN, ids=range(len(FOREIGN)))
@pytest.mark.filterwarnings("ignore:The `order` keyword argument has no effect")
def test_an_image_of_another_program_is_read(tmp_path, array, dtype):
    """Other codecs, names and byte orders; chunks of fill values may be missing."""
    data = pixels(4, 9, 8).astype(dtype)
    data[2:] = 0
    if array["zarr_format"] == 3:
        data = data.astype(data.dtype.newbyteorder("="))
    foreign(tmp_path / "a.zarr", data, NANOMETRES, **array)
    serializer = ArrayToOmeZarr()
    described = serializer.describe(tmp_path / "a.zarr")
    assert (described.shape, described.dim_order) == (data.shape, "ZYX")
    assert described.dtype == data.dtype.newbyteorder("=")
    assert described.channel_names is None
    assert described.physical_pixel_sizes == (None, 1.0, 1e6)
    native = data.astype(data.dtype.newbyteorder("="))
    np.testing.assert_array_equal(serializer.read(tmp_path / "a.zarr"), native, strict=True)
    np.testing.assert_array_equal(
        serializer.open(tmp_path / "a.zarr")[1:, ::3, 4], native[1:, ::3, 4]
    )


@pytest.mark.filterwarnings("ignore:BloscShuffle:DeprecationWarning")  # bioio asks zarr so
def test_what_bioio_writes_is_read(tmp_path):
    """Names, sizes and pixels."""
    from bioio_ome_zarr.writers import Channel, OMEZarrWriter

    for version in (2, 3):
        path = tmp_path / f"{version}.ome.zarr"
        writer = OMEZarrWriter(
            store=str(path),
            level_shapes=[(2, 9, 8)],
            dtype="uint16",
            zarr_format=version,
            axes_names=["c", "y", "x"],
            axes_types=["channel", "space", "space"],
            axes_units=[None, "micrometer", "micrometer"],
            physical_pixel_size=[1.0, 0.5, 0.25],
            channels=[Channel(label="a", color="FF0000"), Channel(label="b", color="00FF00")],
        )
        writer.write_full_volume(pixels(2, 9, 8))
        described = ArrayToOmeZarr().describe(path)
        assert (described.dim_order, described.channel_names) == ("CYX", ("a", "b"))
        assert described.physical_pixel_sizes == (None, 0.5, 0.25)
        np.testing.assert_array_equal(ArrayToOmeZarr().read(path), pixels(2, 9, 8))


def test_axes_without_letters_are_nobody_s(tmp_path):
    """The setting says what they are, else the number of axes."""
    foreign(tmp_path / "a.zarr", pixels(2, 9, 8), ["angle", "y", "x"], zarr_format=3)
    assert ArrayToOmeZarr().describe(tmp_path / "a.zarr").dim_order == "ZYX"
    assert ArrayToOmeZarr("CYX").describe(tmp_path / "a.zarr").dim_order == "CYX"


# ---------------------------------------------------------------- what is refused


def test_a_missing_chunk_is_an_error_and_no_zeros(tmp_path):
    """zarr would give fill values; here every chunk was written."""
    every: list[dict] = [{}, {"version": "0.4"}, {"shards": (1, 1, 9, 8)}]
    for number, settings in enumerate(every):
        path, serializer = tmp_path / f"{number}.ome.zarr", ArrayToOmeZarr(**settings)
        serializer.save(np.zeros((2, 3, 9, 8), "uint8"), path)
        next(name for name in path.rglob("1/2/0/0")).unlink()
        opened = serializer.open(path)
        for read in (
            partial(serializer.describe, path),
            partial(serializer.read, path),
            partial(opened.__getitem__, (1, 2)),
        ):
            with pytest.raises(SerializerError, match=r"1/2/0/0 is missing"):
                read()
        assert not opened[0].any()


def test_a_cut_chunk_is_an_error(tmp_path):
    """It names the file."""
    path = tmp_path / "a.ome.zarr"
    ArrayToOmeZarr().save(pixels(2, 90, 80), path)
    os.truncate(path / "0/c/1/0/0", 100)
    for read in (ArrayToOmeZarr().describe, ArrayToOmeZarr().read):
        with pytest.raises(SerializerError, match="0/c/1/0/0"):
            read(path)


def test_what_is_no_image_is_said(tmp_path):
    """A folder of something else, several images, an array, a file; nothing is no damage."""
    zarr.create_group(tmp_path / "group.zarr")
    zarr.create_group(tmp_path / "old.zarr", zarr_format=2)
    zarr.create_array(tmp_path / "array.zarr", shape=(2, 2), dtype="u1")
    zarr.create_group(tmp_path / "plate.zarr", attributes={"ome": {"plate": {}}})
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "file.zarr").write_text("x")
    for name, message in (
        ("group", "no multiscales"),
        ("old", "no multiscales"),
        ("array", "an array, not a group"),
        ("plate", "holds several images"),
        ("folder", "is not a whole OME-Zarr"),
        ("file", "is not a whole OME-Zarr"),
    ):
        with pytest.raises(SerializerError, match=message):
            ArrayToOmeZarr().describe(tmp_path / f"{name}.zarr")
    with pytest.raises(FileNotFoundError):
        ArrayToOmeZarr().read(tmp_path / "nothing.zarr")


def test_nothing_is_written_over(tmp_path):
    """The folder is new: parts of an older image never stay in it."""
    ArrayToOmeZarr().save(pixels(9, 8), tmp_path / "a.ome.zarr")
    with pytest.raises(FileExistsError):
        ArrayToOmeZarr().save(pixels(9, 8), tmp_path / "a.ome.zarr")


WRONG = [
    ({}, np.zeros(5), "shape (5,) has 1 axes"),
    ({}, np.zeros((1,) * 6), "has 6 axes"),
    ({"dim_order": "YX"}, np.zeros((2, 3, 4)), "does not fit dim_order='YX'"),
    ({"channel_names": ["a"]}, np.zeros((2, 1, 3, 4)), "1 channel names (a) for 2 channels"),
    ({}, np.zeros((0, 4)), "holds no pixels"),
    ({}, np.zeros((3, 4), object), "pixels of type object"),
    ({}, np.zeros((3, 4), "c8"), "pixels of type complex64 have no place in OME-Zarr"),
    ({}, np.zeros((3, 4), "g"), "pixels of type float128"),
    ({}, None, "pixels of type object"),
    ({}, Image(np.zeros((3, 4, 3)), "YXS"), "make colours channels"),
    ({}, Image(np.zeros((2, 3, 4, 5)), "ZCYX"), "orders axes as in TCZYX"),
    ({"labels": True}, np.zeros((3, 4)), "labels of type float64"),
    ({"windows": [(0, 1)]}, np.zeros((2, 1, 3, 4)), "1 windows for 2 channels"),
    ({"chunks": (5, 5)}, np.zeros((2, 3, 4)), "chunks=(5, 5) for 3 axes (ZYX)"),
    ({"shards": (3, 3), "chunks": (2, 2)}, np.zeros((9, 9)), "not whole chunks"),
    ({}, da.zeros((4, 4))[da.zeros(4) == 0], "compute_chunk_sizes"),
    ({"chunks": (40_000, 40_000)}, np.broadcast_to(np.uint8(0), (40_000, 40_000)), "at most 536"),
]


@pytest.mark.parametrize(
    ("settings", "value", "message"), WRONG, ids=[wrong[-1] for wrong in WRONG]
)
def test_what_cannot_be_written_is_said(tmp_path, settings, value, message):
    """What came, what was expected; and nothing is written."""
    with pytest.raises(SerializerError) as error:
        ArrayToOmeZarr(**settings).save(value, tmp_path / "a.ome.zarr")
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


BAD_SETTINGS = [
    ({"dim_order": "XY"}, "ending in YX"),
    ({"dim_order": "YXS"}, "make colours channels"),
    ({"dim_order": "ZCYX"}, "orders axes as in TCZYX"),
    ({"physical_pixel_sizes": (1, 0, 2)}, "three sizes in micrometres"),
    ({"version": "0.3"}, "'0.5' or '0.4'"),
    ({"compression": "best"}, "'zstd', 'lz4' or None"),
    ({"chunks": (1, 0, 5)}, "one length in pixels an axis"),
    ({"shards": True, "labels": True}, "painting one pixel"),
    ({"shards": True, "version": "0.4"}, "0.4 has none"),
    ({"windows": [(1, 0)]}, "low, high"),
    ({"windows": [(0, 1)], "labels": True}, "none for labels"),
]


@pytest.mark.parametrize(("settings", "message"), BAD_SETTINGS)
def test_wrong_settings_are_said_where_they_are_written(settings, message):
    """Not in the middle of a run."""
    with pytest.raises(SerializerError, match=message):
        ArrayToOmeZarr(**settings)
