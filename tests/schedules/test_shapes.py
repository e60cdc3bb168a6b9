"""Closed forms at named steps, torch and transformers as witnesses, and the published schedules."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch.optim import SGD, lr_scheduler

from thalweg.schedules import Piecewise, parse

WARM = "peak=3e-4,warmup=2160,ramp=zero"
PUBLISHED = {  # README of the published curves: spec string and steps
    "cosine_24000": (f"cosine:{WARM},floor=3e-5", 24000),
    "constant_24000": (f"constant:{WARM}", 24000),
    "wsdcon_9": (f"two-stage:{WARM},at=8000,then=9e-5", 16000),
    "constant_72000": (f"constant:{WARM}", 72000),
    "cosine_72000": (f"cosine:{WARM},floor=3e-5", 72000),
    "wsd_20000_24000": (f"wsd:{WARM},decay=4000,shape=exponential,floor=3e-5", 24000),
    "wsdld_20000_24000": (f"wsd:{WARM},decay=4000,shape=linear,floor=3e-5", 24000),
    "wsdcon_3": (f"two-stage:{WARM},at=8000,then=3e-5", 16000),
    "wsdcon_18": (f"two-stage:{WARM},at=8000,then=1.8e-4", 16000),
}


@pytest.mark.parametrize("size", ["25M", "100M"])
def test_published_schedules(shared_data: Path, size: str) -> None:
    with open(shared_data / "loss-curves" / f"{size}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["schedule"] for row in rows} == set(PUBLISHED)
    for name, (spec, steps) in PUBLISHED.items():
        mine = [row for row in rows if row["schedule"] == name]
        logged = np.array([float(row["lr"]) for row in mine])
        rates = parse(spec).rates(steps)[[int(row["step"]) for row in mine]]
        # the file prints 10 significant digits: half a unit of the last is up to 5e-10
        np.testing.assert_allclose(rates, logged, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    ("spec", "steps", "expected"),
    [
        ("constant:peak=1,warmup=4", 6, [0.25, 0.5, 0.75, 1, 1, 1]),
        ("constant:peak=1,warmup=5,ramp=zero", 6, [0, 0.25, 0.5, 0.75, 1, 1]),
        ("constant:peak=1,warmup=0.25", 8, [0.5, 1, 1, 1, 1, 1, 1, 1]),
        ("linear:peak=1", 4, [1, 0.75, 0.5, 0.25]),
        ("linear:peak=1,floor=0.5", 2, [1, 0.75]),
        ("wsd:peak=1,decay=4,shape=linear", 8, [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
        ("wsd:peak=1,decay=4", 5, [1, 1, 0.5, 1 - math.sqrt(0.5), 1 - math.sqrt(0.75)]),
        ("wsd:peak=1,decay=2,shape=power,power=2", 4, [1, 1, 1, 0.25]),
        ("wsd:peak=4,decay=2,shape=exponential,floor=1", 4, [4, 4, 4, 2]),
        ("wsd:peak=1,decay=2,shape=inverse,floor=0.25", 4, [1, 1, 1, 0.4]),
        ("wsd:peak=1,decay=0.5,warmup=0.5,shape=linear", 4, [0.5, 1, 1, 0.5]),
        ("wsd:peak=1,decay=0.5,warmup=0.5,shape=linear", 7, [0.25, 0.5, 0.75, 1, 1, 2 / 3, 1 / 3]),
        ("wsd-s:peak=1,cycles=4;8,decay=2,shape=linear", 8, [1, 1, 1, 0.5, 1, 1, 1, 0.5]),
        ("wsd-s:peak=1,cycles=4;8,decay=0.5,shape=linear", 8, [1, 1, 1, 0.5, 1, 0.75, 0.5, 0.25]),
        ("wsd-s:peak=1,cycles=4;8,decay=0.5,of=cycle,shape=linear", 8, [1, 1, 1, 0.5, 1, 1, 1, 0.5]),
        ("cyclic:peak=1,cycles=2;6", 6, [1, 0.5, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ("two-stage:peak=1,at=0.5,then=0.1", 4, [1, 1, 0.1, 0.1]),
        ("multistep:peak=1,warmup=2,at=0.5;3,levels=0.25;0", 4, [0.5, 1, 0.25, 0]),
        ("multistep:peak=1,at=2;3,levels=0.5;0", 4, [1, 1, 0.5, 0]),
        ("inverse-sqrt:peak=1,warmup=2", 9, [0.5, 1, *np.sqrt(2 / np.arange(2, 9))]),
        ("inverse-sqrt:peak=1,timescale=3,floor=0.6", 10, [*np.sqrt(3 / np.arange(3, 9)), 0.6, 0.6, 0.6, 0.6]),
        ("piecewise:points=0@0;1@4;1@6;0@1", 8, [0, 0.25, 0.5, 0.75, 1, 1, 1, 0.5]),
        ("piecewise:points=1@2;0@4", 6, [1, 1, 1, 0.5, 0, 0]),
        ("piecewise:points=1@0;1@4;0@6,warmup=2", 6, [0.5, 1, 1, 1, 1, 0.5]),
        ("array:values=1*3;0.5", 4, [1, 1, 1, 0.5]),
    ],
)
def test_closed_form(spec: str, steps: int, expected: list[float]) -> None:
    # an ulp or two for the forms with roots and cosines; the rest is exact
    np.testing.assert_allclose(parse(spec).rates(steps), expected, rtol=4e-16, atol=2e-16)


def drive(make: Callable[[SGD], lr_scheduler.LRScheduler], steps: int) -> np.ndarray:
    """The rates that a torch scheduler sets, one a step."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(rates)


