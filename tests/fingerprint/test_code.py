"""What a function's code counts by: edits that must be seen, and those that must not."""

from __future__ import annotations

import json
import linecache
import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

from databacked.errors import FingerprintError
from databacked.fingerprint.code import CodeFingerprint, code_fingerprint, explain
from databacked.fingerprint.code.ownership import version_of

from .cases import CASES, NOT_SEEN, SEEN, Case
from .conftest import write

READABLE = [case for case in CASES if sys.version_info >= case.python]


class Pair(NamedTuple):
    """What was found before and after an edit."""

    before: dict[str, Any]
    after: dict[str, Any]


def fingerprints(folders: list[Path], hash_seed: str) -> list[dict[str, Any]]:
    """Return the fingerprints of projects as a fresh process finds them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fingerprint.evaluate"],
        input=json.dumps([str(one) for one in folders]),
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for one in found.values():
        assert "error" not in one, one["error"]
    return [found[str(one)] for one in folders]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Every case before and after its edit: other folder, other process, other hash seed."""
    sides = []
    for edited in (False, True):
        top = tmp_path_factory.mktemp("edited" if edited else "first")
        for case in READABLE:
            write(top / case.name.replace(" ", "_"), case.written(edited=edited))
        folders = [top / case.name.replace(" ", "_") for case in READABLE]
        sides.append(fingerprints(folders, hash_seed="2" if edited else "1"))
    return {c.name: Pair(*pair) for c, *pair in zip(READABLE, *sides, strict=True)}


def _readable(cases: tuple[Case, ...]) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in cases if case in READABLE]


def _content(found: dict[str, Any]) -> tuple[str, list[str]]:
    return found["digest"], found["files"]


@pytest.mark.parametrize("case", _readable(SEEN))
def test_an_edit_that_matters_is_seen(case: Case, matrix: dict[str, Pair]):
    """The digest changes, and the reason names the symbol that was edited."""
    before, after = matrix[case.name]
    assert _content(before) != _content(after)
    old, new = (CodeFingerprint(p["digest"], p["symbols"], p["values"]) for p in (before, after))
    assert case.reason in explain(old, new)


@pytest.mark.parametrize("case", _readable(NOT_SEEN))
def test_an_edit_that_does_not_matter_is_not_seen(case: Case, matrix: dict[str, Pair]):
    """The digest stays: also in another folder, process and hash seed."""
    before, after = matrix[case.name]
    assert before["symbols"] == after["symbols"]
    assert _content(before) == _content(after)


@pytest.mark.parametrize("case", _readable(CASES))
def test_the_matrix_is_true(case: Case, matrix: dict[str, Pair]):
    """What an edit changes must change the value, or the case would show nothing."""
    before, after = matrix[case.name]
    assert (before["value"] != after["value"]) is case.seen


@pytest.mark.parametrize("case", _readable(CASES))
def test_what_is_ordinary_is_not_called_opaque(case: Case, matrix: dict[str, Pair]):
    """A list of what could not be followed helps only if it is short."""
    assert matrix[case.name].before["opaque"] == []


# ---------------------------------------------------------------- one by one


def test_the_digest_is_the_same_on_every_python(load, tmp_path):
    """Records stay fresh after an upgrade of Python: this digest was made once, on 3.11."""
    module = load(
        """
        import re
        from collections import namedtuple
        from dataclasses import dataclass
        from enum import Enum
        from functools import lru_cache, partial

        import numpy as np

        SIGMA, NAMES, WORDS = 2.0, {"a", "b"}, re.compile("a|b")
        WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)
        Point = namedtuple("Point", "y x")

        class Channel(Enum):
            DNA = 1

        @dataclass(frozen=True)
        class Box:
            size: int = 3
            channel: Channel = Channel.DNA

            @property
            def area(self) -> int:
                return self.size**2

        @lru_cache
        def blur(x, *rest, factor=1.5, **more):
            try:
                return [y for y in rest if y not in {"a", "é", "\\u200b"}] or x[1:, ::2]
            except* ValueError as error:
                print(f"{x!r:>{factor}} {error=}" "end" f"{{}}")
            finally:
                del more

        twice = partial(blur, factor=2)

        async def fetch(x):
            async with x as y:
                return [z async for z in y], lambda *a, b=-1: (yield)

        def f(x: int, y: "float" = 1) -> str:
            total: int = 0
            for i, z in enumerate(x):
                match z:
                    case Box(size=3) | [1, *_] if i:
                        total += (w := SIGMA) + w
                    case {"a": None, **rest}:
                        continue
                    case _:
                        assert NAMES and WORDS, "empty"
            else:
                return twice(total), fetch(x), Point(1, WEIGHTS @ 2), Box().area
        """
    )
    found = code_fingerprint(module.f, root=tmp_path)
    assert found.opaque == ()
    assert found.digest == "5c132a1b59f659025ca9d3ddf496a6fd"


