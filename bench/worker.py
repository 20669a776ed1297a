"""A measurement in a process of its own: a peer that crashes, hangs or prints takes nothing down with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.fields import Source, read
from bench.measure import Row, measure

ROOT = Path(__file__).resolve().parents[1]
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLOSC_NTHREADS", "RAYON_NUM_THREADS"), "1"
)


@dataclass(frozen=True, slots=True)
class Job:
    """What one process measures: a codec on a field, bound after bound."""

    source: Source
    codec: str
    bounds: tuple[float, ...]
    as_is: bool
    repeats: int
    limit: float


def rows(job: Job) -> Iterator[Row]:
    """Yield a row for each bound of ``job``; a crash or a time-out costs its bound alone."""
    left = job.bounds
    while left:
        done, ending = _run(replace(job, bounds=left))
        yield from done
        left = left[len(done) :]
        if left:
            yield _failed(job, left[0], ending)
            left = left[1:]


def _run(job: Job) -> tuple[list[Row], str]:
    """Run ``job`` in a child; return its rows, and how the child ended."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "rows.jsonl")
        out.touch()
        request = json.dumps({**asdict(job), "source": _plain(job.source), "out": str(out)})
        ending = _spawn(request, job.limit * len(job.bounds))
        return [Row(**json.loads(line)) for line in out.read_text().splitlines()], ending


def _spawn(request: str, limit: float) -> str:
    command = [sys.executable, "-m", "bench.worker"]
    environment = {**os.environ, **ONE_THREAD}
    try:
        child = subprocess.run(
            command,
            input=request,
            text=True,
            capture_output=True,
            timeout=limit,
            check=False,
            env=environment,
            cwd=ROOT,
        )
    except subprocess.TimeoutExpired:
        return f"time-out after {limit:g} s"
    if child.returncode < 0:
        return f"crashed ({signal.Signals(-child.returncode).name})"
    last = child.stderr.strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
    return f"error: {last[0][:120]}"


def _failed(job: Job, bound: float, ending: str) -> Row:
    given = "as is" if job.as_is else "mean fill"
    return Row(job.source.name, "", "", job.codec, given, bound, 0.0, ending)


def _plain(source: Source) -> dict[str, str]:
    return {"name": source.name, "path": str(source.path.resolve()), "variable": source.variable}


def main() -> None:
    """Read a request from standard input and append a row of JSON a bound to its ``out`` file."""
    request = json.load(sys.stdin)
    pin()
    source = request["source"]
    field = read(Source(source["name"], Path(source["path"]), source["variable"]))
    with Path(request["out"]).open("a") as out:
        for bound in request["bounds"]:
            row = measure(
                request["codec"], field, bound=bound, as_is=request["as_is"], repeats=request["repeats"]
            )
            out.write(json.dumps(asdict(row)) + "\n")
            out.flush()


def pin() -> None:
    """Keep this process on one CPU where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    main()
