"""`thalweg design`: what it prints, writes and promises agree, and the promise is the law's."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thalweg.cli import main
from thalweg.laws import Law, MultiPower, OnePower, load_law
from thalweg.schedules import parse

PARAMS = {"L0": 2.5, "A": 0.65, "alpha": 0.43, "B": 520.0, "C": 2.0, "beta": 0.6, "gamma": 0.64}
STEPS, PEAK, WARMUP, FLOOR = 800, 3e-4, 60, 3e-5
WORDS = ["--steps", str(STEPS), "--peak", repr(PEAK), "--warmup", str(WARMUP), "--floor", repr(FLOOR)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("design")


@pytest.fixture(scope="module")
def path(folder: Path) -> Path:
    return MultiPower(params=PARAMS).save(folder / "law.json")


@pytest.fixture
def law(path: Path) -> Law:
    return load_law(path)


@pytest.fixture(scope="module")
def result(path: Path, folder: Path) -> dict[str, Any]:
    files = ["--csv", str(folder / "d.csv"), "--plot", str(folder / "d.svg")]
    with redirect_stdout(io.StringIO()) as out:
        assert main(["design", str(path), *WORDS, *files, "--json"]) == 0
    document = json.loads(out.getvalue())
    assert (document.keys(), document["command"]) == ({"schema", "command", "result"}, "design")
    return document["result"]


def test_rates_csv_spec_and_loss_agree(result, law, folder):
    rates = np.array(result["rates"])
    with open(folder / "d.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(STEPS))
    assert {row["schedule"] for row in rows} == {"designed"}
    assert [float(row["lr"]) for row in rows] == result["rates"]
    assert law.final_loss(rates, warmup_steps=WARMUP) == pytest.approx(result["final_loss"], abs=1e-9)
    slow = law.definition(rates, WARMUP, np.array([STEPS - 1]))[0]
    assert slow == pytest.approx(result["final_loss"], abs=1e-6)  # what predict promises
    spec = parse(result["schedule"])
    # the spec's lines follow the rates to within a printed digit of the loss
    assert law.final_loss(spec, STEPS) == pytest.approx(result["final_loss"], abs=1e-4)
    np.testing.assert_allclose(spec.rates(STEPS), rates, atol=0.02 * PEAK)
    assert (folder / "d.svg").read_text().startswith("<?xml")


def test_the_rates_obey_what_was_asked(result):
    rates = np.array(result["rates"])
    np.testing.assert_allclose(rates[:WARMUP], PEAK * np.arange(1, WARMUP + 1) / WARMUP, rtol=1e-12)
    assert rates.max() == pytest.approx(PEAK, rel=1e-12)
    assert rates[WARMUP:].min() >= FLOOR * (1 - 1e-12)
    assert np.all(np.diff(rates[WARMUP:]) <= 1e-15)


def test_no_other_schedule_of_the_table_ends_lower(result, law):
    head = f"peak={PEAK!r},warmup={WARMUP}"
    specs = {
        "cosine": f"cosine:{head},floor={FLOOR!r}",
        "wsd, decay 0.1": f"wsd:{head},decay=0.1,shape=1-sqrt,floor={FLOOR!r}",
        "wsd, decay 0.2": f"wsd:{head},decay=0.2,shape=1-sqrt,floor={FLOOR!r}",
    }
    assert result["others"] == {name: law.final_loss(parse(spec), STEPS) for name, spec in specs.items()}
    assert result["final_loss"] < min(result["others"].values())
    lengths = np.linspace(0.05, 0.9, 18)  # nor any length of WSD's decay
    best = min(
        law.final_loss(parse(f"wsd:{head},decay={d:.3f},shape={s},floor={FLOOR!r}"), STEPS)
        for d in lengths
        for s in ("1-sqrt", "linear", "exponential")
    )
    assert result["final_loss"] <= best


def test_a_schedule_that_may_rise_ends_lower_where_the_law_gains_by_it(tmp_path, capsys):
    """Falls of a short run that gain much: this law takes them more than once."""
    law = MultiPower(params=PARAMS | {"B": 2000.0}).save(tmp_path / "law.json")
    found = []
    for extra in ([], ["--rising"]):
        assert main(["design", str(law), "--steps", "300", "--peak", "3e-4", "--warmup", "30", *extra, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["result"])
    assert found[1]["final_loss"] < found[0]["final_loss"] - 0.1
    falls, free = (np.diff(result["rates"][30:]) for result in found)
    assert falls.max() <= 0 < free.max()


def test_a_bounded_decay_holds_one_level_before_it(path, capsys):
    assert main(["design", str(path), *WORDS, "--decay", "0.15", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["result"]
    rates = np.array(said["rates"])
    start = round(len(rates) - 0.15 * len(rates))
    warm = parse(said["schedule"]).warmup_steps(len(rates))
    assert np.all(rates[warm : start + 1] == rates[warm])
    assert rates[-1] < rates[warm]
    assert {"wsd, decay 0.15", "wsd, decay 0.1"} <= set(said["others"])


def test_the_table_says_what_the_json_says(result, path, capsys):
    assert main(["design", str(path), *WORDS]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line[:14].strip(): line[14:].split() for line in lines[1:5]}
    assert cells["designed"] == [f"{result['final_loss']:.5f}"]
    for name, loss in result["others"].items():
        assert cells[name] == [f"{loss:.5f}", f"{loss - result['final_loss']:+.5f}"]
    assert f"spec: {result['schedule']}" in lines
    assert [line for line in lines if line.startswith("note: ")] == [f"note: {note}" for note in result["notes"]]


@pytest.mark.parametrize("warmup", [0, 1, 2])
def test_the_shortest_warmups(path, capsys, warmup):
    """One step of warmup is a step, in a schedule's spec a fraction."""
    assert main(["design", str(path), "--steps", "300", "--peak", "3e-4", "--warmup", str(warmup), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["result"]
    assert parse(said["schedule"]).warmup_steps(300) == warmup
    assert said["final_loss"] < min(said["others"].values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--steps": "0"}, "of 0 steps"),
        ({"--steps": "60"}, "warmup is 60 of 60 steps; leave at least two steps after it"),
        ({"--warmup": "-1"}, "warmup"),
        ({"--peak": "-1"}, "peak is -1"),
        ({"--peak": "nan"}, "peak"),
        ({"--floor": "1"}, "floor is 1"),
        ({"--floor": "-0.1"}, "floor is -0.1"),
        ({"--plot": "d.gif"}, "must end in .png, .svg or .pdf"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(path, tmp_path, monkeypatch, capsys, changes, message):
    monkeypatch.chdir(tmp_path)
    options = dict(zip(WORDS[::2], WORDS[1::2], strict=True)) | changes
    words = [f"{key}={value}" for key, value in options.items()]
    assert main(["design", str(path), *words, "--csv", "d.csv"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert not (tmp_path / "d.csv").exists()


def test_a_law_that_sees_no_order_of_rates_designs_nothing(tmp_path, capsys):
    law = OnePower(params=dict.fromkeys(OnePower.names, 0.5))
    assert main(["design", str(law.save(tmp_path / "one.json")), *WORDS]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "one-power" in err
