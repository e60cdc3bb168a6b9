"""Speed and accuracy of the laws against the official multi-power-law code.

Claims: a fit in at most 1/100 of the official CPU time, accuracy beside the official table at two sizes, a design
within 1e-4 of the official optimum in at most 1/300 of its CPU time, a 72,000-step curve in under 5 ms. CPU seconds
of this process; min, median and max over repeats; writes benchmarks/results/laws.json.

    python benchmarks/laws.py [--repeats 5] [--peer DIR]

``--peer`` is a checkout of thu-yao-01-luo/MultiPowerLaw (run here, in turn with ours; minutes); without it the official
times are those recorded on two shared cores with torch 2.13 and are marked as recorded.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
from laws_published import PEAK, TEST, TRAIN, WARMUP, curves, rates

from thalweg.files import write_atomic
from thalweg.laws import LossCurve, MultiPower, design, fit
from thalweg.laws.comparing import mean_metrics
from thalweg.laws.drops import build_table

RECORDED = {"fit": 46.0, "design": 56.0}  # CPU seconds of the official code, 100M
TABLE = {  # README of the official repository: R2, MAE, RMSE, PredE, WorstE
    "25M": (0.9988, 0.00376, 0.00465, 0.00110, 0.00409),
    "100M": (0.9983, 0.00435, 0.00592, 0.00142, 0.00583),
}
OPTIMUM = {"25M": 3.14968, "100M": 2.79414}  # official optimiser, 10,000 iterations


def repeat(call: Callable[[], object], repeats: int, clock: Callable[[], float] = process_time) -> list[float]:
    times = []
    for _ in range(repeats):
        start = clock()
        call()
        times.append(clock() - start)
    return times


def spread(times: list[float]) -> dict[str, float]:
    return {"min": min(times), "median": median(times), "max": max(times)}


def peer_times(folder: Path, train: dict[str, LossCurve]) -> dict[str, float]:
    """CPU seconds of the official fit and of its schedule optimisation, run from its own checkout."""
    sys.path.insert(0, str(folder))
    fitting = importlib.import_module("src.fitting")
    optimization = importlib.import_module("src.optimization")
    data = {name: {"step": c.steps, "loss": c.losses, "lrs": c.rates} for name, c in train.items()}
    with tempfile.TemporaryDirectory() as figures:
        start = process_time()
        first = fitting.generate_init_params(fitting.initialize_params(data, list(train)))
        params, _ = fitting.mpl_adam_fit(data, list(train), [], first, figures)
        fitted = process_time()
        optimization.OPT_PATH = figures
        optimization.optimize_lr_schedule(params, name="peer")
        return {"fit": fitted - start, "design": process_time() - fitted}


def accuracy(size: str) -> dict[str, list[float]]:
    train, test = curves(size, TRAIN), curves(size, TEST).values()
    rows = {"official table": list(TABLE[size])}
    for method in ("reference", "default", "plain"):
        found = mean_metrics(fit(train, method=method, draws=0, rivals=False), test)
        rows[method] = [found.r2, found.mae, found.rmse, found.pred_e, found.worst_e]
    for law in ("momentum", "one-power", "chinchilla-steps"):
        found = mean_metrics(fit(train, law, draws=0, rivals=False), test)
        rows[law] = [found.r2, found.mae, found.rmse, found.pred_e, found.worst_e]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", type=Path)
    options = parser.parse_args()
    result: dict[str, object] = {"official": "run here" if options.peer else "recorded"}
    train = {size: curves(size, TRAIN) for size in TABLE}
    fit(train["25M"], draws=0, rivals=False)  # scipy's imports are not part of a fit
    peer = peer_times(options.peer, train["100M"]) if options.peer else RECORDED
    result["official seconds"] = peer
    print(f"official CPU seconds ({result['official']}): fit {peer['fit']:.1f}, design {peer['design']:.1f}")
    for size, found in train.items():
        for method in ("default", "reference"):
            times = spread(repeat(lambda f=found, m=method: fit(f, method=m, draws=0, rivals=False), options.repeats))
            ratio = peer["fit"] / times["median"]
            result[f"fit {method} {size}"] = times | {"ratio": ratio}
            shown = "/".join(f"{times[key]:.3f}" for key in ("min", "median", "max"))
            print(f"fit {method:9s} {size:4s} min/median/max {shown} s, {ratio:.0f} times faster")
    for size, optimum in OPTIMUM.items():
        law = fit(train[size], method="reference", rivals=False)
        decay_only = MultiPower(params=law.params, warmup="paper")  # the official objective leaves warmup out
        times = spread(
            repeat(lambda one=decay_only: design(one, steps=24000, peak=PEAK, warmup=WARMUP), options.repeats)
        )
        loss = design(decay_only, steps=24000, peak=PEAK, warmup=WARMUP).final_loss
        ratio = peer["design"] / times["median"]
        result[f"design {size}"] = times | {"ratio": ratio, "final_loss": loss, "official": optimum}
        print(f"design {size:4s} {loss:.5f} (official {optimum:.5f}, {loss - optimum:+.1e}) min/median/max "
              f"{times['min']:.3f}/{times['median']:.3f}/{times['max']:.3f} s, {ratio:.0f} times faster")  # fmt: skip
    long = rates("cosine_72000")
    for form in ("paper", "code"):
        law = MultiPower(params=fit(train["100M"], method="reference", rivals=False).params, warmup=form)
        first = WARMUP if form == "paper" else 1
        cold = spread(repeat(lambda f=first: build_table(long, first=f), options.repeats))
        law.predict(long)
        warm = spread(repeat(lambda one=law: one.predict(long), 10 * options.repeats))
        at = np.arange(0, 72000, 997)
        error = float(np.abs(law.predict(long)[at] - law.definition(long, WARMUP, at))[1:].max())
        result[f"predict {form}"] = {"warm": warm, "cold": cold, "largest error": error}
        print(f"predict 72,000 steps, {form}: warm min/median/max {1e3 * warm['min']:.2f}/{1e3 * warm['median']:.2f}/"
              f"{1e3 * warm['max']:.2f} ms (the schedule's table cached; building it {1e3 * cold['median']:.0f} ms),"
              f" largest error {error:.1e}")  # fmt: skip
    for size in TABLE:
        table = accuracy(size)
        result[f"accuracy {size}"] = table
        print(f"test averages {size}:     R2      MAE     RMSE    PredE   WorstE")
        for name, row in table.items():
            print(f"  {name:17s} " + " ".join(f"{value:.5f}" for value in row))
    path = write_atomic(Path(__file__).parent / "results" / "laws.json", json.dumps(result, indent=1) + "\n")
    print(f"written to {path.name}")


if __name__ == "__main__":
    main()
