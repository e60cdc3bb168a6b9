"""What fine-tuning costs a checkpoint: the rise of the loss on the text it was trained on, rate by rate.

Source: Springer et al., "Overtrained Language Models Are Harder to Fine-Tune", arXiv 2503.19206 (section 3: progressive
sensitivity to fine-tuning; fixed and tuned learning rates).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thalweg.errors import InputError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FineTuned", "best_rate", "finetune_sensitivity"]


@dataclass(frozen=True, slots=True)
class FineTuned:
    """One checkpoint at one fine-tuning rate.

    Attributes:
        rate: learning rate.
        before: loss on the pretraining text before.
        after: and after.
        task: loss on the fine-tuning text after.
    """

    rate: float
    before: float
    after: float
    task: float

    @property
    def rise(self) -> float:
        """What was forgotten: ``after`` less ``before``."""
        return self.after - self.before


def finetune_sensitivity(
    model: nn.Module,
    finetune: Callable[[nn.Module, float], None],
    evaluate: Callable[[nn.Module], tuple[float, float]],
    rates: Sequence[float],
) -> list[FineTuned]:
    """Fine-tunes a copy of the model at each rate; the model itself is left alone.

    Args:
        model: a checkpoint.
        finetune: (copy, rate) trains the copy in place: the same steps, batches and schedule for every checkpoint.
        evaluate: losses of a model on held-out (pretraining text, fine-tuning text).
        rates: learning rates > 0.

    Raises:
        InputError: no rates, or one that is not > 0.
    """
    if not rates or not all(np.isfinite(rate) and rate > 0 for rate in rates):
        raise InputError(f"rates = {list(rates)!r}: give at least one learning rate, each > 0")
    before = float(evaluate(model)[0])
    found = []
    for rate in rates:
        tuned = copy.deepcopy(model)
        finetune(tuned, rate)
        after, task = evaluate(tuned)
        found.append(FineTuned(float(rate), before, float(after), float(task)))
    return found


def best_rate(found: Sequence[FineTuned]) -> FineTuned:
    """The one of least task loss: what a user who tunes the rate for each checkpoint gets; a NaN loses to all."""
    if not found:
        raise InputError("found is empty: give the results of at least one rate")
    return min(found, key=lambda each: each.task if np.isfinite(each.task) else np.inf)
