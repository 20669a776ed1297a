"""One rung: compress the data, train on what is decoded, test on what never was compressed.

```
file ─ compress(bound) ─▶ data.zarr ─ train(seed) ─▶ run/ ─ best weights ─┐
  └────────── held-out samples, as they are in the file ──────────────────┴─▶ test loss, physics
```
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciflow import physics
from sciflow.bounds import Bound
from sciflow.codecs.sz import Level
from sciflow.datasets.containers import is_npy
from sciflow.datasets.layouts import find_samples
from sciflow.datasets.sources import Source
from sciflow.errors import Diverged, InvalidArgument
from sciflow.models.evaluation.results import REFERENCE, Rung, Score, Values
from sciflow.models.files import write_whole
from sciflow.models.runs import Config, Predictor, train
from sciflow.models.runs.data import Data, Splits, open_data
from sciflow.store import compress
from sciflow.store.source import open_variables

__all__ = ["Compression", "compressed", "digest_of", "kept", "scored"]

_LOOKED_AT = 64
"""Held-out samples whose physics is measured, at most."""

_BYTES_LOOKED_AT = 48 << 20

_ALWAYS = ("bias", "rmse", "max_error", "pearson", "wasserstein", "kolmogorov_smirnov", "quantile_error")
_OF_FIELDS = (*_ALWAYS, "log_spectral_distance", "agreeing_wavenumber")
_OF_PLANES = (*_OF_FIELDS, "ssim", "dssim")


@dataclass(frozen=True, slots=True)
class Compression:
    """How a rung is compressed.

    Parameters
    ----------
    bound : Bound or None
        Of every field; None is the file itself.
    level : {"fast", "quick", "balanced", "max"}
        As for `sciflow.compress`.
    model : str, optional
        Predicts blocks, as for `sciflow.compress`.
    per_variable : mapping of str to Bound or str or None
        Variables with a bound of their own. Those of parameters, (sample, parameter), keep every bit unless
        they are named here.
    """

    bound: Bound | None
    level: Level = "balanced"
    model: str | None = None
    per_variable: Mapping[str, Bound | str | None] | None = None

    @property
    def name(self) -> str:
        """Of the rung."""
        return REFERENCE if self.bound is None else f"{self.bound.kind}:{self.bound.value:g}"

    @property
    def folder(self) -> str:
        """The same as the name of a folder."""
        return self.name.replace(":", "-")

    def told(self) -> dict[str, Any]:
        """For a digest."""
        named = {name: str(bound) for name, bound in (self.per_variable or {}).items()}
        return {"name": self.name, "level": self.level, "model": self.model, "per_variable": named}


def digest_of(*parts: Any) -> str:
    """Short SHA-256 of JSON."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kept(path: Path, digest: str) -> dict[str, Any] | None:
    """What a result file holds, if it belongs to this request."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return told if isinstance(told, dict) and told.get("digest") == digest else None


def compressed(config: Config, asked: Compression, folder: Path, *, progress: bool | None) -> Rung:
    """Compress what a config learns from, or find that it was; a rung without scores.

    Parameters
    ----------
    config : Config
        Of the uncompressed run.
    asked : Compression
        How.
    folder : Path
        Of the rung. Gets ``data.zarr`` and ``data.json``; what another request left there goes.
    progress : bool, optional
        Whether to show a bar; by default on a terminal.

    Raises
    ------
    FileNotFoundError, InvalidArgument, StoreError, BoundViolated
        As `sciflow.compress`.
    """
    told = config.data
    source = find_samples(told.path, told.inputs, told.targets, layout=told.layout).source
    digest = digest_of(source.fingerprint(), names_of(config), asked.told(), config.seed, told.test)
    found = kept(folder / "data.json", digest)
    if found is None:
        shutil.rmtree(folder, ignore_errors=True)
        found = _compressed(config, asked, folder, progress=progress)
        _write(folder / "data.json", {"digest": digest, **found})
    return Rung(
        name=asked.name,
        bytes_in=found["bytes_in"],
        bytes_out=found["bytes_out"],
        compress_seconds=found["compress_seconds"],
        data=found["data"],
        scores=(),
    )


def scored(config: Config, rung: str, folder: Path, *, device: str, progress: bool) -> Score:
    """Train and test with the config's seed, or find that it was done.

    Parameters
    ----------
    config : Config
        Of the uncompressed run, with the seed.
    rung : str
        Its name.
    folder : Path
        Of the rung, with its data. Gets ``seed-<seed>/`` with the run and ``result.json``; a run that was
        stopped goes on.
    device : str
        As for `train`.
    progress : bool
        Whether to show a bar, on a terminal.

    Raises
    ------
    KeyboardInterrupt, InterruptedError
        At Ctrl-C, and at another signal that `train` hears; the run's checkpoint is kept.
    InvalidArgument, FileNotFoundError, Corrupt
        As `train`.
    """
    place = folder / f"seed-{config.seed}"
    digest = digest_of(json.loads((folder / "data.json").read_text())["digest"], _of_training(config))
    if (found := kept(place / "result.json", digest)) is not None:
        return Score(**{name: found[name] for name in Score.__dataclass_fields__})
    if kept(place / "begun.json", digest) is None:
        shutil.rmtree(place, ignore_errors=True)
        _write(place / "begun.json", {"digest": digest})
    path = config.data.path if rung == REFERENCE else str(folder / "data.zarr")
    score = _score(config, config.replace(out=str(place / "run"), data={"path": path}), device, progress)
    _write(place / "result.json", {"digest": digest, **asdict(score)})
    return score


def names_of(config: Config) -> tuple[str, ...]:
    """Variables that are learned from, each once."""
    return tuple(dict.fromkeys((*config.data.inputs, *config.data.targets)))


def _of_training(config: Config) -> dict[str, Any]:
    told = config.model_dump(mode="json")
    del told["out"], told["checkpoint"], told["data"]["buffer"], told["data"]["path"]
    return told


def _compressed(config: Config, asked: Compression, folder: Path, *, progress: bool | None) -> dict[str, Any]:
    began = time.perf_counter()
    store = folder / "data.zarr"
    folder.mkdir(parents=True, exist_ok=True)
    with _fields(config) as dataset:
        if asked.bound is None:
            nbytes = sum(variable.nbytes for variable in dataset.data_vars.values())
            return {"bytes_in": nbytes, "bytes_out": nbytes, "compress_seconds": 0.0, "data": {}}
        labels = [name for name in dataset.data_vars if dataset[name].ndim < 3]
        known = dict.fromkeys(map(str, labels)) | dict(asked.per_variable or {})
        report = compress(
            dataset,
            store,
            bound=asked.bound,
            per_variable=known,
            level=asked.level,
            model=asked.model,
            progress=progress,
        )
    seconds = time.perf_counter() - began
    return {
        "bytes_in": report.bytes_in,
        "bytes_out": report.store_bytes,
        "compress_seconds": seconds,
        "data": _physics_of_data(config, store),
    }


@contextmanager
def _fields(config: Config) -> Iterator[xr.Dataset]:
    """The variables that are learned from, lazily, as they are stored."""
    path, names = config.data.path, names_of(config)
    if is_npy(path):
        yield xr.Dataset({name: _of_npy(Path(path), name, config.data.layout) for name in names})
        return
    with open_variables(path) as dataset:
        missing = [name for name in names if name not in dataset.variables]
        if missing:
            known = ", ".join(map(str, dataset.variables))
            raise InvalidArgument(f"{path}: no variable {', '.join(missing)} at its root; it has {known}")
        yield dataset.drop_vars([name for name in dataset.variables if name not in names]).reset_coords()


def _of_npy(path: Path, name: str, layout: str) -> xr.Variable:
    """A file, or that of a variable in a folder, with names for its axes."""
    values = np.load(path / f"{name}.npy" if path.is_dir() else path, mmap_mode="r")
    known = ("sample", "time") if layout == "next-step" else ("sample",)
    others = (f"axis_{axis}_{size}" for axis, size in enumerate(values.shape) if axis >= len(known))
    return xr.Variable((*known, *others), values)


def _physics_of_data(config: Config, store: Path) -> Values:
    """Held-out samples before and after, by variable."""
    splits, data = open_data(config)
    coded, _ = open_data(config.replace(data={"path": str(store)}))
    before, after = _taken(_held_out(splits)), _taken(_held_out(coded))
    space = len(data.spec.space)
    return {name: _measured(before[name], after[name], space) for name in before}


def _score(config: Config, run: Config, device: str, progress: bool) -> Score:
    try:
        result = train(run, resume=True, device=device, progress=progress)
    except Diverged:
        return Score(
            seed=config.seed,
            test_loss=math.inf,
            best_validation=math.inf,
            epochs=0,
            seconds=0.0,
            predictions={},
        )
    if not result.finished:
        raise InterruptedError(f"{result.stopped}: saved; the same evaluation goes on from here")
    loss, predictions = _tested(config, result.folder, "cpu" if device == "auto" else device)
    return Score(
        seed=config.seed,
        test_loss=loss,
        best_validation=result.validation,
        epochs=len(result.history),
        seconds=result.seconds,
        predictions=predictions,
    )


def _tested(config: Config, folder: Path, device: str) -> tuple[float, Values]:
    """Loss over the held-out samples of the file, and physics of the first predictions."""
    trained = Predictor(folder, device=device)
    splits, reference = open_data(config)
    held = _held_out(splits)
    losses, made, truth = [], list[Tensor](), list[Tensor]()
    with torch.no_grad():
        for first in range(0, len(held), config.train.batch_size):
            batch = held.take(np.arange(first, min(first + config.train.batch_size, len(held))))
            x, _ = trained.data.tensors(batch, trained.device)
            true_x, target = reference.tensors(batch, trained.device)
            prediction = trained.network(x)
            physical = trained.data.undo(prediction)
            if target is not None:
                # Q: why there and back? A: the loss is in units of the training data's spread, which an error
                # of compression widens. All rungs are judged in the units of the uncompressed data.
                prediction = _normalised(reference, physical)
                truth.append(reference.undo(target).cpu())
                made.append(physical.cpu())
            losses.append((len(x), float(trained.network.loss(prediction, true_x, target))))
    count = sum(size for size, _ in losses)
    return math.fsum(size * loss for size, loss in losses) / count, _physics_of(reference, made, truth)


def _normalised(data: Data, physical: Tensor) -> Tensor:
    """What `Data.undo` takes."""
    if data.is_field:
        parts = zip(data.targets, physical.unbind(1), strict=True)
        return torch.stack([data.normalisation.apply(name, values) for name, values in parts], 1)
    widths = [math.prod(data.shapes[name]) for name in data.targets]
    columns = zip(data.targets, torch.split(physical, widths, 1), strict=True)
    return torch.cat([data.normalisation.apply(name, values) for name, values in columns], 1)


def _physics_of(data: Data, made: list[Tensor], truth: list[Tensor]) -> Values:
    if not made:
        return {}
    prediction, target = (torch.cat(parts)[:_LOOKED_AT].double().numpy() for parts in (made, truth))
    space = prediction.ndim - 2
    if not data.is_field:
        return {", ".join(data.targets): _measured(target, prediction, 0)}
    return {
        name: _measured(target[:, channel], prediction[:, channel], space)
        for channel, name in enumerate(data.targets)
    }


def _measured(reference: Any, candidate: Any, space: int) -> dict[str, float]:
    sides = reference.shape[reference.ndim - space :] if space else ()
    names: tuple[str, ...] = _ALWAYS if not sides or min(sides) < 4 else _OF_FIELDS
    if len(sides) >= 2 and min(sides[-2:]) >= 11:
        names = _OF_PLANES
    return physics.compare(reference, candidate, which=names, space=space or 1).to_dict()


def _held_out(splits: Splits) -> Source:
    return splits.validation if splits.test is None else splits.test


def _taken(source: Source) -> dict[str, Any]:
    count = min(len(source), _LOOKED_AT, max(1, _BYTES_LOOKED_AT // source.sample_bytes))
    return source.take(np.arange(count))


def _write(path: Path, told: Mapping[str, Any]) -> None:
    write_whole(path, (json.dumps(told, indent=1) + "\n").encode())
