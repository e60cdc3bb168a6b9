"""The log of a run: one JSON object a line, only ever appended to.

A record is ``{"attempt": 1, "step": 0, "loss": 5.5, …}``, an event ``{"attempt": 1, "event": "start", …}``. JSON has no
words for values that are not finite: they are written as the strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` and
read back as numbers. Each line goes to the operating system in one write, so a killed process loses at most a part of
the last line; ``sync`` makes what is written survive a power cut.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from thalweg.errors import InputError
from thalweg.runs.entries import NOT_FINITE, RESERVED, metrics_of, parse_line, parse_lines, sound_length

__all__ = ["NOT_FINITE", "Log", "LogWriter", "last_record", "read_log"]

PIECE = 1 << 20  # bytes parsed at a time
TAIL = 1 << 16  # bytes searched for the last record


@dataclass(frozen=True, slots=True)
class Log:
    """What a log holds.

    Attributes:
        records: metrics by step, ascending; of several values of one metric at one step the last one written counts.
        events: starts and ends of attempts, in order.
        truncated: bytes of an unfinished last line, left out of both; 0 if there is none.
    """

    records: dict[int, dict[str, float]]
    events: tuple[dict[str, Any], ...]
    truncated: int


def read_log(path: str | Path) -> Log:
    """Reads a whole log; one that does not exist yet is empty.

    Raises:
        InputError: a line other than an unfinished last one is no JSON object with a step or an event.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        data = b""
    end = sound_length(data)
    records: dict[int, dict[str, float]] = {}
    events: list[dict[str, Any]] = []
    number = 1
    for piece in _pieces(data[:end]):
        rows, said = parse_lines(piece, path, number)
        number += len(rows) + len(said)
        events += said
        for row in rows:
            records.setdefault(row["step"], {}).update(metrics_of(row))
    return Log(dict(sorted(records.items())), tuple(events), len(data) - end)


def _pieces(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + PIECE) + 1 or len(data)
        yield data[start:end]
        start = end


def last_record(path: str | Path) -> tuple[int, dict[str, float]] | None:
    """Step and metrics of the last record among the last 64 KiB of a log, without reading the rest."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            data = file.read()
    except FileNotFoundError:
        return None
    for line in reversed(data.splitlines()):
        entry = parse_line(line)
        if entry is not None and "step" in entry:
            return entry["step"], metrics_of(entry)
    return None


class LogWriter:
    """Appends to a log whose unfinished last line, if a killed process left one, is cut off first.

    Args:
        path: the log.
        attempt: number written into each line.

    Attributes:
        repaired: bytes that were cut off.
    """

    def __init__(self, path: str | Path, attempt: int) -> None:
        self._path = Path(path)
        self._attempt = attempt
        self._file = open(self._path, "a+b", buffering=0)
        self._file.seek(0)
        data = self._file.read() if os.fstat(self._file.fileno()).st_size else b""
        end = sound_length(data)
        self.repaired = len(data) - end
        if self.repaired:
            self._file.truncate(end)
        if end and data[end - 1 : end] != b"\n":
            self._file.write(b"\n")

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends the metrics of one step.

        Raises:
            InputError: the step is negative or a metric's name is reserved or its value no number.
            OSError: the disk refuses; what was written before is intact.
        """
        if step < 0 or not RESERVED.isdisjoint(metrics):
            raise InputError(f"step {step} with metrics {sorted(metrics)}: step ≥ 0, and {sorted(RESERVED)} are taken")
        self._append({"attempt": self._attempt, "step": step} | {key: _plain(key, metrics[key]) for key in metrics})

    def event(self, event: str, **details: Any) -> None:
        """Appends a start or an end of an attempt."""
        self._append({"attempt": self._attempt, "event": event} | details)

    def sync(self) -> None:
        """Makes all lines survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        start = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[self._file.write(line) :]
        except BaseException as error:  # Ctrl-C as well: the next line must not continue this one
            with suppress(OSError):
                self._file.truncate(start)
            if not isinstance(error, OSError):
                raise
            raise OSError(
                error.errno, f"{error.strerror} at {self._path}: earlier records and checkpoints are intact"
            ) from error


def _plain(name: str, value: float) -> float | str:
    """A metric as JSON can write it: ints stay ints, numpy and torch scalars become floats."""
    try:
        number = value if type(value) in (int, float) else float(value)
    except (TypeError, ValueError):
        raise InputError(f"metric {name} is {value!r}: expected a number") from None
    if isfinite(number):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"
