"""Figures of pyplot: each item draws as if it were alone, whatever runs it."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from databacked import LocalResult, flow, last_run, task
from databacked.worker.pyplot import NOTE

IMAGES = [np.random.default_rng(n).normal(n, 1, (16, 16)) for n in range(8)]


def helper(image):
    plt.imshow(image)
    plt.colorbar()


def current(n, image):
    plt.imshow(image)
    plt.title(f"field {n}")
    return plt.gca()


def figure(n, image):
    plt.figure()
    plt.hist(image.ravel())
    plt.title(f"field {n}")
    return plt.gcf()


def through_a_helper(n, image):
    helper(image)
    return plt.gcf()


def inside(n, image):
    import matplotlib.pyplot as inner

    inner.plot(image[0])
    inner.ylabel(str(n))
    return inner.gcf()


def of_a_table(n, image):
    return pd.DataFrame(image).plot()


def with_settings(n, image):
    with plt.style.context("dark_background" if n % 2 else "ggplot"):
        plt.rcParams["xtick.labelsize"] = 5 + n
        plt.plot(image[0])
        return plt.gcf()


def changing_settings(n, image):
    plt.rcParams["axes.facecolor"] = f"C{n}"
    plt.plot(image[0])
    return plt.gcf()


def leaving_one_open(n, image):
    left = plt.gcf().number
    plt.plot(image[0])
    made, axes = plt.subplots()
    axes.set_title(f"{n}: {left} {made.number}")
    return made


@pytest.fixture(autouse=True)
def agg(monkeypatch):
    """No windows; and figures of the test's own stay what they are."""
    plt.switch_backend("agg")
    mine = plt.figure(7)
    settings = dict(mpl.rcParams)
    yield
    assert plt.get_fignums() == [7]
    assert plt.gcf() is mine
    assert dict(mpl.rcParams) == settings
    plt.close("all")


@pytest.mark.parametrize(
    "draw",
    [
        current, figure, through_a_helper, inside, of_a_table, with_settings, changing_settings,
        leaving_one_open,
    ],
)  # fmt: skip
def test_threads_draw_what_one_thread_draws(project, draw):
    """Same bytes, and it is said that items waited for one another."""

    def pictures(place, runner):
        made = task(result=LocalResult(place), target="{n}.png", name=place)(draw)

        @flow(quiet=True, runner=runner)
        def run():
            return made.map(range(8), IMAGES)

        return [one.path.read_bytes() for one in run()]

    alone = pictures("alone", "calling")
    assert pictures("usual", "threads") == alone
    assert len(set(alone)) == 8
    assert last_run().notes["usual"] == {NOTE: 8}


def test_an_object_may_draw_with_pyplot(project):
    """Nothing in the task's own code says so."""

    @task(result=LocalResult("out"), target="{n}.png")
    def draw(n, image, library):
        library.figure()
        library.plot(image[0])
        library.title(str(n))
        return library.gcf()

    @flow(quiet=True)
    def run():
        return draw.map(range(8), IMAGES, [plt] * 8)

    pictures = [one.path.read_bytes() for one in run()]
    assert len(set(pictures)) == 8


def test_a_task_that_draws_may_call_tasks_that_draw(project):
    """Nobody waits for a lock that the caller holds."""

    @task(result=LocalResult(project / "inner"), target="{n}.png")
    def inner(n):
        plt.plot([n, 1])
        return plt.gcf()

    @task(result=LocalResult("outer"), target="{n}.png")
    def outer(n):
        plt.title(f"before {n}")
        assert len(inner.map([10 * n, 10 * n + 1])) == 2
        plt.ylabel("after")
        return plt.gcf()

    @flow(quiet=True)
    def run():
        return outer.map(range(3))

    @task(result=LocalResult("plain"), target="{n}.png")
    def plain(n):
        plt.title(f"before {n}")
        plt.ylabel("after")
        return plt.gcf()

    @flow(quiet=True)
    def other():
        return plain.map(range(3))

    expected = [one.path.read_bytes() for one in other()]
    assert [one.path.read_bytes() for one in run()] == expected


def test_the_first_import_in_two_threads_at_once_is_whole(project):
    """A fresh process, the import inside of the function."""
    script = project / "r.py"
    script.write_text(
        "from databacked import flow, task, LocalResult, ThreadRunner\n"
        "@task(result=LocalResult('out'), target='{n}.png')\n"
        "def draw(n):\n"
        "    import matplotlib\n"
        "    matplotlib.use('agg')\n"
        "    import matplotlib.pyplot as plt\n"
        "    plt.plot([n, 1]); return plt.gcf()\n"
        "@task(result=LocalResult('two'), target='{n}.png')\n"
        "def other(n):\n"
        "    from matplotlib.figure import Figure\n"
        "    figure = Figure(); figure.subplots().plot([n, 1]); return figure\n"
        "@flow(quiet=True, runner=ThreadRunner(8))\n"
        "def run(): return draw.map(range(8)), other.map(range(8))\n"
        "print(*map(len, run()))\n"
    )
    done = subprocess.run(
        [sys.executable, "r.py"], cwd=project, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("8 8\n", "")
