"""Two processes under torchrun, one of which dies: the run goes on from the last round, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy

import local_worker
import rounds_worker
from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.train.local_hook import LocalHook
from thalweg.train.local_updates import LocalUpdates, constant_period
from thalweg.train.loop import train
from thalweg.train.recipe import CheckpointRecipe
from thalweg.train.stacked import StackedWorkers
from thalweg.train.worker_runs import worker_data
from thalweg.train.workers import Rounds, WorkerMean, start_alike


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("torchrun")
    recipe = tiny(checkpoint=CheckpointRecipe(every=3, keep=2))
    (folder / "recipe.toml").write_text(recipe.to_toml())
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(rounds_worker.__file__).parent)}
    if Path("/sys/class/net/lo").exists():
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    words = [*torchrun, "--monitor-interval=0.1", rounds_worker.__file__, str(folder)]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.communicate(timeout=120)[1]
        finally:
            process.terminate()  # torchrun ends its workers
    assert process.returncode == 0, said[-3000:]
    return [torch.load(folder / f"found{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.slow
def test_after_a_death_training_goes_on_from_the_last_round_bit_for_bit(found):
    for one in found:
        assert one["steps"] == rounds_worker.STEPS - 4  # two rounds of two were saved
        assert torch.equal(one["resumed"], one["whole"])
    assert torch.equal(found[0]["whole"], found[1]["whole"])


@pytest.mark.slow
def test_the_processes_are_stacked_workers(found):
    stack = StackedWorkers(
        local_worker.build(),
        lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
        lambda p: torch.optim.AdamW(p, lr=0.05),
        workers=2,
    )
    updates = LocalUpdates(constant_period(rounds_worker.PERIOD), steps=rounds_worker.STEPS)
    for batch in zip(*local_worker.batches(), strict=True):
        stack.step(batch)
        updates.after_step(stack.rows(slice(None)), lr=0.05)
    here = torch.cat([p.detach()[0].flatten() for p in stack.weights.values()])
    torch.testing.assert_close(found[0]["whole"], here, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_the_loop_resumes_from_the_newest_common_step(found):
    """Step 6, within a round; worker 0 has step 9 too. Every record is that of the whole run."""
    assert [one["loops"]["kept"] for one in found] == [[6, 9], [3, 6]]
    for one in found:
        loops = one["loops"]
        assert loops["broken"] == loops["whole"]
        assert [step for step, _, averaged, _ in loops["whole"] if averaged] == [3, 7, 11, 15, 19]
    first, second = (one["loops"]["whole"] for one in found)
    assert [row[1] for row in first] != [row[1] for row in second]  # rows of their own
    assert [row[3] for row in first] == [row[3] for row in second]  # one mean, also within a round


@pytest.fixture
def alone(tmp_path) -> Iterator[Path]:
    """A group of this process only."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield tmp_path / "rounds"
    dist.destroy_process_group()


def test_rounds_are_kept_as_many_as_said_and_only_at_their_ends(alone):
    model = local_worker.build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    updates, rounds = LocalUpdates(constant_period(2), steps=9, mean=WorkerMean()), Rounds(alone, keep=2)
    assert rounds.load(updates, model, optimizer) is None
    weights = [p.data for p in model.parameters()]
    for step in range(7):
        weights[0].fill_(step)
        if updates.after_step(weights, lr=0.1):
            rounds.save(updates, model, optimizer, {"position": step})
    assert rounds.complete() == [2, 3]
    with pytest.raises(InputError, match="1 steps are left"):
        rounds.save(updates, model, optimizer)
    again = LocalUpdates(constant_period(2), steps=9)
    assert rounds.load(again, model, optimizer) == {"position": 5}
    assert (again.step, again.averages, float(weights[0].max())) == (6, 3, 5.0)
    for home in alone.iterdir():
        home.rename(home.with_name(home.name.replace("of-1", "of-4")))
    with pytest.raises(InputError, match="round-00000003-of-4, here are 1 workers"):
        rounds.load(again, model, optimizer)
    with pytest.raises(InputError, match="keep=0"):
        Rounds(alone, keep=0)


def test_mean_of_several_widths(alone):
    mean = WorkerMean()
    tensors = [torch.ones(3, dtype=dtype) for dtype in (torch.bfloat16, torch.float64, torch.float32)]
    mean(tensors)
    assert [tensor.sum() for tensor in tensors] == [3, 3, 3]
    assert (mean.calls, mean.bytes) == (1, (3 + 3) * 4 + 3 * 8)


@pytest.mark.parametrize(("keep", "steps", "match"), [(1, 20, "checkpoint.keep = 1"), (2, 7, "steps=7")])
def test_the_hook_refuses_what_would_not_resume(alone, tiny, tiny_data, keep, steps, match):
    recipe = tiny(checkpoint=CheckpointRecipe(every=5, keep=keep))
    updates = LocalUpdates(constant_period(2), steps=steps, mean=WorkerMean())
    run = Run.create(alone, recipe.to_dict())
    with pytest.raises(InputError, match=match):
        train(run, data=tiny_data, hooks=[LocalHook(updates)])


def test_workers_rows_are_those_of_the_whole_batch(tiny, tiny_data):
    recipe = tiny(batch=2)
    whole = tiny_data.batches(tiny(batch=6)).at(5)
    parts = [worker_data(tiny_data, rank, 3).batches(recipe).at(5) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 2, 2]
    assert sorted(row.tolist() for part in parts for row in part) == sorted(whole.tolist())


@pytest.mark.parametrize(
    ("act", "match"),
    [
        (lambda data: WorkerMean(), "init_process_group"),
        (lambda data: start_alike([]), "init_process_group"),
        (lambda data: Rounds("nowhere"), "init_process_group"),
        (lambda data: worker_data(data, 2, 2), "rank=2"),
    ],
)
def test_bad_input_names_itself(tiny_data, act, match):
    with pytest.raises(InputError, match=match):
        act(tiny_data)
