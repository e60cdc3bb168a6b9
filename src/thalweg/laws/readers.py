"""Files to `LossCurve`s: logged points from tables.py, per-step rates from a schedule or from the logged rates.

Source: our own.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.laws.curve import LossCurve
from thalweg.laws.tables import Rows, read_table

__all__ = ["Entry", "join_curves", "parse_schedules", "read_curves", "read_schedules"]

MOST_STEPS = 1e8  # a rate is kept for every step
MATCH = 1e-3  # logged and scheduled rates may differ by this share of the peak (printed digits), within one step

Entry = tuple[np.ndarray, int | None] | tuple[str, int | None]  # rates and warmup, or a spec string and its steps


def read_curves(
    path: str | Path | Iterable[str | Path], *, schedules: str | Path | Mapping[str, Any] | None = None
) -> dict[str, LossCurve]:
    """Reads loss curves from one or several files.

    Args:
        path: CSV (columns step, loss, optional lr and schedule or name), JSON lines with the same keys, a W&B export
            (``Step, "run - loss", …``) or TensorBoard exports (``Wall time, Step, Value``; named after the file).
        schedules: where per-step rates come from: a TOML file of spec strings by curve name (``name = "cosine:…"`` or
            ``name = {spec = "cosine:…", steps = 24000}``), a CSV with columns schedule, step, lr and steps from 0, or a
            mapping like the TOML's (values may also be arrays of rates). Without an entry, rates are interpolated from
            the logged ones and the curve says so in its notes.

    Returns:
        Curves by name, in file order.

    Raises:
        InputError: a file, column, cell, schedule or rate that cannot be used; one sentence names it.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
    if not paths:
        raise InputError("path is empty; give at least one file of curves")
    tables = ((one, read_table(one)) for one in paths)
    return join_curves(tables, {} if schedules is None else read_schedules(schedules))


def join_curves(tables: Iterable[tuple[Path, Mapping[str, Rows]]], known: Mapping[str, Entry]) -> dict[str, LossCurve]:
    """The curves of several tables, each with its file's path, under the schedules ``known`` by name (may be empty)."""
    table: dict[str, Rows] = {}
    for one, found in tables:
        for name, rows in found.items():
            if name in table:
                raise InputError(f"curve {name!r} is in more than one file ({one.name}); rename one of them")
            table[name] = rows
    unused = sorted(set(known) - set(table))
    curves = {}
    for name, rows in table.items():
        if known and name not in known and unused:
            raise InputError(f"schedules have no entry for curve {name!r}; {suggest(name, unused)}")
        curves[name] = _curve(name, rows, known.get(name))
    return curves


def read_schedules(source: str | Path | Mapping[str, Any]) -> dict[str, Entry]:
    """Schedules by curve name, from a TOML file, a CSV of per-step rates, or a mapping.

    Raises:
        InputError: an unreadable file, a missing column, steps that do not run 0, 1, 2, …, or an entry of a wrong kind.
    """
    if isinstance(source, Mapping):
        return {name: _entry(name, value) for name, value in source.items()}
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"schedules {str(path)!r} cannot be read ({error}); give a TOML or CSV file") from None
    return parse_schedules(path, text)


def parse_schedules(path: Path, text: str) -> dict[str, Entry]:
    """`read_schedules` for a text that is at hand; ``path`` gives its name and, by its suffix, its form."""
    if path.suffix == ".csv":
        return _rate_table(path, text)
    try:
        return {name: _entry(name, value) for name, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"schedules {str(path)!r} are no TOML ({error})") from None


def _entry(name: str, value: object) -> Entry:
    if isinstance(value, str):
        return value, None
    if isinstance(value, Mapping):
        extra = sorted(set(value) - {"spec", "steps"})
        if extra or not isinstance(value.get("spec"), str):
            raise InputError(f"schedule of {name!r} has the keys {list(value)}; give spec (text) and, if needed, steps")
        steps = value.get("steps")
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 1):
            raise InputError(f"schedule of {name!r} has steps = {steps!r}; give a whole number of optimizer steps")
        return value["spec"], steps
    if isinstance(value, list | tuple | np.ndarray):
        return np.asarray(value, dtype=np.float64), None
    raise InputError(f"schedule of {name!r} is {value!r}; give a spec string or {{spec = …, steps = …}}")


