"""The study runs (SMOKE), its draws follow the law, and its rule gives each of the three verdicts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from thalweg.studies.base import expected
from thalweg.studies.shift_is_good import study

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder: Path = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def test_records_are_plain_json_and_finite(smoke: Records) -> None:
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    assert {r["part"] for r in smoke} == {"memory", "regression", "chains"}
    chains = [(r["drills"], r["step"]) for r in smoke if r["part"] == "chains"]
    assert chains == [(0.0, 3), (0.0, 6), (0.3, 3), (0.3, 6)]
    assert study.verdict(smoke).state == "inconclusive"  # one seed proves nothing


def test_draws_miss_what_the_law_says(smoke: Records) -> None:
    for record in (r for r in smoke if r["part"] == "memory"):
        assert abs(record["measured"] - record["exact"]) < 5 * record["error"]


def test_seed_repeats(smoke: Records, tmp_path: Path) -> None:
    assert [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path)] == smoke


def test_figure_has_its_panels(smoke: Records) -> None:
    figure = study.figure(smoke)
    assert len(figure.axes) == 3
    assert all(axes.get_title() and axes.get_ylabel() and axes.lines for axes in figure.axes)


def made_up(rate: float, gain: float, predicted: float, chains: float, *, spread: float = 0.005) -> Records:
    """Three seeds with the given margins, give or take the spread."""
    found: Records = []
    for seed, extra in enumerate((-spread, 0.0, spread)):
        off = study.THRESHOLDS["rate"] + rate + extra
        for alpha in (1.5, 2.0):
            for mixture in ("same", "best"):
                slope = study.theory(mixture, alpha) + (off if (alpha, mixture) == (2.0, "best") else 0.0)
                found += [
                    {"part": "memory", "alpha": alpha, "mixture": mixture, "samples": n, "measured": n**slope}
                    for n in (100, 1000)
                ]
        ratio = 1 - (gain + extra + study.THRESHOLDS["gain"])
        other = 1 - (study.THRESHOLDS["predicted"] + predicted + extra)
        found.append({"part": "regression", "samples": 50, "measured": 9.0, "predicted": 1.0})  # the largest N counts
        found.append({"part": "regression", "samples": 100, "measured": ratio, "predicted": ratio / other})
        base = {"part": "chains", "step": 10}
        found.append(dict(base, drills=0.0, accuracy=0.4))
        found.append(dict(base, drills=0.3, accuracy=0.4 + study.THRESHOLDS["chains"] + chains + extra))
        found.append(dict(base, drills=0.3, accuracy=0.0, step=5))  # the last update counts
        for record in found:
            record.setdefault("seed", seed)
    return found


MARGINS = {"rate": 0.03, "gain": 0.05, "predicted": 0.03, "chains": 0.1}


def test_rule_reproduced() -> None:
    records = made_up(**MARGINS)
    found = study.measures([r for r in records if r["seed"] == 1])
    assert found == pytest.approx({name: MARGINS[name] + low for name, low in study.THRESHOLDS.items()})
    outcome = study.verdict(records)
    assert (outcome.state, outcome.runs) == ("reproduced", 3)
    assert outcome.effect == pytest.approx(0.2)
    assert outcome.error == pytest.approx(0.005 / math.sqrt(3))


@pytest.mark.parametrize("failing", MARGINS)
def test_rule_not_reproduced_if_one_margin_is_below_zero(failing: str) -> None:
    assert study.verdict(made_up(**MARGINS | {failing: -0.04})).state == "not reproduced"


@pytest.mark.parametrize("unsure", MARGINS)
def test_rule_inconclusive_if_one_margin_is_within_its_error(unsure: str) -> None:
    assert study.verdict(made_up(**MARGINS | {unsure: 0.0})).state == "inconclusive"


def test_expected_numbers_are_those_of_this_study() -> None:
    known = expected(study.SLUG)
    about = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert (known["slug"], known["title"], known["arxiv"], known["claim"], known["unit"]) == about
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
