"""One codec on one field, bound after bound, in a process of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.child import pin, spawn
from bench.fields import Source, read
from bench.measure import Row, measure


@dataclass(frozen=True, slots=True)
class Job:
    """What one process measures: a codec on a field, bound after bound."""

    source: Source
    codec: str
    bounds: tuple[float, ...]
    as_is: bool
    repeats: int
    limit: float
    cpu: int = 0

    @property
    def given(self) -> str:
        """What the codec gets, in the words of the CSV."""
        return "as is" if self.as_is else "mean fill"


def rows(job: Job) -> Iterator[Row]:
    """Yield a row for each bound of ``job``; a crash or a time-out costs its bound alone."""
    left = job.bounds
    while left:
        done, ending = _run(replace(job, bounds=left))
        yield from done
        left = left[len(done) :]
        if left:
            yield Row(job.source.name, "", "", job.codec, job.given, left[0], 0.0, ending or "no row")
            left = left[1:]


def _run(job: Job) -> tuple[list[Row], str]:
    """Run ``job`` in a child; return its rows, and how the child ended."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "rows.jsonl")
        out.touch()
        source = {"name": job.source.name, "path": str(job.source.path.resolve())}
        request = json.dumps({**asdict(job), "source": source, "out": str(out)})
        ending = spawn("bench.worker", request, job.limit * len(job.bounds))
        return [Row(**json.loads(line)) for line in out.read_text().splitlines()], ending


def main() -> None:
    """Read a request from standard input and append a row of JSON a bound to its ``out`` file."""
    request = json.load(sys.stdin)
    pin(request["cpu"])
    field = read(Source(request["source"]["name"], Path(request["source"]["path"])))
    with Path(request["out"]).open("a") as out:
        for place, bound in enumerate(request["bounds"]):
            row = measure(
                request["codec"],
                field,
                bound=bound,
                as_is=request["as_is"],
                repeats=request["repeats"],
                warm=place > 0 or request["repeats"] == 1,
            )
            out.write(json.dumps(asdict(row)) + "\n")
            out.flush()


if __name__ == "__main__":
    main()
