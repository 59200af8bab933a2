"""Smaller levels, names, colours and windows: what images say of themselves in both formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import ome_types
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from databacked import ArrayToOmeTiff, ArrayToOmeZarr, Image
from databacked.errors import SerializerError
from databacked.serializers.images import is_averaged, reduced


def means(pixels: Any, inner: int = 2) -> Any:
    """Return means of two by two pixels, written out another way than ours."""
    pixels = np.asarray(pixels)
    height, width = pixels.shape[pixels.ndim - inner :][:2]
    wide = [(0, 0)] * pixels.ndim
    wide[pixels.ndim - inner] = (0, height % 2)
    wide[pixels.ndim - inner + 1] = (0, width % 2)
    whole = np.pad(pixels, wide, mode="edge").astype("c16" if pixels.dtype.kind == "c" else "f8")
    *outer, height, width = whole.shape[: whole.ndim - inner + 2]
    rest = whole.shape[whole.ndim - inner + 2 :]
    whole = whole.reshape(*outer, height // 2, 2, width // 2, 2, *rest)
    found = whole.mean(axis=(len(outer) + 1, len(outer) + 3))
    return (np.floor(found + 0.5) if pixels.dtype.kind in "iu" else found).astype(pixels.dtype)


@given(
    hnp.arrays(
        st.sampled_from(["uint8", "int8", "uint16", "int16", "float32"]),
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=9),
        elements=st.integers(0, 100),
    ),
    st.booleans(),
)
def test_a_level_is_the_mean_of_four_or_the_first_of_them(pixels, mean):
    expected = means(pixels) if mean else pixels[..., ::2, ::2]
    found = reduced(pixels, (1,) * (pixels.ndim - 2) + (2, 2), mean=mean)
    assert found.dtype == pixels.dtype
    np.testing.assert_array_equal(found, expected)


def test_means_of_the_largest_numbers_do_not_overflow():
    for dtype in ("uint8", "uint16", "int16"):
        for edge in (np.iinfo(dtype).min, np.iinfo(dtype).max):
            assert (reduced(np.full((3, 3), edge, dtype), (2, 2), mean=True) == edge).all()


def levels_of(path: Path) -> list[Any]:
    """Return the pixels of each level, as other programs read them."""
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            return [level.asarray() for level in tiff.series[0].levels]
    group: Any = zarr.open_group(path, mode="r")
    return [group[name][...] for name in sorted(group.array_keys())]


LABELS = {
    "by labels=True": (np.arange(1, 50, dtype="uint8"), {"labels": True}),
    "by 32 bits": (np.arange(1, 50, dtype="uint32"), {}),
    "by 64 bits": (np.arange(1, 50, dtype="int64"), {}),
    "True and False": (np.arange(49) % 3 == 0, {}),
}


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
@pytest.mark.parametrize(("values", "said"), LABELS.values(), ids=LABELS)
@pytest.mark.parametrize(
    ("make", "name"), [(ArrayToOmeTiff, "a.tif"), (ArrayToOmeZarr, "a.ome.zarr")]
)
def test_no_label_comes_up_that_is_not_there(make, name, values, said, lazy, tmp_path):
    pixels = np.random.default_rng(0).choice(values, (40, 33))
    make(pyramid=True, **said).save(da.from_array(pixels) if lazy else pixels, tmp_path / name)
    large, small, *_ = levels_of(tmp_path / name)
    np.testing.assert_array_equal(small, large[::2, ::2])
    back = make().read(tmp_path / name)
    assert back.tolist() == pixels.tolist()


def test_what_is_averaged():
    averaged = [
        d
        for d in ("u1", "i2", "f2", "f8", "c8", "?", "i4", "u8")
        if is_averaged(np.dtype(d), labels=False)
    ]
    assert averaged == ["u1", "i2", "f2", "f8", "c8"]
    assert not is_averaged(np.dtype("u1"), labels=True)


def test_a_level_of_colours_is_the_mean_of_each(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 21, 3), "uint8")
    ArrayToOmeTiff("YXS", pyramid=True).save(pixels, tmp_path / "a.tif")
    _, small, *_ = levels_of(tmp_path / "a.tif")
    np.testing.assert_array_equal(small, means(pixels, 3))


# ---------------------------------------------------------------- names and colours


def zarr_said(path: Path) -> Any:
    if (path / ".zattrs").exists():
        return json.loads((path / ".zattrs").read_bytes())
    return json.loads((path / "zarr.json").read_bytes())["attributes"]["ome"]


def test_an_image_has_the_name_that_somebody_gave_it(tmp_path):
    """Else none, and viewers show the file's: bytes do not depend on where they go."""
    pixels = np.zeros((4, 5), "uint8")
    for name in (None, "cell 1"):
        ArrayToOmeTiff(image_name=name).save(pixels, tmp_path / f"{name}.tif")
        assert ome_types.from_tiff(tmp_path / f"{name}.tif", validate=True).images[0].name == name
        ArrayToOmeZarr(image_name=name).save(pixels, tmp_path / f"{name}.zarr")
        assert zarr_said(tmp_path / f"{name}.zarr")["multiscales"][0].get("name") == name


