"""Tables as their writers never meant them, and what a manifest makes of them."""

from __future__ import annotations

import datetime
import enum
import io
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from databacked.datasets.manifest import check_table
from databacked.datasets.rows import as_rows
from databacked.datasets.write import write_working_dataset


def files(root: Path, *names: str) -> list[str]:
    """Make small files below the root; return their paths relative to it."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return list(names)


def problems(root: Path, table: pd.DataFrame, **options: Any) -> list[str]:
    """Return what is wrong with a table whose file column is ``image``."""
    return check_table(table, root=root, **{"filepath_columns": ["image"], **options})[1]


def four(root: Path, **columns: Any) -> pd.DataFrame:
    """Return a table of four files and further columns."""
    return pd.DataFrame({"image": files(root, "0.png", "1.png", "2.png", "3.png"), **columns})


def objects(*cells: Any) -> pd.Series:
    """Return a column of Python objects."""
    return pd.Series(list(cells), dtype=object)


class Phase(enum.StrEnum):
    """As users write them."""

    G1 = "g1"


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pd.array([1, None, 3, 4], dtype="Int64"), ["1", "", "3", "4"]),
        (objects(1, None, 3, 4), ["1", "", "3", "4"]),
        (objects(np.int64(1), 2, 3, 4), ["1", "2", "3", "4"]),
        (pd.Categorical([1, None, 2, 1]), ["1", "", "2", "1"]),
        (pd.Categorical(["a", None, "b", "a"]), ["a", "", "b", "a"]),
        (objects(True, None, False, True), ["True", "", "False", "True"]),
        (np.array([0.1, 0.2, np.nan, np.inf], "float32"), ["0.1", "0.2", "", "inf"]),
        (np.array([2**63, 1, 2, 3], "uint64"), ["9223372036854775808", "1", "2", "3"]),
        (pd.date_range("2026-01-01", periods=4), [f"2026-01-0{n}" for n in range(1, 5)]),
        (
            pd.date_range("2026-01-01", periods=4, tz="Europe/Berlin"),
            [f"2026-01-0{n} 00:00:00+01:00" for n in range(1, 5)],
        ),
        (objects(*[np.datetime64("2026-01-01", "ns")] * 4), ["2026-01-01"] * 4),
        (objects(*[datetime.date(2026, 1, 1)] * 4), ["2026-01-01"] * 4),
        (objects(*[Phase.G1] * 4), ["g1"] * 4),
        (objects(None, None, None, None), [""] * 4),
        (pd.array(["a", None, "", "NA"], dtype="string"), ["a", "", "", "NA"]),
        (["two\nlines", "a\rb", 'q"q', "a,b"], ["two\nlines", "a\rb", 'q"q', "a,b"]),
        (["😀", "é", "e\u0301", " a "], ["😀", "é", "e\u0301", " a "]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")) or None,
)
def test_a_column_says_the_same_in_both_manifests(tmp_path, column, texts):
    """Whole numbers stay whole, also with gaps; texts stay as they are."""
    (tmp_path / "README.md").touch()
    dataset = write_working_dataset(
        four(tmp_path, value=column),
        folder=tmp_path / "datasets/lab/cells",
        root=tmp_path,
        name="lab/cells",
        readme="README.md",
        filepath_columns=["image"],
    )
    with open(dataset.path / "manifest.csv", encoding="utf-8", newline="") as file:
        said = pd.read_csv(file, dtype=str, keep_default_na=False, lineterminator="\n")
    assert said["value"].tolist() == texts
    assert dataset.validate() == []


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.arange(4) * 1j, "complex128 cannot be kept"),
        (pd.cut([1, 2, 3, 4], 2), "category cannot be kept"),
        (pd.arrays.SparseArray([0, 0, 1, 0]), "Sparse"),
        (objects(2**70, 1, 2, 3), "cannot be kept"),
        (objects(1, "a", 2, 3), "mixes int, str"),
        (objects(True, 1, 2, 3), "mixes bool, int"),
        (objects(b"a", "a", "a", "a"), "no plain value"),
        (objects("a", "\udcff", "b", "c"), "cannot be kept"),
        (objects(Path("/elsewhere"), None, None, None), "outside of the project"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_manifest_can_hold_is_said_before_anything_is_written(tmp_path, column, said):
    """Each names its column, and another mistake is said in the same breath."""
    found = problems(tmp_path, four(tmp_path, value=column), optional_columns=["other"])
    assert len(found) == 2
    assert any(one.startswith("value: ") and said in one for one in found)


@pytest.mark.parametrize("name", ["cell_id", "id", "CellId", "cell_index", "track.id", "ids"])
def test_identities_that_became_decimal_numbers_are_said_once(tmp_path, name):
    """One missing id makes a column of whole numbers float: 1.0 joins with nothing."""
    table = four(tmp_path, **{name: [1, 2, None, 4]})
    (said,) = problems(tmp_path, table)
    assert said.startswith(f"{name}: whole numbers became float64 (1.0)")
    assert "row 2 (position 2)" in said
    assert problems(tmp_path, table.astype({name: "Int64"})) == []


@pytest.mark.parametrize("name", ["area", "valid", "grid", "fluid", "Void", "monkey"])
def test_measurements_may_be_missing(tmp_path, name):
    """A NaN is an answer where something was measured."""
    assert problems(tmp_path, four(tmp_path, **{name: [1, 2, None, 4]})) == []


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (["a", "a", "b", "b"], "row 'a' (position 1)"),
        (pd.MultiIndex.from_product([["p", "q"], [1, 2]]), "row ('p', 2) (position 1)"),
        (pd.CategoricalIndex(list("abcd")), "row 'b' (position 1)"),
        (pd.date_range("2026-01-01", periods=4), "2026-01-02"),
        ([3, 2, 1, 0], "row 2 (position 1)"),
    ],
    ids=["duplicates", "levels", "categories", "dates", "shuffled"],
)
def test_rows_are_named_by_label_and_position_whatever_the_index(tmp_path, index, said):
    """The position tells apart what has one label."""
    table = four(tmp_path).set_axis(index, axis=0)
    table.iloc[1, 0] = "gone.png"
    (found,) = problems(tmp_path, table)
    assert "1 row(s)" in found
    assert said in found


def test_a_named_index_is_not_lost_silently(tmp_path):
    """An index that holds something is a column that was forgotten."""
    table = four(tmp_path, cell=list("abcd")).set_index("cell")
    (said,) = problems(tmp_path, table)
    assert "reset_index" in said
    (said,) = problems(tmp_path, table, metadata_columns=["cell"])
    assert "reset_index" in said
    assert problems(tmp_path, table.reset_index()) == []
    assert problems(tmp_path, table, metadata_columns=[]) == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["image", 1, "1"], "'1'"),
        (["image", "image", "b"], "'image'"),
        (["image", None, "b"], "without a name: position 1"),
        (["image", " ", "b"], "without a name: position 1"),
        (pd.MultiIndex.from_product([["image"], [1, 2, 3]]), "2 levels"),
    ],
    ids=["text and number", "twice", "none", "blank", "levels"],
)
def test_columns_that_cannot_be_told_apart(tmp_path, columns, said):
    """Also those that only text makes equal."""
    table = pd.DataFrame([["0.png", 1, 2]], columns=columns)
    assert said in "".join(problems(tmp_path, table))


@pytest.mark.parametrize(
    "name",
    [0, "index", "columns", "row", "position", "path", "class", "__index_level_0__", "a\nb", "a|b"],
)
def test_columns_may_be_called_anything(tmp_path, name):
    """Also what pandas, Parquet or this module call something themselves."""
    table = four(tmp_path, **{"x": [1, 2, 3, 4]}).rename(columns={"x": name})
    manifest, found = check_table(
        table, root=tmp_path, filepath_columns=["image"], metadata_columns=[name]
    )
    assert found == []
    file = io.BytesIO()
    manifest.table.to_parquet(file, index=False)
    assert pd.read_parquet(file)[str(name)].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["a/b", "..", "a\nb", "a\\b"])
def test_a_filepath_column_is_a_folder_of_its_dataset(tmp_path, name):
    """Its name has to be one that a folder can have."""
    table = four(tmp_path).rename(columns={"image": name})
    (said,) = problems(tmp_path, table, filepath_columns=[name])
    assert "cannot be one" in said


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("s3://bucket/a.png", "a URL"),
        ("/etc/hosts", "outside of the project"),
        ("../out.png", "outside of the project"),
        ("", "neither a path nor a result"),
        (3, "neither a path nor a result"),
        (b"0.png", "neither a path nor a result"),
        (".", "outside of the project"),
        ("a\0b.png", "no such file"),
        ("bad\udcff.png", "no Unicode text"),
        (".databacked/replaced/r/0.png", "databacked's own"),
        (float("nan"), "no path"),
        (pd.NA, "no path"),
        (pd.NaT, "no path"),
    ],
)
def test_cells_that_name_no_file_of_the_project(tmp_path, cell, said):
    """Each with its row."""
    files(tmp_path, ".databacked/replaced/r/0.png")
    table = pd.DataFrame({"image": objects("0.png", cell)})
    files(tmp_path, "0.png")
    (found,) = problems(tmp_path, table)
    assert said in found
    assert "row 1 (position 1)" in found


def test_a_project_may_be_called_by_the_name_of_a_link(tmp_path):
    """Paths that were resolved lie in it too."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    (name,) = files(real, "a.png")
    for root, path in ((link, real / name), (real, real / name), (link, link / name)):
        manifest, found = check_table(
            pd.DataFrame({"image": [path]}), root=root, filepath_columns=["image"]
        )
        assert found == []
        assert manifest.table.image.tolist() == ["a.png"]


