"""Exact recall: does greedy decoding continue a prompt with exactly the value?

Greedy decoding gives the value if and only if, fed prompt and value, the model's first choice at each position of the
value is the value's next token; so one forward pass decides.

Source: arXiv 2505.18091 (evaluation: greedy-decode as many tokens as the value has, exact match, mean over people,
attributes and templates).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from thalweg.data import Tokenizer
    from thalweg.tasks.biographies import Probe

__all__ = ["Recall", "evaluate_recall"]


@dataclass(frozen=True, slots=True)
class Recall:
    """Shares of probes answered.

    Attributes:
        accuracy: of all.
        attributes: of each attribute's.
        first_token: share whose first token alone is right.
        loss: mean over probes of the value's negative log-likelihood, nats a probe.
        right: (n,) bool, probe by probe.
    """

    accuracy: float
    attributes: dict[str, float]
    first_token: float
    loss: float
    right: np.ndarray


def evaluate_recall(model: nn.Module, tokenizer: Tokenizer, probes: Sequence[Probe], *, batch: int = 256) -> Recall:
    """Asks every probe; leaves the model as it was.

    Args:
        model: causal; called with ids (B, T), returns logits (B, T, V) or something that has them.
        tokenizer: that the model was trained with.
        probes: prompts and values.
        batch: probes in one pass.

    Raises:
        InputError: no probe, or a tokenizer that merges the end of a prompt with its value.
    """
    import torch

    if not probes:
        raise InputError("there are no probes: give at least one")
    pairs = [_pair(tokenizer, probe) for probe in probes]
    order = sorted(range(len(pairs)), key=lambda k: len(pairs[k][0]))
    device, training = next(model.parameters()).device, model.training
    right, first, loss = np.zeros(len(pairs), bool), np.zeros(len(pairs), bool), np.zeros(len(pairs))
    model.eval()
    with torch.no_grad():
        for at in range(0, len(order), batch):
            rows = order[at : at + batch]
            ids = torch.zeros(len(rows), max(len(pairs[k][0]) for k in rows), dtype=torch.long)
            for row, k in enumerate(rows):
                ids[row, : len(pairs[k][0])] = torch.from_numpy(pairs[k][0])
            found = model(ids[:, :-1].to(device))
            logits = (found if isinstance(found, torch.Tensor) else found.logits).float()
            hit = (logits.argmax(-1).cpu() == ids[:, 1:]).numpy()
            each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:].to(device), reduction="none")
            losses = each.double().cpu().numpy()
            for row, k in enumerate(rows):
                told, start = len(pairs[k][0]) - 1, pairs[k][1] - 1
                right[k], first[k] = hit[row, start:told].all(), hit[row, start]
                loss[k] = losses[row, start:told].sum()
    model.train(training)
    names = np.array([probe.attribute for probe in probes])
    attributes = {str(name): float(right[names == name].mean()) for name in dict.fromkeys(names)}
    return Recall(float(right.mean()), attributes, float(first.mean()), float(loss.mean()), right)


def _pair(tokenizer: Tokenizer, probe: Probe) -> tuple[np.ndarray, int]:
    """Ids of prompt and value, and how many are the prompt's."""
    prompt, whole = tokenizer.encode(probe.prompt), tokenizer.encode(probe.prompt + probe.value)
    if len(whole) <= len(prompt) or not np.array_equal(whole[: len(prompt)], prompt):
        raise InputError(f"the tokenizer merges the end of {probe.prompt!r} with {probe.value!r}: no prompt can ask it")
    return whole.astype(np.int64), len(prompt)
