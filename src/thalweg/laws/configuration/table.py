"""A table of training configurations and the losses they ended in.

Source: the published sweeps (columns in ``fields``). A row is a run, or with the column ``frac`` a point of its loss
curve: the loss after that share of the training.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from thalweg.errors import InputError, suggest
from thalweg.laws.configuration.fields import FIELDS, TARGETS, field_of, parse_number

__all__ = ["ConfigTable", "parse_config", "read_configurations"]

Value = float | str
SPLITS = ("train", "in_val", "ood_val")


@dataclass(frozen=True, eq=False)
class ConfigTable:
    """Configurations and losses, column by column.

    Args:
        numbers: columns of numbers by field, float64 (n,), nan where a run has none.
        texts: columns of words by field, n each, "" where a run has none.
        losses: nats per token (n,); nan where not known.
        split: "train", "in_val", "ood_val" or "" a row, n of them.

    Raises:
        InputError: params or tokens are missing, a column has another length, or a number is out of range.
    """

    numbers: Mapping[str, np.ndarray]
    texts: Mapping[str, Sequence[str]]
    losses: np.ndarray
    split: Sequence[str]

    def __post_init__(self) -> None:
        for name in ("params", "tokens"):
            if name not in self.numbers:
                raise InputError(f"the table has no column {name!r}: a configuration needs model size and tokens")
        for name, column in self.numbers.items():
            if name not in FIELDS or len(column) != len(self):
                raise InputError(f"column {name!r} is no field, or has {len(column)} rows for {len(self)} losses")
            _check(name, column)
        if len(self.split) != len(self) or any(len(column) != len(self) for column in self.texts.values()):
            raise InputError(f"split and words must have {len(self)} rows, one a loss")

    def __len__(self) -> int:
        return len(self.losses)

    @property
    def flops(self) -> np.ndarray:
        """6 N D, the training compute (n,)."""
        return 6 * self.numbers["params"] * self.numbers["tokens"]

    def rows(self, keep: np.ndarray) -> Self:
        """The rows that a mask or an index array picks."""
        index = np.arange(len(self))[keep]
        return replace(
            self,
            numbers={name: column[index] for name, column in self.numbers.items()},
            texts={name: [column[i] for i in index] for name, column in self.texts.items()},
            losses=self.losses[index],
            split=[self.split[i] for i in index],
        )

    def part(self, name: str) -> Self:
        """The rows of one split: "train", "in_val" (runs of the fitted sizes), "ood_val" (larger ones)."""
        return self.rows(np.array([value == name for value in self.split], dtype=bool))

    def config(self, row: int) -> dict[str, Value]:
        """The fields that one row holds."""
        found: dict[str, Value] = {name: column[row] for name, column in self.texts.items() if column[row]}
        return found | {name: float(col[row]) for name, col in self.numbers.items() if np.isfinite(col[row])}

    @classmethod
    def of(cls, configs: Sequence[Mapping[str, Value]]) -> Self:
        """A table without losses from configurations, each a mapping of fields to numbers and words.

        Raises:
            InputError: a field that is not known; the nearest is named.
        """
        names = list(dict.fromkeys(name for config in configs for name in config))
        for name in names:
            if name not in FIELDS:
                raise InputError(f"{name!r} is no field of a configuration: {suggest(name, FIELDS)}")
        words = [name for name in names if FIELDS[name].role == "text"]
        numbers = {
            name: np.array([float(config.get(name, np.nan)) for config in configs])
            for name in names
            if name not in words
        }
        texts = {name: [str(config.get(name, "")) for config in configs] for name in words}
        return cls(numbers, texts, np.full(len(configs), np.nan), [""] * len(configs))


def _check(name: str, column: np.ndarray) -> None:
    field = FIELDS[name]
    bad = ~np.isfinite(column) if field.role == "scale" else np.isinf(column)
    if field.scale == "log":
        bad |= column <= 0
    elif field.scale == "gap":
        bad |= (column < 0) | (column >= 1)
    elif name == "frac":
        bad |= (column <= 0) | (column > 1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        wanted = {"log": "> 0", "gap": "in [0, 1)", "linear": "in (0, 1]" if name == "frac" else "finite"}[field.scale]
        raise InputError(f"{name} of row {row} is {column[row]:g}; give a number {wanted} ({field.unit})")


def read_configurations(path: str | Path, *, target: str | None = None, ignore: Sequence[str] = ()) -> ConfigTable:
    """Reads a table of runs.

    Args:
        path: CSV with a header, ``.gz`` too; an empty cell is a field the run does not have.
        target: column of the loss; else the only one of ``TARGETS`` that the header has.
        ignore: columns left out.

    Raises:
        InputError: no such file, an unknown column or unit (the nearest is named), no or several losses, a bad cell.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"table {str(path)!r} does not exist: give a CSV file with a header") from None
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"table {str(path)!r} cannot be read as text ({error}): give a CSV file") from None
    lines = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    lines = [line for line in lines if line]
    if len(lines) < 2:
        raise InputError(f"table {str(path)!r} has no rows: give a header and one run a line")
    header = [name.strip() for name in lines[0]]
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise InputError(f"table {str(path)!r} row {number} has {len(line)} cells for {len(header)} columns")
    columns: dict[str, tuple[float, list[str]]] = {}
    for i, name in enumerate(header):
        if name in ignore:
            continue
        field, unit = field_of(name)
        if field in columns:
            raise InputError(f"table {str(path)!r} has two columns for {field!r}: ignore one")
        columns[field] = (unit, [line[i].strip() for line in lines[1:]])
    target = _target(path, columns, target)
    numbers, texts = {}, {}
    for field, (unit, cells) in columns.items():
        if field not in FIELDS or not any(cells):
            continue
        if FIELDS[field].role == "text":
            texts[field] = cells
        else:
            numbers[field] = _numbers(path, field, cells) * unit
    unit, cells = columns[target]
    losses = _numbers(path, target, cells) * unit
    if not np.all(losses > 0):
        row = int(np.flatnonzero(~(losses > 0))[0])
        raise InputError(f"table {str(path)!r} row {row + 2}: {target} is {cells[row]!r}; give a loss > 0")
    split = columns.get("split", (1.0, ["train"] * len(losses)))[1]
    for value in set(split) - {*SPLITS, ""}:
        raise InputError(f"table {str(path)!r}: split {value!r} is not known: {suggest(value, SPLITS)}")
    return ConfigTable(numbers, texts, losses, split)


