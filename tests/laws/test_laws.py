"""What every law promises, and what each formula says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws import LAWS, Law, LossCurve, MultiPower, fit, load_law
from thalweg.laws.law import Scale
from thalweg.schedules import parse
from thalweg.testing import check_law

from .conftest import TRUTH, WARMUP, shape, synthetic

PARAMS = {
    "multi-power": TRUTH | {"warmup_share": 0.9, "rate_power": 0.8},
    "momentum": {"L0": 2.5, "A": 0.6, "alpha": 0.45, "C": 0.8, "lambda": 0.995, "warmup_share": 0.9, "rate_power": 0.8},
    "one-power": {"L0": 2.5, "A": 0.6, "alpha": 0.45, "B": 400.0, "warmup_share": 1.1, "rate_power": 1.2},
    "chinchilla-steps": {"L0": 2.5, "A": 90.0, "alpha": 0.6},
}


@pytest.mark.parametrize("name", LAWS)
def test_contract(name):
    check_law(LAWS[name], PARAMS[name])


def test_every_law_is_tested():
    assert set(PARAMS) == set(LAWS)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("kind", ["cosine", "two-stage", "cyclic"])
def test_prediction_equals_definition(name, kind):
    for form in LAWS[name].FORMS:
        law = LAWS[name](params=PARAMS[name], warmup=form)
        rates, at = shape(kind), np.arange(0, 4000, 13)
        error = np.abs(law.predict(rates, warmup_steps=WARMUP, at=at) - law.definition(rates, WARMUP, at))
        assert error.max() < 1e-6  # nats per token, as promised


@pytest.mark.parametrize("name", LAWS)
def test_jacobian_by_finite_differences(name):
    law = LAWS[name]
    rates = shape("cosine", 1200)
    features = law.features(rates, WARMUP, at=np.array([250, 700, 1199]), form="paper", order=10)
    scale = Scale(3e-4, 0.3, 1200.0)
    u = law.internal(PARAMS[name], scale)
    slopes = law.evaluate(u, features, scale, True)[1]
    for j, h in enumerate(np.full(len(u), 1e-5)):
        up, down = (law.evaluate(u + s * h * np.eye(len(u))[j], features, scale, False)[0] for s in (1, -1))
        np.testing.assert_allclose(slopes[:, j], (up - down) / (2 * h), rtol=1e-5, atol=1e-8)


def test_momentum_and_one_power_by_hand():
    rates = np.array([1.0, 1.0, 0.4, 0.4])
    one = LAWS["one-power"](params={"L0": 2, "A": 1, "alpha": 1, "B": 0.5, "warmup_share": 1})
    np.testing.assert_allclose(one.predict(rates, warmup_steps=0), 2 + 1 / np.cumsum(rates) - 0.5 * (1 - rates))
    params = {"L0": 2, "A": 1, "alpha": 1, "C": 0.5, "lambda": 0.5, "warmup_share": 1}
    momentum = LAWS["momentum"](params=params).predict(rates, warmup_steps=0)
    np.testing.assert_allclose(momentum, 2 + 1 / np.cumsum(rates) - 0.5 * np.array([0, 0, 0.6, 0.9]))


def test_predicts_a_schedule_object_and_checks_steps(truth):
    schedule = parse("cosine:peak=3e-4,warmup=200")
    np.testing.assert_array_equal(truth.predict(schedule, 1000), truth.predict(schedule.rates(1000), warmup_steps=200))
    assert truth.final_loss(schedule, 1000) == pytest.approx(truth.predict(schedule, 1000)[-1], abs=1e-6)
    with pytest.raises(InputError, match="steps is missing"):
        truth.predict(schedule)
    with pytest.raises(InputError, match="outside 0 to 999"):
        truth.predict(schedule, 1000, at=[1000])


def test_bad_rates_and_params(truth):
    for bad in ([], [[1.0]], [1.0, np.nan], [-1.0, 1.0], [0.0, 0.0]):
        with pytest.raises(InputError, match="rates"):
            truth.predict(np.array(bad))
    with pytest.raises(InputError, match="takes the parameters"):
        MultiPower(params={"L0": 1.0})
    with pytest.raises(InputError, match="warmup is 'papers'"):
        MultiPower(params=TRUTH, warmup="papers")


def test_json_is_exact(tmp_path, exact_curves):
    law = fit({name: curve for name, curve in exact_curves.items()}, draws=5)
    path = law.save(tmp_path / "law.json")
    again = load_law(path)
    assert again.params == law.params
    np.testing.assert_array_equal(again.record.draws, law.record.draws)
    assert again.to_json() == law.to_json()
    np.testing.assert_array_equal(again.predict(shape("wsd")), law.predict(shape("wsd")))
    assert again.trust(shape("wsd")) == law.trust(shape("wsd"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "no law"),
        ('{"law": "multi-power", "params": {}, "format": 99}', "format 99"),
        ('{"law": "multi-pover", "params": {}, "format": 1}', "did you mean 'multi-power'"),
        ('{"law": "multi-power", "params": {}, "format": 1}', "damaged"),
    ],
)
def test_bad_law_files(tmp_path, content, says):
    path = tmp_path / "law.json"
    path.write_text(content)
    with pytest.raises(InputError, match=says):
        load_law(path)
    with pytest.raises(InputError, match="does not exist"):
        load_law(tmp_path / "none.json")
    with pytest.raises(InputError, match="a folder"):
        load_law(tmp_path)


def test_metrics_by_hand():
    curve = LossCurve("a", np.ones(4), [1, 3], [3.0, 2.0], 0)
    law: Law = LAWS["chinchilla-steps"](params={"L0": 2.0, "A": 1.0, "alpha": 1.0})
    found = law.metrics(curve)  # predicts 2.5 and 2.25
    assert found.mae == pytest.approx(0.375)
    assert found.rmse == pytest.approx(np.sqrt((0.25 + 0.0625) / 2))
    assert found.r2 == pytest.approx(1 - 0.3125 / 0.5)
    assert found.pred_e == pytest.approx((0.5 / 3 + 0.25 / 2) / 2)
    assert found.worst_e == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("name", LAWS)
def test_an_outlier_moves_little(name):
    law = LAWS[name](params=PARAMS[name])
    curves = synthetic(law, ("constant", "cosine", "two-stage"), noise=1e-3)
    losses = curves["cosine"].losses.copy()
    losses[90] *= 1.2
    spoiled = curves | {"cosine": LossCurve("cosine", shape("cosine"), curves["cosine"].steps, losses, WARMUP)}
    before, after = (fit(table, name, draws=0, rivals=False).final_loss(shape("wsd")) for table in (curves, spoiled))
    assert abs(after - before) < 0.002 * before  # one 20 % error among 570 points with 0.1 % noise


def test_draws_of_another_length_are_damage(tmp_path, exact_curves):
    path = fit(exact_curves, draws=3, rivals=False).save(tmp_path / "law.json")
    text = json.loads(path.read_text())
    text["record"]["draws"] = [draw[:-1] for draw in text["record"]["draws"]]
    path.write_text(json.dumps(text))
    with pytest.raises(InputError, match="damaged"):
        load_law(path)
