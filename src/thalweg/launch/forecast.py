"""The main job: pilots → law → prediction → designed schedule → proof.

Each stage leaves a file under the folder and is skipped when that is there, so the same call resumes:
``runs/pilot-*``, ``law.json`` and ``forecast.json`` (predictions, written before any long run starts), ``runs/long-*``,
``result.json``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from thalweg.errors import InputError
from thalweg.files import write_atomic
from thalweg.launch.local import LocalPool, Progress
from thalweg.launch.plan import LONG, PILOTS, Plan
from thalweg.laws import Law, LossCurve, design, fit, load_law
from thalweg.runs import Run
from thalweg.schedules import Piecewise, Schedule, parse
from thalweg.train.checkpoint import load_model
from thalweg.train.fork import shared_steps
from thalweg.train.recipe import Recipe
from thalweg.train.setup import Data, build, prepare, window_losses

__all__ = ["Forecaster", "curve_of", "plan_dict"]

FORMAT = 1


def curve_of(run: Run, name: str, metric: str = "val_loss") -> LossCurve:
    """The loss curve of a run as the laws take it: its rates, and ``metric`` where it was measured."""
    recipe = Recipe.from_dict(run.recipe)
    steps, losses = run.curve(metric)
    return LossCurve(name, recipe.rates(), steps, losses, parse(recipe.schedule).warmup_steps(recipe.steps))


@dataclass(frozen=True, slots=True)
class Forecaster:
    """The main job in one folder.

    Args:
        plan: what to train and foretell.
        folder: where everything lies; a folder of another plan is refused.
        workers: processes.
        threads: torch threads in each.
        device: where the runs train.
        on_stage: called with the name of each stage as it starts: "pilots", "law", "long runs", "result".
        on_progress: see ``LocalPool``.
    """

    plan: Plan
    folder: Path
    workers: int = 2
    threads: int = 1
    device: str = "cpu"
    on_stage: Callable[[str], None] = lambda stage: None
    on_progress: Callable[[Progress], None] = lambda progress: None

    @property
    def runs(self) -> Path:
        """Where the run folders lie."""
        return self.folder / "runs"

    def run(self) -> dict[str, Any]:
        """Does what is not done yet and returns the content of ``result.json``.

        Raises:
            InputError: the folder belongs to another plan.
            Interrupted: Ctrl-C; the same call resumes.
        """
        self._claim()
        result = self.folder / "result.json"
        if result.exists():
            return json.loads(result.read_text())
        seconds = self._times()
        self._train("pilots", seconds)
        if not (self.folder / "forecast.json").exists():
            self.on_stage("law")
            self._foretell(seconds)
        self._train("long runs", seconds)
        self.on_stage("result")
        document = self._result(seconds)
        write_atomic(result, json.dumps(document) + "\n")
        return document

    def _claim(self) -> None:
        """Makes the folder this plan's, or refuses one of another."""
        about = {"format": FORMAT, "plan": plan_dict(self.plan)}
        file = self.folder / "plan.json"
        if file.exists() and json.loads(file.read_text()) != about:
            raise InputError(
                f"{self.folder} holds another forecast (plan.json differs): choose another folder or remove it"
            )
        write_atomic(file, json.dumps(about, indent=1) + "\n")

    def _times(self) -> dict[str, float]:
        file = self.folder / "seconds.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def _train(self, stage: str, seconds: dict[str, float]) -> None:
        jobs = (
            self.plan.pilot_jobs(self.runs)
            if stage == "pilots"
            else self.plan.long_jobs(self.runs, parse(self._forecast()["schedules"]["designed"]["spec"]))
        )
        if all((job.folder / "run.json").exists() and Run.open(job.folder).status == "done" for job in jobs):
            return
        self.on_stage(stage)
        began = time.perf_counter()
        try:
            with LocalPool(
                workers=self.workers, threads=self.threads, device=self.device, on_progress=self.on_progress
            ) as pool:
                pool.run(jobs)
        finally:
            seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began
            write_atomic(self.folder / "seconds.json", json.dumps(seconds) + "\n")

    def _forecast(self) -> dict[str, Any]:
        return json.loads((self.folder / "forecast.json").read_text())

    def _foretell(self, seconds: dict[str, float]) -> None:
        """Fits the law to the pilots, designs, and writes down what every long run will end at."""
        began = time.perf_counter()
        plan = self.plan
        curves = [curve_of(Run.open(self.runs / f"pilot-{name}"), name) for name in PILOTS]
        law = fit(curves, "multi-power", seed=plan.recipe.seed)
        best = design(law, steps=plan.horizon, peak=plan.peak, warmup=plan.warmup, floor=plan.floor)
        law.save(self.folder / "law.json")
        compact = Piecewise.through(best.rates, warmup=plan.warmup, peak=plan.peak)
        schedules = {"cosine": plan.rival("cosine"), "wsd": plan.rival("wsd"), "designed": compact}
        document = {
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "schedules": {name: self._prediction(law, schedule) for name, schedule in schedules.items()},
        }
        seconds["law"] = time.perf_counter() - began
        write_atomic(self.folder / "seconds.json", json.dumps(seconds) + "\n")
        write_atomic(self.folder / "forecast.json", json.dumps(document) + "\n")

    def _prediction(self, law: Law, schedule: Schedule) -> dict[str, Any]:
        steps = self.plan.horizon
        at = np.unique(np.linspace(self.plan.warmup, steps - 1, 400).astype(np.int64))
        low, high = law.band(schedule, steps, at=at)
        trust = law.trust(schedule, steps)
        return {
            "spec": str(schedule),
            "final_loss": law.final_loss(schedule, steps),
            "interval": list(trust.interval),
            "trust": trust.level,
            "reason": trust.reason,
            "steps": at.tolist(),
            "losses": law.predict(schedule, steps, at=at).tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
        }

    def _result(self, seconds: dict[str, float]) -> dict[str, Any]:
        forecast = self._forecast()
        data = prepare(self.plan.recipe.data, self.runs / "data")
        runs = {f"pilot-{name}": Run.open(self.runs / f"pilot-{name}") for name in PILOTS}
        runs |= {f"long-{name}": Run.open(self.runs / f"long-{name}") for name in LONG}
        finals = {name: _final_windows(runs[f"long-{name}"], data) for name in LONG}
        law = load_law(self.folder / "law.json")
        return {
            "plan": plan_dict(self.plan),
            "data": data.about,
            "made": forecast["made"],
            "law": {"params": dict(law.params), "intervals": {k: list(v) for k, v in law.intervals.items()}},
            "table": {name: _row(forecast["schedules"][name], finals[name], finals["designed"]) for name in LONG},
            "schedules": forecast["schedules"],
            "runs": {name: _account(run, law) for name, run in runs.items()},
            "seconds": seconds,
        }


