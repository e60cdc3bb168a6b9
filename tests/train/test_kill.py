"""Kill -9 at ten random moments of a real `thalweg train`, then resume: the run is the undisturbed one, bit for bit."""

from __future__ import annotations

import random
import time
from pathlib import Path

from thalweg.runs import Run


def measured(run: Run) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.records()]


def weights(run: Run) -> list[bytes]:
    folder = run.checkpoints()[-1].folder
    return [(folder / name).read_bytes() for name in ("model.safetensors", "state.safetensors", "state.json")]


def records(folder: Path) -> int:
    log = folder / "log.jsonl"
    return log.read_bytes().count(b'"loss"') if log.exists() else 0


def kill_at_a_moment(nursery, command: list[str], folder: Path, moment: str, rng: random.Random) -> None:
    """Starts the command and kills it some time after its start, after a few records, or inside a checkpoint."""
    child = nursery.start(*command, cwd=folder.parent)
    done, end = records(folder), time.monotonic() + rng.uniform(0.0, 0.2)
    if moment == "time":
        child.until(lambda: time.monotonic() > end or records(folder) >= done + 25)
    else:
        enough = done + rng.randint(3, 7)
        child.until(lambda: records(folder) >= enough)
    if moment == "checkpoint":
        child.until(lambda: any((folder / "checkpoints").glob(".writing-*")))
    time.sleep(rng.uniform(0.0, 0.003))
    child.kill()
    assert child.wait().code == -9


def test_ten_kills_change_nothing(tmp_path, tiny, nursery):
    plan = tiny().checkpoint.__class__(every=2, keep=2, at=(6,))
    recipe = tiny(steps=240, ema=0.9, accumulate=2, checkpoint=plan)
    file = tmp_path / "recipe.toml"
    file.write_text(recipe.to_toml())
    assert nursery.run("train", file, "--out", "whole", "--device", "cpu", cwd=tmp_path).code == 0
    folder, rng, inside = tmp_path / "killed", random.Random(1), 0
    command = ["train", str(file), "--out", "killed", "--device", "cpu"]
    for moment in rng.sample(["time"] * 3 + ["record"] * 3 + ["checkpoint"] * 4, 10):
        kill_at_a_moment(nursery, command, folder, moment, rng)
        inside += any((folder / "checkpoints").glob(".writing-*"))
        if (folder / "run.json").exists():
            assert Run.open(folder).status == "interrupted" or not records(folder)
    result = nursery.run(*command, cwd=tmp_path)
    assert result.code == 0, result.err
    whole, killed = Run.open(tmp_path / "whole"), Run.open(folder)
    assert killed.state["attempts"] >= 8  # a kill may come before the run begins
    assert inside >= 1
    assert measured(killed) == measured(whole)
    assert [record["step"] for record in killed.records("val_loss_average")] == list(range(4, 240, 5))
    assert weights(killed) == weights(whole)
    assert [point.step for point in killed.checkpoints()] == [6, 238, 240]
    assert not list((folder / "checkpoints").glob(".*"))
