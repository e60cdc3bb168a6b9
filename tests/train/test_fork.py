"""A branch equals the same run from scratch; what shares no past is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
from safetensors.torch import load_file

from thalweg.errors import InputError
from thalweg.nn import ModelConfig
from thalweg.runs import Run
from thalweg.train import fork as room
from thalweg.train.fork import common_steps, fork, shared_steps
from thalweg.train.loop import train

CONSTANT = "constant:peak=0.01,warmup=4"


def measured(run: Run) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.records()]


def files(run: Run) -> dict[str, object]:
    """Weights and optimizer state of the newest checkpoint as bytes, and what state.json says."""
    folder = run.latest_checkpoint().folder
    tensors = {name: load_file(folder / name) for name in ("model.safetensors", "state.safetensors")}
    plain = {name: {key: t.numpy().tobytes() for key, t in found.items()} for name, found in tensors.items()}
    return plain | {"state.json": json.loads((folder / "state.json").read_text())}


def trained(folder, recipe, data) -> Run:
    run = Run.create(folder, recipe.to_dict(), steps=recipe.steps)
    train(run, data=data)
    return run


@pytest.mark.parametrize(
    ("schedule", "steps", "shared"),
    [
        ("wsd:peak=0.01,warmup=4,decay=8,shape=linear", 25, 18),
        ("two-stage:peak=0.01,warmup=4,at=11,then=0.002", 20, 11),
        ("piecewise:points=0.0025@0;0.01@3;0.01@13;0.03@20", 22, 14),  # another peak
    ],
)
def test_a_branch_equals_the_run_from_scratch(tmp_path, tiny, tiny_data, schedule, steps, shared):
    plan = tiny().checkpoint.__class__(every=3, keep=0)
    source = trained(tmp_path / "source", tiny(steps=18, schedule=CONSTANT, checkpoint=plan, ema=0.8), tiny_data)
    recipe = tiny(steps=steps, schedule=schedule, ema=0.8)
    scratch = trained(tmp_path / "scratch", recipe, tiny_data)
    branch = fork(source, tmp_path / "branch", recipe)
    assert common_steps(recipe_of(source), recipe) == shared
    assert shared_steps(branch) == shared // 3 * 3
    assert shared_steps(scratch) == 0
    assert branch.name == "branch"
    assert branch.status == "interrupted"
    train(branch, data=tiny_data)
    assert branch.status == "done"
    assert measured(branch) == measured(scratch)
    assert files(branch) == files(scratch)


def recipe_of(run: Run):
    from thalweg.train.recipe import Recipe

    return Recipe.from_dict(run.recipe)


def test_the_last_evaluation_of_a_source_is_not_the_branchs(tmp_path, tiny, tiny_data):
    """The source ends at step 12, where only its end makes it evaluate."""
    source = trained(tmp_path / "source", tiny(steps=12, schedule=CONSTANT), tiny_data)
    recipe = tiny(steps=15, schedule=CONSTANT)
    branch = fork(source, tmp_path / "branch", recipe)
    train(branch, data=tiny_data)
    assert [record["step"] for record in source.records("val_loss")] == [4, 9, 11]
    assert measured(branch) == measured(trained(tmp_path / "scratch", recipe, tiny_data))


def test_common_steps(tiny):
    base = tiny(schedule=CONSTANT)
    assert common_steps(base, base.replace(steps=30)) == 20
    assert common_steps(base, base.replace(schedule="constant:peak=0.01,warmup=5")) == 0
    assert common_steps(base, base.replace(schedule="array:values=0.0025;0.005;0.0075;0.01*6;0.02*11")) == 9
    for change in (
        {"seed": 1},
        {"batch": 8},
        {"clip": 0.5},
        {"ema": 0.5},
        {"accumulate": 2},
        {"precision": "bf16"},
        {"optimizer": {"name": "sgd"}},
        {"optimizer": {"name": "adamw", "eps": 1e-7}},
        {"model": base.model.replace(layers=2)},
        {"data": dataclasses.replace(base.data, context=8)},
        {"evaluation": dataclasses.replace(base.evaluation, windows=5)},
    ):
        assert common_steps(base, base.replace(**change)) == 0


def test_common_steps_see_rates_that_only_differ_by_rounding_in_a_scaled_group(tiny):
    """With m = 3, rate · (peak / 3 / peak) need not be the same number for two peaks."""
    mup = tiny(
        steps=4, schedule=CONSTANT, model=ModelConfig(dim=48, layers=1, heads=2, context=16, preset="mup", base_dim=16)
    )
    peaks = [0.01 * k for k in range(2, 40)]
    factor = 0.01 / 3 / 0.01
    odd = next(peak for peak in peaks if 0.01 * (peak / 3 / peak) != 0.01 * factor)
    one = mup.replace(schedule="array:values=0.01*4")
    two = mup.replace(schedule=f"array:values=0.01*2;{odd!r}*2")
    assert common_steps(one, two) == 0
    assert common_steps(one.replace(model=tiny().model), two.replace(model=tiny().model)) == 2


def test_refusals(tmp_path, tiny, tiny_data):
    source = trained(tmp_path / "source", tiny(steps=12, schedule=CONSTANT), tiny_data)
    with pytest.raises(InputError, match=r"no checkpoint within the 0 updates it shares with the new recipe"):
        fork(source, tmp_path / "a", tiny(steps=20, schedule=CONSTANT, seed=1))
    with pytest.raises(InputError, match=r"no checkpoint within the 8 updates .*checkpoint.at = \[8\]"):
        fork(source, tmp_path / "a", tiny(steps=20, schedule="two-stage:peak=0.01,warmup=4,at=8,then=0.001"))
    with pytest.raises(InputError, match="no checkpoint"):  # nothing would be left to train or evaluate
        fork(source, tmp_path / "a", tiny(steps=12, schedule=CONSTANT))
    assert not (tmp_path / "a").exists()
    good = tiny(steps=20, schedule=CONSTANT)
    with pytest.raises(InputError, match="is not empty"):
        fork(source, tmp_path / "source", good)
    with source.attempt(), pytest.raises(InputError, match="is being written"):
        fork(source, tmp_path / "a", good)


def test_a_branch_that_is_killed_on_the_way_leaves_no_run(tmp_path, tiny, tiny_data, monkeypatch):
    source = trained(tmp_path / "source", tiny(steps=12, schedule=CONSTANT), tiny_data)
    recipe = tiny(steps=20, schedule=CONSTANT)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(room, "_copy", killed)
        with pytest.raises(KeyboardInterrupt):
            fork(source, tmp_path / "branch", recipe)
    assert not (tmp_path / "branch").exists()
    assert shared_steps(fork(source, tmp_path / "branch", recipe)) == 12
