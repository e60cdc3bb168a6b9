from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from thalweg.runs import FanOut, JSONLinesSink, Run


class Memory:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.closed = False

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.rows.append((step, dict(metrics)))

    def close(self) -> None:
        self.closed = True


class Broken(Memory):
    def log(self, metrics: Mapping[str, float], step: int) -> None:
        super().log(metrics, step)
        raise ConnectionError("no route")

    def close(self) -> None:
        raise ConnectionError("still none")


class Stuck(Memory):
    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.free.wait(30)
        super().log(metrics, step)


def test_every_record_reaches_every_sink_in_order(tmp_path: Path):
    memory, file = Memory(), JSONLinesSink(tmp_path / "out.jsonl")
    fan = FanOut([memory, file])
    for step in range(200):
        fan.log({"loss": 1.0 / (step + 1)}, step)
    fan.close()
    assert memory.rows == [(step, {"loss": 1.0 / (step + 1)}) for step in range(200)]
    assert memory.closed
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows == [{"step": step, "loss": 1.0 / (step + 1)} for step in range(200)]
    assert [(r.sent, r.dropped, r.failed) for r in fan.report().values()] == [(200, 0, 0), (200, 0, 0)]
    assert list(fan.report()) == ["0:Memory", "1:JSONLinesSink"]


def test_broken_sink_is_counted_and_given_up_while_others_go_on():
    broken, memory = Broken(), Memory()
    fan = FanOut([broken, memory])
    for step in range(50):
        fan.log({"loss": 1.0}, step)
    fan.close()
    report = fan.report()["0:Broken"]
    assert len(broken.rows) == 10
    assert (report.sent, report.dropped, report.failed) == (0, 40, 11)  # the eleventh is close()
    assert report.error == "ConnectionError: no route"
    assert len(memory.rows) == 50


def test_stuck_sink_delays_nobody_and_its_losses_are_counted():
    stuck, memory = Stuck(), Memory()
    fan = FanOut([stuck, memory], capacity=20)
    for step in range(100):
        while memory.rows[-1:] != [(step - 1, {"loss": 1.0})] and step:
            time.sleep(0.001)
        fan.log({"loss": 1.0}, step)
    began = time.monotonic()
    fan.close(patience=0.2)
    assert time.monotonic() - began < 5
    assert len(memory.rows) == 100
    report = fan.report()["0:Stuck"]
    assert (report.sent, report.dropped) == (0, 99)  # one is in its hands
    stuck.free.set()


def test_run_hands_its_records_on_and_reports(tmp_path: Path):
    memory, broken = Memory(), Broken()
    run = Run.create(tmp_path / "a", {})
    with run.attempt(sinks=[memory, broken]) as attempt:
        run.log(3, loss=2.0)
    assert memory.rows == [(3, {"loss": 2.0})]
    assert memory.closed
    assert run.status == "done"
    assert attempt.sinks["1:Broken"]["failed"] == 2
    assert run.read().events[-1]["sinks"] == attempt.sinks


def test_values_reach_the_sink_as_they_were(tmp_path: Path):
    sink = JSONLinesSink(tmp_path / "o.jsonl")
    metrics = {"loss": 1.0}
    fan = FanOut([sink])
    fan.log(metrics, 0)
    metrics["loss"] = 9.0
    fan.close()
    assert json.loads((tmp_path / "o.jsonl").read_text())["loss"] == pytest.approx(1.0)
