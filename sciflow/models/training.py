"""Training an autoencoder: a plain loop that can be stopped anywhere and goes on as if it had not been.

```
step n: batch, noise, projections = f(seed, n) ─▶ loss ─▶ Adam ─▶ each epoch: PSNR, checkpoint, curves
```
Everything random is a function of seed and step, so a checkpoint is weights, optimiser, step and history.
"""

from __future__ import annotations

import csv
import io
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciflow.errors import Corrupt, InvalidArgument
from sciflow.models.autoencoder import Architecture, Autoencoder, directions, sliced_wasserstein
from sciflow.models.blocks import Blocks
from sciflow.models.files import write_whole

__all__ = ["Settings", "Trained", "psnr", "train"]

_LEAST_RATE = 0.02
_SLOWEST = 4096
"""Blocks that held-out quality is measured on at once."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train.

    Parameters
    ----------
    epochs : int
        At most so many passes. The paper: 101.
    batch : int
        Blocks a step. The paper: 64 to 128 on each of its devices.
    rate : float
        Of Adam at the start, falling as a cosine to a fiftieth. The paper: 1e-3 to 2e-3, times 0.95 an epoch.
    patience : int
        Epochs without a better held-out PSNR after which it ends.
    noise : float
        Noise on latents while training, uniform within this share of their spread: what quantising them does.
        Ours; the paper has none.
    seed : int
        Of weights, order, noise and projections.
    mixed : bool
        Half precision where there is a GPU.

    Raises
    ------
    InvalidArgument
        If a number is out of its domain.
    """

    epochs: int = 60
    batch: int = 128
    rate: float = 2e-3
    patience: int = 10
    noise: float = 0.02
    seed: int = 0
    mixed: bool = True

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.patience) < 1 or self.seed < 0:
            raise InvalidArgument(
                f"{self!r}: expected epochs, batch and patience above 0, and a seed from 0 on"
            )
        if not (0 < self.rate < 1 and 0 <= self.noise < 1):
            raise InvalidArgument(f"{self!r}: expected a rate in (0, 1) and noise in [0, 1)")


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What came out.

    Parameters
    ----------
    network : Autoencoder
        With the weights of the best epoch, on the CPU.
    history : list of dict
        An entry an epoch: ``epoch``, ``loss``, ``psnr`` (held out, dB), ``seconds``.
    """

    network: Autoencoder
    history: list[dict[str, float]]


Watch = Callable[[int, int, dict[str, float]], None]
"""Called after each step with steps done, steps in all, and the last epoch's entry."""