def plan_dict(plan: Plan) -> dict[str, Any]:
    """A plan as plain JSON."""
    return json.loads(msgspec.json.encode(plan))


def _row(forecast: dict[str, Any], losses: np.ndarray, designed: np.ndarray) -> dict[str, Any]:
    """Foretold and measured final loss of one long run; errors are standard errors over validation windows."""
    count = len(losses)
    gap = losses - designed
    measured = float(losses.mean())
    return {
        **{key: forecast[key] for key in ("final_loss", "interval", "trust", "reason", "spec")},
        "measured": measured,
        "measured_error": float(losses.std(ddof=1) / np.sqrt(count)),
        "error": forecast["final_loss"] / measured - 1,
        "above_designed": float(gap.mean()),
        "above_designed_error": float(gap.std(ddof=1) / np.sqrt(count)),
    }


def _account(run: Run, law: Law) -> dict[str, Any]:
    """A run's curve, its rates, the law's fit to it, and what it cost beyond the past it shares with another."""
    curve = curve_of(run, run.name)
    shared = shared_steps(run)
    records = run.records("seconds")
    own = [record["seconds"] for record in records if record["step"] >= shared]
    recipe = Recipe.from_dict(run.recipe)
    at = np.unique(np.linspace(0, recipe.steps - 1, 400).astype(np.int64))
    return {
        "spec": recipe.schedule,
        "steps": curve.steps.tolist(),
        "losses": curve.losses.tolist(),
        "fitted": law.predict(curve.rates, at=curve.steps, warmup_steps=curve.warmup).tolist(),
        "rate_steps": at.tolist(),
        "rates": curve.rates[at].tolist(),
        "metrics": asdict(law.metrics(curve)),
        "updates": recipe.steps - shared,
        "shared": shared,
        "seconds": float(sum(own)),
        "tokens_per_second": len(own) * recipe.tokens_per_step / sum(own) if own else 0.0,
    }


def _final_windows(run: Run, data: Data) -> np.ndarray:
    """The loss of each validation window at the end of a run, float64 (windows,)."""
    recipe = Recipe.from_dict(run.recipe)
    state = build(recipe, data)
    point = run.latest_checkpoint()
    if point is None or point.step != recipe.steps:
        raise InputError(f"{run.folder} has no checkpoint of its end: remove the folder and run again")
    load_model(point.folder, state.model)
    return window_losses(state.model, [torch.from_numpy(rows) for rows in data.windows(recipe)], recipe.precision)
