"""Predictions of the best weights of a run, in the units of its data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sciflow.datasets.sources import Source
from sciflow.errors import InvalidArgument
from sciflow.models.checkpoints import read_checkpoint
from sciflow.models.runs.config import Config
from sciflow.models.runs.data import Data
from sciflow.models.runs.state import build_network

__all__ = ["Predictor", "predict"]


class Predictor:
    """The best weights of a run.

    Parameters
    ----------
    folder : path
        Of the run.
    device : str
        "cpu" or "cuda".

    Raises
    ------
    FileNotFoundError
        If it has no best weights: no epoch was finished.
    Corrupt
        If they do not verify.

    Attributes
    ----------
    config : Config
        Of the run.
    data : Data
        How samples become input, and predictions values.
    network : Surrogate
        In evaluation mode.
    """

    def __init__(self, folder: str | os.PathLike[str], *, device: str = "cpu") -> None:
        state = read_checkpoint(Path(folder) / "checkpoints" / "best.weights")
        self.config = Config.of(state["config"])
        self.data = Data.restored(state["data"])
        self.device = torch.device(device)
        self.network = build_network(self.config, self.data)
        self.network.load_state_dict(state["network"])
        self.network.to(self.device).eval()

    def __call__(
        self, data: Source | ArrayLike | Mapping[str, ArrayLike], *, batch_size: int = 0
    ) -> NDArray[np.float32]:
        """Return predictions in the units of the data.

        Parameters
        ----------
        data : Source, mapping of str to array, or array
            Samples of the run's layout; or values of its inputs in the file's units: a mapping of names to
            (sample, ...), or an array (sample, channel, ...), where a single sample and a single
            channel may be left out.
        batch_size : int
            Samples at once; that of the training where 0.

        Returns
        -------
        ndarray, float32, shape (sample, channel, ...) or (sample, parameter)

        Raises
        ------
        InvalidArgument
            If inputs are missing or have another shape.
        """
        size = batch_size or self.config.train.batch_size
        inputs = self._inputs(data) if not isinstance(data, Source) else None
        count = len(data) if isinstance(data, Source) else len(next(iter(inputs.values())))  # type: ignore[union-attr]
        found = []
        for first in range(0, count, size):
            part = slice(first, min(first + size, count))
            if isinstance(data, Source):
                x, _ = self.data.tensors(data.take(np.arange(part.start, part.stop)), self.device)
            else:
                assert inputs is not None
                x = self.data.input_of({name: values[part] for name, values in inputs.items()}, self.device)
            found.append(self._predicted(x))
        return np.concatenate(found)

    @torch.no_grad()
    def _predicted(self, x: torch.Tensor) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.data.undo(self.network(x).float()).cpu().numpy()
        return found

    def _inputs(self, data: Any) -> dict[str, NDArray[Any]]:
        names, space = self.data.config.inputs, self.data.spec.space
        if isinstance(data, Mapping):
            if missing := [name for name in names if name not in data]:
                raise InvalidArgument(
                    f"inputs: {', '.join(missing)} are missing; the run has {', '.join(names)}"
                )
            taken = {name: np.asarray(data[name]) for name in names}
        else:
            array = np.asarray(data)
            full = (len(names), *space)
            if array.shape[-len(full) :] != full and len(names) == 1 and array.shape[-len(space) :] == space:
                array = np.expand_dims(array, -len(full))
            if array.ndim == len(full):
                array = array[None]
            if array.shape[1:] != full:
                raise InvalidArgument(
                    f"input: found shape {np.asarray(data).shape}, expected (sample, *{full})"
                )
            taken = {name: array[:, channel] for channel, name in enumerate(names)}
        for name, values in taken.items():
            if values.shape[1:] != space:
                raise InvalidArgument(
                    f"input {name}: found shape {values.shape}, expected (sample, *{space})"
                )
        return taken


def predict(
    folder: str | os.PathLike[str],
    data: Source | ArrayLike | Mapping[str, ArrayLike],
    *,
    batch_size: int = 0,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Return what the best weights of a run predict, in the units of its data; see `Predictor`.

    Parameters
    ----------
    folder : path
        Of the run.
    data : Source, mapping of str to array, or array
        Inputs, in the file's units.
    batch_size : int
        Samples at once; that of the training where 0.
    device : str
        "cpu" or "cuda".

    Returns
    -------
    ndarray, float32, shape (sample, channel, ...) or (sample, parameter)

    Raises
    ------
    FileNotFoundError, Corrupt, InvalidArgument
        As `Predictor`.
    """
    return Predictor(folder, device=device)(data, batch_size=batch_size)
