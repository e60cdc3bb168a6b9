"""Peak learning rate and batch size of least loss as powers of model size and data, with intervals.

    learning rate = exp(c) N^a D^b,   batch in tokens = exp(c) N^a D^b

Source: Li et al., arXiv 2503.04715 (Step Law; batch with a = 0); for own tables `hyper_scaling`, form ``power``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["Estimate", "Power", "RateLaw", "fit_rates"]

Z90 = 1.645  # standard deviations in half a 90 % interval
RATIO = 20.0  # tokens a parameter that hyper_scaling counts data in


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with the ends of its 90 % interval; equal to it where no interval is known."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low < self.high


@dataclass(frozen=True, slots=True)
class Power:
    """exp(c) N^a D^b.

    Attributes:
        coefficients: c, a, b.
        covariance: of them, (3, 3) as rows; None where unknown.
        spread: standard deviation of the log around the power, 0 where unknown.
    """

    coefficients: tuple[float, float, float]
    covariance: tuple[tuple[float, float, float], ...] | None = None
    spread: float = 0.0

    def at(self, size: float, tokens: float) -> Estimate:
        """Value and 90 % interval at N and D."""
        x = np.array([1.0, np.log(size), np.log(tokens)])
        log = float(x @ np.array(self.coefficients))
        variance = self.spread**2
        if self.covariance is not None:
            variance += float(x @ np.array(self.covariance) @ x)
        width = Z90 * float(np.sqrt(max(variance, 0.0)))
        return Estimate(float(np.exp(log)), float(np.exp(log - width)), float(np.exp(log + width)))


@dataclass(frozen=True, slots=True)
class RateLaw:
    """How the best peak rate and batch move with size and data.

    Attributes:
        name: short name.
        learning_rate: of N and D.
        batch: in tokens, of N and D; None: the table had none.
        source: paper or file.
        about: what a reader must know, in a sentence or two.
        sizes: least and largest fitted N; None: not known.
        tokens: least and largest fitted D; None: not known.
        floor: last rate of the fitted runs, absolute; None where it is not known.
        warmup: warm-up steps of the fitted runs; None where not known.
    """

    name: str
    learning_rate: Power
    batch: Power | None
    source: str
    about: str = ""
    sizes: tuple[float, float] | None = None
    tokens: tuple[float, float] | None = None
    floor: float | None = None
    warmup: int | None = None


def fit_rates(
    sizes: Sequence[float],
    tokens: Sequence[float],
    rates: Sequence[float],
    batches: Sequence[float] | None,
    *,
    source: str,
) -> RateLaw:
    """A law from the best values that an own sweep found at several sizes and amounts of data.

    The interval is the spread of the values around the fit, where there are more than three.

    Args:
        sizes: N of each, > 0.
        tokens: D of each, > 0.
        rates: best peak learning rate of each, > 0.
        batches: best batch of each in tokens, > 0, or None.
        source: where they are from.

    Raises:
        InputError: fewer than three, or a number that is not > 0.
    """
    ratios = [d / (RATIO * n) if n > 0 else -1.0 for n, d in zip(sizes, tokens, strict=True)]
    rate = _power(sizes, ratios, rates, "learning rate")
    batch = None if batches is None else _power(sizes, ratios, batches, "batch")
    about = f"Least squares on the logarithms of {len(sizes)} best values (hyper_scaling, form power)."
    ends = (min(sizes), max(sizes)), (min(tokens), max(tokens))
    return RateLaw("own table of best values", rate, batch, source, about, *ends)


def _power(sizes: Sequence[float], ratios: Sequence[float], values: Sequence[float], name: str) -> Power:
    from thalweg.laws.hyper_scaling import fit_hyper_scaling

    try:
        found = fit_hyper_scaling(sizes, ratios, values, "power")
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    predicted = [found.predict(n, c) for n, c in zip(sizes, ratios, strict=True)]
    left = np.log(np.array(values) / predicted)
    free = len(values) - 3
    spread = float(np.sqrt((left**2).sum() / free)) if free > 0 else 0.0
    # h = A (N / size)^B (D / (20 N ratio))^C
    b, c = found.size_power, found.ratio_power
    constant = np.log(found.a) - b * np.log(found.size) - c * np.log(RATIO * found.ratio)
    return Power((float(constant), b - c, c), spread=spread)
