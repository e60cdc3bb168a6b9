"""Branches of a run on a plan: exact, equal to an uninterrupted run and to a bare loop; kept weights; averages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.data.noised import QUALITY, noised_windows
from thalweg.data.plan import Order, Phase, Plan, Source, read_rows
from thalweg.errors import InputError
from thalweg.nn import LanguageModel, ModelConfig
from thalweg.optim import for_model
from thalweg.train.on_plan import PlanTrainer

CONFIG = ModelConfig(vocab_size=32, dim=8, layers=1, heads=1, context=8)
RATES = np.array([1e-2, 2e-2, 2e-2, 1e-2, 5e-3, 1e-3])


@pytest.fixture(scope="module")
def order() -> Order:
    text = np.random.default_rng(0).integers(0, 32, 400).astype(np.uint16)
    windows = noised_windows(text, count=24, length=8, vocab_size=32, seed=0)
    plan = Plan(
        sources={"text": Source(path="", score=QUALITY)}, phases=(Phase(order="ascend"),), context=8, packing="pad"
    )
    return Order(plan, {"text": windows})


def trainer(order: Order) -> PlanTrainer:
    return PlanTrainer(CONFIG, order, batch=4, seed=5)


def same(one: PlanTrainer, other: PlanTrainer) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


def test_equals_a_bare_loop(order: Order):
    run = trainer(order)
    run.advance(RATES, 6)
    model = LanguageModel(CONFIG, generator=torch.Generator().manual_seed(5))
    rule = for_model(model, "adamw", lr=1.0, betas=(0.9, 0.95), weight_decay=0.1)
    scales = [group["lr"] for group in rule.param_groups]
    for step, rate in enumerate(RATES.tolist()):
        for group, scale in zip(rule.param_groups, scales, strict=True):
            group["lr"] = scale * rate
        ids = torch.from_numpy(read_rows(order, np.arange(4 * step, 4 * step + 4)).ids)
        logits = model(ids[:, :-1]).logits
        rule.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rule.step()
    for a, b in zip(run.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)  # 8 positions against 7: other sums in float32


def test_a_branch_is_the_uninterrupted_run_and_leaves_the_trunk(order: Order):
    whole, trunk = trainer(order), trainer(order)
    whole.advance(RATES, 6)
    trunk.advance(RATES, 3)
    branch = trunk.fork()
    branch.advance(RATES[::-1].copy(), 6)
    assert trunk.step == 3
    assert not same(branch, whole)
    trunk.advance(RATES, 6)
    assert same(trunk, whole)


def test_kept_weights_and_losses_of_others(order: Order):
    run = trainer(order)
    windows = [torch.from_numpy(read_rows(order, np.arange(3)).ids)]
    kept = run.advance(RATES, 6, keep=(2, 6))
    assert sorted(kept) == [2, 6]
    now = run.losses(windows)
    assert np.array_equal(run.losses(windows, kept[6]), now)
    assert not np.array_equal(run.losses(windows, kept[2]), now)
    assert np.array_equal(run.losses(windows), now)


def test_refuses(order: Order):
    run = trainer(order)
    with pytest.raises(InputError, match="upto=7"):
        run.advance(RATES, 7)
