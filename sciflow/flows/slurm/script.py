"""The sbatch script of one job: a pure function of the site and the command.

What the script does, around any command:

```
 Slurm ──USR1── a while before walltime, at preemption ──▶ script ──TERM──▶ command: writes what it has,
                                                             │                     ends with a code but 0
                        scontrol requeue ◀── not too often ──┘
                                │              and something was done since
       same job, same command ◀─┘
```

A job that is cancelled is over for Slurm when its command ends: it is not started again.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence

from sciflow.errors import InvalidArgument
from sciflow.flows.slurm.site import Site
from sciflow.store.allocation import exported

__all__ = ["IDLE_RESTARTS", "LOG", "REQUEUE_CODE", "for_flow", "job_name", "sbatch_script", "surroundings"]

REQUEUE_CODE = 75
"""Exit code (EX_TEMPFAIL) by which a command asks to be started again."""

IDLE_RESTARTS = 3
"""Restarts in a row that got nothing done, after which a job is given up."""

LOG = "%x-%j.log"
"""Name of a job's log: its name and number, in Slurm's words."""


def sbatch_script(
    site: Site,
    command: str,
    *,
    name: str = "sciflow",
    comment: str | None = None,
    array: str | None = None,
    dask: bool = False,
    steps: bool = False,
    watch: Sequence[str] = (),
    python: str = sys.executable,
) -> str:
    """Return the script that runs a command as a job, and again after preemption or near its walltime.

    Parameters
    ----------
    site : Site
        What the job asks for.
    command : str
        A shell command. SIGTERM must make it write what it has and end with another code than 0.
    name : str
        Of the job.
    comment : str, optional
        By which the job is found again.
    array : str, optional
        Elements of a job array, as in ``0-9%4``.
    dask : bool
        Start a Dask scheduler in the first node and ``ntasks`` workers over all of them; the command finds
        them by ``SCIFLOW_SCHEDULER_FILE``.
    steps : bool
        The command is srun, which takes SIGTERM for itself: send it to the processes that it started. The
        caller puts the site's container before what those run.
    watch : sequence of str
        Files and folders that change when the command gets something done, beside ``SCIFLOW_PROGRESS``.
    python : str
        Interpreter, at the same path on all nodes.

    Raises
    ------
    InvalidArgument
        If the comment or the array cannot be an option of sbatch.
    """
    for option, value in (("comment", comment), ("array", array)):
        if value is not None and not re.fullmatch(r"[\w.:%,\-]+", value):
            raise InvalidArgument(f"{option}: found {value!r}, expected letters, digits and . : % , -")
    parts = [
        _header(site, name, comment, array),
        "".join(line + "\n" for line in surroundings(site)),
        _restarting(site, watch, steps=steps),
        _dask(site, python) if dask else "",
        _RUN.format(command=command if steps else _contained(site, command)),
    ]
    return "\n".join(part for part in parts if part)


def for_flow(site: Site) -> Site:
    """Return what the job of a flow itself asks for: the workers of some modes are in other jobs.

    Parameters
    ----------
    site : Site
        With ``mode`` ``alloc``, all of it; ``local``, one node with the cores of all processes;
        ``jobqueue`` and ``array``, one core.
    """
    if site.mode == "alloc":
        return site
    small = {"nodes": 1, "ntasks": 1}
    if site.mode == "local":
        return site.model_copy(update={**small, "cpus_per_task": site.ntasks * site.cpus_per_task})
    return site.model_copy(update={**small, "cpus_per_task": 1, "mem": None, "gres": None, "gpus": None})


def job_name(text: str) -> str:
    """Return a text as the name of a job, which is part of its log's name too.

    Examples
    --------
    >>> job_name("compress/of a file")
    'compress-of-a-file'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")[:60] or "sciflow"


def surroundings(site: Site) -> list[str]:
    """Return the shell lines that come before every command: modules, variables, prologue.

    Parameters
    ----------
    site : Site
        Whose they are.
    """
    lines = [f"module load {shlex.quote(name)}" for name in site.modules]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in site.environment.items()]
    return lines + site.prologue


def _header(site: Site, name: str, comment: str | None, array: str | None) -> str:
    options = {
        "job-name": job_name(name),
        "comment": comment,
        "partition": site.partition,
        "account": site.account,
        "qos": site.qos,
        "constraint": site.constraint,
        "reservation": site.reservation,
        "nodes": site.nodes,
        "ntasks": site.ntasks,
        "cpus-per-task": site.cpus_per_task,
        "mem": site.mem,
        "gres": site.gres,
        "gpus-per-node": site.gpus,
        "time": site.walltime,
        "array": array,
        "output": f"{site.log_dir}/{LOG if array is None else '%x-%A_%a.log'}",
        "open-mode": "append",
        "signal": f"B:USR1@{site.grace_seconds}",
    }
    lines = ["#!/bin/bash"]
    lines += [f"#SBATCH --{option}={value}" for option, value in options.items() if value is not None]
    lines.append(f"#SBATCH --{'requeue' if site.requeue else 'no-requeue'}")
    lines += [f"#SBATCH {option}" for option in site.extra_directives]
    return "\n".join(lines) + "\n"


def _restarting(site: Site, watch: Sequence[str], *, steps: bool) -> str:
    return _RESTARTING.format(
        record=shlex.quote(f"{site.log_dir}/job-"),
        requeue=int(site.requeue),
        max_restarts=site.max_restarts,
        idle=IDLE_RESTARTS,
        watched=f"; ls -lnR --time-style=full-iso {shlex.join(watch)}" if watch else "",
        code=REQUEUE_CODE,
        tell='scancel --signal=TERM "$SLURM_JOB_ID"' if steps else 'kill -TERM "$pid"',
    )


