"""How near the demo's predictions come, over seeds; finished demos in the folder are read, not run again.

Claim: predicted final losses of the untrained schedules within 2 % of the measured ones (median over three seeds), the
designed schedule no higher than cosine and WSD within its error, all in at most five minutes on two cores. Writes
benchmarks/results/demo.json.

    python benchmarks/demo.py [--seeds 3] [--folder runs/demo-benchmark]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, median, stdev

from thalweg.cli.demo import STEPS, demo_plan
from thalweg.files import write_atomic
from thalweg.launch.forecast import Forecaster
from thalweg.runs.environment import environment

RESULTS = Path(__file__).parent / "results" / "demo.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/demo-benchmark"))
    asked = parser.parse_args()
    found = [Forecaster(demo_plan(STEPS, seed), asked.folder / f"d{seed}").run() for seed in range(asked.seeds)]
    rows = {}
    print(
        "schedule    median |error|   errors by seed                above designed (mean +- standard error over seeds)"
    )
    for name in found[0]["table"]:
        errors = [result["table"][name]["error"] for result in found]
        gaps = [result["table"][name]["above_designed"] for result in found]
        spread = stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else float("nan")
        rows[name] = {
            "errors": errors,
            "median_error": median(map(abs, errors)),
            "above_designed": mean(gaps),
            "above_designed_error": spread,
        }
        listed = "  ".join(f"{100 * error:+.2f} %" for error in errors)
        print(f"{name:8s} {100 * rows[name]['median_error']:.2f} %;  {listed};  {mean(gaps):+.4f} +- {spread:.4f}")
    seconds = [sum(result["seconds"].values()) for result in found]
    speed = [run["tokens_per_second"] for result in found for run in result["runs"].values()]
    print(f"seconds (stages): {', '.join(f'{s:.0f}' for s in seconds)};  tokens/s of one process: {median(speed):,.0f}")
    document = {
        "schedules": rows,
        "seconds": seconds,
        "tokens_per_second": median(speed),
        "environment": environment("cpu"),
    }
    write_atomic(RESULTS, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
