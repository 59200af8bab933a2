"""A lab's disk: slow, shared by many people, and not always ours to write to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import databacked
from databacked import ArrayToOmeZarr, LocalResult, flow, last_run, task
from databacked.records import compaction
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
        assert self.total - sum(each.values()) < 200 / self.count
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
    assert warm.per_item == {"fstatat": 1}
    listing = [line for line in warm.lines if re.search(r"/images/\d+\.ome\.tiff$", line[3])]
    assert len(listing) == 300
    assert len(warm.lines) - len(listing) < 150


def test_a_file_that_is_replaced_is_looked_at_before_and_after(disk):
    """One look directly before, the exchange, one at what came out, and its removal."""
    disk.run(300, "one folder")
    again = disk.run(300, "one folder", factor=3)
    assert again.per_item == {
        "fstatat": 1,
        "open": 1,
        "utimensat": 1,
        "stat": 2,
        "lstat": 1,
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
    assert disk.run(200, "outputs").per_item == {"fstatat": 2}


@pytest.mark.slow
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
    assert len(looks) == 2  # masks, and the files of pairs
    masks_of([1, 2])()
    assert len(looks) == 6


# ---------------------------------------------------------------- many people, one place

LAB, ANNA, BEN = 64100, 64101, 64102
"""Numbers of a group and of two users; that nobody has them keeps the test off real accounts."""

AS_USER = """
import os, runpy, sys, tempfile
from pathlib import Path
user, group, umask, script, root = sys.argv[1:6]

# Everything is imported first: Python's own files may lie where this user may not look.
warm = tempfile.mkdtemp()
sys.argv = ["work.py", warm, "[1, 2]", "1"]
runpy.run_path(script)
from databacked.fingerprint import files
from databacked.records.journal import close_journals
close_journals()

home = tempfile.mkdtemp()
os.chown(home, int(user), int(group))
os.environ.update(HOME=home, XDG_CACHE_HOME=home, TMPDIR=home)
tempfile.tempdir = home
files._memory = None
os.umask(int(umask, 8))
os.setgroups([int(group)])
os.setgid(int(user))
os.setuid(int(user))
os.chdir(root)
sys.argv = ["work.py", root, *os.environ["ARGUMENTS"].split(";")]
runpy.run_path(script)
"""

WORK = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from databacked import ArrayToOmeTiff, ArrayToOmeZarr, LocalResult, each, flow, last_run, task
from databacked.errors import DatabackedError

root, cells, factor = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])

@task(result=LocalResult("masks", ArrayToOmeTiff(dim_order="YX")), target="{n}.ome.tiff")
def mask(n, factor):
    time.sleep(float(os.environ.get('PAUSE', '0')))
    return np.full((8, 8), n * factor % 250, np.uint8)

@task(result=LocalResult("volumes", ArrayToOmeZarr(dim_order="YX")), target="well{n}/v.ome.zarr")
def volume(n, image):
    return np.asarray(image)

@task(result=LocalResult("pairs"), target={"one": "{n}_1.json", "two": "{n}_2.json"})
def pair(n, image):
    return {"one": int(np.max(image)), "two": n}

@task
def few(n):
    return list(range(n))

@task(result=LocalResult("lists"), target="{x}.json")
def listed(x):
    return x

@flow(root=root)
def run():
    images = mask.map(cells, factor)
    volume.map(cells, images)
    pair.map(cells, images)
    listed.map(each(few(2)))

try:
    run()
except DatabackedError as error:
    print(f"{type(error).__name__}: {error}")
print(json.dumps({"counts": last_run().counts, "notes": last_run().notes}))
"""


