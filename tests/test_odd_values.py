"""Values that can be read once, that nobody can look at, and values of tasks in odd places."""

from __future__ import annotations

import dataclasses
import functools
import io
import types
from collections import OrderedDict, deque
from typing import Any

import numpy as np
import pandas as pd
import pytest

from databacked import FlowFailed, LocalResult, compact, flatten, flow, group, last_run, same, task
from databacked.errors import FingerprintError, GraphError

RUNNERS = ["calling", "threads", "processes"]


@dataclasses.dataclass
class Settings:
    """A field."""

    image: Any


class Proxy:
    """Stands for something that is not there."""

    def __getattr__(self, name):
        raise RuntimeError("not connected")

    def __call__(self):
        """Do nothing."""


class Odd:
    """Nothing of it works but its attributes."""

    def __init__(self):
        self.y = 1

    def _no(self, *_):
        raise RuntimeError("not connected")

    __eq__ = __hash__ = __reduce__ = __reduce_ex__ = __repr__ = __getattr__ = _no


OPENED: list[Any] = []


def opened(n):
    """Return a file that is closed when its test ends."""
    OPENED.append(open(__file__))  # noqa: SIM115
    return OPENED[-1]


@pytest.fixture(autouse=True)
def closed():
    """Leave no file to the collector: it would complain in some other test."""
    yield
    while OPENED:
        OPENED.pop().close()


ONCE = {
    "generator": lambda n: (i for i in range(n)),
    "map": lambda n: map(str, range(n)),
    "zip": lambda n: zip(range(n), range(n), strict=True),
    "iterator": lambda n: iter(range(n)),
    "file": opened,
    "bytes": lambda n: io.BytesIO(b"x"),
    "in a dict": lambda n: {"rows": iter([n])},
    "in a list": lambda n: [1, [iter([n])]],
    "in an object": lambda n: Settings(iter([n])),
    "in a partial": lambda n: functools.partial(list, iter([n])),
    "in a table": lambda n: pd.DataFrame({"x": [iter([n])]}),
}


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("runner", ["calling", "threads"])
def test_a_value_that_can_be_read_once_is_refused(project, name, runner):
    """As what a task returns, and as an argument."""

    @task
    def rows(n):
        return ONCE[name](n)

    @task(result=LocalResult("a"), target="{n}.json")
    def count(n, found):
        return len(list(found))

    @flow(quiet=True, runner=runner)
    def run():
        found = rows(3)
        return count("first", found), count("second", found)

    with pytest.raises(FlowFailed, match=r"read only once. Return list\(...\) of it"):
        run()

    @flow(quiet=True, runner=runner)
    def given():
        return count("first", ONCE[name](3))

    with pytest.raises(FingerprintError, match=r"count: the argument 'found'.*pass list\(...\)"):
        given()


def test_a_flow_that_returns_a_generator_is_refused(project):
    """It would be read when the run is over."""

    @task
    def double(n):
        return 2 * n

    @flow(quiet=True)
    def run():
        return (double(n) for n in range(3))

    with pytest.raises(GraphError, match=r"return list\(...\) of it"):
        run()


@pytest.mark.parametrize("odd", ["proxy", "deep", "deep in a dict", "said"])
def test_an_argument_that_cannot_be_looked_at_is_named(project, odd):
    """Task, parameter, and item; where there are many, that item fails and the others are made."""
    deep: Any = 1
    for _ in range(3000):
        deep = [deep]
    value = {"proxy": Proxy(), "deep": deep, "deep in a dict": {"a": deep}}.get(odd, [Proxy()])

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n, setting):
        return n

    @flow(quiet=True, on_error="collect")
    def run():
        return work.map([1, 2, 3], [0, value, 0])

    @flow(quiet=True, on_error="collect")
    def single():
        return work(1, value)

    first, failed, last = run()
    assert (first, last) == (1, 3)
    assert "work: the argument 'setting' of item 1" in failed.failure.exception
    with pytest.raises((FingerprintError, GraphError), match="work: the argument 'setting'"):
        single()


@pytest.mark.parametrize("runner", ["calling", "threads"])
def test_an_odd_object_is_an_argument_like_any_other(project, runner):
    """What it cannot do is not asked of it."""

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n, setting):
        if n == 2:
            raise ValueError("two")
        return setting.y

    @task
    def give(setting):
        return setting

    @flow(quiet=True, on_error="collect", runner=runner)
    def run(odd):
        return work.map([1, 2, 3], same(odd)), work.map([4, 5], same(give(odd)))

    first, second = run(Odd())
    assert [one if one == 1 else "failed" for one in first] == [1, "failed", 1]
    assert list(second) == [1, 1]
    run(Odd())
    assert last_run().counts["work"] == {"reused": 4, "failed": 1}


def in_an_array(one):
    made = np.empty(2, object)
    made[0] = one
    return made


