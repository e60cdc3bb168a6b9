"""One component's learning curve e(n) = floor + A n^-α from runs with different amounts of its data.

Source: the form that Medvedev et al. (arXiv 2510.25108) start from; the fit is least squares on log e.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["LearningCurve", "fit_learning_curve"]

STARTS = ((0.1, 0.0), (0.3, 0.5), (0.7, 0.9), (1.2, 0.5))
"""(exponent, floor as a share of the least error) the search starts from."""


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """e(n) = floor + scale n^-exponent.

    Attributes:
        scale: A, in the unit of the errors.
        exponent: α.
        floor: what no amount of data removes, >= 0.
        exponent_error: standard error of α; NaN with as many runs as parameters.
        misfit: root mean square of log(e / fit).
    """

    scale: float
    exponent: float
    floor: float
    exponent_error: float
    misfit: float

    def __call__(self, samples: np.ndarray | float) -> np.ndarray:
        """The error at n examples."""
        return self.floor + self.scale * np.asarray(samples, dtype=float) ** -self.exponent


def fit_learning_curve(
    samples: Sequence[float] | np.ndarray, errors: Sequence[float] | np.ndarray, *, floor: bool = True
) -> LearningCurve:
    """Fits e(n) = floor + A n^-α by least squares on log e, exponent in (0, 3].

    Args:
        samples: n > 0 of each run, at least 2 different ones (3 with a floor).
        errors: e > 0 of each run.
        floor: fit one; else it is 0.

    Raises:
        InputError: too few sizes, or a value that is not finite and > 0.
    """
    from scipy.optimize import least_squares

    n, e = np.asarray(samples, dtype=float), np.asarray(errors, dtype=float)
    if n.ndim != 1 or n.shape != e.shape or not np.all(np.isfinite(n * e) & (n > 0) & (e > 0)):
        raise InputError("samples and errors must be finite numbers > 0, one of each a run")
    needed = 3 if floor else 2
    if len(np.unique(n)) < needed:
        raise InputError(f"{len(np.unique(n))} sizes do not determine {needed} parameters: give at least {needed}")
    x, unit = np.log(n) - np.log(n).mean(), np.exp(np.log(e).mean())
    e = e / unit  # so that the covariance does not depend on the errors' unit

    def value(w: np.ndarray) -> np.ndarray:
        return np.exp(w[0] - w[1] * x) + (w[2] if floor else 0.0)

    found = None
    for alpha, share in STARTS:
        start = [
            np.log(1 - share * e.min() * floor),
            alpha,
            *([share * e.min()] if floor else []),
        ]
        bounds = ([-np.inf, 1e-6, 0.0][: len(start)], [np.inf, 3.0, e.min()][: len(start)])
        trial = least_squares(lambda w: np.log(value(w) / e), start, bounds=bounds, xtol=1e-14, ftol=1e-14, gtol=1e-14)
        found = trial if found is None or trial.cost < found.cost else found
    assert found is not None
    spare = len(n) - len(found.x)
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * (2 * found.cost / spare if spare else np.nan)
    scale = unit * np.exp(found.x[0] + found.x[1] * np.log(n).mean())
    return LearningCurve(
        float(scale),
        float(found.x[1]),
        float(unit * found.x[2]) if floor else 0.0,
        float(np.sqrt(covariance[1, 1])),
        float(np.sqrt(2 * found.cost / len(n))),
    )
