"""The study's language models: proxies of every text recipe at several rates, and a larger one tuned for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from thalweg.data import Batches, ByteTokenizer, corpus, tokenize, validation_batches
from thalweg.nn import LanguageModel
from thalweg.optim import AdamW
from thalweg.schedules import parse
from thalweg.studies.base import Record
from thalweg.train.setup import pick_device, window_losses
from thalweg.train.stacked import StackedWorkers

if TYPE_CHECKING:
    from thalweg.studies.proxy_small_lr.study import TextConfig

__all__ = ["RECIPES", "recipe_windows", "text_records"]

RECIPES: dict[str, dict[str, Any]] = {
    "plays": {},
    "plays, 15 % wrong": {"wrong": 0.15},
    "plays, 40 % wrong": {"wrong": 0.4},
    "plays, 70 % wrong": {"wrong": 0.7},
    "plays, 32 times": {"repeats": 32},
    "plays and code": {"other": "code"},
    "kjv": {"first": "kjv"},
    "prose": {"first": "prose"},
}
"""first: domain; other: domain of every second window; wrong: share of bytes drawn anew from the plays; repeats."""


def text_records(config: TextConfig, *, seed: int, device: str) -> Iterator[Record]:
    """Yields (recipe, rate, loss) of proxies and targets, on held-out plays, and the loss before training."""
    where = pick_device(device)
    held_out = [torch.from_numpy(rows) for rows in _held_out(config)]
    for role, shape, rates, steps in (
        ("proxy", config.proxy, config.rates, config.steps),
        ("target", config.target, config.target_rates, config.target_steps),
    ):
        model = LanguageModel(shape, generator=torch.Generator().manual_seed(seed)).to(where)
        yield {"part": "text", "role": f"{role} start", "loss": float(window_losses(model, held_out).mean())}
        rows = np.stack([recipe_windows(config, name, steps * config.batch, seed) for name in RECIPES])
        for rate in rates:
            losses = _train(config, model, role, rate, torch.from_numpy(rows).to(where), held_out)
            for name, loss in zip(RECIPES, losses, strict=True):
                yield {"part": "text", "role": role, "recipe": name, "rate": rate, "loss": loss}


def _tokens(domain: str, split: Any) -> np.ndarray:
    text = corpus("stdlib" if domain in ("code", "prose") else domain)
    kept = type(text)(text.name, tuple(each for each in text.documents if each.domain == domain))
    return tokenize(kept, ByteTokenizer(), split)


def _held_out(config: TextConfig) -> tuple[np.ndarray, ...]:
    tokens = _tokens("plays", "validation")
    return validation_batches(tokens, context=config.proxy.context, batch=256, count=config.validation)


def recipe_windows(config: TextConfig, recipe: str, count: int, seed: int) -> np.ndarray:
    """The windows of a recipe in the order of training, one pass, int64 (count, context + 1)."""
    what = RECIPES[recipe]
    rng = np.random.default_rng([seed, list(RECIPES).index(recipe)])
    unique = count // what.get("repeats", 1)

    def windows(domain: str, number: int) -> np.ndarray:
        own = Batches(_tokens(domain, "train"), context=config.proxy.context, batch=number, seed=seed)
        return own.at(0)

    rows = windows(what.get("first", "plays"), unique)
    if "other" in what:
        rows[::2] = windows(what["other"], len(rows[::2]))
    if "repeats" in what:
        rows = np.concatenate([rng.permutation(rows) for _ in range(-(-count // unique))])[:count]
    if "wrong" in what:
        drawn = rng.choice(rows.ravel(), rows.shape)
        rows = np.where(rng.random(rows.shape) < what["wrong"], drawn, rows)
    return rows


def _train(
    config: TextConfig, model: LanguageModel, role: str, rate: float, rows: torch.Tensor, held_out: Sequence[Any]
) -> list[float]:
    """One model a recipe, all at once, at one rate; rows (recipes, windows, context + 1) -> held-out losses."""
    steps = rows.shape[1] // config.batch
    shape = "constant" if role == "proxy" else "cosine"
    rates = parse(f"{shape}:peak={rate},warmup={min(config.warmup, steps // 4)}").rates(steps)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}

    def loss_fn(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten())

    workers = StackedWorkers(
        model,
        loss_fn,
        lambda weights: AdamW(weights, lr=1.0, betas=(0.9, 0.95), weight_decay=config.weight_decay),
        workers=len(rows),
    )
    for step, each in enumerate(rates):
        for group in workers.optimizer.param_groups:
            group["lr"] = float(each)
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernel has no batching rule
            workers.step(rows[:, step * config.batch : (step + 1) * config.batch])
    losses = []
    for k in range(len(rows)):
        losses.append(float(window_losses(workers.place(slice(k, k + 1)), held_out).mean()))  # pyrefly: ignore
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(start[name])
    return losses
