"""Array: rates given one by one, in memory or in a CSV file, as a schedule.

In memory the spec string carries every rate (``array:values=3e-4*100;1e-4``, runs written ``rate*count``), so it is
complete but long; from a file it carries the path and a hash of the rates (``array:path=designed.csv,sha256=…``), and
reading it again fails if the file holds other rates than it did.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.schedules.base import Phase, Schedule, check_steps
from thalweg.schedules.spec import changed_fields

__all__ = ["Array"]

DIGITS = 16  # hexadecimal digits of the hash in a spec string
FilePath = str
Packed = bytes | Sequence[float] | np.ndarray  # as given; kept as bytes, little-endian float64


def pack(values: object) -> bytes:
    """Rates as little-endian float64 bytes.

    Raises:
        InputError: not a non-empty list of finite numbers >= 0 with one above 0.
    """
    if isinstance(values, bytes):
        if len(values) % 8:
            raise InputError(f"array: {len(values)} bytes are no float64 numbers; give one rate a step")
        values = np.frombuffer(values, "<f8")
    try:
        rates = np.asarray(values, dtype="<f8")
    except (TypeError, ValueError) as error:
        raise InputError("array: values must be numbers, one rate a step") from error
    if rates.ndim != 1 or rates.size == 0:
        raise InputError(f"array: values have shape {rates.shape}; give one rate a step, at least one")
    bad = np.flatnonzero(~np.isfinite(rates) | (rates < 0))
    if bad.size:
        raise InputError(f"array: the rate {rates[bad[0]]} of step {bad[0]} must be finite and at least 0")
    if not rates.any():
        raise InputError("array: all rates are 0; one must be above")
    return (rates + 0.0).tobytes()  # -0.0 becomes 0.0


def load(path: str, column: str, schedule: str) -> list[float]:
    """The rates of a CSV file with a header: one row a step, in the order of the optional column ``step`` (from 0)."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), list(reader.fieldnames or [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"array: {path} cannot be read as CSV ({error})") from error
    for needed in [column, *(["schedule"] if schedule else [])]:
        if needed not in columns:
            raise InputError(f"array: {path} has no column {needed!r}; {suggest(needed, columns)}")
    if "schedule" in columns:
        names = sorted({row["schedule"] or "" for row in rows})
        if not schedule and len(names) > 1:
            raise InputError(f"array: {path} holds several schedules; pick one with schedule={names[0]}")
        if schedule and schedule not in names:
            raise InputError(f"array: {path} has no schedule {schedule!r}; {suggest(schedule, names)}")
        rows = [row for row in rows if row["schedule"] == (schedule or names[0])]
    try:
        steps = [float(row["step"]) for row in rows] if "step" in columns else list(range(len(rows)))
        rates = [float(row[column]) for row in rows]
    except (TypeError, ValueError) as error:
        raise InputError(f"array: {path} holds a row that is no number ({error})") from error
    if steps != list(range(len(rows))):
        raise InputError(f"array: the steps of {path} must run 0, 1, 2, … without gaps, one row a step")
    return rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Array(Schedule):
    """``array:path=designed.csv`` or ``Array(values=rates)``: the given rates, for a run of exactly as many steps.

    Args:
        values: rates >= 0, one a step; kept as bytes. Not together with a path, save as read from it.
        path: a CSV file with a header, read once when the schedule is made.
        column: its column with the rates.
        schedule: the rows to take, where the file has a column ``schedule`` with several names.
        sha256: first 16 hexadecimal digits of the hash of the rates as float64; filled in where empty, else checked.
        warmup: how many of the first steps laws and plots shall count as warmup; changes no rate.

    Raises:
        InputError: neither or no readable values, rates that are not finite or below 0, steps with gaps, or a hash that
            differs from the rates: the file was changed.
    """

    name: ClassVar[str] = "array"
    values: Packed = field(default=b"", repr=False)
    path: FilePath = ""
    column: str = "lr"
    schedule: str = ""
    sha256: str = ""
    warmup: int = 0

    def __post_init__(self) -> None:
        given = isinstance(self.values, np.ndarray) or bool(self.values)
        if not given and not self.path:
            raise InputError("array: neither values nor a path; write array:path=FILE.csv or Array(values=rates)")
        if not self.path and (self.column != "lr" or self.schedule):
            raise InputError("array: column and schedule choose rows of a file; give a path or leave them out")
        data = pack(self.values if given else load(str(self.path), self.column, self.schedule))
        digest = sha256(data).hexdigest()[:DIGITS]
        if self.path and given and not self.sha256:
            raise InputError("array: values and a path were given; give one of them")
        if self.sha256 and self.sha256 != digest:
            where = f"the rates of {self.path}" if self.path else "the values"
            raise InputError(
                f"array: {where} have hash {digest}, not sha256={self.sha256}: they changed; leave sha256 out"
            )
        object.__setattr__(self, "values", data)
        object.__setattr__(self, "path", str(self.path))
        object.__setattr__(self, "sha256", digest)
        warm = self.warmup
        if isinstance(warm, bool) or not isinstance(warm, int | np.integer) or not 0 <= warm <= len(data) // 8:
            raise InputError(f"array: warmup={warm!r} must be whole steps from 0 to {len(data) // 8}")
        object.__setattr__(self, "warmup", int(warm))

    def _kept(self) -> np.ndarray:
        return np.frombuffer(self.values, "<f8")  # type: ignore[arg-type]

    @property
    def peak(self) -> float:
        """The largest of the rates."""
        return float(self._kept().max())

    def spec_fields(self) -> tuple[str, ...]:
        """The path and hash for a file, the values otherwise."""
        left_out = "values" if self.path else "sha256"
        return tuple(name for name in changed_fields(self) if name != left_out)

    def rates(self, steps: int) -> np.ndarray:
        """The rates, float64 (steps,), for exactly as many steps as there are rates."""
        rates = self._kept().astype(np.float64)
        if check_steps(self, steps) != rates.size:
            raise InputError(
                f"array: it holds {rates.size} rates but the run has {steps} steps; train {rates.size} steps"
            )
        return rates

    def warmup_steps(self, steps: int) -> int:
        """How many of the first steps count as warmup."""
        check_steps(self, steps)
        return self.warmup

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """The warmup, if any, and the rest."""
        self.rates(steps)
        both = (Phase("warmup", 0, self.warmup), Phase("values", self.warmup, steps))
        return tuple(phase for phase in both if phase.stop > phase.start)
