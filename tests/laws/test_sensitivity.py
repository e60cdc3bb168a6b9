"""Which hyperparameters depend on the scale: the rule by hand, the published lists; scaling fits by exact recovery."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.laws.hyper_scaling import fit_hyper_scaling, nearest_on_grid
from thalweg.laws.optimizer_benchmark import load_optimizer_benchmark
from thalweg.laws.sensitivity import near_best, sensitive_hyperparameters

PUBLISHED = {
    "adamw": {"warmup": (1000, 2000), "learning_rate": (0.004, 0.008), "weight_decay": (0.1, 0.3), "batch": (128, 256)},
    "nadamw": {"warmup": (2000, 4000)},
    "lion": {"beta2": (0.95, 0.98)},
    "mini": {"learning_rate": (0.004, 0.008), "weight_decay": (0.1, 0.2), "warmup": (2000, 4000)},
    "cautious": {"batch": (128, 256)},
    "mars": {"warmup": (1000, 2000), "beta1": (0.9, 0.95, 0.98)},
    "scion": {"learning_rate": (0.008, 0.016)},
    "muon": {"learning_rate": (0.008, 0.016)},
    "soape": {"block_size": (256, 512), "precondition_frequency": (1, 10), "learning_rate": (0.008, 0.016)},
    "kron": {"learning_rate": (0.001, 0.002)},
}
"""What the official code's rule gives (arXiv 2509.02046, specification of this study)."""


def test_near_best_runs():
    runs = [({"lr": 1}, 3.0), ({"lr": 2}, 3.006), ({"lr": 3}, 3.007), ({"lr": 4}, float("inf"))]
    assert near_best(runs) == [{"lr": 1}, {"lr": 2}]
    assert near_best(runs, 7.5e-3) == [{"lr": 1}, {"lr": 2}, {"lr": 3}]


def test_the_rule_by_hand():
    near = {
        "a": [{"lr": 1, "decay": 0.1}, {"lr": 2, "decay": 0.2}],
        "b": [{"lr": 2, "decay": 0.1}, {"lr": 4, "decay": 0.1}],
        "c": [{"lr": 4, "decay": 0.1}],
    }
    found = sensitive_hyperparameters(near)
    assert found.fixed == {"decay": 0.1}
    assert found.sensitive == {"lr": (1, 4)}
    assert found.alternatives == {"lr": ((2, 4),)}


def test_the_kept_values_are_the_fewest_that_meet_every_regime():
    rng = np.random.default_rng(0)
    for _ in range(50):
        near = {k: [{"x": int(v)} for v in rng.choice(6, size=rng.integers(1, 4))] for k in range(5)}
        found = sensitive_hyperparameters(near)
        sets = [{values["x"] for values in kept} for kept in near.values()]
        kept = found.sensitive.get("x", (found.fixed.get("x"),))
        assert all(set(kept) & has for has in sets)
        fewer = itertools.combinations(range(6), len(kept) - 1)
        assert not any(all(set(pick) & has for has in sets) for pick in fewer)


def test_the_published_lists(shared_data):
    tables = load_optimizer_benchmark(shared_data / "optimizer-benchmark")
    for name, listed in PUBLISHED.items():
        found = sensitive_hyperparameters(tables.phase_one(name))
        sets = {key: {kept, *found.alternatives.get(key, ())} for key, kept in found.sensitive.items()}
        assert sets.keys() == {key.replace("batch", "train_batch_size") for key in listed}, name
        for key, values in listed.items():
            assert values in sets[key.replace("batch", "train_batch_size")], (name, key)


def test_sensitivity_refusals():
    with pytest.raises(InputError, match="leave regimes without runs out"):
        sensitive_hyperparameters({"a": []})
    with pytest.raises(InputError, match="differ in"):
        sensitive_hyperparameters({"a": [{"lr": 1}], "b": [{"rate": 1}]})


GRID = [(n, c) for n in (1e8, 3e8, 5e8) for c in (1.0, 2.0, 4.0, 8.0)]


@pytest.mark.parametrize(
    ("form", "formula"),
    [
        ("power", lambda n, c: 3.0 * n**-0.3 * c**0.1),
        ("log", lambda n, c: 0.5 - 0.02 * np.log(n) + 0.01 * np.log(c)),
        ("offset", lambda n, c: 20.0 * n**-0.4 * c**-0.5 + 0.003),
    ],
)
def test_an_exact_rule_is_recovered(form, formula):
    sizes, ratios = np.array(GRID).T
    rule = fit_hyper_scaling(sizes.tolist(), ratios.tolist(), formula(sizes, ratios).tolist(), form)
    assert rule.predict(1.2e9, 8) == pytest.approx(formula(1.2e9, 8), rel=1e-4)
    assert rule.gain == pytest.approx(1)


def test_constant_values_and_one_size():
    rule = fit_hyper_scaling([1e8] * 4, [1, 2, 4, 8], [0.9] * 4)
    assert rule.predict(1e9, 3) == pytest.approx(0.9)
    assert rule.gain == 0
    rule = fit_hyper_scaling([1e8] * 4, [1, 2, 4, 8], [1, 2, 3, 4])
    assert rule.size_power == pytest.approx(0, abs=1e-12)


def test_adamw_at_the_largest_size_as_the_paper_predicts_it(shared_data):
    """Its figures are 2.9e-3, .19, 1045, 263 at 1x and 3.1e-3, .154, 761, 323 at 8x; used were .002, .2, 256."""
    tables = load_optimizer_benchmark(shared_data / "optimizer-benchmark")
    cells = {k: c for k, c in tables.best.items() if k[0] == "adamw" and k[1] != "1.2b" and k[2] < 16}
    assert len(cells) == 12
    sizes, ratios = [c.params for c in cells.values()], [k[2] for k in cells]
    paper = {"learning_rate": (2.9e-3, 3.1e-3), "weight_decay": (0.19, 0.154), "train_batch_size": (263, 323)}
    used = {"learning_rate": 0.002, "weight_decay": 0.2, "train_batch_size": 256}
    for name, listed in paper.items():
        for form in ("log", "offset"):
            rule = fit_hyper_scaling(sizes, ratios, [c.values[name] for c in cells.values()], form)
            for ratio, value in zip((1, 8), listed, strict=True):
                # the twelve configurations behind its figures are not all named: within an eighth
                assert rule.predict(1207959552, ratio) == pytest.approx(value, rel=0.125), (name, form)
        grid = tables.grids["adamw", "1.2b", 1][name][1]
        assert nearest_on_grid(rule.predict(1207959552, 1), grid) == used[name]


def test_scaling_refusals():
    with pytest.raises(InputError, match="3 regimes"):
        fit_hyper_scaling([1, 2], [1, 2], [1, 2])
    with pytest.raises(InputError, match="may be 0"):
        fit_hyper_scaling([1, 2, 3], [1, 2, 3], [0, 1, 2], "power")
    with pytest.raises(InputError, match="did you mean"):
        fit_hyper_scaling([1, 2, 3], [1, 2, 3], [0, 1, 2], "logs")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be read"):
        load_optimizer_benchmark("/nowhere")