def train(
    blocks: Blocks,
    architecture: Architecture,
    settings: Settings,
    *,
    folder: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Train, or go on with what is in a folder: the same weights bit for bit on one machine's CPU either way.

    Parameters
    ----------
    blocks : Blocks
        From `read_blocks`.
    architecture, settings
        Of the network and the training.
    folder : path, optional
        Where ``checkpoint.pt``, ``curves.csv`` and, with matplotlib, ``curves.png`` are kept. Without one,
        nothing is written and an interrupt loses all.
    watch : callable, optional
        For a progress bar.

    Raises
    ------
    InvalidArgument
        If the folder's checkpoint is of other data, another network or other settings.
    Corrupt
        If it cannot be read.
    KeyboardInterrupt
        At Ctrl-C, once the step is done and its checkpoint written.
    """
    device = _device()
    run = _Run(blocks, architecture, settings, device)
    path = None if folder is None else Path(folder) / "checkpoint.pt"
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        run.load(path)
    with _one_thread(architecture, device), _interrupts() as interrupted:
        while not run.done:
            run.advance()
            if watch is not None:
                watch(run.step, run.steps, run.history[-1] if run.history else {})
            if path is not None and (run.at_epoch or interrupted.is_set()):
                run.save(path)
                _write_curves(run.history, path.parent)
            if interrupted.is_set():
                raise KeyboardInterrupt
    if path is not None:
        _write_figure(run.history, path.with_name("curves.png"))
    return Trained(run.best_network(), run.history)


def psnr(found: Tensor, wanted: Tensor) -> float:
    """Return 20 log10(2 / RMSE): dB for values in [-1, 1], by the range of the training snapshots."""
    mean = float(((found.double() - wanted.double()) ** 2).mean())
    return 10 * math.log10(4 / max(mean, 1e-30))


class _Run:
    """All that changes while training."""

    def __init__(
        self, blocks: Blocks, architecture: Architecture, settings: Settings, device: torch.device
    ) -> None:
        self.settings, self.architecture, self.device = settings, architecture, device
        self.identity = f"{architecture!r} {settings!r} {blocks.digest}"
        self.data = torch.from_numpy(blocks.normalised(blocks.train)).to(device)
        self.judge = torch.from_numpy(blocks.normalised(blocks.held_out)).to(device)
        self.network = _start(blocks, architecture, settings.seed).to(device)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=settings.rate)
        self.best: dict[str, Tensor] = self._weights()
        self.history: list[dict[str, float]] = []
        self.step, self.loss, self.seconds = 0, 0.0, 0.0

    @property
    def batches(self) -> int:
        return max(1, len(self.data) // self.settings.batch)

    @property
    def steps(self) -> int:
        return self.batches * self.settings.epochs

    @property
    def at_epoch(self) -> bool:
        return self.step % self.batches == 0

    @property
    def done(self) -> bool:
        if self.step >= self.steps:
            return True
        found = [entry["psnr"] for entry in self.history]
        return bool(found) and len(found) - 1 - int(np.argmax(found)) >= self.settings.patience

    def advance(self) -> None:
        begin = time.monotonic()
        epoch, batch = divmod(self.step, self.batches)
        order = np.random.default_rng([self.settings.seed, 1, epoch]).permutation(len(self.data))
        chosen = order[batch * self.settings.batch : (batch + 1) * self.settings.batch]
        generator = torch.Generator().manual_seed(hash((self.settings.seed, self.step)) & (2**63 - 1))
        for group in self.optimiser.param_groups:
            falling = 0.5 + 0.5 * math.cos(math.pi * self.step / self.steps)
            group["lr"] = self.settings.rate * (_LEAST_RATE + (1 - _LEAST_RATE) * falling)
        self.network.train()
        self.optimiser.zero_grad()
        with self._mixed():
            loss = self._loss(self.data[torch.from_numpy(chosen).to(self.device)], generator)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.loss += float(loss.detach())
        self.step += 1
        self.seconds += time.monotonic() - begin
        if self.at_epoch:
            self._judge()

    def _loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        latents = self.network.encode(batch)
        noise = (torch.rand(latents.shape, generator=generator) - 0.5) * (2 * self.settings.noise)
        found = self.network.decode(latents + noise.to(self.device))
        off = found - batch
        loss = off.abs().mean() + (off**2).mean()
        if not self.architecture.linear_path:
            prior = torch.randn(latents.shape, generator=generator).to(self.device)
            along = directions(latents.shape[1], generator).to(self.device)
            loss = loss + sliced_wasserstein(latents.float(), prior, along)
        return loss

    def _judge(self) -> None:
        self.network.eval()
        with torch.no_grad():
            found = torch.cat([self.network(part)[0] for part in torch.split(self.judge, _SLOWEST)])
        entry = {
            "epoch": float(self.step // self.batches),
            "loss": self.loss / self.batches,
            "psnr": psnr(found, self.judge),
            "seconds": self.seconds,
        }
        if all(entry["psnr"] > earlier["psnr"] for earlier in self.history):
            self.best = self._weights()
        self.history.append(entry)
        self.loss = 0.0

    def best_network(self) -> Autoencoder:
        self.network.load_state_dict(self.best)
        return self.network.cpu().eval()

    def save(self, path: Path) -> None:
        state = {
            "identity": self.identity,
            "network": self._weights(),
            "optimiser": self.optimiser.state_dict(),
            "best": self.best,
            "history": self.history,
            "position": [self.step, self.loss, self.seconds],
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_whole(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            identity = state["identity"]
        except Exception as error:  # torch.load raises many kinds, by where a file is cut
            raise Corrupt(f"{path}: not a checkpoint of ours ({type(error).__name__}); remove it") from error
        if identity != self.identity:
            raise InvalidArgument(
                f"{path}: a checkpoint of other data, another network or other settings; "
                "remove it or choose another folder"
            )
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best, self.history = state["best"], state["history"]
        self.step, self.loss, self.seconds = state["position"]

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def _mixed(self) -> Any:
        on = self.settings.mixed and self.device.type == "cuda"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on)


def _start(blocks: Blocks, architecture: Architecture, seed: int) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not architecture.linear_path:
            return Autoencoder(architecture)
        from sciflow.models.klt import fit_klt

        values = blocks.normalised(blocks.train)
        rows = fit_klt(values, latents=architecture.latent).arrays["basis"].astype(np.float32) / 2**14
        flat = values.reshape(len(values), -1)
        spread = np.sqrt(((flat @ rows.T) ** 2).mean(axis=0)) + np.float32(1e-6)
        return Autoencoder(architecture, basis=torch.from_numpy(rows), spread=torch.from_numpy(spread))


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _one_thread(architecture: Architecture, device: torch.device) -> Iterator[None]:
    """Train a small network on one thread: more wait for each other, and sums would depend on them."""
    before = torch.get_num_threads()
    if architecture.size == "small" and device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, for the loop to end at a whole step; the second is one as ever."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def note(*_: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def _write_curves(history: list[dict[str, float]], folder: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["epoch", "loss", "psnr", "seconds"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in entry.items()} for entry in history)
    write_whole(folder / "curves.csv", text.getvalue().encode())


def _write_figure(history: list[dict[str, float]], path: Path) -> None:
    """Draw the curves, where matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    epochs = [entry["epoch"] for entry in history]
    axes.plot(epochs, [entry["psnr"] for entry in history], label="held-out PSNR, dB")
    axes.set_xlabel("epoch")
    axes.set_ylabel("held-out PSNR, dB")
    other = axes.twinx()
    other.plot(epochs, [entry["loss"] for entry in history], "C1", label="training loss")
    other.set_ylabel("training loss")
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100)
    write_whole(path, image.getvalue())


def describe(settings: Settings, architecture: Architecture) -> dict[str, str]:
    """Return the settings as text for a model's card."""
    found = {**asdict(settings), **asdict(architecture)}
    found.pop("block")
    return {f"train.{name}": str(value) for name, value in found.items()}
