"""Outcome folders: what is found, what is left out, and who writes."""

from __future__ import annotations

import json
import os

from outcome_folders import make_outcome
from thalweg.runs.lock import FolderLock
from thalweg.studies.outcomes import find_outcome, find_outcomes, read_records, writer_of


def test_outcomes_are_found_latest_first(tmp_path):
    assert find_outcomes(tmp_path) == []
    old, new = make_outcome(tmp_path, "sam-smoke"), make_outcome(tmp_path, "sam-laptop")
    make_outcome(tmp_path, "qsr-laptop", slug="qsr")
    for number, path in enumerate([*old.iterdir(), *new.iterdir()]):
        os.utime(path, (number + 1, number + 1))
    found = find_outcomes(tmp_path, "sam")
    assert [outcome.name for outcome in found] == ["sam-laptop", "sam-smoke"]
    assert found[0].seeds == (0, 1)
    assert found[0].verdict["effect"] == 0.5
    assert 0 < found[0].judged <= found[0].changed
    assert len(find_outcomes(tmp_path)) == 3
    assert len(list(read_records(found[0]))) == 6
    assert find_outcome(tmp_path, "qsr", "sam-smoke") is None


def test_what_is_no_outcome_is_left_out(tmp_path):
    folder = make_outcome(tmp_path)
    for name, content in (("a", "{"), ("b", "[]"), ("c", '{"slug": 3, "scale": "smoke"}')):
        (tmp_path / "studies" / name).mkdir()
        (tmp_path / "studies" / name / "study.json").write_text(content)
    (tmp_path / "studies" / "file").write_text("")
    (folder / "verdict.json").write_text(json.dumps({"verdict": "reproduced"}))  # of no known form
    (outcome,) = find_outcomes(tmp_path)
    assert outcome.verdict == {}


def test_the_writer_is_known_as_long_as_it_lives(tmp_path):
    folder = make_outcome(tmp_path)
    assert writer_of(folder) is None
    lock = FolderLock(folder)
    lock.acquire()
    assert writer_of(folder) == os.getpid()
    lock.release()
    assert writer_of(folder) is None
    assert writer_of(tmp_path / "nowhere") is None
