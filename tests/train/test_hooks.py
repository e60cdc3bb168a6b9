"""Hooks see what they are promised, in order, and change nothing by looking."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.nn import LanguageModel
from thalweg.runs import Run
from thalweg.train.hooks import Hook
from thalweg.train.loop import train


class Diary(Hook):
    """Writes down every call and the weights at it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.weights: dict[int, dict[str, torch.Tensor]] = {}

    def on_start(self, state) -> None:
        self.calls.append(("start", state.step))

    def after_step(self, state, metrics) -> None:
        self.calls.append(("step", state.step))
        self.weights[state.step] = {name: w.detach().clone() for name, w in state.model.state_dict().items()}
        metrics["twice"] = 2 * metrics["loss"]

    def on_evaluate(self, state, metrics) -> None:
        self.calls.append(("evaluate", state.step))
        metrics["gap"] = metrics["val_loss"] - metrics["loss"]


def run_of(folder, recipe, data, *hooks) -> Run:
    run = Run.create(folder, recipe.to_dict())
    train(run, data=data, hooks=hooks)
    return run


def test_calls_and_measures_of_a_hook(tmp_path, tiny, tiny_data):
    diary = Diary()
    run = run_of(tmp_path / "run", tiny(steps=7), tiny_data, diary)
    expected = [("start", 0)]
    for step in range(1, 8):
        expected += [("step", step), *([("evaluate", step)] if step in (5, 7) else [])]
    assert diary.calls == expected
    for record in run.records():
        assert record["twice"] == 2 * record["loss"]
        assert ("gap" in record) == ("val_loss" in record) == (record["step"] in (4, 6))
    plain = run_of(tmp_path / "plain", tiny(steps=7), tiny_data)
    assert plain.curve()[1].tolist() == run.curve()[1].tolist()


def test_the_average_is_evaluated_and_the_live_weights_go_on(tmp_path, tiny, tiny_data):
    diary = Diary()
    recipe = tiny(steps=10, ema=0.75)
    run = run_of(tmp_path / "ema", recipe, tiny_data, diary)
    average = {name: w.double() for name, w in diary.weights[1].items()}
    for step in range(2, 11):
        average = {name: 0.75 * w + 0.25 * diary.weights[step][name].double() for name, w in average.items()}
    model = LanguageModel(recipe.model).double()
    model.load_state_dict(average)
    losses = []
    for rows in map(torch.from_numpy, tiny_data.windows(recipe)):
        logits = model(rows[:, :-1]).logits.detach()
        each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction="none")
        losses += each.mean(dim=1).tolist()
    last = run.records("val_loss_average")[-1]
    assert last["val_loss_average"] == pytest.approx(np.mean(losses), rel=1e-5)  # the average is kept in float32
    assert last["val_loss_average"] != last["val_loss"]
    plain = run_of(tmp_path / "plain", tiny(steps=10), tiny_data)
    assert plain.curve()[1].tolist() == run.curve()[1].tolist()
