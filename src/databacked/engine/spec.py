"""What all items of a node share: code, places and context, each looked at once a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from databacked.callables import file_of, written
from databacked.errors import FingerprintError, GraphError, TargetError, did_you_mean
from databacked.fingerprint.code import CodeFingerprint, code_fingerprint
from databacked.fingerprint.files import file_token, file_tokens
from databacked.fingerprint.hashes import hash_texts
from databacked.fingerprint.parameters import token as token_of_value
from databacked.graph.calls import Graph
from databacked.graph.inputs import Column, Element, Filled, Items, Plain
from databacked.graph.nodes import Node
from databacked.graph.step import Step
from databacked.graph.target import Outputs
from databacked.places.place import Place
from databacked.project.folders import STATE, lies_in, same_folder
from databacked.project.notebook import is_cell, notebook_name
from databacked.project.root import Project
from databacked.records.book import records_of
from databacked.records.owners import Owner, owner_of
from databacked.records.record import context_of
from databacked.types import Json
from databacked.worker.messages import Spec

RULES = 1
"""Version of how recipes are made; a record made by other rules is checked by its parts."""


ITS_FILE = " (its file)"
"""What follows the name of a symbol that counts by the content of a file."""


def as_recorded(
    contexts: Iterable[Mapping[str, Any]], symbols: Mapping[str, str], digest: str, rules: int
) -> tuple[str, int]:
    """Return the digest of code, and the version of its rules, as records know it.

    Where the rules changed since, and each symbol is the same by the old ones and the new ones, the
    code is: then the old digest stays, so that nothing is made again.
    """
    for context in contexts:
        said = context.get("rules", 0)
        if said != rules and context.get("symbols") == symbols and "code" in context:
            return context["code"], said
    return digest, rules


@dataclass(frozen=True)
class _Common:
    """What all nodes of a task share."""

    owner: Owner
    digest: str
    """What its code counts by, with the files and variables that it reads."""

    fields: Mapping[str, Any]
    context: str
    reads: tuple[tuple[str, str, str], ...]
    modules: frozenset[str]


class Specs:
    """Code, results and contexts of the tasks of one run, each looked at once."""

    def __init__(
        self,
        project: Project,
        run: str,
        default: Any,
        force: frozenset[str] = frozenset(),
        *,
        reads_only: bool = False,
    ) -> None:
        self.project = project
        self.default = default
        """The result of tasks that have only a target."""
        self.run = run
        self.force = force
        """Tasks whose items are made again, by name."""
        self._reads_only = reads_only
        self._codes: dict[int, tuple[Any, CodeFingerprint]] = {}
        self._places: dict[Any, tuple[Any, Place]] = {}
        self._tasks: dict[int, tuple[Step, _Common]] = {}
        self._contexts: dict[tuple[Any, ...], str] = {}
        self._root = str(project.root)

    @cached_property
    def _owner(self) -> Owner:
        """The project, as the owner of its tasks: looked up once a run."""
        return owner_of("", self.project.root, reads_only=self._reads_only)

    def code(self, function: Any) -> CodeFingerprint:
        """Return the code fingerprint of a function or class."""
        known = self._codes.get(id(function))
        if known is None:
            found = code_fingerprint(function, root=self.project.root, own=self.project.own)
            # By identity: what is equal (methods, callable objects) need not have the same code.
            known = self._codes[id(function)] = function, found
        return known[1]

    def place(self, task: Step) -> Place | None:
        """Return where a task's values go; None if they are not kept."""
        result = task.options.result
        if result is None:
            if task.target is None:
                return None
            result = self.default
        outputs = task.target.outputs if isinstance(task.target, Outputs) else {}
        key = (id(result), tuple((name, one.ending) for name, one in outputs.items()))
        found = self._places.get(key)
        if found is None:
            endings = {name: one.ending for name, one in outputs.items()}
            place = result.bind(self.project, lambda kind: self.code(kind).digest, endings)
            found = self._places[key] = (result, place)
            self._check_places(task.name, place.folder)
        place = found[1]
        if task.options.location is None:
            return place
        return replace(place, rules=replace(place.rules, always=True))

    def _check_places(self, name: str, folder: Path) -> None:
        """Raise if two places are one folder, or lie in one another: whose would a file be?"""
        places = [place.folder for _, place in self._places.values()]
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

    def spec(self, node: Node, place: Place | None, inputs: Iterable[str]) -> Spec:
        """Return what all items of a node share, as it is sent to workers."""
        task = node.task
        common = self._common(task, place)
        fields, context = common.fields, common.context
        if place is not None and (above := self._above(node)):
            fields = {**fields, "above": above}
            said = (id(task), *((name, code["code"]) for name, code in above.items()))
            context = self._contexts.get(said) or self._contexts.setdefault(
                said, context_of(fields)
            )
        order = tuple(sorted(node.args))
        is_kept = place is not None or task.options.keep
        plain = {name: arg.value for name, arg in node.args.items() if isinstance(arg, Plain)}
        base = hash_texts(
            [
                f"rules {RULES}",
                common.digest,
                "" if place is None else place.fingerprint,
                *order,
                *(() if task.options.pure or is_kept else (f"run {self.run}",)),
            ]
        )
        return Spec(
            id=node.id,
            name=task.name,
            owner=common.owner,
            function=task.fn,
            order=order,
            positional=task.positional,
            plain=plain,
            columns=tuple(name for name in node.args if name not in plain),
            arrives={name: kind for name, kind in task.arrives.items() if kind != "text"},
            inputs=frozenset(inputs),
            base=base,
            place=place,
            fields=fields,
            context=context,
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
            root=self._root,
            pure=task.options.pure or is_kept,
            remembers=task.options.keep,
            draws=task.draws and "rng" not in node.args,
            how=self.how(task),
            modules=common.modules,
            reads=common.reads,
            forced=task.name in self.force,
        )

    def _common(self, task: Step, place: Place | None) -> _Common:
        """Return what all nodes of a task share: looked at once a run."""
        known = self._tasks.get(id(task))
        if known is None:
            known = self._tasks[id(task)] = task, self._of_task(task, place)
        return known[1]

    def _above(self, node: Node) -> dict[str, dict[str, Json]]:
        """Return the code of tasks that are not kept and whose values a node is made from.

        Their recipes stand in its records as a hash: this says in words what changed.
        """
        found: dict[str, dict[str, Json]] = {}
        seen: set[int] = set()
        todo: list[Any] = [one for arg in node.args.values() for one in arg.nodes()]
        while todo:
            one = todo.pop()
            if id(one) in seen:
                continue
            seen.add(id(one))
            if not isinstance(one, Node):  # all blocks of a map are made from the same tasks
                todo += [block for block in one.blocks if block is not None][:1]
                continue
            task = one.task
            if task.options.keep or self.place(task) is not None:
                continue
            code = self._common(task, None).fields
            found[task.name] = {name: code[name] for name in ("code", "symbols", "values")}
            todo += [below for arg in one.args.values() for below in arg.nodes()]
        return dict(sorted(found.items()))

    def _of_task(self, task: Step, place: Place | None) -> _Common:
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
        rules = code.rules
        if place is not None or task.options.keep:
            folder = self.project.state / "values" if place is None else place.folder
            records = records_of(folder).contexts.values()
            digest, rules = as_recorded(records, symbols, digest, rules)
        folder = self.project.state / "values" if place is None else place.folder
        fields: dict[str, Json] = {
            **owner.said(folder),
            "code": digest,
            "rules": rules,
            "symbols": dict(symbols),
            "values": dict(code.values),
            "serializer": None if place is None else dict(place.format.settings()),
            "packages": dict(code.packages),
            "opaque": list(code.opaque),
            "run": self.run,
        }
        named_files = [
            (str(self.project.resolve(name.removesuffix(ITS_FILE))), said, self.how(task))
            for name, said in further.items()
            if name.endswith(ITS_FILE)
        ]
        sampled = [(str(path), files[str(path)], "sampled") for path in code.paths.values()]
        return _Common(
            owner, digest, fields, context_of(fields), (*sampled, *named_files), code.modules
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


def check_forced(names: frozenset[str], graph: Graph) -> None:
    """Raise `GraphError` if no task is called as one that is to be made again."""
    known = list(dict.fromkeys(call.name for call in graph.calls))
    for name in sorted(names.difference(known)):
        raise GraphError(
            f"force= names {name!r}, which is no task of this run{did_you_mean(name, known)}. Its "
            f"tasks are {', '.join(known)}."
        )


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
        elif reader.n > 1 or not isinstance(arg, Filled):
            return True
    return False


def large_arguments(node: Node) -> tuple[tuple[str, str], ...]:
    """Return arguments hashed at the call with their hash: they are hashed again before use."""
    return tuple(
        (name, arg.token)
        for name, arg in node.args.items()
        if isinstance(arg, Plain) and arg.token is not None
    )
