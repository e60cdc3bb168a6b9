"""Local updates that a recipe asks for: two processes in one run, checked against parallel training, and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from gloo_pair import logs_of, run_pair
from thalweg.cli.train import train as command
from thalweg.errors import InputError
from thalweg.nn import ModelConfig
from thalweg.runs import Run
from thalweg.train.checkpoint import load_checkpoint, load_model
from thalweg.train.estimate import estimate
from thalweg.train.local_recipe import PERIODS, make_local
from thalweg.train.periods import quadratic
from thalweg.train.recipe import CheckpointRecipe
from thalweg.train.setup import build
from thalweg.train.world import World

WORKER = Path(__file__).resolve().parents[1] / "world_worker.py"
QSR = {"name": "quadratic", "workers": 2, "alpha": 0.02, "base": 4}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny) -> Path:
    """Two processes: uninterrupted, stopped, crashed within a round; and a mean after every step against all-reduce."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("torch is built without gloo")
    folder = tmp_path_factory.mktemp("local")
    local = tiny(ema=0.5, accumulate=2, local=QSR, checkpoint=CheckpointRecipe(every=3, keep=0))
    plain = tiny(optimizer={"name": "sgd", "momentum": 0.0}, clip=0.0, schedule="constant:peak=0.1")
    every = plain.replace(local={"name": "constant", "workers": 2, "period": 1})
    rows = [("whole", local, 0, 0), ("stopped", local, 6, 0), ("stopped", local, 0, 0)]
    rows += [("crashed", local, 0, 11), ("crashed", local, 0, 0), ("reduced", plain, 0, 0), ("every", every, 0, 0)]
    jobs = [
        {"folder": name, "recipe": recipe.to_dict(), "processes": 2, "stop": stop, "crash": crash}
        for name, recipe, stop, crash in rows
    ]
    (folder / "recipes.json").write_text(json.dumps(jobs))
    run_pair(WORKER, folder, 120.0)
    if not (folder / "said0.json").exists():
        pytest.fail(logs_of(folder))
    said = json.loads((folder / "said0.json").read_text())
    assert said == ["done", "interrupted", "done", "crashed", "done", "done", "done"]
    return folder


def logged(folder: Path) -> list[dict[str, float]]:
    return [{key: value for key, value in each.items() if key != "seconds"} for each in Run.open(folder).records()]


@pytest.mark.slow
def test_rounds_are_those_of_the_rule(trained, tiny):
    ends = [record["step"] + 1 for record in logged(trained / "whole") if record["averaged"]]
    rates, rule, at, expected = tiny().rates(), quadratic(0.02, 4, warmup=4), 0, []
    while at < 20:
        at = min(20, at + rule(at, float(rates[at])))
        expected.append(at)
    assert ends == expected == [4, 8, 12, 16, 20]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stopped", "crashed"])
def test_a_resumed_run_repeats_every_digit(trained, name):
    assert logged(trained / name) == logged(trained / "whole")
    assert {"loss", "val_loss", "val_loss_average", "averaged"} <= set(logged(trained / name)[-1])


@pytest.mark.slow
def test_a_stop_waits_for_the_end_of_the_round_and_a_crash_goes_back_within_one(trained):
    stopped = {each.step for each in Run.open(trained / "stopped").checkpoints()}
    assert 8 in stopped  # asked for after step 6, within the round that ends at 8; no multiple of 3
    assert 9 in {each.step for each in Run.open(trained / "crashed").checkpoints()}


@pytest.mark.slow
def test_a_checkpoint_holds_every_worker_and_their_mean(trained, tiny_data):
    run = Run.open(trained / "whole")
    within, end = (next(each.folder for each in run.checkpoints() if each.step == step) for step in (9, 12))
    for folder in (within, end):
        mean, one, two = (load_file(folder / part / "model.safetensors") for part in (".", "worker-0", "worker-1"))
        assert all(torch.equal(mean[name], (one[name] + two[name]) / 2) for name in mean)
        assert torch.equal(one["model.embed_tokens.weight"], two["model.embed_tokens.weight"]) == (folder == end)
    states = [load_file(end / f"worker-{rank}" / "state.safetensors") for rank in range(2)]
    assert any(not torch.equal(states[0][name], states[1][name]) for name in states[0])  # states stay with their worker
    from thalweg.train.recipe import Recipe

    state = build(Recipe.from_dict(run.recipe).replace(local={}), tiny_data)
    load_model(end, state.model)
    record = next(each for each in run.records("val_loss") if each["step"] == 19)
    load_model(run.checkpoints()[-1].folder, state.model)
    assert state.evaluate() == record["val_loss"]
    with pytest.raises(InputError, match="has a state for each worker"):
        load_checkpoint(end, state.model, state.optimizer)


