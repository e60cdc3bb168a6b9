"""Handwritten digits: a network trained to near zero loss, then SAM with ascents for one, a few and all examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.landscape import Point, Settings, eigenpairs, operator, subspace_share, trace
from thalweg.optim import SAM
from thalweg.studies.base import Record
from thalweg.tasks import digits

if TYPE_CHECKING:
    from thalweg.studies.sam.study import Network

__all__ = ["Problem", "network_records"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Is the digit odd? Squared error of one output on a few images, in float64.

    Args:
        model: its parameters are those of every loss; never changed but by ``place``.
        images: (n, 1, 8, 8).
        targets: (n,), -1 for even, 1 for odd.
    """

    model: nn.Module
    images: Tensor
    targets: Tensor

    @classmethod
    def make(cls, config: Network, seed: int, device: str) -> Problem:
        """The images and the freshly initialised network of a seed."""
        found, _ = digits(seed=seed)
        images = torch.from_numpy(found.images[: config.examples]).double().view(-1, 1, 8, 8)
        images = images - images.mean(dim=0)  # else one direction, the mean image, holds half of the trace
        targets = torch.from_numpy(found.labels[: config.examples] % 2 * 2.0 - 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build(config)
        return cls(model.double().to(device), images.to(device), targets.to(device))

    def loss(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """Mean squared error of some of the images."""
        return _squared_error(self.model, (self.images[rows], self.targets[rows]))

    def landscape(self) -> Point:
        """The loss of all images around the present weights."""
        return Point(self.model, _squared_error, [(self.images, self.targets)], Settings(chunk=128, back_end="cached"))

    def point(self) -> Tensor:
        """The weights, flat, a copy."""
        return nn.utils.parameters_to_vector(self.model.parameters()).detach().clone()

    def place(self, weights: Tensor) -> None:
        """Sets the weights."""
        with torch.no_grad():
            nn.utils.vector_to_parameters(weights, self.model.parameters())

    def descend(self, steps: int, rate: float, until: float = 0.0) -> None:
        """Gradient descent with momentum on all images, until the loss is ``until``."""
        optimizer = torch.optim.SGD(self.model.parameters(), lr=rate, momentum=0.9, nesterov=True)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = self.loss()
            loss.backward()
            if loss.item() <= until:
                return
            optimizer.step()


def _squared_error(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]).squeeze(1) - batch[1]).square().mean()


def build(config: Network) -> nn.Module:
    """A two-layer network, or two convolutions."""
    if config.kind == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, config.width), nn.Tanh(), nn.Linear(config.width, 1))
    return nn.Sequential(
        nn.Conv2d(1, config.width, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(config.width, config.width, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(4 * config.width, 1),
    )


def network_records(config: Network, seed: int, device: str) -> Iterator[Record]:
    """The common start, then a record of each arm at equal numbers of steps, at equal rate and radius."""
    problem = Problem.make(config, seed, device)
    problem.descend(config.pretrain, config.descent_rate, until=config.near_zero)
    start = problem.point()
    measured = measure(problem, config)
    for batch in config.batches:
        yield {"part": "network", "batch": batch, "step": 0, **measured}
        problem.place(start)
        yield from arm_records(problem, config, batch, seed)


def arm_records(problem: Problem, config: Network, batch: int, seed: int) -> Iterator[Record]:
    """SAM whose ascent and descent see ``batch`` images (0: all), from the weights that ``problem`` has."""
    count = len(problem.targets)
    rng = np.random.default_rng([seed, batch])
    optimizer = SAM(torch.optim.SGD(problem.model.parameters(), lr=config.rate), rho=config.rho)
    order = np.empty(0, dtype=np.int64)
    for step in range(1, config.at[-1] + 1):
        rows: Tensor | slice = slice(None)
        if batch:
            if len(order) < batch:
                order = rng.permutation(count)
            rows, order = torch.from_numpy(order[:batch]).to(problem.targets.device), order[batch:]
        optimizer.step(_closure(problem, rows))
        if step in config.at:
            yield {"part": "network", "batch": batch, "step": step, **measure(problem, config)}


def _closure(problem: Problem, rows: Tensor | slice) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        loss = problem.loss(rows)
        loss.backward()
        return loss

    return closure


def measure(problem: Problem, config: Network) -> Record:
    """Curvature where gradient descent from the present weights ends, and the direction of the gradient at them.

    The theory's flows are on the minima: SAM itself keeps a distance of the order of rate times radius.
    """
    weights, here = problem.point(), problem.landscape()
    problem.descend(config.settle, config.descent_rate)
    settled, minimum = problem.point(), problem.landscape()
    problem.place(weights)
    op = operator(minimum)
    pairs = eigenpairs(op, tolerance=1e-12)
    total = trace(op, config.probes, method="hutchinson") if config.probes else trace(op, method="exact")
    return {
        "loss": here.loss(),
        "settled": minimum.loss(),
        "top": float(pairs.values[0]),
        "trace": total.value,
        "alignment": math.sqrt(subspace_share(here.gradient(), pairs)),
        "moved": float((settled - weights).norm()),
    }
