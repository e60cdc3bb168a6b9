"""What the study runs: four rules for H on the unit product and on a perceptron on noisy digits, all in one process."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thalweg.landscape import measure
from thalweg.schedules import parse
from thalweg.studies.base import Record
from thalweg.tasks import UnitProduct
from thalweg.tasks.digits import digits
from thalweg.train.local_updates import LocalUpdates, constant_period
from thalweg.train.periods import inverse, quadratic
from thalweg.train.stacked import StackedWorkers

if TYPE_CHECKING:
    from thalweg.studies.qsr.study import Network, Rule, Toy
    from thalweg.train.local_updates import Period

__all__ = ["Arms", "network_records", "toy_records"]

CLASSES = 10


def periods(rule: Rule, warmup: int) -> dict[str, Period]:
    """H by name; H_base in the warm-up."""
    return {
        "parallel": constant_period(1),
        "constant": constant_period(rule.base),
        "inverse": inverse(rule.inverse, rule.base, warmup=warmup),
        "qsr": quadratic(rule.quadratic, rule.base, warmup=warmup),
    }


class Arms:
    """One group of K workers a rule, stacked, on the same samples.

    Args:
        model: the common start.
        loss_fn: ``loss_fn(model, batch)``.
        rule: when workers average.
        workers: K.
        rates: (steps,) learning rates.
    """

    def __init__(self, model: nn.Module, loss_fn: Any, rule: Rule, workers: int, rates: np.ndarray) -> None:
        self.periods, self.workers, self.rates = periods(rule, int(np.argmax(rates))), workers, rates
        self.stack = StackedWorkers(
            model, loss_fn, lambda p: torch.optim.SGD(p, lr=0.0), workers=workers * len(self.periods)
        )
        self.slices = [slice(a * workers, (a + 1) * workers) for a in range(len(self.periods))]
        self.rounds = [LocalUpdates(period, steps=len(rates)) for period in self.periods.values()]

    def train(self, batches: Iterator[Any]) -> None:
        """All steps; a batch's tensors are (workers, ...), the same for every rule."""
        for lr, batch in zip(self.rates.tolist(), batches, strict=True):
            self.stack.optimizer.param_groups[0]["lr"] = lr
            self.stack.step([tensor.repeat(len(self.slices), *[1] * (tensor.ndim - 1)) for tensor in batch])
            for own, arm in zip(self.rounds, self.slices, strict=True):
                own.after_step(self.stack.rows(arm), lr=lr)

    def ends(self, probe: nn.Module) -> Iterator[tuple[dict[str, Any], nn.Module]]:
        """Name and averages of each rule, and ``probe`` with its averaged weights."""
        for name, own, arm in zip(self.periods, self.rounds, self.slices, strict=True):
            yield {"rule": name, "averages": own.averages, "steps": own.step}, self.stack.place(arm, probe)


class _Pairs(nn.Module):
    def __init__(self, count: int, start: np.ndarray) -> None:
        super().__init__()
        self.pairs = nn.Parameter(torch.from_numpy(np.tile(start, (count, 1))).float())


def _pairs_loss(model: Any, batch: Any) -> Tensor:
    pairs = model.pairs
    return 0.5 * (pairs[:, 0] * pairs[:, 1] - batch[0]).square().sum()


def toy_records(config: Toy, seed: int, device: str) -> Iterator[Record]:
    """Mean tr H of the pairs at the end, projected on the manifold."""
    toy = UnitProduct(noise=1.0)
    start = toy.project(np.array([[2.5, 0.4]]))
    rates = parse(f"cosine:peak={config.peak},floor=1e-5").rates(config.steps)
    model = _Pairs(config.pairs, start).to(device)
    arms = Arms(model, _pairs_loss, config.rule, config.workers, rates)
    draws = torch.Generator().manual_seed(seed)
    shape = (config.workers, config.pairs)
    arms.train([(2.0 * torch.randint(2, shape, generator=draws)).to(device)] for _ in rates)
    for found, placed in arms.ends(copy.deepcopy(model)):
        traces = toy.sharpness(toy.project(placed.get_parameter("pairs").detach().double().cpu().numpy()))
        error = traces.std(ddof=1) / np.sqrt(len(traces))
        yield {"part": "toy", **found, "trace": float(traces.mean()), "error": float(error)}


def _loss(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def network_records(config: Network, seed: int, device: str) -> Iterator[Record]:
    """Trace on the clean training labels, their loss, held-out accuracy and loss of the averaged weights at the end."""
    train, held = digits(held_out=config.held_out, seed=seed)
    mean = train.images.mean(0)
    arrays = (train.images - mean, train.labels, held.images - mean, held.labels)
    x, y, held_x, held_y = (torch.from_numpy(array).to(device) for array in arrays)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [
            layer for a, b in pairwise([64, config.width, config.width]) for layer in (nn.Linear(a, b), nn.ReLU())
        ]
        model = nn.Sequential(*layers, nn.Linear(config.width, CLASSES)).to(device)
    rates = parse(f"cosine:peak={config.peak},warmup=0.05").rates(config.steps)
    arms = Arms(model, _loss, config.rule, config.workers, rates)
    draws = torch.Generator().manual_seed(seed)

    def batches() -> Iterator[list[Tensor]]:
        shape = (config.workers, config.batch)
        for _ in rates:
            index = torch.randint(len(x), shape, generator=draws).to(device)
            flip = torch.rand(shape, generator=draws) < config.noise
            other = (flip * torch.randint(1, CLASSES, shape, generator=draws)).to(device)
            yield [x[index], (y[index] + other) % CLASSES]

    arms.train(batches())
    for found, placed in arms.ends(copy.deepcopy(model)):
        trace = measure(placed, _loss, [(x, y)], ["trace"], products=config.probes)["trace"]
        with torch.no_grad():
            logits, clean = placed(held_x), cross_entropy(placed(x), y)
        yield {
            "part": "network",
            **found,
            "trace": float(trace.value),
            "error": float(trace.error),
            "loss": float(clean),
            "accuracy": float((logits.argmax(-1) == held_y).float().mean()),
            "held": float(cross_entropy(logits, held_y)),
        }