def _rate_table(path: Path, text: str) -> dict[str, Entry]:
    reader = csv.DictReader(text.splitlines())
    columns = reader.fieldnames = [column.strip() for column in reader.fieldnames or []]
    for needed in ("schedule", "step", "lr"):
        if needed not in columns:
            raise InputError(f"schedules {path.name} have no column {needed!r}; {suggest(needed, columns)}")
    found: dict[str, list[float]] = {}
    for row in reader:
        rates = found.setdefault(row["schedule"], [])
        try:
            step, rate = float(row["step"]), float(row["lr"])
        except (TypeError, ValueError):
            raise InputError(f"schedules {path.name} line {reader.line_num} hold a cell that is no number") from None
        if step != len(rates):
            raise InputError(
                f"schedule {row['schedule']!r} in {path.name} jumps to step {step:g} where {len(rates)} is next; "
                "give every step from 0 on, in order"
            )
        rates.append(rate)
    return {name: (np.array(rates), None) for name, rates in found.items()}


def _curve(name: str, rows: Rows, entry: Entry | None) -> LossCurve:
    notes = list(rows.notes)
    _check_steps(name, rows.steps)
    if entry is None:
        rates, warmup = _interpolated(name, rows, notes)
    elif isinstance(entry[0], str):
        from thalweg.schedules import parse

        schedule = parse(entry[0])
        steps = entry[1]
        if steps is None:
            steps = int(rows.steps[-1]) + 1
            notes.append(f"its schedule gives no steps: {steps}, one past the last logged step, were taken")
        rates, warmup = schedule.rates(steps), schedule.warmup_steps(steps)
    else:
        rates, warmup = entry[0], None
    curve = LossCurve(name, rates, np.array(rows.steps), np.array(rows.losses), warmup, tuple(notes))
    if entry is not None and rows.rates:
        _check_rates(curve, np.array(rows.rates))
    return curve


def _check_steps(name: str, steps: list[float]) -> None:
    array = np.array(steps)
    if not np.all(np.isfinite(array)) or array.min() < 0 or np.any(array != np.rint(array)):
        bad = next(step for step in steps if not (np.isfinite(step) and step >= 0 and step == round(step)))
        raise InputError(f"curve {name!r}: step {bad:g} is no whole number >= 0; count optimizer steps from 0")
    if array.max() > MOST_STEPS:
        raise InputError(f"curve {name!r}: step {array.max():g} is above {MOST_STEPS:g}; is the column a time stamp?")
    falls = np.flatnonzero(np.diff(array) <= 0)
    if len(falls):
        first, second = array[falls[0]], array[falls[0] + 1]
        raise InputError(f"curve {name!r}: step {second:g} follows step {first:g}; steps must increase strictly")


def _interpolated(name: str, rows: Rows, notes: list[str]) -> tuple[np.ndarray, int | None]:
    if not rows.rates:
        raise InputError(
            f"curve {name!r} has no learning rates; add a column lr or give schedules with its spec string"
        )
    logged = np.array(rows.rates)
    bad = np.flatnonzero(~np.isfinite(logged) | (logged < 0))
    if len(bad):
        raise InputError(f"curve {name!r}: lr at step {rows.steps[bad[0]]:g} is {logged[bad[0]]:g}; give rates >= 0")
    count = int(rows.steps[-1]) + 1
    notes.append(f"per-step rates are interpolated from {len(logged)} logged ones")
    if rows.steps[0] > 0:
        notes.append(f"rates before step {rows.steps[0]:g} are unknown and taken as {logged[0]:g}")
    return np.interp(np.arange(count), rows.steps, logged), None


def _check_rates(curve: LossCurve, logged: np.ndarray) -> None:
    """Logged and scheduled rates agree after warmup, up to one step: loggers run before or after the scheduler."""
    last = len(curve.rates) - 1
    near = [curve.rates[np.clip(curve.steps + shift, 0, last)] for shift in (0, -1, 1)]
    off = np.min([np.abs(logged - rates) for rates in near], axis=0)
    bad = np.flatnonzero((off > MATCH * curve.rates.max()) & (curve.steps >= curve.warmup))
    if len(bad):
        raise InputError(
            f"curve {curve.name!r}: at step {curve.steps[bad[0]]} the file logs lr {logged[bad[0]]:g} but its schedule "
            f"gives {near[0][bad[0]]:g}; mend the schedule (its spec, steps or warmup) or the log"
        )