def test_main_or_imported_is_the_same(tmp_path):
    """A script counts the same when it is run, imported, or named to ``python -m``."""
    script = """
        from pathlib import Path
        from databacked.fingerprint.code import code_fingerprint
        class Box:
            x = 2
        def f(x):
            return Box().x
        print(code_fingerprint(f, root=Path(__file__).parent).digest)
        """
    write(tmp_path, {"script.py": dedent(script)})
    said = [
        subprocess.run(
            [sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for how in (["script.py"], ["-m", "script"], ["-c", "import script"])
    ]
    assert len(said[0]) == 33
    assert said[0] == said[1] == said[2]


def test_a_file_that_was_changed_since_it_was_loaded_is_an_error(load, tmp_path):
    """What stands in the file now is not what runs."""
    module = load("def f(x):\n    return x + 1\n")
    write(tmp_path, {"lab_main.py": "def f(x):\n    return x + 20\n"})
    with pytest.raises(FingerprintError, match=r"lab_main.py was changed since f was loaded"):
        code_fingerprint(module.f, root=tmp_path)


@pytest.mark.parametrize("looked_at", [False, True])
def test_an_older_file_that_took_its_place_is_an_error_too(load, tmp_path, looked_at):
    """A backup that is moved there keeps its time, and may have the same size."""
    module = load("def f(x):\n    return x + 1\n")
    file = tmp_path / "lab_main.py"
    os.utime(file, (10**9, 10**9))
    if looked_at:
        code_fingerprint(module.f, root=tmp_path)
    (tmp_path / "backup").write_text("def f(x):\n    return x + 2\n")
    os.utime(tmp_path / "backup", (10**9, 10**9))
    os.replace(tmp_path / "backup", file)
    with pytest.raises(FingerprintError, match=r"lab_main.py was changed since f was loaded"):
        code_fingerprint(module.f, root=tmp_path)


def test_a_method_that_was_changed_since_it_was_loaded_is_an_error(load, tmp_path):
    """The methods of a class are looked at one by one."""
    text = "class Box:\n    def x(self):\n        return 1\ndef f(x):\n    return Box().x()\n"
    module = load(text)
    write(tmp_path, {"lab_main.py": text.replace("return 1", "return 10")})
    with pytest.raises(FingerprintError, match=r"lab_main.py was changed since Box.x was loaded"):
        code_fingerprint(module.f, root=tmp_path)


def test_a_file_in_which_only_lines_moved_since_it_was_loaded_is_fine(load, tmp_path):
    """A comment that is written while a notebook is open is no reason to restart it."""
    text = "def f(x):\n    def inner(y: int) -> int:\n        return y\n    return inner(x)\n"
    module = load(text)
    before = code_fingerprint(module.f, root=tmp_path)
    write(tmp_path, {"lab_main.py": "# a\n# b\n" + text})
    assert code_fingerprint(module.f, root=tmp_path) == before


def _cell(text: str, file: str) -> dict[str, Any]:
    """Run a notebook's cell as IPython does."""
    space: dict[str, Any] = {"__name__": "__main__"}
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), space)
    return space


def test_a_notebooks_cell_counts_the_same_in_the_next_kernel(tmp_path):
    """The names that kernels give to cells don't count; what stands in them does."""
    cell = "SIGMA = 2\nclass Box:\n    def x(self):\n        return 1\n"
    cell += "def f(x):\n    return Box().x() * SIGMA\n"
    first = _cell(cell, "/tmp/ipykernel_10/123.py")["f"]
    again = _cell("# moved\n" + cell, "/tmp/ipykernel_11/456.py")["f"]
    other = _cell(cell.replace("return 1", "return 2"), "<ipython-input-3-abc>")["f"]
    found = [code_fingerprint(one, root=tmp_path) for one in (first, again, other)]
    assert found[0] == found[1]
    assert found[0].opaque == ()
    assert explain(found[0], found[2]) == "notebook.Box changed"


def test_a_cell_that_a_debugger_wrote_to_a_file_counts_as_it_was_run(tmp_path):
    """Not as it was typed: a debugger knows nothing of magics."""
    file = tmp_path / "ipykernel_10" / "123.py"
    text = "files = get_ipython()\ndef f(x):\n    return x\n"
    linecache.cache[str(file)] = (len(text), None, text.splitlines(keepends=True), str(file))
    space: dict[str, Any] = {"__name__": "__main__", "get_ipython": list}
    exec(compile(text, str(file), "exec"), space)
    before = code_fingerprint(space["f"], root=tmp_path)
    write(tmp_path, {"ipykernel_10/123.py": "files = !ls\ndef f(x):\n    return x\n"})
    assert code_fingerprint(space["f"], root=tmp_path) == before
    assert before.symbols.keys() == {"notebook:f"}
    assert before.opaque == ()


