"""A log as arrays: the same as ``read_log``, read on by pieces."""

from __future__ import annotations

import json
import math
import os
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.errors import InputError
from thalweg.runs import columns as module
from thalweg.runs.columns import LogColumns
from thalweg.runs.log import LogWriter, read_log

VALUES = st.one_of(
    st.floats(),
    st.integers(-1000, 1000),
    st.integers(-(10**400), 10**400),
    st.sampled_from(["NaN", "Infinity", "-Infinity"]),
)
RECORDS = st.builds(
    lambda step, metrics: {"attempt": 1, "step": step} | metrics,
    st.integers(0, 12),
    st.dictionaries(st.sampled_from(["loss", "lr", "val_loss", 'ünit "x"', "event_rate"]), VALUES, max_size=4),
)
EVENTS = st.sampled_from([{"attempt": 1, "event": "start", "sinks": {"a": [1]}}, {"attempt": 2, "event": "end"}])


def line(entry: dict, compact: bool) -> bytes:
    words = {key: _word(value) for key, value in entry.items()}
    return json.dumps(words, separators=(",", ":") if compact else None).encode() + b"\n"


def _word(value):
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def expected(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Curves by the definition: ``read_log``."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for step, metrics in read_log(path).records.items():
        for name, value in metrics.items():
            steps, values = found.setdefault(name, ([], []))
            steps.append(step)
            try:
                values.append(float(value))
            except OverflowError:
                values.append(math.inf if value > 0 else -math.inf)
    return found


def assert_same(read: LogColumns, path: Path) -> None:
    wanted = expected(path)
    assert set(read.metrics) == set(wanted)
    for name, (steps, values) in wanted.items():
        found_steps, found = read.curve(name)
        np.testing.assert_array_equal(found_steps, steps)
        np.testing.assert_array_equal(found, values)
        assert found.dtype == np.float64
    log = read_log(path)
    assert read.steps().tolist() == list(log.records)
    assert (read.events, read.truncated) == (log.events, log.truncated)


@settings(max_examples=150, deadline=None)
@given(
    entries=st.lists(st.one_of(RECORDS, RECORDS, EVENTS), max_size=25),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
    torn=st.sampled_from([b"", b'{"attempt":1,"st', b'{"step":99,"loss":1}', b"\0\0\0"]),
    compact=st.booleans(),
    piece=st.sampled_from([1, 17, 100, 1 << 20]),
)
def test_read_in_any_pieces_is_what_read_log_returns(tmp_path_factory, entries, cuts, torn, compact, piece):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    data = b"".join(line(entry, compact) for entry in entries) + torn
    read = LogColumns(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", piece)
        for cut in [*sorted(cuts), len(data)]:
            path.write_bytes(data[:cut])
            read.refresh()
            assert_same(read, path)
        assert not read.refresh()


def test_a_growing_log_is_never_read_again(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    read, asked = LogColumns(path), []
    original = os.pread
    monkeypatch.setattr(os, "pread", lambda h, n, at: asked.append((at, n)) or original(h, n, at))
    with closing(LogWriter(path, 1)) as writer:
        for step in range(50):
            writer.record(step, {"loss": 1.0 / (step + 1)})
            before = path.stat().st_size
            read.refresh()
            assert asked[-1][0] + asked[-1][1] <= before
            assert read.curve("loss")[0][-1] == step
    assert sum(n for _, n in asked) < path.stat().st_size + 51 * module.SEEN


def test_what_is_handed_out_does_not_change(tmp_path):
    path = tmp_path / "log.jsonl"
    read = LogColumns(path)
    with closing(LogWriter(path, 1)) as writer:
        writer.record(0, {"loss": 1.0})
        read.refresh()
        steps, values = read.curve("loss")
        for step in range(1, 100):
            writer.record(step, {"loss": 2.0})
        assert read.refresh()
    assert (steps.tolist(), values.tolist()) == ([0], [1.0])
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 3.0


def test_another_file_a_cut_one_and_one_changed_in_place_are_read_anew(tmp_path):
    path = tmp_path / "log.jsonl"
    read = LogColumns(path)
    path.write_bytes(b'{"step":0,"loss":1}\n{"step":1,"loss":2}\n')
    assert read.refresh()
    path.write_bytes(b'{"step":5,"loss":1}\n')
    assert read.refresh()
    assert read.curve("loss")[0].tolist() == [5]
    path.write_bytes(b'{"step":7,"loss":1}\n{"step":8,"loss":2}\n')
    assert read.refresh()
    assert read.curve("loss")[0].tolist() == [7, 8]
    (tmp_path / "new").write_bytes(b'{"step":1,"loss":1}\n{"step":2,"loss":2}\n{"step":3,"loss":2}\n')
    os.replace(tmp_path / "new", path)
    assert read.refresh()
    assert read.curve("loss")[0].tolist() == [1, 2, 3]
    path.unlink()
    assert read.refresh()
    assert not read.refresh()
    assert (read.metrics, read.nbytes > 0) == ((), True)


@pytest.mark.parametrize("bad", [b"{\n", b"\n", b'{"step":1,"loss":null}\n', b'{"a":1}{"b":2}\n', b'{"step":true}\n'])
def test_damage_is_named_with_its_line_and_what_came_before_stays(tmp_path, bad):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step":0,"loss":1}\n')
    read = LogColumns(path)
    read.refresh()
    with open(path, "ab") as file:
        file.write(b'{"step":1,"loss":1}\n' + bad + b'{"step":2,"loss":1}\n')
    for _ in range(2):
        with pytest.raises(InputError, match=r"log\.jsonl line 3 is damaged"):
            read.refresh()
    with suppress(InputError):
        read_log(path)
    assert read.curve("loss")[1].tolist() == [1.0]


def test_a_step_beyond_64_bits_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step":1e3,"loss":1}\n'.replace(b"1e3", b"1" * 30))
    with pytest.raises(InputError, match="line 1 is damaged"):
        LogColumns(path).refresh()


def test_last_values_and_bytes_held(tmp_path):
    path = tmp_path / "log.jsonl"
    with closing(LogWriter(path, 1)) as writer:
        for step in range(1000):
            writer.record(step, {"loss": step / 7} | ({"val_loss": 2.0} if step % 10 == 9 else {}))
    read = LogColumns(path)
    read.refresh()
    assert read.last() == {"loss": 999 / 7, "val_loss": 2.0}
    assert read.curve("val_loss")[0].tolist() == list(range(9, 1000, 10))
    assert 1000 * 16 <= read.nbytes <= 1000 * 16 * 2.2
    assert read.curve("nothing")[1].tolist() == []
