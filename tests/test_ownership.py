"""Whose file is it: what databacked cannot prove to have written is never lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from databacked import ArrayToOmeTiff, LocalResult, flow, last_run, task, testing
from databacked.errors import FlowFailed, ResultChangedError, TargetError, UnknownFilesError
from databacked.records import book
from databacked.records.journal import close_journals


def counts(name: str) -> dict[str, int]:
    """Return what became of a task's items in the last run."""
    return dict(last_run().counts[name])


def make_flow(factor: int = 1, **options):
    """Return a flow that keeps three masks and what depends on them."""

    @task(
        result=LocalResult("masks", ArrayToOmeTiff(dim_order="YX"), **options),
        target="{n}.ome.tiff",
    )
    def mask(n):
        return np.full((8, 8), n * factor, np.uint8)

    @task(result=LocalResult("sums"), target="{n}.json")
    def total(n, mask):
        return int(np.sum(mask))

    @flow
    def run():
        return total.map([1, 2, 3], mask.map([1, 2, 3]))

    return run


def aside(project: Path) -> list[str]:
    """Return what was moved aside in the masks' place, whatever the run."""
    return sorted(
        path.name for path in (project / "masks/.databacked/replaced").glob("*/*") if path.is_file()
    )


def notes() -> str:
    """Return what the last run said about masks."""
    return "; ".join(last_run().notes.get("mask", {}))


@pytest.mark.parametrize("damage", ["truncated", "emptied", "garbage"])
def test_mistake_10_a_truncated_checkpoint(project, damage):
    """A damaged file is no hit: it is moved aside, said, and made again."""
    make_flow()()
    file = project / "masks/2.ome.tiff"
    whole = file.read_bytes()
    file.write_bytes({"truncated": whole[:-9], "emptied": b"", "garbage": b"x" * 99}[damage])
    assert make_flow()() == [64, 128, 192]
    assert counts("mask") == {"made": 1, "reused": 2}
    assert counts("total") == {"reused": 3}
    assert file.read_bytes() == whole
    assert aside(project) == ["2.ome.tiff"]
    assert "does not open" in notes()


def test_a_removed_file_is_made_again_and_what_depends_on_it_is_not(project):
    """Deleting a file by hand is a legal way to clear a checkpoint."""
    make_flow()()
    (project / "masks/2.ome.tiff").unlink()
    make_flow()()
    assert counts("mask") == {"made": 1, "reused": 2}
    assert counts("total") == {"reused": 3}


UNREADABLE = """
import sys
from databacked import LocalResult, flow, task

@task(result=LocalResult("texts"), target="{n}.txt")
def text(n):
    return str(n)

@task(result=LocalResult("upper"), target="{n}.txt")
def upper(n, text):
    return text + sys.argv[2]

@flow(root=sys.argv[1])
def run():
    return upper.map([1, 2], text.map([1, 2]))

run()
"""


