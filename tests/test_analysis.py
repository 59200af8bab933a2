"""The analysis of several fields: each rerun does exactly what it must."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

EXAMPLE = Path(__file__).parents[1] / "examples" / "fields"
FIELDS = ["17P1_POS0007", "17P1_POS0013"]
LATER = "A9_p5d"


def run(folder: Path, code: int = 0) -> tuple[dict[str, dict[str, int]], str]:
    """Run the script in a process of its own; return what became of each task's items."""
    command = [sys.executable, "analysis.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    lines = re.findall(r"^  (\w+)  +(\d+ (?:made|reused|failed|skipped).*)$", said, re.M)
    return {
        name: {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", what)} for name, what in lines
    }, said


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with two fields, once run."""
    folder = tmp_path_factory.mktemp("finished") / "fields"
    (folder / "data").mkdir(parents=True)
    for name in ["analysis.py", "README.md", "databacked.toml", "data/LICENSE"]:
        shutil.copy(EXAMPLE / name, folder / name)
    for name in FIELDS:
        shutil.copy2(EXAMPLE / f"data/{name}.tif", folder / "data")
    counts, _ = run(folder)
    assert counts == {
        "find": {"made": 6},
        "measure": {"made": 6},
        "compare": {"made": 2},
        "hand_over": {"made": 1},
    }
    return folder


@pytest.fixture
def fields(finished: Path, tmp_path: Path) -> Path:
    """A copy of what is finished."""
    return shutil.copytree(finished, tmp_path / "fields")


def nuclei(folder: Path, name: str) -> pd.DataFrame:
    """Read the table of a field and threshold."""
    return pd.read_csv(folder / f"results/nuclei/{name}.csv")


def test_the_script_is_short_and_everything_it_makes_opens(fields):
    """Sixty lines; each field has its own number of nuclei; a sheet a field, a dataset."""
    assert len((EXAMPLE / "analysis.py").read_text().splitlines()) <= 60
    numbers = {name: len(nuclei(fields, f"{name}_30")) for name in FIELDS}
    assert numbers == {"17P1_POS0007": 82, "17P1_POS0013": 50}
    for name in FIELDS:
        mask = tifffile.imread(fields / f"results/masks/{name}_30.ome.tiff")
        assert mask.max() == numbers[name]
        with Image.open(fields / f"results/sheets/{name}.png") as sheet:
            assert sheet.size == (3 * mask.shape[1], mask.shape[0])
    manifest = pd.read_csv(fields / "datasets/bbbc007/nuclei/manifest.csv")
    assert manifest["above"].tolist() == [15, 30, 60] * 2


def test_regions_are_numbered_as_scipy_does():
    """The few lines that find them, against those of others."""
    label = pytest.importorskip("scipy.ndimage").label
    source = (EXAMPLE / "analysis.py").read_text().rpartition("\n\n\n")[0]
    names: dict = {"__name__": "analysis"}
    exec(compile(source, EXAMPLE / "analysis.py", "exec"), names)
    for name in FIELDS:
        path = EXAMPLE / f"data/{name}.tif"
        found = names["find"].fn(path, 30)
        regions, n = label(tifffile.imread(path) > 30)
        large = np.bincount(regions.ravel()) >= names["SMALLEST"]
        assert found.max() == large[1:].sum()
        assert ((found > 0) == (large[regions] & (regions > 0))).all()
        assert n > found.max()


def test_a_second_run_makes_nothing(fields):
    """Though it is a copy in another folder."""
    counts, _ = run(fields)
    assert all(set(became) == {"reused"} for became in counts.values())
    assert len(counts) == 4


def test_a_field_is_added(fields):
    """Its three masks, tables and pictures, its sheet; and the dataset has three rows more."""
    shutil.copy(EXAMPLE / f"data/{LATER}.tif", fields / "data")
    counts, _ = run(fields)
    assert counts == {
        "find": {"made": 3, "reused": 6},
        "measure": {"made": 3, "reused": 6},
        "compare": {"made": 1, "reused": 2},
        "hand_over": {"made": 1},
    }


def test_a_mask_is_corrected_by_hand(fields):
    """It is used as it is; its table, its picture, its sheet and the dataset follow."""
    path = fields / "results/masks/17P1_POS0013_30.ome.tiff"
    mask = tifffile.imread(path)
    corrected = np.where(mask == 7, 0, mask)
    tifffile.imwrite(path, corrected, metadata={"axes": "YX"}, ome=True)
    counts, said = run(fields)
    assert counts == {
        "find": {"reused": 6},
        "measure": {"made": 1, "reused": 5},
        "compare": {"made": 1, "reused": 1},
        "hand_over": {"made": 1},
    }
    assert "find: 1 × edited by hand, used as it is" in said
    assert nuclei(fields, "17P1_POS0013_30")["label"].tolist() == [
        label for label in range(1, 51) if label != 7
    ]
    assert (tifffile.imread(path) == corrected).all()
    assert set(run(fields)[0]["measure"]) == {"reused"}


def test_a_value_is_added_to_the_sweep(fields):
    """One mask more a field; the sheets show it."""
    script = fields / "analysis.py"
    script.write_text(script.read_text().replace("[15, 30, 60]", "[15, 30, 60, 90]"))
    counts, _ = run(fields)
    assert counts == {
        "find": {"made": 2, "reused": 6},
        "measure": {"made": 2, "reused": 6},
        "compare": {"made": 2},
        "hand_over": {"made": 1},
    }


def test_a_broken_image_stops_nothing_but_itself(fields):
    """Its rows are left out and listed; once it is whole again, only the dataset is made anew."""
    image = fields / f"data/{FIELDS[0]}.tif"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    counts, said = run(fields, code=1)
    assert counts == {
        "find": {"failed": 3, "reused": 3},
        "measure": {"skipped": 3, "reused": 3},
        "compare": {"skipped": 1, "reused": 1},
        "hand_over": {"made": 1},
    }
    assert "3 × find at " in said
    dataset = fields / "datasets/bbbc007/nuclei"
    assert len(pd.read_csv(dataset / "manifest.csv")) == 3
    assert len(pd.read_csv(dataset / "dropped.csv")) == 3
    image.write_bytes(whole)
    counts, _ = run(fields)
    assert counts == {
        "find": {"reused": 6},
        "measure": {"reused": 6},
        "compare": {"reused": 2},
        "hand_over": {"made": 1},
    }
    assert not (dataset / "dropped.csv").exists()
