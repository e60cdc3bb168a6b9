"""Do matrix optimizers need fewer tokens than a tuned AdamW, and elementwise ones not?

Paper: Fantastic Pretraining Optimizers and Where to Find Them, arXiv 2509.02046.

1. Claim tested: with every optimizer tuned, Muon and SOAP reach AdamW's loss with fewer tokens (paper: 1.2 to 1.4 times
   fewer at 0.1B parameters, 1.1 at 1.2B); Lion does not.
2. Each optimizer is tuned by coordinate descent on seed 101 (tuning.py, tuned.json), in all its hyperparameters at the
   middle budget, in rate and decay at every other; the seeds of the verdict have other initial weights and data order.
   Losses are over the same validation windows.
3. Speed-up: AdamW's final losses over its budgets are fitted by a D^-B + b (laws/final_losses.py); an optimizer that
   ends at loss L after D tokens has speed-up D_AdamW(L) / D. Of a seed and an optimizer: the geometric mean over the
   three budgets.
4. Rule, fixed before any run of the verdict's seeds: two tests with 2 standard errors over seeds (studies.base.decide):
   the smaller of Muon's and SOAP's speed-up exceeds 1.1; and it exceeds Lion's. Reproduced if both hold, not reproduced
   if one fails so, else inconclusive. The effect reported is the smaller of Muon's and SOAP's speed-up.
5. Beside it, without a part in the verdict: seconds per update of each optimizer, the speed-up in time, and an interval
   of each speed-up from resampling the validation windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thalweg.laws.final_losses import fit_final_losses
from thalweg.nn import ModelConfig
from thalweg.runs import Run
from thalweg.stats.bootstrap import iid_indices
from thalweg.studies.base import Record, Verdict, decide, decide_all
from thalweg.studies.optimizers_at_small_scale.lab import GRIDS, place, run_window_losses, train_all, tuned_values
from thalweg.studies.optimizers_at_small_scale.picture import figure
from thalweg.train.recipe import DataRecipe

__all__ = [
    "ARXIV",
    "CLAIM",
    "GPU",
    "LAPTOP",
    "SLUG",
    "SMOKE",
    "TITLE",
    "UNIT",
    "Config",
    "figure",
    "run",
    "verdict",
]

SLUG = "optimizers-at-small-scale"
TITLE = "Tuned AdamW against Muon, SOAP and Lion at three token budgets"
ARXIV = "2509.02046"
CLAIM = "With every optimizer tuned, Muon and SOAP need fewer tokens than AdamW for the same loss; Lion does not."
UNIT = "times fewer tokens"
THRESHOLD = 1.1
BASELINE, MATRIX, ELEMENTWISE = "adamw", ("muon", "soap"), "lion"


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        model: the language model.
        data: its text; ``context`` is that of training and validation.
        budgets: updates at which optimizers are compared, increasing.
        more: further budgets of AdamW, for its curve.
        batch: sequences an update.
        windows: validation windows.
        tuned: budgets whose tuned values apply, one for each of ``budgets`` and ``more`` in increasing order.
        workers: processes (on a GPU: 1).
        draws: resamples of the validation windows.
    """

    model: ModelConfig
    data: DataRecipe
    budgets: tuple[int, ...]
    more: tuple[int, ...]
    batch: int
    windows: int = 384
    tuned: tuple[int, ...] = ()
    workers: int = 2
    draws: int = 200

    def budgets_of(self, name: str) -> tuple[int, ...]:
        """Updates of the runs of one optimizer, increasing."""
        return tuple(sorted({*self.budgets, *self.more})) if name == BASELINE else self.budgets

    def tuned_for(self, steps: int) -> int:
        """The budget of tuned.json that stands for ``steps``."""
        return self.tuned[self.budgets_of(BASELINE).index(steps)] if self.tuned else steps


SMOKE = Config(
    model=ModelConfig(dim=16, layers=1, heads=1, context=16),
    data=DataRecipe(context=16),
    budgets=(8, 16, 32),
    more=(64,),
    batch=4,
    windows=16,
    tuned=(200, 200, 400, 800),
    workers=1,
    draws=5,
)
LAPTOP = Config(
    model=ModelConfig(dim=64, layers=2, heads=2, context=64),
    data=DataRecipe(context=64),
    budgets=(200, 400, 800),
    more=(100, 1600),
    batch=16,
)
GPU = Config(
    model=ModelConfig(dim=256, layers=6, heads=4, context=256),
    data=DataRecipe(context=256),
    budgets=(500, 1000, 2000),
    more=(250, 4000),
    batch=32,
    windows=1024,
    tuned=(100, 200, 400, 800, 1600),
    workers=1,
)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Trains every optimizer at every budget; yields a record a run, then one an optimizer with its speed-ups."""
    tuned = tuned_values()
    runs = [
        (name, steps, tuned[name][str(config.tuned_for(steps))]["values"])
        for name in GRIDS
        for steps in config.budgets_of(name)
    ]
    losses = train_all(config, runs, seed, folder, device, config.workers)
    if not all(np.isfinite(losses)):
        raise RuntimeError(
            f"a tuned run diverged: {[r[:2] for r, loss in zip(runs, losses, strict=True) if loss > 1e9]}"
        )
    windows = {entry[:2]: run_window_losses(place(folder, *entry), device) for entry in runs}
    for (name, steps, values), loss in zip(runs, losses, strict=True):
        seconds = Run.open(place(folder, name, steps, values)).curve("seconds")[1]
        yield {
            "kind": "run",
            "optimizer": name,
            "steps": steps,
            "tokens": steps * config.batch * config.data.context,
            "loss": loss,
            "seconds_per_step": float(np.median(seconds)),
            "values": dict(values),
        }
    yield from _speedups(config, windows, seed)


def _speedups(config: Config, windows: Mapping[tuple[str, int], np.ndarray], seed: int) -> Iterator[Record]:
    """One record an optimizer but the baseline: speed-up at each budget, their geometric mean, its interval."""

    def compute(rows: np.ndarray) -> dict[str, list[float]]:
        ladder = config.budgets_of(BASELINE)
        curve = fit_final_losses(ladder, [windows[BASELINE, steps][rows].mean() for steps in ladder])
        return {
            name: [curve.speedup(steps, float(windows[name, steps][rows].mean())) for steps in config.budgets]
            for name in GRIDS
            if name != BASELINE
        }

    count = len(next(iter(windows.values())))
    whole = compute(np.arange(count))
    resampled = [compute(rows) for rows in iid_indices(count, repeats=config.draws, seed=seed)]
    for name, values in whole.items():
        means = np.array([geometric(draw[name]) for draw in resampled])
        low, high = np.quantile(means, (0.05, 0.95))
        yield {
            "kind": "speedup",
            "optimizer": name,
            "budgets": list(config.budgets),
            "speedups": values,
            "mean": geometric(values),
            "interval": [float(low), float(high)],
        }


def geometric(values: Sequence[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def verdict(records: Sequence[Record]) -> Verdict:
    """The rule of the module's docstring."""
    found = [record for record in records if record["kind"] == "speedup"]
    seeds = sorted({record["seed"] for record in found})
    means = {(record["seed"], record["optimizer"]): record["mean"] for record in found}
    smaller = [min(means[seed, name] for name in MATRIX) for seed in seeds]
    first = decide(smaller, threshold=THRESHOLD)
    second = decide([low - means[seed, ELEMENTWISE] for seed, low in zip(seeds, smaller, strict=True)], threshold=0.0)
    return decide_all((first, second), effect=first)
