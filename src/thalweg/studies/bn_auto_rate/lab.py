"""A perceptron on handwritten digits with and without batch norm, by gradient descent and by SGD."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thalweg.dynamics import AutoRateMonitor, auto_rate_groups, intrinsic_gradient, rate_factors, split_scale_invariant
from thalweg.studies.base import Record
from thalweg.tasks.digits import digits

if TYPE_CHECKING:
    from thalweg.studies.bn_auto_rate.study import Config

__all__ = ["batches", "descent", "network", "stochastic"]


def network(width: int, seed: int, *, normalized: bool = True) -> nn.Sequential:
    """64 - width - width - 10 in float64, entries N(0, 1 / fan-in), softplus(3 h) / 3, batch statistics throughout."""
    draws = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in in (64, width):
        layers.append(nn.Linear(fan_in, width, bias=False))
        if normalized:
            layers.append(nn.BatchNorm1d(width, eps=1e-8, affine=False, track_running_stats=False))
        layers.append(nn.Softplus(beta=3))
    model = nn.Sequential(*layers, nn.Linear(width, 10, bias=False)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=draws, dtype=p.dtype) * p.shape[1] ** -0.5)
    return model


def batches(samples: int, seed: int, count: int, device: str) -> list[tuple[Tensor, Tensor]]:
    """``count`` fixed parts of equal size of ``samples`` training images; the objective is the mean of their losses."""
    train, _ = digits(held_out=0.2, seed=seed)
    x = torch.from_numpy(train.images - train.images.mean(0))[:samples].to(device).double()
    y = torch.from_numpy(train.labels)[:samples].to(device)
    return list(zip(x.chunk(count), y.chunk(count), strict=True))


def _backward(model: nn.Module, parts: list[tuple[Tensor, Tensor]]) -> float:
    model.zero_grad()
    total = 0.0
    for x, y in parts:
        loss = cross_entropy(model(x), y) / len(parts)
        loss.backward()
        total += loss.item()
    return total


def _marks(steps: int, dense: int) -> set[int]:
    """About ``dense`` steps a decade, the last one among them."""
    return {round(steps * 10 ** (-k / dense)) for k in range(int(dense * math.log10(steps)) + 1)}


def descent(config: Config, lr: float, normalized: bool, seed: int, device: str) -> Record:
    """Full-batch gradient descent at rate ``lr`` of the hidden weights; it ends where the loss is not finite.

    Returns:
        A record of part "descent": losses and smallest G after steps, the last loss (None: not finite); with batch norm
        also what the monitor saw of layer 1 (``norm``, ``gradient``, ``certificate``) and at worst of both layers.
    """
    parts = batches(config.samples, seed, 1, device)
    model = network(config.width, seed, normalized=normalized).to(device)
    split = split_scale_invariant(model, parts[0][0])
    groups = auto_rate_groups(model, split, lr_invariant=lr, lr=config.lr)
    if not normalized:
        hidden, last = list(model.parameters())[:-1], list(model.parameters())[-1:]
        groups = [{"params": hidden, "lr": lr}, {"params": last, "lr": config.lr}]
    optimizer = torch.optim.SGD(groups)
    monitor = AutoRateMonitor(model, optimizer, split)
    columns: dict[str, list[Any]] = {"steps": [], "loss": [], "least": []}
    least, marks = math.inf, _marks(config.steps, 8)
    for step in range(config.steps + 1):
        loss = _backward(model, parts)
        if not math.isfinite(loss):
            break
        monitor.observe()
        least = min(least, intrinsic_gradient(model, split).total)
        if step in marks:
            for name, value in (("steps", step), ("loss", loss), ("least", least)):
                columns[name].append(value)
        optimizer.step()
    record: Record = {"part": "descent", "lr": lr, "normalized": normalized, **columns}
    record["end"] = loss if math.isfinite(loss) else None
    if normalized:
        first = monitor.report()[0]
        record |= {
            "norm": float(split.squares("0.weight", next(model.parameters())).sum().sqrt()),
            "gradient": first.gradient,
            "certificate": first.certificate,
        }
        record |= {name: max(getattr(r, name) for r in monitor.report()) for name in ("radial", "growth_error")}
    return record


def stochastic(config: Config, part: str, lr: float, seed: int, device: str) -> Record:
    """SGD on one of the fixed batches a step, the last layer's rate falling as (t + 1)^(-1/2), or that layer fixed.

    Args:
        config: sizes.
        part: "digits" or "fixed".
        lr: rate of the hidden weights.
        seed: of images, start and order.
        device: where it trains.

    Returns:
        A record: loss and G of the objective after steps, the median effective rate of layer 1.
    """
    sizes = config.digits if part == "digits" else config.fixed
    parts = batches(config.samples, seed, config.parts, device)
    model = network(sizes.width, seed).to(device)
    model[-1].requires_grad_(part == "digits")
    split = split_scale_invariant(model, parts[0][0])
    groups = auto_rate_groups(model, split, lr_invariant=lr, lr=sizes.lr)
    optimizer = torch.optim.SGD(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factors(groups))
    draws, marks = np.random.default_rng(seed), _marks(sizes.steps, sizes.dense)
    columns: dict[str, list[Any]] = {"steps": [], "loss": [], "gradient": [], "rate": []}
    for step in range(1, sizes.steps + 1):
        _backward(model, [parts[draws.integers(len(parts))]])
        optimizer.step()
        schedule.step()
        if step in marks:
            loss = _backward(model, parts)
            rates = lr / split.squares("0.weight", next(model.parameters()))
            gradient = intrinsic_gradient(model, split).total
            row = {"steps": step, "loss": loss, "gradient": gradient, "rate": rates.median().item()}
            for name, value in row.items():
                columns[name].append(value)
    return {"part": part, "lr": lr, "normalized": True, **columns}
