from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from thalweg.errors import InputError
from thalweg.runs import Run, index
from thalweg.runs.index import Listing, known_runs, list_runs


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


def test_names_and_entries_that_text_or_the_index_cannot_hold(tmp_path: Path):
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    (tmp_path / os.fsdecode(b"\xff") / "run.json").write_text("{}")
    run = make(tmp_path, "half")
    state = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(state | {"name": "\ud800", "status": "done"}))
    for entry, value in [("steps", 10**30), ("status", {}), ("name", 3), ("created", None), ("attempts", True)]:
        odd = make(tmp_path, f"odd-{entry}")
        (odd.folder / "run.json").write_text(json.dumps(state | {entry: value}))
    big = make(tmp_path, "big", losses=0)
    (big.folder / "log.jsonl").write_text('{"attempt":1,"step":0,"loss":1%s}\n' % ("0" * 400))
    for _ in range(2):
        found = {run.path: run for run in list_runs(tmp_path)}
        assert found["half"].name == "\\ud800"
        assert found["\\udcff"].problem == "the folder's name is no plain text: rename it"
        assert all(f"misstates {entry}" in found[f"odd-{entry}"].problem for entry in ("steps", "status", "created"))
        assert found["big"].loss == float("inf")


def test_links_out_of_the_root_are_followed_only_where_asked(tmp_path: Path):
    root, other = tmp_path / "root", tmp_path / "other"
    make(root, "a")
    make(other, "b")
    (root / "out").symlink_to(other / "b")
    (root / "group").symlink_to(other)
    (root / "again").symlink_to(root / "a")
    (root / "loop").symlink_to(root)
    paths = {run.path for run in Listing(root).refresh()}
    assert {"a", "out", "group/b", "again", "loop/a"} <= paths
    kept = {run.path for run in Listing(root, outside=False).refresh()}
    assert kept == {"a", "again"}


def test_a_listing_follows_what_happens_to_folders(tmp_path: Path, reads: list[str]):
    listing = Listing(tmp_path / "runs")
    assert listing.refresh() == ()
    run = make(tmp_path / "runs", "a")
    make(tmp_path / "runs", "b")
    assert [line.path for line in listing.refresh()] == ["b", "a"]
    with run.attempt():
        run.log(5, loss=0.5)
        assert {line.path: line.status for line in listing.refresh()} == {"b": "interrupted", "a": "running"}
    shutil.rmtree(tmp_path / "runs" / "b")
    assert [(line.path, line.loss) for line in listing.refresh()] == [("a", 0.5)]
    assert not (tmp_path / "runs" / "index.sqlite").exists()


def test_a_listing_starts_from_an_index_that_is_there(tmp_path: Path, reads: list[str]):
    make(tmp_path, "a")
    assert known_runs(tmp_path) == {}
    listed = list_runs(tmp_path)
    reads.clear()
    assert Listing(tmp_path, known_runs(tmp_path)).refresh() == listed
    assert reads == []
    (tmp_path / "index.sqlite").write_bytes(b"garbage" * 1000)
    assert known_runs(tmp_path) == {}