@dataclass
class Lab:
    """A folder of a group, and its members."""

    folder: Path
    script: Path

    def start(self, user: int, *arguments: str, umask: str = "002") -> subprocess.Popen[str]:
        """Run the flow as a user, in a process of its own."""
        source = Path(databacked.__file__).parents[1]
        return subprocess.Popen(
            [
                *(sys.executable, "-c", AS_USER, str(user), str(LAB), umask),
                *(str(self.script), str(self.folder)),
            ],
            env={**os.environ, "PYTHONPATH": str(source), "ARGUMENTS": ";".join(arguments)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, user: int, *arguments: str, umask: str = "002") -> tuple[dict, str]:
        """Return what became of the items of each task, and all that was said."""
        return ended(self.start(user, *arguments, umask=umask))


def ended(process: subprocess.Popen[str]) -> tuple[dict, str]:
    """Return what a user's run came to."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return json.loads(out.splitlines()[-1])["counts"], out + err


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A folder that belongs to a group and hands the group down, as labs have it."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root can be several users")
    top = Path(tempfile.mkdtemp(prefix="databacked-lab-"))
    top.chmod(0o755)
    folder = top / "share"
    folder.mkdir()
    os.chown(folder, 0, LAB)
    folder.chmod(0o2775)
    script = top / "work.py"
    script.write_text(WORK)
    yield Lab(folder, script)
    shutil.rmtree(top)


def odd_ones(folder: Path) -> list[str]:
    """Return what in a folder members of the group could not change, or is not the group's."""
    found = []
    for path in folder.rglob("*"):
        info = path.stat()
        wanted = 0o2770 if path.is_dir() else 0o660
        if info.st_gid != LAB or info.st_mode & wanted != wanted:
            found.append(f"{oct(info.st_mode)} {info.st_gid} {path.relative_to(folder)}")
    return found


def test_two_people_share_a_place(lab):
    """Hits for both; each replaces, moves aside and tidies up what the other one made."""
    made, _ = lab.run(ANNA, "[1, 2, 3]", "1")
    assert made["mask"] == {"made": 3}
    assert odd_ones(lab.folder) == []
    reused, _ = lab.run(BEN, "[1, 2, 3]", "1")
    assert {name: counts for name, counts in reused.items() if name != "few"} == {
        "mask": {"reused": 3},
        "volume": {"reused": 3},
        "pair": {"reused": 3},
        "listed": {"reused": 2},
    }
    (lab.folder / "masks/2.ome.tiff").write_bytes(b"damaged")
    replaced, said = lab.run(BEN, "[1, 2, 3, 4]", "3")
    assert replaced["mask"] == {"made": 4}
    assert replaced["volume"] == {"made": 4}
    assert replaced["pair"] == {"made": 4}
    assert "moved aside" in said
    (lab.folder / "masks/2.ome.tiff").unlink()
    assert lab.run(ANNA, "[1, 2, 3, 4]", "3")[0]["mask"] == {"made": 1, "reused": 3}
    assert (lab.folder / "masks/2.ome.tiff").stat().st_uid == ANNA
    assert odd_ones(lab.folder) == []


@pytest.mark.slow
def test_two_people_run_at_once(lab, monkeypatch):
    """Every file is whole; nothing is moved aside."""
    cells = json.dumps(list(range(20)))
    monkeypatch.setenv("PAUSE", "0.02")
    both = [lab.start(user, cells, "1") for user in (ANNA, BEN)]
    for process in both:
        counts, _ = ended(process)
        assert sum(counts["mask"].values()) == 20
    assert lab.run(ANNA, cells, "1")[0]["mask"] == {"reused": 20}
    assert list(lab.folder.glob("*/.databacked/replaced")) == []
    assert odd_ones(lab.folder) == []


@pytest.mark.slow
def test_the_journals_of_others_are_made_one_or_left_alone(lab):
    """A lock of somebody else's, or a folder where one removes only one's own, is no error."""
    lab.run(ANNA, "[1, 2]", "1")
    journals = lab.folder / "masks/.databacked/journals"
    (first,) = journals.iterdir()

    def ended_runs_of(user: int) -> None:
        for number in range(compaction.COMPACT_ABOVE):
            copy = first.with_name(f"{number}-{user}.tsv")
            shutil.copy(first, copy)
            os.chown(copy, user, LAB)

    kept = first.read_bytes()
    ended_runs_of(ANNA)
    assert lab.run(BEN, "[1, 2, 3]", "1")[0]["mask"] == {"made": 1, "reused": 2}
    assert len(list(journals.iterdir())) == 2  # those that had ended, and Ben's

    first.write_bytes(kept)
    ended_runs_of(ANNA)
    lock = journals.parent / "compaction.lock"
    os.chown(lock, ANNA, LAB)
    lock.chmod(0o644)
    assert lab.run(BEN, "[1, 2, 3]", "1")[0]["mask"] == {"reused": 3}
    assert len(list(journals.iterdir())) == 11

    lock.unlink()
    journals.chmod(0o3775)
    ended_runs_of(BEN)
    assert lab.run(BEN, "[1, 2, 3]", "1")[0]["mask"] == {"reused": 3}
    assert len([one for one in journals.iterdir() if one.stat().st_uid == ANNA]) == 8
    assert len([one for one in journals.iterdir() if one.stat().st_uid == BEN]) < 8


def test_a_state_folder_older_than_the_groups_bit_does_not_leave_results_to_one(lab):
    """Results come from `.databacked/tmp`, but have the group of their place."""
    for place in ("masks", "volumes", "pairs"):
        (lab.folder / place).mkdir()
        os.chown(lab.folder / place, ANNA, ANNA)
        (lab.folder / place / ".databacked/tmp").mkdir(parents=True)
        os.chown(lab.folder / place / ".databacked", ANNA, ANNA)
        os.chown(lab.folder / place / ".databacked/tmp", ANNA, ANNA)
        os.chown(lab.folder / place, ANNA, LAB)
        (lab.folder / place).chmod(0o2775)
    lab.run(ANNA, "[1, 2]", "1")
    for name in ("masks/1.ome.tiff", "volumes/well1/v.ome.zarr/zarr.json", "pairs/1_1.json"):
        assert (lab.folder / name).stat().st_gid == LAB


def test_what_another_user_made_can_be_used_without_writing_to_it(lab):
    """Hits, also of what was corrected by hand; nothing is tried that fails loudly."""
    lab.run(ANNA, "[1, 2, 3]", "1", umask="022")
    (lab.folder / "pairs/1_1.json").write_text("7")
    lab.folder.chmod(0o755)
    before = sorted(lab.folder.rglob("*"))
    counts, said = lab.run(BEN, "[1, 2]", "1")
    assert counts["mask"] == {"reused": 2}
    assert counts["volume"] == {"reused": 2}
    assert counts["pair"] == {"reused": 2}
    assert counts["listed"] == {"reused": 2}
    assert "pair: 1 × edited by hand, used as it is" in said
    assert sorted(lab.folder.rglob("*")) == before
    assert said.count("ermission denied") == 1  # the record of the run has no place


def test_a_place_that_takes_nothing_is_said_before_the_work(lab):
    """One message names the place and what to do; nothing was computed."""
    lab.run(ANNA, "[1, 2, 3]", "1", umask="022")
    counts, said = lab.run(BEN, "[1, 2, 3, 4]", "1")
    assert "StorageError: mask: some of its results are missing or stale" in said
    assert f"cannot be kept in {lab.folder / 'masks'}: no permission" in said
    assert "Ask for write access, or choose another place" in said
    assert "made" not in counts["mask"]
