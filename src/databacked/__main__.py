"""``python -m databacked``: the command line."""

import sys

from databacked.cli import main

if __name__ == "__main__":
    sys.exit(main())
