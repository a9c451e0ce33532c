"""`python -m headct` is the command `headct`."""

from __future__ import annotations

import sys

from headct.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
