"""The training mixture that is best for a known test mixture: usually not the test mixture itself.

Test loss L(q) = Σ p_k e_k(q) over components k with test shares p and training shares q of N examples. At the optimum
the marginal values are equal: -p_k ∂e_k/∂q_k = μ wherever 0 < q_k < cap_k. For e_k = A_k n_k^-α with one α this is
q ∝ (p A)^{1/(α+1)}: flatter than p.

Source: Medvedev, Lyu, Li and Srebro, "Shift is Good: Mismatched Data Mixing Improves Test Performance", arXiv
2510.25108, sections on orthogonal power laws, memorization, transfer and data-mixing laws.
Differs: 1. one bisection on μ serves all separable laws at finite N, with caps; the paper's closed forms are what the
tests compare with (its memorization exponent 1/(K - 1) must read 1/(N - 1)). 2. where the closed form of the
exponential law leaves the simplex, a constrained solver takes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from thalweg.errors import InputError

__all__ = ["ExponentialMixing", "Memorization", "MixtureAdvice", "PowerCurves", "optimal_mixture"]

HALVINGS = 64
"""Of log n in its range: down to the rounding of float64."""

LEAST_LOG = -700.0
"""log n of a share that counts as 0."""


class Separable(Protocol):
    """Component errors that depend on the component's own share (and on N)."""

    def errors(self, shares: np.ndarray, samples: float) -> np.ndarray:
        """e_k at training shares (K,) of ``samples`` examples."""

    def shares(self, log_level: float, target: np.ndarray, samples: float) -> np.ndarray:
        """Where the marginal value -p_k ∂e_k/∂q_k is e^log_level (0 where it is nowhere that large), (K,)."""


@dataclass(frozen=True)
class PowerCurves:
    """e_k = floor_k + shared_k N^-α_k + A_k / (n_k^α_k + B_k) with n_k = q_k N.

    Args:
        scale: A_k > 0.
        exponent: α_k > 0, one for all or one each; at most 1 where ``offset`` is positive.
        offset: B_k >= 0.
        floor: error that no amount of data removes; does not move the optimum.
        shared: what every component's examples teach all of them (transfer); does not move the optimum either.
    """

    scale: Sequence[float] | float = 1.0
    exponent: Sequence[float] | float = 1.0
    offset: Sequence[float] | float = 0.0
    floor: Sequence[float] | float = 0.0
    shared: Sequence[float] | float = 0.0

    def __post_init__(self) -> None:
        for name, low in (("scale", 0.0), ("exponent", 0.0), ("offset", -1.0), ("floor", -1.0), ("shared", -1.0)):
            value = np.asarray(getattr(self, name), dtype=float)
            if value.ndim > 1 or not np.all(np.isfinite(value) & (value > low) & (value >= 0)):
                bound = "> 0" if low == 0.0 else ">= 0"
                raise InputError(f"{name} = {getattr(self, name)!r} must be finite numbers {bound}, one or one each")
        if np.any((np.asarray(self.offset) > 0) & (np.asarray(self.exponent) > 1)):
            raise InputError("an exponent above 1 with a positive offset is not convex: give exponents of at most 1")

    def errors(self, shares: np.ndarray, samples: float) -> np.ndarray:
        """See the class; infinite at a share of 0 without offset."""
        a, alpha, b, floor, shared = (
            np.asarray(x, dtype=float) for x in (self.scale, self.exponent, self.offset, self.floor, self.shared)
        )
        with np.errstate(divide="ignore"):
            return floor + shared * float(samples) ** -alpha + a / ((shares * samples) ** alpha + b)

    def shares(self, log_level: float, target: np.ndarray, samples: float) -> np.ndarray:
        """Inverse of -p ∂e/∂q = p A α N n^(α-1) / (n^α + B)², by bisection in log n where B > 0."""
        a, alpha, b = (
            np.broadcast_to(np.asarray(x, dtype=float), target.shape) for x in (self.scale, self.exponent, self.offset)
        )
        with np.errstate(divide="ignore", over="ignore"):
            gain, log_b = np.log(target * a * alpha * samples) - log_level, np.log(b)
            top = gain / (alpha + 1)  # log n where B = 0, an upper bound elsewhere
            plain = np.exp(top) / samples
        if not np.any(b > 0):
            return plain
        low, high = np.full(target.shape, LEAST_LOG), np.maximum(top, LEAST_LOG)
        for _ in range(HALVINGS):
            log_n = (low + high) / 2
            above = gain + (alpha - 1) * log_n > 2 * np.logaddexp(alpha * log_n, log_b)
            low, high = np.where(above, log_n, low), np.where(above, high, log_n)
        with np.errstate(over="ignore"):
            inside = np.where(low > LEAST_LOG, np.exp(high), 0.0) / samples
        return np.where(b > 0, inside, plain)


