"""Exclusive or on the hypercube: counts by enumeration."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.tasks import HypercubeXor


def test_points_are_distinct_and_fresh_ones_are_new() -> None:
    rng = np.random.default_rng(0)
    problem = HypercubeXor.draw(dim=6, samples=16, rng=rng)
    fresh = problem.fresh(16, rng)
    assert len({tuple(row) for row in np.concatenate([problem.inputs, fresh])}) == 32
    assert problem.targets.tolist() == [row[0] * row[1] for row in problem.inputs]


def test_points_are_uniform() -> None:
    rng = np.random.default_rng(1)
    corners = np.zeros(16)
    for _ in range(4000):
        for row in HypercubeXor.draw(dim=4, samples=4, rng=rng).inputs:
            corners[int((row > 0) @ [8, 4, 2, 1])] += 1
    # 16,000 points without replacement: standard deviation of a count below sqrt(1000 * 15 / 16) = 31
    assert np.abs(corners - 1000).max() < 4 * 31


def test_same_generator_same_points() -> None:
    one, other = (HypercubeXor.draw(dim=30, samples=100, rng=np.random.default_rng(3)).inputs for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("dim", "samples"), [(1, 1), (3, 0), (3, 5)])
def test_refused(dim: int, samples: int) -> None:
    with pytest.raises(InputError, match="dim="):
        HypercubeXor.draw(dim=dim, samples=samples, rng=np.random.default_rng(0))


def test_refused_inputs() -> None:
    with pytest.raises(InputError, match="twice"):
        HypercubeXor(np.ones((2, 3)))
    with pytest.raises(InputError, match="signs"):
        HypercubeXor(np.zeros((2, 3)))
    with pytest.raises(InputError, match="count=2"):
        HypercubeXor.draw(dim=3, samples=3, rng=np.random.default_rng(0)).fresh(2, np.random.default_rng(0))
