"""With ``micro_batches`` one process, two and four, whole or split, log the same bits and resume one another."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from gloo_pair import logs_of, run_pair
from thalweg.errors import InputError
from thalweg.nn import ModelConfig
from thalweg.runs import Run
from thalweg.train.batch_size import scale_recipe
from thalweg.train.closure import BatchClosure
from thalweg.train.ordered import OrderedClosure, clip_whole, closure_of
from thalweg.train.recipe import CheckpointRecipe
from thalweg.train.setup import build
from thalweg.train.tree import TreeSum, even, tree_sum
from thalweg.train.world import World

WORKER = Path(__file__).resolve().parents[1] / "world_worker.py"
LIMIT = 120.0  # seconds; some ten when nothing else runs
PLAN = """
context = 16
block = 8
packing = "pad"
doc_mask = true
seed = 0
[sources.text]
path = "{path}"
[[phases]]
weights = {{ text = 1.0 }}
tokens = 6000
"""
NAMES = ("two", "split", "mixed", "mixed-split")
gloo = pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="torch is built without gloo")


def recipes(tiny: Any) -> dict[str, Any]:
    """What all must agree on: clipping that bites, an average, Muon's gathered matrices, blocks left out."""
    plain = tiny(steps=12, batch=8, micro_batches=4, clip=0.3, ema=0.5, checkpoint=CheckpointRecipe(every=0))
    return {
        "plain": plain,
        "muon": plain.replace(optimizer={"name": "muon"}, precision="bf16"),
        "depth": plain.replace(
            depth={"name": "layer_drop", "keep": 0.5}, model=ModelConfig(dim=16, layers=3, heads=2, context=16)
        ),
    }


def jobs_of(recipe: Any, name: str, size: int) -> list[dict[str, Any]]:
    """One process, many, many with split weights, and many -> one -> many."""
    rows = [("one", 1, 0, False), ("two", size, 0, False), ("split", size, 0, True)]
    for run, shard in (("mixed", False), ("mixed-split", True)) if name == "plain" else ():
        rows += [(run, size, 4, shard), (run, 1, 8, False), (run, size, 0, shard)]
    keys = ("folder", "processes", "stop", "shard")
    jobs = [dict(zip(keys, row, strict=True)) for row in rows]
    return [job | {"folder": f"{name}-{job['folder']}", "recipe": recipe.to_dict()} for job in jobs]


def trained_by(folder: Path, jobs: list[dict[str, Any]], size: int) -> Path:
    (folder / "recipes.json").write_text(json.dumps(jobs))
    run_pair(WORKER, folder, LIMIT, size=size)
    if not (folder / "said0.json").exists():
        pytest.fail(logs_of(folder))
    assert set(json.loads((folder / "said0.json").read_text())) == {"done", "interrupted"}
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, tiny) -> Path:
    folder, every = tmp_path_factory.mktemp("pair"), recipes(tiny)
    lines = "".join(f'{{"text": "{"ab c" * (k % 3 + 1)}{k}"}}\n' for k in range(400))
    (folder / "short.jsonl").write_text(lines)  # shorter than a window, so that parts score unlike many tokens
    (folder / "plan.toml").write_text(PLAN.format(path=folder / "short.jsonl"))
    plan = dataclasses.replace(every["plain"].data, plan=str(folder / "plan.toml"))
    every["plan"] = every["plain"].replace(data=plan)
    jobs = [job for name, recipe in every.items() for job in jobs_of(recipe, name, 2)]
    return trained_by(folder, jobs, 2)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory, tiny) -> Path:
    return trained_by(tmp_path_factory.mktemp("four"), jobs_of(recipes(tiny)["plain"], "plain", 4), 4)


def logged(folder: Path) -> list[dict[str, float]]:
    """Every number of the log but the time it took."""
    records = Run.open(folder).records()
    assert [record["step"] for record in records] == list(range(12))
    assert {"loss", "lr", "val_loss", "val_loss_average"} <= set(records[-1])
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


@pytest.mark.slow
@gloo
@pytest.mark.parametrize(
    "name", [*(f"plain-{name}" for name in NAMES), "muon-two", "muon-split", "depth-split", "plan-two", "plan-split"]
)
def test_two_processes_and_one_log_the_same_bits(pair, name):
    assert logged(pair / name) == logged(pair / f"{name.split('-')[0]}-one")


@pytest.mark.slow
@gloo
@pytest.mark.parametrize("name", NAMES)
def test_four_processes_and_one_log_the_same_bits(four, name):
    assert logged(four / f"plain-{name}") == logged(four / "plain-one")


@pytest.mark.slow
@gloo
def test_stops_were_where_they_are_said_to_be(pair):
    assert Run.open(pair / "plain-mixed").state["attempts"] == 3
    assert (Run.open(pair / "plain-mixed-split").checkpoints()[-1].folder / "shards").is_dir()


@pytest.mark.slow
@gloo
def test_killed_processes_of_torchrun_go_on_as_one(tmp_path, tiny):
    """The command of the card, killed within the run; then one process, by the same command, ends it."""
    recipe = tiny(steps=150, micro_batches=2, checkpoint=CheckpointRecipe(every=10))
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if Path("/sys/class/net/lo").exists():
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    train = ["-m", "thalweg", "train", "r.toml", "--device", "cpu"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *train]
    log = tmp_path / "runs" / "r" / "log.jsonl"
    with subprocess.Popen(
        torchrun,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline and (not log.exists() or log.read_bytes().count(b"\n") < 30):
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)  # torchrun ends its workers by it, whatever they are at
    assert Run.open(tmp_path / "runs" / "r").status == "interrupted"
    for words in ([], ["--out", "whole"]):
        subprocess.run([sys.executable, *train, *words], cwd=tmp_path, env=environment, check=True, capture_output=True)
    mixed, whole = (Run.open(tmp_path / name).curve()[1] for name in ("runs/r", "whole"))
    assert Run.open(tmp_path / "runs" / "r").state["attempts"] == 2
    assert np.array_equal(mixed, whole)
    assert len(whole) == 150


