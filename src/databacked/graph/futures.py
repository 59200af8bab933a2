"""What a call gives: futures, alone and inside of values, and the values that they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, SupportsIndex, overload

from databacked.errors import FingerprintError, GraphError
from databacked.graph.copies import parts_of, replaced
from databacked.graph.nodes import AnyNode, Item, Key, Node

if TYPE_CHECKING:
    import pandas as pd
    from typing_extensions import TypeVar

    T = TypeVar("T", default=Any)
    T_co = TypeVar("T_co", default=Any, covariant=True)
    # A flow that returns the answer of a map gives the list of its values: it may say so.
    _Answer = list
else:
    from typing import TypeVar

    T = TypeVar("T")
    T_co = TypeVar("T_co", covariant=True)

    class _Answer(Sequence, Generic[T]):
        pass


class Future(Generic[T_co]):
    """Stands for the value of one item until it is known."""

    __slots__ = ("index", "keys", "node")

    def __init__(self, node: AnyNode, index: int | None = 0, keys: tuple[Key, ...] = ()) -> None:
        self.node = node
        self.index = index
        """Which item; None for the list of all items."""
        self.keys = keys

    def items(self) -> list[Item]:
        """Return the items that it stands for: one, or all of a map."""
        return self.node.items(self.index)

    def result(self) -> T_co:
        """Run what this value needs, and return it.

        Returns
        -------
        What the task returned; of a kept array, a `BackedArray`.

        Raises
        ------
        DatabackedError
            If it cannot be made, because its item or one that it needs failed.
        """
        return self.node.session.result(self)  # type: ignore[no-any-return]

    def __getitem__(self, key: Key) -> Future[Any]:
        if not isinstance(key, str | int):
            raise GraphError(
                f"{self!r}[{key!r}]: a future is indexed by a name or a number; use .result() to "
                "slice the value itself."
            )
        return Future(self.node, self.index, (*self.keys, key))

    def __repr__(self) -> str:
        keys = "".join(f"[{key!r}]" for key in self.keys)
        which = "" if self.node.single or self.index is None else f"[{self.index}]"
        return f"<future of {self.node.name}{which}{keys}>"

    def _misused(self, *_: object) -> NoReturn:
        raise GraphError(
            f"{self!r} is not known yet, so it cannot be used as a number, a truth value, a list "
            "or a file. Pass it to a task, or call .result() to have the value now."
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"{self!r} is not known yet, so it has no {name!r}. Pass it to a task, or call "
            ".result() to have the value now."
        )

    def __deepcopy__(self, memo: Any) -> Future[T_co]:
        return self

    def __dir__(self) -> list[str]:
        return ["result"]

    def __databacked_token__(self) -> NoReturn:
        raise FingerprintError(
            f"it holds {self!r}, a value of a task, where it is not looked for: pass it as an "
            "argument, or in a list, a dict or an object of its own."
        )

    __bool__ = __int__ = __float__ = __index__ = __len__ = __iter__ = __contains__ = _misused
    __fspath__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _misused
    __truediv__ = __rtruediv__ = __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __array__ = _misused
    __format__ = _misused


class Futures(_Answer[T]):
    """The answer of a map: a sequence of futures, made when asked for.

    Type checkers take it for the list of its values, which is what it is outside of the flow.
    """

    def __init__(
        self, node: AnyNode, picks: Sequence[int] | None = None, keys: tuple[Key, ...] = ()
    ) -> None:
        self.node = node
        self.picks = picks
        """Which items; None for all of them, in order."""
        self.keys = keys

    def __len__(self) -> int:
        return self.node.length() if self.picks is None else len(self.picks)

    @overload  # type: ignore[override]
    def __getitem__(self, key: int) -> Future[T]: ...
    @overload
    def __getitem__(self, key: slice) -> Futures[T]: ...
    @overload
    def __getitem__(self, key: str) -> Futures[Any]: ...
    def __getitem__(self, key: int | slice | str) -> Future[Any] | Futures[Any]:
        if isinstance(key, str):
            return Futures(self.node, self.picks, (*self.keys, key))
        picks = range(len(self)) if self.picks is None else self.picks
        if isinstance(key, slice):
            return Futures(self.node, picks[key], self.keys)
        return Future(self.node, picks[key], self.keys)

    def __iter__(self) -> Iterator[Future[T]]:  # type: ignore[override]
        picks = range(len(self)) if self.picks is None else self.picks
        return (Future(self.node, index, self.keys) for index in picks)

    def __deepcopy__(self, memo: Any) -> Futures[T]:
        return self

    def __dir__(self) -> list[str]:
        return ["of", "result", "table"]

    def result(self) -> list[T]:
        """Run what these values need, and return them.

        Returns
        -------
        A list with one value an item.

        Raises
        ------
        DatabackedError
            If one of them cannot be made.
        """
        return list(self.node.session.result(self))

    def whole(self) -> Future[list[T]] | list[Future[T]]:
        """Return the list of all items as one future, where it is all of them."""
        return Future(self.node, None, self.keys) if self.picks is None else [*iter(self)]

    def __repr__(self) -> str:
        count = "?" if self.picks is None and self.node.dynamic else len(self)
        return f"<{count} futures of {self.node.name}>"

    def of(self, column: Any) -> list[Any]:
        """Return for each item of a swept map the value of `column` that belongs to it.

        Parameters
        ----------
        column
            A list, a Series or the answer of a map: a value for each item before it was swept.

        Returns
        -------
        A list as long as the swept map.

        Examples
        --------
        ``masks = segment.map(ids, images, sigma=sweep([1, 2]))``, then
        ``measure.map(masks.of(ids), masks)``.

        Raises
        ------
        GraphError
            If the map was not swept, or `column` does not have one value for each of its items.
        """
        node = self.node
        items = list(column) if isinstance(column, Futures) else elements(column)
        if not isinstance(node, Node) or self.picks is not None or items is None:
            raise GraphError(f"{self!r}.of(x): the whole answer of a swept map, and a list, fit.")
        if len(items) * node.repeat != node.n:
            raise GraphError(
                f"{self!r}.of(x): x has {len(items)} values, and the map {node.n // node.repeat} "
                f"items, each swept over {node.repeat} values."
            )
        return [item for item in items for _ in range(node.repeat)]

    @property
    def table(self) -> pd.DataFrame:
        """What is known of each item by now: parameters, state, and where it lies; a DataFrame."""
        found: pd.DataFrame = self.node.session.table(self)
        return found


class Values(list[T]):
    """The values of a map: a list, mapped over like any other one."""

    answer: Futures[T] | None = None
    """What they are the values of; not known after they were sent elsewhere."""

    @overload
    def __getitem__(self, key: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, key: slice) -> list[T]: ...
    @overload
    def __getitem__(self, key: str) -> Values[Any]: ...
    def __getitem__(self, key: SupportsIndex | slice | str) -> Any:
        """Return an item, several, or that output of all of them, as futures do."""
        if not isinstance(key, str):
            return super().__getitem__(key)
        parts: Values[Any] = Values(one[key] for one in self)  # type: ignore[index]
        parts.answer = None if self.answer is None else self.answer[key]
        return parts

    def result(self) -> Values[T]:
        """Return the values: outside of flows they are there.

        Returns
        -------
        The same list.
        """
        return self

    @property
    def table(self) -> pd.DataFrame:
        """Parameters, state and place of each item, as a DataFrame.

        Raises
        ------
        GraphError
            If it is a plain list of values by now, which nobody knows the items of.
        """
        if self.answer is None:
            raise GraphError("This list of values is no longer the answer of a map.")
        return self.answer.table

    def of(self, column: Any) -> list[Any]:
        """Return for each item of a swept map the value of `column` that belongs to it.

        Parameters
        ----------
        column
            A list or a Series: a value for each item before it was swept.

        Returns
        -------
        A list as long as the swept map.

        Raises
        ------
        GraphError
            If it is a plain list of values by now, was not swept, or the lengths do not fit.
        """
        if self.answer is None:
            raise GraphError("This list of values is no longer the answer of a map.")
        return self.answer.of(column)

    def __reduce__(self) -> tuple[Any, ...]:
        return Values, (list(self),)

    def _repr_html_(self) -> str | None:
        from databacked.pictures.html import values_html

        return values_html(self)


class Several(tuple[Any, ...]):
    """What a flow returns that returns several answers: a tuple that a notebook shows."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (list(self),)

    def _repr_html_(self) -> str:
        from databacked.pictures.html import several_html

        return several_html(self)


