"""The study's language models: one pass over fresh text, and epochs over little of it, at constant rates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from thalweg.data import Batches, ByteTokenizer, corpus, tokenize, validation_batches
from thalweg.studies.base import Record

if TYPE_CHECKING:
    import numpy as np

    from thalweg.studies.data_reuse_law.study import TextConfig

__all__ = ["text_records"]


def text_records(config: TextConfig, *, seed: int, device: str) -> Iterator[Record]:
    """Yields (unique, epochs, loss) at every rate; epochs = 1 is one pass over that many fresh windows."""
    text, tokenizer = corpus(config.corpus), ByteTokenizer()
    fresh, other = (tokenize(text, tokenizer, split) for split in ("train", "validation"))
    held_out = validation_batches(other, context=config.context, batch=256, count=config.validation)
    for rate in config.rates:
        one = Batches(fresh, context=config.context, batch=config.batch, seed=seed, shift=False)
        for windows, loss in _train(config, one, config.sizes, rate, held_out, seed, device):
            yield {"part": "text", "rate": rate, "unique": windows, "epochs": 1, "loss": loss}
        for unique in config.unique:
            few = _subset(config, fresh, unique, seed)
            marks = [unique * epochs for epochs in config.epochs]
            for windows, loss in _train(config, few, marks, rate, held_out, seed, device):
                yield {"part": "text", "rate": rate, "unique": unique, "epochs": windows // unique, "loss": loss}


def _subset(config: TextConfig, tokens: np.ndarray, unique: int, seed: int) -> Batches:
    """``unique`` windows drawn from all over the text, as a text of their own."""
    import numpy as np

    everything = Batches(tokens, context=config.context, batch=1, seed=seed, shift=False)
    starts = np.sort(everything.starts(0, unique))
    pieces = tokens[starts[:, None] + np.arange(config.context)]
    return Batches(
        np.append(pieces.ravel(), pieces[0, 0]), context=config.context, batch=config.batch, seed=seed + 1, shift=False
    )


def _train(
    config: TextConfig,
    batches: Batches,
    marks: Sequence[int],
    rate: float,
    held_out: Sequence[np.ndarray],
    seed: int,
    device: str,
) -> Iterator[tuple[int, float]]:
    """Trains at a constant rate after a short warmup; yields (windows seen, validation loss) at each mark."""
    import torch

    from thalweg.nn import LanguageModel
    from thalweg.optim import for_model
    from thalweg.train.setup import pick_device, window_losses

    where = pick_device(device)
    model = LanguageModel(config.model, generator=torch.Generator().manual_seed(seed)).to(where)
    optimizer = for_model(model, "adamw", lr=rate, betas=(0.9, 0.95), weight_decay=config.weight_decay)
    rates = [group["lr"] for group in optimizer.param_groups]
    windows = [torch.from_numpy(rows) for rows in held_out]
    wanted = {mark // config.batch: mark for mark in marks}
    for step in range(max(wanted)):
        for group, full in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = full * min(1.0, (step + 1) / config.warmup)
        rows = torch.from_numpy(batches.at(step)).to(where)
        loss = torch.nn.functional.cross_entropy(model(rows[:, :-1]).logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step + 1 in wanted:
            yield wanted[step + 1], float(window_losses(model, windows).mean())
