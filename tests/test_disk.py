"""A lab's disk: slow, shared by many people, and not always ours to write to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from databacked import ArrayToOmeZarr, LocalResult, flow, last_run, task
from databacked.storage.local import LocalStorage

# ---------------------------------------------------------------- a slow disk

SLOW = """
import sys
from pathlib import Path
import numpy as np
from databacked import ArrayToOmeTiff, LocalResult, flow, task

COUNT, SHAPE = int(sys.argv[1]), sys.argv[2]

@task
def make(n):
    return np.full((8, 8), n * FACTOR % 200, np.uint8)

@task(result=LocalResult("images", ArrayToOmeTiff(dim_order="YX")), target="{n}.ome.tiff")
def keep(n, image):
    return image

@task(result=LocalResult("numbers"), target="well{n}/{n}.json")
def number(n, image):
    return n * FACTOR

@task(
    result=LocalResult("pairs"),
    target={"one": "{n}_one.json", "two": "{n}_two.json"},
)
def pair(n):
    return {"one": n * FACTOR, "two": n}

@task(result=LocalResult("sizes"), target="sizes.json")
def size(paths: list):
    return len(paths)

@task(result=LocalResult("lengths"), target="{n}.json")
def length(n, path: Path):
    return len(path.read_bytes())

@flow(root=Path(__file__).parent, quiet=True)
def run():
    if SHAPE == "one folder":
        keep.map(range(COUNT), make.map(range(COUNT)))
    elif SHAPE == "many folders":
        number.map(range(COUNT), make.map(range(COUNT)))
    elif SHAPE == "outputs":
        pair.map(range(COUNT))
    else:
        length.map(range(COUNT), [Path(f"images/{n}.ome.tiff") for n in range(COUNT)])

run()
"""


@dataclass
class Disk:
    """A project on a disk whose every look-up of a name waits and is written down."""

    folder: Path
    shim: Path
    log: Path

    def run(self, count: int, shape: str, *, factor: int = 1, wait: int = 0) -> Calls:
        """Run the flow in a process of its own; say what it asked of the disk."""
        script = self.folder / "work.py"
        script.write_text(SLOW.replace("FACTOR", str(factor)))
        self.log.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-P", str(script), str(count), shape],  # -P: no imports from there
            env={
                **os.environ,
                "LD_PRELOAD": str(self.shim),
                "SLOW_DISK": str(self.folder),
                "SLOW_DISK_US": str(wait),
                "SLOW_DISK_LOG": str(self.log),
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Calls([line.split("\t") for line in self.log.read_text().splitlines()], count)


@dataclass
class Calls:
    """What a run asked of a disk."""

    lines: list[list[str]]
    """Process, thread, call and path of each."""

    count: int
    """Items of the run."""

    @property
    def per_item(self) -> dict[str, int]:
        """How often an item made each call; those that the run made as a whole are left out."""
        calls = Counter(line[2].removesuffix("64") for line in self.lines)
        each = {name: round(n / self.count) for name, n in calls.items()}
        assert self.total - sum(each.values()) < 120 / self.count
        return {name: n for name, n in each.items() if n}

    @property
    def total(self) -> float:
        """How many calls there were an item."""
        return len(self.lines) / self.count

    @property
    def in_driver(self) -> float:
        """How many of them an item were made by the thread that the flow runs in."""
        return sum(line[0] == line[1] for line in self.lines) / self.count


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what makes a disk slow."""
    if not sys.platform.startswith("linux") or not shutil.which("gcc"):
        pytest.skip("the slow disk is C for Linux, compiled by gcc")
    built = tmp_path_factory.mktemp("shim") / "slow_disk.so"
    source = Path(__file__).with_name("slow_disk.c")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", str(built), str(source), "-ldl"], check=True
    )
    return built


@pytest.fixture
def disk(tmp_path: Path, shim: Path) -> Disk:
    """A project on a disk that counts."""
    folder = tmp_path / "disk"
    folder.mkdir()
    return Disk(folder, shim, tmp_path / "calls.tsv")


def test_a_new_file_takes_four_look_ups_and_a_known_one_those_of_the_listing(disk):
    """Open, time, look, rename; a rerun asks for nothing but the listing and its times."""
    cold = disk.run(300, "one folder")
    assert cold.per_item == {"open": 1, "utimensat": 1, "stat": 1, "renameat2": 1}
    warm = disk.run(300, "one folder")
    assert warm.per_item == {"lstat": 1}
    listing = [line for line in warm.lines if re.search(r"/images/\d+\.ome\.tiff$", line[3])]
    assert len(listing) == 300
    assert len(warm.lines) - len(listing) < 100


def test_a_file_that_is_replaced_is_looked_at_before_and_after(disk):
    """One look directly before, the exchange, one at what came out, and its removal."""
    disk.run(300, "one folder")
    again = disk.run(300, "one folder", factor=3)
    assert again.per_item == {
        "lstat": 1,
        "open": 1,
        "utimensat": 1,
        "stat": 3,
        "renameat2": 1,
        "unlink": 1,
    }


