"""The study runs (SMOKE); its text recipes are what they say; the rule gives each verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.data import Batches
from thalweg.studies.base import expected
from thalweg.studies.proxy_small_lr import study, text

Records = list[dict[str, Any]]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("study")
    return [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=folder)]


def test_records_are_plain_json_and_complete(smoke: Records):
    assert json.loads(json.dumps(smoke, allow_nan=False)) == smoke
    config = study.SMOKE
    assert sum(r["part"] == "features" for r in smoke) == config.sets
    runs = [(r["role"], r["recipe"], r["rate"]) for r in smoke if "recipe" in r]
    assert len(set(runs)) == len(runs) == 8 * (len(config.text.rates) + len(config.text.target_rates))
    assert np.array(smoke[0]["proxies"]).shape == (config.recipes, len(config.rates), config.students)


def test_again_the_same_numbers(smoke: Records, tmp_path: Path):
    torch.manual_seed(123)  # the generator of the process has no say
    assert [dict(r, seed=0) for r in study.run(study.SMOKE, seed=0, device="cpu", folder=tmp_path)] == smoke


def test_recipes_are_what_they_say():
    config, count = study.SMOKE.text, 320
    rows = {name: text.recipe_windows(config, name, count, 5) for name in text.RECIPES}
    assert {r.shape for r in rows.values()} == {(count, 17)}
    own = {
        domain: {tuple(r) for r in Batches(text._tokens(domain, "train"), context=16, batch=count, seed=5).at(0)}
        for domain in ("plays", "kjv", "prose", "code")
    }
    for name in ("plays", "kjv", "prose"):
        assert {tuple(r) for r in rows[name]} == own[name]
    for name, share in (("plays, 15 % wrong", 0.15), ("plays, 70 % wrong", 0.7)):
        changed = (rows[name] != rows["plays"]).mean()
        assert share * 0.85 < changed < share  # a byte can be drawn anew as itself
    repeated, counts = np.unique(rows["plays, 32 times"], axis=0, return_counts=True)
    assert len(repeated) == count // 32
    assert np.all(counts == 32)
    from_plays = np.array([tuple(r) in own["plays"] for r in rows["plays and code"]])
    assert np.all(from_plays == (np.arange(count) % 2 == 1))


def test_a_model_in_the_stack_trains_as_alone():
    """One recipe's proxy against a plain loop with torch's AdamW."""
    config = study.SMOKE.text
    model = text.LanguageModel(config.proxy, generator=torch.Generator().manual_seed(2))
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    rows = torch.from_numpy(np.stack([text.recipe_windows(config, name, 64, 2) for name in ("kjv", "plays")]))
    held_out = [torch.from_numpy(each) for each in text._held_out(config)]
    losses = text._train(config, model, "proxy", 1e-2, rows, held_out)
    assert all(torch.equal(p, start[name]) for name, p in model.named_parameters())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.95), weight_decay=0.1)
    for step in range(8):
        optimizer.param_groups[0]["lr"] = 1e-2 * min(1.0, (step + 1) / 2)
        batch = rows[1, step * 8 : (step + 1) * 8]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
        optimizer.step()
    assert losses[1] == pytest.approx(float(text.window_losses(model, held_out).mean()), rel=1e-4)


def test_figure_has_its_panels(smoke: Records):
    figure = study.figure(smoke)
    assert len(figure.axes) == 4
    assert all(axes.get_title() for axes in figure.axes)


def made_up(small: float = 0.0, large: float = 1.0, tiny: float = 1.0, spread: float = 0.0) -> Records:
    """Eight recipes of which a proxy's ranking is mixed with a fixed shuffle of them: 0 keeps it, 1 is the shuffle."""
    value, shuffled = np.arange(8.0), np.array([4.0, 7, 1, 6, 0, 3, 5, 2])
    rows: Records = []
    for seed in range(3):
        levels = (tiny, 0.0, small + spread * (seed == 1), 0.5, large)
        proxies = np.stack([2 - 0.1 * k + 0.01 * ((1 - m) * value + m * shuffled) for k, m in enumerate(levels)], 1)
        proxies[:, 3:] += 1  # the small rate has the least loss
        rows.append(
            {
                "part": "features",
                "set": 0,
                "seed": seed,
                "bias": [0.0] * 8,
                "noise": [0.1] * 8,
                "rates": [0.001, 0.005, 0.03, 0.1, 1.0],
                "start": 3.0,
                "proxies": proxies[:, :, None].tolist(),
                "targets": (1 + 0.01 * value)[:, None].tolist(),
            }
        )
    return rows


def test_margins_are_those_of_the_rule():
    rows = [r for r in made_up() if r["seed"] == 0]
    rho = study.correlations(rows[0])
    np.testing.assert_allclose(rho[[1, 2]], 1)
    found = study.margins(rows)
    assert found["small"] == pytest.approx(0.1)
    assert found["large"] == pytest.approx(1 - rho[4] - 0.3)
    assert found["tiny"] == pytest.approx(1 - rho[0] - 0.3)
    assert found["regret"] == pytest.approx(0.03)
    assert found["plateau"] == pytest.approx(0.15)


def test_rule_of_the_verdict():
    outcome = study.verdict(made_up())
    assert outcome.state == "reproduced"
    assert outcome.effect == pytest.approx(1 - study.correlations(made_up()[0])[4])
    assert study.verdict(made_up(large=0.0)).state == "not reproduced"
    assert study.verdict(made_up(tiny=0.0)).state == "not reproduced"
    assert study.verdict(made_up(small=1.0)).state == "not reproduced"
    assert study.verdict(made_up(spread=1.0)).state == "inconclusive"
    assert study.verdict([r for r in made_up() if r["seed"] == 0]).state == "inconclusive"


def test_expected_numbers_are_those_of_this_study():
    known = expected(study.SLUG)
    own = (study.SLUG, study.TITLE, study.ARXIV, study.CLAIM, study.UNIT)
    assert tuple(known[key] for key in ("slug", "title", "arxiv", "claim", "unit")) == own
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