def _dask(site: Site, python: str) -> str:
    run = _contained(site, '"$SCIFLOW_PYTHON"')
    interface = f" --interface {site.interface}" if site.interface else ""
    limit = _memory_limit(site)
    return _DASK.format(
        memory=exported(),
        python=shlex.quote(python),
        run=run,
        interface=interface,
        threads=site.cpus_per_task,
        limit=f" --memory-limit {limit}" if limit else "",
        scratch=f' --local-directory "{site.scratch}"' if site.scratch else "",
        scratched=f'mkdir -p "{site.scratch}"; ' if site.scratch else "",
    )


def _memory_limit(site: Site) -> str | None:
    """Bytes of a worker: nine tenths of its share of a node; without a node's memory Dask guesses."""
    if site.mem is None or site.mem.strip("0KMGT") == "":
        return None
    number, unit = (site.mem[:-1], site.mem[-1]) if site.mem[-1] in "KMGT" else (site.mem, "M")
    share = int(number) * 1024 ** "KMGT".index(unit) * 1024
    tasks = -(-site.ntasks // site.nodes)
    return str(share * 9 // 10 // tasks)


def _contained(site: Site, command: str) -> str:
    return f"{site.container} {command}" if site.container else command


_RESTARTING = """\
record={record}$SLURM_JOB_ID
restarts=${{SLURM_RESTART_COUNT:-0}}
export SCIFLOW_PROGRESS=$record.progress
echo "sciflow: job $SLURM_JOB_ID on $SLURM_JOB_NODELIST, restart $restarts, $(date -Is)"

done_so_far() {{ # changes when the command gets something done
    {{ cat "$SCIFLOW_PROGRESS"{watched}; }} 2>/dev/null | cksum
}}

start_again() {{ # start_again REASON: in this same job, unless it was cancelled or restarts lead nowhere
    local state=
    for _ in 1 2 3 4 5; do
        state=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T) && break
        sleep 2
    done
    if [ "$state" != RUNNING ]; then
        echo "sciflow: $1; the job is over for Slurm (${{state:-gone}})"; exit "$status"
    fi
    local before idle=0 found
    found=$(done_so_far)
    if [ -e "$record.restarts" ]; then
        {{ read -r idle; read -r before; }} <"$record.restarts"
        if [ "$found" = "$before" ]; then idle=$((idle + 1)); else idle=0; fi
    fi
    if [ {requeue} -eq 0 ]; then
        echo "sciflow: $1; not started again, the site says requeue = false"; exit 1
    elif [ "$restarts" -ge {max_restarts} ]; then
        echo "sciflow: $1; not started again after $restarts restarts (max_restarts)"; exit 1
    elif [ "$idle" -ge {idle} ]; then
        echo "sciflow: $1; not started again, the last $idle restarts got nothing done:" \\
            "give it more walltime, or less grace_seconds"; exit 1
    fi
    printf '%s\\n%s\\n' "$idle" "$found" >"$record.part" && mv "$record.part" "$record.restarts"
    echo "sciflow: $1; asking Slurm to start job $SLURM_JOB_ID again, $(date -Is)"
    for _ in 1 2 3 4 5; do
        if scontrol requeue "$SLURM_JOB_ID"; then exit 1; fi
        sleep 2
    done
    echo "sciflow: Slurm does not take the job back"; exit 1
}}

pid= warned=
tell() {{ warned=1; [ -z "$pid" ] || {tell}; }}
trap 'echo "sciflow: Slurm warns of the end, $(date -Is)"; tell' USR1
trap tell TERM
trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT
supervise() {{ # supervise PID: its exit code, though signals interrupt the wait
    while :; do
        wait "$1"; status=$?
        kill -0 "$1" 2>/dev/null || break
    done
    wait "$1" 2>/dev/null; local again=$?
    [ "$again" -eq 127 ] || status=$again
    if [ "$status" -eq {code} ]; then start_again "the command asks for it"; fi
    if [ -n "$warned" ] && [ "$status" -ne 0 ]; then start_again "warned"; fi
    [ "$status" -ne 0 ] || rm -f "$record.restarts" "$record.progress"
    exit "$status"
}}
"""

_DASK = """\
{memory}
# A file of this start alone: workers must not join the scheduler of an earlier one.
export SCIFLOW_PYTHON={python} SCIFLOW_SCHEDULER_FILE=$record.scheduler-$restarts.json
rm -f "$SCIFLOW_SCHEDULER_FILE"
{run} -m distributed.cli.dask_scheduler --scheduler-file "$SCIFLOW_SCHEDULER_FILE" --port 0 \\
    --no-dashboard{interface} &
worker='{scratched}until {run} -m distributed.cli.dask_worker --scheduler-file "$SCIFLOW_SCHEDULER_FILE" \\
    --nworkers 1 --nthreads {threads} --no-dashboard --death-timeout 300{interface}{limit}{scratch}
do sleep 1; done'
{{ until srun --ntasks="$SLURM_NTASKS" --kill-on-bad-exit=0 bash -c "$worker"; do sleep 2; done; }} &
"""

_RUN = """\
{command} &
pid=$!
[ -z "$warned" ] || tell
supervise "$pid"
"""
