"""The example, on the real images that are shipped with it, as its user runs it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

EXAMPLE = Path(__file__).parents[1] / "examples" / "scratch_assay"
CELLS = 60


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example with its first cells, so that many runs take little."""
    folder = tmp_path / "example"
    shutil.copytree(
        EXAMPLE,
        folder,
        ignore=shutil.ignore_patterns(
            "local_staging", "*_results", "datasets", ".databacked", "__*"
        ),
    )
    table = (folder / "cells.csv").read_text().splitlines()
    (folder / "cells.csv").write_text("\n".join(table[: CELLS + 1]) + "\n")
    return folder


def run(folder: Path) -> str:
    """Run the script in a process of its own, and return what it printed."""
    done = subprocess.run(
        [sys.executable, folder / "workflow.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout


def counts(said: str) -> dict[str, dict[str, int]]:
    """Read made, reused … of each task from what a run printed."""
    found = {}
    for name, what in re.findall(
        r"^  (\w+)  +(\d[\d,]* (?:made|reused).*|nothing to do)$", said, re.M
    ):
        found[name] = {
            word: int(n.replace(",", "")) for n, word in re.findall(r"(\d[\d,]*) (\w+)", what)
        }
    return found


def edit(file: Path, old: str, new: str) -> None:
    """Change a source file."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_second_run_computes_nothing(example):
    """Everything is made once, and found again by another process."""
    first = counts(run(example))
    assert first["normalize_cell"] == {"made": CELLS}
    second = counts(run(example))
    assert all("made" not in found for found in second.values())
    assert second["project_cell"] == {"reused": CELLS}
    assert second["select_cell_data"] == {}


def test_results_are_ordinary_files(example):
    """An OME-TIFF with its axes, a picture, two datasets."""
    run(example)
    cell = next((example / "local_staging/normalized_cells").glob("*.ome.tiff"))
    with tifffile.TiffFile(cell) as tiff:
        assert tiff.is_ome
        assert tiff.series[0].shape == (2, 64, 64)
    assert len(list((example / "local_staging/projections").glob("*.png"))) == CELLS
    manifest = example / "datasets/scratch-assay/normalized-cells/manifest.csv"
    assert len(manifest.read_text().splitlines()) == CELLS + 1
    assert str(example) not in manifest.read_text()


def test_a_changed_constant_makes_only_what_reaches_it(example):
    """The reason names the constant, with its old and new value."""
    run(example)
    edit(example / "normalize.py", "[0.25, 0.75, 1.0]", "[1.0, 0.5, 0.25]")
    said = run(example)
    after = counts(said)
    assert after["normalize_cell"] == {"reused": CELLS}
    assert after["project_cell"] == {"made": CELLS}
    assert after["make_contact_sheet"] == {"made": 1}
    assert after["measure"] == {"reused": 1}
    assert "normalize.NUCLEUS_COLOUR changed" in said


def test_a_change_that_leaves_the_pixels_equal_stops_the_wave(example):
    """What comes out the same makes nothing that follows."""
    run(example)
    edit(example / "normalize.py", "max(high - low, 1)", "max(high - low, 1.0)")
    said = run(example)
    after = counts(said)
    assert after["normalize_cell"] == {"made": CELLS}
    assert after["project_cell"] == {"reused": CELLS}
    assert after["create_normalized_cell_dataset"] == {"reused": 1}
    assert "normalize.stretch changed" in said


def test_killed_in_the_middle_the_rest_is_done_by_the_next_run(example):
    """No cell is computed twice beyond those in flight."""
    edit(example / "normalize.py", "low, high = ", "import time; time.sleep(0.02); low, high = ")
    process = subprocess.Popen(
        [sys.executable, example / "workflow.py"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    place = example / "local_staging/normalized_cells"
    while len(list(place.glob("*.ome.tiff"))) < 10:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = {path.name: path.stat().st_mtime_ns for path in place.glob("*.ome.tiff")}
    assert len(there) < CELLS
    after = counts(run(example))
    assert after["normalize_cell"]["reused"] == len(there)
    assert {name: (place / name).stat().st_mtime_ns for name in there} == there
    assert not list((place / ".databacked/tmp").glob("*/*"))


def test_a_cell_corrected_by_hand_is_used_and_what_depends_on_it_is_new(example):
    """The correction is never lost, and said."""
    run(example)
    cell = sorted((example / "local_staging/normalized_cells").glob("*.ome.tiff"))[3]
    pixels = tifffile.imread(cell)
    corrected = np.where(pixels > 0.5, 1, 0).astype(pixels.dtype)
    tifffile.imwrite(cell, corrected, metadata={"axes": "CYX"}, ome=True)
    said = run(example)
    after = counts(said)
    assert "1 × edited by hand, used as it is" in said
    assert after["normalize_cell"] == {"reused": CELLS}
    assert after["project_cell"] == {"made": 1, "reused": CELLS - 1}
    assert after["measure"] == {"made": 1}
    assert (tifffile.imread(cell) == corrected).all()
    assert all("made" not in found for found in counts(run(example)).values())


def test_a_removed_file_is_made_again_and_nothing_after_it(example):
    """Deleting a file is a legal way to clear a checkpoint."""
    run(example)
    next((example / "local_staging/normalized_cells").glob("*.ome.tiff")).unlink()
    after = counts(run(example))
    assert after["normalize_cell"] == {"made": 1, "reused": CELLS - 1}
    assert after["project_cell"] == {"reused": CELLS}


def test_a_project_that_is_moved_is_fresh(example):
    """Copied to another folder, with other times: everything is found again."""
    run(example)
    moved = example.parent / "elsewhere" / "copy"
    shutil.copytree(example, moved, copy_function=shutil.copyfile)
    shutil.rmtree(example)
    assert all("made" not in found for found in counts(run(moved)).values())
