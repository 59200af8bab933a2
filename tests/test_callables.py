"""Tasks that are no plain functions, and names that meet those of the library."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from databacked import LocalResult, ProcessRunner, flow, last_run, task
from databacked.errors import GraphError
from databacked.fingerprint.code import code_fingerprint
from databacked.serializers.pickle import ToPickle

MODULE = """
import dataclasses
import functools

import numpy as np

import lab_library


def scale(x, k=2):
    return x * k + 0


@dataclasses.dataclass
class Scale:
    k: int = 2

    def __call__(self, x):
        return scale(x, self.k)

    def method(self, x, k=2):
        return scale(x, k)

    tripled = functools.partialmethod(method, k=3)

    @staticmethod
    def static(x):
        return scale(x)

    @classmethod
    def of_class(cls, x):
        return scale(x)


class Further(lab_library.Base):
    def step(self, x):
        return scale(x)


@functools.singledispatch
def chosen(x):
    raise TypeError


@chosen.register
def _(x: int):
    return scale(x)


def ours(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def unnamed(function):
    def wrapper(x):
        return function(x)

    return wrapper


KINDS = {
    "a function": scale,
    "a lambda": lambda x: scale(x),
    "a partial": functools.partial(scale, k=2),
    "a partial of a partial": functools.partial(functools.partial(scale, k=5), k=2),
    "a partial of an object": functools.partial(Scale()),
    "a partial of a method": functools.partial(Scale.method, Scale()),
    "a partial of a library's function": functools.partial(lab_library.apply, scale),
    "an object": Scale(),
    "a bound method": Scale().method,
    "a bound method that a library wrote": Further().run,
    "a partialmethod": Scale().tripled,
    "a partialmethod of the class": functools.partial(Scale.tripled, Scale()),
    "a static method": Scale.static,
    "a static method as it stands": vars(Scale)["static"],
    "a class method": Scale.of_class,
    "a function for each type": chosen,
    "a function with a memory": functools.lru_cache(scale),
    "our wrapper": ours(scale),
    "our wrapper that says nothing": unnamed(scale),
    "our wrapper around a partial": unnamed(functools.partial(scale, k=2)),
    "a library's wrapper": lab_library.kept(scale),
    "a library's wrapper that says nothing": lab_library.lost(scale),
    "a library's wrapper around a library's": lab_library.lost(lab_library.kept(scale)),
    "a library's wrapper around an object": lab_library.lost(Scale()),
    "a library's object": lab_library.Held(scale),
    "np.vectorize": np.vectorize(scale, otypes=[float]),
    "np.vectorize of a partial": np.vectorize(functools.partial(scale, k=2)),
}
"""

LIBRARY = """
import functools


class Base:
    def run(self, x):
        return self.step(x)


class Held:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.py_func = function

    def __call__(self, x):
        return self.py_func(x)


def kept(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


def lost(function):
    def wrapper(x):
        return function(x)

    return wrapper


def apply(function, x):
    return function(x)
"""

NAMES = [line.split('"')[1] for line in MODULE.splitlines() if line.startswith('    "')]


@pytest.fixture
def kinds(tmp_path, monkeypatch):
    """Load a module of callables from a folder that is not the project's."""
    place, site = tmp_path / "scripts", tmp_path / "env" / "site-packages"
    site.mkdir(parents=True), place.mkdir()
    (site / "lab_library.py").write_text(LIBRARY)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(site)), monkeypatch.syspath_prepend(str(place))

    def load(added: int = 0):
        text = MODULE.replace("x * k + 0", f"x * k + {added}")
        (place / "lab_kinds.py").write_text(text)
        sys.modules.pop("lab_kinds", None)
        return importlib.import_module("lab_kinds").KINDS

    yield load
    sys.modules.pop("lab_kinds", None), sys.modules.pop("lab_library", None)


@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_every_callable_is_found_from_any_folder(name, kinds, tmp_path):
    """The project of the run is another folder than the one that the script lies in."""
    before = code_fingerprint(kinds()[name], root=tmp_path / "away")
    after = code_fingerprint(kinds(100)[name], root=tmp_path / "away")
    assert before.digest != after.digest
    assert any(symbol.endswith(":scale") for symbol in after.symbols)


@pytest.mark.parametrize("name", NAMES)
def test_every_callable_can_be_a_task(name, kinds, project):
    """Its value is right, is there the second time, and is made again for another code."""
    for added, count in ((0, "made"), (0, "reused"), (100, "made")):
        one = kinds(added)[name]
        kept = task(result=LocalResult("out", ToPickle()), target="x.pickle", name="any")(one)
        assert flow(lambda call=kept: call(x=1))() == one(1)
        assert last_run().counts["any"] == {count: 1}


@pytest.mark.parametrize("name", NAMES)
def test_a_callable_counts_the_same_after_it_was_called(name, kinds, tmp_path):
    """What an object remembers of its calls is no code."""
    one = kinds()[name]
    before = code_fingerprint(one, root=tmp_path)
    one(1)
    assert code_fingerprint(one, root=tmp_path) == before


def test_a_script_with_a_partial_is_seen_from_another_folder(tmp_path):
    """As a user starts it: ``python ../script.py``."""
    text = """
        import functools
        from databacked import LocalResult, task
        def scale(x, k):
            return x * k + 0
        one = task(result=LocalResult("out"), target="{x}.json")(functools.partial(scale, k=2))
        print(one(1.0))
        """
    (tmp_path / "away").mkdir()
    said = []
    for added in ("+ 0", "+ 100"):
        (tmp_path / "script.py").write_text(dedent(text).replace("+ 0", added))
        run = [sys.executable, str(tmp_path / "script.py")]
        done = subprocess.run(run, cwd=tmp_path / "away", capture_output=True, text=True)
        said.append(done.stdout.strip() or done.stderr)
    assert said == ["2.0", "102.0"]


def test_a_callable_is_sent_to_other_processes(kinds, project):
    """An object, a partial and a wrapper travel as well as a function does."""
    names = ["an object", "a partial", "our wrapper", "a bound method", "a function for each type"]
    some = [task(name=name.replace(" ", "_"))(kinds()[name]) for name in names]
    with_processes = flow(lambda: [one.map([1, 2]) for one in some], runner=ProcessRunner(1))
    assert [list(one) for one in with_processes()] == [[2, 4]] * 5


# ---------------------------------------------------------------- what they take


def narrow(function):
    """Have a function take the text of a number."""

    @functools.wraps(function)
    def wrapper(text):
        return function(int(text))

    return wrapper


def by_place(function):
    """Pass on only what comes by position."""

    @functools.wraps(function)
    def wrapper(*values):
        return function(*values)

    return wrapper


def add(x, y=1, /, z=1, *, w=1):
    return x + 10 * y + 100 * z + 1000 * w


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (narrow(lambda number: number + 1), ("3",), {}),
        (narrow(lambda number, more=1: number + more), (), {"text": "3"}),
        (by_place(lambda x, y: x - y), (5, 3), {}),
        (by_place(lambda x, y=2: x - y), (5,), {}),
        (add, (1,), {}),
        (add, (1, 2, 3), {"w": 4}),
        (add, (1,), {"z": 3}),
        (functools.partial(add, 1), (2,), {"w": 4}),
        (functools.partial(add, 1, w=5), (), {"z": 2}),
        (lambda *, x: x, (), {"x": 3}),
        (lambda x, **more: x + more["y"], (1,), {"y": 2}),
        (len, ([1, 2],), {}),
        (np.sum, ([1, 2],), {}),
    ],
)
def test_a_task_takes_what_its_function_takes(function, args, kwargs, project):
    """Wrappers that take something else than what they wrap, and parameters of all kinds."""
    expected = function(*args, **kwargs)
    assert task(function)(*args, **kwargs) == expected


