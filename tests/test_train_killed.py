"""A run that is killed at any point goes on to the same losses and weights, bit for bit.

Points are calls that a run makes, also those of the thread that writes checkpoints: before a gradient, a
part of a file, an fsync, a rename. ``SCIFLOW_KILLS=20`` tries that many; each is a process of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pydantic")

KILLS = int(os.environ.get("SCIFLOW_KILLS", "4"))

SCRIPT = '''
import multiprocessing, os, pathlib, signal, sys, threading, traceback
from pathlib import Path
import torch, torch.utils.tensorboard, matplotlib.figure, rich.progress
from sciflow.models.checkpoints.files import _Hashed
from sciflow.models.runs import train
from sciflow.models.runs.state import Run
from tests.tiny_surrogate import tiny_config

calls, limit, lock = 0, 0, threading.Lock()

def counted(call):
    def with_count(*given, **named):
        global calls
        with lock:
            calls += 1
            if calls == limit:
                os.kill(os.getpid(), signal.SIGKILL)
        return call(*given, **named)
    return with_count

for owner, name in (
    (Run, "gradients"), (Run, "advance"), (_Hashed, "write"),
    (os, "fsync"), (Path, "replace"), (Path, "unlink"),
):
    setattr(owner, name, counted(getattr(owner, name)))

def forked(config, stop_at, resume):
    """Train in a process of its own; return its exit status and how many calls it made."""
    global limit
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        limit = stop_at
        try:
            train(config, resume=resume)
            os.write(writer, str(calls).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writer)
    told = os.read(reader, 100)
    os.close(reader)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(told or 0)

folder = Path(sys.argv[1])
points = [float(text) for text in sys.argv[2:]]
status, total = forked(tiny_config(folder), 0, False)
assert status == 0
for number, point in enumerate(points):
    at = 1 + int(point * total)
    config = tiny_config(folder, out=str(folder / str(number)))
    killed, _ = forked(config, at, False)
    finished, _ = forked(config, 0, True)
    print(number, at, total, killed, finished, flush=True)
'''


def epochs_of(folder: Path) -> list[str]:
    """The table of epochs without its last column, the seconds."""
    return [row.rsplit(",", 1)[0] for row in (folder / "epochs.csv").read_text().splitlines()]


@pytest.mark.timeout(300 + 60 * KILLS)
def test_killed_anywhere_it_goes_on_as_if_it_had_not_been(tmp_path: Path, repository: Path) -> None:
    import torch

    from sciflow.models.checkpoints import read_checkpoint

    points = [f"{point:.9f}" for point in np.random.default_rng(KILLS).uniform(0, 0.98, KILLS)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *points],
        capture_output=True,
        text=True,
        timeout=280 + 60 * KILLS,
        check=False,
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert done.returncode == 0, done.stderr
    rows = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(rows) == KILLS
    whole = tmp_path / "run"
    wanted = read_checkpoint(whole / "checkpoints" / "best.weights")["network"]
    for number, at, total, killed, finished in rows:
        where = f"kill {number} at call {at} of {total}"
        assert (killed, finished) == (-signal.SIGKILL, 0), f"{where}: {done.stderr}"
        found = tmp_path / str(number)
        assert (found / "steps.csv").read_bytes() == (whole / "steps.csv").read_bytes(), where
        assert epochs_of(found) == epochs_of(whole), where
        best = read_checkpoint(found / "checkpoints" / "best.weights")["network"]
        assert all(torch.equal(best[name], wanted[name]) for name in wanted), where
        assert not list((found / "checkpoints").glob(".new-*")), where
