"""The study runs (SMOKE); its networks' hidden weights are scale-invariant; the rule gives each verdict."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.dynamics import split_scale_invariant
from thalweg.studies.base import expected
from thalweg.studies.bn_auto_rate import lab, sphere, study

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def test_records_are_plain_json_and_complete(smoke: Records):
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    assert [r["lr"] for r in smoke if r["part"] == "descent" and r["normalized"]] == list(study.DESCENT)
    assert [r["lr"] for r in smoke if r["part"] == "fixed"] == list(study.DIGITS)


def test_again_the_same_numbers(smoke: Records):
    torch.manual_seed(123)  # the generator of the process has no say
    config = study.SMOKE
    again = [lab.descent(config, 1.0, True, 0, "cpu"), lab.stochastic(config, "digits", 1.0, 0, "cpu")]
    again.append(sphere.sphere(config, 1.0, True, 0))
    for record in again:
        assert dict(record, seed=0) in smoke


def test_identities_hold_on_the_networks(smoke: Records):
    rows = [r for r in smoke if r["part"] == "descent" and r["normalized"]]
    assert max(r["radial"] for r in rows) < 1e-5
    assert max(r["growth_error"] for r in rows) < 1e-6
    assert all(r["gradient"] <= r["certificate"] for r in rows)


def test_split_of_the_networks():
    x = lab.batches(40, 0, 1, "cpu")[0][0]
    assert split_scale_invariant(lab.network(8, 0), x) == (("0.weight", "3.weight"), (), ("6.weight",))
    plain = split_scale_invariant(lab.network(8, 0, normalized=False), x)
    assert plain.rows + plain.whole == ()


def test_parts_are_the_images_in_equal_shares():
    one, four = lab.batches(40, 3, 1, "cpu"), lab.batches(40, 3, 4, "cpu")
    assert [len(x) for x, _ in four] == [10] * 4
    assert torch.equal(torch.cat([x for x, _ in four]), one[0][0])


def test_descent_is_a_bare_loop():
    """G at the start and the loss after two steps, written out."""
    config = study.Config(samples=60, width=8, steps=2)
    record = lab.descent(config, 5.0, True, 3, "cpu")
    (x, y) = lab.batches(60, 3, 1, "cpu")[0]
    model = lab.network(8, 3)
    first = math.inf
    for _ in range(2):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        w1, w2, w3 = model.parameters()
        squared = sum((w.detach().square().sum(1) * w.grad.square().sum(1)).sum().item() for w in (w1, w2))
        first = min(first, math.sqrt(squared + float(w3.grad.square().sum())))
        with torch.no_grad():
            for w, lr in ((w1, 5.0), (w2, 5.0), (w3, 0.1)):
                w.sub_(lr * w.grad)
    assert record["end"] == pytest.approx(torch.nn.functional.cross_entropy(model(x), y).item(), rel=1e-9)
    assert record["least"][0] <= first * (1 + 1e-9)


def test_slope_is_of_the_last_decade_and_even_in_the_logarithm():
    steps = [1, 3, 10, 100, 300, 1000]
    assert study.slope(steps, [5, 5, 5, *(s**-0.7 for s in steps[3:])]) == pytest.approx(-0.7)
    even = np.arange(1, 1001)
    bent = np.where(even < 317, 1.0, (even / 317) ** -2.0)  # half a decade of each slope
    assert study.slope(even.tolist(), bent.tolist()) == pytest.approx(-1.0, abs=0.02)


def test_figure_has_its_panels(smoke: Records):
    figure = study.figure([*smoke, *(dict(r, seed=1) for r in smoke)])
    assert len(figure.axes) == 6
    assert all(axes.get_title() and axes.lines and axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def made_up(seed: int = 0, **off: float) -> Records:
    """Exact powers of the steps; each quantity off by what is given."""
    steps = [100, 200, 500, 1000]

    def power(exponent: float) -> list[float]:
        return [s**exponent for s in steps]

    def row(part: str, lr: float, normalized: bool = True, **columns: Any) -> dict[str, Any]:
        return {"part": part, "lr": lr, "normalized": normalized, "steps": steps, "seed": seed} | columns

    rows = [row("descent", lr, least=power(-0.5 - off.get("descent", 0.3)), end=0.01) for lr in study.DESCENT]
    rows[1]["end"] = 0.03 * math.exp(-off.get("loss", 1.0))
    margin = int(off.get("window", 2))  # rates of the control that fail; below 0, outer rates of the others that do
    for row_of in (rows[0], rows[-1])[: max(0, -margin)]:
        row_of["end"] = None
    for place, lr in enumerate(study.CONTROL):
        rows.append(row("descent", lr, False, least=power(0), end=None if place < margin else 0.01))
    rows += [row("digits", lr, gradient=power(-0.25 - off.get("sgd", 0.2))) for lr in study.DIGITS]
    rate = [(2 * 1.5 * s) ** -0.5 * math.exp(off.get("same", 0.02)) for s in steps]
    fall = power(-0.25 - off.get("sphere", 0.01))
    rows += [row("sphere", lr, gradient=fall, rate=rate, size=1.5) for lr in study.SPHERE]
    rows += [row("sphere", lr, False, gradient=power(off.get("flat", 0.01))) for lr in study.SPHERE[:2]]
    return rows


def test_measures_are_those_of_the_rule():
    found = study.measures(made_up(loss=0.4))
    wanted = {
        "loss": 0.4,
        "descent": 0.3,
        "window": 2.0,
        "sgd": 0.2,
        "sphere": 0.03,
        "same": math.log(1.1) - 0.02,
        "flat": 0.03,
        "effect": -0.8,
    }
    assert found == pytest.approx(wanted)


def test_a_loss_that_is_not_finite_fails_the_loss():
    rows = made_up()
    rows[3]["end"] = None
    assert study.measures(rows)["loss"] == -math.inf


def several(**off: list[float]) -> Records:
    names = list(off)
    return [
        row
        for seed, values in enumerate(zip(*off.values(), strict=True))
        for row in made_up(seed, **dict(zip(names, values, strict=True)))
    ]


def test_rule_reproduced():
    outcome = study.verdict(several(descent=[0.3, 0.4, 0.5]))
    assert outcome.state == "reproduced"
    assert outcome.effect == pytest.approx(-0.9)
    assert outcome.error == pytest.approx(0.1 / np.sqrt(3))


@pytest.mark.parametrize(
    ("name", "far", "mixed"),
    [
        ("loss", [-0.2, -0.21, -0.22], [1.0, -1.0, 0.1]),
        ("descent", [-0.2, -0.21, -0.22], [0.3, -0.2, 0.0]),
        ("window", [-1, -1, -1], [1, -1, 0]),
        ("sgd", [-0.2, -0.21, -0.22], [0.3, -0.2, 0.0]),
        ("sphere", [0.2, 0.21, 0.22], [0.0, 0.1, 0.0]),
        ("same", [0.2, 0.21, 0.22], [0.0, 0.3, 0.0]),
        ("flat", [0.2, 0.21, 0.22], [0.0, 0.1, 0.0]),
    ],
)
def test_rule_needs_all_seven(name: str, far: list[float], mixed: list[float]):
    assert study.verdict(several(**{name: far})).state == "not reproduced"
    assert study.verdict(several(**{name: mixed})).state == "inconclusive"


def test_rule_needs_more_than_one_seed():
    assert study.verdict(made_up()).state == "inconclusive"


def test_expected_numbers_are_those_of_this_study():
    known = expected(study.SLUG)
    own = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert tuple(known[key] for key in ("slug", "title", "arxiv", "claim", "unit")) == own
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
