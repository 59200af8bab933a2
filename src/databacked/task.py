"""A step of the work: a plain function, and where what it returns is kept.

[task] → runner → result → serializer → storage → record → dataset → version → remote
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import PurePath
from typing import Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from databacked.errors import GraphError, TargetError
from databacked.graph import Futures
from databacked.target import Target, read_target

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Options:
    """What is said of a task besides its function."""

    result: Any = None
    """Where its values are kept, for example ``LocalResult("masks", ArrayToOmeTiff())``."""

    target: Any = None
    """Template or callable that names an item's file inside the place."""

    location: Any = None
    """Like `target`, but every run writes."""

    retries: int = 0
    """How often a failing item is tried again."""

    retry_delay: float = 0.0
    """Seconds between two tries."""

    failed: Literal["skip", "mark"] = "skip"
    """Whether a task of a whole map is skipped if an item failed, or gets `Failed` marks."""

    name: str | None = None
    """What it is called in messages; the function's name unless given."""


Said = TypeVar("Said")


def changed_options(options: Said, changed: Mapping[str, Any], who: str) -> Said:
    """Return options (a dataclass) with some of them changed.

    Raises
    ------
    GraphError
        If an option is not known.
    """
    known = [field.name for field in fields(options)]  # type: ignore[arg-type]
    unknown = [name for name in changed if name not in known]
    if unknown:
        raise GraphError(
            f"{who}: {', '.join(f'{name}=' for name in unknown)} is no option; "
            f"known are {', '.join(f'{name}=' for name in known)}."
        )
    return replace(options, **changed)  # type: ignore[type-var]


