"""What a Slurm site asks for, once, in a file: ``slurm.toml``."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sciflow.errors import InvalidArgument

__all__ = ["EXAMPLE", "Mode", "Resources", "Site", "as_walltime", "load_site", "seconds"]

Mode = Literal["alloc", "jobqueue", "array", "local"]

_WALLTIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d{1,2}))?(?::(\d{1,2}))?")
_MEMORY = re.compile(r"\d+[KMGT]?")
_FOLDER = re.compile(r"[\w/$.{}:\-]+")
_LINE = re.compile(r"[^\r\n]*")
_START_UP = 30
"""Seconds that a job needs to start Python and its workers, at the least."""


class Resources(BaseModel):
    """What one job asks of Slurm, and what is done around its command; every field has a default.

    The same names are keys of ``slurm.toml``, variables of a ``sciflow-slurm`` work pool and what
    ``prefect deployment run ... --job-variable walltime=04:00:00`` overrides.
    """

    partition: str | None = Field(default=None, description="--partition; Slurm's default without.")
    account: str | None = Field(default=None, description="--account: who pays.")
    qos: str | None = Field(default=None, description="--qos.")
    constraint: str | None = Field(default=None, description="--constraint, as in 'gpu&hbm80g'.")
    reservation: str | None = Field(default=None, description="--reservation.")
    nodes: int = Field(default=1, ge=1, description="Nodes of a job.")
    ntasks: int = Field(default=1, ge=1, description="Processes of a job over all nodes: Dask workers.")
    cpus_per_task: int = Field(default=1, ge=1, description="Cores of each process.")
    mem: str | None = Field(default=None, description="--mem: memory of a node, as in 64G.")
    gres: str | None = Field(default=None, description="--gres, as in gpu:a100:4.")
    gpus: int | None = Field(default=None, ge=1, description="--gpus-per-node.")
    walltime: str = Field(default="01:00:00", description="[D-]HH:MM:SS, or minutes.")
    grace_seconds: int = Field(
        default=120, ge=1, le=3600, description="Warning before the end: time to write a checkpoint."
    )
    requeue: bool = Field(default=True, description="Go on in the same job after preemption or walltime.")
    max_restarts: int = Field(default=20, ge=0, description="Restarts of one job, at most.")
    modules: list[str] = Field(default_factory=list, description="module load, in this order.")
    container: str | None = Field(
        default=None, description="Put before the command, as in 'apptainer exec --nv /images/sciflow.sif'."
    )
    environment: dict[str, str] = Field(
        default_factory=dict, description="Variables of the job; no secrets: they stand in the script."
    )
    prologue: list[str] = Field(default_factory=list, description="Shell lines before the command.")
    extra_directives: list[str] = Field(default_factory=list, description="More #SBATCH, as --exclusive.")
    log_dir: str = Field(default="slurm-logs", description="Where logs and job records go; shared by nodes.")
    scratch: str | None = Field(
        default=None, description="Fast folder of a node for what Dask spills; may name $TMPDIR."
    )
    interface: str | None = Field(default=None, description="Network of Dask: ib0, hsn0; lo on one machine.")
    mode: Mode = Field(
        default="local",
        description="Where Dask's workers are: alloc, in the job's own nodes; jobqueue, in jobs of their "
        "own; array, no Dask but a job array; local, processes beside the flow.",
    )

    @field_validator("walltime")
    @classmethod
    def _is_walltime(cls, value: str) -> str:
        seconds(value)
        return value

    @field_validator("mem")
    @classmethod
    def _is_memory(cls, value: str | None) -> str | None:
        if value is not None and not _MEMORY.fullmatch(value):
            raise ValueError(f"found {value!r}, expected a whole number and K, M, G or T, as in 64G")
        return value

    @field_validator(
        "partition", "account", "qos", "constraint", "reservation", "gres", "interface", "log_dir"
    )
    @classmethod
    def _is_one_word(cls, value: str | None) -> str | None:
        if value is not None and (not value or re.search(r"\s", value)):
            raise ValueError(f"found {value!r}, expected a word without blanks")
        return value

    @field_validator("scratch")
    @classmethod
    def _is_folder(cls, value: str | None) -> str | None:
        if value is not None and not _FOLDER.fullmatch(value):
            raise ValueError(f"found {value!r}, expected a folder, as $TMPDIR or /local/scratch")
        return value

    @field_validator("extra_directives")
    @classmethod
    def _are_options(cls, value: list[str]) -> list[str]:
        for option in value:
            if not option.startswith("-") or not _LINE.fullmatch(option):
                raise ValueError(f"found {option!r}, expected one option of sbatch, as --exclusive")
        return value

    @field_validator("environment")
    @classmethod
    def _are_variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"found {name!r}, expected the name of a variable")
        return value

    @model_validator(mode="after")
    def _has_time_to_work(self) -> Self:
        if self.requeue and seconds(self.walltime) < self.grace_seconds + _START_UP:
            raise ValueError(
                f"walltime: found {self.walltime} with grace_seconds={self.grace_seconds}, expected at least "
                f"{_START_UP} s more than the warning, or each job would only start and stop"
            )
        if self.ntasks < self.nodes:
            raise ValueError(
                f"ntasks: found {self.ntasks} for nodes = {self.nodes}, expected at least as many"
            )
        return self

    def site(self) -> Site:
        """Return these fields alone."""
        return Site(**{name: getattr(self, name) for name in Resources.model_fields})


class Site(Resources):
    """The fields of `Resources`, fixed, and nothing else: a key that is none of them is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def load_site(path: str | os.PathLike[str]) -> Site:
    """Return the site that a TOML file describes; relative folders count from the file's own.

    Parameters
    ----------
    path : path
        As ``sciflow deploy --example`` prints one.

    Raises
    ------
    FileNotFoundError
        If there is none.
    InvalidArgument
        If it is not TOML, has an unknown key, or a value that cannot be.
    """
    file = Path(path).resolve()
    try:
        found = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(
            f"{path}: found no TOML ({error}); sciflow deploy --example prints one"
        ) from None
    known = list(Resources.model_fields)
    for key in found:
        if key not in known:
            raise InvalidArgument(f"{path}: found unknown key {key!r}, expected some of {', '.join(known)}")
    try:
        site = Site.model_validate(found)
    except ValidationError as error:
        raise InvalidArgument(f"{path}: {_first(error)}") from None
    folder = str(file.parent / site.log_dir)
    if re.search(r"\s", folder):
        raise InvalidArgument(f"log_dir: found {folder!r}, expected no blanks, which sbatch cannot take")
    return site.model_copy(update={"log_dir": folder})


