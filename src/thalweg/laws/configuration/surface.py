"""The embedded default: a Gaussian process over configurations, a smooth surface with a trend in size and data.

k = c + S-trend (linear, quadratic) + RBF(x, S) + [same category] (c' + S-trend' + RBF'(x, S)), on hyperparameters x and
coordinates S of size and data: what all optimizers share, and what is an optimizer's own. Lengths, amplitudes and noise
are those of largest posterior density (Adam, on random subsets of the rows). Beyond the fitted range it returns to the
trend, and its standard deviation grows. The noise is Student's t: rows that the others contradict count less, by three
rounds of w = (4 + z^2) / 5 on their noise variance, z the error of the row predicted without itself in its deviations.

Source: Rasmussen and Williams 2006, chapters 2 and 5 (9.3.2 for reweighting's likelihood); our own choice of kernel
(docs/cards/laws.md).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError
from thalweg.laws.configuration.features import Features

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Surface", "covariance", "fit_surface"]

STARTS = {"noise": math.log(0.2), "constant": 0.0, "linear": -1.0, "quadratic": -3.0, "amplitude": 0.0}
STARTS |= {"length": math.log(2.0), "scale_length": math.log(3.0), "own_constant": -1.0, "own_linear": -3.0}
STARTS |= {"own_amplitude": -1.0, "own_length": math.log(2.0), "own_scale_length": math.log(4.0)}
# centre and standard deviation of the normal prior on each logarithm
PRIORS = {"length": (math.log(4.0), 0.5), "own_length": (math.log(4.0), 0.5), "noise": (math.log(0.15), 0.3)}
PRIORS |= {"scale_length": (math.log(4.0), 0.5), "own_scale_length": (math.log(16.0), 0.5)}
PRIORS |= {"linear": (-1.0, 1.0), "quadratic": (-2.0, 1.0), "own_linear": (-4.5, 1.0)}
STEPS, SUBSET, RATE, JITTER = 30, 400, 0.08, 1e-6
FREEDOM, REWEIGHTINGS = 4.0, 3  # Student's t of the noise
LEAST_WEIGHT, MOST_WEIGHT = 0.7, 30.0  # a row's noise variance over the common one


def _products(scale: Tensor) -> Tensor:
    """Squares and products of the scale coordinates: (n, s) -> (n, s (s + 1) / 2)."""
    import torch

    rows, columns = torch.triu_indices(scale.shape[1], scale.shape[1])
    return scale[:, rows] * scale[:, columns]


def _rbf(x: Tensor, z: Tensor, log_amplitude: Tensor) -> Tensor:
    squares = (x * x).sum(1)[:, None] + (z * z).sum(1)[None] - 2 * x @ z.T
    return (2 * log_amplitude - 0.5 * squares.clamp_min(0)).exp()


def _tensors(features: Features) -> tuple[Tensor, Tensor, Tensor]:
    import torch

    inputs, scale = torch.as_tensor(features.inputs), torch.as_tensor(features.scale)
    return inputs, scale, torch.as_tensor(features.category)


def covariance(theta: dict[str, Tensor], a: tuple[Tensor, Tensor, Tensor], b: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The kernel between two sets of features (inputs, scale, category): (n, m); theta are logarithms."""
    import torch

    (x, s, c), (z, t, d) = a, b
    k = (2 * theta["constant"]).exp() + (s * (2 * theta["linear"]).exp()) @ t.T
    k = k + (_products(s) * (2 * theta["quadratic"]).exp()) @ _products(t).T

    def scaled(inputs: Tensor, scale: Tensor, prefix: str) -> Tensor:
        lengths = theta[f"{prefix}length"], theta[f"{prefix}scale_length"]
        return torch.cat([inputs * (-lengths[0]).exp(), scale * (-lengths[1]).exp()], dim=1)

    k = k + _rbf(scaled(x, s, ""), scaled(z, t, ""), theta["amplitude"])
    if "own_constant" in theta:
        own = (2 * theta["own_constant"]).exp() + (s * (2 * theta["own_linear"]).exp()) @ t.T
        own = own + _rbf(scaled(x, s, "own_"), scaled(z, t, "own_"), theta["own_amplitude"])
        k = k + (c[:, None] == d[None]) * own
    return k


