"""Whose code counts: the project's, the task's package's, and what is installed as a link."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import site
import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import pytest

from databacked import flow, last_run, task
from databacked.fingerprint.code import CodeFingerprint, code_fingerprint
from databacked.fingerprint.installed import installed

from .fingerprint.test_code import _cell

LIBRARY = {"src/labtools/__init__.py": "GAIN = 2\ndef gain(x):\n    return x * GAIN\n"}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")


class Lab:
    """A project with one script, a library beside it, and an environment of its own."""

    def __init__(self, top: Path, peer: Path) -> None:
        self.peer = peer
        self.project, self.library = top / "project", top / "labtools"
        self.site = top / "env" / "site-packages"
        self.site.mkdir(parents=True)
        write(self.library, LIBRARY)
        self.own: list[str] = []
        self.script()

    def script(
        self,
        imports: str = "import labtools",
        inside: str = "pass",
        call: str = "labtools.gain(x)",
    ) -> None:
        body = indent(f"{inside}\nreturn {call}", "    ")
        write(self.project, {"lab_run.py": f"import sys\n{imports}\ndef f(x):\n{body}\n"})

    def run(self) -> tuple[int, CodeFingerprint]:
        """Return ``f(1)`` and what its code counts by, as a new process finds them.

        It counts the same before it has run and afterwards.
        """
        before = set(sys.modules)
        site.addsitedir(str(self.site))
        sys.path.insert(0, str(self.project))
        importlib.invalidate_caches()
        try:
            function = importlib.import_module("lab_run").f
            found = code_fingerprint(function, root=self.project, own=self.own)
            value = function(1)
            assert code_fingerprint(function, root=self.project, own=self.own) == found
        finally:
            sys.path.remove(str(self.project))
            for name in set(sys.modules) - before:
                if name.startswith(("lab", "__editable__")):
                    del sys.modules[name]
        return value, found

    def edit(self, where: Path | None = None) -> None:
        file = next((where or self.library).rglob("labtools/__init__.py"))
        file.write_text(file.read_text().replace("GAIN = 2", "GAIN = 30"))

    def install(self, backend: str, *arguments: str, more: str = "") -> None:
        """Install the library with the tools that people use."""
        # A Python that has the backend; what is installed holds no trace of it.
        python = str(self.peer) if backend.startswith("setuptools") else sys.executable
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
        into = ["--no-deps", "--python", python, "--target", str(self.site)]
        subprocess.run([*uv, *into, *arguments, str(self.library)], check=True, capture_output=True)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peer: Path) -> Lab:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Lab(tmp_path, peer)


HATCH = """
    [tool.hatch.build.targets.wheel]
    packages = ["src/labtools"]
    """


def is_followed(lab: Lab) -> bool:
    """Whether an edit of the library is seen; else it is said that it is not."""
    value, before = lab.run()
    assert value == 2
    lab.edit()
    value, after = lab.run()
    assert value == 30
    followed = before.digest != after.digest
    assert any("labtools, which" in line for line in after.opaque) is not followed
    return followed


# ---------------------------------------------------------------- installed in every way


def test_an_editable_install_by_hatchling_is_our_own(lab):
    """``pip install -e`` with a folder in a ``.pth`` file."""
    lab.install("hatchling.build", "-e", more=HATCH)
    assert is_followed(lab)


def test_an_install_of_a_folder_is_said_not_to_be_followed(lab):
    """``pip install ./labtools``: a copy, which its folder may be ahead of."""
    lab.install("hatchling.build", more=HATCH)
    (line,) = lab.run()[1].opaque
    assert line.startswith("labtools, which was installed from a local folder")
    assert "own = ['labtools'] in databacked.toml" in line


def test_an_install_of_a_folder_is_followed_once_it_is_named(lab):
    """``own = ["labtools"]``."""
    lab.install("hatchling.build", more=HATCH)
    lab.own = ["labtools"]
    (_, before), _ = lab.run(), lab.edit(lab.site)
    value, after = lab.run()
    assert (value, after.opaque) == (30, ())
    assert before.digest != after.digest


@pytest.mark.parametrize(
    "more",
    ["", "[tool.setuptools]\npackage-dir = {labtools = 'src/labtools'}\npackages = ['labtools']"],
)
def test_an_editable_install_by_setuptools_is_our_own(lab, more):
    """Of its newer kinds, a ``.pth`` file and a finder in the import system."""
    lab.install("setuptools.build_meta", "-e", more=more)
    assert is_followed(lab)


def test_an_object_of_a_named_package_is_ours(lab):
    """Its class is followed, so nothing is said of it."""
    write(lab.library, {"src/labtools/__init__.py": "class Box:\n    size = 2\nBOX = Box()\n"})
    lab.install("hatchling.build", more=HATCH)
    lab.own = ["labtools"]
    lab.script(call="labtools.BOX.size * x")
    assert lab.run()[1].opaque == ()


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
    sys.path.append(str(lab.library / "src"))
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
    sys.path.append(str(lab.library / "src"))
    assert not is_followed(lab)


def test_a_folder_that_a_script_adds_is_said_not_to_be_followed(lab):
    """``sys.path.insert``."""
    src = str(lab.library / "src")
    lab.script(imports=f"sys.path.insert(0, {src!r}); import labtools")
    assert not is_followed(lab)


@pytest.mark.parametrize("inside", ["import labtools", "from labtools import gain"])
def test_it_is_said_too_where_it_is_imported_in_the_function(lab, inside):
    """Before it is loaded and afterwards."""
    sys.path.append(str(lab.library / "src"))
    lab.script("", inside, "gain(x)" if "from" in inside else "labtools.gain(x)")
    assert not is_followed(lab)


def test_a_folder_on_the_path_is_followed_once_it_is_named(lab):
    """``own = ["labtools"]``, also where it is imported inside the function."""
    sys.path.append(str(lab.library / "src"))
    lab.script("", "import labtools")
    lab.own = ["labtools"]
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
    lab.script("import numpy, json", call="int(numpy.sum(json.loads('[1]')))")
    assert lab.run()[1].opaque == ()


def test_it_is_said_once_at_the_end_of_a_run(lab, capsys, monkeypatch):
    """However many tasks and items there are."""
    monkeypatch.delenv("DATABACKED_QUIET", raising=False)
    sys.path += [str(lab.library / "src"), str(lab.project)]
    module = importlib.import_module("lab_run")
    tasks = [task(target=f"{name}_{{x}}.json", name=name)(module.f) for name in "ab"]
    flow(lambda: [one.map([1, 2]) for one in tasks], root=lab.project)()
    del sys.modules["lab_run"], sys.modules["labtools"]
    assert capsys.readouterr().err.count("labtools, which is not") == 1


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
    digests = set()
    for amount in (2, 30):
        write(lab.project, {"labspace/deep.py": f"def gain(x):\n    return x * {amount}\n"})
        value, found = lab.run()
        assert value == amount
        digests.add(found.digest)
    assert len(digests) == 2


# ---------------------------------------------------------------- loaded or not


FILES = {
    "labfar/__init__.py": "def f(x):\n    return x * 2\n",
    "labfar/sub.py": "def f(x):\n    return x * 2\n",
    "labone.py": "from labfar.sub import f\nclass C:\n    f = staticmethod(f)\n",
}


@pytest.mark.parametrize("place", ["site", "project"])
@pytest.mark.parametrize(
    ("inside", "call"),
    [
        ("import labfar", "labfar.f(x)"),
        ("import labfar as l", "l.f(x)"),
        ("import labfar.sub", "labfar.sub.f(x)"),
        ("import labfar.sub as s", "s.f(x)"),
        ("import labfar, labone", "labfar.f(x) + 0 * labone.f(x)"),
        ("from labfar import f", "f(x)"),
        ("from labfar import f as g", "g(x)"),
        ("from labfar import sub", "sub.f(x)"),
        ("from labfar import sub as s", "s.f(x)"),
        ("from labfar.sub import f", "f(x)"),
        ("from labone import C", "C.f(x)"),
        ("import importlib; s = importlib.import_module('labfar.sub')", "s.f(x)"),
        ("from importlib import import_module as m", "m('labfar.sub').f(x)"),
        ("s = __import__('labfar.sub')", "s.sub.f(x)"),
        ("global labfar; import labfar", "labfar.f(x)"),
        ("global s; import labfar.sub as s", "s.f(x)"),
        ("try:\n    import labno as n\nexcept ImportError:\n    import labfar as n", "n.f(x)"),
        ("if x:\n    from labfar import f\nelse:\n    from labno import f", "f(x)"),
        ("def g():\n    from labfar import f\n    return f", "g()(x)"),
        ("class C:\n    from labfar import f", "C.f(x)"),
        ("import sqlite3 as s, wave", "2 * x if s.connect and wave.open else 0"),
        ("import xml.dom.minidom", "2 * x if xml.dom.minidom.parseString('<a/>') else 0"),
    ],
)
def test_an_import_inside_a_function_counts_the_same_before_and_after(lab, place, inside, call):
    """Nothing changed, so nothing is made: in one process and in the next."""
    write(getattr(lab, place), FILES)
    lab.script("", inside, call)
    assert lab.run() == lab.run()
    assert lab.run()[0] == 2


@pytest.mark.parametrize(
    "imports",
    [
        "def load():\n    global labfar\n    import labfar",
        "try:\n    import labno as labfar\nexcept ImportError:\n    import labfar",
    ],
)
def test_imports_that_wait_or_depend_count_the_same(lab, imports):
    """A function that loads a large package for all others, and one that is there or not."""
    write(lab.site, FILES)
    lab.script(imports, "load()" if "load()" in imports else "pass", "labfar.f(x)")
    assert lab.run() == lab.run()


LAZY = """
import importlib.util as u
spec = u.find_spec('labfar')
spec.loader = u.LazyLoader(spec.loader)
sys.modules['labfar'] = module = u.module_from_spec(spec)
spec.loader.exec_module(module)
"""


@pytest.mark.parametrize(
    "imports",
    ["import labfar.sub", "import labone", "def load():\n    import labfar.sub\nload()", LAZY],
)
@pytest.mark.parametrize("inside", ["import labfar.sub", "from labfar import sub; import labfar"])
def test_what_other_code_loads_makes_no_difference(lab, imports, inside):
    """An import elsewhere, also a lazy one, comes and goes."""
    write(lab.site, FILES)
    lab.script("", inside, "labfar.sub.f(x)")
    before = lab.run()[1].digest
    lab.script(imports, inside, "labfar.sub.f(x)")
    assert lab.run()[1].digest == before


@pytest.mark.parametrize("place", ["site", "project"])
def test_a_part_of_a_package_that_is_loaded_later(lab, place):
    """``import labfar; labfar.sub.f()`` works once other code has imported ``labfar.sub``."""
    write(getattr(lab, place), FILES)
    lab.script("import labfar", "import labone", "labfar.sub.f(x)")
    assert lab.run() == lab.run()


def test_another_name_from_a_library_is_seen(lab):
    """What does not depend on what is loaded still counts: package and dotted name."""
    write(lab.site, FILES | {"labother.py": "def f(x):\n    return x * 5\n"})
    digests = []
    for module in ("labfar", "labother", "labfar.sub", "labfar"):
        lab.script("", f"from {module} import f", "f(x)")
        digests.append(lab.run()[1].digest)
    assert len(set(digests)) == 3
    assert digests[0] == digests[3]


def test_a_second_call_in_one_process_makes_nothing(project):
    """Nor says that something changed."""

    @task(target="{x}.json")
    def f(x):
        import this_is_missing_or_not as module  # type: ignore[import-not-found]

        return module.g(x)

    sys.modules.pop("this_is_missing_or_not", None)
    write(project / "site-packages", {"this_is_missing_or_not.py": "def g(x):\n    return x\n"})
    sys.path.append(str(project / "site-packages"))
    try:
        assert [f(1), f(1)] == [1, 1]
    finally:
        sys.path.remove(str(project / "site-packages"))
    report = last_run()
    assert report is not None
    assert report.counts == {"f": {"reused": 1}}


def test_an_import_inside_a_cell_counts_the_same_before_and_after(lab):
    """The functions of a notebook are found in another way than those of files."""
    write(lab.site, FILES)
    sys.path.append(str(lab.site))
    text = "def f(x):\n    from labfar import f\n    return f(x)\n"
    function = _cell(text, "/tmp/ipykernel_1/7.py")["f"]
    before = code_fingerprint(function, root=lab.project)
    assert "labfar" not in sys.modules
    assert function(3) == 6
    assert code_fingerprint(function, root=lab.project) == before
    del sys.modules["labfar"]
