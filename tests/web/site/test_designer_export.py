"""Every exported form, executed, gives the schedule's rates."""

from __future__ import annotations

import csv
import io
import tomllib
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.schedules import parse
from thalweg.web.site.designer.export import CLOSE, EXACT, csv_text, snippets

STEPS = 600
EXACTLY = [
    "wsd:peak=3e-4,warmup=100,decay=0.2,shape=linear,floor=3e-5",
    "two-stage:peak=3e-4,warmup=50,at=300,then=9e-5",
    "multistep:peak=1e-3,at=0.8;0.9,levels=3.16e-4;1e-4",
    "constant:peak=3e-4,warmup=0.1,ramp=zero",
    "piecewise:points=3e-4@100;2.5e-4@400;0@1,warmup=100",
    "piecewise:points=0@0;3e-4@100;1e-4@400",
    "wsd:peak=3e-4,warmup=100,decay=0.2",
]
NEARLY = ["cosine:peak=3e-4,warmup=20,floor=3e-5", "inverse-sqrt:peak=1e-3,warmup=40"]


def driven(scheduler: torch.optim.lr_scheduler.LRScheduler, steps: int) -> np.ndarray:
    """The rates an optimizer sees."""
    optimizer, used = scheduler.optimizer, []
    for _ in range(steps):
        used.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return np.array(used)


def optimizer(peak: float) -> torch.optim.Optimizer:
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.zeros(1)
    return torch.optim.AdamW([weight], lr=peak)


@pytest.mark.parametrize(
    ("spec", "form"), [(s, f) for s in EXACTLY for f in ("torch", "plain")] + [(s, "torch") for s in NEARLY]
)
def test_python_for_pytorch(spec, form):
    schedule = parse(spec)
    names: dict[str, Any] = {"optimizer": optimizer(schedule.peak)}
    exec(snippets(schedule, STEPS)[form][1], names)
    rates = schedule.rates(STEPS)
    np.testing.assert_allclose(driven(names["scheduler"], STEPS), rates, rtol=0, atol=2 * EXACT * schedule.peak)


@pytest.mark.parametrize("steps", [STEPS, 20_000])
@pytest.mark.parametrize("spec", NEARLY)
def test_a_long_curve_is_listed_as_near_as_its_comment_says(spec, steps):
    schedule = parse(spec)
    text = snippets(schedule, steps)["plain"][1]
    said = float(text.partition("within ")[2].split()[0])
    names: dict[str, Any] = {"optimizer": optimizer(schedule.peak)}
    exec(text, names)
    assert len(names["steps"]) < 400
    off = np.interp(np.arange(steps), names["steps"], names["rates"]) - schedule.rates(steps)
    assert np.abs(off).max() <= 1.06 * said * schedule.peak <= 1.06 * CLOSE * schedule.peak
    assert max(map(len, text.splitlines())) <= 120


def test_the_trainer_trains_with_it(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from transformers import TrainerCallback
    from transformers.utils import logging

    logging.disable_progress_bar()
    schedule, steps = parse("wsd:peak=3e-4,warmup=2,decay=0.4"), 8
    model = torch.nn.Linear(3, 1)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x, labels=None):
            return {"loss": ((self.inner(x) - labels) ** 2).mean()}

    data = [{"x": torch.ones(3), "labels": torch.ones(1)} for _ in range(64)]
    names: dict[str, Any] = {"model": Model(), "output_dir": str(tmp_path), "train_dataset": data}
    exec(snippets(schedule, steps)["trainer"][1], names)
    used = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, optimizer=None, **_):
            used.append(optimizer.param_groups[0]["lr"])

    trainer = names["trainer"]
    trainer.args.report_to, trainer.args.disable_tqdm, trainer.args.dataloader_pin_memory = [], True, False
    trainer.add_callback(Watch())
    trainer.train()
    np.testing.assert_allclose(used, schedule.rates(steps), rtol=1e-12)


def test_csv_and_recipe(tmp_path):
    schedule = parse(EXACTLY[-1])
    rows = list(csv.DictReader(io.StringIO(csv_text(schedule, STEPS))))
    assert [int(row["step"]) for row in rows] == list(range(STEPS))
    np.testing.assert_array_equal([float(row["lr"]) for row in rows], schedule.rates(STEPS))
    path = tmp_path / "schedule.csv"
    path.write_text(csv_text(schedule, STEPS))
    np.testing.assert_array_equal(parse(f"array:path={path}").rates(STEPS), schedule.rates(STEPS))
    recipe = tomllib.loads(snippets(schedule, STEPS)["recipe"][1])
    assert (parse(recipe["schedule"]), recipe["steps"]) == (schedule, STEPS)
    assert parse(snippets(schedule, STEPS)["spec"][1]) == schedule
