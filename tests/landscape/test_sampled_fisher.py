"""Fisher matrices from drawn labels: their mean over all labels is the exact matrix, their errors are those seen."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, jacrev

from landscape.dense import cross_entropy, gap, net
from thalweg.errors import InputError
from thalweg.landscape import fisher, sampled_forms, softmax, token_blocks
from thalweg.landscape.gauss_newton import GGN_BACK_ENDS


@pytest.fixture(scope="module")
def case():
    return net(rows=12)


def parts(case):
    """Jacobians of the outputs (rows, classes, n) and predictions (rows, classes), written out."""
    jacobian = jacrev(lambda t: functional_call(case.model, case.named(t), (case.inputs,)))(case.theta)
    return jacobian, torch.softmax(case.model(case.inputs), -1).detach()


def from_labels(case, labels):
    """The definition: the mean over rows and their labels (rows, s) of g g', g = J' (e_y - p)."""
    jacobian, p = parts(case)
    total = torch.zeros(jacobian.shape[-1], jacobian.shape[-1], dtype=torch.float64)
    for i, row in enumerate(labels):
        for y in row:
            g = (torch.eye(3, dtype=torch.float64)[y] - p[i]) @ jacobian[i]
            total += torch.outer(g, g) / (len(labels) * len(row))
    return total


def test_the_mean_over_all_labels_weighted_is_the_exact_matrix(case):
    _, p = parts(case)
    singles = [case._replace(inputs=case.inputs[i : i + 1]) for i in range(12)]
    total = sum(p[i, y] * from_labels(single, [[y]]) for i, single in enumerate(singles) for y in range(3)) / 12
    assert gap(total, case.ggn()) < 1e-12
    u = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.full((12,), 1 / 12, dtype=torch.float64)
    each = [softmax.sampled_form(p, weight, torch.full((12, 1), y), u) for y in range(3)]
    mean = sum(p[:, y : y + 1] * image for y, image in enumerate(each))
    assert gap(mean, softmax.exact_form(p, weight, u)) < 1e-13


@pytest.mark.parametrize("way", GGN_BACK_ENDS)
def test_every_way_is_the_mean_over_the_drawn_labels(case, way, monkeypatch):
    monkeypatch.setattr(token_blocks, "SMALLEST_VOCABULARY", 2)
    drawn = fisher(case.model, cross_entropy, case.batches(), samples=4, seed=3, back_end=way)
    labels = softmax.draw_labels(parts(case)[1], drawn.draws, case.batches()[0])
    assert labels.shape == (12, 4)
    assert gap(drawn.dense(), from_labels(case, labels)) < 1e-12
    assert drawn.back_end == way


def test_unbiased_and_its_error_is_the_spread_over_seeds(case):
    """200 draws: the mean of each form within 4 errors, their spread within that of a standard deviation."""
    exact = case.ggn()
    vectors = torch.randn(3, len(exact), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    truth = (vectors @ exact * vectors).sum(1)
    found = [
        sampled_forms(fisher(case.model, cross_entropy, case.batches((5,)), samples=2, seed=s), vectors)
        for s in range(200)
    ]
    values = torch.stack([each.values for each in found])
    errors = found[0].errors
    assert torch.allclose(found[1].errors, errors, rtol=1e-12)  # from the predictions, not from the draw
    assert bool(((values.mean(0) - truth).abs() < 4 * errors / 200**0.5).all())
    assert bool(((values.std(0) / errors - 1).abs() < 4 / (2 * 199) ** 0.5 * 1.5).all())  # tails heavier than normal's


def test_the_forms_are_those_of_the_matrix_and_the_draw_stays(case):
    drawn = fisher(case.model, cross_entropy, case.batches((3, 9)), samples=3)
    vectors = torch.randn(2, drawn.n, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    matrix = drawn.dense()
    assert gap(sampled_forms(drawn, vectors).values, (vectors @ matrix * vectors).sum(1)) < 1e-12
    assert torch.equal(matrix, drawn.dense())
    state = torch.get_rng_state()
    other = fisher(case.model, cross_entropy, case.batches((3, 9)), samples=3, seed=1).dense()
    assert torch.equal(state, torch.get_rng_state())
    assert gap(other, matrix) > 1e-3
    many = fisher(case.model, cross_entropy, case.batches(), samples=20_000)
    assert gap(many.dense(), case.ggn()) < 0.02


def test_drawn_labels_have_the_frequencies_of_the_predictions():
    p = torch.tensor([[0.5, 0.3, 0.2, 0.0], [0.0, 0.0, 1.0, 0.0]])
    labels = softmax.draw_labels(p, softmax.Draws(100_000, 5), [torch.zeros(1)])
    for row, wanted in zip(labels, p, strict=True):
        seen = torch.bincount(row, minlength=4) / 100_000
        assert bool(((seen - wanted).abs() <= 4 * (wanted * (1 - wanted) / 100_000).sqrt()).all())
    other = softmax.draw_labels(p, softmax.Draws(100_000, 5), [torch.ones(1)])
    assert not torch.equal(labels, other)  # another batch, another draw


def test_refused(case):
    with pytest.raises(InputError, match="samples=-1 must be at least 1"):
        fisher(case.model, cross_entropy, case.batches(), samples=-1)
    with pytest.raises(InputError, match="its forms are exact"):
        sampled_forms(fisher(case.model, cross_entropy, case.batches()), torch.ones(1, 43))
