"""Lines for a plan's pictures: loss over model size at the plan's FLOPs, and loss against epochs.

Source: our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thalweg.laws.budget.search import Data
from thalweg.laws.budget.sizes import LEVELS, SizeLaw, loss_at

__all__ = ["EpochCurves", "SizeCurve", "epoch_curves", "size_curve"]

REACH = 24.0  # sizes drawn reach so far below and above the plan's
POINTS = 81


@dataclass(frozen=True, slots=True)
class SizeCurve:
    """Predicted loss over size at fixed FLOPs.

    Attributes:
        sizes: N.
        losses: nats per token.
        low: lower end of the law's 90 % interval; equal to ``losses`` where none is known.
        high: upper end.
    """

    sizes: tuple[float, ...]
    losses: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EpochCurves:
    """Predicted loss against epochs over the data at hand.

    Attributes:
        epochs: K.
        budget: at the plan's FLOPs, so that the model shrinks as epochs grow.
        size: at the plan's size, so that FLOPs grow.
        fresh: at the plan's size if every token were new.
    """

    epochs: tuple[float, ...]
    budget: tuple[float, ...]
    size: tuple[float, ...]
    fresh: tuple[float, ...]


def size_curve(law: SizeLaw, flops: float, size: float, best: float, data: Data) -> SizeCurve:
    """The isoFLOP curve around the plan's size and the best one."""
    sizes = np.geomspace(min(size, best) / REACH, max(size, best) * REACH, POINTS)
    losses = loss_at(law.draws(), sizes, data.fresh(flops / 6 / sizes))
    low, high = np.quantile(losses, LEVELS, axis=0) if len(losses) > 1 else (losses[0], losses[0])
    return SizeCurve(*(tuple(line.tolist()) for line in (sizes, losses[0], low, high)))


def epoch_curves(law: SizeLaw, size: float, tokens: float, data: Data) -> EpochCurves | None:
    """Loss against epochs; None where the data at hand are not known."""
    if data.unique is None:
        return None
    first = min(1.0, tokens / data.unique)
    epochs = np.geomspace(first, max(32.0, 4 * tokens / data.unique), POINTS)
    d = epochs * data.unique
    drawn, fresh, same = law.draws()[:1], data.fresh(d), np.full_like(d, size)
    lines = (loss_at(drawn, size * tokens / d, fresh), loss_at(drawn, same, fresh), loss_at(drawn, same, d))
    return EpochCurves(tuple(epochs.tolist()), *(tuple(line[0].tolist()) for line in lines))
