"""Files of logged losses as raw columns: CSV, JSON lines, and the CSV that W&B and TensorBoard export.

Source: the column names that these programs write.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from thalweg.errors import InputError, suggest

__all__ = ["Rows", "parse_table", "read_table"]

STEP = ("step", "_step", "global_step", "train/global_step", "trainer/global_step", "iteration", "iter")
LOSS = ("loss", "train_loss", "train/loss", "training_loss", "train/train_loss", "val_loss", "val/loss", "eval/loss")
RATE = ("lr", "learning_rate", "train/learning_rate", "train/lr", "lr-adamw")
NAME = ("schedule", "name", "run", "curve")
BLANK = ("", "null", "none")


@dataclass(slots=True)
class Rows:
    """Logged points of one curve as the file gives them: steps, losses, rates (empty where not logged), notes."""

    steps: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_table(path: Path) -> dict[str, Rows]:
    """The curves of one file by name; a file that names none is one curve with the file's name.

    Raises:
        InputError: the file cannot be read, has no column for the step or the loss, or a cell is no number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"curves {str(path)!r} do not exist; give a CSV or JSON-lines file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"curves {str(path)!r} cannot be read as text ({error}); give a CSV or JSON-lines file"
        ) from None
    return parse_table(path, text)


def parse_table(path: Path, text: str) -> dict[str, Rows]:
    """`read_table` for a text that is at hand; ``path`` gives its name and, by its suffix, its form."""
    if not text.strip():
        raise InputError(f"curves {str(path)!r} are empty; give a CSV or JSON-lines file with columns step and loss")
    if path.suffix in (".jsonl", ".json", ".ndjson") or text.lstrip().startswith("{"):
        return _json_lines(path, text)
    return _csv(path, text)


def _csv(path: Path, text: str) -> dict[str, Rows]:
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first.count))
    header = [cell.strip() for cell in next(reader)]
    lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    lower = [cell.lower() for cell in header]
    if lower[:3] == ["wall time", "step", "value"]:
        return _collect(path, lines, {path.stem: (1, 2, None)}, None)
    step = _find(lower, STEP)
    if step is None:
        raise InputError(f"{path.name} has no column 'step'; {suggest('step', header)}")
    runs = _wandb_runs(header)
    if runs:
        return _collect(path, lines, {name: (step, loss, rate) for name, (loss, rate) in runs.items()}, None)
    loss = _find(lower, LOSS)
    if loss is None:
        raise InputError(f"{path.name} has no column 'loss'; {suggest('loss', header)}")
    return _collect(path, lines, {path.stem: (step, loss, _find(lower, RATE))}, _find(lower, NAME))


def _find(header: list[str], names: Iterable[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _wandb_runs(header: list[str]) -> dict[str, tuple[int, int | None]]:
    """Columns ``run - metric`` of a W&B export: place of each run's loss and, if there, of its rate."""
    losses: dict[str, int] = {}
    rates: dict[str, int] = {}
    for place, cell in enumerate(header):
        run, dash, metric = cell.rpartition(" - ")
        if not dash or metric.endswith(("__MIN", "__MAX")):
            continue
        if metric.lower() in RATE:
            rates[run] = place
        elif metric.lower() in LOSS or "loss" in metric.lower():
            losses.setdefault(run, place)
    return {run: (place, rates.get(run)) for run, place in losses.items()}


Columns = tuple[int, int, int | None]


def _collect(
    path: Path, lines: list[tuple[int, list[str]]], runs: dict[str, Columns], name: int | None
) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for number, row in lines:
        for run, (step, loss, rate) in runs.items():
            if max(step, loss) >= len(row):
                raise InputError(f"{path.name} line {number} has {len(row)} cells; it is cut short, remove or mend it")
            if row[loss].strip().lower() in BLANK:
                continue  # W&B leaves a run's cell empty at the steps of the others
            key = row[name].strip() if name is not None and name < len(row) else run
            rows = found.setdefault(key, Rows())
            rows.steps.append(_number(path, number, "step", row[step]))
            rows.losses.append(_number(path, number, "loss", row[loss]))
            if rate is not None and rate < len(row) and row[rate].strip().lower() not in BLANK:
                rows.rates.append(_number(path, number, "lr", row[rate]))
    return _checked(path, found)


def _number(path: Path, line: int, column: str, cell: object) -> float:
    try:
        return float(cell)  # pyrefly: ignore
    except (TypeError, ValueError):
        raise InputError(f"{path.name} line {line}: {column} is {cell!r}, which is no number") from None


def _json_lines(path: Path, text: str) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    lines = text.splitlines()
    cut = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            if number < len(lines) or text.endswith("\n"):
                raise InputError(f"{path.name} line {number} is not JSON; remove or mend that line") from None
            cut = number
            break
        if not isinstance(record, dict):
            raise InputError(f"{path.name} line {number} is no JSON object; write one object with step and loss a line")
        lower = {key.lower(): value for key, value in record.items()}
        step, loss = _key(lower, STEP), _key(lower, LOSS)
        if loss is None:
            continue  # a line that logs something else
        if step is None:
            raise InputError(f"{path.name} line {number} has a loss but no 'step'; add it")
        name = _key(lower, NAME)
        rows = found.setdefault(path.stem if name is None else str(lower[name]), Rows())
        rows.steps.append(_number(path, number, "step", lower[step]))
        rows.losses.append(_number(path, number, "loss", lower[loss]))
        rate = _key(lower, RATE)
        if rate is not None:
            rows.rates.append(_number(path, number, "lr", lower[rate]))
    for rows in found.values():
        if cut is not None:
            rows.notes.append(f"the last line ({cut}) of {path.name} is cut short and was left out")
    return _checked(path, found)


def _key(record: dict[str, object], names: Iterable[str]) -> str | None:
    return next((name for name in names if record.get(name) is not None), None)


def _checked(path: Path, found: dict[str, Rows]) -> dict[str, Rows]:
    if not found:
        raise InputError(f"{path.name} holds no logged loss; give a file with columns step and loss")
    for name, rows in found.items():
        if rows.rates and len(rows.rates) != len(rows.steps):
            raise InputError(
                f"curve {name!r} in {path.name} has {len(rows.steps)} losses but {len(rows.rates)} learning rates; "
                "log both at every step or leave the column out"
            )
    return found
