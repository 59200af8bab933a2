"""Notebooks, in real kernels: what holds for scripts holds for them."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat
import pytest
import tifffile
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager, KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from .test_example import EXAMPLE, counts, edit

CELLS = 12
ARGV = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

# What pyzmq and tornado leave open when a kernel is stopped is none of our business.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


class OwnKernel(AsyncKernelManager):
    """Kernels of the Python that runs the tests, whatever is installed as ``python3``."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=ARGV, language="python", display_name="tests")


class Notebook:
    """A notebook that is open: cells are typed and run, as a Jupyter server's user does."""

    def __init__(self, file: Path) -> None:
        self.file = file
        save(file)
        self.manager = KernelManager()
        self.manager._kernel_spec = KernelSpec(argv=ARGV, language="python", display_name="tests")
        self.manager.start_kernel(
            cwd=str(file.parent), env={**os.environ, "JPY_SESSION_NAME": str(file)}
        )
        self._connect()

    def _connect(self) -> None:
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.run("import numpy as np, pandas as pd\nfrom databacked import *\nimport databacked")

    def run(self, cell: str, *, fails: bool = False) -> str:
        """Run a cell; return all that it showed in the end, with a traceback if it is to fail."""
        said: dict[Any, str] = {}
        self.streams = Counter[str]()

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            box = content.get("transient", {}).get("display_id", len(said))
            text = content.get("data", {}).get("text/plain", content.get("text", ""))
            said[box] = "\n".join(content.get("traceback", [text]))
            self.streams[content.get("name", message["msg_type"])] += 1

        reply = self.client.execute_interactive(
            dedent(cell).strip("\n"), output_hook=hear, timeout=60
        )
        text = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(said.values()))
        assert (reply["content"]["status"] == "error") is fails, text
        return text

    def start(self, cell: str) -> None:
        """Begin to run a cell."""
        self._asked = self.client.execute(dedent(cell))

    def finished(self) -> str:
        """Wait for the cell that was begun; return how it ended."""
        while True:
            reply = self.client.get_shell_msg(timeout=60)
            if reply["parent_header"]["msg_id"] == self._asked:
                break
        with suppress(queue.Empty):  # what it printed is of no interest
            while True:
                self.client.get_iopub_msg(timeout=0.1)
        return str(reply["content"].get("ename", "ok"))

    def restart(self) -> None:
        """Restart the kernel."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self._connect()

    def close(self) -> None:
        """Shut the kernel down."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def save(file: Path, *cells: str) -> None:
    """Save a notebook."""
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), file)


