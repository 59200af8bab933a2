"""Tables of results as working datasets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from databacked import (
    ArrayToDefaultWriter,
    Dataset,
    Failed,
    LocalDatasetResult,
    LocalResult,
    flow,
    last_run,
    task,
)
from databacked.dataset import write_working_dataset
from databacked.errors import DatasetError
from databacked.manifest import check_links, check_name
from databacked.types import Failure

FAILURE = Failure("segment", "c2.png", {}, "ValueError: dark", "x.py:1", 0.1)


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    """A readme in the project's root."""
    (tmp_path / "README_cells.md").write_text("# Cells\n\nOf a scratch assay.\n")
    return tmp_path


def files(root: Path, *names: str) -> list[str]:
    """Make small files below the root; return their paths relative to it."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return list(names)


def write(root: Path, table: pd.DataFrame, **options) -> Dataset:
    """Write a dataset with the settings that most tests share."""
    settings = {"filepath_columns": ["image"], "name": "lab/cells", "readme": "README_cells.md"}
    folder = root / "datasets/lab/cells"
    return write_working_dataset(table, folder=folder, root=root, **{**settings, **options})


def make_flow(**options):
    """Return a flow that keeps pictures and a dataset of them."""

    @task(result=LocalResult("pictures", ArrayToDefaultWriter()), target="{cell}.png")
    def picture(cell, value):
        if value < 0:
            raise ValueError("dark")
        return np.full((8, 8), value, np.uint8)

    @task(
        result=LocalDatasetResult(
            **{
                "name": "lab/project/cells",
                "readme": "README_cells.md",
                "filepath_columns": ["image"],
                **options,
            }
        )
    )
    def table(cells, pictures):
        return pd.DataFrame({"cell": cells, "image": pictures})

    @flow(on_error="collect")
    def run(cells, values):
        return table(cells, picture.map(cells, values))

    return run


def test_backed_arrays_become_relative_paths(project, readme):
    """The manifest names each row's file relative to the root; in memory paths are absolute."""
    dataset = make_flow()(["a", "b"], [1, 2])
    folder = project / "datasets/lab/project/cells"
    assert dataset.path == folder
    on_disk = pd.read_csv(folder / "manifest.csv")
    assert on_disk.image.tolist() == ["pictures/a.png", "pictures/b.png"]
    assert dataset.table.image.tolist() == [str(project / p) for p in on_disk.image]
    assert "Of a scratch assay." in dataset.readme
    record = dataset.provenance["files"]["image/a.png"]
    assert record["parameters"] == {"cell": "a", "value": 1}


def test_an_unchanged_dataset_is_a_hit_and_its_files_stay(project, readme):
    """The second run writes nothing."""
    run = make_flow()
    run(["a", "b"], [1, 2])
    folder = project / "datasets/lab/project/cells"
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.*")}
    again = make_flow()(["a", "b"], [1, 2])
    assert last_run().counts["table"] == {"reused": 1}
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.*")} == before
    assert isinstance(again, Dataset)


def test_a_changed_readme_makes_the_dataset_anew(project, readme):
    """The readme's content counts, though nothing else changed."""
    make_flow()(["a"], [1])
    (project / "README_cells.md").write_text("# Better\n")
    assert "# Better" in make_flow()(["a"], [1]).readme
    assert last_run().counts["picture"] == {"reused": 1}


def test_rows_of_failed_items_are_left_out_and_listed(project, readme):
    """A dataset of what worked, and a list of what did not."""
    dataset = make_flow()(["a", "b", "c"], [1, -1, 3])
    assert dataset.table.cell.tolist() == ["a", "c"]
    dropped = pd.read_csv(dataset.path / "dropped.csv")
    assert dropped.position.tolist() == [1]
    assert "dark" in dropped.reason[0]
    assert "left out" in dataset.readme


def test_what_can_be_known_before_is_said_before_the_first_item(project):
    """A missing readme and a wrong name stop the run before anything is made."""
    with pytest.raises(DatasetError) as raised:
        make_flow(name="cells", extra_files=["nope.txt"])(["a"], [1])
    assert "README_cells.md" in str(raised.value)
    assert "owner/name" in str(raised.value)
    assert "nope.txt" in str(raised.value)
    assert not (project / "pictures").exists()


def test_mistake_01_the_same_file_name_in_two_folders(readme):
    """Two files that would share a name are an error that names both, never merged."""
    table = pd.DataFrame({"image": files(readme, "a/cell.png", "b/cell.png")})
    with pytest.raises(DatasetError, match=r"a/cell\.png and b/cell\.png"):
        write(readme, table)


