"""`thalweg fit` from files to a law: its JSON, its round trip, other programs' exports, and refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thalweg.cli import main
from thalweg.laws import MultiPower, load_law
from thalweg.schedules import parse

TRUTH = MultiPower(params={"L0": 2.5, "A": 0.65, "alpha": 0.43, "B": 520.0, "C": 2.0, "beta": 0.6, "gamma": 0.64})
HEAD = "peak=3e-4,warmup=50"
SPECS = {
    "constant": f"constant:{HEAD}",
    "cosine": f"cosine:{HEAD},floor=3e-5",
    "two": f"two-stage:{HEAD},at=300,then=9e-5",
    "wsd": f"wsd:{HEAD},decay=0.2,shape=linear,floor=3e-5",
}
STEPS = 600
AT = np.arange(9, STEPS, 10)


def points(name: str) -> list[tuple[int, float, float]]:
    """Step, rate and loss of one curve that obeys the law up to a small error without pattern."""
    rates = parse(SPECS[name]).rates(STEPS)
    noise = np.random.default_rng(len(name)).standard_normal(len(AT))
    losses = TRUTH.predict(rates, at=AT, warmup_steps=50) * np.exp(1e-4 * noise)
    return [(int(s), float(rates[s]), float(y)) for s, y in zip(AT, losses, strict=True)]


def table(names: tuple[str, ...] = tuple(SPECS)) -> str:
    rows = (f"{name},{s},{rate!r},{loss!r}\n" for name in names for s, rate, loss in points(name))
    return "schedule,step,lr,loss\n" + "".join(rows)


def toml(names: tuple[str, ...] = tuple(SPECS)) -> str:
    return "".join(f'{name} = {{spec = "{SPECS[name]}", steps = {STEPS}}}\n' for name in names)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "curves.csv").write_text(table())
    (tmp_path / "schedules.toml").write_text(toml())
    return tmp_path


@pytest.fixture
def result(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Runs ``thalweg fit … --json`` and gives its result."""

    def call(*words: str) -> dict[str, Any]:
        code = main(["fit", *words, "--json"])
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        document = json.loads(out)
        assert (document.keys(), document["schema"], document["command"]) == ({"schema", "command", "result"}, 1, "fit")
        return document["result"]

    return call


