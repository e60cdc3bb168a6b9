"""The ledger: keys, resumption after a kill, and files that are not ours or not of our version."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from thalweg.errors import InputError
from thalweg.runs.ledger import Ledger, config_key, read_ledger

CONFIG = {"optimizer": "adamw", "lr": 4e-3, "model": {"dim": 16}, "betas": [0.9, 0.95]}


def test_a_key_is_that_of_the_configuration():
    same = {"betas": (0.9, 0.95), "model": {"dim": 16.0}, "lr": 0.004, "optimizer": "adamw"}
    assert config_key(CONFIG) == config_key(same)
    assert config_key({"eps": 1e-25}) == config_key({"eps": 9.999999999999999e-26})
    for change in ({"lr": 4.001e-3}, {"optimizer": "lion"}, {"model": {"dim": 17}}, {"betas": [0.95, 0.9]}):
        assert config_key({**CONFIG, **change}) != config_key(CONFIG)
    assert config_key({"flag": True}) != config_key({"flag": 1})


def test_what_was_added_is_there_again(tmp_path):
    path = tmp_path / "deep" / "ledger.jsonl"
    assert read_ledger(path) == []
    with Ledger(path) as ledger:
        ledger.add(CONFIG, loss=3.25, seconds=1.5)
        ledger.add({**CONFIG, "lr": 1.0}, loss=float("inf"))
    with Ledger(path) as ledger:
        known = ledger.get(CONFIG)
        assert known is not None
        assert (known["loss"], known["config"]) == (3.25, CONFIG)
        assert ledger.get({**CONFIG, "lr": 1.0})["loss"] == float("inf")  # type: ignore[index]
        assert ledger.get({**CONFIG, "lr": 2.0}) is None
    assert [record["loss"] for record in read_ledger(path)] == [3.25, float("inf")]


def test_a_kill_at_any_byte_loses_at_most_the_last_line(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        for k in range(3):
            ledger.add({"k": k}, loss=float(k))
    whole = path.read_bytes()
    ends = [k + 1 for k, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = max(0, sum(end <= cut for end in ends) - 1)
        assert len(read_ledger(path)) == complete
        with Ledger(path) as ledger:
            assert [record["loss"] for record in ledger.records.values()] == list(map(float, range(complete)))
            ledger.add({"k": "after"}, loss=9.0)
        assert len(read_ledger(path)) == complete + 1


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ('{"ledger":2}\n{"key":"a","loss":1}\n', "written in version 2"),
        ('{"ledger":"0.9"}\n', "written in version '0.9'"),
        ("step,loss\n1,2\n", "is no ledger"),
        ("notes without a newline", "is no ledger"),
        ('{"loss": 3}\n', "is no ledger"),
        ('{"ledger":1}\n{"key":"a","loss":1}\nnonsense\n{"key":"b","loss":1}\n', "line 3 is damaged"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_unchanged(tmp_path, content, word):
    path = tmp_path / "ledger.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=word) as caught:
        Ledger(path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == content
    if content.endswith("\n"):
        with pytest.raises(InputError, match=word):
            read_ledger(path)
    with pytest.raises(InputError, match="is a folder"):
        Ledger(tmp_path)


WRITER = """
import sys
from thalweg.errors import InputError
from thalweg.runs.ledger import Ledger
try:
    Ledger(sys.argv[1]).add({"k": "other"}, loss=1.0)
except InputError as error:
    print(error)
"""


def test_two_processes_do_not_write_one_ledger(tmp_path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as ledger:
        ledger.add({"k": 0}, loss=0.5)
        command = [sys.executable, "-c", WRITER, str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "is being written by another process" in said
        assert said.count("\n") == 1
        ledger.add({"k": 1}, loss=0.25)
        assert len(read_ledger(path)) == 2  # readers need no lock
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
    assert [json.loads(line).get("loss") for line in path.read_text().splitlines()] == [None, 0.5, 0.25, 1.0]