def test_a_folder_called_ipykernel_is_no_notebook(load, tmp_path):
    """What lies in it is the project's own, by its name."""
    write(
        tmp_path, {"my_ipykernel/__init__.py": "", "my_ipykernel/a.py": "def f(x):\n    return x\n"}
    )
    module = load("from my_ipykernel.a import f\n")
    assert code_fingerprint(module.f, root=tmp_path).symbols.keys() == {"my_ipykernel/a.py:f"}


def test_code_without_source_is_opaque_and_counts(tmp_path):
    """Its bytecode is better than nothing, and the fingerprint says so."""
    spaces: list[dict[str, Any]] = [{}, {}]
    for space, amount in zip(spaces, (1, 2), strict=True):
        exec(f"def f(x):\n    return x + {amount}\n", space)
    one, two = (code_fingerprint(space["f"], root=tmp_path) for space in spaces)
    assert one.digest != two.digest
    assert "no source" in one.opaque[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("getattr(x, name)", "getattr"),
        ("eval(name)", "eval"),
        ("globals()[name]", "globals"),
        ("importlib.import_module(name)", "import_module"),
        ("unknown(x)", "'unknown' is not defined"),
    ],
)
def test_what_cannot_be_followed_is_listed(load, tmp_path, line, said):
    """A name that is made when the function runs is said, never silently ignored."""
    module = load(f"import importlib\ndef f(x, name):\n    return {line}\n")
    (opaque,) = code_fingerprint(module.f, root=tmp_path).opaque
    assert said in opaque
    assert "lab_main.py:f" in opaque


def test_getattr_with_a_written_name_is_not_opaque(load, tmp_path):
    """``getattr(x, "real")`` can be read like ``x.real``."""
    module = load("def f(x):\n    return getattr(x, 'real')\n")
    assert code_fingerprint(module.f, root=tmp_path).opaque == ()


def test_another_packages_version_is_noticed_and_does_not_count(load, tmp_path, monkeypatch):
    """An upgrade of numpy leaves records fresh, and can be said."""
    module = load("import numpy as np\ndef f(x):\n    return np.sum(x)\n")
    before = code_fingerprint(module.f, root=tmp_path)
    assert before.packages == {"numpy": np.__version__}
    monkeypatch.setattr(np, "__version__", "99.0")
    version_of.cache_clear()
    after = code_fingerprint(module.f, root=tmp_path)
    version_of.cache_clear()
    assert after.packages == {"numpy": "99.0"}
    assert after.digest == before.digest


def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "env" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_package_is_ours_where_the_task_lives_in_it(load, tmp_path, monkeypatch):
    """A lab's installed package with its tasks counts whole."""
    folder = _installed(tmp_path, monkeypatch)
    files = {"labtasks/__init__.py": "", "labtasks/deep.py": "def g(x):\n    return x\n"}
    files["labtasks/tasks.py"] = "from .deep import g\ndef f(x):\n    return g(x)\n"
    write(folder, files)
    module = load("from labtasks.tasks import f\n")
    found = code_fingerprint(module.f, root=tmp_path)
    assert set(found.symbols) == {"labtasks/deep.py:g", "labtasks/tasks.py:f"}
    sys.modules.pop("labtasks"), sys.modules.pop("labtasks.tasks"), sys.modules.pop("labtasks.deep")


def test_an_installed_module_does_not_make_its_neighbours_ours(load, tmp_path, monkeypatch):
    """A task in a single file among installed packages: the file is ours, they are not."""
    folder = _installed(tmp_path, monkeypatch)
    write(folder, {"neighbour.py": "def g(x):\n    return x\n"})
    write(folder, {"labtask.py": "import neighbour\ndef f(x):\n    return neighbour.g(x)\n"})
    module = load("from labtask import f\n")
    found = code_fingerprint(module.f, root=tmp_path)
    assert [one.rpartition("/")[2] for one in found.symbols] == ["labtask.py:f"]
    assert set(found.packages) == {"neighbour"}
    sys.modules.pop("labtask"), sys.modules.pop("neighbour")


def test_packages_can_be_named_as_ours(load, tmp_path, monkeypatch):
    """``own = ["neighbour"]`` makes what is installed count as code."""
    folder = _installed(tmp_path, monkeypatch)
    write(folder, {"neighbour.py": "def g(x):\n    return x\n"})
    module = load("import neighbour\ndef f(x):\n    return neighbour.g(x)\n")
    assert len(code_fingerprint(module.f, root=tmp_path).symbols) == 1
    assert len(code_fingerprint(module.f, root=tmp_path, own=["neighbour"]).symbols) == 2
    sys.modules.pop("neighbour")


