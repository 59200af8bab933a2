"""What a map runs over: sweeps, groups, compactions; and its answer as a table."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from databacked import (
    FlowFailed,
    LocalResult,
    compact,
    each,
    flatten,
    flow,
    group,
    last_run,
    sweep,
    task,
    testing,
)
from databacked.errors import GraphError, TargetError

RUNNERS = ["calling", "threads", "processes"]


def counts(name: str) -> dict[str, int]:
    """Return what became of a task's items in the last run."""
    return dict(last_run().counts.get(name, {}))


@task(result=LocalResult("blurred"), target="{name}_{sigma}.json")
def blur(name, x, sigma):
    return x * sigma


@task(result=LocalResult("squares"), target="{n}.json")
def square(n, x):
    return x * x


@task(result=LocalResult("sheets"), target="{key}.json")
def sheet(key, members):
    return list(members)


@task
def half(n):
    return n // 2 if n % 2 == 0 else None


# ---------------------------------------------------------------- sweep


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_sweep_multiplies_and_everything_else_stays_zipped(project, runner):
    """Three values for each of two items; a fourth one makes two items more."""

    def flow_of(*sigmas):
        @flow(runner=runner)
        def run():
            blurred = blur.map(["a", "b"], half.map([4, 6]), sweep(list(sigmas)))
            return blurred, square.map(range(len(blurred)), blurred)

        return run

    values, squares = flow_of(1, 2, 4)()
    assert values == [2, 4, 8, 3, 6, 12]
    assert squares == [value**2 for value in values]
    assert counts("blur") == {"made": 6}
    assert (project / "blurred/b_4.json").read_text() == "12\n"
    flow_of(1, 2, 4, 8)()
    assert counts("blur") == {"made": 2, "reused": 6}


def test_two_sweeps_give_every_combination(project):
    """In the order of the parameters; alone, without anything zipped, as well."""

    @task
    def pair(a, b):
        return (a, b)

    assert pair.map(sweep([1, 2]), sweep(["x", "y"])) == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_what_belongs_to_the_items_of_a_sweep(project):
    """`.of` repeats a column, in a flow and outside."""

    @task
    def label(name, x):
        return f"{name}{x}"

    @flow
    def run():
        blurred = blur.map(["a", "b"], [1, 2], sweep([1, 10]))
        return label.map(blurred.of(["a", "b"]), blurred)

    assert run() == ["a1", "a10", "b2", "b20"]
    blurred = blur.map(["a", "b"], [1, 2], sweep([1, 10]))
    assert label.map(blurred.of(["a", "b"]), blurred) == ["a1", "a10", "b2", "b20"]
    with pytest.raises(GraphError, match="x has 3 values, and the map 2 items"):
        blurred.of([1, 2, 3])


def test_a_sweep_whose_target_does_not_name_it_is_an_error_before_the_first_item(project):
    """One value would replace the results of the other."""

    @task(result=LocalResult("blurred"), target="{name}.json")
    def blind(name, sigma):
        (project / "ran").touch()

    with pytest.raises(TargetError, match=r"Add \{sigma\} to the target"):
        blind.map(["a"], sweep([1, 2]))

    @task(result=LocalResult("blurred"), target=lambda name, **_: f"{name}.json")
    def blind_too(name, sigma):
        (project / "ran").touch()

    with pytest.raises(TargetError, match=r"have the same target 'a\.json'"):
        blind_too.map(["a"], sweep([1, 2]))
    assert not (project / "ran").exists()


def test_a_sweep_over_cells_that_become_known_later(project):
    """Every cell of every image, with every value."""

    @task
    def find(n):
        return [f"{n}{cell}" for cell in range(n)]

    @task(result=LocalResult("cells"), target="{cell}_{k}.json")
    def measure(cell, k):
        return f"{cell}-{k}"

    @flow
    def run():
        return measure.map(flatten(find.map([1, 2])), sweep([5, 6]))

    assert run() == ["10-5", "10-6", "20-5", "20-6", "21-5", "21-6"]


@pytest.mark.parametrize("bad", [[], 3, "abc", None])
def test_a_sweep_needs_values(bad):
    """What came, and what was expected."""
    with pytest.raises(GraphError, match="a list of values to try"):
        sweep(bad)


