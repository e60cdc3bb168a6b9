"""Does a run at a constant rate swing across steep directions and drift along flat ones, as a river valley has it?

Paper: arXiv 2410.05192 (Wen et al., ICLR 2025). Claim tested, of its theory: the hills are several times as steep as
the river (a factor of 4 in its assumptions, spec), the net progress of a stable phase lies along the river, a short
decay removes what lies across, and the noise of the gradients lies in the steep directions (its bigram language).

The rule, fixed before the seeds that ``expected.json`` reports (seeds 100 and 101 were looked at before). With H the
Hessian at the end of a decay and c(d) = d'Hd / d'd the curvature along a move d, each seed gives three comparisons of
a ``high`` with a ``low`` number in each of two arms, AdamW (as in the paper's experiments) and SGD with momentum (as
in its theory):

- swing: c of single steps, pooled over consecutive ones, with c of the net move of a long stable stretch;
- decay: c of the move of the decay that starts at the stretch's end, with c of the net move of the stretch;
- noise: the share of the trace of the gradient noise that lies in H's top 20 eigenvectors, with what chance would
  have, 20 / parameters.

A valley has high > 4 low in all six. The margin (high - 4 low) / (|high| + 4 |low|), in [-1, 1], is tested over seeds
with threshold 0 and 2 standard errors (``studies.base.decide``). The claim is reproduced if all six exceed 0 so, not
reproduced if one falls below 0 so, else inconclusive. The effect reported is the smallest mean margin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.nn import ModelConfig
from thalweg.studies.base import Record, Verdict, decide, decide_all
from thalweg.train.recipe import DataRecipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ARMS",
    "ARXIV",
    "CLAIM",
    "GPU",
    "LAPTOP",
    "SLUG",
    "SMOKE",
    "STEEPER",
    "TITLE",
    "UNIT",
    "Arm",
    "Config",
    "figure",
    "margins",
    "run",
    "verdict",
]

SLUG = "river-directions"
TITLE = "The river valley in weight space: curvature along steps, drift, decay and noise"
ARXIV = "2410.05192"
CLAIM = (
    "At a constant rate a run swings across steep directions and drifts along flat ones: curvature along single steps "
    "and along a decay is more than four times that along the net move, and gradient noise lies in steep directions."
)
UNIT = "margin"
STEEPER = 4.0
"""How much steeper the hills are than the river in the paper's assumptions."""


@dataclass(frozen=True, slots=True)
class Arm:
    """An optimizer at its rate.

    Args:
        name: of the arm.
        optimizer: name and options.
        peak: learning rate of the stable phase.
    """

    name: str
    optimizer: tuple[tuple[str, str | float], ...]
    peak: float


ARMS = (
    Arm("adamw", (("name", "adamw"),), 2e-3),
    Arm("sgd", (("name", "sgd"), ("momentum", 0.9)), 0.3),
)


@dataclass(frozen=True, slots=True)
class Config:
    """The experiment.

    Args:
        model: the language model.
        data: its text.
        start: finished updates where the stable stretch starts.
        end: where it ends and the decay starts.
        decay: updates of the decay, inverse in shape, and of the stable phase continued beside it.
        arms: optimizers.
        warmup: updates of the linear warmup.
        batch: sequences an update.
        floor: rate at the end of the decay, fraction of the peak.
        steps: single steps before ``end`` that are measured.
        eigenvectors: hill directions.
        curvature: validation windows that the Hessian is taken on.
        windows: further ones that losses are taken on.
        grid: points of the loss plane along its first and second direction; (0, 0) draws none.
        products: of each trace.
        threads: torch threads of a seed.
    """

    model: ModelConfig
    data: DataRecipe
    start: int
    end: int
    decay: int
    arms: tuple[Arm, ...] = ARMS
    warmup: int = 50
    batch: int = 32
    floor: float = 0.1
    steps: int = 8
    eigenvectors: int = 20
    curvature: int = 32
    windows: int = 128
    grid: tuple[int, int] = (17, 13)
    products: int = 32
    threads: int = 1


SMOKE = Config(
    model=ModelConfig(dim=8, layers=1, heads=1, context=16),
    data=DataRecipe(context=16),
    start=6,
    end=12,
    decay=4,
    warmup=2,
    batch=4,
    steps=2,
    eigenvectors=3,
    curvature=2,
    windows=8,
    grid=(3, 3),
    products=8,
)
LAPTOP = Config(
    model=ModelConfig(dim=64, layers=2, heads=2, context=64), data=DataRecipe(context=64), start=200, end=400, decay=44
)
GPU = Config(
    model=ModelConfig(dim=256, layers=6, heads=4, context=256),
    data=DataRecipe(context=256),
    start=2000,
    end=4000,
    decay=440,
    warmup=200,
    curvature=64,
    windows=512,
)


def run(config: Config, *, seed: int, device: str, folder: Path) -> Iterator[Record]:
    """Trains and measures both arms of one seed.

    Args:
        config: sizes and rates.
        seed: of initial weights and data order.
        device: where to train and to measure.
        folder: of the run folders; one that is done is not trained again.

    Yields:
        Records with ``arm`` and a ``kind``; see the card for each.
    """
    from thalweg.studies.river_directions.valley import Valley, torch_threads

    with torch_threads(config.threads):
        for arm in config.arms:
            valley = Valley(config, arm, seed, device, folder)
            yield from ({"arm": arm.name, **record} for record in valley.records())


def margins(records: Sequence[Record]) -> dict[tuple[str, str], list[float]]:
    """The margin of the rule for each arm and each of "swing", "decay" and "noise", for the seeds in order."""
    found: dict[tuple[str, str], list[float]] = {}
    for record in sorted(records, key=lambda record: record["seed"]):
        if record["kind"] == "comparison":
            high, low = record["high"], STEEPER * record["low"]
            margin = (high - low) / (abs(high) + abs(low))
            found.setdefault((record["arm"], record["name"]), []).append(margin)
    return found


def verdict(records: Sequence[Record]) -> Verdict:
    """Applies the rule of the module's docstring."""
    tests = [decide(values, threshold=0.0) for values in margins(records).values()]
    return decide_all(tests, effect=min(tests, key=lambda test: test.effect))


def figure(records: Sequence[Record]) -> Figure:
    """Six panels: curvature by direction, share of the top eigenvectors, gain, trace, and two loss planes."""
    from thalweg.studies.river_directions.pictures import draw

    return draw(records)
