"""The pool: branches in order, Ctrl-C, failures, and workers whose parent is gone."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.launch.local import Job, LocalPool
from thalweg.runs import Run
from thalweg.train.fork import shared_steps
from thalweg.train.loop import train
from thalweg.train.setup import prepare

CALL = f"__import__('runpy').run_path({str(Path(__file__).with_name('pool.py'))!r})['pool'](words)"
CONSTANT = "constant:peak=0.01,warmup=4"


def measured(run: Run) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.records()]


def lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


@pytest.fixture
def listed(tmp_path: Path, tiny) -> Path:
    """Two runs and a branch of the first."""
    keep = tiny().checkpoint.__class__(every=0, at=(40,))
    recipes = {
        "trunk": tiny(steps=150, schedule=CONSTANT, checkpoint=keep),
        "branch": tiny(steps=70, schedule="two-stage:peak=0.01,warmup=4,at=40,then=0.001"),
        "other": tiny(steps=150, seed=5),
    }
    for name, recipe in recipes.items():
        (tmp_path / f"{name}.toml").write_text(recipe.to_toml())
    jobs = [{"name": name, "recipe": str(tmp_path / f"{name}.toml")} for name in ("branch", "trunk", "other")]
    jobs[0]["source"] = "trunk"
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    return tmp_path / "jobs.json"


def test_ctrl_c_stops_all_and_the_same_call_resumes_to_the_same_losses(tmp_path, listed, nursery):
    assert nursery.run(tmp_path / "whole", listed, "fork", cwd=tmp_path, call=CALL).code == 0
    child = nursery.start(tmp_path / "parts", listed, "fork", cwd=tmp_path, call=CALL)
    logs = [tmp_path / "parts" / name / "log.jsonl" for name in ("trunk", "other")]
    child.until(lambda: all(lines(log) > 20 for log in logs))
    os.killpg(child.pid, signal.SIGINT)
    result = child.wait()
    assert result.code == 130, result.err
    assert result.err == ""
    for log in logs:
        run = Run.open(log.parent)
        assert run.status == "interrupted"
        assert run.checkpoints()[-1].step == len(run.records()) < 150
    assert not (tmp_path / "parts" / "branch").exists()
    assert nursery.run(tmp_path / "parts", listed, "fork", cwd=tmp_path, call=CALL).code == 0
    for name in ("trunk", "other", "branch"):
        whole, parts = Run.open(tmp_path / "whole" / name), Run.open(tmp_path / "parts" / name)
        assert (whole.status, parts.status) == ("done", "done")
        assert measured(parts) == measured(whole)
    assert shared_steps(Run.open(tmp_path / "parts" / "branch")) == 40
    again = nursery.run(tmp_path / "parts", listed, "fork", cwd=tmp_path, call=CALL)
    assert again.code == 0
    assert Run.open(tmp_path / "parts" / "trunk").state["attempts"] == 2


def test_a_failing_job_stops_the_others_and_says_why(tmp_path, tiny, nursery):
    good = tiny(steps=3000, checkpoint=tiny().checkpoint.__class__(every=0))
    bad = tiny(steps=100, schedule="constant:peak=1e30", clip=0.0)
    for name, recipe in (("good", good), ("bad", bad)):
        (tmp_path / f"{name}.toml").write_text(recipe.to_toml())
    jobs = [{"name": name, "recipe": str(tmp_path / f"{name}.toml")} for name in ("good", "bad")]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    result = nursery.run(tmp_path / "runs", tmp_path / "jobs.json", "fork", cwd=tmp_path, call=CALL)
    assert result.code == 1
    assert result.err.startswith("Diverged: the training loss is nan")
    good_run = Run.open(tmp_path / "runs" / "good")
    assert good_run.status == "interrupted"
    assert good_run.checkpoints()[-1].step == len(good_run.records()) < 3000
    assert Run.open(tmp_path / "runs" / "bad").status == "failed"


def test_workers_whose_parent_was_killed_checkpoint_and_end(tmp_path, tiny, nursery):
    """With workers that were started anew (spawn), as users have them."""
    recipe = tiny(steps=100_000, evaluation=tiny().evaluation.__class__(every=0, windows=1))
    (tmp_path / "long.toml").write_text(recipe.to_toml())
    (tmp_path / "jobs.json").write_text(json.dumps([{"name": "long", "recipe": str(tmp_path / "long.toml")}]))
    child = nursery.start(tmp_path, tmp_path / "jobs.json", "spawn", cwd=tmp_path, call=CALL)
    log = tmp_path / "long" / "log.jsonl"
    child.until(lambda: lines(log) > 10)
    group = [int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and group_of(pid) == child.pid]
    assert len(group) >= 3  # the parent and two workers
    child.kill()
    child.wait()
    child.until(lambda: not any(alive(pid) for pid in group), seconds=30)
    run = Run.open(tmp_path / "long")
    assert run.status == "interrupted"
    assert run.checkpoints()[-1].step == len(run.records())


def test_ctrl_c_while_workers_start_is_quiet(tmp_path, listed, nursery):
    for delay in (0.0, 0.2, 0.8):
        child = nursery.start(tmp_path / "runs", listed, "spawn", cwd=tmp_path, call=CALL)
        child.until((tmp_path / "runs").exists)
        time.sleep(delay)
        (tmp_path / "runs").rmdir()
        os.killpg(child.pid, signal.SIGINT)
        result = child.wait()
        assert (result.code, result.out, result.err) == (130, "", "")


def group_of(pid: str) -> int:
    try:
        return os.getpgid(int(pid))
    except ProcessLookupError:
        return 0


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_refusals(tmp_path, tiny):
    for wrong in ({"workers": 0}, {"workers": 1, "threads": 0}):
        with pytest.raises(InputError, match="must be at least 1"):
            LocalPool(**wrong)


def test_jobs_that_wait_for_one_another_are_refused(tmp_path, tiny):
    """Nothing is started for them, so the pool's processes are not needed either."""
    pool = LocalPool.__new__(LocalPool)
    pool._stop = type("Never", (), {"is_set": lambda self: False, "set": lambda self: None})()
    pool._queue = type("Empty", (), {"empty": lambda self: True})()
    one, two = tmp_path / "one", tmp_path / "two"
    with pytest.raises(InputError, match=r"one waits for .*two, which waits for it"):
        pool.run([Job(one, tiny(), two), Job(two, tiny(), one)])


