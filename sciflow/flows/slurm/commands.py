"""Slurm's own commands, parsed strictly: submit once, ask, cancel, requeue."""

from __future__ import annotations

import getpass
import logging
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sciflow.errors import SchedulerError, Unsupported

__all__ = ["Job", "Slurm", "parse_job", "parse_queue", "parse_submitted"]

_logger = logging.getLogger(__name__)

_QUEUE_FORMAT = "%i|%T|%r|%k"
_ENDED = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    ]
)
_WAITING = frozenset(["CONFIGURING", "PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"])
_PASSING = re.compile(
    r"timed out|unable to contact slurm controller|connection refused|temporarily (unable|unavailable)|"
    r"communication connection failure|zero bytes were transmitted|try again",
    re.IGNORECASE,
)
_UNKNOWN_JOB = re.compile(r"invalid job id", re.IGNORECASE)
_TOO_LATE = re.compile(r"invalid job id|already (completing|completed|finished)|completing", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Job:
    """What Slurm knows of a job, or of one element of a job array.

    Parameters
    ----------
    identifier : str
        ``"12"``, ``"12_3"`` of an array, ``"12_[3-9]"`` of its elements that wait.
    state : str
        In Slurm's long words: ``PENDING``, ``RUNNING``, ``COMPLETED``.
    reason : str
        Why it waits, or ended.
    comment : str
        By which its owner finds it again.
    """

    identifier: str
    state: str
    reason: str = ""
    comment: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self.state in _ENDED

    @property
    def waiting(self) -> bool:
        """Whether it waits for nodes."""
        return self.state in _WAITING

    @property
    def ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.state == "COMPLETED"


@dataclass(frozen=True, slots=True)
class Slurm:
    """The Slurm that the commands on PATH, and ``SLURM_CONF``, lead to.

    Parameters
    ----------
    timeout : float
        Seconds that one command may take.
    attempts : int
        How often a command is tried when the controller does not answer.
    pause : float
        Seconds before the second try; doubled for each further one.
    environment : mapping of str to str
        Of the commands; by default this process's own.
    """

    timeout: float = 60.0
    attempts: int = 5
    pause: float = 1.0
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def available(self) -> bool:
        """Return whether there is an ``sbatch`` to call."""
        return shutil.which("sbatch", path=self.environment.get("PATH")) is not None

    def submit(
        self,
        script: str,
        *,
        comment: str,
        environment: Mapping[str, str] | None = None,
        dependency: str | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> str:
        """Submit a script once, even where the controller takes it and its answer is lost; return its number.

        Parameters
        ----------
        script : str
            What `sciflow.flows.slurm.script.sbatch_script` makes.
        comment : str
            The script's: no other job that is alive may have it.
        environment : mapping of str to str, optional
            Passed to the job outside its script, beside that of the commands.
        dependency : str, optional
            As in ``afterok:12``.
        folder : path, optional
            Where the command runs; this process's own by default.

        Raises
        ------
        SchedulerError
            If Slurm refuses it, or does not answer.
        """
        command = ["sbatch", "--parsable"]
        command += [f"--dependency={dependency}", "--kill-on-invalid-dep=yes"] if dependency else []
        command += [f"--chdir={Path(folder).resolve()}"] if folder else []
        environment = {**_outside_of_a_job(self.environment), **(environment or {})}
        for attempt in range(self.attempts):
            done = self._once(command, script, environment)
            if done.returncode == 0:
                return parse_submitted(done.stdout)
            if not _PASSING.search(done.stderr) or attempt + 1 == self.attempts:
                raise _failure(command, done)
            self._wait(command, done, attempt)
            for job in self.jobs():  # it may have been taken all the same
                if job.comment == comment and not job.ended:
                    return job.identifier
        raise AssertionError

    def jobs(self) -> list[Job]:
        """Return this user's jobs, also those that ended of late, as far as the controller remembers.

        Raises
        ------
        SchedulerError
            If Slurm does not answer.
        Unsupported
            If its answer is not of the expected form.
        """
        user = getpass.getuser()
        done = self._run(
            ["squeue", "--noheader", "--states=all", f"--user={user}", f"--format={_QUEUE_FORMAT}"]
        )
        return parse_queue(done.stdout)

    def job(self, identifier: str) -> Job | None:
        """Return one job, from the queue or the accounting, or None where no one knows it any more.

        Raises
        ------
        SchedulerError
            If Slurm does not answer.
        """
        done = self._run(["scontrol", "show", "job", "--oneliner", identifier], allow=_UNKNOWN_JOB)
        if done.returncode == 0 and done.stdout.strip():
            return parse_job(done.stdout.splitlines()[0])
        return self._accounted(identifier)

    def cancel(self, identifier: str) -> bool:
        """Cancel a job; return False where it had ended, or no one knows it.

        Raises
        ------
        SchedulerError
            If Slurm refuses, or does not answer.
        """
        done = self._run(["scancel", "--verbose", identifier], allow=_TOO_LATE)
        return done.returncode == 0 and not _TOO_LATE.search(done.stderr)

    def _accounted(self, identifier: str) -> Job | None:
        if shutil.which("sacct", path=self.environment.get("PATH")) is None:
            return None
        options = ["-X", "-n", "-P", "-D", f"--jobs={identifier}", "--format=JobID,State"]
        done = self._once(["sacct", *options], None, self.environment)
        rows = [line.split("|", 1) for line in done.stdout.splitlines() if line.count("|") == 1]
        if done.returncode or not rows:  # accounting is optional: a site without it answers with an error
            return None
        number, state = rows[-1]
        return Job(number, state.split()[0])

    def _run(
        self, command: Sequence[str], *, allow: re.Pattern[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        for attempt in range(self.attempts):
            done = self._once(command, None, self.environment)
            if done.returncode == 0 or (allow and allow.search(done.stderr)):
                return done
            if not _PASSING.search(done.stderr) or attempt + 1 == self.attempts:
                raise _failure(command, done)
            self._wait(command, done, attempt)
        raise AssertionError

    def _once(
        self, command: Sequence[str], given: str | None, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                input=given if given is not None else "",
                env=dict(environment),
                capture_output=True,
                text=True,
                timeout=self.timeout,
                check=False,
            )
        except FileNotFoundError:
            raise Unsupported(
                f"{command[0]}: found no such command on PATH, expected Slurm's; go where Slurm is"
            ) from None
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"timed out after {self.timeout:g} s")

    def _wait(self, command: Sequence[str], done: subprocess.CompletedProcess[str], attempt: int) -> None:
        pause = self.pause * 2**attempt
        _logger.warning("%s: %s; trying again in %g s", command[0], _said(done), pause)
        time.sleep(pause)


def parse_submitted(text: str) -> str:
    """Return the number in what ``sbatch --parsable`` prints.

    Raises
    ------
    Unsupported
        If there is none.

    Examples
    --------
    >>> parse_submitted("1234;cluster")
    '1234'
    """
    lines = text.strip().splitlines()  # a site's own checks may print before it
    match = re.fullmatch(r"(\d+)(;\S+)?", lines[-1].strip()) if lines else None
    if not match:
        raise Unsupported(f"sbatch: found {text!r}, expected the number of a job; is sbatch wrapped here?")
    return match[1]


def parse_queue(text: str) -> list[Job]:
    """Return the jobs that ``squeue`` lists, in the form of this module.

    Raises
    ------
    Unsupported
        If a line is not of that form.
    """
    return [_row(line) for line in text.splitlines() if line.strip()]


def parse_job(line: str) -> Job:
    """Return the job of one line of ``scontrol show job --oneliner``.

    Raises
    ------
    Unsupported
        If it names no job or state.
    """
    found = dict(re.findall(r"(?:^|\s)(\w+)=(\S*)", line))
    if "JobId" not in found or "JobState" not in found:
        raise Unsupported(f"scontrol: found {line[:80]!r}, expected JobId= and JobState=")
    if "ArrayJobId" in found and "ArrayTaskId" in found:
        number = f"{found['ArrayJobId']}_{found['ArrayTaskId']}"
    else:
        number = found["JobId"]
    return Job(number, found["JobState"], found.get("Reason", ""), found.get("Comment", ""))


def _outside_of_a_job(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what Slurm set for the job that this process may be in: sbatch would take it for options."""
    ours = re.compile(r"(SLURM|SBATCH|SRUN|SLURMD)_(?!CONF$)")
    return {name: value for name, value in environment.items() if not ours.match(name)}


def _row(line: str) -> Job:
    parts = line.split("|", 3)
    if len(parts) != 4 or not re.fullmatch(r"\d+(_.+)?", parts[0]) or not re.fullmatch(r"[A-Z_]+", parts[1]):
        raise Unsupported(f"squeue: found {line!r}, expected {_QUEUE_FORMAT}; is squeue wrapped here?")
    number, state, reason, comment = parts
    return Job(number, state, reason, "" if comment == "(null)" else comment)


def _failure(command: Sequence[str], done: subprocess.CompletedProcess[str]) -> SchedulerError:
    return SchedulerError(f"{command[0]}: exit code {done.returncode}: {_said(done)}")


def _said(done: subprocess.CompletedProcess[str]) -> str:
    text = (done.stderr.strip() or done.stdout.strip()).replace(f"{done.args[0]}: ", "")
    return " ".join(text.split())[:400] or "it says nothing"