def test_a_sweep_is_for_maps(project):
    """A single call has one value."""
    with pytest.raises(GraphError, match=r"sweep\(\.\.\.\).*use \.map"):
        blur("a", 1, sweep([1, 2]))


# ---------------------------------------------------------------- group


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_new_cell_makes_the_sheet_of_its_field_again_and_no_other(project, runner):
    """Groups count by their members."""

    def flow_of(cells, fields):
        @flow(runner=runner)
        def run():
            squares = square.map(cells, cells)
            keys, members = group(squares, by=pd.Series(fields))
            return sheet.map(keys, members)

        return run

    assert flow_of([1, 2, 3], ["a", "b", "a"])() == [[1, 9], [4]]
    assert flow_of([1, 2, 3, 4], ["a", "b", "a", "b"])() == [[1, 9], [4, 16]]
    assert counts("sheet") == {"made": 1, "reused": 1}
    assert counts("square") == {"made": 1, "reused": 3}


def test_groups_outside_of_a_flow_and_of_plain_lists(project):
    """Two lists, in the order in which the keys first come."""
    keys, members = group([1, 2, 3], by=["b", "a", "b"])
    assert (keys, members) == (["b", "a"], [[1, 3], [2]])
    assert sheet.map(keys, members) == [[1, 3], [2]]


@pytest.mark.parametrize("runner", RUNNERS)
def test_groups_by_what_a_task_returns(project, runner):
    """The classes are known only while the flow runs; the second run makes nothing."""

    @task
    def parity(n):
        return "odd" if n % 2 else "even"

    @flow(runner=runner)
    def run():
        squares = square.map(range(5), range(5))
        keys, members = group(squares, by=parity.map(range(5)))
        return sheet.map(keys, members)

    for expected in ("made", "reused"):
        assert run() == [[0, 4, 16], [1, 9]]
        assert counts("sheet") == {expected: 2}


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_cells_of_each_image_together_again(project, runner):
    """flatten, map, group by the image that a cell comes from."""

    @task(keep=True)
    def find(n):
        return [n * 10 + cell for cell in range(n)]

    @flow(runner=runner)
    def run(images):
        cells = flatten(find.map(images))
        squares = square.map(cells, cells)
        keys, members = group(squares, by=cells.of(images))
        return sheet.map(keys, members)

    for expected in ("made", "reused"):
        assert run([1, 2, 0]) == [[100], [400, 441]]
        assert counts("sheet") == {expected: 2}
    assert run([1, 2, 3]) == [[100], [400, 441], [900, 961, 1024]]
    assert counts("sheet") == {"made": 1, "reused": 2}


def test_elements_grouped_by_what_they_are(project):
    """Cells that are small values themselves."""

    @task
    def find(n):
        return list(range(n))

    @flow
    def run():
        cells = flatten(find.map([2, 3]))
        keys, members = group(cells, by=cells)
        return sheet.map(keys, members)

    assert run() == [[0, 0], [1, 1], [2]]


def test_a_failed_member_is_a_failed_group_unless_marks_are_asked_for(project):
    """As with any list of values."""

    @task
    def risky(n):
        return 1 // n

    @task(result=LocalResult("marked"), target="{key}.json", failed="mark")
    def marked(key, members):
        return [bool(member) for member in members]

    @flow(on_error="collect")
    def run():
        values = risky.map([1, 0, 1])
        keys, members = group(values, by=["a", "a", "b"])
        return sheet.map(keys, members), marked.map(keys, members)

    sheets, marks = run()
    assert not sheets[0]
    assert sheets[1] == [1]
    assert marks == [[True, False], [True]]


def test_a_key_that_failed_skips_what_is_grouped_by_it(project):
    """Nothing is put into a group that nobody knows."""

    @task
    def risky(n):
        return 1 // n

    @flow(on_error="collect")
    def run():
        keys, members = group([1, 2], by=risky.map([1, 0]))
        return sheet.map(keys, members)

    run()
    assert last_run().failures[0].task == "risky"
    assert not list(project.glob("sheets/*.json"))


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ([1, 2], "3 items, and 2 values"),
        ([1, None, float("nan")], r"no value at 2 places \(the first is 1\)"),
        ([[1], [2], [3]], "numbers or texts"),
        ("abc", "a list, a Series"),
    ],
)
def test_groups_that_cannot_be(by, said):
    """Each with its reason."""
    with pytest.raises(GraphError, match=said):
        group([1, 2, 3], by=by)