def test_channels_have_the_colours_that_somebody_gave_them(tmp_path):
    pixels = np.zeros((3, 4, 5), "uint8")
    given = [(255, 0, 0), "#00ff00", (0, 0, 128)]
    said: Any = {"channel_colors": given, "channel_names": ["a", "b", "c"]}
    ArrayToOmeTiff("CYX", **said).save(pixels, tmp_path / "a.tif")
    channels = ome_types.from_tiff(tmp_path / "a.tif", validate=True).images[0].pixels.channels
    assert [one.color.as_rgb_tuple()[:3] for one in channels] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 128),
    ]
    assert [one.name for one in channels] == ["a", "b", "c"]
    ArrayToOmeZarr("CYX", **said).save(pixels, tmp_path / "a.zarr")
    found = [one["color"] for one in zarr_said(tmp_path / "a.zarr")["omero"]["channels"]]
    assert found == ["FF0000", "00FF00", "000080"]


@pytest.mark.parametrize("make", [ArrayToOmeTiff, ArrayToOmeZarr])
@pytest.mark.parametrize("wrong", ["red", [(1, 2)], [(1, 2, 300)], ["#12"], [(0.5, 0, 0)], [7]])
def test_what_is_no_colour_is_an_error(make, wrong):
    with pytest.raises(SerializerError, match="one colour a channel was expected"):
        make(channel_colors=wrong)


@pytest.mark.parametrize("make", [ArrayToOmeTiff, ArrayToOmeZarr])
def test_each_channel_needs_a_colour(make, tmp_path):
    with pytest.raises(SerializerError, match="1 channel colors for 3 channels"):
        make("CYX", channel_colors=["#FF0000"]).save(np.zeros((3, 4, 5)), tmp_path / "a")


@pytest.mark.filterwarnings("ignore:As of version 0.4.0, the parser argument")  # bioio's own
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_seconds_between_frames_are_read_by_others(version, tmp_path):
    import bioio_ome_tiff
    import bioio_ome_zarr

    pixels = np.zeros((3, 1, 2, 9, 8), "uint8")
    ArrayToOmeTiff("TCZYX", time_interval=2.5).save(pixels, tmp_path / "a.ome.tif")
    said = ome_types.from_tiff(tmp_path / "a.ome.tif", validate=True).images[0].pixels
    assert (said.time_increment, said.time_increment_unit.value) == (2.5, "s")
    serializer = ArrayToOmeZarr(
        "TCZYX", None, (0.3, 0.1, 0.2), version=version, pyramid=True, time_interval=2.5
    )
    serializer.save(pixels, tmp_path / "a.ome.zarr")
    reader = bioio_ome_zarr.Reader(tmp_path / "a.ome.zarr")
    assert reader.scale.T == 2.5
    assert reader.dimension_properties.T.unit == "second"
    assert reader.physical_pixel_sizes == (0.3, 0.1, 0.2)
    elsewhere = bioio_ome_tiff.Reader(tmp_path / "a.ome.tif")
    assert elsewhere.xarray_dask_data.coords["T"].values.tolist() == [0, 2.5, 5]
    for make in (ArrayToOmeTiff, ArrayToOmeZarr):
        with pytest.raises(SerializerError, match="for an image without T"):
            make("CYX", time_interval=1).save(np.zeros((1, 4, 5)), tmp_path / "b")
        odd: list[Any] = [0, -1, "1", np.nan, np.inf, True]
        for wrong in odd:
            with pytest.raises(SerializerError, match="seconds between frames were expected"):
                make(time_interval=wrong)


# ---------------------------------------------------------------- chosen levels


