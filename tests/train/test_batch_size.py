"""Live optimizers and recipes at another batch size: what changes, what stays, and that training stays the same."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from thalweg.errors import InputError
from thalweg.optim import SGD, SVAG, AdamW, Muon
from thalweg.schedules import ScheduleLR, parse
from thalweg.schedules.batch_scaling import resample
from thalweg.schedules.scaled import scale_schedule, scaled_steps
from thalweg.train.batch_size import scale_optimizer, scale_recipe

OWN = {"lr": 1e-3, "betas": (0.99, 0.999), "eps": 1e-6, "weight_decay": 0.1}


def grouped(make: Callable, **options) -> torch.optim.Optimizer:
    """Two groups, the second at twice the rate, after one step."""
    torch.manual_seed(0)
    a, b = (nn.Parameter(torch.randn(3, dtype=torch.float64)) for _ in range(2))
    rate = options.pop("lr")
    made = make([{"params": [a], "lr": rate}, {"params": [b], "lr": 2 * rate}], lr=rate, **options)
    for p in (a, b):
        p.grad = torch.ones_like(p)
    made.step()
    return made


@pytest.mark.parametrize("make", [torch.optim.AdamW, AdamW])
@pytest.mark.parametrize("kappa", [0.25, 4.0])
def test_square_root_in_all_groups_and_the_state_is_kept(make, kappa):
    optimizer = grouped(make, **OWN)
    state = copy.deepcopy(optimizer.state_dict()["state"])
    assert scale_optimizer(optimizer, 64, 64 * kappa) == kappa
    for place, group in enumerate(optimizer.param_groups):
        assert group["lr"] == pytest.approx((1 + place) * 1e-3 * math.sqrt(kappa), rel=1e-14)
        assert [1 - beta for beta in group["betas"]] == pytest.approx([0.01 * kappa, 0.001 * kappa], rel=1e-12)
        assert group["eps"] == pytest.approx(1e-6 / math.sqrt(kappa), rel=1e-14)
        assert group["weight_decay"] == pytest.approx(0.1 * math.sqrt(kappa), rel=1e-14)
    after = optimizer.state_dict()["state"]
    torch.testing.assert_close(after, state, rtol=0, atol=0)
    optimizer.step()


@pytest.mark.parametrize("make", [torch.optim.SGD, SGD])
def test_linear_for_sgd(make):
    optimizer = grouped(make, lr=0.1, momentum=0.9, weight_decay=1e-4)
    scale_optimizer(optimizer, 32, 256)
    for place, group in enumerate(optimizer.param_groups):
        assert (group["lr"], group["momentum"], group["weight_decay"]) == ((1 + place) * 0.1 * 8, 0.9, 1e-4)
    optimizer = grouped(make, lr=0.1, momentum=0.9)
    scale_optimizer(optimizer, 32, 64, include=("lr", "momentum"))
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.8)
    assert optimizer.param_groups[0]["lr"] / 0.2 == pytest.approx(2 * 0.1 / 0.1)


def test_coupled_decay_stays():
    for make in (torch.optim.Adam, torch.optim.RMSprop):
        optimizer = grouped(make, lr=0.1, weight_decay=0.01)
        scale_optimizer(optimizer, 1, 4)
        assert optimizer.param_groups[0]["weight_decay"] == 0.01
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)
    assert optimizer.param_groups[0]["alpha"] == pytest.approx(0.96)
    optimizer = grouped(torch.optim.Adam, lr=0.1, weight_decay=0.01, decoupled_weight_decay=True)
    scale_optimizer(optimizer, 1, 4)
    assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.02)


def test_rates_in_tensors_and_wrappers():
    optimizer = grouped(torch.optim.AdamW, **OWN | {"lr": torch.tensor(1e-3, dtype=torch.float64)})
    held = optimizer.param_groups[0]["lr"]
    scale_optimizer(optimizer, 1, 9)
    assert optimizer.param_groups[0]["lr"] is held
    assert float(held) == pytest.approx(3e-3)
    base = grouped(torch.optim.SGD, lr=0.1)
    scale_optimizer(SVAG(base, 2), 1, 3)
    assert base.param_groups[1]["lr"] == pytest.approx(0.6)


def test_a_scheduler_goes_on_at_the_new_rates():
    optimizer = grouped(AdamW, **OWN)
    schedule = parse("cosine:peak=1e-3,warmup=10")
    scheduler = ScheduleLR(optimizer, schedule, 100)
    other = torch.optim.lr_scheduler.StepLR(grouped(torch.optim.SGD, lr=0.1), 5)
    with pytest.raises(InputError, match="another optimizer"):
        scale_optimizer(optimizer, 1, 4, schedulers=[other])
    for _ in range(20):
        optimizer.step()
        scheduler.step()
    scale_optimizer(optimizer, 1, 4, schedulers=[scheduler])
    assert optimizer.param_groups[1]["lr"] == pytest.approx(2 * 2 * schedule.rates(100)[20])
    assert scheduler.get_last_lr() == pytest.approx([group["lr"] for group in optimizer.param_groups])
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[1]["lr"] == pytest.approx(2 * 2 * schedule.rates(100)[21])


def quadratic(optimizer_of: Callable, kappa: int, change: Callable | None = None) -> torch.Tensor:
    """Mean loss of 400 replicas at equal samples, from noise-dominated gradients (the specification's setting)."""
    curvature = torch.logspace(0, -1.5, 10, dtype=torch.float64)
    theta = nn.Parameter(torch.ones(400, 10, dtype=torch.float64))
    optimizer = optimizer_of([theta])
    if change is not None:
        change(optimizer)
    noise, losses = torch.Generator().manual_seed(kappa), []
    for step in range(2048 // kappa):
        if step % (256 // kappa) == 0:
            losses.append((0.5 * curvature * theta.detach() ** 2).sum(1).mean())
        draws = torch.randn(theta.shape, generator=noise, dtype=torch.float64)
        theta.grad = curvature * theta.detach() + 10 / math.sqrt(kappa) * draws
        optimizer.step()
    return torch.stack(losses) / losses[0]


def test_the_square_root_rule_keeps_the_training_and_the_linear_one_does_not():
    """sde-scaling-rules, its check of Adam at kappa 16: below 0.02, and below a fifth of the linear rule's."""
    make = lambda p: torch.optim.Adam(p, lr=5e-3, betas=(0.99, 0.999), eps=1e-2)  # noqa: E731
    before = quadratic(make, 1)
    by_root = quadratic(make, 16, lambda made: scale_optimizer(made, 64, 1024))
    linear = quadratic(make, 16, lambda made: scale_optimizer(made, 64, 1024, rule="linear", include=("lr",)))
    error, wrong = float((by_root - before).abs().max()), float((linear - before).abs().max())
    assert error < 0.02
    assert error < wrong / 5


def changed(kappa: int, moments: str) -> float:
    """Largest distance from the unchanged run, over the first loss, where the batch grows half-way."""
    curvature, found = torch.logspace(0, -1.5, 10, dtype=torch.float64), []
    for factor in (1, kappa):
        theta = nn.Parameter(torch.ones(400, 10, dtype=torch.float64))
        optimizer = torch.optim.Adam([theta], lr=5e-3, betas=(0.99, 0.999), eps=1e-2)
        noise, losses, samples, size = torch.Generator().manual_seed(7), [], 0, 1
        while samples < 2048:
            if samples == 1024 and factor > 1:
                size = factor
                scale_optimizer(optimizer, 64, 64 * factor, moments=moments)
            if samples % 64 == 0:
                losses.append((0.5 * curvature * theta.detach() ** 2).sum(1).mean())
            draws = torch.randn(theta.shape, generator=noise, dtype=torch.float64)
            theta.grad = curvature * theta.detach() + 10 / math.sqrt(size) * draws
            optimizer.step()
            samples += size
        found.append(torch.stack(losses))
    return float((found[1] - found[0]).abs().max() / found[0][0])


def test_a_change_half_way_keeps_the_training_where_moments_are_continued():
    """The specification's bound for the rule from the start; with kept moments the steps are too small for a while."""
    continued, kept = changed(16, "continued"), changed(16, "kept")
    assert continued < 0.02
    assert continued < kept / 5


@pytest.mark.parametrize("make", [torch.optim.AdamW, AdamW])
def test_continued_moments(make):
    optimizer = grouped(make, **OWN)
    for p in (q for group in optimizer.param_groups for q in group["params"]):
        optimizer.state[p]["step"] = optimizer.state[p]["step"] * 40
    before = copy.deepcopy(optimizer.state_dict()["state"])
    scale_optimizer(optimizer, 64, 256, moments="continued")
    for place, state in optimizer.state_dict()["state"].items():
        assert int(state["step"]) == 10
        torch.testing.assert_close(state["exp_avg_sq"], before[place]["exp_avg_sq"] / 4)
        assert torch.equal(state["exp_avg"], before[place]["exp_avg"])


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda: scale_optimizer(grouped(AdamW, **OWN), 1, 2, moments="new"), "moments='new'"),
        (lambda: scale_optimizer(grouped(AdamW, **OWN), 0, 4), "from_batch=0"),
        (lambda: scale_optimizer(grouped(AdamW, **OWN), 1, 200), "take kappa <= 100"),
        (lambda: scale_optimizer(grouped(torch.optim.Adagrad, lr=0.1), 1, 2), "no batch rule .* 'adagrad'"),
        (lambda: scale_optimizer(Muon(nn.Linear(4, 4), lr=0.1), 1, 2), "no batch rule .* 'muon'"),
        (lambda: scale_optimizer(grouped(AdamW, **OWN), 1, 2, rule="cubic"), "rule = 'cubic'"),
    ],
)
def test_refusals(act, match):
    with pytest.raises(InputError, match=match):
        act()


