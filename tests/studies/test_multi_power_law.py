"""The study runs (SMOKE), its rule gives each of the three verdicts, and its published part is the benchmark's."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thalweg.launch.plan import LONG
from thalweg.studies.base import expected
from thalweg.studies.multi_power_law import study
from thalweg.studies.multi_power_law.published import OFFICIAL, SCHEDULES, TEST, TRAIN, published_curves

Records = list[dict[str, Any]]
POOL = str(Path(__file__).parents[1] / "launch" / "pool.py")
CALL = f"(__import__('runpy').run_path({POOL!r})['forked'](), thalweg.cli.main(words))[1]"
WORDS = ("study", "run", study.SLUG, "--scale", "smoke", "--seeds", "1", "--device", "cpu", "--out", "study", "--json")


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory, nursery) -> tuple[Path, dict[str, Any], Records]:
    """Folder, outcome and records of the study as the command runs it, workers as copies of a process with torch."""
    home = tmp_path_factory.mktemp("study")
    done = nursery.run(*WORDS, cwd=home, call=CALL)
    assert done.code == 0, done.err
    records = json.loads((home / "study" / "seed-0.json").read_text())["records"]
    return home / "study", json.loads(done.out)["result"], records


def test_smoke_gives_a_record_a_long_run(smoke):
    folder, outcome, records = smoke
    assert [(record["kind"], record["schedule"]) for record in records] == [("live", name) for name in LONG]
    result = json.loads((folder / "work-0" / "result.json").read_text())
    for record in records:
        row, run = result["table"][record["schedule"]], result["runs"][f"long-{record['schedule']}"]
        assert record["error"] == record["final_loss"] / record["measured"] - 1 == row["error"]
        steps, losses, fitted = (np.array(column) for column in record["curve"])
        late = steps >= result["plan"]["warmup"]
        truth, predicted = losses[late], fitted[late]
        spread = ((truth - truth.mean()) ** 2).sum()
        assert record["r2"] == pytest.approx(1 - ((truth - predicted) ** 2).sum() / spread, abs=1e-9)
        assert record["mae"] == pytest.approx(np.abs(truth - predicted).mean(), rel=1e-9) == run["metrics"]["mae"]
    assert outcome["effect"] == pytest.approx(np.mean([record["r2"] for record in records]), abs=1e-12)
    assert (outcome["verdict"], outcome["error"], outcome["runs"]) == (
        "inconclusive",
        None,
        1,
    )  # one seed proves nothing


def test_run_again_says_the_same_without_training(smoke, monkeypatch):
    folder, _, records = smoke
    monkeypatch.setattr("thalweg.launch.forecast.LocalPool", lambda **options: pytest.fail("it trained again"))
    again = list(study.run(study.SMOKE, seed=0, device="cpu", folder=folder / "work-0"))
    assert json.loads(json.dumps([dict(record, seed=0) for record in again])) == records


def test_figure_shows_the_records(smoke):
    folder, outcome, records = smoke
    left, right = study.figure(records).axes
    for k, record in enumerate(records):
        steps, losses, fitted = record["curve"]
        dots, line = left.lines[2 * k], left.lines[2 * k + 1]
        assert (list(dots.get_xdata()), list(dots.get_ydata())) == (steps, losses)
        assert (list(line.get_ydata()), line.get_label()) == (fitted, record["schedule"])
        assert list(right.lines[k].get_ydata()) == [100 * record["error"]]
    assert Path(outcome["figure"]).name == "figure.svg"
    assert (folder / "figure.svg").read_text().startswith("<?xml")


def made_up(*seeds: tuple[float, float, float]) -> Records:
    """R2 of the three long runs of each seed, and a published record, which has no part in the verdict."""
    records: Records = [
        {"kind": "live", "schedule": name, "r2": r2, "seed": seed}
        for seed, values in enumerate(seeds)
        for name, r2 in zip(LONG, values, strict=True)
    ]
    return [*records, {"kind": "published", "size": "25M", "r2": -9.0, "seed": 0}]


@pytest.mark.parametrize(
    ("seeds", "state"),
    [
        ([(0.99, 0.995, 0.991), (0.992, 0.99, 0.99), (0.99, 0.99, 0.993)], "reproduced"),
        ([(0.95, 0.96, 0.97), (0.96, 0.95, 0.96), (0.94, 0.96, 0.95)], "not reproduced"),
        ([(0.999, 0.999, 0.999), (0.90, 0.95, 0.97), (0.99, 0.98, 0.99)], "inconclusive"),
        (
            [(0.981, 0.981, 0.981), (0.989, 0.989, 0.989), (0.977, 0.977, 0.977)],
            "inconclusive",
        ),  # above, not by two errors
        ([(0.999, 0.999, 0.999)], "inconclusive"),
    ],
)
def test_the_rule_in_each_state(seeds, state):
    outcome = study.verdict(made_up(*seeds))
    means = np.mean(seeds, axis=1)
    assert (outcome.state, outcome.runs) == (state, len(seeds))
    assert outcome.effect == pytest.approx(means.mean(), abs=1e-12)
    if len(seeds) == 1:
        assert math.isnan(outcome.error)
    else:
        assert outcome.error == pytest.approx(means.std(ddof=1) / math.sqrt(len(seeds)), abs=1e-12)


@pytest.mark.parametrize(("size", "mae", "worst"), [("25M", 0.00426, 0.00303), ("100M", 0.00491, 0.00509)])
def test_published_part_gives_the_figures_of_the_readme(shared_data, size, mae, worst, tmp_path, monkeypatch):
    """Default fitter on the paper's three curves, tested on its six; 2e-5 is twice the rounding of the figures."""

    class Untrained:
        def __init__(self, *words: object, **options: object) -> None: ...

        def run(self) -> dict[str, Any]:
            return {"runs": {f"long-{name}": LIVE for name in LONG}, "table": dict.fromkeys(LONG, LIVE)}

    monkeypatch.setattr(study, "Forecaster", Untrained)
    monkeypatch.setattr(study, "OFFICIAL", {size: OFFICIAL[size]})
    config = dataclasses.replace(study.SMOKE, curves=str(shared_data / "loss-curves"))
    records = list(study.run(config, seed=0, device="cpu", folder=tmp_path))
    (record,) = [record for record in records if record["kind"] == "published"]
    assert record["size"] == size
    assert record["mae"] == pytest.approx(mae, abs=2e-5)
    assert record["worst_e"] == pytest.approx(worst, abs=2e-5)
    other = list(study.run(config, seed=1, device="cpu", folder=tmp_path))  # the same for every seed: once is enough
    assert [record["kind"] for record in other] == ["live"] * 3


