"""All that changes while training, and how one step and one epoch change it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from sciflow.datasets.loading import SolarLoader
from sciflow.datasets.planning import Header, Plan, make_plan
from sciflow.datasets.sources import Source
from sciflow.errors import InvalidArgument, StalePlan
from sciflow.models.files import write_whole
from sciflow.models.runs.config import Config
from sciflow.models.runs.data import Data, Splits, open_data
from sciflow.models.runs.guard import Guard, Verdict
from sciflow.models.runs.place import Place
from sciflow.models.surrogates import Surrogate, build, describe

__all__ = ["Batch", "Run", "build_network", "start"]

_LEAST_RATE = 0.01
_MAY_CHANGE = {"out", "data.path", "data.buffer", "train.threads", "train.patience", "checkpoint.every"}
_MAY_CHANGE |= {"checkpoint.keep"}
"""Keys that a resumed run may have other values of."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of this process of a batch.

    Parameters
    ----------
    rows : mapping of str to Tensor
        As the loader gives them.
    scale : float
        What their mean loss counts in the mean over processes.
    number : int
        Which batch of the epoch.
    """

    rows: Mapping[str, Tensor]
    scale: float
    number: int


class Run:
    """A network that is being trained.

    Parameters
    ----------
    config : Config
        Of the run.
    here : Place
        Device and process.
    splits, data
        From `open_data`.
    """

    def __init__(self, config: Config, here: Place, splits: Splits, data: Data) -> None:
        self.config, self.here, self.splits, self.data = config, here, splits, data
        self.dtype = torch.float64 if config.train.precision == "float64" else torch.float32
        self.network = build_network(config, data).to(here.device, self.dtype)
        self.model = _parallel(self.network, here)
        self.loader = _loader(config, here, splits.train)
        train = config.train
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=train.rate, weight_decay=train.decay)
        self.ema = _copy(self.network.state_dict()) if train.ema else None
        self.guard = Guard()
        self.step, self.epoch, self.seconds = 0, 0, 0.0
        self.loss_sum, self.losses = 0.0, 0
        self.history: list[dict[str, float]] = []

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.loader.close()

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.config.train.epochs * math.ceil(len(self.loader) / self.config.train.accumulate)

    @property
    def best(self) -> int:
        """Index of the epoch with the lowest validation loss in the history; -1 where there is none."""
        found = [_or_infinite(entry["validation"]) for entry in self.history]
        return int(np.argmin(found)) if found else -1

    @property
    def out_of_patience(self) -> bool:
        """Whether there was no better epoch for too long."""
        patience = self.config.train.patience
        return patience > 0 and len(self.history) - 1 - self.best >= patience

    @property
    def rate(self) -> float:
        """Of the step that comes next: a rise, then a cosine, less after each return to a checkpoint."""
        train, at = self.config.train, self.step
        if at < train.warmup:
            return train.rate * self.guard.rate_factor * (at + 1) / (train.warmup + 1)
        along = (at - train.warmup) / max(1, self.steps - train.warmup)
        falling = 0.5 + 0.5 * math.cos(math.pi * min(along, 1.0))
        return train.rate * self.guard.rate_factor * (_LEAST_RATE + (1 - _LEAST_RATE) * falling)

    def groups(self) -> Iterator[list[Batch]]:
        """Give the rest of the epoch, the batches of one step at a time."""
        if self.loader.epoch > self.epoch:  # it ended with the step before the checkpoint
            return
        number = int(self.loader.state_dict()["step"])
        batches: list[Batch] = []
        for rows in self.loader:
            batches.append(Batch(rows, self.loader.loss_scale, number))
            number += 1
            if len(batches) == self.config.train.accumulate or number == len(self.loader):
                yield batches
                batches = []

    def gradients(self, batches: list[Batch]) -> tuple[float, float]:
        """Compute the gradient of a step.

        Returns
        -------
        loss : float
            This process's share: the mean over processes is the mean over the samples of the step.
        norm : float
            Of the gradient, which is that of all processes.
        """
        torch.manual_seed(_mixed(self.config.seed, self.step, self.here.rank))
        self.model.train()
        self.optimiser.zero_grad()
        total = torch.zeros((), device=self.here.device, dtype=self.dtype)
        for batch in batches:
            last = batch is batches[-1]
            with nullcontext() if last or self.here.world == 1 else self.model.no_sync():
                loss = self._loss(batch) / len(batches)
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), math.inf)  # measures, cuts nothing
        return float(total), float(norm)

    def _loss(self, batch: Batch) -> Tensor:
        x, target = self.data.tensors(_some(batch.rows), self.here.device, self.dtype)
        with self.here.autocast(self.config.train.precision):
            prediction = self.model(x)
            loss: Tensor = self.network.loss(prediction, x, target)
        return loss * batch.scale

    def advance(self, loss: float, norm: float, verdict: Verdict) -> float:
        """Apply the gradient, unless the guard leaves the step out, and count it.

        Returns
        -------
        float
            The rate.
        """
        rate = self.rate
        if verdict is Verdict.take:
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            if self.config.train.clip and norm > self.config.train.clip:
                for parameter in self.network.parameters():
                    if parameter.grad is not None:
                        parameter.grad.mul_(self.config.train.clip / norm)
            self.optimiser.step()
            self._average()
            self.loss_sum += loss
            self.losses += 1
        self.step += 1
        return rate

    def _average(self) -> None:
        if self.ema is None:
            return
        keep = min(self.config.train.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point() or value.is_complex():
                self.ema[name].lerp_(value, 1 - keep)
            else:
                self.ema[name].copy_(value)

    def finish_epoch(self, seconds: float) -> bool:
        """Validate, and add a row to the history.

        Returns
        -------
        bool
            Whether this is the best epoch so far.
        """
        begin = time.monotonic()
        validation = self.validate()
        self.seconds += seconds + time.monotonic() - begin
        entry = {
            "epoch": float(self.epoch + 1),
            "step": float(self.step),
            "loss": self.loss_sum / self.losses if self.losses else math.nan,
            "validation": validation,
            "rate": self.rate,
            "seconds": self.seconds,
        }
        self.history.append(entry)
        self.epoch += 1
        self.loss_sum, self.losses = 0.0, 0
        return self.best == len(self.history) - 1

    @torch.no_grad()
    def validate(self) -> float:
        """Return the mean loss over the validation split, of the averaged weights where there are some."""
        self.network.eval()
        weights = self.network.state_dict() if self.ema is None else self.ema
        source, size = self.splits.validation, self.config.train.batch_size
        mine = np.arange(self.here.rank, len(source), self.here.world)
        total = 0.0
        for first in range(0, len(mine), size):
            rows = source.take(mine[first : first + size])
            x, target = self.data.tensors(rows, self.here.device, self.dtype)
            with self.here.autocast(self.config.train.precision):
                prediction = functional_call(self.network, weights, (x,))
                total += float(self.network.loss(prediction, x, target)) * len(x)
        return sum(share for (share,) in self.here.gathered([total])) / len(source)

    def samples(self, batches: list[Batch]) -> list[int]:
        """Return the samples of a step, over all processes, by their numbers in the file's layout."""
        train = self.splits.train
        ids = np.concatenate([self.loader.plan.ids(self.epoch, batch.number) for batch in batches])
        return [int(sample) for sample in train.ids[ids]]  # type: ignore[attr-defined]

    def weights(self) -> dict[str, Any]:
        """Return what `sciflow.models.runs.predict` needs: the best weights, and how data become input."""
        entry = self.history[-1]
        return {
            "config": self.config.model_dump(mode="json"),
            "data": self.data.state(),
            "network": self.network.state_dict() if self.ema is None else self.ema,
            "epoch": int(entry["epoch"]),
            "step": int(entry["step"]),
            "validation": entry["validation"],
        }

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs."""
        return {
            "config": self.config.model_dump(mode="json"),
            "data": self.data.state(),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema,
            "loader": self.loader.state_dict(),
            "guard": self.guard.state(),
            "position": [self.step, self.epoch, self.seconds, self.loss_sum, self.losses],
            "history": self.history,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what `state` was taken of; with any number of processes.

        Raises
        ------
        InvalidArgument
            If the state is of another run: the message names the keys that differ.
        """
        _check_same(state["config"], self.config)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.ema is not None:
            for name, value in state["ema"].items():
                self.ema[name].copy_(value)
        self.loader.load_state_dict(state["loader"])
        self.guard = Guard.restored(state["guard"])
        self.step, self.epoch, self.seconds, self.loss_sum, self.losses = state["position"]
        self.history = list(state["history"])


