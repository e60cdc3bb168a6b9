"""What the figures of laws show is what they were given: the data behind the axes, not the picture."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.laws import LossCurve, MultiPower, fit
from thalweg.schedules import parse
from thalweg.web.law_figures import forecast_figure, law_figure, prediction_figure

PARAMS = {"L0": 2.5, "A": 0.65, "alpha": 0.43, "B": 520.0, "C": 2.0, "beta": 0.6, "gamma": 0.64}
SPECS = {"constant": "constant:peak=3e-4,warmup=50", "cosine": "cosine:peak=3e-4,warmup=50"}


@pytest.fixture(scope="module")
def law() -> MultiPower:
    return MultiPower(params=PARAMS)


@pytest.fixture(scope="module")
def curves(law) -> dict[str, LossCurve]:
    made = {}
    for name, spec in SPECS.items():
        rates, at = parse(spec).rates(400), np.arange(9, 400, 10)
        noise = np.random.default_rng(len(name)).standard_normal(len(at))
        losses = law.predict(rates, at=at, warmup_steps=50) * np.exp(1e-3 * noise)
        made[name] = LossCurve(name, rates, at, losses, 50)
    return made


def xy(line) -> list[np.ndarray]:
    return [np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)]


def test_law_figure_holds_losses_law_and_residuals(law, curves):
    figure = law_figure(law, curves, ["constant"])
    upper, lower = figure.axes
    for k, (name, curve) in enumerate(curves.items()):
        dots, line, residual = upper.lines[2 * k], upper.lines[2 * k + 1], lower.lines[k]
        steps, losses = curve.steps[curve.steps >= 50], curve.losses[curve.steps >= 50]
        predicted = law.predict(curve.rates, at=steps, warmup_steps=50)
        np.testing.assert_array_equal(xy(dots), [steps, losses])
        np.testing.assert_array_equal(xy(line), [steps, predicted])
        np.testing.assert_allclose(xy(residual), [steps, 100 * (predicted - losses) / losses], atol=1e-10)
        role = {"constant": ("-", "constant (fitted)"), "cosine": ("--", "cosine (not fitted)")}[name]
        assert (line.get_linestyle(), line.get_label()) == role
        assert dots.get_color() == line.get_color() == residual.get_color()
    assert upper.lines[0].get_color() != upper.lines[2].get_color()


def test_prediction_figure_holds_the_curve_its_band_and_the_rates(curves):
    fitted = fit(curves, draws=6, rivals=False)
    rates = parse("wsd:peak=3e-4,warmup=50,decay=0.2").rates(600)
    upper, lower = prediction_figure(fitted, {"a name": rates}, 50).axes
    at, losses = xy(upper.lines[0])
    assert (at[0], at[-1]) == (50, 599)
    np.testing.assert_array_equal(losses, fitted.predict(rates, at=at.astype(int), warmup_steps=50))
    assert upper.lines[0].get_label() == "a name"
    np.testing.assert_array_equal(xy(lower.lines[0]), [np.arange(600), rates])
    low, high = fitted.band(rates, at=at.astype(int), warmup_steps=50)
    corners = {(x, y) for x, y in upper.collections[0].get_paths()[0].vertices}
    assert set(zip(at, low, strict=True)) | set(zip(at, high, strict=True)) <= corners


def test_a_law_without_draws_has_no_band(law):
    upper, _ = prediction_figure(law, {"x": parse(SPECS["cosine"]).rates(300)}, 50).axes
    assert len(upper.collections) == 0
    assert len(upper.lines) == 1


def test_forecast_figure_holds_what_was_foretold_and_measured(result):
    figure = forecast_figure(result)
    assert len(figure.axes) == 3
    for axes, (name, row) in zip(figure.axes, result["table"].items(), strict=True):
        measured, predicted, end_of_pilots = axes.lines
        run, forecast = result["runs"][f"long-{name}"], result["schedules"][name]
        for line, given in ((measured, run), (predicted, forecast)):
            late = np.array(given["steps"]) >= result["plan"]["horizon"] // 8
            np.testing.assert_array_equal(xy(line), np.array([given["steps"], given["losses"]])[:, late])
        assert set(xy(end_of_pilots)[0]) == {result["plan"]["pilot_steps"]}
        assert axes.get_title() == (
            f"{name}\npredicted {row['final_loss']:.4f}, measured {row['measured']:.4f} ({100 * row['error']:+.2f} %)"
        )
        corners = {(x, y) for x, y in axes.collections[0].get_paths()[0].vertices}
        ends = zip(forecast["steps"], forecast["low"], forecast["high"], strict=True)
        assert {(s, y) for s, *both in ends for y in both if s >= result["plan"]["horizon"] // 8} <= corners


def test_no_measured_point_falls_off_the_picture(result):
    run = result["runs"]["long-wsd"]
    run["losses"] = [loss - 0.3 for loss in run["losses"]]  # much better than foretold
    for axes, name in zip(forecast_figure(result).axes, result["table"], strict=True):
        bottom, top = axes.get_ylim()
        losses = xy(axes.lines[0])[1]
        assert bottom < losses.min(), name
        assert losses.max() < top, name
