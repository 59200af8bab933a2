"""Tables of results as working datasets."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from databacked import (
    ArrayToDefaultWriter,
    ArrayToOmeZarr,
    Dataset,
    Failed,
    LocalDatasetResult,
    LocalResult,
    flow,
    last_run,
    task,
    testing,
)
from databacked.datasets import write as write_module
from databacked.datasets.manifest import check_name
from databacked.datasets.write import write_working_dataset
from databacked.errors import DatasetError
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


def edit(path: Path, old: str, new: str) -> None:
    """Replace bytes of a file."""
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))


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
    before = {one.name: one.read_bytes() for one in path.iterdir() if one.is_file()}
    for name in before:
        (path / name).unlink()
    write(readme, table, units={"area": "µm²"}, descriptions={"area": "Of the cell"})
    assert {name: (path / name).read_bytes() for name in before} == before
    assert "| area | float64 | Of the cell | µm² |" in before["README.md"].decode()
    assert json.loads(before["provenance.json"])["rows"] == 1


# What is there already


def test_a_readme_that_somebody_put_there_is_not_lost(project, readme):
    """A file of the folder that is not as it was written goes aside, and the run says so."""
    folder = project / "datasets/lab/project/cells"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("mine")
    make_flow()(["a"], [1])
    assert "# Cells" in (folder / "README.md").read_text()
    (aside,) = (folder / ".databacked/replaced").glob("*/README.md")
    assert aside.read_text() == "mine"
    assert any("README.md" in note for note in last_run().notes["table"])
    (folder / "README.md").write_text("edited")
    make_flow(usage="Cite us.")(["a"], [1])
    assert len(list((folder / ".databacked/replaced").glob("*/README.md"))) == 2


def test_what_was_written_is_replaced_without_a_copy(project, readme):
    """Nothing goes aside but what somebody else wrote."""
    make_flow()(["a", "b"], [1, -1])
    make_flow()(["a", "b"], [1, 2])
    folder = project / "datasets/lab/project/cells"
    assert not (folder / ".databacked/replaced").exists()
    assert not (folder / "dropped.csv").exists()


@pytest.mark.parametrize("name", ["README.md", "manifest.parquet", "provenance.json"])
def test_a_dataset_of_which_a_part_is_missing_is_made_again(project, readme, name):
    """The manifest alone is no dataset."""
    path = make_flow()(["a"], [1]).path
    (path / name).unlink()
    assert make_flow()(["a"], [1]).validate() == []


def test_a_kill_in_between_leaves_no_dataset(readme, monkeypatch):
    """Never a new readme beside an old manifest."""
    table = pd.DataFrame({"image": files(readme, "a.png")})
    path = write(readme, table).path
    replace = write_module._replace

    def killed(file, data):
        if file.name == "README.md":
            raise KeyboardInterrupt
        replace(file, data)

    monkeypatch.setattr(write_module, "_replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(readme, table, usage="Cite us.")
    with pytest.raises(DatasetError, match=r"manifest\.csv is missing"):
        Dataset.load(path)


def test_the_root_is_known_without_marks_of_a_project(tmp_path, monkeypatch):
    """A dataset finds its files from wherever it is loaded, as a hit as well."""
    root, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "README_cells.md").write_text("# Cells\n")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("DATABACKED_QUIET", "1")
    run = make_flow()
    for _ in range(2):
        with testing.project(root):
            dataset = run(["a"], [1])
        assert dataset.table.image.tolist() == [str(root / "pictures/a.png")]
    assert Dataset.load(dataset.path).validate() == []


def test_a_project_that_moved_is_still_whole(readme):
    """All paths on disk are relative."""
    table = pd.DataFrame({"image": files(readme, "project/a.png")})
    root = readme / "project"
    (readme / "README_cells.md").rename(root / "README_cells.md")
    write(root, table.assign(image="a.png"))
    root.rename(readme / "moved")
    assert Dataset.load(readme / "moved/datasets/lab/cells").validate() == []
    assert str(readme) not in "".join(
        path.read_text() for path in (readme / "moved/datasets/lab/cells").glob("*.[cjm]*")
    )


@pytest.mark.parametrize("text", ["{", "[]", "{}"], ids=["cut", "list", "empty"])
def test_provenance_that_is_damaged_is_one_clear_error(readme, text):
    """Not a traceback of the JSON parser."""
    path = write(readme, pd.DataFrame({"image": files(readme, "a.png")})).path
    (path / "provenance.json").write_text(text)
    with pytest.raises(DatasetError, match=r"provenance\.json"):
        Dataset.load(path)


def test_another_version_of_pandas_changes_no_dataset(readme):
    """A Parquet file of the same table stays, though its bytes name another writer."""
    table = pd.DataFrame({"image": files(readme, "a.png"), "n": [1]})
    path = write(readme, table).path / "manifest.parquet"
    pd.read_parquet(path).to_parquet(path, index=False, compression="zstd")
    before = path.read_bytes()
    assert write(readme, table).validate() == []
    assert path.read_bytes() == before
    assert write(readme, table.assign(n=2)).table.n.tolist() == [2]


# The readme


def test_links_of_the_readme_lead_to_the_same_files_from_the_dataset(readme):
    """The readme moves into the dataset's folder; its pictures stay where they are."""
    files(readme, "docs/my plate.png", "docs/USAGE.txt")
    (readme / "docs/README.md").write_text(
        "![plate](my%20plate.png) and [the table](manifest.csv), `[code](no.png)`\n"
    )
    (readme / "docs/LICENSE.md").write_text("See [how](USAGE.txt#top).\n")
    table = pd.DataFrame({"image": files(readme, "a.png")})
    dataset = write(readme, table, readme="docs/README.md", license="docs/LICENSE.md")
    assert "![plate](../../../docs/my%20plate.png)" in dataset.readme
    assert "[how](../../../docs/USAGE.txt#top)" in dataset.readme
    assert "[the table](manifest.csv), `[code](no.png)`" in dataset.readme
    assert dataset.validate() == []
    (readme / "docs/my plate.png").unlink()
    assert dataset.validate() == [
        "README.md links to '../../../docs/my%20plate.png', which is not there"
    ]


