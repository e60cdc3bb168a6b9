"""Coordinate descent over discrete grids, with a ledger: every configuration is trained once.

    repeat: run the base and every configuration that differs from it in one value; move to the best if it is better by
    more than ``DELTA``, else stop

Source: arXiv 2509.02046, phase I; code marin-community/marin, experiments/optimizer_sweep.
Differs: 1. always the single best run is taken; the code moves to any within Delta whose neighbourhood lacks ten runs
fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thalweg.errors import InputError
from thalweg.runs.ledger import Ledger

__all__ = ["DELTA", "CoordinateDescent", "SearchSpace", "coordinate_descent"]

DELTA = 3e-3
"""Nats per token: the smallest improvement that counts."""

Value = Any
Values = dict[str, Value]
Losses = Callable[[list[Values]], list[float]]


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Where a descent starts and which values each hyperparameter may take.

    Args:
        start: hyperparameter -> first value; one without a grid stays.
        grids: hyperparameter -> values; the start's need not be among them.

    Raises:
        InputError: a grid that is empty, repeats a value or has no start.
    """

    start: Mapping[str, Value]
    grids: Mapping[str, Sequence[Value]]

    def __post_init__(self) -> None:
        for name, grid in self.grids.items():
            if isinstance(grid, str) or not isinstance(grid, Sequence) or len(grid) == 0:
                raise InputError(f"grid.{name} = {grid!r} must be a list of one value or more")
            if len(set(map(repr, grid))) < len(grid):
                raise InputError(f"grid.{name} = {list(grid)} repeats a value: list each once")
            if name not in self.start:
                raise InputError(f"grid.{name} has no start: give start.{name}, for example {grid[0]!r}")

    def neighbours(self, base: Mapping[str, Value]) -> list[Values]:
        """The configurations that differ from ``base`` in one value."""
        return [{**base, name: value} for name, grid in self.grids.items() for value in grid if value != base[name]]

    def kept(self, values: Mapping[str, Sequence[Value]], start: Mapping[str, Value]) -> SearchSpace:
        """A space of some values of some hyperparameters, the rest held at ``start``."""
        return SearchSpace({**self.start, **start}, values)


def coordinate_descent(
    space: SearchSpace,
    losses: Losses,
    *,
    delta: float = DELTA,
    allowed: Callable[[Values], bool] = lambda values: True,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Values, float]:
    """The configuration none of whose neighbours along one axis is better by more than ``delta``.

    Args:
        space: start and grids.
        losses: final losses of configurations, infinite or nan where a run diverged; those seen before should cost
            nothing. The first is the base.
        delta: smallest improvement that counts, nats per token, >= 0.
        allowed: whether a neighbour makes sense, e.g. its warmup is no longer than the run.
        say: receives a line a round.

    Returns:
        The configuration and its loss.

    Raises:
        InputError: ``delta`` below 0, or every run of a round diverged.
    """
    if not delta >= 0:
        raise InputError(f"delta = {delta:g} must be at least 0 nats per token")
    base: Values = dict(space.start)
    while True:
        around = [values for values in space.neighbours(base) if allowed(values)]
        found = [loss if math.isfinite(loss) else math.inf for loss in losses([base, *around])]
        best = min(range(len(found)), key=found.__getitem__)
        if found[best] == math.inf:
            raise InputError(f"all {len(found)} runs around {base} diverged: start from a smaller learning rate")
        say(f"{found[0]:.4f} {base}; best of {len(found)}: {found[best]:.4f}")
        if found[best] >= found[0] - delta:
            return base, found[0]
        base = around[best - 1]


@dataclass(frozen=True, slots=True)
class CoordinateDescent:
    """Coordinate descent around a training function of one's own.

    Args:
        space: start and grids.
        run: configuration and budget (any JSON, e.g. tokens) -> final loss; called once a configuration and budget.
        delta: smallest improvement that counts.
        ledger: file of finished runs; the same call resumes from it.
        about: what else defines the runs (model, data, seed), part of every key.
    """

    space: SearchSpace
    run: Callable[[Values, Any], float]
    ledger: str | Path
    delta: float = DELTA
    about: Mapping[str, Any] | None = None

    def best(self, budget: Any) -> tuple[Values, float, int]:
        """The best configuration at one budget, its loss, and how many runs of this budget the ledger holds.

        Raises:
            InputError: the ledger cannot be used, or every run of a round diverged.
        """
        with Ledger(self.ledger) as ledger:

            def losses(wanted: list[Values]) -> list[float]:
                return [self._loss(ledger, values, budget) for values in wanted]

            values, loss = coordinate_descent(self.space, losses, delta=self.delta)
            shared = {**(self.about or {}), "budget": budget}
            configs = [record["config"] for record in ledger.records.values()]
            runs = sum(all(config.get(name) == value for name, value in shared.items()) for config in configs)
        return values, loss, runs

    def _loss(self, ledger: Ledger, values: Values, budget: Any) -> float:
        config = {**(self.about or {}), "budget": budget, "values": values}
        known = ledger.get(config) or ledger.add(config, loss=float(self.run(values, budget)))
        return known["loss"]
