from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

from thalweg.errors import InputError
from thalweg.runs import Run, run_root

RECIPE = {"steps": 10, "seed": 0, "data": {"corpus": "stdlib", "context": 64}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "pilot", RECIPE, steps=10)


def test_folder_says_everything(run: Run):
    with run.attempt(device="cpu"):
        run.log(0, loss=5.0, lr=1e-3)
    again = Run.open(run.folder)
    assert again.recipe == RECIPE
    assert again.name == "pilot"
    assert again.state["steps"] == 10
    assert again.state["attempts"] == 1
    assert tomllib.loads((run.folder / "recipe.toml").read_text()) == RECIPE
    made_with = json.loads((run.folder / "environment.json").read_text())["1"]
    assert made_with["device"] == "cpu"
    assert {"python", "platform", "threads", "cpus", "command", "started"} <= made_with.keys()
    assert made_with["versions"]["numpy"] == np.__version__
    assert str(Path.home()) not in json.dumps(made_with)


def test_recipe_text_is_kept_as_written(tmp_path: Path):
    text = "# why\nsteps = 3\n"
    run = Run.create(tmp_path / "a", text, name="first")
    assert (run.folder / "recipe.toml").read_text() == text
    assert run.recipe == {"steps": 3}
    assert run.name == "first"


def test_records_and_curves(run: Run):
    with run.attempt() as attempt:
        run.log(0, loss=5.0)
        run.log(1, loss=4.0, val_loss=4.5)
        attempt.interrupt()
    with run.attempt():
        run.log(1, loss=4.25)
        run.log(2, loss=np.float64(3.0))
    assert run.records() == [
        {"step": 0, "loss": 5.0},
        {"step": 1, "loss": 4.25, "val_loss": 4.5},
        {"step": 2, "loss": 3.0},
    ]
    assert run.records("val_loss") == [{"step": 1, "loss": 4.25, "val_loss": 4.5}]
    steps, losses = run.curve()
    assert (steps.tolist(), losses.tolist()) == ([0, 1, 2], [5.0, 4.25, 3.0])
    assert (steps.dtype, losses.dtype) == (np.int64, np.float64)
    assert [len(column) for column in run.curve("absent")] == [0, 0]
    events = [(event["attempt"], event["event"]) for event in run.read().events]
    assert events == [(1, "start"), (1, "end"), (2, "start"), (2, "end")]


@pytest.mark.parametrize(
    ("raised", "status", "error"),
    [
        (None, "done", None),
        (RuntimeError("too hot"), "failed", "RuntimeError: too hot"),
        (KeyboardInterrupt(), "interrupted", None),
        (SystemExit(1), "interrupted", None),
    ],
)
def test_status_says_how_it_ended(run: Run, raised: BaseException | None, status: str, error: str | None):
    assert run.status == "new"

    def work() -> None:
        with run.attempt():
            assert run.status == Run.open(run.folder).status == "running"
            if raised:
                raise raised

    if raised:
        with pytest.raises(type(raised)):
            work()
    else:
        work()
    assert run.status == status
    assert run.state.get("error") == error
    with run.attempt() as attempt:
        assert "error" not in run.state
        attempt.interrupt()
    assert run.status == "interrupted"


def test_running_without_a_writer_is_interrupted(run: Run):
    state = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(state | {"status": "running"}))
    assert run.status == "interrupted"


def test_second_writer_is_refused_and_does_no_harm(run: Run):
    with run.attempt():
        run.log(0, loss=5.0)
        with (
            pytest.raises(InputError, match=f"is being written by process {os.getpid()}"),
            Run.open(run.folder).attempt(),
        ):
            pass
        run.log(1, loss=4.0)
    assert run.status == "done"
    assert run.state["attempts"] == 1
    assert len(run.records()) == 2


def test_unfinished_line_is_cut_and_reported(run: Run):
    with run.attempt():
        run.log(0, loss=5.0)
    with open(run.folder / "log.jsonl", "a") as file:
        file.write('{"attempt":1,"st')
    assert run.read().truncated == 16
    with run.attempt() as attempt:
        run.log(1, loss=4.0)
    assert attempt.repaired == 16
    assert run.read().truncated == 0
    assert [event["cut_bytes"] for event in run.read().events if event["event"] == "start"] == [0, 16]