def execute(file: Path) -> str:
    """Run a whole notebook in a fresh kernel that nobody tells its name; return what it printed."""
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_manager_class=OwnKernel,
        resources={"metadata": {"path": str(file.parent)}},
        timeout=60,
    )
    client.execute()
    return "\n".join(
        output.get("data", {}).get("text/plain", output.get("text", ""))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def tasks_in(place: Path) -> set[str]:
    """Return the tasks that the records of a place know."""
    lines = [
        line
        for journal in (place / ".databacked/journals").glob("*.tsv")
        for line in journal.read_text().splitlines()
    ]
    return {json.loads(line.split("\t")[2])["task"] for line in lines if line.startswith("=")}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose notebooks lie in a folder of their own."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "databacked.toml").touch()
    return folder


@pytest.fixture(scope="module")
def opened(lab: Path) -> Iterator[Callable[[str], Notebook]]:
    """Open a notebook of the lab by its name; it stays open."""
    found: dict[str, Notebook] = {}

    def opened(name: str) -> Notebook:
        if name not in found:
            found[name] = Notebook(lab / "notebooks" / f"{name}.ipynb")
        return found[name]

    yield opened
    for one in found.values():
        one.close()


@pytest.fixture
def notebook(opened: Callable[[str], Notebook]) -> Notebook:
    """The notebook that most tests share; each has places of its own."""
    return opened("cells")


# ---------------------------------------------------------------- a whole notebook


def test_the_example_restarted_and_run_again_computes_nothing(tmp_path):
    """What was looked at is found by the flow, and everything by the next kernel."""
    folder = tmp_path / "example"
    ignored = shutil.ignore_patterns("local_staging", "*_results", "datasets", ".databacked", "__*")
    shutil.copytree(EXAMPLE, folder, ignore=ignored)
    table = (folder / "cells.csv").read_text().splitlines()
    (folder / "cells.csv").write_text("\n".join(table[: CELLS + 1]) + "\n")

    first = execute(folder / "workflow.ipynb")
    assert "not followed" not in first
    assert counts(first)["normalize_cell"] == {"made": CELLS - 1, "reused": 1}
    assert counts(first)["project_cell"] == {"made": CELLS - 1, "reused": 1}
    cells = folder / "notebook_results/normalized_cells"
    with tifffile.TiffFile(next(cells.glob("*.ome.tiff"))) as tiff:
        assert tiff.series[0].shape == (2, 64, 64)
    assert tasks_in(cells) == {"workflow.ipynb:normalize_cell"}  # found by its cells

    edit(folder / "workflow.ipynb", "PIXEL = 0.619  # micrometres", "PIXEL = 0.619  # of a camera")
    (folder / "workflow.ipynb").rename(folder / "renamed.ipynb")
    second = counts(execute(folder / "renamed.ipynb"))
    assert all("made" not in found for found in second.values())
    assert second["project_cell"] == {"reused": CELLS}
    assert not (folder / "local_staging").exists()


# ---------------------------------------------------------------- cell by cell


def test_results_go_to_the_root_of_the_project(notebook, lab):
    """Neither the notebook's folder counts, nor one that a cell has changed to."""
    notebook.run(
        """
        %cd /
        @task(result=LocalResult("root"), target="{name}.csv")
        def table(name):
            return pd.DataFrame({"x": [1]})
        table("a")
        """
    )
    notebook.run("import os; os.chdir(get_ipython().starting_dir)")
    assert (lab / "root/a.csv").is_file()
    assert tasks_in(lab / "root") == {"notebooks/cells.ipynb:table"}
    assert [path.name for path in (lab / "notebooks").iterdir()] == ["cells.ipynb"]


def test_a_cell_run_again_with_another_constant(notebook):
    """Only what reaches it is made again; the order in which cells are run does not matter."""
    constant = "SIGMA = 2"
    blur = """
        @task(result=LocalResult("sigma/blurred"), target="{n}.npy")
        def blur(n):
            return np.full(3, n * SIGMA)
        """
    count = """
        @task(result=LocalResult("sigma/counted"), target="{n}.npy")
        def count(n):
            return np.full(3, n)
        """
    flow = """
        @flow
        def work(numbers):
            return blur.map(numbers), count.map(numbers)
        """
    for cell in (flow, count, blur, constant):  # from below to above
        notebook.run(cell)
    assert counts(notebook.run("_ = work([1, 2])")) == {"blur": {"made": 2}, "count": {"made": 2}}
    for cell in (blur, flow, "UNRELATED = 1", count, constant):
        notebook.run(cell)
    again = counts(notebook.run("_ = work([1, 2])"))
    assert again == {"blur": {"reused": 2}, "count": {"reused": 2}}
    notebook.run("SIGMA = 3")
    said = notebook.run("_ = work([1, 2])")
    assert counts(said) == {"blur": {"made": 2}, "count": {"reused": 2}}
    assert "notebook.SIGMA changed (2 → 3)" in said
    # The flow's own cell needs not be run again to use a task that was written anew.
    notebook.run(count.replace("(3, n)", "(4, n)"))
    said = notebook.run("_ = work([1, 2])")
    assert counts(said) == {"blur": {"reused": 2}, "count": {"made": 2}}
    assert "notebook.count changed" in said
    record = json.loads(
        notebook.run("print((databacked.last_run().folder / 'run.json').read_text())")
    )
    assert record["symbol"] == "notebooks/cells.ipynb:work"


def test_comments_and_formatting_of_a_cell_do_not_count(notebook):
    """Nor do magics and other lines beside the function."""
    notebook.run(
        """
        @task(result=LocalResult("formatted"), target="{n}.npy")
        def square(n):
            return np.full(3, n*n)
        @flow
        def work():
            return square.map([1, 2])
        _ = work()
        """
    )
    said = notebook.run(
        """
        # Squares
        %matplotlib inline
        %pwd
        files = !ls
        print(f"{len(files)} files")

        @task(result=LocalResult("formatted"), target="{n}.npy")
        def square(n: int) -> np.ndarray:
            '''Return a few squares.'''
            # as an array
            return np.full(
                3, n * n
            )
        _ = work()
        """
    )
    assert counts(said) == {"square": {"reused": 2}}
    assert "not followed" not in said


@pytest.mark.parametrize("magic", ["time", "capture --no-display"])
def test_a_cell_below_a_magic_counts_by_its_source(notebook, magic):
    """A function keeps what it counts by, and a change of it is seen."""
    cell = """
        FACTOR = 2
        def times(x):
            return x * FACTOR
        @task(result=LocalResult("magic_NAME"), target="{n}.npy")
        def multiply(n):
            return np.full(3, times(n))
        @flow
        def work():
            return multiply.map([1, 2])
        _ = work()
        """
    cell = dedent(cell.replace("NAME", magic[:4])).strip()
    timed = f"%%{magic}\n"
    assert counts(notebook.run(cell)) == {"multiply": {"made": 2}}
    said = notebook.run(timed + cell)
    assert counts(said) == {"multiply": {"reused": 2}}
    assert "not followed" not in said
    said = notebook.run(timed + cell.replace("x * F", "1 + x * F"))
    assert counts(said) == {"multiply": {"made": 2}}
    assert "notebook.times changed" in said
    assert counts(notebook.run("_ = work()")) == {"multiply": {"reused": 2}}


def test_lambdas_closures_classes_and_decorators_of_cells(notebook):
    """Each counts by its source, and by what it holds."""
    cell = """
        import functools, dataclasses

        def logged(function):
            @functools.wraps(function)
            def inner(**args):
                return function(**args) + OFFSET
            return inner

        def adder(amount):
            def add(x):
                return x + amount
            return add

        @dataclasses.dataclass
        class Settings:
            width: int = 3

        class Model:
            def __init__(self, scale):
                self.scale = scale
            def __call__(self, x):
                return x * self.scale

        OFFSET, double, add, settings, model = 0, lambda x: 2 * x, adder(1), Settings(), Model(5)
        {0}

        @task(result=LocalResult("kinds"), target="{{n}}.npy")
        @logged
        def compute(n):
            return np.full(settings.width, double(add(model(n))))

        @flow
        def work():
            return compute.map([1, 2])
        _ = work()
        print(np.asarray(_[0]).tolist())
        """
    made, reused = {"compute": {"made": 2}}, {"compute": {"reused": 2}}
    cell = dedent(cell)
    plain = cell.format("")
    assert counts(notebook.run(plain)) == made
    assert counts(notebook.run(plain + "\n# run again")) == reused
    for edited in (
        plain.replace("2 * x", "3 * x"),
        plain.replace("adder(1)", "adder(2)"),
        plain.replace("x + amount", "x - amount"),
        plain.replace("width: int = 3", "width: int = 4"),
        plain.replace("x * self.scale", "x + self.scale"),
        plain.replace("Model(5)", "Model(6)"),
        plain.replace(" + OFFSET", " - OFFSET - 1"),
        cell.format("add = functools.partial(add)"),
    ):
        said = notebook.run(edited)
        assert counts(said) == made, edited
        assert "not followed" not in said
        assert counts(notebook.run("_ = work()")) == reused


def test_a_module_beside_the_notebook(notebook, lab):
    """Edited, it is an error that says what to do; reloaded, its change is seen."""
    module = lab / "notebooks/helper.py"
    module.write_text("FACTOR = 2\n\n\ndef times(x):\n    return x * FACTOR\n")
    notebook.run(
        """
        import importlib, sys
        sys.dont_write_bytecode = True  # else Python takes an edit within a second for none
        import helper
        from helper import times

        @task(result=LocalResult("helped"), target="{n}.npy")
        def compute(n):
            return np.full(3, helper.times(n))
        @flow
        def work():
            return compute.map([1, 2])
        _ = work()
        """
    )
    edit(module, "x * FACTOR", "x + FACTOR")
    said = notebook.run("_ = work()", fails=True)
    assert "reload the module" in said
    said = notebook.run("importlib.reload(helper)\n_ = work()")
    assert counts(said) == {"compute": {"made": 2}}
    assert "notebooks.helper.times changed" in said
    assert "was changed after" not in said
    edit(module, "FACTOR = 2", "FACTOR = 3")
    said = notebook.run("_ = work()")
    assert counts(said) == {"compute": {"reused": 2}}
    assert "helper: its file was changed after it was imported, and what was imported runs" in said
    said = notebook.run("importlib.reload(helper)\n_ = work()")
    assert "notebooks.helper.FACTOR changed (2 → 3)" in said
    assert "was changed after" not in said


def test_autoreload(notebook, lab):
    """Functions and tasks of a module are those that stand in its file, without a word."""
    module = lab / "notebooks/steps.py"
    module.write_text(
        dedent(
            """
            import numpy as np
            from databacked import LocalResult, task

            def half(x):
                return x / 2

            @task(result=LocalResult("steps"), target="{n}.npy")
            def step(n):
                return np.full(3, half(n))
            """
        )
    )
    notebook.run("%load_ext autoreload\n%autoreload 2")
    notebook.run(
        """
        from steps import half, step
        import steps

        @task(result=LocalResult("halves"), target="{n}.npy")
        def halve(n):
            return np.full(3, half(n))
        @flow
        def work():
            return halve.map([1, 2]), steps.step.map([1, 2])
        """
    )
    assert counts(notebook.run("_ = work()"))["halve"] == {"made": 2}
    assert counts(notebook.run("_ = work()"))["halve"] == {"reused": 2}
    time.sleep(1.1)  # autoreload looks at whole seconds
    edit(module, "x / 2", "x / 2 + 1")
    said = notebook.run("_ = work()")
    assert counts(said) == {"halve": {"made": 2}, "step": {"made": 2}}
    assert "notebooks.steps.half changed" in said
    assert "its file was changed after" not in said
    notebook.run("%autoreload 0")


def test_processes_run_functions_of_cells(notebook, lab):
    """Classes, constants and helpers of cells go along."""
    said = notebook.run(
        """
        import os
        SCALE = 3
        class Scale:
            def __call__(self, x):
                return x * SCALE
        scale = Scale()

        @task
        def load(n):
            return np.full(3, n), os.getpid()
        @task(result=LocalResult("processed"), target="{n}.npy")
        def compute(n, loaded):
            return np.append(scale(loaded[0]), loaded[1])
        @flow(runner="processes")
        def work(numbers):
            return compute.map(numbers, load.map(numbers))
        values = [np.asarray(value) for value in work([1, 2, 3])]
        print(sum(value[0] for value in values), os.getpid() in [value[-1] for value in values])
        """
    )
    assert counts(said)["compute"] == {"made": 3}
    assert said.rstrip().endswith("18 False")
    assert tasks_in(lab / "processed") == {"notebooks/cells.ipynb:compute"}
    assert counts(notebook.run("_ = work.with_options(runner='threads')([1, 2, 3])"))[
        "compute"
    ] == {"reused": 3}


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_a_failure_names_cell_and_line(notebook, runner):
    """As IPython's own tracebacks do."""
    notebook.run(
        """
        @task
        def divide(n):
            return np.ones(3) / int(
                1 / n
            )
        @flow
        def work(numbers):
            return divide.map(numbers)
        number = len(In) - 1
        """
    )
    said = notebook.run(
        f"""
        try:
            work.with_options(runner="{runner}")([0, 1])
        except databacked.FlowFailed as error:
            print(f"at Cell In[{{number}}], line 4: ZeroDivisionError" in str(error), error)
        """
    )
    assert "True" in said, said


def test_an_interrupt_leaves_whole_files(notebook, lab):
    """What is done is used by the next run; nothing is left half-written."""
    notebook.run(
        """
        import time
        @task(result=LocalResult("slow"), target="{n}.npy")
        def slow(n):
            time.sleep(0.03)
            return np.full((64, 64), n)
        @flow
        def work():
            return slow.map(range(60))
        """
    )
    notebook.start("_ = work()")
    deadline = time.monotonic() + 30
    while len(list((lab / "slow").glob("*.npy"))) < 6:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    notebook.manager.interrupt_kernel()
    assert notebook.finished() == "KeyboardInterrupt"
    there = len(list((lab / "slow").glob("*.npy")))
    assert there < 60
    after = counts(notebook.run("_ = work()"))
    assert after == {"slow": {"made": 60 - there, "reused": there}}
    assert not list((lab / "slow/.databacked/tmp").glob("*/*"))


# ---------------------------------------------------------------- two notebooks, other names

FILTER = """
@task(result=LocalResult("PLACE"), target="{n}.npy")
def smooth(n):
    return np.full(3, n + STEP)
@flow
def work():
    return smooth.map([1, 2])
_ = work()
"""


def test_functions_of_one_name_in_two_notebooks_are_two_tasks(notebook, opened, lab):
    """Places of their own: all stays as it is. One place: files are moved aside, and it is said."""
    other = opened("other")
    made, reused = {"smooth": {"made": 2}}, {"smooth": {"reused": 2}}
    mine, its = FILTER.replace("STEP", "10"), FILTER.replace("STEP", "20")
    assert counts(notebook.run(mine.replace("PLACE", "own_a"))) == made
    assert counts(other.run(its.replace("PLACE", "own_b"))) == made
    assert counts(notebook.run("_ = work()")) == reused
    assert counts(other.run("_ = work()")) == reused

    mine, its = mine.replace("PLACE", "shared"), its.replace("PLACE", "shared")
    assert counts(notebook.run(mine)) == made
    said = other.run(its)
    assert counts(said) == made
    assert "it is a result of notebooks/cells.ipynb:smooth" in said
    assert "2 × moved aside to ../shared/.databacked/replaced/" in said
    assert "it is a result of notebooks/other.ipynb:smooth" in notebook.run("_ = work()")
    assert len(list((lab / "shared/.databacked/replaced").rglob("*.npy"))) == 4
    # A copy of a notebook that does the same may use what the first one made.
    assert counts(other.run(mine)) == reused


def test_a_restarted_kernel_finds_what_was_made(opened):
    """Numbers of cells and names of their sources are others; nothing is made again."""
    other = opened("other")
    cell = FILTER.replace("STEP", "1").replace("PLACE", "restarted")
    assert counts(other.run(cell)) == {"smooth": {"made": 2}}
    other.restart()
    other.run("OTHER = 1")
    assert counts(other.run(cell)) == {"smooth": {"reused": 2}}


def test_a_renamed_notebook_inherits_its_results(opened, lab):
    """Also in the running kernel, that was not told; what is changed then is replaced as ever."""
    other = opened("other")
    cell = FILTER.replace("STEP", "1").replace("PLACE", "renamed")
    other.run(cell)
    edited = lab / "renamed/1.npy"
    other.run(f"np.save({str(edited)!r}, np.array([7, 8, 9]))")
    renamed = other.file.rename(other.file.with_name("final.ipynb"))
    for telling in ("", f"os.environ['JPY_SESSION_NAME'] = {str(renamed)!r}"):
        said = other.run(f"import os\n{telling}\n_ = work()")
        assert counts(said) == {"smooth": {"reused": 2}}
        assert "edited by hand, used as it is" in said
    assert tasks_in(lab / "renamed") == {"notebooks/other.ipynb:smooth"}
    edited.unlink()
    other.run("_ = work()")
    said = other.run(cell.replace("+ 1", "+ 2"))
    assert counts(said) == {"smooth": {"made": 2}}
    assert "2 of 2 recomputed: notebook.smooth changed" in said
    assert "moved aside" not in said
    assert "notebooks/final.ipynb:smooth" in tasks_in(lab / "renamed")


def test_vs_code_names_the_notebook(notebook, lab):
    """In a variable of the notebook; a name that is no file is not believed."""
    save(lab / "elsewhere/code.ipynb")
    cell = FILTER.replace("STEP", "1").replace("PLACE", "code")
    notebook.run(f"__vsc_ipynb_file__ = {str(lab / 'elsewhere/code.ipynb')!r}\n{cell}")
    notebook.run("__vsc_ipynb_file__ = 'Untitled-1.ipynb'\n" + cell.replace('"code"', '"code_2"'))
    notebook.run("del __vsc_ipynb_file__")
    assert tasks_in(lab / "code") == {"elsewhere/code.ipynb:smooth"}
    assert tasks_in(lab / "code_2") == {"notebooks/cells.ipynb:smooth"}


def test_a_run_is_one_calm_box(notebook):
    """No red, a bar while it runs, what items print, and words where pictures are not shown."""
    notebook.run(
        """
        import time
        @task(result=LocalResult("calm"), target="{n}.npy")
        def slow(n):
            time.sleep(0.5)
            print("working on", n)
            if n == 13:
                raise ValueError("unlucky")
            return np.full(3, n)
        @flow(on_error="collect", runner=ThreadRunner(1))
        def work(ns):
            return slow.map(ns)
        """
    )
    said = notebook.run("_ = work([1, 2, 13])")
    assert notebook.streams["stderr"] == notebook.streams["stdout"] == 0
    assert notebook.streams["display_data"] == 1
    assert notebook.streams["update_display_data"] >= 2
    assert "slow[1.npy]: working on 1" in said
    assert counts(said) == {"slow": {"made": 2, "failed": 1}}
    assert "ValueError: unlucky" in said
    assert "what items said" not in said


def test_only_the_first_lines_that_items_print_are_shown(notebook):
    said = notebook.run(
        """
        @task
        def talk(n):
            print("line", n)
            return n
        @flow(runner=ThreadRunner(1))
        def work():
            return talk.map(range(30))
        _ = work()
        """
    )
    assert said.count("]: line ") == 10
    assert "what items said: 20 more lines; databacked.last_run().log has all" in said
    assert notebook.run("print(databacked.last_run().log.count('line'))").strip() == "30"


def test_a_module_that_was_compiled_before_an_edit_is_known_at_once(notebook, lab):
    """Also where the edit came before the first run."""
    module = lab / "notebooks/early.py"
    module.write_text("FACTOR = 2\n")
    notebook.run("import sys\nsys.dont_write_bytecode = False\nimport early")
    time.sleep(1.1)  # compiled code tells whole seconds
    module.write_text("FACTOR = 3\n")
    said = notebook.run(
        """
        @task(result=LocalResult("early"), target="{n}.npy")
        def compute(n):
            return np.full(3, n * early.FACTOR)
        @flow
        def work():
            return compute.map([1, 2])
        _ = work()
        """
    )
    assert "early: its file was changed after it was imported" in said
