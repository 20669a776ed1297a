"""What a run learns from: splits by sample or trajectory, normalised by the training split alone.

```
file ─ layout ─▶ samples ─ seed ─▶ train | validation | test ─ statistics ─▶ x, target: float32 tensors
```
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciflow.datasets.layouts import Samples, find_samples
from sciflow.datasets.sources import Source
from sciflow.errors import InvalidArgument
from sciflow.models.runs.config import Config, DataConfig
from sciflow.models.runs.subset import Subset
from sciflow.models.surrogates import SampleSpec

__all__ = ["Data", "Normalisation", "Splits", "open_data"]

_AT_ONCE = 32 << 20
"""Bytes of samples that are looked at together."""

Statistics = dict[str, tuple[list[float], list[float]]]


@dataclass(frozen=True, slots=True)
class Splits:
    """Samples for learning, for choosing the best epoch, and for the end.

    Parameters
    ----------
    train, validation : Source
        Disjoint, by sample or by trajectory.
    test : Source or None
        None where the config leaves none.
    """

    train: Source
    validation: Source
    test: Source | None


class Normalisation:
    """Values of the file to values of the network and back: ``(x - shift) / scale``, for each variable.

    Parameters
    ----------
    statistics : mapping of str to (list of float, list of float)
        Shift and scale of each variable; several of each for a variable of parameters.
    """

    def __init__(self, statistics: Mapping[str, Any]) -> None:
        self.statistics: Statistics = {
            name: (list(shift), list(scale)) for name, (shift, scale) in statistics.items()
        }

    @classmethod
    def of(cls, source: Source, kind: str, parameters: Collection[str] = ()) -> Normalisation:
        """Return that of a source, which is read once.

        Parameters
        ----------
        source : Source
            The training split.
        kind : str
            "standard", "maximum" or "none".
        parameters : collection of str
            Variables that are no fields: each of their values has statistics of its own.

        Raises
        ------
        InvalidArgument
            If a value is not finite; the message names variable and sample.
        """
        if kind == "none":
            return cls({spec.name: ([0.0], [1.0]) for spec in source.spec})
        found = {spec.name: _Moments() for spec in source.spec}
        for first, taken in _blocks(source):
            for name, values in taken.items():
                found[name].add(_table(values, name, first, name in parameters))
        return cls({name: moments.shift_and_scale(kind) for name, moments in found.items()})

    def apply(self, name: str, values: Tensor) -> Tensor:
        """Return values for the network, shape (batch, ...)."""
        shift, scale = self._tensors(name, values)
        return (values - shift) / scale

    def undo(self, name: str, values: Tensor) -> Tensor:
        """Return values in the file's units, shape (batch, ...)."""
        shift, scale = self._tensors(name, values)
        return values * scale + shift

    def _tensors(self, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = (
            torch.tensor(part, dtype=like.dtype, device=like.device) for part in self.statistics[name]
        )
        return (shift[0], scale[0]) if len(shift) == 1 else (shift, scale)


@dataclass(frozen=True, slots=True)
class Data:
    """Samples as a network takes them.

    Parameters
    ----------
    config : DataConfig
        Which variables, and how they are laid out.
    shapes : dict of str to tuple of int
        Of each variable of a sample.
    paired : bool
        Whether a sample holds each variable now and later: then what comes later is predicted.
    normalisation : Normalisation
        Of the training split.
    """

    config: DataConfig
    shapes: dict[str, tuple[int, ...]]
    paired: bool
    normalisation: Normalisation

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is predicted."""
        return _targets(self.config, self.paired)

    @property
    def spec(self) -> SampleSpec:
        """Shapes of input and target of one sample.

        Raises
        ------
        InvalidArgument
            If variables that are channels together differ in shape.
        """
        space = _one_shape(self.config.inputs, self.shapes, "inputs")
        if not self.targets:
            return SampleSpec((len(self.config.inputs), *space), None)
        if self.is_field:
            return SampleSpec(
                (len(self.config.inputs), *space),
                (len(self.targets), *_one_shape(self.targets, self.shapes, "targets")),
            )
        return SampleSpec(
            (len(self.config.inputs), *space), (sum(math.prod(self.shapes[name]) for name in self.targets),)
        )

    @property
    def is_field(self) -> bool:
        """Whether targets are fields, each a channel; otherwise they are parameters, one behind another."""
        return not _parameters(self.config, self.shapes, self.paired)

    def tensors(
        self, batch: Mapping[str, Any], device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor | None]:
        """Return input and target of a batch, normalised.

        Parameters
        ----------
        batch : mapping of str to ndarray or Tensor, shape (batch, ...)
            As a loader or `Source.take` gives it.
        device, dtype
            Of the tensors.

        Returns
        -------
        x : Tensor, shape (batch, channel, ...)
        target : Tensor or None, shape (batch, channel, ...) or (batch, parameter)
        """
        taken = {
            name: torch.as_tensor(values).to(device, dtype, non_blocking=True)
            for name, values in batch.items()
        }
        x = self.input_of(
            {name: taken[name][:, 0] if self.paired else taken[name] for name in self.config.inputs}
        )
        if not self.targets:
            return x, None
        targets = {name: taken[name][:, 1] if self.paired else taken[name] for name in self.targets}
        wanted = [self.normalisation.apply(name, targets[name]) for name in self.targets]
        if self.is_field:
            return x, torch.stack(wanted, 1)
        return x, torch.cat([values.reshape(len(values), -1) for values in wanted], 1)

    def input_of(
        self,
        values: Mapping[str, Any],
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return the input of a network, shape (batch, channel, ...), of values in the file's units.

        Parameters
        ----------
        values : mapping of str to ndarray or Tensor, shape (batch, ...)
            Of each variable in `config.inputs`.
        device, dtype
            Of the tensor; those of the values, or float32 where these are arrays, if not given.
        """
        found = []
        for name in self.config.inputs:
            given = values[name]
            tensor = given if isinstance(given, Tensor) else torch.as_tensor(np.asarray(given, np.float32))
            found.append(self.normalisation.apply(name, tensor.to(device, dtype)))
        return torch.stack(found, 1)

    def undo(self, prediction: Tensor) -> Tensor:
        """Return a prediction in the file's units; as it is where it predicts no variable of the file.

        Parameters
        ----------
        prediction : Tensor, shape (batch, channel, ...) or (batch, parameter)
            Of the network.
        """
        if not self.targets:
            return prediction
        if self.is_field:
            channels = zip(self.targets, prediction.unbind(1), strict=True)
            return torch.stack([self.normalisation.undo(name, values) for name, values in channels], 1)
        widths = [math.prod(self.shapes[name]) for name in self.targets]
        parts = zip(self.targets, torch.split(prediction, widths, 1), strict=True)
        return torch.cat([self.normalisation.undo(name, values) for name, values in parts], 1)

    def state(self) -> dict[str, Any]:
        """Return what `restored` makes this of again; ready for a checkpoint."""
        return {
            "config": self.config.model_dump(mode="json"),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "paired": self.paired,
            "statistics": self.normalisation.statistics,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Data:
        """Return what `state` was taken of."""
        return cls(
            DataConfig.model_validate(state["config"]),
            {name: tuple(shape) for name, shape in state["shapes"].items()},
            bool(state["paired"]),
            Normalisation(state["statistics"]),
        )


def open_data(config: Config, state: Mapping[str, Any] | None = None) -> tuple[Splits, Data]:
    """Open the file of a config, split its samples, and take statistics of the training split.

    Parameters
    ----------
    config : Config
        Of the run.
    state : mapping, optional
        From `Data.state`: its statistics are taken instead of new ones.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    InvalidArgument
        If it lacks a variable, has too few samples to split, or values that are not finite.
    """
    samples = _open(config.data)
    splits = _split(samples, config)
    shapes = {spec.name: spec.shape[1:] if samples.paired else spec.shape for spec in samples.source.spec}
    statistics = (
        Normalisation.of(
            splits.train, config.data.normalise, _parameters(config.data, shapes, samples.paired)
        )
        if state is None
        else Normalisation(state["statistics"])
    )
    return splits, Data(config.data, shapes, samples.paired, statistics)


def _targets(config: DataConfig, paired: bool) -> tuple[str, ...]:
    return config.targets or (config.inputs if paired else ())


def _parameters(config: DataConfig, shapes: Mapping[str, tuple[int, ...]], paired: bool) -> tuple[str, ...]:
    """Return the targets, if any is neither of two axes nor shaped as the input."""
    like = shapes[config.inputs[0]]
    targets = _targets(config, paired)
    fields = all(len(shapes[name]) >= 2 or shapes[name] == like for name in targets)
    return () if fields else targets


def _open(config: DataConfig) -> Samples:
    """Return all samples, and how many in a row are of one trajectory."""
    if not os.path.exists(config.path) and "://" not in config.path:  # noqa: PTH110 - it may be a URL
        raise FileNotFoundError(f"data.path: {config.path}: no such file; make it, or set data.path")
    return find_samples(config.path, config.inputs, config.targets, layout=config.layout)


def _one_shape(names: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]], what: str) -> tuple[int, ...]:
    found = {shapes[name] for name in names}
    if len(found) != 1:
        shown = ", ".join(f"{name} {shapes[name]}" for name in names)
        raise InvalidArgument(f"{what}: found {shown}; expected one shape, as channels have")
    return found.pop()