def test_a_task_counts_without_where_its_result_goes(load, tmp_path):
    """Place, target and serializer count elsewhere; the function is what counts here."""
    one = load("from databacked import task\n@task(target='{x}.npy')\ndef f(x):\n    return x\n")
    found = code_fingerprint(one.f, root=tmp_path)
    del sys.modules["lab_main"]
    time.sleep(0.01)
    two = load("from databacked import task\n@task\ndef f(x):\n    return x\n")
    assert code_fingerprint(two.f, root=tmp_path).digest == found.digest


def _said(symbols: dict[str, str], values: dict[str, str] | None = None) -> CodeFingerprint:
    return CodeFingerprint("", symbols, values or {})


def test_a_reason_says_the_most_basic_change_first():
    """A constant with its values, then code; what comes and goes follows from these."""
    old = _said({"a.py:f": "1", "a.py:S": "1", "a.py:g": "1"}, {"a.py:S": "2.0"})
    new = _said({"a.py:f": "2", "a.py:S": "2", "lab/b.py:h": "1"}, {"a.py:S": "2.5"})
    assert explain(old, new) == "a.S changed (2.0 → 2.5), a.f changed"


def test_a_reason_with_many_changes_counts_the_rest():
    """Three names are enough in one line."""
    names = [f"a.py:f{number}" for number in range(5)]
    reason = explain(_said(dict.fromkeys(names, "1")), _said(dict.fromkeys(names, "2")))
    assert reason == "a.f0 changed, a.f1 changed, a.f2 changed and 2 more"


def test_a_reason_without_a_symbol_names_the_rules():
    """The same symbols with another digest: databacked itself counts differently now."""
    same = _said({"a.py:f": "1"})
    assert explain(same, same) == "the rules of the fingerprint changed"


def test_what_is_said_is_short_and_true(load, tmp_path):
    """No names of annotations, of functions around a decorator, of other Pythons."""
    module = load(
        """
        from __future__ import annotations
        import sys
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from lab import Image
        if sys.version_info >= (4, 0):
            import later
        def marks(words):
            def mark(fn):
                fn.words = words
                return fn
            return mark
        def made(words):
            @marks(words)
            def inner(x):
                return x
            return inner
        class Box:
            image: "Image"
            other: Image if TYPE_CHECKING else int = 1
        FIRST, SECOND = made(["a"]), made(["b"])
        def f(x: Image) -> Image:
            return FIRST(x), SECOND(x), Box, later.scale if x is None else x, nowhere
        """
    )
    found = code_fingerprint(module.f, root=tmp_path)
    assert [line.partition(": ")[2] for line in found.opaque] == [
        "the name 'nowhere' is not defined"
    ]


def test_a_long_chain_of_branches_and_a_long_sum_are_read(load, tmp_path):
    """Each is one level more in the syntax tree; its neighbours count by their source, too."""
    branches = "".join(
        f"    {'elif' if n else 'if'} x == {n}:\n        return {n}\n" for n in range(500)
    )
    text = f"SCALE = 2\ndef f(x):\n{branches}    return SCALE * ({' + '.join(['x'] * 800)})\n"
    before = code_fingerprint(load(text).f, root=tmp_path)
    assert before.opaque == ()
    assert "SCALE" in "".join(before.symbols)
    assert sys.getrecursionlimit() < 20_000


def test_a_version_that_a_module_makes_up_is_not_asked_for(load, tmp_path, monkeypatch):
    """Its own code may fail, and is nobody's business here."""
    made_up = ModuleType("madeup")

    def refuse(name: str) -> None:
        raise LookupError(name) if name == "__version__" else AttributeError(name)

    monkeypatch.setattr(made_up, "__getattr__", refuse, raising=False)
    monkeypatch.setitem(sys.modules, "madeup", made_up)
    version_of.cache_clear()
    module = load("def f(x):\n    import madeup\n    return madeup.go(x)\n")
    assert code_fingerprint(module.f, root=tmp_path).packages == {"madeup": "?"}


def test_what_a_task_s_own_decorator_is_given_does_not_count(load, tmp_path):
    """Where a result is kept, and how often it is tried, counts elsewhere or not at all."""
    text = """
        from databacked import LocalResult, task
        def mark(words):
            def mark(fn):
                return fn
            return mark
        TRIES, WORDS = 2, "a"
        @mark(WORDS)
        @task(result=LocalResult("x"), target=lambda x: f"{x}{TRIES}.json", retries=TRIES)
        def f(x):
            return x
        """
    before = code_fingerprint(load(text).f, root=tmp_path)
    assert not [name for name in before.symbols if name.endswith("TRIES")]
    for old, new, counts in (
        ("TRIES, WORDS = 2", "TRIES, WORDS = 333", False),
        ('"a"', '"long"', True),
    ):
        del sys.modules["lab_main"]
        after = code_fingerprint(load(text.replace(old, new)).f, root=tmp_path)
        assert (after.digest != before.digest) is counts
