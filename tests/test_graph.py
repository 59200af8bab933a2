"""What calls give inside a flow, and what maps run over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from databacked import Failed, FlowFailed, LocalResult, each, flatten, flow, last_run, same, task
from databacked.errors import ArgumentChangedError, GraphError


@task
def double(x):
    return 2 * x


@task
def add(x, y=0):
    return x + y


@task
def everything(values):
    return list(values)


def made(name: str) -> int:
    """Return how many items of a task the last run made."""
    return last_run().counts[name].get("made", 0)


def test_a_call_inside_a_flow_gives_a_future_and_outside_the_value(project):
    """The same call is lazy inside a flow and immediate outside."""
    seen = []

    @flow
    def one():
        future = double(4)
        seen.append(repr(future))
        return future

    assert one() == 8
    assert seen == ["<future of double>"]
    assert double(4) == 8
    assert double.fn(4) == 8


def test_nothing_runs_until_the_flow_ends_or_somebody_asks(project):
    """`.result()` runs what it needs, and only that."""
    ran = []

    @task
    def note(x):
        project.joinpath(f"ran-{x}").touch()
        return x

    @flow
    def two():
        first, second = note(1), note(2)
        ran.append(sorted(path.name for path in project.glob("ran-*")))
        assert first.result() == 1
        ran.append(sorted(path.name for path in project.glob("ran-*")))
        return second

    assert two() == 2
    assert ran == [[], ["ran-1"]]


@pytest.mark.parametrize(
    "column",
    [
        [1, 2, 3],
        (1, 2, 3),
        range(1, 4),
        pd.Series([1, 2, 3]),
        pd.Series([0, 1, 2, 3, 4])[lambda s: (s > 0) & (s < 4)],
        pd.Index([1, 2, 3]),
        np.array([1, 2, 3]),
    ],
    ids=["list", "tuple", "range", "Series", "filtered Series", "Index", "array"],
)
def test_mistake_16_a_series_also_a_filtered_one_in_a_map(project, column):
    """Lists, ranges, 1-D arrays and Series give one item each, whatever their index."""

    @flow
    def many():
        return double.map(column)

    assert many() == [2, 4, 6]
    assert double.map(column) == [2, 4, 6]


def test_text_dict_and_arrays_are_the_same_for_every_item(project):
    """Everything that is not a column is given to every item as it is."""

    @task
    def takes(i, text, table, image):
        return f"{i} {text} {sorted(table)} {image.shape}"

    @flow
    def many():
        return takes.map([1, 2], "ab", {"k": 1}, np.zeros((2, 3)))

    assert many() == ["1 ab ['k'] (2, 3)", "2 ab ['k'] (2, 3)"]


def test_same_gives_a_list_to_every_item_and_each_takes_an_array_apart(project):
    """`same` and `each` say what cannot be guessed."""

    @flow
    def many():
        return add.map(each(np.arange(6).reshape(2, 3)), same([10, 20, 30]))

    assert [list(row) for row in many()] == [[10, 21, 32], [13, 24, 35]]


def test_different_lengths_are_named(project):
    """Unequal lengths are an error that names each argument and its length."""
    with pytest.raises(GraphError, match="x has 3, y has 2"):
        add.map([1, 2, 3], [1, 2])


def test_a_data_frame_is_an_error_that_names_its_columns(project):
    """A whole table cannot be mapped over."""
    with pytest.raises(GraphError, match="'cell_id', 'area'"):
        double.map(pd.DataFrame({"cell_id": [1], "area": [2]}))


def test_nothing_to_map_over_is_an_error(project):
    """A map needs at least one column."""
    with pytest.raises(GraphError, match="nothing to map over"):
        double.map(3)


def test_an_iterator_is_an_error_that_says_list(project):
    """What can be read only once cannot be compared with the last run."""
    with pytest.raises(GraphError, match="list"):
        double.map(iter([1, 2]))


@pytest.mark.parametrize(
    "misuse",
    [bool, int, float, len, list, str.format_map, lambda f: f + 1, lambda f: f < 1, open, np.sum],
)
def test_using_a_future_as_a_value_is_an_error_that_says_so(project, misuse):
    """A future is no number, no truth value, no list, no file."""

    @flow
    def wrong():
        misuse(double(1)) if misuse is not str.format_map else f"{double(1)}"

    with pytest.raises(GraphError, match="not known yet"):
        wrong()


def test_futures_inside_lists_and_dicts_are_replaced(project):
    """Values that hold futures arrive with the values in their places."""

    @flow
    def nested():
        doubled = double.map([1, 2, 3])
        return everything([doubled[0], {"a": doubled[1:], "b": [double(10), 7]}])

    assert nested() == [2, {"a": [4, 6], "b": [20, 7]}]


def test_a_part_of_a_future_is_a_future(project):
    """`future["key"]` follows into what the task returns, also of a map's answer."""

    @task
    def both(x):
        return {"half": x / 2, "all": [x, x]}

    @flow
    def parts():
        answer = both.map([2, 4])
        return double.map(answer["half"]), double(both(6)["all"][0])

    assert parts() == ([2, 4], 12)


