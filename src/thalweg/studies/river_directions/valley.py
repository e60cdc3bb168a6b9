"""The runs of one arm and seed, and what the curvature says of their moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from thalweg.data import validation_batches
from thalweg.landscape import (
    Point,
    eigenpairs,
    gradient_noise,
    hill_share,
    measure_at,
    next_token_loss,
    operator,
    plane_losses,
    plane_through,
)
from thalweg.nn import LanguageModel
from thalweg.runs import Run
from thalweg.schedules import WSD, Constant, Schedule
from thalweg.studies.base import Record
from thalweg.train.checkpoint import load_model
from thalweg.train.fork import fork
from thalweg.train.loop import train
from thalweg.train.recipe import CheckpointRecipe, EvaluationRecipe, Recipe
from thalweg.train.setup import Data, pick_device, prepare, window_losses

if TYPE_CHECKING:
    from thalweg.studies.river_directions.study import Arm, Config

__all__ = ["Valley", "torch_threads"]

Weights = dict[str, Tensor]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Lets torch compute with ``count`` threads inside the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Valley:
    """One arm of one seed.

    Args:
        config: the experiment.
        arm: optimizer and rate.
        seed: of initial weights and data order.
        device: where to train and to measure.
        folder: of the run folders, and of the tokens in ``data``.
    """

    config: Config
    arm: Arm
    seed: int
    device: str
    folder: Path

    @cached_property
    def data(self) -> Data:
        """The tokens."""
        return prepare(self.config.data, self.folder / "data")

    @cached_property
    def model(self) -> LanguageModel:
        """The model that weights are loaded into."""
        return LanguageModel(self.config.model).to(pick_device(self.device))

    @cached_property
    def windows(self) -> tuple[list[Tensor], list[Tensor]]:
        """Validation windows for the Hessian and others for losses, one batch each, the same for all runs and seeds."""
        config = self.config
        count = config.curvature + config.windows
        (rows,) = validation_batches(self.data.validation, context=config.data.context, batch=count, count=count)
        chosen = np.zeros(count, dtype=bool)
        chosen[np.linspace(0, count - 1, config.curvature).round().astype(int)] = True
        return [torch.from_numpy(rows[chosen])], [torch.from_numpy(rows[~chosen])]

    @cached_property
    def quarters(self) -> tuple[int, ...]:
        """Finished updates at the end of the stretch, after each quarter of the decay, and at its end."""
        return tuple(self.config.end + self.config.decay * part // 4 for part in (0, 1, 2, 3, 4))

    @cached_property
    def runs(self) -> dict[str, Run]:
        """The stable run, and the decay that branches off it."""
        config, peak = self.config, self.arm.peak
        single = range(config.end - config.steps, config.end + 1)
        stable = Constant(peak=peak, warmup=config.warmup)
        fall = WSD(peak=peak, warmup=config.warmup, decay=config.decay, shape="inverse", floor=config.floor * peak)
        first = self._train("stable", stable, {config.start, *single, *self.quarters})
        return {"stable": first, "decay": self._train("decay", fall, {*self.quarters[1:]}, source=first)}

    def _train(self, name: str, schedule: Schedule, at: set[int], source: Run | None = None) -> Run:
        config = self.config
        steps = config.end + config.decay
        recipe = Recipe(
            steps=steps,
            schedule=str(schedule),
            batch=config.batch,
            seed=self.seed,
            model=config.model,
            data=config.data,
            optimizer=dict(self.arm.optimizer),
            evaluation=EvaluationRecipe(every=0, windows=config.windows),
            checkpoint=CheckpointRecipe(every=0, at=tuple(sorted(at))),
        )
        folder = self.folder / f"{self.arm.name}-{name}"
        if source is not None and not (folder / "run.json").exists():
            run = fork(source, folder, recipe)
        else:
            run = Run.resume_or_create(folder, recipe.to_dict(), steps=steps)
        if run.status != "done":
            train(run, data=self.data, device=self.device)
        return run

    def weights(self, name: str, step: int) -> Weights:
        """The weights of a run after ``step`` updates."""
        (found,) = [point.folder for point in self.runs[name].checkpoints() if point.step == step]
        load_model(found, self.model)
        return {key: tensor.detach().clone() for key, tensor in self.model.state_dict().items()}

    def point(self, weights: Weights, windows: list[Tensor]) -> Point:
        """Where and on what to measure."""
        self.model.load_state_dict(weights)
        return Point(self.model, next_token_loss, windows)

    def vector(self, before: Weights, after: Weights) -> Tensor:
        """The move between two sets of weights, float64 (n,)."""
        names = [name for name, _ in self.model.named_parameters()]
        return torch.cat([(after[name].double() - before[name].double()).ravel() for name in names])

    def losses(self, weights: Weights) -> np.ndarray:
        """Loss of each window, nats per token."""
        self.model.load_state_dict(weights)
        return window_losses(self.model, self.windows[1])

    def records(self) -> Iterator[Record]:
        """Everything that is measured."""
        config, end = self.config, self.config.end
        states = {f"stable {step}": self.weights("stable", step) for step in (config.start, *self.quarters)}
        states |= {f"decay {step}": self.weights("decay", step) for step in self.quarters[1:]}
        before, after = states[f"stable {end}"], states[f"decay {self.quarters[-1]}"]
        single = [self.weights("stable", step) for step in range(end - config.steps, end + 1)]
        moves = {
            "step": [self.vector(a, b) for a, b in pairwise(single)],
            "stretch": [self.vector(states[f"stable {config.start}"], before)],
            "continued": [self.vector(before, states[f"stable {self.quarters[-1]}"])],
            "decay": [self.vector(before, after)],
        }
        yield from self._directions(after, moves)
        yield from self._gains(before, moves["decay"][0])
        yield from self._traces(states)
        yield from self._plane(states)

    def _directions(self, floor: Weights, moves: dict[str, list[Tensor]]) -> Iterator[Record]:
        """Curvature along each move and its share in the top eigenvectors; the same of gradient and noise."""
        point, k = self.point(floor, self.windows[0]), self.config.eigenvectors
        op, curvatures = operator(point), {}
        pairs = eigenpairs(op, k)
        self._top = pairs.vectors.T.double().cpu()
        yield {"kind": "spectrum", "values": pairs.values.tolist(), "residuals": pairs.residuals.tolist()}
        counts = sorted({count for count in (1, 2, 5, 10, 20) if count < k} | {k})
        for name, rows in moves.items():
            block = torch.stack(rows)
            scale = float(block.norm(dim=1).mean())  # products in float32 keep their digits
            images = op.rows((block / scale).to(point.bound.device, op.dtype)).double().cpu() * scale
            squares = block.square().sum(dim=1)
            curvatures[name] = float((block * images).sum() / squares.sum())
            inside = (block @ self._top.T).square().sum(dim=0).cumsum(0) / squares.sum()
            yield {
                "kind": "direction",
                "name": name,
                "length": float(squares.mean().sqrt()),
                "curvature": curvatures[name],
                "counts": counts,
                "shares": [float(inside[count - 1]) for count in counts],
            }
        spread = operator(point, "noise_covariance")
        along = (spread.rows(pairs.vectors.T.to(op.dtype)).double() * pairs.vectors.T.double()).sum(dim=1)
        inside = (along.cumsum(0) / gradient_noise(point).diagonal.sum()).tolist()
        slope = point.gradient()
        shares = {
            "noise": [inside[count - 1] for count in counts],
            "gradient": [hill_share(slope, self._top[:count]) for count in counts],
            "chance": [count / point.size for count in counts],
        }
        for name, values in shares.items():
            yield {"kind": "share", "name": name, "counts": counts, "shares": values}
        pairs_of = {
            "swing": (curvatures["step"], curvatures["stretch"]),
            "decay": (curvatures["decay"], curvatures["stretch"]),
            "noise": (shares["noise"][-1], shares["chance"][-1]),
        }
        for name, (high, low) in pairs_of.items():
            yield {"kind": "comparison", "name": name, "high": high, "low": low}

    def _gains(self, start: Weights, move: Tensor) -> Iterator[Record]:
        """What the decay gains, what its part in the top eigenvectors would gain alone, and what the rest would."""
        point = self.point(start, self.windows[1])
        base, across = point.loss(), self._top.T @ (self._top @ move)
        parts = {"whole": move, "hill": across, "rest": move - across}
        yield {"kind": "gain", "loss": base, **{name: base - point.loss(part) for name, part in parts.items()}}

    def _traces(self, states: dict[str, Weights]) -> Iterator[Record]:
        """Trace and largest eigenvalue of the Hessian along the stable phase and the decay."""
        config, (first, _, middle, _, last) = self.config, self.quarters
        for name in (f"stable {config.start}", f"stable {first}", f"stable {last}", f"decay {middle}", f"decay {last}"):
            point = self.point(states[name], self.windows[0])
            found = measure_at(point, ["trace"], products=config.products)["trace"]
            top = measure_at(point, ["lambda_max"])["lambda_max"]
            branch, _, step = name.partition(" ")
            yield {
                "kind": "trace",
                "branch": branch,
                "step": int(step),
                "trace": found.value,
                "error": found.error,
                "lambda_max": top.value,
                "loss": float(self.losses(states[name]).mean()),
            }

    def _plane(self, states: dict[str, Weights]) -> Iterator[Record]:
        """The loss on the plane through where the decay starts, where the stable phase gets to, and where it does."""
        columns, rows = self.config.grid
        if not columns:
            return
        first, last = self.quarters[0], self.quarters[-1]
        plane = plane_through(states[f"stable {first}"], states[f"stable {last}"], states[f"decay {last}"])
        places = {}
        for branch in ("stable", "decay"):
            names = [f"stable {first}", *(f"{branch} {step}" for step in self.quarters[1:])]
            found, far = plane.project([states[name] for name in names])
            places[branch] = {"places": found.tolist(), "distances": far.tolist()}
        corners = np.concatenate([np.array(found["places"]) for found in places.values()])
        low, high = corners.min(axis=0), corners.max(axis=0)
        pad = 0.25 * (high - low)
        x = np.linspace(low[0] - pad[0], high[0] + pad[0], columns)
        y = np.linspace(low[1] - pad[1], high[1] + pad[1], rows)
        sheet = plane_losses(plane, self.losses, x, y)
        rise, error = sheet.rise()
        yield {
            "kind": "plane",
            "x": x.tolist(),
            "y": y.tolist(),
            "rise": rise.tolist(),
            "error": float(error.max()),
            "lowest": float(sheet.losses.min()),
            **places,
        }
