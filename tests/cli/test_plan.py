"""`thalweg fit --law configuration`, `predict --config` and `plan`: what they print is what the law says."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from laws.configuration.made import SIZES, sweep
from thalweg.cli import main
from thalweg.laws import ChinchillaSize
from thalweg.laws.budget import Budget, plan_run
from thalweg.laws.configuration import ConfigurationLaw, plan
from thalweg.train.recipe import load_recipe

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
    assert found["calibration"]["inside"] > 0


def test_fit_says_what_the_intervals_stand_on(law, table, capsys):
    found = ConfigurationLaw.load(law).calibration
    words = ["fit", str(table), "--law", "configuration", "--ood", "params>=300M"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"{found.inside:.3g} deviations (from {found.runs_inside} runs left out)" in said
    assert f"{found.beyond:.2g} nats more an e-fold beyond (from {found.runs_beyond} largest)" in said
    assert main([*words, "--backbone", "boosted", "--no-calibrate"]) == 0
    assert "90 % intervals: not calibrated" in capsys.readouterr().out


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


def result(capsys, *words):
    assert main(["plan", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["result"]


def test_a_budget_alone_rests_on_published_laws_and_says_so(capsys):
    found = result(capsys, "--budget", "1e20")
    wanted = plan_run(Budget.of(flops=1e20))
    assert found["params"] == wanted.params
    assert found["loss"]["low"] == wanted.loss.low
    assert found["published_only"] is True
    assert found["gpu_hours"] is None
    assert [row["low"] for row in found["trade_offs"] if row["choice"] == "learning rate"]
    assert main(["plan", "--budget", "1e20"]) == 0
    said = capsys.readouterr()
    for words in ("published laws alone", "arXiv 2404.10102", "arXiv 2503.04715", "nats/token", "missing: "):
        assert words in said.out


def test_hours_data_and_size_as_people_write_them(capsys):
    words = ["--gpu-hours", "100", "--gpu", "h100", "--mfu", "0.4", "--data-tokens", "2B", "--price", "2.5"]
    found = result(capsys, *words, "--params", "1B")
    assert found["params"] == 1e9
    assert found["gpu_hours"] == pytest.approx(100, rel=1e-3)
    assert found["cost"] == pytest.approx(250, rel=1e-3)
    assert found["unique"] == 2e9
    assert found["epochs"] == pytest.approx(found["tokens"] / 2e9)


def test_own_files_replace_published_laws(tmp_path, capsys):
    law = ChinchillaSize(1.5, 300.0, 0.33, 900.0, 0.3)
    one, two, best = tmp_path / "law.json", tmp_path / "reuse.json", tmp_path / "best.csv"
    law.save(one)
    assert main(["data", "reuse", "--unique", "1e9", "--out", str(two)]) == 0
    best.write_text("params,tokens,lr,batch\n1e8,2e9,4e-3,64\n1e8,8e9,5e-3,128\n4e8,8e9,2e-3,128\n9e8,3e10,1e-3,256\n")
    capsys.readouterr()
    out = tmp_path / "plan.toml"
    found = result(capsys, str(one), str(two), str(best), "--budget", "1e20", "--data-tokens", "1B", "--out", str(out))
    assert found["published_only"] is False
    assert [origin["name"] for origin in found["origins"]] == [
        "own law of size and data",
        "own table of best values",
        "own law of repetition",
    ]
    recipe = load_recipe(out)
    assert recipe.steps == found["steps"]
    assert recipe.batch * recipe.data.context * recipe.steps == found["tokens"]
    assert recipe.rates().max() == pytest.approx(found["learning_rate"]["value"], rel=5e-3)


def test_a_table_of_runs_is_fitted(tmp_path, capsys):
    truth = ChinchillaSize(1.8, 400.0, 0.34, 1500.0, 0.35)
    rows = [(n, d, float(truth.predict(n, d))) for n in (5e7, 2e8, 8e8) for d in (1e9, 4e9, 1.6e10)]
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss\n" + "".join(f"{n},{d},{loss!r}\n" for n, d, loss in rows))
    found = result(capsys, str(path), "--budget", "1e19")
    assert found["params"] == pytest.approx(truth.best_split(1e19)[0], rel=1e-2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "there is no budget"),
        (["--budget", "much"], "--budget is 'much': give a number"),
        (["--budget", "1e20", "--gpu-hours", "3", "--gpu", "h100"], "give one of them"),
        (["--gpu-hours", "3"], "name one of a100"),
        (["--gpu-hours", "3", "--gpu", "h10"], "did you mean 'h100'"),
        (["--budget", "1e20", "--data-tokens=-3"], "--data-tokens is '-3'"),
        (["--budget", "1e20", "--schedule", "designed"], "needs a fitted curve law"),
        (["--budget", "1e20", "--tune", "lr"], "one configuration law"),
        (["no.json", "--budget", "1e20"], "no.json does not exist"),
        (["no.csv", "--budget", "1e20"], "no.csv does not exist"),
        (["TABLE", "--budget", "1e20"], "no column 'tokens'"),
        (["LAW", "LAW", "--budget", "1e20"], "two laws of the kind"),
    ],
)
def test_a_budget_that_cannot_be_planned(tmp_path, capsys, words, said):
    law, rows = tmp_path / "law.json", tmp_path / "runs.csv"
    ChinchillaSize(1.5, 300.0, 0.33, 900.0, 0.3).save(law)
    rows.write_text("params,loss\n1,2\n")
    names = {"LAW": str(law), "TABLE": str(rows)}
    assert main(["plan", *(names.get(word, word) for word in words)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert len(printed.err.strip().splitlines()) == 1