def test_a_folder_for_each_item_costs_one_more_call(disk):
    """It is made without a look before; a rerun looks up each file by its name."""
    cold = disk.run(300, "many folders")
    assert cold.per_item == {
        "open": 1,
        "utimensat": 1,
        "stat": 2,
        "renameat2": 1,
        "mkdir": 1,
    }
    assert disk.run(300, "many folders").per_item == {"stat": 1}


def test_items_with_several_files_cost_as_much_as_their_files(disk):
    """No journal is read on for an item."""
    cold = disk.run(200, "outputs")
    assert cold.per_item == {"open": 2, "utimensat": 2, "stat": 4, "renameat2": 2}
    assert disk.run(200, "outputs").per_item == {"lstat": 2}


@pytest.mark.parametrize("shape", ["one folder", "many folders", "inputs"])
def test_the_driver_does_not_wait_for_a_slow_disk_item_by_item(disk, shape):
    """What is asked for each item is asked in many threads, cold and warm."""
    if shape == "inputs":
        disk.run(400, "one folder")
    cold = disk.run(400, shape, wait=2000)
    assert cold.total >= 4
    assert cold.in_driver < 0.5
    warm = disk.run(400, shape, wait=2000)
    assert warm.total >= 1
    assert warm.in_driver < 0.5


# ---------------------------------------------------------------- what belongs to no item any more


def masks_of(cells: list[int], name: str = "{n}.ome.zarr", place: str = "masks"):
    """Return a flow that keeps a mask (a folder) and two small files of each cell."""

    @task(result=LocalResult(place, ArrayToOmeZarr(dim_order="YX")), target=name)
    def mask(n):
        return np.full((8, 8), n, np.uint8)

    @task(result=LocalResult("pairs"), target={"one": "{n}_1.json", "two": "{n}_2.json"})
    def pair(n):
        if n < 0:
            raise ValueError(n)
        return {"one": n, "two": [n, n]}

    @flow(on_error="collect")
    def run():
        mask.map(cells)
        pair.map(cells)

    return run


def test_the_end_of_a_run_names_what_belongs_to_no_item_any_more(project, monkeypatch, capsys):
    """Count and bytes by place; a folder is one; nothing is deleted, nothing else is counted."""
    masks_of([1, 2, 3, 4, 5])()
    assert last_run().orphans == {}
    (project / "masks/notes.txt").write_text("mine")
    (project / "pairs/4_1.json").write_text("44")  # corrected by hand: somebody's own work
    monkeypatch.delenv("DATABACKED_QUIET")
    masks_of([1, 2])()
    folders = [project / f"masks/{n}.ome.zarr" for n in (3, 4, 5)]
    masks = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    pairs = [project / f"pairs/{name}.json" for name in ("3_1", "3_2", "4_2", "5_1", "5_2")]
    assert last_run().orphans == {
        str(project / "masks"): (3, sum(path.stat().st_size for path in masks)),
        str(project / "pairs"): (5, sum(path.stat().st_size for path in pairs)),
    }
    said = capsys.readouterr().err
    assert "masks: 3 files (" in said
    assert "belong to no item of this run: results of rows that are gone" in said
    assert len(list((project / "masks").glob("*.zarr"))) == 5


def test_results_of_an_older_target_belong_to_no_item(project):
    """And those of another task in the same place are not this run's business."""
    masks_of([1, 2])()
    masks_of([1, 2], "cell{n}.ome.zarr")()
    assert last_run().orphans[str(project / "masks")][0] == 2

    @task(result=LocalResult("masks"), target="{n}.json")
    def other(n):
        return n

    @flow
    def another():
        other.map([1])

    another()
    assert last_run().orphans == {}


def test_nothing_is_said_of_a_run_that_did_not_end_whole_or_of_single_calls(project):
    """Who corrects one item at a time knows that there are others."""
    flow_of = masks_of([1, 2, 3])
    flow_of()
    masks_of([1, -1])()
    assert last_run().state == "partly failed"
    assert last_run().orphans == {}

    @task(result=LocalResult("ones"), target="{n}.json")
    def one(n):
        return n

    one.map([1, 2])
    one(1)
    assert last_run().orphans == {}


def test_a_place_is_listed_only_if_records_name_more_than_the_run(project, monkeypatch):
    """Usually it costs nothing."""
    looks: list[int] = []
    find = LocalStorage.find

    def counted(self, targets):
        found = find(self, targets)
        looks.append(len(found))
        return found

    masks_of([1, 2, 3])()
    monkeypatch.setattr(LocalStorage, "find", counted)
    masks_of([1, 2, 3])()
    assert len(looks) == 3  # masks, and pairs: their items, then their files
    masks_of([1, 2])()
    assert len(looks) == 8
