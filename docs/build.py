"""Build the site into docs/_build, and check its links: `./dev docs`.

Every warning is an error: a page, an anchor, a file of the repository or a name of the reference
that a link does not find. Links to other sites are checked where there is a network.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / ".docs"))

from sphinx.cmd.build import main as sphinx  # noqa: E402

BUILT = ROOT / "docs" / "_build"
STRICT = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet"]
FOLDERS = ["-c", str(ROOT / "docs"), "-d", str(BUILT / "doctrees"), str(ROOT)]
NEIGHBOUR = "https://docs.python.org/"
"""Asked whether there is a network."""


def main() -> int:
    """Return 0 if everything is well."""
    shutil.rmtree(BUILT, ignore_errors=True)  # what is built anew says all its warnings
    code = sphinx([*STRICT, *FOLDERS, str(BUILT / "html")])
    if code:
        return code
    print("docs: docs/_build/html/index.html; all links inside lead somewhere")
    if not is_online():
        print("docs: no network, so links to other sites are not checked")
        return 0
    return sphinx(["-b", "linkcheck", *STRICT, *FOLDERS, str(BUILT / "links")])


def is_online() -> bool:
    """Whether other sites can be reached from here."""
    try:
        urlopen(NEIGHBOUR, timeout=5).close()
    except HTTPError:
        return True
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