@dataclass(frozen=True)
class Memorization:
    """e_k = probability that component k was never drawn: (1 - q_k)^N, for N independent draws (N >= 2)."""

    def errors(self, shares: np.ndarray, samples: float) -> np.ndarray:
        """See the class."""
        return (1 - shares) ** samples

    def shares(self, log_level: float, target: np.ndarray, samples: float) -> np.ndarray:
        """1 - (μ / (p N))^{1/(N-1)}, at least 0."""
        with np.errstate(divide="ignore", over="ignore"):
            return np.clip(-np.expm1((log_level - np.log(target * samples)) / (samples - 1)), 0, 1)


@dataclass(frozen=True, eq=False)
class ExponentialMixing:
    """The data-mixing law e_k(q) = c_k + b_k exp(-(T q)_k) (Ye et al.), fitted at one N.

    Args:
        transfer: T (K, K), invertible.
        scale: b_k > 0.
        floor: c_k.
    """

    transfer: np.ndarray
    scale: Sequence[float]
    floor: Sequence[float] | float = 0.0

    def __post_init__(self) -> None:
        matrix = np.asarray(self.transfer, dtype=float)
        if matrix.ndim != 2 or matrix.shape != (len(self.scale),) * 2 or not np.all(np.isfinite(matrix)):
            raise InputError(f"transfer has shape {matrix.shape}: give a finite square matrix, one row a component")
        if not np.all(np.asarray(self.scale, dtype=float) > 0):
            raise InputError(f"scale = {self.scale!r} must be > 0")
        object.__setattr__(self, "transfer", matrix)

    def errors(self, shares: np.ndarray, samples: float = 1.0) -> np.ndarray:
        """See the class; ``samples`` is not used."""
        return np.asarray(self.floor) + np.asarray(self.scale) * np.exp(-self.transfer @ shares)

    def stationary(self, target: np.ndarray) -> np.ndarray | None:
        """The closed form T^-1(-log μ 1 - τ), τ = log(g / (p b)), g = T^-T 1; None unless g > 0 and q >= 0."""
        ones = np.ones(len(target))
        try:
            g = np.linalg.solve(self.transfer.T, ones)
            if np.any(g <= 0) or np.any(target <= 0):
                return None
            tau = np.log(g / (target * np.asarray(self.scale)))
            inverse_ones, inverse_tau = np.linalg.solve(self.transfer, np.column_stack([ones, tau])).T
        except np.linalg.LinAlgError:
            return None
        log_level = -(1 + inverse_tau.sum()) / inverse_ones.sum()
        shares = -log_level * inverse_ones - inverse_tau
        return shares if np.all(shares >= 0) else None


@dataclass(frozen=True, eq=False)
class MixtureAdvice:
    """What to train on.

    Attributes:
        shares: q (K,), sums to 1.
        target: p (K,).
        loss: L(q), in the unit of the errors.
        loss_same: L(p): training on the test mixture.
        sample_ratio: examples needed at the best mixture over examples needed at q = p for the same loss; None where
            the law does not know N or the loss is out of reach.
        least: min over components with q > 0 of q_k N, the expected examples of the rarest one.
    """

    shares: np.ndarray
    target: np.ndarray
    loss: float
    loss_same: float
    sample_ratio: float | None
    least: float

    @property
    def loss_ratio(self) -> float:
        """L(q) / L(p), at most 1; 1 where both are below the smallest float."""
        return self.loss / self.loss_same if self.loss_same else 1.0


