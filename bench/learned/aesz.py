"""``python -m bench.learned.aesz``: AESZ, SZ and its peers on snapshots that no model has seen.

Models of the catalogue meet a run of another seed; those of other recipes and of real series are fitted on
their first snapshots, and another one is coded. Autoencoders are trained where torch is installed. Writes
CSVs, and docs/aesz-results.md with figures.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench.learned.aesz_cases import Case, Epochs, cases
from bench.protocol import Array, Task, load
from sciflow import AESZ, SZ, Bound
from sciflow.codecs import aesz
from sciflow.codecs.sz import Level
from sciflow.models import Model

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results" / "learned"
RELS = (1e-1, 3e-2, 1e-2, 5e-3, 1e-3)
LEVELS: tuple[Level, ...] = ("balanced", "max")
PEERS = ("pysz", "pysz-lorenzo", "hdf5-sz", "hdf5-sperr", "zfpy")
COLUMNS = [
    "field", "values", "rel", "codec", "bytes", "model_bytes", "latent_bytes", "psnr", "over_bound",
    "encode_mbs", "decode_mbs",
]  # fmt: skip
FORCED = ["field", "model", "rel", "bytes", "plain_bytes", "encode_mbs", "decode_mbs"]


_Made = TypeVar("_Made")


def best_time(call: Callable[[], _Made], *, runs: int = 2) -> tuple[float, _Made]:
    """Return the CPU seconds of the shortest of some runs, and what the last one returned."""
    shortest = math.inf
    for _ in range(runs):
        started = time.process_time()
        made = call()
        shortest = min(shortest, time.process_time() - started)
    return max(shortest, 1e-9), made


def rows_of(case: Case) -> Iterator[dict[str, Any]]:
    """A row for each codec and bound."""
    field = case.values
    span = float(field.max()) - float(field.min())
    for rel in RELS:
        task = Task(field.shape, str(field.dtype), rel * span)
        for level in LEVELS:
            sz = SZ(Bound.abs(task.bound), level=level)
            yield _row(case, rel, f"sciflow {level}", sz.encode, sz.decode)
            for kind, model in case.models.items():
                codec = AESZ(Bound.abs(task.bound), model=model, level=level)
                yield _row(case, rel, f"aesz {kind} {level}", codec.encode, codec.decode, model)
        for name in PEERS:
            peer = load(name)
            yield _row(case, rel, name, lambda a: peer.encode(a, task), lambda b: peer.decode(b, task))  # noqa: B023


def forced_of(case: Case) -> Iterator[dict[str, Any]]:
    """A row for each model and two bounds: all blocks are predicted by it, whether that pays or not."""
    field = case.values
    span = float(field.max()) - float(field.min())
    for rel in (1e-2, 1e-3):
        for kind, model in case.models.items():
            config = aesz.AESZConfig(Bound.abs(rel * span), model=model)
            plain = len(SZ(Bound.abs(rel * span)).encode(field))
            encoding, stream = best_time(lambda: aesz.encode_modelled(field, config))  # noqa: B023
            if stream is None:
                continue
            decoding, _ = best_time(lambda: aesz.decode(stream))  # noqa: B023
            yield {
                "field": case.name,
                "model": kind,
                "rel": rel,
                "bytes": len(stream),
                "plain_bytes": plain,
                "encode_mbs": field.nbytes / 1e6 / encoding,
                "decode_mbs": field.nbytes / 1e6 / decoding,
            }


def _row(
    case: Case,
    rel: float,
    codec: str,
    encode: Callable[[Array], bytes],
    decode: Callable[[bytes], Array],
    model: Model | None = None,
) -> dict[str, Any]:
    field = case.values
    encoding, stream = best_time(lambda: encode(field), runs=1 if "max" in codec else 2)
    decoding, back = best_time(lambda: decode(stream))
    error = np.abs(back.astype(np.float64) - field)
    span = float(field.max()) - float(field.min())
    found = aesz.info(stream) if model else None
    used = bool(found and found.model)
    return {
        "field": case.name,
        "values": field.size,
        "rel": rel,
        "codec": codec,
        "bytes": len(stream),
        "model_bytes": len(model.to_bytes()) if model and used else 0,
        "latent_bytes": found.latent_bytes if found else 0,
        "psnr": 20 * np.log10(span) - 10 * np.log10(max(float((error**2).mean()), 1e-300)),
        "over_bound": float(error.max()) / (rel * span),
        "encode_mbs": field.nbytes / 1e6 / encoding,
        "decode_mbs": field.nbytes / 1e6 / decoding,
    }


def measure(found: Sequence[Case], out: Path) -> None:
    """Write both CSVs: all codecs, and models that are used on every block."""
    for path, columns, rows in (
        (out, COLUMNS, rows_of),
        (out.with_stem(f"{out.stem}-forced"), FORCED, forced_of),
    ):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            for case in found:
                for row in rows(case):
                    short = {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()}
                    writer.writerow(short)
                    label = row.get("codec", row.get("model"))
                    sys.stdout.write(f"{case.name} {row['rel']:g} {label:24} {row['bytes']}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure or read, and write the page; return 0."""
    from bench.learned.aesz_page import write_page

    parser = argparse.ArgumentParser("python -m bench.learned.aesz", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of series")
    parser.add_argument(
        "--made", type=Path, default=ROOT / "build" / "bench-aesz", help="simulated fields are kept here"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "aesz.csv")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "aesz-results.md")
    parser.add_argument("--only", action="append", help="cases whose name begins so")
    parser.add_argument(
        "--epochs", type=int, default=12, help="of each small autoencoder; 0: none is trained"
    )
    parser.add_argument("--paper-epochs", type=int, default=3, help="of one of the paper's size; 0: none")
    parser.add_argument("--page-only", action="store_true", help="only write the page from the CSVs")
    options = parser.parse_args(arguments)
    if not options.page_only:
        epochs = Epochs(options.epochs, options.paper_epochs)
        found = cases(options.data, options.made, only=options.only or [""], epochs=epochs)
        measure(list(found), options.out)
    rows, forced = (
        list(csv.DictReader(path.read_text().splitlines()))
        for path in (options.out, options.out.with_stem(f"{options.out.stem}-forced"))
    )
    write_page(rows, forced, options.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
