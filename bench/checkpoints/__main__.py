"""``python -m bench.checkpoints``: train two surrogates, pack weights and Adam's state, write the table.

Takes some minutes; the training is kept in out/bench/checkpoints and not repeated. Sizes are exact. Speeds
are of one thread, by the processor's clock, the fastest of some calls; those of sciflow include the check
that the bytes come back, which only sciflow makes. ZipNN is measured where it is installed (pip install
zipnn).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from bench.checkpoints.packers import PACKERS, Packer
from bench.markdown import fill_section, table
from bench.table import machine
from sciflow.datasets.catalog import make
from sciflow.models.checkpoints import Checkpoints
from sciflow.models.runs import find_config, train

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "out" / "bench" / "checkpoints"
MODELS = {
    "U-Net": ("unet-turbulence", {"samples": 16}, {"epochs": 6, "batch_size": 16}, {"width": 24}),
    "FNO": ("fno-darcy", {"samples": 160}, {"epochs": 10, "batch_size": 16}, {"width": 32}),
}
"""Recipe, parameters of its data, of its training and of its network."""
PARTS = ("weights, float32", "Adam's mean", "Adam's square", "weights, bfloat16", "weights, float16")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the CSV."""

    model: str
    tensors: str
    packer: str
    raw_bytes: int
    bytes: int
    encode_mbs: float
    decode_mbs: float
    same: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write CSV and page."""
    options = _parser().parse_args(arguments)
    console = Console()
    if not options.page_only:
        rows = [row for name in MODELS for row in _measured(name, options.repeats, console)]
        _write(options.out, rows)
        console.print(f"wrote {options.out}")
    with options.out.open(newline="") as file:
        found = list(csv.DictReader(file))
    options.page.write_text(fill_section(options.page.read_text(), "packing", _tables(found, options.out)))
    console.print(f"filled {options.page}")
    return 0 if all(row["same"] == "True" for row in found) else 1


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m bench.checkpoints", description=__doc__, formatter_class=plain
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "bench" / "results" / "checkpoints" / "packing.csv"
    )
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "checkpoints.md")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls; the fastest counts")
    parser.add_argument("--page-only", action="store_true", help="write the page from the CSV that is there")
    return parser


def _measured(name: str, repeats: int, console: Console) -> Iterator[Row]:
    state = _trained(name, console)
    for tensors, group in _groups(state).items():
        for packer in PACKERS:
            console.print(f"{name}: {tensors}, {packer.name}")
            yield _row(name, tensors, group, packer, repeats)


def _trained(name: str, console: Console) -> dict[str, Any]:
    """Return the last state of a training, which is made once."""
    recipe, data, training, network = MODELS[name]
    config = find_config(recipe)
    path, out = OUT / config.data.path, OUT / recipe
    OUT.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        console.print(f"{name}: simulating {path.name}")
        make(path.stem, path, settings=data, workers=1)
    settings = {**config.model.settings, **network}
    made = config.replace(
        out=str(out),
        data={"path": str(path)},
        model={"settings": settings},
        train={**training, "threads": 1, "ema": 0.0},
    )
    console.print(f"{name}: training, {made.train.epochs} epochs")
    train(made, resume=True, progress=True)
    loaded = Checkpoints(out / "checkpoints").load_latest()
    assert loaded is not None
    return loaded.state


def _groups(state: dict[str, Any]) -> dict[str, list[Tensor]]:
    moments = state["optimiser"]["state"].values()
    weights = [_real(value) for value in state["network"].values() if not _is_count(value)]
    mean, square = ([_real(each[key]) for each in moments] for key in ("exp_avg", "exp_avg_sq"))
    narrow = ([value.to(dtype) for value in weights] for dtype in (torch.bfloat16, torch.float16))
    return dict(zip(PARTS, (weights, mean, square, *narrow), strict=True))


def _is_count(value: Tensor) -> bool:
    return not (value.is_floating_point() or value.is_complex())


def _real(value: Tensor) -> Tensor:
    return torch.view_as_real(value).contiguous() if value.is_complex() else value.contiguous()


def _row(model: str, tensors: str, group: list[Tensor], packer: Packer, repeats: int) -> Row:
    raw = sum(value.numel() * value.element_size() for value in group)
    encoding, decoding = [], []
    for _ in range(repeats):
        begin = time.process_time()
        packed = packer.encode(group)
        middle = time.process_time()
        found = packer.decode(packed, group)
        decoding.append(time.process_time() - middle)
        encoding.append(middle - begin)
    return Row(
        model,
        tensors,
        packer.name,
        raw,
        packer.size(packed),
        round(raw / 1e6 / min(encoding), 1),
        round(raw / 1e6 / max(min(decoding), 1e-9), 1),
        all(torch.equal(_bits(one), _bits(other)) for one, other in zip(found, group, strict=True)),
    )


def _bits(value: Tensor) -> Tensor:
    return value.reshape(-1).view(torch.uint8)


def _write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    path.with_suffix(".json").write_text(json.dumps(machine(), indent=1) + "\n")


def _tables(rows: list[dict[str, str]], path: Path) -> str:
    text = f"From `{path.name}`, by `python -m bench.checkpoints`.\n"
    packers = list(dict.fromkeys(row["packer"] for row in rows))
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        size = int(mine[0]["raw_bytes"]) / 1e6
        lines = []
        for packer in packers:
            cells = [_percent(row) for row in mine if row["packer"] == packer]
            lines.append([packer, *cells, _speeds([row for row in mine if row["packer"] == packer])])
        text += f"\n{model}, {size:.1f} MB of weights; bytes over raw bytes, and MB/s of float32 weights:\n\n"
        text += table(["", *PARTS, "pack / unpack"], lines)
    return text


def _percent(row: dict[str, str]) -> str:
    text = f"{100 * int(row['bytes']) / int(row['raw_bytes']):.1f} %"
    return text if row["same"] == "True" else f"{text} (changed)"


def _speeds(rows: list[dict[str, str]]) -> str:
    return f"{float(rows[0]['encode_mbs']):.0f} / {float(rows[0]['decode_mbs']):.0f}"


if __name__ == "__main__":
    sys.exit(main())
