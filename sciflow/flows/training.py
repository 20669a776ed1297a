"""Training from a flow: in a process beside it, as a Slurm job of its own, or a sweep as a job array.

```
TrainSettings ─ commands ─┬─ no site ─▶ a process here, one after the other
                          ├─ a site  ─▶ one sbatch job (a process for each rank), requeued, resumed
                          └─ sweep   ─▶ one job array, an element a run
```
A job is found again by the folder that it trains into: a flow that is run again waits for it, and submits no
second one.
"""

from __future__ import annotations

import csv
import hashlib
import math
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sciflow.errors import InvalidArgument, SchedulerError
from sciflow.flows.slurm.array import submit_array
from sciflow.flows.slurm.commands import Slurm
from sciflow.flows.slurm.script import sbatch_script
from sciflow.flows.slurm.site import Site, load_site
from sciflow.flows.stages import run_command, sciflow_command

__all__ = ["CodecSettings", "TrainSettings", "cancel_training", "commands", "run_training"]

Say = Callable[[str], None]

_RANKS = """\
export MASTER_ADDR=$(hostname -f) MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000)) WORLD_SIZE={size}
srun --ntasks={size} --ntasks-per-node={processes} --cpus-per-task="$SLURM_CPUS_PER_TASK" bash -c \
    'export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID LOCAL_WORLD_SIZE={processes}; exec "$@"' rank \\
    {words}"""
"""What torchrun would set, by srun: each process hears each signal once, and its exit code is the job's."""

_POLL = 5.0
_TAIL = 2000