def test_a_killed_worker_is_replaced_and_its_run_goes_on(tiny, tmp_path, capsys):
    """Killed twice at the work; the losses are those of an uninterrupted run, bit for bit."""
    recipe = tiny(steps=400)
    killed = []

    def kill(progress):
        if progress.step > 100 * (1 + len(killed)) and len(killed) < 2:
            killed.append(progress.step)
            for child in multiprocessing.active_children():
                child.kill()

    with LocalPool(workers=2, on_progress=kill) as pool:
        pool.run([Job(tmp_path / name, recipe) for name in ("one", "two")])
    assert len(killed) == 2
    assert capsys.readouterr().err.count("a training process was killed: its runs go on") == 2
    whole = train_alone(recipe, tmp_path / "whole")
    for name in ("one", "two"):
        run = Run.open(tmp_path / name)
        assert run.status == "done"
        np.testing.assert_array_equal(run.curve("loss")[1], whole)


def test_workers_killed_again_and_again_are_one_sentence(tiny, tmp_path, capsys):
    def kill(progress):
        for child in multiprocessing.active_children():
            child.kill()

    with (
        pytest.raises(InputError, match="were killed 4 times, perhaps for want of memory: use fewer workers"),
        LocalPool(workers=1, on_progress=kill) as pool,
    ):
        pool.run([Job(tmp_path / "run", tiny(steps=100_000))])
    assert capsys.readouterr().err.count("was killed") == 3


def train_alone(recipe, folder):
    """Losses of the recipe trained in this process."""
    run = Run.create(folder, recipe.to_dict(), steps=recipe.steps)
    train(run, data=prepare(recipe.data, folder.parent / "data"))
    return run.curve("loss")[1]
