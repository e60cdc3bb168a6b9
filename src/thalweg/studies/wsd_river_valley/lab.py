"""The language-model runs of one seed: the three methods, and the decays that branch off the stable run.

Runs that share a past share its updates (``train.fork``): the stable branch starts from WSD-S before its first decay,
and WSD's decays, which are also the decay probes, start from the stable branch. What a method is charged for is what
it would compute alone (``schedules.wsd_branches``), not what was computed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from thalweg.errors import InputError
from thalweg.nn import LanguageModel
from thalweg.runs import Run
from thalweg.schedules import WSD, WSDS, Branches, Constant, Cyclic, Schedule, wsd_branches
from thalweg.train.checkpoint import load_model
from thalweg.train.fork import fork
from thalweg.train.loop import train
from thalweg.train.recipe import CheckpointRecipe, EvaluationRecipe, Recipe
from thalweg.train.setup import Data, pick_device, prepare, window_losses

if TYPE_CHECKING:
    from thalweg.studies.wsd_river_valley.study import Config

__all__ = ["Lab", "Probe", "torch_threads"]


@dataclass(frozen=True, slots=True)
class Probe:
    """A point of the stable branch and the decay from it.

    Args:
        step: finished updates at the point.
        decay: updates of the decay.
        iterates: steps of the stable iterates whose mean is the averaging probe, the last at the point.
    """

    step: int
    decay: int
    iterates: tuple[int, ...]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Lets torch compute with ``count`` threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Falls(TypedDict):
    """What all schedules with the paper's decay have in common."""

    peak: float
    warmup: int
    shape: Literal["inverse"]
    floor: float


def falls(config: Config) -> Falls:
    """The peak, the warmup and the inverse decay to the floor."""
    return {"peak": config.peak, "warmup": config.warmup, "shape": "inverse", "floor": config.floor * config.peak}


@dataclass
class Lab:
    """The runs of one seed, and the losses of their checkpoints.

    Args:
        config: the experiment.
        seed: of initial weights and data order.
        device: where to train and to measure.
        folder: of the run folders, and of the tokens in ``data``.
        runs: filled by ``train``.
    """

    config: Config
    seed: int
    device: str
    folder: Path
    runs: dict[str, Run] = field(default_factory=dict)

    @cached_property
    def data(self) -> Data:
        """The tokens."""
        return prepare(self.config.data, self.folder / "data")

    @cached_property
    def branches(self) -> Branches:
        """Where WSD branches so that each checkpoint costs its budget, earlier decays counted."""
        return wsd_branches(self.config.budgets, decay=self.config.decay, counted="compute")

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """WSD's branch points and the points midway between them; 1 would be a schedule's word for the whole run."""
        own = dict(zip(self.branches.starts, self.branches.decays, strict=True))
        steps = sorted({*own, *((a + b) // 2 for a, b in pairwise(self.branches.starts))})
        share = self.config.decay / (1 - self.config.decay)
        lengths = {step: own.get(step) or max(2, round(share * step)) for step in steps}
        count = self.config.iterates
        return tuple(
            Probe(step, lengths[step], tuple(step - k * max(1, lengths[step] // count) for k in reversed(range(count))))
            for step in steps
        )

    @cached_property
    def model(self) -> LanguageModel:
        """The model that weights are loaded into to be measured."""
        return LanguageModel(self.config.model).to(pick_device(self.device))

    @cached_property
    def windows(self) -> tuple[Tensor, ...]:
        """The validation windows in batches, the same for all runs and seeds."""
        recipe = Recipe.from_dict(self.runs["wsd-s"].recipe)
        return tuple(torch.from_numpy(rows) for rows in self.data.windows(recipe))

    def train(
        self, name: str, schedule: Schedule, steps: int, *, at: Sequence[int] = (), source: str | None = None
    ) -> None:
        """Trains the run ``name``, resumes it, or finds it done; ``source`` is a run whose past it shares."""
        config = self.config
        recipe = Recipe(
            steps=steps,
            schedule=str(schedule),
            batch=config.batch,
            seed=self.seed,
            precision=config.precision,
            model=config.model,
            data=config.data,
            evaluation=EvaluationRecipe(every=config.every, windows=config.windows),
            checkpoint=CheckpointRecipe(every=max(50, steps // 10), keep=1, at=tuple(sorted({*at}))),
        )
        folder = self.folder / name
        if source is not None and not (folder / "run.json").exists():
            run = fork(self.runs[source], folder, recipe)
        else:
            run = Run.resume_or_create(folder, recipe.to_dict(), steps=steps)
        if run.status != "done":
            train(run, data=self.data, device=self.device)
        self.runs[name] = run

    def train_all(self) -> None:
        """All runs, each from the longest past another one has."""
        config, first = self.config, self.branches.starts[0]
        early = {step for probe in self.probes for step in probe.iterates if step <= first}
        late = {step for probe in self.probes for step in probe.iterates if step > first}
        cycles, last = config.budgets, config.budgets[-1]
        cosine = Cyclic(
            peak=config.cosine_peak, warmup=config.warmup, cycles=cycles, floor=config.floor * config.cosine_peak
        )
        self.train("wsd-s", WSDS(cycles=cycles, decay=config.decay, **falls(config)), last, at=[*early, *cycles])
        self.train("cyclic", cosine, last, at=cycles)
        stable = Constant(peak=config.peak, warmup=config.warmup)
        self.train("stable", stable, self.branches.starts[-1], at=sorted(late), source="wsd-s")
        for probe in self.probes:
            source = "wsd-s" if probe.step == first else "stable"
            schedule = WSD(decay=probe.decay, **falls(config))
            self.train(f"decay-{probe.step}", schedule, probe.step + probe.decay, source=source)

    def weights(self, name: str, step: int) -> dict[str, Tensor]:
        """The weights of a run after ``step`` updates.

        Raises:
            InputError: the run has no checkpoint there.
        """
        for point in self.runs[name].checkpoints():
            if point.step == step:
                load_model(point.folder, self.model)
                return {key: tensor.detach().clone() for key, tensor in self.model.state_dict().items()}
        raise InputError(f"{self.runs[name].folder} has no checkpoint of step {step}: remove the folder and run again")

    def stable(self, step: int) -> dict[str, Tensor]:
        """Weights of the stable branch, whose beginning is that of WSD-S."""
        return self.weights("wsd-s" if step <= self.branches.starts[0] else "stable", step)

    def decayed(self, probe: Probe) -> dict[str, Tensor]:
        """Weights at the end of a probe's decay."""
        return self.weights(f"decay-{probe.step}", probe.step + probe.decay)

    def losses(self, weights: dict[str, Tensor]) -> np.ndarray:
        """Loss of each validation window, nats per token, (windows,)."""
        self.model.load_state_dict(weights)
        return window_losses(self.model, self.windows, self.config.precision)
