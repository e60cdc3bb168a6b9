"""Linear regression by SGD over the same samples again and again, with the one-pass risk in exact form.

x ~ N(0, diag(λ)), y = w*·x + σ ε, batch 1, constant rate η, w = 0 at the start, each epoch a new order of the same N
samples. Excess risk R(w) = Σ λ_i (w_i - w*_i)² / 2. For one pass the moments m_i = E (w_i - w*_i)² obey

m_i ← m_i - 2 η λ_i m_i + η² (2 λ_i² m_i + λ_i Σ_j λ_j m_j) + η² σ² λ_i.

Source: arXiv 2511.13421 (setting, strongly convex case).
Differs: x is Gaussian, where the paper allows more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.errors import InputError

__all__ = ["RepeatedRegression"]


@dataclass(frozen=True, eq=False)
class RepeatedRegression:
    """One problem.

    Args:
        eigenvalues: λ (d,), > 0.
        noise: σ >= 0, standard deviation of the labels' noise.
        truth: w* (d,), or one number for all.
    """

    eigenvalues: Sequence[float] | np.ndarray
    noise: float = 0.5
    truth: Sequence[float] | float = 1.0

    def __post_init__(self) -> None:
        eigenvalues = np.asarray(self.eigenvalues, dtype=float)
        if eigenvalues.ndim != 1 or not len(eigenvalues) or not np.all(np.isfinite(eigenvalues) & (eigenvalues > 0)):
            raise InputError("eigenvalues must be finite numbers > 0, one a direction")
        if not 0 <= self.noise < np.inf:
            raise InputError(f"noise = {self.noise!r} must be a finite number of at least 0")
        object.__setattr__(self, "eigenvalues", eigenvalues)
        object.__setattr__(self, "truth", np.broadcast_to(np.asarray(self.truth, dtype=float), eigenvalues.shape))

    def one_pass(self, sizes: Sequence[int], rates: Sequence[float] | np.ndarray) -> np.ndarray:
        """Exact expected risk after one pass over each number of fresh samples, (sizes, rates); inf where it diverges.

        Args:
            sizes: numbers of samples, >= 1, rising.
            rates: η > 0.
        """
        lam, eta = np.asarray(self.eigenvalues), np.asarray(rates, dtype=float)[:, None]
        moments = np.tile(np.asarray(self.truth) ** 2, (len(eta), 1))
        found, at = [], 0
        with np.errstate(over="ignore", invalid="ignore"):
            for size in sizes:
                for _ in range(size - at):
                    spread = 2 * lam**2 * moments + lam * (moments @ lam)[:, None]
                    moments = moments - 2 * eta * lam * moments + eta**2 * (spread + self.noise**2 * lam)
                found.append(moments @ lam / 2)
                at = size
        return np.nan_to_num(np.array(found), nan=np.inf)

    def epochs(
        self,
        unique: int,
        epochs: Sequence[int],
        rates: Sequence[float] | np.ndarray,
        *,
        replicas: int,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean risk at the end of epochs over ``unique`` samples, and its standard error, both (epochs, rates).

        Args:
            unique: N >= 1.
            epochs: K >= 1, rising.
            rates: η > 0; they share samples and orders.
            replicas: independent data sets, >= 2.
            rng: of samples and orders.
        """
        lam, truth = np.asarray(self.eigenvalues), np.asarray(self.truth)
        eta = np.asarray(rates, dtype=float)[:, None, None]
        x = rng.normal(size=(unique, replicas, len(lam))) * np.sqrt(lam)
        y = x @ truth + self.noise * rng.normal(size=(unique, replicas))
        w = np.zeros((len(eta), replicas, len(lam)))
        every = np.arange(replicas)
        means, errors = [], []
        with np.errstate(over="ignore", invalid="ignore"):
            for epoch in range(1, max(epochs) + 1):
                order = np.argsort(rng.random((unique, replicas)), axis=0)
                for rows in order:
                    inputs = x[rows, every]
                    gap = np.einsum("erd,rd->er", w, inputs) - y[rows, every]
                    w -= eta * gap[..., None] * inputs
                if epoch in epochs:
                    risk = ((w - truth) ** 2 @ lam) / 2
                    means.append(np.nan_to_num(risk.mean(axis=1), nan=np.inf))
                    errors.append(risk.std(axis=1, ddof=1) / np.sqrt(replicas))
        return np.array(means), np.array(errors)

    def saturation(self, unique: float) -> float:
        """What E(K, N) tends to for many epochs: tr(H) / (4 λ_min d) · ln N, in passes (leading order in ln N)."""
        lam = np.asarray(self.eigenvalues)
        return float(lam.sum() / (4 * lam.min() * len(lam)) * np.log(unique))
