"""A step of the work, as the graph knows it: a plain function, and what is said of it.

Pure: no run, no disk. `databacked.task` makes it something that can be called.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import PurePath
from typing import Any, Literal, TypeVar

from databacked.callables import described, positional_only, signature_of, stands_for
from databacked.errors import GraphError, TargetError
from databacked.graph.target import Target, read_target


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

    keep: bool = False
    """Whether a small plain value is kept in the record, without a file."""

    pure: bool = True
    """False for a task that does not repeat: a clock, a camera, a random number."""

    reads: Sequence[Any] = ()
    """Further files it reads, below the project root, and environment variables as ``$NAME``."""

    inputs: Literal["sampled", "full", "stat"] | None = None
    """How large input files count; None: as the project says (by sampled blocks)."""

    limit: int | None = None
    """How many items of this task run at once, at most."""

    resources: Mapping[str, float] = field(default_factory=dict)
    """What an item takes of the runner's resources while it runs, for example ``{"GPU": 1}``."""

    failed: Literal["skip", "mark"] = "skip"
    """Whether a task of a whole map is skipped if an item failed, or gets `Failed` marks."""

    name: str | None = None
    """What it is called in messages; the function's name unless given."""


INPUTS = ("sampled", "full", "stat")
"""Ways in which a large input file may count."""


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


class _Words(str):
    """A type as its annotation says it, shown without quotes."""

    __slots__ = ()

    __repr__ = str.__str__


def say_options(function: Callable[..., Any], options: type, first: str) -> None:
    """Have a function that takes ``**options`` show them all: in a notebook, and by ``help``.

    Parameters
    ----------
    options
        A dataclass: the options with their defaults.
    first
        The parameter that stands before them.
    """
    kind = inspect.Parameter
    before = kind(first, kind.POSITIONAL_ONLY)
    if first != "self":
        before = before.replace(default=None)
    named = [
        kind(
            one.name,
            kind.KEYWORD_ONLY,
            annotation=_Words(one.type),
            default=getattr(options(), one.name),
        )
        for one in fields(options)
    ]
    setattr(function, "__signature__", inspect.Signature([before, *named]))  # noqa: B010


class Step:
    """A function whose values can be kept, with its options; checked as a whole when made."""

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.fn = function
        """The plain function."""
        self.options = options
        try:
            self.signature = signature_of(function)
        except (TypeError, ValueError):
            raise GraphError(
                f"task: nobody can tell the parameters of {function!r}. Write a function with "
                "parameters of its own that calls it."
            ) from None
        stands_for(self, function)
        problems = [
            f"{name} must be a number ≥ 0, not {value!r}"
            for name, value in (("retries", options.retries), ("retry_delay", options.retry_delay))
            if value < 0
        ]
        if is_asynchronous(function):
            problems.append(
                "async functions are run by an event loop, and tasks are not; write a plain "
                "function that calls asyncio.run(...)"
            )
        if options.failed not in ("skip", "mark"):
            problems.append(f'failed must be "skip" or "mark", not {options.failed!r}')
        if options.target is not None and options.location is not None:
            problems.append("target= and location= exclude each other")
        if options.keep and (options.result, options.target, options.location) != (None,) * 3:
            problems.append("keep=True needs no file; leave result= and target= out")
        if options.inputs not in (None, *INPUTS):
            problems.append(f"inputs must be one of {', '.join(INPUTS)}, not {options.inputs!r}")
        if options.limit is not None and not options.limit >= 1:
            problems.append(f"limit must be a number ≥ 1, not {options.limit!r}")
        if isinstance(options.reads, str | PurePath):
            problems.append(f"reads must be a list of files, not {options.reads!r}")
        problems += [
            f"resources must be numbers ≥ 0, not {name}={value!r}"
            for name, value in options.resources.items()
            if not value >= 0
        ]
        if problems:
            raise GraphError(f"{self.name}: " + "; ".join(problems) + ".")

    @functools.cached_property
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
            hints: Mapping[str, Any] = typing.get_type_hints(described(self.fn))
        except Exception:  # a name that exists only for type checkers
            hints = {name: one.annotation for name, one in self.signature.parameters.items()}
        found = {name: _arrives(hints[name]) for name in self.parameters if name in hints}
        return {name: kind for name, kind in found.items() if kind}

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, defaults included.

        Raises
        ------
        GraphError
            If they do not fit the function.
        """
        try:
            bound = self.call_signature.bind(*args, **kwargs)
        except TypeError as error:
            raise GraphError(f"{self.name}{self.call_signature}: {error}.") from None
        bound.apply_defaults()
        values: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if value is NOT_GIVEN:
                continue
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
    def draws(self) -> bool:
        """Whether it asks for a random generator: a parameter ``rng``, which a run fills in."""
        found = self.signature.parameters.get("rng")
        return found is not None and found.kind is not inspect.Parameter.POSITIONAL_ONLY

    @functools.cached_property
    def call_signature(self) -> inspect.Signature:
        """The signature of calls: ``rng`` may be left out, and is filled in then."""
        if not self.draws:
            return self.signature
        kept = [one for name, one in self.signature.parameters.items() if name != "rng"]
        rng = self.signature.parameters["rng"]
        return self.signature.replace(
            parameters=sorted(
                [*kept, rng.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=NOT_GIVEN)],
                key=lambda one: one.kind,
            )
        )

    @functools.cached_property
    def positional(self) -> tuple[str, ...]:
        """Parameters that can only be given by position, whatever a wrapper says of itself."""
        count = positional_only(self.fn)
        return tuple(
            name
            for number, (name, parameter) in enumerate(self.signature.parameters.items())
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY
            or (parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and number < count)
        )

    def __repr__(self) -> str:
        return f"<task {self.name}{self.signature}>"


def is_asynchronous(function: Any) -> bool:
    """Whether a call of a function gives something to be awaited, as far as its form says."""
    while isinstance(function, functools.partial):
        function = function.func
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, getattr(type(function), "__call__", None))  # noqa: B004
    )


class _NotGiven:
    def __repr__(self) -> str:
        return "…"


NOT_GIVEN = _NotGiven()
"""Stands for ``rng`` in a call that leaves it to the run."""


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
