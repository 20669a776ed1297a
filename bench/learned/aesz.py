"""``python -m bench.learned.aesz``: AESZ, SZ and its peers on snapshots that no model has seen.

Models of the catalogue meet a run of another seed; those of real series are fitted on their first snapshots,
and the last one is coded. Writes a CSV, and docs/aesz-results.md with a figure.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.learned.predictors import snapshot
from bench.protocol import Array, Task, load
from sciflow import AESZ, SZ, Bound
from sciflow.codecs import aesz
from sciflow.models import Model, fit_klt, resolve
from sciflow.models.blocks import cut

ROOT = Path(__file__).resolve().parents[2]
RELS = (3e-2, 1e-2, 5e-3, 1e-3)
PEERS = ("pysz", "pysz-lorenzo", "hdf5-sz", "hdf5-sperr", "zfpy")
COLUMNS = [
    "field", "rel", "codec", "bytes", "model_bytes", "latent_bytes", "psnr", "over_bound",
    "encode_mbs", "decode_mbs",
]  # fmt: skip
BLOCK = (8, 8, 8)


@dataclass(frozen=True, slots=True)
class Case:
    """A snapshot that no model has seen, and the models of its field by label."""

    name: str
    values: Array
    models: dict[str, Model]


def cases(data: Path, made: Path | None) -> Iterator[Case]:
    """The recipes with the catalogue's models, then the series in `data`."""
    for dataset, variable in (("shallow-water", "vorticity"), ("navier-stokes-3d", "u")):
        values = _made(dataset, variable, made)
        models = {kind: resolve(f"{dataset}-{kind}") for kind in ("klt", "autoencoder")}
        yield Case(f"{dataset}: {variable}", values, models)
    hurricane = np.load(data / "hurricane_isabel_wind.npy")
    yield _fitted("hurricane: wind, step 48", list(hurricane[:9]), hurricane[11])
    members = np.load(data / "ccsm_trefht_ensemble.npy")
    yield _fitted("ccsm: trefht, other member, 32 years", [members[0]], members[1, :32])
    fingers = np.load(data / "viscous_fingering_3d.npy")
    yield _fitted("viscous fingers: step 46", list(fingers[:4]), fingers[5])


def rows_of(case: Case) -> Iterator[dict[str, Any]]:
    """A row for each codec and bound."""
    field = case.values
    span = float(field.max()) - float(field.min())
    for rel in RELS:
        task = Task(field.shape, str(field.dtype), rel * span)
        for level in ("balanced", "max"):
            sz = SZ(Bound.abs(task.bound), level=level)
            yield _row(case, rel, f"sciflow {level}", sz.encode, sz.decode)
            for kind, model in case.models.items():
                codec = AESZ(Bound.abs(task.bound), model=model, level=level)
                yield _row(case, rel, f"aesz {kind} {level}", codec.encode, codec.decode, model)
        for name in PEERS:
            peer = load(name)
            yield _row(case, rel, name, lambda a: peer.encode(a, task), lambda b: peer.decode(b, task))  # noqa: B023


def _row(
    case: Case,
    rel: float,
    codec: str,
    encode: Callable[[Array], bytes],
    decode: Callable[[bytes], Array],
    model: Model | None = None,
) -> dict[str, Any]:
    field = case.values
    started = time.process_time()
    stream = encode(field)
    between = time.process_time()
    back = decode(stream)
    ended = time.process_time()
    error = np.abs(back.astype(np.float64) - field)
    span = float(field.max()) - float(field.min())
    found = aesz.info(stream) if model else None
    used = bool(found and found.model)
    return {
        "field": case.name,
        "rel": rel,
        "codec": codec,
        "bytes": len(stream),
        "model_bytes": len(model.to_bytes()) if model and used else 0,
        "latent_bytes": found.latent_bytes if found else 0,
        "psnr": 20 * np.log10(span) - 10 * np.log10(float((error**2).mean())),
        "over_bound": float(error.max()) / (rel * span),
        "encode_mbs": field.nbytes / 1e6 / max(between - started, 1e-9),
        "decode_mbs": field.nbytes / 1e6 / max(ended - between, 1e-9),
    }


def _fitted(name: str, train: Sequence[Array], values: Array) -> Case:
    blocks = np.concatenate([cut(np.asarray(each), BLOCK) for each in train])
    return Case(name, np.ascontiguousarray(values), {"klt": fit_klt(blocks)})


def _made(dataset: str, variable: str, folder: Path | None) -> Array:
    path = None if folder is None else folder / f"{dataset}.npy"
    if path is not None and path.exists():
        kept: Array = np.load(path)
        return kept
    return snapshot(dataset, variable, None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure or read, and write the page; return 0."""
    from bench.learned.aesz_page import write_page

    parser = argparse.ArgumentParser("python -m bench.learned.aesz", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of series")
    parser.add_argument("--made", type=Path, help="folder of <dataset>.npy, of other seeds; else simulated")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "learned" / "aesz.csv")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "aesz-results.md")
    parser.add_argument("--page-only", action="store_true", help="only write the page from the CSV")
    options = parser.parse_args(arguments)
    if not options.page_only:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            for case in cases(options.data, options.made):
                for row in rows_of(case):
                    short = {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()}
                    writer.writerow(short)
                    sys.stdout.write(f"{case.name} {row['rel']:g} {row['codec']:24} {row['bytes']}\n")
    with options.out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    write_page(rows, options.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