def test_mistake_02_a_shuffled_index_with_dropped_rows(readme):
    """The row that failed is dropped by its position, whatever the labels."""
    first, third = files(readme, "a.png", "c.png")
    table = pd.DataFrame(
        {"image": [first, Failed(FAILURE), third], "id": ["a", "b", "c"]}, index=[2, 0, 1]
    )
    assert write(readme, table).table.id.tolist() == ["a", "c"]


def test_mistake_19_nan_none_and_missing_paths_are_reported_together(readme):
    """Everything wrong with a table is said at once, with row labels and positions."""
    good, *_ = files(readme, "a.png")
    table = pd.DataFrame(
        {"image": [good, None, float("nan"), "gone.png", "../out.png"], "meta": [[1], 2, 3, 4, 5]},
        index=list("vwxyz"),
    )
    with pytest.raises(DatasetError) as raised:
        write(readme, table, metadata_columns=["meta", "mata"])
    said = str(raised.value)
    for part in (
        "'w' (position 1)",
        "'x' (position 2)",
        "gone.png",
        "'y' (position 3)",
        "outside of the project",
        "'mata'",
        "did you mean 'meta'",
        "'v' (position 0)",
    ):
        assert part in said
    assert not (readme / "datasets").exists()


def test_mistake_22_a_text_column_called_profile_is_not_a_path(readme):
    """Only columns that are named, or hold paths, are file columns."""
    table = pd.DataFrame({"image": files(readme, "a.png"), "profile": ["flat"]})
    assert write(readme, table).table.profile.tolist() == ["flat"]


def test_none_is_an_empty_cell_in_an_optional_column(readme):
    """A picture that does not exist for some rows."""
    table = pd.DataFrame({"image": [files(readme, "a.png")[0], None]})
    dataset = write(readme, table, optional_columns=["image"])
    assert dataset.table.image.isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pd.DataFrame(), "no columns"),
        (pd.DataFrame({"image": []}), "no rows"),
        (pd.DataFrame([["a", "b"]], columns=["image", "image"]), "stand twice"),
        ([1, 2], "a DataFrame was expected"),
    ],
    ids=["empty", "header only", "duplicate columns", "list"],
)
def test_broken_tables_are_one_clear_error(readme, table, said):
    """Empty tables, duplicate columns and no table at all."""
    with pytest.raises(DatasetError, match=said):
        write(readme, table)


def test_names_that_differ_only_by_case_collide(readme):
    """Some disks would make them one file."""
    table = pd.DataFrame({"image": files(readme, "x/Cell.png", "y/cell.png")})
    with pytest.raises(DatasetError, match="share a name"):
        write(readme, table)


@pytest.mark.parametrize("name", ["a/b", "aics/my-project/normalized-cells", "a_1/b2"])
def test_mistake_18_a_three_part_dataset_name(name):
    """Names have two or three parts."""
    assert check_name(name) == []


@pytest.mark.parametrize("name", ["a", "a/b/c/d", "a//b", "a/b--c", "a/b.c", "/a/b", "", None, 3])
def test_names_that_cannot_be_used_are_refused(name):
    """What Quilt cannot name, even reversibly, is refused early."""
    assert check_name(name)


def test_mistake_08_a_link_that_is_part_of_another_url(tmp_path):
    """Only links to local files are looked for, relative to the readme."""
    text = (
        "[a](a.png) ![b](missing.png) [c](https://x.org/a.png) <img src='img/no.png'> "
        "[top](#top) [mail](mailto:x@y.org)"
    )
    (tmp_path / "a.png").touch()
    assert check_links(text, tmp_path) == ["img/no.png", "missing.png"]


def test_a_table_of_a_hundred_thousand_rows(readme):
    """Large tables are checked by listing, not file by file."""
    folder = readme / "many"
    folder.mkdir()
    names = [f"many/{n:06d}.png" for n in range(2_000)]
    for name in names:
        (readme / name).touch()
    table = pd.DataFrame({"image": names * 50, "n": np.arange(100_000)})
    assert len(write(readme, table).table) == 100_000


def test_the_same_table_gives_the_same_bytes(readme):
    """Nothing but the table and the settings decides manifest and readme."""
    table = pd.DataFrame({"image": files(readme, "a.png"), "area": [1.5]})
    path = write(readme, table, units={"area": "µm²"}, descriptions={"area": "Of the cell"}).path
    before = {one.name: one.read_bytes() for one in path.iterdir()}
    for one in path.iterdir():
        one.unlink()
    write(readme, table, units={"area": "µm²"}, descriptions={"area": "Of the cell"})
    assert {one.name: one.read_bytes() for one in path.iterdir()} == before
    assert "| area | float64 | Of the cell | µm² |" in before["README.md"].decode()
    assert json.loads(before["provenance.json"])["rows"] == 1
