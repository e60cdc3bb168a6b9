"""The Chinchilla law in model size and data: L(N, D) = E + A N^-alpha + B D^-beta.

Two solvers: the exponents outside and the exact non-negative linear part inside, or the log-space Huber fit from a grid
of starts that Hoffmann et al. describe.

Source: Hoffmann et al., arXiv 2203.15556, section 3.3 and appendix D.3 (Huber delta 1e-3, grid of starts).
Differs: 1. ``method="linear"`` (the default) profiles E, A, B out exactly; 2. ``method="hoffmann"`` descends with
least squares on the Huber loss and analytic gradients where the paper uses L-BFGS.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.files import write_atomic
from thalweg.laws.solve import DELTA

__all__ = ["ChinchillaSize", "SizeTable"]

RANGE = (0.01, 2.0)  # exponents searched
ROUNDS = 20  # reweightings of the linear solver


@dataclass(frozen=True, eq=False)
class SizeTable:
    """Final losses of runs over model sizes and amounts of data.

    Args:
        sizes: parameters N of each run, > 0, shape (n,).
        tokens: training tokens D of each run, > 0, shape (n,).
        losses: final loss of each run, nats per token, > 0, shape (n,).

    Raises:
        InputError: unequal lengths, or an entry that is not finite and > 0.
    """

    sizes: np.ndarray
    tokens: np.ndarray
    losses: np.ndarray

    def __post_init__(self) -> None:
        for name in ("sizes", "tokens", "losses"):
            try:
                value = np.array(getattr(self, name), dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"{name} must be numbers ({error})") from None
            if value.ndim != 1 or len(value) == 0:
                raise InputError(f"{name} have shape {value.shape}; give one number a run")
            bad = np.flatnonzero(~(np.isfinite(value) & (value > 0)))
            if len(bad):
                raise InputError(f"{name} of run {bad[0]} is {value[bad[0]]:g}; give finite numbers > 0")
            object.__setattr__(self, name, value)
        if not len(self.sizes) == len(self.tokens) == len(self.losses):
            raise InputError(
                f"{len(self.sizes)} sizes, {len(self.tokens)} tokens, {len(self.losses)} losses; give equal numbers"
            )


@dataclass(frozen=True, slots=True)
class ChinchillaSize:
    """A fitted E + A N^-alpha + B D^-beta; immutable.

    Attributes:
        E: loss of infinite size and data, nats per token.
        A: size coefficient (nats per token, N in parameters).
        alpha: size exponent.
        B: data coefficient (nats per token, D in tokens).
        beta: data exponent.
    """

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def predict(self, sizes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Loss in nats per token for sizes N and tokens D (arrays that broadcast)."""
        n, d = np.asarray(sizes, dtype=np.float64), np.asarray(tokens, dtype=np.float64)
        return self.E + self.A * n**-self.alpha + self.B * d**-self.beta

    def best_split(self, flops: float) -> tuple[float, float]:
        """Parameters and tokens of least loss for a budget of ``flops`` = 6 N D.

        N = G (C/6)^(beta/(alpha+beta)), D = (C/6) / N, G = (alpha A / (beta B))^(1/(alpha+beta)).
        """
        if not (np.isfinite(flops) and flops > 0):
            raise InputError(f"flops is {flops}; give the training budget, > 0")
        both = self.alpha + self.beta
        size = (self.alpha * self.A / (self.beta * self.B)) ** (1 / both) * (flops / 6) ** (self.beta / both)
        return float(size), float(flops / 6 / size)

    @classmethod
    def fit(cls, table: SizeTable, *, method: str = "linear", start: ChinchillaSize | None = None) -> ChinchillaSize:
        """Fits the law to a table of runs.

        Args:
            table: at least six runs over at least two sizes and two amounts of data.
            method: ``linear`` or ``hoffmann`` (see the module).
            start: of ``hoffmann``: descend from this law alone, as for bootstrap samples of a fitted table.

        Raises:
            InputError: an unknown method, or too few runs, sizes or amounts of data.
        """
        if method not in ("linear", "hoffmann"):
            raise InputError(f"method {method!r} is unknown; {suggest(method, ('linear', 'hoffmann'))}")
        if len(table.losses) < 6:
            raise InputError(f"{len(table.losses)} runs: the law has 5 parameters and needs at least 6 runs")
        for name in ("sizes", "tokens"):
            if len(np.unique(getattr(table, name))) < 2:
                raise InputError(f"all {name} are equal; vary them, or fit a law over steps")
        return _linear(table) if method == "linear" else _hoffmann(table, start)

    def to_json(self) -> str:
        """The law as JSON text; `from_json` gives it back bit for bit."""
        return json.dumps({"format": 1, "law": "chinchilla-size", "params": asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ChinchillaSize:
        """A law from the text that `to_json` wrote.

        Raises:
            InputError: the text is something else.
        """
        try:
            content = json.loads(text)
            if content["law"] != "chinchilla-size" or content["format"] != 1:
                raise InputError(
                    f"this holds law {content['law']!r} in format {content['format']!r}, not chinchilla-size"
                )
            return cls(**content["params"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(f"this is no chinchilla-size law ({error}); give what to_json wrote") from None

    def save(self, path: str | Path) -> Path:
        """Writes the law as JSON, whole or not at all."""
        return write_atomic(path, self.to_json())


def _linear(table: SizeTable) -> ChinchillaSize:
    from scipy.optimize import least_squares, nnls

    n, d = table.sizes / np.median(table.sizes), table.tokens / np.median(table.tokens)

    def inner(exponents: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        basis = np.stack([np.ones_like(n), n ** -exponents[0], d ** -exponents[1]], axis=1) / table.losses[:, None]
        coefficients = nnls(basis * root[:, None], root)[0]
        return coefficients, basis @ coefficients - 1

    def outer(start: np.ndarray, root: np.ndarray) -> tuple[float, np.ndarray]:
        end = least_squares(lambda e: root * inner(e, root)[1], start, bounds=RANGE, xtol=1e-14, ftol=1e-14, gtol=1e-14)
        return float(end.cost), end.x

    root = np.ones(len(n))
    best = min((outer(np.array(start), root) for start in product((0.2, 0.35, 0.6), repeat=2)), key=lambda end: end[0])[
        1
    ]
    for _ in range(ROUNDS):  # Huber's function by reweighting
        root = np.sqrt(np.minimum(1.0, DELTA / np.maximum(np.abs(inner(best, root)[1]), 1e-300)))
        best = outer(best, root)[1]
    alpha, beta = best
    e, a, b = inner(best, root)[0]
    a, b = a * np.median(table.sizes) ** alpha, b * np.median(table.tokens) ** beta
    return ChinchillaSize(float(e), float(a), float(alpha), float(b), float(beta))


def _hoffmann(table: SizeTable, start: ChinchillaSize | None = None) -> ChinchillaSize:
    """Minimises sum huber(log L - logsumexp(e, a - alpha log N, b - beta log D)) from a grid of starts."""
    from scipy.optimize import least_squares

    log_n, log_d, log_l = np.log(table.sizes), np.log(table.tokens), np.log(table.losses)
    middle_n, middle_d = np.median(log_n), np.median(log_d)
    log_n, log_d = log_n - middle_n, log_d - middle_d

    def parts(u: np.ndarray) -> np.ndarray:
        return np.exp(np.stack([np.full_like(log_n, u[0]), u[1] - u[2] * log_n, u[3] - u[4] * log_d], axis=1))

    def residual(u: np.ndarray) -> np.ndarray:
        return np.log(parts(u).sum(axis=1)) - log_l

    def jacobian(u: np.ndarray) -> np.ndarray:
        share = parts(u)
        share = share / share.sum(axis=1, keepdims=True)
        return np.stack([share[:, 0], share[:, 1], -share[:, 1] * log_n, share[:, 2], -share[:, 2] * log_d], axis=1)

    base = float(np.log(table.losses.min()))
    starts = [
        [base + e, a, x, b, y]
        for e, a, b, x, y in product((-0.5, -0.1), (-2.0, 0.0), (-2.0, 0.0), (0.2, 0.6), (0.2, 0.6))
    ]
    if start is not None:
        e, a, b = (float(np.log(max(value, 1e-300))) for value in (start.E, start.A, start.B))
        starts = [[e, a - start.alpha * middle_n, start.alpha, b - start.beta * middle_d, start.beta]]
    ends = [
        least_squares(
            residual,
            first,
            jac=jacobian,
            loss="huber",
            f_scale=DELTA,
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        for first in starts
    ]
    e, a, alpha, b, beta = min(ends, key=lambda end: end.cost).x
    return ChinchillaSize(
        float(np.exp(e)),
        float(np.exp(a + alpha * middle_n)),
        float(alpha),
        float(np.exp(b + beta * middle_d)),
        float(beta),
    )
