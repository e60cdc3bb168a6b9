"""Everything that a picture of one schedule needs, from one pass over its rates: curve, band, final loss and trust.

`Law.predict`, `Law.band` and `Law.trust` each read the rates anew and evaluate every draw at every asked step. A
preview builds the features once, evaluates the draws at a few of the steps and interpolates the band's distance from
the curve between them; at those steps, the last among them, it is exact.

Source: our own; benchmarks/designer.py measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.laws.drops import ORDER
from thalweg.laws.law import Law, Scale
from thalweg.laws.trust import Trust, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Preview", "preview"]

POINTS = 220  # steps of the curve: a point every three pixels of a wide picture
KNOTS = 40  # steps at which all draws are evaluated


@dataclass(frozen=True, eq=False, slots=True)
class Preview:
    """A schedule's prediction.

    Attributes:
        at: 0-based steps from the end of the warmup to the last, (n,).
        losses: predicted, nats per token, (n,).
        band: lower and upper end of the draws' 90 % interval, (n,) each; None where the law has no draws.
        finals: final loss by each draw, (draws,); empty without draws.
        final_loss: predicted loss at the last step.
        trust: what it is worth; None for a law without a record.
    """

    at: np.ndarray
    losses: np.ndarray
    band: tuple[np.ndarray, np.ndarray] | None
    finals: np.ndarray
    final_loss: float
    trust: Trust | None


def preview(law: Law, rates: np.ndarray, warmup_steps: int, *, points: int = POINTS) -> Preview:
    """The preview of a schedule.

    Args:
        law: fitted, or written down by hand.
        rates: learning rate of every optimizer step, (T,).
        warmup_steps: length of the warmup, fewer than T.
        points: steps of the curve, about.
    """
    last = len(rates) - 1
    at = np.unique(np.linspace(min(warmup_steps, last), last, points).round().astype(np.int64))
    features = type(law).features(rates, warmup_steps, at=at, form=law.warmup, order=ORDER)
    losses = _evaluate(law, law.params, rates, features)
    record = law.record
    finals, band = np.zeros(0), None
    if record is not None and len(record.draws):
        chosen = _knots(losses)
        few = features[chosen] if isinstance(features, np.ndarray) else features.take(chosen)
        tables = (dict(zip(law.names, draw, strict=True)) for draw in record.draws)
        drawn = np.stack([_evaluate(law, params, rates, few) for params in tables])
        finals = drawn[:, -1]
        ends = np.percentile(drawn, [5, 95], axis=0) - losses[chosen]
        low, high = (losses + np.interp(at, at[chosen], end) for end in ends)
        band = low, high
    trust = None if record is None else judge(law, rates, warmup_steps, drawn=finals if len(finals) else None)
    final = float(losses[-1]) if trust is None else trust.final_loss
    return Preview(at, losses, band, finals, final, trust)


def _evaluate(law: Law, params: Mapping[str, float], rates: np.ndarray, features: Any) -> np.ndarray:
    scale = Scale(float(rates.max()), 1.0, 1.0)
    return law.evaluate(law.internal(params, scale), features, scale, False)[0]


def _knots(losses: np.ndarray) -> np.ndarray:
    """Indices of the curve at which draws are evaluated: half of them spread evenly, half where it bends most."""
    bend = np.sqrt(np.abs(np.diff(losses, 2, prepend=losses[:1], append=losses[-1:])))
    share = bend / max(float(bend.sum()), 1e-300) + 1 / len(losses)
    total = np.cumsum(share)
    places = np.searchsorted(total, np.linspace(0, total[-1], KNOTS))
    sharp = np.argsort(bend)[-3:]
    beside = (sharp[:, None] + [-1, 0, 1, 2]).ravel()
    return np.unique(np.clip(np.concatenate([[0], places, beside, [len(losses) - 1]]), 0, len(losses) - 1))
