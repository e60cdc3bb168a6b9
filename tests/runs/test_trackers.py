"""What each tracker holds after a run, read back by its own reader where it is installed."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from thalweg.errors import InputError, MissingExtra
from thalweg.runs import Run
from thalweg.runs.trackers import TRACKERS, TrackioSink, WandbSink, open_sinks

RECORDS = [{"loss": 2.5, "lr": 0.01}, {"loss": 2.25, "lr": 0.02}, {"loss": 2.125, "lr": 0.01, "val_loss": 2.0}]


def tracked(folder, words: str) -> Run:
    run = Run.create(folder, {"steps": len(RECORDS)})
    with run.attempt(sinks=open_sinks(words, folder, name="mine", config=run.recipe)) as attempt:
        for step, record in enumerate(RECORDS):
            run.log(step, **record)
    assert all(not report["failed"] and report["sent"] == len(RECORDS) for report in attempt.sinks.values()), attempt
    return run


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    tracked(tmp_path / "run", "tensorboard")
    found = EventAccumulator(str(tmp_path / "run" / "track" / "tensorboard"))
    found.Reload()
    for name in ("loss", "lr", "val_loss"):
        read = [(event.step, float(make_ndarray(event.tensor_proto))) for event in found.Tensors(name)]
        told = [(step, record[name]) for step, record in enumerate(RECORDS) if name in record]
        assert read == [(step, pytest.approx(value, rel=1e-7)) for step, value in told]


def leveldb(data: bytes, block: int = 32768, start: int = 7) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: pieces of (checksum, length, whole | first | middle | last)."""
    at, parts = start, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


WRITES = """
import json, sys
from thalweg.runs.trackers import WandbSink
sink = WandbSink(sys.argv[1], project="mine", name="one", config={"steps": 3})
for step, record in enumerate(json.loads(sys.argv[2])):
    sink.log(record, step)
sink.close()
"""


def test_wandb_offline(tmp_path):
    """In a process of its own: when it has ended, wandb's writer has, too."""
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    environment = {**os.environ, "WANDB_ERROR_REPORTING": "false"}
    command = [sys.executable, "-c", WRITES, str(tmp_path), json.dumps(RECORDS)]
    subprocess.run(command, env=environment, check=True, timeout=120)
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    read = []
    for data in leveldb(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            read.append({key: value for key, value in row.items() if not key.startswith("_")})
    assert read == RECORDS


def test_trackio_is_told_the_same(monkeypatch):
    """With a stand-in: no release of Trackio installs beside the other packages here."""
    said: list = []
    run = SimpleNamespace(log=lambda metrics, step: said.append((step, metrics)), finish=lambda: said.append("end"))
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(init=lambda **words: said.append(words) or run))
    sink = TrackioSink(project="mine", name="one", config={"steps": 3})
    sink.log({"loss": 2.5, "grad": float("nan")}, 0)
    sink.close()
    assert said == [{"project": "mine", "name": "one", "config": {"steps": 3}}, (0, {"loss": 2.5}), "end"]


def test_several_at_once(tmp_path):
    run = tracked(tmp_path / "run", "jsonl")
    lines = (tmp_path / "run" / "track" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": k, **record} for k, record in enumerate(RECORDS)]
    assert run.status == "done"


def test_what_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="track = 'tensorbord' is not known: did you mean 'tensorboard'"):
        open_sinks("jsonl,tensorbord", tmp_path)
    assert open_sinks("", tmp_path) == []
    for name in set(TRACKERS) - {"jsonl", "trackio"}:
        monkeypatch.setitem(sys.modules, "tensorboard.summary" if name == "tensorboard" else name, None)
        with pytest.raises(MissingExtra, match=rf'{name} is not installed: pip install "thalweg\[track\]"'):
            open_sinks(name, tmp_path)
    with pytest.raises(InputError, match="mode = 'on' is not known"):
        WandbSink(tmp_path, mode="on")


def test_an_unknown_tracker_is_refused_before_a_run_is_made(tmp_path, capsys):
    from thalweg.cli import main

    assert main(["train", "recipes/tiny.toml", "--out", str(tmp_path / "run"), "--track", "wandbb"]) == 2
    assert "did you mean 'wandb'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_trackio_names_its_own_package(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(InputError, match="pip install trackio"):
        open_sinks("trackio", tmp_path)