@pytest.mark.slow
def test_a_mean_after_every_step_of_sgd_is_parallel_training(trained):
    """The mean of w - lr g_k is w - lr mean g_k."""
    losses = [
        [each["val_loss"] for each in logged(trained / name) if "val_loss" in each] for name in ("every", "reduced")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6, atol=0)
    assert np.ptp(losses[0]) > 0.05  # something was learnt
    assert all(record["averaged"] for record in logged(trained / "every"))


def test_every_rule_is_one_of_a_recipe():
    options: dict[str, dict[str, Any]] = {
        "constant": {"period": 4},
        "post_local": {"switch": 3, "period": 4},
        "quadratic": {"alpha": 0.02, "base": 2},
        "inverse": {"alpha": 0.02, "base": 2},
        "cubic": {"alpha": 0.02, "base": 2, "warmup": 0},
        "power": {"alpha": 0.02, "base": 2, "power": 2.5, "warmup_period": 3},
    }
    assert set(options) == set(PERIODS)
    found = {name: make_local({"name": name, "workers": 2, **more}, warmup=10) for name, more in options.items()}
    assert {name: made.period(20, 0.005) for name, made in found.items()} == {
        "constant": 4, "post_local": 4, "quadratic": 16, "inverse": 4, "cubic": 64, "power": 32,
    }  # fmt: skip
    assert {name: made.period(2, 0.005) for name, made in found.items()} == {
        "constant": 4, "post_local": 1, "quadratic": 2, "inverse": 2, "cubic": 64, "power": 3,
    }  # fmt: skip


def test_what_a_table_may_not_say(tiny):
    for words, message in [
        ({"name": "qsr"}, "local.name = 'qsr' is unknown"),
        ({"workers": 1}, "local.workers = 1 must be a whole number of at least 2"),
        ({"alfa": 1}, "local has no option 'alfa' for 'quadratic': did you mean 'alpha'"),
        ({"base": 2.5}, "local.base = 2.5 must be a whole number"),
        ({"alpha": "big"}, "local.alpha = 'big' must be a number"),
        ({"alpha": -1.0}, "local: alpha=-1.0"),
        (
            {"workers": 3},
            "batch = 4 in accumulate = 1 parts cannot be shared by local.workers = 3: make it a multiple of 3",
        ),
    ]:
        with pytest.raises(InputError, match=message):
            tiny(local=QSR | words)
    with pytest.raises(InputError, match=r"local\.base is missing, which 'quadratic' needs"):
        tiny(local={key: value for key, value in QSR.items() if key != "base"})
    with pytest.raises(InputError, match="micro_batches makes processes agree every step"):
        tiny(local=QSR, micro_batches=2)
    with pytest.raises(InputError, match="'moe' counts beside its weights"):
        tiny(local=QSR, model=ModelConfig(dim=16, layers=1, heads=2, context=16, ffn="moe"))
    with pytest.raises(InputError, match=r"local\.workers = 2 needs as many processes, not 1: torchrun"):
        World().check(tiny(local=QSR))
    with pytest.raises(InputError, match="--shard would split"):
        World(0, 2, shard=True).check(tiny(local=QSR))


def test_a_recipe_keeps_it(tiny):
    recipe = tiny(local=QSR)
    assert "local" not in tiny().to_dict()
    assert type(recipe).from_dict(recipe.to_dict()) == recipe
    made = recipe.local_updates()
    assert made is not None
    assert made.period(0, 1e-9) == 4  # the schedule's warmup of four updates


def test_the_estimate_says_what_is_sent(tiny, tmp_path, capsys, monkeypatch):
    numbers = estimate(tiny(local=QSR), tmp_path)
    assert (numbers["averages"], numbers["communication"], numbers["longest_round"]) == (5, 0.25, 4)
    assert numbers["bytes_sent"] == 5 * 4 * numbers["parameters"]  # ring of two: each sends one copy an average
    assert "communication" not in estimate(tiny(), tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(tiny(local=QSR).to_toml())
    assert command(tmp_path / "r.toml", dry_run=True, device="cpu") == 0
    assert "25.0% of an all-reduce a step: 5 averages, the longest round 4 steps" in capsys.readouterr().out
