"""What made a file, and what lies in a place: asked in Python and on the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from databacked import ArrayToOmeZarr, LocalDatasetResult, LocalResult, describe, flow, task
from databacked.cli import FAILED, INTERRUPTED, MISTAKE, app, main
from databacked.errors import RecordError

STEP = 3


@task(result=LocalResult("masks"), target="{name}.npy")
def segment(name, sigma=2.0):
    if name == "nothing":
        return None
    return np.full((4, 5), STEP * sigma, np.float32)


@task(result=LocalResult("both"), target={"mask": "{name}.npy", "table": "{name}.csv"})
def split(name, mask):
    return {"mask": np.asarray(mask) > 1, "table": pd.DataFrame({"sum": [float(mask.sum())]})}


@task(result=LocalResult("stacks", ArrayToOmeZarr(dim_order="ZYX")), target="all.ome.zarr")
def stack(masks):
    return np.stack([mask for mask in masks if mask is not None])


@task(result=LocalDatasetResult("lab/masks", readme="README_masks.md"))
def hand_over(names, masks):
    return pd.DataFrame({"name": names, "mask": masks})


@flow
def analysis(names):
    masks = segment.map(names)
    split.map(names[:2], masks[:2])
    hand_over(names[:2], masks[:2])
    return stack(masks)


@pytest.fixture
def made(project):
    """A project with results of every kind."""
    (project / "README_masks.md").write_text("# Masks\n")
    analysis(["a", "b", "nothing"])
    return project


def test_a_file_says_what_made_it(made):
    found = describe(made / "masks/a.npy")
    assert found.state == "made"
    assert found.task.endswith("test_describe:segment")
    assert found.flow == "analysis"
    assert found.parameters == {"name": "a", "sigma": 2.0}
    assert found.holds["shape"] == [4, 5]
    assert found.nbytes == (made / "masks/a.npy").stat().st_size
    assert found.seconds is not None
    assert found.serializer["name"] == "ArrayToDefaultWriter"
    assert "3" in {said for name, said in found.code.items() if name.endswith("STEP")}
    text = str(found)
    assert text.splitlines()[0] == "masks/a.npy"
    assert "name = a, sigma = 2.0" in text
    assert "(4, 5) float32" in text
    assert "<table>" in found._repr_html_()


def test_a_backed_array_has_its_record(made):
    @flow(runner="calling")
    def again(names):
        return segment.map(names)

    array = again(["a"])[0]
    assert array.record == describe(array) == describe("masks/a.npy")


def test_a_folder_that_is_a_file_and_its_parts(made):
    """Whoever asks for a chunk of an OME-Zarr is told of the whole."""
    found = describe("stacks/all.ome.zarr")
    assert found.state == "made"
    assert found.holds["dim_order"] == "ZYX"
    assert found.inputs.keys() == {"masks"}
    assert describe("stacks/all.ome.zarr/zarr.json") == found


@pytest.mark.parametrize("name", ["a.npy", "a.csv"])
def test_each_output_of_several(made, name):
    found = describe(made / "both" / name)
    assert found.state == "made"
    assert found.task.endswith(":split")
    assert found.parameters == {"name": "a"}


def test_what_became_of_it(made):
    file = made / "masks/a.npy"
    np.save(file, np.zeros((4, 5), np.float32))
    assert describe(file).state == "changed"
    analysis(["a", "b", "nothing"])
    found = describe(file)
    assert found.state == "edited"
    assert found.edited.keys() == {"when", "by"}
    assert "edited by hand since; used as it is" in str(found)
    file.unlink()
    assert describe(file).state == "missing"
    assert describe(file).nbytes is None
    (made / "masks/notes.txt").write_text("mine")
    assert describe(made / "masks/notes.txt").state == "unknown"
    other = made / "masks/b.npy"
    os.utime(other)  # touched, and the same
    assert describe(other).state == "made"
    shutil.rmtree(made / "masks/.databacked/journals")
    (made / "masks/.databacked/journals").mkdir()
    analysis.with_options(quiet=True)
    assert describe(made / "masks/b.npy").state == "unknown"


def test_a_lost_record_is_told_from_a_stranger(made):
    for journal in (made / "masks/.databacked/journals").iterdir():
        journal.write_bytes(b"#databacked\t1\n")
    script = "from databacked import describe; print(describe('masks/b.npy').state)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=made)
    assert said.stdout == "lost\n", said.stderr


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("masks/c.npy", "no such file, and .* has no record of it"),
        ("nowhere", "no such file or folder"),
        ("README_masks.md", "lies in no place"),
        ("empty", "no place lies in it"),
    ],
)
def test_what_cannot_be_described_says_why(made, path, said):
    (made / "empty").mkdir()
    with pytest.raises(RecordError, match=said):
        describe(path)


# A place


def test_a_place_says_what_lies_there_by_task(made):
    np.save(made / "masks/a.npy", np.zeros((4, 5), np.float32))
    (made / "masks/notes.txt").write_text("mine")
    found = describe("masks")
    (share,) = found.tasks.values()
    assert (share.files, share.by_hand, share.nothing) == (2, 1, 1)
    assert share.nbytes == sum(file.stat().st_size for file in (made / "masks").glob("*.npy"))
    assert found.unknown == ["notes.txt"]
    assert found.unknown_nbytes == 4
    text = str(found)
    assert "2 files, " in text
    assert "1 edited or accepted" in text
    assert "nothing is recorded about 1 file of 4 bytes (notes.txt)" in text


def test_what_was_moved_aside_is_told(made):
    (made / "masks/a.npy").write_bytes(b"no array")
    analysis(["a", "b", "nothing"])
    assert describe("masks").aside == (1, 8)
    assert "moved aside: 1 file of 8 bytes in masks/.databacked/replaced" in str(describe("masks"))


def test_several_outputs_and_folders_count_once(made):
    (share,) = describe("both").tasks.values()
    assert share.files == 4
    found = describe("stacks")
    (share,) = found.tasks.values()
    assert share.files == 1
    assert not found.unknown


def test_a_dataset_is_one_result(made):
    """What lies beside its manifest is part of it."""
    (place,) = [one for one in describe(made) if one.path.name == "masks" and "lab" in str(one)]
    assert not place.unknown


def test_a_project_tells_all_its_places(made):
    names = {one.path.relative_to(made).as_posix() for one in describe(made)}
    assert names == {"masks", "both", "stacks", "datasets/lab/masks"}


def test_links_lead_to_what_they_lead_to(made, tmp_path_factory):
    """To a file, to a place, to the project: the record and the run are found all the same."""
    links = tmp_path_factory.mktemp("links")
    (links / "place").symlink_to(made / "masks")
    (links / "one.npy").symlink_to(made / "masks/a.npy")
    for path in (links / "place/a.npy", links / "one.npy"):
        found = describe(path)
        assert (found.state, found.flow) == ("made", "analysis")


def test_none_is_no_file_that_went(made):
    found = describe("masks/nothing.npy")
    assert found.state == "none"
    assert "None was made, so there is no file" in str(found)


def test_several_outputs_say_what_wrote_them(made):
    assert "written by  ArrayToDefaultWriter(" in str(describe("both/a.npy"))


def test_a_part_of_a_dataset_belongs_to_it(made):
    whole = describe("datasets/lab/masks/manifest.csv")
    assert whole.state == "made"
    assert describe("datasets/lab/masks/README.md") == whole


def test_a_copy_is_not_taken_for_an_edited_one(made):
    """A copied place has other times, and the same contents."""
    shutil.copytree(made / "masks", made / "copied", copy_function=shutil.copyfile)
    (share,) = describe("copied").tasks.values()
    assert (share.files, share.by_hand) == (2, 0)


def test_a_place_without_results_says_so(made):
    (made / "bare/.databacked/journals").mkdir(parents=True)
    assert str(describe("bare")) == "bare\n  no results"


def test_a_folder_that_is_closed_hides_no_other(made, monkeypatch):
    closed = made / "both/.databacked/journals"
    stat = os.stat

    def refused(path, *args, **kwargs):
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refused)
    monkeypatch.setattr(os.path, "isdir", __import__("genericpath").isdir)
    assert {one.path.name for one in describe(made)} == {"masks", "stacks"}


# The command line


@pytest.fixture
def run(capfd):
    """Return what the command line answers: exit code, output, errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_describe_on_the_command_line(made, run):
    capture = run("describe", "masks/a.npy")
    assert capture == (0, f"{describe('masks/a.npy')}\n", "")
    code, out, _ = run("describe", "masks/a.npy", "masks", "--json")
    assert code == 0
    assert json.loads(out) == [describe("masks/a.npy").as_dict(), describe("masks").as_dict()]
    code, out, _ = run("describe", "--json", ".")
    assert len(json.loads(out)["places"]) == 4
    assert run("describe", "-q", "masks") == (0, "", "")


