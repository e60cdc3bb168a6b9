"""How much of an optimizer's speed-up is a baseline that was not tuned?

Paper: Fantastic Pretraining Optimizers and Where to Find Them, arXiv 2509.02046.

1. Claim tested: re-tuning the baseline's learning rate alone takes away much of a published speed-up (paper: up to 2
   times, from the rate of the GPT-3 recipe); over a tuned AdamW a matrix optimizer still needs fewer tokens.
2. Live: a network 32-64-64-16 on a stream of classified points (tasks/random_teacher.py). AdamW (cosine, 10 % warmup)
   and Muon (flat, then straight to 0) are tuned in their learning rate, four values, at each budget, by the coordinate
   descent of launch/descent.py. The untuned baseline is AdamW at torch's default rate, 1e-3. Each baseline's final
   losses over its budgets are fitted by a D^-B + b (laws/final_losses.py); Muon's speed-up over it is taken at each of
   Muon's budgets. Inflation: speed-up over the untuned baseline / over the tuned one, geometric mean over budgets.
3. Rule, fixed on seeds from 100 on before seeds 0, 1, 2, ... were run: two tests with 2 standard errors over seeds
   (studies.base.decide): the inflation exceeds 2; Muon's speed-up over the tuned baseline, geometric mean over budgets,
   exceeds 1. Reproduced if both hold, not reproduced if one fails so, else inconclusive. The effect is the inflation.
4. Beside it, without a part in the verdict, with seed 0: the published tables, where they are at hand in ``tables``:
   speed-ups of every optimizer by size and budget, and the hyperparameters that are scale-sensitive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thalweg.launch.descent import CoordinateDescent
from thalweg.laws.final_losses import fit_final_losses
from thalweg.laws.optimizer_benchmark import SIZES, load_optimizer_benchmark
from thalweg.laws.sensitivity import sensitive_hyperparameters
from thalweg.laws.token_speedup import token_speedups
from thalweg.studies.base import Record, Verdict, decide, decide_all
from thalweg.studies.fantastic_optimizers.lab import SPACES, UNTUNED, final_loss
from thalweg.studies.fantastic_optimizers.picture import figure

__all__ = ["ARXIV", "CLAIM", "GPU", "LAPTOP", "SLUG", "SMOKE", "TITLE", "UNIT", "Config", "figure", "run", "verdict"]

SLUG = "fantastic-optimizers"
TITLE = "How much of a speed-up is an untuned baseline"
ARXIV = "2509.02046"
CLAIM = (
    "Tuning only the baseline's learning rate takes away a factor of 2 or more of a speed-up; the rest stays above 1."
)
UNIT = "speed-up over untuned / over tuned AdamW"
INFLATION = 2.0


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        budgets: updates at which Muon is compared, increasing.
        more: further budgets of the tuned baseline.
        untuned: further budgets of the untuned baseline, which is slower.
        batch: points an update.
        held_out: points of the final loss.
        tables: folder of the published tables; they are left out where it is absent.
    """

    budgets: tuple[int, ...]
    more: tuple[int, ...]
    untuned: tuple[int, ...]
    batch: int = 64
    held_out: int = 4096
    tables: str = "../shared/data/optimizer-benchmark"


SMOKE = Config(budgets=(8, 16), more=(32,), untuned=(32, 64), batch=8, held_out=64, tables="")
LAPTOP = Config(budgets=(100, 200, 400), more=(800,), untuned=(800, 1600, 3200))
GPU = Config(budgets=(600, 1200, 2400), more=(4800,), untuned=(4800, 9600, 19200), batch=256, held_out=65536)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Tunes both at every budget, trains the untuned baseline; yields a record a cell, then the speed-ups."""
    losses: dict[str, dict[int, float]] = {"tuned": {}, "untuned": {}, "muon": {}}
    about = {"seed": seed, "batch": config.batch, "held_out": config.held_out}

    def loss(name: str, lr: float, steps: int) -> float:
        return final_loss(name, lr, steps, batch=config.batch, held_out=config.held_out, seed=seed, device=device)

    for arm, space, budgets in (
        ("tuned", SPACES["adamw"], (*config.budgets, *config.more)),
        ("untuned", UNTUNED, (*config.budgets, *config.untuned)),
        ("muon", SPACES["muon"], config.budgets),
    ):
        name = "muon" if arm == "muon" else "adamw"
        tuning = CoordinateDescent(
            space,
            lambda values, steps, name=name: loss(name, values["lr"], steps),
            folder / "ledger.jsonl",
            about={**about, "optimizer": name},
        )
        for steps in budgets:
            values, losses[arm][steps], _ = tuning.best(steps)
            yield {"kind": "run", "arm": arm, "steps": steps, "lr": values["lr"], "loss": losses[arm][steps]}
    yield _speedups(config, losses)
    if seed == 0 and config.tables and Path(config.tables).is_dir():
        yield from _published(Path(config.tables))


def _speedups(config: Config, losses: Mapping[str, Mapping[int, float]]) -> Record:
    """Muon's speed-up over both baselines at each budget, and their ratio."""
    found = {}
    for arm in ("tuned", "untuned"):
        curve = fit_final_losses(list(losses[arm]), list(losses[arm].values()))
        found[arm] = [curve.speedup(steps, losses["muon"][steps]) for steps in config.budgets]
    ratios = [over / under for over, under in zip(found["untuned"], found["tuned"], strict=True)]
    return {
        "kind": "speedup",
        "budgets": list(config.budgets),
        **found,
        "inflation": geometric(ratios),
        "over_tuned": geometric(found["tuned"]),
    }


def _published(folder: Path) -> Iterator[Record]:
    """One record a size with all speed-ups and intervals, one an optimizer with its sensitive hyperparameters."""
    tables = load_optimizer_benchmark(folder)
    for size in SIZES:
        base = tables.losses("adamw", size)
        others = {name: tables.losses(name, size) for name in tables.optimizers if name != "adamw"}
        speedups = {
            name: [[s.budget, s.value, s.low, s.high] for s in token_speedups(base, other, repeats=200)]
            for name, other in others.items()
            if other
        }
        yield {"kind": "published", "size": size, "speedups": speedups}
    for name in tables.optimizers:
        found = sensitive_hyperparameters(tables.phase_one(name))
        yield {"kind": "sensitive", "optimizer": name, "values": {key: list(v) for key, v in found.sensitive.items()}}


def geometric(values: Sequence[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def verdict(records: Sequence[Record]) -> Verdict:
    """The rule of the module's docstring."""
    found = [record for record in records if record["kind"] == "speedup"]
    inflation = decide([record["inflation"] for record in found], threshold=INFLATION)
    real = decide([record["over_tuned"] for record in found], threshold=1.0)
    return decide_all((inflation, real), effect=inflation)