class CodecSettings(BaseModel):
    """A model that predicts blocks for the codec: ``sciflow train-codec``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: list[str] = Field(min_length=1, description="Snapshots: Zarr, NetCDF, HDF5.")
    variable: str = Field(description="The variable to learn.")
    kind: Literal["klt", "linear", "autoencoder"] = Field(default="klt", description="What to fit.")
    block: str = Field(default="8,8,8", description="Cells of a block.")
    epochs: int = Field(default=60, ge=1, description="Of an autoencoder, at most.")
    seed: int = Field(default=0, ge=0, description="Of all that is random.")


class TrainSettings(BaseModel):
    """What to train, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: str = Field(description="Folder of the run; of a sweep, a folder in it for each.")
    config: str | None = Field(default=None, description="TOML of sciflow train, or a recipe's name.")
    codec: CodecSettings | None = Field(default=None, description="Instead: a model of the codec.")
    changes: list[str] = Field(default_factory=list, description="KEY=VALUE, as in train.rate=1e-4.")
    sweep: list[list[str]] = Field(
        default_factory=list, description="A run for each: further KEY=VALUE. Empty: one run."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda.")
    processes: int = Field(default=1, ge=1, description="On each node: one for each GPU.")
    site: str | None = Field(default=None, description="slurm.toml: train in a job of its own.")

    @model_validator(mode="after")
    def _is_one_of(self) -> TrainSettings:
        if (self.config is None) == (self.codec is None):
            raise ValueError("give config, for a surrogate, or codec, for a model of the codec: one of them")
        if self.codec is not None and (self.changes or self.sweep or self.processes > 1):
            raise ValueError("changes, sweep and processes belong to config; a codec's model has none")
        return self


def commands(settings: TrainSettings) -> list[list[str]]:
    """Return the words of each run's command, on one machine.

    Parameters
    ----------
    settings : TrainSettings
        What to train.
    """
    if settings.codec is not None:
        codec = settings.codec
        options = {"var": codec.variable, "out": settings.out, "kind": codec.kind, "block": codec.block}
        options |= {"epochs": str(codec.epochs), "seed": str(codec.seed)}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [sciflow_command("train-codec", *codec.sources, *words)]
    if not settings.sweep:
        return [_launched(settings, _surrogate(settings, settings.out, []))]
    width = len(str(len(settings.sweep) - 1))
    return [
        _launched(settings, _surrogate(settings, f"{settings.out}/{index:0{width}}", changes))
        for index, changes in enumerate(settings.sweep)
    ]


def run_training(
    settings: TrainSettings, *, say: Say = lambda _: None, slurm: Slurm | None = None
) -> list[dict[str, Any]]:
    """Train, and return what became of each run.

    Parameters
    ----------
    settings : TrainSettings
        What, and where.
    say : callable
        Told numbers of jobs.
    slurm : Slurm, optional
        To submit to.

    Returns
    -------
    list of dict
        ``out``; of a surrogate the best ``validation`` and its ``epoch``.

    Raises
    ------
    StoreError
        If a process fails.
    SchedulerError
        If a job does.
    """
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    if settings.site is None:
        for number, words in enumerate(commands(settings)):
            run_command(words, out / "logs" / f"train-{number}.log")
    elif settings.sweep:
        _sweep(settings, load_site(settings.site), slurm or Slurm(), say)
    else:
        _train_job(settings, load_site(settings.site), slurm or Slurm(), say)
    return [_result(folder) for folder in _folders(settings)]


def cancel_training(settings: TrainSettings, *, slurm: Slurm | None = None) -> list[str]:
    """Cancel the jobs that train into a folder; return their numbers.

    Parameters
    ----------
    settings : TrainSettings
        As they were trained with.
    slurm : Slurm, optional
        To ask.
    """
    slurm = slurm or Slurm()
    ours = [_comment(settings), *(f"{_array_comment(settings)}:{part}" for part in ("array", "finish"))]
    alive = [job.identifier for job in slurm.jobs() if job.comment in ours and not job.ended]
    return [identifier for identifier in alive if slurm.cancel(identifier)]


def _surrogate(settings: TrainSettings, out: str, changes: list[str]) -> list[str]:
    assert settings.config is not None
    words = ["train", settings.config, "--out", out, "--resume", "--device", settings.device]
    for change in [*settings.changes, *changes]:
        words += ["--set", change]
    return ["-m", "sciflow.cli", *words]


def _launched(settings: TrainSettings, words: list[str]) -> list[str]:
    if settings.processes == 1:
        return [sys.executable, *words]
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={settings.processes}"]
    return [sys.executable, *torchrun, *words]


def _train_job(settings: TrainSettings, site: Site, slurm: Slurm, say: Say) -> None:
    comment = _comment(settings)
    found = [job for job in slurm.jobs() if job.comment == comment and not job.ended]
    if found:
        number = found[0].identifier
        say(f"Slurm job {number} trains into {settings.out} already; waiting for it")
    else:
        Path(site.log_dir).mkdir(parents=True, exist_ok=True)
        number = slurm.submit(job_script(settings, site), comment=comment)
        say(f"Slurm job {number} submitted to train into {settings.out}; logs in {site.log_dir}")
    _wait(number, site, slurm)


def job_script(settings: TrainSettings, site: Site) -> str:
    """Return the sbatch script of one training.

    Parameters
    ----------
    settings : TrainSettings
        What to train.
    site : Site
        ``nodes`` nodes, with ``settings.processes`` processes each.
    """
    size = site.nodes * settings.processes
    site = site.model_copy(update={"ntasks": size})
    if settings.codec is not None:
        return _script(settings, site, shlex.join(commands(settings)[0]), settings.out)
    words = shlex.join(
        ["python" if site.container else sys.executable, *_surrogate(settings, settings.out, [])]
    )
    contained = f"{site.container or ''} {words}".strip()
    ranks = _RANKS.format(size=size, processes=settings.processes, words=contained)
    return _script(settings, site, words if size == 1 else ranks, f"{settings.out}/checkpoints")


def _script(settings: TrainSettings, site: Site, command: str, watched: str) -> str:
    comment, steps = _comment(settings), command.startswith("export")
    return sbatch_script(site, command, name="train", comment=comment, watch=[watched], steps=steps)


def _sweep(settings: TrainSettings, site: Site, slurm: Slurm, say: Say) -> None:
    if site.nodes > 1:
        raise InvalidArgument(
            f"sweep: found nodes = {site.nodes}, expected 1: an element of the array is one node"
        )
    jobs = submit_array(site, commands(settings), _array_folder(settings), name="train-sweep", slurm=slurm)
    say(f"Slurm array {jobs.array} submitted: {len(settings.sweep)} runs; logs in {site.log_dir}")
    _wait(jobs.finish, site, slurm)


def _wait(number: str, site: Site, slurm: Slurm) -> None:
    """Until a job is over; restarts are part of it."""
    while True:
        job = slurm.job(number)
        if job is None:
            raise SchedulerError(f"Slurm job {number} is no longer known, in the queue or its accounting")
        if job.ok:
            return
        if job.ended:
            raise SchedulerError(
                f"Slurm job {number} ended: {job.state} ({job.reason}){_words(site, number)}"
            )
        time.sleep(_POLL)


def _words(site: Site, number: str) -> str:
    logs = sorted(Path(site.log_dir).glob(f"*-{number}*.log"))
    if not logs:
        return ""
    text = logs[-1].read_bytes()[-_TAIL:].decode(errors="replace").strip()
    return f"; its log {logs[-1]} ends with:\n{text}"


def _folders(settings: TrainSettings) -> list[Path]:
    if not settings.sweep:
        return [Path(settings.out)]
    width = len(str(len(settings.sweep) - 1))
    return [Path(settings.out) / f"{index:0{width}}" for index in range(len(settings.sweep))]


def _result(folder: Path) -> dict[str, Any]:
    epochs = folder / "epochs.csv"
    if not epochs.exists():
        return {"out": str(folder)}
    with epochs.open(newline="") as file:
        rows = list(csv.DictReader(file))
    best = min(rows, key=lambda row: _number(row.get("validation")))
    return {"out": str(folder), "epoch": int(float(best["epoch"])), "validation": _number(best["validation"])}


def _number(text: str | None) -> float:
    value = float(text) if text else math.inf
    return value if math.isfinite(value) else math.inf


def _array_folder(settings: TrainSettings) -> Path:
    return Path(settings.out).resolve() / "array"


def _comment(settings: TrainSettings) -> str:
    return "sciflow-train:" + _digest(Path(settings.out).resolve())


def _array_comment(settings: TrainSettings) -> str:
    return "sciflow-array:" + _digest(_array_folder(settings))


def _digest(folder: Path) -> str:
    return hashlib.sha256(str(folder).encode()).hexdigest()[:16]
