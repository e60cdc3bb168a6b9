"""What equal bits cost: an update with ``micro_batches`` against one with ``accumulate``, in one process and in two.

    python benchmarks/ordered_updates.py

Two gloo processes on this machine, a thread each, train the same recipe by turns; in one process ``micro_batches = 2``
stands against ``accumulate = 2``, in two each computes one part. Processor time is that of a process, also while others
use the machine; of wall time the fastest fifth of a run's updates counts. The median over repeats, with the least ratio
and the most.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ARMS = {"one process": (1, False), "two processes": (2, False), "two processes, split": (2, True)}
KINDS = ("accumulate", "micro_batches")


def recipe(kind: str, processes: int, steps: int) -> Any:
    """Some 0.4M weights, 32 rows of 64 bytes."""
    from thalweg.nn import ModelConfig
    from thalweg.train.recipe import CheckpointRecipe, DataRecipe, EvaluationRecipe, Recipe

    return Recipe(
        steps=steps,
        schedule="constant:peak=1e-3",
        batch=32,
        model=ModelConfig(dim=96, layers=3, heads=4, context=64),
        data=DataRecipe(context=64),
        evaluation=EvaluationRecipe(every=0, windows=8),
        checkpoint=CheckpointRecipe(every=0),
        **({"accumulate": 2 // processes} if kind == "accumulate" else {"micro_batches": 2}),
    )


def timed(rank: int, folder: Path, kind: str, processes: int, shard: bool, steps: int) -> dict[str, float]:
    """Seconds an update of one run in this process."""
    import torch.distributed as dist

    from thalweg.runs import Run
    from thalweg.train.follower import Follower
    from thalweg.train.hooks import Hook, State
    from thalweg.train.loop import train
    from thalweg.train.setup import prepare
    from thalweg.train.world import World

    marks: list[tuple[float, float]] = []

    class Clock(Hook):
        def after_step(self, state: State, metrics: dict[str, float]) -> None:
            marks.append((time.process_time(), time.perf_counter()))

    made = recipe(kind, processes, steps)
    if rank == 0:
        Run.create(folder, made.to_dict())
    if processes > 1:
        dist.barrier()
    world = World(rank, 2, shard=shard) if processes > 1 else World()
    run = (Run if rank == 0 else Follower).open(folder)
    train(run, data=prepare(made.data, folder.parent / f"data-{rank}"), hooks=(Clock(),), world=world)
    marks = marks[2:]  # the first ones allocate
    walls = sorted(after[1] - before[1] for before, after in pairwise(marks))
    return {"processor": (marks[-1][0] - marks[0][0]) / (len(marks) - 1), "wall": walls[len(walls) // 5]}


def worker(rank: int, folder: Path, steps: int, repeats: int) -> None:
    """Every arm in turn, repeated; the first process writes what it found."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=300))
    found = []
    for repeat in range(repeats):
        for arm, (processes, shard) in ARMS.items():
            for kind in KINDS:
                dist.barrier()
                if rank < processes:
                    home = folder / f"{arm}-{kind}-{repeat}".replace(" ", "-")
                    found.append({"arm": arm, "kind": kind, **timed(rank, home, kind, processes, shard, steps)})
    dist.barrier()
    dist.destroy_process_group()
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians and ratios of each arm and clock."""
    made = []
    for arm in ARMS:
        for clock in ("processor", "wall"):
            old, new = ([row[clock] for row in rows if (row["arm"], row["kind"]) == (arm, kind)] for kind in KINDS)
            ratios = [b / a for a, b in zip(old, new, strict=True)]
            entry = {"arm": arm, "clock": clock, "accumulate": statistics.median(old)}
            entry |= {"micro_batches": statistics.median(new), "ratio": statistics.median(ratios)}
            made.append(entry | {"least": min(ratios), "most": max(ratios)})
    return made


def main() -> None:
    """Starts both processes, prints and stores the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=22)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        return worker(options.worker, options.folder, options.steps, options.repeats)
    with tempfile.TemporaryDirectory() as folder:
        words = ["--steps", str(options.steps), "--repeats", str(options.repeats), "--folder", folder, "--worker"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pair = [subprocess.Popen([sys.executable, __file__, *words, str(rank)], env=environment) for rank in range(2)]
        if any([process.wait() for process in pair]):
            raise SystemExit(1)
        rows = summary(json.loads((Path(folder) / "found.json").read_text()))
    for row in rows:
        print(
            f"{row['arm']:21} {row['clock']:9} {1e3 * row['accumulate']:6.1f} -> {1e3 * row['micro_batches']:6.1f} ms, "
            f"ratio {row['ratio']:.2f} ({row['least']:.2f} to {row['most']:.2f})"
        )
    result = {
        "steps": options.steps,
        "repeats": options.repeats,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "ordered-updates.json").write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
