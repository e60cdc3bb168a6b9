"""The study runs, resumes from its ledger, its speed-ups are what they say, and its rule decides."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from thalweg.laws.final_losses import fit_final_losses
from thalweg.studies.fantastic_optimizers import study


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fantastic")
    config = dataclasses.replace(study.SMOKE, budgets=(8, 16), more=(32, 64), untuned=(32, 64))
    made = [dict(r, seed=0) for r in study.run(config, seed=0, device="cpu", folder=folder)]
    before = (folder / "ledger.jsonl").read_text()
    again = [dict(r, seed=0) for r in study.run(config, seed=0, device="cpu", folder=folder)]
    assert again == made
    assert (folder / "ledger.jsonl").read_text() == before  # nothing was trained twice
    return made


def test_smoke(records):
    runs = {(r["arm"], r["steps"]): r["loss"] for r in records if r["kind"] == "run"}
    assert len(runs) == 4 + 4 + 2
    (found,) = (r for r in records if r["kind"] == "speedup")
    for arm in ("tuned", "untuned"):
        ladder = {steps: loss for (name, steps), loss in runs.items() if name == arm}
        curve = fit_final_losses(list(ladder), list(ladder.values()))
        assert found[arm] == pytest.approx([curve.speedup(steps, runs["muon", steps]) for steps in found["budgets"]])
        assert all(runs["tuned", steps] <= runs["untuned", steps] for steps in (8, 16))
    ratios = np.divide(found["untuned"], found["tuned"])
    assert found["inflation"] == pytest.approx(math.sqrt(ratios.prod()))
    assert len(study.figure(records).axes) == 2


def test_the_published_part(shared_data):
    from thalweg.studies.fantastic_optimizers.study import _published

    found = list(_published(shared_data / "optimizer-benchmark"))
    muon = {r["size"]: {row[0]: row for row in r["speedups"]["muon"]} for r in found if r["kind"] == "published"}
    stated = {("130m", 1): 1.43, ("130m", 8): 1.30, ("520m", 8): 1.24, ("1.2b", 8): 1.10}
    for (size, ratio), value in stated.items():
        _, speed, low, high = muon[size][ratio]
        assert round(speed, 2) == value
        assert low < speed < high
    names = {r["optimizer"]: set(r["values"]) for r in found if r["kind"] == "sensitive"}
    assert names["muon"] == {"learning_rate"}
    assert names["adamw"] == {"learning_rate", "weight_decay", "warmup", "train_batch_size"}


@pytest.mark.parametrize(
    ("pairs", "state"),
    [
        ([(7.0, 2.0), (6.0, 2.2), (8.0, 1.9)], "reproduced"),
        ([(1.5, 2.0), (1.6, 2.2), (1.4, 1.9)], "not reproduced"),
        ([(7.0, 0.8), (6.0, 0.9), (8.0, 0.7)], "not reproduced"),
        ([(7.0, 1.0), (6.0, 0.8), (8.0, 1.3)], "inconclusive"),
    ],
)
def test_the_rule(pairs, state):
    made = [{"kind": "speedup", "inflation": a, "over_tuned": b, "seed": k} for k, (a, b) in enumerate(pairs)]
    verdict = study.verdict(made)
    assert verdict.state == state
    assert verdict.effect == pytest.approx(np.mean([a for a, _ in pairs]))