def optimal_mixture(
    target: Sequence[float] | np.ndarray,
    law: PowerCurves | Memorization | ExponentialMixing,
    samples: float,
    *,
    caps: Sequence[float] | np.ndarray | None = None,
) -> MixtureAdvice:
    """The training shares of least test loss.

    Args:
        target: test shares p >= 0 that sum to 1 (to 1e-6).
        law: how the components' errors fall.
        samples: training examples N >= 2, in all.
        caps: largest share of each component, e.g. from how often its documents may be repeated.

    Raises:
        InputError: shares that are negative or do not sum to 1, too few samples, or caps that sum to less than 1.
    """
    p = _shares(target)
    for name in ("scale", "exponent", "offset", "floor", "shared"):
        given = np.asarray(getattr(law, name, 0.0))
        if given.ndim and given.shape != p.shape:
            raise InputError(f"{name} has {len(given)} entries and the target {len(p)}: give one each")
    if not (np.isfinite(samples) and samples >= 2):
        raise InputError(f"samples = {samples!r} must be a number of examples, at least 2")
    bound = np.ones_like(p) if caps is None else np.asarray(caps, dtype=float)
    if bound.shape != p.shape or np.any(bound < 0) or bound[p > 0].sum() < 1 - 1e-12:
        raise InputError(f"caps {list(bound)} must be a share >= 0 each and sum to at least 1 where the target is > 0")
    if isinstance(law, ExponentialMixing):
        q = _solve_general(law, p, bound)
        losses = float(p @ law.errors(q)), float(p @ law.errors(p))
        return MixtureAdvice(q, p, *losses, None, float((q[q > 0] * samples).min()))
    q = _solve_separable(law, p, samples, bound)
    loss, same = _loss(law, p, q, samples), _loss(law, p, p, samples)
    return MixtureAdvice(q, p, loss, same, _sample_ratio(law, p, samples, bound, same), float(q[q > 0].min() * samples))


def _shares(target: Sequence[float] | np.ndarray) -> np.ndarray:
    p = np.asarray(target, dtype=float)
    if p.ndim != 1 or len(p) < 2 or not np.all(np.isfinite(p) & (p >= 0)):
        raise InputError(f"target {list(np.atleast_1d(p))} must be two or more shares >= 0")
    if abs(p.sum() - 1) > 1e-6:
        raise InputError(f"target shares sum to {p.sum():.6g}: make them sum to 1")
    return p / p.sum()


def _loss(law: Separable, p: np.ndarray, q: np.ndarray, samples: float) -> float:
    seen = p > 0
    return float(p[seen] @ np.broadcast_to(law.errors(q, samples), p.shape)[seen])


def _solve_separable(law: Separable, p: np.ndarray, samples: float, caps: np.ndarray) -> np.ndarray:
    """Root in log μ: the clipped shares fall from more than 1 in all to 0 as μ rises."""
    from scipy.optimize import brentq

    def shares(log_level: float) -> np.ndarray:
        return np.minimum(law.shares(log_level, p, samples), caps)

    if caps[p > 0].sum() <= 1:
        return np.where(p > 0, caps, 0.0)
    reach = 600.0
    while shares(-reach).sum() <= 1 or shares(reach).sum() >= 1:  # memorization with N far above K: μ < e^-600
        reach *= 8
    root = brentq(lambda log_level: shares(log_level).sum() - 1, -reach, reach, xtol=1e-13, rtol=1e-15)
    q = shares(float(root))  # pyrefly: ignore
    return q / q.sum()


def _solve_general(law: ExponentialMixing, p: np.ndarray, caps: np.ndarray) -> np.ndarray:
    from scipy.optimize import LinearConstraint, minimize

    closed = law.stationary(p)
    if closed is not None and np.all(closed <= caps):
        return closed
    weights = p * np.asarray(law.scale)

    def value(q: np.ndarray) -> tuple[float, np.ndarray]:
        each = weights * np.exp(-law.transfer @ q)
        return float(each.sum()), -law.transfer.T @ each

    start = np.minimum(p, caps)
    start = start + (caps - start) * (1 - start.sum()) / max((caps - start).sum(), 1e-300)
    found = minimize(
        value,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, float(cap)) for cap in caps],
        constraints=[LinearConstraint(np.ones((1, len(p))), 1.0, 1.0)],
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    q = np.clip(found.x, 0, caps)
    return q / q.sum()


def _sample_ratio(law: Separable, p: np.ndarray, samples: float, caps: np.ndarray, same: float) -> float | None:
    """N' / N with L(q*(N'), N') = L(p, N)."""
    from scipy.optimize import brentq

    def excess(log_n: float) -> float:
        n = float(np.exp(log_n))
        return _loss(law, p, _solve_separable(law, p, n, caps), n) - same

    low, high = float(np.log(2.0)), float(np.log(samples))
    if not 0 < same < np.inf or excess(high) > 0 or excess(low) < 0:
        return None
    return float(np.exp(brentq(excess, low, high, xtol=1e-11)) / samples)
