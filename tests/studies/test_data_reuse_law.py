"""The study runs (SMOKE), and its rule gives each of the three verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thalweg.studies.base import expected
from thalweg.studies.data_reuse_law import study

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder: Path = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def test_records_are_plain_json_and_finite(smoke: Records) -> None:
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    text = [r for r in smoke if r["part"] == "text"]
    config = study.SMOKE.text
    assert [(r["unique"], r["epochs"]) for r in text] == [(n, 1) for n in config.sizes] + [
        (n, k) for n in config.unique for k in config.epochs
    ]
    assert sum(r["part"] == "zipf" for r in smoke) == len(study.SMOKE.zipf) * len(study.SMOKE.zipf_epochs)
    assert study.verdict(smoke).state == "inconclusive"  # one seed proves nothing


def test_seed_repeats_and_another_differs(smoke: Records, tmp_path: Path) -> None:
    again = [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path)]
    assert again == smoke
    other = [dict(r, seed=0) for r in study.run(study.SMOKE, seed=1, device="cpu", folder=tmp_path)]
    for part in ("gaussian", "text"):
        pairs = [(a["loss"], b["loss"]) for a, b in zip(smoke, other, strict=True) if a["part"] == part]
        assert any(a != b for a, b in pairs)


def test_figure_has_its_panels(smoke: Records) -> None:
    figure = study.figure(smoke)
    assert len(figure.axes) == 3
    assert all(axes.get_title() and axes.get_ylabel() and axes.lines for axes in figure.axes)


def test_shorter_features_have_the_papers_reuse() -> None:
    short = study.ZipfRegression(study.LAPTOP.zipf_dim).reuse(64, 1e5)
    assert short == pytest.approx(study.ZipfRegression(study.GPU.zipf_dim).reuse(64, 1e5), rel=1e-9)


def made_up(slope: float, zipf: float, text: float, *, spread: float = 0.01) -> Records:
    """Three seeds with the given margins, give or take the spread."""
    found: Records = []
    sizes = np.geomspace(10, 1e6, 60)
    curve = 5 * sizes**-0.1
    for seed, extra in enumerate((-spread, 0.0, spread)):
        theory = 0.5
        once = [{"unique": n, "epochs": 1, "loss": loss} for n, loss in zip(sizes, curve, strict=True)]
        for part, levels in (
            ("gaussian", {100: 3.0, 1000: 3.0 + theory * np.log(10) * (1 + 0.25 - slope - extra)}),
            ("text", {100: 4.0, 1000: 4.0 * 2 ** (text + extra)}),
        ):
            found += [dict(row, part=part, seed=seed) for row in once]
            for n, level in levels.items():
                for epochs, share in ((2, 0.5), (16, 1.0)):
                    row = {"unique": n, "epochs": epochs, "loss": 5 * (share * level * n) ** -0.1}
                    found.append(dict(row, part=part, seed=seed, **({"theory": theory} if part == "gaussian" else {})))
        exponent = 2 / 7 - 0.03 + zipf + extra
        found += [
            {"part": "zipf", "unique": n, "epochs": 1000, "reuse": 3 * (n / 1e4) ** exponent, "seed": seed}
            for n in (1e4, 1e5, 1e6)
        ]
    return found


MARGINS = {"slope": 0.15, "zipf": 0.02, "text": 0.3}


def test_rule_reproduced() -> None:
    records = made_up(**MARGINS, spread=0.002)
    found = study.margins([r for r in records if r["seed"] == 1])
    assert found == pytest.approx(MARGINS, abs=1e-6)  # the curve is a power law, which log-log interpolation keeps
    outcome = study.verdict(records)
    assert (outcome.state, outcome.runs) == ("reproduced", 3)
    assert outcome.effect == pytest.approx(0.3, abs=1e-6)
    assert outcome.error == pytest.approx(0.002 / np.sqrt(3), rel=1e-4)


@pytest.mark.parametrize("failing", MARGINS)
def test_rule_not_reproduced_if_one_margin_is_below_zero(failing: str) -> None:
    assert study.verdict(made_up(**MARGINS | {failing: -0.1}, spread=0.002)).state == "not reproduced"


@pytest.mark.parametrize("unsure", MARGINS)
def test_rule_inconclusive_if_one_margin_is_within_its_error(unsure: str) -> None:
    assert study.verdict(made_up(**MARGINS | {unsure: 0.0}, spread=0.002)).state == "inconclusive"


def test_a_loss_below_the_curve_counts_with_its_bound() -> None:
    records = [r for r in made_up(**MARGINS) if r["seed"] == 1]
    for record in records:
        if record["part"] == "text" and record["unique"] == 1000 and record["epochs"] == 16:
            record["loss"] = 0.1
    assert study.margins(records)["text"] == pytest.approx(np.log2(1e6 / 1000 / 4), abs=1e-6)


def test_expected_numbers_are_those_of_this_study() -> None:
    known = expected(study.SLUG)
    about = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert (known["slug"], known["title"], known["arxiv"], known["claim"], known["unit"]) == about
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
