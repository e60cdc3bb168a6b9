"""Points of a schedule: near it, exact where they are it, and edited as asked."""

from __future__ import annotations

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.schedules import Piecewise, parse
from thalweg.web.site.designer import fields
from thalweg.web.site.designer.points import Points, as_points, as_schedule, changed, stretched
from thalweg.web.site.designer.state import Frame

FRAME = Frame(peak=3e-4, floor=3e-5, warmup=50)


@pytest.mark.parametrize("steps", [400, 24000])
@pytest.mark.parametrize("family", fields.FAMILIES)
def test_every_family_becomes_points_as_near_as_said(family, steps):
    schedule = fields.begin(family, FRAME, steps)
    rates = schedule.rates(steps)
    points = as_points(schedule, steps, rates)
    theirs = as_schedule(points.steps, points.rates, steps)
    warm = schedule.warmup_steps(steps)
    assert points.steps[0] == warm == theirs.warmup_steps(steps)
    off = np.abs(theirs.rates(steps) - rates).max() / rates.max()
    assert off <= points.off + 1e-3  # rates are written with four digits
    line = np.stack([np.arange(steps) / steps, theirs.rates(steps) / rates.max()])  # and it looks like it
    far = [np.hypot(*(line - [[k / steps], [rates[k] / rates.max()]])).min() for k in range(warm, steps, steps // 200)]
    assert max(far) < 0.06
    again = as_points(theirs, steps, theirs.rates(steps))
    assert (again.steps, again.off) == (points.steps, 0.0)


@pytest.mark.parametrize("steps", [24000, 72000])
def test_a_smooth_decay_has_few_points(steps):
    for spec in ("cosine:peak=3e-4,warmup=0.05,floor=3e-5", "wsd:peak=3e-4,decay=0.2"):
        schedule = parse(spec)
        assert len(as_points(schedule, steps, schedule.rates(steps))) <= 8


@pytest.mark.parametrize(
    "spec",
    [
        "piecewise:points=3e-4@100;3e-4@0.8;1e-5@1,warmup=100",
        "piecewise:points=0@0;3e-4@100;1e-4@900",
        "piecewise:points=3e-4@500;1e-4@999",
        "piecewise:points=2e-4@0.001;3e-4@0.5;0@1,warmup=0.001",
        "piecewise:points=2e-4@50;3e-4@400;1e-4@1000,warmup=200",
    ],
)
def test_a_schedule_by_points_stays_what_it_is(spec):
    schedule = parse(spec)
    points = as_points(schedule, 1000, schedule.rates(1000))
    theirs = as_schedule(points.steps, points.rates, 1000)
    np.testing.assert_allclose(theirs.rates(1000), schedule.rates(1000), rtol=1e-5, atol=1e-12)
    assert points.off == 0


def test_points_are_added_and_removed():
    points = Points((100, 500, 1000), (1.0, 1.0, 0.0))
    assert changed(points, "add-2", 1000) == Points((100, 500, 750, 1000), (1.0, 1.0, 0.5, 0.0))
    assert changed(points, "remove-2", 1000) == Points((100, 1000), (1.0, 0.0))
    assert changed(Points((100,), (1.0,)), "add-1", 1000).steps == (100, 550)
    for action in ("add-9", "turn-1", "add-x", "remove-0"):
        with pytest.raises(InputError, match="no point"):
            changed(points, action, 1000)
    with pytest.raises(InputError, match="no step between"):
        changed(Points((1, 2), (1.0, 0.0)), "add-1", 10)
    with pytest.raises(InputError, match="last point"):
        changed(Points((1,), (1.0,)), "remove-1", 10)


@pytest.mark.parametrize(
    ("at", "rates", "says"),
    [
        ([], [], "0 points"),
        ([5, 5], [1.0, 1.0], "point 2 is at step 5"),
        ([5, 11], [1.0, 1.0], "the run has 10 steps"),
        ([10], [1.0], "the run has 10 steps"),
        ([5], [-1.0], "at least 0"),
        ([5], [float("nan")], "not finite"),
        ([5], [0.0], "all rates are 0"),
        (list(range(65)), [1.0] * 65, "65 points"),
    ],
)
def test_bad_points(at, rates, says):
    with pytest.raises(InputError, match=says):
        as_schedule(at, rates, 10)


def test_another_length_keeps_the_warmup_and_the_shape():
    schedule = Piecewise(points=((3e-4, 100), (3e-4, 800), (0.0, 1000)), warmup=100)
    longer = stretched(schedule, 1000, 1900)
    assert [at for _, at in longer.points] == [100, 1500, 1900]
    assert longer.warmup_steps(1900) == 100
    assert stretched(parse("cosine:peak=1"), 10, 20) == parse("cosine:peak=1")
    with pytest.raises(InputError, match="warmup of 100 steps"):
        stretched(schedule, 1000, 100)