def test_a_link_inside_the_project_is_a_file_of_the_project(tmp_path):
    """Data are often mounted that way; a link that leads nowhere is no file."""
    root, store = tmp_path / "project", tmp_path / "store"
    names = files(store, *[f"{n}.png" for n in range(8)])
    root.mkdir()
    (root / "data").symlink_to(store)
    for name in names:
        (root / name).symlink_to(store / name)
    assert problems(root, pd.DataFrame({"image": [f"data/{name}" for name in names]})) == []
    table = pd.DataFrame({"image": names})
    assert problems(root, table) == []
    (store / "3.png").unlink()
    (said,) = problems(root, table)
    assert "1 row(s): row 3 (position 3): '3.png'" in said


def test_dots_lead_where_the_system_leads_them(tmp_path):
    """What lies above a link is not what lies above its name."""
    root, store = tmp_path / "project", tmp_path / "store/deep"
    store.mkdir(parents=True)
    files(root, "a.png", "sub/b.png")
    (root / "data").symlink_to(store)
    assert problems(root, pd.DataFrame({"image": ["sub/../a.png"]})) == []
    (said,) = problems(root, pd.DataFrame({"image": ["data/../a.png"]}))
    assert "outside of the project" in said


@pytest.mark.parametrize("count", [1, 8], ids=["few", "listed"])
def test_a_name_in_another_unicode_form_is_pointed_out(tmp_path, count):
    """Two names that look the same are two files here, and one on other disks."""
    names = [unicodedata.normalize("NFD", f"é{n}.png") for n in range(count)]
    files(tmp_path, *names)
    composed = [unicodedata.normalize("NFC", name) for name in names]
    if os.path.exists(tmp_path / composed[0]):
        pytest.skip("this disk takes both for one")
    (said,) = problems(tmp_path, pd.DataFrame({"image": composed}))
    assert "unicodedata.normalize('NFD', path)" in said
    files(tmp_path, *[f"nfc/{name}" for name in composed])
    both = pd.DataFrame({"image": [names[0], f"nfc/{composed[0]}"]})
    assert "would share a name" in problems(tmp_path, both)[0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"image": ["x/A.png"], "Image": ["y/a.png"]}, "share a name"),
        ({"image": ["x/A.png"], "mask": ["y/a.png"]}, ""),
        ({"image": ["x/A.png"], "Image": ["x/A.png"]}, ""),
    ],
    ids=["columns that differ by case", "two columns", "one file"],
)
def test_names_are_compared_over_all_columns(tmp_path, columns, said):
    """A column is a folder, and a disk may ignore its case."""
    files(tmp_path, "x/A.png", "y/a.png")
    found = problems(tmp_path, pd.DataFrame(columns), filepath_columns=list(columns))
    assert bool(found) == bool(said)
    assert said in "".join(found)


