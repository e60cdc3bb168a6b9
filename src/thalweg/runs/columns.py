"""A log as arrays, read on from where the last reading ended: what a page that is watched needs.

``LogColumns.refresh`` reads what was appended since and nothing else; it starts anew where the file is another one, was
cut shorter than what was read, or no longer holds the bytes that were read last. What it holds is what ``read_log`` of
the same file returns (a test compares them).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from thalweg.runs.entries import RESERVED, number, parse_line, parse_lines

__all__ = ["LogColumns"]

PIECE = 1 << 20  # bytes parsed at a time
SEEN = 64  # last bytes of what was read, compared before reading on


class _Growing:
    """An array that is appended to; slices handed out stay as they are."""

    def __init__(self, dtype: type) -> None:
        self._array = np.empty(16, dtype)
        self.length = 0

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    def extend(self, values: np.ndarray) -> None:
        end = self.length + len(values)
        if end > len(self._array):
            larger = np.empty(max(end, len(self._array) * 3 // 2), self._array.dtype)
            larger[: self.length] = self._array[: self.length]
            self._array = larger
        self._array[self.length : end] = values
        self.length = end

    def view(self) -> np.ndarray:
        found = self._array[: self.length]
        found.flags.writeable = False
        return found


class _Metric:
    """Values of one metric; ``rows`` numbers the records that have one, None while that is every record."""

    def __init__(self, before: int) -> None:
        self.values = _Growing(np.float64)
        self.rows: _Growing | None = _Growing(np.int64) if before else None

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + (self.rows.nbytes if self.rows else 0)

    def extend(self, values: np.ndarray, rows: np.ndarray) -> None:
        have = self.values.length
        if self.rows is None and (rows[0], rows[-1]) != (have, have + len(rows) - 1):
            self.rows = _Growing(np.int64)
            self.rows.extend(np.arange(have))
        self.values.extend(values)
        if self.rows is not None:
            self.rows.extend(rows)


class LogColumns:
    """The columns of one log; safe to share between threads.

    Args:
        path: the log; it need not exist yet.

    Attributes:
        events: starts and ends of attempts, in order.
        truncated: bytes of an unfinished last line, left out.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = RLock()
        self._clear()

    def _clear(self) -> None:
        self.events: tuple[dict[str, Any], ...] = ()
        self.truncated = 0
        self._file: tuple[int, int] | None = None
        self._offset, self._seen, self._lines = 0, b"", 0
        self._steps = _Growing(np.int64)
        self._metrics: dict[str, _Metric] = {}
        self._ascending = True
        self._kept: dict[str, tuple[int, np.ndarray, np.ndarray]] = {}

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, in the order they first appeared."""
        with self._lock:
            return tuple(self._metrics)

    @property
    def state(self) -> tuple[object, ...]:
        """Equal for equal content of one log: which file, how much of it was read."""
        return (self._file, self._offset, self._seen)

    @property
    def records(self) -> int:
        """How many records were read; of several of one step each counts."""
        return self._steps.length

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        with self._lock:
            kept = sum(steps.nbytes + values.nbytes for _, steps, values in self._kept.values())
            return self._steps.nbytes + kept + sum(metric.nbytes for metric in self._metrics.values())

    def refresh(self) -> bool:
        """Reads what was appended since; whether there was anything.

        Raises:
            InputError: a line is damaged; the pieces before it stay readable.
            OSError: the file cannot be read.
        """
        with self._lock:
            try:
                handle = os.open(self.path, os.O_RDONLY)
            except FileNotFoundError:
                had = self._file is not None
                self._clear()
                return had
            try:
                return self._read_on(handle)
            finally:
                os.close(handle)

    def _read_on(self, handle: int) -> bool:
        found = os.fstat(handle)
        before = (self.state, self.truncated)
        if self._file is not None and not self._continues(handle, found):
            self._clear()
        self._file = (found.st_dev, found.st_ino)
        while self._take(handle, found.st_size):
            pass
        return before != (self.state, self.truncated)

    def _continues(self, handle: int, found: os.stat_result) -> bool:
        same = (found.st_dev, found.st_ino) == self._file and found.st_size >= self._offset
        return same and os.pread(handle, len(self._seen), self._offset - len(self._seen)) == self._seen

    def _take(self, handle: int, size: int) -> bool:
        """Takes the next whole lines, up to ``size`` bytes from the file's start; whether there may be more."""
        length = PIECE
        while True:
            data = os.pread(handle, min(length, size - self._offset), self._offset)
            end = data.rfind(b"\n") + 1
            last = self._offset + len(data) >= size or not data
            if end or last:
                break
            length *= 2  # a line longer than a piece
        if last and end < len(data) and parse_line(data[end:]) is not None:
            end = len(data)  # lacks only its newline
        self._append(data[:end])
        self.truncated = len(data) - end if last else 0
        self._offset += end
        self._seen = (self._seen + data[:end])[-SEEN:]
        return not last

    def _append(self, data: bytes) -> None:
        if data.startswith(b"\n") and self._seen and not self._seen.endswith(b"\n"):
            data = data[1:]  # the newline that the line before lacked
        if not data:
            return
        records, events = parse_lines(data, self.path, self._lines + 1)
        steps = np.asarray([record["step"] for record in records], np.int64)
        first = self._steps.length
        for name in dict.fromkeys(chain.from_iterable(records)):
            if name not in RESERVED:
                at, values = _column(records, name)
                metric = self._metrics.setdefault(name, _Metric(first))
                metric.extend(values, np.arange(first, first + len(records)) if at is None else first + at)
        if len(steps):
            joined = self._steps.view()[-1:]
            self._ascending &= bool((np.diff(np.concatenate([joined, steps])) > 0).all())
            self._steps.extend(steps)
        self._lines += len(records) + len(events)
        self.events += tuple(events)

    def steps(self) -> np.ndarray:
        """All recorded steps, int64 (n,), ascending, each once."""
        with self._lock:
            found = self._steps.view()
            return found if self._ascending else np.unique(found)

    def curve(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps int64 (n,), ascending, and values float64 (n,); of several values at one step the last written."""
        with self._lock:
            if metric not in self._metrics:
                return np.empty(0, np.int64), np.empty(0)
            held = self._metrics[metric]
            values = held.values.view()
            steps = self._steps.view()
            if held.rows is not None or len(values) < len(steps):
                steps = steps[held.rows.view() if held.rows is not None else slice(len(values))]
            if self._ascending:
                return steps, values
            if metric not in self._kept or self._kept[metric][0] != len(values):
                order = np.argsort(steps, kind="stable")
                last = np.append(np.diff(steps[order]) > 0, True)
                self._kept[metric] = (len(values), steps[order][last], values[order][last])
            return self._kept[metric][1:]

    def last(self) -> dict[str, float]:
        """The last written value of each metric."""
        with self._lock:
            return {name: float(held.values.view()[-1]) for name, held in self._metrics.items() if held.values.length}


def _column(records: Sequence[dict[str, Any]], name: str) -> tuple[np.ndarray | None, np.ndarray]:
    """Which records have the metric (None: all) and its values."""
    try:
        at, values = None, [record[name] for record in records]
    except KeyError:
        found = [number for number, record in enumerate(records) if name in record]
        at, values = np.asarray(found, np.int64), [records[number][name] for number in found]
    try:
        return at, np.asarray(values, np.float64)  # reads the words of NOT_FINITE as well
    except OverflowError:  # an integer beyond the floats
        return at, np.asarray([number(value) for value in values], np.float64)
