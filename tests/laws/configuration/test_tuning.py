"""The search for the configuration of least predicted loss."""

import numpy as np
import pytest

from laws.configuration.made import sweep
from thalweg.errors import InputError
from thalweg.laws.configuration import ConfigurationLaw, plan


@pytest.fixture(scope="module")
def law():
    return ConfigurationLaw.fit(sweep(200), members=2)


def test_the_made_optimum_is_found(law):
    """Size fixed: the optimizer muon, at the rate where the made bowl has its bottom."""
    found = plan(law, budget=6 * 1e8 * 4e9, tune=["learning_rate", "optimizer"], fixed={"params": 1e8})
    assert found.config["optimizer"] == "muon"
    assert np.log(found.config["learning_rate"]) == pytest.approx(np.log(4e-3) + 0.7, abs=0.3)
    assert found.config["tokens"] == pytest.approx(4e9)
    assert found.low < found.loss < found.high
    assert set(found.trade_offs) == {"learning_rate", "optimizer"}
    for choices in found.trade_offs.values():
        assert min(choice.loss for choice in choices) == pytest.approx(found.loss, abs=1e-9)


def test_size_and_data_share_the_budget(law):
    found = plan(law, budget=2.4e18, tune=["learning_rate"], fixed={"optimizer": "adamw"})
    assert 6 * found.config["params"] * found.config["tokens"] == pytest.approx(2.4e18)
    assert "params" in found.trade_offs
    inside = [c for c in found.trade_offs["params"] if 5e7 <= c.value <= 2e8]
    assert (
        min(c.high - c.low for c in inside) < found.trade_offs["params"][-1].high - found.trade_offs["params"][-1].low
    )


def test_the_sweep_agrees_with_the_whole_grid(law, monkeypatch):
    asked = {"budget": 2.4e18, "tune": ["learning_rate", "optimizer"]}
    whole = plan(law, **asked)
    monkeypatch.setattr("thalweg.laws.configuration.tuning.WHOLE", 0)
    assert plan(law, **asked).loss == pytest.approx(whole.loss, abs=2e-3)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"budget": 0.0, "tune": ["learning_rate"]}, "budget is 0"),
        ({"budget": 1e18, "tune": []}, "tune is empty"),
        ({"budget": 1e18, "tune": ["learning_rat"]}, "did you mean 'learning_rate'"),
        ({"budget": 1e18, "tune": ["params"], "fixed": {"params": 1e8}}, "both fixed and tuned"),
        ({"budget": 1e18, "tune": ["learning_rate"], "fixed": {"params": 1e8, "tokens": 1e9}}, "leave one out"),
        ({"budget": 1e18, "tune": ["tokens"]}, "follow from budget"),
        ({"budget": 1e30, "tune": ["learning_rate"]}, "lies too far"),
        ({"budget": 1e18, "tune": ["learning_rate"], "fixed": {"optimizer": "lion"}}, "no fitted run has optimizer"),
    ],
)
def test_refused(law, asked, said):
    with pytest.raises(InputError, match=said):
        plan(law, **asked)
