"""What the items of a node count by, and what lies at their targets.

Everything about a node that needs no scheduling: its specification for the workers, the tokens of
its arguments, recipes, targets and whose the files there are. Done for whole columns at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from databacked.callables import file_of, written
from databacked.errors import FingerprintError, TargetError, UnknownFilesError
from databacked.fingerprint.code import CodeFingerprint, code_fingerprint
from databacked.fingerprint.files import file_token, file_tokens, known_file_tokens
from databacked.fingerprint.parameters import token as token_of_value
from databacked.fingerprint.parameters import tokens as tokens_of_values
from databacked.fingerprint.urls import is_url
from databacked.graph import (
    UNLOOKED,
    Arg,
    Column,
    Dynamic,
    Element,
    Future,
    Items,
    Nested,
    NestedColumn,
    Node,
    Plain,
    replace_futures,
)
from databacked.hashes import hash_texts
from databacked.item import OF_TASK, Spec, token_of_filled, token_of_list, with_keys
from databacked.known import holds_unknown
from databacked.notebook import is_cell, notebook_name
from databacked.outputs import BoundOutputs
from databacked.owners import Owner, owner_of
from databacked.project import STATE, Project, lies_in, same_folder
from databacked.records import Records, context_of
from databacked.result import Bound, LocalResult
from databacked.stats import JOIN, Stat
from databacked.step import Step
from databacked.target import Outputs, Target, check_case, check_targets
from databacked.types import Json, Unlooked

RULES = 1
"""Version of how recipes are made; a record made by other rules is checked by its parts."""

FAILED_TOKEN = "x:failed"

ITS_FILE = " (its file)"
"""What follows the name of a symbol that counts by the content of a file."""


@dataclass
class Plan:
    """What is known of a node's items besides their state."""

    spec: Spec
    bound: Bound | None
    columns: dict[str, list[str | None] | str | None]
    """Token of each parameter: one for all items, or one an item; None for what is not known."""

    missing: list[int]
    """How many inputs of each item that come from tasks have no token yet."""

    wanted: bytearray
    """Items whose value somebody waits for."""

    unread: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Parameters of items that name files nobody read yet: what they count by is not known."""

    wanted_open: int = 0
    """How many of these are neither there nor gone."""

    nested_missing: int = 0
    """How many futures in arguments that are the same for all items have no token yet."""

    nested_open: set[tuple[int, int]] | None = None
    """Which of these (node, row) are not there yet; None before anybody asked."""

    nested_sources: dict[str, Any] = field(default_factory=dict)
    """Arguments that are the same for all items, as they are sent to workers."""

    found: dict[int, Any] = field(default_factory=dict)
    """What lies at the targets of items that are to be made."""

    failures: dict[int, Any] = field(default_factory=dict)
    pinned: set[int] = field(default_factory=set)
    """Items that are not kept but whose value is held until the run ends."""

    learned: bool = False

    def row_tokens(self, row: int) -> list[str | None]:
        """Return the token of each parameter of an item, in the order of the recipe."""
        tokens: list[str | None] = []
        for name in self.spec.order:
            column = self.columns[name]
            tokens.append(column[row] if isinstance(column, list) else column)
        return tokens


class Fingerprints:
    """Code, results and contexts of the tasks of one run, each looked at once."""

    def __init__(self, project: Project, run: str) -> None:
        self.project = project
        self.run = run
        self._codes: dict[int, tuple[Any, CodeFingerprint]] = {}
        self._bounds: dict[Any, tuple[Any, Bound]] = {}

    @cached_property
    def _owner(self) -> Owner:
        """The project, as the owner of its tasks: looked up once a run."""
        return owner_of("", self.project.root)

    def code(self, function: Any) -> CodeFingerprint:
        """Return the code fingerprint of a function or class."""
        known = self._codes.get(id(function))
        if known is None:
            found = code_fingerprint(function, root=self.project.root, own=self.project.own)
            # By identity: what is equal (methods, callable objects) need not have the same code.
            known = self._codes[id(function)] = function, found
        return known[1]

    def bound(self, task: Step) -> Bound | None:
        """Return where a task's values go; None if they are not kept."""
        result = task.options.result
        if result is None:
            if task.target is None:
                return None
            result = LocalResult(self.project.place)
        outputs = task.target.outputs if isinstance(task.target, Outputs) else {}
        key = (id(result), tuple((name, one.ending) for name, one in outputs.items()))
        found = self._bounds.get(key)
        if found is None:
            bound = self._bind(task, result, outputs)
            found = self._bounds[key] = (result, bound)
            self._check_places(task.name, bound.folder)
        bound = found[1]
        return replace(bound, always=True) if task.options.location is not None else bound

    def _bind(self, task: Step, result: Any, outputs: Mapping[str, Target]) -> Bound:
        def code_of(kind: type) -> str:
            return self.code(kind).digest

        if not outputs:
            return result.bind(self.project, code_of)  # type: ignore[no-any-return]
        if not isinstance(result, LocalResult):
            raise TargetError(
                f"{task.name}: {type(result).__name__} does not take several outputs "
                f"({', '.join(outputs)})."
            )
        endings = {name: one.ending for name, one in outputs.items()}
        parts = result.bind_outputs(self.project, code_of, endings)
        first = next(iter(parts.values()))
        says = {"outputs": {name: dict(part.says) for name, part in parts.items()}}
        return BoundOutputs(
            first.folder, first.serializer, says, result, root=self.project.root, parts=parts
        )

    def _check_places(self, name: str, folder: Path) -> None:
        """Raise if two places are one folder, or lie in one another: whose would a file be?"""
        places = [bound.folder for _, bound in self._bounds.values()]
        above = dict.fromkeys((*folder.parents, *Path(os.path.realpath(folder)).parents))
        places += [one for one in above if os.path.isdir(one / STATE / "journals")]
        for other in dict.fromkeys(places):
            if folder == other:
                continue
            if same_folder(folder, other):
                raise TargetError(
                    f"{name}: the places {folder} and {other} are one and the same folder. Name it "
                    "in one way, or give each its own folder."
                )
            if any(lies_in(*pair) for pair in ((folder, other), (other, folder))):
                raise TargetError(
                    f"{name}: the places {folder} and {other} lie inside one another. Give each "
                    "its own folder, side by side."
                )

    def spec(self, node: Node, bound: Bound | None, inputs: Iterable[str]) -> Spec:
        """Return what all items of a node share, as it is sent to workers."""
        task = node.task
        code = self.code(task.fn)
        files = file_tokens([str(path) for path in code.paths.values()])
        further = self._reads(task)
        digest = hash_texts(
            [
                code.digest,
                *(files[str(path)] for path in code.paths.values()),
                *(f"{name}={token}" for name, token in sorted(further.items())),
                *((task.name,) if task.draws else ()),  # its generator is seeded from its name
            ]
        )
        named = {f"{name}{ITS_FILE}": files[str(path)] for name, path in code.paths.items()}
        symbols = {**code.symbols, **named, **further}
        owner = replace(self._owner, task=symbol_of(task.fn, self.project.root))
        folder = self.project.state / "values" if bound is None else bound.folder
        fields: dict[str, Json] = {
            **owner.said(folder),
            "code": digest,
            "symbols": dict(symbols),
            "values": dict(code.values),
            "serializer": None if bound is None else dict(bound.says),
            "packages": dict(code.packages),
            "opaque": list(code.opaque),
            "run": self.run,
        }
        order = tuple(sorted(node.args))
        is_kept = bound is not None or task.options.keep
        plain = {name: arg.value for name, arg in node.args.items() if isinstance(arg, Plain)}
        base = hash_texts(
            [
                f"rules {RULES}",
                digest,
                "" if bound is None else bound.fingerprint,
                *order,
                *(() if task.options.pure or is_kept else (f"run {self.run}",)),
            ]
        )
        return Spec(
            id=node.id,
            name=task.name,
            owner=owner,
            function=task.fn,
            order=order,
            positional=task.positional,
            plain=plain,
            columns=tuple(name for name in node.args if name not in plain),
            arrives={name: kind for name, kind in task.arrives.items() if kind != "text"},
            inputs=frozenset(inputs),
            base=base,
            bound=bound,
            fields=fields,
            context=context_of(fields),
            run=self.run,
            retries=int(task.options.retries),
            retry_delay=float(task.options.retry_delay),
            shared=is_shared(node),
            marks=task.options.failed == "mark" or getattr(task.options.result, "marks", False),
            checks=large_arguments(node),
            hashed=frozenset(
                name
                for name, arg in node.args.items()
                if isinstance(arg, Column) and arg.token is not None
            ),
            root=str(self.project.root),
            pure=task.options.pure or is_kept,
            remembers=task.options.keep,
            draws=task.draws and "rng" not in node.args,
            how=self.how(task),
            modules=code.modules,
            reads=tuple(
                [(str(path), files[str(path)], "sampled") for path in code.paths.values()]
                + [
                    (
                        str(self.project.resolve(name.removesuffix(ITS_FILE))),
                        said,
                        self.how(task),
                    )
                    for name, said in further.items()
                    if name.endswith(ITS_FILE)
                ]
            ),
        )

    def how(self, task: Step) -> str:
        """Return how the input files of a task count."""
        return task.options.inputs or self.project.inputs

    def _reads(self, task: Step) -> dict[str, str]:
        """Return what further files and environment variables of a task count by."""
        found: dict[str, str] = {}
        missing: list[str] = []
        for one in task.options.reads:
            text = os.fspath(one)
            if text.startswith("$"):
                found[text] = str(token_of_value(os.environ.get(text[1:])))
                continue
            path = self.project.resolve(text)
            if not path.exists():
                missing.append(f"{text!r} is not there (below {self.project.root})")
            else:
                found[f"{text}{ITS_FILE}"] = file_token(str(path), self.how(task))
        if missing:
            raise FingerprintError(f"{task.name}: reads= names files, and {'; '.join(missing)}.")
        return found