def test_an_unreadable_file_is_one_clear_error(tmp_path):
    """No permission is said as such; what does not need the file is done."""
    script = tmp_path / "work.py"
    script.write_text(UNREADABLE)
    # Root reads everything, unless it gives that up.
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, str(script), str(tmp_path)]
    subprocess.run([*command, "a"], check=True, capture_output=True)
    (tmp_path / "texts/2.txt").chmod(0)
    (tmp_path / "upper/1.txt").unlink()
    (tmp_path / "upper/2.txt").unlink()
    done = subprocess.run([*command, "b"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert (tmp_path / "upper/1.txt").read_text() == "1b"


BARRED = """
import sys
from databacked import LocalResult, flow, task

@task(result=LocalResult("out"), target="{n}/text.txt")
def one(n):
    return n

@task(result=LocalResult("two"), target={"a": "{n}/a.txt", "b": "{n}/b.txt"})
def two(n):
    return {"a": n, "b": n}

@flow(root=sys.argv[1], on_error="collect")
def run():
    names = [f"{n:02}" for n in range(20)]
    return one.map(names), two.map(names)

run()
"""


@pytest.mark.parametrize("where", ["out/03", "two/03"])
def test_a_folder_that_nobody_may_look_into_fails_its_item_alone(tmp_path, where):
    """Also where many are looked up at once; what is left is done."""
    script = tmp_path / "work.py"
    script.write_text(BARRED)
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, str(script), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(tmp_path / where.replace("03", "04"))
    (tmp_path / where).chmod(0)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (tmp_path / where).chmod(0o755)
    task, other = ("one", "two") if where == "out/03" else ("two", "one")
    assert f"{task}  1 made, 18 reused, 1 failed" in done.stderr
    assert f"{other}  20 reused" in done.stderr
    assert f"1 × {task}: StorageError: {tmp_path / where}" in done.stderr
    assert "Permission denied" in done.stderr


def edit(project: Path, value: int = 7) -> np.ndarray:
    """Paint over the second mask, as a person would with a viewer."""
    pixels = np.full((8, 8), value, np.uint8)
    tifffile.imwrite(project / "masks/2.ome.tiff", pixels)
    return pixels


def test_a_mask_corrected_by_hand_is_used_and_what_depends_on_it_is_new(project):
    """It counts by its new content, is said, and stays."""
    make_flow()()
    painted = edit(project)
    assert make_flow()() == [64, 7 * 64, 192]
    assert counts("mask") == {"reused": 3}
    assert counts("total") == {"made": 1, "reused": 2}
    assert "edited by hand, used as it is" in notes()
    assert make_flow()() == [64, 7 * 64, 192]
    assert counts("total") == {"reused": 3}
    assert (tifffile.imread(project / "masks/2.ome.tiff") == painted).all()


@pytest.mark.parametrize("seconds", [0, -86_400])
def test_a_mask_corrected_while_the_clock_was_empty_is_used(project, seconds):
    """Its time is that of 1970, or before it."""
    make_flow()()
    edit(project)
    os.utime(project / "masks/2.ome.tiff", (seconds, seconds))
    for _ in range(2):
        close_journals()
        book._registry.clear()
        assert make_flow()() == [64, 448, 192]


def test_a_correction_is_kept_when_its_recipe_becomes_stale(project):
    """The others are made again; the corrected one is kept, and listed."""
    make_flow()()
    edit(project)
    make_flow()()
    assert make_flow(2)() == [128, 7 * 64, 6 * 64]
    assert counts("mask") == {"made": 2, "reused": 1}
    assert "although what it was made from changed" in notes()


def test_a_correction_made_after_the_code_changed_is_kept_too(project):
    """Also if no run came between."""
    make_flow()()
    edit(project)
    assert make_flow(2)() == [128, 7 * 64, 6 * 64]


def test_when_edited_replace_moves_the_correction_aside(project):
    """Asked for, it is made again; the correction still is not lost."""
    make_flow()()
    edit(project)
    assert make_flow(when_edited="replace")() == [64, 128, 192]
    assert aside(project) == ["2.ome.tiff"]


def test_a_file_saved_over_with_another_shape_fails_its_item(project):
    """Somebody worked on it: neither is it passed over, nor taken for what it is not."""
    make_flow()()
    cropped = project / "masks/2.ome.tiff"
    tifffile.imwrite(cropped, np.zeros((3, 3), np.float32))
    for _ in range(2):
        with pytest.raises(FlowFailed) as failed:
            make_flow()()
        assert [one.item for one in failed.value.failures] == ["2.ome.tiff"]
        assert "(3, 3)" in str(failed.value)
        assert str(cropped) in failed.value.failures[0].exception
    assert tifffile.imread(cropped).shape == (3, 3)
    assert make_flow(when_edited="replace")() == [64, 128, 192]
    assert aside(project) == ["2.ome.tiff"]


def test_a_foreign_file_is_moved_aside_and_named(project):
    """A file that nobody recorded, at a target."""
    make_flow()()
    (project / "masks/2.ome.tiff").unlink()
    shutil.rmtree(project / "masks/.databacked")
    (project / "masks/1.ome.tiff").unlink()
    tifffile.imwrite(project / "masks/2.ome.tiff", np.zeros((8, 8), np.uint8))
    with pytest.raises(UnknownFilesError, match="when_unknown='accept'"):
        make_flow()()
    assert make_flow(when_unknown="replace")() == [64, 128, 192]
    assert aside(project) == ["2.ome.tiff", "3.ome.tiff"]


def test_files_of_unknown_origin_can_be_accepted(project):
    """Checked readable, hashed, recorded, and used from then on."""
    (project / "masks").mkdir()
    tifffile.imwrite(project / "masks/1.ome.tiff", np.full((8, 8), 9, np.uint8))
    assert make_flow(when_unknown="accept")() == [9 * 64, 128, 192]
    assert "accepted as they were found" in notes()
    assert make_flow()() == [9 * 64, 128, 192]
    assert counts("mask") == {"reused": 3}


def test_functions_of_a_library_are_no_hits_of_one_another(project):
    """Their code does not count, so their recipes are equal: their names tell them apart."""
    place = LocalResult("extremes")
    for function, value in ((np.max, 3.0), (np.min, 1.0), (np.max, 3.0)):
        extreme = task(function, result=place, target="extreme.json")
        assert extreme([1.0, 3.0]) == value
    assert len(list((project / "extremes/.databacked/replaced").glob("*/*"))) == 2


def test_a_file_of_another_task_is_foreign_and_both_are_named(project):
    """A renamed task does not take over what another one made."""

    @task(result=LocalResult("masks", ArrayToOmeTiff(dim_order="YX")), target="{n}.ome.tiff")
    def other(n):
        return np.zeros((8, 8), np.uint8)

    other.map([1, 2, 3])
    make_flow()()
    assert aside(project) == ["1.ome.tiff", "2.ome.tiff", "3.ome.tiff"]
    assert "it is a result of" in notes()
    assert "other" in notes()


def test_a_file_saved_by_hand_while_its_item_runs_is_not_lost(project):
    """Where nothing was, the rename does not replace."""

    @task(result=LocalResult("slow"), target="{n}.txt")
    def slow(n):
        (project / "slow").mkdir(exist_ok=True)
        (project / f"slow/{n}.txt").write_text("by hand")
        return "by databacked"

    slow(1)
    assert (project / "slow/1.txt").read_text() == "by databacked"
    kept = list((project / "slow/.databacked/replaced").glob("*/1.txt"))
    assert [path.read_text() for path in kept] == ["by hand"]


def test_a_correction_saved_while_its_item_runs_is_used(project):
    """Also where a stale result is being replaced: what came in between wins."""

    def flow_of(factor):
        @task(result=LocalResult("slow", ArrayToOmeTiff(dim_order="YX")), target="{n}.ome.tiff")
        def slow(n):
            if factor == 2:
                tifffile.imwrite("slow/1.ome.tiff", np.full((8, 8), 77, np.uint8))
            return np.full((8, 8), n * factor, np.uint8)

        return slow

    flow_of(1)(1)
    assert np.max(flow_of(2)(1)) == 77
    assert tifffile.imread(project / "slow/1.ome.tiff").max() == 77


def test_when_stale_warn_and_keep(project):
    """The old file, with and without a word."""
    make_flow()()
    make_flow(2, when_stale="warn")()
    assert counts("mask") == {"reused": 3}
    assert "kept although stale" in notes()
    make_flow(2, when_stale="keep")()
    assert notes() == ""
    assert make_flow(2)() == [128, 256, 384]


def test_a_place_inside_another_place_is_an_error_that_names_both(project):
    """Whose would a file in both be?"""

    @task(result=LocalResult("masks/inner"), target="{n}.json")
    def inner(n):
        return n

    make_flow()()
    with pytest.raises(TargetError, match=r"masks/inner and .*masks lie inside one another"):
        inner(1)


def test_a_copied_project_is_fresh(project, tmp_path_factory):
    """Other folder, other times: the content decides."""
    make_flow()()
    moved = tmp_path_factory.mktemp("moved") / "copy"
    shutil.copytree(project, moved, copy_function=shutil.copyfile)
    with testing.project(moved):
        make_flow()()
    assert counts("mask") == {"reused": 3}
    assert counts("total") == {"reused": 3}


def test_an_array_whose_file_was_replaced_says_who_replaced_it(project):
    """Opening it is an error, not another array's pixels."""

    @task(result=LocalResult("one", ArrayToOmeTiff(dim_order="YX")), target="a.ome.tiff")
    def one(value):
        return np.full((8, 8), value, np.uint8)

    first = one(1)
    one(2)
    with pytest.raises(ResultChangedError, match=r"one replaced it in run"):
        first[0]


def test_two_files_of_one_size_and_time_are_told_apart_by_their_bytes(project):
    """Two runs may write within one time stamp of the disk; neither takes the other's file."""

    def flow_of(value):
        @task(result=LocalResult("one"), target="a.json")
        def one(n):
            return value

        return one

    assert flow_of(4)(1) == 4
    first = (project / "one/a.json").stat()
    assert flow_of(6)(1) == 6
    # As if the second one had been written in the same moment, and lost.
    line = "w\ta.json"
    for journal in (project / "one/.databacked/journals").iterdir():
        text = journal.read_text()
        assert text.count(line) == 2
        second = (project / "one/a.json").stat().st_mtime_ns
        journal.write_text(text.replace(f"\t{second}\t", f"\t{first.st_mtime_ns}\t"))
    os.utime(project / "one/a.json", ns=(first.st_mtime_ns, first.st_mtime_ns))
    book._registry.clear()
    assert flow_of(4)(1) == 4
    assert last_run().counts["one"] == {"made": 1}
    assert not (project / "one/.databacked/replaced").exists()


TWO = """
import sys, time
from pathlib import Path
from databacked import LocalResult, flow, task

@task(result=LocalResult(sys.argv[1]), target="{n}.json")
def slow(n):
    time.sleep(0.02)
    return n * FACTOR

@flow(root=Path(__file__).parent)
def run():
    values = slow.map(range(40))
    return values if sys.argv[2:] else None

print(run())
"""


@pytest.mark.parametrize("factors", [(2, 2), (2, 3)], ids=["same code", "different code"])
def test_mistake_20_two_writers_at_once(tmp_path, factors):
    """Every file is whole and has a record; the next run of either code is right."""
    commands = []
    for number, factor in enumerate(factors):
        folder = tmp_path / f"checkout-{number}"
        folder.mkdir()
        (folder / "work.py").write_text(TWO.replace("FACTOR", str(factor)))
        commands.append([sys.executable, str(folder / "work.py"), str(tmp_path / "shared")])
    running = [
        subprocess.Popen(one, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for one in commands
    ]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    for one, factor in zip(commands, factors, strict=True):
        done = subprocess.run([*one, "values"], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == str([n * factor for n in range(40)]), done.stderr
    # Two living projects: what one of them made is not the other's to replace.
    moved = list(tmp_path.glob("shared/.databacked/replaced"))
    assert bool(moved) == (len(set(factors)) > 1)
    assert not list(tmp_path.glob("shared/.databacked/tmp/*/*"))


def test_all_files_of_an_unknown_place_are_accepted_also_those_found_late(project):
    """What was accepted first does not speak against the others."""
    make_flow()()
    close_journals()
    shutil.rmtree(project / "masks/.databacked")
    tifffile.imwrite(project / "masks/1.ome.tiff", np.full((8, 8), 9, np.uint8))
    assert make_flow(2, when_unknown="accept")() == [9 * 64, 128, 192]
    assert counts("mask") == {"reused": 3}
