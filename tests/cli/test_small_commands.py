"""schedule, average, runs and doctor: what they print, and what `--json` holds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from thalweg.cli import main
from thalweg.runs import Run
from thalweg.schedules import parse

SPEC = "wsd:peak=0.0003,warmup=10,decay=0.25"


def printed(capsys, *words: object) -> str:
    assert main([str(word) for word in words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    return out


def document(capsys, *words: object) -> dict:
    found = json.loads(printed(capsys, *words, "--json"))
    assert found.keys() == {"schema", "command", "result"}
    assert found["schema"] == 1
    return found


def test_schedule(capsys, tmp_path):
    rates = parse(SPEC).rates(40)
    found = document(capsys, "schedule", SPEC, "--steps", 40)
    assert found["command"] == "schedule"
    assert found["result"]["rates"] == rates.tolist()
    assert [phase["name"] for phase in found["result"]["phases"]] == ["warmup", "stable", "decay"]
    out = printed(capsys, "schedule", SPEC, "--steps", 40, "--csv", tmp_path / "r.csv", "--plot", tmp_path / "r.svg")
    assert out.splitlines()[0] == str(parse(SPEC))
    assert [line.split()[:3] for line in out.splitlines()[2:]] == [
        ["warmup", "0", "9"],
        ["stable", "10", "29"],
        ["decay", "30", "39"],
    ]
    table = np.genfromtxt(tmp_path / "r.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert table["lr"].tolist() == rates.tolist()
    assert table["step"].tolist() == list(range(40))
    assert (tmp_path / "r.svg").read_text().startswith("<?xml")


def test_average(capsys, tmp_path):
    for k in (1, 2, 4):
        folder = tmp_path / f"step-{k:08d}"
        folder.mkdir()
        save_file({"w": torch.full((2, 3), float(k))}, folder / "model.safetensors")
    points = [tmp_path / f"step-{k:08d}" for k in (1, 2, 4)]
    expected = {"sma": 7 / 3, "wma": (3 * 1 + 2 * 2 + 1 * 4) / 6, "ema": 0.25 * 1 + 0.25 * 2 + 0.5 * 4}
    for kind, value in expected.items():
        out = printed(capsys, "average", *points, "--kind", kind, "--alpha", 0.5, "--out", tmp_path / kind)
        assert out == f"{tmp_path / kind / 'model.safetensors'}\n"
        found = load_file(tmp_path / kind / "model.safetensors")["w"]
        torch.testing.assert_close(found, torch.full((2, 3), value))
    assert main(["average", str(tmp_path / "none"), "--out", str(tmp_path / "x")]) == 2
    assert main(["average", *map(str, points), "--kind", "ema", "--alpha", "2", "--out", str(tmp_path / "x")]) == 2


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two runs: one done, one that has not begun."""
    monkeypatch.setenv("THALWEG_HOME", str(tmp_path))
    run = Run.create(tmp_path / "one", {"seed": 0, "data": {"context": 8}}, steps=3)
    with run.attempt():
        for step, loss in enumerate((3.0, 2.5, math.nan)):
            run.log(step, loss=loss, lr=0.1)
        with run.checkpoint_folder(3) as folder:
            (folder / "x").write_text("")
    Run.create(tmp_path / "two", {"seed": 1, "data": {"context": 8}}, steps=3)
    return tmp_path


def test_runs_list_and_show(capsys, root):
    rows = document(capsys, "runs", "list")["result"]["runs"]
    assert {row["path"]: (row["status"], row["steps_done"]) for row in rows} == {"one": ("done", 3), "two": ("new", 0)}
    assert printed(capsys, "runs", "list", root).count("\n") == 3
    found = document(capsys, "runs", "show", root / "one")["result"]
    assert found["checkpoints"] == [3]
    assert found["last"] == {"step": 2, "loss": None, "lr": 0.1}  # nan is null in JSON
    assert found["recipe"]["data"]["context"] == 8
    assert document(capsys, "runs", "show", root / "two")["result"]["last"] is None
    out = printed(capsys, "runs", "show", root / "one")
    assert ["data.context", "8"] in [line.split() for line in out.splitlines()]
    assert "none" in printed(capsys, "runs", "show", root / "two")


def test_runs_compare_and_export(capsys, root):
    rows = document(capsys, "runs", "compare", root / "one", root / "two")["result"]["rows"]
    assert rows["seed"] == {str(root / "one"): 0, str(root / "two"): 1}
    assert "data.context" not in rows
    assert "seed" in printed(capsys, "runs", "compare", root / "one", root / "two")
    out = printed(capsys, "runs", "export", root / "one", "--out", root / "c.csv")
    assert out == f"{root / 'c.csv'} (1 records that are not finite left out)\n"
    assert (root / "c.csv").read_text() == "schedule,step,lr,loss\none,0,0.1,3.0\none,1,0.1,2.5\n"
    assert main(["runs", "export", str(root / "one"), "--out", str(root / "c.xls")]) == 2
    assert main(["runs", "export", str(root / "one"), "--metric", "val_loss", "--out", str(root / "c.csv")]) == 2


def test_doctor(capsys, monkeypatch):
    found = document(capsys, "doctor")["result"]
    assert found["base"]["torch"] == torch.__version__
    assert {"starlette", "uvicorn", "markdown-it-py"} <= found["base"].keys()
    assert found["extras"].keys() == {"hf", "data", "corpora", "scale", "surrogate", "track"}
    assert set(found["extras"]["scale"]) == {"ray"}
    assert found["devices"][0].startswith("cpu")
    assert "torch" in printed(capsys, "doctor")
    from thalweg.cli import doctor

    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "tokenizers" else real(name))
    assert document(capsys, "doctor")["result"]["install"]["data"] == 'pip install "thalweg[data]"'
    line = next(line for line in printed(capsys, "doctor").splitlines() if line.startswith("extra data"))
    assert "tokenizers missing, pyarrow" in line
    assert line.endswith('  ->  pip install "thalweg[data]"')
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "jinja2" else real(name))
    assert main(["doctor"]) == 1
    assert "MISSING" in capsys.readouterr().out
