"""Coordinate descent: separable optimum, counted runs, resumption, divergence; the published search spaces."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from thalweg.errors import InputError
from thalweg.launch.descent import CoordinateDescent, SearchSpace, coordinate_descent
from thalweg.launch.search_spaces import PUBLISHED, published_space
from thalweg.laws.optimizer_benchmark import load_optimizer_benchmark
from thalweg.optim import OPTIMIZERS

GRIDS = {"lr": (1.0, 2.0, 4.0, 8.0), "decay": (0.0, 0.1, 0.2), "beta": (0.9, 0.95)}
SPACE = SearchSpace({"lr": 1.0, "decay": 0.0, "beta": 0.95}, GRIDS)
BEST = {"lr": 4.0, "decay": 0.1, "beta": 0.9}


def surface(values: dict[str, float]) -> float:
    """Separable, with a ripple of 1e-3."""
    noise = 1e-3 * math.sin(37 * sum(values.values()))
    return math.log2(values["lr"] / 4) ** 2 + 10 * (values["decay"] - 0.1) ** 2 + values["beta"] + noise


def test_it_finds_a_separable_optimum_and_runs_nothing_twice(tmp_path):
    calls: list[str] = []

    def run(values: dict[str, float], budget: int) -> float:
        calls.append(json.dumps(values, sort_keys=True))
        return surface(values)

    descent = CoordinateDescent(SPACE, run, tmp_path / "ledger.jsonl")
    values, loss, runs = descent.best(1000)
    assert values == BEST
    assert loss == surface(BEST)
    assert runs == len(calls) == len(set(calls)) < 4 * 3 * 2
    assert descent.best(1000) == (values, loss, runs)
    assert len(calls) == runs  # all from the ledger
    assert descent.best(2000)[2] == runs  # another budget is another run
    assert len(calls) == 2 * runs


def test_after_a_crash_only_the_rest_is_run(tmp_path):
    done: list[dict[str, float]] = []

    def run(values: dict[str, float], budget: int) -> float:
        if len(done) == 5:
            raise RuntimeError("power cut")
        done.append(values)
        return surface(values)

    with pytest.raises(RuntimeError):
        CoordinateDescent(SPACE, run, tmp_path / "ledger.jsonl").best(1)
    later: list[dict[str, float]] = []

    def go_on(values: dict[str, float], budget: int) -> float:
        later.append(values)
        return surface(values)

    values, _, runs = CoordinateDescent(SPACE, go_on, tmp_path / "ledger.jsonl").best(1)
    assert values == BEST
    assert runs == 5 + len(later)
    assert not any(values in done for values in later)


def test_it_stays_for_less_than_delta():
    space = SearchSpace({"lr": 1.0}, {"lr": (1.0, 2.0)})
    assert coordinate_descent(space, lambda wanted: [1.0, 0.998]) == ({"lr": 1.0}, 1.0)
    assert coordinate_descent(space, lambda wanted: [2 - values["lr"] for values in wanted], delta=0.5)[0] == {
        "lr": 2.0
    }


def test_runs_that_diverge_lose():
    def losses(wanted: list[dict[str, float]]) -> list[float]:
        return [math.nan if values["lr"] > 3 else math.inf if values["lr"] > 2 else values["lr"] for values in wanted]

    space = SearchSpace({"lr": 4.0}, {"lr": (1.0, 2.5, 4.0)})
    assert coordinate_descent(space, losses)[0] == {"lr": 1.0}
    with pytest.raises(InputError, match="diverged"):
        coordinate_descent(SearchSpace({"lr": 4.0}, {"lr": (4.0, 8.0)}), losses)


def test_neighbours_that_make_no_sense_are_not_run():
    seen: list[Any] = []

    def losses(wanted: list[dict[str, float]]) -> list[float]:
        seen.extend(wanted)
        return [surface(values) for values in wanted]

    coordinate_descent(SPACE, losses, allowed=lambda values: values["lr"] != 4.0)
    assert all(values["lr"] != 4.0 for values in seen)


@pytest.mark.parametrize(
    ("start", "grids", "word"),
    [
        ({"lr": 1.0}, {"lr": ()}, "one value or more"),
        ({"lr": 1.0}, {"lr": (1.0, 1.0)}, "repeats"),
        ({}, {"lr": (1.0, 2.0)}, r"give start\.lr"),
        ({"lr": 1.0}, {"lr": "fast"}, "must be a list"),
    ],
)
def test_spaces_that_cannot_be(start, grids, word):
    with pytest.raises(InputError, match=word):
        SearchSpace(start, grids)


def test_delta_must_not_be_negative():
    with pytest.raises(InputError, match="delta"):
        coordinate_descent(SPACE, lambda wanted: [], delta=-1)


OURS = {"adam_mini": "mini", "cautious_adamw": "cautious", "soap": "soape"}
WORDS = {
    "lr": ("learning_rate",),
    "batch": ("train_batch_size",),
    "clip": ("max_grad_norm",),
    "eps": ("epsilon", "muon_epsilon", "scion_epsilon"),
    "decay_fraction": ("decay",),
    "adam_lr_ratio": ("muon_to_adam_lr",),
    "signum_lr_ratio": ("scion_to_signum_lr",),
    "signum_beta": ("beta1",),
    "adam_beta1": ("beta1",),
    "adam_beta2": ("beta2",),
    "adam_eps": ("epsilon",),
    "precond_lr": ("preconditioner_lr",),
    "update_probability": ("preconditioner_update_probability",),
    "flat_steps": ("update_prob_flat_start",),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_space_is_the_tables(name, shared_data):
    assert name in OPTIMIZERS
    tables = load_optimizer_benchmark(shared_data / "optimizer-benchmark")
    grids = tables.grids[OURS.get(name, name), "130m", 1]
    space = published_space(name)
    for key, start in space.start.items():
        options = [w for w in WORDS.get(key, (key,)) if w in grids]
        options = [w for w in options if name != "muon" or key != "eps" or w == "muon_epsilon"]
        if name == "kron" and key == "momentum":
            options = ["beta1"]
        begun, values = grids[options[0]]
        assert begun == start, key
        assert values == tuple(space.grids.get(key, ())), key


def test_unknown_spaces_are_named():
    with pytest.raises(InputError, match="did you mean 'muon'"):
        published_space("moun")
