"""Imports go down only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LADDER = """
    types errors plugins callables capture
    project storage
    pictures display
    fingerprint
    serializers records
    provenance
    places
    graph datasets
    runners worker
    engine
    result views flow task verbs cli __main__
    testing pytest_plugin
"""
"""Packages and single modules, the lowest rung first.

Each imports lower rungs, and what stands before it on its own rung. Inside of a package there is
an order, too: no circle.
"""

PLUGS = {
    "storage": {"base", "local"},
    "serializers": {"base", "ome_tiff", "ome_zarr", "default", "as_written", "pickle"},
    "runners": {"base", "threads", "processes", "dask"},
}
"""What can be plugged in: a plug knows its base and what it shares with others, no other plug."""

SOURCE = Path(__file__).parents[1] / "src" / "databacked"
PLACES = {
    name: (rung, place)
    for rung, line in enumerate(LADDER.strip().splitlines())
    for place, name in enumerate(line.split())
}


def modules() -> dict[str, str]:
    """Return the source of every module by its name without ``databacked.``."""
    return {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): (
            path.read_text(encoding="utf-8")
        )
        for path in sorted(SOURCE.rglob("*.py"))
        if path != SOURCE / "__init__.py"  # names everything, imports nothing
    }


MODULES = modules()


def imports(module: str, source: str) -> Iterator[str]:
    """Yield what a module imports of databacked, also for types alone or inside functions.

    The package itself is yielded as an empty text.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(level=0, module=str(base), names=names):
                found = [
                    f"{base}.{alias.name}"
                    if f"{base}.{alias.name}".removeprefix("databacked.") in MODULES
                    else base
                    for alias in names
                ]
            case ast.ImportFrom():
                raise AssertionError(f"{module}:{node.lineno}: write the whole name, not a dot")
            case _:
                continue
        for name in found:
            package, _, rest = name.partition(".")
            if package == "databacked":
                yield rest


def plug_of(module: str) -> str | None:
    """Return which plug a module belongs to; None for a base, and for what plugs share."""
    package, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return name if name in PLUGS.get(package, set()) - {"base"} else None


def complaint(importer: str, imported: str) -> str | None:
    """Return what is wrong with an import, or None."""
    here, there = importer.partition(".")[0], imported.partition(".")[0]
    for package, module in ((here, importer), (there, imported)):
        if package not in PLACES:
            new = module or "the package itself"
            return f"{importer} imports {imported}: {new} has no place on the ladder"
    if here != there:
        if PLACES[there] < PLACES[here]:
            return None
        return f"{importer} imports {imported}, which does not lie below it"
    plug, other = plug_of(importer), plug_of(imported)
    if other is not None and plug != other:
        return f"{importer} imports {imported}, and plugs do not know one another"
    return None


def complaints(module: str, source: str) -> list[str]:
    """Return one line for each import that the ladder forbids."""
    pairs = sorted({(module, imported) for imported in imports(module, source)})
    return [wrong for pair in pairs if (wrong := complaint(*pair))]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_lies_below_it(module):
    """Every import of every module goes down the ladder."""
    assert module.partition(".")[0] in PLACES, f"{module} is new: give it a place on the ladder"
    assert complaints(module, MODULES[module]) == []


def test_no_modules_import_each_other_in_a_circle():
    """Holds inside a package too, where the ladder is silent."""
    TopologicalSorter(
        {name: set(imports(name, source)) for name, source in MODULES.items()}
    ).prepare()


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("records.book", "from databacked.result import LocalResult"),
        ("records.book", "def read():\n    import databacked.graph.nodes"),
        ("types", "if TYPE_CHECKING:\n    from databacked.errors import FlowFailed"),
        ("records.book", "from databacked.datasets.manifest import Manifest"),
        ("runners.threads", "from databacked.engine.run import Run"),
        ("task", "from databacked import LocalResult"),
        ("serializers.pickle", "from databacked.serializers.default.by_ending import put"),
        ("serializers.pickle", "from databacked.places.place import Bound"),
        ("serializers.base", "from databacked.serializers import ome_tiff"),
        ("task", "from databacked.nowhere import x"),
    ],
)
def test_an_import_that_goes_up_is_seen(module, line):
    """The check itself can fail."""
    assert len(complaints(module, line)) == 1