def test_a_refusal_changes_nothing():
    first, second = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = torch.optim.AdamW([{"params": [first], "betas": (0.99, 0.999)}, {"params": [second]}], lr=0.1)
    with pytest.raises(InputError, match="betas"):
        scale_optimizer(optimizer, 1, 20)  # the second group has 0.9
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    "spec",
    [
        "constant:peak=0.01,warmup=40",
        "wsd:peak=0.01,warmup=40,decay=0.2,floor=1e-3",
        "wsd:peak=0.01,warmup=0.1,decay=100",
        "cosine:peak=0.01,warmup=30,floor=1e-3",
        "two-stage:peak=0.01,warmup=20,at=200,then=3e-3",
        "multistep:peak=0.01,at=200;0.75,levels=3e-3;1e-3",
        "wsd-s:peak=0.01,cycles=200;400",
        "inverse-sqrt:peak=0.01,warmup=40",
        "piecewise:points=0@0;0.01@40;0.01@0.8;0@1",
    ],
)
@pytest.mark.parametrize("kappa", [0.5, 4.0, 5.0, 8.0])
def test_a_scaled_schedule_is_the_same_function_of_samples(spec, kappa):
    """Means over the samples that one step of the larger batch holds, but for steps that hold a jump or a corner."""
    old = parse(spec).rates(400)
    made = scale_schedule(parse(spec), kappa, factor=3.0, steps=400)
    new = made.rates(scaled_steps(400, kappa))
    assert parse(str(made)) == made
    assert len(new) == round(400 / kappa)
    assert new.max() == pytest.approx(3 * old.max(), rel=1e-9)
    off = np.abs(new - 3 * resample(old, kappa)) / (3 * old.max())
    assert np.median(off) < 0.03
    assert (off > 0.15).mean() < 0.05


