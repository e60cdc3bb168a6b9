"""A batch as the model takes it: in micro-batches on the device, windows of a data plan with their boundaries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg.data.plan import Rows
from thalweg.nn.loss import IGNORE

__all__ = ["MicroBatch", "micro_batches"]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward pass reads.

    Attributes:
        ids: (B, T) token ids; (1, B·T) where documents are kept apart.
        targets: as ``ids``, the token after each; -100 is not scored.
        cu_seqlens: where each document starts, then B·T; None where they are not kept apart.
        scored: targets that count; 0 where all of them do.
    """

    ids: Tensor
    targets: Tensor
    cu_seqlens: Tensor | None = None
    scored: int = 0


def micro_batches(rows: np.ndarray | Rows, size: int, device: torch.device) -> list[MicroBatch]:
    """The micro-batches of an update.

    Args:
        rows: (batch, context + 1) token ids, or windows of a plan.
        size: rows of a micro-batch, >= 1; the last may have fewer.
        device: where they go.
    """
    if isinstance(rows, np.ndarray):
        parts = torch.from_numpy(rows).to(device).split(size)
        return [MicroBatch(part[:, :-1], part[:, 1:]) for part in parts]
    some = bool((rows.targets == IGNORE).any())
    made = []
    for first in range(0, len(rows.ids), size):
        ids, targets = (torch.from_numpy(each[first : first + size]).to(device) for each in (rows.ids, rows.targets))
        scored = int((targets != IGNORE).sum()) if some else 0
        if rows.segments is None:
            made.append(MicroBatch(ids, targets, None, scored))
            continue
        bounds = _bounds(rows.segments[first : first + size])
        made.append(MicroBatch(ids.reshape(1, -1), targets.reshape(1, -1), torch.from_numpy(bounds), scored))
    return made


def _bounds(segments: np.ndarray) -> np.ndarray:
    """Starts of all documents of windows put end to end, then their length; padding counts as a document."""
    new = np.ones(segments.shape, dtype=bool)
    new[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return np.append(np.flatnonzero(new), segments.size)
