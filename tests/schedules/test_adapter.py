"""The torch scheduler: exact rates, exact resume in any order, groups, Trainer and accelerate."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from thalweg.errors import InputError
from thalweg.schedules import Array, Constant, Schedule, ScheduleLR, parse

STEPS = 12
SPECS = [
    "cosine:peak=3e-3,warmup=3,floor=1e-4",
    "wsd-s:peak=3e-3,warmup=2,cycles=6;12,decay=2,shape=inverse,floor=3e-4",
    "two-stage:peak=3e-3,at=7,then=1e-3",
]


def build(lrs: tuple = (3e-3, 1e-3)) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A small model and AdamW with two groups."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    groups = [{"params": [p], "lr": lr} for p, lr in zip(model.parameters(), lrs, strict=True)]
    return model, torch.optim.AdamW(groups)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: ScheduleLR, start: int, stop: int) -> list:
    """Steps ``start`` to ``stop`` on data that depend on the step only; the losses."""
    losses = []
    for step in range(start, stop):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        loss = (model(x) - x[:, :3]).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def saved(state: object) -> object:
    """The state after torch.save and a load that allows no code."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize("spec", SPECS)
def test_a_group_at_the_peak_gets_exactly_the_rates(spec: str) -> None:
    schedule = parse(spec)
    _, optimizer = build()
    scheduler = ScheduleLR(optimizer, schedule, STEPS)
    for rate in schedule.rates(STEPS):
        assert optimizer.param_groups[0]["lr"] == rate
        assert optimizer.param_groups[1]["lr"] == pytest.approx(rate / 3, rel=1e-15)
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        scheduler.step()


def test_rates_written_as_tensors_stay_tensors() -> None:
    _, optimizer = build((torch.tensor(3e-3, dtype=torch.float64), 1e-3))
    tensor = optimizer.param_groups[0]["lr"]
    schedule = parse(SPECS[0])
    scheduler = ScheduleLR(optimizer, schedule, STEPS)
    for rate in schedule.rates(STEPS):
        assert optimizer.param_groups[0]["lr"] is tensor
        assert tensor.item() == rate
        optimizer.step()
        scheduler.step()
    other = ScheduleLR(build((torch.tensor(3e-3, dtype=torch.float64), 1e-3))[1], schedule, STEPS)
    other.load_state_dict(saved(scheduler.state_dict()))
    assert other.get_last_lr() == scheduler.get_last_lr()


def test_after_the_last_step_the_last_rate_is_held() -> None:
    _, optimizer = build()
    scheduler = ScheduleLR(optimizer, parse("linear:peak=3e-3"), 4)
    for _ in range(9):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == parse("linear:peak=3e-3").rates(4)[-1]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("order", ["scheduler built first", "optimizer loaded first", "scheduler loaded first"])
@pytest.mark.parametrize("at", [1, 5, 11])
def test_a_resumed_run_is_the_uninterrupted_one(spec: str, order: str, at: int) -> None:
    schedule = parse(spec)
    model, optimizer = build()
    scheduler = ScheduleLR(optimizer, schedule, STEPS)
    train(model, optimizer, scheduler, 0, at)
    states = saved({"m": model.state_dict(), "o": optimizer.state_dict(), "s": scheduler.state_dict()})
    expected = train(model, optimizer, scheduler, at, STEPS)

    again, fresh = build()
    again.load_state_dict(states["m"])
    if order == "optimizer loaded first":
        fresh.load_state_dict(states["o"])
        resumed = ScheduleLR(fresh, schedule, STEPS)
        resumed.load_state_dict(states["s"])
    else:
        resumed = ScheduleLR(fresh, schedule, STEPS)
        loads = [(fresh, "o"), (resumed, "s")]
        for part, key in loads[::-1] if order == "scheduler loaded first" else loads:
            part.load_state_dict(states[key])
    assert train(again, fresh, resumed, at, STEPS) == expected
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    assert resumed.state_dict() == scheduler.state_dict()


