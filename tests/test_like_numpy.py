"""Backed arrays where numpy's are wanted: by numpy itself, by Python and by code in C."""

from __future__ import annotations

import copy
import operator
import pickle
import sys
from typing import Any

import numpy as np
import PIL.Image
import pytest
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from databacked import FlowFailed, LocalResult, flow, task
from databacked.places.backed import BackedArray

IMAGE = np.arange(64, dtype="uint8").reshape(8, 8)
NEW_BUFFERS = pytest.mark.skipif(sys.version_info < (3, 12), reason="asked for by Python 3.12")


@task(result=LocalResult("arrays"), target="{name}.npy")
def kept(name, value):
    """Return an array as a backed one."""
    return value


@pytest.fixture
def image(project) -> Any:
    found = kept("image", IMAGE)
    assert isinstance(found, BackedArray)
    return found


DTYPES = st.one_of(
    npst.integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?"),
    npst.complex_number_dtypes(),
    npst.boolean_dtypes(),
    npst.datetime64_dtypes(),
    npst.unicode_string_dtypes(min_len=1),
    st.just(np.dtype([("label", "i4"), ("area", "f8")])),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(npst.arrays(DTYPES, npst.array_shapes(min_dims=0, min_side=0, max_side=3)), st.booleans())
def test_it_becomes_numpys_own_in_every_way(project, value, turned):
    """Whatever the type, the axes and the order in memory."""
    value = value.T if turned else value
    x = kept("any", value)
    for how in (np.asarray, np.array, np.asfortranarray, np.atleast_1d):
        made, expected = how(x), how(value)
        assert (made.dtype, made.shape) == (expected.dtype, expected.shape)
        assert made.tobytes() == expected.tobytes()
    assert np.asarray(x).flags.writeable
    assert bytes(x) == value.tobytes()


def test_scalars_are_numbers(project):
    """An array without axes is one, as numpy's is."""
    five, z = kept("five", np.array(5)), kept("z", np.array(1 + 2j))
    assert (int(five), float(five), operator.index(five), complex(z)) == (5, 5.0, 5, 1 + 2j)
    assert (list("abcdef")[five], f"{five:03d}", bool(five)) == ("f", "005", True)


def test_images_are_no_numbers(image):
    """And are not read to say so."""
    with pytest.raises(TypeError, match="only integer scalar arrays"):
        operator.index(image)
    for one in (bool, int, float):
        with pytest.raises((TypeError, ValueError)):
            one(image)
    with pytest.raises(TypeError):
        hash(image)


@pytest.mark.parametrize(
    "use",
    [
        lambda x: 5 in x,
        lambda x: 500 in x,
        lambda x: len(x),
        lambda x: [row.sum() for row in x],
        lambda x: [row.sum() for row in reversed(x)],
        lambda x: np.asarray(PIL.Image.fromarray(x)),
        lambda x: np.from_dlpack(x),
        lambda x: x.__array_namespace__().__name__,
        lambda x: x.__dlpack_device__(),
        lambda x: np.arange(100)[x],
        lambda x: x[x > 7],
        lambda x: np.ma.masked_less(x, 9).sum(),
        lambda x: xarray.DataArray(x).sum().item(),
        lambda x: [*map(int, x.flat)],
        lambda x: x.__array_interface__["typestr"],
        lambda x: "mean" in dir(x) and "sum" in dir(x),
        lambda x: divmod(x, 5)[1],
        lambda x: 2 ** x.astype(float),
        lambda x: (x == x) & ~(x != x),
        lambda x: np.linalg.norm(x) + np.percentile(x, 5),
    ],
)
def test_it_is_used_as_numpys(use, image):
    """What other code does with an array gives the same."""
    assert np.array_equal(use(image), use(IMAGE))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.__setitem__(0, 1),
        lambda x: operator.iadd(x, 1),
        lambda x: np.add(1, 1, out=x),
        lambda x: np.add.at(x, 0, 1),
        lambda x: np.sum(IMAGE, axis=0, out=x),
        lambda x: np.clip(IMAGE, 0, 1, out=x),
        lambda x: np.copyto(x, 0),
        lambda x: np.fill_diagonal(x, 0),
        lambda x: np.put(x, 0, 1),
        lambda x: np.putmask(x, IMAGE > 3, 1),
        lambda x: np.place(x, IMAGE > 3, [1]),
        lambda x: x.sort(),
        lambda x: x.fill(0),
        lambda x: x.partition(3),
        lambda x: x.resize((2, 2)),
        lambda x: x.byteswap(inplace=True),
        lambda x: np.random.default_rng(0).permuted(IMAGE, out=x),
    ],
)
def test_a_change_in_place_is_refused(change, image):
    """It would be lost: what is read is a copy."""
    with pytest.raises((ValueError, TypeError)):
        change(image)
    assert np.array_equal(image, IMAGE)


def test_copies_and_pickles_stay_with_their_file(image):
    """No pixels travel."""
    for one in (copy.copy(image), copy.deepcopy(image), pickle.loads(pickle.dumps(image))):
        assert isinstance(one, BackedArray)
        assert one.path == image.path
        assert np.array_equal(one, IMAGE)


@NEW_BUFFERS
def test_code_in_c_reads_it(image):
    """Through Python's buffers; to write is refused."""
    assert memoryview(image).tolist() == IMAGE.tolist()
    assert np.frombuffer(image, np.uint8).sum() == IMAGE.sum()
    with pytest.raises((BufferError, TypeError)), open(__file__, "rb") as file:
        file.readinto(image)


def test_a_library_that_wants_numpys_own_says_how_it_gets_one(project):
    """The failure names the parameter and the annotation."""
    segmentation = pytest.importorskip("skimage.segmentation")

    @task(target="{n}.npy")
    def seeds(n, image):
        return segmentation.watershed(image, image)

    @task(target="own_{n}.npy")
    def own(n, image: np.ndarray):
        return segmentation.watershed(image, image)

    assert np.asarray(flow(lambda: own(1, kept("image", IMAGE)))()).shape == (8, 8)
    with pytest.raises(FlowFailed, match=r"annotate the parameter: image: np\.ndarray"):
        flow(lambda: seeds(1, kept("image", IMAGE)))()
