"""Random edits of real packages, copied into a project as its own code: is each one seen?

``python -m tests.fingerprint.fuzz networkx toolz --edits 200 --seed 1`` prints a line a package,
and the edits that changed the value of a task and not its fingerprint.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

DRIVERS = {
    "mpmath": """
        from mpmath import mp
        return [str(mp.mpf(2) ** 0.5), str(mp.zeta(3)), str(mp.quad(mp.sin, [0, 1])),
                str(mp.findroot(mp.cos, 1)), str(mp.matrix([[1, 2], [3, 4]]) ** -1)]
        """,
    "networkx": """
        import networkx as nx
        g = nx.gnp_random_graph(20, 0.3, seed=1)
        return [sorted(map(sorted, nx.connected_components(g))), nx.shortest_path(g, 0, 5),
                sorted(nx.betweenness_centrality(g).items())[:3], nx.average_clustering(g),
                sorted(nx.minimum_spanning_tree(g).edges)[:4], nx.degree_histogram(g)]
        """,
    "pyparsing": """
        import pyparsing as pp
        word, number = pp.Word(pp.alphas), pp.Word(pp.nums).set_parse_action(lambda t: int(t[0]))
        sums = pp.infix_notation(number, [("*", 2, pp.opAssoc.LEFT), ("+", 2, pp.opAssoc.LEFT)])
        return [word.parse_string("abc").as_list(), sums.parse_string("1+2*3").as_list(),
                pp.DelimitedList(word).parse_string("a,b,c").as_list(),
                pp.quoted_string.parse_string("'x y'").as_list()]
        """,
    "jinja2": """
        import jinja2
        text = "{% for a in b if a %}{{ a|upper }}-{{ loop.index }}{% endfor %} {{ c|join(',') }}"
        template = jinja2.Environment(trim_blocks=True).from_string(text)
        return [template.render(b=["x", "", "y"], c=[1, 2])]
        """,
    "attr": """
        import attr
        @attr.s(auto_attribs=True, order=True)
        class A:
            a: int = attr.ib(default=1, converter=int, validator=attr.validators.instance_of(int))
            b: list = attr.Factory(list)
        return [A("3"), attr.asdict(A(2)), A(1) < A(2), attr.evolve(A(1), a=4), attr.fields(A).a]
        """,
    "toolz": """
        import toolz, toolz.curried as c
        return [toolz.pipe(range(10), c.map(lambda a: a + 1), c.filter(lambda a: a % 2), list),
                toolz.merge_with(sum, {1: 2}, {1: 3}), toolz.groupby(len, ["a", "bb", "c"]),
                list(toolz.sliding_window(2, range(5))), toolz.assoc_in({}, ["a", "b"], 1),
                toolz.compose(str, abs)(-3), list(toolz.interleave([[1, 2], [3]]))]
        """,
    "sortedcontainers": """
        import sortedcontainers as sc
        numbers, names = sc.SortedList([3, 1, 2, 9, 7]), sc.SortedDict({"b": 1, "a": 2})
        numbers.add(5), numbers.discard(9)
        return [list(numbers), numbers.bisect(2), list(names.items()), names.peekitem(0),
                sorted(sc.SortedSet([3, 3, 1]) & {1}), numbers.index(3), list(numbers.irange(2, 5))]
        """,
    "click": """
        import click
        from click.testing import CliRunner
        @click.command()
        @click.option("--n", type=int, default=2, show_default=True)
        @click.argument("names", nargs=-1)
        def go(n, names):
            click.echo("x" * n + ",".join(names))
        asked = ["--n", "3", "a"], ["--help"], ["--m"]
        return [CliRunner().invoke(go, given).output for given in asked]
        """,
    "tifffile": """
        import io, numpy as np, tifffile
        file = io.BytesIO()
        pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
        tifffile.imwrite(file, pixels, photometric="minisblack", metadata={"axes": "YX"})
        with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tif:
            tag = str(tif.pages[0].tags["ImageWidth"])
            return [int(tif.asarray().sum()), tif.series[0].axes, tag]
        """,
}
"""What a task does with a package: plain values in a list."""

LED_BY = {"jinja2/runtime.py": "jinja2/environment.py:Template: exec(…)"}
"""Files that are reached by code alone which a package writes itself, and the line that says so."""

PATIENCE = 30.0
"""Seconds that an edited package gets."""


# ---------------------------------------------------------------- edits


@dataclass(frozen=True)
class Edit:
    """One edit of a file."""

    kind: str
    file: str
    line: int
    text: str
    """The whole file afterwards."""

    is_quiet: bool = False
    """Whether it changes nothing that runs."""


def _swapped(one: ast.AST, kinds: dict[type, type]) -> Any:
    return kinds[type(one)]() if type(one) in kinds else None


_PAIRS = [
    *((ast.Lt, ast.GtE), (ast.Gt, ast.LtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn)),
    (ast.Is, ast.IsNot),
]
COMPARED: dict[type, type] = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
COUNTED: dict[type, type] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult},
    **{ast.Div: ast.Mult, ast.Mod: ast.Add, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr},
}
EXPRESSIONS: dict[str, Callable[[Any], Any]] = {
    "number": lambda n: (
        ast.Constant(n.value + 1)
        if isinstance(n, ast.Constant) and isinstance(n.value, int | float)
        else None
    ),
    "text": lambda n: (
        ast.Constant(n.value + "x")
        if isinstance(n, ast.Constant) and type(n.value) is str
        else None
    ),
    "flag": lambda n: (
        ast.Constant(not n.value) if isinstance(n, ast.Constant) and type(n.value) is bool else None
    ),
    "none": lambda n: ast.Constant(0) if isinstance(n, ast.Constant) and n.value is None else None,
    "comparison": lambda n: (
        ast.Compare(n.left, [new, *n.ops[1:]], n.comparators)
        if isinstance(n, ast.Compare) and (new := _swapped(n.ops[0], COMPARED))
        else None
    ),
    "operator": lambda n: (
        ast.BinOp(n.left, new, n.right)
        if isinstance(n, ast.BinOp) and (new := _swapped(n.op, COUNTED))
        else None
    ),
    "and or": lambda n: (
        ast.BoolOp(ast.Or() if isinstance(n.op, ast.And) else ast.And(), n.values)
        if isinstance(n, ast.BoolOp)
        else None
    ),
    "not": lambda n: (
        n.operand if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.Not) else None
    ),
    "minus": lambda n: (
        n.operand if isinstance(n, ast.UnaryOp) and isinstance(n.op, ast.USub) else None
    ),
    "condition": lambda n: (
        ast.IfExp(n.test, n.orelse, n.body) if isinstance(n, ast.IfExp) else None
    ),
    "argument": lambda n: (
        ast.Call(n.func, n.args[:-1], n.keywords)
        if isinstance(n, ast.Call) and len(n.args) > 1
        else None
    ),
    "keyword": lambda n: (
        ast.Call(n.func, n.args, n.keywords[:-1])
        if isinstance(n, ast.Call) and n.keywords
        else None
    ),
    "list": lambda n: (
        ast.List(n.elts[:-1], n.ctx)
        if isinstance(n, ast.List) and n.elts and isinstance(n.ctx, ast.Load)
        else None
    ),
    "tuple": lambda n: (
        ast.Tuple(n.elts[::-1], n.ctx)
        if isinstance(n, ast.Tuple) and len(n.elts) > 1 and isinstance(n.ctx, ast.Load)
        else None
    ),
    "dict": lambda n: (
        ast.Dict(n.keys[:-1], n.values[:-1]) if isinstance(n, ast.Dict) and n.keys else None
    ),
    "slice": lambda n: (
        ast.Slice(n.lower, n.upper, ast.Constant(2))
        if isinstance(n, ast.Slice) and n.step is None
        else None
    ),
}
STATEMENTS: dict[str, Callable[[Any], str | None]] = {
    "deleted": lambda n: (
        "pass"
        if isinstance(n, ast.Expr | ast.AugAssign)
        and not isinstance(getattr(n, "value", 0), ast.Constant)
        else None
    ),
    "return": lambda n: (
        "return None" if isinstance(n, ast.Return) and n.value is not None else None
    ),
    "raise": lambda n: "pass" if isinstance(n, ast.Raise) else None,
    "break": lambda n: "continue" if isinstance(n, ast.Break) else None,
    "continue": lambda n: "break" if isinstance(n, ast.Continue) else None,
    "assigned": lambda n: (
        f"{ast.unparse(n)[: len(ast.unparse(n.targets[0]))]} = None"
        if isinstance(n, ast.Assign) and len(n.targets) == 1
        else None
    ),
}
QUIET = ("comment", "docstring", "annotation", "blank line")


def edits(file: Path, text: str, random: random.Random) -> Iterator[Edit]:
    """Yield random edits of a file, for ever."""
    tree = ast.parse(text)
    nodes = [node for node in ast.walk(tree) if hasattr(node, "end_col_offset")]
    docs = {
        id(body[0].value)
        for node in ast.walk(tree)
        if (body := getattr(node, "body", None))
        and isinstance(body, list)
        and isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
    }
    hints = {
        id(inner)
        for node in ast.walk(tree)
        for name in ("annotation", "returns")
        if (hint := getattr(node, name, None)) is not None
        for inner in ast.walk(hint)
    }
    joined = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for inner in ast.walk(node)
    }
    while True:
        node: Any = random.choice(nodes)
        if id(node) in hints or id(node) in joined:
            continue
        loud = [*EXPRESSIONS, *STATEMENTS, "default", "decorator"]
        kind = random.choice(QUIET if random.random() < 0.01 else loud)
        new: str | None = None
        quiet = kind in QUIET
        at = node
        if kind in EXPRESSIONS and id(node) not in docs and isinstance(node, ast.expr | ast.Slice):
            changed = EXPRESSIONS[kind](node)
            new = None if changed is None else ast.unparse(ast.fix_missing_locations(changed))
            new = f"({new})" if new is not None and not isinstance(node, ast.Slice) else new
        elif kind in STATEMENTS and isinstance(node, ast.stmt):
            new = STATEMENTS[kind](node)
        elif kind == "default" and isinstance(node, ast.FunctionDef) and node.args.defaults:
            at, new = random.choice(node.args.defaults), "(7)"
        elif kind == "decorator" and isinstance(node, ast.FunctionDef) and node.decorator_list:
            at, new = random.choice(node.decorator_list), "(lambda one: one)"
        elif kind == "comment" and isinstance(node, ast.stmt):
            yield Edit(
                kind, str(file), node.lineno, _inserted(text, node.lineno, "# a comment"), True
            )
            continue
        elif kind == "blank line" and isinstance(node, ast.stmt):
            yield Edit(kind, str(file), node.lineno, _inserted(text, node.lineno, ""), True)
            continue
        elif kind == "docstring" and id(node) in docs:
            new = repr("Another text.")
        elif kind == "annotation" and isinstance(node, ast.arg) and node.annotation is not None:
            at, new = node.annotation, "'int'"
        if new is None:
            continue
        after = _replaced(text, at, new)
        with contextlib.suppress(SyntaxError, ValueError):
            ast.parse(after)
            if after != text:
                yield Edit(kind, str(file), at.lineno, after, quiet)


def _inserted(text: str, line: int, new: str) -> str:
    lines = text.splitlines(keepends=True)
    indent = lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]
    # Not into the middle of a text of several lines: statements begin outside of one.
    return "".join([*lines[: line - 1], f"{indent if new else ''}{new}\n", *lines[line - 1 :]])


def _replaced(text: str, node: Any, new: str) -> str:
    data = text.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    begin = starts[node.lineno - 1] + node.col_offset
    end = starts[node.end_lineno - 1] + node.end_col_offset
    return (data[:begin] + new.encode() + data[end:]).decode()


# ---------------------------------------------------------------- judging


def evaluate(folder: Path, *, ran: bool = False) -> dict[str, Any]:
    """Return fingerprint and value of the task in a project, from a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        with os.fdopen(write, "w") as out, contextlib.redirect_stdout(io.StringIO()):
            json.dump(_evaluated(folder, ran), out)
        os._exit(0)
    os.close(write)
    said, deadline = b"", time.monotonic() + PATIENCE
    while True:
        ready, _, _ = select.select([read], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        data = os.read(read, 1 << 16)
        if not data:
            break
        said += data
    os.close(read)
    os.waitpid(child, 0)
    try:
        found: dict[str, Any] = json.loads(said)
    except ValueError:
        return {"hangs": True}
    return found


def elsewhere(folder: Path, seed: str) -> list[str]:
    """Return the fingerprint from a fresh process, with another hash seed."""
    code = (
        "import json, sys; from pathlib import Path; from tests.fingerprint.fuzz import _evaluated;"
        "print(json.dumps(_evaluated(Path(sys.argv[1]), False)['digest']))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _evaluated(folder: Path, ran: bool) -> dict[str, Any]:
    from databacked.fingerprint.code import code_fingerprint
    from databacked.fingerprint.files import content_of

    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    own = {one.stem for one in folder.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]  # a library's, that something else has loaded
    try:
        function = importlib.import_module("main").f
    except BaseException as error:
        return {"breaks": repr(error)[:200]}
    try:
        found = code_fingerprint(function, root=folder)
    except BaseException as error:
        return {"crashes": repr(error)[:300]}
    called: set[tuple[str, int]] = set()

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    if ran:
        sys.setprofile(note)
    try:
        value = function(3)
    except BaseException as error:
        value = f"{type(error).__name__}: {error}"
    finally:
        sys.setprofile(None)
    files = [content_of(path) for path in found.paths.values()]
    after = code_fingerprint(function, root=folder) if ran else found
    changed = [name for name, one in after.symbols.items() if found.symbols.get(name) != one]
    filled = changed if after.digest != found.digest else []  # names alone may change
    return {
        "filled": filled,
        "digest": [found.digest, *sorted(map(str, files))],
        "value": value,
        "opaque": found.opaque,
        "symbols": found.symbols,
        "ran": sorted(called) if ran else [],
    }


@dataclass
class Judged:
    """What came of the edits of one package."""

    package: str
    counts: Counter[str]
    missed: list[str]
    """Edits that changed the value, and neither the fingerprint nor what is said."""

    wrong: list[str]
    """Quiet edits that were taken for others, and crashes."""

    symbols: int
    said: int

    @property
    def line(self) -> str:
        """A row of a table."""
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        unread = self.counts["never run: stale"] + self.counts["never run: fresh"]
        part = self.counts["never run: stale"] / unread if unread else 0.0
        return (
            f"{self.package}: {self.symbols} symbols, {self.said} lines said; {counts}; "
            f"{part:.0%} of what never runs is stale"
        )


def project(folder: Path, package: str, source: Path) -> None:
    """Make a project of a package as own code, with a task that calls it."""
    shutil.copytree(
        source / package,
        folder / package,
        ignore=shutil.ignore_patterns("__pycache__", "tests"),
    )
    (folder / "databacked.toml").touch()
    body = indent(dedent(DRIVERS[package].strip("\n")), "    ")
    text = f"def work():\n{body}\n\ndef f(x):\n    return repr(work())\n"
    (folder / "main.py").write_text(text, encoding="utf-8")


def _warm(folder: Path) -> None:
    """Read and compile all files once: processes that are forked have it at hand."""
    from databacked.fingerprint.code.sources import source_of

    compileall.compile_dir(folder, quiet=1)
    for file in folder.rglob("*.py"):
        source = source_of(str(file))
        for nodes in source.names.functions.values() if source is not None else ():
            for node in nodes:
                source.form(node)
    gc.freeze()


def judge(package: str, count: int, seed: int, source: Path) -> Judged:
    """Edit a package many times."""
    chosen = random.Random(f"{package} {seed}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        project(folder, package, source)
        before = evaluate(folder, ran=True)
        if "digest" not in before:
            raise AssertionError(f"{package}: {before}")
        if before["filled"]:
            raise AssertionError(f"{package}: {before['filled'][:5]} changed while it ran")
        _warm(folder)
        for seed_of_hashes in ("1", "2"):
            other = elsewhere(folder, seed_of_hashes)
            if other != before["digest"]:
                raise AssertionError(f"{package}: another fingerprint in another process")
        judged = Judged(package, Counter(), [], [], len(before["symbols"]), len(before["opaque"]))
        ran = {(file, line) for file, line in before["ran"]}
        old = {
            Path(os.path.join(folder, symbol.rpartition(":")[0])) for symbol in before["symbols"]
        }
        files = sorted(
            one for one in old if one.suffix == ".py" and one.name != "main.py" and one.is_file()
        )
        streams: dict[Path, Iterator[Edit]] = {}
        texts = {one: one.read_text(encoding="utf-8") for one in files}
        sizes = [len(texts[one]) ** 0.5 for one in files]
        for _ in range(count):
            (file,) = chosen.choices(files, sizes)
            stream = streams.setdefault(file, edits(file, texts[file], chosen))
            edit = next(stream)
            file.write_text(edit.text, encoding="utf-8")
            try:
                _count(judged, edit, before, evaluate(folder), ran, texts[file], folder)
            finally:
                file.write_text(texts[file], encoding="utf-8")
    return judged


def _count(
    judged: Judged,
    edit: Edit,
    before: dict[str, Any],
    after: dict[str, Any],
    ran: set[tuple[str, int]],
    text: str,
    folder: Path,
) -> None:
    counts = judged.counts
    what = f"{edit.kind} {os.path.relpath(edit.file, folder)}:{edit.line}"
    if "digest" not in after:
        (word,) = after
        counts[word] += 1
        if word == "crashes":
            judged.wrong.append(f"{what} {after[word]}")
        return
    stale = before["digest"] != after["digest"]
    if edit.is_quiet:
        counts["quiet: stale" if stale else "quiet: fresh"] += 1
        if stale:
            changed = [
                s for s in after["symbols"] if after["symbols"][s] != before["symbols"].get(s)
            ]
            judged.wrong.append(f"{what} {changed[:3]}")
    elif before["value"] != after["value"]:
        file = os.path.relpath(edit.file, folder)
        said = not stale and any(LED_BY.get(file, "\0") in line for line in before["opaque"])
        counts["seen" if stale else "missed, said" if said else "missed"] += 1
        if not stale and not said:
            line = text.splitlines()[edit.line - 1].strip()
            judged.missed.append(f"{what} {line!r} {before['value'][:60]} → {after['value'][:60]}")
    elif (around := _function_around(text, edit.line)) and (edit.file, around) not in ran:
        counts["never run: stale" if stale else "never run: fresh"] += 1
    else:
        counts["no difference: stale" if stale else "no difference: fresh"] += 1


def _function_around(text: str, line: int) -> int | None:
    """Return the first line of the innermost function around a line."""
    around = [one for one in _functions_of(text) if one.lineno <= line <= (one.end_lineno or 0)]
    found = max(around, key=lambda node: node.lineno, default=None)
    if found is None:
        return None
    return min([found.lineno, *(one.lineno for one in found.decorator_list)])


@functools.lru_cache(maxsize=256)
def _functions_of(text: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(ast.parse(text))
    return [one for one in nodes if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]


def sources() -> list[Path]:
    """Return where packages are installed that can be copied."""
    peers = Path(__file__).parents[2] / ".peers"
    return [*peers.glob("lib/python3*/site-packages"), *map(Path, sys.path)]


def where(package: str) -> Path:
    """Return the folder that a package lies in."""
    found = next((one for one in sources() if (one / package).is_dir()), None)
    if found is None:
        raise AssertionError(f"{package} is not installed: `./dev test` installs it into .peers.")
    return found


def main() -> None:
    """Judge packages, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="*", default=list(DRIVERS))
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for package in given.packages:
        judged = judge(package, given.edits, given.seed, where(package))
        print(judged.line, flush=True)
        for one in [*judged.missed, *judged.wrong]:
            print("   ", one, flush=True)


if __name__ == "__main__":
    main()
