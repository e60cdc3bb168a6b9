"""Is another training mixture than the test mixture better, and by as much as the law says?

Paper: Shift is Good: Mismatched Data Mixing Improves Test Performance, arXiv 2510.25108.

1. Claims tested: (3) memorising components of frequency k^-α has error of order N^{-1+1/α} when trained on the test
   mixture and N^{-α+1} at the best one; (1, 5) regressions that share nothing gain from the mixture that their learning
   curves imply, as much as predicted; (4) a transformer that composes skills of a power law 1.5 does it better after
   70 % test-like chains and 30 % drills of single, uniform skills than after test-like chains alone.
2. Parts of a seed: missed mass of Monte-Carlo draws; regressions with Zipf(1) test shares, one learning curve a
   component fitted on sweeps of its own, then many data sets from either mixture; two transformers from equal weights,
   as many updates and rows each.
3. The rule, fixed before the runs that ``expected.json`` reports. Margins of a seed:

   - rate: 0.05 - the largest |slope - theory| of log missed mass (mean over draws) against ln N, any α and mixture;
   - gain: 1 - measured error ratio (best over same mixture, largest N) - 0.05;
   - predicted: 0.05 - |measured ratio / predicted ratio - 1|, same runs;
   - chains: exact match on test-like chains after 30 % drills - that after none - 0.1.

   Each is tested over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). Reproduced if all exceed
   0 so, not reproduced if one falls below 0 so, else inconclusive. The effect reported is the difference of "chains".
   Sizes and rates were set by trials with seed 100.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from thalweg.nn import ModelConfig
from thalweg.studies.base import Record, Verdict, decide, decide_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ARXIV",
    "CLAIM",
    "GPU",
    "LAPTOP",
    "SLUG",
    "SMOKE",
    "TITLE",
    "UNIT",
    "Chains",
    "Config",
    "figure",
    "measures",
    "run",
    "theory",
    "verdict",
]

SLUG = "shift-is-good"
TITLE = "A training mixture that differs from the test mixture"
ARXIV = "2510.25108"
CLAIM = (
    "For a known test mixture another training mixture is better: memorisation gains another rate, regressions the "
    "factor that their learning curves predict, and composing skills gains from 30 % drills of single ones."
)
UNIT = "exact match on test-like chains, 30 % drills minus none"
THRESHOLDS = {"rate": -0.05, "gain": 0.05, "predicted": -0.05, "chains": 0.1}


@dataclass(frozen=True, slots=True)
class Chains:
    """The transformers.

    Args:
        skills: number of skills.
        hops: fewest and most in a training chain.
        tested: lengths of the test chains.
        model: width and depth; vocabulary and context follow the task.
        updates: of each training run.
        schedule: of the learning rate.
        batch: rows of an update.
        measured: measurements on the way, evenly spaced; the last is at the end.
        tests: chains of each accuracy.
        drills: share of drills in the second run.
        precise: "fp32" or "bf16".
    """

    skills: int
    hops: tuple[int, int]
    tested: tuple[int, ...]
    model: ModelConfig
    updates: int
    schedule: str
    batch: int
    measured: int = 6
    tests: int = 1024
    drills: float = 0.3
    precise: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        chains: the transformers.
        alphas: exponents of the components' frequencies in memorisation.
        samples: N there, rising; 20 N components.
        draws: data sets at each.
        components: of the regressions.
        regression: N there, rising.
        sweep: data sets a size and component of the learning curves.
        replicas: data sets from each mixture.
    """

    chains: Chains
    alphas: tuple[float, ...] = (1.5, 2.0)
    samples: tuple[int, ...] = (256, 1024, 4096)
    draws: int = 200
    components: int = 10
    regression: tuple[int, ...] = (200, 1000)
    sweep: int = 400
    replicas: int = 4000


SMOKE = Config(
    chains=Chains(
        skills=8,
        hops=(1, 2),
        tested=(2,),
        model=ModelConfig(dim=16, layers=1, heads=2),
        updates=6,
        schedule="cosine:peak=2e-3,warmup=2",
        batch=8,
        measured=2,
        tests=32,
    ),
    samples=(16, 64),
    draws=10,
    components=3,
    regression=(60,),
    sweep=20,
    replicas=40,
)
LAPTOP = Config(
    chains=Chains(
        skills=100,
        hops=(8, 8),
        tested=(8,),
        model=ModelConfig(dim=64, layers=2, heads=4),
        updates=1300,
        schedule="cosine:peak=2.5e-3,warmup=50",
        batch=40,
    )
)
GPU = Config(
    chains=Chains(
        skills=100_000,
        hops=(10, 50),
        tested=(10, 30, 50),
        model=ModelConfig(dim=512, layers=12, heads=8),
        updates=20_000,
        schedule="cosine:peak=6e-4,warmup=400",
        batch=128,
        precise="bf16",
    )
)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Memorisation and regressions in NumPy, then the transformers.

    Args:
        config: sizes.
        seed: of draws, weights, skills and chains.
        device: where the transformers train.
        folder: not used; a seed is done within minutes.

    Yields:
        Records with ``part`` "memory", "regression" or "chains"; see the card for each metric.
    """
    from thalweg.studies.shift_is_good.lab import records

    yield from records(config, seed=seed, device=device)


def theory(mixture: str, alpha: float) -> float:
    """Exponent of the missed mass in N."""
    return 1 / alpha - 1 if mixture == "same" else 1 - alpha


def slopes(records: Sequence[Record]) -> dict[tuple[str, float], float]:
    """Slope of log missed mass against ln N by (mixture, α), one seed's records."""
    rows = [record for record in records if record["part"] == "memory"]
    found = {}
    for mixture, alpha in sorted({(row["mixture"], row["alpha"]) for row in rows}):
        mine = [row for row in rows if (row["mixture"], row["alpha"]) == (mixture, alpha)]
        x, y = (np.log([row[key] for row in mine]) for key in ("samples", "measured"))
        found[mixture, alpha] = float(np.polyfit(x, y, 1)[0])
    return found


def measures(records: Sequence[Record]) -> dict[str, float]:
    """The numbers of the rule for one seed, before their thresholds are taken off."""
    off = max(abs(slope - theory(*key)) for key, slope in slopes(records).items())
    regression = max((r for r in records if r["part"] == "regression"), key=lambda r: r["samples"])
    chains = sorted((r for r in records if r["part"] == "chains"), key=lambda r: r["step"])
    last = {r["drills"] > 0: r["accuracy"] for r in chains}
    return {
        "rate": -off,
        "gain": 1 - regression["measured"],
        "predicted": -abs(regression["measured"] / regression["predicted"] - 1),
        "chains": last[True] - last[False],
    }


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    seeds = sorted({record["seed"] for record in records})
    found = [measures([record for record in records if record["seed"] == seed]) for seed in seeds]
    tests = {name: decide([each[name] for each in found], threshold=low) for name, low in THRESHOLDS.items()}
    return decide_all(tests.values(), effect=tests["chains"])


def figure(records: Sequence[Record]) -> Figure:
    """Three panels: missed mass over N, regression errors by mixture, exact match of chains over updates."""
    from thalweg.studies.shift_is_good.picture import draw

    return draw(records)
