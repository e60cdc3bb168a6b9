"""Intervals: conformal quantiles, distances to the hull, runs predicted without themselves, coverage of made sweeps."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from laws.configuration.made import sweep
from thalweg.laws.configuration import ConfigTable, ConfigurationLaw
from thalweg.laws.configuration.calibration import Calibration, Region, calibrate, conformal_quantile, refits, runs_of
from thalweg.laws.configuration.features import Encoder
from thalweg.laws.configuration.surface import covariance, fit_surface


def at(points):
    """A table of runs at points (log N, log D)."""
    n, d = np.exp(np.array(points, dtype=float)).T
    return ConfigTable({"params": n, "tokens": d}, {}, np.ones(len(n)), ["train"] * len(n))


@pytest.fixture(scope="module")
def law():
    return ConfigurationLaw.fit(sweep(120), members=2)


def test_the_quantile_covers_an_exchangeable_score():
    """Of n + 1 exchangeable scores the last is at most the quantile of the others with probability >= 0.9, by count."""
    for n in (9, 10, 57):
        scores = np.arange(n + 1.0)
        held = np.mean([score <= conformal_quantile(np.delete(scores, int(score))) for score in scores])
        assert held >= 0.9
        assert held <= 0.9 + 1 / (n + 1) + 1e-12
    assert conformal_quantile(np.array([3.0, 1.0])) == 3.0


def test_distances_to_the_hull():
    """A square with points inside; then a line and a point; witnesses are Pythagoras' theorem and a fine grid."""
    square = Region.of(at([(0, 0), (2, 0), (2, 2), (0, 2), (1, 1), (1, 0)]))
    assert sorted(map(tuple, np.round(square.corners, 9))) == [(0, 0), (0, 2), (2, 0), (2, 2)]
    distance, near = square.nearest(at([(1, 1.5), (5, 6), (1, -3), (2, 1)]))
    assert distance == pytest.approx([0, 5, 3, 0], abs=1e-7)
    assert near == pytest.approx(np.array([(1, 1.5), (2, 2), (1, 0), (2, 1)]), abs=1e-7)
    line = Region.of(at([(0, 0), (1, 1), (3, 3)]))
    assert line.nearest(at([(2, 0), (4, 4)]))[0] == pytest.approx([2**0.5, 2**0.5], abs=1e-7)
    assert Region.of(at([(1, 1)])).nearest(at([(1, 3)]))[0] == pytest.approx([2.0], abs=1e-7)
    rng = np.random.default_rng(0)
    points = rng.standard_normal((12, 2))
    weights = rng.dirichlet(np.full(12, 0.05), 200_000)
    asked = 3 * rng.standard_normal((5, 2))
    grid = np.linalg.norm(asked[:, None] - (weights @ points)[None], axis=-1).min(axis=1)
    assert Region.of(at(points)).nearest(at(asked))[0] == pytest.approx(grid, abs=0.03)


def test_runs_left_out_in_closed_form():
    """Against the dense posterior on the other rows; points of one run's curve leave together."""
    table = sweep(40, curves=True)
    table = replace(table, numbers={name: np.repeat(v[:20], 2) for name, v in table.numbers.items()},
                    texts={"optimizer": [w for w in table.texts["optimizer"][:20] for _ in range(2)]})  # fmt: skip
    table.numbers["frac"][:] = np.tile([0.5, 1.0], 20)
    run = runs_of(table)
    assert run.tolist() == np.repeat(np.arange(20), 2).tolist()
    features = Encoder.fit(table).encode(table)
    surface = fit_surface(features, table.losses)
    mean, deviation = surface.left_out(run)
    log = {name: torch.tensor(value, dtype=torch.float64) for name, value in surface.theta.items()}
    rows = tuple(map(torch.as_tensor, (features.inputs, features.scale, features.category)))
    k = covariance(log, rows, rows).numpy() + np.diag(surface.noise) + 1e-6 * np.eye(40)
    y = (table.losses - np.median(table.losses)) / table.losses.std()
    common = np.exp(2 * log["noise"].item())
    for number in (0, 7, 19):
        out = run == number
        gain = k[out][:, ~out] @ np.linalg.inv(k[~out][:, ~out])
        expected = np.median(table.losses) + table.losses.std() * gain @ y[~out]
        variance = np.diag(k[out][:, out] - gain @ k[~out][:, out]) - surface.noise[out] + common
        assert mean[out] == pytest.approx(expected, abs=1e-7)
        assert deviation[out] == pytest.approx(table.losses.std() * np.sqrt(variance), rel=1e-5)


