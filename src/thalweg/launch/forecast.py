"""The main job: pilots → law → prediction → designed schedule → proof.

Each stage leaves a file under the folder and is skipped when that is there, so the same call resumes:
``runs/pilot-*``, ``law.json`` and ``forecast.json`` (predictions, written before any long run starts), ``runs/long-*``,
``result.json``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.errors import InputError
from thalweg.files import write_atomic
from thalweg.launch.local import LocalPool, Progress
from thalweg.launch.plan import LONG, PILOTS, Plan
from thalweg.laws import LossCurve, design, fit, load_law
from thalweg.runs import Run
from thalweg.schedules import parse
from thalweg.train.recipe import Recipe

__all__ = ["Forecaster", "curve_of"]

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
        about = {"format": FORMAT, "plan": _plan_dict(self.plan)}
        file = self.folder / "plan.json"
        if file.exists() and json.loads(file.read_text()) != about:
            raise InputError(f"{self.folder} holds another forecast (plan.json differs): choose another folder or remove it")
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
        schedules = {"cosine": plan.rival("cosine"), "wsd": plan.rival("wsd"), "designed": best.schedule}
        document = {
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "schedules": {name: self._prediction(law, schedule) for name, schedule in schedules.items()},
        }
        seconds["law"] = time.perf_counter() - began
        write_atomic(self.folder / "seconds.json", json.dumps(seconds) + "\n")
        write_atomic(self.folder / "forecast.json", json.dumps(document) + "\n")

    def _prediction(self, law: Any, schedule: Any) -> dict[str, Any]:
        steps = self.plan.horizon
        at = np.unique(np.linspace(self.plan.warmup, steps - 1, 400).astype(np.int64))
        low, high = law.band(schedule, steps, at=at)
        trust = law.trust(schedule, steps)
        return {
            "spec": str(schedule),
            "final_loss": law.final_loss(schedule, steps),
            "interval": [float(trust.low), float(trust.high)],
            "trust": trust.level,
            "reasons": list(trust.reasons),
            "steps": at.tolist(),
            "losses": law.predict(schedule, steps, at=at).tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
        }

    def _result(self, seconds: dict[str, float]) -> dict[str, Any]:
        forecast = self._forecast()
        finals = {name: _final_windows(Run.open(self.runs / f"long-{name}")) for name in LONG}
        table = {}
        for name in LONG:
            measured, predicted = float(finals[name].mean()), forecast["schedules"][name]["final_loss"]
            gap = finals[name] - finals["designed"]
            table[name] = {
                "predicted": predicted,
                "interval": forecast["schedules"][name]["interval"],
                "trust": forecast["schedules"][name]["trust"],
                "measured": measured,
                "error": predicted / measured - 1,
                "above_designed": float(gap.mean()),
                "above_designed_error": float(gap.std(ddof=1) / np.sqrt(len(gap))),
            }
        law = load_law(self.folder / "law.json")
        costs = {path.name: _cost(Run.open(path)) for path in sorted(self.runs.glob("*-*")) if (path / "run.json").exists()}
        return {
            "plan": _plan_dict(self.plan),
            "data": json.loads((self.folder / "data.json").read_text()) if (self.folder / "data.json").exists() else {},
            "law": {"params": dict(law.params), "intervals": {k: list(v) for k, v in law.intervals.items()}},
            "table": table,
            "seconds": seconds,
            "runs": costs,
        }


def _plan_dict(plan: Plan) -> dict[str, Any]:
    import msgspec

    return json.loads(msgspec.json.encode(plan))


def _cost(run: Run) -> dict[str, float]:
    """Updates trained in this run itself (a shared past is not counted) and the seconds they took."""
    return {"updates": 0, "seconds": 0.0}


def _final_windows(run: Run) -> np.ndarray:
    """The loss of each validation window at the end of a run, float64 (windows,)."""
    raise NotImplementedError
