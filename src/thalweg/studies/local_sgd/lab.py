"""What the study runs: local SGD on the unit product beside its slow equation, and a perceptron on noisy digits."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thalweg.dynamics import local_sgd, slow_path
from thalweg.landscape import measure
from thalweg.studies.base import Record
from thalweg.tasks import UnitProduct
from thalweg.tasks.digits import digits
from thalweg.train.local_updates import LocalUpdates, constant_period
from thalweg.train.stacked import StackedWorkers

if TYPE_CHECKING:
    from thalweg.studies.local_sgd.study import Network, Toy

__all__ = ["Lab", "network_records", "toy_records"]

CLASSES = 10


def toy_records(config: Toy, seed: int) -> Iterator[Record]:
    """Mean tr H of the replicas after each share of the steps, and what the slow equations say of it."""
    toy = UnitProduct(noise=1.0)
    start = toy.project(np.array([[2.5, 0.4]]))
    share, batch = config.steps // config.points, config.workers  # each worker takes one sample
    times = np.arange(1, config.points + 1) * share * config.lr**2
    sgd = [toy.drifted(float(toy.sharpness(start)[0]), time, batch=batch) for time in times]
    for place, period in enumerate(config.periods):
        slow = slow_path(
            toy.loss,
            start,
            toy.covariance,
            time=float(times[-1]),
            steps=10 * config.points,
            batch=batch,
            workers=config.workers,
            horizon=config.lr * (period - 1),
        )
        rng, at = np.random.default_rng((seed, place)), np.tile(start, (config.replicas, 1))
        for point in range(config.points):
            at = local_sgd(
                toy.noisy_gradient, at, lr=config.lr, steps=share, workers=config.workers, period=period, rng=rng
            )
            found = toy.sharpness(toy.project(at))
            yield {
                "part": "toy",
                "period": period,
                "step": (point + 1) * share,
                "start": float(toy.sharpness(start)[0]),
                "trace": float(found.mean()),
                "error": float(found.std(ddof=1) / math.sqrt(len(found))),
                "slow": float(toy.sharpness(slow[10 * (point + 1), 0])),
                "sgd": sgd[point],
            }


def _loss(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


class Lab:
    """The digits, the order of noisy samples and the common checkpoint of one seed.

    Args:
        config: sizes and rates.
        seed: of the split, the initial weights, the samples and their labels.
        device: where to train.

    Attributes:
        model: at the checkpoint.
        order: (steps, workers, batch) examples, the same in every arm.
        labels: their labels, each replaced by another class with probability ``noise`` at each use.
    """

    def __init__(self, config: Network, seed: int, device: str) -> None:
        train, held = digits(held_out=config.held_out, seed=seed)
        mean = train.images.mean(0)
        arrays = (train.images - mean, train.labels, held.images - mean, held.labels)
        self.x, self.y, self.held_x, self.held_y = (torch.from_numpy(array).to(device) for array in arrays)
        self.config = config
        self.draws = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            sizes = [64, config.width, config.width]
            layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
            self.model = nn.Sequential(*layers, nn.Linear(config.width, CLASSES)).to(device)
        order, labels = self._samples(config.warm_steps)
        warm = self.workers(1, config.warm_lr)
        for index, label in zip(order.flatten(1), labels.flatten(1), strict=True):
            warm.step((self.x[index][None], label[None]))
        warm.place()
        self.order, self.labels = self._samples(config.steps)

    def _samples(self, steps: int) -> tuple[Tensor, Tensor]:
        shape = (steps, self.config.workers, self.config.batch)
        order = torch.randint(len(self.x), shape, generator=self.draws)
        flip = torch.rand(shape, generator=self.draws) < self.config.noise
        other = torch.randint(1, CLASSES, shape, generator=self.draws)
        order = order.to(self.y.device)
        return order, (self.y[order] + (flip * other).to(self.y.device)) % CLASSES

    def workers(self, count: int, lr: float) -> StackedWorkers:
        """Copies of the model under plain SGD."""
        return StackedWorkers(self.model, _loss, partial(torch.optim.SGD, lr=lr), workers=count)

    def run(self, lr: float, periods: Sequence[int]) -> Iterator[Record]:
        """Trains one arm a period, all at once on the same samples, and measures their averages on the way.

        Measured at ``first`` and at the end of each of ``points`` equal shares of the steps, all of them multiples of
        the periods.
        """
        config, arms = self.config, len(periods)
        stack, probe = self.workers(arms * config.workers, lr), copy.deepcopy(self.model)
        slices = [slice(a * config.workers, (a + 1) * config.workers) for a in range(arms)]
        rounds = [LocalUpdates(constant_period(period), steps=config.steps) for period in periods]
        for step in range(1, config.steps + 1):
            index, label = self.order[step - 1], self.labels[step - 1]
            stack.step((self.x[index].repeat(arms, 1, 1), label.repeat(arms, 1)))
            for own, arm in zip(rounds, slices, strict=True):
                own.after_step(stack.rows(arm), lr=lr)
            if step == config.first or step % (config.steps // config.points) == 0:
                for period, arm in zip(periods, slices, strict=True):
                    found = self.measured(stack.place(arm, probe))
                    yield {"lr": lr, "period": period, "step": step} | found

    @torch.no_grad()
    def excess(self, model: nn.Module) -> float:
        """Expected training loss over the noise of the labels, less its least value, in nats."""
        noise = self.config.noise
        spread = torch.full((len(self.x), CLASSES), noise / (CLASSES - 1), device=self.x.device)
        target = spread.scatter(1, self.y[:, None], 1 - noise)
        return float(cross_entropy(model(self.x), target) + torch.special.xlogy(target, target).sum(1).mean())

    def measured(self, model: nn.Module) -> dict[str, float | None]:
        """Excess loss, held-out accuracy and loss, and the trace of the Hessian on the clean training labels.

        All are None where the weights are not finite any more.
        """
        if not all(bool(p.isfinite().all()) for p in model.parameters()):
            return dict.fromkeys(("trace", "error", "excess", "accuracy", "held"))
        trace = measure(model, _loss, [(self.x, self.y)], ["trace"], products=self.config.probes)["trace"]
        with torch.no_grad():
            logits = model(self.held_x)
        return {
            "trace": float(trace.value),
            "error": float(trace.error),
            "excess": self.excess(model),
            "accuracy": float((logits.argmax(-1) == self.held_y).float().mean()),
            "held": float(cross_entropy(logits, self.held_y)),
        }


def network_records(config: Network, seed: int, device: str) -> Iterator[Record]:
    """The checkpoint, then all periods at the small rate, and some at the large one."""
    lab = Lab(config, seed, device)
    yield {"part": "checkpoint"} | lab.measured(lab.model)
    for record in lab.run(config.lr, config.periods):
        yield {"part": "small rate"} | record
    for record in lab.run(config.warm_lr, config.large_periods):
        yield {"part": "large rate"} | record
