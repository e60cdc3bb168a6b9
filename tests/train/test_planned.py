"""Training on a data plan: exact resume, another plan refused, documents kept apart."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from thalweg.cli import main
from thalweg.data import ByteTokenizer, write_shard
from thalweg.data.plan import Order, load_plan, read_rows
from thalweg.errors import InputError
from thalweg.runs import Run
from thalweg.train.closure import BatchClosure
from thalweg.train.loop import train
from thalweg.train.micro import micro_batches
from thalweg.train.recipe import DataRecipe, Recipe, load_recipe
from thalweg.train.setup import build, prepare

PLAN = """
context = 16
block = 8
packing = "{packing}"
doc_mask = {mask}
{more}
[sources.text]
path = "{path}"
[[phases]]
weights = {{ text = 1.0 }}
tokens = 9000
[[phases]]
order = "interleave"
tokens = 3000
"""


@pytest.fixture
def planned(tmp_path, tiny, texts):
    """Makes a recipe on a plan; keywords replace what the plan or the recipe says."""

    def make(packing: str = "concat", mask: str = "false", more: str = "seed = 0", **changes) -> Recipe:
        file, path = tmp_path / "plan.toml", texts
        if packing != "concat":  # documents shorter than a window
            path = tmp_path / "short.jsonl"
            path.write_text("".join(f'{{"text": "{"ab c" * (k % 3 + 1)}{k}"}}\n' for k in range(400)))
        file.write_text(PLAN.format(packing=packing, mask=mask, more=more, path=path))
        return tiny(data=DataRecipe(corpus=str(texts), context=16, plan=str(file)), **changes)

    return make


def measured(run: Run) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.records()]


def trained(folder, recipe: Recipe, *, stops: int = 0) -> list[dict]:
    """Trains to the end, stopping and beginning anew ``stops`` times on the way."""
    run = Run.create(folder, recipe.to_dict(), steps=recipe.steps)
    for stop in range(stops):
        left = iter(range(5 + stop))
        assert train(run, stop=lambda left=left: next(left, None) is None) == "interrupted"
    assert train(run) == "done"
    return measured(run)


@pytest.mark.parametrize(
    ("packing", "mask"), [("concat", "false"), ("concat", "true"), ("pack", "true"), ("pad", "false")]
)
def test_a_run_that_was_stopped_is_the_undisturbed_one(tmp_path, planned, packing: str, mask: str):
    recipe = planned(packing, mask, accumulate=2)
    assert trained(tmp_path / "a", recipe, stops=2) == trained(tmp_path / "b", recipe)


@pytest.mark.slow
def test_a_killed_run_is_the_undisturbed_one(tmp_path, planned, nursery):
    recipe = planned(steps=200)
    recipe = recipe.replace(checkpoint=replace(recipe.checkpoint, every=10))
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    command = ["train", str(tmp_path / "recipe.toml"), "--device", "cpu", "--out"]
    assert nursery.run(*command, "whole", cwd=tmp_path).code == 0
    child = nursery.start(*command, "killed", cwd=tmp_path)
    log = tmp_path / "killed" / "log.jsonl"
    child.until(lambda: log.exists() and log.read_bytes().count(b'"loss"') > 40)
    child.kill()
    assert child.wait().code == -9
    assert nursery.run(*command, "killed", cwd=tmp_path).code == 0
    assert measured(Run.open(tmp_path / "killed")) == measured(Run.open(tmp_path / "whole"))


def test_another_plan_is_refused_unless_it_is_meant(tmp_path, planned, capsys):
    recipe = planned()
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.to_toml())
    run = Run.create(tmp_path / "run", recipe.to_dict(), steps=recipe.steps)
    left = iter(range(6))
    train(run, stop=lambda: next(left, None) is None)
    planned(more="seed = 5")
    with pytest.raises(InputError, match=r"the data plan is not the one of the checkpoint \(seed was 0 and is 5"):
        train(run)
    command = ["train", str(file), "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main(command) == 2
    assert "seed was 0 and is 5" in capsys.readouterr().err
    assert main([*command, "--changed-plan"]) == 0


def test_windows_to_come_may_be_skipped_on_resume(tmp_path, planned):
    recipe = planned()
    run = Run.create(tmp_path / "run", recipe.to_dict(), steps=recipe.steps)
    left = iter(range(6))
    train(run, stop=lambda: next(left, None) is None)  # six batches of four: 24 windows are read
    planned(more="skip = [5]")
    with pytest.raises(InputError, match="skip only what lies ahead"):
        train(run)
    planned(more="skip = [24, 26]")
    assert train(run) == "done"


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_joined_read_the_rows_of_one(planned, tmp_path, world: int):
    recipe = planned("pack", "true")
    batches = prepare(recipe.data, tmp_path).batches(recipe)
    for step in (0, 3, 19):
        parts = [batches.at(step, rank=rank, world=world) for rank in range(world)]
        for joined, whole in zip(zip(*parts, strict=True), batches.at(step), strict=True):
            assert np.array_equal(np.concatenate(joined), whole)


def test_documents_in_a_window_do_not_see_each_other(planned, tmp_path):
    """The loss of packed rows is that of each document read alone."""
    recipe = planned("pack", "true")
    data = prepare(recipe.data, tmp_path)
    state = build(recipe, data)
    rows = data.batches(recipe).at(2)
    total, count = 0.0, 0
    for ids, targets, segments in zip(rows.ids, rows.targets, rows.segments, strict=True):
        for segment in sorted(set(segments.tolist()) - {-1}):
            mine = segments == segment
            with torch.no_grad():
                alone = state.model(torch.from_numpy(ids[mine])[None], targets=torch.from_numpy(targets[mine])[None])
            total, count = total + float(alone.loss_sum), count + int(alone.num_tokens)
    assert rows.segments.max() > 0
    assert count < rows.ids.size
    assert float(BatchClosure(state, rows)()) == pytest.approx(total / count, rel=1e-5)  # float32


def test_micro_batches_weigh_scored_tokens_alike(planned, tmp_path):
    """Parts with unlike numbers of scored tokens: gradients of 1 and 4 micro-batches agree."""
    found = []
    for accumulate in (1, 4):
        recipe = planned("pad", accumulate=accumulate, batch=8, clip=0.0)
        data = prepare(recipe.data, tmp_path)
        rows = data.batches(recipe).at(0)
        rows.targets[:3, 4:] = -100
        state = build(recipe, data)
        loss = BatchClosure(state, rows)()
        grads = torch.cat([p.grad.flatten() for p in state.model.parameters() if p.grad is not None])
        found.append((float(loss), grads))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-6)


def test_plain_rows_are_read_as_before():
    rows = np.arange(12).reshape(4, 3)
    parts = micro_batches(rows, 2, torch.device("cpu"))
    assert [part.ids.tolist() for part in parts] == [[[0, 1], [3, 4]], [[6, 7], [9, 10]]]
    assert [part.targets.tolist() for part in parts] == [[[1, 2], [4, 5]], [[7, 8], [10, 11]]]
    assert all(part.cu_seqlens is None and part.scored == 0 for part in parts)


def test_training_reads_the_windows_of_the_plan(planned, tmp_path, monkeypatch):
    """At any step and in any order of asking, however many steps are read together."""
    monkeypatch.setattr("thalweg.train.planned.TOGETHER", 7 * 4 * 16)
    recipe = planned()
    order = Order(load_plan(recipe.data.plan))
    batches = prepare(recipe.data, tmp_path).batches(recipe)
    last = len(order) // 4 - 1
    for step in (3, 0, 6, 7, last, 8, last - 1, 5):
        rows = batches.at(step)
        assert np.array_equal(rows.ids, read_rows(order, np.arange(4 * step, 4 * step + 4)).ids)
        assert rows.segments is None
    with pytest.raises(InputError, match="is asked for but the plan has"):
        batches.at(last + 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 900}, r"steps = 900 of batch = 4 need 3,600 windows but plan .* has \d+"),
        ({"data": {"context": 15}}, "data.context = 15 but plan .* has context = 16"),
        ({"data": {"tokenizer": "bpe:300"}}, "data.tokenizer = 'bpe:300' is not the one of the plan's sources"),
    ],
)
def test_what_does_not_fit_the_recipe(planned, tmp_path, change: dict, message: str):
    recipe = planned()
    inside = change.pop("data", {})
    recipe = recipe.replace(data=replace(recipe.data, **inside), **change)
    with pytest.raises(InputError, match=message):
        prepare(recipe.data, tmp_path).check(recipe)


def test_recipes_without_a_plan_are_written_as_before(tiny, planned):
    assert "plan" not in tiny().to_dict()["data"]
    assert Recipe.from_dict(planned().to_dict()) == planned()


def test_dry_run_counts_epochs_of_the_plan(planned, tmp_path, capsys):
    (tmp_path / "recipe.toml").write_text(planned("pack", "true").to_toml())
    assert main(["train", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert "epochs" in capsys.readouterr().out


def test_the_recipe_of_a_curriculum_fits_its_plan_and_its_data(tmp_path, capsys, monkeypatch):
    """All three files of ``recipes/curriculum``, run for a few steps, and the average of their last checkpoints."""
    root = Path(__file__).parents[2] / "recipes"
    shutil.copytree(root, tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    recipe, plan = load_recipe("recipes/curriculum.toml"), load_plan("recipes/curriculum/plan.toml")
    assert recipe.steps * recipe.tokens_per_step <= plan.phases[0].tokens
    assert recipe.rates()[-1] == pytest.approx(recipe.rates().max() / 3, rel=0.02)
    last = recipe.checkpoint.at
    assert (len(last), last[-1]) == (6, recipe.steps)
    assert last[-1] - last[0] <= 0.02 * recipe.steps
    text = Path("recipes/curriculum/prepare.toml").read_text()
    Path("small.txt").write_text("A small text of letters and 12 numbers.\n" * 400)
    Path("prepare.toml").write_text(text.replace('path = "stdlib"\nsplit = "train"', 'path = "small.txt"'))
    assert main(["data", "prepare", "prepare.toml", "--out", "prepared/curriculum"]) == 0
    Path("recipes/curriculum/plan.toml").write_text(plan.replace(phases=(replace(plan.phases[0], tokens=0),)).to_toml())
    short = recipe.replace(
        steps=4, batch=4, schedule="constant:peak=1e-3", checkpoint=replace(recipe.checkpoint, at=(2, 3, 4))
    )
    Path("short.toml").write_text(short.to_toml())
    assert main(["train", "short.toml", "--out", "run", "--device", "cpu"]) == 0
    folders = sorted(str(each) for each in Path("run/checkpoints").glob("step-*"))
    assert main(["average", *folders, "--kind", "ema", "--out", "averaged"]) == 0
    assert Path("averaged/model.safetensors").exists()


def test_a_shard_that_changed_is_found_on_resume(tmp_path, planned, texts):
    shard = tmp_path / "shard"
    write_shard(shard, [path.read_text() for path in sorted(texts.glob("*.txt"))], ByteTokenizer())
    recipe = planned()
    file = Path(recipe.data.plan)
    file.write_text(file.read_text().replace(str(texts), str(shard)))
    run = Run.create(tmp_path / "run", recipe.to_dict(), steps=recipe.steps)
    left = iter(range(6))
    train(run, stop=lambda: next(left, None) is None)
    data = shard.with_name("shard.bin")
    data.write_bytes(data.read_bytes()[::-1])
    with pytest.raises(InputError, match=r"sources.text: .*shard.bin differs from the SHA-256 in its header"):
        train(run)
    write_shard(shard, ["another text of some length\n" * 500], ByteTokenizer())
    with pytest.raises(InputError, match="a file of its sources has changed"):
        train(run)
