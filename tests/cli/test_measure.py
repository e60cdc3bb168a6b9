"""`thalweg measure`: table, JSON and picture say what the library measures; what cannot be measured is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from thalweg.cli import main
from thalweg.data import validation_batches
from thalweg.interop.huggingface import export
from thalweg.landscape import measure, next_token_loss
from thalweg.nn import LanguageModel
from thalweg.runs import Run
from thalweg.train.checkpoint import load_model
from thalweg.train.loop import train
from thalweg.train.recipe import CheckpointRecipe

WORDS = ["--measures", "loss,lambda_max:2,density", "--windows", "3", "--batch", "2", "--products", "24"]


@pytest.fixture(scope="module")
def run(tiny, tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("root") / "run"
    made = Run.create(folder, tiny(steps=6, checkpoint=CheckpointRecipe(every=3, keep=0)).to_dict())
    train(made, data=tiny_data)
    return made


@pytest.mark.filterwarnings("ignore::thalweg.landscape.lanczos.NotConverged")
def test_two_checkpoints_as_json_and_picture(run, tmp_path, capsys, tiny, tiny_data):
    folders = [str(checkpoint.folder) for checkpoint in run.checkpoints()]
    assert main(["measure", *folders, *WORDS, "--plot", str(tmp_path / "m.svg"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert [point["step"] for point in result["points"]] == [3, 6]
    model = LanguageModel(tiny().model)
    load_model(folders[0], model)
    rows = validation_batches(tiny_data.validation, context=16, batch=3, count=3)
    batches = [torch.from_numpy(part) for part in rows]
    mine = measure(model, next_token_loss, batches, ["loss", "lambda_max:2"], products=24)
    said = result["points"][0]["measurements"]
    assert said["loss"]["value"] == pytest.approx(mine["loss"].value, rel=1e-6)
    assert said["lambda_max:2"]["value"] == pytest.approx(mine["lambda_max:2"].value.tolist(), rel=1e-3)
    assert said["density"]["extra"]["grid"]
    assert (tmp_path / "m.svg").read_text().startswith("<?xml")


@pytest.mark.filterwarnings("ignore::thalweg.landscape.lanczos.NotConverged")
def test_a_run_an_export_and_the_table(run, tmp_path, capsys, tiny, monkeypatch):
    monkeypatch.setenv("THALWEG_HOME", str(tmp_path))
    model = LanguageModel(tiny().model)
    load_model(run.latest_checkpoint().folder, model)
    export(model, tmp_path / "hf")
    (tmp_path / "recipe.toml").write_text(tiny().to_toml())
    words = ["--measures", "loss,lambda_max", "--windows", "2", "--products", "10", "--float64"]
    assert main(["measure", str(run.folder), *words]) == 0
    first = capsys.readouterr().out.splitlines()
    assert main(["measure", str(tmp_path / "hf"), "--recipe", str(tmp_path / "recipe.toml"), *words]) == 0
    second = capsys.readouterr().out.splitlines()
    assert first[0].split() == ["checkpoint", "measure", "value", "error", "of", "kind", "products", "seconds"]
    for one, two in zip(first[1:3], second[1:3], strict=True):
        assert float(one.split()[2]) == pytest.approx(float(two.split()[2]), rel=1e-4)
    assert "note: attention runs on the MATH kernel: the fused ones have no second derivative" in first


def test_the_table_says_the_largest_error_of_several_values(run, capsys):
    words = ["--measures", "lambda_max:2", "--windows", "2"]
    assert main(["measure", str(run.folder), *words, "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["result"]["points"][0]["measurements"].values()
    assert main(["measure", str(run.folder), *words]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert "residual, largest" in row
    assert f"{max(item['error']):.2g}" in row


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no checkpoint or no measure"),
        (["nowhere"], "nowhere does not exist: name a run folder"),
        (["."], ". lies in no run: say model and data with --recipe"),
        (["x", "--measures", "lamda_max"], "did you mean 'lambda_max'"),
        (["x", "--windows", "0"], "windows = 0 must be at least 1"),
        (["x", "--plot", "x.gif"], "must end in .png, .svg or .pdf"),
    ],
)
def test_refusals(words, message, capsys):
    assert main(["measure", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


def test_what_cannot_be_measured_is_one_sentence_and_nothing_is_lost(run, tmp_path, capsys, tiny):
    good = run.latest_checkpoint().folder
    shape = dataclasses.replace(tiny().model, dim=2 * tiny().model.dim)
    (tmp_path / "wide.toml").write_text(tiny(model=shape).to_toml())
    (tmp_path / "r.toml").write_text(tiny().to_toml())
    damaged, spoilt, empty = (tmp_path / name for name in ("damaged", "spoilt", "empty"))
    for folder in (damaged, spoilt):
        shutil.copytree(run.folder, folder)
    empty.mkdir()
    cut, nan = (folder / good.relative_to(run.folder) for folder in (damaged, spoilt))
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    weights = load_file(nan / "model.safetensors")
    weights["lm_head.weight"][0] = float("nan")
    save_file(weights, nan / "model.safetensors")
    shutil.copytree(run.folder.parent / "data", tmp_path / "data", dirs_exist_ok=True)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in (".json", ".safetensors")}
    recipe = ["--recipe", str(tmp_path / "r.toml")]
    for words, message in (
        ([str(cut)], "cannot be read (model.safetensors"),
        ([str(empty), *recipe], "holds no model.safetensors"),
        ([str(tmp_path / "r.toml"), *recipe], "holds no model.safetensors"),
        ([str(good), "--recipe", str(tmp_path / "wide.toml")], "does not fit the model"),
        ([str(nan)], "lm_head.weight holds nan or infinite weights"),
        ([str(good), "--params", "head.*"], "params='head.*' matches no parameter"),
        ([str(good), str(tmp_path / "none")], "none does not exist"),
    ):
        assert main(["measure", *words, "--measures", "loss", "--windows", "2"]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), words
        assert message in err
        assert "delete" not in err
    assert main(["measure", str(good), str(nan), "--measures", "loss", "--windows", "2", "--json"]) == 2
    out, err = capsys.readouterr()
    assert "nan or infinite weights" in err
    assert [point["step"] for point in json.loads(out)["result"]["points"]] == [6]  # the first is measured, and told
    assert files == {path: path.stat().st_mtime_ns for path in files}
