"""Which tokens a decay helps: the change of their loss, binned by how uncertain the next token is.

A river valley arises where the uncertainty of the next token varies: certain tokens are the flat river, uncertain ones
the steep hill. So a decay, which takes the hill part away, should help the uncertain tokens most.

Source: arXiv 2410.05192 (section on the bigram model and the uncertainty of tokens).
Differs: 1. on text the true conditional entropy is unknown; the entropy of a trained model's own prediction stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.nn import LanguageModel

__all__ = ["EntropyBin", "change_by_entropy", "entropy", "token_losses"]


@dataclass(frozen=True, slots=True)
class EntropyBin:
    """Tokens of like uncertainty; all in nats per token.

    Attributes:
        entropy: mean conditional entropy of the bin.
        tokens: how many.
        before: mean loss before.
        change: mean of after - before, negative where the loss fell.
        error: standard error of ``change``, windows as the independent unit.
        share: part of the total change that falls to this bin; nan where the total is 0.
    """

    entropy: float
    tokens: int
    before: float
    change: float
    error: float
    share: float


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the prediction, -sum_v p_v log p_v with p = softmax(logits), nats; (..., V) to (...)."""
    logs = logits.log_softmax(dim=-1)
    return -(logs.exp() * logs).sum(dim=-1)


def token_losses(model: LanguageModel, windows: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each token and entropy of the prediction for it, in evaluation mode; the model is left as it was.

    Args:
        model: on any device.
        windows: batches of token ids (rows, context + 1).

    Returns:
        losses and entropies, nats, float64 (all rows, context).
    """
    import torch

    device = next(model.parameters()).device
    training = model.training
    model.eval()
    losses, entropies = [], []
    with torch.no_grad():
        for rows in windows:
            rows = rows.to(device)
            logits = model(rows[:, :-1]).logits.float()
            each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction="none")
            losses.append(each.double().cpu().numpy())
            entropies.append(entropy(logits).double().cpu().numpy())
    model.train(training)
    return np.concatenate(losses), np.concatenate(entropies)


def change_by_entropy(
    before: np.ndarray, after: np.ndarray, entropies: np.ndarray, bins: int = 4
) -> tuple[EntropyBin, ...]:
    """Splits tokens into bins of equal size by conditional entropy and averages the change of their loss.

    Args:
        before: loss of each token, nats, (windows, context), at least two windows.
        after: loss of the same tokens later, same shape.
        entropies: conditional entropy of each, nats, same shape.
        bins: how many, >= 1; at most the number of tokens.

    Returns:
        The bins, from the most certain tokens to the least; ties are split in order of place.

    Raises:
        InputError: shapes differ, fewer than two windows, or a number of bins out of range.
    """
    shape = np.shape(before)
    if len(shape) != 2 or shape[0] < 2 or np.shape(after) != shape or np.shape(entropies) != shape:
        raise InputError(
            f"before {shape}, after {np.shape(after)} and entropies {np.shape(entropies)} must be of one shape "
            "(windows, context) with at least two windows"
        )
    if not 1 <= bins <= before.size:
        raise InputError(f"bins={bins!r} must lie between 1 and the number of tokens, {before.size}")
    change = np.asarray(after, dtype=np.float64) - before
    order = np.argsort(entropies, axis=None, kind="stable")
    return tuple(_bin(part, before, change, entropies) for part in np.array_split(order, bins))


def _bin(part: np.ndarray, before: np.ndarray, change: np.ndarray, entropies: np.ndarray) -> EntropyBin:
    """One bin; its error sums the deviations of each window, as tokens of a window are not independent."""
    values = change.ravel()[part]
    mean, total = float(values.mean()), float(change.sum())
    count = len(change)
    sums = np.bincount(part // change.shape[1], weights=values - mean, minlength=count)
    error = float(np.sqrt((sums**2).sum() * count / (count - 1)) / len(part))
    share = float(values.sum()) / total if total else float("nan")
    return EntropyBin(
        float(entropies.ravel()[part].mean()), len(part), float(before.ravel()[part].mean()), mean, error, share
    )
