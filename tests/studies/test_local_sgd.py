"""The study runs (SMOKE); its network is plain SGD on noisy labels; the rule gives each verdict."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from thalweg.studies.base import expected
from thalweg.studies.local_sgd import lab, study

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


@pytest.fixture(scope="module")
def digits() -> lab.Lab:
    return lab.Lab(study.SMOKE.network, 0, "cpu")


def test_records_are_plain_json_and_complete(smoke: Records):
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    for part, count in {"toy": 3 * 2, "checkpoint": 1, "small rate": 4 * 3, "large rate": 4 * 3}.items():
        assert len([r for r in smoke if r["part"] == part]) == count, part
    assert study.verdict(smoke).state == "inconclusive"  # one seed


def test_again_the_same_numbers(smoke: Records, tmp_path: Path):
    torch.manual_seed(123)  # the generator of the process has no say
    assert [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path)] == smoke


def test_parallel_arm_is_torchs_sgd_on_all_samples_of_a_step(digits: lab.Lab):
    model, config = copy.deepcopy(digits.model), digits.config
    optimizer = torch.optim.SGD(model.parameters(), lr=config.lr)
    for index, label in zip(digits.order[: config.first], digits.labels, strict=False):
        optimizer.zero_grad()
        cross_entropy(model(digits.x[index.flatten()]), label.flatten()).backward()
        optimizer.step()
    first = next(r for r in digits.run(config.lr, (1, 64)) if r["period"] == 1)
    assert first["step"] == config.first
    assert digits.excess(model) == pytest.approx(first["excess"], rel=1e-4)


def test_labels_are_replaced_as_often_as_said(digits: lab.Lab):
    wrong = digits.labels != digits.y[digits.order]
    count, noise = wrong.numel(), digits.config.noise
    error = math.sqrt(noise * (1 - noise) / count)
    assert wrong.double().mean().item() == pytest.approx(noise, abs=4 * error)


def test_excess_is_the_mean_over_labels_less_its_floor(digits: lab.Lab):
    p, c = digits.config.noise, lab.CLASSES
    log_p = digits.model(digits.x).log_softmax(1).double()
    right = log_p.gather(1, digits.y[:, None])[:, 0]
    wanted = -((1 - p) * right + p / (c - 1) * (log_p.sum(1) - right)).mean()
    wanted += (1 - p) * math.log(1 - p) + p * math.log(p / (c - 1))
    assert digits.excess(digits.model) == pytest.approx(wanted.item(), abs=1e-6)


def test_trace_is_that_of_the_dense_hessian_whatever_the_labels(digits: lab.Lab):
    """Between kinks each output is linear in each layer's weights, so labels do not enter the trace."""
    model = copy.deepcopy(digits.model).double()
    names, shapes = zip(*((name, p.shape) for name, p in model.named_parameters()), strict=True)
    flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    x = digits.x.double()

    def loss(theta: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        pieces = theta.split([shape.numel() for shape in shapes])
        weights = {name: piece.view(shape) for name, piece, shape in zip(names, pieces, shapes, strict=True)}
        return cross_entropy(torch.func.functional_call(model, weights, (x,)), labels)

    traces = [
        torch.autograd.functional.hessian(lambda theta, y=y: loss(theta, y), flat, vectorize=True).trace().item()
        for y in (digits.y, (digits.y + 3) % lab.CLASSES)
    ]
    assert traces[0] == pytest.approx(traces[1], rel=1e-9)
    found = digits.measured(digits.model)
    assert abs(found["trace"] - traces[0]) < 4 * found["error"]


def test_what_diverged_is_recorded_and_decides_nothing(digits: lab.Lab):
    model = copy.deepcopy(digits.model)
    torch.nn.init.constant_(model[0].bias, math.inf)
    found = digits.measured(model)
    assert set(found.values()) == {None}
    lost = [
        r | found if r["part"] == "large rate" and (r["period"], r["seed"]) == (16, 1) else r
        for r in made_up(network_64=LARGE)
    ]
    assert study.verdict(lost).state == "inconclusive"


def test_figure_has_its_panels(smoke: Records):
    figure = study.figure(smoke)
    assert len(figure.axes) == 4
    assert all(axes.get_title() and axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


NAMES = tuple(study.thresholds())
UP, DOWN, MIXED = [0.04, 0.05, 0.045], [-0.2, -0.3, -0.25], [0.3, -0.3, 0.01]


def made_up(**above: list[float]) -> Records:
    """Records whose numbers exceed their thresholds by what is given; those not named by UP.

    Size is the sum of the three ratios, so it is set by the last of them.
    """
    rows: Records = []
    limits = study.thresholds()
    for seed in range(3):
        over = {name: limits[name] + above.get(name.replace(", ", "_").replace(" ", "_"), UP)[seed] for name in NAMES}
        sgd, start = 5.0, 6.0
        rate = math.log((start**2 - 4) / (sgd**2 - 4)) * math.exp(over["toy, speed"])
        trace = math.sqrt(4 + (start**2 - 4) * math.exp(-rate))
        slow = start - (start - trace) * math.exp(over["toy, theory"])
        toy = {"part": "toy", "period": 64, "step": 9, "seed": seed, "start": start, "sgd": sgd}
        rows.append({**toy, "trace": trace, "slow": slow})
        ratios = {1: 0.0, 4: over["network, 4"], 16: over["network, 4"] + over["network, 16"]}
        ratios[64] = ratios[16] + over["network, 64"]
        for period, ratio in ratios.items():
            early = (ratio - over["network, long"]) if period == 64 else 0.0
            for step, value in ((1, early), (2, 9.9), (3, ratio)):
                found = {"trace": 5 * math.exp(-value), "accuracy": 0.9 + value / 10, "held": 1.0, "excess": 1.0}
                rows.append({"part": "small rate", "period": period, "step": step, "seed": seed} | found)
        for period, flat, right in ((1, 0.0, 0.9), (16, over["large rate, sharpness"], 0.9)):
            lost = over["large rate, accuracy"] if period == 16 else 0.0
            found = {"trace": 5 * math.exp(flat), "accuracy": right - lost}
            rows.append({"part": "large rate", "period": period, "step": 1, "seed": seed} | found)
    return rows


LARGE = [limit + 0.3 for limit in UP]


def test_measures_are_those_of_the_rule():
    found = study.measures([r for r in made_up(network_64=LARGE) if r["seed"] == 0])
    wanted = {name: limit + 0.04 for name, limit in study.thresholds().items()}
    wanted |= {"network, 64": 0.34, "network, size": 0.04 + 0.04 + 0.34, "toy, theory": -abs(-0.15 + 0.04)}
    assert found == pytest.approx(wanted)


def test_rule_reproduced():
    outcome = study.verdict(made_up(network_64=LARGE))
    assert outcome.state == "reproduced"
    assert outcome.effect == pytest.approx(0.3 + 3 * 0.045)
    assert outcome.runs == 3


@pytest.mark.parametrize("name", [name for name in NAMES if name != "network, size"])
def test_rule_needs_all(name: str):
    key = name.replace(", ", "_").replace(" ", "_")
    fine = {"network_64": LARGE} if key != "network_64" else {"network_16": LARGE, "network_4": LARGE}
    assert study.verdict(made_up(**fine | {key: DOWN})).state == "not reproduced"
    if name != "toy, theory":  # whose number is at most 0, so that mixed ones fall below
        assert study.verdict(made_up(**fine | {key: MIXED})).state == "inconclusive"


def test_rule_needs_the_size():
    assert study.verdict(made_up()).state == "not reproduced"  # 0.135 in the mean, and log 1.25 is demanded


def test_gains_are_positive_where_local_sgd_is_better():
    records = made_up(network_64=LARGE)
    assert study.gains(records)["accuracy"].state == "reproduced"
    assert study.gains(records)["accuracy"].effect == pytest.approx((0.3 + 3 * 0.045) / 10)
    better = [r | {"held": 0.5} if r["part"] == "small rate" and r["period"] == 64 else r for r in records]
    assert study.gains(better)["held"].effect == pytest.approx(math.log(2))


def test_expected_numbers_are_those_of_this_study():
    known = expected(study.SLUG)
    own = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert tuple(known[key] for key in ("slug", "title", "arxiv", "claim", "unit")) == own
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
