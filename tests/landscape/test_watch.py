"""Measures along a run: a bare loop, our loop with exact resume, transformers' Trainer; nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch

from landscape.dense import cross_entropy, net
from thalweg.errors import InputError
from thalweg.interop.trainer_callback import trainer_callback
from thalweg.landscape import LandscapeWatch, NotMeasured
from thalweg.nn import LanguageModel
from thalweg.runs import Run
from thalweg.train.loop import train
from thalweg.train.watching import WatchHook


def test_a_bare_loop():
    case = net()
    optimizer = torch.optim.SGD(case.model.parameters(), lr=0.1)
    watch = LandscapeWatch(case.batches((7,)), ["loss", "lambda_max:2"], every=5, loss_fn=cross_entropy)
    records = []
    for step in range(1, 11):
        optimizer.zero_grad()
        cross_entropy(case.model, (case.inputs, case.targets)).backward()
        slopes = [p.grad.clone() for p in case.model.parameters()]
        state = torch.get_rng_state()
        optimizer.step()
        records.append(watch.record(case.model, step))
        assert all(torch.equal(p.grad, g) for p, g in zip(case.model.parameters(), slopes, strict=True))
        assert torch.equal(state, torch.get_rng_state())
    assert [bool(r) for r in records] == [step % 5 == 0 for step in range(1, 11)]
    assert list(records[-1]) == ["loss", "lambda_max:2.0", "lambda_max:2.1"]
    exact = torch.linalg.eigvalsh(case.hessian())
    assert records[-1]["lambda_max:2.0"] == pytest.approx(float(exact[-1]), rel=1e-5)
    first, second = (found["lambda_max:2"].products for _, found in watch.history)
    assert second <= first


def test_a_run_that_diverges_goes_on():
    case = net()
    watch = LandscapeWatch(case.batches(), ["lambda_max"], every=1, loss_fn=cross_entropy)
    assert watch.record(case.model, 1)
    with torch.no_grad():
        case.model[2].bias[0] = float("nan")
    with pytest.warns(NotMeasured, match=r"step 2 is not measured: 2\.bias holds nan"):
        assert watch.record(case.model, 2) == {}
    assert [step for step, _ in watch.history] == [1]
    with pytest.raises(InputError, match=r"2\.bias holds nan"):
        LandscapeWatch(case.batches(), every=1, loss_fn=cross_entropy).record(case.model, 1)


def tokens():
    return [torch.randint(200, (2, 12), generator=torch.Generator().manual_seed(i)) for i in range(2)]


def run_of(folder, recipe, data, steps=None):
    run = Run.create(folder, recipe.to_dict())
    watch = LandscapeWatch(tokens(), ["lambda_max", "gradient_norm"], every=5)
    seen = iter(range(10**6))
    train(run, data=data, hooks=[WatchHook(watch)], stop=lambda: steps is not None and next(seen) >= steps)
    return run


def test_our_loop_and_exact_resume(tmp_path, tiny, tiny_data):
    recipe = tiny(steps=10)
    whole = run_of(tmp_path / "whole", recipe, tiny_data)
    records = {record["step"]: record for record in whole.records()}
    assert {step for step, record in records.items() if "lambda_max" in record} == {4, 9}
    plain = Run.create(tmp_path / "plain", recipe.to_dict())
    train(plain, data=tiny_data)
    assert plain.curve()[1].tolist() == whole.curve()[1].tolist()  # watching changes nothing
    broken = run_of(tmp_path / "broken", recipe, tiny_data, steps=7)
    train(
        broken,
        data=tiny_data,
        hooks=[WatchHook(LandscapeWatch(tokens(), ["lambda_max", "gradient_norm"], every=5))],
    )
    again = {record["step"]: record for record in broken.records()}
    assert again[9]["lambda_max"] == records[9]["lambda_max"]
    model = LanguageModel(recipe.model)
    assert LandscapeWatch(tokens(), every=3).record(model, 4) == {}


def test_transformers_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(shape)
    rows = torch.randint(20, (8, 6), generator=torch.Generator().manual_seed(0))
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=4,
        per_device_train_batch_size=4,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        dataloader_pin_memory=False,
    )
    watch = LandscapeWatch([rows[:4], rows[4:]], ["lambda_max", "ggn_trace"], every=2, products=80)
    trainer = transformers.Trainer(
        copy.deepcopy(model),
        arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        callbacks=[trainer_callback(watch)],
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "lambda_max" in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    assert all(entry["ggn_trace"] > 0 for entry in logged)


def test_bad_arguments():
    with pytest.raises(InputError, match="every=0"):
        LandscapeWatch([], every=0)
    with pytest.raises(InputError, match="did you mean 'trace'"):
        LandscapeWatch([], ["trase"])
