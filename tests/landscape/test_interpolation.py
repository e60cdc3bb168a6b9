"""Segments between weights, against closed forms along the line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from thalweg.errors import InputError
from thalweg.landscape import Segment, blend, interpolate
from thalweg.schedules import parse
from thalweg.tasks import BigramLanguage


def square(weights: dict[str, Tensor]) -> float:
    return float((weights["w"] ** 2).sum())


def weights(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(values, dtype=torch.float64)}


def test_quadratic_has_its_closed_form() -> None:
    a, b = weights(-1.0, 2.0), weights(3.0, 2.0)
    path = interpolate(a, b, square, points=9)
    np.testing.assert_allclose(path.losses, (-1 + 4 * path.fractions) ** 2 + 4, rtol=1e-14)
    # the lowest point of the grid is the parabola's own minimum, at fraction 1/4: 4, below the lower end 5
    assert path.dip == pytest.approx(1.0, abs=1e-13)
    # second differences of a quadratic with second derivative 32 on a grid of 1/8
    np.testing.assert_allclose(path.bends, 32 / 64, rtol=1e-12)
    assert path.is_convex()
    assert not path.is_falling()
    assert np.isnan(path.dip_error)  # one number a point says nothing about its error


def test_hill_between_two_minima_is_not_convex() -> None:
    path = interpolate(weights(-1.0), weights(1.0), lambda w: float((w["w"] ** 2 - 1) ** 2), points=5)
    assert not path.is_convex(1e-6)
    assert path.dip == 0.0


def test_windows_give_the_paired_error() -> None:
    """Windows share a large offset that the paired error must not contain."""
    offsets = np.random.default_rng(0).normal(scale=100, size=50)
    slopes = np.random.default_rng(1).normal(scale=0.1, size=50)

    def evaluate(point: dict[str, Tensor]) -> np.ndarray:
        x = float(point["w"])
        return offsets + (1 + slopes) * x**2

    path = interpolate(weights(-1.0), weights(1.0), evaluate, points=5)
    gaps = 1 + slopes  # end minus middle, window by window
    assert path.dip == pytest.approx(gaps.mean(), abs=1e-9)  # rounding of numbers near 100 is below 1e-13 each
    assert path.dip_error == pytest.approx(gaps.std(ddof=1) / np.sqrt(50), rel=1e-9)


def test_falling_path_has_no_dip() -> None:
    path = interpolate(weights(2.0), weights(0.0), lambda p: np.array([square(p), square(p) + 1]), points=6)
    assert path.is_falling()
    assert (path.dip, path.dip_error) == (0.0, 0.0)


def test_tolerance_forgives_rounding_only() -> None:
    path = Segment(np.array([0, 0.5, 1]), np.array([[2.0], [1.0 + 1e-7], [1e-8]]))
    assert not path.is_convex()
    assert path.is_convex(1e-6)
    assert not Segment(path.fractions, np.array([[2.0], [1.2], [0.0]])).is_convex(1e-6)
    assert not Segment(path.fractions, np.array([[2.0], [1.0], [1.1]])).is_falling(1e-6)


@given(st.floats(-2, 3), st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2))
def test_blend_is_the_line_and_exact_at_its_ends(fraction: float, values: list[float]) -> None:
    a, b = ({"w": torch.tensor([value], dtype=torch.float32)} for value in values)
    assert torch.equal(blend(a, b, 0.0)["w"], a["w"])
    assert torch.equal(blend(a, b, 1.0)["w"], b["w"])
    line = np.float64(a["w"].item()) + fraction * (np.float64(b["w"].item()) - np.float64(a["w"].item()))
    # one rounding to float32 (6e-8 of the value) and float64 rounding of terms up to 4e3
    assert blend(a, b, fraction)["w"].item() == pytest.approx(line, rel=1e-7, abs=1e-11)


def test_blend_keeps_dtype_and_counters_and_leaves_its_input_alone() -> None:
    a = {"w": torch.zeros(2, dtype=torch.bfloat16), "n": torch.tensor(1)}
    b = {"w": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor(5)}
    mixed = blend(a, b, 0.25)
    assert mixed["w"].dtype == torch.bfloat16
    assert mixed["w"].tolist() == [0.25, 0.25]
    assert mixed["n"].item() == 5
    mixed["n"] += 1
    mixed["w"] += 1
    assert (b["n"].item(), b["w"].tolist(), a["w"].tolist()) == (5, [1.0, 1.0], [0.0, 0.0])


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="at least 3"):
        interpolate(weights(0.0), weights(1.0), square, points=2)
    with pytest.raises(InputError, match="differ in 'v'"):
        blend(weights(0.0), {"v": torch.zeros(1)}, 0.5)
    with pytest.raises(InputError, match=r"\(1,\) and \(2,\)"):
        blend(weights(0.0), weights(1.0, 2.0), 0.5)
    with pytest.raises(InputError, match="finite"):
        blend(weights(0.0), weights(1.0), float("nan"))
    with pytest.raises(InputError, match="not finite"):
        interpolate(weights(0.0), weights(1.0), lambda w: float("inf"))
    sizes = iter([2, 3, 3])
    with pytest.raises(InputError, match=r"first: \(2,\)"):
        interpolate(weights(0.0), weights(1.0), lambda w: np.zeros(next(sizes)), points=3)


def test_bigram_shapes_of_the_paper() -> None:
    """Stable to stable is a valley; stable to decayed falls all the way (exact losses)."""
    language = BigramLanguage()
    flat, fall = parse("constant:peak=1").rates(1500), parse("wsd:peak=1,decay=200,shape=inverse,floor=0.1").rates(200)
    early = language.train(flat, seed=0)
    tables = [early, language.train(flat[:200], seed=1, start=early), language.train(fall, seed=1, start=early)]
    stable, later, decayed = ({"logits": torch.from_numpy(table)} for table in tables)

    def evaluate(point: dict[str, Tensor]) -> np.ndarray:
        return language.divergence(point["logits"].numpy())

    valley, slope = interpolate(stable, later, evaluate), interpolate(stable, decayed, evaluate)
    assert valley.is_convex()  # a mean of softmax losses is convex in the logits
    assert valley.dip > 3 * valley.dip_error > 0
    fall_in_all = slope.losses[0] - slope.losses[-1]
    assert slope.is_falling(0.01 * fall_in_all)  # the decayed end is near the floor, where noise may lift the last step