def test_the_columns_table_of_the_readme_stays_a_table(readme):
    """Lines and bars in descriptions are part of a cell; kinds are words."""
    table = pd.DataFrame({"image": files(readme, "a.png"), "who": ["ann"], "when": ["2026-01-01"]})
    table["when"] = pd.to_datetime(table["when"])
    dataset = write(readme, table, descriptions={"who": "either\nann | bob"})
    assert "| who | text | either ann \\| bob |  |" in dataset.readme
    assert "| when | date and time |  |  |" in dataset.readme


# Settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"filepath_columns": "image"}, "filepath_columns='image': a list was expected"),
        ({"optional_columns": "image"}, "optional_columns='image': a list was expected"),
        ({"extra_files": "notes.txt"}, "extra_files='notes.txt': a list was expected"),
        ({"units": ["µm"]}, "a dict from column to text was expected"),
        ({"readme": None}, "readme=None: the path of a file was expected"),
        ({"optional_columns": ["imag"]}, "did you mean 'image'"),
        ({"license": "LICENSE.md"}, "looks like a file"),
        ({"extra_files": ["../notes.txt"]}, "outside of the project"),
        ({"extra_files": ["docs"]}, "is a folder"),
        ({"usage": "See [how](how.md)."}, "the usage links to 'how.md', which is not there"),
        ({"metadata_columns": ["image"]}, "named as filepath and metadata"),
    ],
)
def test_settings_that_cannot_be_meant(project, readme, settings, said):
    """Each is said before the first item runs, and by validate."""
    (project / "docs").mkdir()
    run = make_flow(**settings)
    with pytest.raises(DatasetError) as raised:
        run(["a"], [1])
    assert said in str(raised.value)
    assert not (project / "pictures").exists()
    given = {"name": "lab/cells", "readme": "README_cells.md", "filepath_columns": ["image"]}
    result = LocalDatasetResult(**{**given, **settings})
    table = pd.DataFrame({"image": files(project, "a.png")})
    assert any(said in problem for problem in result.validate(table))