def _target(path: Path, columns: Mapping[str, object], target: str | None) -> str:
    found = [name for name in TARGETS if name in columns]
    if target is None and len(found) != 1:
        raise InputError(
            f"table {str(path)!r} has {len(found)} columns of losses ({', '.join(found)}): name the target"
        )
    name = target or found[0]
    if name not in found:
        raise InputError(f"table {str(path)!r} has no target {name!r}: {suggest(name, found)}")
    return name


def _numbers(path: Path, field: str, cells: Sequence[str]) -> np.ndarray:
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if not cell:
            continue
        try:
            values[row] = parse_number(cell)
        except ValueError:
            raise InputError(f"table {str(path)!r} row {row + 2}: {field} is {cell!r}, no number") from None
    return values


def parse_config(text: str) -> dict[str, Value]:
    """A configuration from ``optimizer=adamw,params=520M,tokens=10B,lr=0.004``; names and units as in a table.

    Raises:
        InputError: no ``name=value``, an unknown field, or a value that is no number.
    """
    found: dict[str, Value] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, sign, value = part.partition("=")
        if not sign:
            raise InputError(f"{part!r} in the configuration is not name=value")
        field, unit = field_of(name.strip())
        if field not in FIELDS:
            raise InputError(f"{name!r} is no field of a configuration: {suggest(field, FIELDS)}")
        if field in found:
            raise InputError(f"{field} is given twice in the configuration, as {name.strip()}={value}: leave one")
        if FIELDS[field].role == "text":
            found[field] = value.strip()
            continue
        try:
            found[field] = parse_number(value) * unit
        except ValueError:
            raise InputError(f"{field} is {value!r} in the configuration, no number") from None
        if not np.isfinite(found[field]):
            raise InputError(f"{field} is {value.strip()} in the configuration: give a finite number, or leave it out")
    return found
