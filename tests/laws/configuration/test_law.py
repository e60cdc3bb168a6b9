"""The law over configurations: it recovers a made sweep, says how sure it is, and comes back from JSON."""

import json

import numpy as np
import pytest
import torch

from laws.configuration.made import sweep, truth
from thalweg.errors import InputError
from thalweg.laws.configuration import ConfigTable, ConfigurationLaw, leave_largest_out, score
from thalweg.laws.configuration.features import Encoder
from thalweg.laws.configuration.surface import Surface, covariance, fit_surface


@pytest.fixture(scope="module")
def law():
    return ConfigurationLaw.fit(sweep(), members=4)


def test_larger_models_are_predicted(law):
    """A size twice the largest fitted one: within the interval, and far better than size and data alone."""
    found = score(law, sweep(100, seed=1, sizes=(4e8,)))
    assert found.ratio < 0.5
    assert found.spearman > 0.97 > found.baseline_spearman
    assert found.coverage > 0.8
    assert found.mae < 0.02


def test_scores_by_their_definitions(law):
    table = sweep(40, seed=2)
    found, said = score(law, table), law.predict(table)
    assert found.mae == pytest.approx(np.abs(said.loss - table.losses).mean())
    assert found.rmse == pytest.approx(np.sqrt(np.mean((said.loss - table.losses) ** 2)))
    assert found.bias == pytest.approx(np.mean(said.loss - table.losses))
    assert found.ratio == pytest.approx(found.mae / np.abs(said.baseline - table.losses).mean())
    with pytest.raises(InputError, match="at least 3"):
        score(law, table.rows(np.arange(2)))


def test_outside_the_fitted_range_the_interval_is_wide_and_it_says_so(law):
    inside = {"optimizer": "adamw", "params": 1e8, "tokens": 4e9, "learning_rate": 4e-3}
    outside = inside | {"params": 1e10, "tokens": 4e11, "learning_rate": 1.0}
    found = law.predict([inside, outside])
    width = found.high - found.low
    assert width[1] > 5 * width[0]
    assert found.beyond[0] == ""
    assert all(name in found.beyond[1] for name in ("params = 1e+10", "tokens", "learning_rate = 1"))
    assert "beta2 was never fitted" in law.predict([inside | {"beta2": 0.9}]).beyond[0]


@pytest.mark.parametrize("times", [1e-6, 1e4, 1e6])
def test_far_outside_the_trend_goes_on_alone(law, times):
    """A residual that was fitted is not drawn on for ever: the prediction stays near what a law of size allows."""
    far = {"optimizer": "adamw", "params": 1e8 * times, "tokens": 4e9 * times, "learning_rate": 4e-3}
    found = law.predict([far])
    assert np.isfinite([found.low[0], found.high[0]]).all()
    assert 0.2 * found.baseline[0] < found.loss[0] < 5 * found.baseline[0]
    assert found.low[0] < found.loss[0] < found.high[0]


def test_words_that_were_never_fitted_are_said(law):
    table = sweep().rows(np.array([name == "adamw" for name in sweep().texts["optimizer"]]))
    plain = ConfigurationLaw.fit(ConfigTable(table.numbers, {}, table.losses, table.split), members=1, calibrated=False)
    config = {"params": 1e8, "tokens": 4e9, "learning_rate": 4e-3}
    assert plain.predict([config]).beyond[0] == ""
    assert "optimizer was never fitted and is not used" in plain.predict([config | {"optimizer": "muon"}]).beyond[0]
    with pytest.raises(InputError, match="the fitted runs differ in optimizer: give optimizer="):
        law.predict([config])


def test_the_optimum_moves_with_size(law):
    """The made optimum is exp(-0.3 log(N / 1e8)) 4e-3; muon's is twice that."""
    rates = np.geomspace(1e-3, 2e-2, 60)
    for params, word, muon in ((5e7, "adamw", 0), (2e8, "adamw", 0), (2e8, "muon", 1)):
        rows = [{"optimizer": word, "params": params, "tokens": 40 * params, "learning_rate": float(r)} for r in rates]
        best = rates[np.argmin(law.predict(rows).loss)]
        assert np.log(best) == pytest.approx(np.log(4e-3) - 0.3 * np.log(params / 1e8) + 0.7 * muon, abs=0.35)


def test_a_saved_law_predicts_the_same(law, tmp_path):
    table = sweep(20, seed=3)
    path = law.save(tmp_path / "law.json")
    again = ConfigurationLaw.load(path).predict(table)
    found = law.predict(table)
    for name in ("loss", "low", "high", "baseline"):
        assert getattr(again, name) == pytest.approx(getattr(found, name), abs=1e-9)
    path.write_text(path.read_text().replace('"format": 2', '"format": 9'))
    with pytest.raises(InputError, match="format 9"):
        ConfigurationLaw.load(path)
    path.write_text(json.dumps({"law": "configuration", "format": 2}))
    with pytest.raises(InputError, match="no saved configuration law"):
        ConfigurationLaw.load(path)
    with pytest.raises(InputError, match="does not exist"):
        ConfigurationLaw.load(tmp_path / "none.json")