@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_tree_is_the_same_at_once_and_as_parts_come(count):
    values = torch.randn(count, 5, generator=torch.Generator().manual_seed(0))
    grown = TreeSum()
    for row in values.clone():
        grown.add([row, None])
    found, nothing = grown.total
    assert found is not None
    assert nothing is None
    assert torch.equal(found, tree_sum(values))
    torch.testing.assert_close(found, values.sum(0))


def test_the_tree_adds_neighbours_first():
    values = torch.tensor([1.0, 2.0**-24, 2.0**-24, 1.0])  # float32: 1 + 2^-24 is 1, and 2 + 2^-23 is 2
    assert tree_sum(values) == 2.0
    assert tree_sum(values[[0, 3, 1, 2]]) == torch.tensor(2.0) + torch.tensor(2.0**-23)
    late = TreeSum()
    late.add([None])
    late.add([torch.ones(1)])
    assert late.total == [torch.ones(1)]


def test_what_a_process_computes_in_whole_vectors_only():
    shapes = [(16, 16), (5, 64), (1, 64), (16,), (8, 8), (6, 40), (2, 8, 8), ()]
    assert [even(torch.Size(shape), 2) for shape in shapes] == [True, True, True, False, False, False, True, False]


def test_it_is_the_clipped_gradient_of_the_batch(tiny, tiny_data):
    found = {}
    for key in ("micro_batches", "accumulate"):
        recipe = tiny(clip=0.01, **{key: 2})
        state = build(recipe, tiny_data)
        closure = closure_of(state, tiny_data.batches(recipe))
        assert type(closure) is (OrderedClosure if key == "micro_batches" else BatchClosure)
        found[key] = closure(), [p.grad for p in state.model.parameters()]
    (one, grads), (other, theirs) = found.values()
    torch.testing.assert_close(one, other, rtol=1e-6, atol=0)  # float32, added up in another order
    torch.testing.assert_close(grads, theirs, rtol=1e-5, atol=1e-8)


def test_clipping_is_that_of_torch():
    mine, theirs = (nn.Linear(7, 5) for _ in range(2))
    for scale in (0.01, 100.0):
        draws = torch.Generator().manual_seed(0)
        for own, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            own.grad = scale * torch.randn(own.shape, generator=draws)
            other.grad = own.grad.clone()
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        torch.testing.assert_close(clip_whole(list(mine.parameters()), 1.0), norm)
        for own, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad)
    assert clip_whole([nn.Parameter(torch.ones(2))], 1.0) == 0


def test_what_the_promise_cannot_hold_for_is_refused(tiny, tiny_data):
    for words, message in [
        ({"micro_batches": 3}, "micro_batches = 3 must be a power of two that divides batch = 4"),
        ({"micro_batches": 8}, "micro_batches = 8 must be a power of two"),
        ({"micro_batches": -2}, "must be a whole number of at least 0"),
        ({"micro_batches": 2, "accumulate": 2}, "takes the place of accumulate = 2"),
        ({"micro_batches": 2, "optimizer": {"name": "sgd", "sam": {"rho": 0.1, "per_part": True}}}, "per_part"),
        ({"micro_batches": 2, "model": ModelConfig(dim=16, layers=1, heads=2, context=16, ffn="moe")}, "moe"),
    ]:
        with pytest.raises(InputError, match=message):
            tiny(**words)
    with pytest.raises(InputError, match="micro_batches = 2 cannot be shared by 4 processes: start a number"):
        World(0, 4).check(tiny(micro_batches=2))
    for optimizer in ({"name": "mars"}, {"name": "adamw", "sam": {"rho": 0.1}}):
        recipe = tiny(micro_batches=2, optimizer=optimizer)
        World(0, 2).check(recipe)
        with pytest.raises(InputError, match="adds up over shards"):
            World(0, 2, shard=True).check(recipe)
    with pytest.raises(InputError, match="gives no parts"):
        _ = OrderedClosure(build(tiny(micro_batches=2), tiny_data), tiny_data.batches(tiny()).at(0)).parts


def test_another_number_of_threads_is_refused(tiny, tiny_data, tmp_path):
    from thalweg.train.loop import train

    threads = torch.get_num_threads()
    run = Run.resume_or_create(tmp_path / "run", tiny(micro_batches=2).to_dict())
    done = iter([False] * 6 + [True])
    assert train(run, data=tiny_data, stop=lambda: next(done)) == "interrupted"
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(InputError, match="the number of threads is not the one of checkpoint"):
            train(run, data=tiny_data)
    finally:
        torch.set_num_threads(threads)


def test_recipes_keep_it(tiny):
    recipe = tiny(micro_batches=2)
    assert "micro_batches" not in tiny().to_dict()
    assert type(recipe).from_dict(recipe.to_dict()) == recipe
    assert recipe.parts == 2
    scaled, _ = scale_recipe(recipe, 12)
    assert (scaled.batch, scaled.micro_batches, scaled.accumulate) == (12, 4, 1)  # 3 rows a part would need six parts
