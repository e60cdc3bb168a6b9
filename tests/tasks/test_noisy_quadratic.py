"""The noisy quadratic: recursion, limit and optimum against simulation, search and measured figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from thalweg.errors import InputError
from thalweg.schedules.decay import decay
from thalweg.tasks import NoisyQuadratic

UNIT = NoisyQuadratic()


def test_moments_against_simulation() -> None:
    hill = NoisyQuadratic(curvature=2.0, noise=0.7)
    rates = np.linspace(0.6, 0.05, 30)
    generator = np.random.default_rng(0)
    x = np.full(200_000, 1.5)
    for rate in rates:
        x -= rate * (hill.curvature * x + hill.noise * generator.standard_normal(x.size))
    squares = x**2
    error = squares.std() / np.sqrt(x.size)
    assert abs(squares.mean() - hill.moments(rates, start=1.5**2)[-1]) < 4 * error


def test_the_limit_is_where_the_recursion_stands_still() -> None:
    hill = NoisyQuadratic(curvature=3.0, noise=0.5)
    limit = hill.stationary(0.2)
    assert hill.moments(np.full(5, 0.2), start=limit)[-1] == pytest.approx(limit, rel=1e-14)
    assert hill.moments(np.full(500, 0.2), start=7.0)[-1] == pytest.approx(limit, rel=1e-12)
    assert hill.loss(limit) == pytest.approx(0.5 * 0.2 * 0.25 / (2 - 0.6))


def test_the_best_rates_are_best_and_their_moment_is_the_closed_form() -> None:
    hill = NoisyQuadratic(curvature=0.8, noise=1.7)
    rates = hill.best_rates(40, start=5.0)
    moments = hill.moments(rates, start=5.0)
    np.testing.assert_allclose(moments, [hill.best_moment(n, start=5.0) for n in range(41)], rtol=1e-12)
    np.testing.assert_allclose(np.diff(1 / rates), 0.8, rtol=1e-12)
    for step in (0, 7, 39):
        found = minimize_scalar(
            lambda rate, v=moments[step]: hill.moments(np.array([rate]), start=v)[-1], bounds=(0, 2)
        )
        assert found.x == pytest.approx(rates[step], rel=1e-6)  # a flat minimum is found to the root of the precision


@pytest.mark.parametrize(
    ("steps", "measured"),
    [
        (50, {"exponential": 0.013, "inverse": 0.030}),
        (200, {"linear": 0.0113, "exponential": 0.0041, "cosine": 0.0083, "inverse": 0.00247, "best": 0.00246}),
        (1000, {"linear": 0.0052, "exponential": 0.0018, "cosine": 0.0028, "inverse": 0.0014, "best": 0.0005}),
    ],
)
def test_measured_hills(steps: int, measured: dict[str, float]) -> None:
    start = UNIT.stationary(0.5)
    for shape, figure in measured.items():
        if shape == "best":
            rates = UNIT.best_rates(steps, start=start)
        else:  # the specification's decay counts k = 1 .. n
            rates = decay(shape, np.arange(1, steps + 1) / steps, peak=0.5, floor=0.005)  # type: ignore[arg-type]
        digits = {0.030: 3}.get(figure, len(repr(figure).partition(".")[2]))
        assert abs(UNIT.loss(UNIT.moments(rates, start=start)[-1]) - figure) <= 0.5001 * 10**-digits


@pytest.mark.parametrize("wrong", [{"curvature": 0.0}, {"noise": -1.0}, {"noise": float("inf")}])
def test_bad_input_is_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        NoisyQuadratic(**wrong)


@pytest.mark.parametrize("rate", [0.0, 2.0, 3.0])
def test_rates_without_a_limit_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match="no limit"):
        UNIT.stationary(rate)
