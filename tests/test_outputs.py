"""Several outputs of one task, and None as a result."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tifffile

from databacked import ArrayToOmeTiff, FlowFailed, Image, LocalResult, flow, last_run, task
from databacked.errors import TargetError
from databacked.records import book, compaction, journal

TARGET = {"mask": "{n}_mask.ome.tiff", "props": "{n}.parquet"}
RUNNERS = ["calling", "threads", "processes"]


def counts(name: str) -> dict[str, int]:
    """Return what became of a task's items in the last run."""
    return dict(last_run().counts.get(name, {}))


def cells(n: int, factor: int) -> dict:
    """Return a mask and a table."""
    mask = np.full((8, 8), n * factor, np.uint8)
    return {"mask": mask, "props": pd.DataFrame({"area": [int(mask.sum())]})}


def make_flow(factor: int = 1, runner: str = "threads", **options):
    """Return a flow of masks with tables, and what is made from either."""

    @task(result=LocalResult("cells", ArrayToOmeTiff(dim_order="YX"), **options), target=TARGET)
    def segment(n):
        return cells(n, factor)

    @task(result=LocalResult("sums"), target="{n}.json")
    def total(n, mask):
        return int(np.sum(mask))

    @task(result=LocalResult("areas"), target="{n}.json")
    def area(n, props):
        return int(props["area"].sum())

    @flow(runner=runner)
    def run():
        found = segment.map([1, 2, 3])
        return total.map([1, 2, 3], found["mask"]), area.map([1, 2, 3], found["props"]), found[0]

    return run


@pytest.mark.parametrize("runner", RUNNERS)
def test_each_output_is_a_file_of_its_own(project, runner):
    """Written by what fits its ending; the same on the first run and the next."""
    run = make_flow(runner=runner)
    for expected in ("made", "reused"):
        totals, areas, first = run()
        assert totals == areas == [64, 128, 192]
        assert counts("segment") == {expected: 3}
        assert counts("total") == {expected: 3}
        assert sorted(first) == ["mask", "props"]
        assert first["mask"].dim_order == "YX"
        assert first["props"]["area"].tolist() == [64]
    assert tifffile.imread(project / "cells/2_mask.ome.tiff").max() == 2
    assert pd.read_parquet(project / "cells/2.parquet")["area"].tolist() == [128]


@pytest.mark.parametrize("name", ["1_mask.ome.tiff", "1.parquet"])
def test_a_hit_only_if_all_files_are_whole(project, name):
    """One removed or cut file makes the item again, and no other."""
    make_flow()()
    (project / "cells" / name).unlink()
    make_flow()()
    assert counts("segment") == {"made": 1, "reused": 2}
    (project / "cells" / name).write_bytes(b"cut")
    make_flow()()
    assert counts("segment") == {"made": 1, "reused": 2}
    aside = [path.name for path in (project / "cells/.databacked/replaced").glob("*/*")]
    assert aside == [name]


def test_what_reads_one_output_depends_on_that_one_alone(project):
    """A corrected mask makes what reads masks again; the tables and what reads them stay."""
    make_flow()()
    table = (project / "cells/2.parquet").stat().st_mtime_ns
    tifffile.imwrite(project / "cells/2_mask.ome.tiff", np.full((8, 8), 9, np.uint8))
    totals, _, _ = make_flow()()
    assert totals == [64, 9 * 64, 192]
    assert counts("segment") == {"reused": 3}
    assert counts("total") == {"made": 1, "reused": 2}
    assert counts("area") == {"reused": 3}
    make_flow()()
    assert counts("total") == {"reused": 3}
    assert (project / "cells/2.parquet").stat().st_mtime_ns == table


def test_a_corrected_mask_is_kept_when_the_table_beside_it_is_made_again(project):
    """Whether its code changed, or somebody removed the table."""
    make_flow()()
    tifffile.imwrite(project / "cells/2_mask.ome.tiff", np.full((8, 8), 9, np.uint8))
    make_flow(5)()
    assert tifffile.imread(project / "cells/2_mask.ome.tiff").max() == 9
    (project / "cells/2.parquet").unlink()
    make_flow(5)()
    assert counts("segment") == {"made": 1, "reused": 2}
    assert tifffile.imread(project / "cells/2_mask.ome.tiff").max() == 9
    assert pd.read_parquet(project / "cells/2.parquet")["area"].tolist() == [2 * 5 * 64]


def test_files_of_different_runs_are_no_item(project):
    """A kill between two renames leaves a new mask beside an old table: both are made again."""
    make_flow(1)()
    old = (project / "cells/1.parquet").read_bytes()
    make_flow(2)()
    (project / "cells/1.parquet").write_bytes(old)
    make_flow(2)()
    assert counts("segment") == {"made": 1, "reused": 2}
    assert pd.read_parquet(project / "cells/1.parquet")["area"].tolist() == [128]


