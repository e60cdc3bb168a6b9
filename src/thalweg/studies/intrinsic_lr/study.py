"""Does SGD before a normalisation rest within O(1 / (lr weight_decay)) steps, where only this product decides?

Paper: Reconciling Modern Deep Learning with Traditional Optimization Analyses: The Intrinsic Learning Rate,
arXiv 2010.02916. Claims tested: the product sets effective rate and loss (spec claims 1 and 2), whatever the start (4),
and equilibrium comes in O(1 / product) steps (3), on digits with a perceptron whose trained weights are all
scale-invariant.

The rule, fixed before the runs that ``expected.json`` reports. At rest means the last third of a run; rates are the
effective rates of both layers, lr / |w|^2. Each seed gives five margins, positive for the claim:

- rate: log 1.05 - the largest log ratio of rates at rest among three settings of one product, lr .4, .1 and .02;
- loss: log 1.1 - the same of the training losses;
- start: log 1.1 - the same of rates and losses between that product from the usual start and from weights 4 times it;
- predicted: log 1.05 - the largest abs log ratio of rates and sqrt(eta lambda (2 - eta lambda) / G), over all runs;
- slope: .4 - abs(slope - 1), the slope of log steps to equilibrium (``settling``) in log(1 / product) over three
  products, each twice the next, from one start.

Each is tested over seeds with threshold 0 and 2 standard errors (``studies.base.decide``). The claim is reproduced if
all five exceed 0 so, not reproduced if one of them falls below 0 so, else inconclusive. The effect reported is the
slope. Thresholds were set before a trial on seed 100, sizes too.
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
    "Arm",
    "Config",
    "figure",
    "measures",
    "run",
    "settling",
    "verdict",
]

SLUG = "intrinsic-lr"
TITLE = "The intrinsic learning rate and fast equilibrium"
ARXIV = "2010.02916"
CLAIM = (
    "Before a normalisation the product of learning rate and weight decay alone sets the equilibrium of the effective "
    "learning rate and of the loss, whatever the start, and steps to equilibrium go as one over the product."
)
UNIT = "exponent of steps to equilibrium in 1 / (lr weight_decay)"
SAME, RATE, LOSS, SLOPE, BAND = ("large lr", "middle", "small lr"), 1.05, 1.1, 0.4, 0.1


@dataclass(frozen=True, slots=True)
class Arm:
    """A run.

    Args:
        name: of the arm.
        lr: learning rate.
        weight_decay: decoupled, in w (1 - lr weight_decay).
        scale: factor on the initial weights.
    """

    name: str
    lr: float
    weight_decay: float
    scale: float = 1.0


ARMS = (
    Arm("large lr", 0.4, 8e-3),
    Arm("middle", 0.1, 3.2e-2),
    Arm("small lr", 0.02, 0.16),
    Arm("other start", 0.1, 3.2e-2, scale=4.0),
    Arm("fast", 0.1, 6.4e-2),
    Arm("slow", 0.1, 1.6e-2),
)


@dataclass(frozen=True, slots=True)
class Config:
    """The experiment.

    Args:
        width: hidden units.
        batch: examples of an update.
        horizon: steps times the product of learning rate and decay.
        points: measurements of a run.
        arms: runs; three of one product, one of them from another start, and two of other products.
    """

    width: int = 64
    batch: int = 64
    horizon: float = 12.0
    points: int = 150
    arms: tuple[Arm, ...] = ARMS


SMOKE = Config(width=8, batch=16, horizon=0.2, points=12)
LAPTOP = Config()
GPU = Config(width=1024, horizon=24.0)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """All arms of one seed.

    Args:
        config: sizes and rates.
        seed: of initial weights and batches.
        device: where networks train.
        folder: not used; a seed is done within a minute.

    Yields:
        Records of each arm; see the card for each metric.
    """
    from thalweg.studies.intrinsic_lr.lab import arm_records

    for place, arm in enumerate(config.arms):
        yield from arm_records(config, arm, place, seed, device)


def settling(records: Sequence[Record]) -> int:
    """Steps after which the effective rates of all layers stay within 10 % of their means over the last third."""
    rates = np.array([record["rate"] for record in records])
    rest = rates[-(len(rates) // 3) :].mean(0)
    out = np.flatnonzero((np.abs(rates / rest - 1) > BAND).any(-1))
    return records[min(out[-1] + 1, len(records) - 1) if len(out) else 0]["step"]


def _rest(records: Sequence[Record]) -> dict[str, np.ndarray]:
    last = records[-(len(records) // 3) :]
    return {name: np.mean([r[name] for r in last], axis=0) for name in ("rate", "predicted", "loss", "accuracy")}


def measures(records: Sequence[Record]) -> dict[str, float]:
    """The five margins of the rule and the slope, of one seed's records."""
    arms: dict[str, list[Record]] = {}
    for record in records:
        arms.setdefault(record["arm"], []).append(record)
    rest = {name: _rest(rows) for name, rows in arms.items()}

    def far(what: str, names: Sequence[str]) -> float:
        values = np.log([rest[name][what] for name in names])
        return float((values.max(0) - values.min(0)).max())

    pair = ("middle", "other start")
    by_product = [arms[name] for name in ("fast", "middle", "slow")]
    products = np.log([rows[0]["lr"] * rows[0]["weight_decay"] for rows in by_product])
    slope = float(-np.polyfit(products, np.log([settling(rows) for rows in by_product]), 1)[0])
    off = max(float(np.abs(np.log(r["rate"] / r["predicted"])).max()) for r in rest.values())
    return {
        "rate": math.log(RATE) - far("rate", SAME),
        "loss": math.log(LOSS) - far("loss", SAME),
        "start": math.log(LOSS) - max(far("rate", pair), far("loss", pair)),
        "predicted": math.log(RATE) - off,
        "slope": SLOPE - abs(slope - 1),
        "effect": slope,
    }


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    return decide_margins(records, measures)


def figure(records: Sequence[Record]) -> Figure:
    """Three panels: effective rates against steps, losses, steps to equilibrium."""
    from thalweg.studies.intrinsic_lr.pictures import draw

    return draw(records)
