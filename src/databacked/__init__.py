"""Functions on arrays whose results are ordinary files that know what made them.

Each public name is imported when it is first used, so that ``import databacked`` stays light.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from databacked.datasets.dataset import Dataset
    from databacked.engine.report import last_run
    from databacked.errors import DatabackedError, FlowFailed
    from databacked.flow import flow
    from databacked.graph.columns import compact, each, flatten, group, same, sweep
    from databacked.graph.futures import Future, Futures, Values
    from databacked.places.image import Image
    from databacked.result import LocalDatasetResult, LocalResult
    from databacked.runners.processes import ProcessRunner
    from databacked.runners.threads import CallingThreadRunner, ThreadRunner
    from databacked.serializers.base import Serializer
    from databacked.serializers.default.by_ending import ArrayToDefaultWriter
    from databacked.serializers.ome_tiff.serializer import ArrayToOmeTiff
    from databacked.serializers.ome_zarr.serializer import ArrayToOmeZarr
    from databacked.serializers.pickle import ToPickle
    from databacked.task import task
    from databacked.types import Failed, PhysicalPixelSizes, Translation
    from databacked.verbs import describe

__version__ = "0.1.0"

__all__ = [
    "ArrayToDefaultWriter",
    "ArrayToOmeTiff",
    "ArrayToOmeZarr",
    "CallingThreadRunner",
    "DatabackedError",
    "Dataset",
    "Failed",
    "FlowFailed",
    "Future",
    "Futures",
    "Image",
    "LocalDatasetResult",
    "LocalResult",
    "PhysicalPixelSizes",
    "ProcessRunner",
    "Serializer",
    "ThreadRunner",
    "ToPickle",
    "Translation",
    "Values",
    "compact",
    "describe",
    "each",
    "flatten",
    "flow",
    "group",
    "last_run",
    "same",
    "sweep",
    "task",
]

_HOMES = {
    "ArrayToDefaultWriter": "databacked.serializers.default.by_ending",
    "ArrayToOmeTiff": "databacked.serializers.ome_tiff.serializer",
    "ArrayToOmeZarr": "databacked.serializers.ome_zarr.serializer",
    "CallingThreadRunner": "databacked.runners.threads",
    "DatabackedError": "databacked.errors",
    "Dataset": "databacked.datasets.dataset",
    "Failed": "databacked.types",
    "FlowFailed": "databacked.errors",
    "Future": "databacked.graph.futures",
    "Futures": "databacked.graph.futures",
    "Image": "databacked.places.image",
    "LocalDatasetResult": "databacked.result",
    "LocalResult": "databacked.result",
    "PhysicalPixelSizes": "databacked.types",
    "ProcessRunner": "databacked.runners.processes",
    "Serializer": "databacked.serializers.base",
    "ThreadRunner": "databacked.runners.threads",
    "ToPickle": "databacked.serializers.pickle",
    "Translation": "databacked.types",
    "Values": "databacked.graph.futures",
    "compact": "databacked.graph.columns",
    "describe": "databacked.verbs",
    "each": "databacked.graph.columns",
    "flatten": "databacked.graph.columns",
    "flow": "databacked.flow",
    "group": "databacked.graph.columns",
    "last_run": "databacked.engine.report",
    "same": "databacked.graph.columns",
    "sweep": "databacked.graph.columns",
    "task": "databacked.task",
}


class _Package(ModuleType):
    # Python binds a submodule to its package when it is imported; `databacked.task` must stay the
    # decorator, whoever imports the module of that name, and whenever.
    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOMES.get(name) == value.__name__:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

if not TYPE_CHECKING:  # so that a misspelt name is an error for type checkers too

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