class Task(Generic[P, R]):
    """A function whose values can be kept; made by `task`.

    Called inside a flow it gives a future, outside a flow it runs at once and gives the value.
    """

    def __init__(self, function: Callable[P, R], options: Options) -> None:
        self.fn = function
        """The plain function."""
        self.options = options
        functools.update_wrapper(self, function)
        self.signature = inspect.signature(function)
        problems = [
            f"{name} must be a number ≥ 0, not {value!r}"
            for name, value in (("retries", options.retries), ("retry_delay", options.retry_delay))
            if value < 0
        ]
        if options.failed not in ("skip", "mark"):
            problems.append(f'failed must be "skip" or "mark", not {options.failed!r}')
        if options.target is not None and options.location is not None:
            problems.append("target= and location= exclude each other")
        if problems:
            raise GraphError(f"{self.name}: " + "; ".join(problems) + ".")

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return self.options.name or str(getattr(self.fn, "__name__", type(self.fn).__name__))

    @functools.cached_property
    def target(self) -> Target | None:
        """Where an item's file lies; None for a task that keeps nothing."""
        given = self.options.target if self.options.location is None else self.options.location
        fixed = getattr(self.options.result, "target", None)
        if given is None:
            if fixed is not None:
                return Target(fixed, (), ((fixed, None, (), "", None),))
            if self.options.result is not None:
                raise TargetError(
                    f"{self.name}: a result needs a target=, such as "
                    f"target='{{{next(iter(self.signature.parameters), 'name')}}}.ome.tiff'."
                )
            return None
        if fixed is not None:
            raise TargetError(
                f"{self.name}: {type(self.options.result).__name__} names its files itself; "
                "leave target= out."
            )
        return read_target(given, self.parameters, self.name)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(self.signature.parameters)

    @functools.cached_property
    def arrives(self) -> dict[str, str]:
        """What the annotations ask for: ``array``, ``dask``, ``path`` or ``text`` by parameter."""
        try:
            hints: Mapping[str, Any] = typing.get_type_hints(self.fn)
        except Exception:  # a name that exists only for type checkers
            hints = getattr(self.fn, "__annotations__", {})
        found = {name: _arrives(hint) for name, hint in hints.items() if name != "return"}
        return {name: kind for name, kind in found.items() if kind}

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it: a future inside a flow, the value outside."""
        from databacked.flow import current_run, run_alone

        run = current_run()
        if run is not None:
            return run.call(self, args, kwargs)
        return run_alone(self, args, kwargs, mapped=False)

    def map(self, *args: Any, **kwargs: Any) -> Futures:
        """Run it for each item: lists, Series, ranges, maps and ``each(x)`` give one value an item.

        Everything else (text, dict, n-D array, one future) is the same for every item.

        Returns
        -------
        A sequence of futures inside a flow; outside, a list of values.

        Raises
        ------
        GraphError
            If lengths differ, or there is nothing to map over.
        """
        from databacked.flow import current_run, run_alone

        run = current_run()
        if run is not None:
            return run.map(self, args, kwargs)
        return cast(Futures, run_alone(self, args, kwargs, mapped=True))

    def with_options(self, **changed: Any) -> Task[P, R]:
        """Return the same task with other options, for example another ``result=``."""
        return Task(self.fn, changed_options(self.options, changed, f"{self.name}.with_options"))

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, defaults included.

        Raises
        ------
        GraphError
            If they do not fit the function.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise GraphError(f"{self.name}{self.signature}: {error}.") from None
        bound.apply_defaults()
        values: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = self.signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                if value:
                    raise GraphError(
                        f"{self.name}: *{name} cannot take arguments of a task; give them names."
                    )
            elif kind is inspect.Parameter.VAR_KEYWORD:
                values.update(value)
            else:
                values[name] = value
        return values

    @functools.cached_property
    def positional(self) -> tuple[str, ...]:
        """Parameters that can only be given by position."""
        return tuple(
            name
            for name, parameter in self.signature.parameters.items()
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        )

    def __repr__(self) -> str:
        return f"<task {self.name}{self.signature}>"


def _arrives(hint: Any) -> str:
    if isinstance(hint, str):
        text = hint.replace(" ", "")
        if text.startswith(("np.ndarray", "numpy.ndarray", "NDArray", "npt.NDArray")):
            return "array"
        if text.startswith(("da.Array", "dask.array.Array")):
            return "dask"
        return {"Path": "path", "pathlib.Path": "path", "str": "text"}.get(text, "")
    origin = typing.get_origin(hint) or hint
    if origin is str:
        return "text"
    if isinstance(origin, type) and issubclass(origin, PurePath):
        return "path"
    name = f"{getattr(origin, '__module__', '')}.{getattr(origin, '__qualname__', '')}"
    if name == "numpy.ndarray":
        return "array"
    if name.startswith("dask.array") and name.endswith(".Array"):
        return "dask"
    if origin is typing.Union or type(hint).__name__ == "UnionType":
        kinds = {_arrives(one) for one in typing.get_args(hint) if one is not type(None)}
        return kinds.pop() if len(kinds) == 1 else ""
    return ""


@overload
def task(
    function: Callable[P, R],
    /,
    *,
    result: Any = ...,
    target: Any = ...,
    location: Any = ...,
    retries: int = ...,
    retry_delay: float = ...,
    failed: Literal["skip", "mark"] = ...,
    name: str | None = ...,
) -> Task[P, R]: ...
@overload
def task(
    *,
    result: Any = ...,
    target: Any = ...,
    location: Any = ...,
    retries: int = ...,
    retry_delay: float = ...,
    failed: Literal["skip", "mark"] = ...,
    name: str | None = ...,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Any = None, /, **options: Any) -> Any:
    """Make a function a task.

    Parameters
    ----------
    result
        Where its values are kept, for example ``LocalResult("masks", ArrayToOmeTiff())``. Without
        it, values are not kept, unless there is a `target`: then they go to the project's default
        place, written as the target's ending says.
    target
        Template (``"{cell_id}.ome.tiff"``) or callable of the parameters that names an item's file.
    location
        Like `target`, but every run writes.
    retries, retry_delay
        How often a failing item is tried again, and the seconds between.
    failed
        ``"mark"`` gives a task that takes a whole map `Failed` marks instead of skipping it.
    name
        What it is called in messages.

    Examples
    --------
    >>> @task
    ... def double(x):
    ...     return 2 * x
    >>> double.fn(4)
    8
    """
    given = changed_options(Options(), options, "task")
    if function is None:
        return lambda function: Task(function, given)
    if not callable(function):
        raise GraphError(f"task: a function was expected, not {function!r}; options have names.")
    return Task(function, given)
