"""The curriculum toy: exact risks against simulation, order statistics and the spec's simulated table."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.schedules import WSD
from thalweg.tasks import CurriculumQuadratic

STEPS = 2000
AT = [STEPS - 25 * back for back in range(5, -1, -1)]
MEAN = dict.fromkeys(AT, 1 / 6)


def rates(end: float, steps: int = STEPS) -> np.ndarray:
    return WSD(peak=0.3, decay=0.2, floor=0.3 * end).rates(steps)


def test_influence_is_the_linear_map_of_sgd() -> None:
    toy, few = CurriculumQuadratic(), rates(0.1, 12)
    targets = np.random.default_rng(0).standard_normal(12)
    for curvature in (0.3, 1.0):
        x, path = 0.0, []
        for rate, target in zip(few, targets, strict=True):
            x -= rate * curvature * (x - target)
            path.append(x)
        assert toy.influence(few, curvature) @ targets == pytest.approx(path[-1], rel=1e-12)
        mean = toy.influence(few, curvature, {4: 0.25, 12: 0.75}) @ targets
        assert mean == pytest.approx(0.25 * path[3] + 0.75 * path[-1], rel=1e-12)


@pytest.mark.parametrize("order", ["uniform", "ascend", "descend"])
def test_risk_against_simulation(order: str) -> None:
    toy = CurriculumQuadratic(curvature=0.05, noise=0.5, directions=4, weight=0.2)
    few, mean, rng = rates(0.1, 60), {40: 0.5, 60: 0.5}, np.random.default_rng(1)
    quality = rng.random((40_000, 60))
    if order != "uniform":
        quality = np.sort(quality, axis=1)[:, :: 1 if order == "ascend" else -1]
    found = toy.simulate(quality, few, rng, mean)
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - toy.risk(order, few, mean)) < 4 * error  # type: ignore[arg-type]


def test_constant_rate_and_uniform_order_have_the_known_limit() -> None:
    toy = CurriculumQuadratic()
    moment = 0.3 * 0.25 / (2 - 0.3)  # of a fast direction at a constant rate
    signal = 0.005 * (0.25 + 0.003 / (12 * (2 - 0.003)))
    limit = signal + 0.1 * 0.01 * 16 * moment
    assert toy.risk("uniform", np.full(20_000, 0.3)) == pytest.approx(limit, rel=1e-9)


@pytest.mark.parametrize(
    ("order", "end", "averaged", "figure"),
    [
        ("uniform", 1.0, False, 1.94),
        ("uniform", 1.0, True, 1.37),
        ("uniform", 1 / 300, False, 1.30),
        ("ascend", 1.0, True, 0.31),
        ("ascend", 1 / 300, False, 0.45),
        ("ascend", 1 / 3, False, 0.50),
        ("ascend", 1 / 3, True, 0.37),
        ("descend", 1.0, False, 4.25),
        ("descend", 1 / 3, True, 2.86),
    ],
)
def test_simulated_table(order: str, end: float, averaged: bool, figure: float) -> None:
    """200 replicas have a standard error of 2.5 % in the noise part."""
    found = CurriculumQuadratic().risk(order, rates(end), MEAN if averaged else None)  # type: ignore[arg-type]
    assert 1e3 * found == pytest.approx(figure, rel=0.025, abs=0.01)


def test_decay_spends_what_the_order_saves() -> None:
    toy = CurriculumQuadratic()
    ends = (1 / 300, 0.1, 1 / 3, 1.0)
    ascending = [toy.risk("ascend", rates(end), MEAN) for end in ends]
    uniform = [toy.risk("uniform", rates(end)) for end in ends]
    assert ascending == sorted(ascending, reverse=True)
    assert uniform == sorted(uniform)
    assert ascending[-1] < min(toy.risk("ascend", rates(end)) for end in ends)


def test_refuses() -> None:
    toy = CurriculumQuadratic()
    with pytest.raises(InputError, match="ascend"):
        toy.risk("ascnd", np.ones(3))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="iterate 4 of 3"):
        toy.influence(np.ones(3), 1.0, {4: 1.0})
    with pytest.raises(InputError, match="curvature"):
        CurriculumQuadratic(curvature=0.0)
