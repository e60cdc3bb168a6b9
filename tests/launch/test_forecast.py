"""A small forecast from end to end, interrupted in every stage, beside one that was left alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from thalweg.errors import InputError, Interrupted
from thalweg.launch.forecast import Forecaster
from thalweg.launch.plan import Plan
from thalweg.runs import Run

CALL = f"__import__('runpy').run_path({str(Path(__file__).with_name('pool.py'))!r})['run_forecast'](words)"


@pytest.fixture
def plan(tiny) -> Plan:
    recipe = tiny(evaluation=tiny().evaluation.__class__(every=2, windows=6, batch=6))
    return Plan(recipe=recipe, pilot_steps=60, horizon=120, peak=0.01, warmup=6, floor=0.001)


def test_interrupted_in_each_stage_it_ends_as_if_left_alone(tmp_path, plan, nursery):
    file = tmp_path / "plan.json"
    file.write_bytes(msgspec.json.encode(plan))
    alone = nursery.run(tmp_path / "alone", file, "", cwd=tmp_path, call=CALL)
    assert (alone.code, alone.out.split("\n")) == (0, ["pilots", "law", "long runs", "result", ""]), alone.err
    folder = tmp_path / "parts"
    for stage in ("pilots", "law", "long runs", "result"):
        result = nursery.run(folder, file, stage, cwd=tmp_path, call=CALL)
        assert (result.code, result.out.splitlines()[-1]) == (130, stage), result.err
        assert not (folder / "result.json").exists()
    assert nursery.run(folder, file, "", cwd=tmp_path, call=CALL).out == "result\n"
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("alone", "parts"))
    for key in ("table", "law", "plan", "data", "schedules"):
        assert one[key] == two[key], key
    check(two, folder)

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    again = Forecaster(plan, folder, on_stage=lambda name: pytest.fail(f"{name} was done already")).run()
    assert again == two
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")} == before
    other = dataclasses.replace(plan, horizon=130)
    with pytest.raises(InputError, match="holds another forecast"):
        Forecaster(other, folder).run()
    assert json.loads((folder / "result.json").read_text()) == two


def test_a_wrong_corpus_does_not_claim_the_folder(tmp_path, plan):
    wrong = dataclasses.replace(
        plan, recipe=plan.recipe.replace(data=dataclasses.replace(plan.recipe.data, corpus="no"))
    )
    with pytest.raises(InputError, match="corpus 'no' is neither"):
        Forecaster(wrong, tmp_path / "out", on_stage=lambda name: pytest.fail(f"{name} began")).run()
    assert not (tmp_path / "out" / "plan.json").exists()


@pytest.mark.parametrize("content", ["{}", "not JSON"])
def test_a_plan_that_is_none_is_refused_and_kept(tmp_path, plan, content):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(InputError, match="holds another forecast"):
        Forecaster(plan, tmp_path).run()
    assert (tmp_path / "plan.json").read_text() == content


def test_ctrl_c_in_the_law_says_that_the_same_call_resumes(tmp_path, plan, monkeypatch):
    def stop(*words: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Forecaster, "_train", lambda self, stage, seconds: None)
    monkeypatch.setattr(Forecaster, "_foretell", stop)
    with pytest.raises(Interrupted, match="keeps what is done"):
        Forecaster(plan, tmp_path).run()


def check(result: dict, folder: Path) -> None:
    """The result agrees with the files it is made of, and the forecast was there before any long run."""
    forecast = json.loads((folder / "forecast.json").read_text())["schedules"]
    for name in ("cosine", "wsd", "designed"):
        row, run = result["table"][name], Run.open(folder / "runs" / f"long-{name}")
        assert row["final_loss"] == forecast[name]["final_loss"]
        assert row["error"] == pytest.approx(row["final_loss"] / row["measured"] - 1, abs=1e-12)
        assert row["measured"] == pytest.approx(run.records("val_loss")[-1]["val_loss"], rel=1e-6)
        assert row["above_designed"] == pytest.approx(row["measured"] - result["table"]["designed"]["measured"])
        assert row["interval"][0] <= row["final_loss"] <= row["interval"][1]
        assert run.recipe["schedule"] == row["spec"]
        assert (folder / "forecast.json").stat().st_mtime_ns < (run.folder / "recipe.toml").stat().st_mtime_ns
        account = result["runs"][f"long-{name}"]
        assert account["losses"] == [record["val_loss"] for record in run.records("val_loss")]
        assert account["shared"] + account["updates"] == 120
    rates = np.array(result["runs"]["long-designed"]["rates"])
    assert rates.max() <= 0.01 * (1 + 1e-9)
    assert forecast["designed"]["final_loss"] <= min(forecast[name]["final_loss"] for name in ("cosine", "wsd")) + 1e-9
