"""How many times fewer tokens: a fitted curve of the baseline's final losses, and where another's loss lies on it.

    L(D) = a D^-B + b,   speed-up of a run with loss L after D tokens = ((L - b) / a)^(-1/B) / D

Source: arXiv 2509.02046, section on speed-ups.
Differs: 1. a, b >= 0 and B in [0.02, 2], found by scanning B, solving the linear rest and refining B, not by curve_fit,
whose power goes to 0 where the curve is nearly straight; inside these bounds both are the same least squares; 2. a loss
at or below b, which the baseline never reaches, counts as ``reach`` times its largest budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["FinalLossCurve", "fit_final_losses"]

POWERS = np.geomspace(0.02, 2.0, 400)
REFINEMENTS = 4  # each makes the step of the scan fifty times smaller


@dataclass(frozen=True, slots=True)
class FinalLossCurve:
    """The baseline's final loss as a function of its budget.

    Args:
        a: of the formula, in nats.
        power: B.
        floor: b, nats per token.
        largest: largest budget it was fitted to.
        worst: largest residual, nats per token.
    """

    a: float
    power: float
    floor: float
    largest: float
    worst: float = 0.0

    @property
    def degenerate(self) -> bool:
        """Whether the power lies at an end of its range: the losses do not show how they bend."""
        return not POWERS[1] < self.power < POWERS[-2]

    def loss(self, budget: float) -> float:
        """Final loss after ``budget`` tokens."""
        return self.a * budget**-self.power + self.floor

    def budget(self, loss: float) -> float:
        """The tokens after which the baseline ends at ``loss``; infinity at or below its floor."""
        if loss <= self.floor or self.a <= 0:
            return float("inf")
        log = -np.log((loss - self.floor) / self.a) / self.power
        return float(np.exp(log)) if log < 700 else float("inf")

    def speedup(self, budget: float, loss: float, *, reach: float = 4.0) -> float:
        """How many times ``budget`` the baseline needs to get to ``loss``, at most ``reach`` · largest / budget."""
        return min(self.budget(loss), reach * self.largest) / budget


def fit_final_losses(budgets: Sequence[float], losses: Sequence[float]) -> FinalLossCurve:
    """Least squares over a, B and b.

    Args:
        budgets: at least three different ones, > 0.
        losses: final losses, nats per token.

    Raises:
        InputError: fewer than three budgets, a number that is not finite, or losses that do not fall.
    """
    x, y = np.asarray(budgets, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(set(x.tolist())) < 3:
        raise InputError(f"a curve of final losses needs three budgets and a loss for each, not {x.size} and {y.size}")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (x > 0).all()):
        raise InputError(f"budgets {x.tolist()} must be > 0 and losses {y.tolist()} finite: leave others out")
    if np.polyfit(np.log(x), y, 1)[0] >= 0:
        raise InputError(f"the baseline's losses {y.tolist()} do not fall with the budget: nothing to compare with")
    scale, powers = x.min(), POWERS
    for _ in range(REFINEMENTS):
        best = int(_linear_rest(x / scale, y, powers)[2].argmin())
        powers = np.linspace(powers[max(best - 1, 0)], powers[min(best + 1, len(powers) - 1)], 101)
    slopes, floors, errors = _linear_rest(x / scale, y, powers)
    best = int(errors.argmin())
    power, slope, floor = float(powers[best]), float(slopes[best]), float(floors[best])
    worst = np.abs(slope * (x / scale) ** -power + floor - y).max()
    return FinalLossCurve(float(slope * scale**power), power, floor, float(x.max()), float(worst))


def _linear_rest(x: np.ndarray, y: np.ndarray, powers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """a, b >= 0 and the sum of squares for each power, (powers,)."""
    basis = x[None, :] ** -powers[:, None]
    mean_f, mean_y = basis.mean(1), y.mean()
    slopes = ((basis - mean_f[:, None]) * (y - mean_y)).sum(1) / ((basis - mean_f[:, None]) ** 2).sum(1)
    floors = np.maximum(mean_y - slopes * mean_f, 0.0)
    slopes = np.where(floors > 0, slopes, (basis * y).sum(1) / (basis**2).sum(1))
    return slopes, floors, ((slopes[:, None] * basis + floors[:, None] - y) ** 2).sum(1)