def _split(samples: Samples, config: Config) -> Splits:
    source, together = samples.source, samples.together
    rows = len(source) // together
    if rows == 1 and together > 1:
        return _split_in_time(source, config)
    validation, test = _lengths(rows, config, "samples" if together == 1 else "trajectories")
    order = np.random.default_rng([config.seed, 1]).permutation(rows)
    chosen = np.split(order, [test, test + validation])
    test_ids, validation_ids, train_ids = (_samples(np.sort(part), together) for part in chosen)
    return _subsets(source, train_ids, validation_ids, test_ids)


def _split_in_time(source: Source, config: Config) -> Splits:
    """Split one trajectory into its beginning, a later part and its end, which share no state."""
    validation, test = _lengths(len(source) - 2, config, "instants of one trajectory")
    ids = np.arange(len(source), dtype=np.int64)
    end = len(ids) - test - 1 if test else len(ids)
    return _subsets(source, ids[: end - validation - 1], ids[end - validation : end], ids[len(ids) - test :])


def _lengths(rows: int, config: Config, what: str) -> tuple[int, int]:
    """Return how many rows validate and test."""
    validation = max(1, round(rows * config.data.validation))
    test = max(1, round(rows * config.data.test)) if config.data.test else 0
    if rows - validation - test < 1:
        raise InvalidArgument(
            f"{config.data.path}: {rows} {what}, of which {validation} validate and {test} test: none is "
            "left to train on; give more data, or smaller validation and test"
        )
    return validation, test