def test_a_state_loads_under_another_schedule_to_branch_off_a_decay() -> None:
    model, optimizer = build()
    scheduler = ScheduleLR(optimizer, Constant(peak=3e-3), STEPS)
    train(model, optimizer, scheduler, 0, 8)
    branch = parse("wsd:peak=3e-3,decay=4,shape=linear")
    decayed = ScheduleLR(optimizer, branch, STEPS)
    decayed.load_state_dict(saved(scheduler.state_dict()))
    for rate in branch.rates(STEPS)[8:]:
        assert optimizer.param_groups[0]["lr"] == rate
        optimizer.step()
        decayed.step()


def test_resuming_by_last_epoch_as_torch_does() -> None:
    model, optimizer = build()
    train(model, optimizer, ScheduleLR(optimizer, parse(SPECS[0]), STEPS), 0, 5)
    ScheduleLR(optimizer, parse(SPECS[0]), STEPS, last_epoch=4)
    assert optimizer.param_groups[0]["lr"] == parse(SPECS[0]).rates(STEPS)[5]


@pytest.mark.parametrize("schedule", [parse(SPECS[0]), Array(values=[3e-3] * 8 + [1e-3] * 4)])
def test_pickle_and_deepcopy(schedule: Schedule) -> None:
    model, optimizer = build()
    scheduler = ScheduleLR(optimizer, schedule, STEPS)
    train(model, optimizer, scheduler, 0, 5)
    for copied in (pickle.loads(pickle.dumps(scheduler)), copy.deepcopy(scheduler)):
        assert copied.state_dict() == scheduler.state_dict()
        assert copied.schedule == schedule
        copied.optimizer.step()
        copied.step()
        assert copied.get_last_lr()[0] == schedule.rates(STEPS)[6]


def test_bad_input_is_refused() -> None:
    _, optimizer = build()
    with pytest.raises(InputError, match="do not fit"):
        ScheduleLR(optimizer, parse("wsd:peak=1,warmup=8,decay=8"), STEPS)
    scheduler = ScheduleLR(optimizer, Constant(peak=3e-3), STEPS)
    with pytest.raises(InputError, match="no 'base_lrs'"):
        scheduler.load_state_dict({"last_epoch": 3, "_step_count": 4})
    with pytest.raises(InputError, match="1 parameter groups but the optimizer has 2"):
        scheduler.load_state_dict({"last_epoch": 3, "_step_count": 4, "base_lrs": [1.0]})


def test_inside_accelerate() -> None:
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    schedule = parse(SPECS[0])
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer = build()
    model, optimizer, scheduler = accelerator.prepare(model, optimizer, ScheduleLR(optimizer, schedule, STEPS))
    seen = []
    for _ in range(2 * STEPS):
        with accelerator.accumulate(model):
            seen.append(optimizer.param_groups[0]["lr"])
            accelerator.backward(model(torch.ones(2, 4)).sum())
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    assert seen[::2] == schedule.rates(STEPS).tolist()
    assert seen[1::2] == schedule.rates(STEPS).tolist()


def test_inside_the_hugging_face_trainer(tmp_path) -> None:
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate, which is not installed")
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    schedule = parse(SPECS[0])
    ids = torch.arange(9 * STEPS).reshape(STEPS, 9) % 16
    data = [{"input_ids": row, "labels": row} for row in ids]
    shape = {"vocab_size": 16, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}

    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.rates: list[float] = []

        def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs) -> None:
            self.rates.append(optimizer.param_groups[0]["lr"])

    def fit(stop: int, resume: bool) -> tuple[list[float], dict]:
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**shape, num_attention_heads=2, num_key_value_heads=2))
        optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.peak)
        arguments = TrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=stop,
            per_device_train_batch_size=1,
            save_steps=5,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        watch = Watch()
        optimizers = (optimizer, ScheduleLR(optimizer, schedule, STEPS))
        trainer = Trainer(model, arguments, train_dataset=data, optimizers=optimizers, callbacks=[watch])
        trainer.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-5") if resume else None)
        return watch.rates, model.state_dict()

    rates, weights = fit(STEPS, resume=False)
    assert rates == schedule.rates(STEPS).tolist()
    resumed, again = fit(STEPS, resume=True)
    assert resumed == rates[5:]
    assert all(torch.equal(weights[key], again[key]) for key in weights)
