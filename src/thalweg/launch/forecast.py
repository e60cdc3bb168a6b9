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

from thalweg.errors import InputError, Interrupted
from thalweg.files import write_atomic
from thalweg.launch.local import LocalPool, Progress
from thalweg.launch.outcome import curve_of, outcome, plan_dict
from thalweg.launch.plan import PILOTS, Plan
from thalweg.laws import Law, design, fit
from thalweg.runs import Run
from thalweg.schedules import Schedule, parse
from thalweg.train.setup import prepare

__all__ = ["Forecaster"]

FORMAT = 1


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
            InputError: the folder belongs to another plan, or the data do not fit the recipe.
            Interrupted: Ctrl-C; the same call resumes.
        """
        try:
            self._claim()
            result = self.folder / "result.json"
            return json.loads(result.read_text()) if result.exists() else self._stages(result)
        except KeyboardInterrupt:  # between the stages, or once more while the runs were stopping
            raise Interrupted(f"{self.folder} keeps what is done") from None

    def _stages(self, result: Path) -> dict[str, Any]:
        """Does the stages that have left no file yet, and writes the last one's."""
        seconds = self._times()
        self._train("pilots", seconds)
        if not (self.folder / "forecast.json").exists():
            self.on_stage("law")
            self._foretell(seconds)
        self._train("long runs", seconds)
        self.on_stage("result")
        document = outcome(self.plan, self.folder, seconds)
        write_atomic(result, json.dumps(document) + "\n")
        return document

    def _claim(self) -> None:
        """Makes the folder this plan's, once its data are known to fit, or refuses one of another."""
        file = self.folder / "plan.json"
        about = {"format": FORMAT, "plan": plan_dict(self.plan)}
        if not file.exists():
            recipe = self.plan.pilot_jobs(self.runs)[0].recipe
            prepare(recipe.data, self.runs / "data").check(recipe)
            write_atomic(file, json.dumps(about, indent=1) + "\n")
        elif _read(file) != about:
            raise InputError(
                f"{self.folder} holds another forecast (plan.json differs): choose another folder or remove it"
            )

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
        schedules = {"cosine": plan.rival("cosine"), "wsd": plan.rival("wsd"), "designed": best.compact}
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


def _read(file: Path) -> object:
    try:
        return json.loads(file.read_text())
    except ValueError:
        return None
