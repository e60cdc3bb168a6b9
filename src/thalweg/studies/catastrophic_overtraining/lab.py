"""The study's runs: annealed language models at several budgets, noise on them, fine-tuning of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from thalweg.data import Batches, ByteTokenizer, corpus, tokenize, validation_batches
from thalweg.nn import LanguageModel
from thalweg.optim import for_model
from thalweg.probes import finetune_sensitivity, initial_scales, noise_sensitivity
from thalweg.schedules import parse
from thalweg.studies.base import Record
from thalweg.train.setup import pick_device, window_losses

if TYPE_CHECKING:
    import numpy as np

    from thalweg.studies.catastrophic_overtraining.study import Config

__all__ = ["Lab"]


class Lab:
    """Texts, held-out windows and the runs of one seed.

    Args:
        config: sizes.
        seed: of initial weights, orders and noise.
        device: of the models.
    """

    def __init__(self, config: Config, seed: int, device: str) -> None:
        self.config, self.seed, self.device = config, seed, pick_device(device)
        context = config.model.context
        self.train: dict[str, np.ndarray] = {}
        self.held_out: dict[str, list[torch.Tensor]] = {}
        for name in (config.pretraining, config.finetuning):
            text = corpus(name)
            self.train[name] = tokenize(text, ByteTokenizer(), "train")
            rows = validation_batches(
                tokenize(text, ByteTokenizer(), "validation"), context=context, batch=256, count=config.validation
            )
            self.held_out[name] = [torch.from_numpy(each) for each in rows]

    def annealed(self) -> Iterator[Record]:
        """One model a budget, cosine to zero: base loss, noise, fine-tuning."""
        config = self.config
        for budget in config.budgets:
            model = self._fresh()
            rates = parse(f"cosine:peak={config.rate},warmup={min(config.warmup, budget // 4)}").rates(budget)
            for _ in self._train(model, config.pretraining, rates, config.weight_decay):
                pass
            yield from self._noise("annealed", budget, model)
            for found in finetune_sensitivity(model, self._finetune, self._losses, config.tuning_rates):
                yield {
                    "part": "finetuning",
                    "budget": budget,
                    "rate": found.rate,
                    "base": found.before,
                    "after": found.after,
                    "task": found.task,
                }

    def constant(self) -> Iterator[Record]:
        """One run at a constant rate without weight decay, noise at its checkpoints: the caveat."""
        config = self.config
        model = self._fresh()
        rates = parse(f"constant:peak={config.constant_rate},warmup={config.warmup}").rates(max(config.checkpoints))
        for step in self._train(model, config.pretraining, rates, 0.0):
            if step in config.checkpoints:
                yield from self._noise("constant", step, model)

    def _noise(self, part: str, budget: int, model: LanguageModel) -> Iterator[Record]:
        config = self.config
        scales = initial_scales(self._fresh())
        groups = config.groups if part == "annealed" else ("*",)
        for group in groups:
            lambdas = config.lambdas if group == "*" else config.lambdas[-1:]
            for found in noise_sensitivity(
                model, self._pretraining_loss, scales, lambdas, draws=config.draws, seed=self.seed, params=group
            ):
                yield {
                    "part": part,
                    "budget": budget,
                    "group": group,
                    "scale": found.scale,
                    "base": found.base,
                    "rise": found.rise,
                    "error": found.error,
                }

    def _fresh(self) -> LanguageModel:
        return LanguageModel(self.config.model, generator=torch.Generator().manual_seed(self.seed)).to(self.device)

    def _pretraining_loss(self, model: nn.Module) -> float:
        return float(window_losses(model, self.held_out[self.config.pretraining]).mean())  # pyrefly: ignore

    def _losses(self, model: nn.Module) -> tuple[float, float]:
        return self._pretraining_loss(model), float(
            window_losses(model, self.held_out[self.config.finetuning]).mean()  # pyrefly: ignore
        )

    def _finetune(self, model: nn.Module, rate: float) -> None:
        config = self.config
        rates = parse(f"cosine:peak={rate},warmup={config.tuning_steps // 10}").rates(config.tuning_steps)
        for _ in self._train(model, config.finetuning, rates, 0.0):
            pass

    def _train(self, model: Any, text: str, rates: Sequence[float] | np.ndarray, weight_decay: float) -> Iterator[int]:
        """AdamW at the given rate of each step; yields the number of steps done."""
        config = self.config
        batches = Batches(self.train[text], context=model.config.context, batch=config.batch, seed=self.seed)
        optimizer = for_model(model, "adamw", lr=1.0, betas=(0.9, 0.95), weight_decay=weight_decay)
        shares = [group["lr"] for group in optimizer.param_groups]
        for step, rate in enumerate(rates):
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = share * float(rate)
            rows = torch.from_numpy(batches.at(step)).to(self.device)
            loss = torch.nn.functional.cross_entropy(model(rows[:, :-1]).logits.flatten(0, 1), rows[:, 1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            yield step + 1