def test_slices_and_shuffled_futures_keep_their_items(project):
    """Any sequence of futures can be mapped over."""

    @flow
    def some():
        doubled = double.map(range(5))
        return double.map(doubled[1:3]), double.map([doubled[4], doubled[0]]), doubled[-1]

    assert some() == ([4, 8], [16, 0], 8)


def test_flatten_turns_the_cells_of_many_images_into_one_list(project):
    """Each image has its own number of cells, known only when it was looked at."""

    @task
    def find(image):
        return [image * 10 + cell for cell in range(image)]

    @flow
    def cells():
        images = [0, 1, 3]
        found = flatten(find.map(images))
        doubled = double.map(found)
        return doubled, add.map(doubled, found.of(images)), everything(doubled)

    assert cells() == ([20, 60, 62, 64], [21, 63, 65, 67], [20, 60, 62, 64])


def test_flatten_of_large_elements_and_of_flattened_maps(project):
    """Elements that are too large to be known by themselves count by their place."""

    @task
    def find(n):
        return [np.full((40, 40), n + k) for k in range(n)]

    @task
    def spots(cell):
        return [int(cell[0, 0])] * 2

    @flow
    def deep():
        cells = spots.map(flatten(find.map([1, 2])))
        return double.map(flatten(cells))

    assert deep() == [2, 2, 4, 4, 6, 6]


def test_each_of_a_future_maps_over_what_it_will_return(project):
    """The items of a map may become known while the flow runs."""

    @task
    def ids():
        return ["a", "b"]

    @flow
    def later():
        return double.map(each(ids()))

    assert later() == ["aa", "bb"]


def test_elements_that_do_not_belong_together_are_an_error(project):
    """Two flattened lists are zipped only if they come from the same source."""

    @task
    def find(n):
        return list(range(n))

    @flow
    def wrong():
        one, other = find.map([1, 2]), find.map([2, 1])
        return add.map(flatten(one), flatten(other))

    with pytest.raises(GraphError, match="do not come from the same"):
        wrong()


def test_a_flow_in_a_flow_is_part_of_it(project):
    """An inner flow gives futures, and the run is one."""

    @flow
    def inner(xs):
        return double.map(xs)

    @flow
    def outer():
        return add.map(inner([1, 2]), 1)

    assert outer() == [3, 5]
    assert last_run().name == "outer"


def test_arguments_are_taken_at_the_call(project):
    """What is changed after the call does not reach the task."""

    @flow
    def late():
        values = [1, 2]
        first = everything(values)
        values.append(3)
        return first

    assert late() == [1, 2]


def test_a_large_array_changed_after_the_call_is_an_error(project):
    """Large arrays are not copied but hashed, then and again."""
    image = np.zeros((2000, 2000))

    @task
    def total(image):
        return float(image.sum())

    @flow
    def late():
        first = total(image)
        image[0, 0] = 1
        return first

    with pytest.raises((ArgumentChangedError, FlowFailed), match="changed between the call"):
        late()


def test_an_array_with_two_readers_is_read_only_and_the_error_names_the_cure(project):
    """No item can change what another one sees."""

    @task
    def make():
        return np.ones(3)

    @task
    def spoil(x):
        x += 1
        return x

    @flow
    def shared():
        x = make()
        return spoil(x), double(x)

    with pytest.raises(FlowFailed, match=r"x = x\.copy\(\)"):
        shared()


