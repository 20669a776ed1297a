"""A file four times larger than the memory that is left is compressed, verified and written back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import netCDF4
import numpy as np
import pytest

LIMIT = 192 << 20
"""Bytes that a process may allocate besides what its imports take."""

PROGRAM = """
import json, resource, sys
import dask, dask.array, distributed, netCDF4, numpy, xarray, zarr
import sciflow, sciflow.store, sciflow.codecs.zarr

def allocated():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1]) * 1024

limit = allocated() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    numpy.zeros(int(1.2 * int(sys.argv[1])), "u1")
except MemoryError:
    pass
else:
    raise SystemExit("the limit does not hold")
dask.config.set(num_workers=1)
source, store, back = sys.argv[2:]
written = sciflow.compress(source, store, bound="rel:1e-3")
verified = sciflow.verify(source, store)
sciflow.store.decompress(store, back)
over_bound = written["f"].max_error / written["f"].bound_abs
print(json.dumps([written.ok, over_bound, verified.ok, written.bytes_in]))
"""


@pytest.fixture
def large_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "large.nc"
    shape = (4 * LIMIT // (512 * 1024 * 4) + 1, 512, 1024)
    y, x = np.mgrid[: shape[1], : shape[2]].astype("f4")
    with netCDF4.Dataset(path, "w") as file:
        for name, size in zip("tyx", shape, strict=True):
            file.createDimension(name, size)
        variable = file.createVariable("f", "f4", ("t", "y", "x"))
        pattern = np.sin(x / 37) * np.cos(y / 23)
        for step in range(shape[0]):
            variable[step] = np.roll(pattern, 3 * step, axis=1) + np.float32(0.01 * step)
    assert path.stat().st_size > 4 * LIMIT
    yield path
    path.unlink()  # pytest keeps the folders of some runs
    (tmp_path / "back.nc").unlink(missing_ok=True)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="sets a limit as Linux does")
def test_four_times_the_memory(large_file: Path, tmp_path: Path) -> None:
    paths = [str(large_file), str(tmp_path / "out.zarr"), str(tmp_path / "back.nc")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(LIMIT), *paths],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written, over_bound, verified, nbytes = json.loads(done.stdout)
    assert written
    assert verified
    assert 0.5 < over_bound <= 1.0
    assert nbytes > 4 * LIMIT