INSIDE = {
    "a dataclass": (lambda one: Settings(one), lambda value: value.image),
    "a namespace": (lambda one: types.SimpleNamespace(a=one), lambda value: value.a),
    "a table": (lambda one: pd.DataFrame({"v": [one]}), lambda value: value.v[0]),
    "a column": (lambda one: pd.Series([one]), lambda value: value[0]),
    "a deque": (lambda one: deque([one]), lambda value: value[0]),
    "an array": (in_an_array, lambda value: value[0]),
    "a partial": (lambda one: functools.partial(int, one), lambda value: value()),
    "an ordered dict": (lambda one: OrderedDict(a=one), lambda value: value["a"]),
    "objects in a list": (lambda one: [Settings([one])], lambda value: value[0].image[0]),
}


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("runner", RUNNERS)
def test_values_of_tasks_are_found_inside(project, name, runner):
    """In arguments, and in what a flow returns; the type around them stays."""
    put, get = INSIDE[name]

    @task
    def odd(n):
        return n

    @task(result=LocalResult("out"), target="{n}.json")
    def use(n, value):
        return [type(value).__name__, get(value)]

    @flow(quiet=True, runner=runner)
    def run(k):
        return put(odd(k)), use("a", put(odd(k))), use.map(["b"], [put(odd(k))])

    kind = type(put(1)).__name__
    for k in (1, 1, 2):
        value, one, (mapped,) = run(k)
        assert (type(value).__name__, get(value)) == (kind, k)
        assert one == mapped == [kind, k]


def test_a_value_of_a_task_where_nobody_looks_is_said(project):
    """With task, parameter and place."""

    @task
    def odd(n):
        return n

    class Own(dict):
        """A container of one's own."""

    @flow(quiet=True)
    def run():
        return odd(Own(a=odd(1)))

    with pytest.raises((FingerprintError, GraphError), match="odd: the argument 'n'"):
        run()


def test_what_stands_for_columns_comes_back_as_values(project):
    """Compacted, flattened and grouped ones, as part of something or alone."""

    @task(keep=True)
    def odd(n):
        return None if n == 2 else n

    @task(keep=True)
    def some(n):
        return list(range(n))

    @flow(quiet=True)
    def alone():
        return compact(odd.map([1, 2, 3]))

    @flow(quiet=True)
    def inside():
        found = odd.map([1, 3, 5])
        keys, members = group(found, by=["a", "b", "a"])
        return {
            "compact": compact([1, 2, 3], odd.map([1, 2, 3])),
            "flat": flatten(some.map([1, 2])),
            "same": same(found[0]),
            "group": [keys, members],
            "table": pd.DataFrame({"v": list(found)}),
        }

    for _ in range(2):
        assert alone() == [1, 3]
        found = inside()
        assert found["compact"] == ([1, 3], [1, 3])
        assert found["flat"] == [0, 0, 1]
        assert found["same"] == 1
        assert found["group"] == [["a", "b"], [[1, 5], [3]]]
        assert found["table"].v.tolist() == [1, 3, 5]


def test_a_number_of_numpys_is_said_to_be_one(project):
    """It is another value: it overflows, and a division by zero is no error."""

    @task(result=LocalResult("out"), target="{name}.json")
    def work(name, n):
        return type(n).__name__

    @flow(quiet=True)
    def run(values):
        return work.map(["a", "b"], values)

    run([1, 2])
    assert list(run([np.int64(1), np.int64(2)])) == ["int64", "int64"]
    assert set(last_run().reasons["work"]) == {
        "parameter n changed (1 → np.int64(1))",
        "parameter n changed (2 → np.int64(2))",
    }
    run([1.0, True])
    run([np.float64(1), np.bool_(True)])
    assert set(last_run().reasons["work"]) == {
        "parameter n changed (1.0 → np.float64(1.0))",
        "parameter n changed (True → np.bool(True))",
    }
    assert list(run(pd.Series([1, 2]))) == ["int", "int"]


def test_a_number_too_long_to_be_written_is_an_argument(project):
    """Python writes no more than 4300 digits; a record holds what it counts by."""

    @task(result=LocalResult("out"), target="{name}.json")
    def work(name, n, more):
        return n % 7

    @flow(quiet=True)
    def run(n):
        return work.map(["a", "b"], n, 1), work("c", n, (1,))

    for n in (10**6000, 10**6000 + 1):
        rows, one = run(n)
        assert [*rows, one] == [n % 7] * 3
        assert run(n)[1] == one
        assert last_run().counts["work"] == {"reused": 3}


@pytest.mark.filterwarnings("error")
def test_a_number_that_became_another_one_warns_of_nothing(project):
    """Also where numpy's types cannot hold it."""

    @task(result=LocalResult("out"), target="a.json")
    def work(n):
        return 0

    for n in (10**61, 10**62, 1e300, 1e301):
        work(n)


def test_a_large_array_beside_a_value_that_cannot_be_looked_at_is_watched_all_the_same(project):
    """What somebody changes in it after the call is an error, not another result."""
    deep: Any = 1
    for _ in range(3000):
        deep = [deep]
    large = np.zeros(1 << 18)

    @task(result=LocalResult("out"), target="{n}.json")
    def work(n, x):
        return float(x[0])

    @flow(quiet=True, on_error="collect")
    def run():
        asked = work.map([1, 2], [large, deep])
        large[0] = 5
        return asked

    changed, odd = run()
    assert "was changed between the call and the run" in changed.failure.exception
    assert "too deeply" in odd.failure.exception