def seconds(walltime: str) -> int:
    """Return a walltime of Slurm's in seconds.

    Parameters
    ----------
    walltime : str
        ``MM``, ``MM:SS``, ``HH:MM:SS``, ``D-HH``, ``D-HH:MM`` or ``D-HH:MM:SS``.

    Raises
    ------
    InvalidArgument
        If it is none of them.

    Examples
    --------
    >>> seconds("90"), seconds("01:30:00"), seconds("1-12")
    (5400, 5400, 129600)
    """
    match = _WALLTIME.fullmatch(walltime.strip())
    if not match:
        raise InvalidArgument(f"walltime: found {walltime!r}, expected [D-]HH:MM:SS or minutes")
    days, *rest = match.groups()
    numbers = [int(number) for number in rest if number is not None]
    if days is None and len(numbers) < 3:
        numbers = [0, *numbers]
    hours, minutes, secs = [*numbers, 0, 0, 0][:3]
    total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + secs
    if total <= 0:
        raise InvalidArgument(f"walltime: found {walltime!r}, expected more than nothing")
    return total


def as_walltime(duration: int) -> str:
    """Return seconds as ``D-HH:MM:SS``.

    Examples
    --------
    >>> as_walltime(90061)
    '1-01:01:01'
    """
    minutes, secs = divmod(duration, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{secs:02}"


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


EXAMPLE = """\
# slurm.toml: what your Slurm site asks for. Every key may be left out; an unknown one is refused.
#   sciflow deploy --cluster slurm.toml --dry-run    prints the sbatch script that this gives
#   sciflow deploy --cluster slurm.toml              makes the work pool and the deployments

# Who pays, and where (sbatch's options of the same names).
partition = "batch"
# account = "my-project"
# qos = "normal"
# constraint = "gpu"
# reservation = "course"

# How much, for one job.
nodes = 2
ntasks = 8              # processes over all nodes: Dask workers
cpus_per_task = 4
# mem = "64G"           # of a node; leave it out where nodes are given whole
# gpus = 4              # of a node; or gres = "gpu:a100:4"
walltime = "04:00:00"   # [D-]HH:MM:SS

# A job that is preempted, or near its walltime, is warned this long before, writes what it has and goes on
# in the same job when Slurm starts it again. The restarts end when several in a row got nothing done.
requeue = true
grace_seconds = 120
max_restarts = 20

# Where Dask's workers are.
#   alloc     in this job's own nodes, started by srun: one job in the queue (a good first choice)
#   jobqueue  in jobs of their own, one a node, replaced when they die; the flow's job is one small task
#   array     no Dask: a job array, each element takes its share
#   local     processes in the flow's own job: one node
mode = "alloc"
# interface = "ib0"     # network of Dask's; "lo" on one machine

# What every job does first.
modules = []            # module load, as in ["python/3.11", "cuda"]
# container = "apptainer exec --nv /images/sciflow.sif"
prologue = []           # shell lines, as in ["source /scratch/me/sciflow/.venv/bin/activate"]
extra_directives = []   # more of sbatch's options, as in ["--exclusive", "--mail-type=FAIL"]

# Folders that all nodes see; relative ones count from this file.
log_dir = "slurm-logs"
# scratch = "$TMPDIR"   # of each node: what Dask spills

# Variables of the job. No secrets: they stand in the script. Prefect's API address and key are passed
# by the worker outside the script.
[environment]
OMP_NUM_THREADS = "1"
"""