def test_checkpoints_belong_to_the_run(run: Run):
    assert run.latest_checkpoint() is None
    with run.attempt():
        for step in (5, 10, 15):
            with run.checkpoint_folder(step) as folder:
                (folder / "w").write_text(str(step))
        run.prune_checkpoints(1, always=(5,))
    assert [checkpoint.step for checkpoint in run.checkpoints()] == [5, 15]
    newest = run.latest_checkpoint()
    assert newest is not None
    assert (newest.folder / "w").read_text() == "15"
    assert newest.folder == run.folder / "checkpoints" / "step-00000015"
    (newest.folder / "w").write_text("")
    with pytest.raises(InputError, match="the checkpoint is damaged: delete its folder"):
        run.latest_checkpoint()


def test_leftovers_of_a_killed_checkpoint_go_away(run: Run):
    (run.folder / "checkpoints" / ".writing-step-00000005").mkdir(parents=True)
    with run.attempt():
        pass
    assert list((run.folder / "checkpoints").iterdir()) == []


def test_writing_needs_an_attempt(run: Run):
    for write in (lambda: run.log(0, loss=1.0), lambda: run.checkpoint_folder(1)):
        with pytest.raises(InputError, match=r"with run\.attempt\(\)"):
            write()


def test_full_disk_at_the_end_does_not_hide_the_reason(run: Run, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def work() -> None:
        with run.attempt():
            run.log(0, loss=5.0)
            monkeypatch.setattr("thalweg.runs.run.write_json", refuse)
            raise OSError(28, "No space left on device: the reason")

    with pytest.raises(OSError, match="the reason"):
        work()
    monkeypatch.undo()
    assert run.status == "interrupted"
    with run.attempt():
        run.log(1, loss=4.0)
    assert [record["step"] for record in run.records()] == [0, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"format": "thalweg-run", "version": 2}', "is a thalweg-run of version 2, this program reads thalweg-run 1"),
        ('{"format": "other", "version": 1}', "is a other of version 1"),
        ('{"format": "thalweg-run", "version": 1}', "lacks or misstates name, created, status, attempts"),
        ("{", "damaged"),
        ("[]", "damaged"),
    ],
)
def test_other_and_damaged_folders_are_refused(run: Run, content: str, words: str):
    (run.folder / "run.json").write_text(content)
    with pytest.raises(InputError, match=words):
        Run.open(run.folder)
    with pytest.raises(InputError, match=words), run.attempt():
        pass


def test_damaged_recipe_and_absent_run(run: Run, tmp_path: Path):
    (run.folder / "recipe.toml").write_text("steps = ")
    with pytest.raises(InputError, match=r"recipe\.toml cannot be read"):
        Run.open(run.folder)
    with pytest.raises(InputError, match="holds no run"):
        Run.open(tmp_path)


def test_create_refuses_what_is_there_and_finishes_what_was_begun(run: Run, tmp_path: Path):
    with pytest.raises(InputError, match="already holds a run"):
        Run.create(run.folder, RECIPE)
    with pytest.raises(InputError, match="not empty and not a run"):
        Run.create(tmp_path, RECIPE)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.toml").write_text("steps")  # killed before run.json was written
    (tmp_path / "begun" / ".recipe.toml.123.tmp").write_text("st")
    assert Run.create(tmp_path / "begun", RECIPE).status == "new"
    for recipe in ({"a": None}, "steps = "):
        with pytest.raises(InputError, match="cannot be written as TOML"):
            Run.create(tmp_path / "new", recipe)
    assert not (tmp_path / "new").exists()


def test_resume_only_with_the_same_recipe(run: Run):
    assert Run.resume_or_create(run.folder, RECIPE).folder == run.folder
    other = RECIPE | {"seed": 1, "data": {"corpus": "stdlib"}}
    with pytest.raises(InputError, match=r"data\.context: 64 there, None asked; seed: 0 there, 1 asked"):
        Run.resume_or_create(run.folder, other)
    fresh = Run.resume_or_create(run.folder.parent / "fresh", other, steps=7)
    assert fresh.state["steps"] == 7


def test_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("THALWEG_HOME", raising=False)
    assert run_root() == Path("runs")
    monkeypatch.setenv("THALWEG_HOME", "elsewhere")
    assert run_root() == Path("elsewhere")
