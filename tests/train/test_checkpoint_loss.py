"""The loss of averaged weights: of one checkpoint it is the run's own record; another model's weights are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from thalweg.cli import main
from thalweg.cli.measure import find
from thalweg.errors import InputError
from thalweg.nn import LanguageModel, ModelConfig
from thalweg.runs import Run
from thalweg.train.averaging import average_checkpoints, sma
from thalweg.train.checkpoint_loss import average_and_newest, validation_losses
from thalweg.train.loop import train
from thalweg.train.shards import write_shards


@pytest.fixture
def run(tiny, tiny_data, tmp_path: Path) -> Run:
    recipe = tiny(steps=6, schedule="constant:peak=0.01")
    recipe = recipe.replace(checkpoint=replace(recipe.checkpoint, every=0, at=(4, 6)))
    made = Run.create(tmp_path / "run", recipe.to_dict(), steps=6)
    train(made, data=tiny_data)
    return made


def test_newest_is_the_record_of_the_run_and_the_average_between_its_parts(run: Run, tmp_path: Path, capsys):
    folders = sorted((run.folder / "checkpoints").glob("step-*"))
    average_checkpoints(folders, sma(2), out=tmp_path / "mean" / "model.safetensors")
    found = average_and_newest(tmp_path / "mean" / "model.safetensors", folders[-1])
    assert found["newest"] == pytest.approx(run.records("val_loss")[-1]["val_loss"], rel=1e-6)
    one = average_and_newest(folders[0] / "model.safetensors", folders[-1])["average"]
    assert found["newest"] < found["average"] < one  # the loss falls along a straight line of small steps
    assert main(["average", *map(str, folders), "--out", str(tmp_path / "mean"), "--evaluate"]) == 0
    said = f"validation loss {found['average']:.4f} nats/token; newest checkpoint alone {found['newest']:.4f}"
    assert said in capsys.readouterr().out


def test_split_weights_are_averaged_like_whole_ones(run: Run, tmp_path: Path, capsys):
    """The last checkpoint, written anew as one process writes split weights."""
    whole = sorted((run.folder / "checkpoints").glob("step-*"))
    split = tmp_path / "run" / "split" / "step-00000006"
    weights = load_file(whole[-1] / "model.safetensors")
    write_shards(split, {f"model/{name}": tensor for name, tensor in weights.items()}, alone=True)
    assert find(split, None)[1] == split  # thalweg measure takes it
    means = [average_checkpoints([whole[0], last], sma(2)) for last in (whole[-1], split)]
    assert all(torch.equal(means[0][name], means[1][name]) for name in means[0])
    assert main(["average", str(whole[0]), str(split), "--out", str(tmp_path / "mean"), "--evaluate"]) == 0
    said = f"newest checkpoint alone {run.records('val_loss')[-1]['val_loss']:.4f}"
    assert said in capsys.readouterr().out
    for path in (split / "shards").glob("*.distcp"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"cannot be read \(shards"):
        average_checkpoints([whole[0], split], sma(2))


def test_refuses(run: Run, tmp_path: Path):
    other = LanguageModel(ModelConfig(dim=8, layers=1, heads=1, context=16)).state_dict()
    with pytest.raises(InputError, match="other are not weights of the model"):
        validation_losses(run, {"other": other})
    with pytest.raises(InputError):
        average_and_newest(run.folder / "checkpoints", tmp_path / "none" / "step-1")