def _subsets(
    source: Source, train: NDArray[np.int64], validation: NDArray[np.int64], test: NDArray[np.int64]
) -> Splits:
    return Splits(
        Subset(source, train), Subset(source, validation), Subset(source, test) if test.size else None
    )


def _samples(rows: NDArray[np.int64], together: int) -> NDArray[np.int64]:
    return (rows[:, None] * together + np.arange(together)).ravel()


def _blocks(source: Source) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    step = max(1, _AT_ONCE // source.sample_bytes)
    for first in range(0, len(source), step):
        yield first, source.take(np.arange(first, min(first + step, len(source))))


def _table(values: NDArray[Any], name: str, first: int, parameters: bool) -> NDArray[np.float64]:
    """Return values as a column, or as a table where each column counts, shape (rows, columns)."""
    good = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not good.all():
        raise InvalidArgument(
            f"{name}: sample {first + int(np.argmin(good))} of the training split has values that are not "
            'finite; fill them, or set data.normalise = "none"'
        )
    return values.reshape((len(values), -1) if parameters else (-1, 1)).astype(np.float64)


class _Moments:
    """Mean, spread and largest magnitude, gathered part by part (Chan et al., 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0
        self.most: Any = 0.0

    def add(self, table: NDArray[np.float64]) -> None:
        count, mean = len(table), table.mean(axis=0)
        off = mean - self.mean
        both = self.count + count
        self.squares = self.squares + ((table - mean) ** 2).sum(axis=0) + off**2 * self.count * count / both
        self.mean = self.mean + off * count / both
        self.most = np.maximum(self.most, np.abs(table).max(axis=0))
        self.count = both

    def shift_and_scale(self, kind: str) -> tuple[list[float], list[float]]:
        if kind == "maximum":
            scale = np.asarray(self.most)
            return [0.0] * len(scale), np.where(scale > 0, scale, 1.0).tolist()
        scale = np.sqrt(np.asarray(self.squares) / self.count)
        return np.asarray(self.mean).tolist(), np.where(scale > 0, scale, 1.0).tolist()
