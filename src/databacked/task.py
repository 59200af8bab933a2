"""A step of the work: a plain function, and where what it returns is kept.

[task] → runner → result → serializer → storage → record → dataset → version → remote
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

from databacked.callables import got_from
from databacked.errors import GraphError
from databacked.flow import current_graph, run_alone
from databacked.graph.futures import Futures
from databacked.graph.step import Options, Step, changed_options, say_options

P = ParamSpec("P")
R = TypeVar("R")


class TaskOptions(TypedDict, total=False):
    """Options of a task as they are written in calls; `Options` says what each one means."""

    result: Any
    target: Any
    location: Any
    retries: int
    retry_delay: float
    keep: bool
    pure: bool
    reads: Sequence[Any]
    inputs: Literal["sampled", "full", "stat"] | None
    limit: int | None
    resources: Mapping[str, float]
    failed: Literal["skip", "mark"]
    name: str | None


class Task(Step, Generic[P, R]):
    """A function whose values can be kept; made by `task`.

    Called inside a flow it gives a future, outside a flow it runs at once and gives the value.
    """

    def __init__(self, function: Callable[P, R], options: Options) -> None:
        super().__init__(function, options)
        self.fn: Callable[P, R]
        """The plain function: a call of it keeps nothing, and belongs to no run."""

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, /, *args: Any, **kwargs: Any) -> R: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it: a future inside a flow, the value outside."""
        graph = current_graph()
        if graph is not None:
            return graph.call(self, args, kwargs)
        return run_alone(self, args, kwargs, mapped=False)

    def map(self, /, *args: Any, **kwargs: Any) -> Futures[R]:
        """Run it for each item: lists, Series, ranges, maps and ``each(x)`` give one value an item.

        Everything else (text, dict, n-D array, one future) is the same for every item.

        Parameters
        ----------
        *args, **kwargs
            What the function takes; of what is mapped over, one value an item.

        Returns
        -------
        A sequence of futures inside a flow; outside, a list of values.

        Raises
        ------
        GraphError
            If lengths differ, or there is nothing to map over.
        """
        graph = current_graph()
        if graph is not None:
            return graph.map(self, args, kwargs)
        return cast(Futures[R], run_alone(self, args, kwargs, mapped=True))

    def with_options(self, **changed: Unpack[TaskOptions]) -> Task[P, R]:
        """Return the same task with other options, for example another ``result=``.

        Parameters
        ----------
        **changed
            Options as `task` has them; all others stay as they are.

        Returns
        -------
        A new task of the same function.
        """
        return Task(self.fn, changed_options(self.options, changed, f"{self.name}.with_options"))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return got_from(self, instance, owner, "task")

    def __dir__(self) -> list[str]:
        return ["fn", "map", "name", "options", "with_options"]


@overload
def task(function: Callable[P, R], /, **options: Unpack[TaskOptions]) -> Task[P, R]: ...
@overload
def task(**options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Any = None, /, **options: Any) -> Any:
    """Make a function a task.

    Parameters
    ----------
    function : callable
        What computes one value. Options alone give a decorator.
    result : LocalResult or LocalDatasetResult, optional
        Where its values are kept, for example ``LocalResult("masks", ArrayToOmeTiff())``. Without
        it, values are not kept, unless there is a `target`: then they go to the project's default
        place, written as the target's ending says.
    target : str, callable or dict of them, optional
        Template (``"{cell_id}.ome.tiff"``) or callable of the parameters that names an item's file,
        below the result's place. A dict names the files of several outputs, by their keys.
    location : str, callable or dict of them, optional
        Like `target`, but every run writes.
    retries : int, default 0
        How often a failing item is tried again.
    retry_delay : float, default 0.0
        Seconds between two tries.
    keep : bool, default False
        Whether a small plain value (up to 65,536 bytes) is kept in the record, without a file.
    pure : bool, default True
        False for a task that does not repeat. Kept, it counts by its content; not kept, it runs
        once a run for all its readers, and what depends on it is never a hit.
    reads : list of paths and texts, optional
        Further files that the function reads (relative to the project root), and environment
        variables as ``"$NAME"``: their contents count like its code.
    inputs : {"sampled", "full", "stat"}, optional
        How input files over 256 MiB count: ``"sampled"`` (size and 64 blocks), ``"full"``, or
        ``"stat"`` (any file: size and time). Without it, as the project says.
    limit : int, optional
        How many items of this task run at once, at most.
    resources : dict of str to float, optional
        How much an item takes of the runner's resources, for example ``{"GPU": 1}``.
    failed : {"skip", "mark"}, default 'skip'
        ``"mark"`` gives a task that takes a whole map `Failed` marks instead of skipping it.
    name : str, optional
        What it is called in messages; the function's name unless given.

    Returns
    -------
    A `Task`; without a function, a decorator that makes one.

    Raises
    ------
    GraphError
        If an option is not known or does not fit, or the function cannot be a task (it is async,
        or nobody can tell its parameters).

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
        return lambda function: task(function, **options)
    if isinstance(function, Task):  # a library's task, kept here
        return function.with_options(**options)
    if isinstance(function, classmethod):
        raise GraphError("task: @classmethod stands above @task, not below it.")
    if not callable(function):
        raise GraphError(f"task: a function was expected, not {function!r}; options have names.")
    return Task(function, given)


say_options(task, Options, "function")
say_options(Task.with_options, Options, "self")
