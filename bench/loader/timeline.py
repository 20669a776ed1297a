"""``python -m bench.loader.timeline``: who is busy when, for docs/loader-howto.md."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from bench.loader.files import SHAPES, make
from bench.loader.readers import open_file
from sciflow.datasets.loading import EmulatedStorage, SolarLoader
from sciflow.datasets.planning import StorageModel, make_plan

ROOT = Path(__file__).resolve().parents[2]
STEP = 4e-3
"""Seconds of a training step."""


def main() -> None:
    """Run two epochs on emulated storage and draw the first steps and the later ones."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser("python -m bench.loader.timeline", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "bench" / "loader", help="for the file")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "loader-timeline.png")
    options = parser.parse_args()
    source = open_file(make(SHAPES[1], options.folder, 128 << 20))
    plan = make_plan(
        source,
        global_batch_size=SHAPES[1].batch,
        buffer_bytes=len(source) // 2 * source.sample_bytes,
        storage=StorageModel(),
    )
    slow = EmulatedStorage(1e-3, 1e9)
    with SolarLoader(source, plan, on_read=slow, threads=2, log_timeline=True, as_numpy=True) as loader:
        for _ in range(2):
            for _ in loader:
                time.sleep(STEP)
        figure, panels = plt.subplots(2, figsize=(9, 4.6), layout="constrained")
        last = loader.timeline.events[-1].stop
        for axes, (title, first, stop) in zip(
            panels, (("start", 0, 0.6), ("second epoch", last - 0.3, last - 0.1)), strict=True
        ):
            loader.timeline.plot(axes)
            axes.set_xlim(first, stop)
            axes.set_title(title, loc="left", fontsize=10)
    figure.savefig(options.figure, dpi=110)


if __name__ == "__main__":
    main()