def test_a_schedule_of_given_rates():
    rates = np.linspace(1, 0.5, 40)
    from thalweg.schedules import Array

    made = scale_schedule(Array(values=rates, warmup=8), 4, factor=2.0, steps=40)
    np.testing.assert_allclose(made.rates(10), 2 * rates.reshape(10, 4).mean(1))
    assert made.warmup == 2


def test_a_recipe_at_four_times_the_batch(tiny):
    old = tiny(
        steps=400,
        ema=0.99,
        batch=8,
        accumulate=2,
        schedule="wsd:peak=0.01,warmup=40,decay=0.3,shape=linear",
        optimizer={"name": "adamw", "betas": (0.99, 0.999), "eps": 1e-6},
    )
    new, notes = scale_recipe(old, 32)
    assert (new.steps, new.batch, new.accumulate) == (100, 32, 8)
    assert new.steps * new.tokens_per_step == old.steps * old.tokens_per_step
    assert new.schedule == "wsd:peak=0.02,warmup=10,decay=0.3,shape=linear"
    assert new.optimizer["betas"] == pytest.approx((0.96, 0.996))
    assert (new.optimizer["eps"], new.optimizer["weight_decay"]) == pytest.approx((5e-7, 0.2))
    assert new.ema == pytest.approx(0.99**4)
    assert (new.evaluation.every, new.checkpoint.every) == (1, 1)
    assert [note.split()[0] for note in notes] == ["clip"]
    back, _ = scale_recipe(new, 8)
    assert (back.steps, back.schedule, back.accumulate) == (400, old.schedule, 2)


def test_recipes_that_are_refused(tiny):
    with pytest.raises(InputError, match="take kappa <= 10"):
        scale_recipe(tiny(optimizer={"name": "adamw", "betas": (0.9, 0.95)}), 64)
    with pytest.raises(InputError, match="no batch rule"):
        scale_recipe(tiny(optimizer={"name": "lion"}), 8)
    with pytest.raises(InputError, match="to_batch=0"):
        scale_recipe(tiny(), 0)
    trial, _ = scale_recipe(tiny(optimizer={"name": "muon"}), 16, rule="square-root")
    assert trial.optimizer == {"name": "muon", "weight_decay": pytest.approx(0.2)}
    assert scale_recipe(tiny(optimizer={"name": "sgd"}), 8)[0].schedule.startswith("wsd:peak=0.02")
