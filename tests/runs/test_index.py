from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.runs import Run, index
from thalweg.runs.index import list_runs


def make(root: Path, path: str, *, losses: int = 3, seed: int = 0) -> Run:
    run = Run.create(root / path, {"seed": seed}, steps=10)
    state = json.loads((run.folder / "run.json").read_text())
    created = f"2026-01-01T00:00:{len(list(root.rglob('run.json'))):02d}+00:00"
    (run.folder / "run.json").write_text(json.dumps(state | {"created": created}))
    with run.attempt() as attempt:
        for step in range(losses):
            run.log(step, loss=5.0 - step)
        attempt.interrupt()
    return run


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were read, not only looked at."""
    seen: list[str] = []
    original = index._summary
    monkeypatch.setattr(index, "_summary", lambda path, folder: seen.append(path) or original(path, folder))
    return seen


def test_lists_newest_first_with_what_matters(tmp_path: Path):
    for path in ("b", "a", "studies/wsd/seed-0"):
        make(tmp_path, path, seed=len(path))
    make(tmp_path, "new", losses=0)
    (tmp_path / "data").mkdir()
    found = list_runs(tmp_path)
    assert [run.path for run in found] == ["new", "studies/wsd/seed-0", "a", "b"]
    run = found[2]
    assert (run.name, run.status, run.steps_done, run.steps, run.loss) == ("a", "interrupted", 3, 10, 3.0)
    assert found[3].recipe == run.recipe
    assert found[1].recipe != run.recipe
    assert (found[0].steps_done, found[0].loss) == (0, None)
    assert list_runs(tmp_path) == found


def test_only_changed_folders_are_read_again(tmp_path: Path, reads: list[str]):
    runs = [make(tmp_path, f"run{i}") for i in range(5)]
    list_runs(tmp_path)
    assert sorted(reads) == [f"run{i}" for i in range(5)]
    reads.clear()
    with runs[2].attempt():
        runs[2].log(3, loss=1.5)
    found = {run.path: run for run in list_runs(tmp_path)}
    assert reads == ["run2"]
    assert (found["run2"].loss, found["run2"].status) == (1.5, "done")
    os.rename(tmp_path / "run0", tmp_path / "moved")
    assert {run.path for run in list_runs(tmp_path)} == {"moved", "run1", "run2", "run3", "run4"}
    assert reads == ["run2", "moved"]


def test_running_is_asked_anew_each_time(tmp_path: Path):
    run = make(tmp_path, "a")
    with run.attempt():
        assert list_runs(tmp_path)[0].status == "running"
    assert list_runs(tmp_path)[0].status == "done"
    state = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(state | {"status": "running"}))  # as kill -9 leaves it
    assert [list_runs(tmp_path)[0].status for _ in range(2)] == ["interrupted"] * 2


@pytest.mark.parametrize("content", [b"garbage" * 1000, b""])
def test_damaged_index_is_rebuilt(tmp_path: Path, content: bytes):
    make(tmp_path, "a")
    before = list_runs(tmp_path)
    (tmp_path / "index.sqlite").write_bytes(content)
    assert list_runs(tmp_path) == before


def test_index_of_another_version_is_rebuilt(tmp_path: Path):
    make(tmp_path, "a")
    before = list_runs(tmp_path)
    with sqlite3.connect(tmp_path / "index.sqlite") as database:
        database.execute("DROP TABLE runs")
        database.execute("CREATE TABLE runs (something)")
        database.execute("PRAGMA user_version = 99")
    database.close()
    assert list_runs(tmp_path) == before


def test_unreadable_runs_are_listed_with_the_reason(tmp_path: Path):
    run = make(tmp_path, "a")
    (run.folder / "run.json").write_text("{")
    (found,) = list_runs(tmp_path)
    assert found.status == "unreadable"
    assert "damaged" in found.problem
    failed = make(tmp_path, "b")
    with pytest.raises(RuntimeError), failed.attempt():
        raise RuntimeError("too hot")
    assert next(run for run in list_runs(tmp_path) if run.path == "b").problem == "RuntimeError: too hot"


def test_loss_that_is_not_finite_and_folders_below_the_depth(tmp_path: Path):
    run = make(tmp_path, "a/b/c")
    with run.attempt():
        run.log(4, loss=float("inf"))
    make(tmp_path, "a/b/d/e")
    (found,) = list_runs(tmp_path)
    assert found.loss == float("inf")


def test_absent_root_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        list_runs(tmp_path / "none")
