"""What a line of a log may be, and how lines are read fast.

``parse_line`` is the rule. Long stretches of records are decoded at once by msgspec, as plain JSON objects of
numbers only; wherever that is not certain to give the same as ``parse_line`` on each line, ``parse_line`` reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from thalweg.errors import InputError

__all__ = ["NOT_FINITE", "RESERVED", "metrics_of", "number", "parse_line", "parse_lines", "sound_length"]

NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
RESERVED = frozenset({"attempt", "step", "event"})


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The record or event that a line holds, or None for anything else."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    if "event" in entry:
        return entry
    numbers = all(
        (isinstance(value, str) and value in NOT_FINITE) or type(value) in (int, float) for value in entry.values()
    )
    return entry if numbers and _is_step(entry.get("step")) else None


def _is_step(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def number(value: Any) -> float:
    """A metric's value as a float; integers beyond the floats become infinite."""
    try:
        return float(value)  # reads the words of NOT_FINITE as well
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def parse_lines(data: bytes, path: str | Path, first: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Whole lines as records and events, each in the order written.

    Args:
        data: the lines; the last one may lack its newline.
        path: of the log, for the message.
        first: number of the first line, from 1.

    Raises:
        InputError: a line is neither a record nor an event.
    """
    if (rows := _decoded(data)) is not None:
        return rows, []
    records, events = [], []
    for number, line in enumerate(data.splitlines(), first):
        entry = parse_line(line)
        if entry is None:
            raise InputError(f"{path} line {number} is damaged: take the line out or restore the file from a copy")
        (events if "event" in entry else records).append(entry)
    return records, events


def metrics_of(entry: dict[str, Any]) -> dict[str, float]:
    """The metrics of a record, by name."""
    return {key: NOT_FINITE.get(value, value) for key, value in entry.items() if key not in RESERVED}


def sound_length(data: bytes) -> int:
    """Length of the log without an unfinished last line; a last line that lacks only its newline is finished."""
    end = data.rfind(b"\n") + 1
    return len(data) if end < len(data) and parse_line(data[end:]) is not None else end


def _decoded(data: bytes) -> list[dict[str, Any]] | None:
    """The records, if ``data`` surely holds nothing but one record a line and no word among their values."""
    if b'"event"' in data or b"\\" in data:
        return None
    try:
        rows = msgspec.json.Decoder(dict[str, int | float]).decode_lines(data)
        steps = [row["step"] for row in rows]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return None
    # As many newlines as objects, and before each newline the end of an object: one object a line.
    letters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    whole = len(rows) == len(ends) > 0 < ends[0] and bool((letters[ends - 1] == ord("}")).all())
    return rows if whole and set(map(type, steps)) == {int} and _is_step(min(steps)) and _is_step(max(steps)) else None