def symbol_of(function: Any, root: Path) -> str:
    """Return the name that records know a task by: file below the project root, and name."""
    function = written(function)
    qualname = str(getattr(function, "__qualname__", type(function).__qualname__))
    file = file_of(function)
    if not file or is_cell(file):
        return f"{notebook_name(root)}:{qualname}"
    try:
        return f"{Path(file).resolve().relative_to(root.resolve()).as_posix()}:{qualname}"
    except ValueError:
        return f"{function.__module__}:{qualname}"


def is_shared(node: Node) -> bool:
    """Whether a value of a node has more than one reader; a retry is one."""
    if len(node.readers) > 1:
        return True
    for reader, param in node.readers:
        arg = reader.args.get(param)
        if reader.task.options.retries or isinstance(arg, Element):
            return True
        if isinstance(arg, Items):
            if arg.picks is not None and len(set(arg.picks)) < len(arg.picks):
                return True
        elif reader.n > 1 or not isinstance(arg, Nested):
            return True
    return False


# ---------------------------------------------------------------- inputs of an item


def locate(future: Future) -> list[tuple[Node, int]]:
    """Return the items that a future stands for: one, or all of a map."""
    node = future.node
    if future.index is not None:
        return [(node, future.index)] if isinstance(node, Node) else [node.at(future.index)]
    if isinstance(node, Node):
        return [(node, row) for row in range(node.n)]
    return [node.at(index) for index in range(node.length())]


