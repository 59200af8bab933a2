"""What a map runs over, as users say it: each, same, sweep, group, compact, flatten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from databacked.errors import GraphError
from databacked.graph.futures import Future, Futures, Values, elements


@dataclass(frozen=True)
class Each:
    """Marks a value whose elements are the items: an array's first axis, what a task returns."""

    value: Any


@dataclass(frozen=True)
class Same:
    """Marks a value that is the same for every item."""

    value: Any


class Flat:
    """The elements of many lists as one list; mapped over, it has as many items as they hold."""

    def __init__(self, source: Futures, along: Any = None) -> None:
        self.source = source
        self.along = along

    def of(self, column: Any) -> Flat:
        """Return for each element the item of `column` that belongs to the list it came from.

        Parameters
        ----------
        column
            A list, a Series or the answer of a map: a value for each of the lists.

        Returns
        -------
        A column with as many items as ``flatten(...)`` has, to map over.

        Examples
        --------
        ``cells = flatten(found); measure.map(cells, image=cells.of(images))``

        Raises
        ------
        GraphError
            If `column` stands for no values yet, as ``flatten(...)`` does.
        """
        if isinstance(column, Flat | Grouped | Compacted):
            raise GraphError(
                "flatten(lists).of(x): x is flatten(...), group(...) or compact(...), and stands "
                "for no values yet. Map a task over it, and pass the answer of that."
            )
        return Flat(self.source, along=column)

    def __len__(self) -> NoReturn:
        raise GraphError(
            "How many elements flatten(...) gives is known only when the lists are: map over it, "
            "or use .result() of what it flattens."
        )

    def __repr__(self) -> str:
        return f"flatten({self.source!r})"


def each(value: Any) -> Any:
    """Map over the elements of `value`: an array's first axis, or what a future will return.

    Parameters
    ----------
    value
        An array of any shape (N, …), a list, or the future of one of them.

    Returns
    -------
    What `Task.map` takes in its place.

    Examples
    --------
    ``measure.map(each(stack))`` has an item a plane of a stack (Z, Y, X).
    """
    return Each(value)


def same(value: Any) -> Any:
    """Give `value` (a list, for instance) to every item as it is.

    Parameters
    ----------
    value
        Anything; it is not mapped over.

    Returns
    -------
    What `Task.map` takes in its place.

    Examples
    --------
    ``label.map(images, names=same(["nucleus", "cell"]))``
    """
    return Same(value)


@dataclass(frozen=True)
class Sweep:
    """Marks values that multiply the items of a map."""

    values: list[Any]


def sweep(values: Any) -> Any:
    """Try every value for every item: what else a map runs over stays zipped.

    Parameters
    ----------
    values
        A list of values to try, or the answer of a map.

    Returns
    -------
    What `Task.map` takes in its place.

    Examples
    --------
    ``segment.map(ids, images, sigma=sweep([1, 2, 4]))`` has three items an image: one after
    another for the first image, then for the second. ``masks.of(ids)`` repeats what belongs to
    them.

    Raises
    ------
    GraphError
        If `values` has no elements, or is known only while the flow runs.
    """
    found = elements(values) if not isinstance(values, Futures) else None
    if not found:
        raise GraphError(f"sweep({values!r}): a list of values to try was expected.")
    return Sweep(found)


@dataclass(eq=False)
class Group:
    """Items that belong together by something that becomes known while the flow runs."""

    items: Any
    by: Any
    known: tuple[list[Any], list[list[Any]]] | None = None
    """Keys and members, once all are known."""

    failure: Any = None


@dataclass(frozen=True, eq=False)
class Grouped:
    """The keys of groups, or the members: a list for each of them."""

    group: Group
    part: int
    """0 for the keys, 1 for the members."""


def group(items: Any, by: Any) -> tuple[Any, Any]:
    """Put together what belongs together: the cells of a field, the wells of a plate.

    Parameters
    ----------
    items
        The answer of a map, or a list.
    by
        For each item what it belongs to: a list, a Series, the answer of a map, or a column that
        belongs to ``flatten(...)`` (see `Flat.of`).

    Returns
    -------
    Two sequences to map over: the keys in the order in which they first come, and for each of them
    the list of its members.

    Examples
    --------
    ``keys, members = group(pictures, by=cells.field)``, then ``sheet.map(keys, members)``: a new
    cell makes the sheet of its field again, and no other.

    Raises
    ------
    GraphError
        If the lengths differ, or a value of `by` is missing (NaN, None) or cannot be told apart.
    """
    unknown = isinstance(by, Futures | Flat | Compacted)
    unknown = unknown or (isinstance(items, Futures) and items.node.dynamic)
    if unknown or isinstance(items, Flat | Compacted):
        found = Group(items, by)
        return Grouped(found, 0), Grouped(found, 1)
    members, keys = list_of(items, "group(items)"), list_of(by, "by")
    return grouped(members, keys)


