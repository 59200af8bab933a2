"""Lazy arrays: each block is computed once, whatever the file looks like; memory stays small."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from textwrap import dedent
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from databacked import ArrayToOmeTiff, ArrayToOmeZarr
from databacked.errors import SerializerError
from databacked.serializers.blocks import Canvas, regions, staged

from .test_levels import means

CHUNKS = {
    "planes": (1, 1, 600, 500),
    "several planes": (1, 4, 600, 500),
    "all": (2, 4, 600, 500),
    "quarters of planes": (1, 1, 300, 250),
    "quarters of several planes": (2, 2, 300, 250),
    "tiles": (1, 1, 512, 512),
    "odd pieces": ((1, 1), (3, 1), (100, 7, 493), (499, 1)),
}
FORMATS: dict[str, Any] = {
    "tiff": ArrayToOmeTiff,
    "tiff, zlib": lambda **said: ArrayToOmeTiff(compression="zlib", **said),
    "zarr": ArrayToOmeZarr,
    "zarr, shards": lambda **said: ArrayToOmeZarr(shards=True, **said),
    "zarr, own chunks": lambda **said: ArrayToOmeZarr(chunks=(1, 2, 100, 130), **said),
}


def counted(chunks: Any, dtype: str = "uint16") -> tuple[Any, Counter[Any]]:
    """Return random pixels, other ones each time they are computed, and how often they were."""
    counts: Counter[Any] = Counter()
    chance = np.random.default_rng(0)

    def block(like: Any, block_info: Any = None) -> Any:
        if block_info:
            counts[block_info[0]["chunk-location"]] += 1
        if like.dtype.kind == "b":
            return chance.random(like.shape) > 0.5
        return chance.integers(1, 200, like.shape).astype(like.dtype)

    lazy = da.zeros((2, 4, 600, 500), dtype=dtype, chunks=chunks)
    found = lazy.map_blocks(block, dtype=dtype, meta=np.empty((0,) * 4, dtype))
    counts.clear()
    return found, counts


@pytest.mark.parametrize("pyramid", [False, True], ids=["one level", "levels"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("make", FORMATS.values(), ids=FORMATS)
def test_each_block_is_computed_once(make, chunks, pyramid, tmp_path):
    lazy, counts = counted(chunks)
    ending = ".ome.zarr" if "Zarr" in type(serializer := make(pyramid=pyramid)).__name__ else ".tif"
    serializer.save(lazy, tmp_path / f"a{ending}")
    assert set(counts.values()) == {1}
    assert len(counts) == lazy.npartitions
    assert serializer.read(tmp_path / f"a{ending}").max() > 0


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float16", "bool", "uint8"])
@pytest.mark.parametrize("make", [ArrayToOmeTiff, ArrayToOmeZarr])
def test_once_whatever_its_type(make, dtype, tmp_path):
    """The range of integers of 64 bits is known when all are there."""
    if make is ArrayToOmeZarr and dtype == "float16":
        make = lambda: ArrayToOmeZarr(pyramid=False)  # noqa: E731
    lazy, counts = counted(CHUNKS["quarters of planes"], dtype)
    ending = ".tif" if make is ArrayToOmeTiff else ".ome.zarr"
    written = make().save(lazy, tmp_path / f"a{ending}")
    assert set(counts.values()) == {1}
    if dtype == "int64" and make is ArrayToOmeTiff:
        assert written.notes == ("int64 is stored as uint8, which holds all values",)


def test_the_levels_of_random_pixels_are_of_the_same_pixels(tmp_path):
    import tifffile
    import zarr

    for chunks in (CHUNKS["quarters of planes"], CHUNKS["several planes"]):
        lazy, _ = counted(chunks)
        ArrayToOmeTiff(pyramid=True).save(lazy, tmp_path / "a.tif")
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            large, small = (level.asarray() for level in tiff.series[0].levels)
        np.testing.assert_array_equal(small, means(large))
        (tmp_path / "a.tif").unlink()
    lazy, _ = counted(CHUNKS["quarters of planes"])
    ArrayToOmeZarr(pyramid=True).save(lazy, tmp_path / "a.zarr")
    group: Any = zarr.open_group(tmp_path / "a.zarr", mode="r")
    np.testing.assert_array_equal(group["1"][...], means(group["0"][...]))


@pytest.mark.parametrize("pyramid", [False, True], ids=["one level", "levels"])
def test_a_lazy_array_gives_the_file_that_the_same_pixels_give(pyramid, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 99, (2, 4, 600, 500), "uint16")
    for number, (make, chunks) in enumerate(
        (make, chunks) for make in FORMATS.values() for chunks in CHUNKS.values()
    ):
        one = make(pyramid=pyramid).save(pixels, tmp_path / f"{number}a")
        lazy = da.from_array(pixels, chunks=chunks)
        other = make(pyramid=pyramid).save(lazy, tmp_path / f"{number}b")
        assert one.content == other.content, (number, chunks)


def test_nothing_is_left_of_what_fails(tmp_path):
    def fail(block: Any) -> Any:
        raise RuntimeError("no memory")

    lazy = da.zeros((4, 10, 10), chunks=(1, 10, 10)).map_blocks(fail, meta=np.empty((0, 0, 0)))
    with pytest.raises(RuntimeError, match="no memory"):
        ArrayToOmeTiff().save(lazy, tmp_path / "a.tif")
    assert [*tmp_path.iterdir()] == []


WRONG = {
    "fractions": (lambda one: one / 7, "holds float64, and the array says uint16"),
    "large numbers": (lambda one: one.astype("int64") + 70000, "holds int64"),
    "negative ones": (lambda one: one.astype("int16") - 5, "holds int16"),
    "fewer rows": (lambda one: one[:, :2], r"has shape \(.*\), and the array says"),
    "more rows": (lambda one: np.concatenate([one, one[:, :1]], 1), "has shape"),
    "one pixel": (lambda one: one[:, :1, :1], "has shape"),
}


@pytest.mark.parametrize("chunks", [(1, 4, 8), (2, 3, 5)], ids=["files", "others"])
@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("make", [ArrayToOmeTiff, ArrayToOmeZarr])
def test_blocks_that_are_not_what_the_array_says_are_refused(make, change, said, chunks, tmp_path):
    """Dask takes the user's word for it; numbers would be cut without one."""
    pixels = da.from_array(np.arange(128, dtype="uint16").reshape(2, 8, 8), chunks=chunks)
    lazy = pixels.map_blocks(change, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
    with pytest.raises((SerializerError, ValueError), match=f"{said}|chunk"):
        make(**({"chunks": (1, 4, 8)} if make is ArrayToOmeZarr else {})).save(lazy, tmp_path / "a")
    fine = pixels.map_blocks(lambda one: one.astype("uint8"), dtype="uint16")
    make().save(fine, tmp_path / "b")
    np.testing.assert_array_equal(make().read(tmp_path / "b"), np.asarray(pixels))


@given(st.data())
def test_a_canvas_gives_back_what_was_put_down(tmp_path_factory, data):
    """Any shape, any blocks, any part: as numpy."""
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=4)))
    chunks = tuple(data.draw(st.integers(1, length)) for length in shape)
    inner = data.draw(st.integers(2, min(3, len(shape))))
    pixels = np.arange(np.prod(shape), dtype="int32").reshape(shape)
    lazy = da.from_array(pixels, chunks=chunks)
    assert len([*regions(lazy)]) == lazy.npartitions
    key = tuple(
        data.draw(
            st.one_of(
                st.integers(-length, length - 1),
                st.builds(
                    slice,
                    st.none() | st.integers(-8, 8),
                    st.none() | st.integers(-8, 8),
                    st.none() | st.integers(1, 3),
                ),
            )
        )
        for length in shape
    )
    with staged(lazy, tmp_path_factory.getbasetemp(), inner) as canvas:
        np.testing.assert_array_equal(canvas[key], pixels[key])
        np.testing.assert_array_equal(canvas[...], pixels)


