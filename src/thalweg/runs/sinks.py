"""Where records go besides the log, without ever holding up or ending a run.

Each sink has a thread and a bounded queue of its own. What does not fit into the queue is dropped and counted; a sink
that raises is counted too, and given up after ``GIVE_UP`` failures in a row.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["FanOut", "JSONLinesSink", "Sink", "SinkReport"]

CAPACITY = 1024
GIVE_UP = 10


class Sink(Protocol):
    """A receiver of metrics, such as a tracker."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Takes the metrics of one optimizer step; may be slow and may raise."""

    def close(self) -> None:
        """Sends what is left and ends."""


class JSONLinesSink:
    """Appends ``{"step": …, metrics}`` to a file, one object a line (values that are not finite as NaN, Infinity)."""

    def __init__(self, path: str | Path) -> None:
        self._file = open(path, "a", encoding="utf-8")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Writes one line."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


@dataclass(slots=True)
class SinkReport:
    """What became of the records of one sink.

    Attributes:
        sent: taken by the sink.
        dropped: not offered to it: its queue was full, or it was given up or too slow at the end.
        failed: the sink raised.
        error: the first exception's text, or an empty string.
    """

    sent: int = 0
    dropped: int = 0
    failed: int = 0
    error: str = ""


class FanOut:
    """Hands every record to all sinks in the background; ``log`` returns at once.

    Args:
        sinks: receivers.
        capacity: records a sink may be behind before records are dropped.
    """

    def __init__(self, sinks: Sequence[Sink], *, capacity: int = CAPACITY) -> None:
        self._workers = [_Worker(sink, capacity) for sink in sinks]

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Queues one record for every sink."""
        for worker in self._workers:
            worker.offer(dict(metrics), step)

    def close(self, *, patience: float = 1.0) -> None:
        """Waits up to ``patience`` seconds in all for the sinks to finish; threads still at work are left behind."""
        deadline = time.monotonic() + patience
        for worker in self._workers:
            worker.finish()
        for worker in self._workers:
            worker.abandon(max(0.0, deadline - time.monotonic()))

    def report(self) -> dict[str, SinkReport]:
        """Counts by ``number:class`` of the sink."""
        return {f"{i}:{type(worker.sink).__name__}": worker.report for i, worker in enumerate(self._workers)}


class _Worker(threading.Thread):
    """The thread of one sink."""

    def __init__(self, sink: Sink, capacity: int) -> None:
        super().__init__(daemon=True, name=f"sink-{type(sink).__name__}")
        self.sink = sink
        self.report = SinkReport()
        self._queue: queue.Queue[tuple[dict[str, float], int]] = queue.Queue(capacity)
        self._finish = threading.Event()
        self._abandon = threading.Event()
        self.start()

    def offer(self, metrics: dict[str, float], step: int) -> None:
        try:
            self._queue.put_nowait((metrics, step))
        except queue.Full:
            self.report.dropped += 1

    def finish(self) -> None:
        self._finish.set()

    def abandon(self, patience: float) -> None:
        """Waits, then stops the thread after the record it is at and counts the others as dropped."""
        self.join(patience)
        if self.is_alive():
            self._abandon.set()
            self.report.dropped += self._queue.qsize()

    def run(self) -> None:
        failures = 0
        while not self._abandon.is_set() and not (self._finish.is_set() and self._queue.empty()):
            try:
                metrics, step = self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
            if failures >= GIVE_UP:
                self.report.dropped += 1
            elif self._tried(self.sink.log, metrics, step):
                self.report.sent += 1
                failures = 0
            else:
                failures += 1
        self._tried(self.sink.close)

    def _tried(self, action: Callable[..., object], *arguments: object) -> bool:
        try:
            action(*arguments)
        except Exception as error:  # a sink may raise anything; training goes on
            self.report.failed += 1
            self.report.error = self.report.error or f"{type(error).__name__}: {error}"
            return False
        return True
