"""The split by rows, wholes and the rest; G does not see norms; the monitor's identity is that of plain SGD."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from torch import nn

from thalweg.dynamics import (
    AutoRateMonitor,
    RateSplit,
    auto_rate_groups,
    intrinsic_gradient,
    rate_factors,
    split_scale_invariant,
)
from thalweg.errors import InputError


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 6, bias=False),
        nn.BatchNorm1d(6, eps=1e-10),
        nn.Softplus(),
        nn.Linear(6, 5, bias=False),
        nn.LayerNorm(5, eps=1e-10),
        nn.Linear(5, 3),
    ).double()
    with torch.no_grad():
        for p in (model[1].bias, model[4].bias):
            p.normal_()
    return model


def data() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.randn(40, 8, generator=draws, dtype=torch.float64), torch.randint(3, (40,), generator=draws)


def backward(model: nn.Module) -> float:
    x, y = data()
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    return loss.item()


def test_split_tells_rows_from_wholes():
    model = network()
    split = split_scale_invariant(model, data()[0])
    assert split.rows == ("0.weight",)
    assert split.whole == ("3.weight",)
    assert set(split.variant) == {n for n, _ in model.named_parameters()} - {"0.weight", "3.weight"}
    model[5].requires_grad_(False)
    assert not any(name.startswith("5") for name in split_scale_invariant(model, data()[0]).variant)


def test_convolutions_before_batch_norm_are_split_by_channel():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, eps=1e-10), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    split = split_scale_invariant(model, torch.randn(6, 2, 6, 6))
    assert split.rows[0] == "0.weight"
    assert "0.bias" in split.whole  # batch norm takes it away


def test_gradient_scales_as_one_over_the_weight_and_is_orthogonal():
    model = network()
    first = backward(model)
    before = model[0].weight.grad.clone()
    assert float((before * model[0].weight.detach()).sum(1).abs().max()) < 1e-9 * float(before.norm())
    with torch.no_grad():
        model[0].weight.mul_(2)
    assert backward(model) == pytest.approx(first, rel=1e-9)
    torch.testing.assert_close(model[0].weight.grad, before / 2, rtol=1e-7, atol=1e-12)


def test_intrinsic_gradient_is_that_of_the_unit_weights():
    """Witness: the same network with each row (each whole) at norm 1, its plain gradient by autograd."""
    model = network()
    split = split_scale_invariant(model, data()[0])
    backward(model)
    found = intrinsic_gradient(model, split)
    with torch.no_grad():
        model[0].weight.div_(model[0].weight.norm(dim=1, keepdim=True))
        model[3].weight.div_(model[3].weight.norm())
    backward(model)
    invariant = math.hypot(float(model[0].weight.grad.norm()), float(model[3].weight.grad.norm()))
    others = math.sqrt(sum(float(dict(model.named_parameters())[n].grad.square().sum()) for n in split.variant))
    assert found.invariant == pytest.approx(invariant, rel=1e-7)
    assert found.variant == pytest.approx(others, rel=1e-7)
    assert found.total == pytest.approx(math.hypot(invariant, others), rel=1e-7)


def test_groups_and_their_schedule():
    model = network()
    split = split_scale_invariant(model, data()[0])
    groups = auto_rate_groups(model, split, lr_invariant=30.0, lr=0.05)
    assert [g["lr"] for g in groups] == [30.0, 0.05]
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    optimizer = torch.optim.SGD(groups, momentum=0.0)
    factors = rate_factors(optimizer.param_groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factors)
    for _ in range(3):
        optimizer.step()
        schedule.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([30.0, 0.05 / 2])
    assert pickle.loads(pickle.dumps(factors)) == factors
    assert rate_factors(groups, power=0.0)[1](99) == 1.0
    only = auto_rate_groups(model, RateSplit((), (), ("5.weight",)))
    assert [g["scale_invariant"] for g in only] == [False]


def test_monitor_sees_the_identity_and_its_certificate_holds():
    """Every value against a run written out beside it."""
    model = network()
    split = split_scale_invariant(model, data()[0])
    optimizer = torch.optim.SGD(auto_rate_groups(model, split, lr_invariant=3.0, lr=0.05))
    monitor = AutoRateMonitor(model, optimizer, split)
    least, total, norms = math.inf, 0.0, None
    for _ in range(60):
        backward(model)
        monitor.observe()
        w, g = model[0].weight.detach().clone(), model[0].weight.grad.clone()
        sizes = w.square().sum(1) * g.square().sum(1)
        least = min(least, float(sizes.sum().sqrt()))
        if norms is not None:
            total += float((w.norm(dim=1) ** 4 - norms**4).sum()) / (2 * 9.0)
        norms = w.norm(dim=1)
        optimizer.step()
    rows, whole = monitor.report()
    assert (rows.name, whole.name) == ("0.weight", "3.weight")
    assert max(rows.growth_error, whole.growth_error) < 1e-9
    assert max(rows.radial, whole.radial) < 1e-6
    assert rows.norm == pytest.approx((float(norms.min()), float(norms.max())))
    assert rows.effective_rate == pytest.approx((3 / float(norms.max()) ** 2, 3 / float(norms.min()) ** 2))
    assert rows.gradient == pytest.approx(least)
    assert rows.certificate == pytest.approx(math.sqrt(total / 59), rel=1e-9)
    assert rows.gradient <= rows.certificate
    assert whole.gradient <= whole.certificate


def test_monitor_shows_a_weight_that_is_not_invariant():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    monitor = AutoRateMonitor(model, optimizer, RateSplit((), ("5.weight",), ()))
    for _ in range(3):
        backward(model)
        monitor.observe()
        optimizer.step()
    (found,) = monitor.report()
    assert found.radial > 0.01
    assert found.growth_error > 1e-3


def test_bad_input_is_named():
    model = network()
    split = RateSplit(("0.weight",), (), ())
    with pytest.raises(InputError, match="momentum"):
        AutoRateMonitor(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), split)
    with pytest.raises(InputError, match="weight_decay"):
        AutoRateMonitor(model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1), split)
    with pytest.raises(InputError, match="optimizer"):
        AutoRateMonitor(model, torch.optim.SGD([model[3].weight], lr=0.1), split)
    with pytest.raises(InputError, match="observe"):
        AutoRateMonitor(model, torch.optim.SGD(model.parameters(), lr=0.1), split).report()
    with pytest.raises(InputError, match="split this model"):
        auto_rate_groups(model, RateSplit(("9.weight",), (), ()))
    with pytest.raises(InputError, match="lr_invariant"):
        auto_rate_groups(model, split, lr_invariant=0.0)
    with pytest.raises(InputError, match="auto_rate_groups"):
        rate_factors([{"params": [], "lr": 0.1}])
