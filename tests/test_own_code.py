"""Whose code counts: the project's, the task's package's, and what is installed as a link."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from databacked.installed import installed

SCRIPT = """
    import sys
    from databacked import LocalResult, flow, last_run, task
    {imports}
    @task(result=LocalResult("out"), target="{{x}}.json")
    def amplified(x):
        {inside}
        return {call}

    @flow
    def go():
        return amplified(1)

    print([go(), go()], dict(last_run().counts["amplified"]))
    """
"""Runs its flow twice in one process."""

LIBRARY = {"src/labtools/__init__.py": "GAIN = 2\ndef gain(x):\n    return x * GAIN\n"}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")


class Lab:
    """A project with one script, a library beside it, and an environment of its own."""

    def __init__(self, top: Path) -> None:
        self.project, self.library = top / "project", top / "labtools"
        self.site = top / "env" / "site-packages"
        self.site.mkdir(parents=True)
        write(self.project, {"databacked.toml": ""})
        write(self.library, LIBRARY)
        self.path: list[str] = []
        self.script()

    def script(
        self,
        imports: str = "import labtools",
        inside: str = "pass",
        call: str = "labtools.gain(x)",
    ) -> None:
        text = dedent(SCRIPT).format(imports=imports, inside=inside, call=call)
        start = f"import site; site.addsitedir({str(self.site)!r})\n"
        write(self.project, {"run.py": start + text})

    def run(self) -> tuple[list[int], dict[str, int], str]:
        """Return what two runs in a new process gave, the second one's counts, what was said."""
        done = subprocess.run(
            [sys.executable, "run.py"],
            cwd=self.project,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(self.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        values, _, counts = done.stdout.rpartition("] ")
        return eval(values + "]"), eval(counts), done.stderr

    def edit(self, where: Path | None = None) -> None:
        file = next((where or self.library).rglob("labtools/__init__.py"))
        file.write_text(file.read_text().replace("GAIN = 2", "GAIN = 30"))

    def install(self, backend: str, *arguments: str, more: str = "") -> None:
        """Install the library with the tools that people use."""
        if importlib.util.find_spec(backend.partition(".")[0]) is None:
            pytest.skip(f"{backend} is not installed")
        if backend.startswith("setuptools"):
            pytest.importorskip("wheel")
        project = f"""
            [build-system]
            requires = []
            build-backend = "{backend}"
            [project]
            name = "the-labs-tools"
            version = "1"
            """
        write(self.library, {"pyproject.toml": dedent(project) + dedent(more)})
        uv = [sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-build-isolation"]
        into = ["--no-deps", "--python", sys.executable, "--target", str(self.site)]
        subprocess.run([*uv, *into, *arguments, str(self.library)], check=True, capture_output=True)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


HATCH = """
    [tool.hatch.build.targets.wheel]
    packages = ["src/labtools"]
    """


def is_followed(lab: Lab) -> bool:
    """Whether an edit of the library makes the result anew; else it is said that it does not."""
    assert lab.run()[0] == [2, 2]
    lab.edit()
    values, _, said = lab.run()
    followed = values == [30, 30]
    assert ("labtools, which" in said) is not followed
    return followed


# ---------------------------------------------------------------- installed in every way


def test_an_editable_install_by_hatchling_is_our_own(lab):
    """``pip install -e`` with a folder in a ``.pth`` file."""
    lab.install("hatchling.build", "-e", more=HATCH)
    assert is_followed(lab)


def test_an_install_of_a_folder_is_said_not_to_be_followed(lab):
    """``pip install ./labtools``: a copy, which its folder may be ahead of."""
    lab.install("hatchling.build", more=HATCH)
    lab.run()
    said = lab.run()[2]
    assert "labtools, which was installed from a local folder" in said
    assert "own = ['labtools'] in databacked.toml" in said


def test_an_install_of_a_folder_is_followed_once_it_is_named(lab):
    """``own = ["labtools"]``."""
    lab.install("hatchling.build", more=HATCH)
    write(lab.project, {"databacked.toml": 'own = ["labtools"]\n'})
    assert lab.run()[0] == [2, 2]
    lab.edit(lab.site)
    assert lab.run()[0] == [30, 30]


@pytest.mark.parametrize(
    "more",
    ["", "[tool.setuptools]\npackage-dir = {labtools = 'src/labtools'}\npackages = ['labtools']"],
)
def test_an_editable_install_by_setuptools_is_our_own(lab, more):
    """Of its newer kinds, a ``.pth`` file and a finder in the import system."""
    lab.install("setuptools.build_meta", "-e", more=more)
    assert is_followed(lab)


def _linked(lab: Lab, files: dict[str, str], url: str | None = None) -> None:
    write(lab.site, files)
    if url is not None:
        info = "the_labs_tools-1.dist-info"
        about = json.dumps({"url": url, "dir_info": {"editable": True}})
        meta = "Metadata-Version: 2.1\nName: the-labs-tools\nVersion: 1\n"
        write(lab.site, {f"{info}/METADATA": meta, f"{info}/direct_url.json": about})


FINDER = """
    import importlib.util, sys
    class Finder:
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            if name == "labtools":
                return importlib.util.spec_from_file_location(name, {file!r})
    sys.meta_path.append(Finder)
    """


def test_a_finder_in_the_import_system_is_followed(lab):
    """What setuptools leaves where the folders have other names than the packages."""
    file = str(lab.library / "src" / "labtools" / "__init__.py")
    files = {
        "__editable__.pth": "import __editable___finder",
        "__editable___finder.py": FINDER.format(file=file),
    }
    _linked(lab, files, lab.library.as_uri())
    assert is_followed(lab)


@pytest.mark.parametrize("name", ["conda.pth", "easy-install.pth", "the-labs-tools.egg-link"])
def test_older_links_are_followed(lab, name):
    """``conda develop`` and ``setup.py develop`` say it in a file of lines alone."""
    _linked(lab, {name: f"{lab.library / 'src'}\n."})
    lab.path = [str(lab.library / "src")]
    assert is_followed(lab)


def test_a_folder_with_blanks_and_umlauts_is_followed(lab):
    """A URL in ``direct_url.json`` writes them otherwise."""
    moved = lab.library.rename(lab.library.parent / "Labor für Zellen")
    lab.library = moved
    _linked(lab, {"x.pth": str(moved / "src")}, moved.as_uri())
    assert is_followed(lab)


def test_a_link_in_the_environment_is_followed(lab):
    """As flit makes it: the package is a link to its folder."""
    os.symlink(lab.library / "src" / "labtools", lab.site / "labtools")
    _linked(lab, {}, lab.library.as_uri())
    assert is_followed(lab)


def test_a_folder_on_the_path_is_said_not_to_be_followed(lab):
    """``PYTHONPATH``: nobody can tell the lab's own from others'."""
    lab.path = [str(lab.library / "src")]
    assert not is_followed(lab)


def test_a_folder_that_a_script_adds_is_said_not_to_be_followed(lab):
    """``sys.path.insert``."""
    src = str(lab.library / "src")
    lab.script(imports=f"sys.path.insert(0, {src!r}); import labtools")
    assert not is_followed(lab)


@pytest.mark.parametrize("inside", ["import labtools", "from labtools import gain"])
def test_it_is_said_too_where_it_is_imported_in_the_function(lab, inside):
    """Before it is loaded and afterwards."""
    lab.path = [str(lab.library / "src")]
    lab.script("", inside, "gain(x)" if "from" in inside else "labtools.gain(x)")
    assert not is_followed(lab)


def test_a_folder_on_the_path_is_followed_once_it_is_named(lab):
    """``own = ["labtools"]``, also where it is imported inside the function."""
    lab.path = [str(lab.library / "src")]
    lab.script("", "import labtools")
    write(lab.project, {"databacked.toml": 'own = ["labtools"]\n'})
    assert is_followed(lab)


def test_what_the_environment_says_is_asked_for_again_once_it_changes(lab, monkeypatch):
    """A package that is installed while a notebook is open."""
    monkeypatch.syspath_prepend(str(lab.site))
    folder = os.path.realpath(lab.library) + os.sep
    assert folder not in installed().linked
    _linked(lab, {}, lab.library.as_uri())
    os.utime(lab.site, ns=(1, 1))
    assert folder in installed().linked


def test_what_is_installed_is_not_said(lab):
    """Whole packages of others are counted by version, which is no news."""
    lab.script("import numpy, json", call="int(numpy.sum(json.loads('[1]'))) * 2 * x")
    assert lab.run()[0] == [2, 2]
    assert "not followed" not in lab.run()[2]


# ---------------------------------------------------------------- packages without an __init__.py


@pytest.mark.parametrize(
    ("imports", "inside", "call"),
    [
        ("import labspace.deep", "pass", "labspace.deep.gain(x)"),
        ("import labspace.deep as d", "pass", "d.gain(x)"),
        ("from labspace import deep", "pass", "deep.gain(x)"),
        ("", "import labspace.deep", "labspace.deep.gain(x)"),
        ("", "from labspace import deep", "deep.gain(x)"),
        ("", "from labspace.deep import gain", "gain(x)"),
        ("import importlib", "deep = importlib.import_module('labspace.deep')", "deep.gain(x)"),
    ],
)
def test_a_folder_without_an_init_file_is_followed(lab, imports, inside, call):
    """A package all the same, in all ways of importing it."""
    lab.script(imports, inside, call)
    write(lab.project, {"labspace/deep.py": "def gain(x):\n    return x * 2\n"})
    assert lab.run()[0] == [2, 2]
    write(lab.project, {"labspace/deep.py": "def gain(x):\n    return x * 30\n"})
    assert lab.run()[0] == [30, 30]


# ---------------------------------------------------------------- loaded or not


FILES = {
    "lib/__init__.py": "def f(x):\n    return x * 2\n",
    "lib/sub.py": "def f(x):\n    return x * 2\n",
    "single.py": "from lib.sub import f\nclass C:\n    f = staticmethod(f)\n",
}


@pytest.mark.parametrize(
    ("inside", "call"),
    [
        ("import lib", "lib.f(x)"),
        ("import lib as l", "l.f(x)"),
        ("import lib.sub", "lib.sub.f(x)"),
        ("import lib.sub as s", "s.f(x)"),
        ("import lib, single", "lib.f(x) + 0 * single.f(x)"),
        ("from lib import f", "f(x)"),
        ("from lib import f as g", "g(x)"),
        ("from lib import sub", "sub.f(x)"),
        ("from lib import sub as s", "s.f(x)"),
        ("from lib.sub import f", "f(x)"),
        ("from single import C", "C.f(x)"),
        ("import xml.dom.minidom", "2 * x if xml.dom.minidom.parseString('<a/>') else 0"),
        ("import sqlite3 as s, wave", "2 * x if s.connect and wave.open else 0"),
        ("import importlib; s = importlib.import_module('lib.sub')", "s.f(x)"),
        ("from importlib import import_module as m", "m('lib.sub').f(x)"),
        ("s = __import__('lib.sub')", "s.sub.f(x)"),
    ],
)
def test_an_import_inside_a_function_counts_the_same_before_and_after(lab, inside, call):
    """Nothing changed, so nothing is made: in one process and in the next."""
    write(lab.site, FILES)
    lab.script("", inside, call)
    for made in (True, False):
        values, second, said = lab.run()
        assert (values, second) == ([2, 2], {"reused": 1})
        assert "changed" not in said
        assert ("1 made" in said) is made


@pytest.mark.parametrize(
    "imports",
    [
        "import lib\nimport lib.sub",
        "import single",
        "def load():\n    import lib.sub\nload()",
        "import importlib.util as u, sys\ns = u.find_spec('lib')\ns.loader = u.LazyLoader(s.loader)\n"
        "sys.modules['lib'] = m = u.module_from_spec(s)\ns.loader.exec_module(m)",
    ],
)
@pytest.mark.parametrize("inside", ["import lib.sub", "from lib import sub; import lib"])
def test_what_other_code_loads_makes_no_difference(lab, imports, inside):
    """An import elsewhere, also a lazy one, comes and goes."""
    write(lab.site, FILES)
    lab.script("", inside, "lib.sub.f(x)")
    assert lab.run()[:2] == ([2, 2], {"reused": 1})
    lab.script(imports, inside, "lib.sub.f(x)")
    assert "made" not in lab.run()[2]


@pytest.mark.parametrize(
    ("imports", "inside", "call"),
    [
        ("", "global lib; import lib", "lib.f(x)"),
        ("", "global s; import lib.sub as s", "s.f(x)"),
        ("def load():\n    global lib\n    import lib", "load()", "lib.f(x)"),
        (
            "try:\n    import no_such\nexcept ImportError:\n    import lib as no_such",
            "",
            "no_such.f(x)",
        ),
        (
            "",
            "try:\n            import no_such as n\n        except ImportError:\n            import lib as n",
            "n.f(x)",
        ),
    ],
)
def test_imports_that_wait_or_depend_count_the_same(lab, imports, inside, call):
    """``global lib; import lib`` as those write who load large packages late."""
    write(lab.site, FILES)
    lab.script(imports, inside or "pass", call)
    assert lab.run()[:2] == ([2, 2], {"reused": 1})
    assert "made" not in lab.run()[2]


@pytest.mark.parametrize("place", ["site", "project"])
def test_a_part_of_a_package_that_is_loaded_later(lab, place):
    """``import lib; lib.sub.f()`` works once other code has imported ``lib.sub``."""
    write(getattr(lab, place), FILES)
    lab.script("import lib", "import single", "lib.sub.f(x)")
    assert lab.run()[:2] == ([2, 2], {"reused": 1})
    assert "made" not in lab.run()[2]


def test_another_name_from_a_library_is_seen(lab):
    """What does not depend on what is loaded still counts."""
    write(lab.site, FILES | {"other.py": "def f(x):\n    return x * 5\n"})
    for module, value in (("lib", 2), ("other", 5), ("lib.sub", 2), ("lib", 2)):
        lab.script("", f"from {module} import f", "f(x)")
        assert lab.run()[0] == [value, value]


def test_an_import_inside_a_cell_counts_the_same_before_and_after(tmp_path, monkeypatch):
    """The functions of a notebook are found in another way than those of files."""
    from databacked.fingerprint.code import code_fingerprint
    from tests.fingerprint.test_code import _cell

    write(tmp_path / "site-packages", {"only_here.py": "def g(x):\n    return x\n"})
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    space = _cell(
        "def f(x):\n    from only_here import g\n    return g(x)\n", "/tmp/ipykernel_1/7.py"
    )
    before = code_fingerprint(space["f"], root=tmp_path)
    assert "only_here" not in sys.modules
    assert space["f"](3) == 3
    assert code_fingerprint(space["f"], root=tmp_path) == before
    del sys.modules["only_here"]