def test_a_callable_that_nobody_can_tell_the_parameters_of_is_refused():
    """With what to write instead."""
    with pytest.raises(GraphError, match=r"parameters of <built-in function max>\. Write a"):
        task(max)


def test_annotations_count_also_below_a_partial_and_a_call_method(project):
    """An array in memory arrives where one is asked for, and a file."""

    @task(target="{n}.npy")
    def image(n):
        return np.zeros((2, 2))

    def kind(n, image: np.ndarray, path: Path):
        return [type(image).__name__, type(path).__name__]

    @dataclasses.dataclass
    class Kind:
        n: int = 3

        def __call__(self, n, image: np.ndarray, path: Path):
            return kind(n, image, path)

    for one in (kind, functools.partial(kind, 1), Kind(), Kind().__call__, by_place(kind)):
        rest = {} if isinstance(one, functools.partial) else {"n": 1}
        names = flow(lambda one=one, rest=rest: task(one)(image=image(1), path=image(2), **rest))
        assert names() == ["ndarray", type(Path()).__name__]


def test_equal_objects_with_another_code_are_told_apart(project):
    """``Scale(1) == Scale(True)``, and what they return is not the same."""

    @dataclasses.dataclass(frozen=True)
    class Say:
        value: object

        def __call__(self):
            return repr(self.value)

    said = [
        task(result=LocalResult("out"), target="{:n}.json".replace("{:n}", str(n)), name=f"t{n}")(
            Say(value)
        )
        for n, value in enumerate((1, True, 1.0))
    ]
    assert flow(lambda: [one() for one in said])() == ["1", "True", "1.0"]
    assert len({one.fn for one in said}) == 1