def test_a_table_is_checked_without_writing_anything(project, readme):
    """Settings and table at once, and an empty list if a dataset can be made of it."""
    result = LocalDatasetResult(
        "lab/cells", "README_cells.md", filepath_columns=["image"], units={"area": "µm²"}
    )
    good = pd.DataFrame({"image": files(project, "a.png"), "area": [1.0]})
    assert result.validate(good) == []
    bad = LocalDatasetResult("cells", "README.md", filepath_columns=["image"], units={"are": "µm²"})
    said = "\n".join(bad.validate(good.assign(image=["b.png"])))
    for part in ("owner/name", "README.md", "row 0 (position 0): 'b.png'", "did you mean 'area'"):
        assert part in said
    assert result.validate([1]) == ["a DataFrame was expected, not a list"]
    assert not (project / "datasets").exists()


def test_a_table_is_checked_against_the_project_of_the_caller(tmp_path, monkeypatch):
    """Found from the file that asks, or given."""
    (tmp_path / "databacked.toml").touch()
    (tmp_path / "README_cells.md").touch()
    files(tmp_path, "a.png")
    script = tmp_path / "code/check.py"
    script.parent.mkdir()
    source = "problems = result.validate(table)"
    script.write_text(source)
    result = LocalDatasetResult("lab/cells", "README_cells.md", filepath_columns=["image"])
    table = pd.DataFrame({"image": ["a.png"]})
    names = {"result": result, "table": table}
    exec(compile(source, str(script), "exec"), names)
    assert names["problems"] == []
    assert result.validate(table, root=tmp_path) == []
    assert result.validate(table, root=tmp_path / "code") != []


# A dataset on disk


def test_a_whole_dataset_has_no_problems(project, readme):
    """With failed rows, extra files, usage and licence."""
    files(project, "notes.txt")
    dataset = make_flow(extra_files=["notes.txt"], usage="Cite us.", license="CC-BY-4.0")(
        ["a", "b", "c"], [1, -1, 3]
    )
    assert dataset.validate() == []
    listed = dataset.provenance["files"]
    assert listed["image/a.png"]["path"] == "pictures/a.png"
    assert "CC-BY-4.0" in dataset.readme


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda d: (d.path / "README.md").unlink(), "README.md is missing"),
        (lambda d: (d.path / "README.md").write_text("x"), "README.md was changed"),
        (lambda d: (d.path / "provenance.json").write_text("{"), "provenance.json cannot be read"),
        (lambda d: (d.path / "manifest.parquet").write_text("x"), "manifest.parquet cannot be"),
        (lambda d: (d.path / "dropped.csv").unlink(), "dropped.csv is missing"),
        (lambda d: (d.path / "README.md").write_bytes(b"\xff"), "README.md is not UTF-8"),
        (
            lambda d: edit(d.path / "manifest.csv", ",image", ",picture"),
            "has the columns cell, picture",
        ),
        (lambda d: edit(d.path / "manifest.csv", "a.png", "b.png"), "row 0 'image': 'pictures/b"),
        (lambda d: edit(d.path / "manifest.csv", "a,pictures/a.png\n", ""), "1 rows"),
        (lambda d: edit(d.path / "provenance.json", '"written": {', '"written": [{'), "cannot be"),
        (lambda d: edit(d.path / "provenance.json", '"path": "pictures/a', '"path": "x'), "list"),
        (lambda d: edit(d.path / "provenance.json", '"rows": 2', '"rows": 3'), "2 rows"),
        (lambda d: (d.root / "pictures/a.png").unlink(), "no such file in 1 row(s): row 0"),
        (lambda d: edit(d.root / "pictures/a.png", "IDAT", "IDAX"), "a.png was changed since"),
    ],
)
def test_each_damage_of_a_dataset_is_found(project, readme, damage, said):
    """The check can fail, and says what is wrong."""
    dataset = make_flow()(["a", "b", "c"], [1, -1, 3])
    damage(dataset)
    assert any(said in problem for problem in dataset.validate())


