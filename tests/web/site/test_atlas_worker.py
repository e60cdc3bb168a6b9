"""Studies started from the pages: one at a time, found again, and never a stale "running"."""

from __future__ import annotations

import os
import shutil
import signal
import time

import pytest

from outcome_folders import make_outcome, stand_in
from thalweg.errors import InputError
from thalweg.runs.lock import FolderLock
from thalweg.runs.state import write_json
from thalweg.studies.outcomes import REQUEST, find_outcome, writer_of
from thalweg.web.site.atlas.states import progress_of, state_of
from thalweg.web.site.atlas.worker import Job, Worker


@pytest.fixture
def hire(tmp_path):
    """``hire(pause)`` makes a worker whose studies are stand-ins; all are closed after the test."""
    workers = []

    def make(pause: float) -> Worker:
        workers.append(Worker(tmp_path, stand_in(pause)))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def state(root, worker, name="sam-smoke"):
    """Key and sentence now; absent where there is no folder."""
    outcome = find_outcome(root, "sam", name)
    return ("absent", "") if outcome is None else (lambda s: (s.key, s.sentence))(state_of(outcome, worker))


def wait(root, worker, *keys, name="sam-smoke"):
    """Waits for a state."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        now = state(root, worker, name)
        if now[0] in keys:
            return now[1]
        time.sleep(0.02)
    pytest.fail(f"{now} instead of {keys}")


def test_a_study_runs_and_ends(hire, tmp_path):
    worker = hire(0.05)
    assert worker.submit(Job("sam", "smoke", 2, 1))
    wait(tmp_path, worker, "done")
    outcome = find_outcome(tmp_path, "sam", "sam-smoke")
    assert outcome is not None
    assert outcome.seeds == (0, 1)
    assert outcome.request["code"] == 0
    assert "seed 1" in (outcome.folder / "output.log").read_text()


def test_the_same_twice_is_one_and_others_wait(hire, tmp_path):
    worker = hire(30.0)
    assert worker.submit(Job("sam", "smoke", 1, 1))
    assert not worker.submit(Job("sam", "smoke", 2, 1))
    wait(tmp_path, worker, "running")
    assert worker.submit(Job("sam", "laptop", 1, 1))
    assert "is the next" in wait(tmp_path, worker, "queued", name="sam-laptop")
    for number in range(7):
        assert worker.submit(Job(f"sam{number}", "smoke", 1, 1))
    with pytest.raises(InputError, match="wait already"):
        worker.submit(Job("momentum", "smoke", 1, 1))
    assert worker.stop("sam-laptop")
    assert "was stopped" in wait(tmp_path, worker, "left", name="sam-laptop")
    assert state(tmp_path, worker)[0] == "running"


def test_stop_interrupts_and_seeds_stay(hire, tmp_path):
    worker = hire(0.3)
    worker.submit(Job("sam", "smoke", 50, 1))
    while (outcome := find_outcome(tmp_path, "sam", "sam-smoke")) is None or not outcome.seeds:
        time.sleep(0.02)
    progress = progress_of(outcome, None)
    assert progress.asked == 50
    assert progress.left is not None
    assert 5 < progress.left < 20
    assert worker.stop("sam-smoke")
    sentence = wait(tmp_path, worker, "left", "failed")
    assert "kept" in sentence
    assert not worker.stop("sam-smoke")
    assert writer_of(tmp_path / "studies" / "sam-smoke") is None


def test_one_killed_from_outside_is_seen(hire, tmp_path):
    worker = hire(30.0)
    worker.submit(Job("sam", "smoke", 1, 1))
    while (process := writer_of(tmp_path / "studies" / "sam-smoke")) is None:
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    assert "killed by signal 9" in wait(tmp_path, worker, "failed")


def test_a_removed_folder_ends_its_study(hire, tmp_path):
    worker = hire(30.0)
    worker.submit(Job("sam", "smoke", 1, 1))
    while (process := writer_of(tmp_path / "studies" / "sam-smoke")) is None:
        time.sleep(0.02)
    shutil.rmtree(tmp_path / "studies" / "sam-smoke")
    end = time.monotonic() + 10
    while worker.child("sam-smoke") and time.monotonic() < end:
        time.sleep(0.05)
    assert worker.child("sam-smoke") is None
    assert "was removed" in worker.lost["sam-smoke"]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_closing_interrupts_the_one_and_leaves_the_others(hire, tmp_path):
    worker = hire(30.0)
    worker.submit(Job("sam", "smoke", 1, 1))
    worker.submit(Job("sam", "laptop", 1, 1))
    wait(tmp_path, worker, "running")
    worker.close()
    fresh = hire(0.0)
    assert state(tmp_path, fresh)[0] in ("left", "failed")
    assert "was waiting when the server stopped" in wait(tmp_path, fresh, "left", name="sam-laptop")


def test_another_server_finds_what_runs_and_what_does_not(hire, tmp_path):
    folder = make_outcome(tmp_path, "sam-smoke")
    request = {"slug": "sam", "scale": "smoke", "seeds": 5, "jobs": 1, "began": "2026-11-22T08:00:00+00:00"}
    write_json(folder / REQUEST, request | {"state": "running"})
    worker = hire(0.0)
    assert "no server watched; 2 seeds are kept" in wait(tmp_path, worker, "left")  # nobody holds the lock
    lock = FolderLock(folder)
    lock.acquire()
    assert state(tmp_path, worker)[0] == "running"
    assert not worker.submit(Job("sam", "smoke", 5, 1))
    assert worker.submit(Job("sam", "laptop", 1, 1))
    time.sleep(0.6)
    assert state(tmp_path, worker, "sam-laptop")[0] == "queued"  # one at a time, whoever started it
    lock.release()
    wait(tmp_path, worker, "done", name="sam-laptop")
    assert state(tmp_path, worker)[0] == "left"
