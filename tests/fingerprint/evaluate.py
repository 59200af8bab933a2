"""Run in a process of its own: print the fingerprints of ``f`` in the ``main.py`` of folders."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path

from databacked.errors import FingerprintError
from databacked.fingerprint.code import code_fingerprint
from databacked.fingerprint.files import content_of


def evaluate(folder: Path) -> dict[str, object]:
    """Return fingerprint and value of ``f`` as if nothing had been imported from elsewhere."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        function = importlib.import_module("main").f
        found = code_fingerprint(function, root=folder)
        return {
            "digest": found.digest,
            "symbols": dict(found.symbols),
            "values": dict(found.values),
            "opaque": list(found.opaque),
            "files": [content_of(path) for path in found.paths.values()],
            "value": repr(function(3)),
        }
    except (Exception, FingerprintError):
        return {"error": traceback.format_exc()}
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    print(json.dumps({name: evaluate(Path(name)) for name in json.load(sys.stdin)}))
