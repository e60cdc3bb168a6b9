"""thalweg scale: the rules' numbers, a recipe written anew, the noise check, refusals."""

from __future__ import annotations

import json

import pytest

from thalweg.cli import main
from thalweg.runs import Run
from thalweg.train.loop import train
from thalweg.train.recipe import load_recipe


def document(capsys, *words: object) -> dict:
    assert main(["scale", *map(str, words), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert found["command"] == "scale"
    return found["result"]


def test_the_square_root_rule(capsys):
    words = "--optimizer adamw --from 256 --to 1024 --lr 3e-4 --betas 0.95,0.99 --eps 1e-6 --ema 0.999 --warmup 2000"
    found = document(capsys, *words.split(), "--tokens", "1e9", "--context", 1024)
    values = {name: row["to"] for name, row in found["values"].items()}
    assert values["lr"] == pytest.approx(6e-4)
    assert values["betas"] == pytest.approx([0.8, 0.96])
    assert values["eps"] == pytest.approx(5e-7)
    assert values["weight_decay"] == pytest.approx(0.2)
    assert values["ema"] == pytest.approx(0.999**4)
    assert values["warmup, in steps"] == 500
    assert found["values"]["steps for the tokens"] == {"from": 3815, "to": 954}
    assert found["kappa"] == 4
    assert found["largest_batch"] == pytest.approx(256 * 20)


def test_the_linear_rule(capsys):
    words = "--optimizer sgd --from 256 --to 1024 --lr 0.1 --momentum 0.9 --weight-decay 1e-4 --steps 400".split()
    found = document(capsys, *words)
    assert {name: row["to"] for name, row in found["values"].items()} == {
        "lr": 0.4,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "steps": 100,
    }
    assert found["largest_batch"] is None
    assert set(document(capsys, *"--optimizer sgd --from 8 --to 16 --lr 0.1".split())["values"]) == {"lr"}
    assert main(["scale", *words]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["batch", "256", "batch", "1024"]


def test_a_rule_that_is_not_derived_is_a_trial(capsys):
    found = document(capsys, *"--optimizer muon --rule square-root --from 256 --to 1024 --lr 0.02".split())
    assert {name: row["to"] for name, row in found["values"].items()} == pytest.approx(
        {"weight_decay": 0.2, "lr": 0.04}
    )
    assert "no rule is derived for muon" in found["notes"][-1]


@pytest.mark.parametrize(("scale", "words"), [(1e6, "the rule holds"), (4096, "not well below"), (1000, "no longer")])
def test_the_noise_scale_decides_how_far_to_trust(capsys, scale, words):
    found = document(capsys, "--optimizer", "adamw", "--from", 256, "--to", 1024, "--noise-scale", scale)
    assert words in found["notes"][-1]
    assert f"{1024 / scale:.3g} of the noise scale" in found["notes"][-1]


def test_a_recipe_is_written_anew(capsys, tiny, tmp_path):
    old = tiny(steps=40, schedule="wsd:peak=0.01,warmup=8,decay=0.3,shape=linear")
    (tmp_path / "old.toml").write_text(old.to_toml())
    found = document(capsys, "--recipe", tmp_path / "old.toml", "--to", 16, "--out", tmp_path / "new.toml")
    new = load_recipe(tmp_path / "new.toml")
    assert (new.batch, new.steps, new.accumulate) == (16, 10, 4)
    assert new.schedule == found["values"]["schedule"]["to"] == "wsd:peak=0.02,warmup=2,decay=0.3,shape=linear"
    assert new.optimizer["betas"] == pytest.approx((0.6, 0.8))
    assert new.model == old.model
    document(capsys, "--recipe", tmp_path / "old.toml", "--to", 16, "--out", tmp_path / "new.toml")  # the same again


def test_a_run_tells_its_noise_scale(capsys, tiny, tiny_data, tmp_path):
    recipe = tiny(steps=6)
    run = Run.create(tmp_path / "run", recipe.to_dict())
    assert train(run, data=tiny_data) == "done"
    found = document(capsys, "--run", tmp_path / "run", "--to", 8, "--windows", 6)
    capsys.readouterr()
    assert main(["measure", str(tmp_path / "run"), "--measures", "noise", "--windows", "6", "--json"]) == 0
    point = json.loads(capsys.readouterr().out)["result"]["points"][0]["measurements"]["noise"]
    assert found["noise_scale"] == pytest.approx(point["extra"]["noise_scale"])
    assert f"{8 / found['noise_scale']:.3g} of the noise scale" in found["notes"][-1]
    assert "peak=0.01414" in found["values"]["schedule"]["to"]
    own = document(capsys, *"--optimizer sgd --from 4 --to 8 --lr 0.1 --windows 6 --run".split(), tmp_path / "run")
    assert (own["values"]["lr"]["to"], own["noise_scale"]) == (0.2, found["noise_scale"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--optimizer adamw --from 256 --to 4096", "take kappa <= 10"),
        ("--optimizer lion --from 256 --to 512", "no batch rule"),
        ("--optimizer adamw --to 512", "--from"),
        ("--from 8 --to 512", "--optimizer"),
        ("--optimizer adamw --from 0 --to 512", "--from 0"),
        ("--optimizer adamw --from 8 --to 16 --betas 0.9", "--betas 0.9"),
        ("--optimizer adamw --from 8 --to 16 --noise-scale 0", "--noise-scale 0"),
        ("--optimizer adamw --from 8 --to 16 --out new.toml", "--out new.toml"),
        ("--optimizer adamw --from 8 --to 16 --lr nan", "lr = nan"),
        ("--optimizer adamw --from 8 --to 16 --weight-decay -1", "weight_decay = -1"),
        ("--optimizer adamw --from 8 --to 16 --ema 1.5", "ema = 1.5"),
        ("--optimizer adamw --from 8 --to 16 --steps -5", "--steps -5"),
        ("--optimizer adamw --from 8 --to 16 --noise-scale inf", "--noise-scale inf"),
        ("--optimizer adamw --from 256 --to 0", "--to 0 must be at least 1"),
        ("--optimizer adamw --from 256 --to 512 --context 1024 --tokens 1e9 --steps 400", "not --steps 400"),
        ("--recipe recipes/tiny.toml --to 64 --out recipes/tiny.toml", "already holds another file"),
        ("--recipe recipes/tiny.toml --to 64 --lr 0.1", "--lr is the recipe's"),
        ("--recipe recipes/tiny.toml --to 64 --from 8", "--from 8 is not"),
    ],
)
def test_refusals_are_one_sentence(capsys, words, said, pytestconfig, monkeypatch):
    monkeypatch.chdir(pytestconfig.rootpath)
    assert main(["scale", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