@pytest.mark.parametrize(
    ("spec", "make"),
    [
        ("cosine:peak=0.1,floor=0.01", lambda o: lr_scheduler.CosineAnnealingLR(o, 60, eta_min=0.01)),
        ("linear:peak=0.1,floor=0.02", lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=60)),
        ("wsd:peak=0.1,decay=1,shape=power,power=1.7", lambda o: lr_scheduler.PolynomialLR(o, 60, power=1.7)),
        (
            "wsd:peak=0.1,decay=1,shape=exponential,floor=0.001",
            lambda o: lr_scheduler.ExponentialLR(o, 0.01 ** (1 / 60)),
        ),
        ("multistep:peak=0.1,at=20;50,levels=0.01;0.001", lambda o: lr_scheduler.MultiStepLR(o, [20, 50], 0.1)),
        ("two-stage:peak=0.1,at=30,then=0.05", lambda o: lr_scheduler.StepLR(o, 30, 0.5)),
        (
            "cyclic:peak=0.1,cycles=20;60,floor=0.01",
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 20, T_mult=2, eta_min=0.01),
        ),
    ],
)
def test_torch_agrees(spec: str, make: Callable[[SGD], lr_scheduler.LRScheduler]) -> None:
    # torch updates its rates recursively: rounding grows with the steps, by up to about 1e-14 here
    np.testing.assert_allclose(parse(spec).rates(60), drive(make, 60), rtol=1e-12)


WARMUP = {"num_warmup_steps": 10}
WHOLE = {**WARMUP, "num_training_steps": 60}
DECAY = {**WHOLE, "num_decay_steps": 20}


@pytest.mark.parametrize(
    ("spec", "name", "arguments"),
    [
        ("constant:peak=0.1,warmup=10", "get_constant_schedule_with_warmup", WARMUP),
        ("linear:peak=0.1,warmup=10", "get_linear_schedule_with_warmup", WHOLE),
        ("cosine:peak=0.1,warmup=10", "get_cosine_schedule_with_warmup", WHOLE),
        (
            "cosine:peak=0.1,warmup=10,floor=0.02",
            "get_cosine_with_min_lr_schedule_with_warmup",
            {**WHOLE, "min_lr": 0.02},
        ),
        ("inverse-sqrt:peak=0.1,warmup=10", "get_inverse_sqrt_schedule", WARMUP),
        ("inverse-sqrt:peak=0.1,warmup=10,timescale=25", "get_inverse_sqrt_schedule", {**WARMUP, "timescale": 25}),
        ("wsd:peak=0.1,warmup=10,decay=20", "get_wsd_schedule", {**DECAY, "decay_type": "1-sqrt"}),
        ("wsd:peak=0.1,warmup=10,decay=20,shape=linear", "get_wsd_schedule", {**DECAY, "decay_type": "linear"}),
        ("wsd:peak=0.1,warmup=10,decay=20,shape=cosine", "get_wsd_schedule", {**DECAY, "decay_type": "cosine"}),
        (
            "cyclic:peak=0.1,warmup=10,cycles=35;60",
            "get_cosine_with_hard_restarts_schedule_with_warmup",
            {**WHOLE, "num_cycles": 2},
        ),
    ],
)
def test_transformers_agrees(spec: str, name: str, arguments: dict) -> None:
    theirs = drive(lambda optimizer: getattr(transformers, name)(optimizer, **arguments), 60)
    mine = parse(spec).rates(60)
    np.testing.assert_allclose(mine[10:], theirs[10:], rtol=1e-14, atol=1e-17)
    # theirs starts the warmup at 0 and is one step behind; ours ends it at the peak
    np.testing.assert_allclose(mine[:10], theirs[1:11], rtol=1e-14)


def test_transformers_wsd_with_a_floor() -> None:
    options = {**DECAY, "num_warmup_steps": 0, "decay_type": "1-sqrt", "min_lr_ratio": 0.1}
    theirs = drive(lambda optimizer: transformers.get_wsd_schedule(optimizer, **options), 60)
    np.testing.assert_allclose(parse("wsd:peak=0.1,decay=20,floor=0.01").rates(60), theirs, rtol=1e-14)


@pytest.mark.parametrize("shape", ["linear", "1-sqrt", "cosine", "power", "exponential", "inverse"])
def test_a_decay_starts_at_the_peak_and_falls_towards_the_floor(shape: str) -> None:
    power = ",power=3" if shape == "power" else ""
    rates = parse(f"wsd:peak=3e-4,decay=1,shape={shape},floor=3e-5{power}").rates(1000)
    assert rates[0] == 3e-4
    assert (np.diff(rates) < 0).all()
    assert 3e-5 < rates[-1] < 3.2e-5


def test_inverse_is_linear_in_one_over_the_rate() -> None:
    gaps = np.diff(1 / parse("wsd:peak=0.1,decay=1,shape=inverse,floor=0.01").rates(100))
    np.testing.assert_allclose(gaps, (1 / 0.01 - 1 / 0.1) / 100, rtol=1e-11)  # differences of numbers near 100


def test_a_compact_piecewise_stays_near_the_rates_and_keeps_the_stable_phase():
    wanted = parse("wsd:peak=3e-3,warmup=40,decay=0.3,shape=1-sqrt,floor=1e-4").rates(1000)
    compact = Piecewise.through(wanted * (1 - 1e-9), warmup=40, peak=3e-3)
    rates = compact.rates(1000)
    assert np.abs(rates - wanted).max() <= 1e-3 * 3e-3 * (1 + 1e-6)
    assert np.array_equal(rates[:700], wanted[:700])
    assert len(compact.points) < 40
    assert parse(str(compact)) == compact
