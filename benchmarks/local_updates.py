"""Wall time of local updates against an all-reduce a step, between two processes over a link of limited bandwidth.

    python benchmarks/local_updates.py                 token bucket in the all-reduce
    python benchmarks/local_updates.py --shape         the kernel's (tc tbf), in a network namespace of its own (Linux)

Two processes train the same network for the same steps over gloo: gradients averaged every step, or weights averaged at
the ends of rounds with H = 4, or with QSR under a cosine. Prints seconds, averages, and the ratio to an average a step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
LR, WIDTH, BATCH = 0.1, 384, 32
ARMS = ("a step", "constant 4", "qsr")


def throttled(mean: Callable, rate: float) -> Callable:
    """``mean`` that takes as long as its bytes need at ``rate`` bytes a second: a bucket that fills at that rate."""
    free = 0.0

    def call(tensors: Sequence) -> None:
        nonlocal free
        before = mean.bytes  # type: ignore[attr-defined]
        mean(tensors)
        free = max(free, time.perf_counter()) + (mean.bytes - before) / rate  # type: ignore[attr-defined]
        time.sleep(max(0.0, free - time.perf_counter()))

    return call


def arm(name: str, steps: int, rate: float) -> dict[str, float]:
    """One arm in this process: seconds, averages, bytes."""
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.functional import cross_entropy

    from thalweg.schedules import parse
    from thalweg.train.local_updates import LocalUpdates, constant_period
    from thalweg.train.periods import quadratic
    from thalweg.train.workers import WorkerMean, start_alike

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))
    weights = [p.data for p in model.parameters()]
    start_alike(weights)
    rates = parse(f"cosine:peak={LR},warmup={steps // 20}").rates(steps)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    draws = torch.Generator().manual_seed(dist.get_rank())
    x, y = torch.randn(1024, 64, generator=draws), torch.randint(10, (1024,), generator=draws)
    counted = WorkerMean()
    mean = throttled(counted, rate) if rate else counted
    period = quadratic(2 * LR, 4, warmup=steps // 20) if name == "qsr" else constant_period(4)
    updates = LocalUpdates(period, steps=steps, mean=mean)
    dist.barrier()
    began = time.perf_counter()
    for step, lr in enumerate(rates):
        rows = torch.randint(1024, (BATCH,), generator=draws)
        optimizer.zero_grad()
        cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.param_groups[0]["lr"] = float(lr)
        if name == "a step":
            mean([p.grad for p in model.parameters()])
        optimizer.step()
        if name != "a step":
            updates.after_step(weights, lr=float(rates[step]))
    dist.barrier()
    return {"seconds": time.perf_counter() - began, "averages": counted.calls, "bytes": counted.bytes}


def worker(rank: int, folder: Path, steps: int, rate: float, repeats: int) -> None:
    """Every arm in turn, repeated; the first process writes what it found."""
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=120))
    found = [{"arm": name, **arm(name, steps, rate)} for _ in range(repeats) for name in ARMS]
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def main() -> None:
    """Starts both processes, prints and stores the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabits", type=float, default=200.0, help="of the link")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shape", action="store_true", help="let the kernel shape the loopback of a new namespace")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rate = 0.0 if options.shape else options.megabits * 1e6 / 8
    if options.worker is not None:
        return worker(options.worker, options.folder, options.steps, rate, options.repeats)
    rows = launched(options)
    result = {"link_megabits": options.megabits, "limited_by": "tc tbf" if options.shape else "token bucket"}
    result |= {
        "steps": options.steps,
        "repeats": options.repeats,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
    result["arms"] = summary(rows)
    RESULTS.mkdir(exist_ok=True)
    name = "local-updates-shaped.json" if options.shape else "local-updates.json"
    (RESULTS / name).write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"{options.megabits:g} Mbit/s by {result['limited_by']}, {options.steps} steps, {options.repeats} times in turn"
    )
    for row in result["arms"]:
        low, mid, high = row["ratio"]
        volume = f"{row['averages']} averages ({row['averages'] / options.steps:.1%})"
        print(f"{row['arm']:12} {row['seconds']:7.2f} s  {volume:24} {mid:.3f} of a step's ({low:.3f} to {high:.3f})")
    return None


def launched(options: argparse.Namespace) -> list[dict]:
    """What the first process found; with ``--shape`` both run where the loopback is slow."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--folder", folder, "--steps", options.steps, "--repeats", options.repeats]
        words += ["--megabits", options.megabits, *(["--shape"] if options.shape else [])]
        line = " ".join(str(word) for word in words)
        command = f"{line} --worker 1 & {line} --worker 0; code=$?; wait; exit $code"
        shell = ["bash", "-c", command]
        if options.shape:
            if not (shutil.which("unshare") and shutil.which("tc")):
                raise SystemExit("--shape needs unshare and tc (Linux): leave it out for the token bucket")
            link = f"ip link set lo up mtu 1500 && tc qdisc add dev lo root tbf rate {options.megabits}mbit"
            shell = ["unshare", "-rn", "bash", "-c", f"{link} burst 64kb latency 200ms && {{ {command}; }}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        subprocess.run(shell, check=True, env=environment)
        return json.loads((Path(folder) / "found.json").read_text())


def summary(rows: list[dict]) -> list[dict]:
    """Medians, and the ratio of each repetition to its own average-a-step arm: least, median, most."""
    by = {name: [row for row in rows if row["arm"] == name] for name in ARMS}
    found = []
    for name, own in by.items():
        ratios = sorted(a["seconds"] / b["seconds"] for a, b in zip(own, by["a step"], strict=True))
        mid = statistics.median(row["seconds"] for row in own)
        counts = {key: own[0][key] for key in ("averages", "bytes")}
        found.append(
            {"arm": name, "seconds": mid, **counts, "ratio": [ratios[0], statistics.median(ratios), ratios[-1]]}
        )
    return found


if __name__ == "__main__":
    main()