# ---------------------------------------------------------------- compact


@pytest.mark.parametrize("runner", RUNNERS)
def test_compact_drops_none_and_failed_items_in_step(project, runner):
    """Ids and values stay together; the second run makes nothing."""

    @task
    def risky(n):
        if n == 6:
            raise ValueError("six")
        return half.fn(n)

    @flow(runner=runner, on_error="collect")
    def run(numbers):
        ids, values = compact([f"c{n}" for n in numbers], risky.map(numbers))
        return square.map(ids, values)

    for expected in ("made", "reused"):
        assert run(list(range(8))) == [0, 1, 4]
        assert counts("square") == {expected: 3}
    assert sorted(path.stem for path in (project / "squares").glob("*.json")) == ["c0", "c2", "c4"]


def test_compact_of_many_items_is_cut_into_few_parts(project):
    """A thousand items are not a thousand maps."""

    @flow
    def run():
        ids, values = compact(range(1000), half.map(range(1000)))
        return square.map(ids, values)

    assert run() == [n * n for n in range(500)]
    assert counts("square") == {"made": 500}
    run()
    assert counts("square") == {"reused": 500}


def test_compact_of_cells_of_many_images(project):
    """Items that become known while the flow runs."""

    @task
    def find(n):
        return list(range(n))

    @task
    def label(cell, image, value):
        return f"{cell} {image} {value}"

    @flow
    def run():
        cells = flatten(find.map([3, 5]))
        ids, images, values = compact(cells, cells.of([3, 5]), half.map(cells))
        return label.map(ids, images, values)

    assert run() == ["0 3 0", "2 3 1", "0 5 0", "2 5 1", "4 5 2"]


def test_compact_of_plain_lists_and_one_column(project):
    """Outside of a flow it is done at once."""
    ids, values = compact(["a", "b", "c"], [1, None, 3])
    assert (ids, values) == (["a", "c"], [1, 3])
    assert compact([None, 2]) == [2]
    assert compact([None], [None]) == ([], [])
    with pytest.raises(GraphError, match=r"different lengths \(\[1, 2\]\)"):
        compact([1], [1, 2])


def test_what_follows_on_a_part_starts_before_the_rest_is_known(project):
    """A compaction is no wall between two maps."""
    seen = []

    @task
    def first(n):
        seen.append(f"first {n}")
        return n

    @task
    def second(n):
        seen.append(f"second {n}")
        return n

    @flow(runner="calling")
    def run():
        return second.map(compact(first.map(range(3000))))

    assert run() == list(range(3000))
    assert seen.index("second 0") < seen.index("first 2999")


# ---------------------------------------------------------------- maps over what a task returns


def test_maps_over_a_column_a_list_and_an_arrays_first_axis(project):
    """All of them known only when the task has run."""

    @task
    def table():
        return pd.DataFrame({"n": [1, 2]})

    @task
    def stack():
        return np.arange(12).reshape(3, 2, 2)

    @task
    def total(x):
        return int(np.sum(x))

    @flow
    def run():
        return total.map(each(table()["n"])), total.map(each(stack()))

    assert run() == ([1, 2], [6, 22, 38])


# ---------------------------------------------------------------- the answer as a table


def test_the_answer_of_a_map_has_a_table(project):
    """Parameters, state and place by item; after the run, in it, and outside of a flow."""

    @task(result=LocalResult("kept"), target="{n}.json")
    def keep(n, k, x):
        if n == 2:
            raise ValueError("two")
        return None if n == 3 else n

    states = []

    @flow(on_error="collect")
    def run():
        answer = keep.map([1, 2, 3], 7, half.map([2, 4, 6]))
        states.append(answer.table["state"].tolist())
        return answer

    table = run().table
    assert table.columns.tolist() == ["n", "k", "state", "path", "seconds", "nbytes"]
    assert table["n"].tolist() == [1, 2, 3]
    assert table["k"].tolist() == [7, 7, 7]
    assert table["state"].tolist() == ["made", "failed", "made"]
    assert table["path"].tolist() == [project / "kept/1.json", None, None]
    assert run().table["state"].tolist() == ["reused", "failed", "reused"]
    assert states == [["", "", ""], ["reused", "", "reused"]]  # what is known before it runs
    assert square.map([1, 2], [3, 4]).table["state"].tolist() == ["made", "made"]