def test_how_a_spreadsheet_quotes_is_no_difference(readme):
    """Other ends of lines and a byte-order mark do not change what a manifest says."""
    table = pd.DataFrame({"image": files(readme, "a.png"), "note": ["two\nlines, and a comma"]})
    dataset = write(readme, table)
    text = (dataset.path / "manifest.csv").read_text()
    with open(dataset.path / "manifest.csv", "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(csv.reader(io.StringIO(text)))
    assert dataset.validate() == []


def test_paths_on_disk_that_leave_the_project_are_found(readme):
    """Whoever wrote them."""
    dataset = write(readme, pd.DataFrame({"image": files(readme, "a.png")}))
    for path in ("/etc/hosts", "../a.png"):
        pd.DataFrame({"image": [path]}).to_parquet(dataset.path / "manifest.parquet")
        assert any("not relative" in problem for problem in dataset.validate())


def test_a_folder_is_one_value(project, readme):
    """An OME-Zarr is a path like any other, and is said to be a directory."""
    files(project, "stacks/a.ome.zarr/0/0", "stacks/b.ome.zarr/0/0", "plain.png")
    table = pd.DataFrame({"image": ["stacks/a.ome.zarr", "stacks/b.ome.zarr"]})
    dataset = write(project, table)
    assert dataset.validate() == []
    assert dataset.provenance["files"]["image/a.ome.zarr"]["directory"] is True
    assert "| image | directory |" in dataset.readme
    mixed = write(project, table.assign(image=["stacks/a.ome.zarr", "plain.png"]))
    assert "| image | file or directory |" in mixed.readme


def test_an_ome_zarr_that_a_task_kept_is_whole_until_a_chunk_changes(project, readme):
    """Its content is that of its tree."""

    @task(result=LocalResult("stacks", ArrayToOmeZarr(dim_order="YX")), target="{n}.ome.zarr")
    def stack(n):
        return np.full((8, 8), n + 1, np.uint8)

    @task(
        result=LocalDatasetResult("lab/stacks", "README_cells.md", filepath_columns=["image"]),
    )
    def table(numbers, stacks):
        return pd.DataFrame({"n": numbers, "image": stacks})

    @flow
    def run():
        return table([0, 1], stack.map([0, 1]))

    dataset = run()
    assert dataset.validate() == []
    assert "| image | directory |" in dataset.readme
    chunk = max((project / "stacks/1.ome.zarr").rglob("*"), key=lambda one: len(one.parts))
    chunk.write_bytes(b"other")
    (said,) = dataset.validate()
    assert "stacks/1.ome.zarr was changed since" in said


WRITERS = """
import random, sys, time
import pandas as pd
from databacked import LocalDatasetResult, flow, task
from databacked.datasets import write as dataset

real = dataset._replace

def slowly(*given):  # as on a slow disk
    time.sleep(random.random() / 5)
    real(*given)

dataset._replace = slowly

@task(result=LocalDatasetResult("lab/set", readme="README.md", filepath_columns=[]))
def hand(value):
    return pd.DataFrame({"value": [value] * 9})

@flow(quiet=True)
def run(value):
    return hand(value)

try:
    print(set(run(sys.argv[1]).table["value"]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_two_runs_that_write_one_dataset_get_their_own_tables_or_an_error(project):
    """What a run made is never read back from where another one wrote meanwhile."""
    (project / "databacked.toml").touch()
    (project / "README.md").write_text("# Set\n")
    (project / "run.py").write_text(WRITERS)
    for number in range(3):
        values = [f"{number}{letter}" for letter in "ab"]
        command = [sys.executable, str(project / "run.py")]
        running = [
            subprocess.Popen([*command, value], cwd=project, stdout=subprocess.PIPE, text=True)
            for value in values
        ]
        for value, process in zip(values, running, strict=True):
            said, _ = process.communicate(timeout=60)
            assert said.strip() == str({value}) or "another run" in said or "again" in said, said
        whole = Dataset.load(project / "datasets/lab/set")
        assert set(whole.table["value"]) < set(values)
        assert whole.validate() == []
