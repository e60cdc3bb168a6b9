"""One of two processes, each one worker of local training: ``python local_worker.py RANK FOLDER``.

Both write their weights after every step to FOLDER/weightsRANK.pt.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thalweg.train.local_updates import LocalUpdates, constant_period

STEPS, PERIOD, BATCH, LR = 7, 3, 4, 0.2


def build() -> nn.Module:
    """The common start."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def batches() -> tuple[Tensor, Tensor]:
    """Inputs (steps, workers, batch, 5) and labels."""
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS, 2, BATCH, 5, generator=draws, dtype=torch.float64)
    return x, torch.randint(3, (STEPS, 2, BATCH), generator=draws)


def optimizer_of(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Momentum, whose buffers stay with their worker."""
    return torch.optim.SGD(parameters, lr=LR, momentum=0.9)


def all_reduced(tensors: Sequence[Tensor]) -> None:
    """The mean over processes."""
    for tensor in tensors:
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()


def main(rank: int, folder: Path) -> None:
    """Trains one worker."""
    file = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=file, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    model, (x, y) = build(), batches()
    optimizer = optimizer_of(list(model.parameters()))
    updates = LocalUpdates(constant_period(PERIOD), steps=STEPS, mean=all_reduced)
    kept = []
    for step in range(STEPS):
        optimizer.zero_grad()
        cross_entropy(model(x[step, rank]), y[step, rank]).backward()
        optimizer.step()
        updates.after_step([p.data for p in model.parameters()], lr=LR)
        kept.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())
    torch.save(torch.stack(kept), folder / f"weights{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
