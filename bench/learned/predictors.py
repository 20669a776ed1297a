"""What learned predictors of blocks would save: estimated bits next to SZ's bytes, on runs of other seeds.

``python -m bench.learned.predictors`` simulates the fields, predicts them with the catalogue's models and
prints a table; ``--csv FILE`` writes it. SZ's and the linear model's are bytes of real streams, at level
balanced and max; the others are entropies (`sciflow.models.estimate`) of latents and of codes within the
same bound, without the model itself.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow import AESZ, SZ, Bound
from sciflow.codecs.sz import Level
from sciflow.datasets.catalog import simulate
from sciflow.models import KLT, Learned, Model
from sciflow.models.catalog import entry, load, names
from sciflow.models.estimate import learned, transformed

LEVELS: tuple[Level, ...] = ("balanced", "max")
BOUNDS = (3e-2, 1e-2, 5e-3, 1e-3)
GAINS = (256, 384, 512, 768, 1024, 2048, 4096)
SEED = 2
FEW: dict[str, dict[str, int]] = {"navier-stokes-3d": {"snapshots": 2}, "shallow-water": {"snapshots": 8}}
COLUMNS = ["dataset", "variable", "rel", "method", "bits", "latent_bits", "gain"]


def snapshot(dataset: str, variable: str, folder: Path | None) -> NDArray[np.float32]:
    """The last snapshot of a run with another seed than any model was trained on; missing values become 0."""
    made = None if folder is None else folder / f"{dataset}.nc"
    if made is not None and made.exists():
        import xarray as xr

        data = xr.open_dataset(made)
    else:
        data = simulate(dataset, {**FEW[dataset], "seed": SEED})
    values = np.nan_to_num(data[variable].values[-1]).astype(np.float32)
    whole = tuple(slice(0, n // 32 * 32) for n in values.shape)
    return np.ascontiguousarray(values[whole])


def methods(models: list[Model], field: NDArray[np.float32], rel: float) -> Iterator[dict[str, Any]]:
    """A row for each way of coding."""
    bound = rel * float(np.ptp(field))
    for level in LEVELS:
        stream = SZ(Bound.abs(bound), level=level).encode(field)
        yield {"method": f"SZ {level}", "bits": 8 * len(stream) / field.size, "latent_bits": 0.0, "gain": 0}
    wide, step = field.astype(np.float64), 2 * bound
    for model in models:
        if model.kind == "linear":
            for level in LEVELS:
                stream = AESZ(Bound.abs(bound), model=model, level=level).encode(field)
                bits = 8 * len(stream) / field.size
                yield {"method": f"linear {level}", "bits": bits, "latent_bits": 0.0, "gain": 0}
            continue
        costs = []
        for gain in GAINS:
            if model.kind == "klt":
                costs.append(transformed(KLT.of(model), wide, step, gain))
            else:
                costs.append(learned(Learned.of(model), wide, step, gain))
        best = min(range(len(GAINS)), key=lambda at: sum(costs[at]))
        label = {"method": model.kind, "latent_bits": costs[best].latents, "gain": GAINS[best]}
        yield {**label, "bits": sum(costs[best])}


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.learned.predictors", description=__doc__)
    parser.add_argument("--csv", type=Path, help="where to write the table")
    parser.add_argument("--data", type=Path, help="folder of <dataset>.nc, of other seeds; else simulated")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    entries = [entry(name) for name in names()]
    for dataset, variable in sorted({(each.dataset, each.variable) for each in entries}):
        field = snapshot(dataset, variable, options.data)
        models = [
            load(e.name) for e in entries if (e.dataset, e.variable) == (dataset, variable) and e.digest
        ]
        for rel in BOUNDS:
            for row in methods(models, field, rel):
                rows.append({"dataset": dataset, "variable": variable, "rel": rel, **row})
                sys.stdout.write(
                    f"{dataset} {rel:g} {row['method']:12} {row['bits']:.3f} "
                    f"(latents {row['latent_bits']:.3f}, gain {row['gain'] / 256:g})\n"
                )
    if options.csv is not None:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
            )


if __name__ == "__main__":
    main()
