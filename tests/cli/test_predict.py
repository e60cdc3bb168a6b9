"""`thalweg predict`: numbers of the law it loads, its curve as CSV, and refusals."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from thalweg.cli import main
from thalweg.laws import Law, LossCurve, MultiPower, fit, load_law
from thalweg.schedules import parse

PARAMS = {"L0": 2.5, "A": 0.65, "alpha": 0.43, "B": 520.0, "C": 2.0, "beta": 0.6, "gamma": 0.64}
SPEC = "wsd:peak=3e-4,warmup=50,decay=0.2,shape=linear,floor=3e-5"
STEPS = 1000


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A law with intervals, fitted to two curves of a known one."""
    curves = []
    for spec in ("constant:peak=3e-4,warmup=50", "cosine:peak=3e-4,warmup=50,floor=3e-5"):
        rates, at = parse(spec).rates(600), np.arange(9, 600, 10)
        noise = np.random.default_rng(len(curves)).standard_normal(len(at))
        losses = MultiPower(params=PARAMS).predict(rates, at=at, warmup_steps=50) * np.exp(1e-3 * noise)
        curves.append(LossCurve(spec[:6], rates, at, losses, 50))
    return fit(curves, draws=8).save(tmp_path_factory.mktemp("law") / "law.json")


@pytest.fixture
def law(fitted: Path) -> Law:
    return load_law(fitted)


def test_json_is_the_law(fitted, law, capsys):
    assert main(["predict", str(fitted), "--schedule", SPEC, "--steps", str(STEPS), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    said = document["result"]
    assert (document["command"], said["law"], said["steps"]) == ("predict", "multi-power", STEPS)
    assert said["schedule"] == str(parse(SPEC))
    assert said["final_loss"] == pytest.approx(law.final_loss(parse(SPEC), STEPS), rel=1e-12)  # another order of sums
    assert said["losses"] == law.predict(parse(SPEC), STEPS).tolist()
    assert said["rates"] == parse(SPEC).rates(STEPS).tolist()
    assert said["warmup_steps"] == 50
    trust = law.trust(parse(SPEC), STEPS)
    assert said["trust"]["interval"] == list(trust.interval)
    assert (said["trust"]["level"], said["trust"]["reason"]) == (trust.level, trust.reason)


def test_the_table_says_what_the_law_says(fitted, law, capsys):
    assert main(["predict", str(fitted), "--schedule", SPEC, "--steps", str(STEPS)]) == 0
    out = capsys.readouterr().out
    trust = law.trust(parse(SPEC), STEPS)
    low, high = trust.interval
    assert re.search(rf"^{trust.final_loss:.5f} +{low:.5f} to {high:.5f} +{trust.level} ", out, re.MULTILINE), out
    assert out.endswith(f"trust is {trust.level}: {trust.reason}\n")


def test_the_curve_on_disk(fitted, law, tmp_path, capsys):
    files = ["--csv", str(tmp_path / "p.csv"), "--plot", str(tmp_path / "p.svg")]
    assert main(["predict", str(fitted), "--schedule", SPEC, "--steps", str(STEPS), *files]) == 0
    capsys.readouterr()
    with open(tmp_path / "p.csv") as file:
        rows = [[float(row[key]) for key in ("step", "lr", "loss")] for row in csv.DictReader(file)]
    steps, rates, losses = np.array(rows).T
    np.testing.assert_array_equal(steps, np.arange(50, STEPS))  # a law says nothing about the warmup
    np.testing.assert_array_equal(rates, parse(SPEC).rates(STEPS)[50:])
    np.testing.assert_array_equal(losses, law.predict(parse(SPEC), STEPS)[50:])
    assert (tmp_path / "p.svg").stat().st_size > 10_000


def test_a_law_written_down_by_hand_has_no_trust(tmp_path, capsys):
    hand = MultiPower(params=PARAMS)
    words = ["predict", str(hand.save(tmp_path / "hand.json")), "--schedule", SPEC, "--steps", str(STEPS)]
    assert main([*words, "--plot", str(tmp_path / "p.png")]) == 0
    assert f"\n{hand.final_loss(parse(SPEC), STEPS):.5f} nats/token\n" in capsys.readouterr().out
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["trust"] is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.json", "--schedule", SPEC, "--steps", "100"], "law 'none.json' does not exist"),
        (["cut.json", "--schedule", SPEC, "--steps", "100"], "law 'cut.json' is not JSON"),
        (["other.json", "--schedule", SPEC, "--steps", "100"], "law 'other.json' is JSON but no law"),
        (["LAW", "--schedule", "wsd:peek=3e-4", "--steps", "100"], "did you mean 'peak'?"),
        (["LAW", "--schedule", "wsdd:peak=3e-4", "--steps", "100"], "did you mean 'wsd'?"),
        (["LAW", "--schedule", SPEC, "--steps", "50"], "warmup"),
        (["LAW", "--schedule", SPEC, "--steps", "0"], "steps"),
        (["LAW", "--schedule", SPEC, "--steps", "ten"], 'unable to convert "ten" into int'),
        (["LAW", "--schedule", SPEC], "--steps"),
        (["LAW", "--schedule", SPEC, "--steps", "100", "--plot", "p.gif"], "must end in .png, .svg or .pdf"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(fitted, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.json").write_text(fitted.read_text()[:300])
    (tmp_path / "other.json").write_text("[1, 2]")
    words = [str(fitted) if word == "LAW" else word for word in words]
    assert main(["predict", *words, "--csv", "p.csv"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("thalweg: ")
    assert message in err
    assert not (tmp_path / "p.csv").exists()
