"""What the main job trains: three short pilots, and three long runs whose loss the law foretells.

Runs with the same past share it: the two-stage pilot branches from the constant one, and so do WSD and the designed
schedule (see ``train.fork``); cosine shares nothing and is trained whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from thalweg.errors import InputError
from thalweg.launch.local import Job
from thalweg.schedules import WSD, Constant, Cosine, Schedule, TwoStage
from thalweg.train.fork import common_steps
from thalweg.train.recipe import CheckpointRecipe, Recipe

__all__ = ["LONG", "PILOTS", "Plan"]

PILOTS = ("constant", "cosine", "two-stage")
LONG = ("cosine", "wsd", "designed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Pilots, horizon and the schedules to foretell.

    Args:
        recipe: model, data, optimizer, batch, seed and evaluation; its steps, schedule and checkpoints are replaced.
        pilot_steps: updates of a pilot.
        horizon: updates of a long run, more than ``pilot_steps``.
        peak: largest learning rate of all runs.
        warmup: warmup steps of all runs, fewer than half of ``pilot_steps``.
        floor: lowest learning rate of every decay, in [0, peak].
        drop_at: where the two-stage pilot drops, fraction of ``pilot_steps``.
        drop_to: what it drops to, fraction of the peak.
        decay: length of WSD's decay, fraction of ``horizon``.

    Raises:
        InputError: a value out of range.
    """

    recipe: Recipe
    pilot_steps: int
    horizon: int
    peak: float
    warmup: int
    floor: float
    drop_at: float = 0.7
    drop_to: float = 0.3
    decay: float = 0.2

    def __post_init__(self) -> None:
        if self.horizon <= self.pilot_steps:
            raise InputError(f"horizon = {self.horizon} must be longer than the pilots, {self.pilot_steps} steps")
        if not 0 < 2 * self.warmup < self.pilot_steps:
            raise InputError(f"warmup = {self.warmup} must be between 1 and half of {self.pilot_steps} pilot steps")
        for name in ("drop_at", "drop_to", "decay"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)} must lie between 0 and 1")
        for name in PILOTS:
            self.pilot(name).rates(self.pilot_steps)
        for name in ("cosine", "wsd"):
            self.rival(name).rates(self.horizon)

    def pilot(self, name: str) -> Schedule:
        """The schedule of a pilot."""
        if name == "constant":
            return Constant(peak=self.peak, warmup=self.warmup)
        if name == "cosine":
            return Cosine(peak=self.peak, warmup=self.warmup, floor=self.floor)
        at = round(self.drop_at * self.pilot_steps)
        return TwoStage(peak=self.peak, warmup=self.warmup, at=at, then=self.drop_to * self.peak)

    def rival(self, name: str) -> Schedule:
        """The schedule of a long run that is not the designed one: ``cosine`` or ``wsd``."""
        if name == "cosine":
            return Cosine(peak=self.peak, warmup=self.warmup, floor=self.floor)
        return WSD(peak=self.peak, warmup=self.warmup, decay=self.decay, shape="1-sqrt", floor=self.floor)

    def pilot_jobs(self, folder: Path) -> list[Job]:
        """The pilots as jobs, in run folders ``pilot-NAME`` under ``folder``."""
        drop = round(self.drop_at * self.pilot_steps)
        every = max(1, self.pilot_steps // 10)
        points = tuple(sorted({drop, *range(every, self.pilot_steps, every)}))
        recipes = {name: self._recipe(self.pilot(name), self.pilot_steps) for name in PILOTS}
        recipes["constant"] = recipes["constant"].replace(checkpoint=CheckpointRecipe(every=0, keep=0, at=points))
        source = folder / "pilot-constant"
        return [
            Job(folder / f"pilot-{name}", recipes[name], source if name == "two-stage" else None) for name in PILOTS
        ]

    def long_jobs(self, folder: Path, designed: Schedule) -> list[Job]:
        """The long runs as jobs, in run folders ``long-NAME`` under ``folder``, each with the longest past to share."""
        pilot = self.pilot_jobs(folder)[0]
        first = min(pilot.recipe.checkpoint.at)
        cosine, wsd, best = (
            self._recipe(schedule, self.horizon) for schedule in (self.rival("cosine"), self.rival("wsd"), designed)
        )
        shared = min(common_steps(wsd, best), self.horizon - 1)
        if shared > self.pilot_steps:
            wsd = wsd.replace(checkpoint=replace(wsd.checkpoint, at=(shared,)))

        def source(recipe: Recipe) -> Path | None:
            return pilot.folder if common_steps(pilot.recipe, recipe) >= first else None

        return [
            Job(folder / "long-cosine", cosine),
            Job(folder / "long-wsd", wsd, source(wsd)),
            Job(folder / "long-designed", best, folder / "long-wsd" if shared > self.pilot_steps else source(best)),
        ]

    def _recipe(self, schedule: Schedule, steps: int) -> Recipe:
        plan = CheckpointRecipe(every=max(1, self.pilot_steps // 4), keep=1)
        return self.recipe.replace(schedule=str(schedule), steps=steps, checkpoint=plan)