# ---------------------------------------------------------------- names

NAMES_OF_OURS = """
    self cls fn function name result value target location map args kwargs task flow runner
    options run node row key keys items item state path index columns of by data content
    recipe place root where known plain inputs order n x mapped instance owner mode file
    spec values call session positional ref work stem parent table
    """


@pytest.mark.parametrize("name", NAMES_OF_OURS.split())
def test_a_parameter_may_have_any_name(name, project):
    """Also one that the library has a use for itself."""
    space: dict = {}
    exec(f"def measure({name}, y):\n    return [{name}, y]\n", space)
    first = task(target=f"{{{name}}}_{{y}}.json", name="first")(space["measure"])
    second = task(target=lambda **given: f"second_{given[name]}.json")(space["measure"])
    third = task(keep=True)(space["measure"])

    @flow
    def go():
        one, many = first(**{name: 1, "y": 2}), first.map(**{name: [3, 4], "y": 2})
        return one, many, second(**{name: 5, "y": 2}), third.map(**{name: many, "y": 0})

    expected = ([1, 2], [[3, 2], [4, 2]], [5, 2], [[[3, 2], 0], [[4, 2], 0]])
    assert go() == expected
    assert first(**{name: 6, "y": 2}) == [6, 2]
    assert first.map(**{name: [6, 7], "y": 2}) == [[6, 2], [7, 2]]


def test_a_flow_may_have_a_parameter_called_self(project):
    """As a task may."""
    assert flow(lambda self: self)(self=3) == 3
    flow(lambda self: None).visualize(self=3)


# ---------------------------------------------------------------- attributes


def test_a_task_that_gets_a_result_keeps_it(project):
    """``task(result=…)`` over a library's task: its other options stay."""
    double = task(retries=2)(lambda n: n * 2)
    kept = task(result=LocalResult("out"), target="{n}.json")(double)
    assert kept(1) == 2
    assert (project / "out" / "1.json").read_text().strip() == "2"
    assert (kept.options.retries, double.options.result) == (2, None)
    assert kept.fn is double.fn


def test_two_decorators_keep_the_outer_ones_options(project):
    """Where both say the same, the outer one wins."""
    inner = task(target="inner_{n}.json", limit=1)(lambda n: n)
    assert task(target="outer_{n}.json")(inner).options.target == "outer_{n}.json"
    with pytest.raises(GraphError, match="keep=True needs no file"):
        task(keep=True)(inner)


