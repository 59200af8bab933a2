"""Items, tries and the caller do not see what another one does to a value."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
from collections import Counter, OrderedDict, defaultdict, deque
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from databacked import FlowFailed, Image, LocalResult, flow, last_run, same, sweep, task
from databacked.fingerprint.parameters import token
from databacked.graph.copies import SMALL, copied
from databacked.worker.calling import MOVED

RUNNERS = ["calling", "threads", "processes"]


@dataclasses.dataclass
class Settings:
    """Fields."""

    steps: list[int]


class Plain:
    """Attributes."""

    def __init__(self, steps):
        self.steps = steps


class Slotted:
    """Slots."""

    __slots__ = ("steps",)

    def __init__(self, steps):
        self.steps = steps


class Odd(Plain):
    """Nothing of it works but its attributes."""

    def _no(self, *_):
        raise RuntimeError("not connected")

    __getattr__ = __reduce__ = __reduce_ex__ = __deepcopy__ = __copy__ = _no


class Pair(NamedTuple):
    """A list in a named tuple."""

    steps: list[int]


def table(cells):
    return pd.DataFrame({"steps": pd.Series([cells], dtype=object), "x": [1]})


# A value, and what an item does to it.
CHANGED: dict[str, tuple[Any, Any]] = {
    "list": ([0], lambda x: x.append(1)),
    "dict": ({"a": 0}, lambda x: x.update(b=1)),
    "list in a dict": ({"a": [0]}, lambda x: x["a"].append(1)),
    "list in a tuple": (([0],), lambda x: x[0].append(1)),
    "list in a named tuple": (Pair([0]), lambda x: x.steps.append(1)),
    "set": ({0}, lambda x: x.add(1)),
    "bytearray": (bytearray(b"a"), lambda x: x.append(1)),
    "deque": (deque([0], 5), lambda x: x.append(1)),
    "list in a deque": (deque([[0]]), lambda x: x[0].append(1)),
    "Counter": (Counter("a"), lambda x: x.update("b")),
    "OrderedDict": (OrderedDict(a=0), lambda x: x.update(b=1)),
    "defaultdict": (defaultdict(list), lambda x: x["a"]),
    "list in a defaultdict": (defaultdict(list, a=[0]), lambda x: x["a"].append(1)),
    "list in a view of a dict": (MappingProxyType({"a": [0]}), lambda x: x["a"].append(1)),
    "namespace": (SimpleNamespace(steps=[0]), lambda x: x.steps.append(1)),
    "attribute of a namespace": (SimpleNamespace(), lambda x: setattr(x, "a", 1)),
    "dataclass": (Settings([0]), lambda x: x.steps.append(1)),
    "object": (Plain([0]), lambda x: x.steps.append(1)),
    "attribute of an object": (Plain([0]), lambda x: setattr(x, "more", 1)),
    "object in an object": (Plain(Settings([0])), lambda x: x.steps.steps.append(1)),
    "object in a list": ([Plain([0])], lambda x: x[0].steps.append(1)),
    "slots": (Slotted([0]), lambda x: x.steps.append(1)),
    "odd object": (Odd([0]), lambda x: x.steps.append(1)),
    "bound method": (Counter("a").update, lambda x: x("b")),
    "method of an object": (Settings([0]).__eq__, lambda x: x.__self__.steps.append(1)),
    "partial": (functools.partial(len, [0]), lambda x: x.args[0].append(1)),
    "array": (np.zeros(3), lambda x: x.__setitem__(0, 1)),
    "array in a list": ([np.zeros(3)], lambda x: x[0].__setitem__(0, 1)),
    "array in an object": (Plain(np.zeros(3)), lambda x: x.steps.__setitem__(0, 1)),
    "list in an array": (np.array([[0], None], object), lambda x: x[0].append(1)),
    "masked array": (np.ma.masked_array([1, 2]), lambda x: x.__setitem__(0, np.ma.masked)),
    "image": (Image(np.zeros((2, 2))), lambda x: x.data.__setitem__(0, 1)),
    "table": (table([0]), lambda x: x.__setitem__("x", 2)),
    "list in a table": (table([0]), lambda x: x.steps[0].append(1)),
    "attribute of a table": (table([0]), lambda x: x.attrs.update(px=1)),
    "column": (pd.Series([1, 2]), lambda x: x.__setitem__(0, 2)),
    "list in a column": (table([0]).steps, lambda x: x[0].append(1)),
    "labelled array": (xr.DataArray(np.zeros(2)), lambda x: x.__setitem__(0, 1)),
    "attribute of a labelled array": (xr.DataArray([0]), lambda x: x.attrs.update(px=1)),
    "random numbers": (np.random.default_rng(1), lambda x: x.random()),
    "memory view": (memoryview(bytearray(b"a")), lambda x: x.__setitem__(0, 1)),
}


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("runner", ["calling", "threads"])
def test_what_an_item_changes_no_other_one_sees(project, name, runner):
    """Whatever the type, and the caller's own value stays what it was."""
    value, change = CHANGED[name]
    before = token(value)

    @task
    def use(n, x):
        seen = token(x)
        change(x)
        return seen if token(x) != seen else "not changed"

    @flow(runner=runner, quiet=True)
    def run():
        return (
            *use.map(range(3), same(value)),
            *use.map(sweep([1, 2, 3]), [value]),
            *[use(n, value) for n in range(2)],
        )

    assert run() == (before,) * 8
    assert token(value) == before


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("runner", ["calling", "threads"])
def test_what_a_reader_changes_no_other_reader_sees(project, name, runner):
    """The value of a task: what two of its readers and the flow get is what it returned."""
    change = CHANGED[name][1]

    @task
    def make(n):
        return copied(CHANGED[name][0])

    @task(failed="mark")
    def use(x, n=0):
        seen = token(x)
        with contextlib.suppress(ValueError):  # arrays of tasks cannot be written to
            change(x)
        return seen

    @flow(runner=runner, quiet=True)
    def run():
        made, alone = make(0), make(1)
        return *use.map(same(made), range(2)), use(made), use(alone), made, alone

    *seen, made, alone = run()
    assert {*seen, token(made), token(alone)} == {token(CHANGED[name][0])}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_try_gets_its_arguments_anew(project, runner):
    """What a failed one did to them is gone, also where they come from tasks."""

    @task
    def make():
        return {"files": ["x"], "array": np.zeros(2), "settings": Settings([1])}

    @task(result=LocalResult("out"), target="{n}.json", retries=3)
    def work(n, files, made, settings, image):
        found = [len(files), len(made["files"]), len(settings.steps), float(image[0])]
        files.append(n)
        made["files"].append(n)
        settings.steps.append(n)
        image[0] += 1
        tries = project / f"tries{n}"
        tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
        if len(tries.read_text()) < 3:
            raise OSError("network")
        return found

    @flow(runner=runner, quiet=True)
    def run():
        made = make()
        return work.map(
            ["a", "b"], [["x"], ["x"]], same(made), same(Settings([1])), [np.zeros(2), np.zeros(2)]
        )

    assert list(run()) == [[1, 1, 1, 0.0]] * 2


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_large_array_that_is_shared_cannot_be_written_to(project, runner):
    """Whoever tries fails by name, and the others are made."""
    large = np.zeros(SMALL // 8 + 1)

    @task(result=LocalResult("a"), target="{n}.json")
    def spoil(n, x, inside):
        if n == 0:
            x[0] = 1
        if n == 1:
            inside.steps[0] = 1
        return float(x[0] + inside.steps[0])

    @flow(runner=runner, quiet=True, on_error="collect")
    def run():
        return spoil.map(range(4), same(large), same(Plain(large)))

    first, second, *others = run()
    assert others == [0.0, 0.0]
    for one in (first, second):
        assert one.failure.task == "spoil"
        assert "read-only" in one.failure.exception
        assert "work on a copy" in one.failure.exception
    assert large.sum() == 0


@pytest.mark.parametrize("runner", ["calling", "threads"])
def test_an_array_that_was_changed_after_all_fails_its_items_alone(project, runner):
    """Compiled code may write where numpy does not: other tasks of the run are made."""
    large = np.zeros(SMALL // 8 + 1)

    @task(result=LocalResult("a"), target="{n}.json")
    def spoil(n, x):
        large[0] += 1
        return float(x[1])

    @task(result=LocalResult("b"), target="{n}.json")
    def other(n):
        return n

    @flow(runner=runner, quiet=True, on_error="collect")
    def run():
        return spoil.map(range(40), same(large)), other.map(range(4))

    spoilt, others = run()
    assert others == [0, 1, 2, 3]
    failed = [one for one in spoilt if one != 0.0]
    assert failed
    assert all("'x' was changed between the call" in one.failure.exception for one in failed)


def test_what_is_kept_in_a_record_is_what_the_task_returned(project):
    """A reader that changes it in place changes nothing that is remembered."""

    @task(keep=True)
    def make(n):
        return [n]

    @task
    def use(x):
        x.append(7)
        return len(x)

    @flow(quiet=True)
    def run():
        return use.map(make.map([1, 2])), make.map([1, 2])

    for _ in range(2):
        assert run() == ([2, 2], [[1], [2]])


def test_the_caller_may_change_a_value_after_the_call(project):
    """An argument is what it was at the call."""

    @task
    def total(x):
        return sum(x.steps)

    @flow(quiet=True)
    def run():
        settings = Settings([1])
        found = total(settings)
        settings.steps.append(100)
        return found, total.map([settings, settings])

    assert run() == (1, [101, 101])


nested = st.recursive(
    st.integers() | st.text(max_size=2) | st.builds(np.zeros, st.just(2)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
        | st.builds(Settings, inner)
        | st.builds(Plain, inner)
        | st.builds(Slotted, inner)
        | st.builds(lambda one: SimpleNamespace(a=one), inner)
        | st.builds(lambda one: deque([one]), inner)
        | st.builds(lambda one: defaultdict(list, a=one), inner)
        | st.builds(lambda one: table([one]), inner)
    ),
    max_leaves=5,
)


def parts(value: Any) -> list[Any]:
    """Return everything in a value that can be changed in place."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        return [value, *(part for one in value.values() for part in parts(one))]
    if isinstance(value, list | tuple | deque):
        own = [] if isinstance(value, tuple) else [value]
        return [*own, *(part for one in value for part in parts(one))]
    if isinstance(value, pd.DataFrame):
        return [value, *(part for one in value.steps for part in parts(one))]
    if isinstance(value, Settings | Plain | Slotted):
        return [value, *parts(value.steps)]
    return [value, *parts(value.a)] if isinstance(value, SimpleNamespace) else []


@given(nested)
def test_a_copy_shares_nothing_that_can_be_changed(value):
    """However deep, and it counts by the same."""
    made = copied(value)
    assert token(made) == token(value)
    ours, theirs = parts(made), parts(value)
    assert {id(part) for part in ours} & {id(part) for part in theirs} == set()
    assert len(ours) == len(theirs)


class Node:
    """A part of a tree that knows what it hangs on."""

    def __init__(self, parent=None):
        self.parent = parent
        self.children = []
        self.names = {"me": self}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_value_that_holds_itself_can_be_read(project, runner):
    """Trees whose parts know their parents, distributions of scipy; loggers as arguments."""

    @task
    def tree(n):
        root = Node()
        root.children += [Node(root), Node(root)]
        return root

    @task
    def spread(n):
        return pytest.importorskip("scipy.stats").norm(n)

    @task
    def sparse(n):
        return pytest.importorskip("scipy.sparse").dok_matrix(np.eye(n))

    @task(result=LocalResult("out"), target="{n}.json")
    def use(n, root, log, normal, cells):
        parents = [child.parent is root for child in root.children]
        root.children.clear()
        known = log is logging.getLogger("of the lab")
        return [*parents, root.names["me"] is root, known, float(normal.mean()), cells.nnz]

    @flow(quiet=True, runner=runner)
    def run():
        log = logging.getLogger("of the lab")
        return use.map([1, 2], tree(1), log, spread(3), sparse(2))

    assert list(run()) == [[True, True, True, True, 3.0, 2]] * 2


def test_what_stands_twice_in_a_value_does_so_in_its_copy():
    """A function that changes the one sees it in the other."""
    row = [0]
    for value in ([row, row], {"a": row, "b": row}, deque([row, row]), (row, [row])):
        first, other, *_ = copied(value).values() if type(value) is dict else copied(value)
        assert first is (other[0] if type(value) is tuple else other)
        assert first is not row
    looped: list[Any] = [{}, deque(), SimpleNamespace(), defaultdict(list), np.empty(1, object)]
    looped[0]["all"] = looped[3]["all"] = looped[2].all = looped[4][0] = looped
    looped[1].append(looped)
    made = copied(looped)
    assert made is not looped
    held = [made[0]["all"], made[1][0], made[2].all, made[3]["all"], made[4][0]]
    assert all(one is made for one in held)


def test_cells_stay_what_they_are(project):
    """pandas would make a column of times of these objects; what stands for itself is no copy."""
    times = pd.DataFrame({"t": pd.Series([pd.NaT, pd.NaT], dtype=object)})
    assert copied(times).t.dtype == object
    for value in (np.ma.masked, Literal["a"], logging.getLogger("of the lab")):
        assert copied(value) is value


def test_a_failed_item_says_what_it_may_not_write_to(project):
    """The words name the task and what to do."""

    @task
    def make():
        return np.zeros(3)

    @task
    def add(n, x):
        x += 1
        return x

    @flow(quiet=True)
    def run():
        return add.map([1, 2], same(make()))

    with pytest.raises(FlowFailed, match="work on a copy"):
        run()


def test_an_item_that_changes_the_working_folder_is_said(project, monkeypatch):
    """It is one for all threads."""
    monkeypatch.chdir(project)
    (project / "sub").mkdir()

    @task(result=LocalResult(project / "out"), target="{n}.json")
    def move(n):
        if n == 1:
            os.chdir("sub")
        return n

    @flow(quiet=True, runner="calling")
    def run():
        return move.map([0, 1, 2])

    assert list(run()) == [0, 1, 2]
    assert last_run().notes["move"] == {MOVED: 1}


def test_a_loaded_model_is_handed_on_as_it_is(project):
    """A class that says itself what it counts by is not copied."""

    class Model:
        """Loaded once."""

        def __databacked_token__(self):
            return "weights 1"

    model = Model()

    @task
    def use(n, model):
        return id(model)

    @flow(quiet=True)
    def run():
        return use.map(range(3), model)

    assert set(run()) == {id(model)}


class Missing:
    """Stands for nothing, as libraries have it for their defaults."""


MISSING = Missing()


@pytest.mark.parametrize("runner", ["calling", "threads"])
def test_what_stands_for_nothing_stays_itself(project, runner):
    """A function asks of its default whether it is the one that it knows."""

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n, given=MISSING):
        return given is MISSING

    @flow(quiet=True, runner=runner)
    def run():
        return work.map([1, 2])

    assert list(run()) == [True, True]