def incomplete(node: Node) -> list[Dynamic]:
    """Return the dynamic maps that must be complete before a node's arguments are known."""
    found: list[Dynamic] = []
    for arg in node.args.values():
        refs: list[Future] = []
        if isinstance(arg, Nested):
            refs = arg.refs
        elif isinstance(arg, NestedColumn):
            refs = [future for row in arg.refs for future in row]
        found += [
            ref.node for ref in refs if isinstance(ref.node, Dynamic) and not ref.node.complete
        ]
    return found


def row_inputs(node: Node, row: int) -> Iterator[tuple[Node, int]]:
    """Yield the items that one item reads, besides those that all items of its node read."""
    for arg in node.args.values():
        if isinstance(arg, Items):
            yield arg.node, arg.pick(row)
        elif isinstance(arg, Element):
            if holds_unknown(arg.known[row]):
                yield arg.node, arg.index
        elif isinstance(arg, NestedColumn):
            for future in arg.refs[row]:
                yield from locate(future)


def nested_inputs(node: Node) -> Iterator[tuple[Node, int]]:
    """Yield the items that all items of a node read."""
    for arg in node.args.values():
        if isinstance(arg, Nested):
            for future in arg.refs:
                yield from locate(future)


def rows_reading(
    reader: Node, param: str, arg: Arg, upstream: Node, upstream_row: int
) -> Sequence[int]:
    """Return the items that read one item of another node through an argument of a map."""
    if isinstance(arg, Items):
        return reader.readers_of(param, upstream_row, arg)
    if isinstance(arg, Element) and arg.index == upstream_row:
        return [row for row in range(reader.n) if holds_unknown(arg.known[row])]
    if isinstance(arg, NestedColumn):
        rows = reader.rows.get(param)
        if rows is None:
            rows = reader.rows[param] = {}
            for row, futures in enumerate(arg.refs):
                for item in dict.fromkeys(item for one in futures for item in locate(one)):
                    rows.setdefault(item, []).append(row)
        return rows.get((upstream, upstream_row), ())
    return ()


