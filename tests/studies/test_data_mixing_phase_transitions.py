"""The study runs (SMOKE); shares of tokens and thresholds are what they should be; the rule gives each verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.laws import FactLoss, TextLoss, allocate_capacity
from thalweg.studies.base import expected
from thalweg.studies.data_mixing_phase_transitions import study
from thalweg.studies.data_mixing_phase_transitions.memory import crossing, implied_capacity, memory_records
from thalweg.studies.data_mixing_phase_transitions.text import Arm, Lab

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(study.SMOKE.text, 0, "cpu")


def test_records_are_plain_json_and_complete(smoke: Records):
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    assert len([r for r in smoke if r["part"] == "memory"]) == 3 * 3
    assert [r["arm"] for r in smoke if r["part"] == "text"] == ["sweep", "sweep", "keep", "compact", "longer"]
    assert study.verdict(smoke).state == "inconclusive"  # one seed


def test_again_the_same_numbers(smoke: Records, lab: Lab):
    torch.manual_seed(123)  # the generator of the process has no say
    assert list(memory_records(study.SMOKE.memory, seed=0, device="cpu")) == [
        {k: v for k, v in r.items() if k != "seed"} for r in smoke if r["part"] == "memory"
    ]
    assert lab.run(Arm("sweep", 0.1)) == {k: v for k, v in smoke[9].items() if k != "seed"}


def test_rows_hold_the_share_and_only_the_people_told_of(lab: Lab):
    batches = lab.batches(Arm("keep", 0.5, keep=0.5))
    text = "".join(lab.tokenizer.decode(row) for row in batches.at(0))
    names = [lab.people.name(k).split()[0] for k in range(4)]
    assert [name in text for name in names] == [True, True, False, False]
    assert np.diff(batches.generated(np.arange(0, 41, 4))).tolist() == [2] * 10


def test_tuples_take_their_share_of_tokens(lab: Lab):
    arm, rng = Arm("compact", 0.5, compact=1.0), np.random.default_rng(0)
    told = [lab.batches(arm).write(k % 4, rng) for k in range(400)]
    short = [len(ids) for ids in told if lab.tokenizer.decode(ids[:8]).startswith("Bio")]
    share = sum(short) / (sum(len(ids) for ids in told) - sum(short))
    assert share == pytest.approx(1.0, abs=0.2)  # 4 standard errors of 400 draws


def test_crossing_by_hand():
    assert crossing([1, 2, 4], [0.0, 0.25, 0.75], 0.5) == pytest.approx(math.log(2 * math.sqrt(2)))
    assert crossing([1, 2, 4], [0.0, 0.1, 0.2], 0.5) == pytest.approx(math.log(4))
    assert crossing([1, 2, 4], [0.6, 0.1, 0.9], 0.5) == 0.0


@pytest.mark.parametrize("odds", [0.02, 0.3, 2.0])
def test_implied_capacity_is_where_the_optimal_learner_holds_half(odds: float):
    """Knapsack in facts: the greedy choice over explicit Zipf facts, and ``allocate_capacity`` on the power law."""
    dense, text, zipf = 60, 2000, 1.5
    found = implied_capacity(odds, dense=dense, zipf=zipf, text=text)
    weights = np.arange(1, text + 1) ** -zipf
    weights /= weights.sum()
    more_frequent = int((weights > odds / dense).sum())
    assert found == pytest.approx(dense / 2 + more_frequent, abs=1)
    norm = (np.arange(1, text + 1) ** -zipf).sum()
    ratio = odds / (1 + odds)
    sources = [(ratio, FactLoss(1 / dense, dense)), (1 - ratio, TextLoss(1 / ((zipf - 1) * norm), zipf - 1))]
    assert allocate_capacity(sources, found)[0] == pytest.approx(dense / 2, rel=1e-6)


def test_figure_has_its_panels(smoke: Records):
    figure = study.figure(smoke)
    assert len(figure.axes) == 4
    assert all(axes.get_title() and axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


NAMES = tuple(study.thresholds())
FINE = {"slope": 2.5, "facts": 1.4, "rise": 0.3, "fewer": 0.2}


def made_up(**each: list[float]) -> Records:
    """Three seeds whose thresholds, rise and gain are given; capacity follows from the slope."""
    rows: Records = []
    for seed in range(3):
        told = {name: each.get(name, [value - 0.01, value, value + 0.01])[seed] for name, value in FINE.items()}
        about = {"part": "memory", "seed": seed, "dense": 60, "text": 2000, "zipf": 1.5}
        arms = [(w, 1.0, -2 * told["slope"] * math.log(w / 24) - 2) for w in (20, 24, 30, 36)]
        arms += [(24, k, -2 + told["facts"] * math.log(k)) for k in (0.5, 0.25)]
        for width, keep, half in arms:
            for step in (-1, 0, 1):
                odds, recall = math.exp(half + 0.2 * step), 0.5 + 0.3 * step
                rows.append(about | {"width": width, "keep": keep, "odds": odds, "recall": recall})
        tenth, half = 0.2, 0.2 * math.exp(told["rise"])
        for ratio, recall in ((0.1, 0.0), (tenth, 0.1), (half, 0.5), (0.9, 0.9)):
            rows.append({"part": "text", "seed": seed, "arm": "sweep", "ratio": ratio, "keep": 1.0, "accuracy": recall})
        keep = {"part": "text", "seed": seed, "arm": "keep", "ratio": tenth, "keep": 0.5}
        rows.append(keep | {"accuracy": 0.1 + told["fewer"]})
    return rows


def test_measures_are_those_of_the_rule():
    own = [r for r in made_up() if r["seed"] == 1]
    found = study.measures(own)
    assert found["memory, size"] == pytest.approx(2.5)
    assert found["memory, facts"] == pytest.approx(1.4)
    assert found["text, sharpness"] == pytest.approx(math.log(5) / 2 - 0.3)
    assert found["text, fewer"] == pytest.approx(0.2)
    halves = {width: half for (width, keep), half in study.halves(own).items() if keep == 1}
    held = [implied_capacity(math.exp(h), dense=60, zipf=1.5, text=2000) for h in halves.values()]
    x = np.log(np.square(list(halves)))
    wanted = ((x - x.mean()) * np.log(held)).sum() / ((x - x.mean()) ** 2).sum()
    assert found["memory, capacity"] == pytest.approx(-abs(wanted - 1))


def test_rule_reproduced():
    outcome = study.verdict(made_up())
    assert outcome.state == "reproduced"
    assert outcome.effect == pytest.approx(math.log(5) / 2 - 0.3)
    assert outcome.runs == 3


@pytest.mark.parametrize(
    ("name", "low", "mixed"),
    [
        ("slope", [0.8, 0.79, 0.81], None),
        ("facts", [0.2, 0.21, 0.22], [0.2, 1.4, 0.9]),
        ("rise", [1.2, 1.21, 1.22], [0.5, 1.2, 0.8]),
        ("fewer", [0.0, 0.01, -0.01], [0.0, 0.2, 0.05]),
    ],
)
def test_rule_needs_all(name: str, low: list[float], mixed: list[float] | None):
    assert study.verdict(made_up(**{name: low})).state == "not reproduced"
    if mixed is not None:
        assert study.verdict(made_up(**{name: mixed})).state == "inconclusive"


def test_a_source_that_is_never_learned_counts_as_proportional():
    records = [r | {"accuracy": 0.3} if r.get("ratio") == 0.9 else r for r in made_up(rise=[0.3] * 3)]
    records = [r | {"accuracy": min(r["accuracy"], 0.3)} if r["part"] == "text" else r for r in records]
    assert study.rise([r for r in records if r["seed"] == 0]) == math.log(5)


def test_expected_numbers_are_those_of_this_study():
    known = expected(study.SLUG)
    own = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert tuple(known[key] for key in ("slug", "title", "arxiv", "claim", "unit")) == own
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
    assert Path(study.__file__).with_name("figure.svg").exists()
