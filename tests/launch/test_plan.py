"""The plan of the main job: what each run branches from, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.launch.plan import LONG, PILOTS, Plan
from thalweg.schedules import Array
from thalweg.train.fork import common_steps

FOLDER = Path("runs")


@pytest.fixture
def plan(tiny) -> Plan:
    return Plan(recipe=tiny(), pilot_steps=100, horizon=300, peak=0.01, warmup=8, floor=0.001, drop_at=0.5)


def designed(plan: Plan, leaves: int) -> Array:
    """A schedule that leaves the peak at a step."""
    rates = plan.pilot("constant").rates(plan.horizon)
    rates[leaves:] = np.linspace(plan.peak, plan.floor, plan.horizon - leaves + 1)[1:]
    return Array(values=rates)


def test_pilots_and_rivals(plan):
    jobs = plan.pilot_jobs(FOLDER)
    assert [job.folder.name for job in jobs] == [f"pilot-{name}" for name in PILOTS]
    assert [job.source for job in jobs] == [None, None, FOLDER / "pilot-constant"]
    assert 50 in jobs[0].recipe.checkpoint.at
    assert common_steps(jobs[0].recipe, jobs[2].recipe) == 50
    assert all(job.recipe.rates().max() == 0.01 for job in jobs)
    assert jobs[1].recipe.rates()[-1] < 0.0011
    assert jobs[2].recipe.rates()[-1] == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("leaves", "source"),
    [
        (9, None),  # before the pilot's first checkpoint
        (10, "pilot-constant"),
        (60, "pilot-constant"),
        (100, "pilot-constant"),
        (150, "long-wsd"),
        (239, "long-wsd"),
    ],
)
def test_every_source_has_a_checkpoint_that_the_branch_can_take(plan, leaves, source):
    jobs = plan.long_jobs(FOLDER, designed(plan, leaves))
    assert [job.folder.name for job in jobs] == [f"long-{name}" for name in LONG]
    cosine, wsd, best = jobs
    assert (cosine.source, wsd.source) == (None, FOLDER / "pilot-constant")
    assert best.source == (FOLDER / source if source else None)
    if source == "long-wsd":
        assert wsd.recipe.checkpoint.at == (leaves,)
    elif source:
        shared = common_steps(plan.pilot_jobs(FOLDER)[0].recipe, best.recipe)
        assert any(step <= shared for step in plan.pilot_jobs(FOLDER)[0].recipe.checkpoint.at)


def test_a_design_that_is_wsd_itself_branches_before_the_end(plan):
    _, wsd, best = plan.long_jobs(FOLDER, plan.rival("wsd"))
    assert best.source == FOLDER / "long-wsd"
    assert wsd.recipe.checkpoint.at == (plan.horizon - 1,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 100}, "horizon = 100 must be longer than the pilots"),
        ({"warmup": 0}, "warmup = 0 must be between"),
        ({"warmup": 50}, "warmup = 50 must be between"),
        ({"drop_at": 1.0}, "drop_at = 1.0 must lie between 0 and 1"),
        ({"drop_to": 0.0}, "drop_to = 0.0"),
        ({"decay": 1.2}, "decay = 1.2"),
        ({"peak": -1.0}, "peak"),
        ({"floor": 0.02}, "floor"),
    ],
)
def test_refusals(plan, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(plan, **change)