def futures_in(value: Any) -> list[Future]:
    """Return the futures inside a value, wherever copies look: also those in objects and tables."""
    found: list[Future] = []
    for one in parts_of(value, (Future, Futures)):
        whole = one.whole() if isinstance(one, Futures) else one
        found += whole if isinstance(whole, list) else [whole]
    return found


def check_futures(value: Any) -> None:
    """Raise `FingerprintError` if a value holds futures that cannot be replaced."""
    replaced(value, (Future, Futures), lambda one: one)


def replace_futures(
    value: Any,
    known: Callable[[Future], Any],
    answer: Callable[[Futures, list[Any]], Any] = lambda _, values: values,
) -> Any:
    """Return `value` with every future inside it replaced.

    Parameters
    ----------
    answer
        Makes something of the list that stands for the answer of a map.
    """

    def replace(one: Any) -> Any:
        if isinstance(one, Future):
            return known(one)
        whole = one.whole()
        return answer(one, known(whole) if isinstance(whole, Future) else [*map(known, whole)])

    return replaced(value, (Future, Futures), replace)


def elements(value: Any) -> list[Any] | None:
    """Return the items of what a map runs over, or None if the value is one for all items.

    Raises
    ------
    GraphError
        For a DataFrame (which column?) and for iterators (they can be read only once).
    """
    kind = type(value)
    if kind in (list, tuple, range, Values):
        return list(value)
    if kind in (str, bytes, dict, int, float, bool, type(None)):
        return None
    module = kind.__module__.partition(".")[0]
    if module == "pandas":
        if hasattr(value, "columns"):
            names = ", ".join(repr(name) for name in value.columns)
            raise GraphError(
                f"A DataFrame cannot be mapped over: pass its columns one by one ({names}), or "
                "wrap it in same(...) to give all of it to every item."
            )
        if hasattr(value, "tolist") and hasattr(value, "dtype"):
            return list(value.tolist())
        return None
    if module == "numpy" and getattr(value, "ndim", None) == 1:
        # Plain numbers and texts arrive as Python's own, other types as numpy's.
        if value.dtype.str in ("<i8", "<f8", "|b1") or value.dtype.kind in "UO":
            return list(value.tolist())
        return list(value)
    if isinstance(value, Iterator):
        raise GraphError(
            f"An iterator ({kind.__name__}) can be read only once: pass list(...) of it to map."
        )
    if isinstance(value, list | tuple | range):
        return list(value)
    return None