# ---------------------------------------------------------------- tokens


def token_of_future(future: Future, marks: bool, gone: Callable[[Node, int], bool]) -> str | None:
    """Return what a future counts by; None if it is not known yet."""
    if future.index is not None:
        return token_of_item(*locate(future)[0], future.keys, marks, gone)
    tokens = [token_of_item(node, row, future.keys, marks, gone) for node, row in locate(future)]
    return None if None in tokens else token_of_list(tokens)  # type: ignore[arg-type]


def token_of_item(
    node: Node, row: int, keys: tuple[Any, ...], marks: bool, gone: Callable[[Node, int], bool]
) -> str | None:
    """Return what an item, or a part of it, counts by; None if it is not known yet."""
    if marks and gone(node, row):
        return FAILED_TOKEN
    token = node.token[row]
    return None if token is None else with_keys(token, keys)


def token_of_nested(
    value: Any,
    refs: Sequence[Future],
    marks: bool,
    gone: Callable[[Node, int], bool],
    root: str | Path,
) -> str | None:
    """Return the token of a value that holds futures."""
    if len(refs) == 1 and type(value) is Future:
        return token_of_future(refs[0], marks, gone)
    unknown = False

    def known(future: Future) -> Any:
        nonlocal unknown
        token = token_of_future(future, marks, gone)
        unknown = unknown or token is None
        return OF_TASK, token

    filled = replace_futures(value, known)
    return None if unknown else token_of_filled(filled, root)


def element_token(arg: Element, row: int, root: Path) -> str | None:
    """Return what an element counts by: its content when small, else its place."""
    known = arg.known[row]
    if not holds_unknown(known):
        return _value_token(known, "element", root)
    above = arg.node.token[arg.index]
    return None if above is None else with_keys(above, (*arg.keys, row))


def plain_tokens(
    node: Node, files: Mapping[str, bool], root: Path, how: str, odd: dict[int, Exception]
) -> dict[str, Any]:
    """Return the tokens of all arguments of a node that hold no futures.

    A file that would have to be read has none yet: None, one an item.

    Parameters
    ----------
    odd
        Takes the items of which a value cannot be looked at, and why; the others go on.
    """
    found: dict[str, Any] = {}
    for name, arg in node.args.items():
        where = f"{node.name}: the argument {name!r}"
        if isinstance(arg, Plain | Column) and arg.token is not None:
            found[name] = arg.token
            if isinstance(arg, Column):
                _note_unlooked(arg.values, where, odd)
        elif isinstance(arg, Plain):
            if files.get(name):
                (token,) = _file_tokens([arg.value], how)
                found[name] = [None] * node.n if token is None else token
            else:
                found[name] = _value_token(arg.value, where, root)
        elif isinstance(arg, Column):
            found[name] = (
                _file_tokens(arg.values, how)
                if files.get(name)
                else _value_tokens(arg.values, where, root, odd)
            )
    return found


