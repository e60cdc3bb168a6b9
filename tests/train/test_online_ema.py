"""The online average: its recursion, its steps, evaluation with it, and exact resume."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn

from thalweg.errors import InputError
from thalweg.train.averaging import average_weights, ema
from thalweg.train.online_ema import OnlineEMA


class Tied(nn.Module):
    """A model with a shared tensor, a counter and a constant that is not saved."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4, dtype=dtype)
        self.norm = nn.BatchNorm1d(4, dtype=dtype)
        self.head = nn.Linear(4, 6, bias=False, dtype=dtype)
        self.head.weight = self.embed.weight
        self.register_buffer("table", torch.arange(4.0), persistent=False)


def walk(model: nn.Module, step: int) -> None:
    """Changes all weights and buffers as training would."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for tensor in [*model.parameters(), model.norm.running_mean]:
            tensor.add_(torch.randn(tensor.shape, generator=generator).to(tensor.dtype))
        model.norm.num_batches_tracked.add_(1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_online_average_is_the_recursion(dtype: torch.dtype) -> None:
    model = Tied(dtype)
    average = OnlineEMA(model, decay=0.8)
    seen = []
    for step in range(6):
        walk(model, step)
        average.update(model, step)
        seen.append({name: tensor.detach().double() for name, tensor in copy.deepcopy(model.state_dict()).items()})
    expected = average_weights(seen, ema(6, 0.2))
    assert set(average.average) == {"embed.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"}
    for name, tensor in average.average.items():
        assert tensor.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        # six roundings in float32 of numbers up to about 5
        torch.testing.assert_close(
            tensor.double(), expected[name], rtol=0, atol=1e-14 if dtype == torch.float64 else 3e-6
        )


def test_start_and_every_choose_the_steps() -> None:
    model = Tied()
    average = OnlineEMA(model, decay=0.5, start=4, every=3)
    for step in range(10):
        walk(model, step)
        average.update(model, step)
        assert average.updates == (step >= 6) + (step >= 9)
    with pytest.raises(InputError, match="not after step 9"):
        average.update(model, 9)


def test_before_the_first_update_the_model_keeps_its_weights() -> None:
    model = Tied()
    average = OnlineEMA(model, decay=0.5, start=5)
    walk(model, 0)
    average.update(model, 0)
    before = model.embed.weight.detach().clone()
    with average.applied(model):
        assert torch.equal(model.embed.weight, before)
    assert torch.equal(model.embed.weight, before)


@pytest.mark.parametrize("wrong", [{"decay": 1.0}, {"decay": -0.1}, {"every": 0}, {"start": -1}])
def test_bad_input_is_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        OnlineEMA(Tied(), **wrong)


def test_applied_evaluates_the_average_and_restores_every_bit() -> None:
    model = Tied()
    average = OnlineEMA(model, decay=0.5)
    for step in range(3):
        walk(model, step)
        average.update(model, step)
    before = copy.deepcopy(model.state_dict())
    pointers = [parameter.data_ptr() for parameter in model.parameters()]

    def interrupted() -> None:
        with average.applied(model) as same:
            assert same is model
            assert torch.equal(model.embed.weight, average.average["embed.weight"])
            assert model.head.weight is model.embed.weight
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [parameter.data_ptr() for parameter in model.parameters()] == pointers


def test_a_resumed_average_is_the_uninterrupted_one() -> None:
    model = Tied()
    average = OnlineEMA(model, decay=0.9)
    for step in range(8):
        walk(model, step)
        average.update(model, step)
        if step == 3:
            buffer = io.BytesIO()
            torch.save({"model": model.state_dict(), "average": average.state_dict()}, buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    again = Tied()
    again.load_state_dict(saved["model"])
    resumed = OnlineEMA(again, decay=0.9)
    resumed.load_state_dict(saved["average"])
    for step in range(4, 8):
        walk(again, step)
        resumed.update(again, step)
    assert resumed.updates == average.updates
    assert all(torch.equal(resumed.average[name], average.average[name]) for name in average.average)
    saved["average"]["average"]["embed.weight"].zero_()
    assert resumed.average["embed.weight"].any()


def test_a_state_of_another_model_is_refused() -> None:
    with pytest.raises(InputError, match="does not fit the model"):
        OnlineEMA(Tied()).load_state_dict(OnlineEMA(nn.Linear(2, 2)).state_dict())
    with pytest.raises(InputError, match="'weight'"):
        OnlineEMA(nn.Linear(2, 3, bias=False)).load_state_dict(OnlineEMA(nn.Linear(2, 2, bias=False)).state_dict())


def test_torch_swa_utils_agrees() -> None:
    model = Tied()
    average = OnlineEMA(model, decay=0.7)
    theirs = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.7))
    for step in range(5):
        walk(model, step)
        average.update(model, step)
        theirs.update_parameters(model)
    for name, parameter in theirs.module.named_parameters():
        torch.testing.assert_close(average.average[name], parameter.detach(), rtol=1e-6, atol=1e-6)
