"""The bigram language: exact losses and curvatures against torch, and the measured figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from thalweg.errors import InputError
from thalweg.schedules import parse
from thalweg.tasks import BigramLanguage

LANGUAGE = BigramLanguage()
DECAY = parse("wsd:peak=1,decay=1,shape=inverse,floor=0.1").rates(600)


def test_the_law() -> None:
    law = BigramLanguage(contexts=4, vocabulary=3).law
    np.testing.assert_array_equal(law, [[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    np.testing.assert_array_equal(LANGUAGE.law.sum(axis=1), 1)


def test_loss_and_curvature_against_torch() -> None:
    language = BigramLanguage(contexts=6, vocabulary=5)
    logits = torch.from_numpy(np.random.default_rng(0).normal(scale=3, size=(6, 5)))
    law = torch.from_numpy(language.law)
    kl = torch.nn.functional.kl_div(logits.log_softmax(1), law, reduction="none").sum(1)
    np.testing.assert_allclose(language.divergence(logits.numpy()), kl.numpy(), rtol=1e-12, atol=1e-14)

    def loss(row: torch.Tensor, c: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(row, law[c])

    traces = [torch.autograd.functional.hessian(lambda row, c=c: loss(row, c), logits[c]).trace() for c in range(6)]
    np.testing.assert_allclose(language.curvature(logits.numpy()), torch.stack(traces).numpy(), rtol=1e-12)


def test_one_step_against_torch() -> None:
    language = BigramLanguage(contexts=8, vocabulary=5)
    start = np.random.default_rng(1).normal(size=(8, 5))
    moved = language.train(np.array([0.3]), batch=50, seed=4, start=start)
    generator = np.random.default_rng(4)
    rows = generator.integers(0, 8, 50)
    tokens = (rows + ((rows >= 4) & (generator.random(50) < 0.5))) % 5
    table = torch.tensor(start, requires_grad=True)
    torch.nn.functional.cross_entropy(table[rows], torch.from_numpy(tokens), reduction="sum").backward()
    np.testing.assert_allclose(moved, start - 0.3 * table.grad.numpy(), rtol=1e-12, atol=1e-14)
    assert LANGUAGE.law[rows, tokens].shape == (50,)
    assert (language.law[rows, tokens] > 0).all()


def test_seeds_and_starts() -> None:
    rates = np.full(50, 1.0)
    first = LANGUAGE.train(rates, seed=3)
    np.testing.assert_array_equal(first, LANGUAGE.train(rates, seed=3))
    assert (first != LANGUAGE.train(rates, seed=4)).any()
    kept = first.copy()
    LANGUAGE.train(rates, seed=5, start=first)
    np.testing.assert_array_equal(first, kept)


@pytest.fixture(scope="module")
def tables() -> dict[str, np.ndarray]:
    """The runs of the measurement: two stable ends 600 steps apart, their decays, a low rate and a cosine."""
    stable = LANGUAGE.train(np.ones(5400), seed=0)
    later = LANGUAGE.train(np.ones(600), seed=1, start=stable)
    return {
        "stable": stable,
        "later": later,
        "decayed": LANGUAGE.train(DECAY, seed=2, start=stable),
        "decayed later": LANGUAGE.train(DECAY, seed=3, start=later),
        "low": LANGUAGE.train(np.full(6000, 0.1), seed=4),
        "cosine": LANGUAGE.train(parse("cosine:peak=1,floor=0.1").rates(6000), seed=5),
    }


@pytest.mark.parametrize(
    ("name", "uncertain", "deterministic"),
    [
        ("stable", 0.2067, 0.00035),
        ("later", 0.2086, 0.00031),
        ("decayed", 0.0134, 0.00034),
        ("low", 0.0185, 0.00320),
        ("cosine", 0.0136, 0.00057),
    ],
)
def test_measured_divergences(tables: dict, name: str, uncertain: float, deterministic: float) -> None:
    means = LANGUAGE.means(LANGUAGE.divergence(tables[name]))
    # both are means over 100 independent contexts: three standard errors of the difference
    assert abs(means.uncertain - uncertain) < 3 * np.sqrt(2) * means.uncertain_error
    # deterministic contexts differ by how often they were drawn, 2 % for 2,700 visits; then half a printed digit
    assert abs(means.deterministic - deterministic) < 0.02 * deterministic + 0.000005


def test_a_decay_serves_the_uncertain_and_a_high_rate_the_deterministic(tables: dict) -> None:
    kl = {name: LANGUAGE.means(LANGUAGE.divergence(table)) for name, table in tables.items()}
    assert kl["decayed"].uncertain < kl["stable"].uncertain / 10
    assert abs(kl["decayed"].deterministic / kl["stable"].deterministic - 1) < 0.2
    assert kl["low"].deterministic > 5 * kl["stable"].deterministic


def test_curvature_separates_hill_and_river(tables: dict) -> None:
    means = LANGUAGE.means(LANGUAGE.curvature(tables["decayed"]))
    assert means.uncertain == pytest.approx(0.49, abs=0.005)
    assert means.deterministic == pytest.approx(0.0007, abs=0.00005)


def path(tables: dict, first: str, last: str, points: int) -> np.ndarray:
    """Mean divergence along the straight line between two tables."""
    shares = np.linspace(0, 1, points)
    return np.array([LANGUAGE.divergence((1 - a) * tables[first] + a * tables[last]).mean() for a in shares])


def test_the_three_shapes_of_interpolation(tables: dict) -> None:
    stable = path(tables, "stable", "later", 3)
    assert stable[1] < 0.75 * min(stable[0], stable[2])  # a valley: measured 0.104, 0.061, 0.104
    falling = path(tables, "stable", "decayed", 6)
    assert (np.diff(falling) < 0).all()  # measured 0.104, 0.070, 0.042, 0.022, 0.009, 0.007
    decayed = path(tables, "decayed", "decayed later", 3)
    assert decayed[1] < 0.75 * min(decayed[0], decayed[2])  # measured 0.0069, 0.0036, 0.0076
    assert max(decayed) < min(stable) / 4


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: BigramLanguage(contexts=1), "contexts=1"),
        (lambda: BigramLanguage(vocabulary=2), "vocabulary=2"),
        (lambda: LANGUAGE.train(np.ones(2), batch=0), "batch=0"),
        (lambda: LANGUAGE.train(np.ones(2), start=np.zeros((2, 2))), r"\(2, 2\)"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call()
