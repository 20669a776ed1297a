"""The loop: read, step, judge, validate, save. It may be stopped anywhere and goes on as if it had not been.

```
batches of a step ─▶ gradient ─▶ guard ─▶ clip, AdamW, EMA ─▶ each epoch: validation, best weights
       f(seed)                     └─ back to the checkpoint    every N steps: checkpoint, in a thread
```
Everything random is a function of seed and step, so a checkpoint is weights, optimiser, where the loader is,
and what log and guard know.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from sciflow.errors import Diverged, InvalidArgument, StoreError
from sciflow.models.checkpoints import Checkpoints
from sciflow.models.files import write_whole
from sciflow.models.runs.config import Config, load_config, to_toml
from sciflow.models.runs.guard import Verdict
from sciflow.models.runs.log import RunLog, progress_bar
from sciflow.models.runs.place import place
from sciflow.models.runs.state import Run, start
from sciflow.models.runs.stopping import NO_SIGNAL, name_of, stop_signals

__all__ = ["Result", "Watch", "train"]

Watch = Callable[[Mapping[str, float]], None]
"""Called by the first process after each epoch with its row of ``epochs.csv``."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a run.

    Parameters
    ----------
    folder : Path
        Where it lies; `sciflow.models.runs.predict` takes it.
    validation : float
        Lowest validation loss; infinite where no epoch was finished.
    epoch : int
        That of the lowest, from 1 on; 0 where none was finished.
    steps : int
        Steps, with those before it was resumed.
    seconds : float
        Of training and validation, over all its parts.
    stopped : str
        "epochs" (all done), "patience", or the signal that ended it, as "SIGTERM": then it can be resumed.
    history : tuple of dict
        An entry an epoch: ``epoch``, ``step``, ``loss``, ``validation``, ``rate``, ``seconds``.
    """

    folder: Path
    validation: float
    epoch: int
    steps: int
    seconds: float
    stopped: str
    history: tuple[dict[str, float], ...]

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.stopped in ("epochs", "patience")


def train(
    config: Config | str | os.PathLike[str],
    *,
    resume: bool = False,
    device: str = "auto",
    progress: bool = False,
    watch: Watch | None = None,
) -> Result:
    """Train a surrogate, or go on with a run: on one machine's processor the same losses bit for bit.

    Under torchrun it trains in all its processes, with the gradients of one process.

    Parameters
    ----------
    config : Config or path
        What to train, on what, and how.
    resume : bool
        Whether to go on from the newest checkpoint in the run's folder that verifies, if there is one.
    device : str
        "auto", "cpu", "cuda" or "cuda:1".
    progress : bool
        Whether to show a bar, if standard error is a terminal.
    watch : callable, optional
        See `Watch`.

    Returns
    -------
    Result

    Raises
    ------
    FileNotFoundError
        If there is no config or no data.
    InvalidArgument
        If a value is out of its domain, the network does not take such samples, the run in the folder is
        another one, or memory is too small.
    StoreError
        If the folder has a run and `resume` is False.
    Corrupt
        If no checkpoint verifies.
    Diverged
        If the loss is not finite, or spikes, after several returns to a checkpoint with smaller rates.
    KeyboardInterrupt
        At Ctrl-C, once the step is done and its checkpoint written.

    Examples
    --------
    ::

        result = sciflow.models.train("fno.toml")
        result = sciflow.models.train("fno.toml", resume=True)
    """
    config = config if isinstance(config, Config) else load_config(config)
    folder = Path(config.out)
    with place(device) as here, Checkpoints(folder / "checkpoints", keep=config.checkpoint.keep) as saved:
        if here.shared(not resume and bool(saved.paths())):
            raise StoreError(f"{folder}: has a run already; resume it (--resume), or choose another out")
        devices = [here.device] if here.device.type == "cuda" else []
        with _threads(config.train.threads), _memory(config), torch.random.fork_rng(devices):
            loaded = saved.load_latest()
            with start(config, here, None if loaded is None else loaded.state) as run:
                stopped = _Loop(run, saved, watch).run(progress)
                return _result(run, folder, stopped)


class _Loop:
    """A run, where it is written down, and what ends it."""

    def __init__(self, run: Run, saved: Checkpoints, watch: Watch | None) -> None:
        self.of, self.saved, self.watch = run, saved, watch
        self.folder = Path(run.config.out)
        self.log: RunLog | None = None

    def run(self, progress: bool) -> str:
        """Train until something ends it, and say what."""
        run = self.of
        self._open()
        try:
            with stop_signals() as heard, progress_bar(run.steps, on=progress and run.here.first) as show:
                while run.epoch < run.config.train.epochs and not run.out_of_patience:
                    signal = self._epoch(heard, show)
                    if signal != NO_SIGNAL:
                        return self._leave(signal)
                self.saved.flush()
        finally:
            if self.log is not None:
                self.log.close(run.history)
        return "patience" if run.out_of_patience else "epochs"

    def _epoch(self, heard: list[int], show: Callable[[int, str], None]) -> int:
        """Train the rest of an epoch; return the signal that ended it, or `NO_SIGNAL`."""
        run, begin = self.of, time.monotonic()
        for batches in run.groups():
            loss, norm = run.gradients(batches)
            told = run.here.gathered([loss, norm, heard[-1] if heard else NO_SIGNAL])
            loss, norm = (sum(values) / len(told) for values in list(zip(*told, strict=True))[:2])
            verdict = run.guard.judge(loss, norm)
            if verdict is not Verdict.take:
                run.guard.note(step=run.step + 1, samples=run.samples(batches), loss=loss, gradient_norm=norm)
            if verdict is Verdict.roll_back and self._back():
                return NO_SIGNAL
            if verdict in (Verdict.roll_back, Verdict.give_up):
                raise self._diverged()
            rate = run.advance(loss, norm, verdict)
            if self.log is not None:
                self.log.step((run.step, run.epoch + 1, loss, norm, rate, verdict.value))
            show(run.step, f"epoch {run.epoch + 1}, loss {loss:.4g}")
            signal = int(max(values[2] for values in told))
            due = run.step % run.config.checkpoint.every == 0 and not run.guard.in_a_row
            if signal != NO_SIGNAL or due:
                run.seconds += time.monotonic() - begin
                begin = time.monotonic()
                self._save()
            if signal != NO_SIGNAL:
                return signal
        best = run.finish_epoch(time.monotonic() - begin)
        self._save(best=best)
        if self.log is not None:
            self.log.epochs(run.history)
            if self.watch is not None:
                self.watch(run.history[-1])
        return NO_SIGNAL

    def _open(self) -> None:
        """Begin or go on with the log; a first checkpoint shows that the folder takes one."""
        run = self.of
        if not run.here.first:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.saved.sweep()
        write_whole(self.folder / "config.toml", to_toml(run.config).encode())
        self.log = RunLog(self.folder, run.step)
        if not self.saved.paths():
            self._save()

    def _save(self, *, best: bool = False) -> None:
        if self.log is not None:
            self.log.sync()
            self.saved.save(self.of.step, self.of.state(), best=self.of.weights() if best else None)

    def _back(self) -> bool:
        """Return to the newest checkpoint, with half the rate; False where there is none."""
        run = self.of
        self.saved.flush()
        run.here.wait()
        loaded = self.saved.load_latest()
        if loaded is None:
            return False
        before = run.guard
        run.restore(loaded.state)
        run.guard.rolled_back(before)
        if self.log is not None:
            self.log.close(run.history)
            self.log = RunLog(self.folder, run.step)
            self.log.warn(
                f"step {before.bad[-1]['step']}: loss and gradient are not to be trusted; back to step "
                f"{run.step} with the rate times {run.guard.rate_factor}"
            )
        return True

    def _leave(self, signal: int) -> str:
        self.saved.flush()
        if name_of(signal) == "SIGINT":
            raise KeyboardInterrupt(f"saved; resume {self.folder} with --resume")
        return name_of(signal)

    def _diverged(self) -> Diverged:
        run, bad = self.of, self.of.guard.bad
        if run.here.first:
            report = {"rollbacks": run.guard.rollbacks, "skipped": run.guard.skipped, "steps": bad}
            write_whole(self.folder / "diverged.json", json.dumps(report, indent=1).encode())
        last = bad[-1]
        return Diverged(
            f"{self.folder}: step {last['step']} has loss {last['loss']:g} and gradient norm "
            f"{last['gradient_norm']:g} on samples {_shown(last['samples'])}, after {run.guard.rollbacks} "
            "returns to a checkpoint; diverged.json has all such steps; look at these samples, or "
            "take a smaller train.rate"
        )


def _result(run: Run, folder: Path, stopped: str) -> Result:
    best = run.best
    return Result(
        folder=folder,
        validation=run.history[best]["validation"] if best >= 0 else float("inf"),
        epoch=best + 1,
        steps=run.step,
        seconds=run.seconds,
        stopped=stopped,
        history=tuple(run.history),
    )


def _shown(samples: list[int]) -> str:
    return ", ".join(map(str, samples[:8])) + (" ..." if len(samples) > 8 else "")


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _memory(config: Config) -> Iterator[None]:
    """Say what to do where memory does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        out = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(
            error
        )
        if not out:
            raise
        size, times = config.train.batch_size, config.train.accumulate
        raise InvalidArgument(
            f"out of memory with train.batch_size = {size}; take train.batch_size = {max(1, size // 2)} and "
            f"train.accumulate = {2 * times}, which makes the same steps"
        ) from error