def test_an_answer_is_a_list_like_any_other(project):
    """It compares, pickles, and is JSON."""
    answer: Any = square.map([1, 2], [3, 4])
    assert answer == [9, 16]
    assert json.loads(json.dumps(answer)) == [9, 16]
    again = pickle.loads(pickle.dumps(answer))
    with pytest.raises(GraphError, match="no longer the answer of a map"):
        again.of([1, 2])
    assert again == answer


def test_deciding_items_after_they_ran(project):
    """A flow may ask for values first, and group or compact them later."""

    @flow(runner="threads")
    def run():
        values = half.map(range(6))
        values.result()
        ids, kept = compact(range(6), values)
        return square.map(ids, kept)

    assert run() == [0, 1, 4]


def test_failed_flows_say_what_is_missing(project):
    """A failed item of a swept map leaves the others."""

    @task(result=LocalResult("kept"), target="{n}{k}.json")
    def keep(n, k):
        return n // k

    with pytest.raises(FlowFailed, match="2 × keep"):
        keep.map([1, 2], sweep([1, 0]))
    assert counts("keep") == {"made": 2, "failed": 2}


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_decides_items_is_not_computed_twice(project, runner):
    """A value that is not kept waits for whoever reads it; then it goes."""

    @task
    def segment(n, log: str):
        with open(log, "a") as file:
            file.write("x")
        return None if n % 2 else np.full((64, 64), n)

    @task
    def stack(n, log: str):
        with open(log, "a") as file:
            file.write("x")
        return np.full((3, 64, 64), n)

    @task
    def total(x):
        return int(np.sum(x))

    @flow(runner=runner)
    def run():
        some = compact(segment.map(range(10), str(project / "compacted")))
        planes = flatten(stack.map(range(4), str(project / "flattened")))
        return total.map(some), total.map(planes)

    compacted, flattened = run()
    assert compacted == [n * 64 * 64 for n in range(0, 10, 2)]
    assert flattened == [n * 64 * 64 for n in range(4) for _ in range(3)]
    assert (project / "compacted").read_text() == "x" * 10
    assert (project / "flattened").read_text() == "x" * 4


@pytest.mark.parametrize("runner", RUNNERS)
def test_what_needs_a_map_of_unknown_length_waits_for_it(project, runner):
    """Also an item that has nothing to be compared with, and could begin at once otherwise."""

    @task
    def find(n):
        return list(range(n))

    @task
    def add_all(n, cells):
        return n + sum(cells)

    @task
    def double(n):
        return 2 * n

    @flow(runner=runner)
    def run():
        cells = double.map(flatten(find.map([2, 3])))
        return square.map([1, 2], add_all.map([10, 20], [cells, cells]))

    for expected in ("made", "reused"):
        assert run() == [18 * 18, 28 * 28]
        assert counts("square") == {expected: 2}


@pytest.mark.parametrize("runner", RUNNERS)
def test_groups_of_what_a_compaction_left(project, runner):
    """Cells that are there, by the field that they come from."""

    @flow(runner=runner)
    def run():
        fields, values = compact(["a", "b", "a", "b", "a"], half.map(range(5)))
        keys, members = group(square.map(values, values), by=fields)
        return sheet.map(keys, members)

    for expected in ("made", "reused"):
        assert run() == [[0, 1, 4]]
        assert counts("sheet") == {expected: 1}


def test_a_reader_who_comes_to_be_while_a_value_is_made_gets_it(project):
    """Many times: whether a group becomes known before or after its members were made."""

    @task
    def find(n):
        return list(range(n))

    for number in range(25):

        @flow(root=project / str(number))
        def run():
            cells = flatten(find.map([2, 3]))
            keys, members = group(cells, by=cells)
            return sheet.map(keys, members)

        (project / str(number)).mkdir()
        with testing.project(project / str(number)):
            assert run() == [[0, 0], [1, 1], [2]]