def test_curves():
    law = ConfigurationLaw.fit(sweep(200, curves=True), members=2)
    config = {"optimizer": "adamw", "params": 1e8, "tokens": 4e9, "learning_rate": 4e-3}
    fracs = np.array([0.25, 0.5, 1.0])
    found = law.predict_curve(config, fracs)
    assert found.loss == pytest.approx(truth(1e8, 4e9, 4e-3, 0, fracs), abs=0.02)
    assert (np.diff(found.loss) < 0).all()


def test_a_law_of_final_losses_has_no_curves(law):
    with pytest.raises(InputError, match="column frac"):
        law.predict_curve({"optimizer": "adamw", "params": 1e8, "tokens": 4e9}, np.array([0.5]))


def test_boosted_trees(tmp_path):
    pytest.importorskip("sklearn")
    table = sweep()
    law = ConfigurationLaw.fit(table, backbone="boosted", members=2)
    assert score(law, sweep(100, seed=4)).ratio < 0.6
    rows = sweep(9, seed=5)
    again = ConfigurationLaw.load(law.save(tmp_path / "law.json"))
    assert again.predict(rows).loss == pytest.approx(law.predict(rows).loss, abs=1e-9)


def test_refused():
    table = sweep(40)
    with pytest.raises(InputError, match="needs at least 12"):
        ConfigurationLaw.fit(table.rows(np.arange(11)))
    with pytest.raises(InputError, match="did you mean 'surface'"):
        ConfigurationLaw.fit(table, backbone="surfase")
    law = ConfigurationLaw.fit(table, members=1)
    with pytest.raises(InputError, match="did you mean 'adamw'"):
        law.predict([{"optimizer": "adamm", "params": 1e8, "tokens": 1e9}])
    with pytest.raises(InputError, match="the fitted runs differ in optimizer"):
        law.predict([{"params": 1e8, "tokens": 1e9}])


def test_leaving_the_largest_size_out():
    small, large = leave_largest_out(sweep())
    assert small.numbers["params"].max() == 1e8
    assert set(large.numbers["params"]) == {2e8}
    with pytest.raises(InputError, match="one model size"):
        leave_largest_out(small.rows(small.numbers["params"] == 5e7))


def test_surface_is_the_textbook_posterior():
    """Mean and variance against the dense formulas with an explicit inverse, in float64."""
    table = sweep(50)
    encoder = Encoder.fit(table)
    features, new = encoder.encode(table, "power"), encoder.encode(sweep(7, seed=8), "power")
    surface = fit_surface(features, table.losses)
    log = {name: torch.tensor(value, dtype=torch.float64) for name, value in surface.theta.items()}
    a, b = (tuple(map(torch.as_tensor, (f.inputs, f.scale, f.category))) for f in (features, new))
    noise = float((2 * log["noise"]).exp())
    inverse = np.linalg.inv(covariance(log, a, a).numpy() + np.diag(surface.noise) + 1e-6 * np.eye(50))
    cross = covariance(log, b, a).numpy()
    values = (table.losses - np.median(table.losses)) / table.losses.std()
    mean = np.median(table.losses) + table.losses.std() * cross @ inverse @ values
    variance = np.diag(covariance(log, b, b).numpy() - cross @ inverse @ cross.T) + noise
    found = Surface(surface.theta, features, table.losses).predict(new)
    assert found[0] == pytest.approx(mean, abs=1e-7)
    assert found[1] == pytest.approx(table.losses.std() * np.sqrt(variance), rel=1e-5)


def test_a_row_that_the_others_contradict_counts_less():
    """One loss 0.3 too high among 80: its noise is the largest, and the surface stays where it was."""
    table = sweep(80)
    encoder = Encoder.fit(table)
    features, new = encoder.encode(table), encoder.encode(sweep(30, seed=8))
    clean = fit_surface(features, table.losses)
    wrong = table.losses + 0.3 * (np.arange(80) == 40)
    found = Surface(clean.theta, features, wrong)
    assert found.noise.argmax() == 40
    assert found.noise[40] == pytest.approx(30 * np.exp(2 * np.array(clean.theta["noise"])), rel=0.1)
    moved = np.abs(found.predict(new)[0] - clean.predict(new)[0]).max()
    assert moved < 0.02


def test_the_kernel_is_positive_definite_and_knows_kinds():
    table = sweep(30)
    features = Encoder.fit(table).encode(table)
    theta = fit_surface(features, table.losses).theta
    log = {name: torch.tensor(value, dtype=torch.float64) for name, value in theta.items()}
    rows = tuple(map(torch.as_tensor, (features.inputs, features.scale, features.category)))
    k = covariance(log, rows, rows)
    assert torch.linalg.eigvalsh(k).min() > -1e-9
    other = (rows[0], rows[1], 1 - rows[2])
    assert (covariance(log, rows, other).diagonal() < k.diagonal()).all()


def test_features_are_centred_within_a_kind():
    table = sweep(60)
    encoder = Encoder.fit(table)
    found = encoder.encode(table)
    for kind in (0, 1):
        assert found.inputs[found.category == kind].mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert list(encoder.means) == ["learning_rate"]  # the batch size does not vary
    left_out = ConfigTable.of([{"optimizer": "muon", "params": 1e8, "tokens": 4e9}])
    assert encoder.encode(left_out).inputs.tolist() == [[0.0]]
