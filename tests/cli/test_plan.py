"""`thalweg fit --law configuration`, `predict --config` and `plan`: what they print is what the law says."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from laws.configuration.made import SIZES, sweep
from thalweg.cli import main
from thalweg.laws.configuration import ConfigurationLaw, plan

CONFIG = "optimizer=adamw,params=100M,tokens=4B,lr=0.004"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Runs of the made sweep as CSV, a quarter of them of a larger size."""
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    rows = sweep(120, sizes=(*SIZES, 4e8))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["optimizer", "params [M]", "tokens", "lr", "batch_size", "loss"])
        for row in range(len(rows)):
            config = rows.config(row)
            numbers = [config["tokens"], config["learning_rate"], config["batch_size"], rows.losses[row]]
            writer.writerow([config["optimizer"], config["params"] / 1e6, *numbers])
    return path


@pytest.fixture(scope="module")
def law(table):
    path = table.with_name("law.json")
    assert main(["fit", str(table), "--law", "configuration", "--ood", "params>=300M", "--out", str(path)]) == 0
    return path


def test_fit_scores_the_rows_left_out(law, table, capsys):
    words = ["fit", str(table), "--law", "configuration", "--ood", "params>=300M", "--backbone", "boosted", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert set(found["scores"]) == {"train", "in_val", "ood_val"}
    assert found["runs"] == found["scores"]["train"]["runs"] == len(ConfigurationLaw.load(law).table)
    assert sum(part["runs"] for part in found["scores"].values()) == 120


def test_predict_says_what_the_law_says(law, capsys):
    assert main(["predict", str(law), "--config", CONFIG, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    wanted = ConfigurationLaw.load(law).predict(
        [{"optimizer": "adamw", "params": 1e8, "tokens": 4e9, "learning_rate": 0.004}]
    )
    assert found["final_loss"] == pytest.approx(wanted.loss[0])
    assert (found["low"], found["high"]) == (pytest.approx(wanted.low[0]), pytest.approx(wanted.high[0]))
    assert main(["predict", str(law), "--config", CONFIG.replace("100M", "90B")]) == 0
    said = capsys.readouterr()
    assert "nats/token" in said.out
    assert "params = 9e+10 lies outside the fitted" in said.err


def test_plan_says_what_the_search_finds(law, capsys):
    words = ["plan", str(law), "--budget", "2.4e18", "--tune", "lr", "--config", "optimizer=adamw,params=100M"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    fixed = {"optimizer": "adamw", "params": 1e8}
    wanted = plan(ConfigurationLaw.load(law), budget=2.4e18, tune=["learning_rate"], fixed=fixed)
    assert found["loss"] == pytest.approx(wanted.loss)
    assert found["config"]["tokens"] == pytest.approx(4e9)
    assert np.argmin([choice["loss"] for choice in found["trade_offs"]["learning_rate"]]) > 0
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "configuration: optimizer=adamw" in printed
    assert "above the plan" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "LAW"], "give --config"),
        (["predict", "LAW", "--config", "optimizer=adamw"], "no column 'params'"),
        (["predict", "LAW", "--config", CONFIG, "--points", "4"], "column frac"),
        (["plan", "LAW", "--budget", "1e18", "--tune", "lrr"], "did you mean 'lr'"),
        (["plan", "TABLE", "--budget", "1e18", "--tune", "lr"], "no saved configuration law"),
        (["fit", "TABLE", "TABLE", "--law", "configuration"], "one table"),
        (["fit", "TABLE", "--law", "configuration", "--ood", "params<3"], "field>=number"),
        (["fit", "TABLE", "--law", "configuration", "--ignore", "loss"], "0 columns of losses"),
    ],
)
def test_refusals_are_one_sentence(law, table, capsys, words, said):
    names = {"LAW": str(law), "TABLE": str(table)}
    assert main([names.get(word, word) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert len(printed.err.strip().splitlines()) == 1


def test_a_curve_at_points(tmp_path, capsys):
    path = ConfigurationLaw.fit(sweep(150, curves=True), members=2).save(tmp_path / "law.json")
    words = ["predict", str(path), "--config", CONFIG, "--points", "4", "--csv", str(tmp_path / "curve.csv"), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert found["curve"]["frac"] == [0.25, 0.5, 0.75, 1.0]
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == found["curve"]["loss"]
    assert found["curve"]["loss"][-1] == pytest.approx(found["final_loss"], abs=1e-9)
