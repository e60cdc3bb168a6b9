"""The trace by differences of gradients against the dense Hessian, where they are good, bad and not to be had."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from landscape.dense import cross_entropy, net
from thalweg.errors import InputError
from thalweg.landscape import traces
from thalweg.landscape.differences import Differences, share_outside, two_levels
from thalweg.landscape.matrix import Dense
from thalweg.landscape.operators import ggn, hessian
from thalweg.landscape.traces import differences, hutchinson, trace


def test_unbiased_and_its_error_honest():
    """60 seeds: the mean within 4 standard errors of the truth, 95 % intervals hold in at least 85 % (binomial 3 %)."""
    case = net()
    op, exact = hessian(case.model, cross_entropy, case.batches((7,))), float(case.hessian().trace())
    found = [differences(op, 20, seed=seed) for seed in range(60)]
    values, errors = np.array([f.value for f in found]), np.array([f.error for f in found])
    assert abs(values.mean() - exact) < 4 * values.std() / math.sqrt(60)
    assert np.mean(abs(values - exact) < 1.96 * errors) > 0.85
    assert op.products == 60 * 20
    plain = np.mean([hutchinson(op, 20, seed=seed).error for seed in range(20)])
    assert errors.mean() == pytest.approx(plain, rel=0.2)  # 16 probes against 20: 12 %


def test_products_by_differences_are_those_of_the_dense_matrix():
    case = net()
    rough = Differences(hessian(case.model, cross_entropy, case.batches()).point)
    probe = rough.probe(3)
    assert set(probe.tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(rough.image(probe), case.hessian() @ probe, atol=1e-5, rtol=1e-4)
    assert not torch.equal(probe, rough.probe(4))


class Ripple(nn.Module):
    """|w|^2 with a ripple along the sum of the weights, far shorter than a step: H = 1 - depth k^2 cos(k sum w)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(30, dtype=torch.float64))

    def forward(self, batch):
        return self.w.square().sum() / 2 + 1e-20 * torch.cos(1e10 * self.w.sum()) + 0 * batch.sum()


def test_where_the_loss_bends_within_a_step_all_probes_are_exact():
    op = hessian(Ripple(), lambda model, batch: model(batch), [torch.zeros(1, 1)])
    assert float(op.dense().trace()) == pytest.approx(0, abs=1e-6)  # 30 - 30
    rough = Differences(op.point)
    assert float(rough.image(rough.probe(0)) @ rough.probe(0)) == pytest.approx(30, abs=1)
    found = differences(op, 24)
    assert abs(found.value) < 4 * found.error


def test_a_sketch_that_pays_is_seen_on_the_folded_images():
    case = net()
    op = hessian(case.model, cross_entropy, case.batches())
    rough = Differences(op.point)
    images = torch.stack([rough.image(rough.probe(i)).clone() for i in range(8)])
    folded = torch.stack([rough.folded(image) for image in images])
    torch.testing.assert_close(folded @ folded.T, images @ images.T)  # nothing is lost where n is below 1024
    assert share_outside(folded) == pytest.approx(share_outside(images.double()))
    assert share_outside(torch.eye(5).double()) == pytest.approx(1)
    assert trace(op, 24).products == 24


def test_the_trace_of_a_large_hessian_takes_differences_unless_a_sketch_pays(monkeypatch):
    monkeypatch.setattr(traces, "LARGE", 1)
    case = net(rows=200)  # 43 weights: a sketch of 10 holds most of the spectrum
    op, exact = hessian(case.model, cross_entropy, case.batches()), float(case.hessian().trace())
    assert trace(op, 20) == traces.xtrace(op, 20)
    monkeypatch.setattr(traces, "two_levels", lambda *a, sketch=False, **k: two_levels(*a, **k))  # as if it did not
    assert trace(op, 20) == differences(op, 20)
    assert abs(trace(op, 40).value - exact) < 4 * trace(op, 40).error


def test_refused():
    case = net()
    with pytest.raises(InputError, match="give a hessian"):
        differences(Dense(torch.eye(3)), 20)
    with pytest.raises(InputError, match="give a hessian"):
        trace(ggn(case.model, cross_entropy, case.batches()), 20, method="differences")
    with pytest.raises(InputError, match="products=7 must be at least 8"):
        differences(hessian(case.model, cross_entropy, case.batches()), 7)
