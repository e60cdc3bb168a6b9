"""The study runs (SMOKE); its plans are the published shares; the rule gives each verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.data.plan.ledger import ledger
from thalweg.studies.base import expected
from thalweg.studies.kaiyuan_recipe import lab, study

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def test_the_five_phases_repeat_what_the_plan_says(monkeypatch: pytest.MonkeyPatch):
    seen = {}
    made = lab.Lab.make(study.SMOKE, seed=0, device="cpu")
    real = lab.Lab.trainer

    def spy(self, phases, sources):
        run = real(self, phases, sources)
        seen[len(seen)] = run.batches.order
        return run

    monkeypatch.setattr(lab.Lab, "trainer", spy)
    list(made.phases())
    uniform, five, shuffled = seen.values()
    config = study.SMOKE
    assert min(len(order) for order in seen.values()) >= config.steps * config.batch
    account = ledger(five)
    assert [phase["order"] for phase in account["phases"]] == ["uniform"] * 2 + ["interleave"] * 3
    assert {phase["order"] for phase in ledger(shuffled)["phases"]} == {"uniform"}
    for name, kept in zip(config.corpora, lab.KEPT, strict=True):
        best, worst = (np.sum(account["sources"][name]["deciles"][k]) for k in (0, 9))
        assert best == pytest.approx(10 * sum(min(share, 0.1) for share in kept), abs=0.4)  # 75 documents
        assert worst == 1
        fresh = ledger(uniform)["sources"][name]
        assert fresh["epochs"] == pytest.approx(1)
        share = account["sources"][name]["epochs"] * account["sources"][name]["tokens"] / account["tokens"]
        assert fresh["tokens"] / ledger(uniform)["tokens"] == pytest.approx(share, abs=0.02)


def test_rates_of_the_five_phases():
    made = lab.Lab(study.LAPTOP, 0, "cpu", (), ())

    class Order:
        firsts = np.array([0, 24 * 100, 24 * 300, 24 * 400, 24 * 450])

    class Batches:
        order = Order

    class Run:
        batches = Batches

    rates = made.phase_rates(Run)  # type: ignore[arg-type]
    assert rates[29] == rates[99] == 5e-3
    assert rates[100] == rates[450] == 3e-3
    assert rates[0] == pytest.approx(5e-3 / 30)
    assert 6e-4 < rates[-1] < 6.4e-4
    assert np.all(np.diff(rates[450:]) < 0)


def test_records_are_plain_json_and_complete(smoke: Records):
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    parts = [r["part"] for r in smoke]
    assert {part: parts.count(part) for part in parts} == {"repetition": 3, "quantile": 4, "phases": 6}
    assert all(r["selection"] > 0 and r["test"] > 0 for r in smoke)


def test_again_the_same_numbers(smoke: Records, tmp_path: Path):
    torch.manual_seed(123)  # the generator of the process has no say
    again = [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path)]
    assert again == smoke


def test_figure_has_its_panels(smoke: Records):
    figure = study.figure(smoke)
    assert len(figure.axes) == 3
    assert all(axes.get_title() and (axes.lines or axes.patches) for axes in figure.axes)


def made_up(seeds: int = 3, **changes: float) -> Records:
    """The spec's figures for repetition, made-up slices and phases; ``changes`` are added by name."""
    records: Records = []

    def add(seed: int, name: str, loss: float, **about: object) -> None:
        test = loss + changes.get(name, 0.0) + 0.001 * seed
        records.append({**about, "seed": seed, "selection": test, "test": test})

    for seed in range(seeds):
        for repeat, loss in ((1, 2.359), (3, 2.087), (6, 1.993), (14, 1.961), (40, 2.357), (120, 7.07)):
            add(seed, f"repeat {repeat}", loss, part="repetition", repeat=repeat)
        for place, start in enumerate((0.0, 0.4, 0.8)):
            for score, rise in (("quality", 0.1), ("random", 0.01)):
                add(seed, f"{score} {start}", 2.5 + rise * place, part="quantile", score=score, start=start)
        for end, loss in (("wsd 1", 2.43), ("wsd 0.1", 2.42)):
            add(seed, end, loss, part="phases", arm="uniform", schedule=end, average="none")
        for average, loss in (("none", 2.30), ("sma", 2.27)):
            add(
                seed, average, loss - 0.002 * seed, part="phases", arm="five phases", schedule="phases", average=average
            )
    return records


def test_margins_of_the_specs_figures():
    found = study.margins(made_up(1))
    wanted = {"repeat": 0.398, "collapse": 4.711, "monotone": 0.1, "flat": 0.14, "recipe": 0.15}
    assert found == pytest.approx(wanted, abs=1e-9)


def test_rule():
    outcome = study.verdict(made_up())
    assert (outcome.state, outcome.runs) == ("reproduced", 3)
    assert outcome.effect == pytest.approx(0.152)
    better_end = {"repeat 120": -6.0}
    for changes in (better_end, {"quality 0.4": 0.2}, {"random 0.8": 0.2}, {"sma": 0.2}):
        assert study.verdict(made_up(**changes)).state == "not reproduced"
    assert study.verdict(made_up(1)).state == "inconclusive"


def test_expected_numbers_are_those_of_this_study():
    known = expected(study.SLUG)
    own = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert tuple(known[key] for key in ("slug", "title", "arxiv", "claim", "unit")) == own
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
