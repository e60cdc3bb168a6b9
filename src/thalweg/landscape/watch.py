"""Measures along a training run: the same object in a bare loop, in ``thalweg.train`` and in transformers' Trainer.

In a bare loop call ``record`` after each step; ``thalweg.train.watching.WatchHook`` and
``thalweg.interop.trainer_callback.trainer_callback`` do so in the two trainers. Each search for eigenvectors starts at
those of the time before, which saves most of its products while training moves slowly.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg.errors import InputError
from thalweg.landscape.bound import LossFn
from thalweg.landscape.measurement import Measurement
from thalweg.landscape.measures import DEFAULT, measure_at, parse
from thalweg.landscape.point import Point, Settings

__all__ = ["LandscapeWatch", "NotMeasured", "flat_record", "next_token_loss"]

LARGEST_RECORD = 16
"""Values of one measure that go into a log; a density's grid stays in ``history``."""


def next_token_loss(model: Callable[..., Any], ids: Tensor) -> Tensor:
    """The mean cross-entropy of each next token, nats, from the logits of a language model.

    Args:
        model: ours or one of transformers.
        ids: token ids (B, T), T >= 2.
    """
    logits = model(ids[:, :-1]).logits
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def flat_record(found: dict[str, Measurement]) -> dict[str, float]:
    """Values as log entries: "lambda_max", its error "lambda_max.error", "lambda_max:5.0" to ".4" for an array."""
    record: dict[str, float] = {}
    for word, item in found.items():
        if not np.ndim(item.value):
            record[word] = float(item.value)
            if item.uncertainty in ("residual", "standard error"):
                record[f"{word}.error"] = float(item.error)
        elif np.size(item.value) <= LARGEST_RECORD:
            record |= {f"{word}.{i}": float(value) for i, value in enumerate(np.asarray(item.value))}
    return record


class NotMeasured(RuntimeWarning):
    """A step of a run whose measures were refused; the run goes on."""


class LandscapeWatch:
    """Measures the model every so many steps, always on the same data.

    Args:
        data: batches, readable more than once and the same each time.
        what: words of ``measures.parse``.
        every: steps between measurements, >= 1.
        loss_fn: ``loss_fn(model, batch)``; the default is the next-token loss of batches of token ids.
        products: for each measure, 0 for its own default.
        options: fields of ``Settings``.

    Attributes:
        history: pairs (step, measurements), with everything that does not fit a log.

    Raises:
        InputError: an unknown measure, or ``every`` below 1.
    """

    name = "landscape"

    def __init__(
        self,
        data: Iterable[Any],
        what: Sequence[str] = DEFAULT,
        *,
        every: int = 100,
        loss_fn: LossFn = next_token_loss,
        products: int = 0,
        **options: Any,
    ) -> None:
        if every < 1:
            raise InputError(f"every={every} must be at least 1 step")
        for word in what:
            parse(word)
        self.data, self.what, self.every, self.loss_fn = data, tuple(what), every, loss_fn
        self.products, self.settings = products, Settings(**options)
        self.history: list[tuple[int, dict[str, Measurement]]] = []
        self._start: Tensor | None = None

    def due(self, step: int) -> bool:
        """Whether step number ``step`` (finished updates) is one to measure after."""
        return step % self.every == 0

    def record(self, model: nn.Module, step: int) -> dict[str, float]:
        """Measures if the step is due and returns numbers for a log, else nothing.

        Args:
            model: the live model; it, its gradients and all random generators are left as they are.
            step: finished updates.

        Warns:
            NotMeasured: with the reason, once a first measurement has succeeded: weights or losses that are nan, say.

        Raises:
            InputError: the first measurement is refused.
        """
        if not self.due(step):
            return {}
        try:
            return self._measured(model, step)
        except InputError as reason:
            if not self.history:
                raise
            warnings.warn(f"step {step} is not measured: {reason}", NotMeasured, stacklevel=2)
            return {}

    def _measured(self, model: nn.Module, step: int) -> dict[str, float]:
        point = Point(model, self.loss_fn, self.data, self.settings)
        if self._start is not None and len(self._start) == point.size:
            point.cache["start"] = self._start.to(point.bound.device)
        found = measure_at(point, self.what, products=self.products)
        pairs = point.cache.get("pairs")
        if pairs is not None:
            self._start = pairs.vectors[:, 0].float()
        self.history.append((step, found))
        return flat_record(found)

    def state_dict(self) -> dict[str, Any]:
        """The vector that the next search starts at, so that a resumed run logs the same digits."""
        return {} if self._start is None else {"start": self._start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes it back."""
        self._start = state.get("start")
