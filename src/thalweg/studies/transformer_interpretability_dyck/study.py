"""Do networks that solve bounded Dyck alike attend alike, and does imbalance go with errors on longer strings?

Paper: Transformers are uninterpretable with myopic methods, arXiv 2312.01429 (Wen, Li, Liu, Risteski, NeurIPS 2023).
Claims tested: trained networks reach the same accuracy with very different attention (spec claim 4); the contrastive
regulariser lowers the balance violation and raises accuracy on longer strings, and the violation goes with errors
there (claim 5). That exact solutions have violation 0 with any attention (claims 1 and 3) is not a matter of seeds: it
is a test of ``thalweg.probes.exact_dyck_net``.

The rule, fixed before the runs that ``expected.json`` reports. In one seed of the study, networks with a minimal first
layer that differ only in their initial weights are trained on the same strings in the same order, each once without
and once with the regulariser (``Config.weight``). Each seed gives five margins, positive for the claim:

- function: mean closing accuracy at the training length, without the regulariser, - 0.95;
- attention: attention variation (total variation), mean over pairs of networks without the regulariser, - 0.3;
- balance: mean violation without - with the regulariser;
- length: mean closing accuracy at the longest test length with - without the regulariser;
- correlation: - Spearman's rank correlation of violation and accuracy at the longest length, over the networks without
  the regulariser.

Each is tested over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). The claim is reproduced if
all five exceed 0 so, not reproduced if one of them falls below 0 so, else inconclusive. The effect reported is the
attention variation itself. The thresholds 0.95 and 0.3 were set after a trial by others before this study was written;
steps, rate, batch and the number of networks were chosen on seeds 100 to 102.

Beside it, without a part in the verdict: other weights of the regulariser, networks whose two layers are both trained,
attention on the top of the stack, and the variation among exact solutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
    "Arm",
    "Config",
    "figure",
    "measures",
    "run",
    "verdict",
]

SLUG = "transformer-interpretability-dyck"
TITLE = "Same function, different attention: bounded Dyck"
ARXIV = "2312.01429"
CLAIM = (
    "Networks that solve bounded Dyck equally well attend very differently; a regulariser for balance lowers the "
    "balance violation and raises accuracy on longer strings, and the violation goes with errors there."
)
UNIT = "share of attention that lies elsewhere in another network (total variation)"
LEAST_ACCURACY, LEAST_VARIATION = 0.95, 0.3


@dataclass(frozen=True, slots=True)
class Arm:
    """Networks that are trained together.

    Args:
        first: "minimal" or "trainable" first layer.
        weights: of the regulariser, each with the same initial weights; 0 is none.
        networks: initial weights.
        steps: updates.
        rate: the first learning rate, which falls to 0 as a cosine.
        positions: "none", "linear" or "sinusoidal".
    """

    first: str = "minimal"
    weights: tuple[float, ...] = (0.0, 0.3)
    networks: int = 6
    steps: int = 2000
    rate: float = 5e-3
    positions: str = "none"


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        arms: the first has a minimal first layer and the weights 0 and ``weight`` among its own; it alone decides.
        lengths: of test strings, increasing; the first is the training length.
        weight: of the regulariser that the rule compares with 0.
        types: k, kinds of brackets.
        depth: D, most open brackets.
        width: of the networks.
        strings: training strings.
        tests: test strings of each length.
        prefix: brackets of the balanced strings of the regulariser.
        batch: strings an update.
        threads: torch threads.
    """

    arms: tuple[Arm, ...]
    lengths: tuple[int, ...]
    weight: float = 0.3
    types: int = 2
    depth: int = 4
    width: int = 32
    strings: int = 4096
    tests: int = 128
    prefix: int = 14
    batch: int = 32
    threads: int = 1


SMOKE = Config(
    arms=(Arm(networks=3, steps=20), Arm("trainable", weights=(0.0,), networks=2, steps=5)),
    lengths=(12, 20),
    width=8,
    strings=64,
    tests=8,
    batch=8,
    prefix=4,
)
LAPTOP = Config(
    arms=(Arm(), Arm("trainable", weights=(0.0,), networks=3, steps=800)),
    lengths=(28, 60, 120, 200),
)
GPU = Config(
    arms=(
        Arm(weights=(0.0, 0.1, 0.3, 1.0), networks=20, steps=4000),
        Arm("trainable", weights=(0.0, 0.1, 0.3, 1.0), networks=20, steps=4000, rate=2e-3),
    ),
    lengths=(28, 50, 100, 200, 300, 500, 700),
    width=50,
    batch=64,
    tests=256,
)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """All arms of one seed.

    Args:
        config: sizes and rates.
        seed: of strings, order and initial weights.
        device: where networks train.
        folder: not used; a seed is done within minutes.

    Yields:
        Records with ``part`` "network", "pairs", "maps" or "exact"; see the card for each metric.
    """
    from thalweg.studies.transformer_interpretability_dyck.experiments import records

    yield from records(config, seed=seed, device=device)


def measures(records: Sequence[Record], weight: float) -> dict[str, float]:
    """The five margins of the rule, and the effect, of one seed's records."""
    own = {
        each: [r for r in records if r["part"] == "network" and r["decides"] and r["weight"] == each]
        for each in (0.0, weight)
    }
    accuracy = {each: np.array([r["accuracy"] for r in rows]) for each, rows in own.items()}  # (networks, lengths)
    violation = {each: np.array([r["violation"] for r in rows]) for each, rows in own.items()}
    pairs = next(r for r in records if r["part"] == "pairs" and r["decides"] and r["weight"] == 0)
    variation = float(np.mean(pairs["attention"]))
    return {
        "function": float(accuracy[0.0][:, 0].mean()) - LEAST_ACCURACY,
        "attention": variation - LEAST_VARIATION,
        "balance": float(violation[0.0].mean() - violation[weight].mean()),
        "length": float(accuracy[weight][:, -1].mean() - accuracy[0.0][:, -1].mean()),
        "correlation": -rank_correlation(violation[0.0], accuracy[0.0][:, -1]),
        "effect": variation,
    }


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's, with mean ranks for ties; 0 where one of the two is constant."""
    from scipy.stats import rankdata

    ranks = np.array([rankdata(x), rankdata(y)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    size = np.sqrt((ranks**2).sum(axis=1).prod())
    return float(ranks[0] @ ranks[1] / size) if size else 0.0


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    weight = next(r["rule_weight"] for r in records if r["part"] == "network")
    seeds = sorted({record["seed"] for record in records})
    found = [measures([record for record in records if record["seed"] == seed], weight) for seed in seeds]
    tests = {name: decide([each[name] for each in found], threshold=0.0) for name in found[0]}
    effect = replace(tests.pop("effect"), threshold=LEAST_VARIATION)
    return decide_all(tests.values(), effect=effect)


def figure(records: Sequence[Record]) -> Figure:
    """Six panels: two maps, differences of pairs, violation, accuracy by length, violation against accuracy."""
    from thalweg.studies.transformer_interpretability_dyck.pictures import draw

    return draw(records)
