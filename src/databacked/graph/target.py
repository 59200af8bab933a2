"""Where inside its place an item's file lies: templates, callables, and what is legal."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from string import Formatter
from types import FunctionType
from typing import Any

from databacked.errors import TargetError, did_you_mean
from databacked.project.folders import STATE
from databacked.records.record import JOIN

LONGEST = 255
"""Bytes of one part of a path that common disks take."""


_PLAIN = re.compile(r"[\w\-+=@,()][\w\-+=@,(). ]*(?:/[\w\-+=@,()][\w\-+=@,(). ]*)*", re.ASCII)


_COLUMN = re.compile(rf"{_PLAIN.pattern}(?:\n{_PLAIN.pattern})*", re.ASCII)
"""Plain targets, a line each."""


_CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}


_ATTRIBUTES = ("stem", "name", "parent", "suffix")


class Touched(Exception):
    """A target callable used a value that is not known yet."""


class NotYet:
    """Given to a target callable in place of a value that is not known yet."""

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "_name", name)

    def _touched(self, *_: object) -> Any:
        raise Touched(object.__getattribute__(self, "_name"))

    __getattribute__ = __getitem__ = __str__ = __repr__ = __format__ = __iter__ = _touched
    __bool__ = __int__ = __float__ = __index__ = __len__ = __eq__ = __hash__ = __fspath__ = _touched
    __add__ = __radd__ = __mod__ = __truediv__ = __rtruediv__ = __lt__ = __gt__ = _touched


class _Strict(dict[str, Any]):
    """Parameters by name, where a missing one is an error, also through ``get``."""

    def __init__(self, values: Mapping[str, Any], task: str) -> None:
        super().__init__(values)
        self._task = task

    def __missing__(self, name: str) -> Any:
        raise unknown_key(name, self, self._task)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


@dataclass(frozen=True)
class Target:
    """A template such as ``"{cell_id}.ome.tiff"``, or a callable of the parameters."""

    given: str | Callable[..., str]
    names: tuple[str, ...] = ()
    """Parameters that the template uses."""

    parts: tuple[tuple[str, str | None, tuple[str, ...], str, str | None], ...] = ()
    """Text, parameter, attributes, format and conversion, piece by piece."""

    task: str = ""
    """Whose target it is, for errors."""

    @property
    def is_callable(self) -> bool:
        """Whether it has to be called for each item."""
        return callable(self.given)

    @property
    def ending(self) -> str:
        """How its files end; empty where only a call tells."""
        return "" if self.is_callable or not self.parts else self.parts[-1][0].lower()

    def of_column(self, columns: Mapping[str, Sequence[Any]], count: int) -> list[str]:
        """Return the targets of many items, from a column for each parameter it uses."""
        if all(
            not (attributes or spec or conversion)
            for _, _, attributes, spec, conversion in self.parts
        ):
            pieces = "".join(
                text.replace("%", "%%") + ("%s" if name is not None else "")
                for text, name, *_ in self.parts
            )
            names = [name for _, name, *_ in self.parts if name is not None]
            if not names:
                return [pieces % ()] * count
            return [pieces % row for row in zip(*(columns[name] for name in names), strict=True)]
        return [
            self.of_item({name: columns[name][row] for name in self.names}) for row in range(count)
        ]

    def of_item(self, values: Mapping[str, Any]) -> str:
        """Return the target of one item."""
        made: list[str] = []
        for text, name, attributes, spec, conversion in self.parts:
            made.append(text)
            if name is None:
                continue
            value = values[name]
            try:
                for attribute in attributes:
                    value = getattr(PurePath(value), attribute)
                if conversion:
                    value = _CONVERSIONS[conversion](value)
                made.append(format(value, spec))
            except (TypeError, ValueError) as error:
                raise TargetError(
                    f"{self.task}: the target {self.given!r} cannot be made of "
                    f"{name}={values[name]!r}: {error}. Change what stands in its braces."
                ) from error
        return "".join(made)

    def call(self, values: Mapping[str, Any], task: str) -> str:
        """Return what the callable says; raises `Touched` if it used what is not known yet."""
        assert callable(self.given)
        try:
            made = _call_strictly(self.given, values, task)
        except (Touched, TargetError):
            raise
        except TypeError as error:
            if "unexpected keyword" in str(error) or "missing" in str(error):
                raise TargetError(
                    f"{task}: the target callable does not fit the task's parameters "
                    f"({', '.join(values)}): {error}. Write target=lambda **kwargs: ..."
                ) from error
            raise
        except KeyError as error:
            raise unknown_key(str(error.args[0]), values, task) from error
        if not isinstance(made, str | PurePath):
            raise TargetError(
                f"{task}: the target callable returned {made!r}; a text was expected."
            )
        return str(made)


@dataclass(frozen=True)
class Outputs(Target):
    """The targets of a task with several outputs; those of one item are joined to one."""

    outputs: Mapping[str, Target] = field(default_factory=dict)

    @property
    def is_callable(self) -> bool:
        """Whether one of them has to be called for each item."""
        return any(target.is_callable for target in self.outputs.values())

    def of_column(self, columns: Mapping[str, Sequence[Any]], count: int) -> list[str]:
        """Return the joined targets of many items."""
        each = [target.of_column(columns, count) for target in self.outputs.values()]
        return [JOIN.join(files) for files in zip(*each, strict=True)]

    def of_item(self, values: Mapping[str, Any]) -> str:
        """Return the joined targets of one item."""
        return JOIN.join(target.of_item(values) for target in self.outputs.values())

    def call(self, values: Mapping[str, Any], task: str) -> str:
        """Return what templates and callables say, joined."""
        return JOIN.join(
            target.call(values, task) if target.is_callable else target.of_item(values)
            for target in self.outputs.values()
        )


def read_target(given: Any, parameters: Sequence[str], task: str) -> Target:
    """Return a target from what the task was given.

    Raises
    ------
    TargetError
        If a template names what is not a parameter, or cannot be read.
    """
    if isinstance(given, Mapping):
        odd = [name for name in given if not (isinstance(name, str) and name.isidentifier())]
        if not given or odd:
            raise TargetError(
                f"{task}: target={given!r}; a dict of names and templates was expected, such as "
                "{'mask': '{cell_id}.ome.tiff', 'props': '{cell_id}.parquet'}."
            )
        outputs = {name: read_target(one, parameters, task) for name, one in given.items()}
        used = dict.fromkeys(name for one in outputs.values() for name in one.names)
        return Outputs("", tuple(used), (), task, outputs)
    if callable(given):
        return Target(given)
    if isinstance(given, PurePath):
        given = given.as_posix()
    if not isinstance(given, str) or not given:
        raise TargetError(
            f"{task}: target={given!r}; a template such as '{{cell_id}}.ome.tiff' or a callable "
            "was expected."
        )
    parts: list[tuple[str, str | None, tuple[str, ...], str, str | None]] = []
    names: list[str] = []
    try:
        for text, field, spec, conversion in Formatter().parse(given):
            if field is None:
                parts.append((text, None, (), "", None))
                continue
            if conversion and conversion not in _CONVERSIONS:
                raise ValueError(
                    f"!{conversion} in {{{field}!{conversion}}}; one of !r, !s, !a was expected"
                )
            if "{" in (spec or ""):
                raise ValueError(f"braces in the format of {{{field}:{spec}}}")
            name, *attributes = field.split(".")
            if name not in parameters:
                raise unknown_key(name, parameters, task)
            for attribute in attributes:
                if attribute not in _ATTRIBUTES:
                    raise TargetError(
                        f"{task}: {{{field}}} in the target; after a dot, one of "
                        f"{', '.join(_ATTRIBUTES)} was expected."
                    )
            names.append(name)
            parts.append((text, name, tuple(attributes), spec or "", conversion))
    except ValueError as error:
        raise TargetError(f"{task}: the target {given!r} cannot be read: {error}.") from error
    return Target(given, tuple(dict.fromkeys(names)), tuple(parts), task)


def unknown_key(name: str, known: Any, task: str) -> TargetError:
    """Return the error for a key of a target that is no parameter."""
    return TargetError(
        f"{task}: {{{name}}} in the target is not a parameter{did_you_mean(name, known)}. "
        f"Its parameters are {', '.join(known)}."
    )


def check_targets(targets: Sequence[str], task: str, files: int = 1) -> None:
    """Raise one `TargetError` that names every kind of target that cannot be used.

    Parameters
    ----------
    files
        How many files an item has; their targets are joined to one.
    """
    if _all_plain(targets):
        return
    # What is joined of too many parts holds a control character of its own: it is left whole.
    targets = [
        part
        for target in targets
        for part in (target.split(JOIN) if target.count(JOIN) == files - 1 else [target])
    ]
    plain = _PLAIN.fullmatch
    odd = [
        target
        for target in targets
        if len(target) > 200 or not plain(target) or ".." in target or target[-1] in ". "
    ]
    problems = [(target, why) for target in odd if (why := _problem(target))]
    if problems:
        shown = "; ".join(f"{_shown(target)} {why}" for target, why in problems[:5])
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise TargetError(
            f"{task}: {len(problems)} of {len(targets)} targets cannot be used: {shown}{more}. "
            "A target is a relative path inside its place."
        )


def _all_plain(targets: Sequence[str]) -> bool:
    """Whether nothing can be wrong with any target, as one look at all of them tells."""
    joined = "\n".join(targets)
    return (
        joined.count("\n") == len(targets) - 1
        and bool(_COLUMN.fullmatch(joined))
        and max(map(len, targets)) <= 200
        and not any(odd in joined for odd in ("..", ".\n", " \n"))
        and joined[-1] not in ". "
    )


def check_case(targets: Sequence[str], task: str) -> None:
    """Raise if two targets differ only by case, for a disk that does not tell them apart."""
    seen: dict[str, str] = {}
    for target in (part for one in targets for part in one.split(JOIN)):
        other = seen.setdefault(target.casefold(), target)
        if other != target:
            raise TargetError(
                f"{task}: the targets {other!r} and {target!r} differ only by case, and this disk "
                "takes them for one file. Make them differ otherwise."
            )


def _problem(target: str) -> str:
    parts = target.split("/")
    if not target or target.endswith("/"):
        return "names no file"
    if target.startswith("/") or (len(target) > 1 and target[1] == ":"):
        return "is absolute"
    if ".." in parts:
        return "leaves its place"
    if any(part in ("", ".") for part in parts):
        return "has an empty part"
    if parts[0].casefold() == STATE:
        return f"lies in {STATE}, which is not for results"
    if "\\" in target:
        return "has a backslash"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in target):
        return "has a control character"
    for part in parts:
        try:
            length = len(part.encode("utf-8"))
        except UnicodeEncodeError:
            return "cannot be written as UTF-8"
        if length > LONGEST:
            return f"has a part of {length} bytes (at most {LONGEST})"
    return ""


def _shown(target: str) -> str:
    return repr(target if len(target) <= 60 else target[:57] + "…")


def _call_strictly(function: Any, values: Mapping[str, Any], task: str) -> Any:
    """Call ``lambda **kwargs: …`` with a mapping in which a missing key is an error.

    Python itself would make a plain dict of ``**kwargs``, whose ``get`` gives None for a misspelt
    name, and a file would be called "None". So the function is called with its ``**`` parameter as
    an ordinary one.
    """
    code = getattr(function, "__code__", None)
    if (
        code is None
        or not code.co_flags & inspect.CO_VARKEYWORDS
        or code.co_flags & inspect.CO_VARARGS
        or code.co_kwonlyargcount
    ):
        return function(**values)
    named = code.co_varnames[: code.co_argcount]
    plain = FunctionType(
        code.replace(
            co_flags=code.co_flags & ~inspect.CO_VARKEYWORDS, co_argcount=code.co_argcount + 1
        ),
        function.__globals__,
        closure=function.__closure__,
    )
    rest = _Strict({key: value for key, value in values.items() if key not in named}, task)
    defaults = function.__defaults__ or ()
    given = dict(zip(named[len(named) - len(defaults) :], defaults, strict=True))
    given.update((name, values[name]) for name in named if name in values)
    missing = [name for name in named if name not in given]
    if missing:
        raise unknown_key(missing[0], values, task)
    return plain(*(given[name] for name in named), rest)