class Surface:
    """A fitted surface: its logarithmic parameters and the rows it stands on.

    Args:
        theta: logarithms of lengths, amplitudes and noise, as `fit_surface` finds them.
        features: of the fitted rows.
        values: their values (n,).

    Attributes:
        noise: each row's noise variance, in units of the values' variance (n,).
    """

    def __init__(self, theta: dict[str, list[float]], features: Features, values: np.ndarray) -> None:
        import torch

        self.theta = theta
        self._log = {name: torch.tensor(value, dtype=torch.float64) for name, value in theta.items()}
        self.centre, self.unit = float(np.median(values)), float(values.std())
        if self.unit == 0:
            raise InputError("all losses are equal: nothing to fit")
        self._rows = _tensors(features)
        self._target = torch.as_tensor((values - self.centre) / self.unit)
        with torch.no_grad():
            k = covariance(self._log, self._rows, self._rows)
            self._common = (2 * self._log["noise"]).exp()
            noise = self._common.expand(len(values))
            self._condition(k, noise)
            for _ in range(REWEIGHTINGS):
                squares = self._weights[:, 0] ** 2 / torch.cholesky_inverse(self._factor).diagonal()
                weights = (FREEDOM + squares) / (FREEDOM + 1)
                noise = self._common * weights.clamp(LEAST_WEIGHT, MOST_WEIGHT)
                self._condition(k, noise)
        self.noise = noise.numpy()

    def _condition(self, k: Tensor, noise: Tensor) -> None:
        import torch

        self._factor = torch.linalg.cholesky(k + torch.diag(noise + JITTER))
        self._weights = torch.cholesky_solve(self._target[:, None], self._factor)

    def predict(self, features: Features) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of a new run's value, noise included; each (n,)."""
        import torch

        new = _tensors(features)
        with torch.no_grad():
            k = covariance(self._log, new, self._rows)
            mean = (k @ self._weights)[:, 0]
            # k(x, x) row by row: blocks keep the memory small
            own = torch.cat(
                [
                    covariance(self._log, part, part).diagonal()
                    for part in zip(*(tensor.split(256) for tensor in new), strict=True)
                ]
            )
            left = torch.linalg.solve_triangular(self._factor, k.T, upper=False)
            variance = (own - (left * left).sum(0)).clamp_min(0) + self._common
        return self.centre + self.unit * mean.numpy(), self.unit * variance.sqrt().numpy()

    def left_out(self, run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each fitted row's value, had its run been left out; each (n,).

        With a = K^-1 y and B the rows of a run: mean y_B - (K^-1)_BB^-1 a_B, covariance (K^-1)_BB^-1 (Rasmussen and
        Williams, equations 5.10 to 5.12, in blocks). The parameters stay as all rows gave them.

        Args:
            run: number of each row's run (n,).
        """
        import torch

        inverse, weights = torch.cholesky_inverse(self._factor), self._weights[:, 0]
        value = self._target - weights / inverse.diagonal()
        variance = 1 / inverse.diagonal()
        numbers, counts = np.unique(run, return_counts=True)
        for number in numbers[counts > 1]:
            rows = torch.as_tensor(np.flatnonzero(run == number))
            block = torch.linalg.inv(inverse[rows][:, rows])
            value[rows] = self._target[rows] - block @ weights[rows]
            variance[rows] = block.diagonal()
        variance = variance - torch.as_tensor(self.noise) + self._common
        return self.centre + self.unit * value.numpy(), self.unit * variance.clamp_min(JITTER).sqrt().numpy()


def fit_surface(features: Features, values: np.ndarray, *, seed: int = 0) -> Surface:
    """Finds lengths, amplitudes and noise, and conditions on all rows.

    Args:
        features: of the rows.
        values: what to predict (n,), n >= 6.
        seed: of the subsets.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    sizes = {"length": features.inputs.shape[1], "scale_length": features.scale.shape[1]}
    sizes |= {
        "linear": features.scale.shape[1],
        "quadratic": features.scale.shape[1] * (features.scale.shape[1] + 1) // 2,
    }
    several = len(set(features.category.tolist())) > 1
    theta = {
        name: torch.full((sizes[key],) if (key := name.removeprefix("own_")) in sizes else (), start).double()
        for name, start in STARTS.items()
        if several or not name.startswith("own_")
    }
    theta = {name: value.requires_grad_() for name, value in theta.items()}
    target = torch.as_tensor((values - np.median(values)) / (values.std() or 1.0))
    rows = _tensors(features)
    optimizer = torch.optim.Adam(theta.values(), lr=RATE)
    index = torch.arange(0)
    for step in range(STEPS):
        if step % 15 == 0:
            index = torch.randperm(len(target), generator=generator)[:SUBSET]
        part = rows[0][index], rows[1][index], rows[2][index]
        k = covariance(theta, part, part)
        k = k + torch.eye(len(index), dtype=k.dtype) * ((2 * theta["noise"]).exp() + JITTER)
        factor = torch.linalg.cholesky(k)
        fit = 0.5 * target[index] @ torch.cholesky_solve(target[index][:, None], factor)[:, 0]
        prior = sum((((theta[n] - m) / s) ** 2).sum() / 2 for n, (m, s) in PRIORS.items() if n in theta)
        optimizer.zero_grad()
        (fit + factor.diagonal().log().sum() + prior).backward()
        optimizer.step()
    return Surface({name: value.detach().tolist() for name, value in theta.items()}, features, values)
