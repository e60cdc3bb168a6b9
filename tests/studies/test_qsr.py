"""The study runs (SMOKE); its parallel arm is SGD on all samples of a step; the rule gives each verdict."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from thalweg.studies.qsr import lab, study
from thalweg.train.periods import communication

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def test_records_are_plain_json_and_complete(smoke):
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    assert [(r["part"], r["rule"]) for r in smoke] == [(p, r) for p in ("toy", "network") for r in study.RULES]
    assert study.verdict(smoke).state == "inconclusive"  # one seed
    assert study.figure(smoke).axes[0].get_ylabel() == "tr H (least: 2)"


def test_again_the_same_numbers(smoke, tmp_path: Path):
    torch.manual_seed(123)  # the generator of the process has no say
    assert [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path)] == smoke


def test_averages_are_those_of_the_rules(smoke):
    from thalweg.schedules import parse

    config = study.SMOKE.network
    rates = parse(f"cosine:peak={config.peak},warmup=0.05").rates(config.steps)
    for name, period in lab.periods(config.rule, int(np.argmax(rates))).items():
        (found,) = (r["averages"] for r in smoke if (r["part"], r["rule"]) == ("network", name))
        assert found == len(communication(period, rates).starts)


def test_the_parallel_arm_is_sgd_on_all_samples_of_a_step():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    rates, rule = np.linspace(0.5, 0.1, 6), study.Rule(2, 0.5, 0.5)
    arms = lab.Arms(model, lab._loss, rule, 3, rates)
    x, y = torch.randn(6, 3, 2, 5, dtype=torch.float64), torch.randint(3, (6, 3, 2))
    arms.train([a, b] for a, b in zip(x, y, strict=True))
    alone = copy.deepcopy(model)
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.0)
    for lr, a, b in zip(rates, x.flatten(1, 2), y.flatten(1), strict=True):
        optimizer.param_groups[0]["lr"] = float(lr)
        optimizer.zero_grad()
        cross_entropy(alone(a), b).backward()
        optimizer.step()
    found, placed = next(arms.ends(copy.deepcopy(model)))
    assert found == {"rule": "parallel", "averages": 6, "steps": 6}
    for p, q in zip(placed.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-13)


def made(flat: float, accuracy: float, averages: int = 5) -> Records:
    """Two seeds whose numbers are those of the claim, but for what is given."""
    rows = []
    for seed in (0, 1):
        for part in ("toy", "network"):
            for rule in study.RULES:
                qsr = rule == "qsr"
                trace = 2.0 + 0.01 * seed if not qsr else 2.0 - flat
                counts = {"averages": averages if qsr else 25, "steps": 100}
                right = {"accuracy": 0.9 + (accuracy if qsr else 0.0)}
                rows.append({"seed": seed, "part": part, "rule": rule, "trace": trace, **right, **counts})
    return rows


@pytest.mark.parametrize(
    ("records", "state"),
    [
        (made(0.5, 0.01), "reproduced"),
        (made(-0.5, 0.01), "not reproduced"),
        (made(0.5, -0.01), "not reproduced"),
        (made(0.5, 0.01, averages=30), "not reproduced"),
        (made(0.5, 0.0), "inconclusive"),
    ],
)
def test_the_rule(records, state):
    assert study.verdict(records).state == state
