"""Curvature operators against matrices written out in float64: every kind, every back end, any split of the data."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from landscape.dense import cross_entropy, gap, net
from thalweg.errors import InputError
from thalweg.landscape import token_blocks
from thalweg.landscape.operators import empirical_fisher, fisher, ggn, hessian, noise_covariance
from thalweg.landscape.ways import KINDS

MAKERS = {
    "hessian": hessian,
    "ggn": ggn,
    "fisher": fisher,
    "empirical_fisher": empirical_fisher,
    "noise_covariance": noise_covariance,
}
EXACT = 1e-12
"""Rounding of float64 over sums of some hundred terms."""


def ways(kind: str) -> list[str]:
    case = net()
    operator = MAKERS[kind](case.model, cross_entropy, case.batches())
    return list(operator._ways)


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_gives_the_matrix_however_the_data_are_cut(kind, monkeypatch):
    monkeypatch.setattr(token_blocks, "SMALLEST_VOCABULARY", 2)
    case = net()
    exact = case.ggn() if kind == "fisher" else getattr(case, kind)()  # equal for the cross-entropy
    for way in ways(kind):
        tolerance = 1e-8 if way == "finite-difference" else EXACT  # its own error is of order eps^(2/3)
        for cuts in ((), (7,), (1, 2, 19)):
            operator = MAKERS[kind](case.model, cross_entropy, case.batches(cuts), back_end=way)
            assert gap(operator.dense(), exact) < tolerance, (way, cuts)
            assert operator.back_end == way
            assert operator.products == case.theta.numel()


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_blocks_of_vectors_and_shapes(chunk):
    case = net()
    operator = hessian(case.model, cross_entropy, case.batches(), chunk=chunk)
    vectors = torch.randn(operator.n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert gap(operator.matmat(vectors), case.hessian() @ vectors) < EXACT
    assert gap(operator @ vectors[:, 0], case.hessian() @ vectors[:, 0]) < EXACT
    assert (operator @ vectors.float()).dtype == torch.float32
    with pytest.raises(InputError, match=r"give \(43, k\)"):
        operator.matmat(vectors[:5])


def test_where_memory_runs_out_blocks_are_halved(monkeypatch):
    case = net()
    operator = hessian(case.model, cross_entropy, case.batches(), chunk=8)
    ways = dict(operator._ways)

    def small(batch):
        inner = ways["cached"](batch)

        def run(rows):
            if rows[0].shape[0] > 3:
                raise torch.OutOfMemoryError("out of memory")
            return inner(rows)

        return run

    monkeypatch.setattr(operator, "_ways", {"cached": small})
    assert gap(operator.dense(), case.hessian()) < EXACT
    assert operator.chunk == 2


def test_padding_counts_by_its_terms():
    """Labels that are ignored: the mean over batches is that over all terms, not the mean of means."""
    case = net()
    targets = case.targets.clone()
    targets[torch.tensor([0, 1, 2, 3, 9])] = -100
    case = case._replace(targets=targets)
    operator = hessian(case.model, cross_entropy, case.batches((6, 12)))
    assert gap(operator.dense(), case.hessian()) < EXACT
    assert gap(operator.point.gradient(), case.gradients().nan_to_num().sum(0) / 15) < EXACT
    assert operator.point.loss() == pytest.approx(float(case.loss(case.theta)), rel=1e-12)


def test_a_part_of_the_parameters():
    case = net()
    operator = hessian(case.model, cross_entropy, case.batches(), params="2.*")
    assert gap(operator.dense(), case.hessian()[25:, 25:]) < EXACT
    assert operator.point.bound.layout.names == ("2.weight", "2.bias")
    with pytest.raises(InputError, match=r"params='3.\*' matches no parameter"):
        hessian(case.model, cross_entropy, case.batches(), params=["2.*", "3.*"])


def test_float32_and_its_float64_twin():
    case = net()
    single = case.model.float()
    batches = [(case.inputs.float(), case.targets)]
    exact = net().hessian()
    assert gap(hessian(single, cross_entropy, batches).dense().double(), exact) < 1e-5
    assert hessian(single, cross_entropy, batches, dtype=torch.float64).dense().dtype == torch.float64
    assert all(p.dtype == torch.float32 for p in single.parameters())


def test_tied_weights_are_one_variable():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)))

    torch.manual_seed(0)
    model, x, y = Tied().double(), torch.randn(6, 3).double(), torch.randint(3, (6,))
    operator = hessian(model, cross_entropy, [(x, y)])
    exact = torch.func.jacrev(torch.func.grad(lambda w: F.cross_entropy(torch.tanh(x @ w.T) @ w.T, y)))(
        model.a.weight.detach()
    )
    assert gap(operator.dense(), exact.reshape(9, 9)) < EXACT


def test_the_gauss_newton_matrix_of_squared_errors():
    """Linear regression: it is the Hessian, 2 X'X / n."""
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 1, bias=False).double(), torch.randn(9, 4).double(), torch.randn(9, 1).double()

    def squared(m, batch):
        return F.mse_loss(m(batch[0]), batch[1])

    for make in (hessian, ggn):
        assert gap(make(model, squared, [(x[:2], y[:2]), (x[2:], y[2:])]).dense(), 2 * x.T @ x / 9) < EXACT


def test_the_model_is_left_as_it_was_and_the_point_stays():
    case = net()
    case.model.train()
    before = case.theta
    operator = hessian(case.model, cross_entropy, case.batches())
    exact = case.hessian()
    with torch.no_grad():  # as callers of evaluations often are
        assert gap(operator.dense(), exact) < EXACT
        case.model[0].weight.add_(1.0)
    assert gap(operator.dense(), exact) < EXACT
    assert case.model.training
    assert not torch.equal(case.theta, before)
    assert all(p.grad is None for p in case.model.parameters())
