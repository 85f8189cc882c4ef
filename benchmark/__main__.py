"""``python -m benchmark``."""

from __future__ import annotations

import sys

try:
    from benchmark.cli import main
except ModuleNotFoundError as error:
    if error.name != "pluggy":  # the one library that the command line itself needs
        raise
    print("error: pocketbench is not installed (pluggy is missing): run pip install -e .", file=sys.stderr)
    sys.exit(2)  # as after every mistake of the user

if __name__ == "__main__":
    sys.exit(main())