def grouped(items: Sequence[Any], by: Sequence[Any]) -> tuple[list[Any], list[list[Any]]]:
    """Return the keys and the members of groups that are known."""
    if len(items) != len(by):
        raise GraphError(f"group(): {len(items)} items, and {len(by)} values of by.")
    missing = [place for place, key in enumerate(by) if key is None or key != key]
    if missing:
        raise GraphError(
            f"group(): by holds no value at {len(missing)} places (the first is {missing[0]}). "
            "Fill them in, or drop these items."
        )
    members: dict[Any, list[Any]] = {}
    try:
        for key, item in zip(by, items, strict=True):
            members.setdefault(key, []).append(item)
    except TypeError as error:
        raise GraphError(f"group(): by must hold numbers or texts ({error}).") from None
    return list(members), list(members.values())


MOST_CHUNKS = 64
"""Parts that a compaction is cut into: what follows on a part starts when that one is known."""


@dataclass(eq=False)
class Compaction:
    """Columns of which the rows go that hold None, or something that failed."""

    columns: list[Any]
    parts: dict[int, Compaction] = field(default_factory=dict)
    """Those of the blocks, where the columns have blocks of items themselves."""

    kept: dict[int, list[int]] = field(default_factory=dict)
    """Rows that stay, by block, once they are known."""


@dataclass(frozen=True, eq=False)
class Compacted:
    """One column of a compaction."""

    compaction: Compaction
    place: int


def compact(*columns: Any) -> Any:
    """Drop the items that are None or failed from several columns in step.

    Parameters
    ----------
    columns
        Answers of maps, lists, Series: one value an item in each of them.

    Returns
    -------
    As many columns, to map over; one column alone for one.

    Examples
    --------
    ``ids, cells = compact(ids, segment.map(ids, images))``: border cells, for which `segment`
    returns None, are gone.

    Raises
    ------
    GraphError
        If the lengths differ.
    """
    if any(isinstance(one, Futures | Flat) for one in columns):
        found = Compaction(
            [
                one if isinstance(one, Futures | Flat) else list_of(one, "compact()")
                for one in columns
            ]
        )
        known = {
            len(one)
            for one in found.columns
            if not (isinstance(one, Flat) or (isinstance(one, Futures) and one.node.dynamic))
        }
        made: list[Any] = [Compacted(found, place) for place in range(len(columns))]
    else:
        lists = [list_of(one, "compact()") for one in columns]
        known = {len(one) for one in lists}
        rows = [row for row in zip(*lists, strict=False) if not any(map(is_nothing, row))]
        made = (
            [Values(column) for column in zip(*rows, strict=True)]
            if rows
            else [Values() for _ in columns]
        )
    if len(known) > 1:
        raise GraphError(f"compact(): the columns have different lengths ({sorted(known)}).")
    return made[0] if len(made) == 1 else tuple(made)


def is_nothing(value: Any) -> bool:
    """Whether a value stands for no value: None, or something that failed."""
    return value is None or type(value).__name__ == "Failed"


def list_of(value: Any, what: str) -> list[Any]:
    """Return a column as a list."""
    if isinstance(value, Futures):
        return list(value)
    found = elements(value)
    if found is None:
        raise GraphError(f"{what}: a list, a Series or the answer of a map was expected.")
    return found


def flatten(lists: Any) -> Any:
    """Turn many lists into one: the cells of many images, each with its own number of cells.

    Parameters
    ----------
    lists
        The answer of a map whose items are lists (inside a flow), or a list of lists.

    Returns
    -------
    One column to map over, of all elements in order; inside a flow a `Flat`, whose ``of`` gives
    what belongs to the list of each element.

    Raises
    ------
    GraphError
        If what came is no list of lists.
    """
    if isinstance(lists, Futures):
        return Flat(lists)
    if isinstance(lists, Future):
        return Each(lists)
    if any(not hasattr(item, "__len__") for item in lists):
        raise GraphError("flatten() takes a list of lists, or the answer of a map of a task.")
    return Values(element for item in lists for element in item)


def chunks(count: int) -> list[range]:
    """Return the parts of so many rows."""
    size = max(1, -(-count // MOST_CHUNKS))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
