from __future__ import annotations

import json
import math
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg.errors import InputError
from thalweg.runs.entries import parse_line, parse_lines
from thalweg.runs.log import LogWriter, last_record, read_log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def write(path: Path, *rows: tuple[int, dict], attempt: int = 1) -> int:
    with closing(LogWriter(path, attempt)) as writer:
        for step, metrics in rows:
            writer.record(step, metrics)
    return writer.repaired


def test_last_value_of_each_metric_and_step_counts(path: Path):
    write(path, (0, {"loss": 5.0, "val": 1.0}), (2, {"loss": 3.0}), (1, {"loss": 4.0}))
    write(path, (2, {"loss": 2.5}), (0, {"loss": 4.5}), attempt=2)
    log = read_log(path)
    assert list(log.records.items()) == [(0, {"loss": 4.5, "val": 1.0}), (1, {"loss": 4.0}), (2, {"loss": 2.5})]
    assert [json.loads(line)["attempt"] for line in path.read_text().splitlines()] == [1, 1, 1, 2, 2]
    assert last_record(path) == (0, {"loss": 4.5})


def test_values_that_are_not_finite_are_valid_json_and_come_back(path: Path):
    write(path, (0, {"a": float("nan"), "b": float("inf"), "c": -float("inf"), "d": np.float32(0.5), "e": 3}))
    line = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert line == {"attempt": 1, "step": 0, "a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 0.5, "e": 3}
    metrics = read_log(path).records[0]
    assert math.isnan(metrics["a"])
    assert (metrics["b"], metrics["c"], metrics["d"]) == (math.inf, -math.inf, 0.5)
    assert type(metrics["e"]) is int


@given(value=st.floats(allow_nan=False))
def test_floats_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, value: float):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    write(path, (0, {"loss": value}))
    assert read_log(path).records[0]["loss"] == value


@pytest.mark.parametrize("cut", range(1, 45))
def test_cut_at_any_byte_loses_the_last_record_only(path: Path, cut: int):
    write(path, (0, {"loss": 5.0}), (1, {"loss": 4.25}))
    whole = path.read_bytes()
    second = len(whole) - whole.index(b"\n") - 1
    path.write_bytes(whole[: len(whole) - cut] if cut <= second else whole)
    log = read_log(path)
    kept = [0, 1] if cut == 1 or cut > second else [0]  # a line that lacks only its newline is whole
    assert list(log.records) == kept
    assert log.truncated == (0 if cut in (1, second) or cut > second else second - cut)
    assert write(path, (7, {"loss": 1.0}), attempt=2) == log.truncated
    assert list(read_log(path).records) == [*kept, 7]
    assert read_log(path).truncated == 0


def test_tail_of_zeros_after_a_power_cut(path: Path):
    write(path, (0, {"loss": 5.0}))
    with open(path, "ab") as file:
        file.write(bytes(100))
    assert read_log(path).truncated == 100
    assert write(path, (1, {"loss": 4.0})) == 100
    assert list(read_log(path).records) == [0, 1]


@pytest.mark.parametrize(
    "line",
    ["{", "", "[1]", "null", '{"attempt":1}', '{"step":"3"}', '{"step":1,"loss":"low"}', '{"step":1,"loss":[1]}',
     '{"step":1.5,"loss":1}', '{"step":1,"loss":null}', '{"step":true,"loss":1}'],
)  # fmt: skip
def test_damage_before_the_end_is_named(path: Path, line: str):
    write(path, (0, {"loss": 5.0}))
    with open(path, "a") as file:
        file.write(line + "\n")
    write(path, (2, {"loss": 5.0}))
    with pytest.raises(InputError, match=r"log\.jsonl line 2 is damaged"):
        read_log(path)


def test_last_record_is_found_without_reading_all(path: Path):
    assert last_record(path) is None
    write(path, *((step, {"loss": float(step)}) for step in range(5000)))
    with open(path, "a") as file:
        file.write('{"attempt":2,"event":"start"}\n{"attempt":2,"st')
    assert path.stat().st_size > 2 * (1 << 16)
    assert last_record(path) == (4999, {"loss": 4999.0})


@pytest.mark.parametrize(
    ("step", "metrics", "words"),
    [
        (-1, {"loss": 1.0}, "step -1"),
        (0, {"attempt": 1.0}, "are taken"),
        (0, {"loss": "low"}, "metric loss is 'low'"),
        (0, {"loss": [1.0, 2.0]}, "metric loss"),
    ],
)
def test_what_is_no_record_is_refused_and_leaves_no_trace(path: Path, step: int, metrics: dict, words: str):
    with pytest.raises(InputError, match=words):
        write(path, (step, metrics))
    assert path.read_bytes() == b""


def test_missing_log_is_empty(path: Path):
    assert read_log(path).records == {}


def test_full_disk_says_so(tmp_path: Path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left .* earlier records and checkpoints are intact") as caught:
        write(tmp_path / "log.jsonl", (0, {"loss": 1.0}))
    assert caught.value.errno == 28


LIMITED = """
import resource, sys
from thalweg.runs.log import LogWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
writer = LogWriter(sys.argv[1], 1)
for step in range(1000):
    try:
        writer.record(step, {"loss": 1.0})
    except OSError:
        print(step)
        break
"""


def test_write_refused_half_way_leaves_whole_lines(path: Path):
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    log = read_log(path)
    assert log.truncated == 0
    assert list(log.records) == list(range(int(done.stdout)))
    assert 900 < path.stat().st_size <= 1000


@pytest.mark.parametrize(
    "data",
    [b'\n{"step":1}', b'\n{"step":1}\n', b'{"step":1}\n\n', b'{"step":1}{"step":2}\n', b'{"step":1,\n"a":2}\n',
     b'{"step":1}\n\n{"step":2}{"step":3}\n', b'{"st\\u0065p":1,"\\u0065vent":true,"a":null}x\n', b'{"a":1}\n'],
)  # fmt: skip
def test_what_is_decoded_at_once_keeps_the_rule_of_single_lines(data: bytes):
    assert any(parse_line(line) is None for line in data.splitlines())
    with pytest.raises(InputError, match="is damaged"):
        parse_lines(data, "log.jsonl", 1)


def test_a_numeric_event_is_an_event():
    assert parse_lines(b'{"step":1,"event":2}\n', "log.jsonl", 1) == ([], [{"step": 1, "event": 2}])
    assert parse_lines(b'{"step":1,"\\u0065vent":2}\n', "log.jsonl", 1) == ([], [{"step": 1, "event": 2}])