def test_a_flow_that_becomes_a_flow_again_keeps_its_options(project):
    """``flow(quiet=True)`` over a flow."""
    inner = flow(on_error="collect")(lambda: 3)
    assert flow(quiet=True)(inner).options.on_error == "collect"
    assert flow(quiet=True)(inner)() == 3


@pytest.mark.parametrize("attribute", [*vars(task(len)), *dir(type(task(len)))])
def test_an_attribute_of_a_function_does_not_take_the_place_of_the_tasks(attribute, project):
    """Other attributes of the function are the task's as well."""

    def measured(n):
        return n + 1

    if attribute.startswith("__"):
        return
    setattr(measured, "unit", "µm")  # noqa: B010
    setattr(measured, attribute, "another")
    kept = task(target="{n}.json")(measured)
    assert vars(kept)["unit"] == "µm"
    assert [kept(1), kept(1)] == [2, 2]
    assert (project / "results" / "1.json").exists()


# ---------------------------------------------------------------- methods


class Segmenter:
    """Has tasks where methods stand."""

    @task
    def measured(self, x=1):
        """Return a value."""
        return x

    @flow
    def analysed(self):
        """Return a value."""
        return 1

    @staticmethod
    @task
    def static(x):
        """Return a value."""
        return x + 1

    @task
    @staticmethod
    def below(x):
        """Return a value."""
        return x + 1

    @classmethod
    @task
    def of_class(cls, x):
        """Return a value."""
        return [cls.__name__, x]


class Special(Segmenter):
    """Inherits them."""


@pytest.mark.parametrize("kind", [Segmenter, Special])
@pytest.mark.parametrize(("name", "word"), [("measured", "task"), ("analysed", "flow")])
def test_a_task_on_a_method_says_that_it_is_one(kind, name, word, project):
    """And not that an argument is missing, or silently takes another one for the object."""
    with pytest.raises(GraphError, match=rf"{name}: @{word} stands on a method of {kind.__name__}"):
        getattr(kind(), name)(2)


def test_static_and_class_methods_can_be_tasks(project):
    """With the decorators in either order, where Python allows it."""
    assert [
        Segmenter.static(1),
        Segmenter().static(1),
        Segmenter.below(1),
        Segmenter().below(1),
    ] == [2] * 4
    assert Segmenter.of_class(1) == Segmenter().of_class(1) == ["Segmenter", 1]
    with pytest.raises(GraphError, match="@classmethod stands above @task"):
        task(classmethod(lambda cls: 1))  # type: ignore[call-overload]


# ---------------------------------------------------------------- typed in


@pytest.mark.parametrize(
    "how", [["-c", "{}"], ["-"], ["-i", "-q", "-"], ["-m", "doctest", "text.md"]]
)
def test_functions_that_are_typed_in_can_be_tasks(tmp_path, how):
    """At the prompt, from standard input and in the examples of a text."""
    lines = [
        "from databacked import task",
        "@task(target='{x}.json')",
        "def f(x):",
        "    return x + 1",
        "",
    ]
    lines += [
        "g = task(target='g{x}.json')(lambda x: x + 5)",
        "assert f(1) == f(1) == 2 and g(1) == g(1) == 6",
    ]
    text = "\n".join([*lines, ""])
    prompt = "\n".join(
        f"{'...' if line[:1] in (' ', '') or line.startswith('def') else '>>>'} {line}"
        for line in lines
    )
    (tmp_path / "text.md").write_text(prompt + "\n")
    done = subprocess.run(
        [sys.executable, *(one.format(text) for one in how)],
        input=text,
        cwd=tmp_path,
        env=os.environ | {"DATABACKED_QUIET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Error" not in done.stderr
    assert (tmp_path / "results" / "1.json").read_text().strip() == "2"
    assert (tmp_path / "results" / "g1.json").read_text().strip() == "6"
