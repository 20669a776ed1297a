"""Files that are whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sciflow.errors import StoreError

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes) -> Path:
    """Write a file, whole or not at all: what is at the path is never half of it.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    new: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            new = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        if new is not None:
            new.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error
    return path
