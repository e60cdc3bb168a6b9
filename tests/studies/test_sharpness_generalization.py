"""The study runs (SMOKE), and its rule gives each of the three verdicts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thalweg.studies.base import expected
from thalweg.studies.sharpness_generalization import study
from thalweg.studies.sharpness_generalization.lab import accuracy, draw

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder: Path = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def test_records_are_plain_json_and_finite(smoke: Records) -> None:
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    known = [r for r in smoke if r["part"] == "known"]
    assert [(r["kind"], r["network"]) for r in known] == [
        (kind, network) for kind in ("bias", "layernorm") for network in ("memorizing", "generalizing")
    ]
    trained = [r for r in smoke if r["part"] == "arm"]
    assert [r["arm"] for r in trained] == [arm.name for arm in study.SMOKE.arms]
    assert all(len(r["accuracy"]) == study.SMOKE.looks for r in trained)
    assert all(abs(r["norm"][-1] - 10) < 1e-9 for r in trained if r["kind"] == "layernorm")
    assert study.verdict(smoke).state == "inconclusive"  # one seed proves nothing


def test_known_networks_are_flattest_and_opposite(smoke: Records) -> None:
    for record in (r for r in smoke if r["part"] == "known"):
        assert record["residual"] < 1e-12
        assert record["trace"] == pytest.approx(record["least"], rel=1e-10)
        share = (0.5, 1.0) if record["network"] == "memorizing" else (1.0, 0.0)
        assert (record["accuracy"], record["silent"]) == share


def test_formula_of_the_trace_is_the_landscapes_estimate(smoke: Records) -> None:
    """Exact without a norm; standard errors over random probes, four of them allowed in five arms."""
    for record in (r for r in smoke if r["part"] == "arm" and r["kind"] != "layernorm"):
        assert record["end_trace"] == record["trace"][-1]
        assert abs(record["hessian_trace"] - record["end_trace"]) < 4 * record["hessian_trace_error"]
        assert 0 < record["top"] < record["end_trace"]


def test_seed_repeats(smoke: Records, tmp_path: Path) -> None:
    few = replace(study.SMOKE, arms=study.SMOKE.arms[2:4])
    again = [dict(r, seed=0) for r in study.run(few, seed=0, device="cpu", folder=tmp_path)]
    assert again == [r for r in smoke if r["part"] == "known" or r["arm"] in ("bias-gd", "bias-sam")]


def test_fresh_points_are_not_in_the_training_set() -> None:
    data = draw(study.SMOKE, 3)
    assert not {tuple(row) for row in data.inputs} & {tuple(row) for row in data.fresh}


def test_silence_is_half_right() -> None:
    assert accuracy(np.array([0.0, 0.3, -0.2, 5.0]), np.array([1.0, 1, -1, -1])) == 0.625


def test_last_tenth_of_the_looks() -> None:
    assert study.last({"trace": list(range(60))}, "trace") == 56.5
    assert study.last({"trace": [3.0, 4.0]}, "trace") == 4.0


def test_figure_has_its_panels(smoke: Records) -> None:
    figure = study.figure(smoke)
    assert len(figure.axes) == 6
    assert all(axes.get_title() and axes.get_xlabel() and axes.get_ylabel() and axes.lines for axes in figure.axes)


MARGINS = {
    "plain": 0.04,
    "gap": 0.1,
    "flat": 0.03,
    "layernorm": 0.03,
    "layernorm flat": 0.02,
    "least": 9e-7,
    "memory": 0.05,
}


def made_up(*, spread: float = 0.01, **margins: float) -> Records:
    """Three seeds with the given margins, give or take the spread of one that is set to 0."""
    found: Records = []
    for seed, sign in enumerate((-1, 0, 1)):
        own = {name: value + (sign * spread if value == 0 else 0) for name, value in margins.items()}
        common = {"part": "arm", "seed": seed}
        right = {
            "plain-sam": 0.95 + own["plain"],
            "bias-gd": 1.0,
            "bias-sam": 0.85 - own["gap"],
            "layernorm-sam": 0.95 + own["layernorm"],
        }
        trace = {"bias-sam": 20 * (1.05 - own["flat"]), "layernorm-sam": 2 * (1.05 - own["layernorm flat"])}
        for arm, share in right.items():
            found.append(
                {
                    **common,
                    "arm": arm,
                    "accuracy": [0.0, share],
                    "trace": [9.0, trace.get(arm, 50.0)],
                    "least": 2.0 if arm == "layernorm-sam" else 20.0,
                }
            )
        for network, share in (("memorizing", 0.55 - own["memory"]), ("generalizing", 1.0)):
            record = {"part": "known", "network": network, "accuracy": share, "trace": 20.0, "least": 20.0}
            found.append(record | {"residual": 1e-6 - own["least"], "seed": seed})
    return found


def test_rule_reproduced() -> None:
    records = made_up(**MARGINS)
    found = study.measures([r for r in records if r["seed"] == 1])
    assert found == pytest.approx(MARGINS | {"effect": 0.25}, abs=1e-9)
    outcome = study.verdict(records)
    assert (outcome.state, outcome.runs) == ("reproduced", 3)
    assert outcome.effect == pytest.approx(0.25)
    assert math.isfinite(outcome.error)


@pytest.mark.parametrize("failing", MARGINS)
def test_rule_not_reproduced_if_one_margin_is_below_zero(failing: str) -> None:
    assert study.verdict(made_up(**MARGINS | {failing: -0.04})).state == "not reproduced"


@pytest.mark.parametrize("unsure", MARGINS)
def test_rule_inconclusive_if_one_margin_is_within_its_error(unsure: str) -> None:
    spread = 5e-7 if unsure == "least" else 0.01
    assert study.verdict(made_up(spread=spread, **MARGINS | {unsure: 0.0})).state == "inconclusive"


def test_expected_numbers_are_those_of_this_study() -> None:
    known = expected(study.SLUG)
    about = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert (known["slug"], known["title"], known["arxiv"], known["claim"], known["unit"]) == about
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