def test_json_holds_the_law_and_errors_on_every_curve(folder, result):
    said = result(
        "curves.csv",
        "--schedules",
        "schedules.toml",
        "--train",
        "constant, cosine,two",
        "--draws",
        "8",
        "--out",
        "l.json",
    )
    law = load_law("l.json")
    assert said["params"] == law.params
    assert {name: tuple(ends) for name, ends in said["intervals"].items()} == law.intervals
    assert {name: row["role"] for name, row in said["metrics"].items()} == dict.fromkeys(SPECS, "train") | {
        "wsd": "test"
    }
    trust = law.trust(parse(SPECS["wsd"]), STEPS)
    assert said["trust"] == {"wsd": {"level": trust.level, "reason": trust.reason, "beyond": dict(trust.beyond)}}
    assert 0 < said["seconds"] < 120
    for name, row in said["metrics"].items():  # by their definitions
        rows = [(s, loss) for s, _, loss in points(name) if s >= 50]
        steps, losses = (np.array(column) for column in zip(*rows, strict=True))
        error = losses - law.predict(parse(SPECS[name]), STEPS, at=steps)
        assert row["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-9)
        assert row["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-9)
        assert row["r2"] == pytest.approx(1 - (error**2).sum() / ((losses - losses.mean()) ** 2).sum(), abs=1e-9)
        assert row["pred_e"] == pytest.approx((np.abs(error) / losses).mean(), rel=1e-9)
        assert row["worst_e"] == pytest.approx((np.abs(error) / losses).max(), rel=1e-9)
        assert row["pred_e"] < 1e-3  # curves of the law itself, with an error of 1e-4


def test_schedules_as_toml_csv_and_none_are_the_same_law_where_they_say_the_same(folder, result):
    rows = (f"{n},{k},{r!r}\n" for n in SPECS for k, r in enumerate(parse(SPECS[n]).rates(STEPS).tolist()))
    (folder / "rates.csv").write_text("schedule,step,lr\n" + "".join(rows))
    by_spec = result("curves.csv", "--schedules", "schedules.toml", "--draws", "0")
    by_rate = result("curves.csv", "--schedules", "rates.csv", "--draws", "0")
    assert by_rate["params"] == by_spec["params"]
    assert by_rate["metrics"] == by_spec["metrics"]
    assert by_spec["notes"] == {}
    logged = result("curves.csv", "--draws", "0", "--train", "constant,cosine")
    assert logged["notes"].keys() == SPECS.keys()  # of those not fitted as well
    assert all("interpolated from 60 logged" in notes[0] for notes in logged["notes"].values())


def test_the_table_says_what_the_json_says(folder, result, capsys):
    words = ["curves.csv", "--schedules", "schedules.toml", "--train", "constant,cosine", "--draws", "4"]
    said = result(*words)
    assert main(["fit", *words, "--out", "deep/law.json", "--plot", "law.svg"]) == 0
    out = capsys.readouterr().out
    for name, row in said["metrics"].items():
        assert re.search(rf"^{name} +{row['role']} +{row['mae']:.5f} +{row['rmse']:.5f}", out, re.MULTILINE), out
    assert f"trust in wsd is {said['trust']['wsd']['level']}: {said['trust']['wsd']['reason']}" in out
    assert out.endswith("law: deep/law.json\n")
    assert load_law("deep/law.json").params == said["params"]
    assert (folder / "law.svg").read_text().startswith("<?xml")


def test_naming_a_curve_twice_does_not_count_it_twice(folder, result):
    words = ["curves.csv", "--schedules", "schedules.toml", "--method", "plain", "--draws", "0", "--train"]
    assert result(*words, "cosine,two,cosine")["params"] == result(*words, "cosine,two")["params"]


def test_exports_of_trackers_give_the_fit_of_the_plain_table(folder, result):
    plain = result("curves.csv", "--schedules", "schedules.toml", "--train", "cosine,two", "--draws", "0")
    two = dict.fromkeys(("cosine", "two"))
    (folder / "two.toml").write_text(toml(tuple(two)))
    both = zip(points("cosine"), points("two"), strict=True)
    rows = "".join(f'"{a[0]}","{a[2]!r}","{a[2]!r}","{a[2]!r}","{b[2]!r}"\n' for a, b in both)
    head = '"Step","cosine - loss","cosine - loss__MIN","cosine - loss__MAX","two - loss"\n'
    (folder / "wandb.csv").write_text(head + rows)
    for name in two:
        values = "".join(f"{1.6e9 + s},{s},{loss!r}\n" for s, _, loss in points(name))
        (folder / f"{name}.csv").write_text("Wall time,Step,Value\n" + values)
    for files in (["wandb.csv"], ["cosine.csv", "two.csv"]):
        said = result(*files, "--schedules", "two.toml", "--draws", "0")
        assert said["params"] == plain["params"], files
        assert said["metrics"] == {name: plain["metrics"][name] for name in two}


def test_a_log_cut_short_is_fitted_and_noted(folder, result):
    lines = [json.dumps({"step": s, "lr": rate, "loss": loss}) for s, rate, loss in points("cosine")]
    (folder / "cosine.jsonl").write_text("\n".join(lines) + "\n" + '{"step": 600, "lo')
    (folder / "one.toml").write_text(toml(("cosine",)))
    said = result("cosine.jsonl", "--schedules", "one.toml", "--draws", "0")
    assert [note for note in said["notes"]["cosine"] if "cut short" in note]
    assert said["metrics"]["cosine"]["pred_e"] < 1e-3


ROWS = [f"{k},{0.1},{3 - k / 100}" for k in range(40)]


def file_of(**changed: str) -> str:
    """A good curve of 40 points, with some lines replaced."""
    lines = [changed.get(f"line{k}", row) for k, row in enumerate(ROWS)]
    return "\n".join(["step,lr,loss", *lines]) + "\n"


@pytest.mark.parametrize(
    ("content", "schedules", "words", "message"),
    [
        (
            file_of(),
            None,
            ["--train", "run,rnu"],
            "--train names 'rnu', which the files do not hold: did you mean 'run'?",
        ),
        (file_of(), None, ["--train", " , "], "--train is ' , ', which names no curve; the files hold: run"),
        (file_of().replace("step,", "time,"), None, [], "no column 'step'"),
        (file_of().replace("loss", "accuracy"), None, [], "no column 'loss'"),
        (file_of(line7="7,0.1,nan"), None, [], "the loss at step 7 is nan"),
        (file_of(line7="nan,0.1,2"), None, [], "step nan is no whole number"),
        (file_of(line7="6,0.1,2"), None, [], "step 6 follows step 6; steps must increase strictly"),
        (file_of(line7="5,0.1,2"), None, [], "step 5 follows step 6; steps must increase strictly"),
        ("step,lr,loss\n0,0.1,3\n1,0.1,2.9\n2,0.1,2.8\n", None, [], "has 9 parameters and needs at least 10"),
        ("step,loss\n0,3\n1,2.9\n", None, [], "no learning rates; add a column lr"),
        (file_of(), 'run = "constant:peak=0.2"', [], "the file logs lr 0.1 but its schedule gives 0.2"),
        (file_of(), 'run = "constnat:peak=0.1"', [], "did you mean 'constant'?"),
        (file_of(), 'run = {spec = "constant:peak=0.1", steps = 20}', [], "step 39 lies outside its 20 rates"),
        (file_of(), 'rnu = "constant:peak=0.1"', [], "no entry for curve 'run'; did you mean 'rnu'?"),
        (file_of(), None, ["--law", "multipower"], "law 'multipower' is unknown; did you mean 'multi-power'?"),
        (file_of(), None, ["--draws", "-1"], "draws is -1"),
        (file_of(), None, ["--method", "best"], '"best"'),
        (
            file_of(),
            None,
            ["--law", "momentum", "--method", "reference"],
            "method 'reference' exists for law 'multi-power'",
        ),
        (file_of(), None, ["--law", "one-power", "--warmup", "code"], "law 'one-power' knows paper"),
        (file_of(), None, ["--plot", "law.gif"], "must end in .png, .svg or .pdf"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(tmp_path, monkeypatch, capsys, content, schedules, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.csv").write_text(content)
    more = [] if schedules is None else ["--schedules", "s.toml"]
    (tmp_path / "s.toml").write_text(schedules or "")
    assert main(["fit", "run.csv", *more, *words, "--out", "law.json"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("thalweg: ")
    assert message in err
    assert not (tmp_path / "law.json").exists()


def test_no_file_at_all(capsys):
    assert main(["fit"]) == 2
    assert "name at least one CSV or JSON lines file" in capsys.readouterr().err
