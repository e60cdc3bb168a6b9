"""Runs of the run root as curves: their losses under their recipes' schedules."""

from __future__ import annotations

import numpy as np
import pytest

from designer_client import client, problem
from thalweg.runs import Run
from thalweg.schedules import parse
from thalweg.web.site.designer.sources import of_runs, read_upload


@pytest.fixture
def root(tmp_path):
    for name, spec in (("slow", "cosine:peak=1e-3,warmup=10"), ("fast", "wsd:peak=1e-3,warmup=10,decay=0.2")):
        run = Run.create(tmp_path / name, {"name": name, "schedule": spec, "steps": 300})
        with run.attempt():
            for step in range(0, 300, 10):
                run.log(step, loss=3.0 - step / 300, val_loss=3.1 - step / 300)
    return tmp_path


def test_runs_become_curves_under_their_schedules(root):
    runs = [Run.open(root / name) for name in ("slow", "fast")]
    curves = read_upload(of_runs(runs))
    assert list(curves) == ["slow", "fast"]
    np.testing.assert_array_equal(curves["fast"].rates, parse("wsd:peak=1e-3,warmup=10,decay=0.2").rates(300))
    assert curves["slow"].losses[0] == 3.1  # the validation's, which both have
    assert read_upload(of_runs(runs, "loss"))["slow"].losses[0] == 3.0


def test_chosen_runs_lead_to_their_curves(root):
    pages = client(root)
    page = pages.get("/designer").text
    assert 'value="slow"' in page
    assert 'value="fast"' in page
    answer = pages.get("/designer?run=slow&run=fast")
    while answer.status_code == 303:
        answer = pages.get(answer.headers["location"])
    assert "2 curves" in answer.text


@pytest.mark.parametrize("path", ["../slow", "nowhere", "/etc"])
def test_only_runs_of_the_listing_are_read(root, path):
    answer = client(root).get("/designer/curves", params={"run": path})
    assert answer.status_code == 400
    assert "there is no run" in problem(answer.text)


def test_a_run_without_a_schedule_says_what_to_do(tmp_path):
    run = Run.create(tmp_path / "bare", {"name": "bare"})
    with run.attempt():
        run.log(0, loss=3.0)
    answer = client(tmp_path).get("/designer/curves?run=bare")
    assert "has no schedule and steps in its recipe" in problem(answer.text)
