"""Does a law fitted to three short runs predict schedules and horizons that it never saw?

Paper: A Multi-Power Law for Loss Curve Prediction Across Learning Rate Schedules, arXiv 2503.12811.

1. Claim tested: fitted to a constant, a cosine and a two-stage run, the law predicts whole loss curves of unseen
   schedules at a longer horizon (paper: R2 about 0.998 on 25M to 400M models).
2. Effect: R2 of the predicted against the measured validation-loss curve after warmup, averaged over three long runs of
   our own (cosine, WSD, and the schedule the law designs), each twice as long as the pilots.
3. Rule, fixed before any run: reproduced if the mean over seeds exceeds 0.98 by two standard errors, not reproduced if
   it falls short of 0.98 by two, else inconclusive.
4. Beside it, without a part in the verdict: relative errors of the final losses, whether the designed schedule ends no
   higher than cosine and WSD, and the published curves (the law fitted to the paper's three, tested on its six), where
   they are at hand in ``curves``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thalweg.launch.forecast import Forecaster
from thalweg.launch.plan import LONG, Plan
from thalweg.laws import fit
from thalweg.nn import ModelConfig
from thalweg.studies.base import Record, Verdict, decide
from thalweg.studies.multi_power_law.published import OFFICIAL, TEST, TRAIN, published_curves
from thalweg.train.recipe import DataRecipe, EvaluationRecipe, Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ARXIV", "CLAIM", "GPU", "LAPTOP", "SLUG", "SMOKE", "TITLE", "UNIT", "Config", "figure", "run", "verdict"]

SLUG = "multi-power-law"
TITLE = "A law fitted to three pilot runs predicts unseen schedules"
ARXIV = "2503.12811"
CLAIM = (
    "Fitted to a constant, a cosine and a two-stage run, the law predicts the loss curves of longer, unseen schedules."
)
UNIT = "R2 on unseen schedules"
THRESHOLD = 0.98


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        dim: width of the byte-level model.
        layers: blocks.
        context: tokens a sequence.
        batch: sequences an update.
        horizon: updates of a long run; pilots have half.
        peak: learning rate.
        workers: processes (on a GPU: 1).
        curves: folder of the published curves; they are left out where it is absent.
    """

    dim: int
    layers: int
    context: int
    batch: int
    horizon: int
    peak: float
    workers: int = 2
    curves: str = "../shared/data/loss-curves"


SMOKE = Config(dim=16, layers=1, context=16, batch=4, horizon=120, peak=2e-3, workers=1, curves="")
LAPTOP = Config(dim=48, layers=1, context=64, batch=32, horizon=4000, peak=2e-3)
GPU = Config(dim=512, layers=8, context=512, batch=64, horizon=8000, peak=6e-4, workers=1)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Yields one record a long run of this seed and, with seed 0, one a published size."""
    result = Forecaster(_plan(config, seed), folder, workers=config.workers, device=device).run()
    for name in LONG:
        live, row = result["runs"][f"long-{name}"], result["table"][name]
        yield {
            "kind": "live",
            "schedule": name,
            **{key: live["metrics"][key] for key in ("r2", "mae", "pred_e", "worst_e")},
            **{key: row[key] for key in ("final_loss", "interval", "measured", "error", "trust")},
            **{key: row[key] for key in ("above_designed", "above_designed_error")},
            "curve": [live["steps"], live["losses"], live["fitted"]],
        }
    if seed == 0 and config.curves and Path(config.curves).is_dir():
        for size in OFFICIAL:
            yield {"kind": "published", "size": size, **_published(Path(config.curves), size)}


def _plan(config: Config, seed: int) -> Plan:
    heads = max(1, config.dim // 24)
    model = ModelConfig(dim=config.dim, layers=config.layers, heads=heads, context=config.context)
    recipe = Recipe(
        steps=1,
        schedule=f"constant:peak={config.peak!r}",
        batch=config.batch,
        seed=seed,
        model=model,
        data=DataRecipe(context=config.context),
        evaluation=EvaluationRecipe(every=max(1, config.horizon // 160), windows=128, batch=128),
    )
    return Plan(
        recipe=recipe,
        pilot_steps=config.horizon // 2,
        horizon=config.horizon,
        peak=config.peak,
        warmup=config.horizon // 50,
        floor=config.peak / 10,
    )


def _published(folder: Path, size: str) -> Record:
    curves = published_curves(folder, size)
    law = fit([curves[name] for name in TRAIN], draws=0)
    rows = [asdict(law.metrics(curves[name])) for name in TEST]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def verdict(records: Sequence[Record]) -> Verdict:
    """The rule of the module's docstring."""
    live = [record for record in records if record["kind"] == "live"]
    seeds = sorted({record["seed"] for record in live})
    means = [float(np.mean([r["r2"] for r in live if r["seed"] == seed])) for seed in seeds]
    return decide(means, threshold=THRESHOLD)


def figure(records: Sequence[Record]) -> Figure:
    """Left: one seed's long runs, measured and predicted. Right: relative error of every final loss."""
    from matplotlib.figure import Figure

    colours = dict(zip(LONG, ("#0072B2", "#D55E00", "#009E73"), strict=True))
    live = [record for record in records if record["kind"] == "live"]
    drawing = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = drawing.subplots(1, 2, width_ratios=(3, 2))
    for record in (r for r in live if r["seed"] == live[0]["seed"]):
        steps, losses, fitted = record["curve"]
        colour = colours[record["schedule"]]
        left.plot(steps, losses, ".", ms=2.5, alpha=0.5, color=colour)
        left.plot(steps, fitted, lw=1.4, color=colour, label=record["schedule"])
        left.set_ylim(min(losses) - 0.05, float(np.quantile(losses, 0.9)))
    left.set_xlabel("optimizer step")
    left.set_ylabel("validation loss (nats/token)")
    left.set_title(f"seed {live[0]['seed']}: measured (dots), predicted (lines)", fontsize=9)
    left.legend(frameon=False, fontsize=8)
    for k, name in enumerate(LONG):
        errors = [100 * r["error"] for r in live if r["schedule"] == name]
        right.plot([k] * len(errors), errors, "o", color=colours[name], alpha=0.8)
    right.axhline(0, color="0.5", lw=0.8)
    right.set_xticks(range(len(LONG)), LONG)
    right.set_ylabel("final loss: predicted minus measured (%)")
    right.set_title("one dot a seed", fontsize=9)
    return drawing
