"""The reference names what users call, and each docstring says what they have to know."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import databacked
from databacked import errors, testing, views
from databacked.graph.step import Options as OfTask

PAGES = sorted((Path(__file__).parents[1] / "docs/reference").glob("*.rst"))
ENTRY = re.compile(r"^\.\. auto\w+:: ([\w.]+)(\(\))?((?:\n   :.*)*)$", re.MULTILINE)
OPTIONS: dict[str, Any] = {"task": OfTask, "flow": import_module("databacked.flow").Options}
"""What ``**options`` are."""

UNIT = re.compile(
    r"\b(nano)?seconds|\bbytes|\bpixels|micrometres|how (many|often|much)|\bnumber of|rows|items",
    re.IGNORECASE,
)
SHAPE = re.compile(r"\(.*Y, X.*\)|shape|axis|axes")


@dataclass(frozen=True)
class Said:
    """Something that the reference shows, and what its docstring says."""

    name: str
    doc: str
    gets: dict[str, str]
    """Annotations of parameters."""

    gives: str = ""
    """Annotation of what comes back, or of an attribute."""

    raises: frozenset[str] = frozenset()
    is_attribute: bool = False

    @cached_property
    def sections(self) -> dict[str, dict[str, str]]:
        """What each section says by name; text without a name is that of the name ''."""
        lines = self.doc.splitlines()
        heads = [n for n, (_, below) in enumerate(pairwise(lines)) if re.fullmatch("-{3,}", below)]
        return {
            lines[start]: _by_name(lines[start + 2 : end])
            for start, end in pairwise([*heads, len(lines)])
        }

    def problems(self) -> Iterator[str]:
        """Yield what is missing."""
        said = self.sections.get("Parameters", {})
        if not self.doc.strip():
            yield "has no docstring"
        if list(said) != list(self.gets):
            yield f"takes {[*self.gets]}, and describes {[*said]}"
        for name, text in [*said.items(), ("", self.doc if self.is_attribute else "")]:
            annotation = self.gets.get(name, "") if name else self.gives
            if name and not text:
                yield f"{name} has no description"
            number = re.search(r"\b(int|float)\b", annotation.partition("Callable")[0])
            if number and text and not UNIT.search(text):
                yield f"{name}: {annotation} without a unit, or what is counted"
            if "ndarray" in annotation and text and not SHAPE.search(text):
                yield f"{name}: an array without its axes"
        if not self.is_attribute:
            given = self.gives.startswith(("None", "NoReturn")) or not self.gives
            if not given and not {"Returns", "Yields"} & self.sections.keys():
                yield f"returns {self.gives}, and does not say so"
            text = " ".join(self.sections.get("Returns", {}).values())
            if re.search(r"ndarray|\bArray\b", self.gives) and not SHAPE.search(text):
                yield "returns an array without its axes"
        if missing := self.raises - {*self.sections.get("Raises", ())}:
            yield f"raises {', '.join(sorted(missing))}, and does not say so"


def _by_name(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    names = [""]
    for line in lines:
        if line and not line.startswith(" "):
            names = [name.strip(" *") for name in line.partition(" : ")[0].split(",")]
            found |= dict.fromkeys(names, "")
        else:
            found |= {name: f"{found.get(name, '')} {line.strip()}".strip() for name in names}
    return found


def _shown() -> Iterator[tuple[str, Any, bool, dict[str, str]]]:
    """Yield what the pages show: path, thing, whether users make it, options of the directive."""
    for page in PAGES:
        for path, bare, given in ENTRY.findall(page.read_text(encoding="utf-8")):
            module, _, name = path.rpartition(".")
            thing = getattr(import_module(module), name)
            yield path, thing, not bare, dict(re.findall(r":([\w-]+): ?(.*)", given))


def _all_said() -> Iterator[Said]:
    for path, thing, is_made, options in _shown():
        if not inspect.isclass(thing):
            yield _of_function(path, thing)
            continue
        yield _of_class(path, thing, is_made)
        if "members" not in options:
            continue
        hidden = {*re.split(r"[, ]+", options.get("exclude-members", ""))}
        kinds = [thing]
        if "inherited-members" in options:
            ours = [one for one in thing.__mro__ if one.__module__.startswith("databacked.")]
            kinds = [one for one in ours if one.__name__ != options["inherited-members"]]
        for kind in kinds:
            for name, member in _members(kind).items():
                if name not in hidden:
                    yield from _of_member(f"{path}.{name}", kind, name, member)


def _members(kind: type) -> dict[str, Any]:
    names = {**kind.__annotations__, **vars(kind)}
    return {name: vars(kind).get(name) for name in names if not name.startswith("_")}


def _of_function(path: str, function: Any) -> Said:
    function = inspect.unwrap(getattr(function, "_fixture_function", function))
    name = path.rpartition(".")[2]
    found = inspect.signature(function)
    gets = {
        one.name: str(one.annotation) for one in found.parameters.values() if one.name != "self"
    }
    if path in ("databacked.task", "databacked.flow"):
        gets = {"function": "", **{one.name: str(one.type) for one in fields(OPTIONS[name])}}
    elif path.endswith("databacked_project"):
        gets = {}  # what pytest gives it
    if path.endswith(".with_options"):
        gets = {"changed": ""}
    return Said(
        path,
        inspect.getdoc(function) or "",
        gets,
        str("" if found.return_annotation is found.empty else found.return_annotation),
        _raised(function),
    )


def _of_class(path: str, kind: Any, is_made: bool) -> Said:
    gets = {}
    if is_made and path.count(".") == 1:  # of others the fields say what they are
        found = inspect.signature(kind).parameters
        gets = {name: str(one.annotation) for name, one in found.items()}
    checks = [vars(kind)[name] for name in ("__init__", "__post_init__") if name in vars(kind)]
    raised = {name for check in checks if is_made for name in _raised(check)}
    return Said(path, inspect.getdoc(kind) or "", gets, raises=frozenset(raised))


def _of_member(path: str, kind: type, name: str, member: Any) -> Iterator[Said]:
    if isinstance(member, property | functools.cached_property):
        function: Any = member.fget if isinstance(member, property) else member.func
        said = _of_function(path, function)
        yield Said(path, said.doc, {}, said.gives, said.raises, is_attribute=True)
    elif callable(member) or isinstance(member, staticmethod | classmethod):
        yield _of_function(path, getattr(kind, name))
    else:
        annotation = str(kind.__annotations__.get(name, ""))
        described = _of_class(kind.__name__, kind, False).sections.get("Parameters", {})
        if name not in described:
            yield Said(path, _fields(kind).get(name, ""), {}, annotation, is_attribute=True)


def _fields(kind: type) -> dict[str, str]:
    """Return the text below each field of a class."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    return {
        ast.unparse(one.target if isinstance(one, ast.AnnAssign) else one.targets[0]): str(
            ast.literal_eval(text.value)
        )
        for one, text in pairwise(tree.body)
        if isinstance(one, ast.AnnAssign | ast.Assign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def _raised(function: Any) -> frozenset[str]:
    """Return names of the errors that a function raises itself."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):  # what a dataclass makes of itself
        return frozenset()
    calls = [one.exc for one in ast.walk(tree) if isinstance(one, ast.Raise)]
    names = {ast.unparse(call.func) for call in calls if isinstance(call, ast.Call)}
    return frozenset(names - {"NotImplementedError", "AttributeError"})


ALL = {said.name: said for said in _all_said()}


@pytest.mark.parametrize("said", ALL.values(), ids=ALL)
def test_a_docstring_says_what_users_have_to_know(said):
    """Each parameter, what comes back and in which shape and unit, and what is raised."""
    assert not list(said.problems())


def test_the_reference_shows_every_public_name():
    """Those of the package, of its doors for tests and notebooks, and every error."""
    shown = {path for path, *_ in _shown()}
    public = {f"databacked.{name}" for name in databacked.__all__}
    for module in (testing, views):
        public |= {f"{module.__name__}.{name}" for name in module.__all__}
    assert public - shown == set()
    known = {path.rpartition(".")[2] for path in shown}
    own = {n for n, one in vars(errors).items() if isinstance(one, type) and "Error" in n}
    assert own - known == set()


@pytest.mark.parametrize("name", OPTIONS)
def test_the_docstrings_of_the_doors_name_each_default(name):
    """`help(task)` shows no more than ``**options`` otherwise."""
    doc = ALL[f"databacked.{name}"].doc
    for one in fields(OPTIONS[name]):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        [kind] = re.findall(rf"^(?:\w+, )*{one.name}(?:, \w+)* : (.*)$", doc, re.MULTILINE)
        assert kind.endswith(("optional", f"default {default!r}")), one.name
        assert default in (None, (), {}) or "default" in kind, one.name
