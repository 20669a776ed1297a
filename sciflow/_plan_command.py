"""``sciflow plan``: plan the reads of a training run, and say what was chosen and why."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sciflow.errors import InvalidArgument

if TYPE_CHECKING:
    from sciflow.datasets.planning import Plan, Source, StorageModel

__all__ = ["plan"]

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SHUFFLE, _WHAT_IF = "Shuffle and batches", "Without a file, or on another machine"


class Strategy(StrEnum):
    """How reads are arranged."""

    auto = "auto"
    pin = "pin"
    bof = "bof"
    elevator = "elevator"


class Overflow(StrEnum):
    """What happens to samples beyond a node's share of a batch."""

    peer = "peer"
    read = "read"
    variable = "variable"


class Tail(StrEnum):
    """What happens to the samples that fill no batch."""

    drop = "drop"
    short = "short"
    pad = "pad"


def plan(
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="HDF5, NetCDF, Zarr, .npy: what the loader reads.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", help="Samples of a step, over all nodes.", min=1)] = 64,
    buffer: Annotated[
        str, typer.Option("--buffer", help="Memory of each node: 8GiB, or 25% of the data over all nodes.")
    ] = "25%",
    nodes: Annotated[int, typer.Option("--nodes", help="Processes with a buffer each.", min=1)] = 1,
    keys: Annotated[
        str | None, typer.Option("--keys", metavar="X,Y,...", help="Arrays that make a sample.")
    ] = None,
    strategy: Annotated[Strategy, typer.Option(help="Cheapest, or one to compare.")] = Strategy.auto,
    overflow: Annotated[Overflow, typer.Option(help="Beyond a node's share of a batch.")] = Overflow.peer,
    order: Annotated[
        str,
        typer.Option(
            help="torch, feistel, explicit:FILE.npy; block:SIZE is inexact.", rich_help_panel=_SHUFFLE
        ),
    ] = "torch",
    seed: Annotated[int, typer.Option(help="Of the shuffle.", rich_help_panel=_SHUFFLE)] = 0,
    tail: Annotated[
        Tail, typer.Option(help="Samples that fill no batch.", rich_help_panel=_SHUFFLE)
    ] = Tail.drop,
    samples: Annotated[
        int | None, typer.Option(help="Instead of a file: how many.", min=1, rich_help_panel=_WHAT_IF)
    ] = None,
    sample_bytes: Annotated[
        int | None, typer.Option(help="Instead of a file: how large.", min=1, rich_help_panel=_WHAT_IF)
    ] = None,
    chunk: Annotated[
        int,
        typer.Option(
            help="Instead of a file: samples that one decode gives.", min=1, rich_help_panel=_WHAT_IF
        ),
    ] = 1,
    alpha: Annotated[
        float | None,
        typer.Option(help="Milliseconds an operation; probed otherwise.", rich_help_panel=_WHAT_IF),
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="MB/s of long reads; probed otherwise.", rich_help_panel=_WHAT_IF)
    ] = None,
    decode: Annotated[
        float | None, typer.Option(help="MB/s of decoding; probed otherwise.", rich_help_panel=_WHAT_IF)
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what was chosen, and why.")] = False,
    simulate: Annotated[
        int, typer.Option("--simulate", metavar="EPOCHS", help="Count operations, bytes and decodes.", min=0)
    ] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write the plan, JSON.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the plan, or what --simulate counts, as JSON.")
    ] = False,
) -> None:
    """Plan the reads of a training run so that few, large reads deliver the exact shuffle.

    **Examples**

    * `sciflow plan train.h5 --batch 256 --buffer 16GiB --explain`

    * `sciflow plan train.zarr --nodes 8 --batch 512 --buffer 8GiB --out plan.json`

    * `sciflow plan --samples 6309540 --sample-bytes 196608 --batch 4096 --nodes 64 --explain --order feistel`
    """
    from sciflow.datasets import planning

    found = _source(source, keys, samples, sample_bytes, chunk)
    made = planning.make_plan(
        found,
        global_batch_size=batch,
        num_nodes=nodes,
        buffer_bytes=_bytes(buffer, len(found) * found.sample_bytes // nodes),
        seed=seed,
        tail=tail.value,
        strategy=strategy.value,
        overflow=overflow.value,
        order=order,
        storage=_storage(found, alpha, beta, decode),
    )
    if out:
        made.save(out)
    sys.stdout.write(_told(made, explain=explain, epochs=simulate, json=json))


def _source(
    path: str | None, keys: str | None, samples: int | None, sample_bytes: int | None, chunk: int
) -> Source:
    from sciflow.datasets.planning import DescribedSource, Layout

    if path is None:
        if samples is None or sample_bytes is None:
            raise InvalidArgument("plan: found no file, expected FILE, or --samples and --sample-bytes")
        layout = Layout(samples=samples, samples_per_chunk=chunk, filtered=chunk > 1)
        return DescribedSource(layout=layout, sample_bytes=sample_bytes)
    if samples is not None or sample_bytes is not None:
        raise InvalidArgument(f"plan: found {path} and --samples or --sample-bytes, expected one of them")
    from sciflow.datasets.sources import open_source

    source: Source = open_source(path, keys=tuple(keys.split(",")) if keys else None)
    return source


def _storage(source: Source, alpha: float | None, beta: float | None, decode: float | None) -> StorageModel:
    from dataclasses import replace

    from sciflow.datasets.planning import StorageModel

    given = {
        "alpha": None if alpha is None else alpha / 1e3,
        "beta": None if beta is None else beta * 1e6,
        "decode": None if not decode else 1e-6 / decode,
    }
    known = {name: value for name, value in given.items() if value is not None}
    model = StorageModel() if len(known) == len(given) else StorageModel.probe(source)
    if not known:
        return model
    return replace(
        model,
        alpha=known.get("alpha", model.alpha),
        beta=known.get("beta", model.beta),
        decode=known.get("decode", model.decode),
        origin=f"given, or {model.origin}",
    )


def _bytes(text: str, of_all: int) -> int:
    if match := re.fullmatch(r"([0-9.]+)\s*%", text.strip()):
        return int(float(match[1]) / 100 * of_all)
    match = re.fullmatch(r"([0-9.]+)\s*([kmgt]?i?)b?", text.strip().lower())
    if not match or match[2] not in _UNITS:
        raise InvalidArgument(f"--buffer {text}: expected bytes, as in 8GiB or 500MB, or a part, as in 25%")
    return int(float(match[1]) * _UNITS[match[2]])


def _told(plan: Plan, *, explain: bool, epochs: int, json: bool) -> str:
    if json:
        return plan.simulate(epochs).to_json() + "\n" if epochs else plan.header.to_json()
    lines = [plan.explain()] if explain else [f"{plan.header.strategy}, {plan.header.slots} samples a node"]
    if epochs:
        counted = plan.simulate(epochs).steady
        lines += ["", f"counted, an epoch of all nodes, mean of the last {max(epochs - 1, 1)} of {epochs}"]
        lines += [f"  {name:9}{value:16.6g}" for name, value in counted.items()]
    return "\n".join(lines) + "\n"
