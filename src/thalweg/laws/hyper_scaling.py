"""How a hyperparameter's best value moves with size and data.

    log     h = A + B ln N + C ln c           the default
    power   h = A N^B c^C                     least squares on log h; always positive
    offset  h = A N^B c^C + D                 the paper's, by curve_fit from the paper's start

N is the number of parameters, c the data in units of 20 tokens a parameter.

Source: arXiv 2509.02046, phase III (form ``offset``, start A = 0, B = C = -1/2, D = mean).
Differs: 1. ``log`` is the default, the limit B, C -> 0 of ``offset``, where the paper's start A = 0 ends for most
hyperparameters; the least squares of ``offset`` itself lie at large powers (AdamW's published learning rates: B >= 2,
and a negative rate at 1.2B); 2. N and c are divided by their geometric means, which moves no prediction but keeps
digits; 3. ``gain`` says how much of the variance the fit explains: near 0 the mean is as good.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from thalweg.errors import InputError, suggest

__all__ = ["HyperScaling", "fit_hyper_scaling", "nearest_on_grid"]

FORMS = MappingProxyType({"log": 3, "power": 3, "offset": 4})
"""Forms and their number of parameters."""
Form = Literal["log", "power", "offset"]


@dataclass(frozen=True, slots=True)
class HyperScaling:
    """A fitted rule for one hyperparameter.

    Args:
        form: see the module.
        a: A, for N and c divided by ``size`` and ``ratio``.
        size_power: B.
        ratio_power: C.
        offset: D; 0 but in ``offset``.
        size: geometric mean of the fitted N.
        ratio: geometric mean of the fitted c.
        gain: share of the variance of the fitted values (their logarithms in ``power``) that is explained, 0 to 1.
    """

    form: Form
    a: float
    size_power: float
    ratio_power: float
    offset: float
    size: float
    ratio: float
    gain: float

    def predict(self, size: float, ratio: float) -> float:
        """The value at ``size`` parameters and ``ratio`` times 20 tokens a parameter."""
        log = self.size_power * np.log(size / self.size) + self.ratio_power * np.log(ratio / self.ratio)
        return float(self.a + log if self.form == "log" else self.a * np.exp(log) + self.offset)


def nearest_on_grid(value: float, grid: Sequence[float]) -> float:
    """The value of ``grid`` nearest to ``value``, by ratio where all are positive."""
    if value > 0 and min(grid) > 0:
        return min(grid, key=lambda option: abs(np.log(option / value)))
    return min(grid, key=lambda option: abs(option - value))


def fit_hyper_scaling(
    sizes: Sequence[float], ratios: Sequence[float], values: Sequence[float], form: Form = "log"
) -> HyperScaling:
    """Fits the best values found at several sizes and data ratios.

    Where size, or data, is the same everywhere its exponent is 0.

    Args:
        sizes: parameters N of each, > 0.
        ratios: data c of each, > 0.
        values: the best value of each; > 0 for ``power``.
        form: see the module.

    Raises:
        InputError: an unknown form, too few values for it, or a number out of range.
    """
    if form not in FORMS:
        raise InputError(f"form {form!r} is not known: {suggest(form, FORMS)}")
    n, c, h = (np.asarray(each, dtype=np.float64) for each in (sizes, ratios, values))
    if not n.shape == c.shape == h.shape or n.ndim != 1 or len(n) < FORMS[form]:
        raise InputError(f"form {form!r} needs size, ratio and value of {FORMS[form]} regimes or more, not {len(h)}")
    if not (np.isfinite(n * c * h).all() and (n > 0).all() and (c > 0).all()):
        raise InputError("sizes, ratios and values must be finite, sizes and ratios > 0")
    if form == "power" and not (h > 0).all():
        raise InputError(f"value {h.min():g} has no power law: use form 'log' for values that may be 0")
    size, ratio = float(np.exp(np.log(n).mean())), float(np.exp(np.log(c).mean()))
    log_n, log_c = np.log(n / size), np.log(c / ratio)
    if form == "offset":
        a, b, power, offset = _offset(log_n, log_c, h)
    else:
        target = np.log(h) if form == "power" else h
        design = np.stack([np.ones_like(log_n), log_n, log_c], axis=1)
        a, b, power = (float(w) for w in np.linalg.lstsq(design, target, rcond=None)[0])
        a, offset = float(np.exp(a)) if form == "power" else a, 0.0
    law = HyperScaling(form, a, b, power, offset, size, ratio, 0.0)
    found = np.array([law.predict(*pair) for pair in zip(n, c, strict=True)])
    gain = _gain(np.log(found), np.log(h)) if form == "power" else _gain(found, h)
    return HyperScaling(form, a, b, power, offset, size, ratio, gain)


def _offset(log_n: np.ndarray, log_c: np.ndarray, h: np.ndarray) -> tuple[float, float, float, float]:
    from scipy.optimize import OptimizeWarning, curve_fit

    def formula(_: np.ndarray, a: float, b: float, power: float, offset: float) -> np.ndarray:
        return a * np.exp(np.clip(b * log_n + power * log_c, -700, 700)) + offset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # constant values leave the powers open
        try:
            found = curve_fit(formula, log_n, h, p0=(0.0, -0.5, -0.5, float(h.mean())), maxfev=20000)[0]
        except RuntimeError as error:
            raise InputError(f"form 'offset' finds no fit ({error}): use form 'power' or 'log'") from None
    a, b, power, offset = (float(w) for w in found)
    return a, b, power, offset


def _gain(found: np.ndarray, truth: np.ndarray) -> float:
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((found - truth) ** 2).sum()) / spread if spread > 1e-12 * float((truth**2).sum()) else 0.0
