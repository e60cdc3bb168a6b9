"""The study's linear memory: recall of the dense facts by width, ratio and share kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from thalweg.laws import TextLoss
from thalweg.studies.base import Record
from thalweg.tasks import AssociativeMemory

if TYPE_CHECKING:
    from thalweg.studies.data_mixing_phase_transitions.study import Memory

__all__ = ["crossing", "implied_capacity", "memory_records"]


def memory_records(config: Memory, *, seed: int, device: str) -> Iterator[Record]:
    """Yields width, odds r / (1 - r), keep, and recall of the dense facts that were kept."""
    arms = [(width, 1.0) for width in config.widths] + [(config.keep_width, share) for share in config.keeps]
    for width, share in arms:
        task = AssociativeMemory(width, config.dense, config.text, config.answers, config.zipf, seed)
        found = _train(config, task, [task.probabilities(o / (1 + o), keep=share) for o in config.odds], device)
        kept = round(share * config.dense)
        for odds, recalled in zip(config.odds, found, strict=True):
            recall = float(recalled[:kept].mean())
            about = {"dense": config.dense, "text": config.text, "zipf": config.zipf}
            yield {"part": "memory", "width": width, "keep": share, "odds": odds, "recall": recall} | about


def _train(config: Memory, task: AssociativeMemory, probabilities: Sequence[np.ndarray], device: str) -> np.ndarray:
    """One memory a row, all at once; returns which facts each recalls."""
    import torch

    from thalweg.optim import AdamW
    from thalweg.train.setup import pick_device

    where = pick_device(device)
    p = torch.from_numpy(np.stack(probabilities)).float().to(where)
    weights = torch.nn.Parameter(torch.zeros(len(p), task.width, task.width, device=where))
    optimizer = AdamW([weights], lr=config.lr, betas=(0.9, 0.999), weight_decay=0.0)
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = config.lr * min(1.0, 2 * (config.steps - step) / config.steps)
        with torch.no_grad():
            weights.grad = task.gradient(weights, p)
        optimizer.step()
    return task.recalled(weights.detach())


def crossing(x: Sequence[float], y: Sequence[float], level: float) -> float:
    """Log of the least x at which y, interpolated linearly in log x, reaches ``level``; the ends where it never does.

    Args:
        x: increasing, > 0.
        y: of each x.
        level: to be reached.
    """
    logs, values = np.log(np.asarray(x, dtype=float)), np.asarray(y, dtype=float)
    reached = np.flatnonzero(values >= level)
    if len(reached) == 0 or reached[0] == 0:
        return float(logs[-1 if len(reached) == 0 else 0])
    at = int(reached[0])
    share = (level - values[at - 1]) / (values[at] - values[at - 1])
    return float(logs[at - 1] + share * (logs[at] - logs[at - 1]))


def implied_capacity(odds: float, *, dense: int, zipf: float, text: int) -> float:
    """Facts that a learner of bounded capacity holds if half of the dense ones are recalled at these odds.

    It holds dense / 2 and the n facts of text that are more frequent: n = M0(odds / dense) for the text's F(m) with
    exponent zipf - 1.
    """
    norm = float((np.arange(1, text + 1, dtype=float) ** -zipf).sum())
    return dense / 2 + TextLoss(1 / ((zipf - 1) * norm), zipf - 1).wanted(odds / dense)
