"""Imports go down only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

LADDER = """
    types errors hashes sameness stats descriptors renames adopted like_numpy callables installed
    notebook outlive failures said figures pyplot draw
    corrections serializers.base serializers.images serializers.tables
    storage.base remotes.base runners.base
    plugins views project owners marks scratch fingerprint records provenance links manifest arrays
    copies
    dataset
    serializers storage remotes runners
    decide result outputs orphans
    target step graph known watch item progress shares
    calls outline plan tables state tokens needs chains run flow task verbs
    cli portal testing pytest_plugin
"""
"""Lowest rung first. A module imports lower rungs, and what stands before it on its own rung.

A package's name stands for all its modules that are not named themselves.
"""

PLUGS = {"serializers", "storage", "remotes", "runners"}
"""Packages whose modules import nothing of their own rung: a plug knows its base, no siblings."""

EXCEPTIONS = {
    ("serializers.default", "serializers.ome_tiff"),  # one of the endings that it knows
    ("serializers.default", "serializers.ome_zarr"),  # likewise
}
"""(importer, imported): the imports that go up or aside, and why."""

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


def name_on_ladder(module: str) -> str | None:
    """Return the entry of the ladder that a module stands at: its own, or its package's."""
    package = module.partition(".")[0]
    return next((name for name in (module, package) if name in PLACES), None)


def complaint(importer: str, imported: str) -> str | None:
    """Return what is wrong with an import, or None."""
    here, there = name_on_ladder(importer), name_on_ladder(imported)
    if here is None or there is None:
        new = (importer if here is None else imported) or "the package itself"
        return f"{importer} imports {imported}: {new} has no place on the ladder"
    if here == there and here not in PLUGS:
        return None
    if PLACES[there] < PLACES[here] and not (
        here in PLUGS and there in PLUGS  # one rung for all plugs, whatever their order on it
    ):
        return None
    return f"{importer} imports {imported}, which does not lie below it"


def complaints(module: str, source: str) -> list[str]:
    """Return one line for each import that the ladder forbids."""
    pairs = {(module, imported) for imported in imports(module, source)}
    return [wrong for pair in sorted(pairs - EXCEPTIONS) if (wrong := complaint(*pair))]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_lies_below_it(module):
    """Every import of every module goes down the ladder."""
    assert name_on_ladder(module), f"{module} is new: give it a place on the ladder"
    assert complaints(module, MODULES[module]) == []


def test_no_modules_import_each_other_in_a_circle():
    """Holds inside a package too, where the ladder is silent."""
    TopologicalSorter(
        {
            name: {other for other in imports(name, source) if (name, other) not in EXCEPTIONS}
            for name, source in MODULES.items()
        }
    ).prepare()


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("records", "from databacked.result import LocalResult"),
        ("records", "def read():\n    import databacked.graph"),
        ("types", "if TYPE_CHECKING:\n    from databacked.errors import FlowFailed"),
        ("records", "from databacked.manifest import Manifest"),
        ("task", "from databacked import LocalResult"),
        ("serializers.table", "from databacked.serializers.default import ArrayToDefaultWriter"),
        ("serializers.table", "from databacked.storage.local import LocalStorage"),
        ("serializers.base", "from databacked.serializers import ome_tiff"),
        ("task", "from databacked.nowhere import x"),
    ],
)
def test_an_import_that_goes_up_is_seen(module, line):
    """The check itself can fail."""
    assert len(complaints(module, line)) == 1
