"""A function that calls tasks: its graph is known before anything runs.

[flow] → task → runner → result → serializer → storage → record → dataset → version → remote
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

from databacked.callables import got_from, signature_of, stands_for, written_in
from databacked.display.choose import show_for
from databacked.engine.plan import Outlook, Plan
from databacked.engine.report import counts_of, failed_in_words, report_of
from databacked.engine.run import Run, new_id
from databacked.engine.spec import symbol_of
from databacked.errors import FlowFailed, GraphError, did_you_mean
from databacked.graph.calls import Graph, current
from databacked.graph.futures import Future, Futures, Values
from databacked.graph.outline import Asked, Outline
from databacked.graph.step import Step, changed_options, is_asynchronous, say_options
from databacked.pictures.drawing import Drawing
from databacked.project.folders import same_folder
from databacked.project.notebook import is_cell
from databacked.project.root import Project, project_at, project_of
from databacked.records.runs import collect_in_background, write_run
from databacked.result import LocalResult
from databacked.runners.choose import runners_of
from databacked.runners.outlive import going_on
from databacked.worker.failures import told
from databacked.worker.pyplot import apart

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

QUIET = "DATABACKED_QUIET"
"""Environment variable that silences runs."""

VERBOSE = "DATABACKED_VERBOSE"
"""Environment variable that has runs say seconds and bytes of each task."""


def current_graph() -> Graph | None:
    """Return what calls become part of; None outside of flows."""
    return current.get()


ON_ERROR: tuple[str, ...] = ("raise", "collect")


class FlowOptions(TypedDict, total=False):
    """Options of a flow as they are written in calls; `Options` says what each one means."""

    runner: Any
    on_error: Literal["raise", "collect"]
    quiet: bool
    verbose: bool
    root: str | os.PathLike[str] | None
    force: Sequence[str]


@dataclass(frozen=True)
class Options:
    """What is said of a flow besides its function."""

    runner: Any = None
    """What runs the items: a `Runner`, or one of ``"threads"``, ``"processes"``, ``"calling"``; or
    one of these for each task, by name; ``"*"`` stands for all others."""

    on_error: Literal["raise", "collect"] = "raise"
    """Whether failed items raise `FlowFailed` at the end, or are only reported."""

    quiet: bool = False
    """Whether nothing is printed."""

    verbose: bool = False
    """Whether seconds and bytes of each task are printed, too."""

    root: str | os.PathLike[str] | None = None
    """The project's root; found from the flow's file unless given."""

    force: Sequence[str] = ()
    """Tasks whose items are made again, by name."""


class Flow(Generic[P, R]):
    """A function of tasks; made by `flow`."""

    def __init__(self, function: Callable[P, R], options: Options) -> None:
        self.fn = function
        """The plain function."""
        self.options = options
        stands_for(self, function)

    @property
    def name(self) -> str:
        """The function's name."""
        return str(getattr(self.fn, "__name__", "flow"))

    def with_options(self, **changed: Unpack[FlowOptions]) -> Flow[P, R]:
        """Return the same flow with other options, for example another ``runner=``.

        Parameters
        ----------
        **changed
            Options as `flow` has them; all others stay as they are.

        Returns
        -------
        A new flow of the same function.
        """
        return Flow(self.fn, _options(self.options, changed, f"{self.name}.with_options"))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return got_from(self, instance, owner, "flow")

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it; inside another flow it becomes part of that one.

        Raises
        ------
        FlowFailed
            If items failed, once everything else is done; with ``on_error="collect"`` it is
            only reported.
        """
        if current.get() is not None:
            return self.fn(*args, **kwargs)
        with going_on():
            return self._run(args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        project = _project(self.options.root, self.fn)
        arguments = _texts(self.fn, args, kwargs)
        show = show_for(quiet=self.options.quiet or bool(os.environ.get(QUIET)))
        identity = new_id()
        folder = project.state / "runs" / identity
        runners = runners_of(self.options.runner, project)
        run = Run(
            project,
            runners,
            self.name,
            show,
            identity,
            LocalResult(project.place),
            folder / "log",
            force=frozenset(self.options.force),
            verbose=self.options.verbose or bool(os.environ.get(VERBOSE)),
        )
        show.begin(f"{self.name} · run {run.id} · project {project.root}")
        if hint := _elsewhere(project, self.fn):
            show.say(hint)
        about = collect_in_background(
            self.name,
            arguments,
            project.root,
            run.id,
            symbol_of(self.fn, project.root),
        )
        state, value = "failed", None
        token = current.set(run.graph)
        try:
            with apart():
                returned = self.fn(*args, **kwargs)
                value = run.finish(returned)
            state = "partly failed" if run.recorder.failures else "done"
        except KeyboardInterrupt:
            state = "interrupted"
            show.say(
                f"{self.name} was interrupted. What is done is kept; run again to do the rest."
            )
            raise
        finally:
            current.reset(token)
            try:
                run.close(cancel=state in ("failed", "interrupted"))
            finally:
                wait = state != "interrupted"
                write_run(folder, about.finished(state, counts_of(run), wait=wait))
                report_of(run, state, value, folder)
        raises = bool(run.recorder.failures) and self.options.on_error == "raise"
        if run.recorder.failures and not raises:
            show.say(failed_in_words(run))
        run.tidy()
        if raises:
            raise FlowFailed(failed_in_words(run), run.recorder.failures, value)
        return value  # type: ignore[no-any-return]

    def plan(self, /, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """Return what a run would make, and why: nothing is made or written.

        Of each task: how many items are there and stay, how many are to be made and why, and up to
        how many more may have to be, because what they read is made first. The flow's own function
        is called; where it asks for a ``.result()`` that is not there, the rest is not known.

        Parameters
        ----------
        *args, **kwargs
            What the flow would be called with.

        Returns
        -------
        Printed, or shown by a notebook, it is a table; ``.tasks`` holds the numbers.

        Raises
        ------
        GraphError, TargetError, FingerprintError
            As a run would, before the first item.
        """
        _texts(self.fn, args, kwargs)
        project = _project(self.options.root, self.fn)
        runners = runners_of(self.options.runner, project)
        force = frozenset(self.options.force)
        outlook = Outlook(project, self.name, LocalResult(project.place), runners, force)
        token = current.set(outlook.graph)
        try:
            with apart():
                return outlook.plan(lambda: self.fn(*args, **kwargs))
        finally:
            current.reset(token)

    def visualize(self, /, *args: P.args, **kwargs: P.kwargs) -> Drawing:
        """Return its graph as a drawing: one box a call of a task; nothing runs or is written.

        A stack of boxes is a map with its number of items (``?`` where only the run will tell), a
        filled box keeps its values where it says. Dashed arrows are items that become known while
        the flow runs. The flow's own function is called, up to where it asks for a ``.result()``.

        Parameters
        ----------
        *args, **kwargs
            What the flow would be called with.

        Returns
        -------
        A `Drawing` with ``.svg``, ``.png``, and ``.save(path)``; notebooks show it.

        Raises
        ------
        GraphError
            If the arguments do not fit, or a call cannot become part of the graph.
        """
        _texts(self.fn, args, kwargs)
        outline = Outline()
        token = current.set(outline.graph)
        try:
            self.fn(*args, **kwargs)
        except Asked:
            pass
        finally:
            current.reset(token)
        return outline.drawing(_project(self.options.root, self.fn))

    def __dir__(self) -> list[str]:
        return ["fn", "name", "options", "plan", "visualize", "with_options"]

    def __repr__(self) -> str:
        return f"<flow {self.name}>"


class FlowDecorator(Protocol):
    """Makes flows of functions: what returns the answer of a map gives a list of its values."""

    @overload
    def __call__(self, function: Callable[P, Futures[T]], /) -> Flow[P, Values[T]]: ...
    @overload
    def __call__(self, function: Callable[P, Future[T]], /) -> Flow[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Flow[P, R]: ...


@overload
def flow(
    function: Callable[P, Futures[T]], /, **options: Unpack[FlowOptions]
) -> Flow[P, Values[T]]: ...
@overload
def flow(function: Callable[P, Future[T]], /, **options: Unpack[FlowOptions]) -> Flow[P, T]: ...
@overload
def flow(function: Callable[P, R], /, **options: Unpack[FlowOptions]) -> Flow[P, R]: ...
@overload
def flow(**options: Unpack[FlowOptions]) -> FlowDecorator: ...
def flow(function: Any = None, /, **options: Any) -> Any:
    """Make a function of tasks a flow.

    Task calls inside give futures; nothing runs until the flow ends or somebody asks for a
    ``.result()``. At the end every result is there, and the flow's value is returned.

    Parameters
    ----------
    function : callable
        What calls the tasks. Options alone give a decorator.
    runner : Runner, str or dict of them, optional
        What runs the items: a `Runner`, or ``"threads"`` (the default), ``"processes"``,
        ``"calling"`` (in this thread, for a debugger); or a dict of these by the names of tasks,
        for example ``{"segment": ProcessRunner(2), "*": "threads"}``.
    on_error : {"raise", "collect"}, default 'raise'
        ``"collect"`` reports failed items without raising `FlowFailed`.
    quiet : bool, default False
        Whether nothing is printed.
    verbose : bool, default False
        Whether seconds and bytes of each task are printed, too: what making its items took,
        whenever that was, and what their files take up.
    root : str or path, optional
        The project's root; found from the flow's file unless given.
    force : list of str, optional
        Names of tasks whose items are made again, whatever is there; files that were corrected by
        hand stay, and are named.

    Returns
    -------
    A `Flow`; without a function, a decorator that makes one.

    Raises
    ------
    GraphError
        If an option is not known, or the function cannot be a flow (it is async).

    Examples
    --------
    >>> @flow(quiet=True)
    ... def study(numbers):
    ...     return [2 * number for number in numbers]
    >>> study([1, 2])
    [2, 4]
    """
    given = _options(Options(), options, "flow")
    if is_asynchronous(function):
        raise GraphError(
            "flow: async functions are run by an event loop, and flows are not. Write a plain "
            "function; asyncio.to_thread(flow) runs it beside a loop."
        )
    if function is None:
        return lambda function: flow(function, **options)
    if isinstance(function, Flow):
        return function.with_options(**options)
    if not callable(function):
        raise GraphError(f"flow: a function was expected, not {function!r}; options have names.")
    return Flow(function, given)


say_options(flow, Options, "function")
say_options(Flow.with_options, Options, "self")


@going_on()
def run_alone(task: Step, args: tuple[Any, ...], kwargs: dict[str, Any], *, mapped: bool) -> Any:
    """Run one call outside of any flow, with its checkpoint, and return the value."""
    project = _project(None, task.fn)
    show = show_for(quiet=bool(os.environ.get(QUIET)))
    runners = runners_of(None if mapped else "calling", project)
    run = Run(project, runners, task.name, show, new_id(), LocalResult(project.place))
    try:
        token = current.set(run.graph)
        try:
            asked: Any = (
                run.graph.map(task, args, kwargs) if mapped else run.graph.call(task, args, kwargs)
            )
        finally:
            current.reset(token)
        with apart():
            value = run.finish(asked)
    except BaseException:
        run.close(cancel=True)
        raise
    run.close()
    report_of(run, "partly failed" if run.recorder.failures else "done", value, None)
    run.tidy()
    if run.recorder.failures:
        raise FlowFailed(failed_in_words(run), run.recorder.failures, value)
    return value


def _elsewhere(project: Project, function: Any) -> str:
    """Return what to do where results lie in whatever folder somebody stands in."""
    file = written_in(function)
    if project.is_found or not file or is_cell(file):
        return ""
    beside = Path(os.path.abspath(file)).parent
    if same_folder(beside, project.root):
        return ""
    return (
        f"the project is the folder that you stand in ({project.root}): results of "
        f"{beside.name}/{Path(file).name} lie there, and are not found from another one. An empty "
        f"databacked.toml in {beside} makes that the project, wherever you stand."
    )


def _options(options: Options, changed: Mapping[str, Any], who: str) -> Options:
    """Return options of a flow with some of them changed, once what was given can be meant."""
    given = changed_options(options, changed, who)
    if given.on_error not in ON_ERROR:
        meant = did_you_mean(str(given.on_error), ON_ERROR)
        raise GraphError(
            f"{who}: on_error={given.on_error!r} is unknown{meant}. Known are "
            f"{' and '.join(map(repr, ON_ERROR))}."
        )
    force: Any = [given.force] if isinstance(given.force, str | Step) else given.force
    if not isinstance(force, Iterable):
        raise GraphError(f"{who}: force={force!r}: a list of names of tasks was expected.")
    names = tuple(one.name if isinstance(one, Step) else one for one in force)
    if wrong := [one for one in names if not isinstance(one, str)]:
        raise GraphError(f"{who}: force= takes names of tasks, and {wrong[0]!r} is none.")
    return replace(given, force=names)


def _project(root: Any, function: Any) -> Project:
    return project_of(function) if root is None else project_at(Path(root))


def _texts(function: Any, args: Any, kwargs: Mapping[str, Any]) -> dict[str, str]:
    try:
        bound = signature_of(function).bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__name__", "flow")
        raise GraphError(f"{name}{signature_of(function)}: {error}.") from None
    return {name: _text(value) for name, value in bound.arguments.items()}


def _text(value: Any) -> str:
    def say() -> str:
        if hasattr(value, "shape"):
            return f"{type(value).__name__} {tuple(value.shape)}"
        return repr(value)

    text = told(say, f"<{type(value).__name__}>")
    return text if len(text) <= 200 else text[:197] + "…"