def test_fresh_runs_lie_in_the_interval_as_often_as_it_says():
    """Three made sweeps, 300 fresh runs each. The share's deviation: sqrt(.09 / 120) a calibration of 120 runs and
    sqrt(.09 / 300) a count of 300, over three sweeps .019; three of those."""
    shares = []
    for seed in range(3):
        law = ConfigurationLaw.fit(sweep(120, seed=seed), members=1, seed=seed)
        rows = sweep(300, seed=50 + seed)
        found = law.predict(rows)
        shares.append(np.mean((found.low <= rows.losses) & (rows.losses <= found.high)))
    assert np.mean(shares) == pytest.approx(0.9, abs=3 * (0.09 / 120 + 0.09 / 300) ** 0.5 / 3**0.5)


def test_the_width_grows_with_the_distance(law):
    sizes = np.array([1e8, 2e8, 4e8, 8e8, 1.6e9])
    rows = [{"optimizer": "adamw", "params": n, "tokens": 1e10, "learning_rate": 4e-3} for n in sizes]
    found = law.predict(rows)
    width = found.high - found.low
    assert law.calibration.beyond > 0
    assert (np.diff(width[1:]) > 0).all()
    assert found.high[-1] - found.low[-1] >= width[1] + 2 * law.calibration.beyond * np.log(8) * 0.9
    assert found.loss == pytest.approx((found.low + found.high) / 2)


def test_the_widths_of_a_formula():
    """Members that agree: inside x deviation at the nearest fitted scale + beyond x distance."""

    def members(table):
        return np.ones((2, len(table))), np.tile(table.numbers["params"] * 1e-9, (2, 1))

    region = Region.of(at([(0, 0), (2, 0), (2, 2), (0, 2)]))
    asked = at([(1, 1), (5, 1)])
    half = Calibration(2.0, 0.1, 9, 9).half_width(members, region, asked, members(asked))
    assert half == pytest.approx([2e-9 * np.exp(1), 2e-9 * np.exp(2) + 0.3])
    alone = Calibration(1.2, 0.0, 9, 0).half_width(members, region, asked, members(asked))
    assert alone == pytest.approx([1.2e-9 * np.exp(1), 1.645e-9 * np.exp(5)])


def test_what_refits_leave_out():
    table = sweep(300)
    sizes = table.numbers["params"]
    masks = refits(table)
    assert 1 <= len(masks) <= 2
    assert (masks[0] == (sizes == 2e8)).all()
    assert all(len(np.unique(sizes[~mask])) >= 2 for mask in masks)
    two = table.rows(sizes < 2e8)
    for mask in refits(two):
        assert len(np.unique(two.numbers["params"][~mask])) == 2
        assert two.flops[mask].min() > 0.94 * two.flops[~mask].max()
    assert refits(at([(1, 1)] * 20)) == []


def test_the_rates_of_a_law_that_fails_by_a_known_amount():
    """A fit that is right inside and off by 0.05 an e-fold of size beyond: that is the rate found."""
    table = sweep(200, noise=0.0)
    largest = table.numbers["params"] == 2e8

    def fit(kept):
        top = kept.numbers["params"].max()

        def members(rows):
            gone = np.maximum(0, np.log(rows.numbers["params"] / top))
            true = np.array([table.losses[np.flatnonzero(table.numbers["learning_rate"] == lr)[0]]
                             for lr in rows.numbers["learning_rate"]])  # fmt: skip
            return (true + 0.05 * gone)[None], np.full((1, len(rows)), 1e-6)

        return members

    found = calibrate(fit, table, (table.losses[None], np.full((1, 200), 1e-6)))
    assert found.inside == 0
    assert found.beyond <= 0.05 + 1e-9
    assert found.beyond == pytest.approx(0.05, abs=0.02)
    assert found.runs_beyond >= largest.sum()
    assert found.runs_inside == 200


def test_few_runs_networks_and_files(law, tmp_path):
    assert ConfigurationLaw.fit(sweep(29), members=1).calibration is None
    assert ConfigurationLaw.fit(sweep(60), members=1, calibrated=False).calibration is None
    path = law.save(tmp_path / "law.json")
    assert ConfigurationLaw.load(path).calibration == law.calibration
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"calibration": None}))
    plain, means = ConfigurationLaw.load(path), law.model.predict(sweep(9))
    deviation = np.sqrt((means[1] ** 2).mean(axis=0) + means[0].var(axis=0))
    assert plain.predict(sweep(9)).high == pytest.approx(means[0].mean(axis=0) + 1.645 * deviation)


def test_trees_leave_a_fifth_out():
    pytest.importorskip("sklearn")
    law = ConfigurationLaw.fit(sweep(100), backbone="boosted", members=2)
    assert law.calibration.runs_inside == 20
    assert law.calibration.inside > 0