def _value_token(value: Any, where: str, root: Path | None = None) -> str:
    if type(value).__name__ == "BackedArray":
        return f"c:{value.content}"
    try:
        return str(token_of_value(value, root))
    except FingerprintError as error:
        raise FingerprintError(f"{where}: {error}") from None


def _value_tokens(
    values: Sequence[Any], where: str, root: Path, odd: dict[int, Exception]
) -> list[str]:
    if not {type(value).__name__ for value in values} & {"BackedArray", "Unlooked"}:
        try:
            return list(tokens_of_values(values, root))
        except FingerprintError:
            pass  # one by one: which is it?
    _note_unlooked(values, where, odd)
    found: list[str] = []
    for row, value in enumerate(values):
        token = UNLOOKED
        try:
            if type(value) is not Unlooked:
                token = _value_token(value, f"{where} of item {row}", root)
        except FingerprintError as error:
            odd.setdefault(row, error)
        found.append(token)
    return found


def _note_unlooked(values: Sequence[Any], where: str, odd: dict[int, Exception]) -> None:
    for row, value in enumerate(values):
        if type(value) is Unlooked:
            odd.setdefault(row, FingerprintError(f"{where} of item {row}: {value.error}"))


def _file_tokens(values: Sequence[Any], how: str) -> list[str | None]:
    paths = [os.fspath(value) for value in values if isinstance(value, str | PurePath)]
    tokens = known_file_tokens(paths, how)
    return [
        tokens[os.fspath(value)]
        if isinstance(value, str | PurePath)
        else str(token_of_value(value))
        for value in values
    ]


def unread(node: Node, columns: Mapping[str, Any], files: Mapping[str, bool]) -> dict[int, Any]:
    """Return for each item the parameters whose files nobody read yet."""
    found: dict[int, tuple[str, ...]] = {}
    for name in files:
        column = columns.get(name)
        if files[name] and isinstance(column, list):
            for row, token in enumerate(column):
                if token is None:
                    found[row] = (*found.get(row, ()), name)
    return found


def path_of(node: Node, name: str, row: int) -> str:
    """Return the file that a parameter of an item names."""
    arg = node.args[name]
    value = arg.values[row] if isinstance(arg, Column) else arg.value  # type: ignore[union-attr]
    return str(os.fspath(value))


def file_parameters(node: Node) -> dict[str, bool]:
    """Say which parameters name files: decided once a parameter, not once an item.

    One annotated as a path, one that gets ``Path`` values, or an unannotated one of which a text
    contains a separator or a suffix and names an existing file or folder.
    """
    found: dict[str, bool] = {}
    arrives = node.task.arrives
    for name, arg in node.args.items():
        kind = arrives.get(name)
        if kind == "text":
            continue
        values = arg.values if isinstance(arg, Column) else [getattr(arg, "value", None)]
        if kind == "path" or any(isinstance(value, PurePath) for value in values[:1]):
            found[name] = isinstance(arg, Column | Plain)
        elif isinstance(arg, Column | Plain) and isinstance(values[0] if values else None, str):
            texts = dict.fromkeys(value for value in values if isinstance(value, str))
            found[name] = any(_names_file(text) for text in texts)
    return found


def _names_file(text: str) -> bool:
    if is_url(text):
        return True
    looks = "/" in text or os.sep in text or "." in text[1:]
    if not looks or len(text) >= 4096 or "\0" in text:
        return False
    return os.path.isfile(text) or os.path.isdir(text)  # the name of a device is a text


