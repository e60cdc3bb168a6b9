"""Capacity as a budget: which sources a model of M bits learns, and the mixing ratio below which facts are not learned.

The optimal learner of capacity M on a mixture spends bits where the loss falls most: it minimizes Σ w_k F_k(m_k) with
Σ m_k = M, so w_k · (-F_k'(m_k)) is equal wherever 0 < m_k. Equally frequent facts have F(m) = C + p max(H - m, 0), a
straight line: taken whole or not at all. Text has F(m) = C + A m^-α. Between the two there is a threshold in the ratio.
Losses are in bits a token, since a bit that is not held costs a bit: divide the A of a law in nats by ln 2.

Source: Gu, Lyu, Li and Zhang, arXiv 2505.18091 (theory section: optimal bounded-capacity learner; r_thres ~
S / M^(α+1)).
Differs: any number of sources, where the paper treats two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["FactLoss", "TextLoss", "allocate_capacity", "critical_ratios"]

HALVINGS = 120
TIE = 1e-9


@dataclass(frozen=True, slots=True)
class FactLoss:
    """F(m) = C + frequency · max(bits - m, 0): facts that are all equally frequent.

    Args:
        frequency: of one fact in its source, so the loss one bit of it saves a token (> 0).
        bits: entropy H of all facts together (> 0).
    """

    frequency: float
    bits: float

    def __post_init__(self) -> None:
        _positive(frequency=self.frequency, bits=self.bits)

    def wanted(self, level: float) -> float:
        """Capacity m at which the marginal value is ``level``: all bits below the frequency, else none."""
        return self.bits if self.frequency > level else 0.0

    def loss(self, capacity: float) -> float:
        """F(m) - C."""
        return self.frequency * max(self.bits - capacity, 0.0)


@dataclass(frozen=True, slots=True)
class TextLoss:
    """F(m) = C + scale · m^-exponent, m in bits: a loss law in model size, at 2 bits a parameter or what you measured.

    Args:
        scale: A (> 0), bits a token times bits^exponent; a law L = E + B N^-α in nats and parameters N, at c bits a
            parameter, has A = B c^α / ln 2.
        exponent: α (> 0).
    """

    scale: float
    exponent: float

    def __post_init__(self) -> None:
        _positive(scale=self.scale, exponent=self.exponent)

    def wanted(self, level: float) -> float:
        """M0(t) = (A α / t)^(1 / (α + 1))."""
        return (self.scale * self.exponent / level) ** (1 / (self.exponent + 1))

    def loss(self, capacity: float) -> float:
        """F(m) - C; infinite at 0."""
        return self.scale * capacity**-self.exponent if capacity > 0 else np.inf


def allocate_capacity(sources: Sequence[tuple[float, FactLoss | TextLoss]], capacity: float) -> np.ndarray:
    """The bits m_k that the optimal learner gives each source.

    Args:
        sources: (weight w_k > 0 in the mixture, its loss).
        capacity: M, bits in all (> 0).

    Returns:
        (K,) bits; they sum to M, or to less where every fact is learned and no text is there to take the rest. Facts of
        exactly equal value share what is left in proportion to their bits.

    Raises:
        InputError: no source, or a number that is not > 0.
    """
    if not sources:
        raise InputError("there is no source: give at least one (weight, loss)")
    _positive(capacity=capacity, **{f"weight_{k}": weight for k, (weight, _) in enumerate(sources)})

    def wanted(log_level: float) -> np.ndarray:
        return np.array([loss.wanted(float(np.exp(log_level)) / weight) for weight, loss in sources])

    low, high = -300.0, 300.0
    if wanted(low).sum() <= capacity:
        return wanted(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if wanted(middle).sum() > capacity else (low, middle)
    taken, more = wanted(high), wanted(high - TIE)
    room = np.where([isinstance(loss, FactLoss) for _, loss in sources], more - taken, 0.0)
    left = capacity - taken.sum()
    return taken + (left * room / room.sum() if room.sum() > 0 else left * taken / taken.sum())


def critical_ratios(facts: FactLoss, text: TextLoss, capacity: float) -> tuple[float, float]:
    """The mixing ratios r of the facts up to which none is learned, and from which all are.

    Text gets 1 - r. None: M <= M0(r p / (1 - r)); all: M >= M0(r p / (1 - r)) + H.

    Args:
        facts: the dense source.
        text: the rest.
        capacity: M, bits (> 0).

    Returns:
        (lower, upper); the upper is 1 where the facts alone exceed the capacity.
    """
    _positive(capacity=capacity)

    def ratio(bits: float) -> float:
        odds = text.scale * text.exponent * bits ** -(text.exponent + 1) / facts.frequency
        return odds / (1 + odds)

    return ratio(capacity), ratio(capacity - facts.bits) if capacity > facts.bits else 1.0


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} = {value!r} must be a finite number > 0")