@given(
    hnp.arrays(
        st.sampled_from(["uint8", "int8", "uint16", "int16", "float32"]),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=9),
        elements=st.integers(0, 100),
    ),
    st.tuples(*[st.integers(1, 4)] * 3),
)
def test_a_level_is_the_mean_of_as_many_pixels_as_there_are(pixels, factors):
    """Also at the edges, where there are fewer."""
    expected = np.empty([-(-n // step) for n, step in zip(pixels.shape, factors, strict=True)])
    for index in np.ndindex(expected.shape):
        block = pixels[
            tuple(slice(n * s, (n + 1) * s) for n, s in zip(index, factors, strict=True))
        ]
        mean = block.mean(dtype=np.float64)
        expected[index] = np.floor(mean + 0.5) if pixels.dtype.kind in "iu" else mean
    found = reduced(pixels, factors, mean=True)
    np.testing.assert_allclose(found, expected.astype(pixels.dtype), rtol=1e-6)
    first = reduced(pixels, factors, mean=False)
    np.testing.assert_array_equal(first, pixels[tuple(slice(None, None, s) for s in factors)])


@pytest.mark.parametrize("lazy", [False, True], ids=["eager", "lazy"])
def test_levels_and_factors_can_be_chosen(tmp_path, lazy):
    """As many as asked for, also along Z where the format has them."""
    pixels = np.random.default_rng(0).integers(0, 60000, (9, 40, 70)).astype("uint16")
    value = da.from_array(pixels, chunks=(2, 33, 70)) if lazy else pixels
    ArrayToOmeZarr(levels=2, factors={"Z": 2, "Y": 3, "X": 2}).save(value, tmp_path / "a.zarr")
    whole, small, smallest = levels_of(tmp_path / "a.zarr")
    np.testing.assert_array_equal(whole, pixels)
    np.testing.assert_array_equal(small, reduced(pixels, (2, 3, 2), mean=True))
    np.testing.assert_array_equal(smallest, reduced(small, (2, 3, 2), mean=True))
    said = zarr_said(tmp_path / "a.zarr")["multiscales"][0]
    assert said["metadata"]["description"] == (
        "the mean of two by three by two pixels along z and y and x"
    )
    scale, there = said["datasets"][2]["coordinateTransformations"]
    assert scale["scale"] == [4, 9, 4]
    assert there["translation"] == [1.5, 4, 1.5]
    ArrayToOmeTiff(levels=1, factors={"X": 4}).save(value, tmp_path / "a.tif")
    whole, small = levels_of(tmp_path / "a.tif")
    np.testing.assert_array_equal(whole, pixels)
    np.testing.assert_array_equal(small, reduced(pixels, (1, 1, 4), mean=True))


def test_a_mean_of_what_is_not_finite_is_not_finite_either():
    """Silently: that it is no number was known before."""
    pixels = np.array([[np.inf, 1, np.nan, 1], [-np.inf, 1, 1, 1]], "float32")
    np.testing.assert_array_equal(reduced(pixels, (2, 2), mean=True), [[np.nan, np.nan]])
    np.testing.assert_array_equal(reduced(pixels[:1, :2], (1, 2), mean=True), [[np.inf]])


def test_as_many_levels_as_are_smaller(tmp_path):
    """Of one pixel nothing is smaller; none where none is asked for."""
    ArrayToOmeZarr(levels=9).save(np.zeros((3, 5), "uint8"), tmp_path / "a.zarr")
    assert [one.shape for one in levels_of(tmp_path / "a.zarr")] == [(3, 5), (2, 3), (1, 2), (1, 1)]
    ArrayToOmeZarr(levels=0).save(np.zeros((1, 5000), "uint8"), tmp_path / "b.zarr")
    assert [one.shape for one in levels_of(tmp_path / "b.zarr")] == [(1, 5000)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"levels": -1}, "how many smaller ones"),
        ({"levels": True}, "how many smaller ones"),
        ({"levels": 2, "pyramid": False}, "writes no smaller levels"),
        ({"factors": [2, 2]}, "than the one before was expected by axis"),
        ({"factors": {"Y": 0}}, "than the one before was expected by axis"),
        ({"factors": {"C": 2}}, "smaller levels along .*Y, X are possible"),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [ArrayToOmeTiff, ArrayToOmeZarr])
def test_levels_that_cannot_be_are_refused_at_once(make, settings, said):
    with pytest.raises(SerializerError, match=said):
        make(**settings)


def test_a_tiff_has_no_levels_along_z():
    with pytest.raises(SerializerError, match="along Y, X are possible here"):
        ArrayToOmeTiff(factors={"Z": 2, "Y": 2, "X": 2})


# ---------------------------------------------------------------- where a crop lay


@pytest.mark.parametrize("sizes", [(0.3, 0.1, 0.2), None], ids=["in µm", "in pixels"])
@pytest.mark.parametrize("version", ["0.4", "0.5", "tiff"])
def test_where_a_crop_lay_comes_back(tmp_path, version, sizes):
    """The image's own word wins over the setting; a mean lies in the middle of its pixels."""
    pixels = np.zeros((2, 3, 40, 50), "uint8")
    there = (None, 12.5, 7)
    value = Image(pixels, "CZYX", None, sizes, there)
    serializer: Any = ArrayToOmeTiff(translation=(1, 2, 3), levels=1)
    if version != "tiff":
        serializer = ArrayToOmeZarr(version=version, translation=(1, 2, 3), levels=1)
    path = tmp_path / ("a.ome.tiff" if version == "tiff" else "a.ome.zarr")
    assert serializer.save(value, path).description.translation == there
    assert serializer.describe(path).translation == there
    serializer.save(pixels, path.with_name(f"b{path.name[1:]}"))
    assert serializer.describe(path.with_name(f"b{path.name[1:]}")).translation == (1, 2, 3)
    if version == "tiff":
        planes = ome_types.from_tiff(path, validate=True).images[0].pixels.planes
        assert len(planes) == 6
        assert {(one.position_y, one.position_x) for one in planes} == {(12.5, 7)}
        unit = "µm" if sizes else "pixel"
        assert {one.position_x_unit.value for one in planes} == {unit}
        return
    first, second = zarr_said(path)["multiscales"][0]["datasets"]
    _, y, x = sizes or (1, 1, 1)
    assert first["coordinateTransformations"][1]["translation"] == [0, 0, 12.5, 7]
    assert second["coordinateTransformations"][1]["translation"] == [0, 0, 12.5 + y / 2, 7 + x / 2]


@pytest.mark.parametrize("make", [ArrayToOmeTiff, ArrayToOmeZarr])
def test_planes_of_a_crop_lie_above_one_another(make, tmp_path):
    """Also where Z is no longer the first axis; an image without Z has no place along it."""
    path = tmp_path / "a.ome.tiff"
    value = Image(np.zeros((2, 3, 4, 5), "uint8"), "CZYX", None, (0.5, 1, 1), (10, 0, 0))
    ArrayToOmeTiff().save(value, path)
    planes = ome_types.from_tiff(path, validate=True).images[0].pixels.planes
    assert [one.position_z for one in planes] == [10, 10.5, 11] * 2
    for wrong in ((1, 2), "123", (1, "a", 2), (np.inf, 1, 1), {1: 2}):
        with pytest.raises(SerializerError, match="where the first pixel lies"):
            make(translation=wrong)


# ---------------------------------------------------------------- windows


def test_a_window_leaves_out_a_thousandth_of_the_pixels(tmp_path):
    """One hot pixel does not make everything else black."""
    pixels = np.random.default_rng(0).normal(1000, 50, (2, 300, 400)).clip(1, None).astype("uint16")
    pixels[:, 7, 7] = 65000
    for number, value in enumerate((pixels, da.from_array(pixels, chunks=(1, 130, 77)))):
        ArrayToOmeZarr("CYX").save(value, tmp_path / f"{number}.zarr")
        for channel, said in enumerate(zarr_said(tmp_path / f"{number}.zarr")["omero"]["channels"]):
            low, high = np.percentile(pixels[channel], (0.1, 99.9), method="nearest")
            assert (said["window"]["start"], said["window"]["end"]) == (low, high)
            assert high < 1300


def test_a_window_of_a_large_image_is_of_pixels_that_lie_evenly(tmp_path):
    """However its blocks lie."""
    pixels = np.random.default_rng(0).normal(1000, 50, (3000, 2000)).astype("uint16")
    found = []
    for number, chunks in enumerate(((3000, 2000), (700, 333))):
        lazy = da.from_array(pixels, chunks=chunks)
        ArrayToOmeZarr(pyramid=False).save(lazy, tmp_path / f"{number}.zarr")
        found.append(zarr_said(tmp_path / f"{number}.zarr")["omero"]["channels"][0]["window"])
    assert found[0] == found[1]
    low, high = np.percentile(pixels, (0.1, 99.9))
    assert abs(found[0]["start"] - low) < 5
    assert abs(found[0]["end"] - high) < 5


def test_a_window_of_a_few_bright_spots_reaches_them(tmp_path):
    pixels = np.zeros((200, 200), "uint16")
    pixels[3, 4] = 900
    ArrayToOmeZarr().save(pixels, tmp_path / "a.zarr")
    window = zarr_said(tmp_path / "a.zarr")["omero"]["channels"][0]["window"]
    assert (window["start"], window["end"]) == (0, 900)
