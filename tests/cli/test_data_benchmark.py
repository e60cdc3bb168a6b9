"""thalweg data benchmark: table, JSON, picture, kill and resume, bad input in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from planned_data import folder
from thalweg.cli import main
from thalweg.data import ByteTokenizer

SHORT = ("--starts", "0,0.5", "--width", "0.25")


@pytest.fixture
def world(tmp_path: Path, tiny) -> Path:
    rng = np.random.default_rng(0)
    texts = ["".join(chr(97 + c) for c in rng.integers(0, 26, 50)) for _ in range(40)]
    columns = {"id": np.arange(40), "quality": rng.random(40), "length": rng.random(40), "hole": np.full(40, np.nan)}
    for name in ("a", "b"):
        folder(tmp_path / name, [{"texts": texts, **columns}], ByteTokenizer())
    (tmp_path / "recipe.toml").write_text(tiny(steps=3, schedule="constant:peak=0.01").to_toml())
    return tmp_path


def run(capsys, world: Path, *words: str) -> tuple[int, str, str]:
    sources = [f"{name}={world / name}" for name in ("a", "b")]
    there = [] if "--recipe" in words else ["--recipe", str(world / "recipe.toml")]
    there += [] if "--starts" in words else list(SHORT)
    code = main(["data", "benchmark", *sources, "--out", str(world / "runs"), *there, *words])
    return code, *capsys.readouterr()


def test_table_json_and_picture(world: Path, capsys):
    code, out, _ = run(capsys, world, "--score", "quality", "--dry-run")
    assert code == 0
    assert "8 runs of 192 tokens on slices of 510: 0.38 epochs each" in out
    assert not (world / "runs").exists()
    code, out, err = run(capsys, world, "--score", "quality", "--plot", str(world / "p.svg"))
    assert code == 0
    assert "from 50%" in out
    assert "±" in out
    assert "best: " in out
    assert err.count("run ") == 8
    assert (world / "p.svg").read_text().count("<svg") == 1
    code, out, err = run(capsys, world, "--score", "quality", "--json")
    result = json.loads(out)["result"]
    assert (code, err) == (0, "")
    assert len(result["cells"]) == 4
    assert result["tokens"] == 510
    same = [cell["losses"] for cell in result["cells"]]
    assert same[:2] == same[2:]  # the two folders hold the same text
    for cell in result["cells"]:
        assert cell["val_loss"] == pytest.approx(np.mean(cell["losses"]))
        assert cell["error"] == pytest.approx(abs(cell["losses"][0] - cell["losses"][1]) / 2)


def test_several_scores(world: Path, capsys):
    words = ("--score", "quality,b=length", "--seeds", "1", "--json")
    code, out, _ = run(capsys, world, *words)
    assert code == 0
    result = json.loads(out)["result"]
    assert [cell["corpus"] for cell in result["cells"][::2]] == ["a", "b-quality", "b-length"]
    assert result["cells"][0]["error"] is None


def test_killed_it_goes_on(world: Path, capsys, monkeypatch):
    from thalweg.train import quantile_runs

    real, calls = quantile_runs.train, []

    def dies(run, **options):
        calls.append(run.folder.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(run, **options)

    monkeypatch.setattr(quantile_runs, "train", dies)
    assert run(capsys, world, "--score", "quality")[0] == 130
    assert run(capsys, world, "--score", "quality")[0] == 0
    assert calls[3:] == calls[2:3] + [name for name in calls[4:] if name not in calls[:2]]
    assert len(calls) == 3 + 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--score", "qualty"), "did you mean 'quality'"),
        (("--score", "c=quality"), "names no source"),
        (("--score", "a=quality"), "source 'b' has no score"),
        (("--score", ""), "empty name"),
        (("--score", "hole"), "has no finite score"),
        (("--score", "quality", "--starts", "0,x"), "are not numbers"),
        (("--score", "quality", "--starts", "0", "--width", "0.01"), "is empty"),
        (("--score", "quality", "--seeds", "0"), "seeds = 0"),
        (("--score", "quality", "--plot", "p.txt"), "must end in"),
        (("--score", "quality", "--recipe", "absent.toml"), "absent.toml"),
    ],
)
def test_refuses(world: Path, capsys, words, sentence):
    code, out, err = run(capsys, world, *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert not (world / "runs").exists()


def test_refuses_sources(world: Path, capsys):
    for source, sentence in (("a", "not NAME=FOLDER"), ("a=", "not NAME=FOLDER"), ("a=absent", "absent")):
        words = ["data", "benchmark", source, "--score", "quality", "--recipe", str(world / "recipe.toml")]
        assert main(words) == 2
        assert sentence in capsys.readouterr().err
