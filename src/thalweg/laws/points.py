"""The fitted points of several curves as one problem, and what their residuals say about noise.

Source: our own. Two facts about real curves rule here (docs/cards/laws.md): runs that share a schedule and a data order
repeat the same losses, and the first losses after warmup follow no law over rate sums.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.curve import LossCurve
from thalweg.laws.law import Form, Law, Scale
from thalweg.laws.record import Seen
from thalweg.laws.solve import Problem

__all__ = ["WILD", "Points", "as_curves", "correlation", "gather", "noise_profile", "seen"]

LONGEST = 40  # lags of the autocorrelation that are summed at most
SIGNAL = 0.05  # autocorrelation below this counts as none
WILD = 1e-2  # log residuals beyond this are clipped when noise is estimated


def as_curves(curves: Mapping[str, LossCurve] | Iterable[LossCurve]) -> list[LossCurve]:
    """A dict, a list or one curve as a list."""
    found = list(curves.values()) if isinstance(curves, Mapping) else curves
    found = [found] if isinstance(found, LossCurve) else list(found)
    if not found:
        raise InputError("curves is empty; give at least one loss curve to fit")
    return found


def distinct(curves: list[LossCurve], repeats: bool) -> list[LossCurve]:
    """Drops warmup and, unless ``repeats``, points of a branched run: same step, same loss, same rate sum."""
    known: set[tuple[int, float, float]] = set()
    kept = []
    for curve in curves:
        total = np.cumsum(curve.rates)[curve.steps]
        keys = [(int(t), float(y), float(f"{s:.9e}")) for t, y, s in zip(curve.steps, curve.losses, total, strict=True)]
        keep = np.array(
            [t >= curve.warmup and (repeats or key not in known) for t, key in zip(curve.steps, keys, strict=True)]
        )
        known.update(key for key in keys if key[0] >= curve.warmup)
        if keep.any():
            kept.append(curve.select(keep))
    return kept


@dataclass(frozen=True, slots=True)
class Points:
    """Fitted points of one law.

    Attributes:
        law: the law's class.
        curves: the curves with only the fitted points.
        features: the law's features, one a curve.
        scale: units of the fit.
        log_losses: all log losses, (n,).
        sums: rate sum at each point, (n,).
        ends: index in (n,) where each curve ends.
    """

    law: type[Law]
    curves: list[LossCurve]
    features: list[Any]
    scale: Scale
    log_losses: np.ndarray
    sums: np.ndarray
    ends: np.ndarray

    def model(self, u: np.ndarray, slopes: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Prediction (n,) and, if asked, its Jacobian (n, p)."""
        parts = [self.law.evaluate(u, features, self.scale, slopes) for features in self.features]
        predicted = np.concatenate([part[0] for part in parts])
        return predicted, np.concatenate([part[1] for part in parts if part[1] is not None]) if slopes else None

    def problem(self, weights: np.ndarray, strength: float, *, fixed: Collection[str] = ()) -> Problem:
        """The objective with these weights and the law's prior at ``strength``; parameters named ``fixed`` are 1."""
        mean, width = self.law.prior(self.scale)
        lower, upper = self.law.bounds()
        for name, place in self.law.FIXABLE.items():
            if name in fixed:
                lower[place] = upper[place] = 1.0
        return Problem(self.model, self.log_losses, weights, (lower, upper), mean, strength / width**2)


def gather(law: type[Law], curves: list[LossCurve], form: Form, order: int, *, repeats: bool = False) -> Points:
    """The points that a fit uses.

    Raises:
        InputError: no loss after warmup, or fewer points than parameters.
    """
    kept = distinct(curves, repeats)
    count = sum(len(curve) for curve in kept)
    if count <= len(law.names):
        raise InputError(
            f"{count} losses after warmup in {', '.join(repr(c.name) for c in curves)}: law {law.name!r} has "
            f"{len(law.names)} parameters and needs at least {len(law.names) + 1}"
        )
    sums = [np.cumsum(curve.rates)[curve.steps] for curve in kept]
    scale = Scale(
        max(float(curve.rates.max()) for curve in kept),
        max(float(part.max()) for part in sums),
        max(float(curve.steps[-1]) + 1 for curve in kept),
    )
    features = [law.features(c.rates, c.warmup, at=c.steps, form=form, order=order) for c in kept]
    log_losses = np.log(np.concatenate([curve.losses for curve in kept]))
    ends = np.cumsum([len(curve) for curve in kept])
    return Points(law, kept, features, scale, log_losses, np.concatenate(sums), ends)


def noise_profile(residuals: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Weights (n,) in (0, 1] from a variance a + b S^-4 fitted to squared residuals: a late noise and a transient.

    The transient is what follows warmup and differs from run to run; the data say how large it is (b may be 0).
    """
    from scipy.optimize import nnls

    squares = np.minimum(residuals**2, WILD**2)
    decay = (sums.min() / sums) ** 4
    design = np.stack([np.ones_like(decay), decay], axis=1)
    late, early = max(1.5 * float(np.median(squares)), 1e-30), 0.0
    for _ in range(20):
        spread = late + early * decay
        late, early = nnls(design / spread[:, None], squares / spread)[0]
        late = max(float(late), 1e-30)
    return late / (late + early * decay)


def correlation(residuals: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many neighbouring points count as one, for each curve: 1 + 2 sum of autocorrelations down to `SIGNAL`."""
    found = []
    for part in np.split(residuals, ends[:-1]):
        total, power = 1.0, float(part @ part)
        for lag in range(1, min(LONGEST, len(part) // 2)):
            value = float(part[lag:] @ part[:-lag]) / power if power > 0 else 0.0
            if value <= SIGNAL:
                break
            total += 2 * value
        found.append(total)
    return np.array(found)


def seen(curves: list[LossCurve], scale: Scale) -> Seen:
    """The range of schedules that these curves' points cover."""
    fallen, speed, least = 0.0, 0.0, 1.0
    for curve in curves:
        rates = curve.rates[curve.warmup : curve.steps[-1] + 1] / scale.peak
        fall = np.concatenate([[0.0], np.cumsum(np.maximum(-np.diff(rates), 0))])
        window = max(1, len(rates) // 10)
        fallen, least = max(fallen, float(fall[-1])), min(least, float(rates.min()))
        speed = max(speed, float(np.max(fall[window:] - fall[:-window], initial=0.0)))
    shapes = len({curve.rates[: curve.steps[-1] + 1].tobytes() for curve in curves})
    names, points = tuple(curve.name for curve in curves), sum(len(curve) for curve in curves)
    falling = _late_fall(max(curves, key=lambda curve: curve.rates[: curve.steps[-1] + 1].sum()))
    return Seen(names, points, scale.peak, scale.span, int(scale.steps), least, fallen, speed, shapes, falling)


def _late_fall(curve: LossCurve) -> float:
    """How much the loss falls from around the middle of a curve to its last tenth, as a share of the latter."""
    where = curve.steps / max(int(curve.steps[-1]), 1)
    middle, end = curve.losses[np.abs(where - 0.5) <= 0.05], curve.losses[where >= 0.9]
    return float(middle.mean() / end.mean()) - 1 if len(middle) and len(end) else 0.0
