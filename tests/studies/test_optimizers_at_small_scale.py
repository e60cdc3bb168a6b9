"""Tuning resumes, the study runs and its rule decides."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from thalweg.laws.final_losses import fit_final_losses
from thalweg.studies.optimizers_at_small_scale import lab, study, tuning


def test_tuning_with_the_shared_descent_and_ledger(tmp_path, monkeypatch):
    trained: list[tuple[str, int, str]] = []

    def train_all(config: Any, runs: Any, *rest: Any) -> list[float]:
        trained.extend((name, steps, json.dumps(values, sort_keys=True)) for name, steps, values in runs)
        return [sum(abs(grid.index(value) - 1) for value, grid in axes(name, values)) for name, _, values in runs]

    def axes(name: str, values: Any) -> list[tuple[float, tuple[float, ...]]]:
        return [(value, lab.GRIDS[name][key]) for key, value in values.items()]

    monkeypatch.setattr(tuning, "train_all", train_all)
    tuned = tuning.tune(tmp_path, workers=1)
    assert len(trained) == len(set(trained)) == sum(cell["runs"] for cells in tuned.values() for cell in cells.values())
    for name, cells in tuned.items():
        middle = cells["400"]["values"]
        assert middle["lr"] == lab.GRIDS[name]["lr"][1]
        assert set(cells) == {str(steps) for steps in study.LAPTOP.budgets_of(name)}
    before = len(trained)
    assert tuning.tune(tmp_path, workers=1) == tuned
    assert len(trained) == before


@pytest.fixture(scope="module")
def records(tmp_path_factory, module_patch) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("small-scale")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


@pytest.fixture(scope="module")
def module_patch():
    """Trains in this process: a pool would load torch once more."""
    from thalweg.runs import Run
    from thalweg.train.loop import train

    class Here:
        def __init__(self, **options: Any) -> None: ...

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None: ...

        def run(self, jobs: Any) -> None:
            for job in jobs:
                train(Run.resume_or_create(job.folder, job.recipe.to_dict(), steps=job.recipe.steps))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab, "LocalPool", Here)
        yield


def test_smoke(records):
    runs = [r for r in records if r["kind"] == "run"]
    assert len(runs) == len(study.SMOKE.budgets_of("adamw")) + 3 * len(study.SMOKE.budgets)
    assert all(math.isfinite(r["loss"]) for r in runs)
    found = {r["optimizer"]: r for r in records if r["kind"] == "speedup"}
    ladder = sorted((r["steps"], r["loss"]) for r in runs if r["optimizer"] == "adamw")
    fit = fit_final_losses(*zip(*ladder, strict=True))
    for name in ("muon", "soap", "lion"):
        losses = {r["steps"]: r["loss"] for r in runs if r["optimizer"] == name}
        expected = [fit.speedup(steps, losses[steps]) for steps in study.SMOKE.budgets]
        assert found[name]["speedups"] == pytest.approx(expected, rel=1e-3)  # float32 means of windows
        assert found[name]["mean"] == pytest.approx(math.prod(found[name]["speedups"]) ** (1 / 3))
    left, _ = study.figure(records).axes
    assert len(left.lines) == 4


@pytest.mark.parametrize(
    ("means", "state"),
    [
        ([(1.5, 1.4, 0.9), (1.6, 1.5, 1.0), (1.5, 1.5, 0.9)], "reproduced"),
        ([(1.5, 1.0, 0.9), (1.6, 1.01, 0.9), (1.5, 0.99, 0.9)], "not reproduced"),
        ([(1.5, 1.4, 2.0), (1.6, 1.5, 2.1), (1.5, 1.5, 2.0)], "not reproduced"),
        ([(1.5, 1.05, 0.9), (1.6, 1.5, 0.9), (1.5, 1.0, 0.9)], "inconclusive"),
    ],
)
def test_the_rule(means, state):
    made = [
        {"kind": "speedup", "optimizer": name, "mean": value, "seed": seed}
        for seed, values in enumerate(means)
        for name, value in zip(("muon", "soap", "lion"), values, strict=True)
    ]
    verdict = study.verdict(made)
    assert verdict.state == state
    assert verdict.effect == pytest.approx(np.mean([min(m[:2]) for m in means]))
