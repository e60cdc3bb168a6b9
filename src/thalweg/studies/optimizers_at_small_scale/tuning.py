"""Tunes the study's optimizers by the coordinate descent of ``launch.descent``, with a ledger that resumes.

Source: arXiv 2509.02046, phase I.
Differs: 1. the batch size is held; 2. only learning rate and weight decay are tuned at every budget.

The command that made tuned.json (seed 101, which no verdict uses):

    python -m thalweg.studies.optimizers_at_small_scale.tuning --folder runs/tuning
"""

from __future__ import annotations

import argparse
import functools
import json
from pathlib import Path
from typing import Any

from thalweg.files import write_atomic
from thalweg.launch.descent import SearchSpace, coordinate_descent
from thalweg.runs.ledger import Ledger
from thalweg.studies.optimizers_at_small_scale.lab import GRIDS, STARTS, train_all
from thalweg.studies.optimizers_at_small_scale.study import LAPTOP

__all__ = ["tune"]

SEED = 101
SENSITIVE = ("lr", "weight_decay")
"""Tuned at every budget; the rest at the middle one only (phase II)."""
Values = dict[str, float]


def losses_of(ledger: Ledger, name: str, steps: int, workers: int, wanted: list[Values]) -> list[float]:
    """Final losses of configurations, of new ones by training them."""
    configs = [{"optimizer": name, "steps": steps, "seed": SEED, "values": values} for values in wanted]
    missing = [config for config in configs if ledger.get(config) is None]
    runs = [(name, steps, config["values"]) for config in missing]
    found = train_all(LAPTOP, runs, SEED, ledger.path.parent / "runs", "cpu", workers) if runs else []
    for config, loss in zip(missing, found, strict=True):
        ledger.add(config, loss=loss)
    return [known["loss"] for config in configs if (known := ledger.get(config))]


def tune(folder: Path, workers: int) -> dict[str, Any]:
    """Tunes every optimizer: all its hyperparameters at the middle budget, rate and decay at the others."""
    tuned: dict[str, Any] = {}
    with Ledger(folder / "ledger.jsonl") as ledger:
        for name, grids in GRIDS.items():
            middle = LAPTOP.budgets[len(LAPTOP.budgets) // 2]
            base = dict(STARTS[name])
            for steps in sorted(LAPTOP.budgets_of(name), key=lambda steps: steps != middle):
                axes = grids if steps == middle else {key: grids[key] for key in SENSITIVE}
                losses = functools.partial(losses_of, ledger, name, steps, workers)
                say = functools.partial(print, name, steps, flush=True)
                best, loss = coordinate_descent(SearchSpace(base, axes), losses, say=say)
                base = best if steps == middle else base
                runs = sum(
                    (r["config"]["optimizer"], r["config"]["steps"]) == (name, steps) for r in ledger.records.values()
                )
                tuned.setdefault(name, {})[str(steps)] = {"values": best, "loss": loss, "runs": runs}
    return tuned


def main() -> None:
    """Writes tuned.json beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    tuned = tune(asked.folder, asked.workers)
    write_atomic(Path(__file__).parent / "tuned.json", json.dumps(tuned, indent=1) + "\n")


if __name__ == "__main__":
    main()