def test_the_items_of_a_flattened_map_have_two_readers_too(project):
    """One by one and as a list: a change in place is an error here as well."""

    @task
    def some(n):
        return list(range(n))

    @task
    def make(i):
        return np.full(3, i)

    @task
    def spoil(x):
        x += 1
        return x

    @task
    def total(arrays):
        return int(sum(array.sum() for array in arrays))

    @flow
    def fine():
        arrays = make.map(flatten(some.map([2, 3])))
        return total(arrays), [total(arrays)], total.map([arrays, arrays])

    assert fine() == (12, [12], [12, 12])

    @flow
    def shared():
        arrays = make.map(flatten(some.map([2, 3])))
        return spoil.map(arrays), total(arrays)

    with pytest.raises(FlowFailed, match=r"x = x\.copy\(\)"):
        shared()


def test_an_array_with_one_reader_can_be_changed(project):
    """Working in place is fine where nobody else looks."""

    @task
    def make(i):
        return np.full(3, i)

    @task
    def grow(x):
        x += 1
        return int(x.sum())

    @flow
    def alone():
        return grow.map(make.map([1, 2]))

    assert alone() == [6, 9]


def test_one_reader_does_not_see_what_another_did_to_a_list(project):
    """Lists, dicts and tables are copied for each of several readers."""

    @task
    def make():
        return [1]

    @task
    def spoil(x, n):
        x.append(n)
        return x

    @flow
    def shared():
        return spoil.map(same(make()) if False else make(), [2, 3])

    assert shared() == [[1, 2], [1, 3]]


def test_defaults_belong_to_the_call(project):
    """A default that is a list is one value for every item."""

    @task
    def weigh(x, weights=[1, 2]):  # noqa: B006
        return x * sum(weights)

    assert weigh.map([1, 2]) == [3, 6]


def test_wrong_arguments_are_said_at_the_call(project):
    """A call that does not fit the function is an error before anything runs."""
    with pytest.raises(GraphError, match="double"):
        double(1, 2, 3)


@pytest.mark.parametrize("name", ["value", "location", "date", "result", "self_", "target", "key"])
def test_mistake_14_parameters_may_have_any_name(project, name):
    """Parameters called value, location, date, result clash with nothing."""
    space: dict = {}
    exec(f"def f({name}):\n    return {name} + 1", space)
    named = task(result=LocalResult("named"), target=f"{{{name}}}.json")(space["f"])
    assert named(**{name: 4}) == 5
    assert project.joinpath("named/4.json").exists()


def test_a_task_that_takes_a_whole_map_can_ask_for_marks(project):
    """`failed="mark"` keeps lists aligned; without it the task is skipped."""

    @task
    def risky(x):
        return 1 / x

    @task(failed="mark")
    def lenient(values):
        return [None if isinstance(value, Failed) else value for value in values]

    @flow(on_error="collect")
    def collect():
        values = risky.map([1, 0, 4])
        return values, lenient(values), everything(values)

    values, kept, skipped = collect()
    assert kept == [1, None, 0.25]
    assert isinstance(values[1], Failed)
    assert isinstance(skipped, Failed)
    assert last_run().counts["everything"] == {"skipped": 1}


def test_options_may_stand_next_to_a_function(project):
    """`task(function, result=…)` says the same as the decorator."""
    kept = task(lambda x: {"x": x}, target="{x}.json", result=LocalResult("kept"), name="one")
    assert kept(3) == {"x": 3}
    assert (project / "kept" / "3.json").exists()
    assert kept.name == "one"
    assert flow(lambda: kept(4), quiet=True)() == {"x": 4}


@pytest.mark.parametrize("make", [task, flow, double.with_options])
def test_an_unknown_option_is_named_with_those_that_exist(make):
    """A misspelt option is said, not ignored."""
    with pytest.raises(GraphError, match=r"reslut=, keepp= is no option; known are .*="):
        make(reslut=1, keepp=2)


@pytest.mark.parametrize("make", [task, flow])
def test_options_without_their_name_are_an_error(make):
    """The place of results is no function."""
    with pytest.raises(GraphError, match="a function was expected, not LocalResult"):
        make(LocalResult("kept"))