LIVE: dict[str, Any] = {
    **dict.fromkeys(
        ("final_loss", "interval", "measured", "error", "trust", "above_designed", "above_designed_error"), 0
    ),
    "metrics": dict.fromkeys(("r2", "mae", "pred_e", "worst_e"), 0.0),
    **dict.fromkeys(("steps", "losses", "fitted"), ()),
}


def test_published_schedules_are_those_of_the_logs(shared_data):
    """Every spec gives the logged rates: reading the file checks them, and all nine curves are there."""
    curves = published_curves(shared_data / "loss-curves", "25M")
    assert set(TRAIN) | set(TEST) == set(SCHEDULES) == set(curves)
    assert not set(TRAIN) & set(TEST)
    for name, (_, steps) in SCHEDULES.items():
        assert len(curves[name].rates) == steps
        assert curves[name].rates.max() == pytest.approx(3e-4)


def test_expected_numbers_are_those_of_this_study():
    known = expected(study.SLUG)
    names = ("slug", "title", "arxiv", "claim", "unit")
    assert [known[name] for name in names] == [getattr(study, name.upper()) for name in names]
    assert known["verdict"] in ("reproduced", "not reproduced", "inconclusive")
    assert all({"what", "value", "source"} <= row.keys() for row in known["paper"])
    assert all({"what", "value", "unit"} <= row.keys() for row in known["ours"])
