"""Stacked workers are as many workers alone; averaged every step they are one with the whole batch."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import local_worker
from gloo_pair import logs_of, run_pair
from thalweg.errors import InputError
from thalweg.optim import AdamW
from thalweg.train.local_updates import LocalUpdates, constant_period
from thalweg.train.stacked import StackedWorkers

WORKERS, BATCH, STEPS = 3, 4, 6


def loss(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    draws = torch.Generator().manual_seed(1)
    shape = (WORKERS, BATCH)
    return [
        (torch.randn(*shape, 5, generator=draws, dtype=torch.float64), torch.randint(3, shape, generator=draws))
        for _ in range(STEPS)
    ]


@pytest.mark.parametrize(
    "optimizer",
    [partial(torch.optim.SGD, lr=0.5), partial(torch.optim.SGD, lr=0.2, momentum=0.9), partial(AdamW, lr=0.05)],
    ids=["sgd", "momentum", "adamw"],
)
def test_workers_are_those_that_train_alone(model, batches, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    """Local steps, an average after four of six (states stay with their worker), two more and the last average."""
    stack = StackedWorkers(model, loss, optimizer, workers=WORKERS)
    updates = LocalUpdates(constant_period(4), steps=STEPS)
    alone = [copy.deepcopy(model) for _ in range(WORKERS)]
    optimizers = [optimizer(list(one.parameters())) for one in alone]
    for step, (x, y) in enumerate(batches, 1):
        losses = stack.step((x, y))
        updates.after_step(stack.rows(slice(None)), lr=0.5)
        for k, (one, own) in enumerate(zip(alone, optimizers, strict=True)):
            own.zero_grad()
            found = loss(one, (x[k], y[k]))
            found.backward()
            own.step()
            torch.testing.assert_close(losses[k], found.detach())
        if step in (4, STEPS):
            with torch.no_grad():
                for group in zip(*(one.parameters() for one in alone), strict=True):
                    mean = torch.stack(group).mean(0)
                    for p in group:
                        p.copy_(mean)
    placed = stack.place(model=copy.deepcopy(model))
    for found, expected in zip(placed.parameters(), alone[0].parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_an_average_a_step_is_parallel_sgd(model, batches) -> None:
    stack = StackedWorkers(model, loss, partial(torch.optim.SGD, lr=0.5), workers=WORKERS)
    updates = LocalUpdates(constant_period(1), steps=STEPS)
    whole = copy.deepcopy(model)
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.5)
    for x, y in batches:
        stack.step((x, y))
        updates.after_step(stack.rows(slice(None)), lr=0.5)
        optimizer.zero_grad()
        loss(whole, (x.flatten(0, 1), y.flatten())).backward()
        optimizer.step()
    for found, expected in zip(stack.place().parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_two_processes_are_two_stacked_workers(tmp_path: Path) -> None:
    """The same rounds with an all-reduce for a mean: equal after every step, and equal among workers at round ends."""
    run_pair(Path(local_worker.__file__), tmp_path, limit=60)
    files = [tmp_path / f"weights{rank}.pt" for rank in range(2)]
    assert all(file.exists() for file in files), logs_of(tmp_path)
    apart = torch.stack([torch.load(file) for file in files])
    stack = StackedWorkers(local_worker.build(), loss, local_worker.optimizer_of, workers=2)
    updates = LocalUpdates(constant_period(local_worker.PERIOD), steps=local_worker.STEPS)
    for step, batch in enumerate(zip(*local_worker.batches(), strict=True)):
        stack.step(batch)
        averaged = updates.after_step(stack.rows(slice(None)), lr=local_worker.LR)
        here = torch.cat([p.detach().flatten(1) for p in stack.weights.values()], dim=1)
        torch.testing.assert_close(apart[:, step], here, rtol=1e-10, atol=1e-13)
        assert torch.equal(apart[0, step], apart[1, step]) == averaged


def test_one_worker_does_not_notice_the_period(model, batches) -> None:
    found = []
    for period in (1, 4):
        stack = StackedWorkers(model, loss, partial(torch.optim.SGD, lr=0.5), workers=1)
        updates = LocalUpdates(constant_period(period), steps=STEPS)
        for x, y in batches:
            stack.step((x[:1], y[:1]))
            updates.after_step(stack.rows(slice(None)), lr=0.5)
        found.append([p.tolist() for p in stack.weights.values()])
    assert found[0] == found[1]


def test_groups_of_workers_are_averaged_apart(model, batches) -> None:
    stack = StackedWorkers(model, loss, partial(torch.optim.SGD, lr=0.5), workers=WORKERS)
    stack.step(batches[0])
    before = [p.detach().clone() for p in stack.weights.values()]
    LocalUpdates(constant_period(1), steps=1).after_step(stack.rows(slice(0, 2)), lr=0.5)
    for p, old in zip(stack.weights.values(), before, strict=True):
        torch.testing.assert_close(p[0], old[:2].mean(0))
        assert torch.equal(p[0], p[1])
        assert torch.equal(p[2], old[2])


def test_frozen_weights_and_the_model_stay(model, batches) -> None:
    model[0].weight.requires_grad_(False)
    own = copy.deepcopy(model.state_dict())
    stack = StackedWorkers(model, loss, partial(torch.optim.SGD, lr=0.5), workers=WORKERS)
    stack.step(batches[0])
    assert "0.weight" not in stack.weights
    assert all(torch.equal(own[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda m: StackedWorkers(m, loss, partial(torch.optim.SGD, lr=0.5), workers=0), "workers=0"),
        (
            lambda m: StackedWorkers(
                nn.Sequential(m, nn.BatchNorm1d(3)), loss, partial(torch.optim.SGD, lr=0.5), workers=2
            ),
            "'1' keeps batch statistics",
        ),
        (
            lambda m: StackedWorkers(m, loss, partial(torch.optim.SGD, lr=0.5), workers=2).step(torch.zeros(4, 5)),
            "2 workers first",
        ),
    ],
)
def test_bad_input_names_itself(model, act, match: str) -> None:
    with pytest.raises(InputError, match=match):
        act(model)
