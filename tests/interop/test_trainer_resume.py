"""Trainer and accelerate with our optimizer, schedule, average and measures: resumed runs equal uninterrupted ones."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import thalweg.optim
from thalweg.errors import InputError
from thalweg.interop.trainer_average import FILE, average_callback
from thalweg.interop.trainer_callback import trainer_callback
from thalweg.schedules import parse
from thalweg.schedules.adapter import ScheduleLR
from thalweg.train.averaging import OnlineEMA

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

ROWS, STEPS, BATCH = 40, 10, 4
SCHEDULE = "wsd:peak=0.02,warmup=3,decay=0.4"


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' and accelerate's own, about themselves
        yield


def model() -> Any:
    config = transformers.LlamaConfig(
        vocab_size=48,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        attention_dropout=0.1,  # so that random numbers must resume as well
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config)


def rows() -> list[dict[str, torch.Tensor]]:
    ids = torch.randint(48, (ROWS, 12), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": row} for row in ids]


class Norms:
    """The norm of all weights at every second step."""

    def record(self, model: Any, step: int) -> dict[str, float]:
        if step % 2:
            return {}
        return {"weights": float(sum(p.detach().double().square().sum() for p in model.parameters()))}


def trainer(folder: Path, name: str, resumed_from: Path | None = None) -> tuple[Any, OnlineEMA]:
    arguments = transformers.TrainingArguments(
        str(folder),
        max_steps=STEPS,
        per_device_train_batch_size=BATCH,
        save_steps=5,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=3,
    )
    net, schedule = model(), parse(SCHEDULE)
    optimizer = thalweg.optim.for_model(net, name, lr=schedule.peak)
    average = OnlineEMA(net, decay=0.7)
    made = transformers.Trainer(
        net,
        arguments,
        train_dataset=rows(),
        optimizers=(optimizer, ScheduleLR(optimizer, schedule, STEPS)),
        callbacks=[average_callback(average, resumed_from=resumed_from), trainer_callback(Norms())],
    )
    return made, average


def history(made: Any) -> list[dict[str, float]]:
    """Losses, rates, gradient norms and measures by step, without times."""
    keys = ("step", "loss", "learning_rate", "grad_norm", "weights")
    return [{key: row[key] for key in keys if key in row} for row in made.state.log_history]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_resumed_trainer_equals_an_uninterrupted_one(tmp_path, name):
    whole, average = trainer(tmp_path / "whole", name)
    whole.train()
    point = tmp_path / "whole" / "checkpoint-5"
    resumed, again = trainer(tmp_path / "resumed", name, point)
    resumed.train(resume_from_checkpoint=str(point))
    assert history(resumed)[:-1] == history(whole)[:-1]  # the last entry sums up what this process trained
    assert [row["weights"] for row in history(whole) if "weights" in row] != []
    for one, two in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert average.average.keys() == again.average.keys()
    assert all(torch.equal(tensor, again.average[key]) for key, tensor in average.average.items())
    with again.applied(resumed.model):
        assert not torch.equal(next(resumed.model.parameters()), next(whole.model.parameters()))
    rates = [row["learning_rate"] for row in history(whole) if "learning_rate" in row]
    share = whole.optimizer.param_groups[0]["initial_lr"] / parse(SCHEDULE).peak
    assert rates == pytest.approx(parse(SCHEDULE).rates(STEPS) * share, rel=1e-12)


def test_a_checkpoint_without_the_average_is_refused(tmp_path):
    whole, _ = trainer(tmp_path, "adamw")
    whole.train()
    (tmp_path / "checkpoint-5" / FILE).unlink()
    made, _ = trainer(tmp_path, "adamw")
    with pytest.raises(InputError, match=r"checkpoint-5 has no thalweg_average.pt"):
        made.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_accelerates_state_resumes_bit_for_bit(tmp_path, name):
    from accelerate import Accelerator

    def start() -> tuple[Any, ...]:
        net, schedule = model(), parse(SCHEDULE)
        optimizer = thalweg.optim.for_model(net, name, lr=schedule.peak)
        accelerator = Accelerator(cpu=True)
        prepared = accelerator.prepare(net, optimizer, ScheduleLR(optimizer, schedule, STEPS))
        average = OnlineEMA(net, decay=0.7)
        accelerator.register_for_checkpointing(average)
        return accelerator, *prepared, average

    def advance(parts: tuple[Any, ...], first: int, last: int) -> list[float]:
        accelerator, net, optimizer, scheduler, average = parts
        losses = []
        for step in range(first, last):
            batch = torch.stack([row["input_ids"] for row in rows()[step * BATCH : (step + 1) * BATCH]])
            loss = net(input_ids=batch, labels=batch).loss
            accelerator.backward(loss)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            average.update(accelerator.unwrap_model(net), step)
            losses.append(float(loss.detach()))
        return losses

    whole = start()
    torch.manual_seed(7)
    losses = advance(whole, 0, 5)
    whole[0].save_state(str(tmp_path / "state"))
    losses += advance(whole, 5, STEPS)
    resumed = start()
    resumed[0].load_state(str(tmp_path / "state"))
    assert advance(resumed, 5, STEPS) == losses[5:]
    assert all(torch.equal(tensor, resumed[4].average[key]) for key, tensor in whole[4].average.items())
    assert whole[3].get_last_lr() == resumed[3].get_last_lr()
