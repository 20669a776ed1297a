"""``python -m tests.golden.make``: add goldens for examples that have none. Nothing is ever overwritten."""

from __future__ import annotations

import sys

from tests.golden.store import FOLDER, add_missing

if __name__ == "__main__":
    try:
        written = add_missing()
    except OSError as error:
        sys.exit(str(error))
    sys.stdout.write("".join(f"{FOLDER / name}\n" for name in written) or "every example has its golden\n")