def start(config: Config, here: Place, state: Mapping[str, Any] | None) -> Run:
    """Open the data, build the network and, given the state of a checkpoint, go on from it.

    Raises
    ------
    FileNotFoundError, InvalidArgument
        As `open_data`, `sciflow.models.surrogates.build` and `Run.restore`.
    """
    if state is not None:
        _check_same(state["config"], config)
    known = state["data"] if state is not None else None
    if here.first:
        splits, data = open_data(config, known)
        known = here.shared(data.state())
    else:
        splits, data = open_data(config, here.shared(None))
    run = Run(config, here, splits, data)
    if state is not None:
        run.restore(state)
    return run


def build_network(config: Config, data: Data) -> Surrogate:
    """Return the network of a config, its weights a function of the seed.

    Raises
    ------
    InvalidArgument
        If there is no such network, or it does not take such samples.
    """
    spec = data.spec
    if spec.target is None and describe(config.model.name).supervised:
        raise InvalidArgument(
            f"data.targets: {config.model.name} learns from targets; name variables to predict"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_mixed(config.seed, -1, 0))
        return build(config.model.name, spec, config.model.settings)


def _loader(config: Config, here: Place, source: Source) -> SolarLoader:
    size = config.train.batch_size
    if len(source) < size:
        raise InvalidArgument(
            f"train.batch_size = {size}: the training split has {len(source)} samples; take a smaller one"
        )
    if size < here.world:
        raise InvalidArgument(
            f"train.batch_size = {size}: expected at least one for each of {here.world} processes"
        )
    path = Path(config.out) / "plan.json"
    plan = here.shared(_plan(config, here, source, path) if here.first else None)
    return SolarLoader(
        source, Plan(Header.from_json(plan)), node=here.rank, pin_memory=here.device.type == "cuda"
    )