def test_many_runs_keep_the_records_of_several_outputs(project):
    """Compaction reads all files of an item as one."""
    make_flow()()
    for _ in range(compaction.COMPACT_ABOVE + 2):
        journal.close_journals()
        (project / "cells/3.parquet").unlink()
        make_flow()()
    journal.close_journals()
    book._registry.clear()
    make_flow()()
    assert counts("segment") == {"reused": 3}


def test_files_of_unknown_origin_can_be_accepted(project):
    """All files of an item, or none."""
    make_flow()()
    journal.close_journals()
    for path in (project / "cells/.databacked/journals").iterdir():
        path.unlink()
    make_flow(when_unknown="accept")()
    assert counts("segment") == {"reused": 3}
    make_flow()()
    assert counts("segment") == {"reused": 3}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"mask": np.zeros((2, 2), np.uint8)}, r"keys \['mask'\].*mask, props"),
        (np.zeros((2, 2)), "ndarray: a dict with the keys"),
        ({"mask": None, "props": None}, "return None itself"),
    ],
)
def test_a_value_without_the_right_keys_is_said(project, value, said):
    """What came, and what was expected."""

    @task(result=LocalResult("cells"), target=TARGET)
    def segment(n):
        return value

    with pytest.raises(FlowFailed, match=said):
        segment(1)
    assert not list((project / "cells").glob("*.*"))


def test_one_bad_output_leaves_the_others_as_they_were(project):
    """Everything is written before the first file becomes visible."""

    def flow_of(props, factor):
        @task(result=LocalResult("cells"), target=TARGET)
        def segment(n):
            return {**cells(n, factor), **props}

        return segment

    flow_of({}, 1)(1)
    with pytest.raises(FlowFailed, match="a DataFrame was expected"):
        flow_of({"props": [1, 2]}, 2)(1)
    assert tifffile.imread(project / "cells/1_mask.ome.tiff").max() == 1


def test_two_tasks_cannot_share_one_file_of_several(project):
    """The error names both."""

    @task(result=LocalResult("cells"), target=TARGET)
    def segment(n):
        return cells(n, 1)

    @task(result=LocalResult("cells"), target="{n}.parquet")
    def other(n):
        return pd.DataFrame({"a": [n]})

    @flow
    def run():
        segment.map([1, 2])
        other.map([2, 3])

    with pytest.raises(TargetError, match=r"segment\[1\] and other\[0\] have the same target"):
        run()


def test_serializers_by_output(project):
    """A dict of them; a name that target= does not have is an error."""
    mask, edges = ArrayToOmeTiff(dim_order="YX"), ArrayToOmeTiff(dim_order="ZYX")

    def task_of(serializer):
        @task(result=LocalResult("two", serializer), target={"a": "{n}a.tiff", "b": "{n}b.tiff"})
        def two(n):
            return {"a": np.zeros((4, 4), np.uint8), "b": np.zeros((2, 4, 4), np.uint8)}

        return two

    value = task_of({"a": mask, "b": edges})(1)
    assert (value["a"].dim_order, value["b"].dim_order) == ("YX", "ZYX")
    with pytest.raises(Exception, match=r"names c, which target= does not.*a, b"):
        task_of({"c": mask})(1)


def test_one_of_several_outputs_may_be_none(project):
    """An image without cells has a mask and no table."""

    @task(result=LocalResult("cells"), target=TARGET)
    def segment(n):
        return {"mask": np.zeros((4, 4), np.uint8), "props": None}

    for expected in ("made", "reused"):
        assert segment(1)["props"] is None
        assert counts("segment") == {expected: 1}
    assert not (project / "cells/1.parquet").exists()


@pytest.mark.parametrize("runner", RUNNERS)
def test_none_is_a_result(project, runner):
    """A record without a file, and a hit; whoever reads it gets None."""

    @task(result=LocalResult("masks", ArrayToOmeTiff), target="{n}.ome.tiff")
    def find(n):
        return np.full((4, 4), n, np.uint8) if n % 2 else None

    @task(result=LocalResult("sums"), target="{n}.json")
    def total(n, mask):
        return None if mask is None else int(mask.sum())

    @flow(runner=runner)
    def run():
        return total.map(range(4), find.map(range(4)))

    for expected in ("made", "reused"):
        assert run() == [None, 16, None, 48]
        assert counts("find") == counts("total") == {expected: 4}
    assert sorted(path.name for path in (project / "masks").glob("*.*")) == [
        ".databacked",
        "1.ome.tiff",
        "3.ome.tiff",
    ]
    (project / "masks/1.ome.tiff").unlink()
    run()
    assert counts("find") == {"made": 1, "reused": 3}