def test_a_canvas_of_which_nothing_was_put_down_is_zero(tmp_path):
    with Canvas((2, 3), "uint8", tmp_path) as canvas:
        assert canvas[...].tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [(1, 4096, 4096), (8, 2048, 1024), (1, 2048, 2048)], ids=str)
@pytest.mark.parametrize("name", ["ArrayToOmeTiff", "ArrayToOmeZarr"])
def test_a_gibibyte_needs_less_than_300_megabytes(name, chunks, tmp_path):
    """Of 32 planes of 4096 x 4096 uint16, with smaller levels."""
    script = f"""
        import dask, dask.array as da, re
        from pathlib import Path
        from databacked import {name}
        def peak():
            said = Path("/proc/self/status").read_text()
            return int(re.search(r"VmHWM:\\s+(\\d+)", said)[1]) / 1e3
        dask.config.set(num_workers=2)
        lazy = da.random.default_rng(0).integers(
            0, 255, (32, 4096, 4096), dtype="uint16", chunks={chunks})
        {name}(pyramid=True).save(lazy, Path({str(tmp_path / "a")!r}))
        print(peak())
        """
    said = subprocess.run(
        [sys.executable, "-c", dedent(script)], capture_output=True, text=True, check=True
    )
    assert float(said.stdout) < 300
