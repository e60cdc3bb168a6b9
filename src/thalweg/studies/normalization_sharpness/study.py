"""Does weight decay with normalization lower the spherical sharpness after the loss has been fitted?

Paper: Understanding the Generalization Benefit of Normalization Layers: Sharpness Reduction, arXiv 2206.07085. Claims
tested, on its linear regression with batch normalization: gradient descent with weight decay reaches the edge of
stability, effective rate times spherical sharpness = 2 (spec claim 2); there it follows the sharpness-reduction flow
(claim 3); sharpness falls and the test error with it, and neither without decay (claim 5).

The rule, fixed before the runs that ``expected.json`` reports. Each seed draws a problem and trains from one start with
and without decay. "Late" is after 1.5 times the predicted onset of the edge. A seed gives four margins:

- fall: log of the final sharpness without decay over that with it, - log 1.1;
- edge: 0.05 - largest |effective rate * sharpness - 2| late;
- flow: 0.03 - largest relative distance of the sharpness to the flow's from the first late row on;
- risk: log of the final test error without decay over that with it, - log 1.15.

Each is tested over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). The claim is reproduced if
all four exceed 0 so, not reproduced if one of them falls below 0 so, else inconclusive. The effect reported is the log
ratio of sharpness. Seeds 100 to 102 were looked at before.

Beside it, without a part in the verdict: a perceptron with layer normalization on digits. Seed 100 of it had been
looked at before this rule was written, as it turned out only without decay. The verdict is the regression's alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thalweg.studies.base import Record, Verdict, decide_margins

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
    "Config",
    "Network",
    "figure",
    "measures",
    "run",
    "verdict",
]

SLUG = "normalization-sharpness"
TITLE = "Weight decay with normalization lowers spherical sharpness"
ARXIV = "2206.07085"
CLAIM = (
    "On linear regression with batch normalization, gradient descent with weight decay reaches the edge of stability "
    "and then lowers spherical sharpness and test error along the predicted flow; without decay neither falls."
)
UNIT = "log of a ratio of spherical sharpness"
FALL, RISK, EDGE, FLOW, LATE = 1.1, 1.15, 0.05, 0.03, 1.5


@dataclass(frozen=True, slots=True)
class Network:
    """The perceptron beside the verdict.

    Args:
        samples: digits it is trained on.
        width: of both hidden layers.
        steps: of gradient descent.
        rows: times it is looked at.
        weight_decay: of the arm with decay.
    """

    samples: int = 100
    width: int = 32
    steps: int = 6000
    rows: int = 12
    weight_decay: float = 1e-3


@dataclass(frozen=True, slots=True)
class Config:
    """One scale of the study.

    Args:
        samples: n of the regression.
        dim: d >= n.
        steps: of gradient descent.
        every: steps between looks.
        network: beside the verdict.
        lr: of all.
        weight_decay: of the arm with decay.
    """

    samples: int
    dim: int
    steps: int
    every: int
    network: Network
    lr: float = 0.5
    weight_decay: float = 2e-4


SMOKE = Config(samples=6, dim=12, steps=600, every=100, network=Network(20, 8, 10, 2), weight_decay=2e-3)
LAPTOP = Config(samples=20, dim=40, steps=40_000, every=500, network=Network())
GPU = Config(samples=200, dim=400, steps=100_000, every=1000, network=Network(samples=1000, width=256, steps=20_000))


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Regression with and without decay, then the network with and without.

    Args:
        config: sizes.
        seed: of problem and start.
        device: of the network.
        folder: not used.

    Yields:
        Records with ``part`` "regression" or "network": rows of steps, sharpness, product and test error.
    """
    from thalweg.dynamics import edge_onset, normalized_descent, sharpness_flow
    from thalweg.studies.normalization_sharpness.network import train
    from thalweg.tasks import NormalizedRegression

    rng = np.random.default_rng(seed)
    truth = np.array([2.0, -1.0, 1.0])
    problem = NormalizedRegression.draw(samples=config.samples, dim=config.dim, truth=truth, rng=rng)
    inputs = rng.standard_normal((2000, config.dim))
    start = 0.3 * rng.standard_normal(config.dim)
    for decay in (config.weight_decay, 0.0):
        found = normalized_descent(
            problem.gradient, start, lr=config.lr, weight_decay=decay, steps=config.steps, every=config.every
        )
        steps, centres, rates = found.steps[1:], found.centres[1:], found.rates[1:]
        sharpness = np.array([problem.sharpness(centre) for centre in centres])
        record: Record = {"part": "regression", "weight_decay": decay, "steps": steps.tolist()}
        record |= {"sharpness": sharpness.tolist(), "product": (rates * sharpness).tolist()}
        record["risk"] = [problem.risk(centre, inputs, inputs[:, :3] @ truth) for centre in centres]
        if decay:
            onset = float(steps[0]) + edge_onset(rates[0], sharpness[0], lr=config.lr, weight_decay=decay)
            late = min(int(np.sum(steps < LATE * onset)), len(steps) - 2)
            path = sharpness_flow(
                problem.loss,
                problem.project,
                centres[late],
                lr=config.lr,
                weight_decay=decay,
                steps=int(steps[-1] - steps[late]),
                points=len(steps) - 1 - late,
            )
            record |= {"onset": onset, "late": late, "flow": [problem.sharpness(point) for point in path]}
        yield record
    for decay in (config.network.weight_decay, 0.0):
        yield train(config.network, lr=config.lr, weight_decay=decay, seed=seed, device=device)


def measures(records: Sequence[Record]) -> dict[str, float]:
    """The four margins of the rule, and the effect, of one seed's records."""
    rows = [record for record in records if record["part"] == "regression"]
    (decayed,), (control,) = ([r for r in rows if bool(r["weight_decay"]) == with_] for with_ in (True, False))
    late = decayed["late"]
    fall = math.log(control["sharpness"][-1] / decayed["sharpness"][-1])
    distance = np.abs(np.array(decayed["sharpness"][late:]) / np.array(decayed["flow"]) - 1)
    return {
        "fall": fall - math.log(FALL),
        "edge": EDGE - float(np.abs(np.array(decayed["product"][late:]) - 2).max()),
        "flow": FLOW - float(distance.max()),
        "risk": math.log(control["risk"][-1] / decayed["risk"][-1]) - math.log(RISK),
        "effect": fall,
    }


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    return decide_margins(records, measures)


def figure(records: Sequence[Record]) -> Figure:
    """Four panels over steps: sharpness, edge and test error of the regression; sharpness of the network."""
    from thalweg.studies.normalization_sharpness.picture import draw

    return draw(records)
