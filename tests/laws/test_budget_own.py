"""Plans from fitted laws: a configuration law, and a curve law that designs the schedule."""

from __future__ import annotations

import numpy as np
import pytest

from laws.configuration.made import sweep
from thalweg.errors import InputError
from thalweg.laws import ReuseLaw
from thalweg.laws.budget import Budget, Constraints, OwnLaws, plan_run, read_law
from thalweg.laws.configuration import ConfigurationLaw, plan
from thalweg.schedules import parse


@pytest.fixture(scope="module")
def configuration(tmp_path_factory):
    path = tmp_path_factory.mktemp("law") / "law.json"
    ConfigurationLaw.fit(sweep(60), members=1).save(path)
    return read_law(path.read_text(), "law.json")


def test_a_configuration_law_plans_as_its_own_search_does(configuration):
    found = plan_run(Budget.of(flops=2.4e18), Constraints(params=1e8), own=configuration, context=2048)
    law = configuration.configuration
    tune = ["learning_rate", "batch_size", "optimizer"]
    wanted = plan(law, budget=2.4e18, tune=tune, fixed={"params": 1e8})
    assert found.loss.value == pytest.approx(wanted.loss)
    assert (found.loss.low, found.loss.high) == (pytest.approx(wanted.low), pytest.approx(wanted.high))
    assert found.learning_rate.value == pytest.approx(wanted.config["learning_rate"])
    assert found.batch == round(wanted.config["batch_size"])
    rates = [row.loss for row in found.trade_offs if row.choice == "learning rate"]
    assert rates == [choice.loss - wanted.loss for choice in wanted.trade_offs["learning_rate"]]
    assert found.origins[0].name == "configuration law"


def test_a_configuration_law_follows_constraints_or_says_why_not(configuration):
    free = plan_run(Budget.of(flops=2.4e18), own=configuration, unique=1e8)
    assert any("counts repeated tokens as fresh" in said for said in free.warnings)
    small = plan_run(Budget.of(flops=2.4e18), Constraints(overtrain=4), own=configuration)
    assert small.params == pytest.approx(small.best.value / 2)
    capped = plan_run(Budget.of(flops=2.4e18), Constraints(tokens_at_most=2e9), own=configuration)
    assert capped.tokens <= 2e9
    for arguments, said in (
        ({"shape": "designed"}, "curve law"),
        ({"constraints": Constraints(params=1e8)}, "no budget"),
    ):
        budget = Budget.of() if "constraints" in arguments else Budget.of(flops=1e18)
        with pytest.raises(InputError, match=said):
            plan_run(budget, own=configuration, **arguments)


def test_a_curve_law_compares_shapes_and_designs_one(truth):
    own = OwnLaws(curve=truth)
    found = plan_run(Budget.of(flops=3e17), own=own)
    shapes = {row.setting: row for row in found.trade_offs if row.choice == "schedule"}
    assert set(shapes) == {"cosine", "wsd, decay 0.1", "wsd, decay 0.2"}
    assert shapes["cosine"].loss == 0
    assert shapes["cosine"].chosen
    designed = plan_run(Budget.of(flops=3e17), own=own, shape="designed")
    losses = {row.setting: row.loss for row in designed.trade_offs if row.choice == "schedule"}
    assert losses["designed"] == 0
    assert min(losses.values()) > -1e-4
    rates = parse(designed.schedule).rates(designed.steps)
    assert rates.max() == pytest.approx(designed.learning_rate.value, rel=2e-3)
    difference = shapes["wsd, decay 0.2"].loss
    peak = designed.learning_rate.value
    specs = [f"cosine:peak={peak},warmup={found.warmup},floor=1e-05"]
    specs.append(f"wsd:peak={peak},warmup={found.warmup},decay=0.2,floor=1e-05")
    cosine, wsd = (truth.final_loss(parse(spec).rates(found.steps), warmup_steps=found.warmup) for spec in specs)
    assert difference == pytest.approx(wsd - cosine, abs=2e-4)  # the plan's peak is written in three digits
    assert np.isfinite(list(losses.values())).all()


def test_a_law_of_curves_is_read_back(truth):
    assert read_law(truth.to_json(), "law.json").curve.params == truth.params


def test_a_configuration_law_takes_a_curve_law_beside_it_and_no_other(configuration, truth):
    both = configuration.joined(OwnLaws(curve=truth))
    found = plan_run(Budget.of(flops=2.4e18), Constraints(params=1e8), own=both)
    assert {row.choice for row in found.trade_offs} >= {"learning rate", "schedule"}
    with pytest.raises(InputError, match="own laws of reuse would"):
        plan_run(Budget.of(flops=2.4e18), own=configuration.joined(OwnLaws(reuse=ReuseLaw())))
