"""The small curve beside each run in the list."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from thalweg.runs.entries import number as as_float
from thalweg.runs.entries import parse_line
from thalweg.web.svg import number

__all__ = ["Sparks", "spark_path"]

WIDTH, HEIGHT = 96.0, 24.0
WHOLE = 96 * 2**10  # logs up to so many bytes are read whole
WINDOWS, WINDOW = 32, 2048  # of longer ones so many stretches of so many bytes


class Sparks:
    """Paths of the loss curves, kept as long as their logs do not change.

    Args:
        most: how many are kept; those asked for longest ago go first.
    """

    def __init__(self, most: int = 4000) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[tuple[int, ...], str]] = OrderedDict()
        self._lock = Lock()

    def path(self, log: Path) -> str:
        """The SVG path of a log's loss, 96 x 24 pixels; empty where there is none."""
        try:
            found = os.stat(log)
        except OSError:
            return ""
        signature = (found.st_ino, found.st_size, found.st_mtime_ns)
        with self._lock:
            held = self._kept.get(str(log))
        drawn = held[1] if held and held[0] == signature else spark_path(_sampled(log, found.st_size))
        with self._lock:
            self._kept[str(log)] = (signature, drawn)
            self._kept.move_to_end(str(log))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return drawn


def spark_path(points: list[tuple[int, float]], columns: int = 48) -> str:
    """A line through the lowest and highest finite value of each of ``columns`` equal ranges of steps."""
    points = sorted((step, value) for step, value in points if abs(value) < 1e300)
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return ""
    first, last = points[0][0], points[-1][0]
    held: dict[int, list[tuple[int, float]]] = {}
    for step, value in points:
        held.setdefault(min(columns - 1, (step - first) * columns // (last - first)), []).append((step, value))
    kept: list[tuple[int, float]] = []
    for inside in held.values():
        kept += sorted({min(inside, key=lambda p: p[1]), max(inside, key=lambda p: p[1])})
    low, high = min(value for _, value in kept), max(value for _, value in kept)
    room = (high - low) or 1.0
    drawn = [
        f"{number((step - first) / (last - first) * WIDTH)} {number(1 + (high - value) / room * (HEIGHT - 2))}"
        for step, value in kept
    ]
    return f"M{'L'.join(dict.fromkeys(drawn))}"


def _sampled(log: Path, size: int) -> list[tuple[int, float]]:
    """Steps and losses of a log; of a long one from stretches that are evenly apart, its end among them."""
    found: list[tuple[int, float]] = []
    try:
        with open(log, "rb", buffering=0) as file:
            if size <= WHOLE:
                return _losses(file.read(WHOLE).split(b"\n"))
            for k in range(WINDOWS):
                at = round(k * (size - WINDOW) / (WINDOWS - 1))
                file.seek(at)
                lines = file.read(WINDOW).split(b"\n")
                found += _losses(lines[1:] if at else lines)
    except OSError:
        return []
    return found


def _losses(lines: list[bytes]) -> list[tuple[int, float]]:
    entries = (parse_line(line) for line in lines if b'"loss"' in line)
    points = [(entry["step"], as_float(entry["loss"])) for entry in entries if entry and "loss" in entry]
    return [(step, value) for step, value in points if math.isfinite(value)]