def test_json_is_read_whatever_names_are(made, run):
    try:
        (made / os.fsdecode(b"masks/\xff.txt")).write_text("x")
    except OSError:
        pytest.skip("this disk takes no such names")
    _, out, _ = run("describe", "--json", "masks")
    assert out.isascii()
    assert json.loads(out)["unknown"] == [os.fsdecode(b"\xff.txt")]


def test_mistakes_have_a_line_and_a_code(made, run):
    """One for what cannot be done, two for what was written wrongly; all that can be is done."""
    code, out, err = run("describe", "nowhere", "masks/a.npy")
    assert (code, err) == (1, "databacked: nowhere: no such file or folder.\n")
    assert out.startswith("masks/a.npy\n")
    code, _, err = run("descibe", "x")
    assert code == 2
    assert "Did you mean 'describe'?" in err
    assert run("describe")[0] == 2
    assert run("describe", "--jsn", "masks")[0] == 2


def test_verbose_shows_where(made, run):
    with pytest.raises(RecordError):
        run("describe", "-v", "nowhere")


def test_a_mistake_of_ours_is_no_traceback(made, run, monkeypatch):
    def broken(path: Path) -> None:
        raise ZeroDivisionError("by design")

    monkeypatch.setattr("databacked.verbs.describe", broken)
    code, _, err = run("describe", "masks")
    assert code == 70
    assert "ZeroDivisionError: by design" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_a_shell(run, shell):
    code, out, _ = run("completion", shell)
    assert code == 0
    assert "_DATABACKED_COMPLETE" in out


