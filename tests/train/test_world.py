"""Two gloo processes train as one does; what one saves another number of them resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from gloo_pair import logs_of, run_pair
from thalweg.errors import InputError
from thalweg.nn import ModelConfig
from thalweg.runs import Run
from thalweg.train.checkpoint import load_model
from thalweg.train.recipe import CheckpointRecipe
from thalweg.train.setup import build
from thalweg.train.world import World, world_of

WORKER = Path(__file__).resolve().parents[1] / "world_worker.py"
LIMIT = 120.0  # seconds; some ten when nothing else runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="torch is built without gloo"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny) -> tuple[Path, list[str]]:
    """One pair of processes trains everything, in turn and together."""
    folder = tmp_path_factory.mktemp("world")
    recipe = tiny(steps=12, checkpoint=CheckpointRecipe(every=0), ema=0.5, accumulate=2)
    jobs: list[dict[str, Any]] = []

    def add(name: str, processes: int, stop: int = 0, **words: Any) -> None:
        made = words.pop("recipe", recipe)
        jobs.append({"folder": name, "recipe": made.to_dict(), "processes": processes, "stop": stop, **words})

    add("one", 1)
    add("two", 2)
    add("split", 2, shard=True)
    add("two-again", 2, 4)
    add("two-again", 2)
    add("split-again", 2, 4, shard=True)
    add("split-again", 2, shard=True)
    for name, shard in (("mixed", False), ("mixed-split", True)):
        add(name, 2, 4, shard=shard)
        add(name, 1, 8)
        add(name, 2, shard=shard)
    muon = recipe.replace(optimizer={"name": "muon", "ns_dtype": "float32"})  # bfloat16 magnifies last digits
    add("muon", 1, recipe=muon)
    add("muon-split", 2, 6, recipe=muon, shard=True)
    add("muon-split", 1, recipe=muon)
    depth = recipe.replace(depth={"name": "layer_drop", "keep": 0.5}, model=_deeper(recipe))
    add("depth", 1, recipe=depth)
    add("depth-two", 2, recipe=depth)
    experts = recipe.replace(model=ModelConfig(dim=16, layers=2, heads=2, context=16, ffn="moe"))
    add("experts", 2, recipe=experts)  # one process here would count with both; see tests/nn/test_balance.py
    add("experts-split", 2, recipe=experts, shard=True)
    add("odd", 2, recipe=recipe.replace(batch=6))
    (folder / "recipes.json").write_text(json.dumps(jobs))
    run_pair(WORKER, folder, LIMIT)
    if not (folder / "said0.json").exists():
        pytest.fail(logs_of(folder))
    return folder, json.loads((folder / "said0.json").read_text())


def _deeper(recipe: Any) -> Any:
    from dataclasses import replace

    return replace(recipe.model, layers=3)


def losses(folder: Path, name: str) -> np.ndarray:
    """Training, validation and averaged validation losses, and the rate, of each step."""
    keys = ("loss", "lr", "val_loss", "val_loss_average")
    return np.asarray([[each.get(key, 0.0) for key in keys] for each in Run.open(folder / name).records()])


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("two", "one"),
        ("split", "one"),
        ("mixed", "one"),
        ("mixed-split", "one"),
        ("muon-split", "muon"),
        ("depth-two", "depth"),
        ("experts-split", "experts"),
    ],
)
def test_the_number_of_processes_changes_the_last_digits_only(trained, name, like):
    np.testing.assert_allclose(losses(trained[0], name), losses(trained[0], like), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["two", "split"])
def test_a_resumed_pair_repeats_every_digit(trained, name):
    assert np.array_equal(losses(trained[0], f"{name}-again"), losses(trained[0], name))


def test_a_batch_that_cannot_be_shared_is_refused(trained):
    assert (
        "batch = 6 in accumulate = 2 parts cannot be shared by 2 processes: make it a multiple of 4" in trained[1][-1]
    )


def test_only_the_first_process_wrote(trained):
    run = Run.open(trained[0] / "mixed-split")
    assert run.state["attempts"] == 3
    assert [record["step"] for record in run.records()] == list(range(12))
    assert run.status == "done"


def test_split_weights_load_in_one_process(trained, tiny_data):
    recipe = run_recipe(trained[0], "split")
    whole, split = (build(recipe, tiny_data).model for _ in range(2))
    load_model(Run.open(trained[0] / "one").checkpoints()[-1].folder, whole)
    folder = Run.open(trained[0] / "split").checkpoints()[-1].folder
    assert not (folder / "model.safetensors").exists()
    load_model(folder, split)
    for one, two in zip(whole.parameters(), split.parameters(), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


def test_a_damaged_shard_is_named(trained, tiny_data, tmp_path):
    import shutil

    folder = Run.open(trained[0] / "split").checkpoints()[-1].folder
    shutil.copytree(folder, tmp_path / "copy")
    for path in (tmp_path / "copy" / "shards").glob("*.distcp"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"cannot be read \(shards"):
        load_model(tmp_path / "copy", build(run_recipe(trained[0], "split"), tiny_data).model)


def run_recipe(folder: Path, name: str) -> Any:
    from thalweg.train.recipe import Recipe

    return Recipe.from_dict(Run.open(folder / name).recipe)


def test_what_processes_cannot_share(tiny):
    pair = World(0, 2, shard=True)
    with pytest.raises(InputError, match="'sophia' differentiates twice"):
        pair.check(tiny(optimizer={"name": "sophia"}))
    World().check(tiny(optimizer={"name": "sophia"}, batch=3))
    grown = tiny(
        model=ModelConfig(dim=16, layers=2, heads=2, context=16), depth={"name": "stacking", "lengths": [1, 2]}
    )
    with pytest.raises(InputError, match="train it without sharding"):
        pair.check(grown)
    World(0, 2).check(grown)


def test_an_environment_that_torchrun_did_not_make(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match=r"RANK = None .* start processes with torchrun"), world_of("cpu"):
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(InputError, match="'cuda:1' is one device for 2 processes"), world_of("cuda:1"):
        pass
