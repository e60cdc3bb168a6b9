"""Curves that several tests of the laws share."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.laws import LossCurve, MultiPower

WARMUP = 200
TRUTH = {"L0": 2.5, "A": 0.65, "alpha": 0.43, "B": 520.0, "C": 2.0, "beta": 0.6, "gamma": 0.64}
TRUTH |= {"warmup_share": 1.0, "rate_power": 1.0}


def shape(kind: str, steps: int = 4000, peak: float = 3e-4) -> np.ndarray:
    """Rates of a warmed-up schedule."""
    t = np.arange(steps, dtype=np.float64)
    x = np.clip((t - WARMUP) / (steps - WARMUP), 0, 1)
    body = {
        "constant": np.ones(steps),
        "cosine": 0.1 + 0.45 * (1 + np.cos(np.pi * x)),
        "two-stage": np.where(t < steps // 2, 1.0, 0.3),
        "wsd": np.where(t < 0.8 * steps, 1.0, 0.1 ** np.clip((t / steps - 0.8) / 0.2, 0, 1)),
        "linear-to-0": 1 - x,
        "cyclic": 0.6 + 0.4 * np.cos(2 * np.pi * 3 * x),
    }[kind]
    return peak * np.where(t < WARMUP, (t + 1) / WARMUP, body)


def synthetic(law, kinds, *, noise: float = 0.0, every: int = 20, seed: int = 0) -> dict[str, LossCurve]:
    """Curves that obey a law, by its definition, with log-normal noise."""
    rng = np.random.default_rng(seed)
    curves = {}
    for kind in kinds:
        rates = shape(kind)
        steps = np.arange(WARMUP, len(rates), every)
        losses = law.definition(rates, WARMUP, steps) * np.exp(noise * rng.standard_normal(len(steps)))
        curves[kind] = LossCurve(kind, rates, steps, losses, WARMUP)
    return curves


@pytest.fixture(scope="session")
def truth() -> MultiPower:
    return MultiPower(params=TRUTH)


@pytest.fixture(scope="session")
def exact_curves(truth):
    return synthetic(truth, ("constant", "cosine", "two-stage"))