def _plan(config: Config, here: Place, source: Source, path: Path) -> str:
    """Return the plan in the run's folder, or a new one where it does not fit: rows come in its order."""
    if path.exists():
        plan = Plan.load(path)
        try:
            plan.check(source)
        except StalePlan:
            pass
        else:
            header, slots = plan.header, config.data.buffer_bytes // source.sample_bytes
            found = (header.num_nodes, header.global_batch_size, header.seed, header.slots)
            if found == (here.world, config.train.batch_size, config.seed, slots):
                return header.to_json()
    made = make_plan(
        source,
        global_batch_size=config.train.batch_size,
        num_nodes=here.world,
        buffer_bytes=config.data.buffer_bytes,
        seed=config.seed,
        overflow="variable",
    )
    text = made.header.to_json()
    write_whole(path, text.encode())
    return text


def _parallel(network: Surrogate, here: Place) -> Any:
    if here.world == 1:
        return network
    only = [here.device.index] if here.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(network, device_ids=only)


def _some(rows: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the rows, or one of zeros where a process has none: its loss counts nothing."""
    if all(len(values) for values in rows.values()):
        return rows
    return {name: values.new_zeros((1, *values.shape[1:])) for name, values in rows.items()}


def _copy(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}


def _or_infinite(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _mixed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step + 1, rank]).generate_state(1, np.uint64)[0]) >> 1


def _check_same(saved: Mapping[str, Any], config: Config) -> None:
    before, now = _leaves(saved), _leaves(config.model_dump(mode="json"))
    other = [
        f"{key} {before.get(key)}, now {now.get(key)}"
        for key in sorted(before.keys() | now.keys())
        if key not in _MAY_CHANGE and before.get(key) != now.get(key)
    ]
    if other:
        raise InvalidArgument(
            f"{config.out}: the checkpoint is of another run: it has {'; '.join(other)}; choose another out"
        )


def _leaves(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and key != "settings":
            found |= _leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value)
    return found