def test_a_file_is_not_in_the_way_of_a_folder(tmp_path):
    """One result's target is a file where another one's is a folder."""

    class Backed:
        uri = ""

        def __init__(self, path: str, target: str) -> None:
            self.path, self.target = Path(path), target

    files(tmp_path, "one/a", "two/a/b.png")
    cells = [Backed("one/a", "a"), Backed("two/a/b.png", "a/b.png")]
    (said,) = problems(tmp_path, pd.DataFrame({"image": objects(*cells)}))
    assert "image/a is in the way of image/a/b.png" in said


def test_a_table_without_files_says_so(tmp_path):
    """Texts are no paths unless they are said to be; an empty list is meant."""
    table = four(tmp_path)
    (said,) = problems(tmp_path, table, filepath_columns=None)
    assert "filepath_columns=" in said
    assert problems(tmp_path, table, filepath_columns=[]) == []
    late = pd.DataFrame({"image": objects(*[None] * 200, Path("0.png"))})
    assert problems(tmp_path, late, filepath_columns=None, optional_columns=["image"]) == []


def test_a_path_in_a_metadata_column_is_relative_too(tmp_path):
    """No manifest on disk names a folder of one machine."""
    table = four(tmp_path, source=objects(*[tmp_path / "raw.czi"] * 4))
    manifest, _ = check_table(
        table, root=tmp_path, filepath_columns=["image"], metadata_columns=["source"]
    )
    assert manifest.table.source.tolist() == ["raw.czi"] * 4


def test_nothing_is_done_to_the_table_that_came(tmp_path):
    """The user goes on with it."""
    table = four(tmp_path, value=objects(1, None, 3, 4)).rename(columns={"value": 7})
    before = table.copy(deep=True)
    assert problems(tmp_path, table) == []
    pd.testing.assert_frame_equal(table, before)


def test_cells_of_a_markdown_table_stay_in_one_line():
    """Lines, bars and blanks of a text do not end its cell."""
    assert as_rows([("a\nb", "c|d")]) == "| a b | c\\|d |\n| --- | --- |"
