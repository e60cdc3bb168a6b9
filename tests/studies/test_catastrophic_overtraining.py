"""The study runs (SMOKE); its runs are AdamW's under the stated schedule; the rule gives each verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.data import Batches
from thalweg.studies.base import expected
from thalweg.studies.catastrophic_overtraining import lab, study

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def test_records_are_plain_json_and_complete(smoke: Records):
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    counts = {part: sum(r["part"] == part for r in smoke) for part in ("annealed", "constant", "finetuning", "linear")}
    assert counts == {"annealed": 3 * (2 + 1), "constant": 2 * 2, "finetuning": 3 * 2, "linear": 5}
    bases = {(r["budget"], r["base"]) for r in smoke if r["part"] in ("annealed", "finetuning")}
    assert len(bases) == 3  # noise and fine-tuning start from the same checkpoints


def test_again_the_same_numbers(smoke: Records, tmp_path: Path):
    torch.manual_seed(123)  # the generator of the process has no say
    assert [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path)] == smoke


def test_an_annealed_run_is_torchs_adamw_under_a_cosine(smoke: Records):
    config = study.SMOKE
    own = lab.Lab(config, 0, "cpu")
    model = own._fresh()
    batches = Batches(own.train["plays"], context=16, batch=config.batch, seed=0)
    named = dict(model.named_parameters())
    plain = [p for name, p in named.items() if "norm" in name or "embed" in name]
    decayed = [p for name, p in named.items() if not ("norm" in name or "embed" in name)]
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95), weight_decay=config.weight_decay)
    for step in range(8):
        x = (step - 2) / 6
        rate = config.rate * ((step + 1) / 2 if step < 2 else (1 + math.cos(math.pi * x)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = torch.from_numpy(batches.at(step))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(rows[:, :-1]).logits.flatten(0, 1), rows[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    found = next(r["base"] for r in smoke if r["part"] == "annealed" and r["budget"] == 8)
    assert found == pytest.approx(own._pretraining_loss(model), rel=1e-4)


def test_figure_has_its_panels(smoke: Records):
    figure = study.figure(smoke)
    assert len(figure.axes) == 6
    assert all(axes.get_title() for axes in figure.axes)


UP, DOWN, MIXED = (0.2, 0.3, 0.25), (-0.2, -0.3, -0.25), (0.2, -0.2, 0.01)
BUDGETS = (100, 200, 400)


def made_up(**margins: tuple[float, ...]) -> Records:
    """Records of three seeds whose margins are as given; those not named are UP."""
    rows: Records = []
    for seed in range(3):
        growth, base, upturn, mild, forgetting = (
            margins.get(name, UP)[seed] for name in ("growth", "base", "upturn", "mild", "forgetting")
        )
        bases = [2.0, 2 - base / 2, 2 - base]
        small = 1e-3 * 2 ** (growth * np.arange(3))
        after = [4.0, 4.0, 4.0 + upturn] if upturn > 0 else [4.0, 4.0 + upturn, 4.0]
        for k, budget in enumerate(BUDGETS):
            large = after[k] - bases[k]
            # at the smallest noise the loss after noise falls by ``mild``: the base, moved, less small itself
            for scale, start, rise in ((0.5, 3 - mild * k / 2 - small[k], small[k]), (8.0, bases[k], large)):
                row = {"part": "annealed", "budget": budget, "group": "*", "scale": scale, "seed": seed}
                rows.append({**row, "base": start, "rise": rise})
            for rate, slope in ((1e-3, forgetting), (1e-2, forgetting + 1)):
                tuned = {"part": "finetuning", "budget": budget, "rate": rate, "seed": seed, "base": 2.0, "task": 1.0}
                rows.append({**tuned, "after": 2.5 + slope * k})
    return rows


def test_margins_are_those_of_the_rule():
    found = study.margins([r for r in made_up(upturn=(0.9, 0.9, 0.9)) if r["seed"] == 0])
    large = (2.0, 2.1, 3.1)  # rises at the largest noise: after 4, 4, 4.9 less bases 2, 1.9, 1.8
    growth = min(0.2, math.log2(large[1] / large[0]))
    wanted = {"growth": growth, "base": 0.2, "upturn": 0.9, "mild": 0.2, "forgetting": 0.2}
    assert found == pytest.approx(wanted)


def test_exponent_is_the_slope_of_logarithms():
    assert study.exponent([r for r in made_up() if r["seed"] == 1], 0.5) == pytest.approx(0.3)


def test_rule_reproduced():
    outcome = study.verdict(made_up())
    assert outcome.state == "reproduced"
    slopes = [min(study.exponent([r for r in made_up() if r["seed"] == k], s) for s in (0.5, 8.0)) for k in range(3)]
    assert outcome.effect == pytest.approx(np.mean(slopes))


@pytest.mark.parametrize("name", ["growth", "base", "mild", "forgetting"])
def test_rule_needs_all(name: str):
    assert study.verdict(made_up(**{name: DOWN})).state == "not reproduced"
    assert study.verdict(made_up(**{name: MIXED})).state == "inconclusive"


def test_no_upturn_is_inconclusive_because_that_margin_cannot_be_negative():
    rows = made_up()
    for row in rows:
        if row.get("scale") == 8.0:
            row["rise"] = 5 - row["budget"] / 1000 - row["base"]
    assert study.margins([r for r in rows if r["seed"] == 0])["upturn"] == 0
    assert study.verdict(rows).state != "reproduced"


def test_rule_needs_more_than_one_seed():
    assert study.verdict([r for r in made_up() if r["seed"] == 0]).state == "inconclusive"


def test_expected_numbers_are_those_of_this_study():
    known = expected(study.SLUG)
    own = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert tuple(known[key] for key in ("slug", "title", "arxiv", "claim", "unit")) == own
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
