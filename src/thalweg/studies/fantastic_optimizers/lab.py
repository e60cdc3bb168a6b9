"""One run of the miniature: a small network on the stream, and its final loss on held-out points."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from thalweg.launch.descent import SearchSpace
from thalweg.optim import make
from thalweg.schedules import ScheduleLR, parse
from thalweg.tasks.random_teacher import RandomTeacher

__all__ = ["DEFAULT_LR", "SPACES", "UNTUNED", "final_loss"]

DEFAULT_LR = 1e-3
"""torch's default of AdamW, the rate of an untuned baseline."""
SPACES = {
    "adamw": SearchSpace({"lr": DEFAULT_LR}, {"lr": (DEFAULT_LR, 4e-3, 1.6e-2, 6.4e-2)}),
    "muon": SearchSpace({"lr": 1e-2}, {"lr": (1e-2, 2.5e-2, 6e-2, 1.5e-1)}),
}
UNTUNED = SearchSpace({"lr": DEFAULT_LR}, {})
SHAPES = {"adamw": "cosine:peak={lr!r},warmup=0.1,floor=0", "muon": "wsd:peak={lr!r},warmup=0,decay=0.8,shape=linear"}
OPTIONS: dict[str, dict[str, Any]] = {"adamw": {"weight_decay": 0.0}, "muon": {"weight_decay": 0.0}}


def final_loss(name: str, lr: float, steps: int, *, batch: int, held_out: int, seed: int, device: str) -> float:
    """Cross entropy, nats, after ``steps`` updates; initial weights, teacher and batches are functions of ``seed``."""
    stream = RandomTeacher(seed=seed)
    torch.manual_seed(seed)
    width = stream.hidden
    layers: list[tuple[str, nn.Module]] = [
        ("first", nn.Linear(stream.dim, width)),
        ("relu1", nn.ReLU()),
        ("second", nn.Linear(width, width)),
    ]
    layers += [("relu2", nn.ReLU()), ("head", nn.Linear(width, stream.classes))]
    net = nn.Sequential(OrderedDict(layers))
    net.to(device)
    optimizer = make(name, net, lr=lr, **OPTIONS[name])
    scheduler = ScheduleLR(optimizer, parse(SHAPES[name].format(lr=lr)), steps)
    for step in range(steps):
        inputs, labels = (torch.from_numpy(part).to(device) for part in stream.batch(step, batch))
        loss = nn.functional.cross_entropy(net(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    inputs, labels = (torch.from_numpy(part).to(device) for part in stream.held_out(held_out))
    with torch.no_grad():
        return float(nn.functional.cross_entropy(net(inputs), labels))
