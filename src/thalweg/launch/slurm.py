"""A script for SLURM's ``sbatch`` that trains a list of recipes, one task of a job array each.

Before its time is up a task's processes get SIGTERM and write a checkpoint, and the task puts itself back into the
queue, where the same command resumes it; so does a task whose machine was lost (``--requeue``). Torchrun gives its
processes 30 seconds for that.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thalweg.errors import InputError

__all__ = ["Slurm", "slurm_script"]


@dataclass(frozen=True, slots=True)
class Slurm:
    """What one task asks for.

    Args:
        time: limit as SLURM writes it, e.g. "4:00:00" or "1-12".
        machines: of each run, >= 1.
        processes: on each machine, >= 1; more than one in all are started with torchrun.
        threads: cores and torch threads of each process, >= 1.
        gpus: of each machine, >= 0.
        memory: of each machine, e.g. "16G"; empty leaves the cluster's default.
        partition: empty leaves the default.
        account: empty leaves the default.
        at_once: tasks that run at a time; 0 sets no limit.
        warn: seconds before the limit at which a task is told to stop, >= 1.
        setup: shell lines before training, e.g. "module load cuda".
        shard: split weights among the processes of a run.

    Raises:
        InputError: a value that SLURM or the shell would misread.
    """

    time: str = "4:00:00"
    machines: int = 1
    processes: int = 1
    threads: int = 1
    gpus: int = 0
    memory: str = ""
    partition: str = ""
    account: str = ""
    at_once: int = 0
    warn: int = 120
    setup: Sequence[str] = field(default_factory=tuple)
    shard: bool = False

    def __post_init__(self) -> None:
        for name, low in [("machines", 1), ("processes", 1), ("threads", 1), ("gpus", 0), ("at_once", 0), ("warn", 1)]:
            if getattr(self, name) < low:
                raise InputError(f"{name} = {getattr(self, name)} must be a whole number of at least {low}")
        if not re.fullmatch(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}", self.time):
            raise InputError(f"time = {self.time!r} should read H:MM:SS, MINUTES or D-H, as SLURM writes it")
        for name in ("memory", "partition", "account"):
            if not re.fullmatch(r"[\w.,-]*", getattr(self, name)):
                raise InputError(f"{name} = {getattr(self, name)!r} holds characters that a #SBATCH line cannot")


def slurm_script(recipes: Sequence[Path], runs: Path, asked: Slurm | None = None, *, name: str = "thalweg") -> str:
    """The text of a script for ``sbatch``; nothing is trained.

    Args:
        recipes: TOML files, by a path that the machines see; run folders are named after them.
        runs: the folder that run folders and SLURM's output go to; it must exist when ``sbatch`` is called.
        asked: what a task asks for.
        name: of the job.

    Raises:
        InputError: no recipes, two of one name, or a name of the job with other characters than letters, digits, . _ -.
    """
    asked = asked or Slurm()
    names = [path.stem for path in recipes]
    if not names:
        raise InputError("recipes is empty: give at least one TOML file")
    if doubled := next((each for each in names if names.count(each) > 1), None):
        raise InputError(f"two recipes are named {doubled!r} and would share a run folder: rename one")
    if not re.fullmatch(r"[\w.-]+", name) or re.search(r"\s", str(runs)):
        raise InputError(f"name = {name!r} and runs = {str(runs)!r} stand in #SBATCH lines: leave out spaces")
    limit = f"%{asked.at_once}" if asked.at_once else ""
    wanted = {
        "job-name": name,
        "array": f"0-{len(names) - 1}{limit}",
        "time": asked.time,
        "nodes": asked.machines,
        "ntasks-per-node": 1,
        "cpus-per-task": asked.threads * asked.processes,
        "gpus-per-node": asked.gpus or "",
        "mem": asked.memory,
        "partition": asked.partition,
        "account": asked.account,
        "output": f"{runs}/%x-%A_%a.out",
        "open-mode": "append",
        "signal": f"B:USR1@{asked.warn}",
    }
    head = ["#!/bin/bash", *(f"#SBATCH --{key}={value}" for key, value in wanted.items() if value != "")]
    listed = " ".join(shlex.quote(str(path)) for path in recipes)
    folders = " ".join(shlex.quote(str(runs / each)) for each in names)
    lines = [
        *head,
        "#SBATCH --requeue",
        "",
        "set -u",
        f"recipes=({listed})",
        f"folders=({folders})",
        *asked.setup,
        f"export OMP_NUM_THREADS={asked.threads}",
        "stopped=",
        "trap 'stopped=1; scancel --signal=TERM \"$SLURM_JOB_ID\"' USR1",
        f"srun {_command(asked)} &",
        "step=$!",
        'until wait "$step"; code=$?; [ "$code" -ne 138 ]; do :; done  # 138: the signal came',
        'if [ -n "$stopped" ] && [ "$code" -ne 0 ]; then',
        '    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"',
        "fi",
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def _command(asked: Slurm) -> str:
    """What each machine of a task runs."""
    device = "cuda" if asked.gpus else "cpu"
    words = f'train "${{recipes[$SLURM_ARRAY_TASK_ID]}}" --out "${{folders[$SLURM_ARRAY_TASK_ID]}}" --device {device}'
    words += " --shard" if asked.shard else ""
    if asked.machines * asked.processes == 1:
        return f"thalweg {words} --threads {asked.threads}"
    first = '"$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):29500"'
    meet = f"--rdzv-backend=c10d --rdzv-endpoint={first} --rdzv-id=$SLURM_JOB_ID"
    return f"torchrun --nnodes={asked.machines} --nproc-per-node={asked.processes} {meet} -m thalweg {words}"