def test_none_takes_the_place_of_a_file_that_is_ours(project):
    """A stale file does not stay beside a record that says there is none."""

    def flow_of(value):
        @task(result=LocalResult("one"), target="a.json")
        def one():
            return value

        return one

    assert flow_of(3)() == 3
    assert flow_of(None)() is None
    assert not (project / "one/a.json").exists()
    assert flow_of(None)() is None
    assert counts("one") == {"reused": 1}
    assert flow_of(3)() == 3
    assert (project / "one/a.json").read_text() == "3\n"


def test_none_never_removes_what_is_not_ours(project):
    """A file of unknown origin is moved aside; one that was corrected is used."""

    def flow_of(value):
        @task(result=LocalResult("one"), target="a.json")
        def one():
            return value

        return one

    flow_of(3)()
    (project / "one/a.json").write_text("4\n")
    assert flow_of(None)() == 4
    (project / "one/a.json").write_text("not json")
    assert flow_of(None)() is None
    kept = list((project / "one/.databacked/replaced").glob("*/a.json"))
    assert [path.read_text() for path in kept] == ["not json"]


def test_a_value_brings_its_own_metadata(project):
    """Two objectives through one task give two pixel sizes."""

    @task(
        result=LocalResult("images", ArrayToOmeTiff(physical_pixel_sizes=(None, 1.0, 1.0))),
        target="{n}.ome.tiff",
    )
    def crop(n, size):
        sizes = None if size is None else (None, size, size)
        return Image(np.zeros((4, 4), np.uint8), "YX", None, sizes)

    for _ in range(2):
        images = [crop(n, size) for n, size in enumerate((0.65, 0.325, None))]
        assert [image.physical_pixel_sizes.Y for image in images] == [0.65, 0.325, 1.0]


def test_a_corrected_output_stays_when_what_lies_beside_it_is_made_again(project):
    """Nothing that old code made is taken for new code's because of a file beside it."""
    make_flow()()
    painted = np.full((8, 8), 7, np.uint8)
    tifffile.imwrite(project / "cells/2_mask.ome.tiff", painted)
    totals, areas, _ = make_flow()()
    assert (totals[1], areas[1]) == (7 * 64, 128)
    assert counts("segment") == {"reused": 3}
    for expected in ({"made": 3}, {"reused": 3}):
        totals, areas, _ = make_flow(3)()
        assert counts("segment") == expected
        assert totals == [3 * 64, 7 * 64, 9 * 64]
        assert areas == [3 * 64, 6 * 64, 9 * 64]
    assert (tifffile.imread(project / "cells/2_mask.ome.tiff") == painted).all()


def test_a_corrected_output_is_used_also_where_new_code_returns_none(project):
    """It is kept, so its readers get it; and what returned None is not asked again and again."""
    values = {"mask": np.ones((8, 8), np.uint8), "props": pd.DataFrame({"area": [1]})}

    def run(value):
        @task(result=LocalResult("cells", ArrayToOmeTiff(dim_order="YX")), target=TARGET)
        def segment(n):
            return value

        @flow
        def find():
            found = segment.map([1])
            return found["mask"], found["props"]

        (mask,), (table,) = find()
        return int(np.sum(mask)), table

    assert run(values)[0] == 64
    tifffile.imwrite(project / "cells/1_mask.ome.tiff", np.full((8, 8), 7, np.uint8))
    for expected in ({"made": 1}, {"reused": 1}):
        assert run(None) == (7 * 64, None)
        assert counts("segment") == expected
    mask, table = run(values)
    assert (mask, table["area"].tolist()) == (7 * 64, [1])


@pytest.mark.parametrize(("damaged", "edited"), [("mask", "props"), ("props", "mask")])
def test_an_output_that_cannot_be_used_stays_whatever_befell_the_one_beside_it(
    project, damaged, edited
):
    """Somebody worked on it: it is not replaced because the other is damaged, or gone."""
    make_flow()()
    paths = {"mask": project / "cells/2_mask.ome.tiff", "props": project / "cells/2.parquet"}
    tifffile.imwrite(project / "crop.ome.tiff", np.full((2, 2), 9, np.uint8))
    pd.DataFrame({"other": [1]}).to_parquet(project / "other.parquet")
    work = {"mask": project / "crop.ome.tiff", "props": project / "other.parquet"}[edited]
    paths[edited].write_bytes(work.read_bytes())
    for harm in (lambda: paths[damaged].write_bytes(b"cut"), paths[damaged].unlink):
        harm()
        with pytest.raises(FlowFailed, match=f"{edited}: it"):
            make_flow()()
        assert paths[edited].read_bytes() == work.read_bytes()