def process(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-m", "databacked", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        **options,
    )


def test_completion_offers_commands_and_paths(made):
    asked = {"_DATABACKED_COMPLETE": "bash_complete", "COMP_WORDS": "databacked des"}
    env = {**os.environ, **asked, "COMP_CWORD": "1"}
    assert process(cwd=made, env=env).stdout == "plain,describe\n"


def test_nobody_reads_on(made):
    """As with ``| head -1``: no traceback, and no error."""
    command = f"{sys.executable} -m databacked describe masks both stacks | true"
    script = f"set -o pipefail; {command}"
    said = subprocess.run(["bash", "-c", script], cwd=made, capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")


def test_it_starts_without_what_it_does_not_need(made):
    """No numpy, pandas, rich or dask for a look at a file."""
    script = (
        "import sys\nfrom databacked.cli import main\nmain(['describe', 'masks/a.npy', '-q'])\n"
        "print(*sorted({'numpy', 'pandas', 'rich', 'dask', 'tifffile'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=made)
    assert (said.stdout, said.stderr) == ("\n", "")


def test_exit_codes_stand_in_the_help(run):
    _, out, _ = run("--help")
    words = " ".join(out.split())
    for code in ("0 done", "1 it cannot be done", "2 written wrongly", "130 interrupted"):
        assert code in words


def test_the_page_on_the_command_line_tells_all():
    """Every command with its arguments, every option, every exit code."""
    page = (Path(__file__).parents[1] / "docs/command-line.md").read_text(encoding="utf-8")
    for name, command in app.commands.items():
        assert f"`databacked {name} " in page
        for one in command.params:
            for option in one.opts if one.param_type_name == "option" else ():
                assert f"`{option}`" in page, (name, option)
    assert set(re.findall(r"^\| (\d+) \|", page, re.MULTILINE)) == {
        *("0", "2"),
        *map(str, (FAILED, MISTAKE, INTERRUPTED)),
    }
    for said in set(re.findall(r"`(--?[a-zA-Z]+)`", page)) - {"-h", "--help", "-V", "--version"}:
        assert any(said in one.opts for command in app.commands.values() for one in command.params)