def large_arguments(node: Node) -> tuple[tuple[str, str], ...]:
    """Return arguments hashed at the call with their hash: they are hashed again before use."""
    return tuple(
        (name, arg.token)
        for name, arg in node.args.items()
        if isinstance(arg, Plain) and arg.token is not None
    )


def recipes_of(plan: Plan, n: int) -> list[str | None]:
    """Return the recipes of all items; None for those of which an input is not known yet."""
    if plan.nested_missing or any(column is None for column in plan.columns.values()):
        return [None] * n
    columns: list[Any] = []
    for name in plan.spec.order:
        column = plan.columns[name]
        columns.append(column if isinstance(column, list) else [column] * n)
    recipe = plan.spec.recipe
    if not columns:
        return [recipe(())] * n
    if not any(plan.missing) and not plan.unread:
        return [recipe(row) for row in zip(*columns, strict=True)]
    return [
        None if missing or index in plan.unread else recipe(row)
        for index, (missing, row) in enumerate(
            zip(plan.missing, zip(*columns, strict=True), strict=True)
        )
    ]


# ---------------------------------------------------------------- targets


def targets_of(node: Node, target: Target, fields: Mapping[str, Arg]) -> list[str] | None:
    """Return the targets of all items from their plain arguments; None if some are not plain."""
    columns: dict[str, Sequence[Any]] = {}
    for name in target.names:
        arg = fields[name]
        if isinstance(arg, Plain):
            columns[name] = _Repeated(arg.value, node.n)
        elif isinstance(arg, Column):
            columns[name] = arg.values
        elif isinstance(arg, Element) and not any(holds_unknown(item) for item in arg.known):
            columns[name] = arg.known
        else:
            return None
    return target.of_column(columns, node.n)


def floats_in_names(node: Node, target: Target) -> list[str]:
    """Return in words which columns put whole numbers as floats into targets (``1.0.ome.tiff``)."""
    found: list[str] = []
    for part in target.outputs.values() if isinstance(target, Outputs) else (target,):
        for _, name, attributes, spec, conversion in part.parts:
            arg = None if name is None else node.args.get(name)
            if not isinstance(arg, Column) or attributes or spec or conversion:
                continue
            odd = [
                value
                for value in arg.values
                if isinstance(value, float) and (value != value or value.is_integer())
            ]
            if odd:
                found.append(
                    f"{name} in the target holds floats, such as {odd[0]!r}: a column of whole "
                    "numbers becomes float through a missing value. Drop these rows, or use "
                    f"{name}.astype('Int64')"
                )
    return list(dict.fromkeys(found))


class _Repeated(Sequence[Any]):
    def __init__(self, value: Any, count: int) -> None:
        self._value, self._count = value, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and 0 <= index < self._count:
            return self._value
        raise IndexError(index)


def check_legal(targets: Sequence[str], bound: Bound, name: str) -> None:
    """Raise for targets that cannot be files of this place."""
    check_targets(targets, name, bound.files)
    odd = [
        (file, part.serializer)
        for target in targets
        for file, part in bound.endings(target)
        if not file.lower().endswith(part.serializer.suffixes)
    ]
    if odd:
        first, serializer = odd[0]
        raise TargetError(
            f"{name}: {len(odd)} of {len(targets)} targets, for example {first!r}, do not end as "
            f"{type(serializer).__name__} writes files: {', '.join(serializer.suffixes)}. Change "
            "target= or the result's serializer."
        )
    if bound.storage.ignores_case():
        check_case(list(dict.fromkeys(targets)), name)


def refuse_unknown(node: Node, bound: Bound, records: Records, stats: Mapping[str, Stat]) -> None:
    """Raise if a place holds files at the targets but no journal says who made them."""
    if not stats or records.known or bound.options.when_unknown != "stop":
        return
    shown = ", ".join(sorted(stats)[:3]).replace(JOIN, " + ")
    raise UnknownFilesError(
        f"{node.name}: {bound.folder} holds {len(stats):,} of its targets already ({shown}…), and "
        "no record says what made them. Say LocalResult(…, when_unknown='accept') to use them as "
        "they are, or 'replace' to move them aside and make them again."
    )
