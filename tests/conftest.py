"""What every test file may ask for: the real fields, and Hypothesis without a clock."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from tests.prefect_server import prefect_server

__all__ = ["prefect_server"]

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch's threads wait for each other where cores are busy
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a shell runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
REPOSITORY = Path(__file__).resolve().parents[1]

settings.register_profile("sciflow", deadline=None, print_blob=True)
settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "sciflow"))


@dataclass(frozen=True, slots=True)
class RealFields:
    """A folder of real fields, one .npy each, and the catalog.json that names them."""

    folder: Path

    def names(self) -> list[str]:
        return [entry["name"] for entry in self._entries()]

    def load(self, name: str) -> NDArray[Any]:
        """The field, read-only and memory-mapped."""
        files = {entry["name"]: entry["file"] for entry in self._entries()}
        field: NDArray[Any] = np.load(self.folder / files[name], mmap_mode="r")
        return field

    def _entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads((self.folder / "catalog.json").read_text())
        return entries


def find_real_fields() -> RealFields | None:
    """The folder that SCIFLOW_TEST_DATA names, else ../shared/data, else None."""
    asked = os.environ.get("SCIFLOW_TEST_DATA")
    folder = Path(asked) if asked else REPOSITORY.parent / "shared" / "data"
    if (folder / "catalog.json").is_file():
        return RealFields(folder)
    if asked:
        raise pytest.UsageError(f"SCIFLOW_TEST_DATA={asked}: found no catalog.json there; unset it to skip")
    return None


@pytest.fixture(scope="session")
def real_fields() -> RealFields:
    """The real fields; the test is skipped where they are not."""
    fields = find_real_fields()
    if fields is None:
        pytest.skip("no real fields: set SCIFLOW_TEST_DATA to a folder of .npy files with a catalog.json")
    return fields


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY
